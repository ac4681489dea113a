//! Looking at releases and builds.

use hoist_core::id::{AppName, BuildId, ReleaseId};

use crate::error::RackError;
use crate::rack::Rack;
use crate::store::{AppEntry, BuildRecord, ReleaseRecord};

impl Rack {
    /// A release of an app.
    pub async fn release(&self, app: &AppName, id: &ReleaseId) -> Result<ReleaseRecord, RackError> {
        self.app(app)?;
        let found = self.store.release(app, id).await?;
        found.ok_or_else(|| RackError::NoReleaseNamed {
            app: app.clone(),
            release: id.clone(),
        })
    }

    /// A build of an app.
    pub async fn build(&self, app: &AppName, id: &BuildId) -> Result<BuildRecord, RackError> {
        self.app(app)?;
        let found = self.store.build(app, id).await?;
        found.ok_or_else(|| RackError::NoBuild {
            app: app.clone(),
            build: id.clone(),
        })
    }

    /// The STATUS of a release: `active`, `promoting`, how its last promotion failed, or nothing.
    pub async fn release_status(
        &self,
        entry: &AppEntry,
        release: &ReleaseId,
    ) -> Result<Option<String>, RackError> {
        let app = &entry.app;
        if app
            .promotion
            .as_ref()
            .is_some_and(|promotion| promotion.target == *release)
        {
            return Ok(Some("promoting".to_owned()));
        }
        if app
            .serving
            .as_ref()
            .is_some_and(|serving| serving.release == *release)
        {
            return Ok(Some("active".to_owned()));
        }
        let last = self.store.last_promotion(release).await?;
        let outcome = last.and_then(|promotion| promotion.outcome);
        Ok(outcome.filter(|outcome| outcome != "succeeded"))
    }
}
