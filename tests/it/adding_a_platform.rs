//! The page on adding a platform stays short, and what it points at is there.

use std::path::Path;

use conversion_relay::destinations::REGISTRY;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn page() -> String {
    std::fs::read_to_string(format!("{ROOT}/docs/adding-a-platform.md")).unwrap()
}

#[test]
fn it_has_at_most_sixty_lines() {
    assert!(page().lines().count() <= 60);
}

#[test]
fn what_it_points_at_is_there() {
    let page = page();
    let quoted = page.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = quoted
        .filter(|text| !text.contains(' '))
        .filter(|text| ["src/", "tests/", "CHANGELOG"].iter().any(|it| text.starts_with(it)))
        .collect();
    assert!(paths.len() > 10, "{paths:?}");
    let is_there = |path: &str| Path::new(ROOT).join(path).exists();
    for path in paths {
        // A platform is a file or a folder, so that a path with its name holds for one at least.
        let held = REGISTRY.iter().any(|platform| is_there(&path.replace("NAME", platform.name)));
        assert!(held, "{path} is not there");
    }
}

/// The fixtures and answers that it asks for are those that the tests ask for.
#[test]
fn it_asks_for_what_the_tests_ask_for() {
    let page = page();
    let tests = std::fs::read_to_string(format!("{ROOT}/tests/it/fixtures.rs")).unwrap();
    for list in ["const CASES", "const RESPONSES"] {
        let names = tests.split(list).nth(1).and_then(|rest| rest.split(';').nth(1)).unwrap();
        for name in names.split('"').skip(1).step_by(2) {
            assert!(page.contains(&format!("`{name}`")), "the page lacks {name}");
        }
    }
}
