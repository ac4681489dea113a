//! Reads an archive that the rack streams, piece by piece.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::error::CallError;

/// How long a rack may take from one piece to the next.
const PIECE_LIMIT: Duration = Duration::from_secs(60);

/// An archive on its way. Dropping it closes the connection.
pub struct Download {
    body: Incoming,
    url: String,
}

impl Download {
    pub(super) fn new(body: Incoming, url: String) -> Self {
        Self { body, url }
    }

    /// The next piece; none at the end. Whether the archive is whole, its own end says.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let frame = timeout(PIECE_LIMIT, self.body.frame()).await;
            let frame = frame.map_err(|_| CallError::TimedOut {
                url: self.url.clone(),
                seconds: PIECE_LIMIT.as_secs(),
            })?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| self.cut_off(Some(Box::new(error))))?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }

    /// What it is when the archive lacks its end.
    pub fn cut_off(&self, source: Option<Box<dyn std::error::Error + Send + Sync>>) -> CallError {
        CallError::CutOff {
            url: self.url.clone(),
            source,
        }
    }
}
