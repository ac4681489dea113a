//! Every decision of Hoist as pure functions over plain values: no I/O, no clock, no randomness.
//!
//! Time, identity and reality are arguments. What a caller must know first: `model` holds the values, `plan` decides
//! over them, `manifest` reads what users write, `env_text` reads and writes variables, `detect` knows languages by their
//! files, `limits` names every wait.

pub mod archive_path;
pub mod describe;
pub mod detect;
pub mod env_text;
pub mod history;
pub mod id;
pub mod limits;
pub mod lineage;
pub mod manifest;
pub mod model;
pub mod plan;
pub mod retention;
