//! The client against servers that answer well, badly, halfway, or not at all.
#![cfg(feature = "client")]

use std::io;

use bytes::Bytes;
use hoist_api::client::{CallError, Client, Next, Target};
use hoist_api::endpoints::{AppGet, AppList, BuildCreate, BuildLogs, EnvUpdate};
use hoist_api::types::{AppPath, BuildPath, BuildQuery, Empty, EnvUpdateRequest};
use hoist_api::{ErrorCode, Time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Answers one connection with these bytes, once the request's head (and `until`, when given) arrived; returns the request.
async fn server(until: &'static str, answer: &'static str) -> (Client, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let target = Target::parse(&format!("http://:sesame@{address}")).expect("a url");
    let serve = async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let request = read_until(&mut stream, until).await;
        stream.write_all(answer.as_bytes()).await.expect("written");
        stream.shutdown().await.expect("closed");
        request
    };
    (Client::new(target), tokio::spawn(serve))
}

async fn read_until(stream: &mut TcpStream, until: &str) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request);
        if text.contains("\r\n\r\n") && text.contains(until) {
            return text.into_owned();
        }
        match stream.read(&mut buffer).await.expect("read") {
            0 => return text.into_owned(),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
}

fn app() -> AppPath {
    AppPath {
        app: "hello".to_owned(),
    }
}

async fn get_app(answer: &'static str) -> Result<hoist_api::types::App, CallError> {
    server("", answer)
        .await
        .0
        .call::<AppGet>(&app(), &Empty {}, &Empty {})
        .await
}

#[tokio::test]
async fn a_reply_and_what_was_sent_for_it() {
    let body = r#"{"id":"RAAAAAAAAAA","app":"hello","status":null,"build":null,"created":"2026-01-01T00:00:49Z","description":"env add:FOO","parent":null,"actor":"admin","later":1}"#;
    let answer = format!(
        "HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (client, request) = server("bar", Box::leak(answer.into_boxed_str())).await;
    let update = EnvUpdateRequest {
        set: [("FOO".to_owned(), "bar".to_owned())].into(),
        ..EnvUpdateRequest::default()
    };
    let release = client
        .call::<EnvUpdate>(&app(), &Empty {}, &update)
        .await
        .expect("a release");
    assert_eq!(
        (release.id.as_str(), release.created),
        ("RAAAAAAAAAA", Time(1_767_225_649_000))
    );
    let request = request.await.expect("a request").to_ascii_lowercase();
    assert!(
        request.starts_with("patch /v1/apps/hello/env http/1.1\r\n"),
        "{request}"
    );
    for part in [
        "authorization: bearer sesame",
        "content-type: application/json",
        r#"{"set":{"foo":"bar"}"#,
    ] {
        assert!(request.contains(part), "{part} in {request}");
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_hint() {
    let body = r#"{"code":"unauthenticated","message":"no such token","hint":"see D/token","request_id":"7"}"#;
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let error = get_app(Box::leak(answer.into_boxed_str()))
        .await
        .expect_err("refused");
    let refusal = error.refusal().expect("a refusal");
    assert_eq!(
        (refusal.code, refusal.hint.as_deref()),
        (ErrorCode::Unauthenticated, Some("see D/token"))
    );
    assert_eq!(error.to_string(), "no such token");
    assert!(!error.gone());
}

#[tokio::test]
async fn codes_of_later_versions_are_refusals_too() {
    let body = r#"{"code":"quota_exceeded","message":"too many apps"}"#;
    let answer = format!(
        "HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let error = get_app(Box::leak(answer.into_boxed_str()))
        .await
        .expect_err("refused");
    assert_eq!(
        error.refusal().map(|body| body.code),
        Some(ErrorCode::Unknown)
    );
}

#[tokio::test]
async fn what_is_no_rack_is_told_from_one_that_broke_off() {
    let garbage = get_app("SSH-2.0-OpenSSH_9.2\r\n")
        .await
        .expect_err("not HTTP");
    assert!(
        matches!(garbage, CallError::Protocol { .. }) && !garbage.gone(),
        "{garbage:?}"
    );
    let page = get_app("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>")
        .await
        .expect_err("not JSON");
    assert!(matches!(page, CallError::BadReply { .. }), "{page:?}");
    let page = get_app("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>")
        .await
        .expect_err("not JSON");
    assert!(matches!(page, CallError::BadReply { .. }), "{page:?}");
    let half = get_app("HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n{\"name\":")
        .await
        .expect_err("half");
    assert!(
        matches!(half, CallError::CutOff { .. }) && half.gone(),
        "{half:?}"
    );
    let nothing = get_app("").await.expect_err("hung up");
    assert!(nothing.gone(), "{nothing:?}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let client = Client::new(Target::parse(&url).expect("a url"));
    let error = client
        .call::<AppList>(&Empty {}, &Empty {}, &Empty {})
        .await
        .expect_err("nobody");
    assert!(
        matches!(&error, CallError::Unreachable { url: tried, .. } if *tried == url),
        "{error:?}"
    );
}

#[tokio::test]
async fn nothing_is_sent_beyond_loopback() {
    let client = Client::new(Target::parse("http://:sesame@192.0.2.1:4500").expect("a url"));
    let error = client.check().await.expect_err("refused");
    assert!(
        matches!(error, CallError::Target(_)) && !error.to_string().contains("sesame"),
        "{error:?}"
    );
}

fn build() -> BuildPath {
    BuildPath {
        app: "hello".to_owned(),
        build: "BAAAAAAAAAA".to_owned(),
    }
}

/// The lines of a build's log and how it ended.
async fn build_logs(answer: &'static str) -> (Vec<String>, Result<String, CallError>) {
    let (client, _server) = server("", answer).await;
    let mut stream = match client.stream::<BuildLogs, _, _>(&build(), &Empty {}).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut lines = Vec::new();
    loop {
        match stream.next().await {
            Ok(Next::Line(line)) => lines.push(line.text),
            Ok(Next::End(build)) => return (lines, Ok(build.id)),
            Err(error) => return (lines, Err(error)),
        }
    }
}

macro_rules! head {
    () => {
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    };
}

macro_rules! line {
    ($text:literal) => {
        concat!(
            "event: line\ndata: {\"at\":\"2026-01-01T00:00:49Z\",\"source\":\"build\",\"text\":\"",
            $text,
            "\"}\n\n"
        )
    };
}

macro_rules! end {
    () => {
        "event: end\ndata: {\"id\":\"BAAAAAAAAAA\",\"app\":\"hello\",\"status\":\"complete\",\"created\":\"2026-01-01T00:00:49Z\",\
         \"ended\":null,\"description\":\"\",\"git_sha\":null,\"release\":null,\"reason\":null}\n\n"
    };
}

#[tokio::test]
async fn a_stream_has_lines_and_an_end() {
    let answer = concat!(
        head!(),
        line!("one"),
        ": keep-alive\n\n",
        "event: later\ndata: 1\n\n",
        line!("two"),
        end!()
    );
    let (lines, ended) = build_logs(answer).await;
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(ended.expect("an end"), "BAAAAAAAAAA");
}

#[tokio::test]
async fn a_stream_without_its_end_is_not_complete() {
    let (lines, ended) =
        build_logs(concat!(head!(), line!("one"), "event: line\ndata: {\"at\"")).await;
    assert_eq!(lines, ["one"]);
    assert!(
        matches!(&ended, Err(error @ CallError::CutOff { .. }) if error.gone()),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_stream_can_end_with_an_error() {
    let error =
        "event: error\ndata: {\"code\":\"storage_full\",\"message\":\"the disk is full\"}\n\n";
    let answer = format!("{}{}{error}", head!(), line!("one"));
    let (lines, ended) = build_logs(Box::leak(answer.into_boxed_str())).await;
    assert_eq!(lines, ["one"]);
    assert_eq!(
        ended
            .err()
            .and_then(|error| error.refusal().map(|body| body.code)),
        Some(ErrorCode::StorageFull)
    );
}

#[tokio::test]
async fn streams_that_are_none() {
    let (_, ended) = build_logs("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>").await;
    assert!(
        matches!(ended, Err(CallError::Protocol { .. })),
        "{ended:?}"
    );
    let (_, ended) = build_logs(concat!(head!(), "event: line\ndata: {}\n\n")).await;
    assert!(
        matches!(ended, Err(CallError::BadStream { .. })),
        "{ended:?}"
    );
    let (_, ended) = build_logs("HTTP/1.1 404 Not Found\r\ncontent-length: 44\r\n\r\n{\"code\":\"build_not_found\",\"message\":\"no\"}   ").await;
    assert_eq!(
        ended
            .err()
            .and_then(|error| error.refusal().map(|body| body.code)),
        Some(ErrorCode::BuildNotFound)
    );
}

async fn upload(
    client: &Client,
    pieces: Vec<io::Result<Bytes>>,
) -> Result<hoist_api::types::Build, CallError> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for piece in pieces {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    });
    let query = BuildQuery {
        description: Some("a & b".to_owned()),
        ..BuildQuery::default()
    };
    client.upload::<BuildCreate>(&app(), &query, receiver).await
}

#[tokio::test]
async fn an_upload_arrives_whole() {
    let body = r#"{"id":"BAAAAAAAAAA","app":"hello","status":"running","created":"2026-01-01T00:00:49Z","ended":null,"description":"","git_sha":null,"release":null,"reason":null}"#;
    let answer = format!(
        "HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (client, request) = server("0\r\n\r\n", Box::leak(answer.into_boxed_str())).await;
    let build = upload(&client, vec![Ok("one".into()), Ok("two".into())])
        .await
        .expect("a build");
    assert_eq!(build.id, "BAAAAAAAAAA");
    let request = request.await.expect("a request");
    assert!(
        request.starts_with("POST /v1/apps/hello/builds?description=a%20%26%20b HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("content-type: application/x-tar"),
        "{request}"
    );
    assert!(
        request.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn an_upload_whose_source_fails_never_looks_complete() {
    let (client, request) = server("never sent", "").await;
    let error = upload(
        &client,
        vec![Ok("one".into()), Err(io::Error::other("a file vanished"))],
    )
    .await;
    assert!(matches!(error, Err(CallError::Upload(_))), "{error:?}");
    assert!(!request.await.expect("a request").contains("0\r\n\r\n"));
}
