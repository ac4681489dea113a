//! An app or a build in one file, and what is made of one on another rack.
//!
//! An export is an archive ([`crate::archive`]) of records, slugs and logs. Its variables are sealed by a key of its own, which
//! is in it only behind a passphrase. What is imported is numbered by the rack that takes it: an export holds nothing that
//! a sequence gave out.

mod head;
mod pack;
mod unpack;

use hoist_core::id::{BuildId, ReleaseId};

use crate::archive::ArchiveError;
use crate::error::RackError;

pub(crate) use head::{Head, Made};
pub(crate) use pack::Origin;
pub use pack::{ExportWish, Prepared};
pub use unpack::ImportWish;
pub(crate) use unpack::{Unpacked, unpack};

/// What an export is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    App,
    Build,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::App => "an app",
            Self::Build => "a build",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::App => "hoist apps",
            Self::Build => "hoist builds",
        }
    }
}

/// Why there is no export, or nothing made of one.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The file is something else.
    #[error("that is no export of {wanted}, {found}")]
    Another {
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
        /// What takes it.
        hint: String,
    },
    /// The file ends early.
    #[error("the export is not whole: its end is missing")]
    CutShort,
    /// The file is not as it was written, or says what no export does.
    #[error("the export is damaged: {0}")]
    Damaged(String),
    /// The file was written by a newer Hoist.
    #[error("the export was made by Hoist {0}, which is newer than this rack")]
    Newer(String),
    /// What was built for one machine does not run on another.
    #[error("the export was made for {made}, and this rack is {here}")]
    Elsewhere {
        /// What it was made for.
        made: String,
        /// What this rack is.
        here: String,
    },
    /// Its variables need a passphrase.
    #[error("the env in the export is sealed with a passphrase")]
    PassphraseMissing,
    /// That is not it.
    #[error("the passphrase does not open the env in the export")]
    PassphraseWrong,
    /// The build made nothing that could be taken.
    #[error("build {build} is {status}: only a complete one can be exported")]
    Incomplete {
        /// The build.
        build: BuildId,
        /// How it stands.
        status: &'static str,
    },
    /// What the build made was collected.
    #[error("the slug of build {0} is gone")]
    NoSlug(BuildId),
    /// What the active release needs was collected.
    #[error("release {0} has nothing that could be taken along")]
    NothingOf(ReleaseId),
    /// The records alone are larger than an export may say of itself.
    #[error("the app has more releases than one export holds")]
    TooMany,
    /// A volume of an app of that name was kept.
    #[error("there is a volume `{volume}` of an app `{app}` already")]
    VolumeTaken {
        /// The app.
        app: String,
        /// The volume.
        volume: String,
    },
}

impl MoveError {
    /// One thing to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Another { hint, .. } => hint.clone(),
            Self::CutShort | Self::Damaged(_) => "export it again, or use another copy".to_owned(),
            Self::Newer(_) => "update this rack to that version first".to_owned(),
            Self::Elsewhere { .. } => "deploy the source here instead: `hoist deploy`".to_owned(),
            Self::PassphraseMissing => {
                "give it with --passphrase-file or HOIST_BACKUP_PASSPHRASE; or leave the env behind with --without-env"
                    .to_owned()
            }
            Self::PassphraseWrong => {
                "try another; --without-env imports everything but the env".to_owned()
            }
            Self::Incomplete { .. } => "`hoist builds` lists those that are complete".to_owned(),
            Self::NoSlug(_) | Self::NothingOf(_) => {
                "deploy the source again, and export that".to_owned()
            }
            Self::TooMany => "take the active one alone with --active-only".to_owned(),
            Self::VolumeTaken { .. } => {
                "import under another name, or export without --with-volumes".to_owned()
            }
        }
    }

    /// What the archive said.
    fn of(wanted: Kind) -> impl FnOnce(ArchiveError) -> RackError {
        move |error| match error {
            ArchiveError::Another(name) => another(wanted, name.as_deref()).into(),
            ArchiveError::CutShort => Self::CutShort.into(),
            ArchiveError::Damaged(what) => Self::Damaged(what).into(),
            ArchiveError::Newer(version) => Self::Newer(version).into(),
            ArchiveError::Io { doing, source } => RackError::Io { doing, source },
        }
    }
}

/// Names what a file is instead, as far as its first entry tells.
fn another(wanted: Kind, first: Option<&str>) -> MoveError {
    use hoist_api::export::{APP_HEAD, BUILD_HEAD};
    let takes = |command: &str| format!("`{command}` takes it");
    let (found, hint) = match first {
        Some(APP_HEAD) => ("but one of an app", takes("hoist apps import")),
        Some(BUILD_HEAD) => ("but one of a build", takes("hoist builds import")),
        Some("hoist-backup.json") => ("but a backup of a rack", takes("hoist rack restore")),
        _ => (
            "nor anything else that Hoist writes",
            format!("name a file that `{} export` wrote", wanted.command()),
        ),
    };
    MoveError::Another {
        wanted: wanted.noun(),
        found,
        hint,
    }
}
