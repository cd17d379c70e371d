//! Categories of consent platforms → purposes: what well-known ids stand for, and `[categories]` of
//! `consent.toml` before that.
//!
//! An entry in `consent.toml` replaces what is known of that id, so that it can take purposes away,
//! and only by being written add any. Ids are compared exactly; one that nobody maps says nothing.

use super::{Grant, Grants, Purpose};

const ADS: &[Purpose] = &[Purpose::AdStorage, Purpose::AdUserData, Purpose::AdPersonalization];
const ANALYTICS: &[Purpose] = &[Purpose::AnalyticsStorage];
const NOTHING: &[Purpose] = &[];

/// Ids with the purposes that they stand for.
type Ids = &'static [(&'static str, &'static [Purpose])];

/// `false` opts out of the sale of data, `true` says nothing.
pub(super) const SALE_OF_DATA: &str = "saleOfDataAllowed";

/// Sources with the ids that are known there, and what these stand for. What an id of the event's
/// own `categories` means is up to the site, but for ids that cannot mean anything else.
///
/// The platforms' documentation of their default categories (checked 2026-11-22).
const KNOWN: [(&str, Ids); 6] = [
    ("onetrust", ONETRUST),
    ("categories", ONETRUST),
    (
        "cookiebot",
        &[
            ("necessary", NOTHING),
            ("preferences", NOTHING),
            ("statistics", ANALYTICS),
            ("marketing", ADS),
        ],
    ),
    (
        "cookieyes",
        &[
            ("necessary", NOTHING),
            ("functional", NOTHING),
            ("performance", NOTHING),
            ("analytics", ANALYTICS),
            ("advertisement", ADS),
        ],
    ),
    ("usercentrics", &[("essential", NOTHING), ("functional", NOTHING), ("marketing", ADS)]),
    (
        "shopify",
        &[
            ("preferencesProcessingAllowed", NOTHING),
            ("analyticsProcessingAllowed", ANALYTICS),
            ("marketingAllowed", ADS),
            (SALE_OF_DATA, NOTHING),
        ],
    ),
];

const ONETRUST: Ids = &[
    ("C0001", NOTHING),
    ("C0002", ANALYTICS),
    ("C0003", NOTHING),
    ("C0004", ADS),
    ("C0005", NOTHING),
];

/// Consent to e-mails, texts and calls, which is none to advertising; never used.
const FOR_EMAIL: [&str; 6] = [
    "buyer_accepts_marketing",
    "buyerAcceptsMarketing",
    "accepts_marketing",
    "acceptsMarketing",
    "email_marketing_consent",
    "sms_marketing_consent",
];

/// Every id that something is known of, with what it stands for.
pub fn known() -> impl Iterator<Item = (&'static str, &'static [Purpose])> {
    KNOWN.iter().flat_map(|(_, ids)| ids.iter().copied())
}

/// Whether an id is about messages to a person, and never used.
pub fn is_for_email(id: &str) -> bool {
    FOR_EMAIL.contains(&id)
}

/// Whether an id is one of Shopify's privacy API.
pub(super) fn is_of_shop(id: &str) -> bool {
    ids_of("shopify").iter().any(|(known, _)| *known == id)
}

fn ids_of(source: &str) -> Ids {
    KNOWN.iter().find(|(known, _)| *known == source).map_or(&[], |(_, ids)| ids)
}

/// What choices by category amount to. A purpose that a refused category stands for is denied,
/// whatever other categories say.
pub(super) fn grants(
    source: &str,
    choices: &[(String, bool)],
    map: &[(String, Vec<Purpose>)],
) -> Grants {
    let known = ids_of(source);
    let mut grants = Grants::default();
    for (id, allowed) in choices {
        let said = if *allowed { Grant::Granted } else { Grant::Denied };
        let purposes = match map.iter().find(|(own, _)| own == id) {
            Some((_, purposes)) => purposes.as_slice(),
            None => known.iter().find(|(known, _)| known == id).map_or(NOTHING, |(_, list)| list),
        };
        for purpose in purposes {
            let place = grants.get_mut(*purpose);
            *place = place.strictest(said);
        }
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(list: &[(&str, bool)]) -> Vec<(String, bool)> {
        list.iter().map(|(id, allowed)| ((*id).to_owned(), *allowed)).collect()
    }

    #[test]
    fn a_refused_category_beats_a_granted_one_and_unknown_ones_say_nothing() {
        let map = [
            ("C0004".to_owned(), vec![Purpose::AdStorage, Purpose::AdUserData]),
            ("C0005".to_owned(), vec![Purpose::AdUserData]),
            ("C0002".to_owned(), Vec::new()),
        ];
        let list = choices(&[("C0004", true), ("C0005", false), ("c0002", true), ("C0002", true)]);
        let expected =
            Grants { ad_storage: Grant::Granted, ad_user_data: Grant::Denied, ..Grants::default() };
        assert_eq!(grants("onetrust", &list, &map), expected);
    }

    #[test]
    fn well_known_ids_stand_for_what_their_platform_says_and_elsewhere_for_nothing() {
        let all = |source: &str, list: &[(&str, bool)]| grants(source, &choices(list), &[]);
        let ads = all("cookiebot", &[("marketing", true), ("statistics", false)]);
        assert_eq!((ads.ad_user_data, ads.analytics_storage), (Grant::Granted, Grant::Denied));
        // In a category map of the site's own this may be consent to e-mails.
        assert_eq!(all("categories", &[("marketing", true)]), Grants::default());
        assert_eq!(all("categories", &[("C0004", true)]).ad_storage, Grant::Granted);
        assert_eq!(all("shopify", &[(SALE_OF_DATA, true)]), Grants::default());
        assert_eq!(all("cookieyes", &[("C0004", true)]), Grants::default());
    }
}
