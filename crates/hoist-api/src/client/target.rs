//! Which rack, and with which token.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// Why a rack must not be talked to like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text is not a URL of a rack. The text is not repeated: it may hold a token.
    #[error("the rack's URL is malformed: {0}")]
    Malformed(&'static str),
    /// The token would cross a network in the clear.
    #[error("refusing to send the token over plain HTTP to {0}")]
    NotLoopback(String),
    /// TLS is not there yet.
    #[error("https is not supported yet (rack at {0})")]
    Tls(String),
}

impl TargetError {
    /// What helps.
    pub fn hint(&self) -> String {
        match self {
            Self::Malformed(_) => "write http://:TOKEN@127.0.0.1:4500".to_owned(),
            Self::NotLoopback(authority) | Self::Tls(authority) => {
                let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "4500"));
                format!(
                    "open a tunnel with `ssh -NL {port}:127.0.0.1:{port} {host}` and use http://:TOKEN@127.0.0.1:{port}"
                )
            }
        }
    }
}

/// Where a rack is, and the token for it. Shows without the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    tls: bool,
    host: String,
    port: u16,
    token: Option<String>,
}

impl Target {
    /// Reads `http://:TOKEN@host:port`.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let uri: Uri = url
            .trim()
            .parse()
            .map_err(|_| TargetError::Malformed("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(TargetError::Malformed("it does not begin with http://")),
        };
        if uri.path_and_query().is_some_and(|rest| rest != "/") {
            return Err(TargetError::Malformed("it has a path"));
        }
        let authority = uri
            .authority()
            .ok_or(TargetError::Malformed("it has no host"))?;
        let token = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let token = token.map(|user| user.split_once(':').map_or(user, |(_, token)| token));
        let host = authority.host();
        if host.is_empty() {
            return Err(TargetError::Malformed("it has no host"));
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            token: token.filter(|token| !token.is_empty()).map(str::to_owned),
        })
    }

    /// The same rack with another token.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self
        }
    }

    /// Whether it may be talked to: plain HTTP goes no further than this machine.
    pub fn admissible(&self) -> Result<(), TargetError> {
        if self.tls {
            return Err(TargetError::Tls(self.authority()));
        }
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host
            .parse::<IpAddr>()
            .map_or(host == "localhost", |address| address.is_loopback());
        if loopback {
            Ok(())
        } else {
            Err(TargetError::NotLoopback(self.authority()))
        }
    }

    /// The token, when there is one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What to connect to.
    pub(super) fn address(&self) -> (&str, u16) {
        (
            self.host.trim_start_matches('[').trim_end_matches(']'),
            self.port,
        )
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.authority()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_racks() {
        for (url, shown, token) in [
            (
                "http://:abc@127.0.0.1:4500",
                "http://127.0.0.1:4500",
                Some("abc"),
            ),
            (
                "http://user:abc@localhost:4500/",
                "http://localhost:4500",
                Some("abc"),
            ),
            ("http://abc@[::1]:4500\n", "http://[::1]:4500", Some("abc")),
            ("http://localhost", "http://localhost:80", None),
        ] {
            let target = Target::parse(url).expect(url);
            assert_eq!(
                (target.to_string().as_str(), target.token()),
                (shown, token),
                "{url}"
            );
            assert_eq!(target.admissible(), Ok(()), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_shown() {
        for url in [
            "",
            "127.0.0.1:4500",
            "ftp://:secret@localhost",
            "http://",
            "http://:secret@localhost/v1",
            "http://a b",
        ] {
            let error = Target::parse(url).err().expect(url);
            assert!(!error.to_string().contains("secret"), "{url}");
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for host in [
            "example.com:80",
            "10.0.0.1:4500",
            "localhost.example.com:80",
            "[2001:db8::1]:80",
            "0.0.0.0:4500",
        ] {
            let target = Target::parse(&format!("http://:t@{host}")).expect(host);
            assert_eq!(
                target.admissible(),
                Err(TargetError::NotLoopback(host.to_owned()))
            );
        }
        let tls = Target::parse("https://:t@example.com").expect("a URL");
        assert!(
            tls.admissible()
                .expect_err("no TLS yet")
                .hint()
                .contains("ssh -NL 443:")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered_without_its_token(text in "[:@/a-z0-9.\\[\\] -]{0,30}") {
            let token = "hush-hush";
            let shown = match Target::parse(&format!("http://:{token}@{text}")) {
                Ok(target) => target.to_string(),
                Err(error) => error.to_string(),
            };
            proptest::prop_assert!(!shown.contains(token), "{}", shown);
        }
    }
}
