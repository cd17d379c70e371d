//! Success criteria, conditions and formulas in CEL.
//!
//! Compiled once. At compile time every path that an expression names (`properties.cart_size`)
//! becomes one variable, so that an evaluation binds a few scalars and no JSON tree; what is
//! missing is null. All numbers are doubles, integer literals too, because CEL does not mix the
//! two and JSON does not tell them apart. Only the integers that a double cannot hold stay
//! integers. An expression that is nothing but a path is answered from the event itself, exactly.
//!
//! Refuses: identity, unknown names, patterns that are not written out, walks over a list inside
//! walks over another (their cost is the product of what a sender may post).

mod compile;
mod fact;
mod number;
#[cfg(test)]
mod tests;
mod val;

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, Value as CelValue,
    common::{
        types::CelBool,
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use rust_decimal::Decimal;

use self::{
    compile::Compiled,
    fact::{Fact, Found},
};
use crate::event::{Event, FieldSet};

pub(crate) use fact::{find_amount, is_amount};
#[cfg(test)]
pub(crate) use tests::event as sample_event;

/// A compiled CEL expression; cheap to clone.
#[derive(Clone)]
pub struct Expression {
    compiled: Arc<Compiled>,
}

/// Why an expression does not compile, or has no result for an event. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);

/// What an expression sees: `event`, `site`, `action_source`, `properties`, `context`, `lead`,
/// `user.customer_type`; never identity.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The event.
    pub event: &'a Event,
    /// Further numbers by name (`value`, `event_value`, `tax`, ...), for formulas.
    pub numbers: &'a [(&'static str, Option<Decimal>)],
}

/// The numbers that a formula sees besides the event, by the names of [`Facts::numbers`].
pub(crate) const FORMULA_NUMBERS: [&str; 6] =
    ["value", "event_value", "tax", "shipping", "discount", "cost"];

/// One environment and one root context for the process: making them costs more than a hundred
/// evaluations.
static ROOT: LazyLock<Context<'static, 'static>> =
    LazyLock::new(|| Context::with_env(Arc::clone(&ENV)));
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(compile::environment()));

impl Expression {
    /// Compiles; a `formula` also sees the numbers of [`Facts::numbers`].
    ///
    /// Fails on what is not CEL, on names that no expression sees (naming the nearest), and on
    /// identity.
    pub fn compile(source: &str, formula: bool) -> Result<Self, ExpressionError> {
        let compiled = compile::compile(source, formula, &ENV)?;
        Ok(Self { compiled: Arc::new(compiled) })
    }

    /// Compiles an expression over the `body` of a request that is no event yet.
    pub fn compile_over_body(source: &str) -> Result<Self, ExpressionError> {
        let compiled = compile::compile_for(source, compile::Sight::Body, &ENV)?;
        Ok(Self { compiled: Arc::new(compiled) })
    }

    /// The result of one compiled by [`Expression::compile_over_body`].
    pub fn over_body(&self, body: serde_json::Value) -> Result<serde_json::Value, ExpressionError> {
        let mut event = Event::nothing();
        event.other.insert("body".to_owned(), body);
        self.json(&Facts { event: &event, numbers: &[] })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.compiled.source
    }

    /// The fields of the event that it reads, for those who must not pass on what a rule removes.
    /// A whole object (`context`) is every field that an expression may see of it.
    pub fn reads(&self) -> FieldSet {
        self.compiled.facts.iter().map(Fact::fields).fold(FieldSet::EMPTY, FieldSet::union)
    }

    /// Whether it names a number of [`Facts::numbers`].
    pub fn names_number(&self, name: &str) -> bool {
        self.compiled.facts.iter().any(|fact| fact.is_number(name))
    }

    /// What it names and these facts lack, by path.
    pub fn absent(&self, facts: &Facts<'_>) -> Vec<&str> {
        let lacking = |fact: &&Fact| matches!(fact.find(facts), Found::Null);
        self.compiled.facts.iter().filter(lacking).map(|fact| fact.name.as_str()).collect()
    }

    /// A condition: true, or not; an error where it cannot be evaluated.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, ExpressionError> {
        self.evaluate(facts, |val| {
            val.downcast_ref::<CelBool>()
                .map(|held| *held.inner())
                .ok_or_else(|| format!("is a {}, not true or false", val.get_type().name()))
        })
    }

    /// A number, exact to 9 digits after the point; `None` for null.
    ///
    /// A path alone is exact. An error where the result is no number, infinite, or larger than a
    /// decimal.
    pub fn number(&self, facts: &Facts<'_>) -> Result<Option<Decimal>, ExpressionError> {
        if let Some(path) = self.compiled.path() {
            return match path.find(facts) {
                Found::Null => Ok(None),
                found => found.number().map(Some).ok_or_else(|| self.failed("is not a number")),
            };
        }
        self.evaluate(facts, val::number)
    }

    /// A text by which copies are one; `None` for null and for the empty text.
    ///
    /// Numbers are written canonically (`5` and `5.0` are one), lists and objects as JSON; one that
    /// lacks a part is null, since what is missing must not make two events one.
    pub fn text(&self, facts: &Facts<'_>) -> Result<Option<String>, ExpressionError> {
        Ok(number::canonical_text(&self.json(facts)?))
    }

    /// Any value, for templated bodies. Numbers are decimals of at most 9 digits after the point;
    /// those of a path alone are as they came.
    pub fn json(&self, facts: &Facts<'_>) -> Result<serde_json::Value, ExpressionError> {
        match self.compiled.path() {
            Some(path) => Ok(path.find(facts).into_json()),
            None => self.evaluate(facts, val::json),
        }
    }

    fn evaluate<T>(
        &self,
        facts: &Facts<'_>,
        read: impl FnOnce(&dyn Val) -> Result<T, String>,
    ) -> Result<T, ExpressionError> {
        let found: Vec<Found<'_>> = self.compiled.facts.iter().map(|f| f.find(facts)).collect();
        let bound: Result<Vec<_>, String> = found.iter().map(val::bind).collect();
        let scope =
            Scope { bound: bound.map_err(|why| self.failed(&why))?, compiled: &self.compiled };
        let root: &Context<'_, '_> = &ROOT;
        let mut context = root.new_inner_scope();
        context.set_variable_resolver(&scope);
        let result = CelValue::resolve_val(&self.compiled.ast, &context);
        let read = result.map_err(|error| val::describe(&error)).and_then(|val| read(&*val));
        read.map_err(|why| self.failed_for(&why, &found))
    }

    fn failed(&self, why: &str) -> ExpressionError {
        ExpressionError(format!("`{}` {why}", self.source()))
    }

    fn failed_for(&self, why: &str, found: &[Found<'_>]) -> ExpressionError {
        let facts = self.compiled.facts.iter().zip(found);
        let absent: Vec<&str> = facts
            .filter(|(_, found)| matches!(found, Found::Null))
            .map(|(fact, _)| fact.name.as_str())
            .collect();
        match absent.as_slice() {
            [] => self.failed(why),
            names => self.failed(&format!("{why} (missing: {})", names.join(", "))),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source()).finish()
    }
}

/// The variables of one evaluation, found by position: [`compile`] writes them as `@0`, `@1`, ...,
/// names that no source can spell.
struct Scope<'a> {
    bound: Vec<Box<dyn Val + 'a>>,
    compiled: &'a Compiled,
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let name = variable.strip_prefix('@')?;
        let val: &'b dyn Val = match name.strip_prefix('m') {
            Some(position) => self.compiled.patterns.get(position.parse::<usize>().ok()?)?,
            None => &**self.bound.get(name.parse::<usize>().ok()?)?,
        };
        Some(CowVal::Borrowed(val))
    }
}
