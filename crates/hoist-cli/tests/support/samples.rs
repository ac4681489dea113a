//! Answers that many tests share.
#![allow(dead_code, reason = "every test file uses its own part")]

/// An app, with the promotion in flight.
pub(crate) fn app(release: Option<&str>) -> String {
    let release = release.map_or("null".to_owned(), |release| format!("\"{release}\""));
    format!(
        r#"{{"name":"hello","status":"running","release":{release},"promotion":null,
            "url":"http://hello.localhost:8080","created":"2026-01-01T00:00:00Z"}}"#
    )
}

pub(crate) fn build(status: &str) -> String {
    let (release, reason) = match status {
        "complete" => ("\"RBBBBBBBBBB\"", "null"),
        "failed" => ("null", "\"the build command ended with exit status 2\""),
        _ => ("null", "null"),
    };
    format!(
        r#"{{"id":"BBBBBBBBBBB","app":"hello","status":"{status}","created":"2026-01-01T00:00:00Z",
            "ended":null,"description":"","git_sha":null,"release":{release},"reason":{reason}}}"#
    )
}

/// A source of which one content is missing, or none: the SHA-256 of `web: ./serve` and its line end.
pub(crate) fn source(missing: bool) -> String {
    let digest = r#""4c1ed738f96e490a74704a00766c6ed3fe15caa9ec3777b91a1e125630a5b833""#;
    let missing = if missing { digest } else { "" };
    format!(r#"{{"id":"5e","missing":[{missing}]}}"#)
}

/// What became of a source: a build that began, or the one that there is.
pub(crate) fn built(unchanged: Option<&str>) -> String {
    let (status, unchanged) = match unchanged {
        None => ("running", "null".to_owned()),
        Some(rest) => ("complete", format!(r#"{{"release":"RBBBBBBBBBB",{rest}}}"#)),
    };
    format!(r#"{{"build":{},"unchanged":{unchanged}}}"#, build(status))
}

/// A promotion of RBBBBBBBBBB; `rest` are further fields.
pub(crate) fn promotion(outcome: Option<&str>, rest: &str) -> String {
    let outcome = outcome.map_or("null".to_owned(), |outcome| format!("\"{outcome}\""));
    let rest = if rest.is_empty() {
        r#""reason":null,"hint":null,"serving":"RBBBBBBBBBB""#
    } else {
        rest
    };
    format!(
        r#"{{"number":"1.42","app":"hello","release":"RBBBBBBBBBB","kind":"promote","actor":"admin","phase":null,
            "outcome":{outcome},"began":"2026-01-01T00:00:00Z","ended":null,{rest}}}"#
    )
}

pub(crate) fn rolled_back() -> String {
    promotion(
        Some("rolled-back"),
        r#""reason":"web.1 exited 3 times before it was ready: exit status 1","hint":null,"serving":"RAAAAAAAAAA",
            "last_log":[{"at":"2026-01-01T00:00:02Z","source":"service/web/0a1b2c3d4e5f","text":"no such module"}]"#,
    )
}

pub(crate) fn line(at_second: u8, source: &str, text: &str) -> String {
    format!(
        r#"{{"at":"2026-01-01T00:00:{at_second:02}Z","source":"{source}","text":"{text}","kind":"process"}}"#
    )
}

pub(crate) fn release(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","app":"hello","status":null,"build":null,"created":"2026-01-01T00:00:00Z",
            "description":"env add:FOO","parent":null,"actor":"admin"}}"#
    )
}

pub(crate) fn rack_info() -> String {
    r#"{"name":"here","version":"0.1.0","engine":"local","domain":"localhost","listen":"127.0.0.1:4500",
        "router":"127.0.0.1:8080","data_dir":"/data","started":"2026-01-01T00:00:00Z","apps":1,"pid":0}"#
        .to_owned()
}
