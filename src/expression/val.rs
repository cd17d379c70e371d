//! Between what is found in an event and CEL's values, and what CEL's errors say.

use std::collections::HashMap;

use cel::{
    ExecutionError, Value as CelValue,
    common::{
        types::{
            CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
            Type,
        },
        value::{CowVal, StaticVal, Val},
    },
    objects::Key,
};
use regex::Regex;
use rust_decimal::Decimal;
use serde_json::{Number, Value};

use super::{
    fact::{Found, ITEM_PARTS, part},
    number,
};
use crate::event::Item;

/// Longer lists and larger objects are not bound: what an evaluation costs is bounded by the
/// expression, not by who sends the event.
const MOST_ELEMENTS: usize = 2_000;

/// An integer written in so many digits is exact as a double.
const SHORT_NUMBER: usize = 15;

/// A regular expression written out in an expression, compiled with it.
#[derive(Debug, Clone)]
pub(super) struct Pattern(pub(super) Regex);

static PATTERN: Type = Type::new_unspecified_type("pattern");

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// `text.matches(pattern)` with a compiled pattern: CEL's own compiles it anew each time.
#[allow(clippy::needless_pass_by_value, reason = "the shape of a function of the environment")]
pub(super) fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = args.first().and_then(|arg| arg.downcast_ref::<CelString<'_>>());
    let pattern = args.get(1).and_then(|arg| arg.downcast_ref::<Pattern>());
    let (Some(text), Some(Pattern(regex))) = (text, pattern) else {
        return Err(ExecutionError::function_error("matches", "takes a text and a pattern"));
    };
    Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner()))))
}

// === into CEL ===

/// Gives CEL what was found, borrowed where it can be.
pub(super) fn bind<'a>(found: &'a Found<'_>) -> Result<Box<dyn Val + 'a>, String> {
    Ok(match found {
        Found::Null => Box::new(CelNull),
        Found::Number(decimal) => Box::new(CelDouble::from(number::to_double(*decimal))),
        Found::Text(text) => Box::new(CelString::from(*text)),
        Found::Json(value) => of_json(value)?,
        Found::Object(value) => of_json(value)?,
        Found::Items(items) => {
            few(items.len())?;
            let items: Vec<Box<dyn Val + 'a>> = items.iter().map(of_item).collect();
            Box::new(CelList::from(items))
        }
    })
}

fn of_item(item: &Item) -> Box<dyn Val + '_> {
    let parts = ITEM_PARTS.iter().filter_map(|name| {
        let val: Box<dyn Val + '_> = match part(item, name) {
            Found::Text(text) => Box::new(CelString::from(text)),
            Found::Number(decimal) => Box::new(CelDouble::from(number::to_double(decimal))),
            Found::Null | Found::Json(_) | Found::Items(_) | Found::Object(_) => return None,
        };
        Some((CelMapKey::from(*name), val))
    });
    Box::new(CelMap::from(parts.collect::<HashMap<_, _>>()))
}

fn of_json(value: &Value) -> Result<Box<dyn Val + '_>, String> {
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(held) => Box::new(CelBool::from(*held)),
        Value::Number(number) => of_number(number)?,
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            few(items.len())?;
            let items = items.iter().map(of_json).collect::<Result<Vec<_>, _>>()?;
            Box::new(CelList::from(items))
        }
        Value::Object(members) => {
            few(members.len())?;
            let members = members
                .iter()
                .map(|(name, value)| Ok((CelMapKey::from(name.as_str()), of_json(value)?)))
                .collect::<Result<HashMap<_, _>, String>>()?;
            Box::new(CelMap::from(members))
        }
    })
}

fn of_number(number: &Number) -> Result<Box<dyn Val>, String> {
    // Numbers are kept as they were written; those of few digits are read once, as doubles.
    let written = number.as_str();
    if written.len() <= SHORT_NUMBER
        && let Ok(double) = written.parse::<f64>()
        && double.is_finite()
    {
        return Ok(Box::new(CelDouble::from(double)));
    }
    // A long id must not become another one by rounding, so large integers stay integers.
    if let Some(integer) = number.as_i64()
        && integer.unsigned_abs() > number::EXACT_INTEGER
    {
        return Ok(Box::new(CelInt::from(integer)));
    }
    if let Some(integer) = number.as_u64()
        && integer > number::EXACT_INTEGER
    {
        return Ok(Box::new(CelUInt::from(integer)));
    }
    let double = number.as_f64().filter(|double| double.is_finite());
    Ok(Box::new(CelDouble::from(double.ok_or("reads a number that is too large")?)))
}

fn few(elements: usize) -> Result<(), String> {
    if elements <= MOST_ELEMENTS {
        return Ok(());
    }
    Err(format!("reads a list or object of more than {MOST_ELEMENTS} elements"))
}

// === out of CEL ===

/// The number that a result is; `None` for null.
pub(super) fn number(val: &dyn Val) -> Result<Option<Decimal>, String> {
    if val.downcast_ref::<CelNull>().is_some() {
        Ok(None)
    } else if let Some(double) = val.downcast_ref::<CelDouble>() {
        let decimal = number::to_decimal(*double.inner());
        decimal.map(Some).ok_or_else(|| "is not a finite number".to_owned())
    } else if let Some(integer) = val.downcast_ref::<CelInt>() {
        Ok(Some(Decimal::from(*integer.inner())))
    } else if let Some(integer) = val.downcast_ref::<CelUInt>() {
        Ok(Some(Decimal::from(*integer.inner())))
    } else {
        Err(format!("is a {}, not a number", val.get_type().name()))
    }
}

/// A result as JSON.
pub(super) fn json(val: &dyn Val) -> Result<Value, String> {
    let value = CelValue::try_from(val).map_err(|error| describe(&error))?;
    json_of(&value)
}

fn json_of(value: &CelValue) -> Result<Value, String> {
    Ok(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(held) => Value::from(*held),
        CelValue::Int(integer) => Value::from(*integer),
        CelValue::UInt(integer) => Value::from(*integer),
        CelValue::Float(double) => {
            number::to_decimal(*double).map(number::json_of).ok_or("is not a finite number")?
        }
        CelValue::String(text) => Value::from(text.as_str()),
        CelValue::List(items) => Value::Array(items.iter().map(json_of).collect::<Result<_, _>>()?),
        CelValue::Map(members) => {
            let members = members.map.iter().map(|(key, value)| {
                let key = match key {
                    Key::String(text) => text.to_string(),
                    Key::Int(integer) => integer.to_string(),
                    Key::Uint(integer) => integer.to_string(),
                    Key::Bool(held) => held.to_string(),
                };
                Ok((key, json_of(value)?))
            });
            Value::Object(members.collect::<Result<_, String>>()?)
        }
        CelValue::Bytes(_) | CelValue::Function(..) | CelValue::Opaque(_) | CelValue::Struct(_) => {
            return Err("has a result that JSON cannot hold".to_owned());
        }
    })
}

/// What went wrong, by types and names: CEL's own words may hold the event's values.
pub(super) fn describe(error: &ExecutionError) -> String {
    let types = |left: &CelValue, right: &CelValue| {
        format!("a {} and a {}", left.type_of(), right.type_of())
    };
    match error {
        // Names the function and the types of its arguments.
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!("cannot {operator} {}", types(left, right))
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("cannot compare {}", types(left, right))
        }
        ExecutionError::UnexpectedType { got, want } => format!("needs a {want}, not a {got}"),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("needs {expected} arguments, not {actual}")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "divides by zero".to_owned()
        }
        ExecutionError::Overflow(operator, _, _) => format!("overflows in {operator}"),
        ExecutionError::FunctionError { function, .. } => format!("fails in `{function}`"),
        ExecutionError::UndeclaredReference(name) => format!("names the unknown `{name}`"),
        _ => "cannot be evaluated".to_owned(),
    }
}
