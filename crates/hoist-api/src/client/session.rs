//! Attaches to the streams of a process.

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{CallError, Client, LOOK_LIMIT, empty, uri};
use crate::endpoint::{Endpoint, Kind};
use crate::session::{Reader, Side, VERSION, Writer, accept_of, new_key};
use crate::types::Empty;

/// The client's end of a session. Dropping both halves closes it.
pub type SessionEnds = (Reader<OwnedReadHalf>, Writer<OwnedWriteHalf>);

impl Client {
    /// Attaches to a session.
    pub async fn attach<E>(&self, path: &E::Path) -> Result<SessionEnds, CallError>
    where
        E: Endpoint<Query = Empty, Body = Empty>,
    {
        const { assert!(matches!(E::KIND, Kind::Session)) };
        let key = new_key();
        let mut request = self.request(E::METHOD, &uri::<E>(path, &Empty {})?, None, empty())?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        let value =
            HeaderValue::from_str(&key).map_err(|error| CallError::BadRequest(error.into()))?;
        headers.insert(SEC_WEBSOCKET_KEY, value);
        let response = self.send(request, LOOK_LIMIT).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            if response.status().is_success() {
                return Err(self.protocol("does not speak WebSocket", None));
            }
            return Err(self.refusal(response).await);
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|accept| accept.as_bytes() != accept_of(&key).as_bytes()) {
            return Err(self.protocol("speaks another WebSocket", None));
        }
        let upgraded = hyper::upgrade::on(response).await;
        let upgraded = upgraded.map_err(|error| self.protocol("hung up", Some(error)))?;
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| self.protocol("is reached by no connection of this client", None))?;
        let (read, write) = parts.io.into_inner().into_split();
        let reader = Reader::new(read, Side::Client, &parts.read_buf);
        Ok((reader, Writer::new(write, Side::Client)))
    }
}
