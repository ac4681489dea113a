//! Runs the real binary as a user does, for end-to-end tests and for benches (`xtask` includes it by its path).
//!
//! A [`Rack`] lives on a temporary data directory with ports of its own and ends everything it started.
#![allow(dead_code, reason = "tests and benches use different parts")]
#![allow(unreachable_pub, reason = "included in more than one program")]

pub mod app;
pub mod http;
pub mod load;
pub mod rack;
pub mod random;
pub mod soak;
pub mod source;
pub mod terminal;
pub mod traces;
pub mod websocket;

pub use rack::Rack;
pub use source::Source;
