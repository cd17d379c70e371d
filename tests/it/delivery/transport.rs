//! What can go wrong on the wire: nothing sent, nothing heard, too much heard.

use std::{io::Write as _, time::Duration};

use conversion_relay::{
    config::{DeliveryPolicy, OnUnknown},
    delivery::{
        State,
        client::{Client, Failure, MOST_BODY_BYTES, Terms},
        sign::{Fresh, sign},
    },
    destinations::{Auth, Call, CallPurpose, Mode, Response},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    Running, dead, delivered,
    doubles::{DEDUPLICATES, FORGETS, FREE_URL, Line, Stub, config, destination, policy, reply},
    ids, plain,
};

async fn get(url: &str) -> Result<Response, Failure> {
    let terms = Terms { timeout: Duration::from_secs(2), guarded: false };
    let call = Call {
        purpose: CallPurpose::Probe,
        method: "GET",
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        members: Vec::new(),
    };
    let fresh = Fresh::of(jiff::Timestamp::UNIX_EPOCH, [0; 16]);
    Client::new(terms).send(sign(&call, &Auth::None, None, &fresh)).await
}

/// A server that reads a request and then writes these bytes and hangs up.
async fn raw(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _received: usize = socket.read(&mut request).await.unwrap_or(0);
            socket.write_all(answer).await.ok();
        }
    });
    url
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let stub = Stub::new(|_, _| async { reply(307, &[("location", "/elsewhere")], "") }).await;
    let answer = get(&stub.url).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (307, Some("/elsewhere")));
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn huge_answers_and_gzip_bombs_are_cut() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&vec![0; 8 * MOST_BODY_BYTES]).unwrap();
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < MOST_BODY_BYTES / 4);
    let stub = Stub::new(move |_, seen| {
        let bomb = bomb.clone();
        async move {
            if seen.path == "/bomb" {
                reply(200, &[("content-encoding", "gzip")], bomb)
            } else {
                reply(200, &[], vec![b'x'; 3 * MOST_BODY_BYTES])
            }
        }
    })
    .await;
    for path in ["/huge", "/bomb"] {
        let answer = get(&format!("{}{path}", stub.url)).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, MOST_BODY_BYTES), "{path}");
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_never_show_the_url() {
    let cut = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let cut_gzip =
        raw(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 100\r\n\r\n\x1f\x8b")
            .await;
    let hung_up = raw(b"").await;
    for url in [&cut, &cut_gzip, &hung_up] {
        let Err(Failure::Lost(words)) = get(&format!("{url}/?token=s3cret")).await else {
            panic!("{url}")
        };
        assert!(!words.contains("s3cret"), "{words}");
    }
    // A whole answer that cannot be read still has its status.
    let garbage =
        raw(b"HTTP/1.1 400 No\r\ncontent-encoding: gzip\r\ncontent-length: 12\r\n\r\nnot gzip at.")
            .await;
    assert_eq!(get(&garbage).await.unwrap().status, 400);
    for url in ["http://127.0.0.1:1/?token=s3cret", "http://no-such-host.invalid/?token=s3cret"] {
        let Err(Failure::NotSent(words)) = get(url).await else { panic!("{url}") };
        assert!(!words.contains("s3cret"), "{words}");
    }
    assert!(matches!(get("not a url").await, Err(Failure::Misconfigured(_))));
}

#[tokio::test]
async fn a_lost_answer_is_resent_where_the_platform_deduplicates() {
    let stub = Stub::new(|number, _| async move {
        if number == 0 {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        reply(200, &[], "")
    })
    .await;
    let dropping =
        DeliveryPolicy { timeout: Duration::from_secs(1), on_unknown: OnUnknown::Drop, ..policy() };
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), dropping, Line::of(ids(1)));
    assert_eq!(delivered(&running.line.ended(1).await), ["e0"]);
    assert_eq!(running.line.marks(), 0);
    assert_eq!(stub.seen().len(), 2);
}

#[tokio::test]
async fn a_lost_answer_is_handled_as_configured_where_it_does_not() {
    for (on_unknown, sends) in [(OnUnknown::Drop, 1), (OnUnknown::Retry, 2)] {
        let stub = Stub::new(|number, _| async move {
            if number == 0 {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            reply(200, &[], "")
        })
        .await;
        let policy = DeliveryPolicy { timeout: Duration::from_secs(1), on_unknown, ..policy() };
        let running = Running::start(&FORGETS, plain(&stub.url), policy, Line::of(ids(1)));
        let settled = running.line.ended(1).await;
        match on_unknown {
            OnUnknown::Drop => assert_eq!(dead(&settled), [("e0", "unknown_result", "")]),
            OnUnknown::Retry => assert_eq!(delivered(&settled), ["e0"]),
        }
        assert_eq!((stub.seen().len(), running.line.marks()), (sends, sends));
    }
}

#[tokio::test]
async fn a_mark_found_after_a_crash_is_handled_alike() {
    for on_unknown in [OnUnknown::Drop, OnUnknown::Retry] {
        let stub = Stub::new(|_, _| async { reply(200, &[], "") }).await;
        let line = Line::of(ids(1));
        line.say_unknown();
        let policy = DeliveryPolicy { on_unknown, ..policy() };
        let running = Running::start(&FORGETS, plain(&stub.url), policy, line);
        let settled = running.line.ended(1).await;
        match on_unknown {
            OnUnknown::Drop => assert_eq!(dead(&settled), [("e0", "unknown_result", "")]),
            OnUnknown::Retry => assert_eq!(delivered(&settled), ["e0"]),
        }
        assert_eq!(stub.seen().len(), usize::from(on_unknown == OnUnknown::Retry));
    }
}

#[tokio::test]
async fn what_never_left_is_tried_until_the_platform_is_there() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let dropping = DeliveryPolicy { on_unknown: OnUnknown::Drop, ..policy() };
    let running = Running::start(&FORGETS, plain(&url), dropping, Line::of(ids(1)));
    while running.line.passing().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(running.line.settled().is_empty(), "not sent, so not lost");
    assert_eq!(running.state(), State::Running);
}

#[tokio::test]
async fn private_addresses_are_refused_where_the_url_is_free() {
    let stub = Stub::new(|_, _| async { reply(200, &[], "") }).await;
    for url in [stub.url.clone(), stub.url.replace("127.0.0.1", "localhost")] {
        let running = Running::start(&FREE_URL, plain(&url), policy(), Line::of(ids(1)));
        running.until(State::Failing).await;
        assert_eq!(running.delivery.fault("d").unwrap().0, "private_address");
        assert!(stub.seen().is_empty() && running.line.settled().is_empty(), "kept, not sent");
    }
    let allowed = DeliveryPolicy { allow_private: true, ..policy() };
    let running = Running::start(&FREE_URL, plain(&stub.url), allowed, Line::of(ids(1)));
    running.line.ended(1).await;

    let mut sandbox = config(destination(&FREE_URL, plain(&stub.url), policy()));
    sandbox.mode = Mode::Sandbox;
    Running::with(sandbox, Line::of(ids(1))).line.ended(1).await;
}
