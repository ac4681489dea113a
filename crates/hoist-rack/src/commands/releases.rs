//! Looking at releases and builds.

use hoist_core::id::{AppName, BuildId, ReleaseId};
use hoist_core::lineage::{self, Flaw};

use crate::error::RackError;
use crate::rack::Rack;
use crate::store::{AppEntry, BuildRecord, ReleaseRecord};

/// A release that is told of beside another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// The release.
    pub id: ReleaseId,
    /// What it changed.
    pub description: String,
    /// Why it was passed over; none of one that is included.
    pub reason: Option<String>,
}

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

    /// What is worth telling of a release beside itself: what is staged in it, and then what was passed over for it.
    pub async fn told(
        &self,
        entry: &AppEntry,
        release: &ReleaseId,
    ) -> Result<(Vec<Beside>, Vec<Beside>), RackError> {
        let app = &entry.app.name;
        let active = entry.app.serving.as_ref().map(|serving| &serving.release);
        let newer = self.store.kin_after(app, active).await?;
        let told = lineage::told(release, &newer, active);
        let mut includes = Vec::with_capacity(told.includes.len());
        for id in told.includes {
            includes.push(self.beside(app, id, None).await?);
        }
        Ok((includes, self.passed_over(app, told.passed_over).await?))
    }

    /// Releases with the reasons why they are not built on.
    pub(crate) async fn passed_over(
        &self,
        app: &AppName,
        flaws: Vec<(ReleaseId, Flaw)>,
    ) -> Result<Vec<Beside>, RackError> {
        let mut passed_over = Vec::with_capacity(flaws.len());
        for (id, flaw) in flaws {
            let reason = match flaw {
                Flaw::Own => self.went_wrong(&id).await?,
                Flaw::Under(under) => format!("it is built on {under}, which never became active"),
                Flaw::Aside => "it does not descend from the active release".to_owned(),
            };
            passed_over.push(self.beside(app, id, Some(reason)).await?);
        }
        Ok(passed_over)
    }

    async fn beside(
        &self,
        app: &AppName,
        id: ReleaseId,
        reason: Option<String>,
    ) -> Result<Beside, RackError> {
        let record = self.release(app, &id).await?;
        Ok(Beside {
            id,
            description: record.description,
            reason,
        })
    }

    /// How a promotion of a release went wrong, in a sentence.
    async fn went_wrong(&self, release: &ReleaseId) -> Result<String, RackError> {
        let promotions = self.store.promotions_of(release).await?;
        let mut outcomes = promotions
            .into_iter()
            .filter_map(|promotion| promotion.outcome);
        let outcome = outcomes.find(|outcome| outcome != "succeeded");
        Ok(match outcome.as_deref() {
            Some("failed") => "its promotion failed".to_owned(),
            Some(outcome) => format!("its promotion was {}", outcome.replace('-', " ")),
            None => "its promotion did not succeed".to_owned(),
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
