//! Files for browsers and nothing else: served as they are.

use super::{Package, Plan, Tool, Top};
use crate::manifest::CommandLine;

/// Where the server goes in the slug.
const SERVER: &str = ".hoist/serve.py";

pub(super) fn marker(top: &Top) -> Option<&'static str> {
    ["public/index.html", "index.html"]
        .into_iter()
        .find(|name| top.has(name))
}

pub(super) fn plan(top: &Top) -> Plan {
    let directory = if top.has("public/index.html") {
        "public"
    } else {
        "."
    };
    Plan {
        tools: vec![Tool::Program("python3", Package::Debian("python3-minimal"))],
        web: Some(CommandLine::Shell(format!(
            "exec python3 {SERVER} {directory}"
        ))),
        files: vec![(SERVER, include_str!("serve.py"))],
        ..Plan::default()
    }
}
