//! What keeps apps apart on this machine is what this machine should give: a test run that silently had less shows nothing.

use anyhow::{Context as _, Result, ensure};

use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[("is_what_should_be_there", is_what_should_be_there)];

/// `HOIST_EXPECT=pid,mount,…` lists the kinds; without it nothing is asked for.
fn is_what_should_be_there() -> Result<()> {
    let wanted = std::env::var("HOIST_EXPECT").unwrap_or_default();
    let rack = rack()?;
    let doctor = rack.json(&["doctor"])?;
    let sections = doctor["sections"].as_array().context("no sections")?;
    let section = sections
        .iter()
        .find(|section| section["name"] == "isolation");
    let kinds = section
        .and_then(|section| section["items"].as_array())
        .context("no isolation")?;
    for wanted in wanted
        .split(',')
        .map(str::trim)
        .filter(|kind| !kind.is_empty())
    {
        let found = kinds
            .iter()
            .find(|kind| kind["name"] == wanted)
            .with_context(|| format!("HOIST_EXPECT: doctor knows no {wanted}"))?;
        ensure!(
            found["state"] == "ok",
            "HOIST_EXPECT: {wanted} is missing: {}",
            found["detail"]
        );
    }
    Ok(())
}
