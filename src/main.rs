//! The `hoist` binary: dispatches to the role it was started for.

fn main() {}
