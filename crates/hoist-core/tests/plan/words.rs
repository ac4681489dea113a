//! Decisions and acts as lines of a history.

use hoist_core::model::{App, Limits, Outcome, Phase, RenewalStage, RouteTarget};
use hoist_core::plan::{Action, Transition, Waiting, explain};

use crate::router::Table;

pub fn transition(transition: &Transition) -> String {
    match transition {
        Transition::Enter {
            phase: Phase::Replacing(step),
        } => format!("enters replacing ({step:?})"),
        Transition::Enter {
            phase:
                Phase::RollingBack {
                    step,
                    reason,
                    complete,
                },
        } => {
            let but = if *complete { "" } else { ", incomplete" };
            format!(
                "rolls back ({step:?}{but}): {}",
                explain::explain_reason(reason)
            )
        }
        Transition::Enter { phase } => format!("enters {}", explain::phase_word(phase.name())),
        Transition::End {
            outcome: outcome @ (Outcome::RolledBack(reason) | Outcome::Failed(reason)),
        } => {
            format!(
                "ends {}: {}",
                explain::outcome_word(outcome),
                explain::explain_reason(reason)
            )
        }
        Transition::End { outcome } => format!("ends {}", explain::outcome_word(outcome)),
        Transition::Retire { workload } => format!("lets {workload} go"),
        Transition::ResizeBegun { service, from, to } => {
            format!("begins to resize {service} from {from} to {to}")
        }
        Transition::ResizeAdvanced { service, stage } => format!("resizes {service}: {stage:?}"),
        Transition::Resized { service, from, to } => {
            format!("resized {service} from {from} to {to}")
        }
        Transition::ResizeFailed {
            service,
            from,
            to,
            reason,
        } => {
            format!(
                "resize of {service} from {from} to {to} failed: {}",
                explain::explain_reason(reason)
            )
        }
        Transition::RenewalBegun { slot, found, .. } => format!(
            "starts {} {} again: it {}",
            slot.workload,
            slot.slot,
            explain::explain_unready(found)
        ),
        Transition::RenewalAdvanced { slot, stage } => {
            let stage = match stage {
                RenewalStage::Starting { .. } => "Starting".to_owned(),
                stage => format!("{stage:?}"),
            };
            format!("renews {} {}: {stage}", slot.workload, slot.slot)
        }
        Transition::Renewed { slot } => format!("renewed {} {}", slot.workload, slot.slot),
        Transition::RenewalFailed { slot, reason } => format!(
            "renewal of {} {} failed: {}",
            slot.workload,
            slot.slot,
            explain::explain_reason(reason)
        ),
        Transition::RouterChanged { incarnation } => format!("takes note of router {incarnation}"),
        Transition::PostdeployBegan { promotion } => {
            format!("takes note that the script of {promotion} runs")
        }
        Transition::PostdeployEnded { promotion, exit } => {
            let how = exit.as_ref().map(explain::explain_exit);
            let how = how.unwrap_or_else(|| "without having run".to_owned());
            format!("takes note that the script of {promotion} is over: {how}")
        }
        Transition::Stopped => "stopped".to_owned(),
        Transition::Deleted => "deleted".to_owned(),
    }
}

/// A wait, unless it is only for the next look.
pub fn waiting(waiting: &Waiting) -> Option<String> {
    if matches!(waiting, Waiting::Look { .. }) {
        return None;
    }
    let until =
        explain::waits_until(waiting).map(|at| format!(" (until {:.3})", at.0 as f64 / 1000.0));
    Some(format!(
        "{}{}",
        explain::explain_waiting(waiting),
        until.unwrap_or_default()
    ))
}

pub fn action(action: &Action) -> String {
    match action {
        Action::Apply { workload, slots } => format!("apply {} x{slots}", workload.id),
        Action::Remove { id } => format!("remove {id}"),
        Action::Restart { slot, .. } => format!("restart {} {}", slot.workload, slot.slot),
        Action::RunReleaseCommand { promotion, release } => {
            format!("run release command of {release} for {promotion}")
        }
        Action::StopReleaseCommand { promotion } => format!("stop release command of {promotion}"),
        Action::RunPostdeploy { promotion, release } => {
            format!("run script of {release} for {promotion}")
        }
        Action::StopPostdeploy { promotion } => format!("stop script of {promotion}"),
    }
}

pub fn table(table: &Table) -> Vec<String> {
    let line = |((app, service), target): (&(_, _), &RouteTarget)| {
        let to = match target {
            RouteTarget::Held => "held".to_owned(),
            RouteTarget::Stopped => "stopped".to_owned(),
            RouteTarget::Processes(list) if list.is_empty() => "no process".to_owned(),
            RouteTarget::Processes(list) => {
                let name = |e: &hoist_core::model::Endpoint| {
                    format!("{}#{}", e.slot.workload.attempt, e.slot.slot)
                };
                list.iter().map(name).collect::<Vec<_>>().join(" ")
            }
        };
        let (app, service): (&hoist_core::id::AppName, &hoist_core::id::ServiceName) =
            (app, service);
        format!("  route {app}/{service} -> {to}")
    };
    match table.routes.is_empty() {
        true => vec!["  route nothing".to_owned()],
        false => table.routes.iter().map(line).collect(),
    }
}

/// What an app is, at the end of a story.
pub fn app(app: &App) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(serving) = &app.serving {
        lines.push(format!("  active {}", serving.release));
        for (name, workload) in &serving.workloads {
            let slots = serving.slots.get(name).copied().unwrap_or(0);
            let mut line = format!(
                "  {name} {} of {} x{slots}",
                workload.id.attempt, workload.release
            );
            if let Limits {
                memory_bytes: Some(bytes),
                ..
            } = workload.limits
            {
                line.push_str(&format!(" with {} MB", bytes >> 20));
            }
            lines.push(line);
        }
    }
    for (id, retiring) in &app.retiring {
        lines.push(format!(
            "  retiring {} of {} x{}",
            id, retiring.release, retiring.slots
        ));
    }
    lines
}
