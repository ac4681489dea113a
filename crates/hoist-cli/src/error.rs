//! What a command can end with instead, its words and its exit code.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use hoist_api::client::{CallError, TargetError};
use serde_json::json;

use crate::output::Output;
use crate::starter::RackError;

/// What helps when a file or directory of the user is in the way.
fn io_hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::PermissionDenied => {
            Some("run as the user whose it is, or name another with --data-dir")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("make room on the disk"),
        io::ErrorKind::NotFound => Some("look at the path: nothing is there"),
        _ => None,
    }
}

/// What each exit code means, for the manual.
pub(crate) const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "refused; nothing changed"),
    ("2", "wrong usage"),
    ("3", "the rack cannot be reached"),
    (
        "4",
        "the promotion or resize ended, and what was asked for is not live",
    ),
    ("130", "interrupted"),
];

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The arguments do not make sense together, or here.
    #[error("{message}")]
    Usage { message: String, hint: String },
    /// This side refuses; nothing changed.
    #[error("{message}")]
    Refused {
        message: String,
        hint: Option<String>,
    },
    /// There is no rack to ask.
    #[error("{message}")]
    NoRack { message: String, hint: String },
    /// The rack did not do it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A rack in this process.
    #[error(transparent)]
    Rack(#[from] RackError),
    /// A file or directory of the user.
    #[error("cannot {doing}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
    /// A file that the rack wrote is not what it should be.
    #[error("{} is not what a rack writes", path.display())]
    BadFile {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// What was asked for is not live. Said already.
    #[error("what was asked for is not live")]
    NotLive,
    /// Said already, and came to this exit code.
    #[error("said already")]
    Said { exit_code: u8 },
    /// The user interrupted; what goes on regardless.
    #[error("interrupted")]
    Interrupted { goes_on: Option<String> },
    /// Nobody reads any more, or nothing can be written.
    #[error("cannot print")]
    Output(#[source] io::Error),
}

impl CliError {
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            doing: doing.into(),
            source,
        }
    }

    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// Nobody reads standard output any more, as in `hoist logs | head`: not a failure.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// 0 done, 1 refused, 2 wrong usage, 3 unreachable, 4 not live, 130 interrupted.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Output(_) if self.is_closed_pipe() => 0,
            Self::Usage { .. } | Self::Call(CallError::Target(TargetError::Malformed(_))) => 2,
            Self::NoRack { .. } => 3,
            Self::Call(error) => match error {
                CallError::Refused(_) | CallError::Target(_) => 1,
                CallError::Upload(_) | CallError::NotJson(_) | CallError::BadRequest(_) => 1,
                CallError::Unreachable { .. }
                | CallError::TimedOut { .. }
                | CallError::CutOff { .. } => 3,
                CallError::Protocol { .. }
                | CallError::BadReply { .. }
                | CallError::BadStream { .. } => 3,
            },
            Self::Refused { .. }
            | Self::Rack(_)
            | Self::Io { .. }
            | Self::BadFile { .. }
            | Self::Output(_) => 1,
            Self::NotLive => 4,
            Self::Said { exit_code } => *exit_code,
            Self::Interrupted { .. } => 130,
        }
    }

    /// What helps.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::NoRack { hint, .. } => Some(hint.clone()),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Rack(error) => error.hint.clone(),
            Self::Call(CallError::Target(error)) => Some(error.hint()),
            Self::Call(CallError::Unreachable { .. }) => {
                Some("is it running? `hoist rack start` starts one".to_owned())
            }
            Self::Call(
                CallError::Protocol { .. }
                | CallError::BadReply { .. }
                | CallError::BadStream { .. },
            ) => Some("does a rack listen there, and of which version? `hoist version`".to_owned()),
            Self::Call(CallError::TimedOut { .. } | CallError::CutOff { .. }) => {
                Some("is it still running? `hoist rack` asks it".to_owned())
            }
            Self::Call(CallError::BadRequest(_)) => {
                Some("look at the token in HOIST_URL".to_owned())
            }
            Self::Call(CallError::Upload(_)) => {
                Some("try again when nothing writes to the source".to_owned())
            }
            Self::Call(error) => error.refusal().and_then(|body| body.hint.clone()),
            Self::Io { source, .. } => io_hint(source.kind()).map(str::to_owned),
            Self::BadFile { .. } => Some("`hoist rack start` writes it anew".to_owned()),
            Self::Interrupted { goes_on } => goes_on.clone(),
            _ => None,
        }
    }

    /// The message with its causes.
    fn message(&self) -> String {
        let mut message = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        message
    }

    /// Tells the user. With `--json` as one line of JSON in the shape of the API's errors.
    pub(crate) fn print(&self, out: &mut Output<'_>) -> Result<(), CliError> {
        if self.is_closed_pipe() || matches!(self, Self::NotLive | Self::Said { .. }) {
            return Ok(());
        }
        if let Self::Interrupted { goes_on } = self {
            return goes_on.as_ref().map_or(Ok(()), |text| out.note(text));
        }
        if out.json() {
            let body = self.body();
            return out.chatter(&body.to_string());
        }
        let mut text = self.message();
        if let Self::Call(CallError::Refused(refusal)) = self
            && refusal.status >= 500
            && !refusal.body.request_id.is_empty()
        {
            text.push_str(&format!(" (request {})", refusal.body.request_id));
        }
        out.error(&text, self.hint().as_deref())
    }

    fn body(&self) -> serde_json::Value {
        let refusal = match self {
            Self::Call(error) => error.refusal(),
            _ => None,
        };
        let code = match (refusal, self.exit_code()) {
            (Some(body), _) => body.code.as_str(),
            (None, 2) => "usage",
            (None, 3) => "unreachable",
            (None, _) => "refused",
        };
        json!({
            "code": code,
            "message": self.message(),
            "hint": self.hint(),
            "request_id": refusal.map_or("", |body| &body.request_id),
        })
    }
}
