use super::*;

const MONDAY: i64 = 1_795_400_000_000;
const DAY: i64 = 86_400_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn all(grant: Grant, at_ms: i64) -> State {
    let mut grants = Grants::default();
    Purpose::ALL.iter().for_each(|(purpose, _)| *grants.get_mut(*purpose) = grant);
    State { grants, sources: vec!["consent_mode".to_owned()], at_ms, ..State::default() }
}

fn opted_out(at_ms: i64) -> State {
    let mut state = State { at_ms, sources: vec!["gpc".to_owned()], ..State::default() };
    (state.opt_out.sale, state.opt_out.sharing, state.opt_out.targeted) = (true, true, true);
    state
}

fn choice(states: &[State]) -> Choice {
    let mut choice = Choice::default();
    let of = |state: &State| Choice::of(state, at(state.at_ms));
    states.iter().filter_map(of).for_each(|said| choice.merge(&said));
    choice
}

fn spoken(choice: &Choice, happened: i64, grants: bool) -> State {
    let mut state = State::default();
    let since = at(happened - 30 * DAY);
    choice.speak(&mut state, at(happened), Terms { grants, since });
    state
}

#[test]
fn monday_to_thursday() {
    let monday = choice(&[opted_out(MONDAY)]);
    let tuesday = spoken(&monday, MONDAY + DAY, true);
    assert!(tuesday.opt_out.any());
    assert_eq!(
        (tuesday.sources.as_slice(), tuesday.opt_out.sources.as_slice()),
        (&[MEMORY.to_owned()][..], &[MEMORY.to_owned()][..])
    );
    let mut lifted = monday;
    lifted.merge(&choice(&[all(Grant::Granted, MONDAY + 2 * DAY)]));
    let thursday = spoken(&lifted, MONDAY + 3 * DAY, true);
    assert!(!thursday.opt_out.any());
    assert_eq!(thursday.grants.ad_user_data, Grant::Granted);
    assert!(spoken(&lifted, MONDAY + DAY, true).opt_out.any(), "for later events only");
}

#[test]
fn grants_are_used_where_they_may_and_age() {
    let granted = choice(&[all(Grant::Granted, MONDAY)]);
    assert_eq!(spoken(&granted, MONDAY + DAY, false), State::default());
    assert_eq!(spoken(&granted, MONDAY + 31 * DAY, true), State::default());
    assert_eq!(spoken(&granted, MONDAY + 30 * DAY, true).at_ms, MONDAY);
    let denied = choice(&[all(Grant::Denied, MONDAY)]);
    for (later, grants) in [(DAY, false), (4000 * DAY, true)] {
        assert_eq!(spoken(&denied, MONDAY + later, grants).grants.ad_storage, Grant::Denied);
    }
}

#[test]
fn of_two_words_of_one_moment_the_stricter_counts() {
    for order in [[Grant::Granted, Grant::Denied], [Grant::Denied, Grant::Granted]] {
        let both = choice(&order.map(|grant| all(grant, MONDAY)));
        assert_eq!(spoken(&both, MONDAY + DAY, true).grants.ad_storage, Grant::Denied);
    }
    let late = choice(&[all(Grant::Granted, MONDAY + 1), all(Grant::Denied, MONDAY)]);
    assert_eq!(spoken(&late, MONDAY + DAY, true).grants.ad_storage, Grant::Granted);
}

#[test]
fn what_waits_is_bound_by_what_was_refused_after_it_and_not_freed_again() {
    let said = choice(&[all(Grant::Denied, MONDAY + DAY), all(Grant::Granted, MONDAY + 2 * DAY)]);
    let bound = |mut state: State, happened: i64| {
        said.bind(&mut state, at(happened), happened).then_some(state.grants.ad_storage)
    };
    assert_eq!(bound(all(Grant::Granted, MONDAY), MONDAY), Some(Grant::Denied), "before");
    assert_eq!(bound(all(Grant::Granted, MONDAY + 2 * DAY), MONDAY + 2 * DAY), None, "after");
    let tuesday = all(Grant::Granted, MONDAY + DAY);
    assert_eq!(bound(tuesday.clone(), MONDAY + DAY), None, "of one request each for itself");
    assert_eq!(bound(tuesday, MONDAY + DAY - 1), Some(Grant::Denied), "heard later");
    assert_eq!(bound(State::default(), MONDAY), Some(Grant::Denied), "silent, before");
    assert_eq!(bound(State::default(), MONDAY + 3 * DAY), None, "silent, after the grant");
}

#[test]
fn forgetting_a_grant_does_not_bring_back_the_refusal_that_it_lifted() {
    let mut lifted = choice(&[opted_out(MONDAY), all(Grant::Granted, MONDAY + DAY)]);
    lifted.forget(at(MONDAY + 2 * DAY));
    assert!(lifted.is_empty());
    let mut refused = choice(&[all(Grant::Granted, MONDAY), opted_out(MONDAY + DAY)]);
    refused.forget(at(MONDAY + 2 * DAY));
    assert!(refused.refuses() && refused.words().all(|word| word.yes_ms.is_none()));
}

#[test]
fn a_repeated_word_is_no_news_for_an_hour() {
    let known = choice(&[all(Grant::Granted, MONDAY)]);
    let news = |state: State| known.learns(&choice(&[state]));
    assert!(!news(all(Grant::Granted, MONDAY + 1000)) && !news(all(Grant::Granted, 1)));
    assert!(news(all(Grant::Granted, MONDAY + REFRESH_MS)));
    assert!(news(all(Grant::Denied, MONDAY + 1)) && news(opted_out(MONDAY)));
}

#[test]
fn an_opt_out_beside_grants_is_not_lifted_by_them() {
    let mut state = all(Grant::Granted, MONDAY + DAY);
    state.opt_out.sale = true;
    let said = choice(&[opted_out(MONDAY), state]);
    let spoken = spoken(&said, MONDAY + 2 * DAY, true);
    assert!(spoken.opt_out.sale && spoken.opt_out.sharing && spoken.opt_out.targeted);
}

#[test]
fn what_named_vendors_lifts_a_refusal_and_grants_no_other() {
    let mut named = choice(&[all(Grant::Granted, MONDAY + DAY)]);
    named.words_mut().for_each(|word| word.to_vendors = true);
    let mut said = choice(&[all(Grant::Denied, MONDAY)]);
    said.merge(&named);
    assert_eq!(spoken(&said, MONDAY + 2 * DAY, true), State::default());
    said.merge(&choice(&[all(Grant::Granted, MONDAY + DAY)]));
    assert_eq!(spoken(&said, MONDAY + 2 * DAY, true), State::default(), "of equals the stricter");
    said.merge(&choice(&[all(Grant::Granted, MONDAY + 2 * DAY)]));
    assert_eq!(spoken(&said, MONDAY + 2 * DAY, true).grants.ad_storage, Grant::Granted);
}

#[test]
fn of_vendors_the_newer_word_counts_and_of_the_same_moment_the_stricter() {
    let ids = |tcf| VendorIds { tcf: Some(tcf), ac: None };
    let said = |at_ms, to: &[(u16, Grant)]| {
        let state = all(Grant::Granted, at_ms);
        let mut choice = choice(std::slice::from_ref(&state));
        choice.words_mut().for_each(|word| word.to_vendors = word.yes_ms.is_some());
        let grants = |grant| all(grant, at_ms).grants;
        choice.to_vendors(&state, to.iter().map(|(id, grant)| (ids(*id), grants(*grant))))
    };
    let (yes, no) = (Grant::Granted, Grant::Denied);
    let mut both = said(MONDAY, &[(1, yes), (2, yes), (3, yes)]);
    let other = said(MONDAY, &[(1, yes), (2, no)]);
    assert!(both.learns(&other));
    both.merge(&other);
    assert_eq!(both.vendors, said(MONDAY, &[(1, yes), (2, no)]).vendors);
    let newer = said(MONDAY + DAY, &[(2, yes)]);
    assert!(both.learns(&newer) && !newer.learns(&both));
    both.merge(&newer);
    assert_eq!(both, newer);
    both.merge(&said(MONDAY, &[(1, yes)]));
    assert_eq!(both, newer, "what is older is over");
    both.forget(at(MONDAY + 2 * DAY));
    assert!(both.is_empty());
    let mut state = State::default();
    let terms = Terms { grants: true, since: at(MONDAY) };
    newer.speak(&mut state, at(MONDAY + 2 * DAY), terms);
    assert_eq!((state.grants.ad_storage, state.at_ms), (yes, MONDAY + DAY));
    let rules = crate::consent::Rules::deny_all();
    let to = |id| state.again(&rules, ids(id)).grants.ad_storage;
    assert_eq!((to(2), to(1)), (yes, no), "of a vendor that was not asked of nobody knows");
    state.forget_grants();
    assert_eq!(state.again(&rules, ids(2)).grants.ad_storage, Grant::NotAsked);
}

#[test]
fn doors_and_sources_may_use_grants() {
    let memory =
        Memory { use_for: vec!["crm".to_owned(), "door:webhook".to_owned()], ..Memory::default() };
    let may = |source, door| Terms::of(&memory, source, door, at(MONDAY)).grants;
    assert!(may("crm", None) && may("website", Some("webhook")));
    assert!(!may("website", None) && !may("website", Some("import")) && !may("webhook", None));
}
