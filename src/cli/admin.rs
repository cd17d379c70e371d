//! The admin calls from a shell: dead letters, pause, resume, stats, health.

use anyhow::bail;
use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    Exit,
    http_client::{Answer, HttpClient},
};

/// What the sandbox takes where no token is set.
const SANDBOX_TOKEN: &str = "dev-token";

/// Dead letters that a relay lists at once.
const LISTED_AT_MOST: u64 = 10_000;

/// Commands that ask a running relay.
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Lists, replays or discards dead letters.
    #[command(subcommand)]
    Dead(Dead),
    /// Stops sending to a destination; its events wait.
    Pause(Destination),
    /// Sends to a destination again.
    Resume(Destination),
    /// Prints the books.
    Stats(Connection),
    /// Prints the alerts that fire, one a line.
    Alerts(Connection),
    /// Prints the admin log, an act a line: who did what, when, and what came of it.
    AdminLog(AdminLog),
    /// Checks that a relay answers, for containers.
    Health(Health),
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// Prints dead letters, newest first, one a line.
    List(List),
    /// Prints dead letters by cause: the platform's words, what to do, and the command that replays
    /// them after that; one cause a line, the most frequent first.
    Groups(Groups),
    /// Sends dead letters again, written by today's mapping. Without a filter: all.
    Replay(Chosen),
    /// Throws dead letters away. Without a filter: all.
    Discard(Discarded),
}

/// Where the admin listener is.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The relay's admin address.
    #[arg(long, default_value = "http://127.0.0.1:8081")]
    admin: String,
    /// An admin token. Without one: `dev-token`, the sandbox's.
    #[arg(long, env = "RELAY_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
}

/// One destination.
#[derive(Debug, Args)]
pub(crate) struct Destination {
    /// Its name in `destinations.toml`.
    name: String,
    #[command(flatten)]
    connection: Connection,
}

/// Which dead letters to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of this destination only.
    #[arg(long)]
    destination: Option<String>,
    /// With this reason only.
    #[arg(long)]
    reason: Option<String>,
    /// Of this group only, by the id that `dead groups` prints.
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// At most so many; without it as many as the relay lists at once, which is 10,000.
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

/// Which dead letters to group.
#[derive(Debug, Args)]
pub(crate) struct Groups {
    /// Of this destination only.
    #[arg(long)]
    destination: Option<String>,
    /// With this reason only.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Which dead letters to replay or discard.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// These only, by the ids that `dead list` prints.
    ids: Vec<String>,
    /// Of this destination only.
    #[arg(long)]
    destination: Option<String>,
    /// With this reason only.
    #[arg(long)]
    reason: Option<String>,
    /// Of this group only, by the id that `dead groups` prints.
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// These only, by the ids that `dead list` prints.
    #[arg(long = "id", value_name = "ID")]
    id: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Which dead letters to discard, or what waits for a destination.
#[derive(Debug, Args)]
pub(crate) struct Discarded {
    /// Also all that waits for the destination, such as one that left the configuration.
    #[arg(long, requires = "destination", conflicts_with_all = ["ids", "id", "reason", "group"])]
    pending: bool,
    #[command(flatten)]
    chosen: Chosen,
}

/// Which acts of the admin log.
#[derive(Debug, Args)]
pub(crate) struct AdminLog {
    /// From this moment on, RFC 3339.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this moment.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Of the token with this name only.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// A health check.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// The relay's public address [default: http://127.0.0.1:8080, and the same with https where
    /// that is what is spoken there]. On this machine's loopback no certificate is verified.
    #[arg(long)]
    url: Option<String>,
    /// Ask whether it is ready to accept, not only whether it is alive.
    #[arg(long)]
    ready: bool,
}

impl Admin {
    /// Asks, and prints the answer as JSON; Failed where the relay refuses or is not there.
    pub(crate) async fn run(self) -> anyhow::Result<Exit> {
        let answer = match self {
            Admin::Dead(Dead::List(list)) => return list.print().await,
            Admin::Dead(Dead::Groups(groups)) => return print_groups(&groups.ask().await?),
            Admin::AdminLog(log) => return print_lines(&log.ask().await?),
            Admin::Dead(Dead::Replay(chosen)) => chosen.ask("replay", Map::new()).await?,
            Admin::Dead(Dead::Discard(discarded)) => discarded.ask().await?,
            Admin::Pause(destination) => destination.ask("pause").await?,
            Admin::Resume(destination) => destination.ask("resume").await?,
            Admin::Stats(connection) => {
                connection.client()?.get(&["admin", "v1", "stats"], &[]).await?
            }
            Admin::Alerts(connection) => {
                let path = ["admin", "v1", "alerts"];
                return print_lines(&connection.client()?.get(&path, &[]).await?);
            }
            Admin::Health(health) => health.ask().await?,
        };
        print(&answer)
    }
}

impl Connection {
    pub(super) fn client(self) -> anyhow::Result<HttpClient> {
        let token = self.token.unwrap_or_else(|| SANDBOX_TOKEN.to_owned().into());
        HttpClient::new(&self.admin, Some(token))
    }
}

impl Destination {
    async fn ask(self, what: &str) -> anyhow::Result<Answer> {
        let path = ["admin", "v1", "destinations", self.name.as_str(), what];
        self.connection.client()?.post(&path, "application/json", b"{}".to_vec()).await
    }
}

impl List {
    /// What is beyond the most that are listed at once is said: a list that ends silently looks whole.
    async fn print(self) -> anyhow::Result<Exit> {
        let wanted = self.limit.unwrap_or(LISTED_AT_MOST);
        let answer = self.ask().await?;
        if answer.is_success() && wanted >= LISTED_AT_MOST && is_cut(&answer) {
            eprintln!(
                "{LISTED_AT_MOST} are listed, the most at once; there may be more: --destination, \
                 --reason or --group narrows it down, and `dead groups` counts them all"
            );
        }
        print_lines(&answer)
    }

    async fn ask(self) -> anyhow::Result<Answer> {
        let limit = Some(self.limit.unwrap_or(LISTED_AT_MOST).to_string());
        let query: Vec<(&str, String)> = [
            ("destination", self.destination),
            ("reason", self.reason),
            ("group", self.group),
            ("limit", limit),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        self.connection.client()?.get(&["admin", "v1", "dead"], &query).await
    }
}

impl Groups {
    async fn ask(self) -> anyhow::Result<Answer> {
        let query: Vec<(&str, String)> =
            [("destination", self.destination), ("reason", self.reason)]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
        self.connection.client()?.get(&["admin", "v1", "dead", "groups"], &query).await
    }
}

impl AdminLog {
    async fn ask(self) -> anyhow::Result<Answer> {
        let query: Vec<(&str, String)> = [("from", self.from), ("to", self.to), ("who", self.who)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        self.connection.client()?.get(&["admin", "v1", "audit"], &query).await
    }
}

impl Chosen {
    async fn ask(self, what: &str, mut filter: Map<String, Value>) -> anyhow::Result<Answer> {
        let ids: Vec<String> = self.ids.into_iter().chain(self.id).collect();
        if !ids.is_empty() {
            filter.insert("ids".to_owned(), ids.into());
        }
        let named =
            [("destination", self.destination), ("reason", self.reason), ("group", self.group)];
        for (name, value) in named {
            if let Some(value) = value {
                filter.insert(name.to_owned(), value.into());
            }
        }
        let body = Value::Object(filter).to_string().into_bytes();
        self.connection
            .client()?
            .post(&["admin", "v1", "dead", what], "application/json", body)
            .await
    }
}

impl Discarded {
    async fn ask(self) -> anyhow::Result<Answer> {
        let pending = self.pending.then(|| ("pending".to_owned(), true.into()));
        self.chosen.ask("discard", pending.into_iter().collect()).await
    }
}

impl Health {
    async fn ask(self) -> anyhow::Result<Answer> {
        let path = if self.ready { "readyz" } else { "healthz" };
        let ask = async |url: &str| HttpClient::of_anyone(url)?.get(&[path], &[]).await;
        match &self.url {
            Some(url) => ask(url).await,
            // A container's check knows nothing of the configuration.
            None => match ask("http://127.0.0.1:8080").await {
                Err(plain) => ask("https://127.0.0.1:8080").await.map_err(|_| plain),
                answer => answer,
            },
        }
    }
}

/// One JSON object on one line, whatever the relay's own layout.
fn print(answer: &Answer) -> anyhow::Result<Exit> {
    if !answer.is_success() {
        bail!("the relay refuses: {}", answer.refusal());
    }
    match answer.json() {
        Some(json) => println!("{json}"),
        None => println!("{}", Value::from(String::from_utf8_lossy(&answer.body).trim())),
    }
    Ok(Exit::Fine)
}

/// Groups as one object a line; what is beyond those that are told apart is said.
fn print_groups(answer: &Answer) -> anyhow::Result<Exit> {
    let others = answer.json().and_then(|told| told.get("others").and_then(Value::as_u64));
    if let Some(others) = others.filter(|others| *others > 0) {
        eprintln!("{others} dead letters more, of further causes; --destination narrows it down");
    }
    print_lines(answer)
}

/// Whether a list is as long as a relay makes one.
fn is_cut(answer: &Answer) -> bool {
    u64::try_from(objects(answer).len()).unwrap_or(u64::MAX) >= LISTED_AT_MOST
}

/// A list as one object a line.
fn print_lines(answer: &Answer) -> anyhow::Result<Exit> {
    if !answer.is_success() {
        bail!("the relay refuses: {}", answer.refusal());
    }
    for object in objects(answer) {
        println!("{object}");
    }
    Ok(Exit::Fine)
}

/// The objects of a list, of an object that holds one list, or of lines.
fn objects(answer: &Answer) -> Vec<Value> {
    match answer.json() {
        Some(Value::Array(objects)) => objects,
        Some(Value::Object(members)) => {
            let mut lists = members.values().filter_map(Value::as_array);
            match (lists.next(), lists.next()) {
                (Some(list), None) => list.clone(),
                _ => vec![Value::Object(members)],
            }
        }
        _ => serde_json::Deserializer::from_slice(&answer.body)
            .into_iter()
            .map_while(Result::ok)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, extract::Request, http::StatusCode};
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(subcommand)]
        admin: Admin,
    }

    /// Answers what it was asked: method, path with query, token, body.
    async fn echo(request: Request) -> (StatusCode, Json<Value>) {
        let (parts, body) = request.into_parts();
        let status = if parts.uri.path().contains("unknown") {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::OK
        };
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = parts.headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
        let asked = format!("{} {}", parts.method, parts.uri);
        (status, Json(json!({"asked": asked, "token": token, "body": body})))
    }

    async fn asked(arguments: &[&str]) -> Answer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().fallback(echo);
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let place = if arguments[0] == "health" { "--url" } else { "--admin" };
        let mut line = vec!["conversion-relay"];
        line.extend(arguments);
        line.extend([place, url.as_str()]);
        let answer = match Command::try_parse_from(line).unwrap().admin {
            Admin::Dead(Dead::List(list)) => list.ask().await,
            Admin::Dead(Dead::Groups(groups)) => groups.ask().await,
            Admin::Dead(Dead::Replay(chosen)) => chosen.ask("replay", Map::new()).await,
            Admin::Dead(Dead::Discard(chosen)) => chosen.ask().await,
            Admin::Pause(destination) => destination.ask("pause").await,
            Admin::Resume(destination) => destination.ask("resume").await,
            Admin::Stats(connection) | Admin::Alerts(connection) => {
                connection.client().unwrap().get(&["admin", "v1", "stats"], &[]).await
            }
            Admin::Health(health) => health.ask().await,
            Admin::AdminLog(log) => log.ask().await,
        };
        server.abort();
        answer.unwrap()
    }

    #[tokio::test]
    async fn commands_ask_the_calls_of_the_interface() {
        let token = ["--token", "t-1"];
        for (arguments, expected, body) in [
            (vec!["stats"], "GET /admin/v1/stats", json!(null)),
            (vec!["pause", "meta"], "POST /admin/v1/destinations/meta/pause", json!({})),
            (vec!["resume", "a/b"], "POST /admin/v1/destinations/a%2Fb/resume", json!({})),
            (vec!["dead", "list"], "GET /admin/v1/dead?limit=10000", json!(null)),
            (
                vec![
                    "dead",
                    "list",
                    "--destination",
                    "meta",
                    "--reason",
                    "rejected",
                    "--limit",
                    "5",
                ],
                "GET /admin/v1/dead?destination=meta&reason=rejected&limit=5",
                json!(null),
            ),
            (vec!["admin-log", "--who", "jane"], "GET /admin/v1/audit?who=jane", json!(null)),
            (vec!["dead", "replay"], "POST /admin/v1/dead/replay", json!({})),
            (
                vec!["dead", "discard", "d-1", "--id", "d-2", "--destination", "meta"],
                "POST /admin/v1/dead/discard",
                json!({"ids": ["d-1", "d-2"], "destination": "meta"}),
            ),
            (
                vec!["dead", "discard", "--pending", "--destination", "gone"],
                "POST /admin/v1/dead/discard",
                json!({"destination": "gone", "pending": true}),
            ),
        ] {
            let answer = asked(&[arguments, token.to_vec()].concat()).await.json().unwrap();
            assert_eq!(answer["asked"], expected);
            assert_eq!(answer["token"], "Bearer t-1");
            assert_eq!(answer["body"], body, "{expected}");
        }
        assert_eq!(asked(&["health"]).await.json().unwrap()["asked"], "GET /healthz");
        let ready = asked(&["health", "--ready"]).await.json().unwrap();
        assert_eq!((&ready["asked"], &ready["token"]), (&json!("GET /readyz"), &json!(null)));
    }

    #[tokio::test]
    async fn refusals_fail() {
        let answer = asked(&["pause", "unknown", "--token", "t-1"]).await;
        assert!(print(&answer).is_err());
        let refused = Answer {
            status: 403,
            retry_after: None,
            body: br#"{"code": "not_allowed", "detail": "needs the role operator"}"#.to_vec(),
        };
        let error = print_lines(&refused).unwrap_err().to_string();
        assert_eq!(error, "the relay refuses: 403 not_allowed: needs the role operator");
        assert!(Command::try_parse_from(["conversion-relay", "pause"]).is_err());
        let parsed = |arguments: &str| {
            Command::try_parse_from(["conversion-relay"].into_iter().chain(arguments.split(' ')))
        };
        assert!(parsed("dead discard --pending").is_err(), "whose?");
        let narrowed = "dead discard --pending --destination meta --reason rejected";
        assert!(parsed(narrowed).is_err(), "what waits has no reason yet");
        assert!(parsed("dead replay --pending --destination meta").is_err());
        assert!(HttpClient::new("ftp://example.com", None).is_err());
        assert!(HttpClient::new("not a url", None).is_err());
        assert!(HttpClient::new("https://relay.example.com", None).is_ok());
    }

    #[test]
    fn a_list_that_may_go_on_is_told_from_a_whole_one() {
        let list = |letters: u64| {
            let body = json!((0..letters).map(|id| json!({"id": id})).collect::<Vec<_>>());
            Answer { status: 200, retry_after: None, body: body.to_string().into_bytes() }
        };
        assert!(is_cut(&list(LISTED_AT_MOST)));
        assert!(!is_cut(&list(LISTED_AT_MOST - 1)));
    }

    #[test]
    fn lists_come_in_any_wrapping() {
        let list = |body: &str| {
            let body = body.as_bytes().to_vec();
            objects(&Answer { status: 200, retry_after: None, body })
        };
        let expected = vec![json!({"id": "1"}), json!({"id": "2"})];
        assert_eq!(list(r#"[{"id": "1"}, {"id": "2"}]"#), expected);
        assert_eq!(list(r#"{"dead": [{"id": "1"}, {"id": "2"}], "count": 2}"#), expected);
        assert_eq!(list("{\"id\": \"1\"}\n{\"id\": \"2\"}\n"), expected);
        assert_eq!(list("[]"), Vec::<Value>::new());
        assert_eq!(list(r#"{"id": "1"}"#), vec![json!({"id": "1"})]);
    }
}
