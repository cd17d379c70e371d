//! Success criteria, conditions and formulas in CEL.
//!
//! Compiled once; an evaluation makes an inner scope with only the variables that the program
//! names, missing ones as null, and integers as doubles where a formula asks for it.

use rust_decimal::Decimal;

use crate::event::Event;

/// A compiled CEL expression.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
}

/// Why an expression does not compile, or has no result for an event.
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

impl Expression {
    /// Compiles; `formula` reads integer literals as doubles.
    pub fn compile(source: &str, formula: bool) -> Result<Self, ExpressionError> {
        let _ = formula;
        Ok(Self { source: source.to_owned() })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A condition: true, or not; an error where it cannot be evaluated.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, ExpressionError> {
        let _ = facts;
        unimplemented!()
    }

    /// A number, exact to 9 digits; `None` for null.
    pub fn number(&self, facts: &Facts<'_>) -> Result<Option<Decimal>, ExpressionError> {
        let _ = facts;
        unimplemented!()
    }

    /// A text by which copies are one; `None` for null.
    pub fn text(&self, facts: &Facts<'_>) -> Result<Option<String>, ExpressionError> {
        let _ = facts;
        unimplemented!()
    }

    /// Any value, for templated bodies.
    pub fn json(&self, facts: &Facts<'_>) -> Result<serde_json::Value, ExpressionError> {
        let _ = facts;
        unimplemented!()
    }
}
