//! What a panic says: where it happened, and a message only where the source itself holds every
//! word of it. A message that was put together may hold anything: identity, or a secret.

use std::{any::Any, panic};

/// Replaces the standard hook, for every thread.
pub(super) fn keep_quiet() {
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = panic.location().map_or_else(|| "?".to_owned(), ToString::to_string);
        let words = words(panic.payload());
        tracing::error!(thread = name, place, "a part of the relay panicked: {words}");
        // Where nothing is logged yet, or nothing is logged at all.
        eprintln!("thread {name:?} panicked at {place}: {words}");
    }));
}

/// A literal of the source is `&'static str`; what was put together is a `String`.
fn words(payload: &(dyn Any + Send)) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(its message may hold data: withheld)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_source_are_shown() {
        let of = |call: fn()| *panic::catch_unwind(call).unwrap_err().downcast::<String>().unwrap();
        let shown = |call: fn()| words(&*panic::catch_unwind(call).unwrap_err());
        assert_eq!(shown(|| panic!("a literal")), "a literal");
        let secret = || panic!("{}", std::hint::black_box("jane@example.com"));
        assert_eq!(of(secret), "jane@example.com", "it is in the payload");
        assert!(!shown(secret).contains("jane"));
        assert!(
            !shown(|| _ = "secret".parse::<u8>().map_err(|_| "secret").unwrap()).contains("secret")
        );
    }
}
