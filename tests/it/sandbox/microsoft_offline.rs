//! Microsoft's grants that are good once. What its contract takes is in
//! `tests/fixtures/microsoft_offline/sandbox.json`.

use serde_json::{Value, json};

use super::server::Server;

fn conversion() -> Value {
    json!({"OfflineConversions": [{
        "MicrosoftClickId": "f894f652ea334e739002f7167ab8f8e3", "ConversionName": "My Goal",
        "ConversionTime": "2026-11-20T12:15:07Z"}]})
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
