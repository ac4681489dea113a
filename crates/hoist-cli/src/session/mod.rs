//! The user's end of an attached process: their terminal or streams, their signals, and the exit code.
//!
//! Input is read by a thread of its own, and output is written by one, because both may block for as long as they like:
//! what is waited for here is only the connection, the signals, and these two. Nothing is copied on the way.

mod stdio;
mod terminal;

use hoist_api::client::{CallError, Client, SessionEnds};
use hoist_api::endpoints::SessionAttach;
use hoist_api::session::{Note, SessionError, Stream, Writer};
use hoist_api::types::{SessionExit, SessionPath, Terminal};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::environment::Environment;
use crate::error::CliError;
use stdio::{Ended, Input};
pub(crate) use terminal::TerminalArgs;

/// What a command ends with when how its process ended is not known.
const UNKNOWN: u8 = 255;
/// Added to a signal's number for the exit code of what it ended.
const BY_SIGNAL: u8 = 128;
const SIGPIPE: u8 = 13;

/// The signals that a session sees to itself, from before its process begins.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    resize: Signal,
}

/// What a signal asks for.
enum Asked {
    /// To interrupt the process.
    Interrupt,
    /// To go, for this signal.
    Leave(u8),
    /// To look at the terminal's size.
    Resize,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self, CliError> {
        let catch = |kind| signal(kind).map_err(|source| CliError::io("wait for signals", source));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
            resize: catch(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Leave(15),
            _ = self.hang_up.recv() => Asked::Leave(1),
            _ = self.resize.recv() => Asked::Resize,
        }
    }

    /// Does what comes before the session, unless the user interrupts.
    pub(crate) async fn unless<T>(
        &mut self,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CliError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done?),
                asked = self.next() => match asked {
                    Asked::Interrupt => return Err(CliError::Interrupted { goes_on: None }),
                    Asked::Leave(signal) => return Err(said(BY_SIGNAL + signal)),
                    Asked::Resize => {}
                },
            }
        }
    }
}

fn said(exit_code: u8) -> CliError {
    CliError::Said { exit_code }
}

/// Attaches to a session, and carries it to its end. The error is the process's own exit code, unless that is 0.
pub(crate) async fn attach(
    session: String,
    terminal: Option<&Terminal>,
    mut signals: Signals,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let client = context.client()?;
    let path = SessionPath { session };
    let ends = signals
        .unless(client.attach::<SessionAttach>(&path))
        .await?;
    let ended = {
        // Gives the terminal back at the end of this block, whatever the end is.
        let _raw = terminal::raw(terminal.is_some() && context.environment.stdin_terminal)?;
        carry(ends, terminal.is_some(), &mut signals, context.environment).await
    };
    say_how(ended, &client, context)
}

async fn carry(
    (reader, writer): SessionEnds,
    on_terminal: bool,
    signals: &mut Signals,
    environment: &Environment,
) -> Result<Ended, CliError> {
    let input = Input::start(environment).map_err(|source| CliError::io("read input", source))?;
    let mut ended = stdio::print(reader, input.ended.clone())
        .map_err(|source| CliError::io("print", source))?;
    let (notes, to_send) = mpsc::channel(8);
    let up = up(writer, input, to_send);
    tokio::pin!(up);
    let (mut up_ended, mut interrupted) = (false, false);
    loop {
        let asked = tokio::select! {
            ended = &mut ended => return Ok(ended.unwrap_or(Ended::Broken)),
            // How it ended may have arrived before the connection broke: the reader knows.
            _ = &mut up, if !up_ended => {
                up_ended = true;
                continue;
            }
            asked = signals.next() => asked,
        };
        match asked {
            Asked::Leave(signal) => return Ok(Ended::Left(BY_SIGNAL + signal)),
            Asked::Interrupt if interrupted && !on_terminal => {
                return Err(CliError::Interrupted { goes_on: None });
            }
            // A note that finds no place is one of many.
            Asked::Interrupt => {
                interrupted = true;
                let _ = notes.try_send(Note::Interrupt);
            }
            Asked::Resize if on_terminal => {
                let _ = notes.try_send(Note::Resize(terminal::size()));
            }
            Asked::Resize => {}
        }
    }
}

/// Sends what is read and what is to be said, until the connection breaks. Half a frame stays behind when it is dropped.
async fn up(
    mut writer: Writer<OwnedWriteHalf>,
    mut input: Input,
    mut notes: mpsc::Receiver<Note>,
) -> Result<(), SessionError> {
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            Some(note) = notes.recv() => writer.note(&note).await?,
            piece = input.filled.recv(), if open => match piece {
                Some(mut piece) => {
                    writer.send(Stream::Input, &mut piece).await?;
                    // A thread that is gone has read everything.
                    let _ = input.empty.send(piece).await;
                }
                None => {
                    open = false;
                    writer.note(&Note::InputEnd).await?;
                }
            },
        }
    }
}

/// The exit code of the process; says on standard error what the code does not say.
fn say_how(
    ended: Result<Ended, CliError>,
    client: &Client,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let exit = match ended? {
        Ended::Exited(exit) => exit,
        Ended::Left(code) => return Err(said(code)),
        Ended::NobodyReads => return Err(said(BY_SIGNAL + SIGPIPE)),
        Ended::Unwritten(error) => SessionExit {
            reason: Some(format!("its output cannot be written: {error}")),
            ..SessionExit::default()
        },
        Ended::Broken => SessionExit {
            reason: Some(format!(
                "the connection to the rack at {} broke off",
                client.url()
            )),
            ..SessionExit::default()
        },
    };
    match (exit.code, exit.reason) {
        (Some(0), _) => Ok(()),
        (Some(code), reason) => {
            if let Some(reason) = reason {
                context.out.note(&format!("the process {reason}"))?;
            }
            // A status has eight bits.
            Err(said(code as u8))
        }
        (None, reason) => {
            let reason = reason.unwrap_or_else(|| "the rack does not say".to_owned());
            let hint =
                "the process is stopped when its session is gone; `hoist ps` shows what runs";
            context.out.error(
                &format!("how the process ended is not known: {reason}"),
                Some(hint),
            )?;
            Err(said(UNKNOWN))
        }
    }
}
