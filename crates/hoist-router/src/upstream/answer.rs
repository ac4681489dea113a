//! The head of a process's answer: parsed, cleaned of what concerns the connection alone, and its body's framing.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};

/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// Most headers of an answer.
const HEADERS_MAX: usize = 128;

/// Where the body of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    /// Whether the connection can carry another request after the body.
    pub(crate) keep: bool,
    /// The protocol it switches to, with a 101.
    pub(crate) upgrade: Option<HeaderValue>,
}

/// What arrived is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Answer {
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Takes a whole head off the front of `buffer`; none while it is incomplete.
pub(super) fn take(buffer: &mut BytesMut, head_request: bool) -> Result<Option<Answer>, Malformed> {
    let mut space = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, buffer, &mut space) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() < HEAD_BYTES_MAX => return Ok(None),
        _ => return Err(Malformed),
    };
    let base = buffer.as_ptr() as usize;
    let place = |part: &[u8]| (part.as_ptr() as usize - base, part.len());
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Malformed)?;
    let version = if parsed.version == Some(1) {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    let mut fields = Vec::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
        fields.push((name, place(field.value)));
    }
    let head = buffer.split_to(length).freeze();
    Collector::new(fields.len(), version)
        .collect(fields, &head, status, head_request)
        .map(Some)
}

/// What headers say about the connection and the body, while they are gathered.
struct Collector {
    headers: HeaderMap,
    keep: bool,
    named: Vec<HeaderName>,
    chunked: bool,
    coded: bool,
    length: Option<u64>,
    upgrade: Option<HeaderValue>,
}

impl Collector {
    fn new(fields: usize, version: Version) -> Self {
        Self {
            headers: HeaderMap::with_capacity(fields + 2),
            keep: version == Version::HTTP_11,
            named: Vec::new(),
            chunked: false,
            coded: false,
            length: None,
            upgrade: None,
        }
    }

    fn collect(
        mut self,
        fields: Vec<(HeaderName, (usize, usize))>,
        head: &Bytes,
        status: StatusCode,
        head_request: bool,
    ) -> Result<Answer, Malformed> {
        for (name, (start, length)) in fields {
            let value = HeaderValue::from_maybe_shared(head.slice(start..start + length))
                .map_err(|_| Malformed)?;
            self.field(name, value)?;
        }
        for name in &self.named {
            self.headers.remove(name);
        }
        let bodyless = head_request
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match (bodyless, self.length) {
            (true, _) => Framing::None,
            (false, _) if self.chunked => Framing::Chunked,
            (false, _) if self.coded => Framing::UntilClose,
            (false, Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        };
        if self.chunked
            || self.coded
            || status == StatusCode::NO_CONTENT
            || status.is_informational()
        {
            // Both framings at once is how answers are smuggled: the length does not count, nor is it passed on.
            self.keep &= self.length.is_none() || status == StatusCode::NO_CONTENT;
            self.headers.remove(header::CONTENT_LENGTH);
        }
        Ok(Answer {
            status,
            headers: self.headers,
            framing,
            keep: self.keep && framing != Framing::UntilClose,
            upgrade: self
                .upgrade
                .filter(|_| status == StatusCode::SWITCHING_PROTOCOLS),
        })
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        match name {
            header::CONNECTION => self.connection(&value),
            header::TRANSFER_ENCODING => {
                self.coded = true;
                let last = value
                    .as_bytes()
                    .rsplit(|byte| *byte == b',')
                    .next()
                    .unwrap_or_default();
                self.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
            header::CONTENT_LENGTH => {
                let length = decimal(value.as_bytes()).ok_or(Malformed)?;
                if self.length.is_some_and(|before| before != length) {
                    return Err(Malformed);
                }
                self.length = Some(length);
                self.headers.insert(name, value);
            }
            header::UPGRADE => self.upgrade = Some(value),
            header::TE | header::TRAILER => {}
            name if matches!(name.as_str(), "keep-alive" | "proxy-connection") => {}
            name => {
                self.headers.append(name, value);
            }
        }
        Ok(())
    }

    fn connection(&mut self, value: &HeaderValue) {
        for token in value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
        {
            if token.eq_ignore_ascii_case(b"close") {
                self.keep = false;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep = true;
            } else if let Ok(name) = HeaderName::from_bytes(token) {
                self.named.push(name);
            }
        }
    }
}

/// Digits and nothing else.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Answer>, Malformed> {
        take(&mut BytesMut::from(text), false)
    }

    fn whole(text: &str) -> Answer {
        read(text).unwrap().unwrap()
    }

    #[test]
    fn what_concerns_the_connection_alone_is_taken_off() {
        let answer = whole(
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nX-Other: 2\r\nContent-Length: 3\r\n\r\nabc",
        );
        let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "x-other"]);
        assert_eq!((answer.framing, answer.keep), (Framing::Length(3), true));
    }

    #[test]
    fn framing_follows_the_standard() {
        let framing = |head: &str| {
            let answer = whole(&format!("{head}\r\n\r\n"));
            (answer.framing, answer.keep)
        };
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"),
            (Framing::Chunked, true)
        );
        assert_eq!(framing("HTTP/1.1 200 OK"), (Framing::UntilClose, false));
        assert_eq!(framing("HTTP/1.1 204 No Content"), (Framing::None, true));
        assert_eq!(
            framing("HTTP/1.1 304 Not Modified\r\nContent-Length: 9"),
            (Framing::None, true)
        );
        assert_eq!(
            framing("HTTP/1.0 200 OK\r\nContent-Length: 2"),
            (Framing::Length(2), false)
        );
        assert_eq!(
            framing("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2"),
            (Framing::Length(2), true)
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip"),
            (Framing::UntilClose, false)
        );
    }

    #[test]
    fn two_framings_end_the_connection_and_two_lengths_are_refused() {
        let both =
            whole("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!((both.framing, both.keep), (Framing::Chunked, false));
        assert!(!both.headers.contains_key(header::CONTENT_LENGTH));
        assert!(read("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n").is_err());
        assert!(read("HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\n").is_err());
    }

    #[test]
    fn an_incomplete_head_waits_and_an_endless_one_is_refused() {
        assert!(read("HTTP/1.1 200 OK\r\nX: 1\r\n").unwrap().is_none());
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(HEAD_BYTES_MAX));
        assert!(read(&endless).is_err());
        assert!(read("SSH-2.0-OpenSSH\r\n\r\n").is_err());
    }
}
