//! Holds workloads and tells the truth about them: the engine trait, its implementations and one suite for all.
//!
//! An engine knows no release, rollout or route. It holds N copies of an immutable workload, runs tasks once, and can be
//! looked at, all of it, at any time. Everything that decides is in `hoist_core::plan`.

mod edge;
pub mod local;
mod logfile;
pub mod sim;

pub use edge::*;
