//! Streams of server-sent events. A slow reader holds up its own stream and nothing else.

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

/// Events that may wait for a slow reader.
const WAITING_MAX: usize = 256;
/// The pause after which a silent stream shows that it lives.
const KEEP_ALIVE_PAUSE: Duration = Duration::from_secs(15);

/// The writing end of a stream. Every method answers false once the reader is gone.
pub(super) struct Sink {
    sender: mpsc::Sender<Bytes>,
}

impl Sink {
    pub(super) async fn send<T: Serialize, E: Serialize>(&self, item: Streamed<T, E>) -> bool {
        match item.to_frame() {
            Ok(frame) => self.sender.send(Bytes::from(frame.encode())).await.is_ok(),
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
            tokio::select! {
                () = &mut event => return !self.sender.is_closed(),
                () = self.sender.closed() => return false,
                () = tokio::time::sleep(KEEP_ALIVE_PAUSE) => {
                    if self.sender.send(Bytes::from_static(KEEP_ALIVE.as_bytes())).await.is_err() {
                        return false;
                    }
                }
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
    tokio::spawn(write(Sink { sender }));
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
