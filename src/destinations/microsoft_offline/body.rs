//! The bodies of the three `Apply` calls (DOC/offlineconversion, DOC/offlineconversionadjustment,
//! DOC/onlineconversionadjustment).

use jiff::Timestamp;

use super::{IDENTIFYING, msclkid};
use crate::{
    destinations::wire::{self, Object},
    event::Field,
    job::Prepared,
};

/// What a body holds besides rows.
pub(super) const LARGEST_FRAME: usize = 64;

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Conversion,
    /// Of an offline conversion.
    OfflineAdjustment,
    /// Of a conversion that a tag counted.
    OnlineAdjustment,
}

impl Kind {
    pub(super) fn of(job: &Prepared) -> Self {
        let Some(adjusts) = &job.adjusts else { return Kind::Conversion };
        let is_found = !job.present().intersection(IDENTIFYING).is_empty();
        if adjusts.at.is_some() && is_found {
            Kind::OfflineAdjustment
        } else {
            Kind::OnlineAdjustment
        }
    }

    /// In the URL, and the list in the body.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Conversion => "OfflineConversions",
            Kind::OfflineAdjustment => "OfflineConversionAdjustments",
            Kind::OnlineAdjustment => "OnlineConversionAdjustments",
        }
    }
}

/// A whole request around written rows.
pub(super) fn request(kind: Kind, rows: &str) -> Vec<u8> {
    format!("{{\"{}\":[{rows}]}}", kind.name()).into_bytes()
}

/// One row.
pub(super) fn row(kind: Kind, job: &Prepared, goal: &str, now: Timestamp) -> Object {
    match kind {
        Kind::Conversion => conversion(job, goal, now),
        Kind::OfflineAdjustment | Kind::OnlineAdjustment => adjustment(kind, job, goal, now),
    }
}

fn conversion(job: &Prepared, goal: &str, now: Timestamp) -> Object {
    // From 0 on; what is below is no value there.
    let value = job.value.filter(|value| !value.amount.is_sign_negative());
    identity(Object::default().with("ConversionName", goal), job)
        // Not in the future (error 5614).
        .with("ConversionTime", moment(job.time.min(now)))
        .maybe("ConversionValue", value.map(|value| wire::number(value.amount)))
        .maybe("ConversionCurrencyCode", value.map(|value| value.currency.code().to_owned()))
}

/// A value must not be set of a retraction (error 5625).
fn adjustment(kind: Kind, job: &Prepared, goal: &str, now: Timestamp) -> Object {
    let time = job.time.min(now);
    let object = Object::default().with("ConversionName", goal);
    let object = match kind {
        Kind::OnlineAdjustment => object.with("TransactionId", job.transaction_id.as_str()),
        Kind::Conversion | Kind::OfflineAdjustment => {
            let happened = job.adjusts.as_ref().and_then(|adjusts| adjusts.at).unwrap_or(time);
            identity(object, job).with("ConversionTime", moment(happened.min(time)))
        }
    };
    object
        .with("AdjustmentType", if job.value.is_some() { "Restate" } else { "Retract" })
        .with("AdjustmentTime", moment(time))
        .maybe("AdjustmentValue", job.value.map(|value| wire::number(value.amount)))
        .maybe("AdjustmentCurrencyCode", job.value.map(|value| value.currency.code().to_owned()))
}

fn identity(object: Object, job: &Prepared) -> Object {
    let hash = |field| job.hashed(field).next();
    object
        .maybe("MicrosoftClickId", job.clear(Field::Msclkid).and_then(msclkid))
        .maybe("HashedEmailAddress", hash(Field::Email))
        .maybe("HashedPhoneNumber", hash(Field::Phone))
}

/// UTC, in seconds: a resend must say the very same.
fn moment(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
