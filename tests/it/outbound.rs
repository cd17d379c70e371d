//! Outward: a certificate that nobody vouches for is refused, and proxies are the environment's.

use std::{sync::Arc, time::Duration};

use conversion_relay::{
    delivery::{
        client::{Client, Failure, Terms},
        sign::{Fresh, sign},
    },
    destinations::{Auth, Call, CallPurpose, Response},
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use crate::harness::{Folder, Relay, purchase};

async fn get(url: &str, guarded: bool) -> Result<Response, Failure> {
    let call = Call {
        purpose: CallPurpose::Probe,
        method: "GET",
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        members: Vec::new(),
    };
    let fresh = Fresh::of(jiff::Timestamp::UNIX_EPOCH, [0; 16]);
    let terms = Terms { timeout: Duration::from_secs(5), guarded };
    Client::new(terms).send(sign(&call, &Auth::None, None, &fresh)).await
}

/// A server with a certificate that it made itself.
async fn self_made() -> (u16, mpsc::UnboundedReceiver<usize>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(mut socket) = acceptor.accept(socket).await {
                let mut request = [0; 4096];
                told.send(socket.read(&mut request).await.unwrap_or(0)).ok();
            }
        }
    });
    (port, heard)
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent() {
    let (port, mut heard) = self_made().await;
    for host in ["localhost", "127.0.0.1"] {
        let answer = get(&format!("https://{host}:{port}/?access_token=secret"), false).await;
        let Err(Failure::NotSent(why)) = answer else { panic!("{host}: {answer:?}") };
        assert!(!why.contains("secret"), "{why}");
    }
    assert!(heard.try_recv().is_err(), "nothing was sent");
}

#[tokio::test]
async fn addresses_in_other_clothes_are_private_all_the_same() {
    for url in [
        "http://[::ffff:127.0.0.1]:1/",
        "http://0.0.0.0:1/",
        "http://0:1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://localhost:1/",
        "http://localhost.:1/",
    ] {
        let answer = get(url, true).await;
        let Err(Failure::Misconfigured(fault)) = &answer else { panic!("{url}: {answer:?}") };
        assert_eq!(fault.reason, "private_address", "{url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_of_the_environment_is_used() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let (told, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = socket.read(&mut request).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..read]).lines().next().map(str::to_owned);
            told.send(line.unwrap_or_default()).ok();
            socket.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await.ok();
        }
    });
    let mut folder = Folder::shipped();
    folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"live\""));
    folder.edit("destinations.toml", |text| {
        let lines = text.lines().map(|line| match line.starts_with("platform = \"meta\"") {
            true => format!("{line}\nendpoint = \"https://platform.example.com\""),
            false => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    folder.env = folder.secrets();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        folder.env.push((name.to_owned(), proxy.clone()));
    }
    folder.env.push(("NO_PROXY".to_owned(), String::new()));
    folder.env.push(("no_proxy".to_owned(), String::new()));
    let relay = Relay::start(&folder).await;
    assert_eq!(relay.post(&purchase("by-proxy")).await.0, 202);
    let through = async {
        while let Some(line) = heard.recv().await {
            if line.starts_with("CONNECT platform.example.com:443 ") {
                return line;
            }
        }
        panic!("the proxy is gone");
    };
    tokio::time::timeout(Duration::from_secs(20), through).await.expect("it goes by the proxy");
    relay.kill().await;
}
