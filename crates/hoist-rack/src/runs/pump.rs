//! Carries the streams of a process between engine and client, both ways at once, and no faster than the slower side.

use std::future::pending;
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

use super::attend::end_of;
use crate::error::with_causes;
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

/// Carries until the process ended and its client knows, or until there is no client any more, which is none.
pub(super) async fn carry(
    session: Session,
    (reader, writer): Client,
    stopped: impl Future<Output = Stop>,
) -> Option<Exit> {
    let (asides, heard) = mpsc::channel(ASIDES_MAX);
    let Session {
        input,
        output,
        errors,
        control,
    } = session;
    let up = up(reader, input, control.clone(), asides);
    let mut down = Down {
        writer,
        output: Some(output),
        errors,
        asides: heard,
    };
    tokio::select! {
        _ = up => None,
        ended = down.carry(&control) => match ended {
            Ok(exit) => down.say_how(exit).await,
            Err(_) => None,
        },
        _ = stopped => {
            let reason = Some("the rack is stopping".to_owned());
            let exit = SessionExit { reason, ..SessionExit::default() };
            // The process is told to end, which its client learns unless half a piece is on its way.
            let _ = tokio::time::timeout(Duration::from_millis(100), down.end(exit)).await;
            None
        }
    }
}

/// Carries what the client sends, until it goes.
async fn up(
    mut reader: Reader<OwnedReadHalf>,
    input: Box<dyn AsyncWrite + Send + Unpin>,
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

    /// Tells the client how the process ended; the client may be gone by now.
    async fn say_how(&mut self, exit: Result<Exit, EngineError>) -> Option<Exit> {
        let told = match &exit {
            Ok(exit) => {
                let end = end_of(*exit);
                SessionExit {
                    code: end.code,
                    signal: end.signal,
                    reason: end.reason,
                }
            }
            Err(error) => SessionExit {
                reason: Some(with_causes(error)),
                ..SessionExit::default()
            },
        };
        let _ = self.end(told).await;
        exit.ok()
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
