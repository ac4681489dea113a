//! Decisions and acts as lines of a history.

use hoist_core::id::ReleaseId;
use hoist_core::lineage::{Flaw, Told};
use hoist_core::model::{App, Limits, Outcome, Phase, RenewalStage, RouteTarget};
use hoist_core::plan::{Action, Transition, Waiting, explain};

use crate::records::{Change, Record, Records};
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

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Build(number) => write!(f, "build {}", build(*number)),
            Self::Set(key, value) => write!(f, "env {key}={value}"),
            Self::Unset(key) => write!(f, "env remove:{key}"),
        }
    }
}

/// Stories name builds by letters.
fn build(number: u32) -> String {
    let letter = u8::try_from(number).ok().filter(u8::is_ascii_uppercase);
    letter.map_or_else(
        || number.to_string(),
        |letter| char::from(letter).to_string(),
    )
}

/// What is told of a release beside itself.
pub fn told(told: &Told) -> Vec<String> {
    let includes = told.includes.iter().map(|id| format!("  includes {id}"));
    let passed_over = told.passed_over.iter().map(|(id, flaw)| match flaw {
        Flaw::Own => format!("  passes over {id}, of which a promotion went wrong"),
        Flaw::Under(under) => format!("  passes over {id}, which stands on {under}"),
        Flaw::Aside => format!("  passes over {id}, which does not stand on what is active"),
    });
    includes.chain(passed_over).collect()
}

/// All releases, newest first.
pub fn releases(records: &Records, app: &App) -> Vec<String> {
    let line = |record: &Record| {
        let id = &record.release.id;
        let on = record.parent.as_ref().map(|parent| format!(" on {parent}"));
        let build = record.content.build.map(build);
        let env = record.content.env.iter();
        let env: String = env.map(|(key, value)| format!(" {key}={value}")).collect();
        let status = match status(records, app, id) {
            "" => String::new(),
            status => format!(" {status}"),
        };
        format!(
            "  {id}{status}{}: build {}{env}",
            on.unwrap_or_default(),
            build.unwrap_or_default()
        )
    };
    records.releases.iter().rev().map(line).collect()
}

/// The STATUS of a release.
fn status(records: &Records, app: &App, id: &ReleaseId) -> &'static str {
    let promotion = app.promotion.as_ref();
    if promotion.is_some_and(|promotion| promotion.target == *id) {
        return "promoting";
    }
    let serving = app.serving.as_ref();
    if serving.is_some_and(|serving| serving.release == *id) {
        return "active";
    }
    let last = records
        .attempts
        .iter()
        .rev()
        .find(|attempt| attempt.release == *id);
    last.filter(|attempt| attempt.went_wrong())
        .and_then(|attempt| attempt.outcome)
        .unwrap_or_default()
}
