//! The money of an event as one destination gets it: all of it in one currency, by the same rates.
//!
//! A platform has one currency a body. Where the value is in another one than the event's other
//! amounts and prices, these are converted too, rounded as it is; what cannot be converted is left
//! out, and the trace says so. Nothing is ever sent as something else.

use std::{borrow::Cow, sync::Arc};

use rust_decimal::Decimal;

use super::part::Scene;
use crate::{
    config::DestinationConfig,
    consent,
    event::{Currency, Event, Item, Money},
    job::{Decided, Prepared},
    sources::{Warning, WarningCode},
    value::{FIXED, NoValue, Valued},
};

/// A value that a key which anybody can read claims, bounded: a formula may make more of small amounts
/// than the key may claim. What the plan fixes is nobody's claim.
pub(super) fn at_most(scene: &Scene<'_>, valued: Valued, warnings: &mut Vec<Warning>) -> Valued {
    let (Some(most), Some(value)) = (scene.at_most, valued.value) else { return valued };
    if valued.rule == FIXED {
        return valued;
    }
    let limit = scene.site.currency.unwrap_or(value.currency);
    let most = Money { amount: most, currency: limit };
    let rates = scene.street.config.rates.as_ref();
    let most = match rates {
        _ if limit == value.currency => Ok(most),
        Some(rates) => rates.convert(most, value.currency, scene.now),
        None => Err("no [rates]".to_owned()),
    };
    match most {
        Ok(most) if value.amount <= most.amount => valued,
        Ok(most) => {
            let message = format!(
                "{}: {} {} is more than the write key's max_value: {} {} counts",
                scene.planned.name, value.amount, value.currency, most.amount, most.currency
            );
            warnings.push(Warning::new(WarningCode::Ignored, message));
            Valued { value: Some(most), ..valued }
        }
        Err(why) => {
            let why = format!("it cannot be held against the write key's max_value: {why}");
            Valued { value: None, warning: Some(NoValue::NoRate(why)), ..valued }
        }
    }
}

/// The value as it is where the platform takes its currency, else converted to the site's or to
/// US dollars where a rate is configured. What cannot be converted is left to the platform, which
/// skips it.
pub(super) fn value_it_takes(value: Money, scene: &Scene<'_>, config: &DestinationConfig) -> Money {
    if config.handler.takes_currency(value.currency) {
        return value;
    }
    let others = others_it_takes(scene, config);
    let rates = scene.street.config.rates.as_ref();
    let mut converted =
        others.filter_map(|currency| rates?.convert(value, currency, scene.now).ok());
    converted.next().unwrap_or(value)
}

fn others_it_takes<'a>(
    scene: &Scene<'a>,
    config: &'a DestinationConfig,
) -> impl Iterator<Item = Currency> + use<'a> {
    let others = scene.site.currency.into_iter().chain(Currency::parse("USD"));
    others.filter(|currency| config.handler.takes_currency(*currency))
}

/// The event with its amounts, prices and adjustment in the currency of the value (of an event
/// without one: in the entry's, or in one that the platform takes), and the currency that they are
/// in. `None`: they are in none that may be written.
pub(super) fn in_one_currency<'e>(
    scene: &Scene<'e>,
    config: &DestinationConfig,
    value: Option<Money>,
    wanted: Option<Currency>,
) -> (Cow<'e, Event>, Option<Currency>) {
    let event = scene.event;
    if !config.handler.has_one_currency() {
        return (Cow::Borrowed(event), event.currency);
    }
    let Some(own) = event.currency.or(scene.site.currency) else {
        return (Cow::Borrowed(event), None);
    };
    let takes_own = config.handler.takes_currency(own);
    let wanted = wanted.filter(|currency| config.handler.takes_currency(*currency));
    let target = match value.map(|value| value.currency).or(wanted) {
        Some(currency) => Some(currency),
        None if takes_own => Some(own),
        None => others_it_takes(scene, config).next(),
    };
    if target == Some(own) || !has_money(event) {
        return (Cow::Borrowed(event), Some(own));
    }
    match target.and_then(|to| Some((to, converted(scene, own, to)?))) {
        Some((to, event)) => (Cow::Owned(event), Some(to)),
        None => (Cow::Borrowed(event), Some(own).filter(|_| takes_own)),
    }
}

fn has_money(event: &Event) -> bool {
    let is_priced = |item: &Item| item.price.or(item.discount).is_some();
    let adjusted = event.adjusts.as_ref().and_then(|adjusts| adjusts.amount);
    !event.amounts.is_empty() || adjusted.is_some() || event.items.iter().any(is_priced)
}

/// All of it, or nothing: a body in which some amounts are missing would add up to another order.
fn converted(scene: &Scene<'_>, own: Currency, to: Currency) -> Option<Event> {
    let rates = scene.street.config.rates.as_ref()?;
    let convert = |amount: &mut Decimal| {
        let money = Money { amount: *amount, currency: own };
        *amount = rates.convert(money, to, scene.now).ok()?.amount;
        Some(())
    };
    let mut event = scene.event.clone();
    let adjusted = event.adjusts.as_mut().and_then(|adjusts| adjusts.amount.as_mut());
    let of_items = event
        .items
        .iter_mut()
        .flat_map(|item| item.price.as_mut().into_iter().chain(item.discount.as_mut()));
    let amounts = event.amounts.iter_mut().map(|(_, amount)| amount);
    amounts.chain(of_items).chain(adjusted).try_for_each(convert)?;
    event.currency = Some(to);
    Some(event)
}

/// A reason in the trace, not a refusal: the event goes without what is in another currency than
/// its value.
pub(super) fn say_what_is_left_out(
    prepared: &Prepared,
    scene: &Scene<'_>,
    config: &DestinationConfig,
    decided: &mut Decided,
) {
    let currency = prepared.value.map(|value| value.currency).or(prepared.currency);
    let fits = currency.is_some() && prepared.currency == currency;
    if fits || !config.handler.has_one_currency() {
        return;
    }
    let is_priced = prepared.items.iter().any(|item| item.price.or(item.discount).is_some());
    let amounts = prepared.amounts.iter().map(|(field, _)| field.path());
    let prices = is_priced.then_some("properties.items.price");
    let left_out: Vec<&str> = amounts.chain(prices).collect();
    if let (false, Some(decision)) = (left_out.is_empty(), &mut decided.consent) {
        let code_of = |currency: Option<Currency>| {
            currency.map_or_else(|| "no currency of its".to_owned(), |it| it.code().to_owned())
        };
        let message = format!(
            "{} left out: in {}, which {} cannot be given beside a value in {}, and no rate is \
             configured to convert it by",
            left_out.join(", "),
            code_of(scene.event.currency.or(scene.site.currency)),
            config.platform.title,
            code_of(currency),
        );
        let (code, rule) = (consent::ReasonCode::FieldsRemoved, config.name.clone());
        let reason = consent::Reason { code, rule, message };
        Arc::make_mut(decision).reasons.push(reason);
    }
}
