//! What crosses the wire between Hoist's server and its clients, declared once.
//!
//! Start with [`endpoint::Endpoint`]: one declaration per operation. The server's routes, the client, the OpenAPI
//! document and the tests of authorization all follow from the one list in [`endpoints`].

#[cfg(feature = "client")]
pub mod client;
pub mod endpoint;
pub mod endpoints;
pub mod error;
pub mod export;
pub mod local;
pub mod openapi;
#[cfg(feature = "session")]
pub mod session;
pub mod sse;
pub mod time;
pub mod types;
mod words;

pub use endpoint::{Endpoint, Kind, Method, Scope};
pub use error::{ErrorBody, ErrorCode};
pub use time::Time;
