//! Carries out what is due, each workload and task one action at a time, in the order the planner gave them.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hoist_core::id::{ReleaseId, Version, WorkloadId};
use hoist_core::limits;
use hoist_core::model::{App, Workload};
use hoist_core::plan::{self, Action};
use hoist_engine::{Seen, TaskId};

use super::{Controller, Look};
use crate::error::{RackError, with_causes};
use crate::store::RackState;

impl Controller {
    /// Starts every action that is due and not under way.
    pub(super) fn act_all(self: &Arc<Self>, state: &RackState, look: &Look, seen: &Seen) {
        for entry in state.apps.values() {
            let observation = self.observation(&entry.app.name, look);
            for action in plan::converge(&entry.app, &observation) {
                self.act(&entry.app, action);
            }
            self.forget_release_commands(&entry.app, seen);
        }
        let observation = hoist_core::model::Observation {
            engine: look.engine.clone(),
            router: look.router.clone(),
            ..Default::default()
        };
        for action in plan::strays(state.apps.values().map(|entry| &entry.app), &observation) {
            if let Action::Remove { id } = action {
                self.remove(id);
            }
        }
    }

    fn act(self: &Arc<Self>, app: &App, action: Action) {
        match action {
            Action::Apply { workload, slots } => self.apply(workload, slots),
            Action::Remove { id } => self.remove(id),
            Action::RunReleaseCommand { promotion, release } => {
                self.run_release_command(app, promotion, release);
            }
            Action::StopReleaseCommand { promotion } => {
                let id = TaskId::ReleaseCommand(app.name.clone(), promotion);
                self.start(
                    format!("stop the release command of {}", app.name),
                    |own| async move { Ok(own.engine.stop_task(&id).await?) },
                );
            }
        }
    }

    fn apply(self: &Arc<Self>, workload: Workload, slots: u16) {
        let what = workload_action(&workload.id);
        self.start(what, move |own| async move {
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
        });
    }

    fn remove(self: &Arc<Self>, id: WorkloadId) {
        self.start(workload_action(&id), move |own| async move {
            Ok(own.engine.remove(&id).await?)
        });
    }

    fn run_release_command(self: &Arc<Self>, app: &App, promotion: Version, release: ReleaseId) {
        let name = app.name.clone();
        let limit: Duration = match &app.promotion {
            Some(promotion) => promotion.deadline.since(promotion.began).into(),
            None => limits::PROMOTION_LIMIT.into(),
        };
        self.start(
            format!("run the release command of {name}"),
            move |own| async move {
                let detail = own.releases.detail(&name, &release).await?;
                if let Some(spec) = own.releases.release_command(&detail, promotion, limit)? {
                    own.engine.run(&spec).await?;
                }
                Ok(())
            },
        );
    }

    /// A release command's record is needed until its promotion ended.
    fn forget_release_commands(self: &Arc<Self>, app: &App, seen: &Seen) {
        for (id, status) in &seen.tasks {
            let TaskId::ReleaseCommand(name, promotion) = id else {
                continue;
            };
            let current = app
                .promotion
                .as_ref()
                .is_some_and(|p| p.number == *promotion);
            let ended = matches!(status, hoist_core::model::TaskStatus::Ended(_));
            if *name == app.name && !current && ended {
                let id = id.clone();
                self.start(
                    format!("forget release command {promotion} of {name}"),
                    |own| async move { Ok(own.engine.forget_task(&id).await?) },
                );
            }
        }
    }

    /// Runs one action on its own, unless one of that name is under way; remembers what fails, for `doctor`.
    fn start<F>(self: &Arc<Self>, what: String, action: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = Result<(), RackError>> + Send + 'static,
    {
        let mut acting = self.acting.lock().unwrap_or_else(PoisonError::into_inner);
        if !acting.insert(what.clone()) {
            return;
        }
        drop(acting);
        let own = self.clone();
        let work = action(self.clone());
        tokio::spawn(async move {
            match work.await {
                Ok(()) => drop(own.lock().failing.remove(&what)),
                Err(error) => {
                    let why = with_causes(&error);
                    tracing::warn!(action = %what, error = %why, "an action failed and will be tried again");
                    own.lock().failing.insert(what.clone(), why);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            let mut acting = own.acting.lock().unwrap_or_else(PoisonError::into_inner);
            acting.remove(&what);
        });
    }
}

/// One name for all that is done about a workload, so that only one thing is done at a time.
fn workload_action(id: &WorkloadId) -> String {
    format!("hold {id}")
}
