//! An app's settings as JSON text. What is added later has a default, so that older rows stay readable.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::unreadable;
use crate::store::{AppSettings, StoreError};

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct SettingsRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_releases: Option<u32>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    masked: BTreeSet<String>,
}

pub(in crate::store) fn write_settings(settings: &AppSettings) -> Result<String, StoreError> {
    let row = SettingsRow {
        keep_releases: settings.keep_releases,
        masked: settings.masked.clone(),
    };
    serde_json::to_string(&row).map_err(|error| unreadable(&error.to_string()))
}

pub(in crate::store) fn read_settings(text: &str) -> Result<AppSettings, StoreError> {
    let row: SettingsRow = serde_json::from_str(text).map_err(|_| unreadable(text))?;
    Ok(AppSettings {
        keep_releases: row.keep_releases,
        masked: row.masked,
    })
}
