//! What each loop last did, every wait and retry with its limit, and what isolation this machine gives.

mod limits;
mod loops;
mod retries;

use hoist_api::types::{Doctor, DoctorItem, DoctorSection, Health};
use hoist_core::model::{Millis, Timestamp};
use hoist_core::plan::explain;

use crate::control::LoopState;
use crate::rack::Rack;
use crate::store::BuildStatus;

/// Looks at everything that is cheap to look at.
pub(crate) async fn examine(rack: &Rack) -> Doctor {
    let state = rack.controller.state();
    let mut waits = waiting(rack, &state);
    waits.extend(builds(rack).await);
    waits.extend(one_offs(rack));
    if waits.is_empty() {
        waits.push(ok("apps", "nothing is in flight"));
    }
    Doctor {
        sections: vec![
            loops::examine(rack, &state),
            section("waiting", waits),
            retries::examine(rack, &state),
            router(&state),
            isolation(rack),
            section("limits", limits::items()),
        ],
    }
}

fn ok(name: impl Into<String>, detail: impl Into<String>) -> DoctorItem {
    item(name, Health::Ok, detail)
}

fn item(name: impl Into<String>, state: Health, detail: impl Into<String>) -> DoctorItem {
    DoctorItem {
        name: name.into(),
        state,
        detail: detail.into(),
    }
}

fn section(name: &str, items: Vec<DoctorItem>) -> DoctorSection {
    DoctorSection {
        name: name.to_owned(),
        items,
    }
}

/// A length of time for people: no more than they want to know.
fn span(length: Millis) -> String {
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match length.0 {
        ms if ms > 2 * DAY => format!("{} d", ms / DAY),
        ms if ms > 2 * HOUR => format!("{} h", ms / HOUR),
        ms if ms > 2 * MINUTE => format!("{} min", ms / MINUTE),
        _ => length.to_string(),
    }
}

fn count(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

fn times(times: u32) -> String {
    match times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    }
}

fn waiting(rack: &Rack, state: &LoopState) -> Vec<DoctorItem> {
    let now = rack.clock.now();
    let waits = state.waiting.iter().flat_map(|(app, on)| {
        on.iter().map(move |wait| {
            let limit = limit_words(explain::waits_until(wait), now);
            let what = explain::explain_waiting(wait);
            ok(app.to_string(), format!("waits for {what} ({limit})"))
        })
    });
    waits.collect()
}

/// One-offs that run, and how long they still may.
fn one_offs(rack: &Rack) -> Vec<DoctorItem> {
    let apps = rack.store.snapshot();
    let running = apps.apps.keys().flat_map(|app| rack.runs.of(app));
    running
        .map(|record| {
            let until = record.created + hoist_core::limits::ONE_OFF_LIMIT;
            let limit = limit_words(Some(until), crate::clock::wall());
            let detail = format!("runs {} of `hoist run` ({limit})", record.id);
            ok(record.app.to_string(), detail)
        })
        .collect()
}

/// How long something still may take.
fn limit_words(until: Option<Timestamp>, now: Timestamp) -> String {
    match until {
        None => "no limit of its own".to_owned(),
        Some(until) if until <= now => "its limit is over".to_owned(),
        Some(until) => format!("{} left", span(until.since(now))),
    }
}

/// Builds that run, and how long they still may.
async fn builds(rack: &Rack) -> Vec<DoctorItem> {
    let running = match rack.store.running_builds().await {
        Ok(running) => running,
        Err(error) => {
            let why = crate::error::with_causes(&error);
            return vec![item("builds", Health::Bad, why)];
        }
    };
    let limit = crate::build::BUILD_LIMIT.as_millis() as u64;
    let running = running
        .into_iter()
        .filter(|build| build.status == BuildStatus::Running);
    running
        .map(|build| {
            let until = Timestamp(build.created.0 + limit);
            let limit = limit_words(Some(until), crate::clock::wall());
            ok(
                build.app.to_string(),
                format!("builds {} ({limit})", build.id),
            )
        })
        .collect()
}

fn router(state: &LoopState) -> DoctorSection {
    let items = match (&state.router_error, &state.router_report) {
        (Some(error), _) => vec![item("router", Health::Bad, error.as_str())],
        (None, None) => vec![item("router", Health::Warn, "not looked at yet")],
        (None, Some(report)) => {
            let mut items = vec![item(
                "router",
                Health::Ok,
                format!(
                    "process {} serves table {} on {}: {} requests on {} connections since it started",
                    report.pid, report.version, report.listen, report.requests, report.connections
                ),
            )];
            if report.access_lines_dropped > 0 {
                let detail = format!("{} access lines were dropped", report.access_lines_dropped);
                items.push(item("access log", Health::Warn, detail));
            }
            items
        }
    };
    section("router", items)
}

fn isolation(rack: &Rack) -> DoctorSection {
    let capabilities = rack.engine.capabilities();
    let mut items: Vec<_> = capabilities
        .isolation
        .iter()
        .map(|kind| {
            let state = if kind.present {
                Health::Ok
            } else {
                Health::Warn
            };
            let detail = match mend(kind.kind).filter(|_| !kind.present) {
                Some(mend) => format!("{}; {mend}", kind.by),
                None => kind.by.clone(),
            };
            item(kind.kind, state, detail)
        })
        .collect();
    if capabilities.engine == "local" && !items.iter().any(|item| item.name == "network") {
        let detail =
            "local apps share the machine's network: what one listens on, others can reach";
        items.push(item("network", Health::Warn, detail));
    }
    section("isolation", items)
}

/// What gives a kind of isolation where it is missing.
fn mend(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "pid" | "mount" | "ipc" | "uts" | "layer" => {
            "user namespaces give it to an ordinary user: `sysctl kernel.unprivileged_userns_clone=1`, and on Ubuntu \
             `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        }
        "memory" | "cpu" | "pids" => {
            "run as root, or as a user that cgroups are delegated to: `systemd-run --user -p Delegate=yes hoist rack start`"
        }
        "user" => {
            "apps of an ordinary user run as that user; a rack of root gives each app its own"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_says_how_long_it_may_take() {
        let words = |until| limit_words(until, Timestamp(10_000));
        assert_eq!(words(None), "no limit of its own");
        assert_eq!(words(Some(Timestamp(9_000))), "its limit is over");
        assert_eq!(words(Some(Timestamp(40_000))), "30 s left");
        assert_eq!(words(Some(Timestamp(610_000))), "10 min left");
        assert_eq!(words(Some(Timestamp(86_410_000))), "24 h left");
    }

    #[test]
    fn every_limit_has_a_name_of_its_own_and_a_value_with_a_unit() {
        let items = limits::items();
        let names: std::collections::BTreeSet<_> = items.iter().map(|item| &item.name).collect();
        assert_eq!(names.len(), items.len());
        for item in &items {
            let first = item.detail.chars().next();
            assert!(first.is_some_and(|c| c.is_ascii_digit()), "{}", item.detail);
        }
    }
}
