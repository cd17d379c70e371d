//! The body of `events:ingest` (PROTO ingestion_service, event).

use jiff::Timestamp;
use serde_json::json;

use super::{GoogleAds, IDENTIFIERS, Merchant};
use crate::{
    consent::Grant,
    destinations::wire::{self, Object},
    event::{ActionSource, Field},
    job::Prepared,
};

/// Room for ten destinations of the longest kind and the rest of the frame.
pub(super) const LARGEST_FRAME: usize = 4_096;

/// A whole request around written events.
pub(super) fn request(google: &GoogleAds, actions: &[&str], events: &str, test: bool) -> Vec<u8> {
    let destinations = actions.iter().map(|action| destination(google, action));
    Object::default()
        .list("destinations", destinations)
        .with("encoding", "HEX")
        .with("validateOnly", test)
        .raw("events", &format!("[{events}]"))
        .json()
        .into_bytes()
}

/// The conversion action by its number; the reference is the same number, which is unique.
fn destination(google: &GoogleAds, action: &str) -> Object {
    let account = |id: &str| json!({"accountType": "GOOGLE_ADS", "accountId": id});
    Object::default()
        .with("reference", action)
        .with("operatingAccount", account(&google.operating))
        .maybe("loginAccount", google.login.as_deref().map(account))
        .with("productDestinationId", action)
}

pub(super) fn event(google: &GoogleAds, job: &Prepared, action: &str, now: Timestamp) -> Object {
    // EVENT_TIME_INVALID for what is in the future.
    let time = job.time.min(now);
    // Of a restatement when the original happened, where that was said.
    let happened = job.adjusts.as_ref().and_then(|adjusts| adjusts.at).unwrap_or(time).min(time);
    let device = Object::default()
        .maybe("userAgent", job.clear(Field::UserAgent))
        .maybe("ipAddress", job.clear(Field::Ip));
    let customer = job.clear(Field::CustomerType).and_then(customer_type);
    // Of all money (sheet, A2): also of a cart's prices where there is no value.
    let cart = cart(google, job);
    let has_money = job.value.is_some() || cart.has_money;
    let currency = wire::currency(job).0.filter(|_| has_money);
    Object::large()
        .with("destinationReferences", [action])
        .with("transactionId", job.transaction_id.as_str())
        .with("eventTimestamp", happened.to_string())
        // Set on a restatement: when the event was last changed.
        .maybe("lastUpdatedTimestamp", job.adjusts.as_ref().map(|_| time.to_string()))
        .with("eventSource", source(job.action_source))
        .maybe("currency", currency)
        .maybe("conversionValue", job.value.map(|value| wire::number(value.amount)))
        .object("adIdentifiers", ad_identifiers(job))
        .object("userData", Object::default().list("userIdentifiers", user_identifiers(job)))
        .object("eventDeviceInfo", device)
        .object("consent", consent(job))
        .object("cartData", cart.object)
        .object("userProperties", Object::default().maybe("customerType", customer))
}

/// An event that identifies nobody, for a call that is only validated.
pub(super) fn probe_event(now: Timestamp) -> Object {
    // SHA-256 of `probe@example.com`.
    let email = "01daf2b30b24130a019a896a6c532bc978d2ed8cbbe618e8a09f96769a20de9d";
    Object::default()
        .with("transactionId", "probe")
        .with("eventTimestamp", now.to_string())
        .with("eventSource", "OTHER")
        .with("userData", json!({"userIdentifiers": [{"emailAddress": email}]}))
}

fn source(source: ActionSource) -> &'static str {
    match source {
        ActionSource::Website => "WEB",
        ActionSource::App => "APP",
        ActionSource::PhysicalStore => "IN_STORE",
        ActionSource::PhoneCall => "PHONE",
        ActionSource::Chat | ActionSource::Email | ActionSource::BusinessMessaging => "MESSAGE",
        ActionSource::Crm | ActionSource::SystemGenerated | ActionSource::Other => "OTHER",
    }
}

/// Opaque and case sensitive. `gbraid` is of apps and `wbraid` of the web: together they are an
/// error.
fn ad_identifiers(job: &Prepared) -> Object {
    let (gbraid, wbraid) = (job.clear(Field::Gbraid), job.clear(Field::Wbraid));
    let (gbraid, wbraid) = match (gbraid, wbraid, job.action_source) {
        (Some(_), Some(_), ActionSource::App) => (gbraid, None),
        (Some(_), Some(_), _) => (None, wbraid),
        _ => (gbraid, wbraid),
    };
    Object::default()
        .maybe("gclid", job.clear(Field::Gclid))
        .maybe("gbraid", gbraid)
        .maybe("wbraid", wbraid)
        .maybe("sessionAttributes", job.clear(Field::GoogleSessionAttributes))
        .maybe("mobileDeviceId", job.clear(Field::AdvertisingId))
}

/// Each exactly one of e-mail, phone and address; the address keeps its place among the ten.
fn user_identifiers(job: &Prepared) -> Vec<Object> {
    let address = address(job);
    let room = IDENTIFIERS - usize::from(address.is_some());
    let of = |field: Field, key: &'static str| {
        job.hashed(field).map(move |digest| Object::default().with(key, digest))
    };
    let (emails, phones) = (of(Field::Email, "emailAddress"), of(Field::Phone, "phoneNumber"));
    emails.chain(phones).take(room).chain(address).collect()
}

fn address(job: &Prepared) -> Option<Object> {
    let name = |field| job.hashed(field).next();
    let address = Object::default()
        .with("givenName", name(Field::FirstName)?)
        .with("familyName", name(Field::LastName)?)
        .with("regionCode", job.clear(Field::Country)?)
        .with("postalCode", job.clear(Field::PostalCode)?);
    Some(Object::default().object("address", address))
}

/// Never granted unless it was granted; silence is unspecified (PROTO consent).
fn consent(job: &Prepared) -> Object {
    let status = |grant| match grant {
        Grant::Granted => "CONSENT_GRANTED",
        Grant::Denied => "CONSENT_DENIED",
        Grant::NotAsked => "CONSENT_STATUS_UNSPECIFIED",
    };
    let grants = job.flags.grants;
    let personalization =
        if job.flags.personalization_denied { Grant::Denied } else { grants.ad_personalization };
    Object::default()
        .with("adUserData", status(grants.ad_user_data))
        .with("adPersonalization", status(personalization))
}

/// A cart as it is written.
#[derive(Default)]
struct Cart {
    object: Object,
    /// It has prices or a discount.
    has_money: bool,
}

/// Products mean something only where the merchant is known, and none with a braid alone.
fn cart(google: &GoogleAds, job: &Prepared) -> Cart {
    let Some(Merchant { id, label, language }) = &google.merchant else { return Cart::default() };
    let has_braid = job.has(Field::Gbraid) || job.has(Field::Wbraid);
    if has_braid && !job.has(Field::Gclid) {
        return Cart::default();
    }
    let (_, priced) = wire::currency(job);
    let items: Vec<Object> = job
        .items
        .iter()
        .filter_map(|item| {
            let quantity = item.quantity.unwrap_or(1.into());
            let object = Object::default()
                .with("merchantProductId", item.id.as_deref()?)
                // An int64, which JSON writes as a string.
                .maybe("quantity", wire::integer(quantity).map(|n| n.to_string()))
                .maybe("unitPrice", item.price.filter(|_| priced).map(wire::number));
            Some(object)
        })
        .collect();
    if items.is_empty() {
        return Cart::default();
    }
    let discount = wire::amount(job, Field::Discount);
    let has_money = discount.is_some() || items.iter().any(|item| item.has("unitPrice"));
    let object = Object::default()
        .with("merchantId", id.as_str())
        .maybe("merchantFeedLabel", label.as_deref())
        .maybe("merchantFeedLanguageCode", language.as_deref())
        .maybe("transactionDiscount", discount)
        .list("items", items);
    Cart { object, has_money }
}

fn customer_type(text: &str) -> Option<&'static str> {
    match text {
        "new" => Some("NEW"),
        "returning" => Some("RETURNING"),
        "reengaged" => Some("REENGAGED"),
        _ => None,
    }
}
