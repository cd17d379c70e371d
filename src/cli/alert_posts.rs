//! Alerts on their way to webhooks: a line for each webhook, in which a notice waits for those before
//! it, also while one of them is tried again. That an alert is over never arrives before it.

use std::{net::IpAddr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
};

use super::evidence_log::post;
use crate::{
    alert::Notice,
    clock::Stopwatch,
    config::{AlertWebhook, Config},
    delivery::client::{Client, Terms},
    destinations::Mode,
};

/// For one call of a webhook.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Seconds between the tries; the last one again and again.
const WAITS: [u64; 4] = [1, 5, 30, 60];
/// A notice that could not be posted for so long is only in the log.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(180);
/// Notices in one line; beyond it they are only in the log.
const MOST_IN_LINE: usize = 64;

/// The lines, one for each webhook of the configuration. What is in them is lost when this is dropped.
#[derive(Default)]
pub(super) struct Posts {
    lines: Vec<Line>,
    senders: JoinSet<()>,
}

struct Line {
    to: AlertWebhook,
    notices: mpsc::Sender<Waiting>,
}

/// A notice in a line.
struct Waiting {
    body: String,
    since: Stopwatch,
}

impl Posts {
    /// Puts notices into the line of every webhook, without anybody waiting for it. In sandbox mode
    /// nothing leaves this machine: only a webhook on it is called.
    pub(super) fn tell(&mut self, config: &Config, notices: &[Notice]) {
        let here_only = config.mode == Mode::Sandbox;
        let to = config.alerts.iter().filter(|webhook| !here_only || is_here(&webhook.url));
        let to = to.map(|webhook| AlertWebhook {
            // Where only this machine is called, its own address is no secret place.
            allow_private: here_only || webhook.allow_private,
            url: webhook.url.clone(),
        });
        self.put(to.collect(), notices);
    }

    fn put(&mut self, to: Vec<AlertWebhook>, notices: &[Notice]) {
        // A line whose webhook left the configuration ends when it is empty.
        self.lines.retain(|line| to.iter().any(|webhook| line.leads_to(webhook)));
        while self.senders.try_join_next().is_some() {}
        if notices.is_empty() {
            return;
        }
        for webhook in to {
            let known = self.lines.iter().position(|line| line.leads_to(&webhook));
            let line = known.unwrap_or(self.lines.len());
            if known.is_none() {
                let (notices, waiting) = mpsc::channel(MOST_IN_LINE);
                self.senders.spawn(send(webhook.clone(), waiting));
                self.lines.push(Line { to: webhook, notices });
            }
            if let Some(line) = self.lines.get(line) {
                notices.iter().for_each(|notice| line.put(notice));
            }
        }
    }
}

impl Line {
    fn leads_to(&self, webhook: &AlertWebhook) -> bool {
        self.to.url.expose_secret() == webhook.url.expose_secret()
            && self.to.allow_private == webhook.allow_private
    }

    fn put(&self, notice: &Notice) {
        let waiting = Waiting { body: notice.to_json().to_string(), since: Stopwatch::start() };
        if let Err(TrySendError::Full(_)) = self.notices.try_send(waiting) {
            tracing::warn!(
                "an alert is not posted, and is only in this log: {MOST_IN_LINE} wait for the same \
                 webhook"
            );
        }
    }
}

/// Posts what is put into a line, one after the other, until the line is given up. Private addresses
/// are refused, but where they are allowed.
async fn send(to: AlertWebhook, mut line: mpsc::Receiver<Waiting>) {
    let client = Client::new(Terms { timeout: TIMEOUT, guarded: !to.allow_private });
    while let Some(Waiting { body, since }) = line.recv().await {
        let mut waits = WAITS.into_iter();
        let mut wait = Duration::ZERO;
        while let Err(why) = post(&client, &to.url, &body).await {
            if since.elapsed() >= GIVEN_UP_AFTER {
                tracing::warn!("an alert could not be posted, and is only in this log: {why}");
                break;
            }
            if wait.is_zero() {
                tracing::warn!("an alert could not be posted, and is tried again: {why}");
            }
            wait = waits.next().map_or(wait, Duration::from_secs);
            tokio::time::sleep(wait).await;
        }
    }
}

fn is_here(webhook: &SecretString) -> bool {
    let Ok(url) = webhook.expose_secret().parse::<url::Url>() else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, http::StatusCode, routing::post};

    use super::*;
    use crate::alert::{Active, Kind};

    fn notice(subject: &str, is_over: bool) -> Notice {
        let at = "2026-11-22T12:00:00Z".parse().unwrap();
        let active = Active {
            alert: Kind::OldestAge,
            subject: subject.to_owned(),
            since: at,
            message: "old".to_owned(),
            seen: at,
        };
        Notice { active, is_over, at }
    }

    /// A webhook that refuses the first so many calls; what it took, in order.
    async fn webhook(refuses: usize) -> (SecretString, Arc<Mutex<Vec<String>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (kept, calls) = (Arc::clone(&taken), Arc::new(Mutex::new(0)));
        let app = Router::new().route(
            "/",
            post(async move |body: String| {
                let mut calls = calls.lock().unwrap();
                *calls += 1;
                if *calls <= refuses {
                    return StatusCode::INTERNAL_SERVER_ERROR;
                }
                let told: serde_json::Value = serde_json::from_str(&body).unwrap();
                let told = format!("{} {}", told["destination"], told["state"]).replace('"', "");
                kept.lock().unwrap().push(told);
                StatusCode::OK
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (url.into(), taken)
    }

    #[tokio::test]
    async fn a_notice_that_is_tried_again_is_not_overtaken() {
        let (slow, slow_got) = webhook(1).await;
        let (good, good_got) = webhook(0).await;
        let mut to: Vec<_> =
            [slow, good].map(|url| AlertWebhook { url, allow_private: true }).into();
        let mut posts = Posts::default();
        posts.put(to.clone(), &[notice("a", false)]);
        // The second look comes while the first notice waits for its next try.
        tokio::time::sleep(Duration::from_millis(300)).await;
        posts.put(to.clone(), &[notice("b", false), notice("a", true)]);
        let wanted = ["a firing", "b firing", "a over"];
        let clock = Stopwatch::start();
        while slow_got.lock().unwrap().len() < wanted.len() {
            assert!(clock.elapsed() < Duration::from_secs(10), "{slow_got:?}");
            if clock.elapsed() < Duration::from_millis(300) {
                // Whoever answers does not wait for whoever does not.
                assert!(slow_got.lock().unwrap().is_empty());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(*slow_got.lock().unwrap(), wanted);
        assert_eq!(*good_got.lock().unwrap(), wanted);

        // One that left the configuration gets nothing more.
        to.remove(0);
        posts.put(to, &[notice("c", false)]);
        let clock = Stopwatch::start();
        while good_got.lock().unwrap().len() < 4 && clock.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((slow_got.lock().unwrap().len(), good_got.lock().unwrap().len()), (3, 4));
    }
}
