//! The body of an answer, streamed as it arrives; its connection goes back to the pool with the last byte.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

use super::chunked::{Chunked, Piece};
use super::{Connection, Framing, Outgoing, Pool};
use crate::table::Endpoint;

/// The body of an answer on its way to the client.
pub(crate) struct Download {
    /// None once the body has ended.
    connection: Option<Connection>,
    rest: Rest,
    /// What is left of a request whose answer came before all of it was sent.
    upload: Option<Outgoing>,
    home: Option<(Rc<Pool>, Arc<Endpoint>)>,
    patience: Option<Duration>,
    alarm: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy)]
enum Rest {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Download {
    /// `home` is where the connection goes afterwards, if it can be used again; `patience` the longest silence.
    pub(crate) fn new(
        connection: Connection,
        framing: Framing,
        upload: Option<Outgoing>,
        home: Option<(Rc<Pool>, Arc<Endpoint>)>,
        patience: Option<Duration>,
    ) -> Self {
        let rest = match framing {
            Framing::None => Rest::Length(0),
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Chunked::Size),
            Framing::UntilClose => Rest::UntilClose,
        };
        Self {
            connection: Some(connection),
            rest,
            upload,
            home,
            patience,
            alarm: None,
        }
    }

    /// Bytes still to come, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match (self.connection.is_some(), self.rest) {
            (false, _) => Some(0),
            (true, Rest::Length(left)) => Some(left),
            _ => None,
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.connection.is_none()
    }

    /// The next bytes; none at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.poll_upload(cx);
        loop {
            match self.take() {
                Ok(Piece::Data(data)) => {
                    self.settle();
                    if let (Some(alarm), Some(patience)) = (&mut self.alarm, self.patience) {
                        alarm.as_mut().reset(Instant::now() + patience);
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Ok(Piece::End) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Ok(Piece::More) => {}
                Err(error) => return self.fail(error),
            }
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(None);
            };
            match connection.poll_read(cx) {
                Poll::Ready(Ok(0)) if matches!(self.rest, Rest::UntilClose) => {
                    self.connection = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0)) => return self.fail(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return self.fail(error),
                Poll::Pending => {
                    let Some(patience) = self.patience else {
                        return Poll::Pending;
                    };
                    let alarm = self
                        .alarm
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                    ready!(alarm.as_mut().poll(cx));
                    return self.fail(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        let (Some(upload), Some(connection)) = (&mut self.upload, &mut self.connection) else {
            return;
        };
        if let Poll::Ready(sent) = upload.poll_send(&mut connection.stream, cx) {
            if sent.is_err() {
                self.home = None;
            }
            self.upload = None;
        }
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<io::Result<Bytes>>> {
        self.connection = None;
        Poll::Ready(Some(Err(error)))
    }

    fn take(&mut self) -> io::Result<Piece> {
        let Some(connection) = &mut self.connection else {
            return Ok(Piece::End);
        };
        let buffer = &mut connection.buffer;
        match &mut self.rest {
            Rest::Length(0) => Ok(Piece::End),
            _ if buffer.is_empty() => Ok(Piece::More),
            Rest::Length(left) => {
                let here = (*left).min(buffer.len() as u64);
                *left -= here;
                Ok(Piece::Data(buffer.split_to(here as usize).freeze()))
            }
            Rest::UntilClose => Ok(Piece::Data(buffer.split().freeze())),
            Rest::Chunked(state) => state.take(buffer).map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the process's chunks are broken",
                )
            }),
        }
    }

    /// Ends at once when the bytes that end the body are already here, so that the last data is known as the last.
    fn settle(&mut self) {
        let ended = match (&mut self.rest, &mut self.connection) {
            (Rest::Length(left), _) => *left == 0,
            (Rest::Chunked(state), Some(connection)) => {
                state.pass_framing(&mut connection.buffer).is_ok() && *state == Chunked::End
            }
            _ => false,
        };
        if ended {
            self.end();
        }
    }

    fn end(&mut self) {
        let connection = self.connection.take();
        // A request that is still leaving would be read as the next one.
        let (Some(connection), Some((pool, endpoint)), None) =
            (connection, self.home.take(), self.upload.take())
        else {
            return;
        };
        pool.put(&endpoint, connection);
    }
}
