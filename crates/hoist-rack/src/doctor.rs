//! What each loop last did and waits for, and what isolation this machine gives.

mod limits;

use hoist_api::types::{Doctor, DoctorItem, DoctorSection, Health};
use hoist_core::model::{Millis, Timestamp};
use hoist_core::plan::explain;

use crate::rack::Rack;
use crate::store::BuildStatus;

/// A loop that has not passed for this long does not run.
const LOOP_SILENCE: Millis = Millis::from_secs(30);

/// Looks at everything that is cheap to look at.
pub(crate) async fn examine(rack: &Rack) -> Doctor {
    let mut sections = vec![loops(rack), waiting(rack)];
    sections[1].items.extend(builds(rack).await);
    if sections[1].items.is_empty() {
        sections[1].items.push(ok("apps", "nothing is in flight"));
    }
    sections.extend([
        router(rack),
        isolation(rack),
        section("limits", limits::items()),
    ]);
    Doctor { sections }
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

fn loops(rack: &Rack) -> DoctorSection {
    let state = rack.controller.state();
    let silence = rack.clock.now().since(state.last_pass);
    let alive = silence < LOOP_SILENCE;
    let detail = format!("{} passes, the last {silence} ago", state.passes);
    let mut items = vec![item(
        "control",
        if alive { Health::Ok } else { Health::Bad },
        detail,
    )];
    items.push(match state.engine_error {
        None => {
            let processes: usize = state.seen.workloads.values().map(|slots| slots.len()).sum();
            let detail = format!(
                "{}: {processes} processes",
                rack.engine.capabilities().engine
            );
            item("engine", Health::Ok, detail)
        }
        Some(error) => item("engine", Health::Bad, error),
    });
    for (what, why) in state.failing {
        items.push(item(
            what,
            Health::Bad,
            format!("fails and is tried again at each pass: {why}"),
        ));
    }
    section("loops", items)
}

fn waiting(rack: &Rack) -> DoctorSection {
    let (state, now) = (rack.controller.state(), rack.clock.now());
    let waits = state.waiting.iter().flat_map(|(app, on)| {
        on.iter().map(move |wait| {
            let limit = limit_words(explain::waits_until(wait), now);
            let what = explain::explain_waiting(wait);
            ok(app.to_string(), format!("waits for {what} ({limit})"))
        })
    });
    section("waiting", waits.collect())
}

/// How long something still may take.
fn limit_words(until: Option<Timestamp>, now: Timestamp) -> String {
    match until {
        None => "no limit of its own".to_owned(),
        Some(until) if until <= now => "its limit is over".to_owned(),
        Some(until) => format!("{} left", until.since(now)),
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

fn router(rack: &Rack) -> DoctorSection {
    let state = rack.controller.state();
    let items = match (state.router_error, state.router_report) {
        (Some(error), _) => vec![item("router", Health::Bad, error)],
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
        let left = Timestamp(40_000).since(Timestamp(10_000));
        assert_eq!(words(Some(Timestamp(40_000))), format!("{left} left"));
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
