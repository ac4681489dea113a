//! Rules that no compiler knows: which crate may know which, what may be linked, and how files look.
//!
//! Each rule is a function from what it reads to complaints. A complaint says what to do, not only what is wrong.

mod crates;
mod files;
mod rust;

use anyhow::{Result, bail};

use crate::root;

/// Applies all rules and prints every complaint.
///
/// # Errors
/// When there is any.
pub(crate) fn run() -> Result<()> {
    let root = root()?;
    let mut complaints = crates::complaints(&root)?;
    complaints.extend(files::complaints(&root)?);
    if complaints.is_empty() {
        return Ok(());
    }
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    bail!("tidy found {} to mend", complaints.len());
}
