//! Reads a stream of events to its end.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::{CallError, Refusal};
use crate::sse::{Frame, Parser, SILENCE_MAX_SECONDS, Streamed};

/// The items of a stream. Dropping it closes the connection.
pub struct EventStream<T, End> {
    body: Incoming,
    url: String,
    parser: Parser,
    frames: VecDeque<Frame>,
    items: PhantomData<fn() -> (T, End)>,
}

/// The next of a stream: a line, or what the whole came to.
pub enum Next<T, End> {
    /// A line.
    Line(T),
    /// The end: nothing follows.
    End(End),
}

impl<T: DeserializeOwned, End: DeserializeOwned> EventStream<T, End> {
    pub(super) fn new(body: Incoming, url: String) -> Self {
        Self {
            body,
            url,
            parser: Parser::default(),
            frames: VecDeque::new(),
            items: PhantomData,
        }
    }

    /// The next line or the end. A stream that stops without its end is an error, as is one that falls silent.
    /// Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Next<T, End>, CallError> {
        loop {
            while let Some(frame) = self.frames.pop_front() {
                let item = Streamed::from_frame(&frame);
                match item.map_err(|source| CallError::BadStream {
                    url: self.url.clone(),
                    source,
                })? {
                    None => {}
                    Some(Streamed::Line(line)) => return Ok(Next::Line(line)),
                    Some(Streamed::End(end)) => return Ok(Next::End(end)),
                    Some(Streamed::Error(body)) => {
                        let status = body.code.status();
                        return Err(CallError::Refused(Box::new(Refusal { status, body })));
                    }
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), CallError> {
        let silence = Duration::from_secs(SILENCE_MAX_SECONDS);
        let frame = timeout(silence, self.body.frame()).await;
        let frame = frame.map_err(|_| CallError::TimedOut {
            url: self.url.clone(),
            seconds: SILENCE_MAX_SECONDS,
        })?;
        let cut_off = |source| CallError::CutOff {
            url: self.url.clone(),
            source,
        };
        let frame = frame
            .ok_or_else(|| cut_off(None))?
            .map_err(|error| cut_off(Some(Box::new(error))))?;
        let mut frames = Vec::new();
        if let Some(piece) = frame.data_ref() {
            let read = self.parser.push(piece, &mut frames);
            self.frames.extend(frames);
            read.map_err(|source| CallError::BadStream {
                url: self.url.clone(),
                source,
            })?;
        }
        Ok(())
    }
}
