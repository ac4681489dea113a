//! What is read of a request's headers and what a process gets to see of them.
//!
//! A request for a process is written anew from its parsed parts, never copied: what was not understood does not pass.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, Version, request};

use crate::upstream::RequestHead;

/// Names one request in the process's headers, the access line and pages.
#[derive(Clone)]
pub(crate) enum RequestId {
    Kept(HeaderValue),
    Made([u8; 32]),
}

/// Longest request id of a client that is kept.
const REQUEST_ID_BYTES_MAX: usize = 128;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl RequestId {
    /// The client's own when it is sane, else one of 128 random bits.
    pub(crate) fn of(headers: &HeaderMap, random: impl FnOnce() -> [u64; 2]) -> Self {
        match headers.get(&X_REQUEST_ID) {
            Some(value) if is_sane_id(value.as_bytes()) => Self::Kept(value.clone()),
            _ => Self::Made(hex(random())),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Kept(value) => value.as_bytes(),
            Self::Made(text) => text,
        }
    }
}

fn is_sane_id(id: &[u8]) -> bool {
    let sane = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'/' | b'=' | b':')
    };
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(sane)
}

fn hex(words: [u64; 2]) -> [u8; 32] {
    let mut text = [0; 32];
    for (n, digit) in text.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(words[n / 16] >> (4 * (n % 16)) & 15) as usize];
    }
    text
}

/// Whom a request is for, as the client wrote it.
///
/// The authority of the target (absolute form, HTTP/2) goes before the header; none or several headers are no answer.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return None;
    }
    match uri.authority() {
        // Credentials in front of a host are nobody's business here.
        Some(authority) if authority.as_str().contains('@') => None,
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => first.filter(|host| !host.is_empty()).cloned(),
    }
}

/// A host as tables know it: without port and last dot, in lower case.
pub(crate) fn host_key(authority: &[u8], space: &mut Vec<u8>) -> Option<()> {
    space.clear();
    let end = match authority.first() {
        Some(b'[') => authority.iter().position(|byte| *byte == b']')? + 1,
        _ => authority
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(authority.len()),
    };
    let host = authority[..end]
        .strip_suffix(b".")
        .unwrap_or(&authority[..end]);
    space.extend(host.iter().map(u8::to_ascii_lowercase));
    Some(())
}

/// The protocol that a request asks to switch to, when it does so properly and it is one to pass on.
pub(crate) fn upgrade(parts: &request::Parts) -> Option<&HeaderValue> {
    if parts.version != Version::HTTP_11 || parts.method != Method::GET {
        return None;
    }
    let named = parts
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .any(|value| has_token(value.as_bytes(), b"upgrade"));
    let protocol = parts.headers.get(header::UPGRADE)?;
    // HTTP/2 inside an upgrade would be a way past everything that is done here to a request.
    (named && !has_token(protocol.as_bytes(), b"h2c")).then_some(protocol)
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// What the router knows of a client's connection.
pub(crate) struct Peer {
    /// The address as it goes into headers.
    pub(crate) text: String,
    /// A proxy of this machine: what it says of its client is believed.
    pub(crate) trusted: bool,
}

impl Peer {
    pub(crate) fn new(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            text: address.to_string(),
            trusted: address.is_loopback(),
        }
    }
}

/// How the body of a request is framed towards the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Writes the head that a process gets.
pub(crate) fn request_head(
    parts: &request::Parts,
    authority: &HeaderValue,
    peer: &Peer,
    port: &str,
    request_id: &RequestId,
    body: Body,
) -> RequestHead {
    let mut head = Vec::with_capacity(1024);
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    for part in [parts.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let mut field = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    field("host", authority.as_bytes());
    let upgrade = upgrade(parts);
    let named = named_by_connection(&parts.headers);
    for (name, value) in &parts.headers {
        if passes(name, peer.trusted) && !named.contains(name) {
            field(name.as_str(), value.as_bytes());
        }
    }
    cookies(parts, &mut field);
    if let Some(protocol) = upgrade {
        field("connection", b"upgrade");
        field("upgrade", protocol.as_bytes());
    }
    forwarded(parts, authority, peer, port, &mut field);
    field("x-request-id", request_id.as_bytes());
    match body {
        Body::None if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) => {
            field("content-length", b"0")
        }
        Body::None => {}
        Body::Length(length) => field("content-length", length.to_string().as_bytes()),
        Body::Chunked => field("transfer-encoding", b"chunked"),
    }
    head.extend_from_slice(b"\r\n");
    RequestHead {
        bytes: head,
        is_head: parts.method == Method::HEAD,
    }
}

/// Says who asked, for what host and by which protocol; a trusted proxy's own words come first.
fn forwarded(
    parts: &request::Parts,
    authority: &HeaderValue,
    peer: &Peer,
    port: &str,
    field: &mut impl FnMut(&str, &[u8]),
) {
    let before = |name: &str| parts.headers.get(name).filter(|_| peer.trusted);
    if peer.trusted && parts.headers.contains_key("x-forwarded-for") {
        let mut chain = Vec::new();
        for value in parts.headers.get_all("x-forwarded-for") {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(peer.text.as_bytes());
        field("x-forwarded-for", &chain);
    } else {
        field("x-forwarded-for", peer.text.as_bytes());
    }
    field(
        "x-forwarded-proto",
        before("x-forwarded-proto").map_or(b"http", |value| value.as_bytes()),
    );
    field(
        "x-forwarded-host",
        before("x-forwarded-host").unwrap_or(authority).as_bytes(),
    );
    field(
        "x-forwarded-port",
        before("x-forwarded-port").map_or(port.as_bytes(), |value| value.as_bytes()),
    );
}

/// HTTP/2 may cut cookies into fields of their own; HTTP/1.1 has one.
fn cookies(parts: &request::Parts, field: &mut impl FnMut(&str, &[u8])) {
    let mut cookies = parts.headers.get_all(header::COOKIE).iter();
    let Some(first) = cookies.next() else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    field("cookie", &joined);
}

/// Headers that `Connection` declares to be of this connection alone.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    // Those that passing on depends on are decided elsewhere: nobody may have them removed.
    let removable = |name: &HeaderName| *name != header::HOST && *name != header::COOKIE;
    tokens
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(removable)
        .collect()
}

/// Whether a header goes to the process as it is.
fn passes(name: &HeaderName, trusted: bool) -> bool {
    match *name {
        header::HOST
        | header::CONNECTION
        | header::CONTENT_LENGTH
        | header::TRANSFER_ENCODING
        | header::COOKIE
        | header::EXPECT
        | header::PROXY_AUTHORIZATION
        | header::TE
        | header::TRAILER
        | header::UPGRADE => false,
        header::FORWARDED => trusted,
        _ => !is_ours(name.as_str()),
    }
}

/// Headers that the router sets anew in every request.
const OURS: [&str; 5] = [
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
];

/// Headers that only the router may set, also as CGI-like servers would read them, where `_` is as good as `-`.
fn is_ours(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            let same = |ours: &str| {
                let like = |(a, b): (u8, u8)| a == b || (a == b'_' && b == b'-');
                name.len() == ours.len() && name.bytes().zip(ours.bytes()).all(like)
            };
            OURS.into_iter().any(same)
        }
        Some(b'k') => name == "keep-alive",
        Some(b'p') => name == "proxy-connection",
        Some(b'h') => name == "http2-settings",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(request: http::request::Builder, peer: &str, body: Body) -> String {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let authority = authority(&parts.uri, &parts.headers).unwrap();
        let id = RequestId::of(&parts.headers, || [0, 1]);
        let peer = Peer::new(peer.parse().unwrap());
        String::from_utf8(request_head(&parts, &authority, &peer, "8080", &id, body).bytes).unwrap()
    }

    #[test]
    fn a_process_sees_who_asked_and_nothing_of_the_connection() {
        let request = Request::get("/a?b=c")
            .header("host", "App.localhost:8080")
            .header("connection", "keep-alive, x-secret-hop")
            .header("x-secret-hop", "1")
            .header("keep-alive", "5")
            .header("te", "trailers")
            .header("proxy-authorization", "x")
            .header("x-forwarded-for", "1.2.3.4")
            .header("x_forwarded_for", "1.2.3.4")
            .header("x-forwarded-proto", "https")
            .header("x-kept", "yes")
            .header("x-forwarded-format", "kept");
        assert_eq!(
            head(request, "192.0.2.7", Body::None),
            "GET /a?b=c HTTP/1.1\r\nhost: App.localhost:8080\r\nx-kept: yes\r\nx-forwarded-format: kept\r\nx-forwarded-for: 192.0.2.7\r\n\
             x-forwarded-proto: http\r\nx-forwarded-host: App.localhost:8080\r\nx-forwarded-port: 8080\r\n\
             x-request-id: 00000000000000001000000000000000\r\n\r\n"
        );
    }

    #[test]
    fn a_proxy_of_this_machine_is_believed() {
        let request = Request::post("/")
            .header("host", "h")
            .header("x-forwarded-for", "1.2.3.4")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-port", "443")
            .header("x-request-id", "abc-1");
        assert_eq!(
            head(request, "127.0.0.1", Body::Chunked),
            "POST / HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 1.2.3.4, 127.0.0.1\r\nx-forwarded-proto: https\r\n\
             x-forwarded-host: h\r\nx-forwarded-port: 443\r\nx-request-id: abc-1\r\ntransfer-encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn ids_that_are_not_sane_are_replaced() {
        for id in ["", "a b", "a\"", &"x".repeat(129)] {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_str(id).unwrap());
            assert!(
                matches!(RequestId::of(&headers, || [7, 7]), RequestId::Made(_)),
                "{id:?}"
            );
        }
    }

    #[test]
    fn hosts_are_known_without_case_port_and_last_dot() {
        let mut space = Vec::new();
        for (written, known) in [
            ("App.Localhost:8080", "app.localhost"),
            ("a.", "a"),
            ("[::1]:80", "[::1]"),
            ("a.b", "a.b"),
            ("a.:1", "a"),
        ] {
            host_key(written.as_bytes(), &mut space).unwrap();
            assert_eq!(space, known.as_bytes());
        }
    }

    #[test]
    fn two_hosts_are_none_and_the_target_wins() {
        let of = |request: http::request::Builder| {
            let (parts, ()) = request.body(()).unwrap().into_parts();
            authority(&parts.uri, &parts.headers)
        };
        assert_eq!(
            of(Request::get("/").header("host", "a").header("host", "b")),
            None
        );
        assert_eq!(
            of(Request::get("http://c/").header("host", "a")).unwrap(),
            "c"
        );
        assert_eq!(of(Request::get("/")), None);
    }

    #[test]
    fn only_a_proper_upgrade_passes() {
        let of = |connection: &str, protocol: &str| {
            let request = Request::get("/")
                .header("connection", connection)
                .header("upgrade", protocol);
            upgrade(&request.body(()).unwrap().into_parts().0).is_some()
        };
        assert!(of("keep-alive, Upgrade", "websocket"));
        assert!(!of("keep-alive", "websocket"));
        assert!(!of("upgrade", "h2c"));
    }
}
