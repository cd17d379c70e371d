//! The bodies of `uploadClickConversions` and `uploadConversionAdjustments` (PROTO
//! conversion_upload_service, conversion_adjustment_upload_service).

use jiff::Timestamp;
use serde_json::json;

use super::{IDENTIFIERS, Merchant, Upload};
use crate::{
    consent::Grant,
    destinations::wire::{self, Object},
    event::{ActionSource, Field},
    job::Prepared,
};

/// What a body holds besides rows.
pub(super) const LARGEST_FRAME: usize = 128;

/// Which of the two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Conversion,
    Adjustment,
}

impl Kind {
    /// The call's name.
    pub(super) fn method(self) -> &'static str {
        match self {
            Kind::Conversion => "uploadClickConversions",
            Kind::Adjustment => "uploadConversionAdjustments",
        }
    }

    /// The list in its body.
    fn list(self) -> &'static str {
        match self {
            Kind::Conversion => "conversions",
            Kind::Adjustment => "conversionAdjustments",
        }
    }
}

/// A whole request around written rows. Without `partialFailure` every request fails (DOC).
pub(super) fn request(kind: Kind, rows: &str, test: bool) -> Vec<u8> {
    let list = kind.list();
    format!("{{\"{list}\":[{rows}],\"partialFailure\":true,\"validateOnly\":{test}}}").into_bytes()
}

/// A conversion, what became of one, or whose the tag's was.
pub(super) fn row(upload: &Upload, job: &Prepared, action: &str, now: Timestamp) -> Object {
    match upload.kind(job) {
        Kind::Conversion => conversion(upload, job, action, now),
        Kind::Adjustment if job.adjusts.is_some() => adjustment(upload, job, action, now),
        Kind::Adjustment => enhancement(upload, job, action, now),
    }
}

fn conversion(upload: &Upload, job: &Prepared, action: &str, now: Timestamp) -> Object {
    let customer = job.clear(Field::CustomerType).and_then(customer_type);
    let object = Object::large()
        .with("conversionAction", resource(upload, action))
        // Not in the future.
        .with("conversionDateTime", moment(job.time.min(now)))
        .with("orderId", job.transaction_id.as_str())
        .maybe("conversionValue", job.value.map(|value| wire::number(value.amount)))
        .maybe("currencyCode", job.value.map(|value| value.currency.code().to_owned()));
    clicks(object, upload, job)
        .list("userIdentifiers", identifiers(job))
        .object("consent", consent(job))
        .maybe("conversionEnvironment", environment(job.action_source))
        .object("cartData", cart(upload, job))
        .maybe("customerType", customer)
}

/// A restatement has the new value, a retraction none. The time is that of the adjustment: with
/// the same one again it is ignored as a duplicate, so that a resend does no harm.
fn adjustment(upload: &Upload, job: &Prepared, action: &str, now: Timestamp) -> Object {
    let kind = if job.value.is_some() { "RESTATEMENT" } else { "RETRACTION" };
    let value = job.value.map(|value| {
        Object::default()
            .with("adjustedValue", wire::number(value.amount))
            .with("currencyCode", value.currency.code())
    });
    Object::default()
        .with("adjustmentType", kind)
        .with("conversionAction", resource(upload, action))
        .with("orderId", job.transaction_id.as_str())
        .with("adjustmentDateTime", moment(job.time.min(now)))
        .maybe("restatementValue", value)
}

/// Found by the order id. The click and the time may be there in addition; a value may not: it is the
/// tag's (PROTO ConversionAdjustment). There is no place for consent, so that who did not give it is
/// not sent.
fn enhancement(upload: &Upload, job: &Prepared, action: &str, now: Timestamp) -> Object {
    let pair = job.clear(Field::Gclid).map(|gclid| {
        let at = moment(job.time.min(now));
        Object::default().with("gclid", gclid).with("conversionDateTime", at)
    });
    let address = address(job);
    let room = IDENTIFIERS - usize::from(address.is_some());
    let identifiers = identifiers(job).into_iter().take(room).chain(address);
    Object::large()
        .with("adjustmentType", "ENHANCEMENT")
        .with("conversionAction", resource(upload, action))
        .with("orderId", job.transaction_id.as_str())
        .maybe("gclidDateTimePair", pair)
        .list("userIdentifiers", identifiers)
        .maybe("userAgent", job.clear(Field::UserAgent))
}

/// One identifier beside the others; names and the street hashed, the place in clear.
fn address(job: &Prepared) -> Option<Object> {
    let hashed = |field| job.hashed(field).next();
    let address = Object::default()
        .with("hashedFirstName", hashed(Field::FirstName)?)
        .with("hashedLastName", hashed(Field::LastName)?)
        .maybe("hashedStreetAddress", hashed(Field::Street))
        .maybe("city", job.clear(Field::City))
        .maybe("state", job.clear(Field::Region))
        .with("postalCode", job.clear(Field::PostalCode)?)
        .with("countryCode", job.clear(Field::Country)?);
    let from = Object::default().with("userIdentifierSource", "FIRST_PARTY");
    Some(from.object("addressInfo", address))
}

/// A conversion that is nobody's, for a call that is only validated.
pub(super) fn probe(upload: &Upload, action: &str, now: Timestamp) -> Object {
    // SHA-256 of `probe@example.com`.
    let email = "01daf2b30b24130a019a896a6c532bc978d2ed8cbbe618e8a09f96769a20de9d";
    Object::default()
        .with("conversionAction", resource(upload, action))
        .with("conversionDateTime", moment(now))
        .with("orderId", "probe")
        .with("userIdentifiers", json!([{"hashedEmail": email}]))
}

fn resource(upload: &Upload, action: &str) -> String {
    format!("customers/{}/conversionActions/{action}", upload.customer)
}

/// `2026-11-20 12:15:07+00:00`: a blank, an offset, no fraction (DOC).
pub(super) fn moment(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

/// Of the two braids the one of the source: together they are an error (GBRAID_WBRAID_BOTH_SET).
/// A gclid is worth more than either, and takes at most a gbraid beside it.
fn clicks(object: Object, upload: &Upload, job: &Prepared) -> Object {
    let (gclid, gbraid) = (job.clear(Field::Gclid), job.clear(Field::Gbraid));
    let wbraid = job.clear(Field::Wbraid);
    match gclid {
        Some(gclid) => {
            object.with("gclid", gclid).maybe("gbraid", gbraid.filter(|_| upload.gclid_with_braid))
        }
        None if job.action_source == ActionSource::App => {
            object.maybe("gbraid", gbraid).maybe("wbraid", wbraid.filter(|_| gbraid.is_none()))
        }
        None => object.maybe("wbraid", wbraid).maybe("gbraid", gbraid.filter(|_| wbraid.is_none())),
    }
}

fn identifiers(job: &Prepared) -> Vec<Object> {
    let of = |field: Field, key: &'static str| {
        job.hashed(field).map(move |digest| {
            Object::default().with("userIdentifierSource", "FIRST_PARTY").with(key, digest)
        })
    };
    of(Field::Email, "hashedEmail")
        .chain(of(Field::Phone, "hashedPhoneNumber"))
        .take(IDENTIFIERS)
        .collect()
}

/// Never granted unless it was; silence is no key. `adPersonalization` is refused (PROTO consent).
fn consent(job: &Prepared) -> Object {
    let status = match job.flags.grants.ad_user_data {
        Grant::Granted => Some("GRANTED"),
        Grant::Denied => Some("DENIED"),
        Grant::NotAsked => None,
    };
    Object::default().maybe("adUserData", status)
}

fn environment(source: ActionSource) -> Option<&'static str> {
    match source {
        ActionSource::Website => Some("WEB"),
        ActionSource::App => Some("APP"),
        ActionSource::PhysicalStore
        | ActionSource::PhoneCall
        | ActionSource::Chat
        | ActionSource::Email
        | ActionSource::Crm
        | ActionSource::SystemGenerated
        | ActionSource::BusinessMessaging
        | ActionSource::Other => None,
    }
}

/// Products mean something only where the merchant is known, and none with a braid (DOC).
fn cart(upload: &Upload, job: &Prepared) -> Object {
    let Some(Merchant { id, country, language }) = &upload.merchant else {
        return Object::default();
    };
    if !job.has(Field::Gclid) && (job.has(Field::Gbraid) || job.has(Field::Wbraid)) {
        return Object::default();
    }
    let (_, priced) = wire::currency(job);
    let items: Vec<Object> = job
        .items
        .iter()
        .filter_map(|item| {
            let quantity = item.quantity.unwrap_or(1.into());
            let object = Object::default()
                .with("productId", item.id.as_deref()?)
                .maybe("quantity", wire::integer(quantity))
                .maybe("unitPrice", item.price.filter(|_| priced).map(wire::number));
            Some(object)
        })
        .collect();
    if items.is_empty() {
        return Object::default();
    }
    Object::default()
        .with("merchantId", id.as_str())
        .maybe("feedCountryCode", country.as_deref())
        .maybe("feedLanguageCode", language.as_deref())
        .maybe("localTransactionCost", wire::amount(job, Field::Discount))
        .list("items", items)
}

fn customer_type(text: &str) -> Option<&'static str> {
    match text {
        "new" => Some("NEW"),
        "returning" => Some("RETURNING"),
        "reengaged" => Some("REENGAGED"),
        _ => None,
    }
}
