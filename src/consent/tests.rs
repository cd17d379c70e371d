//! The decision against a small table written from the rules' own words, not from the code.

use super::*;
use crate::event::{ActionSource, Field, FieldSet};

const TAKES: FieldSet = FieldSet::of(&[
    Field::Email,
    Field::Ip,
    Field::UserAgent,
    Field::PageUrl,
    Field::Fbp,
    Field::ItemNames,
    Field::Items,
    Field::Value,
    Field::Currency,
]);

fn default_fields(_: ActionSource) -> FieldSet {
    FieldSet::of(&[Field::UserAgent, Field::PageUrl, Field::Fbp])
}

fn can_restrict(region: &Region, has_ip: bool, _: ActionSource) -> bool {
    has_ip || region.as_deref() == Some("US-CA")
}

const PURPOSES: Purposes = Purposes {
    needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
    personalization_flag: true,
    restricted_in: &["US"],
    can_restrict,
    default_fields,
    takes: TAKES,
    with_ad_user_data: FieldSet::EMPTY,
};

fn rule(name: &str) -> DestinationRule {
    DestinationRule {
        needs: vec![Purpose::AdStorage, Purpose::AdUserData],
        ..DestinationRule::named(name)
    }
}

fn rules() -> Rules {
    let region = |name: &str, matches: &[&str], model, ip| RegionRule {
        name: name.to_owned(),
        matches: matches.iter().map(|m| (*m).to_owned()).collect(),
        model,
        ip,
    };
    Rules {
        version: "1".to_owned(),
        require_approval: false,
        region_from: vec![RegionSource::Event],
        gpc_everywhere: true,
        regions: vec![
            region("europe", &["EEA", "GB", "CH"], Model::OptIn, IpForm::None),
            region("us", &["US"], Model::OptOut, IpForm::Full),
            region("california", &["US-CA"], Model::OptOut, IpForm::Truncated),
            region("other", &["*"], Model::OptIn, IpForm::None),
        ],
        destinations: vec![rule("platform")],
        ..Rules::deny_all()
    }
}

fn state(region: &str, grants: &str, opt_out: bool) -> State {
    let grant = |letter: char| match letter {
        'g' => Grant::Granted,
        'd' => Grant::Denied,
        _ => Grant::NotAsked,
    };
    let mut letters = grants.chars().map(grant);
    let mut next = || letters.next().unwrap_or_default();
    let grants = Grants {
        ad_storage: next(),
        ad_user_data: next(),
        ad_personalization: next(),
        analytics_storage: next(),
    };
    let mut sources = Vec::new();
    if grants != Grants::default() {
        sources.push("consent_mode".to_owned());
    }
    let mut out = OptOut::default();
    if opt_out {
        sources.push("gpc".to_owned());
        out = OptOut { sale: true, sharing: true, targeted: true, sources: vec!["gpc".to_owned()] };
    }
    State {
        region: (!region.is_empty()).then(|| region.to_owned()),
        grants,
        opt_out: out,
        sources,
        ..State::default()
    }
}

fn ask(rules: &Rules, state: &State) -> Decision {
    let question = Question {
        destination: "dest",
        platform: "platform",
        purposes: &PURPOSES,
        action_source: ActionSource::Website,
        present: TAKES,
        state,
        sensitive: false,
    };
    decide(rules, &question)
}

/// region, grants (storage, user data, personalisation, analytics), opt-out → held code, or `send`
/// with a star where the personalisation flag is set.
const TABLE: &[(&str, &str, bool, &str)] = &[
    // Opt-in: nothing leaves without a grant of all that is needed.
    ("DE", "----", false, "no_signal"),
    ("DE", "gg--", false, "send*"),
    ("DE", "ggg-", false, "send"),
    ("DE", "ggd-", false, "send*"),
    ("DE", "g---", false, "no_consent"),
    ("DE", "---g", false, "no_consent"),
    ("DE", "gd--", false, "no_consent"),
    ("DE", "ggg-", true, "opted_out"),
    ("DE", "----", true, "no_consent"),
    ("NO", "----", false, "no_signal"),
    ("GB", "----", false, "no_signal"),
    // Unknown and unlisted regions are opt-in.
    ("", "----", false, "no_signal"),
    ("", "ggg-", false, "send"),
    ("BR", "----", false, "no_signal"),
    // Opt-out: allowed until somebody says no.
    ("US", "----", false, "send"),
    ("US-NY", "----", false, "send"),
    ("US-NY", "d---", false, "no_consent"),
    ("US-NY", "-d--", false, "no_consent"),
    ("US-NY", "--d-", false, "send*"),
    ("US-NY", "----", true, "opted_out"),
    ("US-NY", "gggg", true, "opted_out"),
    // A denial is never softened into an opt-out's outcome.
    ("US-NY", "d---", true, "no_consent"),
];

#[test]
fn the_table_holds() {
    let rules = rules();
    for (region, grants, opt_out, expected) in TABLE {
        let decision = ask(&rules, &state(region, grants, *opt_out));
        let found = match &decision.permit {
            Ok(permit) if permit.personalization_denied => "send*",
            Ok(_) => "send",
            Err(code) => code.name(),
        };
        assert_eq!(found, *expected, "{region} {grants} opt-out {opt_out}: {decision:?}");
    }
}

#[test]
fn no_entry_means_nothing_leaves() {
    let rules = Rules { destinations: Vec::new(), ..rules() };
    let decision = ask(&rules, &state("US", "gggg", false));
    assert_eq!(decision.permit, Err(ReasonCode::NoRule));
}

#[test]
fn a_minor_is_held_whatever_was_granted() {
    let state = State { minor: true, ..state("US", "gggg", false) };
    assert_eq!(ask(&rules(), &state).permit, Err(ReasonCode::Minor));
}

#[test]
fn the_most_specific_region_wins_and_cuts_the_address() {
    let ip = |region: &str| ask(&rules(), &state(region, "gggg", false)).permit.unwrap().ip;
    assert_eq!(ip("US"), IpForm::Full);
    assert_eq!(ip("US-TX"), IpForm::Full);
    assert_eq!(ip("US-CA"), IpForm::Truncated);
    assert_eq!(ip("FR"), IpForm::None);
}

#[test]
fn restricted_mode_only_where_its_law_holds() {
    let mut rules = rules();
    rules.destinations[0].when_opted_out = WhenOptedOut::Limited;
    rules.destinations[0].may_send = FieldSet::group("context");
    let us = ask(&rules, &state("US-NY", "gggg", true));
    assert!(us.permit.as_ref().unwrap().limited, "{us:?}");
    assert_eq!(us.reasons[0].code, ReasonCode::OptedOut);
    let german = ask(&rules, &state("DE", "gggg", true));
    assert_eq!(german.permit, Err(ReasonCode::OptedOut));
    // Without an address only a state that the platform's table knows can be named.
    rules.destinations[0].may_send = None;
    assert_eq!(ask(&rules, &state("US-NY", "gggg", true)).permit, Err(ReasonCode::OptedOut));
    assert!(ask(&rules, &state("US-CA", "gggg", true)).permit.is_ok());
}

#[test]
fn a_regions_outcome_has_its_own_rule_id() {
    let mut rules = rules();
    rules.destinations[0].regions = vec![InRegion {
        region: "us".to_owned(),
        when_opted_out: Some(WhenOptedOut::Send),
        ..InRegion::default()
    }];
    let decision = ask(&rules, &state("US-NY", "gggg", true));
    assert!(decision.permit.is_ok());
    assert_eq!(decision.reasons[0].rule, "platform/us");
}

#[test]
fn a_region_may_be_stricter() {
    let mut rules = rules();
    rules.destinations[0].may_send = Some(FieldSet::of(&[Field::Email]));
    rules.destinations[0].never_send = FieldSet::of(&[Field::Phone]);
    rules.destinations[0].regions = vec![InRegion {
        region: "us".to_owned(),
        needs: Some(vec![Purpose::AnalyticsStorage]),
        may_send: Some((FieldSet::of(&[Field::Email, Field::Phone]), vec!["channel".to_owned()])),
        never_send: FieldSet::of(&[Field::Email]),
        never_send_properties: vec!["margin".to_owned()],
        when_personalization_denied: Some(WhenDenied::Drop),
        ..InRegion::default()
    }];
    let permit = ask(&rules, &state("US-NY", "--gg", false)).permit.unwrap();
    assert!(!permit.fields.contains(Field::Email) && !permit.fields.contains(Field::Phone));
    assert!(permit.allows_property("channel") && !permit.allows_property("margin"));
    let elsewhere = ask(&rules, &state("DE", "ggg-", false)).permit.unwrap();
    assert!(elsewhere.fields.contains(Field::Email), "as everywhere");
    for (grants, rule) in [("ggdg", "platform/us"), ("gggd", "platform/us")] {
        let decision = ask(&rules, &state("US-NY", grants, false));
        assert_eq!(decision.permit, Err(ReasonCode::NoConsent), "{grants}");
        assert_eq!(decision.reasons[0].rule, rule, "{grants}");
    }
}

#[test]
fn allow_list_and_never_send() {
    let mut rules = rules();
    let fields = |rules: &Rules| ask(rules, &state("US", "gggg", false)).permit.unwrap().fields;
    // By default: what is required and the platform's own click ids; never `user.*`.
    assert!(!fields(&rules).contains(Field::Email));
    assert!(fields(&rules).contains(Field::Fbp));
    assert!(fields(&rules).contains(Field::Value), "always sent");
    rules.destinations[0].may_send = FieldSet::group("user");
    assert!(fields(&rules).contains(Field::Email));
    assert!(!fields(&rules).contains(Field::Fbp));
    rules.destinations[0].never_send = FieldSet::of(&[Field::Email]);
    assert!(!fields(&rules).contains(Field::Email));
    let decision = ask(&rules, &state("US", "gggg", false));
    assert!(decision.removed.contains(Field::Email), "{:?}", decision.removed);
}

#[test]
fn what_is_for_advertising_leaves_as_ad_user_data_lets_it() {
    const EMAIL: FieldSet = FieldSet::of(&[Field::Email]);
    let purposes = Purposes { with_ad_user_data: EMAIL, ..PURPOSES };
    let mut rules = rules();
    rules.destinations[0].needs = vec![Purpose::AnalyticsStorage];
    rules.destinations[0].may_send = Some(FieldSet::all());
    for (region, grants, leaves) in [
        ("US-NY", "-g-g", true),
        ("US-NY", "---g", true),
        // Denied personalisation is another question.
        ("US-NY", "--dg", true),
        ("US-NY", "-d-g", false),
        ("US-NY", "-dgg", false),
        ("DE", "-gdg", true),
        ("DE", "-d-g", false),
        // Silence is no grant where the law wants one.
        ("DE", "--gg", false),
    ] {
        let state = state(region, grants, false);
        let question = Question {
            destination: "dest",
            platform: "platform",
            purposes: &purposes,
            action_source: ActionSource::Website,
            present: TAKES,
            state: &state,
            sensitive: false,
        };
        let decision = decide(&rules, &question);
        let case = format!("{region} {grants}: {decision:?}");
        assert_eq!(decision.permit.unwrap().fields.contains(Field::Email), leaves, "{case}");
        assert_eq!(decision.removed.contains(Field::Email), !leaves, "{case}");
        let said = decision.reasons.iter().any(|it| it.message.contains("ad_user_data"));
        assert_eq!(said, !leaves, "{case}");
    }
}

#[test]
fn a_sensitive_site_is_opt_in_everywhere_and_shows_no_page() {
    let rules = rules();
    let mut question = Question {
        destination: "dest",
        platform: "platform",
        purposes: &PURPOSES,
        action_source: ActionSource::Website,
        present: TAKES,
        state: &state("US", "----", false),
        sensitive: true,
    };
    assert_eq!(decide(&rules, &question).permit, Err(ReasonCode::NoSignal));
    let granted = state("US", "gggg", false);
    question.state = &granted;
    let permit = decide(&rules, &question).permit.unwrap();
    assert!(!permit.fields.contains(Field::PageUrl));
    assert!(!permit.fields.contains(Field::Ip));
    assert!(permit.fields.contains(Field::Fbp));
}

#[test]
fn a_destinations_own_entry_replaces_its_platforms_whole() {
    let mut rules = rules();
    rules.destinations.push(DestinationRule {
        needs: vec![Purpose::AnalyticsStorage],
        ..DestinationRule::named("dest")
    });
    let decision = ask(&rules, &state("DE", "---g", false));
    assert!(decision.permit.is_ok(), "{decision:?}");
}

#[test]
fn gpc_counts_everywhere_or_in_opt_out_regions() {
    let mut rules = rules();
    let signals = Signals { gpc: Some(true), ..Signals::default() };
    let read =
        |rules: &Rules, region: &str| read(rules, &signals, Some(region.to_owned()), false).state;
    assert!(read(&rules, "DE").opt_out.any());
    rules.gpc_everywhere = false;
    assert!(!read(&rules, "DE").opt_out.any());
    assert!(read(&rules, "US").opt_out.any());
    assert_eq!(read(&rules, "DE").sources, ["gpc"]);
}

#[test]
fn regions_are_read_in_order_and_canonical() {
    assert_eq!(canonical_region("us_ca"), Some("US-CA".to_owned()));
    assert_eq!(canonical_region("uk"), Some("GB".to_owned()));
    for unknown in ["XX", "T1", "", "USA", "U", "US-", "1A"] {
        assert_eq!(canonical_region(unknown), None, "{unknown}");
    }
    let whereabouts = Whereabouts {
        event_is_believed: false,
        headers: vec![("cf-ipcountry".to_owned(), "DE".to_owned())],
        address: None,
        ..Whereabouts::default()
    };
    let order =
        [RegionSource::Event, RegionSource::Header("CF-IPCountry".to_owned()), RegionSource::Geoip];
    let geoip = || Some("FR".to_owned());
    assert_eq!(whereabouts.region(&order, Some("US"), &geoip), Some("DE".to_owned()));
    let server = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    assert_eq!(server.region(&order, Some("US"), &geoip), Some("US".to_owned()));
    assert_eq!(server.region(&order, None, &geoip), Some("FR".to_owned()));
}

#[test]
fn a_string_is_overruled_by_whoever_else_is_stricter() {
    let overruled = |change: fn(&mut Signals)| {
        let tcf = "CQlH_MAQlH_MAAcADBENCyFgALIAAAAAAAYgF5wAQF5gAAABHAAQF5gA.IF5wAQF5gAAA";
        let mut signals = Signals { tcf: Some(tcf.to_owned()), ..Signals::default() };
        change(&mut signals);
        let state = read(&rules(), &signals, Some("DE".to_owned()), false).state;
        assert!(state.sources.iter().any(|source| source == "tcf"), "{state:?}");
        state.is_overruled(&rules())
    };
    assert!(!overruled(|_| {}));
    assert!(!overruled(|signals| signals.grants.ad_storage = Grant::Granted));
    assert!(
        !overruled(|signals| signals.grants.analytics_storage = Grant::Denied),
        "no string of TCF speaks of it"
    );
    assert!(overruled(|signals| signals.grants.ad_storage = Grant::Denied));
    assert!(overruled(|signals| signals.grants.ad_user_data = Grant::Denied));
    assert!(overruled(|signals| signals.grants.ad_personalization = Grant::Denied));
    assert!(overruled(|signals| signals.gcs = Some("G100".to_owned())));
    assert!(overruled(|signals| signals.gpc = Some(true)));
    assert!(overruled(|signals| signals.opt_out.sale = Some(true)));
    assert!(overruled(|signals| signals.us_privacy = Some("1YYN".to_owned())));
}
