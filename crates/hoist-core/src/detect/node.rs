//! Node: packages as the lock file says, then the project's own build, then without what only the build needed.

use super::{DetectError, Package, Plan, Runtime, Step, Tool, Top};
use crate::manifest::tree::{Node, Value};
use crate::manifest::{CommandLine, json};

const NODE: Tool = Tool::Program("node", Package::Debian("nodejs npm"));
const NPM: Tool = Tool::Program("npm", Package::Debian("npm"));

/// A package tool, by its lock file.
struct Manager {
    tool: Tool,
    install: &'static str,
    build: &'static str,
    prune: &'static str,
    start: &'static str,
}

pub(super) fn marker(top: &Top) -> Option<&'static str> {
    top.has("package.json").then_some("package.json")
}

pub(super) fn plan(top: &Top) -> Result<Plan, DetectError> {
    let package = json::parse("package.json", top.text("package.json"))?;
    let (manager, warnings) = manager(top);
    let script = |name| member(member(&package, "scripts")?, name);
    let mut steps = vec![Step::shown(manager.install)];
    if script("build").is_some() {
        steps.push(Step::shown(manager.build));
    }
    if has_entries(member(&package, "devDependencies")) {
        steps.push(Step::shown(manager.prune));
    }
    Ok(Plan {
        tools: vec![NODE, manager.tool],
        steps,
        runtime: Runtime::new(&["node_modules/.bin"], &[("NODE_ENV", "production")]),
        web: script("start").map(|_| CommandLine::Shell(manager.start.to_owned())),
        files: Vec::new(),
        warnings,
    })
}

fn manager(top: &Top) -> (Manager, Vec<String>) {
    let npm = |install| Manager {
        tool: NPM,
        install,
        build: "npm run build",
        prune: "npm prune --omit=dev --no-audit --no-fund",
        start: "npm start",
    };
    let locked = "npm ci --include=dev --no-audit --no-fund";
    if top.has("package-lock.json") || top.has("npm-shrinkwrap.json") {
        return (npm(locked), Vec::new());
    }
    if top.has("yarn.lock") {
        let yarn = Manager {
            tool: Tool::Program("yarn", Package::Npm("yarn")),
            install: "yarn install --frozen-lockfile --production=false",
            build: "yarn run build",
            prune: "yarn install --frozen-lockfile --production=true --ignore-scripts",
            start: "yarn start",
        };
        return (yarn, Vec::new());
    }
    if top.has("pnpm-lock.yaml") {
        let pnpm = Manager {
            tool: Tool::Program("pnpm", Package::Npm("pnpm")),
            install: "pnpm install --frozen-lockfile --prod=false",
            build: "pnpm run build",
            prune: "pnpm prune --prod",
            start: "pnpm start",
        };
        return (pnpm, Vec::new());
    }
    let warning = "no lock file beside package.json: two builds may get different versions (`npm install` writes package-lock.json)";
    (
        npm("npm install --include=dev --no-audit --no-fund"),
        vec![warning.to_owned()],
    )
}

fn member<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == key)?;
    Some(&entry.value)
}

fn has_entries(node: Option<&Node>) -> bool {
    matches!(node.map(|node| &node.value), Some(Value::Map(entries)) if !entries.is_empty())
}
