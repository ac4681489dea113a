//! What crosses the control socket and lies in `table.json`: types of their own, converted from and to the core's.
//!
//! The format grows by adding fields only, and readers skip what they do not know: a newer rack speaks to the router
//! before it. What an older reader would misunderstand raises `readable_from`, and an older reader then refuses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use hoist_core::id::{InvalidId, SlotId, Version, WorkloadId};
use hoist_core::model::{Endpoint, Millis, RouteTable, RouteTarget, ServiceRoute};
use serde::{Deserialize, Serialize};

use crate::control::RouterReport;

/// The format that this router writes, and the newest that it understands.
pub(crate) const FORMAT: u32 = 1;

/// Why a table that arrived is not one that this router can serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the table needs a reader of format {needed}, this router reads up to {FORMAT}")]
    TooNew { needed: u32 },
    #[error("the table holds a name that is none")]
    Name(#[from] InvalidId),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireTable {
    format: u32,
    #[serde(default = "first_format")]
    readable_from: u32,
    version: WireVersion,
    #[serde(default)]
    hosts: BTreeMap<String, WireService>,
    #[serde(default)]
    services: Vec<WireRoute>,
}

fn first_format() -> u32 {
    1
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct WireVersion {
    epoch: u32,
    number: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireService {
    app: String,
    service: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireRoute {
    app: String,
    service: String,
    target: WireTarget,
    timeout_ms: u64,
    #[serde(default)]
    body_bytes_max: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_log: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum WireTarget {
    Processes { endpoints: Vec<WireEndpoint> },
    Held,
    Stopped,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireEndpoint {
    slot: WireSlot,
    address: SocketAddr,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireSlot {
    app: String,
    service: String,
    attempt: WireVersion,
    slot: u16,
}

impl From<Version> for WireVersion {
    fn from(version: Version) -> Self {
        Self {
            epoch: version.epoch,
            number: version.number,
        }
    }
}

impl From<WireVersion> for Version {
    fn from(wire: WireVersion) -> Self {
        Self {
            epoch: wire.epoch,
            number: wire.number,
        }
    }
}

impl From<&SlotId> for WireSlot {
    fn from(id: &SlotId) -> Self {
        Self {
            app: id.workload.app.to_string(),
            service: id.workload.service.to_string(),
            attempt: id.workload.attempt.into(),
            slot: id.slot,
        }
    }
}

impl TryFrom<WireSlot> for SlotId {
    type Error = InvalidId;

    fn try_from(wire: WireSlot) -> Result<Self, InvalidId> {
        let workload = WorkloadId {
            app: wire.app.parse()?,
            service: wire.service.parse()?,
            attempt: wire.attempt.into(),
        };
        Ok(Self {
            workload,
            slot: wire.slot,
        })
    }
}

impl From<&RouteTarget> for WireTarget {
    fn from(target: &RouteTarget) -> Self {
        match target {
            RouteTarget::Processes(endpoints) => Self::Processes {
                endpoints: endpoints
                    .iter()
                    .map(|endpoint| WireEndpoint {
                        slot: (&endpoint.slot).into(),
                        address: endpoint.address,
                    })
                    .collect(),
            },
            RouteTarget::Held => Self::Held,
            RouteTarget::Stopped => Self::Stopped,
        }
    }
}

impl TryFrom<WireTarget> for RouteTarget {
    type Error = InvalidId;

    fn try_from(wire: WireTarget) -> Result<Self, InvalidId> {
        Ok(match wire {
            WireTarget::Processes { endpoints } => Self::Processes(
                endpoints
                    .into_iter()
                    .map(|wire| {
                        Ok(Endpoint {
                            slot: wire.slot.try_into()?,
                            address: wire.address,
                        })
                    })
                    .collect::<Result<_, InvalidId>>()?,
            ),
            WireTarget::Held => Self::Held,
            WireTarget::Stopped => Self::Stopped,
        })
    }
}

impl From<&RouteTable> for WireTable {
    fn from(table: &RouteTable) -> Self {
        let host = |(host, (app, service)): (&String, &(_, _))| {
            let app: &hoist_core::id::AppName = app;
            let service: &hoist_core::id::ServiceName = service;
            (
                host.clone(),
                WireService {
                    app: app.to_string(),
                    service: service.to_string(),
                },
            )
        };
        Self {
            format: FORMAT,
            readable_from: 1,
            version: table.version.into(),
            hosts: table.hosts.iter().map(host).collect(),
            services: table
                .services
                .iter()
                .map(|((app, service), route)| WireRoute {
                    app: app.to_string(),
                    service: service.to_string(),
                    target: (&route.target).into(),
                    timeout_ms: route.timeout.0,
                    body_bytes_max: route.body_bytes_max,
                    access_log: route.access_log.clone(),
                })
                .collect(),
        }
    }
}

impl TryFrom<WireTable> for RouteTable {
    type Error = WireError;

    fn try_from(wire: WireTable) -> Result<Self, WireError> {
        if wire.readable_from > FORMAT {
            return Err(WireError::TooNew {
                needed: wire.readable_from,
            });
        }
        let mut table = Self {
            version: wire.version.into(),
            ..Self::default()
        };
        for (host, reached) in wire.hosts {
            table
                .hosts
                .insert(host, (reached.app.parse()?, reached.service.parse()?));
        }
        for route in wire.services {
            let key = (route.app.parse()?, route.service.parse()?);
            let route = ServiceRoute {
                target: route.target.try_into()?,
                timeout: Millis(route.timeout_ms),
                body_bytes_max: route.body_bytes_max,
                access_log: route.access_log,
            };
            table.services.insert(key, route);
        }
        Ok(table)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireReport {
    protocol: u32,
    incarnation: u64,
    pid: u32,
    version: WireVersion,
    listen: SocketAddr,
    routed: Vec<WireSlot>,
    in_flight: Vec<WireCount>,
    #[serde(default)]
    tunnels: Vec<WireCount>,
    #[serde(default)]
    connections_open: u64,
    #[serde(default)]
    connections: u64,
    #[serde(default)]
    requests: u64,
    #[serde(default)]
    access_lines_dropped: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireCount {
    slot: WireSlot,
    count: u32,
}

fn counts_out(counts: &BTreeMap<SlotId, u32>) -> Vec<WireCount> {
    counts
        .iter()
        .map(|(slot, count)| WireCount {
            slot: slot.into(),
            count: *count,
        })
        .collect()
}

fn counts_in(wire: Vec<WireCount>) -> Result<BTreeMap<SlotId, u32>, InvalidId> {
    wire.into_iter()
        .map(|wire| Ok((wire.slot.try_into()?, wire.count)))
        .collect()
}

impl From<&RouterReport> for WireReport {
    fn from(report: &RouterReport) -> Self {
        Self {
            protocol: report.protocol,
            incarnation: report.incarnation,
            pid: report.pid,
            version: report.version.into(),
            listen: report.listen,
            routed: report.routed.iter().map(WireSlot::from).collect(),
            in_flight: counts_out(&report.in_flight),
            tunnels: counts_out(&report.tunnels),
            connections_open: report.connections_open,
            connections: report.connections,
            requests: report.requests,
            access_lines_dropped: report.access_lines_dropped,
        }
    }
}

impl TryFrom<WireReport> for RouterReport {
    type Error = InvalidId;

    fn try_from(wire: WireReport) -> Result<Self, InvalidId> {
        Ok(Self {
            protocol: wire.protocol,
            incarnation: wire.incarnation,
            pid: wire.pid,
            version: wire.version.into(),
            listen: wire.listen,
            routed: wire
                .routed
                .into_iter()
                .map(SlotId::try_from)
                .collect::<Result<_, _>>()?,
            in_flight: counts_in(wire.in_flight)?,
            tunnels: counts_in(wire.tunnels)?,
            connections_open: wire.connections_open,
            connections: wire.connections,
            requests: wire.requests,
            access_lines_dropped: wire.access_lines_dropped,
        })
    }
}

/// What the control socket answers instead of a report.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireRefusal {
    /// One word for programs.
    pub(crate) code: String,
    /// One sentence for people.
    pub(crate) message: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = (String, String)> {
        ("[a-z][a-z0-9-]{0,8}", "[A-Za-z][A-Za-z0-9_-]{0,8}")
            .prop_filter("not reserved", |(app, _)| {
                app.parse::<hoist_core::id::AppName>().is_ok()
            })
    }

    fn targets() -> impl Strategy<Value = RouteTarget> {
        let endpoint = (
            names(),
            any::<u32>(),
            any::<u64>(),
            any::<u16>(),
            any::<SocketAddr>(),
        )
            .prop_map(|((app, service), epoch, number, slot, address)| {
                let workload = WorkloadId {
                    app: app.parse().unwrap(),
                    service: service.parse().unwrap(),
                    attempt: Version { epoch, number },
                };
                // A scope and flow label are not written for addresses without a scope; processes never have one.
                let address = SocketAddr::new(address.ip(), address.port());
                Endpoint {
                    slot: SlotId { workload, slot },
                    address,
                }
            });
        prop_oneof![
            prop::collection::vec(endpoint, 0..4).prop_map(RouteTarget::Processes),
            Just(RouteTarget::Held),
            Just(RouteTarget::Stopped),
        ]
    }

    fn tables() -> impl Strategy<Value = RouteTable> {
        let route = (
            targets(),
            any::<u64>(),
            any::<u64>(),
            prop::option::of("/[a-z]{1,8}"),
        )
            .prop_map(|(target, timeout, body_bytes_max, log)| ServiceRoute {
                target,
                timeout: Millis(timeout),
                body_bytes_max,
                access_log: log.map(PathBuf::from),
            });
        let key =
            |(app, service): (String, String)| (app.parse().unwrap(), service.parse().unwrap());
        let services = prop::collection::btree_map(names().prop_map(key), route, 0..5);
        let hosts = prop::collection::btree_map("[a-z.]{1,12}", names().prop_map(key), 0..5);
        (1..u32::MAX, any::<u64>(), hosts, services).prop_map(|(epoch, number, hosts, services)| {
            RouteTable {
                version: Version { epoch, number },
                hosts,
                services,
            }
        })
    }

    proptest! {
        #[test]
        fn any_table_comes_back_as_it_was(table in tables()) {
            let text = serde_json::to_vec(&WireTable::from(&table)).unwrap();
            let wire: WireTable = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(RouteTable::try_from(wire).unwrap(), table);
        }
    }

    fn read(text: &str) -> Result<RouteTable, WireError> {
        serde_json::from_str::<WireTable>(text).unwrap().try_into()
    }

    #[test]
    fn a_newer_format_is_read_unless_it_says_otherwise() {
        let newer = r#"{"format": 9, "version": {"epoch": 1, "number": 2}, "waves": [], "services":
            [{"app": "a", "service": "web", "target": {"kind": "held", "since": 1}, "timeout_ms": 5, "cache": true}]}"#;
        assert_eq!(read(newer).unwrap().services.len(), 1);
        let changed = r#"{"format": 9, "readable_from": 9, "version": {"epoch": 1, "number": 2}}"#;
        assert!(matches!(
            read(changed),
            Err(WireError::TooNew { needed: 9 })
        ));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let bad = r#"{"format": 1, "version": {"epoch": 1, "number": 2},
            "hosts": {"h": {"app": "Not An App", "service": "web"}}}"#;
        assert!(matches!(read(bad), Err(WireError::Name(_))));
    }
}
