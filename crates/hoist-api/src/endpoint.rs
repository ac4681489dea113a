//! One declaration per operation, from which the server's router, the client and the OpenAPI document follow.

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::ErrorCode;

/// The prefix of every path that an [`Endpoint`] declares.
pub const PREFIX: &str = "/v1";
/// Answers 200 without a token as soon as the rack serves; the only path outside [`PREFIX`].
pub const CHECK_PATH: &str = "/check";
/// The media type of an upload or download: a plain tar archive.
pub const ARCHIVE_TYPE: &str = "application/x-tar";
/// The media type of a stream of server-sent events.
pub const STREAM_TYPE: &str = "text/event-stream";

/// One operation of the rack.
///
/// Parameters of the path are the fields of `Path` by name; `Query` is a flat struct. A request without a body reads
/// as `{}`, so that `curl -X POST` works where everything of `Body` has a default.
pub trait Endpoint: Send + Sync + 'static {
    /// The HTTP method.
    const METHOD: Method;
    /// Relative to [`PREFIX`], with `{names}` that match the fields of `Path`.
    const PATH: &'static str;
    /// The operation's name in the OpenAPI document, `verb_noun`; unique.
    const ID: &'static str;
    /// One line of what it does.
    const SUMMARY: &'static str;
    /// What a token must allow.
    const SCOPE: Scope;
    /// How request and reply travel.
    const KIND: Kind;
    /// The status of success.
    const SUCCESS: u16;
    /// What it may answer instead, beside what every operation may ([`ErrorCode::COMMON`]).
    const ERRORS: &'static [ErrorCode];
    /// Parameters in the path.
    type Path: Serialize + DeserializeOwned + JsonSchema + Send + Sync;
    /// Parameters after the `?`.
    type Query: Serialize + DeserializeOwned + JsonSchema + Send + Sync;
    /// The request's JSON; [`crate::types::Empty`] for none and for uploads.
    type Body: Serialize + DeserializeOwned + JsonSchema + Send + Sync;
    /// The reply's JSON; of a stream, one item ([`crate::sse::Streamed`]); [`crate::types::Empty`] for downloads.
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + Sync;
}

/// How request and reply travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON both ways.
    Json,
    /// The reply is a stream of server-sent events that closes with an `end` event.
    EventStream,
    /// The request is a tar archive, streamed; the reply is JSON.
    Upload,
    /// The reply is a tar archive, streamed, which ends with an entry that says whether it is whole.
    Download,
    /// The connection becomes a WebSocket; the reply is the JSON of its last message.
    Session,
}

/// What a token must allow. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Looking, without values of secrets.
    Read,
    /// Changing apps, and seeing values of their environment.
    Deploy,
    /// Changing the rack, creating and deleting apps.
    Admin,
}

impl Scope {
    /// The word in the document and in refusals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

/// An HTTP method that operations use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Looks.
    Get,
    /// Creates or acts.
    Post,
    /// Sets.
    Put,
    /// Changes in part.
    Patch,
    /// Deletes.
    Delete,
}

impl Method {
    /// As HTTP spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// As the `http` crate has it.
    pub const fn to_http(self) -> http::Method {
        match self {
            Self::Get => http::Method::GET,
            Self::Post => http::Method::POST,
            Self::Put => http::Method::PUT,
            Self::Patch => http::Method::PATCH,
            Self::Delete => http::Method::DELETE,
        }
    }

    /// Whether requests carry a JSON body.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}
