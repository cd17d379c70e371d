//! A relay that is killed again and again never loses the refresh token that it was given last.

use serde_json::{Value, json};

use crate::harness::{Folder, OwnSandbox, Relay, purchase};

fn folder(sandbox: &OwnSandbox) -> Folder {
    let mut folder = Folder::shipped();
    folder.write(
        "destinations.toml",
        "[bing]\nplatform = \"microsoft_offline\"\nsites = [\"shop_us\"]\naccount_id = 123456\n\
         customer_id = 654321\nclient_id = \"app\"\nclient_secret = { env = \"BING_SECRET\" }\n\
         refresh_token = { env = \"BING_REFRESH\" }\n\
         developer_token = { env = \"BING_DEVELOPER\" }\n",
    );
    folder.write(
        "events.toml",
        "[events.purchase]\nkind = \"macro\"\n[events.purchase.destinations]\n\
         bing = { goal = \"Offline purchase\" }\n\
         [events.refund]\nkind = \"adjustment\"\n[events.refund.destinations]\n\
         bing = { goal = \"Offline purchase\" }\n",
    );
    folder.edit("consent.toml", |text| {
        let rules = text.split("[destinations.").next().unwrap();
        format!("{rules}[destinations.bing]\nmay_send = [\"click_ids\", \"user.email\"]\n")
    });
    sandbox.point(&mut folder);
    folder
}

async fn received(sandbox: &OwnSandbox) -> Vec<Value> {
    let url = format!("{}/sandbox/v1/received?platform=microsoft_offline&all=true", sandbox.url);
    let text = sandbox.http.get(url).send().await.unwrap().text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_relay_goes_on_with_the_newest_grant() {
    let sandbox = OwnSandbox::start().await;
    let folder = folder(&sandbox);
    for round in 0..4 {
        let relay = Relay::start(&folder).await;
        let mut event = purchase(&format!("grant-{round}"));
        event["click_ids"] = json!({"msclkid": "dd4afccc-b1c9-a4ca-d954-4dd7e5006abc"});
        let refund = json!({"event": "refund", "event_id": format!("refund-{round}"),
            "site": "shop_us", "consent": event["consent"], "user": {"external_id": "u-1"},
            "adjusts": {"order_id": format!("order-{round}"), "type": "cancel"}});
        let (status, answer) = relay.post(&json!([event, refund])).await;
        assert_eq!((status, &answer["accepted"]), (202, &json!(2)), "{answer}");
        let stats = relay.drained().await;
        let books = &stats["destinations"]["bing"];
        assert_eq!(books["delivered"], 2 * (round + 1), "{books:#}");
        relay.kill().await;
    }
    let all = received(&sandbox).await;
    let is_token = |line: &&Value| line["path"].as_str().unwrap().ends_with("/oauth2/v2.0/token");
    let tokens: Vec<&Value> = all.iter().filter(is_token).collect();
    assert_eq!(tokens.len(), 4, "one a start");
    assert!(tokens.iter().all(|line| line["status"] == 200), "{tokens:#?}");
    assert_eq!(all.iter().filter(|line| line["status"] != 200).count(), 0);
    assert!(all.iter().any(|line| line["path"].as_str().unwrap().contains("OnlineConversion")));
}
