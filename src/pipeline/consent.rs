//! The consent state of an event: where its person is, what they said, whether they are a minor.

use std::net::IpAddr;

use jiff::{Timestamp, civil::Date};

use super::Street;
use crate::{
    config::Site,
    consent::{self, Model, Reading, Whereabouts},
    event::{Event, Field},
    identity,
};

/// The age under which a person is a minor where the site does not say.
const MINIMUM_AGE: u8 = 13;

/// Reads the signals of an event by the law of where its person is.
pub(super) fn read(
    street: &Street<'_>,
    site: &Site,
    event: &Event,
    whereabouts: &Whereabouts,
) -> (Reading, Model) {
    let rules = &street.config.consent;
    let geoip = || {
        let address = whereabouts.address.or_else(|| {
            event.texts.first(Field::Ip).and_then(|ip| ip.trim().parse::<IpAddr>().ok())
        })?;
        (street.geoip)(address)
    };
    let region = whereabouts.region(&rules.region_from, event.consent.region.as_deref(), &geoip);
    let model = if site.sensitive.is_some() { Model::OptIn } else { rules.model(&region) };
    let minor = event.minor == Some(true) || younger(event, site);
    let mut reading = consent::read(rules, &event.consent, region, minor);
    if !reading.state.is_silent() {
        reading.state.at_ms = said_at(event).as_millisecond();
    }
    (reading, model)
}

/// When the choice was made: when it was collected, where the sender says so, else with the event.
/// Never later than it was heard, or no later choice could replace it.
fn said_at(event: &Event) -> Timestamp {
    event.consent.collected_at.unwrap_or(event.timestamp).min(event.received_at)
}

/// Whether a birth date says so, in every form in which platforms are given it. The person's age is
/// that when it happened: a minor's event does not become an adult's by waiting.
fn younger(event: &Event, site: &Site) -> bool {
    let then = event.timestamp.min(event.received_at).to_zoned(site.time_zone.clone()).date();
    let minimum = i16::from(site.minimum_age.unwrap_or(MINIMUM_AGE));
    let mut born = event
        .texts
        .all(Field::DateOfBirth)
        .filter_map(|text| identity::birth_date(text).or_else(|| last_day_of(text)));
    born.any(|born| age(born, then) < minimum)
}

/// A year alone is no date, but who was born in it is no older than its last day says.
fn last_day_of(year: &str) -> Option<Date> {
    let year = year.trim();
    let is_year = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    Date::new(year.parse().ok().filter(|_| is_year)?, 12, 31).ok()
}

/// Whole years. Who was born on a 29 February is a year older on the 1 March of a year without one:
/// laws differ, and this is the later day.
fn age(born: Date, then: Date) -> i16 {
    let is_before_birthday = (then.month(), then.day()) < (born.month(), born.day());
    then.year().saturating_sub(born.year()).saturating_sub(i16::from(is_before_birthday))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_born_on_a_leap_day_is_older_on_the_first_of_march() {
        let age = |born: &str, then: &str| age(born.parse().unwrap(), then.parse().unwrap());
        assert_eq!(age("2012-02-29", "2028-02-28"), 15);
        assert_eq!(age("2012-02-29", "2028-02-29"), 16);
        assert_eq!(age("2012-02-29", "2025-02-28"), 12);
        assert_eq!(age("2012-02-29", "2025-03-01"), 13);
        assert_eq!(age("2012-03-01", "2028-02-29"), 15);
        assert_eq!(age("2012-02-28", "2028-02-29"), 16);
        assert_eq!(age("2012-12-31", "2013-01-01"), 0);
        assert_eq!(age("2030-01-01", "2028-02-29"), -2, "nobody of age");
    }
}
