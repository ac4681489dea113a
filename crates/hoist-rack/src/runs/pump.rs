//! Carries the streams of a process between engine and client, both ways at once, and no faster than the slower side.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hoist_api::session::{
    KEEP_ALIVE_SECONDS, Note, Piece, Reader, Received, SessionError, Stream, Writer,
};
use hoist_api::types::SessionExit;
use hoist_core::limits;
use hoist_core::model::Exit;
use hoist_engine::{EngineError, Session, SessionControl, TerminalSize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::rack::Stop;

/// The client's connection.
pub(super) type Client = (Reader<OwnedReadHalf>, Writer<OwnedWriteHalf>);

/// Answers to the client that wait while a piece is written to it.
const ASIDES_MAX: usize = 4;

/// What the way up has to say to the client.
enum Aside {
    Pong(Vec<u8>),
    /// The process reads no more.
    InputEnd,
}

/// A session between a process and its client.
pub(super) struct Pump {
    up: Pin<Box<dyn Future<Output = Result<(), SessionError>> + Send>>,
    down: Down,
    control: Arc<dyn SessionControl>,
}

impl Pump {
    pub(super) fn new(session: Session, (reader, writer): Client) -> Self {
        let (asides, heard) = mpsc::channel(ASIDES_MAX);
        let Session {
            input,
            output,
            errors,
            control,
        } = session;
        // A terminal has one way out.
        let terminal = errors.is_none();
        let down = Down {
            writer,
            output: Some(output),
            errors,
            asides: heard,
        };
        Self {
            up: Box::pin(up(reader, input, terminal, control.clone(), asides)),
            down,
            control,
        }
    }

    /// Carries until the process ended, or until there is no client any more or the rack stops, which is none.
    pub(super) async fn carry(
        &mut self,
        stopped: impl Future<Output = Stop>,
    ) -> Option<Result<Exit, EngineError>> {
        tokio::select! {
            _ = &mut self.up => None,
            ended = self.down.carry(&self.control) => ended.ok(),
            _ = stopped => None,
        }
    }

    /// Tells the client how it ended, and closes the session when the client does.
    ///
    /// What the client still sends is read until then: a connection that is closed over unread bytes breaks off, and may
    /// take the last words along.
    pub(super) async fn close(mut self, exit: SessionExit) {
        let told = async {
            let _ = self.down.end(exit).await;
        };
        let limit = Duration::from(limits::CLOSE_LIMIT);
        let _ = tokio::time::timeout(limit, async { tokio::join!(told, self.up) }).await;
    }
}

/// What ends the input of a program that reads lines of a terminal: Ctrl-D.
const END_OF_INPUT: &[u8] = b"\x04";

/// Carries what the client sends, until it goes.
async fn up(
    mut reader: Reader<OwnedReadHalf>,
    input: Box<dyn AsyncWrite + Send + Unpin>,
    terminal: bool,
    control: Arc<dyn SessionControl>,
    asides: mpsc::Sender<Aside>,
) -> Result<(), SessionError> {
    let mut input = Some(input);
    loop {
        match reader.next().await? {
            Received::Piece(Stream::Input, bytes) => {
                if let Some(open) = &mut input
                    && (open.write_all(bytes).await.is_err() || open.flush().await.is_err())
                {
                    input = None;
                    let _ = asides.send(Aside::InputEnd).await;
                }
            }
            Received::Note(Note::InputEnd) => {
                if let Some(mut open) = input.take() {
                    if terminal {
                        // Closing says nothing there.
                        let _ = open.write_all(END_OF_INPUT).await;
                    }
                    let _ = open.shutdown().await;
                }
            }
            Received::Note(Note::Resize(size)) => {
                let _ = control.resize(TerminalSize::new(size.columns, size.rows));
            }
            Received::Note(Note::Interrupt) => {
                let _ = control.interrupt().await;
            }
            Received::Ping(payload) => {
                // A client that pings faster than it reads waits for nothing by it.
                let _ = asides.try_send(Aside::Pong(payload));
            }
            Received::Piece(..) | Received::Note(Note::Exit(_)) => {}
            Received::Closed => return Ok(()),
        }
    }
}

type Readable = Box<dyn AsyncRead + Send + Unpin>;

/// The way to the client.
struct Down {
    writer: Writer<OwnedWriteHalf>,
    output: Option<Readable>,
    errors: Option<Readable>,
    asides: mpsc::Receiver<Aside>,
}

impl Down {
    /// Carries what the process writes until it ended and nothing more comes.
    async fn carry(
        &mut self,
        control: &Arc<dyn SessionControl>,
    ) -> Result<Result<Exit, EngineError>, SessionError> {
        let keep_alive = Duration::from_secs(KEEP_ALIVE_SECONDS);
        let (mut written, mut complained) = (Piece::default(), Piece::default());
        let mut ended = None;
        let exit = control.exit();
        tokio::pin!(exit);
        let mut silent_since = Instant::now();
        loop {
            if self.output.is_none()
                && self.errors.is_none()
                && let Some(exit) = ended
            {
                return Ok(exit);
            }
            let pause = match ended {
                Some(_) => Duration::from(limits::LAST_WORDS_LIMIT),
                None => keep_alive,
            };
            tokio::select! {
                count = read(&mut self.output, &mut written) => match count {
                    0 => self.output = None,
                    _ => self.writer.send(Stream::Output, &mut written).await?,
                },
                count = read(&mut self.errors, &mut complained) => match count {
                    0 => self.errors = None,
                    _ => self.writer.send(Stream::Errors, &mut complained).await?,
                },
                exit = &mut exit, if ended.is_none() => ended = Some(exit),
                Some(aside) = self.asides.recv() => match aside {
                    Aside::Pong(payload) => self.writer.pong(&payload).await?,
                    Aside::InputEnd => self.writer.note(&Note::InputEnd).await?,
                },
                // What it left behind holds its streams and says nothing.
                () = sleep_until(silent_since + pause), if ended.is_some() => {
                    (self.output, self.errors) = (None, None);
                }
                () = sleep_until(silent_since + pause) => self.writer.keep_alive().await?,
            }
            silent_since = Instant::now();
        }
    }

    async fn end(&mut self, exit: SessionExit) -> Result<(), SessionError> {
        self.writer.note(&Note::Exit(exit)).await?;
        self.writer.close().await
    }
}

/// Reads what comes next, 0 at the end; a terminal that hung up is at its end too. Without a stream it waits for ever.
async fn read(stream: &mut Option<Readable>, piece: &mut Piece) -> usize {
    let Some(stream) = stream else {
        return pending().await;
    };
    let count = stream.read(piece.space()).await.unwrap_or(0);
    piece.set_filled(count);
    count
}
