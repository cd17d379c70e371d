//! Every signal × every region × every destination's rule, against a table and an oracle that were
//! written from the interface's words and the frameworks' specifications, not from the code.

use conversion_relay::{
    config::{KeyKind, RateLimit, WriteKey},
    consent::{
        Decision, DestinationRule, Grant, Grants, InRegion, IpForm, Model, Purpose, Question,
        Reading, Region, RegionRule, Role, Rules, WhenDenied, WhenOptedOut, decide, read,
    },
    destinations::{Platform, platform},
    event::{ActionSource, Field, FieldSet},
    sources::{Door, consent_object, json},
};
use serde_json::{Value, json};

use crate::strings::{Tc, gpp, usca};

mod sections;
mod table;

use table::{Row, all_granted, and, table};

// === the oracle ===

const REGIONS: [&str; 7] = ["DE", "GB", "", "BR", "US-NY", "US-CA", "US"];

/// A destination's rule, as a reviewer would say it.
#[derive(Clone, Copy)]
struct Rule {
    name: &'static str,
    platform: &'static str,
    /// Of `s`torage, `u`ser data, `p`ersonalisation and `a`nalytics; elsewhere, and in the US.
    needs: [&'static str; 2],
    /// `may_send`; `None`: nothing is written.
    may: Option<&'static [Field]>,
    never: &'static [Field],
    never_in_us: &'static [Field],
    /// `when_opted_out`, elsewhere and in the US.
    opted_out: [WhenOptedOut; 2],
    /// `when_personalization_denied`.
    denied: Option<WhenDenied>,
}

/// The fields that are looked at.
const FIELDS: [Field; 8] = [
    Field::Email,
    Field::Phone,
    Field::City,
    Field::Ip,
    Field::UserAgent,
    Field::PageUrl,
    Field::Value,
    Field::OrderId,
];

#[rustfmt::skip]
const RULES: [Rule; 16] = {
    use Field::{City, Email, Ip, OrderId, PageUrl, Phone, UserAgent, Value};
    use WhenOptedOut::{Drop, Limited, Send};
    let ads = ["su", "su"];
    let all: Option<&'static [Field]> = Some(&FIELDS);
    let plain = Rule { name: "google_ads", platform: "google_ads", needs: ads, may: all, never: &[], never_in_us: &[], opted_out: [Drop, Drop], denied: None };
    [
        plain,
        Rule { name: "meta", platform: "meta", opted_out: [Drop, Limited], ..plain },
        Rule { name: "linkedin", platform: "linkedin", ..plain },
        Rule { name: "tiktok", platform: "tiktok", opted_out: [Drop, Limited], ..plain },
        Rule { name: "ga4", platform: "ga4", needs: ["a", "a"], opted_out: [Send, Send], ..plain },
        // needs
        Rule { name: "all four needed", needs: ["supa", "supa"], ..plain },
        Rule { name: "more needed in the US", needs: ["su", "sua"], ..plain },
        Rule { name: "nothing needed", platform: "webhook", needs: ["", ""], opted_out: [Send, Drop], ..plain },
        // may_send and never_send
        Rule { name: "meta's default", platform: "meta", may: None, ..plain },
        Rule { name: "one field of a person", platform: "meta", may: Some(&[Email, UserAgent, PageUrl]), ..plain },
        Rule { name: "two never", platform: "linkedin", never: &[Phone, Value], ..plain },
        Rule { name: "never in the US", platform: "meta", never: &[City], never_in_us: &[Ip, Email, OrderId], opted_out: [Drop, Limited], ..plain },
        // when_opted_out
        Rule { name: "sent when opted out", opted_out: [Send, Send], ..plain },
        Rule { name: "dropped in the US only", platform: "tiktok", opted_out: [Send, Drop], ..plain },
        // when_personalization_denied
        Rule { name: "dropped where denied", denied: Some(WhenDenied::Drop), ..plain },
        Rule { name: "flagged where denied", platform: "ga4", needs: ["sa", "sa"], denied: Some(WhenDenied::Flag), ..plain },
    ]
};

/// What becomes of a row under a rule, in a region: held and why, or sent; `*` with the flag.
fn expected(row: &Row, rule: &Rule, region: &str) -> String {
    if row.minor {
        return "minor".to_owned();
    }
    let is_us = region.starts_with("US");
    let there = usize::from(is_us);
    let grants = granted(row, rule);
    let of = |purpose: char| grants["supa".find(purpose).unwrap()..].chars().next().unwrap();
    let needed = rule.needs[there];
    if needed.chars().any(|purpose| of(purpose) == 'd') {
        return "no_consent".to_owned();
    }
    if !is_us && needed.chars().any(|purpose| of(purpose) == '-') {
        return if row.sources.is_empty() { "no_signal" } else { "no_consent" }.to_owned();
    }
    let mut outcome = match (out(row, region), rule.opted_out[there]) {
        ("", _) | (_, WhenOptedOut::Send) => "send",
        // Without an address the state must be one that the platform has a number for.
        (_, WhenOptedOut::Limited) if !leaving(row, rule, region).contains(&Field::Ip) => {
            if region == "US-CA" { "limited" } else { return "opted_out".to_owned() }
        }
        (_, WhenOptedOut::Limited) => "limited",
        (_, WhenOptedOut::Drop) => return "opted_out".to_owned(),
    }
    .to_owned();
    let has_flag = matches!(rule.platform, "meta" | "google_ads" | "ga4");
    let flags = rule.denied.map_or(has_flag, |denied| denied == WhenDenied::Flag);
    // Who needs no purpose of advertising has nothing to drop for it.
    let personalises = rule.denied.is_some() || needed.contains(['s', 'u', 'p']);
    match of('p') {
        'd' if flags => outcome.push('*'),
        'd' if personalises => return "no_consent".to_owned(),
        '-' if !is_us && flags => outcome.push('*'),
        _ => {}
    }
    outcome
}

/// The fields that leave where something does.
fn leaving(row: &Row, rule: &Rule, region: &str) -> Vec<Field> {
    let is_us = region.starts_with("US");
    // Meta's page marks both as required of a website's events.
    let may = rule.may.unwrap_or(&[Field::UserAgent, Field::PageUrl]);
    let is_always = |field: &Field| matches!(field, Field::Value | Field::OrderId);
    let never =
        |field: &Field| rule.never.contains(field) || (is_us && rule.never_in_us.contains(field));
    let grants = granted(row, rule);
    FIELDS
        .into_iter()
        .filter(|field| (may.contains(field) || is_always(field)) && !never(field))
        .filter(|field| *field != Field::Ip || is_us)
        // GA4 has user-provided data for advertising.
        .filter(|field| match field {
            Field::Email | Field::Phone | Field::City if rule.platform == "ga4" => {
                grants[1..].starts_with('g') || (is_us && grants[1..].starts_with('-'))
            }
            _ => true,
        })
        .collect()
}

/// What a rule's platform may hear of the four purposes: vendors may make it differ.
fn granted(row: &Row, rule: &Rule) -> &'static str {
    match (row.vendors, rule.platform) {
        (Some([meta, ..]), "meta") => meta,
        (Some([_, google, ..]), "google_ads" | "ga4") => google,
        (Some([_, _, linkedin, _]), "linkedin") => linkedin,
        // On no list of vendors.
        (Some([.., none]), "tiktok" | "webhook") => none,
        _ => row.grants,
    }
}

/// A country without its state, and no region at all, may be California.
fn out(row: &Row, region: &str) -> &'static str {
    let [california, elsewhere] = row.out;
    if matches!(region, "US-CA" | "US" | "") { california } else { elsewhere }
}

// === what is tested ===

fn purposes(letters: &str) -> Vec<Purpose> {
    letters.chars().map(|letter| Purpose::ALL["supa".find(letter).unwrap()].0).collect()
}

fn rules() -> Rules {
    let region = |name: &str, matches: &[&str], model, ip| RegionRule {
        name: name.to_owned(),
        matches: matches.iter().map(|m| (*m).to_owned()).collect(),
        model,
        ip,
    };
    let destination = |rule: Rule| {
        let in_us = InRegion {
            region: "us".to_owned(),
            needs: Some(purposes(rule.needs[1])),
            never_send: FieldSet::of(rule.never_in_us),
            when_opted_out: Some(rule.opted_out[1]),
            ..InRegion::default()
        };
        DestinationRule {
            needs: purposes(rule.needs[0]),
            may_send: rule.may.map(FieldSet::of),
            never_send: FieldSet::of(rule.never),
            when_opted_out: rule.opted_out[0],
            when_personalization_denied: rule.denied,
            role: Some(Role::Processor),
            regions: vec![in_us],
            ..DestinationRule::named(rule.name)
        }
    };
    Rules {
        regions: vec![
            region("eea_uk_ch", &["EEA", "GB", "CH"], Model::OptIn, IpForm::None),
            region("us", &["US"], Model::OptOut, IpForm::Full),
            region("other", &["*"], Model::OptIn, IpForm::None),
        ],
        categories: vec![
            ("Advertising".to_owned(), vec![Purpose::AdStorage, Purpose::AdUserData]),
            ("stats".to_owned(), vec![Purpose::AnalyticsStorage]),
        ],
        destinations: RULES.map(destination).to_vec(),
        ..Rules::deny_all()
    }
}

/// What a page's own key is.
fn browser() -> WriteKey {
    WriteKey {
        name: "page".to_owned(),
        key: "public".to_owned().into(),
        sites: vec!["shop".to_owned()],
        kind: KeyKind::Browser,
        events: Vec::new(),
        may: Vec::new(),
        rate_limit: None,
        rate_limit_per_address: RateLimit::default(),
        origins: Vec::new(),
        max_value: None,
    }
}

fn reading(rules: &Rules, consent: &Value, region: &str) -> Reading {
    reading_through(&Door::default(), rules, consent, region)
}

fn reading_through(door: &Door<'_>, rules: &Rules, consent: &Value, region: &str) -> Reading {
    let text = consent.to_string();
    let node = json::parse(&text, 32).unwrap();
    let signals = consent_object(&node, door).unwrap();
    let region: Region = (!region.is_empty()).then(|| region.to_owned());
    read(rules, &signals, region, false)
}

fn decision(rules: &Rules, reading: &Reading, platform: &'static Platform) -> (Decision, Grants) {
    decision_of(rules, reading, platform.name, platform)
}

fn decision_of(
    rules: &Rules,
    reading: &Reading,
    destination: &str,
    platform: &'static Platform,
) -> (Decision, Grants) {
    let ids = rules.vendor_ids(destination, platform.name, platform.vendor_ids());
    let state = reading.seen.state_for(&reading.state, rules, ids);
    let question = Question {
        destination,
        platform: platform.name,
        purposes: &platform.purposes,
        action_source: ActionSource::Website,
        present: FieldSet::all(),
        state: &state,
        sensitive: false,
    };
    let decision = decide(rules, &question);
    // What is kept of it decides the same, however often it is read again.
    let again = state.again(rules, ids);
    assert_eq!(*again, *state);
    (decision, state.grants)
}

fn outcome(decision: &Decision) -> String {
    match &decision.permit {
        Err(code) => code.name().to_owned(),
        Ok(permit) => {
            let flag = if permit.personalization_denied { "*" } else { "" };
            format!("{}{flag}", if permit.limited { "limited" } else { "send" })
        }
    }
}

fn letters(grants: Grants) -> String {
    let letter = |(purpose, _): &(Purpose, &str)| match grants.get(*purpose) {
        Grant::Granted => 'g',
        Grant::Denied => 'd',
        Grant::NotAsked => '-',
    };
    Purpose::ALL.iter().map(letter).collect()
}

#[test]
fn every_signal_in_every_region_under_every_rule() {
    let (rules, page) = (rules(), browser());
    let rows: Vec<Row> = table().into_iter().chain(sections::rows()).collect();
    assert!(rows.len() >= 250, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let door = Door { key: row.header.then_some(&page), sec_gpc: true, ..Door::default() };
        for region in REGIONS {
            let reading = reading_through(&door, &rules, &row.consent, region);
            let state = &reading.state;
            let mut check = |what: &str, found: String, expected: String| {
                if found != expected {
                    wrong.push(format!(
                        "{} in {region:?}, {what}: {found}, expected {expected}",
                        row.name
                    ));
                }
            };
            check("grants", letters(state.grants), row.grants.to_owned());
            check("sources", state.sources.join(" "), row.sources.join(" "));
            check("silent", state.is_silent().to_string(), row.sources.is_empty().to_string());
            let found = [
                (state.opt_out.sale, 's'),
                (state.opt_out.sharing, 'h'),
                (state.opt_out.targeted, 't'),
                (state.provider_only, 'p'),
            ];
            let found = found.iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect();
            check("opt-out", found, out(row, region).to_owned());
            for rule in &RULES {
                let platform = platform(rule.platform).unwrap();
                let (decision, _) = decision_of(&rules, &reading, rule.name, platform);
                check(rule.name, outcome(&decision), expected(row, rule, region));
                if let Ok(permit) = &decision.permit {
                    let is_in = |field: &Field| permit.fields.contains(*field);
                    let found: Vec<Field> = FIELDS.into_iter().filter(is_in).collect();
                    let expected = leaving(row, rule, region);
                    check(rule.name, format!("{found:?}"), format!("{expected:?}"));
                    let removed = FIELDS.into_iter().filter(|f| decision.removed.contains(*f));
                    for field in removed {
                        assert!(!expected.contains(&field), "{}: {field:?}", rule.name);
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_cannot_be_read_is_said_and_never_repeated() {
    for (consent, code) in [
        (json!({"tcf": "SECRET"}), "version"),
        (json!({"tcf": Tc { policy: 2, ..Tc::default() }.text()}), "policy_retired"),
        (json!({"gpp": "SECRET"}), "version"),
        (json!({"us_privacy": "1SEC"}), "alphabet"),
        (json!({"additional_consent": "2~SECRET~dv."}), "alphabet"),
        (json!({"additional_consent": "2~89~dv."}), "without_tcf"),
        (json!({"gcs": "SECRET"}), "form"),
        (json!({"categories": {"S".repeat(20_000): true}}), "too_long"),
        (json!({"cookies": {"CookieConsent": "SECRET"}}), "form"),
        (json!({"gpp": gpp(&[(8, usca(2, 2, 0, [2, 2, 2]))]), "gpp_sid": [9]}), "section_missing"),
    ] {
        let seen = reading(&rules(), &consent, "DE").seen;
        let problem = &seen.problems[0];
        assert_eq!(problem.code, code, "{consent}");
        assert!(!problem.message.contains("SEC"), "{}", problem.message);
        assert!(problem.path.starts_with('/'));
    }
    assert!(reading(&rules(), &all_granted(), "DE").seen.problems.is_empty());
}

#[test]
fn rules_tighten_and_only_in_words_loosen() {
    let google = platform("google_ads").unwrap();
    let meta = platform("meta").unwrap();
    let ask = |rules: &Rules, consent: &Value, region: &str, platform| {
        outcome(&decision(rules, &reading(rules, consent, region), platform).0)
    };
    let granted = json!({"categories": {"C0004": true}});
    let mut tighter = rules();
    tighter.categories.push(("C0004".to_owned(), vec![Purpose::AdStorage]));
    assert_eq!(ask(&rules(), &granted, "DE", google), "send");
    assert_eq!(ask(&tighter, &granted, "DE", google), "no_consent");

    // A string that refuses is refused, unless the site is trusted to say that GDPR does not apply.
    let refused = and(
        all_granted(),
        json!({"tcf": Tc { purposes: vec![], ..Tc::default() }.text(), "gdpr_applies": false}),
    );
    let trusting = Rules { trust_gdpr_applies: true, ..rules() };
    assert_eq!(ask(&rules(), &refused, "DE", google), "no_consent");
    assert_eq!(ask(&trusting, &refused, "DE", google), "send");

    let gpc = and(all_granted(), json!({"gpc": true}));
    let in_opt_out_regions = Rules { gpc_everywhere: false, ..rules() };
    assert_eq!(ask(&rules(), &gpc, "DE", google), "opted_out");
    assert_eq!(ask(&in_opt_out_regions, &gpc, "DE", google), "send");
    assert_eq!(ask(&in_opt_out_regions, &gpc, "US-NY", google), "opted_out");

    use conversion_relay::consent::VendorId;
    let tc = json!({"tcf": Tc::default().text(), "additional_consent": "2~89~dv."});
    let with = |name: &str, tcf, ac| {
        let mut rules = rules();
        let rule = rules.destinations.iter_mut().find(|rule| rule.name == name).unwrap();
        (rule.tcf_vendor_id, rule.ac_provider_id) = (tcf, ac);
        rules
    };
    let none = with("google_ads", VendorId::None, VendorId::None);
    assert_eq!(ask(&none, &tc, "DE", google), "no_consent");
    let beside = and(tc.clone(), all_granted());
    assert_eq!(ask(&none, &beside, "DE", google), "send", "only the string alone cannot grant it");
    assert_eq!(ask(&rules(), &tc, "DE", meta), "send");
    let other = with("meta", VendorId::Id(1126), VendorId::None);
    assert_eq!(ask(&other, &tc, "DE", meta), "send");
    let unknown = with("meta", VendorId::Id(9), VendorId::None);
    assert_eq!(ask(&unknown, &tc, "DE", meta), "no_consent");
}

/// What is queued carries what was said, so that a stricter configuration reaches it.
#[test]
fn a_stricter_configuration_reaches_what_was_kept() {
    let before = Rules { trust_gdpr_applies: true, gpc_everywhere: false, ..rules() };
    let google = platform("google_ads").unwrap().vendor_ids();
    let kept = |consent: &Value| {
        let reading = reading(&before, consent, "DE");
        let state = reading.seen.state_for(&reading.state, &before, google).into_owned();
        let bytes = postcard::to_allocvec(&state).unwrap();
        postcard::from_bytes::<conversion_relay::consent::State>(&bytes).unwrap()
    };
    let tc = kept(&json!({"tcf": Tc::default().text()}));
    assert_eq!(letters(tc.again(&before, google).grants), "ggg-");
    let other = conversion_relay::consent::VendorIds { tcf: Some(804), ac: None };
    assert_eq!(letters(tc.again(&before, other).grants), "ddd-", "nobody knows any more");
    let none = conversion_relay::consent::VendorIds::default();
    assert_eq!(letters(tc.again(&before, none).grants), "----");

    let refused = kept(&and(
        all_granted(),
        json!({"tcf": Tc { purposes: vec![], ..Tc::default() }.text(), "gdpr_applies": false}),
    ));
    assert_eq!(letters(refused.grants), "gggg");
    assert_eq!(letters(refused.again(&rules(), google).grants), "dddd");

    let gpc = kept(&and(all_granted(), json!({"gpc": true})));
    assert!(!gpc.opt_out.any() && gpc.again(&rules(), google).opt_out.any());

    let category = kept(&json!({"categories": {"C0004": true}}));
    let mut tighter = rules();
    tighter.categories.push(("C0004".to_owned(), Vec::new()));
    assert_eq!(letters(category.grants), "ggg-");
    assert_eq!(letters(category.again(&tighter, google).grants), "----");
}
