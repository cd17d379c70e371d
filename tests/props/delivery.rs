//! Batching loses, repeats and reorders nothing; waits stay within their bounds.

use std::{collections::BTreeSet, time::Duration};

use conversion_relay::{
    config::RetryPolicy,
    delivery::{
        batch::{Batch, Told},
        retry,
    },
    destinations::Outcome,
    queue::Attempt,
};
use jiff::Timestamp;
use proptest::prelude::*;

/// Plays a platform that refuses any call with a culprit in it, and one that is longer than `size`
/// as too large. Returns what each job was told, whether the destination was blamed, and each
/// delivered call.
fn play(
    groups: &[u8],
    culprits: &BTreeSet<usize>,
    at_most: usize,
    size: usize,
    tolerated: bool,
) -> (Vec<Told>, bool, Vec<Vec<usize>>) {
    let names: Vec<String> = groups.iter().map(|group| format!("g{group}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut batch = Batch::new(&names, at_most, tolerated.then(|| "bad".to_owned()));
    let mut delivered = Vec::new();
    let mut calls = 0;
    while let Some(part) = batch.next_part() {
        calls += 1;
        assert!(calls <= 4 * groups.len() + 4, "it ends");
        assert!(part.members.len() <= at_most.max(1));
        assert!(part.members.windows(2).all(|pair| pair.first() < pair.last()), "order is kept");
        let group = part.members.first().map(|member| groups.get(*member));
        assert!(part.members.iter().all(|member| Some(groups.get(*member)) == group));
        let outcome = if part.members.len() > size {
            Outcome::TooLarge
        } else if part.members.iter().any(|member| culprits.contains(member)) {
            Outcome::CulpritUnknown { reason: "bad".to_owned(), message: String::new() }
        } else {
            delivered.push(part.members.clone());
            Outcome::Delivered
        };
        let outcomes = vec![outcome; part.members.len()];
        let members = part.members.clone();
        batch.record(&part, &members, outcomes, &Attempt::default());
    }
    let (told, fault) = batch.finish();
    (told, fault.is_some(), delivered)
}

proptest! {
    #[test]
    fn batching_loses_and_repeats_nothing(
        groups in prop::collection::vec(0u8..3, 0..60),
        culprits in prop::collection::btree_set(0usize..60, 0..6),
        at_most in 1usize..40,
        size in 1usize..40,
        tolerated: bool,
    ) {
        let culprits: BTreeSet<usize> =
            culprits.into_iter().filter(|culprit| *culprit < groups.len()).collect();
        let (told, is_blamed, calls) = play(&groups, &culprits, at_most, size, tolerated);
        prop_assert_eq!(told.len(), groups.len());
        let sent: Vec<usize> = calls.into_iter().flatten().collect();
        let once: BTreeSet<usize> = sent.iter().copied().collect();
        prop_assert_eq!(sent.len(), once.len(), "nothing is delivered twice");
        for (position, told) in told.iter().enumerate() {
            let is_delivered = matches!(told, Told::Outcome(Outcome::Delivered, _));
            prop_assert_eq!(is_delivered, once.contains(&position));
            let is_rejected = matches!(told, Told::Outcome(Outcome::Rejected { .. }, _));
            prop_assert!(!is_rejected || culprits.contains(&position), "only culprits die");
            if !is_blamed {
                prop_assert!(is_delivered || is_rejected, "everything is told");
            }
        }
        prop_assert!(!(is_blamed && tolerated), "a tolerated reason blames nobody");
        prop_assert!(!(is_blamed && culprits.len() < 2), "one culprit blames nobody else");
    }

    #[test]
    fn waits_stay_within_their_bounds(
        first in 1u64..100_000,
        max in 1u64..10_000_000,
        failures: u32,
        asked in prop::option::of(0u64..10_000_000_000),
        chance in prop::num::f64::ANY,
        expires in 0i64..100_000_000_000,
    ) {
        let policy = RetryPolicy {
            first: Duration::from_millis(first),
            max: Duration::from_millis(max),
            attempts: 1,
        };
        let backoff = retry::backoff(&policy, failures, chance);
        prop_assert!(backoff >= retry::shortest(&policy) && backoff <= policy.max);
        let wait = retry::wait(&policy, failures, asked.map(Duration::from_millis), chance);
        prop_assert!(wait >= retry::shortest(&policy) && wait <= retry::longest_asked(&policy));
        let now = Timestamp::from_millisecond(1_000_000).unwrap();
        let expires_at = Timestamp::from_millisecond(expires).unwrap();
        let within = retry::within(wait, now, expires_at);
        prop_assert!(within <= wait && (now + within <= expires_at || within.is_zero()));
    }
}
