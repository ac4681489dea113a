//! Looking at releases and builds, comparing releases, and composing them.

use std::collections::BTreeMap;

use hoist_core::describe::{self, EnvChange};
use hoist_core::id::{AppName, BuildId, ReleaseId};
use hoist_core::lineage::{self, Flaw, Start};

use super::Actor;
use crate::clock::wall;
use crate::error::RackError;
use crate::rack::Rack;
use crate::releases::new_release_id;
use crate::store::{AppEntry, BuildRecord, Commit, ListedRelease, ReleaseRecord, StateChange};

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

/// How a release differs from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseDiff {
    /// The release.
    pub release: ReleaseId,
    /// What it is compared with.
    pub against: ReleaseId,
    /// The other's build, then its own, when they differ.
    pub build: Option<(Option<BuildId>, Option<BuildId>)>,
    /// Lines of the manifest: [`describe::changed_lines`].
    pub manifest: Vec<String>,
    /// Names of variables.
    pub env: EnvChange,
}

impl Rack {
    /// Makes a release of the build of one and the environment of another, which is not promoted. Durable when it returns.
    pub async fn create_from(
        &self,
        app: &AppName,
        build_from: &Start,
        env_from: &Start,
        actor: &Actor,
    ) -> Result<ReleaseRecord, RackError> {
        self.refuse_deleting(app)?;
        let _one_at_a_time = self.env_changes.lock().await;
        let built = self.chosen(app, build_from).await?;
        let env = self.chosen(app, env_from).await?;
        let build = built.build.ok_or(RackError::NotBuilt(built.id.clone()))?;
        let release = ReleaseRecord {
            id: new_release_id()?,
            app: app.clone(),
            description: describe::created_from(&build, &built.id, &env.id),
            build: Some(build),
            parent: Some(built.id),
            created: wall(),
            actor: actor.0.clone(),
            env: env.env,
            rollback_of: None,
        };
        self.record_release(&release, actor).await?;
        Ok(release)
    }

    /// Records a release that is not promoted yet, with its event. Durable when it returns.
    pub(super) async fn record_release(
        &self,
        release: &ReleaseRecord,
        actor: &Actor,
    ) -> Result<(), RackError> {
        let mut commit = Commit::new(&release.app, StateChange::None);
        let text = format!("created {} ({})", release.id, release.description);
        commit
            .events
            .push(self.event(&release.app, actor, "release:create", text));
        commit.releases.push(release.clone());
        Ok(self.store.commit(commit, self.clock.now()).await?)
    }

    async fn chosen(&self, app: &AppName, start: &Start) -> Result<ReleaseRecord, RackError> {
        let found = self.base_release(app, start).await?;
        found.ok_or_else(|| RackError::NoRelease(app.clone()))
    }

    /// How a release differs from the active one, or from another.
    pub async fn diff(
        &self,
        app: &AppName,
        release: &ReleaseId,
        against: &Start,
    ) -> Result<ReleaseDiff, RackError> {
        let after = self.release(app, release).await?;
        let before = self.chosen(app, against).await?;
        let same_build = before.build == after.build;
        let manifest = match same_build {
            true => Vec::new(),
            false => describe::changed_lines(
                &self.manifest_text(&before).await?,
                &self.manifest_text(&after).await?,
            ),
        };
        Ok(ReleaseDiff {
            env: EnvChange::between(&self.releases.env(&before)?, &self.releases.env(&after)?),
            manifest,
            build: (!same_build).then_some((before.build, after.build)),
            release: after.id,
            against: before.id,
        })
    }

    async fn manifest_text(&self, release: &ReleaseRecord) -> Result<String, RackError> {
        let Some(build) = &release.build else {
            return Ok(String::new());
        };
        let build = self.build(&release.app, build).await?;
        Ok(build.manifest.map(|(_, text)| text).unwrap_or_default())
    }

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
        let descriptions = self.descriptions(app, &told.includes).await?;
        let includes = told.includes.into_iter();
        let includes = includes.map(|id| beside(&descriptions, id, None)).collect();
        Ok((includes, self.passed_over(app, told.passed_over).await?))
    }

    /// Releases with the reasons why they are not built on.
    pub(crate) async fn passed_over(
        &self,
        app: &AppName,
        flaws: Vec<(ReleaseId, Flaw)>,
    ) -> Result<Vec<Beside>, RackError> {
        let ids: Vec<_> = flaws.iter().map(|(id, _)| id.clone()).collect();
        let descriptions = self.descriptions(app, &ids).await?;
        let mut passed_over = Vec::with_capacity(flaws.len());
        for (id, flaw) in flaws {
            let reason = match flaw {
                Flaw::Own => self.went_wrong(&id).await?,
                Flaw::Under(under) => format!("it is built on {under}, which never became active"),
                Flaw::Aside => "it does not descend from the active release".to_owned(),
            };
            passed_over.push(beside(&descriptions, id, Some(reason)));
        }
        Ok(passed_over)
    }

    /// What releases changed, read at once: what is staged may be much.
    async fn descriptions(
        &self,
        app: &AppName,
        releases: &[ReleaseId],
    ) -> Result<BTreeMap<ReleaseId, String>, RackError> {
        if releases.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = self.store.descriptions(app, releases).await?;
        Ok(found.into_iter().collect())
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
    pub fn release_status(&self, entry: &AppEntry, release: &ListedRelease) -> Option<String> {
        let app = &entry.app;
        let promotion = app.promotion.as_ref();
        if promotion.is_some_and(|promotion| promotion.target == release.id) {
            return Some("promoting".to_owned());
        }
        let serving = app.serving.as_ref();
        if serving.is_some_and(|serving| serving.release == release.id) {
            return Some("active".to_owned());
        }
        let outcome = release.outcome.as_ref();
        outcome.filter(|outcome| *outcome != "succeeded").cloned()
    }
}

/// A release to be told of. One that went meanwhile has nothing to tell but its name.
fn beside(
    descriptions: &BTreeMap<ReleaseId, String>,
    id: ReleaseId,
    reason: Option<String>,
) -> Beside {
    Beside {
        description: descriptions.get(&id).cloned().unwrap_or_default(),
        id,
        reason,
    }
}
