//! What runs on streams of the rack: tasks that somebody attends, and commands beside a process. How they begin, and how
//! their end is known.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use hoist_core::model::Exit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, watch};

use super::attach::{self, Screen, Settled};
use super::layout::{self, STATE, is_held, is_marked};
use super::record::{self, State};
use super::shim::{Answer, REQUEST_MAX, Request};
use super::stop::Stops;
use super::{Inner, client, observe, start};
use crate::logfile::now_ms;
use crate::{EngineError, ExecSpec, SessionControl, Streams, TaskSpec, TerminalSize};

/// How long a shim may take to start a command or to accept a restart.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a shim that was launched a moment ago may take to listen.
const LISTENS: Duration = Duration::from_secs(2);
/// Pause between attempts meanwhile.
const PAUSE: Duration = Duration::from_millis(2);
/// How often a task is looked at while no hint comes.
const LOOK: Duration = Duration::from_secs(2);
/// The first protocol with commands on streams of the rack.
const KNOWS_STREAMS: u32 = 2;

fn failed(doing: &str) -> impl Fn(io::Error) -> EngineError {
    let doing = doing.to_owned();
    move |source| EngineError::Unavailable {
        doing: doing.clone(),
        source,
    }
}

fn refused(doing: &str, why: &str) -> EngineError {
    EngineError::Refused {
        doing: doing.to_owned(),
        why: why.to_owned(),
    }
}

/// Starts a task on streams of ours. Blocks.
pub(super) fn run(
    inner: &Inner,
    spec: &TaskSpec,
    streams: Streams,
) -> Result<Settled, EngineError> {
    let (near, far) = attach::lay(streams).map_err(failed("make streams"))?;
    if !inner.start_task(spec, Some(far))? {
        return Err(refused("attach", "it was started before"));
    }
    near.settle().map_err(failed("attach"))
}

/// A command beside a process, begun.
pub(super) struct Begun {
    pub(super) settled: Settled,
    line: client::Line,
}

/// Starts a command beside the process of a state directory. Blocks.
pub(super) fn exec(dir: &Path, spec: &ExecSpec, streams: Streams) -> Result<Begun, EngineError> {
    const DOING: &str = "run a command beside it";
    start::refuse_words(&spec.argv, &spec.env).map_err(|why| refused(DOING, &why))?;
    let (near, far) = attach::lay(streams).map_err(failed("make streams"))?;
    let more = spec.env.iter();
    let more: Vec<_> = more
        .map(|(name, value)| (name.as_str(), value.expose().as_bytes()))
        .collect();
    let env = start::sealed(&more).map_err(failed(DOING))?;
    let request = Request::Exec {
        argv: spec.argv.clone(),
        attached: far.attached,
    };
    if spec.argv.iter().map(String::len).sum::<usize>() > REQUEST_MAX / 2 {
        return Err(refused(
            DOING,
            "it is too long: put it into a file of the app",
        ));
    }
    let streams = far.files.iter().map(|file| file.as_fd());
    let files: Vec<_> = [env.as_fd()].into_iter().chain(streams).collect();
    let line = tell(dir, DOING, |dir| {
        client::begin(dir, &request, &files, ANSWER)
    })?;
    drop(far);
    match &line.answer {
        Answer::Started => Ok(Begun {
            settled: near.settle().map_err(failed(DOING))?,
            line,
        }),
        answer => Err(understand(answer, DOING)),
    }
}

/// Has the process of a state directory stopped and started again. Blocks.
pub(super) fn restart(dir: &Path) -> Result<(), EngineError> {
    const DOING: &str = "restart the process";
    if is_marked(dir) {
        return Err(EngineError::NotFound);
    }
    let ask = |dir: &Path| client::ask(dir, &Request::Restart, ANSWER);
    match tell(dir, DOING, ask)? {
        Answer::Accepted => Ok(()),
        answer => Err(understand(&answer, DOING)),
    }
}

/// Speaks to a living shim, which may be about to listen; refuses for one that does not know the words.
fn tell<T>(
    dir: &Path,
    doing: &str,
    speak: impl Fn(&Path) -> io::Result<T>,
) -> Result<T, EngineError> {
    let mut waited = Duration::ZERO;
    loop {
        if !is_held(dir) {
            return Err(EngineError::NotFound);
        }
        let state = record::read::<State>(&dir.join(STATE)).map_err(failed(doing))?;
        if state.protocol < KNOWS_STREAMS {
            let why = "its supervisor was started by an older hoist: restart the service first";
            return Err(refused(doing, why));
        }
        match speak(dir) {
            Ok(answer) => return Ok(answer),
            Err(error) if !is_silent(&error) || waited >= LISTENS => {
                return Err(failed(doing)(error));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
        waited += PAUSE;
    }
}

/// Whether nobody listens: not yet, or no longer.
fn is_silent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn understand(answer: &Answer, doing: &str) -> EngineError {
    match answer {
        Answer::NotRunning => EngineError::NotFound,
        Answer::Refused(why) => refused(doing, why),
        Answer::Failed(why) => failed(doing)(io::Error::other(why.clone())),
        _ => failed(doing)(io::ErrorKind::InvalidData.into()),
    }
}

/// A task that somebody attends.
pub(super) struct TaskControl {
    pub(super) dir: PathBuf,
    pub(super) screen: Screen,
    pub(super) stops: Stops,
    pub(super) changed: watch::Receiver<()>,
}

#[async_trait]
impl SessionControl for TaskControl {
    fn resize(&self, size: TerminalSize) -> Result<(), EngineError> {
        self.screen.resize(size)
    }

    async fn exit(&self) -> Result<Exit, EngineError> {
        let mut changed = self.changed.clone();
        loop {
            changed.borrow_and_update();
            let dir = self.dir.clone();
            let looked = tokio::task::spawn_blocking(move || observe::end_of(&dir)).await;
            let looked = looked.unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Some(exit) = looked.map_err(failed("look at a task"))? {
                return exit.ok_or(EngineError::NotFound);
            }
            let _ = tokio::time::timeout(LOOK, changed.changed()).await;
        }
    }

    async fn interrupt(&self) -> Result<(), EngineError> {
        const DOING: &str = "interrupt a task";
        let dir = self.dir.clone();
        let ask = |dir: &Path| client::ask(dir, &Request::Interrupt, ANSWER);
        let asked = tokio::task::spawn_blocking(move || tell(&dir, DOING, ask)).await;
        match asked.map_err(|error| failed(DOING)(io::Error::other(error)))? {
            Ok(Answer::Accepted) | Err(EngineError::NotFound) => Ok(()),
            Ok(answer) => Err(understand(&answer, DOING)),
            Err(error) => Err(error),
        }
    }

    async fn stop(&self) -> Result<(), EngineError> {
        let dir = self.dir.clone();
        let marked = tokio::task::spawn_blocking(move || layout::mark(&dir)).await;
        marked
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(failed("stop a task"))?;
        self.stops.see_to(self.dir.clone());
        Ok(())
    }
}

/// A command beside a process. The connection to the shim is its life: when that goes, the command is ended.
pub(super) struct ExecControl {
    screen: Screen,
    hear: Mutex<Hear>,
    say: Mutex<OwnedWriteHalf>,
}

struct Hear {
    from: OwnedReadHalf,
    heard: Vec<u8>,
    exit: Option<Exit>,
}

impl ExecControl {
    /// Must be called within a runtime.
    fn new(line: client::Line) -> io::Result<Self> {
        line.stream.set_nonblocking(true)?;
        let (from, to) = UnixStream::from_std(line.stream)?.into_split();
        let hear = Hear {
            from,
            heard: line.rest,
            exit: None,
        };
        Ok(Self {
            screen: Screen::default(),
            hear: Mutex::new(hear),
            say: Mutex::new(to),
        })
    }
}

impl ExecControl {
    async fn say(&self, word: &Request) -> Result<(), EngineError> {
        let mut line =
            serde_json::to_vec(word).map_err(|error| failed("tell a command")(error.into()))?;
        line.push(b'\n');
        // Nobody there means that it has ended.
        let _ = self.say.lock().await.write_all(&line).await;
        Ok(())
    }
}

impl Begun {
    /// Makes the session. Must be called within a runtime.
    pub(super) fn session(self) -> Result<crate::Session, EngineError> {
        let failed = failed("attach");
        let Self { settled, line } = self;
        let mut control = ExecControl::new(line).map_err(&failed)?;
        let with_screen = |screen| {
            control.screen = screen;
            control
        };
        settled.session(with_screen).map_err(&failed)
    }
}

impl Hear {
    /// Waits for the end; loses nothing when it is cancelled.
    async fn end(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                if let Ok(Answer::Ended(exit)) = serde_json::from_slice(&line) {
                    self.exit = Some(observe::as_exit(exit));
                }
            } else if self.from.read_buf(&mut self.heard).await? == 0 {
                // Its supervisor died, and it with that.
                self.exit = Some(observe::lost(now_ms()));
            }
        }
    }
}

#[async_trait]
impl SessionControl for ExecControl {
    fn resize(&self, size: TerminalSize) -> Result<(), EngineError> {
        self.screen.resize(size)
    }

    async fn exit(&self) -> Result<Exit, EngineError> {
        let mut hear = self.hear.lock().await;
        match hear.end().await {
            Ok(exit) => Ok(exit),
            Err(_) => Ok(observe::lost(now_ms())),
        }
    }

    async fn interrupt(&self) -> Result<(), EngineError> {
        self.say(&Request::Interrupt).await
    }

    async fn stop(&self) -> Result<(), EngineError> {
        self.say(&Request::End).await
    }
}
