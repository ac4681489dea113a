//! Streams of server-sent events. A slow reader holds up its own stream and nothing else.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use hoist_api::endpoint::STREAM_TYPE;
use hoist_api::sse::{KEEP_ALIVE, Streamed};
use http::header;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Events that may wait for a slow reader.
const WAITING_MAX: usize = 256;
/// The pause after which a silent stream shows that it lives.
const KEEP_ALIVE_PAUSE: Duration = Duration::from_secs(15);

/// The writing end of a stream. Every method answers false once the reader is gone.
pub(super) struct Sink {
    sender: mpsc::Sender<Bytes>,
    /// When the reader last got something: who writes looks more often than anything happens.
    spoke: Mutex<Instant>,
}

impl Sink {
    fn new(sender: mpsc::Sender<Bytes>) -> Self {
        let spoke = Mutex::new(Instant::now());
        Self { sender, spoke }
    }

    async fn say(&self, bytes: Bytes) -> bool {
        let said = self.sender.send(bytes).await.is_ok();
        *self.spoke() = Instant::now();
        said
    }

    fn spoke(&self) -> MutexGuard<'_, Instant> {
        self.spoke.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn send<T: Serialize, E: Serialize>(&self, item: Streamed<T, E>) -> bool {
        match item.to_frame() {
            Ok(frame) => self.say(Bytes::from(frame.encode())).await,
            Err(_) => false,
        }
    }

    /// Sends the last item.
    pub(super) async fn end<T: Serialize, E: Serialize>(&self, item: Streamed<T, E>) {
        self.send(item).await;
    }

    /// Waits for `event`, showing now and then that the stream lives.
    pub(super) async fn wait(&self, event: impl Future<Output = ()>) -> bool {
        tokio::pin!(event);
        loop {
            let due = *self.spoke() + KEEP_ALIVE_PAUSE;
            tokio::select! {
                // First, or events that come without end would hide that it is due.
                biased;
                () = tokio::time::sleep_until(due) => {
                    if !self.say(Bytes::from_static(KEEP_ALIVE.as_bytes())).await {
                        return false;
                    }
                }
                () = &mut event => return !self.sender.is_closed(),
                () = self.sender.closed() => return false,
            }
        }
    }
}

/// Answers a stream that `write` fills. It ends with `write`, or when the reader goes away.
pub(super) fn respond<F>(write: impl FnOnce(Sink) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel::<Bytes>(WAITING_MAX);
    tokio::spawn(write(Sink::new(sender)));
    let body = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), receiver))
    });
    let headers = [
        (header::CONTENT_TYPE, STREAM_TYPE),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_writer_that_looks_often_shows_that_the_stream_lives() {
        let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
        let sink = Sink::new(sender);
        // Nothing was said for almost as long as may be.
        *sink.spoke() -= KEEP_ALIVE_PAUSE - Duration::from_millis(50);
        for _ in 0..10 {
            assert!(
                sink.wait(tokio::time::sleep(Duration::from_millis(10)))
                    .await
            );
        }
        assert_eq!(receiver.recv().await.unwrap(), KEEP_ALIVE.as_bytes());
        drop(sink);
        assert!(receiver.recv().await.is_none(), "once is enough");
    }
}
