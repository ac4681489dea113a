//! Every key that a manifest may have, and what becomes of it: read, or accepted with the reason why nothing happens.

use super::Dialect;

/// A key of one level of the manifest.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) act: Act,
}

/// What becomes of a key.
pub(super) enum Act {
    /// It is read, in both YAML dialects.
    Read,
    /// It is read in `hoist.yml`; `convox.yml` does not know it.
    ReadInHoist,
    /// It is accepted and nothing is done about it; the text says why.
    Later(&'static str),
}

impl Key {
    pub(super) fn known_to(&self, dialect: Dialect) -> bool {
        !matches!(self.act, Act::ReadInHoist) || dialect == Dialect::Hoist
    }
}

const fn read(name: &'static str) -> Key {
    Key {
        name,
        act: Act::Read,
    }
}

const fn hoist(name: &'static str) -> Key {
    Key {
        name,
        act: Act::ReadInHoist,
    }
}

const fn later(name: &'static str, reason: &'static str) -> Key {
    Key {
        name,
        act: Act::Later(reason),
    }
}

const NOT_RUN: &str = "not run yet";
const CLUSTER_ONLY: &str = "only means something on a cluster";
const IMAGES_ONLY: &str = "only means something for images, which this engine has none of";
const NO_AUTOSCALE: &str = "the number of processes is not changed automatically yet";

pub(super) const TOP: &[Key] = &[
    read("services"),
    read("environment"),
    hoist("build"),
    hoist("release"),
    later("timers", NOT_RUN),
    later(
        "resources",
        "not run yet: set the variable that a resource would bring with `hoist env set`",
    ),
    later("labels", CLUSTER_ONLY),
    later("configs", "files are not mounted yet"),
    later("balancers", "only HTTP is routed"),
    later("params", "has no meaning here"),
    later("appSettings", "has no meaning here"),
    later("budget", "has no meaning here"),
];

pub(super) const BUILD: &[Key] = &[
    read("command"),
    hoist("detect"),
    hoist("language"),
    later("path", "the whole source directory is built"),
    later("manifest", IMAGES_ONLY),
    later("args", IMAGES_ONLY),
];

pub(super) const SERVICE: &[Key] = &[
    read("command"),
    read("deployment"),
    read("domain"),
    read("drain"),
    read("environment"),
    read("health"),
    read("image"),
    read("internal"),
    read("liveness"),
    read("port"),
    read("ports"),
    read("scale"),
    read("singleton"),
    hoist("startup"),
    read("startupProbe"),
    read("termination"),
    read("timeout"),
    read("volumes"),
    // Taken apart by the service's reader, because what it means depends on its value.
    read("build"),
    read("agent"),
    later("accessControl", CLUSTER_ONLY),
    later("annotations", CLUSTER_ONLY),
    later("certificate", "certificates are not managed yet"),
    later("configMounts", "files are not mounted yet"),
    later("disableHostUsers", CLUSTER_ONLY),
    later("dnsConfig", CLUSTER_ONLY),
    later(
        "grpcHealthEnabled",
        "gRPC health checks are not made yet: the port must accept",
    ),
    later("imagePullSecrets", IMAGES_ONLY),
    later("ingressAnnotations", CLUSTER_ONLY),
    later("init", "every process has an init already"),
    later("initContainer", "not run yet: use the release command"),
    later("internalRouter", "there is one router"),
    later("labels", CLUSTER_ONLY),
    later("lifecycle", "hooks are not run yet"),
    later(
        "links",
        "set the other service's address with `hoist env set`",
    ),
    later("nlb", "only HTTP is routed"),
    later("nodeAffinityLabels", CLUSTER_ONLY),
    later("nodeSelectorLabels", CLUSTER_ONLY),
    later("policies", CLUSTER_ONLY),
    later("privileged", "no process is privileged here"),
    later(
        "resources",
        "not run yet: set the variable that it would bring with `hoist env set`",
    ),
    later("securityContext", "processes run unprivileged already"),
    later("sticky", "requests go to any process"),
    later("tags", CLUSTER_ONLY),
    later("test", NOT_RUN),
    later("tls", "the router does not redirect yet"),
    later("volumeOptions", CLUSTER_ONLY),
    later("whitelist", "requests are not filtered by address yet"),
];

pub(super) const HEALTH: &[Key] = &[
    read("path"),
    hoist("command"),
    read("interval"),
    read("grace"),
    read("timeout"),
    read("disable"),
    later("port", "the main port is checked"),
];

pub(super) const STARTUP: &[Key] = &[
    read("path"),
    read("command"),
    read("grace"),
    read("interval"),
    read("timeout"),
];

pub(super) const STARTUP_PROBE: &[Key] = &[
    read("path"),
    hoist("command"),
    read("tcpSocketPort"),
    read("grace"),
    read("interval"),
    read("timeout"),
    read("failureThreshold"),
    later("successThreshold", "one good answer is enough"),
    later("port", "the main port is checked"),
];

pub(super) const LIVENESS: &[Key] = &[
    read("path"),
    hoist("command"),
    read("grace"),
    read("interval"),
    read("timeout"),
    read("successThreshold"),
    read("failureThreshold"),
    later("port", "the main port is checked"),
];

pub(super) const SCALE: &[Key] = &[
    read("count"),
    read("min"),
    read("max"),
    read("cpu"),
    read("memory"),
    read("limit"),
    later("gpu", CLUSTER_ONLY),
    later("targets", NO_AUTOSCALE),
    later("autoscale", NO_AUTOSCALE),
    later("keda", CLUSTER_ONLY),
    later("vpa", CLUSTER_ONLY),
    later("cooldown", NO_AUTOSCALE),
];

pub(super) const RANGE: &[Key] = &[read("min"), read("max")];
pub(super) const LIMIT: &[Key] = &[read("cpu"), read("memory")];
pub(super) const DEPLOYMENT: &[Key] = &[read("minimum"), read("maximum")];
pub(super) const TERMINATION: &[Key] = &[read("grace")];
pub(super) const PORT: &[Key] = &[read("port"), read("scheme")];
pub(super) const VOLUME: &[Key] = &[read("name"), read("path"), read("exclusive")];
pub(super) const RELEASE: &[Key] = &[read("command")];

/// The top level of `app.json`. What only describes an app to people is read and needs no action.
pub(super) const APP_JSON: &[Key] = &[
    read("formation"),
    read("healthchecks"),
    read("env"),
    read("scripts"),
    read("name"),
    read("description"),
    read("keywords"),
    read("logo"),
    read("repository"),
    read("website"),
    read("success_url"),
    read("$schema"),
    later("cron", NOT_RUN),
    later(
        "addons",
        "set the variable that one would bring with `hoist env set`",
    ),
    later(
        "buildpacks",
        "the language is detected by the files of the source",
    ),
    later("environments", "there are no review apps"),
    later("image", IMAGES_ONLY),
    later("stack", IMAGES_ONLY),
];

pub(super) const FORMATION: &[Key] = &[
    read("quantity"),
    later("size", "set limits with `hoist scale`"),
    later(
        "max_parallel",
        "all new processes start at once, beside the old",
    ),
];

pub(super) const APP_CHECK: &[Key] = &[
    read("type"),
    read("name"),
    read("path"),
    read("command"),
    read("listening"),
    read("attempts"),
    read("timeout"),
    read("wait"),
    read("initialDelay"),
    later(
        "uptime",
        "a process without a port is ready when it has run for a second",
    ),
    later("content", "the status of the answer decides"),
    later(
        "httpHeaders",
        "checks are sent without headers of their own",
    ),
    later("port", "$PORT is checked"),
    later("scheme", "checks are plain HTTP"),
    later("warn", "a check that fails keeps the release from serving"),
    later("onFailure", "hooks are not run yet"),
];

pub(super) const APP_ENV: &[Key] = &[
    read("description"),
    read("value"),
    read("required"),
    read("generator"),
    read("sync"),
];

pub(super) const SCRIPTS: &[Key] = &[
    read("dokku"),
    read("postdeploy"),
    later("test", NOT_RUN),
    later("test-setup", NOT_RUN),
    later("pr-predestroy", "there are no review apps"),
];

pub(super) const DOKKU_SCRIPTS: &[Key] = &[
    read("predeploy"),
    read("postdeploy"),
    later("predestroy", NOT_RUN),
];

/// The known key that a mistyped one is nearest to, if any is near.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const FAR: usize = 3;
    let lower = typed.to_ascii_lowercase();
    known
        .map(|name| {
            (
                strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance < FAR.min(name.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_key() {
        let known = || SERVICE.iter().map(|key| key.name);
        assert_eq!(nearest("prot", known()), Some("port"));
        assert_eq!(nearest("Command", known()), Some("command"));
        assert_eq!(nearest("enviroment", known()), Some("environment"));
        assert_eq!(nearest("kubernetes", known()), None);
    }
}
