//! From source to a program: checks every name, and rewrites the syntax tree so that an
//! evaluation binds scalars only.
//!
//! | written | becomes |
//! | --- | --- |
//! | `properties.cart_size`, `properties['cart size']` | one variable |
//! | `has(properties.coupon)` | a comparison of that variable with null |
//! | `item.price`, `list[0]` on anything else | an optional lookup, null where it is missing |
//! | `3` | `3.0`, except as a method's argument or a key of a map |
//! | `size(x)`, `int(x)`, `a % b` | the same, as a double |
//! | `x.matches('^a')` | the same, with the pattern compiled now |

use cel::{
    Env, IdedExpr,
    common::{
        ast::{
            CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue,
            MapEntryExpr, MapExpr, SelectExpr, operators,
        },
        types::{CelDouble, CelString, STRING_TYPE},
        value::Val,
    },
    extensions,
};
use regex::RegexBuilder;

use super::{
    ExpressionError,
    fact::{Fact, Step, nearest},
    number::EXACT_INTEGER,
    val::{self, Pattern},
};

/// The longest source, in bytes.
const LONGEST_SOURCE: usize = 2_000;
/// The deepest brackets, and the deepest tree: parser and evaluation recurse as deep.
const DEEPEST_BRACKETS: usize = 24;
const DEEPEST: usize = 40;
/// The largest compiled pattern, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// Functions and methods that a source may call, besides those of `math`.
const FUNCTIONS: [&str; 31] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "dyn",
    "lowerAscii",
    "upperAscii",
    "trim",
    "replace",
    "split",
    "join",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "substring",
    "reverse",
    "hasValue",
    "value",
    "or",
    "orValue",
    "of",
    "none",
    "ofNonZeroValue",
];
const MATH: [&str; 12] = [
    "ceil", "floor", "round", "trunc", "abs", "sign", "sqrt", "isInf", "isNaN", "isFinite",
    "greatest", "least",
];
/// What the parser makes of macros: operators and helpers whose names no source can spell.
const WRITTEN_BY_PARSER: [char; 4] = ['_', '@', '!', '-'];
/// Names that are types, not variables: `type(x) == string`.
const TYPES: [&str; 10] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// A compiled expression.
pub(super) struct Compiled {
    /// As it was written.
    pub(super) source: String,
    /// The rewritten tree: variables are `@0`, `@1`, ..., patterns `@m0`, ...
    pub(super) ast: IdedExpr,
    /// Variables by position.
    pub(super) facts: Vec<Fact>,
    /// Patterns by position.
    pub(super) patterns: Vec<Pattern>,
}

impl Compiled {
    /// The fact, where the expression is nothing but a path.
    pub(super) fn path(&self) -> Option<&Fact> {
        match &self.ast.expr {
            Expr::Ident(name) if name == "@0" => self.facts.first(),
            _ => None,
        }
    }
}

/// CEL's standard functions with those for texts and `math`.
pub(super) fn environment() -> Env {
    let mut env = Env::stdlib();
    let pattern = <Pattern as Val>::cel_type();
    let added = env
        .add_extension(extensions::strings)
        .and_then(|()| env.add_extension(extensions::math))
        .and_then(|()| {
            let args = vec![pattern.to_owned()];
            env.add_member_overload("matches", "matches_pattern", STRING_TYPE, args, val::matches)
        });
    // Only a second declaration of the same name fails; the tests call each of them.
    debug_assert!(added.is_ok());
    env
}

/// Compiles a source for an environment.
pub(super) fn compile(source: &str, formula: bool, env: &Env) -> Result<Compiled, ExpressionError> {
    compile_for(source, if formula { Sight::Formula } else { Sight::Event }, env)
}

/// What a source may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// An event.
    Event,
    /// An event, and the numbers of a formula.
    Formula,
    /// The `body` of a request that is no event yet, and nothing else.
    Body,
}

/// Compiles a source that may name other things.
pub(super) fn compile_for(
    source: &str,
    sight: Sight,
    env: &Env,
) -> Result<Compiled, ExpressionError> {
    if source.trim().is_empty() {
        return Err(ExpressionError("is empty; write a CEL expression".to_owned()));
    }
    if source.len() > LONGEST_SOURCE {
        return Err(ExpressionError(format!("is longer than {LONGEST_SOURCE} bytes")));
    }
    if deepest_brackets(source) > DEEPEST_BRACKETS {
        return Err(ExpressionError(format!(
            "has brackets or choices (`?`) deeper than {DEEPEST_BRACKETS}"
        )));
    }
    let parsed = env.parser().parse(source).map_err(|errors| {
        let first = errors.errors.first();
        let (line, column) = first.map_or((1, 1), |error| error.pos);
        let message = first.map_or("cannot be parsed", |error| error.msg.as_str());
        ExpressionError(format!("is not CEL, at {line}:{column}: {message}"))
    })?;
    let mut compiler =
        Compiler { sight, bound: Vec::new(), facts: Vec::new(), patterns: Vec::new(), depth: 0 };
    let ast = compiler.rewrite(parsed)?;
    let Compiler { facts, patterns, .. } = compiler;
    Ok(Compiled { source: source.to_owned(), ast, facts, patterns })
}

/// How deep brackets are nested outside of quotes; each `?` nests all that follows. Counted before
/// parsing: the parser recurses even past its own limit.
fn deepest_brackets(source: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let mut quote = None;
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[' | '{' | '?') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (Some(_) | None, _) => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

struct Compiler {
    sight: Sight,
    /// The variables of the walks around the node in hand.
    bound: Vec<String>,
    facts: Vec<Fact>,
    patterns: Vec<Pattern>,
    depth: usize,
}

impl Compiler {
    fn rewrite(&mut self, node: IdedExpr) -> Result<IdedExpr, ExpressionError> {
        if self.depth == DEEPEST {
            return Err(ExpressionError(format!("is nested deeper than {DEEPEST}")));
        }
        self.depth += 1;
        let id = node.id;
        let expr = self.rewrite_expr(node.expr)?;
        self.depth -= 1;
        Ok(IdedExpr { id, expr })
    }

    fn rewrite_expr(&mut self, expr: Expr) -> Result<Expr, ExpressionError> {
        if let Some((root, steps)) = self.path(&expr) {
            return self.variable(&root, &steps);
        }
        match expr {
            Expr::Literal(literal) => Ok(Expr::Literal(as_double(literal))),
            Expr::Ident(name) => Ok(Expr::Ident(name)),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(ListExpr { elements, optional_indices }) => {
                let elements = self.all(elements)?;
                Ok(Expr::List(ListExpr { elements, optional_indices }))
            }
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(walk) => self.walk(*walk),
            Expr::Struct(made) => {
                Err(ExpressionError(format!("unknown type `{}`", made.type_name)))
            }
            Expr::Unspecified => Err(ExpressionError("is incomplete".to_owned())),
        }
    }

    fn all(&mut self, nodes: Vec<IdedExpr>) -> Result<Vec<IdedExpr>, ExpressionError> {
        nodes.into_iter().map(|node| self.rewrite(node)).collect()
    }

    /// The name of the event's and the steps below it, where the expression is such a path.
    fn path(&self, expr: &Expr) -> Option<(String, Vec<Step>)> {
        let mut steps = Vec::new();
        let mut expr = expr;
        loop {
            match expr {
                Expr::Ident(name) => {
                    let named = !self.bound.contains(name) && !name.starts_with('@');
                    let is_type = steps.is_empty() && TYPES.contains(&name.as_str());
                    steps.reverse();
                    return (named && !is_type).then(|| (name.clone(), steps));
                }
                Expr::Select(select) if !select.test => {
                    steps.push(Step::Key(select.field.clone()));
                    expr = &select.operand.expr;
                }
                Expr::Call(call) if call.func_name == operators::INDEX => {
                    let [operand, index] = call.args.as_slice() else { return None };
                    steps.push(match &index.expr {
                        Expr::Literal(LiteralValue::String(key)) => {
                            Step::Key(key.inner().to_owned())
                        }
                        Expr::Literal(LiteralValue::Int(index)) => {
                            Step::Index(usize::try_from(*index.inner()).ok()?)
                        }
                        _ => return None,
                    });
                    expr = &operand.expr;
                }
                _ => return None,
            }
        }
    }

    fn variable(&mut self, root: &str, steps: &[Step]) -> Result<Expr, ExpressionError> {
        let fact = match self.sight {
            Sight::Body => Fact::of_body(root, steps)?,
            Sight::Event | Sight::Formula => Fact::new(root, steps, self.sight == Sight::Formula)?,
        };
        let position = self.facts.iter().position(|known| *known == fact).unwrap_or_else(|| {
            self.facts.push(fact);
            self.facts.len() - 1
        });
        Ok(Expr::Ident(format!("@{position}")))
    }

    fn select(&mut self, select: SelectExpr) -> Result<Expr, ExpressionError> {
        let SelectExpr { operand, field, test } = select;
        let plain = Expr::Select(SelectExpr { operand, field: field.clone(), test: false });
        let found = match self.path(&plain) {
            Some((root, steps)) => self.variable(&root, &steps)?,
            None => {
                let Expr::Select(SelectExpr { operand, .. }) = plain else { return Ok(plain) };
                let operand = self.rewrite(*operand)?;
                let key = Expr::Literal(LiteralValue::String(CelString::from(field)));
                or_null(vec![operand, node(key)])
            }
        };
        if !test {
            return Ok(found);
        }
        let null = node(Expr::Literal(LiteralValue::Null));
        Ok(call(operators::NOT_EQUALS, vec![node(found), null]))
    }

    fn call(&mut self, written: CallExpr) -> Result<Expr, ExpressionError> {
        let CallExpr { func_name, target, args } = written;
        let namespace = target.as_ref().and_then(|target| match &target.expr {
            Expr::Ident(name) if name == "math" || name == "optional" => Some(name.clone()),
            _ => None,
        });
        check_function(&func_name, namespace.as_deref())?;
        if func_name == operators::INDEX {
            return Ok(or_null(self.all(args)?));
        }
        if func_name == "matches" {
            return self.matches(target, args);
        }
        let target = match (target, &namespace) {
            (Some(target), None) => Some(Box::new(self.rewrite(*target)?)),
            (target, _) => target,
        };
        // Methods count characters in integers: `x.substring(0, 3)`.
        let args = if target.is_some() && namespace.is_none() {
            args.into_iter().map(|arg| self.rewrite_argument(arg)).collect::<Result<_, _>>()?
        } else {
            self.all(args)?
        };
        let made = match func_name.as_str() {
            operators::MODULO => {
                let args = args.into_iter().map(|arg| node(call("int", vec![arg]))).collect();
                Expr::Call(CallExpr { func_name, target, args })
            }
            "size" | "int" | "uint" => Expr::Call(CallExpr { func_name, target, args }),
            _ => return Ok(Expr::Call(CallExpr { func_name, target, args })),
        };
        Ok(call("double", vec![node(made)]))
    }

    fn rewrite_argument(&mut self, arg: IdedExpr) -> Result<IdedExpr, ExpressionError> {
        match arg.expr {
            Expr::Literal(_) => Ok(arg),
            _ => self.rewrite(arg),
        }
    }

    fn matches(
        &mut self,
        target: Option<Box<IdedExpr>>,
        args: Vec<IdedExpr>,
    ) -> Result<Expr, ExpressionError> {
        let mut args = target.map(|target| *target).into_iter().chain(args);
        let (Some(text), Some(pattern), None) = (args.next(), args.next(), args.next()) else {
            return Err(ExpressionError("`matches` takes a text and a pattern".to_owned()));
        };
        let Expr::Literal(LiteralValue::String(written)) = &pattern.expr else {
            let why = "the pattern of `matches` must be written out, as in `x.matches('^a')`";
            return Err(ExpressionError(why.to_owned()));
        };
        let regex = RegexBuilder::new(written.inner()).size_limit(LARGEST_PATTERN).build();
        let regex = regex.map_err(|error| ExpressionError(format!("`matches`: {error}")))?;
        let text = self.rewrite(text)?;
        let name = format!("@m{}", self.patterns.len());
        self.patterns.push(Pattern(regex));
        Ok(Expr::Call(CallExpr {
            func_name: "matches".to_owned(),
            target: Some(Box::new(text)),
            args: vec![node(Expr::Ident(name))],
        }))
    }

    fn map(&mut self, map: MapExpr) -> Result<Expr, ExpressionError> {
        let entries = map.entries.into_iter().map(|entry| {
            let IdedEntryExpr {
                id,
                expr: EntryExpr::MapEntry(MapEntryExpr { key, value, optional }),
            } = entry
            else {
                return Err(ExpressionError("has a field outside a type".to_owned()));
            };
            // Keys stay as written: a double cannot be one.
            let key = self.rewrite_argument(key)?;
            let value = self.rewrite(value)?;
            Ok(IdedEntryExpr {
                id,
                expr: EntryExpr::MapEntry(MapEntryExpr { key, value, optional }),
            })
        });
        Ok(Expr::Map(MapExpr { entries: entries.collect::<Result<_, _>>()? }))
    }

    /// A walk over a list: `all`, `exists`, `exists_one`, `map`, `filter`.
    fn walk(&mut self, walk: ComprehensionExpr) -> Result<Expr, ExpressionError> {
        let within = !self.bound.is_empty();
        let iter_range = self.rewrite(walk.iter_range)?;
        if within && names_fact(&iter_range.expr) {
            return Err(ExpressionError(
                "walks over one list of the event for each element of another; only parts of the \
                 element in hand can be walked over there"
                    .to_owned(),
            ));
        }
        let accu_init = self.rewrite(walk.accu_init)?;
        let outside = self.bound.len();
        self.bound.push(walk.accu_var.clone());
        self.bound.push(walk.iter_var.clone());
        self.bound.extend(walk.iter_var2.clone());
        let loop_cond = self.rewrite(walk.loop_cond)?;
        let loop_step = self.rewrite(walk.loop_step)?;
        self.bound.truncate(outside + 1);
        let result = self.rewrite(walk.result)?;
        self.bound.truncate(outside);
        Ok(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range,
            iter_var: walk.iter_var,
            iter_var2: walk.iter_var2,
            accu_var: walk.accu_var,
            accu_init,
            loop_cond,
            loop_step,
            result,
        })))
    }
}

fn check_function(name: &str, namespace: Option<&str>) -> Result<(), ExpressionError> {
    let written_by_parser = name.starts_with(WRITTEN_BY_PARSER) || name.starts_with("math.@");
    let known = match namespace {
        Some("math") => MATH.contains(&name),
        _ => written_by_parser || FUNCTIONS.contains(&name),
    };
    if known {
        return Ok(());
    }
    let nearest = match namespace {
        Some("math") => nearest(name, MATH.into_iter()),
        _ => nearest(name, FUNCTIONS.into_iter()),
    };
    Err(ExpressionError(format!("unknown function `{name}`; did you mean `{nearest}`?")))
}

/// An integer literal as a double, unless a double cannot hold it.
fn as_double(literal: LiteralValue) -> LiteralValue {
    let double = match &literal {
        LiteralValue::Int(integer) => {
            let integer = *integer.inner();
            (integer.unsigned_abs() <= EXACT_INTEGER).then_some(integer as f64)
        }
        LiteralValue::UInt(integer) => {
            let integer = *integer.inner();
            (integer <= EXACT_INTEGER).then_some(integer as f64)
        }
        _ => None,
    };
    double.map_or(literal, |double| LiteralValue::Double(CelDouble::from(double)))
}

/// `operand[?key].orValue(null)`, of an operand and a key.
fn or_null(operand_and_key: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr {
        func_name: "orValue".to_owned(),
        target: Some(Box::new(node(call(operators::OPT_INDEX, operand_and_key)))),
        args: vec![node(Expr::Literal(LiteralValue::Null))],
    })
}

/// Whether a rewritten tree names a variable of the event.
fn names_fact(expr: &Expr) -> bool {
    let any = |nodes: &[IdedExpr]| nodes.iter().any(|node| names_fact(&node.expr));
    match expr {
        Expr::Ident(name) => name
            .strip_prefix('@')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())),
        Expr::Select(select) => names_fact(&select.operand.expr),
        Expr::Call(call) => {
            any(&call.args) || call.target.as_ref().is_some_and(|target| names_fact(&target.expr))
        }
        Expr::List(list) => any(&list.elements),
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                names_fact(&entry.key.expr) || names_fact(&entry.value.expr)
            }
            EntryExpr::StructField(field) => names_fact(&field.value.expr),
        }),
        Expr::Comprehension(walk) => {
            names_fact(&walk.iter_range.expr)
                || names_fact(&walk.loop_step.expr)
                || names_fact(&walk.loop_cond.expr)
        }
        Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn call(func_name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: func_name.to_owned(), target: None, args })
}
