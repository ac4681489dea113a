//! Why a call did not come to a reply. Each kind is another thing to do for the user.

use std::error::Error;
use std::io;

use super::target::TargetError;
use crate::error::ErrorBody;
use crate::sse::SseError;

/// Why a call did not come to a reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The rack must not be talked to like this; nothing was sent.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Nothing listens there, or it cannot be reached.
    #[error("cannot reach a rack at {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No answer came.
    #[error("the rack at {url} did not answer within {seconds} s")]
    TimedOut {
        /// Where.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// The rack understood and refused.
    #[error("{}", .0.body.message)]
    Refused(Box<Refusal>),
    /// The answer or stream ended before it was complete.
    #[error("the connection to the rack at {url} broke off")]
    CutOff {
        /// Where.
        url: String,
        /// Why, when more is known.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Something answers that is no rack.
    #[error("what listens at {url} {what}")]
    Protocol {
        /// Where.
        url: String,
        /// What it did.
        what: &'static str,
        /// Why, when more is known.
        #[source]
        source: Option<hyper::Error>,
    },
    /// The answer is not what this version expects.
    #[error("the answer of {url} is not one of a rack")]
    BadReply {
        /// Where.
        url: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The stream is not what this version expects.
    #[error("the stream of {url} is not one of a rack")]
    BadStream {
        /// Where.
        url: String,
        /// What is wrong with it.
        #[source]
        source: SseError,
    },
    /// The upload's own source failed; the rack forgets what it got.
    #[error("the upload was given up")]
    Upload(#[source] io::Error),
    /// The request cannot be written as JSON.
    #[error("the request cannot be written")]
    NotJson(#[source] serde_json::Error),
    /// The request cannot be written as HTTP: a token with characters that no header takes.
    #[error(
        "the request cannot be written: is the token what `token` in the data directory holds?"
    )]
    BadRequest(#[source] http::Error),
}

/// The rack's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What it says.
    pub body: ErrorBody,
}

impl CallError {
    /// The rack's refusal, when it is one.
    pub fn refusal(&self) -> Option<&ErrorBody> {
        match self {
            Self::Refused(refusal) => Some(&refusal.body),
            _ => None,
        }
    }

    /// Whether the same call may succeed once the rack is back: it was gone, or went.
    pub fn gone(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::CutOff { .. } | Self::TimedOut { .. } => true,
            Self::Protocol { source, .. } => source.as_ref().is_some_and(|error| !error.is_parse()),
            _ => false,
        }
    }
}
