//! Where an event happened, in TikTok's words, and what it may be called there.

use crate::event::ActionSource;

/// TikTok's `event_source`; each has an id of its own (DOC 1771101303285761).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Web,
    App,
    Offline,
    Crm,
}

impl Source {
    pub(super) const ALL: [Source; 4] = [Source::Web, Source::App, Source::Offline, Source::Crm];

    pub(super) fn of(source: ActionSource) -> Self {
        match source {
            ActionSource::Website => Source::Web,
            ActionSource::App => Source::App,
            ActionSource::Crm => Source::Crm,
            ActionSource::PhysicalStore
            | ActionSource::PhoneCall
            | ActionSource::Chat
            | ActionSource::Email
            | ActionSource::SystemGenerated
            | ActionSource::BusinessMessaging
            | ActionSource::Other => Source::Offline,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Source::Web => "web",
            Source::App => "app",
            Source::Offline => "offline",
            Source::Crm => "crm",
        }
    }

    /// The setting that holds its id.
    pub(super) fn key(self) -> &'static str {
        match self {
            Source::Web => "pixel_code",
            Source::App => "app_id",
            Source::Offline => "event_set_id",
            Source::Crm => "crm_event_set_id",
        }
    }
}

/// Names of websites and offline event sets; the last four are older ones, three of them of Purchase
/// and Lead.
#[rustfmt::skip]
pub(super) const WEB: &[&str] = &[
    "AddPaymentInfo", "AddToCart", "AddToWishlist", "ApplicationApproval", "CompleteRegistration",
    "Contact", "CustomizeProduct", "Download", "FindLocation", "InitiateCheckout", "Lead",
    "Purchase", "Schedule", "Search", "StartTrial", "SubmitApplication", "Subscribe", "ViewContent",
    "CompletePayment", "PlaceAnOrder", "SubmitForm", "ClickButton",
];

#[rustfmt::skip]
pub(super) const APP: &[&str] = &[
    "AchieveLevel", "AddPaymentInfo", "AddToCart", "AddToWishlist", "Checkout", "CompleteTutorial",
    "CreateGroup", "CreateRole", "GenerateLead", "InAppADClick", "InAppADImpr", "InstallApp",
    "JoinGroup", "LaunchAPP", "LoanApplication", "LoanApproval", "LoanDisbursal", "Login",
    "Purchase", "Rate", "Registration", "Search", "SpendCredits", "StartTrial", "Subscribe",
    "UnlockAchievement", "ViewContent",
];

/// The standard name of an event: the same words, or those of the usual analytics vocabulary.
fn standard(list: &[&'static str], event: &str) -> Option<&'static str> {
    let words: &[&str] = match event {
        "begin_checkout" | "checkout_started" => &["InitiateCheckout", "Checkout"],
        "view_item" | "product_viewed" => &["ViewContent"],
        "view_search_results" => &["Search"],
        "generate_lead" => &["Lead", "GenerateLead"],
        "sign_up" => &["CompleteRegistration", "Registration"],
        "order_completed" => &["Purchase"],
        "app_open" => &["LaunchAPP"],
        "app_install" => &["InstallApp"],
        _ => {
            let bare: String = event.chars().filter(|c| *c != '_').collect();
            return list.iter().copied().find(|name| name.eq_ignore_ascii_case(&bare));
        }
    };
    list.iter().copied().find(|name| words.contains(name))
}

/// Empty: only apps have a name for it.
pub(super) fn standard_web(event: &str) -> Option<String> {
    standard(WEB, event).or(standard(APP, event).map(|_| "")).map(str::to_owned)
}

/// Empty: only websites have a name for it.
pub(super) fn standard_app(event: &str) -> Option<String> {
    standard(APP, event).or(standard(WEB, event).map(|_| "")).map(str::to_owned)
}

pub(super) fn refuse(name: &str) -> Option<String> {
    let mut known = WEB.iter().chain(APP);
    let near = known.clone().find(|known| known.eq_ignore_ascii_case(name))?;
    // Purchase written as purchase would count as a custom event of its own.
    (!known.any(|known| *known == name))
        .then(|| format!("names are case sensitive; write {near:?}"))
}
