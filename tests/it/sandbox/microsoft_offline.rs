//! The contract of Microsoft's offline conversions, and its grants that are good once.

use conversion_relay::sandbox::{Request, Verdict, check};
use serde_json::{Value, json};

use super::{ago, answer, assert_taken, hash, now, server::Server, with};

const PLATFORM: &str = "microsoft_offline";
const BASE: &str = "https://campaign.api.bingads.microsoft.com/CampaignManagement/v13";

fn post(call: &str, body: &Value) -> Verdict {
    let headers =
        [("content-type", "application/json"), ("customerid", "1"), ("customeraccountid", "2")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let url = format!("{BASE}/{call}/Apply");
    let body = serde_json::to_vec(body).unwrap();
    let request = Request { method: "POST", url: &url, headers: &headers, body: &body };
    check(PLATFORM, request, now()).unwrap()
}

fn conversion() -> Value {
    json!({"OfflineConversions": [{
        "MicrosoftClickId": "f894f652ea334e739002f7167ab8f8e3", "ConversionName": "My Goal",
        "ConversionTime": "2026-11-20T12:15:07Z", "ConversionValue": 10.0,
        "ConversionCurrencyCode": "USD",
        "HashedEmailAddress": "9eceb13483d7f187ec014fd6d4854d1420cfc634328af85f51d0323ba8622e21",
        "HashedPhoneNumber": hash("+14250000000")}]})
}

fn adjustment(list: &str, key: &str) -> Value {
    let mut row = json!({"ConversionName": "My Goal", "AdjustmentType": "Restate",
        "AdjustmentTime": "2026-11-21T12:15:07Z", "AdjustmentValue": 7.5,
        "AdjustmentCurrencyCode": "USD"});
    row[key] = json!("f894f652ea334e739002f7167ab8f8e3");
    if key == "MicrosoftClickId" {
        row["ConversionTime"] = json!("2026-11-20T12:15:07Z");
    }
    json!({list: [row]})
}

#[test]
fn it_takes_what_its_sheet_shows() {
    let verdict = post("OfflineConversions", &conversion());
    assert_taken(&verdict);
    assert_eq!(verdict.destination.as_deref(), Some("2"));
    assert_eq!(answer(&verdict)["PartialErrors"], json!([]));
    for (list, key) in [
        ("OfflineConversionAdjustments", "MicrosoftClickId"),
        ("OnlineConversionAdjustments", "TransactionId"),
    ] {
        let body = adjustment(list, key);
        assert_taken(&post(list, &body));
        let retract = with(&body, &format!("/{list}/0/AdjustmentType"), json!("Retract"));
        let refused = post(list, &retract);
        assert_eq!(answer(&refused)["PartialErrors"][0]["Code"], 5624, "a value of a retraction");
        let retract = with(&retract, &format!("/{list}/0/AdjustmentValue"), Value::Null);
        let retract = with(&retract, &format!("/{list}/0/AdjustmentCurrencyCode"), Value::Null);
        assert_taken(&post(list, &retract));
    }
}

#[test]
fn a_wrong_row_costs_only_itself_and_is_named() {
    let late = ago(91, 0).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    for (key, value, code) in [
        ("ConversionName", json!("no such goal"), 5604),
        ("ConversionName", Value::Null, 5602),
        ("MicrosoftClickId", json!("abc"), 5605),
        ("ConversionTime", json!(late), 5609),
        ("ConversionTime", json!("2026-11-23T12:15:07Z"), 5614),
        ("ConversionTime", json!("2026-11-20 12:15:07"), 5610),
        ("ConversionValue", json!("10"), 5606),
        ("ConversionCurrencyCode", json!("usd"), 5607),
        ("HashedEmailAddress", json!("jane@example.com"), 5608),
        ("HashedPhoneNumber", json!(hash("14250000000")), 5608),
    ] {
        let good = conversion()["OfflineConversions"][0].clone();
        let mut bad = good.clone();
        bad[key] = value.clone();
        if value.is_null() {
            bad.as_object_mut().unwrap().remove(key);
        }
        let verdict = post("OfflineConversions", &json!({"OfflineConversions": [good, bad, good]}));
        assert_eq!((verdict.reply.status, verdict.accepted.len()), (200, 2), "{key} = {value}");
        let errors = answer(&verdict)["PartialErrors"].clone();
        assert_eq!((&errors[0]["Index"], &errors[0]["Code"]), (&json!(1), &json!(code)), "{key}");
    }
    let many = vec![conversion()["OfflineConversions"][0].clone(); 1_001];
    for (body, code) in
        [(json!({"OfflineConversions": many}), 5601), (json!({"OfflineConversions": []}), 5600)]
    {
        let verdict = post("OfflineConversions", &body);
        assert_eq!(verdict.reply.status, 400);
        assert_eq!(answer(&verdict)["OperationErrors"][0]["Code"], code);
    }
}

#[tokio::test]
async fn a_grant_is_good_once_and_its_successor_takes_its_place() {
    let server = Server::new();
    let token = async |grant: &str| {
        let form = format!(
            "grant_type=refresh_token&client_id=app&client_secret=sandbox-client_secret&\
             refresh_token={grant}&scope=https%3A%2F%2Fads.microsoft.com%2Fmsads.manage+offline_access"
        );
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let path = "/microsoft_offline/common/oauth2/v2.0/token";
        let (status, _, body) = server.call("POST", path, &headers, form).await;
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (status, first) = token("sandbox-refresh_token").await;
    assert_eq!(status, 200, "{first}");
    let next = first["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(next, "sandbox-refresh_token");
    for used in ["sandbox-refresh_token", "not-a-grant"] {
        let (status, refused) = token(used).await;
        assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")), "{used}");
    }
    let (status, second) = token(&next).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(second["refresh_token"], next.as_str());
    assert_eq!(token(&next).await.0, 400, "used");

    let bearer = format!("Bearer {}", second["access_token"].as_str().unwrap());
    let path = "/microsoft_offline/CampaignManagement/v13/OfflineConversions/Apply";
    let mut headers = vec![
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
        ("customerid", "1"),
        ("customeraccountid", "2"),
    ];
    let (status, _, body) = server.call("POST", path, &headers, conversion().to_string()).await;
    assert_eq!(status, 401, "no developer token: {}", String::from_utf8_lossy(&body));
    headers.push(("developertoken", "sandbox-developer_token"));
    let (status, _, _) = server.call("POST", path, &headers, conversion().to_string()).await;
    assert_eq!(status, 200);
}
