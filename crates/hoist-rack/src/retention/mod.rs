//! Collects what nobody needs of old releases and builds: records first, then files. Never a volume.
//!
//! What goes is decided purely ([`hoist_core::retention`]) on facts of one generation of an app, and leaves the store only
//! while the app is at that generation. A crash between records and files leaves slugs without a record: the next life
//! of the rack finds them.

mod files;
mod sweeper;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hoist_core::id::{AppName, BuildId, ReleaseId, Version};
use hoist_core::retention::{self, Facts, Gone, Keep, Unneeded};
use hoist_engine::TaskId;
use tokio::sync::Mutex;

use crate::error::{RackError, with_causes};
use crate::layout::Layout;
use crate::rack::Rack;
use crate::store::{ROWS_MAX, Rows, StoreError, Surplus};

pub(crate) use sweeper::{FIRST_PAUSE, PAUSE, run};
pub(crate) use wanted::Wanted;

/// What sweeps of one rack have in common.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// One sweep at a time.
    turn: Mutex<()>,
    /// What commands that wait need.
    pub(crate) wanted: Wanted,
}

/// What a sweep removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Releases and builds, app by app.
    pub items: Vec<SweptItem>,
    /// Records of old promotions.
    pub promotions: u64,
    /// Old events.
    pub events: u64,
    /// Records of old one-offs.
    pub one_offs: u64,
    /// Releases older than those that are kept anyway, which something needs.
    pub needed: u64,
    /// Apps of which not everything went that should have.
    pub failed: Vec<Unswept>,
}

/// An app that was not swept to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unswept {
    /// The app.
    pub app: AppName,
    /// Why not, with all causes.
    pub why: String,
}

/// One thing that a sweep removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptItem {
    /// The app.
    pub app: AppName,
    /// What it is.
    pub what: SweptWhat,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// What a sweep removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweptWhat {
    /// A release that nothing needs and that is not among the newest so many.
    Release(ReleaseId, u32),
    /// A build with its slug and its log.
    Build(BuildId, Unneeded),
    /// A slug or a log of which there is no record.
    Stray(BuildId),
}

impl Swept {
    /// Bytes on the disk, together.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }

    /// What failed, in one line for `doctor`.
    pub(crate) fn failure(&self) -> Option<String> {
        let first = self.failed.first()?;
        let why = format!("{}: {}", first.app, first.why);
        Some(match self.failed.len() {
            1 => why,
            count => format!("{why}; and {} more apps", count - 1),
        })
    }

    fn add(&mut self, app: &AppName, what: SweptWhat, bytes: u64) {
        let app = app.clone();
        self.items.push(SweptItem { app, what, bytes });
    }

    fn add_releases(&mut self, app: &AppName, releases: &[ReleaseId], keep: u32) {
        for release in releases {
            self.add(app, SweptWhat::Release(release.clone(), keep), 0);
        }
    }

    fn count(&mut self, surplus: &Surplus) {
        self.promotions += surplus.promotions.len() as u64;
        self.events += surplus.events.len() as u64;
        self.one_offs += surplus.one_offs.len() as u64;
    }
}

/// What an engine still holds of apps, by the promotions that brought it up.
type Held = BTreeMap<AppName, BTreeSet<Version>>;

/// A decision about one app.
struct Decided {
    /// The generation of the app that it was made on.
    generation: Version,
    /// How many of the newest releases are kept.
    keep: u32,
    /// How many releases are older, and stay because something needs them.
    needed: u64,
    gone: Gone,
    surplus: Surplus,
    /// Every build that there is a record of.
    known: BTreeSet<BuildId>,
}

impl Rack {
    /// Removes what nobody needs of an app, or of all of them, or only says what that would be.
    pub async fn prune(
        self: &Arc<Self>,
        only: Option<&AppName>,
        dry_run: bool,
    ) -> Result<Swept, RackError> {
        let apps: Vec<AppName> = match only {
            Some(app) => vec![self.app(app)?.app.name.clone()],
            None => self.store.snapshot().apps.keys().cloned().collect(),
        };
        let rack = self.clone();
        // A task of its own: whoever asked may go away between records and files.
        let sweep = self.tasks.spawn(async move {
            let _turn = rack.retention.turn.lock().await;
            rack.sweep(apps, dry_run).await
        });
        sweep.await.map_err(|_| RackError::Stopping)?
    }

    async fn sweep(&self, apps: Vec<AppName>, dry_run: bool) -> Result<Swept, RackError> {
        let held = self.held().await?;
        let (none, mut swept) = (BTreeSet::new(), Swept::default());
        for app in apps {
            let held = held.get(&app).unwrap_or(&none);
            match self.sweep_app(&app, held, dry_run, &mut swept).await {
                // It was deleted meanwhile.
                Ok(()) | Err(RackError::NoApp(_)) => {}
                // What went of it and of the others is told all the same.
                Err(error) => {
                    let why = with_causes(&error);
                    tracing::warn!(%app, error = %why, "old releases could not be collected");
                    swept.failed.push(Unswept { app, why });
                }
            }
        }
        if !dry_run {
            self.pulses.retention.did(words(&swept));
        }
        Ok(swept)
    }

    /// Processes that the state names no more may still be on their way out: their slugs are in use.
    async fn held(&self) -> Result<Held, RackError> {
        let seen = self.engine.observe().await?;
        let mut held = Held::new();
        for id in seen.workloads.into_keys() {
            held.entry(id.app).or_default().insert(id.attempt);
        }
        for task in seen.tasks.into_keys() {
            if let TaskId::ReleaseCommand(app, number) | TaskId::Postdeploy(app, number) = task {
                held.entry(app).or_default().insert(number);
            }
        }
        Ok(held)
    }

    async fn sweep_app(
        &self,
        app: &AppName,
        held: &BTreeSet<Version>,
        dry_run: bool,
        swept: &mut Swept,
    ) -> Result<(), RackError> {
        // Somebody may be reading a slug on its way to another rack: what takes files waits for the next sweep.
        let exports = self.exports.try_write();
        let files_stay = exports.is_err();
        // Looked at before the records are read, and only what an earlier life of the rack left: what comes now has a
        // record, or is about to have one.
        let (name, started) = (app.clone(), self.started.0);
        let mut files = self
            .on_disk(move |layout| files::builds_before(layout, &name, started))
            .await?;
        let mut builds = Vec::new();
        if files_stay {
            files.clear();
        }
        let removed = loop {
            let mut decided = self.decide(app, held).await?;
            if files_stay {
                decided.gone.builds.clear();
            }
            let recorded = |build: &BuildId| {
                decided.known.contains(build) || builds.iter().any(|(gone, _)| gone == build)
            };
            files.retain(|build| !recorded(build));
            if dry_run {
                swept.add_releases(app, &decided.gone.releases, decided.keep);
                swept.count(&decided.surplus);
                swept.needed += decided.needed;
                builds = decided.gone.builds;
                break Ok(());
            }
            match self.remove_records(app, &decided, &mut builds, swept).await {
                // It moved on: decide again, on what it is now.
                Err(StoreError::Conflict) => {}
                removed => break removed,
            }
        };
        let builds = builds.into_iter();
        let builds = builds.map(|(build, why)| (build.clone(), SweptWhat::Build(build, why)));
        let strays = files.into_iter();
        let strays = strays.map(|build| (build.clone(), SweptWhat::Stray(build)));
        let mut failed = None;
        for (build, what) in builds.chain(strays) {
            let name = app.clone();
            let freed = self.on_disk(move |layout| match dry_run {
                true => Ok(files::size(layout, &name, &build)),
                false => files::remove(layout, &name, &build),
            });
            // Their records are gone: one that cannot be removed does not keep the others.
            match freed.await? {
                Ok(bytes) => swept.add(app, what, bytes),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        removed?;
        let doing = "remove the files of an old build";
        failed.map_or(Ok(()), |error| Err(RackError::io(doing)(error)))
    }

    async fn decide(&self, app: &AppName, held: &BTreeSet<Version>) -> Result<Decided, RackError> {
        let entry = self.app(app)?;
        let kept = self.store.kept(app, held.iter().copied().collect()).await?;
        let mut needed = retention::named(&entry.app);
        needed.extend(kept.one_offs);
        needed.extend(kept.promoted);
        needed.extend(self.retention.wanted.releases());
        let keep = Keep::of(entry.settings.keep_releases);
        let known = kept.builds.iter().map(|(id, _)| id.clone()).collect();
        let facts = Facts {
            releases: kept.releases,
            builds: kept.builds,
            active: entry
                .app
                .serving
                .as_ref()
                .map(|serving| serving.release.clone()),
            needed,
            served: kept.served,
            keep,
        };
        let gone = retention::gone(&facts);
        let newest = match keep {
            Keep::Newest(count) => count,
            Keep::All => u32::MAX,
        };
        let stay = (facts.releases.len() - gone.releases.len()) as u64;
        Ok(Decided {
            generation: entry.app.generation,
            keep: newest,
            needed: stay.saturating_sub(newest.into()),
            gone,
            surplus: kept.surplus,
            known,
        })
    }

    /// Removes what was decided to go from the store, a few rows at a time. What went is noted also when the rest is
    /// refused.
    async fn remove_records(
        &self,
        app: &AppName,
        decided: &Decided,
        builds: &mut Vec<(BuildId, Unneeded)>,
        swept: &mut Swept,
    ) -> Result<(), StoreError> {
        let at = decided.generation;
        for releases in decided.gone.releases.chunks(ROWS_MAX) {
            let rows = Rows::Releases(at, releases.to_vec());
            self.store.collect(app, rows).await?;
            swept.add_releases(app, releases, decided.keep);
        }
        for gone in decided.gone.builds.chunks(ROWS_MAX) {
            let ids = gone.iter().map(|(id, _)| id.clone()).collect();
            self.store.collect(app, Rows::Builds(at, ids)).await?;
            builds.extend_from_slice(gone);
        }
        for surplus in decided.surplus.pieces() {
            swept.count(&surplus);
            self.store.collect(app, Rows::Surplus(surplus)).await?;
        }
        swept.needed += decided.needed;
        Ok(())
    }

    /// Does something with files, off the async threads.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout) -> T + Send + 'static,
    ) -> Result<T, RackError> {
        let layout = self.layout.clone();
        let work = tokio::task::spawn_blocking(move || work(&layout));
        work.await.map_err(|_| RackError::Stopping)
    }
}

/// What a sweep freed, for `doctor`.
fn words(swept: &Swept) -> String {
    let count = |wanted: fn(&SweptWhat) -> bool| {
        swept.items.iter().filter(|item| wanted(&item.what)).count()
    };
    let releases = count(|what| matches!(what, SweptWhat::Release(..)));
    let builds = count(|what| !matches!(what, SweptWhat::Release(..)));
    match swept.bytes() {
        0 if releases + builds == 0 => "nothing to free".to_owned(),
        bytes => {
            let megabytes = bytes / 1_000_000;
            format!("freed {megabytes} MB: releases {releases}, builds {builds}")
        }
    }
}
