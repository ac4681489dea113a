//! What people and programs can ask of a rack. Every front calls these; none reaches past them.

mod apps;
mod builds;
mod env;
mod lifecycle;
mod moving;
mod params;
mod processes;
mod promotions;
mod releases;
mod runs;

use std::sync::Arc;

use hoist_core::id::{AppName, ReleaseId, Version};
use hoist_core::lineage::{self, Base, Start};
use hoist_core::model::{App, Timestamp};
use hoist_core::plan;

use crate::clock::wall;
use crate::error::RackError;
use crate::rack::Rack;
use crate::store::{AppEntry, Commit, Event, ReleaseRecord, StateChange, StoreError};

pub use builds::BuildRequest;
pub(crate) use builds::{Built, Stands};
pub use env::EnvUpdate;
pub use lifecycle::{ScaleEffect, ScaleOutcome, ScaleWish};
pub use moving::{Imported, Renamed};
pub(crate) use params::check_timeout;
pub use params::{Param, ParamsUpdate};
pub(crate) use processes::awaits_route;
pub use processes::{Found, OneOffView, ProcessView, RenewalView};
pub use promotions::RolledBack;
pub(crate) use promotions::kind_word;
pub use promotions::{IfBusy, PromoteRequest};
pub use releases::{Beside, ReleaseDiff};
pub use runs::{RunRequest, RunStreams, Terminal};

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

    /// The release that the next one is made from; what it stands on and what was passed over for it: [`lineage::base`].
    pub(crate) async fn base(&self, app: &AppName) -> Result<Base, RackError> {
        let entry = self.app(app)?;
        let active = entry.app.serving.as_ref().map(|serving| &serving.release);
        let newer = self.store.kin_after(app, active).await?;
        Ok(lineage::base(&newer, active))
    }

    /// The release that the next one is made from, as far as nobody asked for another.
    pub(crate) async fn base_release(
        &self,
        app: &AppName,
        start: &Start,
    ) -> Result<Option<ReleaseRecord>, RackError> {
        let release = match start {
            Start::Base => self.base(app).await?.release,
            Start::Active => Some(self.active_release(app)?),
            Start::Newest => {
                let newest = self.store.releases(app, None, 1).await?;
                return Ok(newest.into_iter().next());
            }
            Start::Release(release) => return self.release(app, release).await.map(Some),
        };
        match release {
            Some(release) => Ok(self.store.release(app, &release).await?),
            None => Ok(None),
        }
    }

    /// The release that serves.
    pub(crate) fn active_release(&self, app: &AppName) -> Result<ReleaseId, RackError> {
        let entry = self.app(app)?;
        let serving = entry.app.serving.as_ref();
        let serving = serving.ok_or_else(|| RackError::NothingActive(app.clone()))?;
        Ok(serving.release.clone())
    }

    /// The app's status in the glossary's words.
    pub fn status(&self, entry: &AppEntry) -> plan::AppStatus {
        let seen = self.controller.last_seen(&entry.app.name);
        plan::status(&entry.app, &seen)
    }
}
