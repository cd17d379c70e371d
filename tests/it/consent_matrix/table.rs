//! What one event says of consent, and what that means: a row for each signal and its values.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::strings::{Tc, gpp, us_section, usca};

/// What one event says, and what that means.
pub(super) struct Row {
    pub(super) name: String,
    /// The consent object.
    pub(super) consent: Value,
    /// Storage, user data, personalisation, analytics: granted, denied, or not asked.
    pub(super) grants: &'static str,
    /// The same for Meta (by Google's list), Google, LinkedIn (by IAB's) and TikTok (by none), where
    /// vendors make it differ.
    pub(super) vendors: Option<[&'static str; 4]>,
    /// `s`ale, s`h`aring, `t`argeting: in California, and elsewhere.
    pub(super) out: [&'static str; 2],
    pub(super) minor: bool,
    /// The signals that are read.
    pub(super) sources: Vec<String>,
    /// The browser sent `Sec-GPC: 1`.
    pub(super) header: bool,
}

pub(super) fn row(name: &str, consent: Value, grants: &'static str, sources: &[&str]) -> Row {
    let sources = sources.iter().map(|source| (*source).to_owned()).collect();
    let (name, out) = (name.to_owned(), ["", ""]);
    Row { name, consent, grants, vendors: None, out, minor: false, sources, header: false }
}

impl Row {
    fn vendors(self, vendors: [&'static str; 4]) -> Self {
        Self { vendors: Some(vendors), ..self }
    }

    pub(super) fn out(self, out: &'static str) -> Self {
        Self { out: [out, out], ..self }
    }

    pub(super) fn minor(self) -> Self {
        Self { minor: true, ..self }
    }

    fn out_in_california(self, out: &'static str) -> Self {
        Self { out: [out, ""], ..self }
    }

    fn with_header(self) -> Self {
        Self { header: true, ..self }
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
pub(super) fn and(mut a: Value, mut b: Value) -> Value {
    a.as_object_mut().unwrap().append(b.as_object_mut().unwrap());
    a
}

pub(super) fn all_granted() -> Value {
    json!({"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted", "analytics_storage": "granted"})
}

#[rustfmt::skip]
pub(super) fn table() -> Vec<Row> {
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
        row("gcs beside silence denies", json!({"gcs": "G100"}), "d--d", &["gcs"]),
        row("gcs gives no consent back", and(json!({"ad_storage": "denied"}), json!({"gcs": "G111"})), "d---", &["consent_mode"]),
        row("gcs denies", and(all_granted(), json!({"gcs": "G101"})), "dggg", &["consent_mode", "gcs"]),
        row("gcs unreadable", json!({"gcs": "G9"}), "----", &[]),
        row("gcd grants nothing", json!({"gcd": "13r3r3r3r5l1"}), "----", &[]),
        row("gcd denies", and(all_granted(), json!({"gcd": "13r3m3q3u5l1"})), "gddd", &["consent_mode", "gcd"]),
        row("gcd with GPC", json!({"gcd": "13r3r3r3rdl1"}), "----", &["gcd"]).out("sht"),
        row("gcd by default only", json!({"gcd": "13t3t3t3t5l1"}), "----", &[]),
        row("gcd unreadable", and(all_granted(), json!({"gcd": "nonsense"})), "gggg", &["consent_mode"]),
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
        row("tcf, legitimate interest required of Google", tc(|tc| tc.restrictions = vec![(1, 2, vec![755])]), "ggg-", &["tcf"])
            .vendors(["----", "ddg-", "ggg-", "----"]),
        row("tcf of 2.2", tc(|tc| { tc.policy = 4; tc.disclosed = None; tc.day = 20_400; }), "ggg-", &["tcf"])
            .vendors(["----", "ggg-", "ggg-", "----"]),
        row("tcf of 2.2 with a publisher's own segment", json!({"tcf": Tc { policy: 4, disclosed: None, day: 20_400, ..Tc::default() }.text() + ".YAAAAAAAAAA"}), "ggg-", &["tcf"])
            .vendors(["----", "ggg-", "ggg-", "----"]),
        row("tcf with a segment twice", json!({"tcf": Tc::default().text() + ".IAAA"}), "dddd", &["tcf"]),
        row("tcf with something behind it", json!({"tcf": Tc::default().text() + "!"}), "dddd", &["tcf"]),
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
        row("providers in their cookie", json!({"tcf": Tc::default().text(), "cookies": {"addtl_consent": "1~89"}}), "ggg-", &["tcf", "additional_consent"])
            .vendors(["ggg-", "ggg-", "ggg-", "----"]),
        row("nobody consented, nobody shown", and(tc(|_| ()), json!({"additional_consent": "2~~dv."})), "ggg-", &["tcf", "additional_consent"])
            .vendors(["ddd-", "ggg-", "ggg-", "----"]),
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
        // Purpose 1 is not used in Canada; nobody consented to 7, nor to both 3 and 4.
        row("Canada refuses", json!({"gpp": "DBABDA~BQlH_MAQlH_MAETBVXFRC7CAAFgVJRAiiAAAAAAAAA.dgGqgALqAYI"}), "-dd-", &["gpp:tcfcav1"]),
        row("an unknown section that may be a state's", section(28, "BAAA".to_owned()), "----", &["gpp:28"]).out("sht"),
        row("a section that applies and is not there", json!({"gpp": gpp(&[(8, usca(1, 2, 0, mspa))]), "gpp_sid": [9]}), "----", &["gpp:usca"]).out("s"),
        row("tcf in gpp, stricter than the other", json!({"tcf": Tc::default().text(), "gpp": gpp(&[(2, Tc { vendors: vec![804], ..Tc::default() }.text())])}), "ggg-", &["tcf", "gpp:tcfeuv2"])
            .vendors(["----", "ddd-", "ggg-", "----"]),
        // US privacy
        row("1YYN", json!({"us_privacy": "1YYN"}), "----", &["us_privacy"]).out("s"),
        row("1YNN", json!({"us_privacy": "1YNN"}), "----", &["us_privacy"]),
        row("1yyn", json!({"us_privacy": "1yyn"}), "----", &["us_privacy"]).out("s"),
        row("1---", json!({"us_privacy": "1---"}), "----", &["us_privacy"]),
        row("1NNN", json!({"us_privacy": "1NNN"}), "----", &["us_privacy"]).out_in_california("s"),
        row("us_privacy unreadable", json!({"us_privacy": "2YNN"}), "----", &["us_privacy"]).out("s"),
        // GPC, DNT, opt_out
        row("GPC", json!({"gpc": true}), "----", &["gpc"]).out("sht"),
        row("no GPC", json!({"gpc": false}), "----", &[]),
        row("GPC by the browser's header", json!({}), "----", &["gpc"]).with_header().out("sht"),
        row("GPC by the header, which a page does not unsay", json!({"gpc": false}), "----", &["gpc"]).with_header().out("sht"),
        row("GPC by the header beats a grant", all_granted(), "gggg", &["consent_mode", "gpc"]).with_header().out("sht"),
        row("GPC beats a grant", and(all_granted(), json!({"gpc": true})), "gggg", &["consent_mode", "gpc"]).out("sht"),
        row("DNT is recorded", json!({"dnt": true}), "----", &[]),
        row("DNT beside a grant", and(all_granted(), json!({"dnt": true})), "gggg", &["consent_mode"]),
        row("opted out of targeting", json!({"opt_out": {"targeted": true}}), "----", &["opt_out"]).out("t"),
        row("opted out of all", json!({"opt_out": true}), "----", &["opt_out"]).out("sht"),
        row("opted out of sale", json!({"opt_out": {"sale": true}}), "----", &["opt_out"]).out("s"),
        row("opted out of sharing, not of sale", json!({"opt_out": {"sharing": true, "sale": false}}), "----", &["opt_out"]).out("h"),
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
        row("Cookiebot unreadable", cookie("CookieConsent", "{marketing"), "dddd", &["cookiebot"]),
        row("CookieYes", cookie("cookieyes-consent", "consent:yes,action:yes,analytics:no,advertisement:yes"), "gggd", &["cookieyes"]),
        row("CookieYes, all refused", cookie("cookieyes-consent", "consent:no,action:yes,analytics:yes,advertisement:yes"), "dddd", &["cookieyes"]),
        row("CookieYes not answered", cookie("cookieyes-consent", "consent:yes,action:,advertisement:yes"), "----", &[]),
        row("Usercentrics", cookie("uc_settings", r#"{"type":"explicit","ucCategory":{"marketing":true}}"#), "ggg-", &["usercentrics"]),
        row("Didomi", cookie("didomi_token", &didomi), "---d", &["didomi"]),
        row("Didomi unreadable", cookie("didomi_token", "!"), "dddd", &["didomi"]),
        row("Didomi in binary", cookie("didomi_dcs", "CQAAA"), "dddd", &["didomi"]),
        row("Usercentrics implicit", cookie("uc_settings", r#"{"type":"implicit","ucCategory":{"marketing":true}}"#), "----", &[]),
        row("US privacy in its cookie", cookie("usprivacy", "1YYN"), "----", &["us_privacy"]).out("s"),
    ]
}
