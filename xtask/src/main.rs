//! Keeps the project's promises mechanically.

fn main() {}
