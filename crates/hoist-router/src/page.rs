//! Answers of the router itself: short, plain, in the form that the client asked for.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use crate::headers::RequestId;
use crate::reply::{Content, Record, Reply, ReplyBody};

/// How long a client should wait before it asks again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why the router answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    NoHost,
    BadMethod,
    UnknownHost,
    Stopped,
    Unreachable,
    BadAnswer,
    NoProcess,
    HeldTooLong,
    Late,
    ClientLate,
    TooLarge,
}

/// What a page says: status, word for programs, title and sentence for people.
struct Words {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    sentence: &'static str,
}

impl Problem {
    fn words(self) -> Words {
        let (status, code, title, sentence) = match self {
            Self::NoHost => (
                400,
                "bad-request",
                "Bad request",
                "The request does not say which host it is for.",
            ),
            Self::BadMethod => (
                405,
                "method-not-allowed",
                "Not possible here",
                "This server does not open tunnels.",
            ),
            Self::UnknownHost => (
                404,
                "unknown-host",
                "No such app",
                "No app answers to this host name.",
            ),
            Self::Stopped => (
                502,
                "stopped",
                "App stopped",
                "This app was stopped. Its owner can start it again.",
            ),
            Self::Unreachable => (
                502,
                "unreachable",
                "App unreachable",
                "The app's process could not be reached, or closed the connection.",
            ),
            Self::BadAnswer => (
                502,
                "bad-answer",
                "Bad answer",
                "The app's process gave an answer that is not HTTP.",
            ),
            Self::NoProcess => (
                503,
                "not-ready",
                "App not ready",
                "No process of this app is ready. Try again in a moment.",
            ),
            Self::HeldTooLong => (
                503,
                "being-replaced",
                "App being replaced",
                "This app is being replaced, and that takes long. Try again in a moment.",
            ),
            Self::Late => (
                504,
                "late",
                "App too slow",
                "The app's process did not answer in time.",
            ),
            Self::ClientLate => (
                408,
                "client-late",
                "Request too slow",
                "The rest of the request did not arrive in time.",
            ),
            Self::TooLarge => (
                413,
                "too-large",
                "Request too large",
                "The body of the request is larger than this app allows.",
            ),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        Words {
            status,
            code,
            title,
            sentence,
        }
    }
}

/// The answer to a request that the router does not, or cannot, pass on.
pub(crate) fn page(
    problem: Problem,
    accept: Option<&HeaderValue>,
    id: &RequestId,
    record: Option<Box<Record>>,
) -> Reply {
    let words = problem.words();
    let id = String::from_utf8_lossy(id.as_bytes());
    let (kind, body) = match form(accept) {
        Form::Html => (
            "text/html; charset=utf-8",
            format!(
                "<!doctype html><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
                 <title>{title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;\
                 padding:0 1em}}small{{color:#666}}</style><h1>{title}</h1><p>{sentence}</p>\
                 <small>{status} {code}, request {id}</small>\n",
                title = words.title,
                sentence = words.sentence,
                status = words.status.as_u16(),
                code = words.code,
                id = id.replace('<', "&lt;"),
            ),
        ),
        Form::Json => (
            "application/json",
            serde_json::json!({"code": words.code, "message": words.sentence, "request_id": id})
                .to_string()
                + "\n",
        ),
        Form::Text => (
            "text/plain; charset=utf-8",
            format!(
                "{} ({} {}, request {id})\n",
                words.sentence,
                words.status.as_u16(),
                words.code
            ),
        ),
    };
    let mut record = record;
    if let Some(record) = &mut record {
        record.status = words.status.as_u16();
    }
    let mut reply = Response::new(ReplyBody::new(Content::Whole(Bytes::from(body)), record));
    *reply.status_mut() = words.status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if words.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    reply
}

#[derive(Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

/// The first form that the client names; text for those that name none, like `curl`.
fn form(accept: Option<&HeaderValue>) -> Form {
    let named = |media: &[u8]| {
        let media = media
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        match media {
            b"text/html" | b"application/xhtml+xml" => Some(Form::Html),
            b"application/json" => Some(Form::Json),
            b"text/plain" => Some(Form::Text),
            _ => None,
        }
    };
    accept
        .and_then(|accept| {
            accept
                .as_bytes()
                .split(|byte| *byte == b',')
                .find_map(named)
        })
        .unwrap_or(Form::Text)
}

/// The header by which a client says which form it wants.
pub(crate) fn accept(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::ACCEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_in_the_form_that_was_asked_for() {
        let of = |text: &'static str| form(Some(&HeaderValue::from_static(text)));
        assert_eq!(of("text/html,application/xhtml+xml,*/*;q=0.8"), Form::Html);
        assert_eq!(of("application/json"), Form::Json);
        assert_eq!(of("*/*"), Form::Text);
        assert_eq!(form(None), Form::Text);
    }
}
