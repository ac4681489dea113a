//! Rust: a release build whose target directory lies in the cache, its programs copied into `bin`.

use super::{Package, Plan, Runtime, Step, Tool, Top, go, toml_value};
use crate::manifest::CommandLine;

pub(super) fn marker(top: &Top) -> Option<&'static str> {
    top.has("Cargo.toml").then_some("Cargo.toml")
}

pub(super) fn plan(top: &Top) -> Plan {
    let locked = top.has("Cargo.lock");
    let warning = "no Cargo.lock beside Cargo.toml: two builds may get different versions (`cargo generate-lockfile` writes it)";
    let name = toml_value(top.text("Cargo.toml"), "[package]", "name");
    let web = name
        .filter(|name| top.has("src/main.rs") && go::plain(name))
        .map(|name| CommandLine::Shell(format!("bin/{name}")));
    Plan {
        tools: vec![
            Tool::Program("cargo", Package::Debian("cargo")),
            Tool::Program("cc", Package::Debian("gcc libc6-dev")),
        ],
        steps: vec![
            // Programs that the source no longer has would stay there; cargo puts the others back.
            Step::quiet(
                "mkdir -p bin\nexport CARGO_TARGET_DIR=\"$HOIST_BUILD_CACHE/target\"\n\
                 programs() { find \"$CARGO_TARGET_DIR/release\" -maxdepth 1 -type f -perm -100 ! -name '*.so' \"$@\"; }\n\
                 if [ -d \"$CARGO_TARGET_DIR/release\" ]; then programs -delete; fi",
            ),
            Step::shown(if locked {
                "cargo build --release --locked"
            } else {
                "cargo build --release"
            }),
            Step::quiet("programs -exec cp {} bin/ ';'"),
        ],
        runtime: Runtime::new(&["bin"], &[]),
        web,
        warnings: (!locked).then(|| warning.to_owned()).into_iter().collect(),
        ..Plan::default()
    }
}
