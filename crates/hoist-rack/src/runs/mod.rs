//! One-offs and sessions: what runs because somebody asked for it, and whose streams somebody may hold.
//!
//! A one-off is recorded before it starts. Attached, it lives as long as its session: `attend` waits for the client,
//! `pump` carries the streams, and when the client goes the process is stopped. Detached, `follow` looks after it, over
//! restarts of the rack too.

mod attend;
mod follow;
mod pump;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hoist_core::id::{AppName, ProcessId};
use hoist_core::limits;
use hoist_engine::TaskId;
use hyper::upgrade::OnUpgrade;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::RackError;
use crate::rack::Rack;
use crate::store::{Commit, Event, OneOffEnd, OneOffRecord, StateChange, Store};

pub(crate) use follow::run as follow;

/// What runs, and which sessions wait for their client.
pub(crate) struct Runs {
    one_offs: Mutex<BTreeMap<ProcessId, Running>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<OnUpgrade>>>,
    places: Arc<Semaphore>,
}

/// A one-off of which no end is recorded.
#[derive(Debug, Clone)]
struct Running {
    record: OneOffRecord,
    /// The engine has accepted it.
    started: bool,
    /// Its session sees to its end.
    attended: bool,
    /// It has ended, and that is about to be recorded.
    over: bool,
    /// Its end is recorded: what is left is that the engine forgets it.
    recorded: bool,
}

impl Runs {
    /// With those of which an earlier life of the rack knows no end.
    pub(crate) async fn open(store: &Arc<Store>) -> Result<Self, RackError> {
        let left = store.running_one_offs().await?;
        let running = |record: OneOffRecord| Running {
            record,
            started: true,
            attended: false,
            over: false,
            recorded: false,
        };
        let one_offs = left
            .into_iter()
            .map(|record| (record.id.clone(), running(record)));
        Ok(Self {
            one_offs: Mutex::new(one_offs.collect()),
            waiting: Mutex::default(),
            places: Arc::new(Semaphore::new(limits::SESSIONS_MAX)),
        })
    }

    /// One-offs of an app that run.
    pub(crate) fn of(&self, app: &AppName) -> Vec<OneOffRecord> {
        let one_offs = lock(&self.one_offs);
        let running = one_offs.values().filter(|running| !running.over);
        let records = running.map(|running| &running.record);
        records
            .filter(|record| record.app == *app)
            .cloned()
            .collect()
    }

    /// Ids of all of them, whose logs are kept.
    pub(crate) fn ids(&self) -> Vec<String> {
        lock(&self.one_offs)
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    /// Takes a place for a session; refuses when there is none.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, RackError> {
        let place = self.places.clone().try_acquire_owned();
        place.map_err(|_| RackError::TooManySessions {
            limit: limits::SESSIONS_MAX,
        })
    }

    /// Adds a one-off that is about to start; refuses one too many.
    pub(crate) fn begin(&self, record: OneOffRecord) -> Result<(), RackError> {
        let mut one_offs = lock(&self.one_offs);
        if one_offs.len() >= limits::ONE_OFFS_MAX {
            return Err(RackError::TooManyOneOffs {
                limit: limits::ONE_OFFS_MAX,
            });
        }
        let running = Running {
            attended: record.attached,
            record,
            started: false,
            over: false,
            recorded: false,
        };
        one_offs.insert(running.record.id.clone(), running);
        Ok(())
    }

    /// Notes that the engine has accepted a one-off.
    pub(crate) fn started(&self, id: &ProcessId) {
        if let Some(running) = lock(&self.one_offs).get_mut(id) {
            running.started = true;
        }
    }

    /// Forgets a one-off that was not even recorded.
    pub(crate) fn forget(&self, id: &ProcessId) {
        lock(&self.one_offs).remove(id);
    }

    /// Notes that a one-off has ended, so that whoever hears of its end does not find it running.
    fn over(&self, id: &ProcessId) {
        if let Some(running) = lock(&self.one_offs).get_mut(id) {
            running.over = true;
        }
    }

    /// Notes that the end of a one-off is recorded.
    fn recorded(&self, id: &ProcessId) {
        if let Some(running) = lock(&self.one_offs).get_mut(id) {
            (running.over, running.recorded) = (true, true);
        }
    }

    fn is_recorded(&self, id: &ProcessId) -> bool {
        let one_offs = lock(&self.one_offs);
        one_offs.get(id).is_some_and(|running| running.recorded)
    }

    /// Leaves a one-off to [`follow`]: its session does not see to its end any more.
    fn unattended(&self, id: &ProcessId) {
        if let Some(running) = lock(&self.one_offs).get_mut(id) {
            running.attended = false;
        }
    }

    /// Hands a client's connection to its session; false when there is none of that name that waits.
    pub(crate) fn attach(&self, session: &str, connection: OnUpgrade) -> bool {
        let waiting = lock(&self.waiting).remove(session);
        waiting.is_some_and(|waiting| waiting.send(connection).is_ok())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rack {
    /// Records once how a one-off ended, then has the engine forget it. What fails is left to [`follow`]: an engine may
    /// refuse to forget what its attendant has just seen end.
    pub(crate) async fn one_off_ended(&self, record: &OneOffRecord, end: OneOffEnd) {
        if !self.runs.is_recorded(&record.id) {
            self.record_one_off_end(record, end).await;
        }
        let task = TaskId::OneOff(record.app.clone(), record.id.clone());
        let settled = self.runs.is_recorded(&record.id) || self.store.app(&record.app).is_none();
        if settled && self.engine.forget_task(&task).await.is_ok() {
            lock(&self.runs.one_offs).remove(&record.id);
        } else {
            self.runs.unattended(&record.id);
        }
    }

    async fn record_one_off_end(&self, record: &OneOffRecord, end: OneOffEnd) {
        let words = match (&end.reason, end.code) {
            (Some(reason), _) => reason.clone(),
            (None, Some(code)) => format!("exited with {code}"),
            (None, None) => "ended".to_owned(),
        };
        let text = format!("one-off {} {words}", record.id);
        let ended = OneOffRecord {
            ended: Some(end),
            ..record.clone()
        };
        let event = self.one_off_event(record, "process:exit", text);
        if self.commit_one_off(ended, event).await.is_ok() {
            self.runs.recorded(&record.id);
        }
    }

    pub(crate) async fn commit_one_off(
        &self,
        record: OneOffRecord,
        event: Event,
    ) -> Result<(), RackError> {
        let mut commit = Commit::new(&record.app, StateChange::None);
        commit.one_offs.push(record);
        commit.events.push(event);
        Ok(self.store.commit(commit, self.clock.now()).await?)
    }

    pub(crate) fn one_off_event(&self, record: &OneOffRecord, kind: &str, text: String) -> Event {
        let engine = self.engine.capabilities().engine;
        Event {
            id: 0,
            app: record.app.clone(),
            promotion: None,
            at: crate::clock::wall(),
            kind: kind.to_owned(),
            source: crate::control::event_source(engine, record.service.as_str()),
            text,
            actor: Some(record.actor.clone()),
        }
    }
}
