//! What Pinterest calls an event.

/// SPEC, and the six that were added in 2026. `custom` is for events of one's own.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "add_payment_info", "add_to_cart", "add_to_wishlist", "app_install", "app_open", "checkout",
    "custom", "initiate_checkout", "lead", "page_visit", "search", "signup", "subscribe",
    "view_category", "view_content", "watch_video",
    "contact", "customize_product", "find_location", "schedule", "start_trial",
    "submit_application",
];

/// A name of one's own serves audiences only; longer ones are not known to pass.
const LONGEST_NAME: usize = 100;

/// Whether it is no standard name.
pub(super) fn is_own(name: &str) -> bool {
    name == "custom" || !NAMES.contains(&name)
}

/// The standard name of an event: the same words, or those of the usual analytics vocabulary.
pub(super) fn standard(event: &str) -> Option<String> {
    let known = match event {
        "custom" => return None,
        "purchase" | "order_completed" => "checkout",
        "begin_checkout" | "checkout_started" => "initiate_checkout",
        "page_view" => "page_visit",
        "sign_up" => "signup",
        "generate_lead" => "lead",
        "view_item" | "product_viewed" => "view_content",
        "view_item_list" | "product_list_viewed" => "view_category",
        "view_search_results" => "search",
        "product_added" => "add_to_cart",
        "video_start" => "watch_video",
        _ => NAMES.iter().find(|name| **name == event)?,
    };
    Some(known.to_owned())
}

/// Names of other platforms would become events of one's own, which no report counts.
pub(super) fn refuse(name: &str) -> Option<String> {
    if name.chars().count() > LONGEST_NAME {
        return Some(format!("an event name has at most {LONGEST_NAME} characters"));
    }
    if name.is_empty() || NAMES.contains(&name) {
        return None;
    }
    let lower = name.to_lowercase();
    let wanted = standard(&lower).or_else(|| {
        let bare = lower.replace(['_', '-', ' '], "");
        NAMES.iter().find(|known| known.replace('_', "") == bare).map(|known| (*known).to_owned())
    })?;
    Some(format!("Pinterest's own name for it is {wanted:?}"))
}
