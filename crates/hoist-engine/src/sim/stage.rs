//! Streams of scripted processes: what a process holds of them, what the caller holds, and the little that a terminal does
//! in between.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use hoist_core::model::Exit;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
    DuplexStream, ReadBuf, duplex,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::actor::Order;
use crate::logfile::{LogFile, Stream};
use crate::{EngineError, Session, SessionControl, Streams, TerminalSize};

/// What a stream holds before its writer waits.
const ROOM: usize = 64 << 10;
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
pub(super) const HANGUP: i32 = 1;
const INTERRUPT: i32 = 2;
pub(super) const BROKEN_PIPE: i32 = 13;

/// Where a scripted process speaks, and what it hears.
pub(super) enum Voice {
    /// Into its log; it hears nothing.
    Log(LogFile),
    /// On streams of the caller.
    Stage(Box<Stage>),
    /// To nobody.
    Nobody,
}

impl Voice {
    /// Says something; the signal that a process meets that nobody listens to is the error.
    pub(super) async fn say(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), i32> {
        match self {
            Self::Log(log) => log.take(stream, bytes),
            Self::Stage(stage) => stage.say(stream, bytes).await.map_err(|_| BROKEN_PIPE)?,
            Self::Nobody => {}
        }
        Ok(())
    }

    /// What the engine has to say about the process.
    pub(super) async fn announce(&mut self, text: &str) {
        match self {
            Self::Log(log) => log.say(text),
            _ => drop(self.say(Stream::Err, format!("{text}\n").as_bytes()).await),
        }
    }

    /// The signals that the streams send.
    pub(super) fn signals(&self) -> Option<watch::Receiver<Option<i32>>> {
        match self {
            Self::Stage(stage) => Some(stage.signals.clone()),
            _ => None,
        }
    }
}

/// The process's ends.
pub(super) struct Stage {
    input: BufReader<DuplexStream>,
    output: DuplexStream,
    errors: Option<DuplexStream>,
    size: Option<watch::Receiver<TerminalSize>>,
    signals: watch::Receiver<Option<i32>>,
    /// What the terminal does; ends with the process.
    _terminal: JoinSet<()>,
}

impl Stage {
    async fn say(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if self.size.is_some() {
            let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            return self.output.write_all(&lines.join(&b"\r\n"[..])).await;
        }
        match (stream, &mut self.errors) {
            (Stream::Err, Some(errors)) => errors.write_all(bytes).await,
            _ => self.output.write_all(bytes).await,
        }
    }

    /// Copies the input to the output until it ends.
    pub(super) async fn echo(&mut self) -> Result<(), i32> {
        let mut bytes = vec![0; ROOM];
        loop {
            match self.input.read(&mut bytes).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(count) => {
                    let said = self.say(Stream::Out, &bytes[..count]).await;
                    said.map_err(|_| BROKEN_PIPE)?;
                }
            }
        }
    }

    /// One line of the input, without its end.
    pub(super) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let _ = self.input.read_until(b'\n', &mut line).await;
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// The size of its terminal.
    pub(super) fn size(&self) -> Option<TerminalSize> {
        self.size.as_ref().map(|size| *size.borrow())
    }

    /// Waits for the terminal to be resized.
    pub(super) async fn resized(&mut self) {
        let changed = match &mut self.size {
            Some(size) => size.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending::<()>().await;
        }
    }
}

/// The caller's ends of a session that is about to be.
pub(super) struct Audience {
    input: Box<dyn AsyncWrite + Send + Unpin>,
    output: Box<dyn AsyncRead + Send + Unpin>,
    errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
    size: watch::Sender<TerminalSize>,
    /// Whether resizing means anything.
    terminal: bool,
    signal: watch::Sender<Option<i32>>,
}

/// Makes streams. Needs a runtime.
pub(super) fn set(streams: Streams) -> (Stage, Audience) {
    let (input, heard) = duplex(ROOM);
    let (said, output) = duplex(ROOM);
    let mut work = JoinSet::new();
    match streams {
        Streams::Pipes => {
            let (cried, errors) = duplex(ROOM);
            let (signal, signals) = watch::channel(None);
            let stage = Stage {
                input: BufReader::new(heard),
                output: said,
                errors: Some(cried),
                size: None,
                signals,
                _terminal: work,
            };
            let audience = Audience {
                input: Box::new(input),
                output: Box::new(output),
                errors: Some(Box::new(errors)),
                size: watch::Sender::new(TerminalSize::new(0, 0)),
                terminal: false,
                signal,
            };
            (stage, audience)
        }
        Streams::Terminal(size) => {
            let (size, seen) = watch::channel(size);
            let (signal, signals) = watch::channel(None);
            let (typed, read) = duplex(ROOM);
            let (held, dropped) = watch::channel(());
            let held = Arc::new(held);
            work.spawn(terminal(heard, typed, signal.clone(), dropped));
            let stage = Stage {
                input: BufReader::new(read),
                output: said,
                errors: None,
                size: Some(seen),
                signals,
                _terminal: work,
            };
            let audience = Audience {
                input: Box::new(Held(input, Arc::clone(&held))),
                output: Box::new(Held(output, held)),
                errors: None,
                size,
                terminal: true,
                signal,
            };
            (stage, audience)
        }
    }
}

/// Passes on what is typed, and turns keys and a hang-up into what they mean.
async fn terminal(
    mut keys: DuplexStream,
    typed: DuplexStream,
    signal: watch::Sender<Option<i32>>,
    mut dropped: watch::Receiver<()>,
) {
    let type_on = async {
        let mut typed = Some(typed);
        let mut bytes = vec![0; ROOM];
        while let Ok(count @ 1..) = keys.read(&mut bytes).await {
            for byte in &bytes[..count] {
                match (*byte, &mut typed) {
                    (CTRL_C, _) => drop(signal.send(Some(INTERRUPT))),
                    (CTRL_D, _) => typed = None,
                    (byte, Some(typed)) => drop(typed.write_all(&[byte]).await),
                    (_, None) => {}
                }
            }
        }
        // Nobody types any more: that alone is no end of the input.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = type_on => {}
        // Fails once neither end is held.
        _ = dropped.changed() => {}
    }
    let _ = signal.send(Some(HANGUP));
    signal.closed().await;
}

/// An end of a terminal, which hangs up with the last of them.
struct Held(
    DuplexStream,
    #[allow(dead_code, reason = "held")] Arc<watch::Sender<()>>,
);

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A process that somebody attends, seen from there.
pub(super) struct Attended {
    /// How it ended, once it has.
    pub(super) ended: watch::Receiver<Option<Exit>>,
    /// Tells it to stop; what runs beside a process also ends when this is dropped.
    pub(super) orders: watch::Sender<Order>,
}

/// How a session of the sim is followed and ended.
struct Control {
    size: watch::Sender<TerminalSize>,
    terminal: bool,
    signal: watch::Sender<Option<i32>>,
    attended: Attended,
}

impl Audience {
    /// The session of that process.
    pub(super) fn session(self, attended: Attended) -> Session {
        let control = Control {
            size: self.size,
            terminal: self.terminal,
            signal: self.signal,
            attended,
        };
        Session {
            input: self.input,
            output: self.output,
            errors: self.errors,
            control: Arc::new(control),
        }
    }
}

#[async_trait]
impl SessionControl for Control {
    fn resize(&self, size: TerminalSize) -> Result<(), EngineError> {
        if self.terminal {
            self.size.send_replace(size);
        }
        Ok(())
    }

    async fn exit(&self) -> Result<Exit, EngineError> {
        let mut exit = self.attended.ended.clone();
        let known = exit.wait_for(Option::is_some).await;
        known
            .ok()
            .and_then(|exit| *exit)
            .ok_or(EngineError::NotFound)
    }

    async fn interrupt(&self) -> Result<(), EngineError> {
        self.signal.send_replace(Some(INTERRUPT));
        Ok(())
    }

    async fn stop(&self) -> Result<(), EngineError> {
        self.attended.orders.send_replace(Order::Stop);
        Ok(())
    }
}
