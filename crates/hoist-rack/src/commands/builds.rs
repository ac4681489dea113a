//! Taking source and starting a build of it, unless there is one already.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hoist_core::describe;
use hoist_core::detect::Runtime;
use hoist_core::id::{AppName, BuildId, ReleaseId};
use hoist_core::lineage::Start;
use hoist_core::manifest::{self, Dialect};
use hoist_core::model::Standing;
use hoist_core::plan::{AppStatus, CommandError};

use super::Actor;
use crate::build::{self, Contents, Listing, Origin, Source};
use crate::clock::wall;
use crate::error::RackError;
use crate::rack::Rack;
use crate::releases::{new_build_id, new_release_id};
use crate::secrets::Env;
use crate::store::{AppEntry, BuildRecord, BuildStatus, Commit, ReleaseRecord, StateChange};

/// Releases that are looked through for one that fits.
const RELEASES_LOOKED_AT: u32 = 200;

/// How long a build may take to end before whoever ended it hears that it does.
const BUILD_CANCEL_LIMIT: Duration = Duration::from_secs(40);

/// What a build is asked for.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The user's own words; they win over the commit's.
    pub description: Option<String>,
    /// The commit, from a clean tree.
    pub git_sha: Option<String>,
    /// Its subject.
    pub git_message: Option<String>,
    /// Another manifest than the first of the known names.
    pub manifest: Option<String>,
    /// Begin with an empty build cache.
    pub no_cache: bool,
    /// The release that the new one is made from.
    pub start: Start,
}

/// What became of a source that was to be built.
#[derive(Debug)]
pub(crate) enum Built {
    /// A build began.
    Began(BuildRecord),
    /// Nothing changed since this build: nothing is built.
    Unchanged {
        /// The build that there is.
        build: BuildRecord,
        /// The release of it to promote.
        release: ReleaseId,
        /// How far that release is.
        stands: Stands,
    },
}

/// How a release of a build that there is stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stands {
    /// It is active, all of it runs, and nothing is in flight.
    Active,
    /// This promotion of it is in flight.
    Promoting(String),
    /// It has to be promoted.
    Aside,
}

impl Rack {
    /// Starts a build of an uploaded archive, which it takes over. Durable when it returns; the build itself goes on.
    pub async fn start_build(
        self: &Arc<Self>,
        app: &AppName,
        archive: &Path,
        request: BuildRequest,
        actor: &Actor,
    ) -> Result<BuildRecord, RackError> {
        self.refuse_deleting(app)?;
        let (_, env) = self.env(app, &request.start).await?;
        let origin = Origin::Archive(archive.to_owned());
        self.begin_build(app, origin, request, env, actor).await
    }

    /// The contents of an app's sources.
    pub(crate) fn contents(&self, app: &AppName) -> Contents {
        Contents::new(self.layout.source(app), self.layout.scratch())
    }

    /// Builds a source of which all contents are here. When nothing changed since the build that the next release would
    /// run anyway, or since the last one, then there is nothing to build; `rebuild` builds all the same.
    pub(crate) async fn build_source(
        self: &Arc<Self>,
        app: &AppName,
        listing: Listing,
        request: BuildRequest,
        rebuild: bool,
        actor: &Actor,
    ) -> Result<Built, RackError> {
        self.refuse_deleting(app)?;
        let (_, env) = self.env(app, &request.start).await?;
        if !(rebuild || request.no_cache)
            && let Some(unchanged) = self.unchanged(app, &listing, &request, &env, actor).await?
        {
            return Ok(unchanged);
        }
        let origin = Origin::Listed(self.contents(app), listing);
        let begun = self.begin_build(app, origin, request, env, actor).await?;
        Ok(Built::Began(begun))
    }

    pub(crate) fn refuse_deleting(&self, app: &AppName) -> Result<Arc<AppEntry>, RackError> {
        let entry = self.app(app)?;
        if matches!(entry.app.standing, Standing::Deleting { .. }) {
            return Err(CommandError::Deleting.into());
        }
        Ok(entry)
    }

    async fn begin_build(
        self: &Arc<Self>,
        app: &AppName,
        origin: Origin,
        request: BuildRequest,
        env: Env,
        actor: &Actor,
    ) -> Result<BuildRecord, RackError> {
        let description = describe_request(&request);
        let wanted = build::Wanted {
            no_cache: request.no_cache,
            start: request.start,
        };
        let id = new_build_id()?;
        // What is no archive, or has no manifest, is refused before there is a build.
        let source = Source::open(&self.layout, &id, origin, request.manifest, env).await?;
        let record = BuildRecord {
            id,
            app: app.clone(),
            status: BuildStatus::Running,
            created: wall(),
            ended: None,
            description,
            git_sha: request.git_sha,
            actor: actor.0.clone(),
            reason: None,
            manifest: None,
            release: None,
            warnings: Vec::new(),
            inputs: source.inputs.clone(),
            app_json: None,
            runtime: Runtime::default(),
        };
        let mut commit = Commit::new(app, StateChange::None);
        let text = format!("started build {}", record.id);
        commit
            .events
            .push(self.event(app, actor, "build:start", text));
        commit.builds.push(record.clone());
        // Before anybody can know of it, so that it can be ended from its first moment.
        let stop = self.build_stops.begin(&record.id);
        self.store.commit(commit, self.clock.now()).await?;
        let rack = self.clone();
        let running = record.clone();
        self.tasks
            .spawn(async move { build::run(rack, running, source, wanted, stop).await });
        Ok(record)
    }

    /// Ends a build that runs. When it returns, its processes are gone; or it takes longer than [`BUILD_CANCEL_LIMIT`],
    /// goes on ending, and the answer says that it still runs.
    pub async fn cancel_build(
        &self,
        app: &AppName,
        build: &BuildId,
        actor: &Actor,
    ) -> Result<BuildRecord, RackError> {
        let running = |record: BuildRecord| match record.status {
            BuildStatus::Running => Ok(record),
            ended => Err(RackError::BuildEnded {
                app: app.clone(),
                build: record.id,
                status: ended.word(),
            }),
        };
        running(self.build(app, build).await?)?;
        if !self.build_stops.ask(build, &actor.0) {
            // It ended this moment; or its end could not be recorded, and nothing runs.
            let left = running(self.build(app, build).await?)?;
            let why = format!("cancelled by {}", actor.0);
            build::end(self, left, BuildStatus::Cancelled, None, why).await;
        }
        let mut changes = self.store.changes();
        let ended = async {
            loop {
                changes.mark_unchanged();
                let record = self.build(app, build).await?;
                match record.status {
                    BuildStatus::Running => {
                        changes.changed().await.map_err(|_| RackError::Stopping)?;
                    }
                    BuildStatus::Cancelled => return Ok(record),
                    BuildStatus::Complete | BuildStatus::Failed => {
                        // It was faster.
                        return running(record);
                    }
                }
            }
        };
        match tokio::time::timeout(BUILD_CANCEL_LIMIT, ended).await {
            Ok(ended) => ended,
            Err(_) => self.build(app, build).await,
        }
    }

    /// The build that would be made again, with a release of it that has the present environment.
    async fn unchanged(
        &self,
        app: &AppName,
        listing: &Listing,
        request: &BuildRequest,
        env: &Env,
        actor: &Actor,
    ) -> Result<Option<Built>, RackError> {
        let Some(build) = self.same_build(app, listing, request, env).await? else {
            return Ok(None);
        };
        let _one_at_a_time = self.env_changes.lock().await;
        let found = match request.description {
            // Words of its own ask for a release of its own.
            Some(_) => None,
            None => self.release_of(app, &build, env).await?,
        };
        let release = match found {
            Some(release) => release,
            None => self.release_again(app, &build, request, actor).await?,
        };
        let stands = self.stands(app, &release)?;
        Ok(Some(Built::Unchanged {
            build,
            release,
            stands,
        }))
    }

    /// The build of the release that the next one is made from, or else the last build, if it is of the same inputs and
    /// its slug is there.
    async fn same_build(
        &self,
        app: &AppName,
        listing: &Listing,
        request: &BuildRequest,
        env: &Env,
    ) -> Result<Option<BuildRecord>, RackError> {
        let base = self.base_release(app, &request.start).await?;
        let base = match base.and_then(|release| release.build) {
            Some(build) => self.store.build(app, &build).await?,
            None => None,
        };
        let last = self.store.builds(app, None, 1).await?;
        let same = |build: &BuildRecord| {
            let (file, text) = build.manifest.as_ref()?;
            let chosen = build::chosen(listing, request.manifest.as_deref());
            // The same source has the same text; of another source the digest differs anyway.
            let (manifest, _) =
                manifest::read_with(Dialect::of_file(file), file, text, env).ok()?;
            let inputs = build::inputs(&listing.id, &chosen, &manifest);
            let complete = build.status == BuildStatus::Complete;
            (complete && build.inputs.as_ref() == Some(&inputs)).then_some(())
        };
        let here = |build: &BuildRecord| self.layout.slug(app, &build.id).is_dir();
        let mut candidates = base.into_iter().chain(last);
        Ok(candidates.find(|build| same(build).is_some() && here(build)))
    }

    /// The newest release of a build that has this environment.
    async fn release_of(
        &self,
        app: &AppName,
        build: &BuildRecord,
        env: &Env,
    ) -> Result<Option<ReleaseId>, RackError> {
        let releases = self.store.releases(app, None, RELEASES_LOOKED_AT).await?;
        for release in releases {
            if release.build.as_ref() == Some(&build.id) && self.releases.env(&release)? == *env {
                return Ok(Some(release.id));
            }
        }
        Ok(None)
    }

    /// A release more of a build, with the environment that the next one has.
    async fn release_again(
        &self,
        app: &AppName,
        build: &BuildRecord,
        request: &BuildRequest,
        actor: &Actor,
    ) -> Result<ReleaseId, RackError> {
        let base = self.base_release(app, &request.start).await?;
        let env = self.releases.env_of(base.as_ref())?;
        let release = ReleaseRecord {
            id: new_release_id()?,
            app: app.clone(),
            build: Some(build.id.clone()),
            parent: base.map(|release| release.id),
            created: wall(),
            description: describe_request(request),
            actor: actor.0.clone(),
            env: self.releases.seal(app, &env)?,
            rollback_of: None,
        };
        let id = release.id.clone();
        let mut commit = Commit::new(app, StateChange::None);
        let text = format!("created {id} of build {}", build.id);
        commit
            .events
            .push(self.event(app, actor, "release:create", text));
        commit.releases.push(release);
        self.store.commit(commit, self.clock.now()).await?;
        Ok(id)
    }

    fn stands(&self, app: &AppName, release: &ReleaseId) -> Result<Stands, RackError> {
        let entry = self.app(app)?;
        if let Some(promotion) = &entry.app.promotion {
            let same = promotion.target == *release && self.status(&entry) == AppStatus::Updating;
            return Ok(if same {
                Stands::Promoting(promotion.number.to_string())
            } else {
                Stands::Aside
            });
        }
        let serving = entry.app.serving.as_ref();
        let serves = serving.is_some_and(|serving| serving.release == *release);
        Ok(if serves && self.status(&entry) == AppStatus::Running {
            Stands::Active
        } else {
            Stands::Aside
        })
    }
}

fn describe_request(request: &BuildRequest) -> String {
    match (&request.description, &request.git_sha) {
        (Some(words), _) => describe::one_line(words),
        (None, Some(sha)) => {
            describe::commit(sha, request.git_message.as_deref().unwrap_or_default())
        }
        (None, None) => String::new(),
    }
}
