//! The words of events, phases and outcomes: one word each, the same everywhere.

use hoist_core::id::{SlotId, Version};
use hoist_core::model::{
    App, Outcome, Phase, PostdeployStage, Reason, RenewalStage, ReplaceStep, ResizeStage,
};
use hoist_core::plan::{self, AppStatus, Transition};

/// Where an event line comes from: `system/local/web.1`.
pub fn event_source(engine: &str, object: &str) -> String {
    format!("system/{engine}/{object}")
}

/// The word of an app's status.
pub fn status_word(status: AppStatus) -> &'static str {
    match status {
        AppStatus::Created => "created",
        AppStatus::Running => "running",
        AppStatus::Updating => "updating",
        AppStatus::RollingBack => "rolling-back",
        AppStatus::Degraded => "degraded",
        AppStatus::Stopping => "stopping",
        AppStatus::Stopped => "stopped",
        AppStatus::Failed => "failed",
        AppStatus::Deleting => "deleting",
    }
}

/// `Status: running => updating`
pub fn status_words(before: AppStatus, after: AppStatus) -> String {
    format!("Status: {} => {}", status_word(before), status_word(after))
}

/// `web.1`
pub(super) fn slot_words(slot: &SlotId) -> String {
    format!("{}.{}", slot.workload.service, slot.slot)
}

/// The event of a transition: its kind and its line. Some transitions are nobody's business.
pub(super) fn transition_words(
    app: &App,
    transition: &Transition,
) -> Option<(&'static str, String)> {
    let target = app
        .promotion
        .as_ref()
        .map(|promotion| promotion.target.to_string());
    let target = target.unwrap_or_default();
    Some(match transition {
        Transition::Enter { phase } => match phase {
            Phase::Preparing => ("release:prepare", "running the release command".to_owned()),
            Phase::Starting => (
                "release:start",
                format!("starting the processes of {target}"),
            ),
            Phase::Replacing(step) => ("release:replace", replace_words(*step).to_owned()),
            Phase::Shifting => (
                "release:shift",
                format!("all ready: moving traffic to {target}"),
            ),
            Phase::Draining => (
                "release:drain",
                format!("{target} serves; old processes finish their requests"),
            ),
            Phase::RollingBack { reason, .. } => (
                "release:rollback",
                format!("rolling back: {}", plan::explain::explain_reason(reason)),
            ),
        },
        Transition::End { outcome } => match outcome {
            Outcome::Succeeded => ("release:finish", format!("{target} is active")),
            Outcome::RolledBack(reason) => (
                "release:fail",
                format!("rolled back: {}", plan::explain::explain_reason(reason)),
            ),
            Outcome::Failed(reason) => (
                "release:fail",
                format!("failed: {}", plan::explain::explain_reason(reason)),
            ),
            Outcome::Superseded => (
                "release:supersede",
                "superseded by a newer promotion".to_owned(),
            ),
            Outcome::Cancelled => ("release:cancel", "cancelled".to_owned()),
        },
        Transition::Retire { workload } => (
            "process:retire",
            format!("{} of {} retired", workload.service, workload.attempt),
        ),
        Transition::ResizeBegun { service, from, to } => (
            "scale:start",
            format!("scaling {service} from {from} to {to}"),
        ),
        Transition::ResizeAdvanced { service, stage } => {
            let ResizeStage::Removing = stage else {
                return None;
            };
            (
                "scale:remove",
                format!("{service}: leaving processes finished their requests"),
            )
        }
        Transition::Resized { service, from, to } => (
            "scale:finish",
            format!("scaled {service} from {from} to {to}"),
        ),
        Transition::ResizeFailed {
            service,
            from,
            to,
            reason,
        } => (
            "scale:fail",
            format!(
                "{service} stays at {from}, not {to}: {}",
                plan::explain::explain_reason(reason)
            ),
        ),
        Transition::RenewalBegun { slot, found, .. } => (
            "process:not-alive",
            format!(
                "{} no longer lives: it {}; starting it again",
                slot_words(slot),
                plan::explain::explain_unready(found)
            ),
        ),
        Transition::RenewalAdvanced { slot, stage } => {
            let RenewalStage::Stopping = stage else {
                return None;
            };
            (
                "process:drained",
                format!("{} finished its requests", slot_words(slot)),
            )
        }
        Transition::Renewed { slot } => (
            "process:renewed",
            format!("{} was started again", slot_words(slot)),
        ),
        Transition::RenewalFailed { slot, reason } => (
            "process:not-renewed",
            format!(
                "{} was started again and is not ready: {}",
                slot_words(slot),
                plan::explain::explain_reason(reason)
            ),
        ),
        Transition::Stopped => ("app:stop", "stopped".to_owned()),
        Transition::RouterChanged { .. }
        | Transition::Deleted
        | Transition::PostdeployBegan { .. }
        | Transition::PostdeployEnded { .. } => return None,
    })
}

/// The kind of the event that a postdeploy script failed.
pub(super) const POSTDEPLOY_FAILED: &str = "postdeploy:fail";

/// The event of a postdeploy script: the promotion it belongs to, its kind and its line.
pub(super) fn postdeploy_words(
    app: &App,
    transition: &Transition,
) -> Option<(Version, &'static str, String)> {
    let (promotion, exit) = match transition {
        Transition::PostdeployBegan { promotion } => {
            let release = &app.postdeploys.get(promotion)?.release;
            let text = format!("running the postdeploy script of {release}");
            return Some((*promotion, "postdeploy:start", text));
        }
        Transition::PostdeployEnded { promotion, exit } => (*promotion, exit),
        _ => return None,
    };
    let script = app.postdeploys.get(&promotion)?;
    let release = &script.release;
    let (kind, text) = match (script.stage, exit) {
        (PostdeployStage::Stopping, _) => (
            "postdeploy:stop",
            format!("the postdeploy script of {release} ends with the app"),
        ),
        (_, Some(exit)) if exit.code == 0 => (
            "postdeploy:finish",
            format!("the postdeploy script of {release} is done"),
        ),
        (_, Some(exit)) => (
            POSTDEPLOY_FAILED,
            format!(
                "{release} stays active, but its postdeploy script failed ({})",
                plan::explain::explain_exit(exit)
            ),
        ),
        (_, None) => (
            POSTDEPLOY_FAILED,
            format!("{release} stays active, but its postdeploy script could not be run"),
        ),
    };
    Some((promotion, kind, text))
}

fn replace_words(step: ReplaceStep) -> &'static str {
    match step {
        ReplaceStep::Draining => "holding requests of what must not run twice",
        ReplaceStep::Stopping => "stopping the old processes of what must not run twice",
        ReplaceStep::Starting => "starting the new processes of what must not run twice",
    }
}

/// What serves after a promotion ended, in a few words.
pub(super) fn serving_words(app: &App) -> String {
    match &app.serving {
        Some(serving) => format!("{} serves", serving.release),
        None => "nothing serves".to_owned(),
    }
}

/// One thing that mends it.
pub(super) fn reason_hint(app: &App, reason: &Reason) -> Option<String> {
    use hoist_core::model::Unready;
    let name = &app.name;
    Some(match reason {
        Reason::Hopeless {
            found: Unready::ListensElsewhere { .. },
            ..
        } => "make the process listen on the port in $PORT".to_owned(),
        Reason::NotReadyInTime {
            found: Some(Unready::BadAnswer { path, .. }),
            ..
        } => format!("mend what GET {path} answers, or change `health` in the manifest"),
        Reason::NotReadyInTime { .. } => {
            "make the process listen on $PORT sooner, or raise `health.grace` in the manifest"
                .to_owned()
        }
        Reason::NoCapacity { .. } => {
            "free memory, or lower `scale.memory` in the manifest".to_owned()
        }
        Reason::DeadlineExceeded { .. } => "deploy again with a longer --timeout".to_owned(),
        Reason::Cancelled(_) => return None,
        _ => format!("hoist logs -a {name}, mend it, then deploy again"),
    })
}
