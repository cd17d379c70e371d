//! Value rules and what they give.
//!
//! The order is always the same: an amount, its currency, the limits, the rounding to the
//! currency's minor units (half away from zero), and for an entry that asks for it the
//! conversion. Whatever lacks an input, a currency or a rate is no value and a warning: nothing is
//! guessed, nothing rejected. An amount below zero is no value either, since a conversion cannot be
//! worth less than nothing; only an adjustment's may be.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::Rates;
use crate::{
    event::{Currency, Event, Field, Money, round_to_minor},
    expression::{Expression, Facts, find_amount, is_amount},
};

/// How an event, or one entry of a destination, gets its value.
#[derive(Debug, Clone)]
pub struct ValueRule {
    /// Where the amount comes from.
    pub source: Source,
    /// The currency of the result, which converts nothing. `None`: for a fixed amount the site's; for
    /// others the event's, else the site's; for a formula over `event_value`, that one's.
    pub currency: Option<Currency>,
    /// Limits of the result, in its currency, before any conversion.
    pub bounds: Bounds,
}

/// The name of a rule whose amount somebody decided.
pub const FIXED: &str = "fixed";

/// Where an amount comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// An amount that somebody decided.
    Fixed(Decimal),
    /// The same, by site.
    FixedBySite(BTreeMap<String, Decimal>),
    /// A field of `properties`, by its dotted path, times a factor.
    Field {
        /// One of the money fields, or a free property: a number or a decimal text.
        path: String,
        /// 1 where it says nothing.
        times: Decimal,
    },
    /// CEL over doubles.
    Formula(Expression),
}

impl Source {
    /// The name in traces.
    pub fn name(&self) -> &'static str {
        match self {
            Source::Fixed(_) | Source::FixedBySite(_) => FIXED,
            Source::Field { .. } => "field",
            Source::Formula(_) => "formula",
        }
    }
}

/// Limits of a result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Not less.
    pub minimum: Option<Decimal>,
    /// Not more; wins over a `minimum` above it.
    pub maximum: Option<Decimal>,
}

impl Bounds {
    fn limit(&self, amount: Decimal) -> Decimal {
        let amount = self.minimum.map_or(amount, |minimum| amount.max(minimum));
        self.maximum.map_or(amount, |maximum| amount.min(maximum))
    }
}

/// The event's own money, as formulas name it; all of it is in the event's currency.
const MONEY: [&str; 5] = ["value", "tax", "shipping", "discount", "cost"];

/// What one entry of a destination does to the event's value.
#[derive(Debug, Clone, Default)]
pub struct EntryValue {
    /// Its own rule; `event_value` is the event's result.
    pub rule: Option<ValueRule>,
    /// The currency it wants.
    pub currency: Option<Currency>,
}

/// A value, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Valued {
    /// The value, rounded to the currency's minor units.
    pub value: Option<Money>,
    /// `fixed`, `field`, `formula`; `none` for `properties.value` as it came, and `event_value`
    /// for an entry without a rule of its own.
    pub rule: &'static str,
    /// Why there is none, where one was to be expected.
    pub warning: Option<NoValue>,
}

/// Why there is no value; a warning, never a rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoValue {
    /// An input is missing, or the amount is below zero (`no_value`).
    Missing(String),
    /// Neither the event nor its site has a currency (`no_currency`).
    NoCurrency,
    /// There is no fresh rate for the conversion (`no_currency`).
    NoRate(String),
    /// The formula failed (`expression_failed`).
    Failed(String),
}

impl NoValue {
    /// The warning's code, of the interface's closed list.
    pub fn code(&self) -> &'static str {
        match self {
            NoValue::Missing(_) => "no_value",
            NoValue::NoCurrency | NoValue::NoRate(_) => "no_currency",
            NoValue::Failed(_) => "expression_failed",
        }
    }
}

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoValue::Missing(what) => write!(f, "no value: {what}"),
            NoValue::NoCurrency => {
                f.write_str(
                    "no value: its currency is not known (a fixed amount's is the rule's or ",
                )?;
                f.write_str("the site's, any other's the event's or the site's)")
            }
            NoValue::NoRate(why) => write!(f, "no value: {why}"),
            NoValue::Failed(why) => write!(f, "no value: {why}"),
        }
    }
}

/// What a rule looks at, besides the rule.
#[derive(Debug, Clone, Copy)]
pub struct Amounts<'a> {
    /// The event.
    pub event: &'a Event,
    /// The site's currency.
    pub site_currency: Option<Currency>,
    /// The event's own result, for an entry's rule.
    pub event_value: Option<Money>,
}

/// The event's value: by its rule, or `properties.value` with its currency.
///
/// Without a rule, an event without a value has none, which is no warning.
pub fn value_of(rule: Option<&ValueRule>, amounts: &Amounts<'_>) -> Valued {
    let name = rule.map_or("none", |rule| rule.source.name());
    let value = match rule {
        Some(rule) => by_rule(rule, amounts).map(Some),
        None => as_it_came(amounts).transpose(),
    };
    valued(name, value)
}

/// The value for one entry: its own rule, else the event's value; then its currency.
///
/// An event without a value gives an entry without a rule none, without a warning of its own.
pub fn value_for_entry(
    entry: &EntryValue,
    amounts: &Amounts<'_>,
    rates: Option<&Rates>,
    now: Timestamp,
) -> Valued {
    let (name, value) = match &entry.rule {
        Some(rule) => (rule.source.name(), by_rule(rule, amounts).map(Some)),
        None => ("event_value", Ok(amounts.event_value)),
    };
    let converted = value.and_then(|value| match (value, entry.currency) {
        (Some(money), Some(currency)) => convert(money, currency, rates, now).map(Some),
        (value, _) => Ok(value),
    });
    valued(name, converted)
}

fn valued(rule: &'static str, value: Result<Option<Money>, NoValue>) -> Valued {
    match value {
        Ok(value) => Valued { value, rule, warning: None },
        Err(warning) => Valued { value: None, rule, warning: Some(warning) },
    }
}

fn as_it_came(amounts: &Amounts<'_>) -> Option<Result<Money, NoValue>> {
    let amount = amounts.event.amount(Field::Value)?;
    Some(own_currency(amounts).and_then(|currency| finish(amount, currency, amounts)))
}

fn by_rule(rule: &ValueRule, amounts: &Amounts<'_>) -> Result<Money, NoValue> {
    let (amount, currency) = match &rule.source {
        Source::Fixed(amount) => (*amount, fixed_currency(rule, amounts)?),
        Source::FixedBySite(by_site) => {
            let site = &amounts.event.site;
            let amount = by_site.get(site);
            let missing = || NoValue::Missing(format!("`fixed` says nothing of the site `{site}`"));
            (*amount.ok_or_else(missing)?, fixed_currency(rule, amounts)?)
        }
        Source::Field { path, times } => {
            let missing = || NoValue::Missing(format!("`{path}` is missing or no number"));
            let amount = find_amount(amounts.event, path).ok_or_else(missing)?;
            let amount = amount.checked_mul(*times).ok_or_else(too_large)?;
            let is_money = is_amount(path);
            let read = own_currency(amounts).ok().filter(|_| is_money);
            let currency = match rule.currency {
                Some(named) => stated(named, path, read)?,
                None => own_currency(amounts)?,
            };
            (amount, currency)
        }
        Source::Formula(formula) => {
            let amount = calculate(formula, amounts)?;
            let currency = match rule.currency {
                Some(named) => {
                    let reads_money = MONEY.iter().any(|number| formula.names_number(number));
                    let result = formula.names_number("event_value").then_some(amounts.event_value);
                    let result = result.flatten().map(|money| money.currency);
                    let read = own_currency(amounts).ok().filter(|_| reads_money);
                    let named = stated(named, formula.source(), read)?;
                    stated(named, formula.source(), result)?
                }
                None => formula_currency(formula, amounts)?,
            };
            (amount, currency)
        }
    };
    finish(rule.bounds.limit(amount), currency, amounts)
}

fn calculate(formula: &Expression, amounts: &Amounts<'_>) -> Result<Decimal, NoValue> {
    let event = amounts.event;
    let numbers = [
        ("value", event.amount(Field::Value)),
        ("event_value", amounts.event_value.map(|money| money.amount)),
        ("tax", event.amount(Field::Tax)),
        ("shipping", event.amount(Field::Shipping)),
        ("discount", event.amount(Field::Discount)),
        ("cost", event.amount(Field::Cost)),
    ];
    let facts = Facts { event, numbers: &numbers };
    let missing = || match formula.absent(&facts).as_slice() {
        [] => None,
        absent => Some(NoValue::Missing(format!("`{}` is missing", absent.join("`, `")))),
    };
    match formula.number(&facts) {
        Ok(Some(amount)) => Ok(amount),
        Ok(None) => {
            let null = || NoValue::Missing(format!("`{}` is null", formula.source()));
            Err(missing().unwrap_or_else(null))
        }
        Err(error) => Err(missing().unwrap_or_else(|| NoValue::Failed(error.to_string()))),
    }
}

/// The event's currency, else the site's; never a guess.
fn own_currency(amounts: &Amounts<'_>) -> Result<Currency, NoValue> {
    amounts.event.currency.or(amounts.site_currency).ok_or(NoValue::NoCurrency)
}

/// "`fixed` without a currency takes the site's" (interface page, "values"): what somebody decided
/// for a site is not in whatever currency a visitor pays with.
fn fixed_currency(rule: &ValueRule, amounts: &Amounts<'_>) -> Result<Currency, NoValue> {
    rule.currency.or(amounts.site_currency).ok_or(NoValue::NoCurrency)
}

/// The currency that a rule names for what it reads. Money of the event is in the event's own, and
/// naming another does not make it that: a conversion does.
fn stated(named: Currency, source: &str, read: Option<Currency>) -> Result<Currency, NoValue> {
    match read {
        Some(own) if own != named => Err(NoValue::Failed(format!(
            "`{source}` reads money in {own}, and the rule's `currency` says {named}; `currency` of \
             a destination or of its entry converts"
        ))),
        Some(_) | None => Ok(named),
    }
}

/// A formula's result is in the currency of the money that it reads.
fn formula_currency(formula: &Expression, amounts: &Amounts<'_>) -> Result<Currency, NoValue> {
    let Some(event_value) = amounts.event_value.filter(|_| formula.names_number("event_value"))
    else {
        return own_currency(amounts);
    };
    let reads_money = MONEY.iter().any(|number| formula.names_number(number));
    if reads_money && own_currency(amounts)? != event_value.currency {
        let why = format!("`{}` mixes two currencies", formula.source());
        return Err(NoValue::Failed(why));
    }
    Ok(event_value.currency)
}

fn finish(amount: Decimal, currency: Currency, amounts: &Amounts<'_>) -> Result<Money, NoValue> {
    let amount = round_to_minor(amount, currency);
    // What rounds to nothing has no sign left.
    let amount = if amount.is_zero() { amount.abs() } else { amount };
    if amount < Decimal::ZERO && amounts.event.adjusts.is_none() {
        return Err(NoValue::Missing("the amount is below zero".to_owned()));
    }
    Ok(Money { amount, currency })
}

fn convert(
    money: Money,
    currency: Currency,
    rates: Option<&Rates>,
    now: Timestamp,
) -> Result<Money, NoValue> {
    if money.currency == currency {
        return Ok(money);
    }
    let no_file = || NoValue::NoRate(format!("no `[rates]` to convert to {currency}"));
    rates.ok_or_else(no_file)?.convert(money, currency, now).map_err(NoValue::NoRate)
}

fn too_large() -> NoValue {
    NoValue::Failed("the amount is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Adjustment, AdjustmentKind},
        expression::sample_event,
    };

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn currency(code: &str) -> Option<Currency> {
        Currency::parse(code)
    }

    fn rule(source: Source) -> ValueRule {
        ValueRule { source, currency: None, bounds: Bounds::default() }
    }

    fn formula(source: &str) -> ValueRule {
        rule(Source::Formula(Expression::compile(source, true).unwrap()))
    }

    fn field(path: &str, times: &str) -> ValueRule {
        rule(Source::Field { path: path.to_owned(), times: decimal(times) })
    }

    fn at_site<'a>(event: &'a Event, site_currency: &str) -> Amounts<'a> {
        Amounts { event, site_currency: currency(site_currency), event_value: None }
    }

    /// `12.34 USD`, or the warning's code.
    fn shown(valued: &Valued) -> String {
        match (&valued.value, &valued.warning) {
            (Some(money), None) => format!("{} {}", money.amount, money.currency),
            (None, Some(warning)) => warning.code().to_owned(),
            (None, None) => "none".to_owned(),
            (Some(_), Some(_)) => panic!("both a value and a warning"),
        }
    }

    fn of(rule: &ValueRule, event: &Event) -> String {
        shown(&value_of(Some(rule), &at_site(event, "EUR")))
    }

    #[test]
    fn without_a_rule_the_value_is_as_it_came() {
        let mut event = sample_event();
        assert_eq!(shown(&value_of(None, &at_site(&event, "EUR"))), "129.90 USD");
        event.currency = None;
        assert_eq!(shown(&value_of(None, &at_site(&event, "EUR"))), "129.90 EUR");
        assert_eq!(shown(&value_of(None, &at_site(&event, ""))), "no_currency");
        assert_eq!(shown(&value_of(None, &at_site(&event, "JPY"))), "130 JPY");
        event.amounts.clear();
        let valued = value_of(None, &at_site(&event, ""));
        assert_eq!((shown(&valued).as_str(), valued.rule), ("none", "none"));
    }

    #[test]
    fn fixed_amounts_are_the_sites() {
        let event = sample_event();
        let mut fixed = rule(Source::Fixed(decimal("5.00")));
        assert_eq!(of(&fixed, &event), "5.00 EUR", "not the event's USD");
        assert_eq!(shown(&value_of(Some(&fixed), &at_site(&event, ""))), "no_currency");
        fixed.currency = currency("GBP");
        assert_eq!(shown(&value_of(Some(&fixed), &at_site(&event, ""))), "5.00 GBP");
        let by_site = |site: &str| {
            rule(Source::FixedBySite(BTreeMap::from([(site.to_owned(), decimal("4.50"))])))
        };
        assert_eq!(of(&by_site("shop_us"), &event), "4.50 EUR");
        assert_eq!(of(&by_site("shop_eu"), &event), "no_value");
    }

    #[test]
    fn fields_are_exact() {
        let event = sample_event();
        for (path, times, expected) in [
            ("properties.value", "1", "129.90 USD"),
            ("properties.value", "0.3", "38.97 USD"),
            ("properties.tax", "0.05", "0.50 USD"),
            ("properties.margin", "1", "12.50 USD"),
            ("properties.scroll_depth", "1", "80.5 USD"),
            ("properties.nested.deep.x", "2", "14 USD"),
            ("properties.cost", "1", "no_value"),
            ("properties.channel", "1", "no_value"),
            ("properties.vip", "1", "no_value"),
            ("value", "1", "no_value"),
            ("properties.value", "79228162514264337593543950335", "expression_failed"),
        ] {
            assert_eq!(of(&field(path, times), &event), expected, "{path} times {times}");
        }
    }

    #[test]
    fn formulas_are_rounded_to_minor_units() {
        let mut event = sample_event();
        for (source, expected) in [
            ("value * 0.32", "41.57 USD"),
            ("value - tax - shipping", "115 USD"),
            ("value > 100 ? 20 : 5", "20 USD"),
            ("1.005 * 1", "1.01 USD"),
            ("2.675 + 0", "2.68 USD"),
            ("value - discount", "no_value"),
            ("discount", "no_value"),
            ("event_value * 2", "no_value"),
            ("value / 0", "expression_failed"),
            ("properties.channel", "expression_failed"),
            ("value * 1e28 * 10", "expression_failed"),
            ("tax - value", "no_value"),
            ("-0.001", "0 USD"),
        ] {
            let expected_value = expected.strip_suffix(" USD").map(decimal);
            let valued = value_of(Some(&formula(source)), &at_site(&event, "EUR"));
            match expected_value {
                Some(amount) => assert_eq!(valued.value.unwrap().amount, amount, "{source}"),
                None => assert_eq!(shown(&valued), expected, "{source}"),
            }
        }
        event.currency = currency("JPY");
        assert_eq!(of(&formula("100.5 * 1"), &event), "101 JPY");
        event.currency = currency("KWD");
        assert_eq!(of(&formula("1.2345 * 1"), &event), "1.235 KWD");
        let warning = value_of(Some(&formula("value - discount")), &at_site(&event, "EUR")).warning;
        assert_eq!(warning.unwrap().to_string(), "no value: `discount` is missing");
    }

    #[test]
    fn limits_hold_and_amounts_below_zero_are_none() {
        let mut event = sample_event();
        let mut limited = formula("value - 200");
        assert_eq!(of(&limited, &event), "no_value");
        limited.bounds.minimum = Some(decimal("1"));
        assert_eq!(of(&limited, &event), "1 USD");
        limited.bounds = Bounds { minimum: Some(decimal("60")), maximum: Some(decimal("50.005")) };
        assert_eq!(of(&limited, &event), "50.01 USD", "the maximum wins");
        event.adjusts = Some(Adjustment {
            order_id: Some("1001".to_owned()),
            event_id: None,
            kind: AdjustmentKind::Refund,
            at: None,
            amount: None,
        });
        assert_eq!(of(&formula("0 - value"), &event), "-129.9 USD");
    }

    #[test]
    fn naming_a_currency_relabels_no_money() {
        let mut event = sample_event();
        event.currency = currency("EUR");
        event.other.insert("ltv_in_dollars".to_owned(), serde_json::json!("300"));
        let named = |rule: ValueRule| ValueRule { currency: currency("USD"), ..rule };
        let of = |rule: ValueRule| shown(&value_of(Some(&named(rule)), &at_site(&event, "EUR")));
        assert_eq!(of(field("properties.value", "1")), "expression_failed");
        assert_eq!(of(formula("value - tax")), "expression_failed");
        assert_eq!(of(field("properties.ltv_in_dollars", "1")), "300 USD", "the rule knows it");
        assert_eq!(of(rule(Source::Fixed(decimal("5")))), "5 USD");
        let told = value_of(Some(&named(field("properties.value", "1"))), &at_site(&event, "EUR"));
        let told = told.warning.unwrap().to_string();
        assert!(
            told.contains("EUR") && told.contains("USD") && told.contains("converts"),
            "{told}"
        );
    }

    #[test]
    fn entries_have_their_own_rule_and_currency() {
        let event = sample_event();
        let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        let csv = "EUR,1,2026-11-22\nUSD,1.25,2026-11-22\nJPY,200,2026-11-22";
        let rates = Rates::parse(csv, std::time::Duration::from_hours(96)).unwrap();
        let five_euro = Money { amount: decimal("5.00"), currency: currency("EUR").unwrap() };
        let amounts = Amounts { event_value: Some(five_euro), ..at_site(&event, "EUR") };
        let entry = |rule: Option<ValueRule>, wanted: &str| {
            let entry = EntryValue { rule, currency: currency(wanted) };
            shown(&value_for_entry(&entry, &amounts, Some(&rates), now))
        };
        assert_eq!(entry(None, ""), "5.00 EUR");
        assert_eq!(entry(None, "EUR"), "5.00 EUR");
        assert_eq!(entry(None, "USD"), "6.25 USD");
        assert_eq!(entry(None, "JPY"), "1000 JPY");
        assert_eq!(entry(None, "CHF"), "no_currency");
        assert_eq!(entry(Some(formula("value * 0.32")), "EUR"), "33.26 EUR");
        assert_eq!(entry(Some(formula("event_value * 2")), ""), "10 EUR");
        assert_eq!(entry(Some(formula("event_value + tax")), ""), "expression_failed");
        let mut mixed = formula("event_value + tax");
        mixed.currency = currency("USD");
        assert_eq!(entry(Some(mixed), ""), "expression_failed", "a name converts nothing");
        assert_eq!(entry(Some(rule(Source::Fixed(decimal("8")))), "USD"), "10.00 USD");
        let in_dollars = EntryValue { rule: None, currency: currency("USD") };
        let without = value_for_entry(&in_dollars, &amounts, None, now);
        assert_eq!(
            without.warning.unwrap().to_string(),
            "no value: no `[rates]` to convert to USD"
        );
        let none = Amounts { event_value: None, ..amounts };
        assert_eq!(shown(&value_for_entry(&in_dollars, &none, Some(&rates), now)), "none");
    }
}
