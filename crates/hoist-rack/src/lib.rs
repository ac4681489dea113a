//! The server: commands, store, control loop, API, builds and logs of one rack.
//!
//! `rack` starts and ends it. `api` parses and renders and calls `commands`, which check and commit through `store`;
//! `control` makes what was committed true. Nothing else talks to an engine or a router.

pub mod api;
mod archive;
mod auth;
pub mod backup;
mod build;
mod clock;
pub mod commands;
pub mod control;
mod doctor;
mod error;
mod janitor;
mod layout;
pub mod logs;
pub mod moving;
mod pulse;
mod rack;
mod releases;
pub mod retention;
mod router_process;
mod runs;
mod secrets;
mod sequence;
pub mod store;
mod usage;

pub use clock::Clock;
pub use error::{RackError, with_causes};
pub use layout::Layout;
pub use rack::{Entered, Options, Rack, Stop, enter};
