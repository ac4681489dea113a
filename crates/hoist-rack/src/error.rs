//! Why the rack refuses, for whom, and what helps. The one table that turns an error into an answer is here.

pub(crate) mod hint;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use hoist_api::error::{ErrorBody, ErrorCode};
use hoist_core::describe::EnvChange;
use hoist_core::detect::{DetectError, Tool};
use hoist_core::id::{AppName, BuildId, InvalidId, ReleaseId, ServiceName, Version};
use hoist_core::manifest::{InvalidEnv, ManifestError, MissingNames};
use hoist_core::plan::CommandError;
use hoist_engine::EngineError;

use crate::moving::MoveError;
use crate::secrets::SecretError;
use crate::store::StoreError;

/// Everything that a request can meet.
#[derive(Debug, thiserror::Error)]
pub enum RackError {
    /// There is no such app.
    #[error("there is no app `{0}`")]
    NoApp(AppName),
    /// There is no such build of the app.
    #[error("app `{app}` has no build {build}")]
    NoBuild {
        /// The app.
        app: AppName,
        /// The build.
        build: BuildId,
    },
    /// The build is not under way any more.
    #[error("build {build} of app `{app}` has ended: it is {status}")]
    BuildEnded {
        /// The app.
        app: AppName,
        /// The build.
        build: BuildId,
        /// How.
        status: &'static str,
    },
    /// Somebody ended the build.
    #[error("the build was cancelled")]
    BuildCancelled,
    /// There is no such release of the app.
    #[error("app `{app}` has no release {release}")]
    NoReleaseNamed {
        /// The app.
        app: AppName,
        /// The release.
        release: ReleaseId,
    },
    /// There is no such promotion of the app.
    #[error("app `{app}` has no promotion {number}")]
    NoPromotion {
        /// The app.
        app: AppName,
        /// The promotion.
        number: Version,
    },
    /// The app has no such service.
    #[error("app `{app}` has no service `{service}`")]
    NoService {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// The release has no such service.
    #[error("release {release} has no service `{service}`: it has {}", listed(.known))]
    NotAService {
        /// The release.
        release: ReleaseId,
        /// The service.
        service: ServiceName,
        /// What there is.
        known: Vec<ServiceName>,
    },
    /// The release's build was collected.
    #[error("the build of release {0} is no longer kept")]
    NoSlug(ReleaseId),
    /// The app has no such process that runs.
    #[error("no process `{process}` of app `{app}` runs")]
    NoProcess {
        /// The app.
        app: AppName,
        /// What was asked for.
        process: String,
    },
    /// Several processes' ids begin like this.
    #[error("several processes of app `{app}` begin with `{process}`")]
    AmbiguousProcess {
        /// The app.
        app: AppName,
        /// What was asked for.
        process: String,
    },
    /// There is no such session that waits for its client.
    #[error("there is no such session, or no longer")]
    NoSession,
    /// The rack holds as many sessions as it may.
    #[error("the rack holds {limit} sessions already, which is its limit")]
    TooManySessions {
        /// The limit.
        limit: usize,
    },
    /// The rack holds as many one-offs as it may.
    #[error("the rack runs {limit} one-offs already, which is its limit")]
    TooManyOneOffs {
        /// The limit.
        limit: usize,
    },
    /// The name is taken.
    #[error("there is an app `{0}` already")]
    AppExists(AppName),
    /// Another app answers under a host that this one would have.
    #[error("the host {host} belongs to app `{owner}`")]
    HostTaken {
        /// The host.
        host: String,
        /// Whose it is.
        owner: AppName,
    },
    /// Nothing was deployed yet.
    #[error("app `{0}` has no release yet")]
    NoRelease(AppName),
    /// Nothing serves.
    #[error("app `{0}` has no release that serves")]
    NothingActive(AppName),
    /// No promotion is in flight.
    #[error("no promotion of app `{0}` is in flight")]
    NothingInFlight(AppName),
    /// Another promotion is in flight than the one that was named, or none.
    #[error("promotion {number} of app `{app}` has ended")]
    HasEnded {
        /// The app.
        app: AppName,
        /// The promotion.
        number: Version,
    },
    /// No earlier release ever served.
    #[error("no release of app `{0}` served before the active one")]
    NothingToRollBackTo(AppName),
    /// The release was never built.
    #[error("release {0} has no build: only variables were set so far")]
    NotBuilt(ReleaseId),
    /// Somebody else changed the variables since the caller saw them.
    #[error(
        "the variables of app `{app}` changed meanwhile ({change}{})",
        .found.as_ref().map(|found| format!(", in {found}")).unwrap_or_default()
    )]
    EnvMoved {
        /// The app.
        app: AppName,
        /// The release that has them now.
        found: Option<ReleaseId>,
        /// How they differ from what the caller saw.
        change: EnvChange,
    },
    /// A variable to remove is not there.
    #[error("`{name}` is not set in app `{app}`")]
    NotSet {
        /// The app.
        app: AppName,
        /// What was asked for.
        name: String,
        /// What is there.
        known: Vec<String>,
    },
    /// A name that is to be shown again is not masked.
    #[error("`{name}` is not masked in app `{app}`")]
    NotMasked {
        /// The app.
        app: AppName,
        /// What was asked for.
        name: String,
        /// What is masked.
        known: BTreeSet<String>,
    },
    /// All variables are to be replaced by none.
    #[error("there is nothing to replace the variables with")]
    NothingLeft,
    /// The caller did not repeat the name.
    #[error("deleting app `{0}` needs its name again")]
    Unconfirmed(AppName),
    /// A name or id breaks its rule.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// A variable cannot be passed to a process.
    #[error(transparent)]
    InvalidEnv(#[from] InvalidEnv),
    /// An export cannot be made, or nothing be made of it.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// The manifest does not hold.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest of a release does not hold with its environment.
    #[error("the manifest of release {release}")]
    ReleaseManifest {
        /// The release.
        release: ReleaseId,
        /// Why not.
        source: ManifestError,
    },
    /// The source cannot be built without being told how.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The machine lacks what the source needs.
    #[error("{} is not on this machine: {}", .0.name(), .0.install())]
    NoTool(Tool),
    /// The environment lacks what `app.json` requires.
    #[error("app.json")]
    MissingAppEnv(#[source] MissingNames),
    /// The environment lacks what the manifest requires.
    #[error("service `{service}`: {source}")]
    MissingEnv {
        /// The service that requires it.
        service: ServiceName,
        /// What is missing.
        source: MissingNames,
    },
    /// The upload is not what an upload is.
    #[error("the upload is not usable: {0}")]
    Archive(String),
    /// The source was never listed, or was forgotten since.
    #[error("the rack does not know that source of app `{0}`")]
    NoSource(AppName),
    /// Contents of the source are not there.
    #[error("the rack lacks contents of the source")]
    SourceIncomplete,
    /// The upload is larger than the rack takes.
    #[error("the upload is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The variables of a release are too large together.
    #[error("the variables of app `{app}` are larger than {limit_bytes} bytes together")]
    EnvTooLarge {
        /// The app.
        app: AppName,
        /// The limit.
        limit_bytes: usize,
    },
    /// The engine of this rack does not do that.
    #[error("{0}")]
    Unsupported(String),
    /// The request is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The planner refuses.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The keys failed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The machine failed.
    #[error("could not {doing}")]
    Io {
        /// What it was doing.
        doing: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The router's address cannot be listened on.
    #[error("the router cannot listen on {address}")]
    RouterPort {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another rack runs on the data directory.
    #[error("another rack runs on {data_dir} ({holder})", data_dir = data_dir.display())]
    Busy {
        /// The directory.
        data_dir: std::path::PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// The rack is on its way out.
    #[error("the rack is stopping")]
    Stopping,
}

impl RackError {
    /// Wraps what the machine answered.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoApp(_) => ErrorCode::AppNotFound,
            Self::NoBuild { .. } => ErrorCode::BuildNotFound,
            Self::NoReleaseNamed { .. } => ErrorCode::ReleaseNotFound,
            Self::NoPromotion { .. } => ErrorCode::PromotionNotFound,
            Self::NoService { .. } | Self::NotAService { .. } => ErrorCode::ServiceNotFound,
            Self::NoSession => ErrorCode::SessionNotFound,
            Self::NoProcess { .. } | Self::AmbiguousProcess { .. } => ErrorCode::ProcessNotFound,
            Self::TooManySessions { .. } | Self::TooManyOneOffs { .. } => {
                ErrorCode::TooManySessions
            }
            Self::AppExists(_) => ErrorCode::AppExists,
            Self::HostTaken { .. } => ErrorCode::HostTaken,
            Self::NoRelease(_) => ErrorCode::NoRelease,
            Self::NothingActive(_) => ErrorCode::NothingActive,
            Self::NothingInFlight(_) | Self::HasEnded { .. } => ErrorCode::NothingInFlight,
            Self::NothingToRollBackTo(_) => ErrorCode::NothingToRollBackTo,
            Self::NotBuilt(_) | Self::NoSlug(_) => ErrorCode::BuildNotComplete,
            Self::EnvMoved { .. } | Self::BuildEnded { .. } | Self::BuildCancelled => {
                ErrorCode::Conflict
            }
            Self::Unconfirmed(_) => ErrorCode::ConfirmationRequired,
            Self::InvalidId(_) => ErrorCode::InvalidName,
            Self::InvalidEnv(_) | Self::MissingEnv { .. } | Self::MissingAppEnv(_) => {
                ErrorCode::InvalidEnv
            }
            Self::Manifest(_) | Self::ReleaseManifest { .. } | Self::Detect(_) => {
                ErrorCode::InvalidManifest
            }
            Self::Archive(_) => ErrorCode::InvalidArchive,
            Self::NoSource(_) => ErrorCode::SourceNotFound,
            Self::SourceIncomplete => ErrorCode::SourceIncomplete,
            Self::TooLarge { .. } | Self::EnvTooLarge { .. } => ErrorCode::TooLarge,
            Self::Unsupported(_) | Self::NoTool(_) => ErrorCode::Unsupported,
            Self::Invalid(_) | Self::NotSet { .. } | Self::NotMasked { .. } | Self::NothingLeft => {
                ErrorCode::InvalidRequest
            }
            Self::Move(error) => move_code(error),
            Self::Command(error) => command_code(error),
            Self::Store(error) => store_code(error),
            Self::Engine(error) if error.retryable() => ErrorCode::Unavailable,
            Self::Engine(_) => ErrorCode::Unsupported,
            Self::Io { source, .. } if is_full(source) => ErrorCode::StorageFull,
            Self::Stopping | Self::Busy { .. } => ErrorCode::Unavailable,
            Self::Secret(_) | Self::Io { .. } | Self::RouterPort { .. } => ErrorCode::Internal,
        }
    }

    /// The answer, with its cause in the message, since the cause is what helps.
    pub fn body(&self, request_id: &str) -> ErrorBody {
        ErrorBody {
            code: self.code(),
            message: with_causes(self),
            hint: self.hint(),
            request_id: request_id.to_owned(),
        }
    }
}

/// Names with commas between.
fn listed(names: &[ServiceName]) -> String {
    let names: Vec<&str> = names.iter().map(ServiceName::as_str).collect();
    names.join(", ")
}

/// An error and all its causes in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Sql { source, .. } => match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => ErrorCode::StorageFull,
            _ => ErrorCode::Internal,
        },
        StoreError::Unwritten { full: true, .. } => ErrorCode::StorageFull,
        StoreError::Conflict => ErrorCode::Conflict,
        StoreError::NoRelease(_) => ErrorCode::ReleaseNotFound,
        StoreError::NoBuild(_) => ErrorCode::BuildNotFound,
        StoreError::Closed => ErrorCode::Unavailable,
        StoreError::Newer { .. } | StoreError::Unreadable(_) | StoreError::Unwritten { .. } => {
            ErrorCode::Internal
        }
    }
}

/// Whether the machine has no room left.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}

fn move_code(error: &MoveError) -> ErrorCode {
    match error {
        MoveError::Another { .. }
        | MoveError::CutShort
        | MoveError::Damaged(_)
        | MoveError::Newer(_) => ErrorCode::InvalidArchive,
        MoveError::Elsewhere { .. } => ErrorCode::Unsupported,
        MoveError::PassphraseMissing | MoveError::PassphraseWrong => ErrorCode::WrongPassphrase,
        MoveError::Incomplete { .. } | MoveError::NoSlug(_) | MoveError::NothingOf(_) => {
            ErrorCode::BuildNotComplete
        }
        MoveError::TooMany => ErrorCode::TooLarge,
        MoveError::VolumeTaken { .. } => ErrorCode::Conflict,
    }
}

fn command_code(error: &CommandError) -> ErrorCode {
    match error {
        CommandError::InProgress { .. } => ErrorCode::PromotionInProgress,
        CommandError::Deleting => ErrorCode::AppDeleting,
        CommandError::UnknownService { .. } => ErrorCode::ServiceNotFound,
        CommandError::NotActive { .. } | CommandError::NeverDeployed => ErrorCode::NothingActive,
        CommandError::NothingInFlight => ErrorCode::NothingInFlight,
        CommandError::Singleton { .. } | CommandError::TooMany { .. } => ErrorCode::InvalidRequest,
        CommandError::NotStanding { .. } | CommandError::AlreadyRenewing { .. } => {
            ErrorCode::Conflict
        }
        CommandError::AlreadyGoingBack
        | CommandError::AlreadyStopped
        | CommandError::AlreadyRunning
        | CommandError::IsStopped => ErrorCode::Conflict,
    }
}
