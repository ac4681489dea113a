//! Go: every program of the module into `bin`.

use super::{Package, Plan, Runtime, Step, Tool, Top};
use crate::manifest::CommandLine;

pub(super) fn marker(top: &Top) -> Option<&'static str> {
    top.has("go.mod").then_some("go.mod")
}

pub(super) fn plan(top: &Top) -> Plan {
    // A program at the top is named as its module; those in `cmd` are several, and nothing says which one serves.
    let program = top.any(|name| name.ends_with(".go")).then(|| program(top));
    Plan {
        tools: vec![Tool::Program("go", Package::Debian("golang-go"))],
        steps: vec![
            // Its settings and counts belong into no slug.
            Step::quiet("mkdir -p bin\nexport HOME=\"$HOIST_BUILD_CACHE\""),
            Step::shown("go build -buildvcs=false -o bin/ ./..."),
        ],
        runtime: Runtime::new(&["bin"], &[]),
        web: program.flatten().map(CommandLine::Shell),
        ..Plan::default()
    }
}

fn program(top: &Top) -> Option<String> {
    let module = top
        .text("go.mod")
        .lines()
        .find_map(|line| line.trim().strip_prefix("module "))?;
    let module = module
        .split("//")
        .next()
        .unwrap_or_default()
        .trim()
        .trim_matches('"');
    let version = |part: &str| {
        let number = part.strip_prefix('v');
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let name = module.rsplit('/').find(|part| !version(part))?;
    plain(name).then(|| format!("bin/{name}"))
}

/// Whether a name means nothing else to a shell.
pub(super) fn plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
