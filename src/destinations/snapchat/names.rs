//! What Snapchat calls an event.

/// DOC/Parameters. Five slots are for events of one's own.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "PURCHASE", "SAVE", "START_CHECKOUT", "ADD_CART", "VIEW_CONTENT", "ADD_BILLING", "SIGN_UP",
    "SEARCH", "PAGE_VIEW", "SUBSCRIBE", "AD_CLICK", "AD_VIEW", "COMPLETE_TUTORIAL",
    "LEVEL_COMPLETE", "INVITE", "LOGIN", "SHARE", "RESERVE", "ACHIEVEMENT_UNLOCKED",
    "ADD_TO_WISHLIST", "SPENT_CREDITS", "RATE", "START_TRIAL", "LIST_VIEW", "APP_INSTALL",
    "APP_OPEN", "CUSTOM_EVENT_1", "CUSTOM_EVENT_2", "CUSTOM_EVENT_3", "CUSTOM_EVENT_4",
    "CUSTOM_EVENT_5",
];

/// The standard name of an event: the same words, or those of the usual analytics vocabulary.
pub(super) fn standard(event: &str) -> Option<String> {
    let known = match event {
        "order_completed" => "PURCHASE",
        "begin_checkout" | "checkout_started" => "START_CHECKOUT",
        "add_to_cart" | "product_added" => "ADD_CART",
        "view_item" | "product_viewed" => "VIEW_CONTENT",
        "view_item_list" | "product_list_viewed" => "LIST_VIEW",
        "add_payment_info" => "ADD_BILLING",
        "view_search_results" => "SEARCH",
        "tutorial_complete" => "COMPLETE_TUTORIAL",
        "level_up" => "LEVEL_COMPLETE",
        "unlock_achievement" => "ACHIEVEMENT_UNLOCKED",
        "spend_virtual_currency" => "SPENT_CREDITS",
        _ => {
            let is_own = |name: &&&str| name.starts_with("CUSTOM_EVENT_");
            let mut listed = NAMES.iter().filter(|name| !is_own(name));
            listed.find(|name| name.eq_ignore_ascii_case(event))?
        }
    };
    Some(known.to_owned())
}

/// What no page lists would be taken and lost.
pub(super) fn refuse(name: &str) -> Option<String> {
    if name.is_empty() || NAMES.contains(&name) {
        return None;
    }
    Some(match refuse_but_free(name) {
        Some(better) => better,
        None => format!(
            "{name:?} is no event of Snapchat's; use one of {}, or free_names = true",
            NAMES.join(", ")
        ),
    })
}

/// Any name, but none that stands for a listed one.
pub(super) fn refuse_but_free(name: &str) -> Option<String> {
    let wanted = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
    let wanted = wanted.or_else(|| match name.to_ascii_uppercase().as_str() {
        "ADD_TO_CART" => Some("ADD_CART"),
        "ADD_PAYMENT_INFO" => Some("ADD_BILLING"),
        "SPEND_CREDITS" => Some("SPENT_CREDITS"),
        _ => None,
    })?;
    (wanted != name).then(|| format!("Snapchat's own name for it is {wanted:?}"))
}
