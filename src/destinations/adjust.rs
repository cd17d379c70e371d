//! What an adjustment makes of the original's worth, in exact money: the same for every platform
//! that takes a new value instead of the part that was paid back; and what it is worth itself, where
//! a platform is told of it by an event of one's own.

use super::{
    Occasion, Refusal,
    prepare::{missing, unsupported},
};
use crate::{
    consent::Permit,
    event::{Adjustment, AdjustmentKind, Event, Field, Money},
    job::Prepared,
};

/// What became of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is worth this now.
    Restated(Money),
    /// All of it was paid back.
    Refunded,
    /// It never was.
    Cancelled,
}

/// What an adjustment makes of the original.
///
/// A refund says what was paid back, so that the new value is known only where the event also says
/// what the original was worth: by its value (`properties.value`, or what the plan's rule makes of
/// it), in the currency of the amount.
pub(super) fn change(
    occasion: &Occasion<'_>,
    adjusts: &Adjustment,
    platform: &str,
) -> Result<Change, Refusal> {
    match (adjusts.kind, adjusts.amount) {
        (AdjustmentKind::Cancel, _) => Ok(Change::Cancelled),
        (AdjustmentKind::Refund, None) => Ok(Change::Refunded),
        (AdjustmentKind::Restate, None) => Err(missing("adjusts.amount, the new value,")),
        (AdjustmentKind::Restate, Some(amount)) => {
            let currency =
                occasion.currency.ok_or_else(|| missing("the currency of adjusts.amount"))?;
            Ok(Change::Restated(Money { amount, currency }))
        }
        (AdjustmentKind::Refund, Some(paid_back)) => {
            let Some(original) = original(occasion) else {
                return Err(unsupported(format!(
                    "{platform} takes a new value and no refund of a part, and the event does not \
                     say what the original was worth: send that as properties.value, or an \
                     adjustment of type restate with the new value"
                )));
            };
            let left =
                original.amount.checked_sub(paid_back).filter(|left| !left.is_sign_negative());
            match left {
                Some(amount) => Ok(Change::Restated(Money { amount, ..original })),
                None => Err(unsupported(
                    "more was paid back (adjusts.amount) than the original was worth \
                     (properties.value), so that the new value is not known",
                )),
            }
        }
    }
}

/// Has an adjustment tell of itself: its value is what was paid back, or the new one, and never what
/// the original was worth; its order is the one that it adjusts. A value below zero says what changed
/// where no amount does.
pub(super) fn tell(
    prepared: &mut Prepared,
    occasion: &Occasion<'_>,
    permit: &Permit,
    takes_order: bool,
) {
    let Some(adjusts) = &occasion.event.adjusts else { return };
    let may_have_value = [Field::Value, Field::Currency].map(|it| permit.fields.contains(it));
    prepared.value = match adjusts.amount {
        Some(amount) => occasion
            .currency
            .filter(|_| may_have_value == [true, true])
            .map(|currency| Money { amount, currency }),
        None => prepared.value.filter(|value| value.amount.is_sign_negative()),
    };
    if let Some(order) = adjusts.order_id.as_deref().filter(|_| takes_order)
        && permit.fields.contains(Field::OrderId)
    {
        prepared.texts.retain(|(field, _)| *field != Field::OrderId);
        prepared.put_clear(Field::OrderId, order);
    }
}

/// What the original was worth, in the currency of `adjusts.amount`. A value that was converted
/// for the destination cannot be set against it: then what the event itself says counts.
fn original(occasion: &Occasion<'_>) -> Option<Money> {
    let event: &Event = occasion.event;
    let currency = occasion.currency?;
    let ruled = occasion.value.filter(|value| value.currency == currency);
    let said = || event.amount(Field::Value).map(|amount| Money { amount, currency });
    // What is worth less than nothing says what changed, not what the original was.
    ruled.or_else(said).filter(|value| value.amount.is_sign_positive() && !value.amount.is_zero())
}
