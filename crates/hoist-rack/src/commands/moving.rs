//! Taking apps and builds away, and taking in what was taken from another rack.
//!
//! What is taken in is numbered here: the app's generation is drawn from this rack's sequence like that of a new app, and
//! promotions, which have numbers of their own, stay where they were made. So nothing is named twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_core::id::{AppName, BuildId, ReleaseId, ServiceName};
use hoist_core::limits::PROMOTION_LIMIT_MAX;
use hoist_core::lineage::Start;
use hoist_core::manifest::{self, Dialect};
use hoist_core::model::{Limits, Millis};
use hoist_core::plan::{self, Scaling};

use super::Actor;
use crate::archive::remove_tree;
use crate::clock::wall;
use crate::error::RackError;
use crate::moving::{
    ExportWish, Head, ImportWish, Kind, Made, MoveError, Origin, Prepared, Unpacked, unpack,
};
use crate::rack::Rack;
use crate::releases::{new_build_id, new_release_id};
use crate::secrets::Env;
use crate::store::{
    AppSettings, BuildRecord, BuildStatus, Commit, ReleaseRecord, StateChange, StoreError, Taken,
};

/// An app that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its name.
    pub app: AppName,
    /// Its builds, oldest first.
    pub builds: Vec<Renamed<BuildId>>,
    /// Its releases, oldest first.
    pub releases: Vec<Renamed<ReleaseId>>,
    /// The release that was active where it came from.
    pub active: Option<ReleaseId>,
    /// Whether its environments came along.
    pub env: bool,
    /// Volumes that came along.
    pub volumes: Vec<String>,
}

/// What a record is called, and was called elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed<T> {
    /// Here.
    pub id: T,
    /// There.
    pub was: T,
}

impl Rack {
    /// Prepares a complete build to be taken away.
    pub async fn export_build(
        &self,
        app: &AppName,
        build: &BuildId,
    ) -> Result<Prepared, RackError> {
        let held = self.exports.clone().read_owned().await;
        let build = self.build(app, build).await?;
        Ok(Prepared::of_build(&build, self.origin(held))?)
    }

    /// Prepares an app to be taken away, as of one moment. The app goes on meanwhile.
    pub async fn export_app(
        self: &Arc<Self>,
        app: &AppName,
        wish: ExportWish,
    ) -> Result<Prepared, RackError> {
        self.refuse_deleting(app)?;
        let held = self.exports.clone().read_owned().await;
        let whole = self.store.whole_app(app).await?;
        let whole = whole.ok_or_else(|| RackError::NoApp(app.clone()))?;
        let volumes = match wish.with_volumes {
            true => self.volumes(app),
            false => Vec::new(),
        };
        let rack = self.clone();
        // Making a key of a passphrase takes a while, by intention.
        let prepared = tokio::task::spawn_blocking(move || {
            let open = |release: &ReleaseRecord| rack.releases.env(release);
            Prepared::of_app(whole, &wish, volumes, rack.origin(held), open)
        });
        prepared.await.map_err(|_| RackError::Stopping)?
    }

    fn origin(&self, held: tokio::sync::OwnedRwLockReadGuard<()>) -> Origin<'_> {
        Origin {
            rack: &self.options.name,
            engine: self.engine.capabilities().engine,
            layout: &self.layout,
            held,
        }
    }

    /// Makes a build of an export, which it takes over: a new one, with a release of it on the app's base. Durable when it
    /// returns; nothing is left when it fails.
    pub async fn import_build(
        self: &Arc<Self>,
        app: &AppName,
        file: PathBuf,
        actor: &Actor,
    ) -> Result<BuildRecord, RackError> {
        let (rack, app, actor) = (self.clone(), app.clone(), actor.clone());
        self.see_through(async move {
            rack.refuse_deleting(&app)?;
            let unpacked = rack
                .unpack(file, Kind::Build, ImportWish::default())
                .await?;
            rack.take_build(&app, unpacked, &actor).await
        })
        .await
    }

    /// Makes an app of an export, which it takes over. Nothing of it runs. Durable when it returns; nothing is left when it
    /// fails.
    pub async fn import_app(
        self: &Arc<Self>,
        file: PathBuf,
        wish: ImportWish,
        actor: &Actor,
    ) -> Result<Imported, RackError> {
        let (rack, actor) = (self.clone(), actor.clone());
        self.see_through(async move {
            if let Some(name) = &wish.app {
                rack.refuse_taken_name(name)?;
            }
            let name = wish.app.clone();
            let unpacked = rack.unpack(file, Kind::App, wish).await?;
            let name = match name {
                Some(name) => name,
                None => unpacked.head.app.parse()?,
            };
            rack.take_app(&name, unpacked, &actor).await
        })
        .await
    }

    /// Goes on when the client that asked for it went away: it would be left in half.
    async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RackError>> + Send + 'static,
    ) -> Result<T, RackError> {
        let ended = self.tasks.spawn(work).await;
        ended.map_err(|_| RackError::Stopping)?
    }

    async fn unpack(
        &self,
        file: PathBuf,
        kind: Kind,
        wish: ImportWish,
    ) -> Result<Unpacked, RackError> {
        let here = Made::here(self.engine.capabilities().engine);
        let unpacked = tokio::task::spawn_blocking(move || {
            let place = file.with_extension("import");
            let unpacked = unpack(&file, kind, &here, &wish, place);
            let _ = fs::remove_file(&file);
            let unpacked = unpacked?;
            unpacked.place.sync()?;
            Ok(unpacked)
        });
        unpacked.await.map_err(|_| RackError::Stopping)?
    }

    async fn take_build(
        &self,
        app: &AppName,
        unpacked: Unpacked,
        actor: &Actor,
    ) -> Result<BuildRecord, RackError> {
        let _one_at_a_time = self.env_changes.lock().await;
        self.refuse_deleting(app)?;
        let (mut builds, _) = unpacked.head.records(app)?;
        let Some(found) = builds.pop() else {
            return Err(MoveError::Damaged("it holds no build".to_owned()).into());
        };
        let base = self.base_release(app, &Start::Base).await?;
        let env = self.releases.env_of(base.as_ref())?;
        if let Some((file, text)) = &found.manifest {
            manifest::read_with(Dialect::of_file(file), file, text, &env)?;
        }
        let was = found.id.clone();
        let running = BuildRecord {
            id: new_build_id()?,
            status: BuildStatus::Running,
            created: wall(),
            ended: None,
            actor: actor.0.clone(),
            release: None,
            ..found
        };
        let release = ReleaseRecord {
            id: new_release_id()?,
            app: app.clone(),
            build: Some(running.id.clone()),
            parent: base.map(|release| release.id),
            created: wall(),
            description: running.description.clone(),
            actor: actor.0.clone(),
            env: self.releases.seal(app, &env)?,
            rollback_of: None,
        };
        // It ends soon by itself: whoever wants to cancel it waits for that.
        let _running = self.build_stops.begin(&running.id);
        // First the row: a slug without one belongs to nobody.
        let mut begun = Commit::new(app, StateChange::None);
        begun.builds.push(running.clone());
        self.store.commit(begun, self.clock.now()).await?;
        let ended = self.finish_build(&unpacked, &was, &running, release, actor);
        match ended.await {
            Ok(complete) => Ok(complete),
            Err(error) => {
                let failed = BuildRecord {
                    status: BuildStatus::Failed,
                    ended: Some(wall()),
                    reason: Some(crate::error::with_causes(&error)),
                    ..running
                };
                let mut commit = Commit::new(app, StateChange::None);
                commit.builds.push(failed);
                // Where that fails as well, the next start of the rack marks it failed.
                let _ = self.store.commit(commit, self.clock.now()).await;
                Err(error)
            }
        }
    }

    async fn finish_build(
        &self,
        unpacked: &Unpacked,
        was: &BuildId,
        running: &BuildRecord,
        release: ReleaseRecord,
        actor: &Actor,
    ) -> Result<BuildRecord, RackError> {
        let app = &running.app;
        let mut placed = Placed::default();
        self.place(unpacked, app, was, &running.id, &mut placed)?;
        let complete = BuildRecord {
            status: BuildStatus::Complete,
            ended: Some(wall()),
            release: Some(release.id.clone()),
            ..running.clone()
        };
        let text = format!(
            "build {} made {} (imported: {was} of {} on {})",
            complete.id, release.id, unpacked.head.app, unpacked.head.rack
        );
        let mut commit = Commit::new(app, StateChange::None);
        commit
            .events
            .push(self.event(app, actor, "build:import", text));
        commit.builds.push(complete.clone());
        commit.releases.push(release);
        self.store.commit(commit, self.clock.now()).await?;
        placed.keep();
        Ok(complete)
    }

    async fn take_app(
        &self,
        name: &AppName,
        unpacked: Unpacked,
        actor: &Actor,
    ) -> Result<Imported, RackError> {
        // Two imports at once must not find the same ids free.
        let _one_at_a_time = self.env_changes.lock().await;
        self.refuse_taken_name(name)?;
        let head = &unpacked.head;
        let (mut builds, mut releases) = head.records(name)?;
        let ids: Vec<_> = builds.iter().map(|build| build.id.clone()).collect();
        let release_ids: Vec<_> = releases.iter().map(|release| release.id.clone()).collect();
        let names = Names::choose(
            &ids,
            &release_ids,
            &self.store.taken(&ids, &release_ids).await?,
        )?;
        for release in &mut releases {
            let env = unpacked
                .envs
                .as_ref()
                .and_then(|envs| envs.get(&release.id));
            release.env = match env {
                Some(env) => self.releases.seal(name, env)?,
                None => self.releases.seal(name, &Env::new())?,
            };
            names.rename_release(release);
        }
        let mut placed = Placed::default();
        for build in &mut builds {
            let was = build.id.clone();
            names.rename_build(build);
            self.place(&unpacked, name, &was, &build.id, &mut placed)?;
        }
        self.place_volumes(&unpacked, name, &mut placed)?;
        let ticket = self.sequence.ticket().await?;
        let mut app = plan::create(name.clone(), ticket.version);
        let now = self.clock.now();
        plan::scale(&mut app, &scaling(head)?, ticket.version, now)?;
        if let Some(limit) = head.settings.promotion_limit_ms {
            app.promotion_limit = Millis(limit.clamp(1_000, PROMOTION_LIMIT_MAX.0));
        }
        let mut commit = Commit::new(name, StateChange::Create(Box::new(app)));
        commit.settings = Some(AppSettings {
            keep_releases: head.settings.keep_releases,
            masked: head.settings.masked.clone(),
        });
        let text = format!(
            "imported {} of {}: {} releases, {} builds",
            head.app,
            head.rack,
            releases.len(),
            builds.len()
        );
        commit
            .events
            .push(self.event(name, actor, "app:import", text));
        commit.builds = builds;
        commit.releases = releases;
        match self.store.commit(commit, now).await {
            Err(StoreError::Conflict) => return Err(RackError::AppExists(name.clone())),
            other => other?,
        }
        placed.keep();
        let active = head.active.as_ref().and_then(|was| was.parse().ok());
        Ok(Imported {
            app: name.clone(),
            active: active.map(|was: ReleaseId| names.release(&was)),
            builds: renamed(ids, |was| names.build(was)),
            releases: renamed(release_ids, |was| names.release(was)),
            env: unpacked.envs.is_some(),
            volumes: head.volumes.clone(),
        })
    }

    /// Moves what belongs to a build to where it is looked for.
    fn place(
        &self,
        unpacked: &Unpacked,
        app: &AppName,
        was: &BuildId,
        build: &BuildId,
        placed: &mut Placed,
    ) -> Result<(), RackError> {
        let log = unpacked.place.log(was.as_str());
        if log.is_file() {
            placed.move_to(&log, self.layout.build_log(app, build))?;
        }
        let slug = unpacked.place.slug(was.as_str());
        placed.move_to(&slug, self.layout.slug(app, build))
    }

    fn place_volumes(
        &self,
        unpacked: &Unpacked,
        app: &AppName,
        placed: &mut Placed,
    ) -> Result<(), RackError> {
        for volume in &unpacked.head.volumes {
            let to = self.layout.volume(app, volume);
            if fs::symlink_metadata(&to).is_ok() {
                let (app, volume) = (app.to_string(), volume.clone());
                return Err(MoveError::VolumeTaken { app, volume }.into());
            }
            placed.move_to(&unpacked.place.volume(volume), to)?;
        }
        Ok(())
    }
}

fn renamed<T>(ids: Vec<T>, here: impl Fn(&T) -> T) -> Vec<Renamed<T>> {
    let renamed = |was: T| Renamed {
        id: here(&was),
        was,
    };
    ids.into_iter().map(renamed).collect()
}

/// What an operator had set.
fn scaling(head: &Head) -> Result<Scaling, RackError> {
    let mut scaling = Scaling::default();
    for (name, size) in &head.settings.sizes {
        let service: ServiceName = name.parse()?;
        scaling.sizes.insert(service, *size);
    }
    for (name, limits) in &head.settings.limits {
        let service: ServiceName = name.parse()?;
        let limits = Limits {
            cpu_millicores: limits.cpu_millicores,
            memory_bytes: limits.memory_bytes,
        };
        scaling.limits.insert(service, limits);
    }
    Ok(scaling)
}

/// What records are called here: ids are unique in a rack, and another app may have them.
struct Names {
    builds: BTreeMap<BuildId, BuildId>,
    releases: BTreeMap<ReleaseId, ReleaseId>,
}

impl Names {
    fn choose(
        builds: &[BuildId],
        releases: &[ReleaseId],
        taken: &Taken,
    ) -> Result<Self, RackError> {
        let mut names = Self {
            builds: BTreeMap::new(),
            releases: BTreeMap::new(),
        };
        for was in builds {
            if taken.builds.contains(was.as_str()) {
                names.builds.insert(was.clone(), new_build_id()?);
            }
        }
        for was in releases {
            if taken.releases.contains(was.as_str()) {
                names.releases.insert(was.clone(), new_release_id()?);
            }
        }
        Ok(names)
    }

    fn build(&self, was: &BuildId) -> BuildId {
        self.builds.get(was).unwrap_or(was).clone()
    }

    fn release(&self, was: &ReleaseId) -> ReleaseId {
        self.releases.get(was).unwrap_or(was).clone()
    }

    fn rename_build(&self, build: &mut BuildRecord) {
        build.id = self.build(&build.id);
        build.release = build.release.as_ref().map(|was| self.release(was));
    }

    fn rename_release(&self, release: &mut ReleaseRecord) {
        release.id = self.release(&release.id);
        release.build = release.build.as_ref().map(|was| self.build(was));
        release.parent = release.parent.as_ref().map(|was| self.release(was));
        release.rollback_of = release.rollback_of.as_ref().map(|was| self.release(was));
    }
}

/// What was moved to its place, and goes again unless it is kept.
#[derive(Default)]
struct Placed(Vec<PathBuf>);

impl Placed {
    fn move_to(&mut self, from: &Path, to: PathBuf) -> Result<(), RackError> {
        let doing = || RackError::io("move what was imported into place");
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(doing())?;
        }
        fs::rename(from, &to).map_err(doing())?;
        self.0.push(to);
        Ok(())
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = match path.is_dir() {
                true => remove_tree(path),
                false => fs::remove_file(path),
            };
            // Directories that were made for it: they go where nothing else is in them.
            for parent in path.ancestors().skip(1).take(2) {
                let _ = fs::remove_dir(parent);
            }
        }
    }
}
