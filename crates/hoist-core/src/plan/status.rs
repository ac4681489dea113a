//! How an app is, in one word.

use std::fmt;

use crate::id::SlotId;
use crate::model::{App, Observation, Phase, RenewalCause, ResizeStage, Standing};

use super::gate::{Health, health};
use super::shape::held;

/// How an app is: the word that CLI, API and console show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppStatus {
    /// Nothing was ever live.
    Created,
    /// What serves has all its processes.
    Running,
    /// A promotion is in flight.
    Updating,
    /// A promotion goes back.
    RollingBack,
    /// Some of its processes are not ready.
    Degraded,
    /// A user stops it: its processes finish what they have.
    Stopping,
    /// A user stopped it.
    Stopped,
    /// A promotion failed and nothing serves.
    Failed,
    /// It is being deleted.
    Deleting,
}

impl AppStatus {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Updating => "updating",
            Self::RollingBack => "rolling-back",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }
}

impl fmt::Display for AppStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How an app is.
pub fn status(app: &App, seen: &Observation) -> AppStatus {
    match app.standing {
        Standing::Deleting { .. } => return AppStatus::Deleting,
        Standing::Stopping { .. } => return AppStatus::Stopping,
        Standing::Stopped => return AppStatus::Stopped,
        Standing::Up => {}
    }
    match (&app.promotion, &app.serving) {
        (Some(promotion), _) if matches!(promotion.phase, Phase::RollingBack { .. }) => {
            AppStatus::RollingBack
        }
        (Some(_), _) => AppStatus::Updating,
        (None, None) if app.failed => AppStatus::Failed,
        (None, None) => AppStatus::Created,
        (None, Some(_)) if whole(app, seen) => AppStatus::Running,
        (None, Some(_)) => AppStatus::Degraded,
    }
}

/// Whether all that serves is ready, growth that is under way and what somebody has started again aside.
fn whole(app: &App, seen: &Observation) -> bool {
    let workloads = app.serving.iter().flat_map(|serving| &serving.workloads);
    let mut slots = workloads.flat_map(|(name, workload)| {
        let sure = match app.resizes.get(name) {
            Some(resize) if resize.stage == ResizeStage::Growing => resize.from,
            Some(resize) => resize.from.min(resize.to),
            None => held(app, name),
        };
        (1..=sure).map(|slot| SlotId {
            workload: workload.id.clone(),
            slot,
        })
    });
    let asked = |slot: &SlotId| {
        let renewal = app.renewals.get(slot);
        renewal.is_some_and(|renewal| renewal.cause == RenewalCause::Asked)
    };
    slots.all(|slot| asked(&slot) || matches!(health(seen, &slot), Health::Ready | Health::Unknown))
}
