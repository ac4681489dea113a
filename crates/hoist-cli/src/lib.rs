//! The command line: one file per command, and the words it prints.

pub mod environment;
pub mod starter;
