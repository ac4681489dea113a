//! What helps with each error. One style: a sentence that begins in lower case, with commands and files in backticks.
//! Nothing falls through: a new error asks for its hint.

use hoist_api::error::ErrorCode;
use hoist_core::detect::DetectError;
use hoist_core::manifest::{InvalidEnv, ManifestError, nearest};
use hoist_core::plan::CommandError;
use hoist_engine::EngineError;

use super::RackError;
use crate::secrets::SecretError;
use crate::store::StoreError;

const MEND: &str = "mend what it says, then try again";
const ON_THE_MACHINE: &str = "mend that on the rack's machine, then try again";
const STOPPING: &str = "try again once `hoist rack start` runs again";

impl RackError {
    /// One thing to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            error if error.code() == ErrorCode::StorageFull => {
                "free space on the rack's disk; what serves goes on serving".to_owned()
            }
            Self::NoApp(_) => "`hoist apps` lists the apps".to_owned(),
            Self::InvalidId(_) => {
                "`hoist apps`, `hoist releases` and `hoist builds` list names and ids".to_owned()
            }
            Self::Invalid(_) => {
                "`hoist help` shows what a command takes, GET /v1/openapi.json what an operation does"
                    .to_owned()
            }
            Self::BuildEnded { app, .. } => {
                format!("`hoist builds -a {app}` says which ones run")
            }
            Self::NoBuild { app, .. } => format!("`hoist builds -a {app}` lists them"),
            Self::NoReleaseNamed { app, .. } => {
                format!("`hoist releases -a {app}` lists what is kept; older ones are collected")
            }
            Self::NoPromotion { app, .. } => {
                format!("`hoist promotions -a {app}` lists them")
            }
            Self::NothingInFlight(app) => format!(
                "`hoist promotions -a {app}` shows how they ended; `hoist builds cancel -a {app}` ends a build that runs"
            ),
            Self::HasEnded { app, .. } => {
                format!("`hoist promotions -a {app}` shows how they ended")
            }
            Self::NoService { app, .. } => format!("`hoist scale -a {app}` shows the services"),
            Self::NoRelease(app) | Self::NothingActive(app) => {
                format!("`hoist deploy -a {app}` makes one that serves")
            }
            Self::NothingToRollBackTo(app) => {
                format!("name one of those that `hoist releases -a {app}` lists")
            }
            Self::NotBuilt(_) => "`hoist deploy` builds one".to_owned(),
            Self::NotAService { .. } => "name one of these services".to_owned(),
            Self::NoSlug(_) => "run a release that is newer, or the active one".to_owned(),
            Self::NoProcess { app, .. } => format!("`hoist ps -a {app}` lists those that run"),
            Self::AmbiguousProcess { .. } => "write more of the id".to_owned(),
            Self::NoSession => "a session waits 10 s for its client; begin a new one".to_owned(),
            Self::TooManySessions { .. } | Self::TooManyOneOffs { .. } => {
                "wait until one ends, or end one".to_owned()
            }
            Self::EnvMoved { app, .. } => {
                format!("look at them with `hoist env -a {app}`, then change them again")
            }
            Self::NotSet { app, name, known } => did_you_mean(
                name,
                known,
                &format!("`hoist env -a {app}` lists what is set"),
            ),
            Self::NotMasked { app, name, known } => did_you_mean(
                name,
                known,
                &format!("`hoist env mask -a {app}` lists what is masked"),
            ),
            Self::NothingLeft => {
                "to remove variables name them: `hoist env unset NAME...`".to_owned()
            }
            Self::InvalidEnv(InvalidEnv::Name(_)) => "write NAME=value".to_owned(),
            Self::InvalidEnv(InvalidEnv::Nul(_)) => {
                "encode it, for example as base64, and decode it in the app".to_owned()
            }
            Self::InvalidEnv(InvalidEnv::TooLarge { .. }) => {
                "keep large values in a file of the source or in a volume".to_owned()
            }
            Self::EnvTooLarge { app, .. } => format!(
                "keep large values in a file of the source, or `hoist env unset -a {app}` what is not needed"
            ),
            Self::Unconfirmed(app) => {
                format!("confirm with its name: `hoist apps delete {app} --confirm {app}`")
            }
            Self::MissingEnv { source, .. } | Self::MissingAppEnv(source) => source.hint(),
            Self::Manifest(error) | Self::Detect(DetectError::File(error)) => manifest(error),
            Self::Detect(error) => error.hint().unwrap_or(MEND).to_owned(),
            Self::ReleaseManifest { release, .. } => format!(
                "`hoist env set NAME=...` mends a variable that it takes; `hoist releases manifest {release}` shows it"
            ),
            Self::NoTool(_) => {
                "install it on the rack's machine, then run `hoist deploy` again".to_owned()
            }
            Self::BuildCancelled => "`hoist deploy` builds again".to_owned(),
            Self::TooLarge { .. } => {
                "leave out what is not needed: `.gitignore` and `.dockerignore` are heeded".to_owned()
            }
            Self::Unsupported(_) => MEND.to_owned(),
            Self::NoSource(_) | Self::SourceIncomplete => {
                "list the source again, and send what is missing; `hoist deploy` does both"
                    .to_owned()
            }
            Self::Archive(_) => "send the source directory as a plain tar archive".to_owned(),
            Self::Busy { .. } => {
                "use that rack, stop it with `hoist rack stop`, or choose another --data-dir"
                    .to_owned()
            }
            Self::HostTaken { .. } | Self::AppExists(_) => "choose another name".to_owned(),
            Self::Secret(error) => secret(error).to_owned(),
            Self::Store(error) => store(error).to_owned(),
            Self::Engine(error) => engine(error).to_owned(),
            Self::RouterPort { .. } => {
                "choose another address with --router, or find who has it with `ss -ltnp`"
                    .to_owned()
            }
            Self::Move(error) => error.hint(),
            Self::Command(error) => command(error).to_owned(),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                "choose another address, or find who has it with `ss -ltnp`".to_owned()
            }
            Self::Io { .. } => ON_THE_MACHINE.to_owned(),
            Self::Stopping => STOPPING.to_owned(),
        })
    }
}

/// The nearest of the names that there are, if any is near, and where to find them all.
fn did_you_mean<'k>(
    name: &str,
    known: impl IntoIterator<Item = &'k String>,
    otherwise: &str,
) -> String {
    match nearest(name, known.into_iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? otherwise: {otherwise}"),
        None => otherwise.to_owned(),
    }
}

/// What helps with a manifest.
fn manifest(error: &ManifestError) -> String {
    match (error.hint(), error) {
        (Some(hint), _) => hint.to_owned(),
        (None, ManifestError::Invalid { file, .. }) => {
            format!("mend `{file}` there; `hoist manifest validate` reads it again")
        }
        (None, _) => MEND.to_owned(),
    }
}

pub(crate) fn secret(error: &SecretError) -> &'static str {
    match error {
        SecretError::KeyMissing(_) => {
            "bring the `key` file of the rack that the backup is of; its mode must be 0600"
        }
        SecretError::Key { .. } => {
            "make the `key` file readable for the user that the rack runs as"
        }
        SecretError::KeyLength(_) => "bring the `key` file back from a backup",
        SecretError::Sealed => "bring the `key` file that it was sealed with",
        SecretError::Random => ON_THE_MACHINE,
    }
}

pub(crate) fn store(error: &StoreError) -> &'static str {
    match error {
        StoreError::Newer { .. } => {
            "use the newer program again, or another --data-dir; nothing was changed"
        }
        StoreError::Conflict => "look at the app again, then try again",
        StoreError::NoRelease(_) => "`hoist releases` lists what is kept; older ones are collected",
        StoreError::NoBuild(_) => "`hoist builds` lists what is kept; older ones are collected",
        StoreError::Closed => STOPPING,
        StoreError::Sql { .. } | StoreError::Unwritten { .. } => ON_THE_MACHINE,
        StoreError::Unreadable(_) => {
            "bring the store back: `hoist rack restore` makes one of a backup"
        }
    }
}

fn engine(error: &EngineError) -> &'static str {
    match error {
        EngineError::Unavailable { .. } => ON_THE_MACHINE,
        EngineError::Refused { .. } => MEND,
        EngineError::NotFound => "`hoist ps` lists those that run",
    }
}

fn command(error: &CommandError) -> &'static str {
    match error {
        CommandError::InProgress { .. } => {
            "wait for it with `--if-busy wait`, or end it with `--if-busy supersede`"
        }
        CommandError::NeverDeployed => "`hoist deploy` makes a release that serves",
        CommandError::Deleting => "wait until `hoist apps` does not list it any more",
        CommandError::UnknownService { .. } => "`hoist scale` shows the services",
        CommandError::NotActive { .. } => "`hoist releases` shows which one is active",
        CommandError::Singleton { .. } => {
            "choose 0 or 1, or change its `singleton` in the manifest"
        }
        CommandError::TooMany { .. } => "choose fewer; `hoist scale` shows how many it has",
        CommandError::AlreadyStopped | CommandError::IsStopped => "`hoist start` starts it again",
        CommandError::AlreadyRunning => "`hoist restart` starts its processes anew",
        CommandError::NothingInFlight | CommandError::AlreadyGoingBack => {
            "`hoist promotions` shows how they end"
        }
        CommandError::NotStanding { .. } | CommandError::AlreadyRenewing { .. } => {
            "`hoist ps` shows how its processes stand"
        }
    }
}
