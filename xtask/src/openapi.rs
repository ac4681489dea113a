//! `docs/openapi.json` is generated from the API's declaration and checked in, so that a change of the API is seen in
//! review; one that is not written down fails.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::root;

const FILE: &str = "docs/openapi.json";

/// Writes the document.
pub(crate) fn write() -> Result<()> {
    fs::write(root()?.join(FILE), hoist_api::openapi::document_text())
        .with_context(|| format!("cannot write {FILE}"))
}

/// Compares the document with the declaration.
///
/// # Errors
/// When it is stale or missing.
pub(crate) fn verify() -> Result<()> {
    let kept =
        fs::read_to_string(root()?.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    ensure!(
        kept == hoist_api::openapi::document_text(),
        "{FILE} is stale: run `cargo xtask openapi` and look at the difference"
    );
    Ok(())
}
