//! What each loop last did and waits for, and what isolation this machine gives.

use hoist_api::types::{Doctor, DoctorItem, DoctorSection, Health};
use hoist_core::limits;
use hoist_core::model::Millis;
use hoist_core::plan;

use crate::rack::Rack;

/// A loop that has not passed for this long does not run.
const LOOP_SILENCE: Millis = Millis::from_secs(30);

/// Looks at everything that is cheap to look at.
pub(crate) fn examine(rack: &Rack) -> Doctor {
    let sections = vec![
        loops(rack),
        waiting(rack),
        router(rack),
        isolation(rack),
        limits_section(),
    ];
    Doctor { sections }
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
            format!("fails and is tried again: {why}"),
        ));
    }
    section("loops", items)
}

fn waiting(rack: &Rack) -> DoctorSection {
    let state = rack.controller.state();
    let mut items = Vec::new();
    for (app, on) in &state.waiting {
        for wait in on {
            items.push(item(
                app.to_string(),
                Health::Ok,
                plan::explain::explain_waiting(wait),
            ));
        }
    }
    if items.is_empty() {
        items.push(item("apps", Health::Ok, "nothing is in flight"));
    }
    section("waiting", items)
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
            item(kind.kind, state, kind.by.clone())
        })
        .collect();
    if capabilities.engine == "local" && !items.iter().any(|item| item.name == "network") {
        let detail =
            "local apps share the machine's network: what one listens on, others can reach";
        items.push(item("network", Health::Warn, detail));
    }
    section("isolation", items)
}

fn limits_section() -> DoctorSection {
    let limits: [(&str, Millis, &str); 7] = [
        (
            "promotion",
            limits::PROMOTION_LIMIT,
            "from its begin to the switch (--timeout)",
        ),
        (
            "start",
            limits::START_LIMIT,
            "from a process's start to ready (health.grace)",
        ),
        (
            "shift",
            limits::SHIFT_LIMIT,
            "for the router to run a new table",
        ),
        (
            "drain",
            limits::DRAIN_LIMIT,
            "for requests of old processes to end (drain)",
        ),
        (
            "warm",
            limits::WARM_LIMIT,
            "old processes stay for a quick rollback",
        ),
        ("back", limits::BACK_STEP_LIMIT, "each step of going back"),
        (
            "stop",
            limits::STOP_GRACE,
            "from SIGTERM to SIGKILL (termination.grace)",
        ),
    ];
    let items = limits
        .into_iter()
        .map(|(name, limit, meaning)| item(name, Health::Ok, format!("{limit}: {meaning}")));
    section("limits", items.collect())
}
