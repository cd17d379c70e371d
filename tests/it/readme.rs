//! README's platform table is what the registry says. `UPDATE=1` writes it anew.

use conversion_relay::{
    destinations::{BrowserDedup, Dedup, REGISTRY},
    event::ActionSource,
};

const START: &str = "<!-- platforms: generated from the registry by tests/it/readme.rs -->";
const END: &str = "<!-- end of platforms -->";

fn table() -> String {
    let mut table = String::from(
        "| `platform` | what it is | API | a request holds | oldest event (website) | resends recognised by | own tag's copy recognised by | sent by default, without `may_send` |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for platform in REGISTRY {
        let api = platform.api.map_or("unversioned".to_owned(), |api| match api.ends {
            Some(ends) => format!("{} (until {ends})", api.version),
            None => api.version.to_owned(),
        });
        let oldest = (platform.oldest)(ActionSource::Website).as_secs() / 60;
        let oldest = match (oldest / 60, oldest % 60) {
            (hours, _) if hours >= 24 * 3650 => "any".to_owned(),
            (0, minutes) => format!("{minutes} min"),
            (hours, 0) if hours % 24 == 0 => format!("{} d", hours / 24),
            (hours, _) => format!("{hours} h"),
        };
        let dedup = match platform.dedup {
            Dedup::EventId => "event id",
            Dedup::Partly => "some events only",
            Dedup::None => "not at all",
        };
        let browser = match platform.browser_dedup {
            BrowserDedup::EventId => match platform.dedup {
                Dedup::Partly => "event name and id, where it has both",
                Dedup::EventId | Dedup::None => "event name and id",
            },
            BrowserDedup::OwnRule => "event id, with a rule of its own for each source",
            BrowserDedup::TransactionId => "transaction id (purchases)",
            BrowserDedup::None => "not at all",
        };
        let fields = (platform.purposes.default_fields)(ActionSource::Website);
        let fields: Vec<String> =
            fields.iter().map(|field| format!("`{}`", field.path())).collect();
        let fields = if fields.is_empty() {
            "nothing but what is always sent".to_owned()
        } else {
            fields.join(", ")
        };
        let title = match platform.docs {
            "" => platform.title.to_owned(),
            docs => format!("[{}]({docs})", platform.title),
        };
        let events = match platform.batch.events {
            1 => "1 event".to_owned(),
            events => format!("{events} events"),
        };
        table.push_str(&format!(
            "| `{}` | {title} | {api} | {events} | {oldest} | {dedup} | {browser} | {fields} |\n",
            platform.name
        ));
    }
    table
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the table is rewritten where the environment asks for it"
)]
fn the_platform_table_is_the_registry() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let start = readme.find(START).expect("README has the table's start") + START.len();
    let end = readme.find(END).expect("README has the table's end");
    let expected = format!("\n\n{}\n", table());
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(path, format!("{}{expected}{}", &readme[..start], &readme[end..])).unwrap();
        return;
    }
    assert_eq!(&readme[start..end], expected, "write it anew with UPDATE=1");
}

#[test]
fn its_example_is_what_explain_prints() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let block = |name: &str| {
        let at = readme.find(&format!("```{name}\n")).unwrap() + name.len() + 4;
        let rest = &readme[at..];
        rest[..rest.find("\n```").unwrap()].to_owned()
    };
    let event = block("json event");
    let request: serde_json::Value = serde_json::from_str(&block("json request")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("event.json");
    std::fs::write(&file, event).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_conversion-relay"))
        .args(["explain", "--now", "2026-11-22T04:00:00Z", "--config"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/config"))
        .arg(&file)
        .output()
        .unwrap();
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["destinations"]["meta"]["requests"][0]["body"], request, "{line:#}");
}
