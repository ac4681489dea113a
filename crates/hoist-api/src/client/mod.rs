//! The client half of the declarations: one HTTP/1.1 connection per request, nothing kept in between.
//!
//! A command makes a handful of requests to a rack on the same machine, so a pool would cost more than it saves. Runs
//! on a single-threaded runtime.

mod download;
mod error;
mod session;
mod stream;
mod target;

pub use download::Download;
pub use error::{CallError, Refusal};
pub use session::SessionEnds;
pub use stream::{EventStream, Next};
pub use target::{Target, TargetError};

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::endpoint::{ARCHIVE_TYPE, CHECK_PATH, Endpoint, Kind, Method, PREFIX, STREAM_TYPE};
use crate::error::ErrorBody;
use crate::sse::Streamed;
use crate::types::Empty;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a rack may take to say that it serves.
const CHECK_LIMIT: Duration = Duration::from_secs(5);
/// How long a look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// How long an act may take: a promotion may first wait for the end of another one, which is limited by itself.
const ACT_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The largest reply that is read.
const REPLY_BYTES_MAX: usize = 64 << 20;

type RequestBody = BoxBody<Bytes, io::Error>;

/// Pieces of an upload; a bounded channel, so that packaging goes no faster than the network. An error ends the upload
/// and the rack forgets it.
pub type UploadPieces = mpsc::Receiver<io::Result<Bytes>>;

/// Talks to one rack.
#[derive(Clone)]
pub struct Client {
    target: Target,
}

impl Client {
    /// A client for a rack. Nothing is sent yet.
    pub fn new(target: Target) -> Self {
        Self { target }
    }

    /// Where the rack is, without the token.
    pub fn url(&self) -> String {
        self.target.to_string()
    }

    /// Completes when the rack serves.
    pub async fn check(&self) -> Result<(), CallError> {
        let request = self.request(Method::Get, CHECK_PATH, None, empty())?;
        let response = self.send(request, CHECK_LIMIT).await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// Calls an operation that takes and gives JSON.
    pub async fn call<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Reply, CallError> {
        const { assert!(matches!(E::KIND, Kind::Json)) };
        let uri = uri::<E>(path, query)?;
        let (media_type, body) = json_body::<E>(body)?;
        let limit = if E::METHOD == Method::Get {
            LOOK_LIMIT
        } else {
            ACT_LIMIT
        };
        let response = self
            .send(self.request(E::METHOD, &uri, media_type, body)?, limit)
            .await?;
        self.reply(response).await
    }

    /// Calls an operation that takes a tar archive.
    pub async fn upload<E>(
        &self,
        path: &E::Path,
        query: &E::Query,
        pieces: UploadPieces,
    ) -> Result<E::Reply, CallError>
    where
        E: Endpoint<Body = Empty>,
    {
        const { assert!(matches!(E::KIND, Kind::Upload)) };
        let body = BoxBody::new(UploadBody(pieces));
        let request = self.request(E::METHOD, &uri::<E>(path, query)?, Some(ARCHIVE_TYPE), body)?;
        let response = self.send(request, ACT_LIMIT).await?;
        self.reply(response).await
    }

    /// Calls an operation that answers a tar archive.
    pub async fn download<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<Download, CallError> {
        const { assert!(matches!(E::KIND, Kind::Download)) };
        let uri = uri::<E>(path, query)?;
        let (media_type, body) = json_body::<E>(body)?;
        let request = self.request(E::METHOD, &uri, media_type, body)?;
        let response = self.send(request, LOOK_LIMIT).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        if media_type_of(&response) != ARCHIVE_TYPE {
            return Err(self.protocol("answered something else than an archive", None));
        }
        Ok(Download::new(response.into_body(), self.url()))
    }

    /// Opens a stream; the result is its items up to the end.
    pub async fn stream<E, T, End>(
        &self,
        path: &E::Path,
        query: &E::Query,
    ) -> Result<EventStream<T, End>, CallError>
    where
        E: Endpoint<Body = Empty, Reply = Streamed<T, End>>,
        T: DeserializeOwned,
        End: DeserializeOwned,
    {
        const { assert!(matches!(E::KIND, Kind::EventStream)) };
        let mut request = self.request(E::METHOD, &uri::<E>(path, query)?, None, empty())?;
        request
            .headers_mut()
            .insert(ACCEPT, http::HeaderValue::from_static(STREAM_TYPE));
        let response = self.send(request, LOOK_LIMIT).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        if !media_type_of(&response).starts_with(STREAM_TYPE) {
            return Err(self.protocol("answered something else than a stream", None));
        }
        Ok(EventStream::new(response.into_body(), self.url()))
    }

    fn request(
        &self,
        method: Method,
        uri: &str,
        media_type: Option<&'static str>,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, CallError> {
        let mut request = Request::builder()
            .method(method.to_http())
            .uri(uri)
            .header(HOST, self.target.authority())
            .header(USER_AGENT, concat!("hoist/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = self.target.token() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(media_type) = media_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        request.body(body).map_err(CallError::BadRequest)
    }

    /// Connects, sends, and waits for the head of the answer.
    async fn send(
        &self,
        request: Request<RequestBody>,
        limit: Duration,
    ) -> Result<Response<Incoming>, CallError> {
        self.target.admissible()?;
        let mut sender = timeout(CONNECT_LIMIT, self.connect())
            .await
            .map_err(|_| self.timed_out(CONNECT_LIMIT))??;
        let answer = timeout(limit, sender.send_request(request))
            .await
            .map_err(|_| self.timed_out(limit))?;
        answer.map_err(|error| {
            let packaging = std::error::Error::source(&error)
                .is_some_and(|cause| cause.is::<PackagingFailed>());
            if error.is_user() || packaging {
                CallError::Upload(io::Error::other(error))
            } else {
                self.protocol("did not answer as a rack does", Some(error))
            }
        })
    }

    async fn connect(&self) -> Result<SendRequest<RequestBody>, CallError> {
        let unreachable = |source| CallError::Unreachable {
            url: self.url(),
            source,
        };
        let stream = TcpStream::connect(self.target.address())
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.protocol("hung up", Some(error)))?;
        // Ends by itself when the sender and the answer's body are dropped.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    async fn reply<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> Result<T, CallError> {
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let bytes = self.read(response.into_body()).await?;
        serde_json::from_slice(&bytes).map_err(|source| CallError::BadReply {
            url: self.url(),
            source,
        })
    }

    async fn refusal(&self, response: Response<Incoming>) -> CallError {
        let status = response.status().as_u16();
        match self.read(response.into_body()).await {
            Ok(bytes) => match serde_json::from_slice::<ErrorBody>(&bytes) {
                Ok(body) => CallError::Refused(Box::new(Refusal { status, body })),
                Err(source) => CallError::BadReply {
                    url: self.url(),
                    source,
                },
            },
            Err(error) => error,
        }
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, CallError> {
        let whole = timeout(LOOK_LIMIT, Limited::new(body, REPLY_BYTES_MAX).collect()).await;
        let whole = whole.map_err(|_| self.timed_out(LOOK_LIMIT))?;
        Ok(whole
            .map_err(|source| CallError::CutOff {
                url: self.url(),
                source: Some(source),
            })?
            .to_bytes())
    }

    fn timed_out(&self, limit: Duration) -> CallError {
        CallError::TimedOut {
            url: self.url(),
            seconds: limit.as_secs(),
        }
    }

    fn protocol(&self, what: &'static str, source: Option<hyper::Error>) -> CallError {
        CallError::Protocol {
            url: self.url(),
            what,
            source,
        }
    }
}

/// Marks a failure of this side's own source of pieces.
#[derive(Debug, thiserror::Error)]
#[error("the source could not be read")]
struct PackagingFailed(#[source] io::Error);

struct UploadBody(UploadPieces);

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| {
            piece.map(|piece| match piece {
                Ok(bytes) => Ok(Frame::data(bytes)),
                Err(error) => Err(io::Error::other(PackagingFailed(error))),
            })
        })
    }
}

/// The JSON of a request, where its method carries one.
fn json_body<E: Endpoint>(
    body: &E::Body,
) -> Result<(Option<&'static str>, RequestBody), CallError> {
    if !E::METHOD.has_body() {
        return Ok((None, empty()));
    }
    let text = serde_json::to_vec(body).map_err(CallError::NotJson)?;
    Ok((Some("application/json"), full(text)))
}

fn media_type_of(response: &Response<Incoming>) -> &str {
    let value = response.headers().get(CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default()
}

fn empty() -> RequestBody {
    full(Vec::new())
}

fn full(bytes: Vec<u8>) -> RequestBody {
    BoxBody::new(Full::new(Bytes::from(bytes)).map_err(|never| match never {}))
}

/// The path and query of a request.
fn uri<E: Endpoint>(path: &E::Path, query: &E::Query) -> Result<String, CallError> {
    let path = serde_json::to_value(path).map_err(CallError::NotJson)?;
    let mut uri = String::from(PREFIX);
    for segment in E::PATH.split('/').skip(1) {
        uri.push('/');
        match segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        {
            None => uri.push_str(segment),
            Some(name) => escape(&text(&path[name]), &mut uri),
        }
    }
    append_query(query, &mut uri)?;
    Ok(uri)
}

fn append_query(query: &impl Serialize, uri: &mut String) -> Result<(), CallError> {
    let query = serde_json::to_value(query).map_err(CallError::NotJson)?;
    let mut separator = '?';
    for (name, value) in query
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
    {
        uri.push(separator);
        escape(name, uri);
        uri.push('=');
        escape(&text(value), uri);
        separator = '&';
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Percent-encodes all but unreserved characters; a segment of dots alone would be taken for a direction.
fn escape(text: &str, uri: &mut String) {
    let directions = text == "." || text == "..";
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'~')
            || byte == b'.' && !directions;
        if plain {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::{AppGet, LogStream};
    use crate::types::{AppPath, LogQuery};

    #[test]
    fn parameters_cannot_leave_their_place() {
        let path = AppPath {
            app: "../a b?c&é".to_owned(),
        };
        assert_eq!(
            uri::<AppGet>(&path, &Empty {}).expect("a uri"),
            "/v1/apps/..%2Fa%20b%3Fc%26%C3%A9"
        );
        let path = AppPath {
            app: "..".to_owned(),
        };
        assert_eq!(
            uri::<AppGet>(&path, &Empty {}).expect("a uri"),
            "/v1/apps/%2E%2E"
        );
    }

    #[test]
    fn absent_parameters_are_left_out() {
        let path = AppPath {
            app: "a".to_owned(),
        };
        let query = LogQuery {
            follow: true,
            tail: Some(5),
            service: Some("web=1".to_owned()),
            ..LogQuery::default()
        };
        let uri = uri::<LogStream>(&path, &query).expect("a uri");
        assert_eq!(uri, "/v1/apps/a/logs?follow=true&service=web%3D1&tail=5");
    }
}
