//! Serves the newest route table: the proxy between the world and the processes of apps.
//!
//! A process of its own, so that no restart of the rack drops a request. It decides nothing: a table says which host
//! reaches which processes, and a new table replaces the one before it whole. Threads: the main one answers the control
//! socket, one accepts, one writes access lines, the others serve (see [`worker`](self)).

mod access;
mod admin;
pub mod control;
mod forward;
mod headers;
mod listen;
mod page;
mod place;
mod reply;
mod serve;
mod succession;
mod table;
mod tunnel;
mod upstream;
mod websocket;
mod wire;
mod worker;

pub use place::PlaceError;
pub use serve::{RouterConfig, RouterError, check_listen, router_main};
