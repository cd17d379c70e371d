//! What it was about: `properties` with items and amounts, and `adjusts`.

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::{
    Rejection, RejectionCode, WarningCode, amount,
    json::Node,
    moment,
    native::Draft,
    typed::{self, Path},
};
use crate::{
    config::{Config, Site},
    event::{Adjustment, AdjustmentKind, Currency, Field, Item, Money},
};

/// The money fields, by their keys.
const AMOUNTS: [(&str, Field); 7] = [
    ("value", Field::Value),
    ("tax", Field::Tax),
    ("shipping", Field::Shipping),
    ("discount", Field::Discount),
    ("cost", Field::Cost),
    ("net_revenue", Field::NetRevenue),
    ("predicted_ltv", Field::PredictedLtv),
];

pub(super) fn properties(draft: &mut Draft<'_>, node: &Node<'_>) -> Result<(), Rejection> {
    let properties = Path::Root.key("properties");
    let mut currency_is_unknown = false;
    for (key, node) in typed::object(node, &properties)? {
        let path = properties.key(key);
        if let Some((_, field)) = AMOUNTS.iter().find(|(name, _)| name == key) {
            if let Some(amount) = amount::decimal(node, &path)? {
                draft.event.amounts.push((*field, amount));
            }
            continue;
        }
        match key.as_ref() {
            "currency" => {
                if let Some(code) = typed::text(node, &path)? {
                    draft.event.currency = currency(code);
                    currency_is_unknown = draft.event.currency.is_none();
                }
            }
            // Ids and coupons are never searched for identity: removing a part would break them.
            "order_id" => put(draft, Field::OrderId, typed::id(node, &path)?.map(str::trim)),
            "coupon" => put(draft, Field::Coupon, typed::id(node, &path)?),
            "search_term" => {
                let text = typed::text(node, &path)?.map(|text| draft.free_text(text));
                put(draft, Field::SearchTerm, text.as_deref());
            }
            "store_id" => {
                let text = typed::id(node, &path)?.map(|text| draft.free_text(text));
                put(draft, Field::StoreId, text.as_deref());
            }
            "items" => draft.event.items = items(draft, node, &path)?,
            _ => {
                if let Some(value) = free(draft, node, &path)? {
                    let key = draft.free_text(key);
                    if !key.is_empty() {
                        draft.event.other.insert(key, value);
                    }
                }
            }
        }
    }
    if currency_is_unknown {
        leave_amounts_out(draft);
    }
    Ok(())
}

fn put(draft: &mut Draft<'_>, field: Field, text: Option<&str>) {
    if let Some(text) = text {
        draft.put(field, text);
    }
}

/// ISO 4217 lists codes for no currency and for tests, too; neither is money.
fn currency(code: &str) -> Option<Currency> {
    Currency::parse(code).filter(|currency| !matches!(currency.code(), "XXX" | "XTS"))
}

/// What is written in a currency that nobody knows must not be read in the site's: amounts without
/// a currency are left out, never guessed.
fn leave_amounts_out(draft: &mut Draft<'_>) {
    draft.event.amounts.clear();
    for item in &mut draft.event.items {
        item.price = None;
        item.discount = None;
    }
    let message =
        "properties.currency is no ISO 4217 code; the value and all other amounts were left out";
    draft.warn(WarningCode::NoCurrency, message);
}

/// Anyone can read a browser's key: it may not claim any amount. What is in another currency than the
/// site's, which is the limit's, is converted; what cannot be is refused.
pub(super) fn limit(draft: &Draft<'_>, site: &Site, config: &Config) -> Result<(), Rejection> {
    if !draft.door.is_browser() {
        return Ok(());
    }
    let event = &draft.event;
    let properties = Path::Root.key("properties");
    let fits = |amount: Decimal, path: &Path<'_>| {
        let refused = |message: String| Err(path.reject(RejectionCode::NotAllowed, message));
        if amount < Decimal::ZERO {
            return refused("a browser's write key may not claim an amount below zero".to_owned());
        }
        let Some(most) = draft.door.at_most() else { return Ok(()) };
        let counted = match (event.currency, site.currency) {
            (Some(own), Some(limit)) if own != limit && !amount.is_zero() => {
                let money = Money { amount, currency: own };
                let rates = config.rates.as_ref().ok_or_else(|| "no [rates]".to_owned());
                let converted = rates.and_then(|r| r.convert(money, limit, event.received_at));
                match converted {
                    Ok(money) => money.amount,
                    Err(why) => {
                        return refused(format!(
                            "an amount in {own} cannot be held against the write key's max_value, \
                             which is in {limit}: {why}"
                        ));
                    }
                }
            }
            _ => amount,
        };
        if counted > most {
            return refused(format!("this write key may not claim more than {most} (max_value)"));
        }
        Ok(())
    };
    for (field, amount) in &event.amounts {
        if let Some((key, _)) = AMOUNTS.iter().find(|(_, own)| own == field) {
            fits(*amount, &properties.key(key))?;
        }
    }
    let list = properties.key("items");
    for (at, item) in event.items.iter().enumerate() {
        let place = Path::Index(&list, at);
        fits(item.price.unwrap_or_default(), &place.key("price"))?;
    }
    let adjusted = event.adjusts.as_ref().and_then(|adjusts| adjusts.amount);
    fits(adjusted.unwrap_or_default(), &Path::Root.key("adjusts").key("amount"))
}

fn items(draft: &mut Draft<'_>, node: &Node<'_>, path: &Path<'_>) -> Result<Vec<Item>, Rejection> {
    let mut items = Vec::new();
    for (i, node) in typed::list(node, path)?.iter().enumerate() {
        let path = Path::Index(path, i);
        let mut item = Item::default();
        let mut other = Map::new();
        for (key, node) in typed::object(node, &path)? {
            let path = path.key(key);
            let place = match key.as_ref() {
                "id" => {
                    item.id = typed::id(node, &path)?.map(|id| id.trim().to_owned());
                    continue;
                }
                // One such item has a platform refuse the whole request.
                "quantity" => {
                    let quantity = amount::decimal(node, &path)?;
                    item.quantity = quantity.filter(|quantity| *quantity > Decimal::ZERO);
                    if quantity != item.quantity {
                        draft.warn(WarningCode::Ignored, format!("{path}: not above zero"));
                    }
                    continue;
                }
                "price" => {
                    let price = amount::decimal(node, &path)?;
                    item.price = price.filter(|price| *price >= Decimal::ZERO);
                    if price != item.price {
                        draft.warn(WarningCode::Ignored, format!("{path}: below zero"));
                    }
                    continue;
                }
                "discount" => {
                    item.discount = amount::decimal(node, &path)?;
                    continue;
                }
                "name" => &mut item.name,
                "brand" => &mut item.brand,
                "category" => &mut item.category,
                "variant" => &mut item.variant,
                _ => {
                    if let Some(value) = free(draft, node, &path)? {
                        other.insert(draft.free_text(key), value);
                    }
                    continue;
                }
            };
            let text = typed::id(node, &path)?.map(|text| draft.free_text(text));
            *place = text.filter(|text| !text.is_empty());
        }
        if !other.is_empty() {
            item.other = Value::Object(other).to_string();
        }
        if item != Item::default() {
            items.push(item);
        }
    }
    Ok(items)
}

/// A property that has no field of its own: kept as it is, its texts cleaned. Absent for what is
/// empty.
pub(super) fn free(
    draft: &mut Draft<'_>,
    node: &Node<'_>,
    path: &Path<'_>,
) -> Result<Option<Value>, Rejection> {
    Ok(match node {
        Node::Null => None,
        Node::Bool(value) => Some(Value::Bool(*value)),
        Node::Number(number) => Some(Value::Number(finite(number, path)?)),
        Node::Text(text) => {
            let text = draft.free_text(text);
            (!text.is_empty()).then_some(Value::String(text))
        }
        Node::List(nodes) => {
            let mut values = Vec::with_capacity(nodes.len());
            for (i, node) in nodes.iter().enumerate() {
                values.extend(free(draft, node, &Path::Index(path, i))?);
            }
            (!values.is_empty()).then_some(Value::Array(values))
        }
        Node::Object(members) => {
            let mut map = Map::new();
            for (key, node) in members {
                if let Some(value) = free(draft, node, &path.key(key))? {
                    map.insert(draft.free_text(key), value);
                }
            }
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Node::Flawed(flaw) => return Err(path.flawed(flaw)),
    })
}

/// A number that every reader of JSON can hold.
fn finite(number: &str, path: &Path<'_>) -> Result<serde_json::Number, Rejection> {
    let is_finite = number.parse::<f64>().is_ok_and(f64::is_finite);
    match number.parse() {
        Ok(number) if is_finite => Ok(number),
        _ => Err(path.invalid("the number is too large")),
    }
}

pub(super) fn adjusts(draft: &mut Draft<'_>, node: &Node<'_>) -> Result<(), Rejection> {
    const FIELDS: [&str; 5] = ["order_id", "event_id", "type", "amount", "timestamp"];
    let adjusts = Path::Root.key("adjusts");
    let members = typed::object(node, &adjusts)?;
    if members.is_empty() {
        return Ok(());
    }
    let (mut order_id, mut event_id, mut kind, mut amount, mut at) = (None, None, None, None, None);
    for (key, node) in members {
        let path = adjusts.key(key);
        match key.as_ref() {
            "order_id" => order_id = typed::id(node, &path)?.map(|id| id.trim().to_owned()),
            "event_id" => event_id = typed::id(node, &path)?.map(|id| id.trim().to_owned()),
            "type" => kind = adjustment_kind(node, &path)?,
            "amount" => amount = amount::decimal(node, &path)?,
            "timestamp" => at = moment::moment(node, &path)?,
            _ => return Err(typed::unknown(&path, key, FIELDS.into_iter())),
        }
    }
    let missing = |key: &str, message: &str| {
        Err(adjusts.key(key).reject(RejectionCode::MissingField, message))
    };
    let Some(kind) = kind else {
        return missing("type", "say what happened: \"refund\", \"cancel\" or \"restate\"");
    };
    if order_id.is_none() && event_id.is_none() {
        return missing(
            "order_id",
            "say which order (\"order_id\") or event (\"event_id\") it adjusts",
        );
    }
    match (kind, amount) {
        (AdjustmentKind::Restate, None) => {
            return missing("amount", "a restatement says the new value: \"amount\"");
        }
        (_, Some(amount)) if amount.is_sign_negative() && !amount.is_zero() => {
            return Err(adjusts.key("amount").invalid("an amount is not negative"));
        }
        _ => {}
    }
    let no_currency = draft.warnings.iter().any(|warning| warning.code == WarningCode::NoCurrency);
    if amount.is_some() && no_currency {
        // Leaving it out would turn a part refund into a full one.
        let message = "no ISO 4217 code, and adjusts.amount has no meaning without a currency";
        return Err(Path::Root.key("properties").key("currency").invalid(message));
    }
    let amount = amount.filter(|_| kind != AdjustmentKind::Cancel);
    draft.event.adjusts = Some(Adjustment { order_id, event_id, kind, amount, at });
    Ok(())
}

fn adjustment_kind(node: &Node<'_>, path: &Path<'_>) -> Result<Option<AdjustmentKind>, Rejection> {
    match typed::text(node, path)?.map(str::trim) {
        None => Ok(None),
        Some("refund") => Ok(Some(AdjustmentKind::Refund)),
        Some("cancel") => Ok(Some(AdjustmentKind::Cancel)),
        Some("restate") => Ok(Some(AdjustmentKind::Restate)),
        Some(_) => Err(path.invalid("expected \"refund\", \"cancel\" or \"restate\"")),
    }
}
