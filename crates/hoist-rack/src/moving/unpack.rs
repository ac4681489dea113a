//! Takes an export apart in a directory of its own, after all of it was checked.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hoist_api::export::BUILDS;
use hoist_core::id::{AppName, BuildId, ReleaseId};
use hoist_core::manifest::{ENV_BYTES_MAX, check_env_name, check_env_value};

use super::head::{Head, Made};
use super::pack::{ENV, LOG, SLUG, VOLUMES};
use super::{Kind, MoveError};
use crate::archive::{self, ArchiveError, Unpacker, remove_tree};
use crate::backup::{EXPORT_KEY, Passphrase};
use crate::error::RackError;
use crate::secrets::{Env, Keyring};

/// Bits of a mode that an import keeps: none that would give a process another's rights.
const MODE_MASK: u32 = 0o1777;
/// Bytes that the sealed variables of one release may have.
const SEALED_BYTES_MAX: u64 = 4 << 20;

/// What is made of an export of an app.
#[derive(Default)]
pub struct ImportWish {
    /// Another name than the one in it.
    pub app: Option<AppName>,
    /// Opens the environments.
    pub passphrase: Option<Passphrase>,
    /// Leave the environments behind.
    pub without_env: bool,
}

/// An export that is taken apart.
pub(crate) struct Unpacked {
    pub(crate) head: Head,
    /// Opened; none when they are not in it or stay behind.
    pub(crate) envs: Option<BTreeMap<ReleaseId, Env>>,
    pub(crate) place: Workplace,
}

/// A directory that goes with the value.
pub(crate) struct Workplace(PathBuf);

impl Workplace {
    fn make(path: PathBuf) -> Result<Self, RackError> {
        let doing = RackError::io("make a directory for the import");
        let mut builder = DirBuilder::new();
        builder.mode(0o700).create(&path).map_err(doing)?;
        Ok(Self(path))
    }

    /// The tree of a build.
    pub(crate) fn slug(&self, build: &str) -> PathBuf {
        self.0.join(BUILDS).join(build).join(SLUG)
    }

    /// What a build printed, if it printed anything.
    pub(crate) fn log(&self, build: &str) -> PathBuf {
        self.0.join(BUILDS).join(build).join(LOG)
    }

    /// A volume.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.0.join(VOLUMES).join(name)
    }

    /// Makes sure that all of it is on disk.
    pub(crate) fn sync(&self) -> Result<(), RackError> {
        let doing = || RackError::io("write the import to disk");
        let held = File::open(&self.0).map_err(doing())?;
        nix::unistd::syncfs(&held).map_err(|errno| doing()(errno.into()))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = remove_tree(&self.0);
    }
}

/// Checks the whole file, then what it says of itself, and then takes it apart in a directory `place`, which must not exist.
/// Nothing is left when it fails.
pub(crate) fn unpack(
    file: &Path,
    kind: Kind,
    here: &Made,
    wish: &ImportWish,
    place: PathBuf,
) -> Result<Unpacked, RackError> {
    let head: Head = archive::check(file, &kind.reading()).map_err(MoveError::of(kind))?;
    head.made_for.refuse_elsewhere(here)?;
    let ring = match &head.key {
        Some(sealed) if !wish.without_env => {
            let passphrase = wish.passphrase.as_ref();
            let passphrase = passphrase.ok_or(MoveError::PassphraseMissing)?;
            let key = sealed.open(passphrase, EXPORT_KEY);
            Some(Keyring::of(key.ok_or(MoveError::PassphraseWrong)?))
        }
        _ => None,
    };
    let origin: AppName = head.app.parse()?;
    let (builds, releases) = head.records(&origin)?;
    if kind == Kind::Build && builds.len() != 1 {
        let why = "it does not hold one build".to_owned();
        return Err(MoveError::Damaged(why).into());
    }
    for volume in &head.volumes {
        let plain = Unpacker::split(Path::new(volume), 1);
        if plain.is_none_or(|(_, rest)| !rest.as_os_str().is_empty()) {
            let why = format!("`{volume}` is no name of a volume");
            return Err(MoveError::Damaged(why).into());
        }
    }
    let place = Workplace::make(place)?;
    let sealed = spread(file, kind, &head, &place)?;
    for build in &builds {
        make_movable(&place.slug(build.id.as_str()), build.id.as_str())?;
    }
    for volume in &head.volumes {
        make_movable(&place.volume(volume), volume)?;
    }
    let envs = match ring {
        None => None,
        Some(ring) => {
            let mut envs = BTreeMap::new();
            for release in releases {
                let env = open(&ring, &origin, &release.id, sealed.get(&release.id))?;
                envs.insert(release.id, env);
            }
            Some(envs)
        }
    };
    Ok(Unpacked { head, envs, place })
}

/// What cannot be written to cannot be moved.
fn make_movable(tree: &Path, name: &str) -> Result<(), RackError> {
    let found = fs::symlink_metadata(tree).ok();
    let Some(found) = found.filter(fs::Metadata::is_dir) else {
        return Err(MoveError::Damaged(format!("it lacks the tree of {name}")).into());
    };
    let mode = Permissions::from_mode(found.permissions().mode() | 0o700);
    fs::set_permissions(tree, mode).map_err(RackError::io("restore the mode of a directory"))
}

/// Opens and checks the variables of a release.
fn open(
    ring: &Keyring,
    app: &AppName,
    release: &ReleaseId,
    sealed: Option<&Vec<u8>>,
) -> Result<Env, RackError> {
    let lacks = || MoveError::Damaged(format!("it lacks the env of {release}"));
    let sealed = sealed.ok_or_else(lacks)?;
    let unreadable = |_| MoveError::Damaged(format!("the env of {release} cannot be opened"));
    let env = ring.open_env(app, sealed).map_err(unreadable)?;
    let mut bytes = 0;
    for (name, value) in &env {
        check_env_name(name)?;
        check_env_value(name, value)?;
        bytes += name.len() + value.len();
    }
    if bytes > ENV_BYTES_MAX {
        return Err(RackError::EnvTooLarge {
            app: app.clone(),
            limit_bytes: ENV_BYTES_MAX,
        });
    }
    Ok(env)
}

/// Writes trees and logs to their places and answers sealed variables.
fn spread(
    file: &Path,
    kind: Kind,
    head: &Head,
    place: &Workplace,
) -> Result<BTreeMap<ReleaseId, Vec<u8>>, RackError> {
    let mut trees = Unpacker::new(MODE_MASK);
    let mut sealed = BTreeMap::new();
    let volumes = &head.volumes;
    archive::rest_of(file, &kind.reading(), |name, entry| {
        let doing = |error| ArchiveError::of_entry(format!("unpack {}", name.display()), error);
        if let Some(release) = env_of(name) {
            let mut bytes = Vec::new();
            let read = entry.take(SEALED_BYTES_MAX).read_to_end(&mut bytes);
            read.map_err(doing)?;
            sealed.insert(release, bytes);
            return Ok(true);
        }
        let Some(target) = target(place, &trees, volumes, name) else {
            return Ok(false);
        };
        trees.write(entry, &target).map_err(doing)?;
        Ok(true)
    })
    .map_err(MoveError::of(kind))?;
    let modes = trees.finish();
    modes.map_err(RackError::io("restore the modes of directories"))?;
    Ok(sealed)
}

fn env_of(name: &Path) -> Option<ReleaseId> {
    let (first, rest) = Unpacker::split(name, 2)?;
    let whole = first[0] == ENV && rest.as_os_str().is_empty();
    first[1].parse().ok().filter(|_| whole)
}

/// Where an entry belongs; none for names that an export does not have.
fn target(place: &Workplace, trees: &Unpacker, volumes: &[String], name: &Path) -> Option<PathBuf> {
    if let Some((first, rest)) = Unpacker::split(name, 3)
        && first[0] == BUILDS
    {
        let build: BuildId = first[1].parse().ok()?;
        return match first[2] {
            SLUG => trees.place(place.slug(build.as_str()), rest),
            LOG if rest.as_os_str().is_empty() => Some(place.log(build.as_str())),
            _ => None,
        };
    }
    let (first, rest) = Unpacker::split(name, 2)?;
    let known = first[0] == VOLUMES && volumes.iter().any(|volume| volume == first[1]);
    known.then(|| trees.place(place.volume(first[1]), rest))?
}
