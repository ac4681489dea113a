//! Where requests go: the value that the control loop publishes and the router serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Millis;
use crate::id::{AppName, ServiceName, SlotId, Version};

/// Everything the router serves. A table replaces the one before it whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteTable {
    /// Drawn from the rack's sequence when the table was computed: a newer table is a later decision.
    pub version: Version,
    /// Host name (lower case, no port) to the service it reaches.
    pub hosts: BTreeMap<String, (AppName, ServiceName)>,
    /// Services that hosts can reach.
    pub services: BTreeMap<(AppName, ServiceName), ServiceRoute>,
}

/// One service as the router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRoute {
    /// What to do with a request.
    pub target: RouteTarget,
    /// Longest wait for a byte from the process before 504.
    pub timeout: Millis,
    /// Largest request body in bytes before 413; 0 means no limit.
    pub body_bytes_max: u64,
    /// Where an access line per request is appended; none keeps no lines.
    pub access_log: Option<PathBuf>,
}

/// What the router does with a request of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    /// Forward it to one of these processes; none listed answers 503.
    Processes(Vec<Endpoint>),
    /// A `replace` service between its old and new processes: hold the request up to 30 s, then 503 with `Retry-After`.
    Held,
    /// Stopped by a user: 502 and a page that says so.
    Stopped,
}

/// One process that can take requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Which process of which workload.
    pub slot: SlotId,
    /// Where it listens.
    pub address: SocketAddr,
}
