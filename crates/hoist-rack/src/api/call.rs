//! From an HTTP request to a typed call and back: the same for every operation.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Query, RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use hoist_api::endpoint::{Endpoint, Method, PREFIX, Scope};
use hoist_api::error::{ErrorBody, ErrorCode};
use hoist_api::session::{VERSION, accept_of};
use hoist_core::lineage::Start;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use serde::de::DeserializeOwned;

use crate::commands::Actor;
use crate::error::RackError;
use crate::rack::Rack;

/// Bytes that the JSON body of a request may have.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Bytes of a refused request that are read before its answer.
const DRAIN_BYTES_MAX: usize = 1 << 30;
/// How long that may take.
const DRAIN_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);
/// Requests carry their number back.
const REQUEST_ID: &str = "x-request-id";

/// What every handler gets.
pub(super) struct Call<E: Endpoint> {
    pub(super) rack: Arc<Rack>,
    pub(super) path: E::Path,
    pub(super) query: E::Query,
    pub(super) actor: Actor,
    pub(super) request_id: String,
    scope: Scope,
}

impl<E: Endpoint> Call<E> {
    /// Whether values of variables are shown: to who asks for them and may change them.
    pub(super) fn reveals(&self, asked: bool) -> bool {
        asked && self.scope >= Scope::Deploy
    }
}

/// A call whose body is JSON, read.
pub(super) struct JsonCall<E: Endpoint> {
    pub(super) call: Call<E>,
    pub(super) body: E::Body,
}

type App = Router<Arc<Rack>>;

/// Mounts an operation that answers JSON.
pub(super) fn json<E, F, R>(router: App, handler: F) -> App
where
    E: Endpoint,
    F: Fn(JsonCall<E>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<E::Reply, RackError>> + Send + 'static,
{
    mount::<E, _, _>(router, move |call: Call<E>, request: Request| {
        let handler = handler.clone();
        async move {
            let id = call.request_id.clone();
            let body = match read_json::<E>(request.into_body()).await {
                Ok(body) => body,
                Err(error) => return refused(error.body(&id)),
            };
            match handler(JsonCall { call, body }).await {
                Ok(reply) => success::<E>(&reply, &id),
                Err(error) => refused(error.body(&id)),
            }
        }
    })
}

/// Mounts an operation whose body or answer is not JSON.
pub(super) fn raw<E, F, R>(router: App, handler: F) -> App
where
    E: Endpoint,
    F: Fn(Call<E>, Body) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response, RackError>> + Send + 'static,
{
    mount::<E, _, _>(router, move |call: Call<E>, request: Request| {
        let handler = handler.clone();
        async move {
            let id = call.request_id.clone();
            let answer = handler(call, request.into_body()).await;
            answer.unwrap_or_else(|error| refused(error.body(&id)))
        }
    })
}

/// A connection that becomes a WebSocket once the answer is written.
pub(super) struct Upgrade {
    pub(super) connection: OnUpgrade,
    accept: String,
}

/// Mounts an operation that turns its connection into a WebSocket, which the handler takes or refuses.
pub(super) fn session<E, F, R>(router: App, handler: F) -> App
where
    E: Endpoint,
    F: Fn(Call<E>, Upgrade) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<(), RackError>> + Send + 'static,
{
    mount::<E, _, _>(router, move |call: Call<E>, request: Request| {
        let handler = handler.clone();
        async move {
            let id = call.request_id.clone();
            let upgrade = match upgrade(request) {
                Ok(upgrade) => upgrade,
                Err(error) => return refused(error.body(&id)),
            };
            let headers = [
                (header::CONNECTION, "upgrade".to_owned()),
                (header::UPGRADE, "websocket".to_owned()),
                (header::SEC_WEBSOCKET_ACCEPT, upgrade.accept.clone()),
            ];
            match handler(call, upgrade).await {
                Ok(()) => (StatusCode::SWITCHING_PROTOCOLS, headers).into_response(),
                Err(error) => refused(error.body(&id)),
            }
        }
    })
}

fn upgrade(mut request: Request) -> Result<Upgrade, RackError> {
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let websocket =
        text(header::UPGRADE).is_some_and(|name| name.eq_ignore_ascii_case("websocket"));
    let known = text(header::SEC_WEBSOCKET_VERSION) == Some(VERSION);
    let accept = text(header::SEC_WEBSOCKET_KEY).map(accept_of);
    let accept = accept.filter(|_| websocket && known);
    match (accept, request.extensions_mut().remove::<OnUpgrade>()) {
        (Some(accept), Some(connection)) => Ok(Upgrade { connection, accept }),
        _ => Err(RackError::Invalid(
            "this is a WebSocket: connect as RFC 6455 says, over HTTP/1.1".to_owned(),
        )),
    }
}

fn mount<E, F, R>(router: App, handler: F) -> App
where
    E: Endpoint,
    F: Fn(Call<E>, Request) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    let filter = match E::METHOD {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    };
    let method = on(
        filter,
        move |State(rack): State<Arc<Rack>>, request: Request| {
            let handler = handler.clone();
            async move {
                let begun = tokio::time::Instant::now();
                let (mut parts, body) = request.into_parts();
                let id = request_id();
                let (method, uri) = (parts.method.clone(), parts.uri.clone());
                let answer = match prepare::<E>(rack, &mut parts, id.clone()).await {
                    Ok(call) => handler(call, Request::from_parts(parts, body)).await,
                    Err(refusal) => refused(refusal),
                };
                let elapsed = begun.elapsed().as_secs_f64() * 1_000.0;
                let (status, state) = (answer.status().as_u16(), state_word(answer.status()));
                let (method, path) = (method.as_str(), uri.path());
                tracing::info!(
                    ns = "kernel",
                    at = E::ID,
                    state,
                    status,
                    method,
                    path,
                    elapsed,
                    request_id = id
                );
                answer
            }
        },
    );
    router.route(&format!("{PREFIX}{}", E::PATH), method)
}

fn state_word(status: StatusCode) -> &'static str {
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        "success"
    } else {
        "error"
    }
}

/// Authorises, then reads the path and the query: who may not ask learns nothing about what would be right.
async fn prepare<E: Endpoint>(
    rack: Arc<Rack>,
    parts: &mut Parts,
    request_id: String,
) -> Result<Call<E>, ErrorBody> {
    let refuse = |code, message: String, hint: Option<&str>| ErrorBody {
        code,
        message,
        hint: hint.map(str::to_owned),
        request_id: request_id.clone(),
    };
    let scope = token(&parts.headers).and_then(|token| rack.tokens.scope(&token));
    let Some(scope) = scope else {
        let hint = "send the token in the rack's data directory as `Authorization: Bearer`";
        let message = "no valid token".to_owned();
        return Err(refuse(ErrorCode::Unauthenticated, message, Some(hint)));
    };
    if scope < E::SCOPE {
        let message = format!(
            "the token allows {}, not {}",
            scope.as_str(),
            E::SCOPE.as_str()
        );
        return Err(refuse(ErrorCode::Forbidden, message, None));
    }
    let malformed = |message: String| refuse(ErrorCode::InvalidRequest, message, None);
    let path = read_path(parts).await.map_err(malformed)?;
    let query = Query::<E::Query>::try_from_uri(&parts.uri)
        .map_err(|error| malformed(error.body_text()))?;
    Ok(Call {
        rack,
        path,
        query: query.0,
        actor: Actor(actor_word(scope).to_owned()),
        request_id,
        scope,
    })
}

fn actor_word(scope: Scope) -> &'static str {
    scope.as_str()
}

async fn read_path<T: DeserializeOwned>(parts: &mut Parts) -> Result<T, String> {
    let mut map = serde_json::Map::new();
    let matched = parts.extensions.get::<MatchedPath>();
    if matched.is_some_and(|path| path.as_str().contains('{')) {
        let params = RawPathParams::from_request_parts(parts, &())
            .await
            .map_err(|error| error.body_text())?;
        for (name, value) in &params {
            map.insert(name.to_owned(), value.into());
        }
    }
    serde_json::from_value(map.into()).map_err(|error| error.to_string())
}

/// The token of a request: a bearer's, or the password of basic authentication.
fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (kind, rest) = value.split_once(' ')?;
    if kind.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if kind.eq_ignore_ascii_case("basic") {
        let text = decode_base64(rest.trim())?;
        let (_, password) = text.split_once(':')?;
        return Some(password.to_owned());
    }
    None
}

/// RFC 4648 base64 of UTF-8 text.
fn decode_base64(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for character in text.bytes().filter(|byte| *byte != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Reads what is left of a refused request, within limits: a client that is still sending would not see the answer.
pub(super) async fn drain(mut body: Body) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > DRAIN_BYTES_MAX {
                return;
            }
        }
    };
    // The limit is for clients that stop sending without going away.
    let _ = tokio::time::timeout(DRAIN_LIMIT, read).await;
}

async fn read_json<E: Endpoint>(body: Body) -> Result<E::Body, RackError> {
    read_json_of::<E>(body, BODY_BYTES_MAX).await
}

/// Reads a JSON body of at most so many bytes.
pub(super) async fn read_json_of<E: Endpoint>(
    body: Body,
    bytes_max: usize,
) -> Result<E::Body, RackError> {
    let collected = Limited::new(body, bytes_max).collect().await;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            return Err(RackError::TooLarge {
                limit_bytes: bytes_max as u64,
            });
        }
        Err(_) => return Err(RackError::Invalid("the request ended early".to_owned())),
    };
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| {
        RackError::Invalid(format!("the body is not what {} takes: {error}", E::ID))
    })
}

pub(super) fn success<E: Endpoint>(reply: &E::Reply, id: &str) -> Response {
    match serde_json::to_vec(reply) {
        Ok(text) => {
            let status = StatusCode::from_u16(E::SUCCESS).unwrap_or(StatusCode::OK);
            let headers = [
                (header::CONTENT_TYPE.as_str(), "application/json"),
                (REQUEST_ID, id),
            ];
            (status, headers, text).into_response()
        }
        Err(error) => refused(ErrorBody {
            code: ErrorCode::Internal,
            message: error.to_string(),
            hint: None,
            request_id: id.to_owned(),
        }),
    }
}

pub(super) fn refused(body: ErrorBody) -> Response {
    let status =
        StatusCode::from_u16(body.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_vec(&body).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
        (REQUEST_ID, body.request_id.clone()),
    ];
    (status, headers, text).into_response()
}

pub(super) fn request_id() -> String {
    let mut bytes = [0u8; 8];
    // An id that is not unique harms nobody.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a name or id of the path.
pub(super) fn parse<T>(text: &str) -> Result<T, RackError>
where
    T: std::str::FromStr<Err = hoist_core::id::InvalidId>,
{
    Ok(text.parse()?)
}

/// Reads what a release is to be made from.
pub(super) fn start(from: Option<&str>) -> Result<Start, RackError> {
    let Some(text) = from else {
        return Ok(Start::Base);
    };
    text.parse().map_err(|_| {
        RackError::Invalid(format!(
            "`{text}` is none of active, newest and the id of a release"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_as_bearer_or_password() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            token(&headers)
        };
        assert_eq!(with("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(with("Basic OmFiYw==").as_deref(), Some("abc"));
        assert_eq!(with("basic dXNlcjphYmM=").as_deref(), Some("abc"));
        assert_eq!(with("Basic !!!"), None);
        assert_eq!(with("Digest abc"), None);
        assert_eq!(token(&HeaderMap::new()), None);
    }
}
