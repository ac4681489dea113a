//! Puts an app or a build into a file.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use hoist_api::export::{BUILDS, HEAD_BYTES_MAX};
use hoist_core::id::{AppName, BuildId, ReleaseId};
use tokio::sync::OwnedRwLockReadGuard;

use super::Kind;
use super::MoveError;
use super::head::{BuildRow, Head, LeftOut, ReleaseRow, SettingsRow};
use crate::archive::Writer;
use crate::backup::{EXPORT_KEY, Passphrase, SealedKey};
use crate::error::RackError;
use crate::layout::Layout;
use crate::secrets::{Env, Keyring, SecretError};
use crate::store::{BuildRecord, ReleaseRecord, WholeApp};

/// Entries of variables: `env/R…`.
pub(super) const ENV: &str = "env";
/// Entries of volumes: `volumes/NAME/…`.
pub(super) const VOLUMES: &str = "volumes";
/// Of a build: its tree, and what it printed.
pub(super) const SLUG: &str = "slug";
pub(super) const LOG: &str = "log";

/// What goes into an export of an app.
#[derive(Default)]
pub struct ExportWish {
    /// Seals the environments; without one they stay out.
    pub passphrase: Option<Passphrase>,
    /// Only the active release.
    pub active_only: bool,
    /// Take volumes along.
    pub with_volumes: bool,
}

/// An export of which everything that can be refused was refused.
pub struct Prepared {
    kind: Kind,
    head: Head,
    /// Sealed by the export's own key.
    envs: Vec<(ReleaseId, Vec<u8>)>,
    builds: Vec<BuildId>,
    app: AppName,
    layout: Layout,
    /// As long as slugs are read none is collected.
    _held: OwnedRwLockReadGuard<()>,
}

/// Where an export comes from.
pub(crate) struct Origin<'o> {
    pub(crate) rack: &'o str,
    pub(crate) engine: &'o str,
    pub(crate) layout: &'o Layout,
    pub(crate) held: OwnedRwLockReadGuard<()>,
}

impl Prepared {
    /// Of a complete build.
    pub(crate) fn of_build(build: &BuildRecord, origin: Origin<'_>) -> Result<Self, MoveError> {
        let mut head = Head::new(origin.rack, &build.app, origin.engine);
        let row = BuildRow::of(build).filter(|_| is_complete(build));
        let row = row.ok_or_else(|| MoveError::Incomplete {
            build: build.id.clone(),
            status: build.status.word(),
        })?;
        if !origin.layout.slug(&build.app, &build.id).is_dir() {
            return Err(MoveError::NoSlug(build.id.clone()));
        }
        head.builds.push(row);
        Ok(Self {
            kind: Kind::Build,
            head,
            envs: Vec::new(),
            builds: vec![build.id.clone()],
            app: build.app.clone(),
            layout: origin.layout.clone(),
            _held: origin.held,
        })
    }

    /// Of an app as of one moment; `open` opens variables of a release.
    pub(crate) fn of_app(
        whole: WholeApp,
        wish: &ExportWish,
        volumes: Vec<String>,
        origin: Origin<'_>,
        open: impl Fn(&ReleaseRecord) -> Result<Env, RackError>,
    ) -> Result<Self, RackError> {
        let app = whole.app.name.clone();
        let mut head = Head::new(origin.rack, &app, origin.engine);
        let serving = whole.app.serving.as_ref();
        let active = serving.map(|serving| serving.release.clone());
        if wish.active_only && active.is_none() {
            return Err(RackError::NothingActive(app));
        }
        head.settings = settings(&whole);
        head.active = active.as_ref().map(ToString::to_string);
        head.volumes = volumes;
        let (releases, left_out) = choose(&whole, wish.active_only, |build| {
            origin.layout.slug(&app, build).is_dir()
        })?;
        head.left_out = left_out;
        let needed: BTreeSet<&BuildId> = releases
            .iter()
            .filter_map(|release| release.build.as_ref())
            .collect();
        let mut builds = Vec::new();
        for build in whole
            .builds
            .iter()
            .filter(|build| needed.contains(&build.id))
        {
            head.builds.extend(BuildRow::of(build));
            builds.push(build.id.clone());
        }
        let mut envs = Vec::new();
        if let Some(passphrase) = &wish.passphrase {
            let (ring, sealed) = new_key(passphrase)?;
            head.key = Some(sealed);
            for release in &releases {
                envs.push((release.id.clone(), ring.seal(&app, &open(release)?)?));
            }
        }
        head.releases = releases.into_iter().map(ReleaseRow::of).collect();
        let size = serde_json::to_vec_pretty(&head).map_or(0, |text| text.len());
        if size as u64 > HEAD_BYTES_MAX {
            return Err(MoveError::TooMany.into());
        }
        Ok(Self {
            kind: Kind::App,
            head,
            envs,
            builds,
            app,
            layout: origin.layout.clone(),
            _held: origin.held,
        })
    }

    /// Writes it. What was written when it fails lacks its end.
    ///
    /// # Errors
    /// What the machine answers; or nobody reads any more.
    pub fn write(self, to: impl Write) -> io::Result<()> {
        let mut archive = Writer::begin(to, self.kind.reading().head, &self.head)?;
        for (release, env) in &self.envs {
            archive.text(&format!("{ENV}/{release}"), env)?;
        }
        for build in &self.builds {
            let base = Path::new(BUILDS).join(build.as_str());
            let log = self.layout.build_log(&self.app, build);
            if log.is_file() {
                archive.file(&base.join(LOG), &log)?;
            }
            archive.tree(&base.join(SLUG), &self.layout.slug(&self.app, build))?;
        }
        for volume in &self.head.volumes {
            let name = Path::new(VOLUMES).join(volume);
            archive.tree(&name, &self.layout.volume(&self.app, volume))?;
        }
        archive.finish()
    }
}

fn is_complete(build: &BuildRecord) -> bool {
    build.status == crate::store::BuildStatus::Complete
}

/// A key for one export, and the same behind its passphrase.
fn new_key(passphrase: &Passphrase) -> Result<(Keyring, SealedKey), SecretError> {
    let mut key = [0u8; 32];
    getrandom::fill(&mut key).map_err(|_| SecretError::Random)?;
    let sealed = SealedKey::seal(&key, passphrase, EXPORT_KEY)?;
    Ok((Keyring::of(key), sealed))
}

/// The releases that go along, oldest first, and those that stay behind.
fn choose(
    whole: &WholeApp,
    active_only: bool,
    has_slug: impl Fn(&BuildId) -> bool,
) -> Result<(Vec<&ReleaseRecord>, Vec<LeftOut>), MoveError> {
    let serving = whole.app.serving.as_ref();
    let active = serving.map(|serving| &serving.release);
    let complete = |build: &BuildId| {
        let found = whole.builds.iter().find(|known| known.id == *build);
        found.is_some_and(is_complete)
    };
    let usable = |build: &BuildId| complete(build) && has_slug(build);
    let mut chosen = Vec::new();
    let mut left_out = Vec::new();
    let unsound = active.map(|active| unsound(&whole.releases, active, &whole.flawed));
    for release in &whole.releases {
        let is_active = active == Some(&release.id);
        if active_only && !is_active {
            continue;
        }
        let why = if !release.build.as_ref().is_none_or(usable) {
            Some("its slug is gone")
        } else if unsound
            .as_ref()
            .is_some_and(|unsound| unsound.contains(&release.id))
        {
            Some("its promotion went wrong, or that of one it is made from")
        } else {
            None
        };
        match why {
            Some(_) if is_active => return Err(MoveError::NothingOf(release.id.clone())),
            Some(why) => left_out.push(LeftOut {
                id: release.id.to_string(),
                why: why.to_owned(),
            }),
            None => chosen.push(release),
        }
    }
    Ok((chosen, left_out))
}

/// Releases newer than the active one that nothing may be built on: history stays behind, so they must as well, or the
/// rack that takes the app would build on them.
pub(super) fn unsound(
    releases: &[ReleaseRecord],
    active: &ReleaseId,
    flawed: &BTreeSet<ReleaseId>,
) -> BTreeSet<ReleaseId> {
    let newer = releases
        .iter()
        .skip_while(|release| release.id != *active)
        .skip(1);
    let mut unsound = BTreeSet::new();
    for release in newer {
        let under = release
            .parent
            .as_ref()
            .is_some_and(|parent| unsound.contains(parent));
        if under || flawed.contains(&release.id) {
            unsound.insert(release.id.clone());
        }
    }
    unsound
}

fn settings(whole: &WholeApp) -> SettingsRow {
    let app = &whole.app;
    let sizes = app.sizes.iter();
    let limits = app.limits.iter();
    SettingsRow {
        sizes: sizes
            .map(|(name, size)| (name.to_string(), *size))
            .collect(),
        limits: limits
            .map(|(name, limits)| (name.to_string(), (*limits).into()))
            .collect(),
        promotion_limit_ms: Some(app.promotion_limit.0),
        keep_releases: whole.settings.keep_releases,
        masked: whole.settings.masked.clone(),
    }
}
