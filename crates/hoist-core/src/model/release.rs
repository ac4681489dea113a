//! A release as the planner sees it: immutable, and only what decisions need.

use std::collections::BTreeMap;

use super::Millis;
use crate::id::{BuildId, ReleaseId, ServiceName};

/// Build, manifest and environment frozen together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its id.
    pub id: ReleaseId,
    /// The build it runs.
    pub build: BuildId,
    /// Whether a command runs once, to completion, before any service of the release starts.
    pub has_release_command: bool,
    /// Whether a script runs once after a promotion to it succeeded.
    pub has_postdeploy: bool,
    /// Its services by name.
    pub services: BTreeMap<ServiceName, Service>,
}

/// What decisions need to know of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Whether requests reach it: it has a port.
    pub routed: bool,
    /// How a new workload takes the place of an old one.
    pub strategy: Strategy,
    /// How long a process may take to become ready.
    pub start_limit: Millis,
    /// How long old processes may finish requests before they are told to stop.
    pub drain_limit: Millis,
    /// The size that the manifest asks for, used until an operator sets one.
    pub count: u16,
    /// Memory limit of one process in bytes; 0 when unlimited. Compared with what is free before anything starts.
    pub memory_bytes: u64,
    /// Equal exactly when build, command, env (without `RELEASE`) and limits are equal: then a warm process may be kept.
    pub fingerprint: Fingerprint,
}

/// A digest of all that a process is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fingerprint(pub [u8; 32]);

/// How a new workload takes the place of an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// The new beside the old, then the switch.
    Surge,
    /// Stop the old, then start the new: for what must not run twice.
    Replace,
}
