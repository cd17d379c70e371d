//! Names that GA4 knows, keeps for itself, or refuses (DOC/reference, checked 2026-11-22).

/// Recommended events.
const RECOMMENDED: &[&str] = &[
    "add_payment_info",
    "add_shipping_info",
    "add_to_cart",
    "add_to_wishlist",
    "ad_impression",
    "begin_checkout",
    "campaign_details",
    "close_convert_lead",
    "close_unconvert_lead",
    "disqualify_lead",
    "earn_virtual_currency",
    "exception",
    "generate_lead",
    "join_group",
    "level_end",
    "level_start",
    "level_up",
    "login",
    "page_view",
    "post_score",
    "purchase",
    "qualify_lead",
    "refund",
    "remove_from_cart",
    "screen_view",
    "search",
    "select_content",
    "select_item",
    "select_promotion",
    "share",
    "sign_up",
    "spend_virtual_currency",
    "tutorial_begin",
    "tutorial_complete",
    "unlock_achievement",
    "view_cart",
    "view_item",
    "view_item_list",
    "view_promotion",
    "view_search_results",
    "working_lead",
];

/// Names that GA4 keeps for itself.
const RESERVED: &[&str] = &[
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_query",
    "adunit_exposure",
    "app_background",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_store_subscription_cancel",
    "app_store_subscription_convert",
    "app_store_subscription_renew",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "dynamic_link_app_update",
    "dynamic_link_first_open",
    "error",
    "firebase_campaign",
    "first_open",
    "first_visit",
    "in_app_purchase",
    "notification_dismiss",
    "notification_foreground",
    "notification_open",
    "notification_receive",
    "notification_send",
    "os_update",
    "session_start",
    "session_start_with_rollout",
    "user_engagement",
];

const RESERVED_PREFIXES: &[&str] = &["_", "firebase_", "ga_", "google_", "gtag."];
const RESERVED_PARAMETER_PREFIXES: &[&str] = &["_", "firebase_", "ga_", "google_"];

/// The standard name of an event, which is the usual analytics vocabulary itself.
pub(super) fn standard(event: &str) -> Option<String> {
    let known = match event {
        "order_completed" => "purchase",
        "order_refunded" => "refund",
        "checkout_started" => "begin_checkout",
        "product_viewed" => "view_item",
        "product_added" => "add_to_cart",
        "products_searched" => "search",
        "signed_up" => "sign_up",
        name => RECOMMENDED.iter().find(|known| **known == name)?,
    };
    Some(known.to_owned())
}

/// Why a name cannot be an event's.
pub(super) fn refuse(name: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    if !is_name(name) {
        return Some(format!(
            "{name:?} is no event name in GA4: a letter, then at most 39 letters, digits and _"
        ));
    }
    let kept = RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|p| name.starts_with(p));
    kept.then(|| format!("GA4 keeps {name:?} for itself; choose another name"))
}

/// What to know of a name that some of the vendor's lists reserve and others recommend (uncertain).
pub(super) fn caution(name: &str) -> Option<String> {
    matches!(name, "screen_view" | "ad_impression").then(|| {
        format!("some of GA4's lists reserve {name:?}: such events may be dropped without a word")
    })
}

/// Whether a property can be a parameter.
pub(super) fn is_parameter(name: &str) -> bool {
    is_name(name) && !RESERVED_PARAMETER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether events of a name are deduplicated by their transaction id.
pub(super) fn has_transaction(name: &str) -> bool {
    matches!(name, "purchase" | "refund")
}

/// A letter, then at most 39 letters, digits and `_`.
fn is_name(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_anything_is_sent() {
        for name in ["store_visit", "purchase", "A1"] {
            assert_eq!(refuse(name), None);
        }
        let long = "x".repeat(41);
        for name in ["1st", "with space", "größe", "session_start", "ga_x", "firebase_x", &long] {
            assert!(refuse(name).is_some(), "{name}");
        }
        assert!(is_parameter("cart_size") && !is_parameter("google_x") && !is_parameter("a.b"));
        assert_eq!(standard("begin_checkout").as_deref(), Some("begin_checkout"));
        assert_eq!(standard("scroll_depth"), None);
    }
}
