use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn sight(look: Look) -> Sight {
    Sight {
        destinations: BTreeMap::from([("meta".to_owned(), look)]),
        disk: (1 << 34, 1 << 34),
        disk_free: 1 << 40,
        is_open: true,
        ..Sight::default()
    }
}

fn told(notices: &[Notice]) -> Vec<(&'static str, &str, bool)> {
    notices
        .iter()
        .map(|one| (one.active.alert.name(), one.active.subject.as_str(), one.is_over))
        .collect()
}

fn unauthorized() -> Look {
    let fault = Fault {
        is_authorization: true,
        reason: "190".to_owned(),
        message: "Error validating access token".to_owned(),
    };
    Look { fault: Some(fault), ..Look::default() }
}

#[test]
fn each_fires_once_and_says_when_it_is_over() {
    let mut watch = Watch::default();
    let settings = AlertSettings::default();
    let notices = watch.look(&sight(unauthorized()), &settings, at(0));
    assert_eq!(told(&notices), [("authorization_failing", "meta", false)]);
    let text = notices[0].text();
    assert!(
        text.contains("190") && text.contains("access token") && text.contains("To do"),
        "{text}"
    );
    let body = notices[0].to_json();
    assert_eq!(
        (&body["state"], &body["destination"]),
        (&json!("firing"), &json!("meta")),
        "{body}"
    );
    for second in 1..100 {
        assert_eq!(watch.look(&sight(unauthorized()), &settings, at(second)), []);
    }
    assert_eq!(watch.active().len(), 1);
    assert_eq!(watch.look(&sight(Look::default()), &settings, at(101)), [], "it may come back");
    let notices = watch.look(&sight(Look::default()), &settings, at(120));
    assert_eq!(told(&notices), [("authorization_failing", "meta", true)]);
    assert!(notices[0].text().starts_with("OVER"), "{}", notices[0].text());
    assert!(watch.active().is_empty());
    let again = watch.look(&sight(unauthorized()), &settings, at(200));
    assert_eq!(told(&again), [("authorization_failing", "meta", false)], "a new one is told");
}

#[test]
fn a_restart_tells_nothing_twice_and_forgets_nothing() {
    let settings = AlertSettings::default();
    let mut watch = Watch::default();
    watch.look(&sight(unauthorized()), &settings, at(0));
    let kept = watch.keep();
    let mut watch = Watch::resume(Some(&kept), at(5_000));
    assert_eq!(watch.look(&sight(unauthorized()), &settings, at(5_001)), []);
    let mut watch = Watch::resume(Some(&kept), at(5_000));
    assert_eq!(watch.look(&sight(Look::default()), &settings, at(5_001)), []);
    let over = watch.look(&sight(Look::default()), &settings, at(5_020));
    assert_eq!(told(&over), [("authorization_failing", "meta", true)]);
    for odd in [&b""[..], b"{", b"{\"active\":[{}]}", b"[]"] {
        assert!(Watch::resume(Some(odd), at(0)).active().is_empty());
    }
}

#[test]
fn ages_versions_and_disks_have_their_limits() {
    let settings = AlertSettings::default();
    let fires = |sight: &Sight| told_once(sight, &settings);
    let hour = Duration::from_secs(3_600);
    let waits = |oldest| sight(Look { oldest: Some(oldest), ..Look::default() });
    assert_eq!(fires(&waits(hour)), ["oldest_age"]);
    assert_eq!(fires(&waits(hour - Duration::from_secs(1))), [""; 0]);
    let version = |left| sight(Look { version: Some(("v9".to_owned(), left)), ..Look::default() });
    assert_eq!(fires(&version(30)), ["api_version_ending"]);
    assert_eq!(fires(&version(-3)), ["api_version_ending"]);
    assert_eq!(fires(&version(31)), [""; 0]);
    assert_eq!(fires(&sight(Look { expiring: 3, ..Look::default() })), ["expiring_soon"]);
    assert_eq!(fires(&sight(Look { shed: 3, ..Look::default() })), ["backlog_full"]);
    let mut full = sight(Look::default());
    full.disk.0 = full.disk.1 / 11;
    assert_eq!(fires(&full), ["disk_reserve"]);
    let mut full = sight(Look::default());
    full.disk_free = 1 << 20;
    assert_eq!(fires(&full), ["disk_reserve"]);
    let mut closed = sight(Look::default());
    closed.is_open = false;
    assert_eq!(fires(&closed), ["disk_reserve"]);
}

fn told_once(sight: &Sight, settings: &AlertSettings) -> Vec<&'static str> {
    let notices = Watch::default().look(sight, settings, at(0));
    notices.iter().map(|one| one.active.alert.name()).collect()
}

#[test]
fn dead_letters_fire_by_their_share_of_the_last_while() {
    let settings = AlertSettings::default();
    let mut watch = Watch::default();
    let look = |dead, delivered| sight(Look { dead, delivered, ..Look::default() });
    // What died before is none of this while's.
    assert_eq!(watch.look(&look(500, 500), &settings, at(0)), []);
    assert_eq!(watch.look(&look(509, 500), &settings, at(60)), [], "too few to tell");
    let notices = watch.look(&look(510, 500), &settings, at(120));
    assert_eq!(told(&notices), [("dead_letter_rate", "meta", false)]);
    // A replay takes dead letters back, and time passes.
    let notices: Vec<Notice> = (3..60)
        .flat_map(|minute| watch.look(&look(0, 2_000 + minute), &settings, at(minute as i64 * 60)))
        .collect();
    assert_eq!(told(&notices), [("dead_letter_rate", "meta", true)]);
}

#[test]
fn a_jump_of_held_events_is_told_a_steady_share_is_not() {
    let settings = AlertSettings::default();
    let mut watch = Watch::default();
    let (mut decided, mut held) = (0, 0);
    let mut notices = Vec::new();
    for minute in 0..120 {
        decided += 100;
        held += if minute < 60 { 40 } else { 90 };
        let look = Look { decided, held, ..Look::default() };
        notices.extend(watch.look(&sight(look), &settings, at(minute * 60)));
    }
    assert_eq!(told(&notices)[0], ("held_jump", "meta", false));
    assert!(notices[0].active.since >= at(60 * 60), "{:?}", notices[0]);
    let message = &notices[0].active.message;
    assert!(message.contains("usually 40%"), "{message}");
}

#[test]
fn an_event_that_stopped_coming_is_told_and_a_quiet_night_is_not() {
    let settings = AlertSettings::default();
    let mut watch = Watch::default();
    let mut count = 0;
    let mut notices = Vec::new();
    // Three days of a shop that sleeps from midnight to six, then nothing more.
    for minute in 0..4 * 24 * 60 {
        let hour = minute / 60 % 24;
        if minute < 3 * 24 * 60 + 12 * 60 && hour >= 6 {
            count += 2;
        }
        let mut sight = sight(Look::default());
        sight.events.insert("purchase".to_owned(), count);
        let now = Timestamp::from_second(1_790_035_200 + minute * 60).unwrap();
        notices.extend(watch.look(&sight, &settings, now).into_iter().map(|one| (minute, one)));
    }
    let [(minute, notice)] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!(notice.active.alert, Kind::EventStopped);
    assert_eq!(*minute, 3 * 24 * 60 + 14 * 60 - 1, "two hours after the last one");
    assert!(notice.active.message.contains("2h"), "{}", notice.active.message);
    let mut back = sight(Look::default());
    back.events.insert("purchase".to_owned(), count + 1);
    let later = |minute: i64| Timestamp::from_second(1_790_035_200 + minute * 60).unwrap();
    let over = watch.look(&back, &settings, later(4 * 24 * 60));
    assert_eq!(told(&over), [("event_stopped", "purchase", true)]);
}

#[test]
fn a_clock_that_steps_makes_no_storm() {
    let settings = AlertSettings::default();
    let mut watch = Watch::default();
    let steps = [0, 60, -86_400, -86_340, 86_400 * 30, 86_400 * 30 + 60, 0, 60];
    let mut all = 0;
    for (n, second) in steps.into_iter().enumerate() {
        let mut sight = sight(Look { decided: 10 * n as u64, ..Look::default() });
        sight.events.insert("purchase".to_owned(), 10 * n as u64);
        all += watch.look(&sight, &settings, at(second)).len();
    }
    assert_eq!(all, 0);
}

#[test]
fn a_full_queue_is_told_of_once_and_so_is_its_end() {
    let mut watch = Watch::default();
    let settings = AlertSettings::default();
    let full =
        Sight { full: Some("10 jobs are pending in all".to_owned()), ..sight(Look::default()) };
    let notices = watch.look(&full, &settings, at(0));
    assert_eq!(told(&notices), [("backlog_full", "", false)]);
    let body = notices[0].to_json();
    assert_eq!((&body["queue"], body.get("destination")), (&json!(""), None), "{body}");
    let text = notices[0].text();
    assert!(text.contains("10 jobs") && text.contains("503"), "{text}");
    assert_eq!(watch.look(&full, &settings, at(2)), []);
    let notices = watch.look(&sight(Look::default()), &settings, at(20));
    assert_eq!(told(&notices), [("backlog_full", "", true)]);
    // Where it is the disk, that is what is told.
    let disk = Sight { disk: (0, 1 << 34), ..full };
    assert_eq!(told(&watch.look(&disk, &settings, at(40))), [("disk_reserve", "", false)]);
}
