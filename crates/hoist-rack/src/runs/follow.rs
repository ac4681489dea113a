//! Looks after one-offs that no session sees to: detached ones, and what a rack before this one left.

use std::sync::Weak;

use hoist_core::id::AppName;
use hoist_core::model::{Standing, TaskStatus};
use hoist_engine::{EngineError, Seen, TaskId};

use super::attend::end_of;
use super::{Running, lock};
use crate::clock::wall;
use crate::error::with_causes;
use crate::pulse::ONE_OFFS_PAUSE;
use crate::rack::Rack;
use crate::store::OneOffEnd;

/// Looks until the rack ends.
pub(crate) async fn run(rack: Weak<Rack>) {
    loop {
        tokio::time::sleep(ONE_OFFS_PAUSE).await;
        let Some(rack) = rack.upgrade() else {
            return;
        };
        let looked = rack.follow_one_offs().await;
        rack.pulses
            .one_offs
            .passed(looked.map_err(|error| with_causes(&error)));
    }
}

impl Rack {
    async fn follow_one_offs(&self) -> Result<(), EngineError> {
        let known: Vec<Running> = lock(&self.runs.one_offs).values().cloned().collect();
        if known.is_empty() && !self.controller.holds_one_offs() {
            return Ok(());
        }
        // A look that is newer than `known`: what was accepted before it and is missing is gone.
        let seen = self.engine.observe().await?;
        for running in known.into_iter().filter(|running| running.started) {
            self.follow_one_off(&running, &seen).await;
        }
        self.remove_strays(&seen).await;
        Ok(())
    }

    async fn follow_one_off(&self, running: &Running, seen: &Seen) {
        let record = &running.record;
        let task = TaskId::OneOff(record.app.clone(), record.id.clone());
        // Nobody holds its streams any more, or its app goes.
        let unheld = record.attached && !running.attended;
        match seen.tasks.get(&task) {
            Some(TaskStatus::Running) if unheld || self.is_going(&record.app) => {
                let _ = self.engine.stop_task(&task).await;
            }
            Some(TaskStatus::Running) => {}
            _ if running.attended => {}
            Some(TaskStatus::Ended(exit)) => self.one_off_ended(record, end_of(*exit)).await,
            None => self.one_off_ended(record, lost()).await,
        }
    }

    fn is_going(&self, app: &AppName) -> bool {
        let deleting = |standing| matches!(standing, Standing::Deleting { .. });
        let entry = self.store.app(app);
        entry.is_none_or(|entry| deleting(entry.app.standing))
    }

    /// What has no record belongs to nobody: its app is gone, or the rack ended before it was recorded as started.
    async fn remove_strays(&self, seen: &Seen) {
        for (task, status) in &seen.tasks {
            let TaskId::OneOff(_, id) = task else {
                continue;
            };
            if lock(&self.runs.one_offs).contains_key(id) {
                continue;
            }
            let _ = match status {
                TaskStatus::Running => self.engine.stop_task(task).await,
                TaskStatus::Ended(_) => self.engine.forget_task(task).await,
            };
        }
    }
}

fn lost() -> OneOffEnd {
    OneOffEnd {
        at: wall(),
        code: None,
        signal: None,
        reason: Some("was lost".to_owned()),
    }
}
