//! What an export says first: all records, so that everything that can be refused is refused before anything is unpacked.

use std::collections::{BTreeMap, BTreeSet};

use hoist_api::export::{APP_HEAD, BUILD_HEAD};
use hoist_core::describe;
use hoist_core::detect::Runtime;
use hoist_core::id::{AppName, BuildId, ReleaseId};
use hoist_core::model::{Limits, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Kind, MoveError};
use crate::archive::Reading;
use crate::backup::SealedKey;
use crate::store::{BuildRecord, BuildStatus, ReleaseRecord};

/// The newest form that this program reads and the one it writes.
pub(super) const FORMAT: u32 = 1;

impl Kind {
    pub(super) fn reading(self) -> Reading {
        Reading {
            head: match self {
                Self::App => APP_HEAD,
                Self::Build => BUILD_HEAD,
            },
            format: FORMAT,
        }
    }
}

/// The first entry's text. Fields are only added while the format stays.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(super) format: u32,
    pub(super) version: String,
    pub(super) created_ms: u64,
    /// The name of the rack.
    pub(crate) rack: String,
    /// The app's name there.
    pub(crate) app: String,
    pub(super) made_for: Made,
    /// Seals variables; behind a passphrase.
    #[serde(default)]
    pub(super) key: Option<SealedKey>,
    /// Oldest first.
    pub(super) builds: Vec<BuildRow>,
    /// Oldest first.
    #[serde(default)]
    pub(super) releases: Vec<ReleaseRow>,
    #[serde(default)]
    pub(crate) active: Option<String>,
    #[serde(default)]
    pub(crate) settings: SettingsRow,
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    /// Releases that stayed behind.
    #[serde(default)]
    pub(super) left_out: Vec<LeftOut>,
}

/// What slugs were built for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) os: String,
    pub(crate) arch: String,
    pub(crate) engine: String,
}

impl Made {
    /// By a rack with this engine, on this machine.
    pub(crate) fn here(engine: &str) -> Self {
        Self {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            engine: engine.to_owned(),
        }
    }

    pub(super) fn refuse_elsewhere(&self, here: &Self) -> Result<(), MoveError> {
        if self == here {
            return Ok(());
        }
        let words = |made: &Self| format!("{} on {} {}", made.engine, made.os, made.arch);
        Err(MoveError::Elsewhere {
            made: words(self),
            here: words(here),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BuildRow {
    pub(super) id: String,
    created_ms: u64,
    ended_ms: Option<u64>,
    description: String,
    git_sha: Option<String>,
    actor: String,
    manifest_file: String,
    manifest: String,
    warnings: Vec<String>,
    inputs: Option<String>,
    app_json: Option<String>,
    release: Option<String>,
    runtime_path: Vec<String>,
    runtime_env: BTreeMap<String, String>,
}

impl BuildRow {
    /// None of a build without a manifest, which is not complete.
    pub(super) fn of(build: &BuildRecord) -> Option<Self> {
        let (manifest_file, manifest) = build.manifest.clone()?;
        Some(Self {
            id: build.id.to_string(),
            created_ms: build.created.0,
            ended_ms: build.ended.map(|at| at.0),
            description: build.description.clone(),
            git_sha: build.git_sha.clone(),
            actor: build.actor.clone(),
            manifest_file,
            manifest,
            warnings: build.warnings.clone(),
            inputs: build.inputs.clone(),
            app_json: build.app_json.clone(),
            release: build.release.as_ref().map(ToString::to_string),
            runtime_path: build.runtime.path.clone(),
            runtime_env: build.runtime.env.clone(),
        })
    }

    fn record(&self, app: &AppName) -> Result<BuildRecord, MoveError> {
        let release = self.release.as_deref().map(parse).transpose()?;
        Ok(BuildRecord {
            id: parse(&self.id)?,
            app: app.clone(),
            status: BuildStatus::Complete,
            created: Timestamp(self.created_ms),
            ended: self.ended_ms.map(Timestamp),
            description: describe::one_line(&self.description),
            git_sha: self.git_sha.clone(),
            actor: describe::one_line(&self.actor),
            reason: None,
            manifest: Some((self.manifest_file.clone(), self.manifest.clone())),
            release,
            warnings: self
                .warnings
                .iter()
                .map(|text| describe::one_line(text))
                .collect(),
            inputs: self.inputs.clone(),
            app_json: self.app_json.clone(),
            runtime: Runtime {
                path: self.runtime_path.clone(),
                env: self.runtime_env.clone(),
            },
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ReleaseRow {
    pub(super) id: String,
    build: Option<String>,
    parent: Option<String>,
    created_ms: u64,
    description: String,
    actor: String,
    rollback_of: Option<String>,
}

impl ReleaseRow {
    pub(super) fn of(release: &ReleaseRecord) -> Self {
        Self {
            id: release.id.to_string(),
            build: release.build.as_ref().map(ToString::to_string),
            parent: release.parent.as_ref().map(ToString::to_string),
            created_ms: release.created.0,
            description: release.description.clone(),
            actor: release.actor.clone(),
            rollback_of: release.rollback_of.as_ref().map(ToString::to_string),
        }
    }

    /// Without its environment.
    fn record(&self, app: &AppName) -> Result<ReleaseRecord, MoveError> {
        Ok(ReleaseRecord {
            id: parse(&self.id)?,
            app: app.clone(),
            build: self.build.as_deref().map(parse).transpose()?,
            parent: self.parent.as_deref().map(parse).transpose()?,
            created: Timestamp(self.created_ms),
            description: describe::one_line(&self.description),
            actor: describe::one_line(&self.actor),
            env: Vec::new(),
            rollback_of: self.rollback_of.as_deref().map(parse).transpose()?,
        })
    }
}

/// What an operator set, whatever the release.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SettingsRow {
    pub(crate) sizes: BTreeMap<String, u16>,
    pub(crate) limits: BTreeMap<String, LimitsRow>,
    pub(crate) promotion_limit_ms: Option<u64>,
    pub(crate) keep_releases: Option<u32>,
    pub(crate) masked: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LimitsRow {
    pub(crate) cpu_millicores: Option<u32>,
    pub(crate) memory_bytes: Option<u64>,
}

impl From<Limits> for LimitsRow {
    fn from(limits: Limits) -> Self {
        Self {
            cpu_millicores: limits.cpu_millicores,
            memory_bytes: limits.memory_bytes,
        }
    }
}

/// A release that an export does not hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LeftOut {
    pub(super) id: String,
    pub(super) why: String,
}

impl Head {
    pub(super) fn new(rack: &str, app: &AppName, engine: &str) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_ms: crate::clock::wall().0,
            rack: rack.to_owned(),
            app: app.to_string(),
            made_for: Made::here(engine),
            key: None,
            builds: Vec::new(),
            releases: Vec::new(),
            active: None,
            settings: SettingsRow::default(),
            volumes: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// The records, as they are to be here; each names only what is in the export.
    pub(crate) fn records(
        &self,
        app: &AppName,
    ) -> Result<(Vec<BuildRecord>, Vec<ReleaseRecord>), MoveError> {
        let mut builds = Vec::new();
        let mut known_builds: BTreeSet<BuildId> = BTreeSet::new();
        for row in &self.builds {
            let build = row.record(app)?;
            if !known_builds.insert(build.id.clone()) {
                return Err(twice(&row.id));
            }
            builds.push(build);
        }
        let mut releases = Vec::new();
        let mut known: BTreeSet<ReleaseId> = BTreeSet::new();
        for row in &self.releases {
            let mut release = row.record(app)?;
            if !known.insert(release.id.clone()) {
                return Err(twice(&row.id));
            }
            if release
                .build
                .as_ref()
                .is_some_and(|build| !known_builds.contains(build))
            {
                let why = format!("release {} names a build that is not in it", row.id);
                return Err(MoveError::Damaged(why));
            }
            // A parent is older; one that stayed behind is forgotten.
            release.parent = release.parent.filter(|parent| known.contains(parent));
            release.rollback_of = release.rollback_of.filter(|of| known.contains(of));
            releases.push(release);
        }
        for build in &mut builds {
            build.release = build.release.take().filter(|made| known.contains(made));
        }
        if let Some(active) = &self.active {
            let active: ReleaseId = parse(active)?;
            if !known.contains(&active) {
                return Err(MoveError::Damaged(format!("it lacks its release {active}")));
            }
        }
        Ok((builds, releases))
    }
}

fn twice(id: &str) -> MoveError {
    MoveError::Damaged(format!("it holds {id} twice"))
}

fn parse<T: std::str::FromStr<Err = hoist_core::id::InvalidId>>(
    text: &str,
) -> Result<T, MoveError> {
    text.parse()
        .map_err(|error: hoist_core::id::InvalidId| MoveError::Damaged(error.to_string()))
}
