//! Programs that play a visitor: by the name that they give themselves, or by what nobody can do.
//!
//! A bot that hides is not found here; it is bounded by the rate limits of its key, its address and
//! its session.

use crate::sources::json::Node;

/// A name that ends in one of these is a program's: `Googlebot/2.1`, `bingbot`, `AhrefsBot`.
const ENDINGS: [&str; 4] = ["bot", "bots", "crawler", "spider"];

/// Names that end so and are people's: the telephones of a maker.
const NO_BOTS: [&str; 1] = ["cubot"];

/// Crawlers, previews and monitors with other names.
const CRAWLERS: [&str; 24] = [
    "adsbot-google",
    "apis-google",
    "bingpreview",
    "bytespider",
    "chrome-lighthouse",
    "crawling",
    "datanyze",
    "facebookexternalhit",
    "feedfetcher",
    "google-inspectiontool",
    "google-read-aloud",
    "googleother",
    "gtmetrix",
    "ia_archiver",
    "mediapartners-google",
    "meta-externalagent",
    "newrelicsynthetics",
    "pagespeed",
    "pingdom",
    "prerender",
    "ptst/",
    "slurp",
    "statuscake",
    "whatsapp/",
];

/// Programs that drive a browser, or speak HTTP without one. Whoever tests a site uses them too.
const TOOLS: [&str; 20] = [
    "headlesschrome",
    "phantomjs",
    "selenium",
    "puppeteer",
    "playwright",
    "cypress/",
    "electron/",
    "python-requests",
    "python-urllib",
    "aiohttp",
    "httpx/",
    "scrapy",
    "curl/",
    "wget/",
    "go-http-client",
    "java/",
    "libwww-perl",
    "node-fetch",
    "axios/",
    "postmanruntime",
];

/// How fast is nobody, in milliseconds after the page was shown.
const NOBODY_MS: f64 = 100.0;

/// What takes a visitor time: a property of the tag's modules, and from which value on.
const ENGAGEMENT: [(&str, f64); 2] = [("scroll_depth", 25.0), ("video_percent", 25.0)];

/// Who counts as a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Crawlers: relays that are not live are tested by programs.
    Crawlers,
    /// Test tools too, and who gives no name.
    Tools,
}

/// Whether a `User-Agent` is that of a program.
pub fn is_bot(agent: Option<&str>, strictness: Strictness) -> bool {
    let agent = agent.unwrap_or_default().trim().to_ascii_lowercase();
    let names = |list: &[&str]| list.iter().any(|name| agent.contains(name));
    if names(&CRAWLERS) || ENDINGS.iter().any(|ending| ends_a_name(&agent, ending)) {
        return true;
    }
    strictness == Strictness::Tools && (agent.is_empty() || names(&TOOLS))
}

/// Whether one of the agent's words ends so.
fn ends_a_name(agent: &str, ending: &str) -> bool {
    agent
        .split(|c: char| !c.is_ascii_alphabetic())
        .any(|word| word.ends_with(ending) && !NO_BOTS.contains(&word))
}

/// Whether an event says what no visitor can have done: a page read to its end, a video seen or a
/// form filled in at once.
pub fn is_impossible(event: &Node<'_>) -> bool {
    let number = |name: &str| match event.get("properties")?.get(name)? {
        Node::Number(number) => number.parse::<f64>().ok(),
        _ => None,
    };
    let soon = |name: &str| number(name).is_some_and(|ms| ms < NOBODY_MS);
    let claims = |(name, from): &(&str, f64)| number(name).is_some_and(|value| value >= *from);
    soon("fill_ms") || (soon("elapsed_ms") && ENGAGEMENT.iter().any(claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs() {
        use Strictness::{Crawlers, Tools};
        let browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) ";
        for (agent, crawler, tool) in [
            (format!("{browser}Chrome/150.0.0.0 Safari/537.36"), false, false),
            (format!("{browser}HeadlessChrome/150.0.0.0 Safari/537.36"), false, true),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
                    .to_owned(),
                true,
                true,
            ),
            ("Mozilla/5.0 (compatible; AhrefsBot/7.0)".to_owned(), true, true),
            ("Mozilla/5.0 (compatible; Baiduspider/2.0)".to_owned(), true, true),
            ("facebookexternalhit/1.1".to_owned(), true, true),
            ("Mozilla/5.0 (Linux; Android 13; CUBOT X70) Chrome/150.0".to_owned(), false, false),
            ("curl/8.5.0".to_owned(), false, true),
            ("Robotics Weekly Reader".to_owned(), false, false),
            (" ".to_owned(), false, true),
            ("\u{130}bot".to_owned(), true, true),
        ] {
            assert_eq!(is_bot(Some(&agent), Crawlers), crawler, "{agent}");
            assert_eq!(is_bot(Some(&agent), Tools), tool, "{agent}");
        }
        assert!(is_bot(None, Tools) && !is_bot(None, Crawlers));
    }

    #[test]
    fn what_nobody_can_do() {
        for (properties, expected) in [
            (r#"{"scroll_depth": 100, "elapsed_ms": 0}"#, true),
            (r#"{"scroll_depth": 100, "elapsed_ms": 900}"#, false),
            (r#"{"scroll_depth": 10, "elapsed_ms": 0}"#, false),
            (r#"{"scroll_depth": 100}"#, false),
            (r#"{"video_percent": 75, "elapsed_ms": 3}"#, true),
            (r#"{"fill_ms": 2}"#, true),
            (r#"{"fill_ms": 2000}"#, false),
            (r#"{"elapsed_ms": 0}"#, false),
            (r#"{"scroll_depth": "100", "elapsed_ms": "0"}"#, false),
            ("[]", false),
        ] {
            let text = format!(r#"{{"event": "e", "properties": {properties}}}"#);
            let node = crate::sources::json::parse(&text, 8).unwrap();
            assert_eq!(is_impossible(&node), expected, "{properties}");
        }
    }
}
