//! The reference, `docs/guide/hoist.reference.yml`, is read as users' files are, and must have every key that is known.
//!
//! Its last part, the keys that nothing is done about, is written by the test itself with `HOIST_BLESS=1`.

use super::keys::{self, Act, Key};
use super::{Dialect, read};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/guide/hoist.reference.yml"
);
/// Begins the part that is written by the test.
const LATER: &str = "# Keys that are known and not acted on.";

/// Every table of `keys`, and where in a manifest it is.
const TABLES: &[(&str, &[Key])] = &[
    ("", keys::TOP),
    ("build.", keys::BUILD),
    ("release.", keys::RELEASE),
    ("services.NAME.", keys::SERVICE),
    ("services.NAME.health.", keys::HEALTH),
    ("services.NAME.startup.", keys::STARTUP),
    ("services.NAME.startupProbe.", keys::STARTUP_PROBE),
    ("services.NAME.liveness.", keys::LIVENESS),
    ("services.NAME.scale.", keys::SCALE),
    ("services.NAME.scale.count.", keys::RANGE),
    ("services.NAME.scale.limit.", keys::LIMIT),
    ("services.NAME.deployment.", keys::DEPLOYMENT),
    ("services.NAME.termination.", keys::TERMINATION),
    ("services.NAME.port.", keys::PORT),
    ("services.NAME.volumes.", keys::VOLUME),
];

fn text() -> String {
    std::fs::read_to_string(FILE).expect("the reference is there")
}

#[test]
fn it_reads_without_a_warning() {
    let text = text();
    let (manifest, warnings) =
        read(Dialect::Hoist, "hoist.reference.yml", &text).unwrap_or_else(|error| {
            panic!("{error}\n{}", error.snippet().unwrap_or_default());
        });
    assert_eq!(warnings, []);
    assert!(manifest.service_named("web").is_some());
}

#[test]
fn every_key_that_is_read_is_in_it() {
    let text = text();
    let shown = |key: &str| {
        text.lines().any(|line| {
            let line = line
                .trim_start()
                .trim_start_matches("# ")
                .trim_start_matches("- ");
            line.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(':'))
        })
    };
    for (place, table) in TABLES {
        for key in *table {
            if !matches!(key.act, Act::Later(_)) {
                assert!(
                    shown(key.name),
                    "`{place}{}` is not in {FILE}: document it there",
                    key.name
                );
            }
        }
    }
}

#[test]
fn every_table_of_keys_is_looked_at() {
    // From here on they are of `app.json`.
    let (tables, _) = include_str!("../keys.rs")
        .split_once("const APP_JSON")
        .expect("two files have tables");
    let tables = tables.matches(": &[Key] = ").count();
    assert_eq!(
        tables,
        TABLES.len(),
        "list the new table in TABLES of this file"
    );
}

#[test]
fn the_keys_that_nothing_is_done_about_are_listed() {
    let text = text();
    let (before, _) = text.split_once(LATER).expect("the last part");
    let mut wanted =
        format!("{before}{LATER} Each that is written warns with its line and the reason.\n#\n");
    for (place, table) in TABLES {
        for key in *table {
            if let Act::Later(reason) = key.act {
                wanted.push_str(&format!("#   {place}{}: {reason}\n", key.name));
            }
        }
    }
    if std::env::var_os("HOIST_BLESS").is_some() {
        std::fs::write(FILE, &wanted).expect("written");
    } else {
        assert_eq!(text, wanted, "HOIST_BLESS=1 writes it");
    }
}
