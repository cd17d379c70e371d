use super::*;
use crate::consent::Grant;
use crate::{
    consent::Grants,
    destinations::{Mode, answer::table::classified},
    event::Money,
};

fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
    let token = SecretString::from("microsoft-token".to_owned());
    Settings {
        name: "microsoft".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([("access_token".to_owned(), token)]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode: Mode::Live,
        entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
    }
}

fn destination(entries: &[(&str, Entry)]) -> Box<dyn Destination> {
    configure(&settings("tag_id = 343210", entries)).unwrap()
}

fn table(text: &str) -> Entry {
    Entry::Table(text.parse().unwrap())
}

/// A job as it lies in the queue.
fn job(region: Option<&str>, ad_storage: Grant) -> Prepared {
    let time = Timestamp::UNIX_EPOCH;
    let grants = Grants { ad_storage, ..Grants::default() };
    let usd = crate::event::Currency::parse("USD").unwrap();
    Prepared {
        event: "stay".to_owned(),
        entry: 0,
        event_id: "e-1".to_owned(),
        transaction_id: "1001".to_owned(),
        site: "shop".to_owned(),
        time,
        action_source: ActionSource::Website,
        test: false,
        value: Some(Money { amount: 10.into(), currency: usd }),
        currency: Some(usd),
        texts: Vec::new(),
        amounts: Vec::new(),
        items: Vec::new(),
        other: String::new(),
        adjusts: None,
        calibrated: None,
        consent: std::sync::Arc::new(crate::consent::State {
            region: region.map(str::to_owned),
            grants,
            opt_out: Default::default(),
            sources: Vec::new(),
            ..Default::default()
        }),
        sensitive: false,
        group: "live".to_owned(),
        expires_at: time,
        flags: crate::job::Flags { grants, ..Default::default() },
    }
}

#[test]
fn every_answer_means_what_its_page_says() {
    let destination = destination(&[]);
    let error = |received: u8, details: &str| {
        format!(
            r#"{{"eventsReceived":{received},"traceId":"t","error":{{"code":"ValidationError","message":"bad","details":[{details}]}}}}"#
        )
    };
    let second = r#"{"index":1,"propertyName":"EventTime","errorMessage":"no","errorCode":"OutOfRange","isWarning":false}"#;
    let warning = r#"{"index":0,"propertyName":"Currency","errorMessage":"odd","errorCode":"W","isWarning":true}"#;
    let bare = r#"{"index":2,"propertyName":"UserData","errorMessage":"no"}"#;
    for (status, body, told) in [
        (200, r#"{"eventsReceived":3,"traceId":"t"}"#, "ddd"),
        (200, r#"{"eventsReceived":3,"traceId":"t","error":null}"#, "ddd"),
        (200, &error(3, second), "drd OutOfRange"),
        (200, &error(2, &format!("{second},{bare},{warning}")), "drr OutOfRange"),
        (200, &error(3, warning), "ddd"),
        (200, &error(0, ""), "ccc ValidationError"),
        (200, "<html>", "uuu"),
        (200, "{}", "uuu"),
        (400, &error(0, second), "srs OutOfRange"),
        (400, &error(0, ""), "ccc ValidationError"),
        (400, "no JSON", "ccc http_400"),
        (401, r#"{"error":{"code":"Unauthorized"}}"#, "ppp Unauthorized http_401"),
        (403, "", "ppp Unauthorized http_403"),
        (404, "", "ppp Misconfigured http_404"),
        (408, "", "uuu"),
        (413, "", "lll"),
        (429, "", "ttt"),
        (503, "", "uuu"),
    ] {
        assert_eq!(classified(&*destination, 3, status, body), told, "{status} {body}");
    }
    assert_eq!(classified(&*destination, 1, 400, &error(0, "")), "r ValidationError");
}

#[test]
fn entries_are_actions_or_page_loads() {
    let problems = |entries: &[(&str, Entry)]| -> Vec<String> {
        let problems = configure(&settings("tag_id = \"x\"\nhotel_dates = \"no\"", entries));
        problems.err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
    };
    let entries = [
        ("both", table("name = \"x\"\npage_load = true")),
        ("odd", Entry::Standard),
        ("purchase", Entry::Standard),
        ("stay", Entry::Name("PRODUCT_PURCHASE".to_owned())),
        ("view", table("page_load = true")),
    ];
    assert_eq!(problems(&entries), ["tag_id", "hotel_dates", "events.both", "events.odd"]);
    assert_eq!(standard("generate_lead"), Some("submit_lead_form"));
    assert_eq!(standard("purchase"), Some("purchase"));
    let destination = destination(&entries[3..]);
    let job = |event: &str| Prepared { event: event.to_owned(), ..job(None, Grant::Granted) };
    assert!(destination.is_deduplicated(&job("stay")), "by name and id");
    assert!(!destination.is_deduplicated(&job("view")), "a page load has no name");
}

#[test]
fn silence_means_granted_to_microsoft_so_that_it_is_a_no_in_europe() {
    let entry = [("stay", Entry::Name("stay".to_owned()))];
    let destination = destination(&entry);
    let sent = |region: Option<&str>, grant| {
        let job = Prepared { event: "stay".to_owned(), ..job(region, grant) };
        let calls = destination.assemble(&[job], Timestamp::UNIX_EPOCH);
        let body = calls.first().map(|call| String::from_utf8_lossy(&call.body).into_owned());
        body.map(|body| body.contains("\"adStorageConsent\":\"G\""))
    };
    for region in [Some("DE"), Some("GB-ENG"), Some("CH"), Some("US-CA"), None] {
        assert_eq!(sent(region, Grant::Granted), Some(true));
        assert_eq!(sent(region, Grant::Denied), None);
    }
    assert_eq!(sent(Some("DE"), Grant::NotAsked), None);
    assert_eq!(sent(None, Grant::NotAsked), None, "it may be there");
    assert_eq!(sent(Some("US-CA"), Grant::NotAsked), Some(false));
}

#[test]
fn click_ids_are_uuids_or_not_sent() {
    let bare = "dd4afcccb1c9a4cad9544dd7e5006abc";
    let dashed = "dd4afccc-b1c9-a4ca-d954-4dd7e5006abc";
    assert_eq!(msclkid(bare), Some(bare));
    assert_eq!(msclkid(dashed), Some(dashed));
    assert_eq!(msclkid(&format!("_uet{bare}")), Some(bare), "the cookie's");
    assert_eq!(msclkid("abc"), None);
    assert!(body::is_uuid(dashed) && !body::is_uuid(bare) && !body::is_uuid("x"));
}

#[test]
fn a_hotel_needs_its_days_and_the_spelling_is_a_setting() {
    let hotel = |table: &str, hotel: &str| {
        let entry = [("stay", Entry::Name("stay".to_owned()))];
        let destination = configure(&settings(&format!("tag_id = 1\n{table}"), &entry)).unwrap();
        let other = format!("{{\"hotel\":{hotel}}}");
        let job = Prepared { other, ..job(Some("US"), Grant::Granted) };
        let call = destination.assemble(&[job], Timestamp::UNIX_EPOCH).remove(0);
        let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
        body["data"][0]["customData"]["hotelData"].clone()
    };
    let days = r#"{"checkin_date":"2026-12-01","checkout_date":"2026-12-03","total_price":10.5}"#;
    let sent =
        json!({"checkinDate": "2026-12-01", "checkoutDate": "2026-12-03", "totalPrice": 10.5});
    assert_eq!(hotel("", days), sent);
    let sent =
        json!({"checkInDate": "2026-12-01", "checkOutDate": "2026-12-03", "totalPrice": 10.5});
    assert_eq!(hotel("hotel_dates = \"checkInDate\"", days), sent);
    let nights = r#"{"checkin_date":"2026-12-01","length_of_stay":2}"#;
    assert_eq!(hotel("", nights), json!({"checkinDate": "2026-12-01", "lengthOfStay": 2}));
    assert!(hotel("", r#"{"checkin_date":"2026-12-01","length_of_stay":0}"#).is_null());
    assert!(hotel("", r#"{"checkout_date":"2026-12-03"}"#).is_null());
}

#[test]
fn a_probe_sends_no_event() {
    let call = destination(&[]).probe(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((call.body.as_slice(), call.members.len()), (&b"{\"data\":[]}"[..], 0));
    assert_eq!(call.url, "https://capi.uet.microsoft.com/v1/343210/events");
    let fault = |status| {
        let body = b"{\"error\":{\"code\":\"ValidationError\"}}".to_vec();
        let response = Response { status, headers: Vec::new(), body };
        destination(&[]).classify(&call, &response, Timestamp::UNIX_EPOCH).fault
    };
    assert!(fault(400).is_none() && fault(401).is_some());
}

#[test]
fn hotel_prices_are_not_those_of_a_converted_value() {
    let event = r#"{"hotel":{"checkin_date":"2026-12-01","length_of_stay":2,"total_price":1,"base_price":1}}"#;
    let mut prepared = Prepared { other: event.to_owned(), ..job(None, Grant::Granted) };
    forget_hotel_prices(&mut prepared);
    let left = r#"{"hotel":{"checkin_date":"2026-12-01","length_of_stay":2}}"#;
    assert_eq!(prepared.other, left);
    prepared.other = String::new();
    forget_hotel_prices(&mut prepared);
    assert_eq!(prepared.other, "");
}
