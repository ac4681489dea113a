//! What the rack answers instead: one list of codes, one shape.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::words;

/// The body of every answer that is not a success, and the data of a stream's `error` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// What failed and for whom: one short sentence in lower case.
    pub message: String,
    /// One command or change that helps.
    #[serde(default)]
    pub hint: Option<String>,
    /// Finds the request in the rack's own log.
    #[serde(default)]
    pub request_id: String,
}

words! {
    /// Why the rack refused, for programs. Each has one HTTP status.
    ErrorCode {
        /// No token, or one that the rack does not know.
        Unauthenticated = "unauthenticated",
        /// The token does not allow it.
        Forbidden = "forbidden",
        /// There is no such operation.
        RouteNotFound = "route_not_found",
        /// There is such a path, but not with this method.
        MethodNotAllowed = "method_not_allowed",
        /// There is no such app.
        AppNotFound = "app_not_found",
        /// There is no such build.
        BuildNotFound = "build_not_found",
        /// There is no such source, or no longer: list it again.
        SourceNotFound = "source_not_found",
        /// The rack lacks contents of the source: list it again, and send what is missing.
        SourceIncomplete = "source_incomplete",
        /// There is no such release.
        ReleaseNotFound = "release_not_found",
        /// There is no such promotion.
        PromotionNotFound = "promotion_not_found",
        /// The app has no such service.
        ServiceNotFound = "service_not_found",
        /// There is no such process.
        ProcessNotFound = "process_not_found",
        /// There is no such session, or no longer.
        SessionNotFound = "session_not_found",
        /// The rack holds as many sessions or one-offs as it may.
        TooManySessions = "too_many_sessions",
        /// The name is taken.
        AppExists = "app_exists",
        /// The name's host is taken by another app or service.
        HostTaken = "host_taken",
        /// The app is being deleted.
        AppDeleting = "app_deleting",
        /// Another promotion is in flight and `if_busy` is `refuse`.
        PromotionInProgress = "promotion_in_progress",
        /// No promotion is in flight.
        NothingInFlight = "nothing_in_flight",
        /// The app has no release that serves.
        NothingActive = "nothing_active",
        /// The app has no release yet.
        NoRelease = "no_release",
        /// No earlier release ever served.
        NothingToRollBackTo = "nothing_to_roll_back_to",
        /// The release's build is not complete.
        BuildNotComplete = "build_not_complete",
        /// Somebody else changed it first: `expected` is not the newest release.
        Conflict = "conflict",
        /// The request is malformed.
        InvalidRequest = "invalid_request",
        /// A name breaks the rules for names.
        InvalidName = "invalid_name",
        /// A variable's name or value cannot be passed to a process.
        InvalidEnv = "invalid_env",
        /// The manifest is missing or wrong.
        InvalidManifest = "invalid_manifest",
        /// The upload is not a tar archive, ends early, or holds entries that point outside.
        InvalidArchive = "invalid_archive",
        /// The passphrase is missing, or does not open what it should.
        WrongPassphrase = "wrong_passphrase",
        /// The destructive request does not repeat the name.
        ConfirmationRequired = "confirmation_required",
        /// The request is larger than the rack takes.
        TooLarge = "too_large",
        /// The engine of this rack does not do that.
        Unsupported = "unsupported",
        /// The rack's disk is full.
        StorageFull = "storage_full",
        /// The rack is stopping or cannot do it now.
        Unavailable = "unavailable",
        /// A fault of the rack itself.
        Internal = "internal",
    }
}

impl ErrorCode {
    /// What every operation may answer.
    pub const COMMON: &'static [Self] = &[
        Self::Unauthenticated,
        Self::Forbidden,
        Self::InvalidRequest,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Its HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::ConfirmationRequired => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::RouteNotFound
            | Self::AppNotFound
            | Self::BuildNotFound
            | Self::SourceNotFound
            | Self::ReleaseNotFound
            | Self::PromotionNotFound
            | Self::ServiceNotFound
            | Self::ProcessNotFound
            | Self::SessionNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::AppExists
            | Self::HostTaken
            | Self::AppDeleting
            | Self::PromotionInProgress
            | Self::NothingInFlight
            | Self::NothingActive
            | Self::NoRelease
            | Self::NothingToRollBackTo
            | Self::BuildNotComplete
            | Self::SourceIncomplete
            | Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::InvalidName
            | Self::InvalidEnv
            | Self::InvalidManifest
            | Self::InvalidArchive
            | Self::WrongPassphrase
            | Self::Unsupported => 422,
            Self::TooManySessions => 429,
            Self::Internal | Self::Unknown => 500,
            Self::Unavailable => 503,
            Self::StorageFull => 507,
        }
    }
}
