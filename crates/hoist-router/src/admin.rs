//! The router's side of the control socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hoist_core::model::RouteTable;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::access::Journal;
use crate::control::RouterReport;
use crate::place::{Place, PlaceError};
use crate::table::Routes;
use crate::wire::{WireError, WireRefusal, WireReport, WireTable};
use crate::worker::Totals;

/// The control protocol that is spoken here.
const PROTOCOL: u32 = 1;
/// Largest table.
const TABLE_BYTES_MAX: usize = 64 << 20;

/// Everything that the control socket speaks for.
pub(crate) struct Admin {
    pub(crate) place: Place,
    pub(crate) routes: Arc<Routes>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) totals: Vec<Arc<Totals>>,
    pub(crate) incarnation: u64,
    pub(crate) listen: std::net::SocketAddr,
    /// Set once a caller asked to stop.
    pub(crate) end: watch::Sender<bool>,
}

/// Why a call was refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is no {0} here")]
    NoSuchCall(String),
    #[error("the table did not arrive whole")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the table is not JSON of the expected shape")]
    Shape(#[source] serde_json::Error),
    #[error("the table cannot be served")]
    Table(#[source] WireError),
    #[error("the table could not be kept, and is not served")]
    Disk(#[source] PlaceError),
}

impl Admin {
    /// Answers calls, one after the other, until dropped.
    ///
    /// Saving a table blocks this thread until the disk has it. Nothing else runs here.
    pub(crate) async fn serve(&self, listener: &UnixListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(
                    TokioIo::new(stream),
                    service_fn(|request| self.answer(request)),
                );
            // A caller that stalls must not keep the next one out.
            match tokio::time::timeout(std::time::Duration::from_secs(10), connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a control connection broke"),
                Err(_) => tracing::warn!("a control connection stalled"),
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let outcome = match (request.method(), request.uri().path()) {
            (&Method::PUT, "/1/table") => self.take_table(request.into_body()).await,
            (&Method::GET, "/1/report") => Ok(()),
            (&Method::POST, "/1/stop") => {
                self.end.send_replace(true);
                Ok(())
            }
            (method, path) => Err(Refused::NoSuchCall(format!("{method} {path}"))),
        };
        Ok(match outcome {
            Ok(()) => json(StatusCode::OK, &WireReport::from(&self.report())),
            Err(refused) => refusal(&refused),
        })
    }

    async fn take_table(&self, body: Incoming) -> Result<(), Refused> {
        let body = Limited::new(body, TABLE_BYTES_MAX)
            .collect()
            .await
            .map_err(Refused::Body)?
            .to_bytes();
        let wire: WireTable = serde_json::from_slice(&body).map_err(Refused::Shape)?;
        let table = RouteTable::try_from(wire).map_err(Refused::Table)?;
        if table.version <= self.routes.newest().version {
            return Ok(());
        }
        self.place.save(&table).map_err(Refused::Disk)?;
        self.routes.serve(&table);
        tracing::info!(version = %table.version, hosts = table.hosts.len(), "serving a new table");
        Ok(())
    }

    fn report(&self) -> RouterReport {
        let counts = self.routes.counts();
        let sum = |of: fn(&Totals) -> u64| self.totals.iter().map(|totals| of(totals)).sum();
        RouterReport {
            protocol: PROTOCOL,
            incarnation: self.incarnation,
            pid: std::process::id(),
            version: counts.version,
            listen: self.listen,
            routed: counts.routed,
            in_flight: counts.in_flight,
            tunnels: counts.tunnels,
            connections_open: sum(|totals| totals.open.load(Ordering::Relaxed)),
            connections: sum(|totals| totals.connections.load(Ordering::Relaxed)),
            requests: sum(|totals| totals.requests.load(Ordering::Relaxed)),
            access_lines_dropped: self.journal.dropped(),
        }
    }
}

fn refusal(refused: &Refused) -> Response<Full<Bytes>> {
    let (status, code) = match refused {
        Refused::NoSuchCall(_) => (StatusCode::NOT_FOUND, "no-such-call"),
        Refused::Body(_) => (StatusCode::BAD_REQUEST, "incomplete"),
        Refused::Shape(_) => (StatusCode::BAD_REQUEST, "malformed"),
        Refused::Table(WireError::TooNew { .. }) => (StatusCode::UNPROCESSABLE_ENTITY, "too-new"),
        Refused::Table(WireError::Name(_)) => (StatusCode::UNPROCESSABLE_ENTITY, "bad-name"),
        Refused::Disk(_) => (StatusCode::INSUFFICIENT_STORAGE, "not-kept"),
    };
    let mut message = refused.to_string();
    let mut cause = std::error::Error::source(refused);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    tracing::warn!(code, message, "refused a control call");
    json(
        status,
        &WireRefusal {
            code: code.to_owned(),
            message,
        },
    )
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    // Maps with text keys, numbers and text: nothing in these types can fail to be written.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
