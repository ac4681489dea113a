//! What an app's users set that no decision of the planner reads, kept beside the app's state and committed with it.

use std::collections::BTreeSet;

/// Settings of one app. What nobody set is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppSettings {
    /// Releases that retention leaves besides those that are needed; none: as many as the rack keeps of every app.
    pub keep_releases: Option<u32>,
    /// Names of variables whose values are shown to nobody who does not ask for them.
    pub masked: BTreeSet<String>,
}
