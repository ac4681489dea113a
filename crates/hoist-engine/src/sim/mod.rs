//! An engine in memory.
pub mod script;
