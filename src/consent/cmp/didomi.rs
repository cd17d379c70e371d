//! Didomi's cookie `didomi_token`: base64 of a JSON object with purposes and vendors, each as lists
//! of those enabled and disabled.
//!
//! <https://developers.didomi.io/> on cookies (checked 2026-11-22). Legitimate interests in it say
//! nothing about consent and are passed over.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use super::{Choices, once, unescaped};
use crate::consent::bits::Unreadable;

/// Written with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize)]
struct Token {
    user_id: Option<String>,
    purposes: Option<Lists>,
    vendors: Option<Lists>,
}

#[derive(Deserialize, Default)]
struct Lists {
    #[serde(default)]
    enabled: Vec<String>,
    #[serde(default)]
    disabled: Vec<String>,
}

impl Lists {
    fn choices(self) -> Vec<(String, bool)> {
        let enabled = self.enabled.into_iter().map(|id| (id, true));
        once(enabled.chain(self.disabled.into_iter().map(|id| (id, false))).collect())
    }
}

pub(super) fn read(value: &str) -> Result<Choices, Unreadable> {
    let value = unescaped(value)?;
    let json = BASE64.decode(value.as_bytes()).map_err(|_| Unreadable::Alphabet)?;
    let token: Token = serde_json::from_slice(&json).map_err(|_| Unreadable::Form)?;
    let purposes = token.purposes.unwrap_or_default().choices();
    let vendors = token.vendors.unwrap_or_default().choices();
    Ok(Choices {
        // The token exists before the visitor answers; its lists are empty until then.
        answered: !(purposes.is_empty() && vendors.is_empty()),
        categories: purposes,
        vendors,
        id: token.user_id.filter(|id| !id.is_empty()),
        ..Choices::default()
    })
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn reads_purposes_and_vendors() {
        let json = r#"{"user_id":"u-1","created":"2026-11-01T09:00:00.000Z","updated":"2026-11-01T09:00:00.000Z",
            "vendors":{"enabled":["google","c:shop-ads"],"disabled":["c:other"]},
            "purposes":{"enabled":["cookies","create_ads_profile"],"disabled":["geolocation_data","cookies"]},
            "vendors_li":{"enabled":["google"]},"version":2}"#;
        let padded = BASE64_STANDARD.encode(json);
        for value in [&*padded, padded.trim_end_matches('='), &*padded.replace('=', "%3D")] {
            let read = read(value).unwrap();
            let purposes =
                [("cookies", false), ("create_ads_profile", true), ("geolocation_data", false)];
            assert_eq!(read.categories, purposes.map(|(id, on)| (id.to_owned(), on)));
            let vendors = [("c:other", false), ("c:shop-ads", true), ("google", true)];
            assert_eq!(read.vendors, vendors.map(|(id, on)| (id.to_owned(), on)));
            assert!(read.answered);
            assert_eq!(read.id.as_deref(), Some("u-1"));
        }
    }

    #[test]
    fn an_empty_token_is_no_answer_and_nonsense_is_refused() {
        assert!(!read(&BASE64_STANDARD.encode(r#"{"user_id":"u","version":2}"#)).unwrap().answered);
        assert_eq!(read("%%%"), Err(Unreadable::Alphabet));
        assert_eq!(read(&BASE64_STANDARD.encode("[1]")), Err(Unreadable::Form));
        assert_eq!(read(&BASE64_STANDARD.encode("[".repeat(9_000))), Err(Unreadable::Form));
        let wrong = r#"{"purposes":{"enabled":[{"id":"cookies"}]}}"#;
        assert_eq!(read(&BASE64_STANDARD.encode(wrong)), Err(Unreadable::Form));
    }
}
