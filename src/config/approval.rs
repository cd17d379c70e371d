//! Whether what leaves is approved: the lock's standing, from its bytes, those of the approvals and
//! the rules. Pure; who reads the files hands them in.

use std::collections::BTreeMap;

use super::{Config, DestinationConfig};
use crate::{
    consent::{
        APPROVALS_FILE, Approval, CONTROLLER, Decision, HowRead, LOCK_FILE, Lock, Occasion,
        Question, Role, SignOff, decide, file_hash,
    },
    destinations::Mode,
    event::FieldSet,
};

/// The two files, as far as they are there.
#[derive(Debug, Default)]
pub(super) struct ApprovalFiles {
    /// `consent.lock`.
    pub(super) lock: Option<Vec<u8>>,
    /// `consent.approvals`.
    pub(super) approvals: Option<Vec<u8>>,
}

/// The standing of the lock. `is_signed` says whether an approval's SSH signature holds; it is
/// asked only where the rules name the signers that count.
pub(super) fn standing(
    config: &Config,
    files: &ApprovalFiles,
    is_signed: &dyn Fn(&SignOff) -> Result<(), String>,
) -> Approval {
    let is_asked_for =
        config.consent.require_approval || files.lock.is_some() || files.approvals.is_some();
    let mut approval = Approval {
        enforced: config.mode == Mode::Live && is_asked_for,
        hash: files.lock.as_deref().map(file_hash).unwrap_or_default(),
        ..Approval::default()
    };
    let signed = text(files.approvals.as_deref(), APPROVALS_FILE, SignOff::parse_all);
    let lock = text(files.lock.as_deref(), LOCK_FILE, Lock::parse);
    let void = match (&lock, &signed) {
        (Ok(None), Ok(Some(_))) => Some(format!("{LOCK_FILE} was approved and is not there")),
        (Ok(None), _) => Some(format!("there is no {LOCK_FILE}")),
        (Err(problem), _) | (_, Err(problem)) => Some(problem.clone()),
        (Ok(Some(_)), Ok(None)) => {
            Some(format!("{LOCK_FILE} is not signed: nobody has approved it"))
        }
        (Ok(Some(_)), Ok(Some(signed))) => unsigned(signed, &approval.hash, &|one| {
            if config.consent.allowed_signers.is_some() { is_signed(one) } else { Ok(()) }
        }),
    };
    approval.lock = lock.ok().flatten();
    approval.void = void.or_else(|| {
        let looser = config.reading().looser_than(approval.lock.as_ref()?.reading());
        (!looser.is_empty()).then(|| {
            let what = looser.join(", ");
            format!("how signals are read was changed after {LOCK_FILE} was signed ({what})")
        })
    });
    approval.signed = signed.ok().flatten().unwrap_or_default();
    approval
}

/// Reads a file where it is there.
fn text<T>(
    bytes: Option<&[u8]>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, crate::consent::UnreadableLock>,
) -> Result<Option<T>, String> {
    let Some(bytes) = bytes else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
    parse(text).map(Some).map_err(|why| format!("{name} cannot be read: {why}"))
}

/// Why no approval holds for the lock of this hash; `None` where one does.
fn unsigned(
    signed: &[SignOff],
    hash: &str,
    is_signed: &dyn Fn(&SignOff) -> Result<(), String>,
) -> Option<String> {
    let mut why = if signed.is_empty() {
        format!("{LOCK_FILE} is not signed: nobody has approved it")
    } else {
        format!("{LOCK_FILE} was changed after it was signed")
    };
    for one in signed.iter().filter(|one| one.lock == hash) {
        match is_signed(one) {
            Ok(()) => return None,
            Err(problem) => why = format!("the approval of {} does not hold: {problem}", one.by),
        }
    }
    Some(why)
}

/// A plan event, and the name under which it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The plan event.
    pub planned: &'a str,
    /// The incoming name; `None` for what was accepted before.
    pub incoming: Option<&'a str>,
}

impl<'a> From<&'a str> for Named<'a> {
    fn from(planned: &'a str) -> Self {
        Self { planned, incoming: None }
    }
}

impl Config {
    /// How signals are read, as far as it is settings.
    pub fn reading(&self) -> HowRead {
        let ages = self.sites.values().filter_map(|s| Some((s.name.as_str(), s.minimum_age?)));
        let sites = self.sites.values();
        let mut relay: BTreeMap<String, String> = sites
            .map(|site| (format!("{CONTROLLER}{}", site.name), site.controller.clone()))
            .collect();
        let mut proxies: Vec<String> =
            self.listen.trusted_proxies.iter().map(ToString::to_string).collect();
        proxies.sort();
        let mut kept = self.keep_query.clone();
        kept.sort();
        relay.insert("trusted_proxies".to_owned(), proxies.join(" "));
        let header = self.listen.client_ip_header.clone();
        relay.insert("client_ip_header".to_owned(), header.unwrap_or_default());
        relay.insert("keep_query".to_owned(), kept.join(" "));
        HowRead::of(&self.consent, ages, relay)
    }

    /// The decision for one destination: what the rules say, and of that what is approved. The one
    /// function that acceptance, the check before every send and every report of them go by.
    pub fn decide(
        &self,
        destination: &DestinationConfig,
        event: Named<'_>,
        site: &str,
        question: &Question<'_>,
    ) -> Decision {
        let decision = decide(&self.consent, question);
        if !self.approval.enforced {
            return decision;
        }
        let address = destination.address();
        let rule = self.consent.destination(&destination.name, destination.platform.name);
        let occasion = Occasion {
            destination: &destination.name,
            platform: destination.platform.name,
            address: address.as_deref(),
            account: &destination.account,
            legal_entity: rule.and_then(|rule| rule.recipient.as_deref()),
            role: rule.and_then(|rule| rule.role).map(Role::name),
            incoming: event.incoming,
            sendable: destination.sendable(),
            event: event.planned,
            site,
            source: question.action_source,
            present: question.present,
            state: question.state,
        };
        self.approval.apply(decision, &occasion)
    }
}

impl DestinationConfig {
    /// The fields that it can send, whatever the rules say.
    pub fn sendable(&self) -> FieldSet {
        let takes = self.platform.purposes.takes;
        self.handler.chosen().map_or(takes, |chosen| takes.intersection(chosen))
    }

    /// Where it delivers: scheme, host and port of the vendor or of `endpoint`. `None` is this
    /// machine, which nothing leaves.
    pub fn address(&self) -> Option<String> {
        let url = url::Url::parse(&self.shown_endpoint).ok()?;
        let is_here = match url.host()? {
            url::Host::Domain(name) => name == "localhost",
            url::Host::Ipv4(address) => address.is_loopback(),
            url::Host::Ipv6(address) => address.is_loopback(),
        };
        (!is_here).then(|| url.origin().ascii_serialization())
    }
}
