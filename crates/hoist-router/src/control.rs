//! The rack's side of the control socket: publish a table, ask what runs, tell it to stop.
//!
//! Plain HTTP/1 with JSON over a unix socket in the router's directory, one connection per call: calls are rare, and a
//! connection that is not kept cannot be stale.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hoist_core::id::{InvalidId, SlotId, Version};
use hoist_core::model::{RouteTable, RouterLook};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;

use crate::place;
use crate::wire::{WireRefusal, WireReport, WireTable};

/// How long a call may take, the router's fsync included.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What a router says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterReport {
    /// Version of the control protocol that it speaks.
    pub protocol: u32,
    /// Names one life of the process; counts begin at 0 with it.
    pub incarnation: u64,
    /// Its process.
    pub pid: u32,
    /// The table it serves and has on disk.
    pub version: Version,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Slots that the running table names.
    pub routed: BTreeSet<SlotId>,
    /// Plain requests in flight per slot, bodies included, also of slots that left the table; those without any are left out.
    pub in_flight: BTreeMap<SlotId, u32>,
    /// Upgraded connections per slot, counted apart.
    pub tunnels: BTreeMap<SlotId, u32>,
    /// Client connections open now.
    pub connections_open: u64,
    /// Client connections since it began.
    pub connections: u64,
    /// Requests since it began.
    pub requests: u64,
    /// Access lines that could not be kept since it began.
    pub access_lines_dropped: u64,
}

impl RouterReport {
    /// The report as the decisions see it; `look` was drawn before the call.
    pub fn into_look(self, look: Version) -> RouterLook {
        RouterLook {
            look,
            incarnation: self.incarnation,
            version: self.version,
            routed: self.routed,
            in_flight: self.in_flight,
        }
    }
}

/// Why the router did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No router answers in that directory.
    #[error("no router answers at {}", .path.display())]
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It did not answer in time.
    #[error("the router did not answer within {}s", CALL_LIMIT.as_secs())]
    Late,
    /// The connection to it broke.
    #[error("the connection to the router broke")]
    Broken(#[source] hyper::Error),
    /// It refused, and said why.
    #[error("the router refused ({code}): {message}")]
    Refused {
        /// One word for programs.
        code: String,
        /// One sentence for people.
        message: String,
    },
    /// Its answer is not one that this version understands.
    #[error("the router's answer makes no sense")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Speaks to the router of one directory.
#[derive(Debug, Clone)]
pub struct RouterClient {
    dir: PathBuf,
}

impl RouterClient {
    /// A client for the router whose directory is `dir`; connects with each call.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Has the router serve `table`. Idempotent: a table that is not newer than what runs is ignored, and the report
    /// names what runs.
    ///
    /// When this returns, the table is on the router's disk, and no request goes any more to a slot it does not name.
    pub async fn publish(&self, table: &RouteTable) -> Result<RouterReport, ControlError> {
        let body = serde_json::to_vec(&WireTable::from(table))
            .map_err(|error| ControlError::Answer(error.into()))?;
        self.call(Method::PUT, "/1/table", body).await
    }

    /// What the router says of itself.
    pub async fn report(&self) -> Result<RouterReport, ControlError> {
        self.call(Method::GET, "/1/report", Vec::new()).await
    }

    /// Has the router finish what is in flight (at most 30 s) and end. Returns when it began to.
    pub async fn stop(&self) -> Result<RouterReport, ControlError> {
        self.call(Method::POST, "/1/stop", Vec::new()).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<RouterReport, ControlError> {
        let call = async {
            let (status, answer) = self.exchange(method, path, body).await?;
            read_answer(status, &answer)
        };
        tokio::time::timeout(CALL_LIMIT, call)
            .await
            .map_err(|_| ControlError::Late)?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), ControlError> {
        let stream = place::connect_control(&self.dir).await.map_err(|source| {
            ControlError::Unreachable {
                path: self.dir.join(place::SOCKET),
                source,
            }
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ControlError::Broken)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "router")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ControlError::Answer(error.into()))?;
        let answer = async move {
            let response = sender
                .send_request(request)
                .await
                .map_err(ControlError::Broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(ControlError::Answer)?;
            Ok((status, body.to_bytes()))
        };
        // The connection's own result says nothing that the request's does not, and it ends with the sender.
        let (answer, _) = tokio::join!(answer, connection);
        answer
    }
}

fn read_answer(status: StatusCode, answer: &[u8]) -> Result<RouterReport, ControlError> {
    if status.is_success() {
        let wire: WireReport =
            serde_json::from_slice(answer).map_err(|error| ControlError::Answer(error.into()))?;
        return RouterReport::try_from(wire)
            .map_err(|error: InvalidId| ControlError::Answer(error.into()));
    }
    let refusal: WireRefusal =
        serde_json::from_slice(answer).map_err(|error| ControlError::Answer(error.into()))?;
    Err(ControlError::Refused {
        code: refusal.code,
        message: refusal.message,
    })
}
