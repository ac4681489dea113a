//! One process of the sim: acts out its script, life after life, and is stopped as a real one would be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hoist_core::id::ProcessId;
use hoist_core::model::{Exit, ExitCause, ProcessState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::script::{self, Step};
use super::{Key, World, exit};
use crate::logfile::{self, LogFile, Stream};
use crate::{ProcessSpec, RestartPolicy};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LONGEST: Duration = Duration::from_secs(30);
/// What ends a process at once.
const KILLED: (i32, Option<i32>) = (137, Some(9));
/// A check that took too long, as everywhere.
const TIMED_OUT: i32 = 124;
/// What the shell says for a command that there is not.
const NOT_FOUND: i32 = 127;

/// What a process is born with.
pub(super) struct Life {
    pub(super) world: Arc<World>,
    pub(super) key: Key,
    pub(super) id: ProcessId,
    pub(super) restart: RestartPolicy,
    pub(super) limit: Option<Duration>,
    /// Instead of its command.
    pub(super) script: Option<String>,
    pub(super) variables: Vec<(String, String)>,
    /// Bound to its address; listens when the script says so.
    pub(super) socket: Option<TcpSocket>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// A process.
pub(super) struct Actor {
    life: Life,
    argv: Vec<String>,
    grace: Duration,
    log: LogFile,
    log_dir: PathBuf,
    stubborn: bool,
    servers: JoinSet<()>,
}

/// The script in a command: its last word, behind whatever shell or program stands before it.
fn steps(script: Option<&str>, argv: &[String]) -> Result<Vec<Step>, String> {
    script::parse(
        script
            .or(argv.last().map(String::as_str))
            .unwrap_or_default(),
    )
}

/// How a process came to its end.
enum End {
    Exit(Exit),
    /// It was told to stop, and has.
    Stopped(Exit),
}

impl Actor {
    pub(super) fn new(life: Life, spec: &ProcessSpec) -> Self {
        let path = spec
            .log_dir
            .join(logfile::file_name(&spec.log_source, life.id.as_str()));
        Self {
            life,
            argv: spec.argv.clone(),
            grace: spec.stop_grace,
            log: LogFile::new(path, spec.log_bytes_max),
            log_dir: spec.log_dir.clone(),
            stubborn: false,
            servers: JoinSet::new(),
        }
    }

    /// Lives until it is stopped or may not live again.
    pub(super) async fn live(mut self) {
        let _ = std::fs::create_dir_all(&self.log_dir);
        let mut pause = BACKOFF_FIRST;
        loop {
            let end = self.one_life().await;
            self.servers.shutdown().await;
            self.log.flush();
            let (exit, stopped) = match end {
                End::Exit(exit) => (exit, false),
                End::Stopped(exit) => (exit, true),
            };
            self.change(|cell| {
                cell.listening.clear();
                cell.process.state = ProcessState::Exited(exit);
            });
            if !stopped
                && self.life.restart == RestartPolicy::Always
                && timeout(pause, told(&mut self.life.stopped)).await.is_err()
            {
                pause = (pause * 2).min(BACKOFF_LONGEST);
                self.begin_again(exit);
                continue;
            }
            if *self.life.stopped.borrow() {
                self.life.world.forget(&self.life.key, &self.life.id);
            }
            return;
        }
    }

    fn begin_again(&mut self, exit: Exit) {
        self.stubborn = false;
        self.change(|cell| {
            cell.process.restarts += 1;
            cell.process.last_exit = Some(exit);
            cell.process.state = ProcessState::Running;
            cell.process.started = super::now();
        });
    }

    fn change(&self, change: impl FnOnce(&mut super::Cell)) {
        self.life.world.with(&self.life.key, &self.life.id, change);
    }

    async fn one_life(&mut self) -> End {
        let steps = match steps(self.life.script.as_deref(), &self.argv) {
            Ok(steps) => steps,
            Err(word) => {
                self.log.say(&format!(
                    "hoist: could not execute {word}: No such file or directory (os error 2)"
                ));
                return End::Exit(exit(NOT_FOUND, None, ExitCause::ExecFailed));
            }
        };
        let mut stopped = self.life.stopped.clone();
        let limit = self.life.limit.map(|limit| Instant::now() + limit);
        tokio::select! {
            code = self.act(steps) => return End::Exit(exit(code, None, ExitCause::Own)),
            () = reached(limit) => {}
            () = told(&mut stopped) => {
                if self.stubborn {
                    sleep(self.grace).await;
                    return End::Stopped(exit(KILLED.0, KILLED.1, ExitCause::Own));
                }
                self.log.take(Stream::Out, b"stopping\n");
                return End::Stopped(exit(0, None, ExitCause::Own));
            }
        }
        let limit = self.life.limit.unwrap_or_default();
        self.log.say(&format!(
            "hoist: killed after its limit of {} s",
            limit.as_secs_f32()
        ));
        End::Exit(exit(KILLED.0, KILLED.1, ExitCause::Own))
    }

    /// Does what the script says; answers the exit status.
    async fn act(&mut self, steps: Vec<Step>) -> i32 {
        for step in steps {
            match step {
                Step::Say(text) => self.log.take(Stream::Out, format!("{text}\n").as_bytes()),
                Step::Cry(text) => self.log.take(Stream::Err, format!("{text}\n").as_bytes()),
                Step::Print(name) => {
                    let found = self
                        .life
                        .variables
                        .iter()
                        .find(|(variable, _)| *variable == name);
                    let value =
                        found.map_or("unset".to_owned(), |(_, value)| value.replace('\n', "\\n"));
                    self.log.take(Stream::Out, format!("{value}\n").as_bytes());
                }
                Step::Wait(time) => sleep(time).await,
                Step::Serve(status) => self.serve(status),
                Step::ServeElsewhere => self.serve_elsewhere().await,
                Step::Stubborn => self.stubborn = true,
                Step::Idle => std::future::pending().await,
                Step::Exit(code) => return code,
                _ => {
                    self.log
                        .take(Stream::Err, b"only a real process can do this\n");
                    return 2;
                }
            }
        }
        if !self.servers.is_empty() {
            std::future::pending::<()>().await;
        }
        0
    }

    fn serve(&mut self, status: u16) {
        const BACKLOG: u32 = 128;
        // A later life binds the address anew; the first one has held it since it was given out.
        let socket = self
            .life
            .socket
            .take()
            .map_or_else(|| self.bind_again(), Ok);
        match socket.and_then(|socket| socket.listen(BACKLOG)) {
            Ok(listener) => self.listen(listener, status),
            Err(error) => self.log.say(&format!("hoist: could not listen: {error}")),
        }
    }

    fn bind_again(&self) -> std::io::Result<TcpSocket> {
        let port = self
            .life
            .variables
            .iter()
            .find(|(name, _)| name == "PORT")
            .and_then(|(_, port)| port.parse().ok());
        let port: u16 = port.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], port).into())?;
        Ok(socket)
    }

    async fn serve_elsewhere(&mut self) {
        match TcpListener::bind(("127.0.0.1", 0)).await {
            Ok(listener) => {
                let port = listener.local_addr().map_or(0, |address| address.port());
                self.log.take(Stream::Out, format!("{port}\n").as_bytes());
                self.listen(listener, 200);
            }
            Err(error) => self.log.say(&format!("hoist: could not listen: {error}")),
        }
    }

    fn listen(&mut self, listener: TcpListener, status: u16) {
        let port = listener.local_addr().map_or(0, |address| address.port());
        self.change(|cell| {
            cell.listening.insert(port);
        });
        self.servers.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(answer(stream, status));
            }
        });
    }
}

/// Waits until the process is told to stop; for ever when nobody is left who could.
async fn told(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Answers one request and closes.
async fn answer(mut stream: tokio::net::TcpStream, status: u16) {
    let mut asked = [0; 4096];
    if stream.read(&mut asked).await.is_ok_and(|count| count > 0) {
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Acts out a check; answers its exit status.
pub(super) async fn check(argv: &[String], variables: &[(String, String)], limit: Duration) -> i32 {
    let Ok(steps) = steps(None, argv) else {
        return NOT_FOUND;
    };
    let act = async {
        for step in steps {
            match step {
                Step::Exit(code) => return code,
                Step::Wait(time) => sleep(time).await,
                Step::Idle | Step::Serve(_) => std::future::pending().await,
                Step::Print(name) if !variables.iter().any(|(variable, _)| *variable == name) => {
                    return 1;
                }
                _ => {}
            }
        }
        0
    };
    timeout(limit, act).await.unwrap_or(TIMED_OUT)
}
