//! Every signal × every region × every destination's rule, against a table and an oracle that were
//! written from the interface's words and the frameworks' specifications, not from the code.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use conversion_relay::{
    consent::{
        Decision, DestinationRule, Grant, Grants, InRegion, IpForm, Model, Purpose, Question,
        Reading, Region, RegionRule, Role, Rules, WhenOptedOut, decide, read,
    },
    destinations::{Platform, platform},
    event::{ActionSource, FieldSet},
    sources::{Door, consent_object, json},
};
use serde_json::{Value, json};

use crate::strings::{Tc, gpp, us_section, usca};

// === the table ===

/// What one event says, and what that means.
struct Row {
    name: &'static str,
    /// The consent object.
    consent: Value,
    /// Storage, user data, personalisation, analytics: granted, denied, or not asked.
    grants: &'static str,
    /// The same for Meta (by Google's list), Google, LinkedIn (by IAB's) and TikTok (by none), where
    /// vendors make it differ.
    vendors: Option<[&'static str; 4]>,
    /// `s`ale, s`h`aring, `t`argeting: in California, and elsewhere.
    out: [&'static str; 2],
    minor: bool,
    /// The signals that are read.
    sources: &'static [&'static str],
}

fn row(
    name: &'static str,
    consent: Value,
    grants: &'static str,
    sources: &'static [&'static str],
) -> Row {
    Row { name, consent, grants, vendors: None, out: ["", ""], minor: false, sources }
}

impl Row {
    fn vendors(self, vendors: [&'static str; 4]) -> Self {
        Self { vendors: Some(vendors), ..self }
    }

    fn out(self, out: &'static str) -> Self {
        Self { out: [out, out], ..self }
    }
}

fn cookie(name: &str, value: &str) -> Value {
    json!({"cookies": {name: value}})
}

fn onetrust(groups: &str, rest: &str) -> Value {
    let consent = format!("interactionCount=1&groups={groups}{rest}");
    json!({"cookies": {"OptanonConsent": consent, "OptanonAlertBoxClosed": "2026-11-02T10:00:00Z"}})
}

/// `a` with the fields of `b`.
fn and(mut a: Value, mut b: Value) -> Value {
    a.as_object_mut().unwrap().append(b.as_object_mut().unwrap());
    a
}

fn all_granted() -> Value {
    json!({"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted", "analytics_storage": "granted"})
}

#[rustfmt::skip]
fn table() -> Vec<Row> {
    let tc = |change: fn(&mut Tc)| { let mut tc = Tc::default(); change(&mut tc); json!({"tcf": tc.text()}) };
    let section = |id: u32, text: String| json!({"gpp": gpp(&[(id, text)])});
    let mspa = [2, 2, 2];
    let didomi = BASE64_STANDARD.encode(r#"{"purposes":{"enabled":["ads"],"disabled":["stats"]}}"#);
    vec![
        row("nothing", json!({}), "----", &[]),
        // Consent Mode
        row("granted", all_granted(), "gggg", &["consent_mode"]),
        row("no storage", and(all_granted(), json!({"ad_storage": "denied"})), "dggg", &["consent_mode"]),
        row("no user data", and(all_granted(), json!({"ad_user_data": "denied"})), "gdgg", &["consent_mode"]),
        row("no personalisation", and(all_granted(), json!({"ad_personalization": "denied"})), "ggdg", &["consent_mode"]),
        row("no analytics", and(all_granted(), json!({"analytics_storage": "denied"})), "gggd", &["consent_mode"]),
        row("storage only", json!({"ad_storage": "granted"}), "g---", &["consent_mode"]),
        row("gcs grants nothing", json!({"gcs": "G111"}), "----", &[]),
        row("gcs denies", and(all_granted(), json!({"gcs": "G101"})), "dggg", &["consent_mode", "gcs"]),
        row("gcs unreadable", json!({"gcs": "G9"}), "----", &[]),
        row("gcd grants nothing", json!({"gcd": "13r3r3r3r5l1"}), "----", &[]),
        row("gcd denies", and(all_granted(), json!({"gcd": "13r3m3q3u5l1"})), "gddd", &["consent_mode", "gcd"]),
        row("gcd with GPC", json!({"gcd": "13r3r3r3rdl1"}), "----", &["gcd"]).out("sht"),
        // TCF
        row("tcf", tc(|_| ()), "ggg-", &["tcf"]).vendors(["----", "ggg-", "ggg-", "----"]),
        row("tcf without purpose 7", tc(|tc| tc.purposes = vec![1, 3, 4]), "gdg-", &["tcf"])
            .vendors(["-d--", "gdg-", "gdg-", "-d--"]),
        row("tcf without purpose 1", tc(|tc| tc.purposes = vec![3, 4, 7]), "ddgd", &["tcf"])
            .vendors(["dd-d", "ddgd", "ddgd", "dd-d"]),
        row("tcf without purpose 4", tc(|tc| tc.purposes = vec![1, 3, 7]), "ggd-", &["tcf"])
            .vendors(["--d-", "ggd-", "ggd-", "--d-"]),
        row("tcf without LinkedIn", tc(|tc| tc.vendors = vec![755]), "ggg-", &["tcf"])
            .vendors(["----", "ggg-", "ddd-", "----"]),
        row("tcf not shown to Google", tc(|tc| tc.disclosed = Some(vec![804])), "ggg-", &["tcf"])
            .vendors(["----", "ddd-", "ggg-", "----"]),
        row("tcf without disclosure", tc(|tc| tc.disclosed = None), "ggg-", &["tcf"])
            .vendors(["----", "ddd-", "ddd-", "----"]),
        row("tcf without disclosure, before it was due", tc(|tc| { tc.disclosed = None; tc.day = 20_500; }), "ggg-", &["tcf"])
            .vendors(["----", "ggg-", "ggg-", "----"]),
        row("tcf, purpose 7 forbidden to Google", tc(|tc| tc.restrictions = vec![(7, 0, vec![755])]), "ggg-", &["tcf"])
            .vendors(["----", "gdg-", "ggg-", "----"]),
        row("tcf, consent required of Google", tc(|tc| tc.restrictions = vec![(7, 1, vec![755])]), "ggg-", &["tcf"])
            .vendors(["----", "ggg-", "ggg-", "----"]),
        row("tcf of an old policy", tc(|tc| tc.policy = 2), "dddd", &["tcf"]),
        row("tcf of version 1", tc(|tc| tc.version = 1), "dddd", &["tcf"]),
        row("tcf unreadable", json!({"tcf": "nonsense"}), "dddd", &["tcf"]),
        row("tcf too long", json!({"tcf": "C".repeat(20_000)}), "dddd", &["tcf"]),
        row("tcf not filled in", json!({"tcf": "${GDPR_CONSENT_755}"}), "----", &[]),
        row("tcf where GDPR is said not to apply", and(tc(|tc| tc.purposes = vec![]), json!({"gdpr_applies": false})), "dddd", &["tcf"]),
        row("tcf in its cookie", cookie("euconsent-v2", &Tc::default().text()), "ggg-", &["tcf"])
            .vendors(["----", "ggg-", "ggg-", "----"]),
        row("tcf beside a grant of all", and(all_granted(), tc(|tc| tc.vendors = vec![755])), "gggg", &["consent_mode", "tcf"])
            .vendors(["gggg", "gggg", "dddg", "gggg"]),
        row("tcf refused beside a grant of all", and(all_granted(), tc(|tc| tc.purposes = vec![])), "dddd", &["consent_mode", "tcf"]),
        // Additional Consent
        row("Meta consented", and(tc(|_| ()), json!({"additional_consent": "2~89.100~dv.7"})), "ggg-", &["tcf", "additional_consent"])
            .vendors(["ggg-", "ggg-", "ggg-", "----"]),
        row("Meta shown only", and(tc(|_| ()), json!({"additional_consent": "2~100~dv.89"})), "ggg-", &["tcf", "additional_consent"])
            .vendors(["ddd-", "ggg-", "ggg-", "----"]),
        row("Meta consented, but no purpose 7", and(tc(|tc| tc.purposes = vec![1]), json!({"additional_consent": "1~89"})), "gdd-", &["tcf", "additional_consent"])
            .vendors(["gdd-", "gdd-", "gdd-", "-dd-"]),
        row("providers unreadable", and(tc(|_| ()), json!({"additional_consent": "3~89"})), "ggg-", &["tcf", "additional_consent"])
            .vendors(["ddd-", "ggg-", "ggg-", "----"]),
        row("providers alone", json!({"additional_consent": "2~89~dv."}), "----", &[]),
        // GPP
        row("California, nothing", section(8, usca(2, 2, 0, mspa)), "----", &["gpp:usca"]),
        row("California, sale", section(8, usca(1, 2, 0, mspa)), "----", &["gpp:usca"]).out("s"),
        row("California, sharing", section(8, usca(2, 1, 0, mspa)), "----", &["gpp:usca"]).out("h"),
        row("California, reserved", section(8, usca(3, 2, 0, mspa)), "----", &["gpp:usca"]).out("s"),
        row("California, GPC", section(8, usca(2, 2, 0, mspa) + ".YA"), "----", &["gpp:usca"]).out("sht"),
        row("California, a child", section(8, usca(2, 2, 1, mspa)), "----", &["gpp:usca"]).minor(),
        row("Virginia, targeting", section(9, us_section(&[&[1, 1, 1, 2, 1][..], &[0; 9], &mspa].concat())), "----", &["gpp:usva"]).out("t"),
        row("Virginia, sale without notice", section(9, us_section(&[&[1, 2, 1, 2, 2][..], &[0; 9], &mspa].concat())), "----", &["gpp:usva"]).out("s"),
        row("service provider mode", section(8, usca(2, 2, 0, [1, 2, 1])), "----", &["gpp:usca"]).out("p"),
        row("an unreadable US section", json!({"gpp": gpp(&[(8, "BU".to_owned())])}), "----", &["gpp:usca"]).out("sht"),
        row("gpp unreadable", json!({"gpp": "nonsense"}), "dddd", &["gpp"]).out("sht"),
        row("a section that does not apply", json!({"gpp": gpp(&[(7, us_section(&[&[1; 6][..], &[2; 3], &[0; 15], &mspa].concat())), (8, usca(1, 1, 0, mspa))]), "gpp_sid": [7]}), "----", &["gpp:usnat"]),
        row("US privacy in gpp", json!({"gpp": gpp(&[(6, "1YYN".to_owned())])}), "----", &["gpp:uspv1"]).out("s"),
        row("tcf in gpp", section(2, Tc::default().text()), "ggg-", &["gpp:tcfeuv2"])
            .vendors(["----", "ggg-", "ggg-", "----"]),
        row("tcf in gpp, unreadable", section(2, "CX".to_owned()), "dddd", &["gpp:tcfeuv2"]),
        row("tcf in gpp, stricter than the other", json!({"tcf": Tc::default().text(), "gpp": gpp(&[(2, Tc { vendors: vec![804], ..Tc::default() }.text())])}), "ggg-", &["tcf", "gpp:tcfeuv2"])
            .vendors(["----", "ddd-", "ggg-", "----"]),
        // US privacy
        row("1YYN", json!({"us_privacy": "1YYN"}), "----", &["us_privacy"]).out("s"),
        row("1YNN", json!({"us_privacy": "1YNN"}), "----", &["us_privacy"]),
        row("1NNN", json!({"us_privacy": "1NNN"}), "----", &["us_privacy"]).out_in_california("s"),
        row("us_privacy unreadable", json!({"us_privacy": "2YNN"}), "----", &["us_privacy"]).out("s"),
        // GPC, DNT, opt_out
        row("GPC", json!({"gpc": true}), "----", &["gpc"]).out("sht"),
        row("no GPC", json!({"gpc": false}), "----", &[]),
        row("GPC beats a grant", and(all_granted(), json!({"gpc": true})), "gggg", &["consent_mode", "gpc"]).out("sht"),
        row("DNT is recorded", json!({"dnt": true}), "----", &[]),
        row("opted out of targeting", json!({"opt_out": {"targeted": true}}), "----", &["opt_out"]).out("t"),
        row("opted out of all", json!({"opt_out": true}), "----", &["opt_out"]).out("sht"),
        row("not opted out", json!({"opt_out": false}), "----", &[]),
        // Consent platforms
        row("categories", json!({"categories": {"C0004": true, "C0002": false}}), "gggd", &["categories"]),
        row("a category of the site's own", json!({"categories": {"Advertising": true}}), "gg--", &["categories"]),
        row("a category that nobody knows", json!({"categories": {"c0004": true, "marketing": true}}), "----", &["categories"]),
        row("a refused category beside a grant", and(all_granted(), json!({"categories": {"C0004": false}})), "dddg", &["consent_mode", "categories"]),
        row("consent to e-mail", json!({"categories": {"buyer_accepts_marketing": true}}), "----", &[]),
        row("Shopify", json!({"categories": {"marketingAllowed": true, "saleOfDataAllowed": true, "analyticsProcessingAllowed": false}}), "gggd", &["shopify"]),
        row("Shopify without sale", json!({"categories": {"marketingAllowed": true, "saleOfDataAllowed": false}}), "ggg-", &["shopify"]).out("s"),
        row("OneTrust", onetrust("C0001:1,C0002:0,C0004:1", ""), "gggd", &["onetrust"]),
        row("OneTrust, its box still open", cookie("OptanonConsent", "interactionCount=1&groups=C0002:0,C0004:1"), "---d", &["onetrust"]),
        row("OneTrust not answered", cookie("OptanonConsent", "interactionCount=0&groups=C0004:1"), "----", &[]),
        row("OneTrust with GPC", onetrust("C0004:1", "&isGpcEnabled=1"), "ggg-", &["onetrust"]).out("sht"),
        row("OneTrust unreadable", cookie("OptanonConsent", "interactionCount=1"), "dddd", &["onetrust"]),
        row("Cookiebot", cookie("CookieConsent", "{stamp:'x',necessary:true,statistics:true,marketing:false,method:'explicit'}"), "dddg", &["cookiebot"]),
        row("Cookiebot implied", cookie("CookieConsent", "{stamp:'-1',marketing:true,method:'implied'}"), "----", &[]),
        row("CookieYes", cookie("cookieyes-consent", "consent:yes,action:yes,analytics:no,advertisement:yes"), "gggd", &["cookieyes"]),
        row("Usercentrics", cookie("uc_settings", r#"{"type":"explicit","ucCategory":{"marketing":true}}"#), "ggg-", &["usercentrics"]),
        row("Didomi", cookie("didomi_token", &didomi), "---d", &["didomi"]),
        row("US privacy in its cookie", cookie("usprivacy", "1YYN"), "----", &["us_privacy"]).out("s"),
    ]
}

impl Row {
    fn minor(self) -> Self {
        Self { minor: true, ..self }
    }

    fn out_in_california(self, out: &'static str) -> Self {
        Self { out: [out, ""], ..self }
    }
}

// === the oracle ===

const DESTINATIONS: [&str; 5] = ["meta", "google_ads", "linkedin", "tiktok", "ga4"];
const REGIONS: [&str; 7] = ["DE", "GB", "", "BR", "US-NY", "US-CA", "US"];

/// What becomes of a row at a destination, in a region.
fn expected(row: &Row, destination: &str, region: &str) -> String {
    if row.minor {
        return "minor".to_owned();
    }
    let is_us = region.starts_with("US");
    let grants = match (row.vendors, destination) {
        (Some([meta, ..]), "meta") => meta,
        (Some([_, google, ..]), "google_ads" | "ga4") => google,
        (Some([_, _, linkedin, _]), "linkedin") => linkedin,
        (Some([.., tiktok]), "tiktok") => tiktok,
        _ => row.grants,
    };
    let [storage, user_data, personalization, analytics]: [char; 4] =
        grants.chars().collect::<Vec<_>>().try_into().unwrap();
    let needed = if destination == "ga4" { vec![analytics] } else { vec![storage, user_data] };
    if needed.contains(&'d') {
        return "no_consent".to_owned();
    }
    if !is_us && needed.contains(&'-') {
        return if row.sources.is_empty() { "no_signal" } else { "no_consent" }.to_owned();
    }
    // A country without its state, and no region at all, may be California.
    let [california, elsewhere] = row.out;
    let out = if matches!(region, "US-CA" | "US" | "") { california } else { elsewhere };
    let mut outcome = match (out.is_empty(), destination) {
        (true, _) => "send",
        (false, "meta" | "tiktok") if is_us => "limited",
        (false, "ga4") => "send",
        (false, _) => return "opted_out".to_owned(),
    }
    .to_owned();
    let has_flag = matches!(destination, "meta" | "google_ads" | "ga4");
    match personalization {
        'd' if !has_flag => return "no_consent".to_owned(),
        'd' => outcome.push('*'),
        '-' if !is_us && has_flag => outcome.push('*'),
        _ => {}
    }
    outcome
}

// === what is tested ===

fn rules() -> Rules {
    let region = |name: &str, matches: &[&str], model, ip| RegionRule {
        name: name.to_owned(),
        matches: matches.iter().map(|m| (*m).to_owned()).collect(),
        model,
        ip,
    };
    let destination = |name: &str| {
        let platform = platform(name).unwrap();
        let in_us = |outcome| InRegion {
            region: "us".to_owned(),
            when_opted_out: Some(outcome),
            ..InRegion::default()
        };
        let mut rule = DestinationRule {
            needs: platform.purposes.needs.unwrap().to_vec(),
            may_send: Some(FieldSet::all()),
            ..DestinationRule::named(name)
        };
        match name {
            "meta" | "tiktok" => rule.regions = vec![in_us(WhenOptedOut::Limited)],
            "ga4" => {
                rule.role = Some(Role::Processor);
                rule.when_opted_out = WhenOptedOut::Send;
            }
            _ => {}
        }
        rule
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
        destinations: DESTINATIONS.map(destination).to_vec(),
        ..Rules::deny_all()
    }
}

fn reading(rules: &Rules, consent: &Value, region: &str) -> Reading {
    let text = consent.to_string();
    let node = json::parse(&text, 32).unwrap();
    let signals = consent_object(&node, &Door::default()).unwrap();
    let region: Region = (!region.is_empty()).then(|| region.to_owned());
    read(rules, &signals, region, false)
}

fn decision(rules: &Rules, reading: &Reading, platform: &'static Platform) -> (Decision, Grants) {
    let ids = rules.vendor_ids(platform.name, platform.name, platform.vendor_ids());
    let state = reading.seen.state_for(&reading.state, rules, ids);
    let question = Question {
        destination: platform.name,
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
fn every_signal_in_every_region_at_every_destination() {
    let (rules, table) = (rules(), table());
    assert!(table.len() >= 80, "{} rows", table.len());
    let mut wrong = Vec::new();
    for row in &table {
        for region in REGIONS {
            let reading = reading(&rules, &row.consent, region);
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
            let [california, elsewhere] = row.out;
            let out = if matches!(region, "US-CA" | "US" | "") { california } else { elsewhere };
            let found = [
                (state.opt_out.sale, 's'),
                (state.opt_out.sharing, 'h'),
                (state.opt_out.targeted, 't'),
                (state.provider_only, 'p'),
            ];
            let found = found.iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect();
            check("opt-out", found, out.to_owned());
            for name in DESTINATIONS {
                let (decision, _) = decision(&rules, &reading, platform(name).unwrap());
                check(name, outcome(&decision), expected(row, name, region));
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
