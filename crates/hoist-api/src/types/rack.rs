//! The rack itself, its health, and what happened.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::words::words;

/// One installation of Hoist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RackInfo {
    /// Its name.
    pub name: String,
    /// The version of Hoist that runs.
    pub version: String,
    /// Where its apps run: `local`, `docker`, `kubernetes`.
    pub engine: String,
    /// Apps are reached at `<app>.<domain>`.
    pub domain: String,
    /// Where its API listens.
    pub listen: String,
    /// Where its router listens.
    pub router: String,
    /// Where it keeps its state.
    pub data_dir: String,
    /// When it started.
    pub started: Time,
    /// How many apps it has.
    pub apps: u32,
    /// Its process.
    pub pid: u32,
}

/// What to stop along with the rack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RackStopRequest {
    /// Stop the processes of all apps and the router too. Otherwise they keep running and serving.
    #[serde(default)]
    pub apps: bool,
}

/// What `doctor` found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// By subject: `loops`, `isolation`, `router`, `store`, …
    pub sections: Vec<DoctorSection>,
}

/// One subject of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorSection {
    /// The subject.
    pub name: String,
    /// What was found.
    pub items: Vec<DoctorItem>,
}

/// One finding of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorItem {
    /// What was looked at.
    pub name: String,
    /// How it stands.
    pub state: Health,
    /// What is so, why, or what it waits for.
    pub detail: String,
}

words! {
    /// How something stands.
    Health {
        /// As it should be.
        Ok = "ok",
        /// Works, but less than it could.
        Warn = "warn",
        /// Does not work.
        Bad = "bad",
    }
}

/// Something that happened, kept for users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Names it, in order.
    pub id: String,
    /// When.
    pub at: Time,
    /// `noun:verb`, as `release:promote`.
    pub name: String,
    /// To which app; none for the rack.
    pub app: Option<String>,
    /// Who did it.
    pub actor: String,
    /// What happened, for people.
    pub text: String,
    /// Ids and numbers, for programs.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}
