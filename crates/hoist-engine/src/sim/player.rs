//! Whoever acts out a script: a process of the engine, or a command beside one.

use std::time::Duration;

use hoist_core::model::{Exit, ExitCause};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::actor::{Hold, Order, told};
use super::script::{self, Step};
use super::stage::{HANGUP, Voice};
use super::world::exit;
use crate::logfile::Stream;

/// What ends a process at once.
pub(super) const KILLED: i32 = 9;
/// What the shell says for a command that there is not.
const NOT_FOUND: i32 = 127;
/// What a process says that meets a step which is none of its.
const NOT_HERE: i32 = 2;

/// An actor's script and what it acts with.
pub(super) struct Player {
    /// Instead of its command.
    pub(super) script: Option<String>,
    pub(super) argv: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) voice: Voice,
    pub(super) grace: Duration,
    /// Its place in the engine; a command beside a process has none.
    pub(super) hold: Option<Hold>,
    /// Bound to its address; listens when the script says so.
    pub(super) socket: Option<TcpSocket>,
    pub(super) stubborn: bool,
    pub(super) servers: JoinSet<()>,
}

/// How a life came to its end.
pub(super) enum End {
    Own(Exit),
    /// It was told to stop, or to begin again.
    Told(Exit),
}

impl Player {
    /// The script: its last word, behind whatever shell or program stands before it.
    fn steps(&self) -> Result<Vec<Step>, String> {
        let script = self.script.as_deref();
        let script = script.or(self.argv.last().map(String::as_str));
        script::parse(script.unwrap_or_default())
    }

    /// Acts until it is done, at its limit, or told to end. A hang-up on a terminal, and Ctrl-C, are signals.
    pub(super) async fn live(
        &mut self,
        orders: &mut watch::Receiver<Order>,
        limit: Option<Duration>,
    ) -> End {
        let steps = match self.steps() {
            Ok(steps) => steps,
            Err(word) => {
                let why = "No such file or directory (os error 2)";
                let fault = format!("hoist: could not execute {word}: {why}");
                self.voice.announce(&fault).await;
                return End::Own(exit(NOT_FOUND, None, ExitCause::ExecFailed));
            }
        };
        let until = limit.map(|limit| Instant::now() + limit);
        let signals = self.voice.signals();
        tokio::select! {
            done = self.act(steps) => return End::Own(match done {
                Ok(code) => exit(code, None, ExitCause::Own),
                Err(signal) => by(signal),
            }),
            signal = signaled(signals) => return End::Own(by(signal)),
            () = reached(until) => {}
            () = told(orders) => {
                if self.stubborn {
                    sleep(self.grace).await;
                    return End::Told(by(KILLED));
                }
                if self.is_on_terminal() {
                    return End::Told(by(HANGUP));
                }
                let _ = self.voice.say(Stream::Out, b"stopping\n").await;
                return End::Told(exit(0, None, ExitCause::Own));
            }
        }
        let limit = limit.unwrap_or_default().as_secs_f32();
        let words = format!("hoist: killed after its limit of {limit} s");
        if let Voice::Log(log) = &mut self.voice {
            log.say(&words);
        }
        End::Own(by(KILLED))
    }

    fn is_on_terminal(&self) -> bool {
        matches!(&self.voice, Voice::Stage(stage) if stage.size().is_some())
    }

    /// Does what the script says; answers the exit status, or the signal that ended it.
    async fn act(&mut self, steps: Vec<Step>) -> Result<i32, i32> {
        for step in steps {
            match step {
                Step::Say(text) => self.say(&text).await?,
                Step::Cry(text) => {
                    let line = format!("{text}\n");
                    self.voice.say(Stream::Err, line.as_bytes()).await?;
                }
                Step::Print(name) => {
                    let value = self.variable(&name).unwrap_or("unset").replace('\n', "\\n");
                    self.say(&value).await?;
                }
                Step::Wait(time) => sleep(time).await,
                Step::Serve(status) => self.serve(status).await,
                Step::ServeElsewhere => self.serve_elsewhere().await?,
                Step::Stubborn => self.stubborn = true,
                Step::Idle => std::future::pending().await,
                Step::Exit(code) => return Ok(code),
                Step::Die(signal) => return Err(signal),
                Step::Flood(lines) => {
                    for number in 0..lines {
                        self.say(&number.to_string()).await?;
                    }
                }
                Step::Echo | Step::Line | Step::Tty | Step::Resized => self.converse(step).await?,
                _ => {
                    let words = b"only a real process can do this\n";
                    self.voice.say(Stream::Err, words).await?;
                    return Ok(NOT_HERE);
                }
            }
        }
        if !self.servers.is_empty() {
            std::future::pending::<()>().await;
        }
        Ok(0)
    }

    /// The steps that need somebody at the other end.
    async fn converse(&mut self, step: Step) -> Result<(), i32> {
        let Voice::Stage(stage) = &mut self.voice else {
            if step == Step::Tty {
                self.say("no terminal").await?;
            }
            return Ok(());
        };
        match step {
            Step::Echo => stage.echo().await,
            Step::Line => {
                let line = stage.line().await;
                self.say(&format!("heard {line}")).await
            }
            _ => {
                if step == Step::Resized {
                    stage.resized().await;
                }
                let size = stage.size();
                let told = size.map(|size| format!("terminal {}x{}", size.columns(), size.rows()));
                self.say(told.as_deref().unwrap_or("no terminal")).await
            }
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), i32> {
        self.voice
            .say(Stream::Out, format!("{text}\n").as_bytes())
            .await
    }

    fn variable(&self, wanted: &str) -> Option<&str> {
        let mut found = self.variables.iter().rev();
        let found = found.find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    }

    async fn serve(&mut self, status: u16) {
        const BACKLOG: u32 = 128;
        // A later life binds the address anew; the first one has held it since it was given out.
        let socket = self.socket.take().map_or_else(|| self.bind_again(), Ok);
        match socket.and_then(|socket| socket.listen(BACKLOG)) {
            Ok(listener) => self.listen(listener, status),
            Err(error) => {
                let words = format!("hoist: could not listen: {error}");
                self.voice.announce(&words).await;
            }
        }
    }

    fn bind_again(&self) -> std::io::Result<TcpSocket> {
        let port = self.variable("PORT").and_then(|port| port.parse().ok());
        let port: u16 = port.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], port).into())?;
        Ok(socket)
    }

    async fn serve_elsewhere(&mut self) -> Result<(), i32> {
        match TcpListener::bind(("127.0.0.1", 0)).await {
            Ok(listener) => {
                let port = listener.local_addr().map_or(0, |address| address.port());
                self.say(&port.to_string()).await?;
                self.listen(listener, 200);
            }
            Err(error) => {
                let words = format!("hoist: could not listen: {error}");
                self.voice.announce(&words).await;
            }
        }
        Ok(())
    }

    fn listen(&mut self, listener: TcpListener, status: u16) {
        let port = listener.local_addr().map_or(0, |address| address.port());
        if let Some(hold) = &self.hold {
            hold.change(|cell| {
                cell.listening.insert(port);
            });
        }
        self.servers.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(answer(stream, status));
            }
        });
    }
}

/// The end by a signal.
pub(super) fn by(signal: i32) -> Exit {
    exit(128 + signal, Some(signal), ExitCause::Own)
}

async fn signaled(signals: Option<watch::Receiver<Option<i32>>>) -> i32 {
    let Some(mut signals) = signals else {
        return std::future::pending().await;
    };
    match signals
        .wait_for(Option::is_some)
        .await
        .map(|signal| *signal)
    {
        Ok(Some(signal)) => signal,
        _ => std::future::pending().await,
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Answers one request, once all of it is there, and closes.
async fn answer(mut stream: tokio::net::TcpStream, status: u16) {
    let mut asked = Vec::new();
    while !is_whole(&asked) {
        let mut more = [0; 4096];
        match stream.read(&mut more).await {
            Ok(count @ 1..) => asked.extend_from_slice(&more[..count]),
            Ok(_) | Err(_) => break,
        }
    }
    if !asked.is_empty() {
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Whether a request has its head and as much of a body as that says.
fn is_whole(asked: &[u8]) -> bool {
    let text = String::from_utf8_lossy(asked);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
