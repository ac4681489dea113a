//! What people and programs can ask of a rack. Every front calls these; none reaches past them.

mod apps;
mod builds;
mod env;
mod lifecycle;
mod processes;
mod promotions;
mod releases;

use std::sync::Arc;

use hoist_core::id::{AppName, ReleaseId, Version};
use hoist_core::model::{App, Timestamp};
use hoist_core::plan;

use crate::clock::wall;
use crate::error::RackError;
use crate::rack::Rack;
use crate::store::{AppEntry, Commit, Event, ReleaseRecord, StateChange, StoreError};

pub use builds::BuildRequest;
pub(crate) use builds::{Built, Stands};
pub use processes::ProcessView;
pub use promotions::{IfBusy, PromoteRequest};

/// Who asks, for records and events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

impl Rack {
    /// An app, or the refusal that names it.
    pub fn app(&self, name: &AppName) -> Result<Arc<AppEntry>, RackError> {
        self.store
            .app(name)
            .ok_or_else(|| RackError::NoApp(name.clone()))
    }

    /// Changes an app's state by a pure function, again when somebody else was first. Durable when it returns.
    pub(crate) async fn change<T>(
        &self,
        name: &AppName,
        decide: impl Fn(&mut App, Version, Timestamp, &mut Commit) -> Result<T, RackError>,
    ) -> Result<T, RackError> {
        loop {
            let ticket = self.sequence.ticket().await?;
            let entry = self.app(name)?;
            let now = self.clock.now();
            let mut after = entry.app.clone();
            let mut commit = Commit::new(name, StateChange::None);
            let answer = decide(&mut after, ticket.version, now, &mut commit)?;
            commit.state = StateChange::Update {
                expected: entry.app.generation,
                app: Box::new(after),
            };
            match self.store.commit(commit, now).await {
                Err(StoreError::Conflict) => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    self.controller.wake.notify_one();
                    return Ok(answer);
                }
            }
        }
    }

    pub(crate) fn event(&self, app: &AppName, actor: &Actor, kind: &str, text: String) -> Event {
        let engine = self.engine.capabilities().engine;
        Event {
            id: 0,
            app: app.clone(),
            promotion: None,
            at: wall(),
            kind: kind.to_owned(),
            source: crate::control::event_source(engine, "app"),
            text,
            actor: Some(actor.0.clone()),
        }
    }

    /// The release that the next one is made from.
    ///
    /// The newest release that descends from the active one and of which no promotion failed, so that staged changes add
    /// up. While nothing is active: the newest of all.
    pub(crate) async fn base_release(
        &self,
        app: &AppName,
    ) -> Result<Option<ReleaseRecord>, RackError> {
        let entry = self.app(app)?;
        let newest = self.store.releases(app, None, 200).await?;
        let Some(active) = entry
            .app
            .serving
            .as_ref()
            .map(|serving| serving.release.clone())
        else {
            return Ok(newest.into_iter().next());
        };
        for candidate in &newest {
            if self.stands_on(candidate, &active, &newest).await? {
                return Ok(Some(candidate.clone()));
            }
        }
        Ok(self.store.release(app, &active).await?)
    }

    /// Whether a release descends from the active one by releases none of which failed.
    async fn stands_on(
        &self,
        release: &ReleaseRecord,
        active: &ReleaseId,
        known: &[ReleaseRecord],
    ) -> Result<bool, RackError> {
        let mut current = release;
        loop {
            if current.id == *active {
                return Ok(true);
            }
            let last = self.store.last_promotion(&current.id).await?;
            let failed = last.is_some_and(|promotion| {
                promotion
                    .outcome
                    .is_some_and(|outcome| outcome != "succeeded")
            });
            let parent = current.parent.as_ref();
            let parent = parent.and_then(|id| known.iter().find(|release| release.id == *id));
            match parent {
                Some(parent) if !failed => current = parent,
                _ => return Ok(false),
            }
        }
    }

    /// The app's status in the glossary's words.
    pub fn status(&self, entry: &AppEntry) -> plan::AppStatus {
        let seen = self.controller.last_seen(&entry.app.name);
        plan::status(&entry.app, &seen)
    }
}
