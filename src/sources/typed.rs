//! Nodes as the types that fields have. Absent, `null`, `""` and `[]` are one and the same; every
//! other mismatch is refused with the field's path and what was expected.

use std::fmt;

use super::{
    Rejection, RejectionCode,
    json::{Flaw, Node},
};

/// Where a node stands in its event; written out only when something is wrong with it.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            // RFC 6901: `~` and `/` within a key are escaped.
            Path::Key(parent, key) if key.contains(['~', '/']) => {
                write!(f, "{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            Path::Key(parent, key) => write!(f, "{parent}/{key}"),
            Path::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

impl<'p> Path<'p> {
    pub(super) fn key(&'p self, key: &'p str) -> Path<'p> {
        Path::Key(self, key)
    }

    /// Refuses what stands here.
    pub(super) fn reject(&self, code: RejectionCode, message: impl Into<String>) -> Rejection {
        Rejection::new(code, message, self.to_string())
    }

    /// Refuses what stands here as not being what it should be.
    pub(super) fn invalid(&self, message: impl Into<String>) -> Rejection {
        self.reject(RejectionCode::InvalidField, message)
    }

    fn expected(&self, what: &str, node: &Node<'_>) -> Rejection {
        match node {
            Node::Flawed(flaw) => self.flawed(flaw),
            other => self.invalid(format!("expected {what}, not {}", other.kind())),
        }
    }

    /// Refuses what no reader should rely on.
    pub(super) fn flawed(&self, flaw: &Flaw) -> Rejection {
        self.invalid(flaw.to_string())
    }
}

/// Whether a node is the same as none: some languages write an empty object or text as `[]`.
pub(super) fn is_absent(node: &Node<'_>) -> bool {
    match node {
        Node::Null => true,
        Node::Text(text) => text.trim().is_empty(),
        Node::List(members) => members.is_empty(),
        Node::Bool(_) | Node::Number(_) | Node::Object(_) | Node::Flawed(_) => false,
    }
}

/// A string; blank is absent.
pub(super) fn text<'n>(node: &'n Node<'_>, path: &Path<'_>) -> Result<Option<&'n str>, Rejection> {
    match node {
        node if is_absent(node) => Ok(None),
        Node::Text(text) => Ok(Some(text.as_ref())),
        other => Err(path.expected("a string", other)),
    }
}

/// An identifier: a string, or a whole number as many systems write their ids.
pub(super) fn id<'n>(node: &'n Node<'_>, path: &Path<'_>) -> Result<Option<&'n str>, Rejection> {
    match node {
        Node::Number(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(number))
        }
        Node::Number(_) => Err(path.invalid("expected a string or a whole number")),
        other => text(other, path),
    }
}

/// `true` or `false`.
pub(super) fn flag(node: &Node<'_>, path: &Path<'_>) -> Result<Option<bool>, Rejection> {
    match node {
        Node::Bool(value) => Ok(Some(*value)),
        node if is_absent(node) => Ok(None),
        other => Err(path.expected("true or false", other)),
    }
}

/// An object's members.
pub(super) fn object<'n, 'a>(
    node: &'n Node<'a>,
    path: &Path<'_>,
) -> Result<&'n [(std::borrow::Cow<'a, str>, Node<'a>)], Rejection> {
    match node {
        Node::Object(members) => Ok(members),
        node if is_absent(node) => Ok(&[]),
        other => Err(path.expected("an object", other)),
    }
}

/// A list's members.
pub(super) fn list<'n, 'a>(
    node: &'n Node<'a>,
    path: &Path<'_>,
) -> Result<&'n [Node<'a>], Rejection> {
    match node {
        Node::List(members) => Ok(members),
        node if is_absent(node) => Ok(&[]),
        other => Err(path.expected("a list", other)),
    }
}

/// Refuses a field that nobody knows, with the nearest one that is known.
pub(super) fn unknown<'k>(
    path: &Path<'_>,
    key: &str,
    known: impl Iterator<Item = &'k str>,
) -> Rejection {
    let nearest = known
        .map(|name| (strsim::damerau_levenshtein(name, key), name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3));
    let message = match nearest {
        Some((_, name)) => format!("unknown field; the nearest known one is {name:?}"),
        None => "unknown field".to_owned(),
    };
    path.reject(RejectionCode::UnknownField, message)
}
