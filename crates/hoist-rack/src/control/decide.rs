//! Commits one transition with the events that explain it and the promotion's record. Decide, record, then act.

use std::sync::Arc;

use hoist_core::id::{AppName, SlotId, Version, WorkloadId};
use hoist_core::model::{App, Observation, Outcome, Phase, Reason, Timestamp};
use hoist_core::plan::{self, Transition};
use hoist_engine::TaskId;

use super::act::FAILED_PAUSE;
use super::words::{self, event_source};
use super::{Controller, EndedRenewal, EndedResize};
use crate::clock::wall;
use crate::error::with_causes;
use crate::logs;
use crate::releases::POSTDEPLOY_SOURCE;
use crate::store::{AppEntry, Commit, Event, PromotionRecord, StateChange, StoreError};

/// Last log lines kept of a process at fault.
const LAST_LINES: usize = 20;

impl Controller {
    /// Commits a transition. A conflict is no fault: the next pass decides again.
    pub(super) async fn commit(
        self: &Arc<Self>,
        entry: Arc<AppEntry>,
        transition: Transition,
        seen: Observation,
    ) {
        let name = entry.app.name.clone();
        let committed = self.commit_transition(&entry.app, &transition, &seen).await;
        let what = format!("commit {name}");
        match committed {
            Ok(()) => self.succeeded(&what),
            Err(StoreError::Conflict) => {}
            Err(error) => {
                tracing::warn!(app = %name, error = %with_causes(&error), "a transition could not be committed");
                self.failed(what, with_causes(&error));
                // A full disk stays full for a while: do not spin.
                tokio::time::sleep(FAILED_PAUSE).await;
            }
        }
        self.prober.refresh(&name);
    }

    async fn commit_transition(
        &self,
        app: &App,
        transition: &Transition,
        seen: &Observation,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let ticket = self.sequence.ticket().await?;
        let mut after = app.clone();
        plan::apply(&mut after, transition, ticket.version, now);
        let state = match transition {
            Transition::Deleted => StateChange::Delete {
                expected: app.generation,
            },
            _ => StateChange::Update {
                expected: app.generation,
                app: Box::new(after.clone()),
            },
        };
        let mut commit = Commit::new(&app.name, state);
        if !matches!(transition, Transition::Deleted) {
            commit.events = self.events_of(app, &after, transition, seen);
            commit
                .promotions
                .extend(self.record_of(app, &after, transition, seen, now).await?);
        }
        let deleted = matches!(transition, Transition::Deleted);
        self.remember_resize(app, transition, now);
        self.remember_renewal(app, transition, now);
        self.store.commit(commit, now).await?;
        if deleted {
            // The record is gone: what is left of the app's files has no owner, and a crash here leaves them to the next start.
            let _ = std::fs::remove_dir_all(self.layout.app(&app.name));
            if self.lock().volumes_too.remove(&app.name) {
                let _ = std::fs::remove_dir_all(self.layout.volumes(&app.name));
            }
        }
        Ok(())
    }

    /// Keeps how a resize ended, for whoever asked for it.
    fn remember_resize(&self, app: &App, transition: &Transition, now: Timestamp) {
        let (service, from, to, reason) = match transition {
            Transition::Resized { service, from, to } => (service, *from, *to, None),
            Transition::ResizeFailed {
                service,
                from,
                to,
                reason,
            } => {
                let reason = plan::explain::explain_reason(reason);
                (service, *from, *to, Some(reason))
            }
            _ => return,
        };
        let began = app
            .resizes
            .get(service)
            .map_or(now, |resize| resize.entered);
        let ended = EndedResize {
            from,
            to,
            began,
            ended: now,
            reason,
        };
        let key = (app.name.clone(), service.clone());
        let mut state = self.lock();
        match state.resized.get_mut(&key) {
            // The way back of one that failed: why it did is still what was asked about.
            Some(failed) if failed.reason.is_some() && (failed.to, failed.from) == (from, to) => {
                failed.ended = now;
            }
            _ => {
                state.resized.insert(key, ended);
            }
        }
    }

    /// Keeps how a renewal ended, for whoever asked for it; forgets those of workloads that went.
    fn remember_renewal(&self, app: &App, transition: &Transition, now: Timestamp) {
        let (slot, reason) = match transition {
            Transition::Renewed { slot } => (slot, None),
            Transition::RenewalFailed { slot, reason } => {
                (slot, Some(plan::explain::explain_reason(reason)))
            }
            _ => return,
        };
        let began = app
            .renewals
            .get(slot)
            .map_or(now, |renewal| renewal.entered);
        let ended = EndedRenewal {
            began,
            ended: now,
            reason,
        };
        let serving = app.serving.as_ref().map(|serving| &serving.workloads);
        let serves = |id: &WorkloadId| {
            let workload = serving.and_then(|workloads| workloads.get(&id.service));
            workload.is_some_and(|workload| workload.id == *id)
        };
        let mut state = self.lock();
        let stays = |id: &WorkloadId| id.app != app.name || serves(id);
        state.renewed.retain(|slot, _| stays(&slot.workload));
        state.renewed.insert(slot.clone(), ended);
    }

    fn events_of(
        &self,
        before: &App,
        after: &App,
        transition: &Transition,
        seen: &Observation,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let promotion = before.promotion.as_ref().map(|promotion| promotion.number);
        let mut add = |promotion: Option<Version>, kind: &str, source: String, text: String| {
            events.push(Event {
                id: 0,
                app: before.name.clone(),
                promotion,
                at: wall(),
                kind: kind.to_owned(),
                source,
                text,
                actor: None,
            });
        };
        let engine = self.engine.capabilities().engine;
        if let Some((kind, text)) = words::transition_words(before, transition) {
            add(promotion, kind, event_source(engine, "promotion"), text);
        }
        if let Some((number, kind, mut text)) = words::postdeploy_words(before, transition) {
            if kind == words::POSTDEPLOY_FAILED
                && let Some(line) = self.last_line_of_postdeploy(&before.name, number)
            {
                text = format!("{text}: {line}");
            }
            add(Some(number), kind, event_source(engine, "postdeploy"), text);
        }
        let (old, new) = (plan::status(before, seen), plan::status(after, seen));
        if old != new {
            let text = words::status_words(old, new);
            add(promotion, "app:status", event_source(engine, "app"), text);
        }
        events
    }

    /// The promotion's record after the transition; none when no promotion is concerned.
    async fn record_of(
        &self,
        before: &App,
        after: &App,
        transition: &Transition,
        seen: &Observation,
        now: Timestamp,
    ) -> Result<Option<PromotionRecord>, StoreError> {
        let Some(promotion) = &before.promotion else {
            return Ok(None);
        };
        let (Transition::Enter { .. } | Transition::End { .. }) = transition else {
            return Ok(None);
        };
        let number = promotion.number;
        let Some(mut record) = self.store.promotion(&before.name, number).await? else {
            return Ok(None);
        };
        match transition {
            Transition::Enter { phase } => {
                let word = plan::explain::phase_word(phase.name()).to_owned();
                if record
                    .report
                    .phases
                    .last()
                    .is_none_or(|(last, _)| *last != word)
                {
                    record.report.phases.push((word, now.0));
                }
                if let Phase::RollingBack { reason, .. } = phase
                    && record.report.last_lines.is_empty()
                {
                    record.report.last_lines = self.last_lines(before, reason, seen);
                }
            }
            Transition::End { outcome } => {
                record.ended = Some(wall());
                record.report.ended = Some(now.0);
                record.outcome = Some(plan::explain::outcome_word(outcome).to_owned());
                let reason = match outcome {
                    Outcome::RolledBack(reason) | Outcome::Failed(reason) => Some(reason),
                    Outcome::Succeeded | Outcome::Superseded | Outcome::Cancelled => None,
                };
                record.reason = reason.map(plan::explain::explain_reason);
                record.report.hint = reason.and_then(|reason| words::reason_hint(before, reason));
                record.report.serving = Some(words::serving_words(after));
            }
            _ => {}
        }
        Ok(Some(record))
    }

    /// What a postdeploy script said last.
    fn last_line_of_postdeploy(&self, app: &AppName, promotion: Version) -> Option<String> {
        let task = TaskId::Postdeploy(app.clone(), promotion);
        let process = self.process_of(&task)?;
        let file = format!("{POSTDEPLOY_SOURCE}.{process}.log");
        let (_, _, text) = logs::last_lines(&self.layout.logs(app).join(file), 1).pop()?;
        Some(text)
    }

    /// What the process at fault said last.
    fn last_lines(
        &self,
        app: &App,
        reason: &Reason,
        seen: &Observation,
    ) -> Vec<(u64, String, String)> {
        let directory = self.layout.logs(&app.name);
        let file = match reason {
            Reason::ExitedBeforeReady { slot, .. }
            | Reason::CannotRun { slot, .. }
            | Reason::Hopeless { slot, .. }
            | Reason::NotReadyInTime { slot, .. } => {
                let SlotId { workload, slot } = slot;
                let process = seen
                    .engine
                    .workloads
                    .get(workload)
                    .and_then(|slots| slots.get(slot));
                process.map(|process| format!("service.{}.{}.log", workload.service, process.id))
            }
            Reason::ReleaseCommandFailed(_) => {
                let number = app.promotion.as_ref().map(|promotion| promotion.number);
                let own = self.lock();
                let process = own.seen.task_processes.iter().find(|(id, _)| {
                    matches!(id, hoist_engine::TaskId::ReleaseCommand(_, n) if Some(*n) == number)
                });
                process.map(|(_, process)| format!("release.{process}.log"))
            }
            _ => None,
        };
        file.map(|file| logs::last_lines(&directory.join(file), LAST_LINES))
            .unwrap_or_default()
    }
}
