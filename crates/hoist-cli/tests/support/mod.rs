//! A rack that answers what a test tells it to, and the command line beside it.
#![allow(dead_code, reason = "every test file uses its own part")]

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hoist_cli::{Environment, RackStarter};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// One answer of the rack.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    media_type: &'static str,
    body: String,
    cut: bool,
    /// What comes after a pause.
    later: Option<(Duration, String)>,
}

/// An answer in JSON.
pub(crate) fn json(status: u16, body: impl Into<String>) -> Answer {
    Answer {
        status,
        media_type: "application/json",
        body: body.into(),
        cut: false,
        later: None,
    }
}

/// A stream of (event, data).
pub(crate) fn stream(events: &[(&str, String)]) -> Answer {
    let body = events
        .iter()
        .map(|(event, data)| format!("event: {event}\ndata: {}\n\n", data.replace('\n', " ")));
    Answer {
        status: 200,
        media_type: "text/event-stream",
        body: body.collect(),
        cut: false,
        later: None,
    }
}

impl Answer {
    /// The same, with the connection broken off after it.
    pub(crate) fn cut(self) -> Self {
        Self { cut: true, ..self }
    }

    /// The same, and after a pause another one's body.
    pub(crate) fn then(self, pause: Duration, other: Self) -> Self {
        Self {
            later: Some((pause, other.body)),
            ..self
        }
    }
}

type Script = HashMap<String, VecDeque<Answer>>;

/// A scripted rack on a port of its own; ends with the value.
pub(crate) struct Rack {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rack {
    /// Starts it. Each line of the script is `METHOD /path` without the query and its answer; several answers of one line
    /// come in turn, the last one again and again. Everything else is 404.
    pub(crate) fn start(lines: Vec<(&str, Answer)>) -> Self {
        let mut script = Script::new();
        for (line, answer) in lines {
            script.entry(line.to_owned()).or_default().push_back(answer);
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let (script, noted) = (Arc::new(Mutex::new(script)), requests.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, script, noted) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            requests,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What was asked of it, as `METHOD /path?query` and the body when it is JSON.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("a lock").clone()
    }

    /// Its URL with a token.
    pub(crate) fn url(&self) -> String {
        format!("http://:sesame@{}", self.address)
    }

    /// Writes the files of a data directory that tell of it.
    pub(crate) fn describe_in(&self, data_dir: &Path) {
        std::fs::create_dir_all(data_dir).expect("a directory");
        let file = format!(r#"{{ "listen": "{}", "pid": 0 }}"#, self.address);
        std::fs::write(data_dir.join("rack.json"), file).expect("written");
        std::fs::write(data_dir.join("token"), "sesame\n").expect("written");
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    script: Arc<Mutex<Script>>,
    requests: Arc<Mutex<Vec<String>>>,
) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (script, requests) = (script.clone(), requests.clone());
        tokio::spawn(async move {
            let service =
                service_fn(move |request| answer(request, script.clone(), requests.clone()));
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<Script>>,
    requests: Arc<Mutex<Vec<String>>>,
) -> Result<Response<BoxBody<Bytes, io::Error>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let archive = head
        .headers
        .get("content-type")
        .is_some_and(|kind| kind == "application/x-tar");
    let text = if archive {
        "a tar".into()
    } else {
        String::from_utf8_lossy(&body)
    };
    let noted = format!("{} {} {text}", head.method, head.uri);
    requests
        .lock()
        .expect("a lock")
        .push(noted.trim_end().to_owned());
    let line = format!("{} {}", head.method, head.uri.path());
    let authorized = head.uri.path() == "/check"
        || head
            .headers
            .get("authorization")
            .is_some_and(|value| value == "Bearer sesame");
    let found = if authorized {
        next(&mut script.lock().expect("a lock"), &line)
    } else {
        unauthorized()
    };
    let mut response = Response::new(body_of(&found));
    *response.status_mut() = StatusCode::from_u16(found.status).expect("a status");
    response
        .headers_mut()
        .insert("content-type", found.media_type.parse().expect("a value"));
    Ok(response)
}

fn next(script: &mut Script, line: &str) -> Answer {
    match script.get_mut(line) {
        Some(answers) if answers.len() > 1 => answers.pop_front().expect("an answer"),
        Some(answers) => answers[0].clone(),
        None => json(
            404,
            format!(
                r#"{{"code":"app_not_found","message":"no answer for {line}","request_id":"1"}}"#
            ),
        ),
    }
}

fn unauthorized() -> Answer {
    json(
        401,
        r#"{"code":"unauthenticated","message":"the token is not one of this rack","hint":"look at D/token"}"#,
    )
}

fn body_of(answer: &Answer) -> BoxBody<Bytes, io::Error> {
    let bytes = Bytes::from(answer.body.clone());
    if answer.cut {
        BoxBody::new(CutOff(Some(bytes)))
    } else if let Some((pause, later)) = answer.later.clone() {
        BoxBody::new(InTwo {
            pieces: VecDeque::from([bytes, later.into()]),
            pause: Box::pin(tokio::time::sleep(pause)),
        })
    } else {
        BoxBody::new(Full::new(bytes).map_err(|never| match never {}))
    }
}

/// Gives its bytes and breaks off.
struct CutOff(Option<Bytes>);

impl Body for CutOff {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<Frame<Bytes>>>> {
        cx.waker().wake_by_ref();
        let piece = self.0.take();
        match piece {
            Some(bytes) if bytes.is_empty() => std::task::Poll::Pending,
            Some(bytes) => {
                self.0 = Some(Bytes::new());
                std::task::Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            None => std::task::Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }
}

/// Gives a piece, pauses, and gives another.
struct InTwo {
    pieces: VecDeque<Bytes>,
    pause: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl Body for InTwo {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<Frame<Bytes>>>> {
        let waits = self.pieces.len() == 1;
        if waits && self.pause.as_mut().poll(cx).is_pending() {
            return std::task::Poll::Pending;
        }
        let piece = self.pieces.pop_front();
        std::task::Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command in these surroundings.
pub(crate) fn run_in(
    environment: &Environment,
    starter: Option<&dyn RackStarter>,
    arguments: &[&str],
) -> Ended {
    let arguments = std::iter::once("hoist")
        .chain(arguments.iter().copied())
        .map(OsString::from);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = hoist_cli::run(arguments, environment, starter, &mut stdout, &mut stderr);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended {
        code,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// Runs a command against a rack.
pub(crate) fn hoist(rack: &Rack, arguments: &[&str]) -> Ended {
    let environment = Environment {
        url: Some(rack.url().into()),
        directory: "/".into(),
        ..Environment::default()
    };
    run_in(&environment, None, arguments)
}

pub(crate) fn ended(code: u8, stdout: &str, stderr: &str) -> Ended {
    Ended {
        code,
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    }
}
