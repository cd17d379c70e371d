//! What a person can do about events that died: by the closed code, by the platform's own, by what
//! its words speak of.

use super::Destination;

/// What the words of a refusal speak of, and what to do then. The first that fits counts.
const BY_WORDS: &[(&[&str], &str)] = &[
    (
        &["permission", "not authorized", "unauthorized", "access token", "forbidden"],
        "give the token the right that the platform names, or use another account's; then replay",
    ),
    (
        &["too old", "older than", "expired", "in the past", "time window", "event_time"],
        "the event was too old when it was sent: a replay will not help; see why it waited so long",
    ),
    (
        &["in the future", "future"],
        "a clock runs fast: the sender's or this machine's; correct it, then replay",
    ),
    (
        &["currency"],
        "correct the currency in events.toml (value, currency) or at the site, then replay",
    ),
    (&["value", "price", "amount"], "correct the value rule in events.toml, then replay"),
    (
        &["user_data", "customer information", "user identifier", "match key", "identifier"],
        "the event carries too little to find a person by: let more through (may_send in \
         consent.toml) or send more with the event, then replay",
    ),
    (
        &["pixel", "dataset", "conversion action", "conversion rule", "account", "not found"],
        "correct the id in destinations.toml or events.toml, then replay",
    ),
    (&["consent"], "see which consent fields the platform asks for in consent.toml, then replay"),
    (&["too large"], "the event alone is larger than the platform takes: send less with it"),
];

/// What to do about dead letters of one cause.
pub fn hint(
    reason: &str,
    code: &str,
    words: &str,
    destination: Option<&dyn Destination>,
) -> &'static str {
    if let Some(own) = destination.and_then(|destination| destination.hint(code)) {
        return own;
    }
    match reason {
        "unknown_result" => {
            return "the answer was lost, and the platform may have the event: replay only where \
                    counting it twice is better than losing it";
        }
        "never_found" => {
            return "the platform did not find what the event is about (an earlier conversion) for as \
                    long as it may take: see whether that one was ever counted there, under this \
                    order id and in this account, then replay";
        }
        "attempts_exhausted" => {
            return "the platform kept asking to try again: see whether what it waits for (a click, \
                    an earlier conversion) exists by now, then replay";
        }
        _ => {}
    }
    let words = words.to_lowercase();
    let code = code.to_lowercase();
    let speaks_of = |(keys, _): &&(&[&str], &'static str)| {
        keys.iter().any(|key| words.contains(key) || code.contains(&key.replace(' ', "_")))
    };
    BY_WORDS.iter().find(speaks_of).map_or(
        "correct what the platform's words name: the mapping in events.toml, a setting in \
         destinations.toml, or what the event carries; then replay",
        |(_, hint)| hint,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_follows_the_code_and_the_words() {
        assert!(hint("unknown_result", "", "", None).contains("twice"));
        assert!(hint("never_found", "retry", "", None).contains("order id"));
        assert!(hint("attempts_exhausted", "retry", "", None).contains("try again"));
        assert!(hint("rejected", "1", "The currency XYZ is not known", None).contains("currency"));
        assert!(hint("rejected", "INVALID_CURRENCY", "", None).contains("currency"));
        assert!(hint("rejected", "", "", None).contains("events.toml"));
    }
}
