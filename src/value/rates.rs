//! Exchange rates from a dated file. Exact decimals; a rate that is too old is no rate.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rust_decimal::Decimal;

use crate::event::{Currency, Money, round_to_minor};

/// Rates against one base, with their dates.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// Older rates are not used. Counted from the end of a rate's day, so that `4d` takes a rate
    /// of four calendar days (UTC) ago.
    pub max_age: Duration,
    base: Option<Currency>,
    /// By currency, oldest first.
    dated: BTreeMap<Currency, Vec<(Date, Decimal)>>,
}

/// What is wrong with a rates file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct RatesError {
    /// Counted from 1.
    pub line: usize,
    /// What and how to mend it.
    pub problem: String,
}

impl Rates {
    /// Reads `currency,rate,date` lines: units of the currency for one unit of the base.
    ///
    /// The base is the first currency with the rate 1; it needs no fresh date. A heading, empty
    /// lines and lines that begin with `#` are skipped. A currency may have several dates, each
    /// once. Every problem is reported, with its line.
    pub fn parse(csv: &str, max_age: Duration) -> Result<Self, Vec<RatesError>> {
        let mut rates = Self { max_age, ..Self::default() };
        let mut problems = Vec::new();
        let mut is_first = true;
        for (index, line) in csv.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let is_heading = std::mem::take(&mut is_first)
                && cells(line).next().is_some_and(|cell| cell.eq_ignore_ascii_case("currency"));
            if is_heading {
                continue;
            }
            if let Err(problem) = parse_line(line).and_then(|row| rates.insert(row)) {
                problems.push(RatesError { line: index + 1, problem });
            }
        }
        if problems.is_empty() && rates.base.is_none() {
            let problem = "no currency has the rate 1; add the base's own line, such as \
                           `EUR,1,2026-11-22`";
            problems.push(RatesError { line: csv.lines().count().max(1), problem: problem.into() });
        }
        for dates in rates.dated.values_mut() {
            dates.sort_by_key(|(date, _)| *date);
        }
        if problems.is_empty() { Ok(rates) } else { Err(problems) }
    }

    /// Converts, rounded half away from zero to the target's minor units, or says which rate is
    /// missing or too old. The newest rate that is not after `now` counts.
    pub fn convert(&self, money: Money, to: Currency, now: Timestamp) -> Result<Money, String> {
        if money.currency == to {
            return Ok(money);
        }
        let (from_rate, to_rate) = (self.rate(money.currency, now)?, self.rate(to, now)?);
        // First the product: dividing last rounds once, in the 28th digit.
        let amount = money
            .amount
            .checked_mul(to_rate)
            .and_then(|product| product.checked_div(from_rate))
            .ok_or_else(|| format!("the amount is too large to convert to {to}"))?;
        Ok(Money { amount: round_to_minor(amount, to), currency: to })
    }

    /// Whether there is a rate of a currency, of whatever date.
    pub fn knows(&self, currency: Currency) -> bool {
        self.base == Some(currency) || self.dated.contains_key(&currency)
    }

    fn insert(&mut self, (currency, rate, date): (Currency, Decimal, Date)) -> Result<(), String> {
        if self.base.is_none() && rate == Decimal::ONE {
            self.base = Some(currency);
        }
        if self.base == Some(currency) && rate != Decimal::ONE {
            return Err(format!("{currency} is the base, so its rate is 1, not {rate}"));
        }
        let dates = self.dated.entry(currency).or_default();
        if dates.iter().any(|(known, _)| *known == date) {
            return Err(format!("{currency} has a rate for {date} already; keep one"));
        }
        dates.push((date, rate));
        Ok(())
    }

    fn rate(&self, currency: Currency, now: Timestamp) -> Result<Decimal, String> {
        if self.base == Some(currency) {
            return Ok(Decimal::ONE);
        }
        let today = now.to_zoned(TimeZone::UTC).date();
        let dates = self.dated.get(&currency).map(Vec::as_slice).unwrap_or_default();
        let newest = dates.iter().rev().find(|(date, _)| *date <= today);
        let Some((date, rate)) = newest else {
            return Err(format!("there is no rate for {currency}"));
        };
        if self.is_too_old(*date, now) {
            return Err(format!("the rate for {currency} is of {date}, older than `max_age`"));
        }
        Ok(*rate)
    }

    fn is_too_old(&self, date: Date, now: Timestamp) -> bool {
        let end = date.tomorrow().and_then(|day| day.to_zoned(TimeZone::UTC));
        let Ok(end) = end else { return false };
        // Negative while the day lasts.
        let age = now.duration_since(end.timestamp());
        !age.is_negative() && age.unsigned_abs() > self.max_age
    }
}

fn parse_line(line: &str) -> Result<(Currency, Decimal, Date), String> {
    let mut cells = cells(line);
    let (Some(code), Some(rate), Some(date), None) =
        (cells.next(), cells.next(), cells.next(), cells.next())
    else {
        return Err("expected three cells: currency,rate,date".to_owned());
    };
    let currency = Currency::parse(code)
        .ok_or_else(|| format!("`{code}` is not an ISO 4217 currency, such as EUR"))?;
    let rate = Decimal::from_str_exact(rate)
        .ok()
        .filter(|rate| *rate > Decimal::ZERO)
        .ok_or_else(|| format!("`{rate}` is not a rate; write a number above 0, such as 1.0842"))?;
    let date =
        date.parse().map_err(|_| format!("`{date}` is not a date; write it as 2026-11-22"))?;
    Ok((currency, rate, date))
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|cell| cell.trim().trim_matches('"').trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn rates() -> Rates {
        let csv = "currency,rate,date\n# comment\n\nEUR,1,2026-01-01\nUSD,1.10,2026-11-18\n\
                   USD,1.20,2026-11-20\nUSD,9.99,2026-11-25\nJPY,\"180\",2026-11-21\n\
                   KWD,0.36,2026-11-21\nGBP,0.85,2026-11-01\n";
        Rates::parse(csv, 4 * DAY).unwrap()
    }

    fn money(amount: &str, code: &str) -> Money {
        Money { amount: amount.parse().unwrap(), currency: Currency::parse(code).unwrap() }
    }

    fn converted(amount: &str, from: &str, to: &str, now: &str) -> Result<String, String> {
        let to = Currency::parse(to).unwrap();
        let converted = rates().convert(money(amount, from), to, now.parse().unwrap())?;
        assert_eq!(converted.currency, to);
        Ok(converted.amount.to_string())
    }

    #[test]
    fn converts_through_the_base_in_exact_decimals() {
        let now = "2026-11-22T04:00:00Z";
        for (amount, from, to, expected) in [
            ("10.00", "EUR", "USD", "12.00"),
            ("12", "USD", "EUR", "10"),
            ("1.00", "USD", "JPY", "150"),
            ("100", "JPY", "USD", "0.67"),
            ("1", "USD", "KWD", "0.300"),
            ("1234.567", "KWD", "JPY", "617284"),
            ("0.01", "JPY", "KWD", "0.000"),
            ("129.90", "USD", "USD", "129.90"),
            ("-3.33", "USD", "EUR", "-2.78"),
        ] {
            let found = converted(amount, from, to, now).unwrap();
            let found: Decimal = found.parse().unwrap();
            assert_eq!(found, expected.parse().unwrap(), "{amount} {from} to {to}");
        }
        assert!(converted("79228162514264337593543950335", "EUR", "JPY", now).is_err());
    }

    #[test]
    fn the_newest_rate_that_is_not_after_now_counts() {
        assert_eq!(converted("1.00", "EUR", "USD", "2026-11-19T23:59:59Z").unwrap(), "1.10");
        assert_eq!(converted("1.00", "EUR", "USD", "2026-11-20T00:00:00Z").unwrap(), "1.20");
        assert_eq!(converted("1.00", "EUR", "USD", "2026-11-25T00:00:00Z").unwrap(), "9.99");
        let none = converted("1.00", "EUR", "USD", "2026-11-17T00:00:00Z").unwrap_err();
        assert_eq!(none, "there is no rate for USD");
        let unknown = converted("1.00", "EUR", "CHF", "2026-11-22T00:00:00Z").unwrap_err();
        assert_eq!(unknown, "there is no rate for CHF");
    }

    #[test]
    fn old_rates_are_no_rates() {
        assert!(converted("1", "EUR", "JPY", "2026-11-25T23:59:59Z").is_ok());
        assert!(converted("1", "EUR", "JPY", "2026-11-26T00:00:00Z").is_ok(), "4d after its day");
        let old = converted("1", "EUR", "JPY", "2026-11-26T00:00:01Z").unwrap_err();
        assert_eq!(old, "the rate for JPY is of 2026-11-21, older than `max_age`");
        assert!(converted("1", "GBP", "EUR", "2026-11-22T00:00:00Z").is_err());
    }

    #[test]
    fn every_problem_names_its_line() {
        let csv = "currency,rate,date\nEUR,1,2026-11-20\nEUR,1.1,2026-11-21\nXXQ,1,2026-11-20\n\
                   USD,zero,2026-11-20\nUSD,0,2026-11-20\nUSD,1.1,20-11-2026\nUSD,1.1\n\
                   USD,1.1,2026-11-20\nUSD,1.2,2026-11-20\n";
        let problems = Rates::parse(csv, DAY).unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7, 8, 10]);
        assert!(problems[0].to_string().starts_with("line 3: EUR is the base"));
        let no_base = Rates::parse("USD,1.1,2026-11-20", DAY).unwrap_err();
        assert!(no_base[0].problem.contains("no currency has the rate 1"));
        assert!(Rates::parse("", DAY).is_err());
    }
}
