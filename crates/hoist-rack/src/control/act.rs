//! Carries out what is due, each workload and task one action at a time, in the order the planner gave them.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use hoist_core::id::{AppName, ReleaseId, SlotId, Version, WorkloadId};
use hoist_core::limits;
use hoist_core::model::{App, EngineLook, Life, ProcessState, TaskStatus, Workload};
use hoist_core::plan::{self, Action};
use hoist_engine::{EngineError, Seen, TaskId};

use super::{Controller, Look};
use crate::error::{RackError, with_causes};
use crate::store::RackState;

/// How long a process may look as before after it was told to start again.
const RESTART_AGAIN: Duration = Duration::from_secs(5);
/// The least pause before what failed is tried again.
pub(super) const FAILED_PAUSE: Duration = Duration::from_millis(200);

impl Controller {
    /// Starts every action that is due and not under way.
    pub(super) fn act_all(self: &Arc<Self>, state: &RackState, look: &Look, seen: &Seen) {
        for entry in state.apps.values() {
            let observation = self.observation(&entry.app.name, look);
            for action in plan::converge(&entry.app, &observation) {
                self.act(&entry.app, action);
            }
        }
        self.forget_tasks(state, seen);
        let observation = hoist_core::model::Observation {
            engine: look.engine.clone(),
            router: look.router.clone(),
            ..Default::default()
        };
        for action in plan::strays(state.apps.values().map(|entry| &entry.app), &observation) {
            match action {
                Action::Remove { id } => self.remove(id),
                Action::StopReleaseCommand { promotion } | Action::StopPostdeploy { promotion } => {
                    self.stop_stray(promotion, seen);
                }
                Action::Apply { .. }
                | Action::Restart { .. }
                | Action::RunReleaseCommand { .. }
                | Action::RunPostdeploy { .. } => {}
            }
        }
    }

    fn act(self: &Arc<Self>, app: &App, action: Action) {
        match action {
            Action::Apply { workload, slots } => self.apply(workload, slots),
            Action::Remove { id } => self.remove(id),
            Action::Restart { slot, life } => self.restart(slot, life),
            Action::RunReleaseCommand { promotion, release } => {
                self.run_release_command(app, promotion, release);
            }
            Action::StopReleaseCommand { promotion } => {
                self.stop_task(TaskId::ReleaseCommand(app.name.clone(), promotion));
            }
            Action::RunPostdeploy { promotion, release } => {
                self.run_postdeploy(app.name.clone(), promotion, release);
            }
            Action::StopPostdeploy { promotion } => {
                self.stop_task(TaskId::Postdeploy(app.name.clone(), promotion));
            }
        }
    }

    /// Stops what runs for a promotion that nobody waits for any more.
    fn stop_stray(self: &Arc<Self>, promotion: Version, seen: &Seen) {
        for (id, status) in &seen.tasks {
            if promotion_of(id) == Some(promotion) && *status == TaskStatus::Running {
                self.stop_task(id.clone());
            }
        }
    }

    fn stop_task(self: &Arc<Self>, id: TaskId) {
        self.start(Acting::Task(id.clone()), |own| async move {
            Ok(own.engine.stop_task(&id).await?)
        });
    }

    fn apply(self: &Arc<Self>, workload: Workload, slots: u16) {
        self.start(
            Acting::Workload(workload.id.clone()),
            move |own| async move {
                let detail = own
                    .releases
                    .detail(&workload.id.app, &workload.release)
                    .await?;
                let spec = own.releases.workload(&detail, &workload)?;
                let applied = own.engine.apply(&spec, slots).await;
                match &applied {
                    Err(error) if !error.retryable() => {
                        own.lock()
                            .refused
                            .insert(workload.id.clone(), with_causes(error));
                    }
                    _ => drop(own.lock().refused.remove(&workload.id)),
                }
                Ok(applied?)
            },
        );
    }

    fn remove(self: &Arc<Self>, id: WorkloadId) {
        self.start(Acting::Workload(id.clone()), move |own| async move {
            Ok(own.engine.remove(&id).await?)
        });
    }

    /// Tells the engine once per life, and again only when that had no effect for a while.
    fn restart(self: &Arc<Self>, slot: SlotId, life: Life) {
        let about = Acting::Slot(slot.clone());
        self.still_due(&about.to_string());
        {
            let mut own = self.lock();
            own.restarted
                .retain(|_, (_, at)| at.elapsed() < RESTART_AGAIN);
            if own
                .restarted
                .get(&slot)
                .is_some_and(|(told, _)| *told == life)
            {
                return;
            }
            own.restarted.insert(slot.clone(), (life, Instant::now()));
        }
        self.start(about, move |own| async move {
            match own.engine.restart_slot(&slot).await {
                // What is not there is started by the workload's own action.
                Ok(()) | Err(EngineError::NotFound) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
    }

    fn run_release_command(self: &Arc<Self>, app: &App, promotion: Version, release: ReleaseId) {
        let name = app.name.clone();
        let limit: Duration = match &app.promotion {
            Some(promotion) => promotion.deadline.since(promotion.began).into(),
            None => limits::PROMOTION_LIMIT.into(),
        };
        let first = app.serving.is_none();
        let task = TaskId::ReleaseCommand(name.clone(), promotion);
        self.start(Acting::Task(task), move |own| async move {
            let detail = own.releases.detail(&name, &release).await?;
            if let Some(spec) = own
                .releases
                .release_command(&detail, promotion, limit, first)?
            {
                own.engine.run(&spec).await?;
            }
            Ok(())
        });
    }

    fn run_postdeploy(self: &Arc<Self>, app: AppName, promotion: Version, release: ReleaseId) {
        let task = TaskId::Postdeploy(app.clone(), promotion);
        self.start(Acting::Task(task), move |own| async move {
            let detail = own.releases.detail(&app, &release).await?;
            if let Some(spec) = own.releases.postdeploy(&detail, promotion)? {
                own.engine.run(&spec).await?;
            }
            Ok(())
        });
    }

    /// A task's record is needed for as long as its app's state speaks of it, and no longer.
    fn forget_tasks(self: &Arc<Self>, state: &RackState, seen: &Seen) {
        for (id, status) in &seen.tasks {
            let app = |name: &AppName| state.apps.get(name).map(|entry| &entry.app);
            let over = match id {
                TaskId::ReleaseCommand(name, number) => {
                    let promotion = app(name).and_then(|app| app.promotion.as_ref());
                    promotion.is_none_or(|promotion| promotion.number != *number)
                }
                TaskId::Postdeploy(name, number) => {
                    app(name).is_none_or(|app| !app.postdeploys.contains_key(number))
                }
                TaskId::Build(..) | TaskId::OneOff(..) => false,
            };
            if over && matches!(status, TaskStatus::Ended(_)) {
                let id = id.clone();
                self.start(Acting::Task(id.clone()), |own| async move {
                    Ok(own.engine.forget_task(&id).await?)
                });
            }
        }
    }

    /// Runs one action on its own, unless one of that name is under way; remembers what fails, for `doctor`.
    fn start<F>(self: &Arc<Self>, about: Acting, action: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = Result<(), RackError>> + Send + 'static,
    {
        let what = about.to_string();
        self.still_due(&what);
        let mut acting = self.acting.lock().unwrap_or_else(PoisonError::into_inner);
        if !acting.insert(about.clone()) {
            return;
        }
        drop(acting);
        let own = self.clone();
        let work = action(self.clone());
        tokio::spawn(async move {
            match work.await {
                Ok(()) => own.succeeded(&what),
                Err(error) => {
                    let why = with_causes(&error);
                    tracing::warn!(action = %what, error = %why, "an action failed and will be tried again");
                    own.failed(what, why);
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            }
            let mut acting = own.acting.lock().unwrap_or_else(PoisonError::into_inner);
            acting.remove(&about);
        });
    }
}

/// What an action is about: one at a time for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Acting {
    /// A workload is started, resized or removed.
    Workload(WorkloadId),
    /// A process is stopped and started again.
    Slot(SlotId),
    /// A task is started, stopped or forgotten.
    Task(TaskId),
}

impl fmt::Display for Acting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(id) => write!(f, "hold {id}"),
            Self::Slot(slot) => write!(f, "restart {} {}", slot.workload, slot.slot),
            Self::Task(TaskId::ReleaseCommand(app, number)) => {
                write!(f, "see to the release command of {app} ({number})")
            }
            Self::Task(TaskId::Postdeploy(app, number)) => {
                write!(f, "see to the postdeploy script of {app} ({number})")
            }
            Self::Task(TaskId::Build(app, build)) => write!(f, "see to build {build} of {app}"),
            Self::Task(TaskId::OneOff(app, process)) => write!(f, "see to {process} of {app}"),
        }
    }
}

/// The promotion that a task belongs to.
fn promotion_of(id: &TaskId) -> Option<Version> {
    match id {
        TaskId::ReleaseCommand(_, number) | TaskId::Postdeploy(_, number) => Some(*number),
        TaskId::Build(..) | TaskId::OneOff(..) => None,
    }
}

/// Adds what was asked for and not answered to a look: it may come into being at any moment, so it counts as there; and a
/// process that is told to stop at any moment counts as stopping.
pub(super) fn count_in(look: &mut EngineLook, acting: &HashSet<Acting>) {
    for about in acting {
        match about {
            Acting::Workload(id) => {
                look.workloads.entry(id.clone()).or_default();
            }
            Acting::Slot(slot) => {
                let slots = look.workloads.get_mut(&slot.workload);
                if let Some(process) = slots.and_then(|slots| slots.get_mut(&slot.slot)) {
                    process.state = ProcessState::Stopping;
                }
            }
            Acting::Task(TaskId::ReleaseCommand(_, number)) => {
                look.release_commands
                    .entry(*number)
                    .or_insert(TaskStatus::Running);
            }
            Acting::Task(TaskId::Postdeploy(_, number)) => {
                look.postdeploys
                    .entry(*number)
                    .or_insert(TaskStatus::Running);
            }
            Acting::Task(TaskId::Build(..) | TaskId::OneOff(..)) => {}
        }
    }
}
