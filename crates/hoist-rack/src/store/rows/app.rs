//! An app's state as JSON text. Ids are their text; what is added later has a default, so that older rows stay readable.

use std::collections::BTreeMap;

use hoist_core::id::{ServiceName, SlotId, Version, WorkloadId};
use hoist_core::model as core;
use serde::{Deserialize, Serialize};

use super::postdeploy::Postdeploy;
use super::promotion::Promotion;
use super::{StoreError, parse, unreadable};

pub(in crate::store) fn write_app(app: &core::App) -> Result<String, StoreError> {
    serde_json::to_string(&App::from_core(app)).map_err(|error| unreadable(&error.to_string()))
}

pub(in crate::store) fn read_app(text: &str) -> Result<core::App, StoreError> {
    let row: App = serde_json::from_str(text).map_err(|error| unreadable(&error.to_string()))?;
    row.into_core()
}

#[derive(Serialize, Deserialize)]
struct App {
    name: String,
    generation: String,
    routes_since: String,
    releases: Vec<Release>,
    sizes: BTreeMap<String, u16>,
    #[serde(default)]
    limits: BTreeMap<String, Limits>,
    standing: Standing,
    serving: Option<Serving>,
    retiring: Vec<Retiring>,
    promotion: Option<Promotion>,
    resizes: BTreeMap<String, Resize>,
    #[serde(default)]
    renewals: Vec<Renewal>,
    #[serde(default)]
    revived: Vec<Revived>,
    #[serde(default)]
    postdeploys: Vec<Postdeploy>,
    promotion_limit_ms: u64,
    router_incarnation: u64,
    router_since: String,
    failed: bool,
}

#[derive(Serialize, Deserialize)]
struct Release {
    id: String,
    build: String,
    has_release_command: bool,
    #[serde(default)]
    has_postdeploy: bool,
    services: BTreeMap<String, Service>,
}

#[derive(Serialize, Deserialize)]
struct Service {
    routed: bool,
    replace: bool,
    start_limit_ms: u64,
    drain_limit_ms: u64,
    count: u16,
    memory_bytes: u64,
    fingerprint: [u8; 32],
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Standing {
    Up,
    Stopping { since: String, entered_ms: u64 },
    Stopped,
    Deleting { since: String, entered_ms: u64 },
}

#[derive(Serialize, Deserialize)]
struct Serving {
    release: String,
    promotion: String,
    workloads: BTreeMap<String, Workload>,
    slots: BTreeMap<String, u16>,
}

/// A workload with the release it was started from.
#[derive(Serialize, Deserialize)]
pub(super) struct Workload {
    id: String,
    release: String,
    #[serde(default)]
    limits: Limits,
}

/// What an operator says instead of the manifest.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Limits {
    cpu_millicores: Option<u32>,
    memory_bytes: Option<u64>,
}

/// A process on its way out and in again.
#[derive(Serialize, Deserialize)]
struct Renewal {
    workload: String,
    slot: u16,
    process: String,
    restarts: u32,
    started_ms: u64,
    asked: bool,
    stage: RenewalStage,
    since: String,
    entered_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RenewalStage {
    Unrouting,
    Draining,
    Stopping,
    Starting { restarts: u32 },
}

#[derive(Serialize, Deserialize)]
struct Revived {
    workload: String,
    slot: u16,
    times: u32,
    at_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Retiring {
    id: String,
    release: String,
    #[serde(default)]
    limits: Limits,
    slots: u16,
    since: String,
    warm_until_ms: u64,
    until_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Resize {
    from: u16,
    to: u16,
    stage: Stage,
    since: String,
    entered_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Growing,
    Unrouting,
    Draining,
    Removing,
}

impl App {
    fn from_core(app: &core::App) -> Self {
        Self {
            name: app.name.to_string(),
            generation: app.generation.to_string(),
            routes_since: app.routes_since.to_string(),
            releases: app.releases.values().map(Release::from_core).collect(),
            sizes: by_text(&app.sizes, |size| *size),
            limits: by_text(&app.limits, |limits| Limits::from_core(*limits)),
            standing: Standing::from_core(&app.standing),
            serving: app.serving.as_ref().map(Serving::from_core),
            retiring: app.retiring.iter().map(Retiring::from_core).collect(),
            promotion: app.promotion.as_ref().map(Promotion::from_core),
            resizes: by_text(&app.resizes, Resize::from_core),
            renewals: app.renewals.iter().map(Renewal::from_core).collect(),
            revived: app.revived.iter().map(Revived::from_core).collect(),
            postdeploys: app.postdeploys.iter().map(Postdeploy::from_core).collect(),
            promotion_limit_ms: app.promotion_limit.0,
            router_incarnation: app.router.incarnation,
            router_since: app.router.since.to_string(),
            failed: app.failed,
        }
    }

    fn into_core(self) -> Result<core::App, StoreError> {
        let releases = self.releases.into_iter().map(Release::into_core);
        let releases = releases.map(|release| release.map(|release| (release.id.clone(), release)));
        let retiring = self.retiring.into_iter().map(Retiring::into_core);
        let renewals = self.renewals.into_iter().map(Renewal::into_core);
        let revived = self.revived.into_iter().map(Revived::into_core);
        let postdeploys = self.postdeploys.into_iter().map(Postdeploy::into_core);
        Ok(core::App {
            name: parse(&self.name)?,
            generation: parse(&self.generation)?,
            routes_since: parse(&self.routes_since)?,
            releases: releases.collect::<Result<_, _>>()?,
            sizes: by_name(self.sizes, Ok)?,
            limits: by_name(self.limits, |limits| Ok(limits.into_core()))?,
            standing: self.standing.into_core()?,
            serving: self.serving.map(Serving::into_core).transpose()?,
            retiring: retiring.collect::<Result<_, _>>()?,
            promotion: self.promotion.map(Promotion::into_core).transpose()?,
            resizes: by_name(self.resizes, Resize::into_core)?,
            renewals: renewals.collect::<Result<_, _>>()?,
            revived: revived.collect::<Result<_, _>>()?,
            postdeploys: postdeploys.collect::<Result<_, _>>()?,
            promotion_limit: core::Millis(self.promotion_limit_ms),
            router: core::RouterLife {
                incarnation: self.router_incarnation,
                since: parse(&self.router_since)?,
            },
            failed: self.failed,
        })
    }
}

impl Release {
    fn from_core(release: &core::Release) -> Self {
        Self {
            id: release.id.to_string(),
            build: release.build.to_string(),
            has_release_command: release.has_release_command,
            has_postdeploy: release.has_postdeploy,
            services: by_text(&release.services, Service::from_core),
        }
    }

    fn into_core(self) -> Result<core::Release, StoreError> {
        Ok(core::Release {
            id: parse(&self.id)?,
            build: parse(&self.build)?,
            has_release_command: self.has_release_command,
            has_postdeploy: self.has_postdeploy,
            services: by_name(self.services, |service| Ok(service.into_core()))?,
        })
    }
}

impl Service {
    fn from_core(service: &core::Service) -> Self {
        Self {
            routed: service.routed,
            replace: service.strategy == core::Strategy::Replace,
            start_limit_ms: service.start_limit.0,
            drain_limit_ms: service.drain_limit.0,
            count: service.count,
            memory_bytes: service.memory_bytes,
            fingerprint: service.fingerprint.0,
        }
    }

    fn into_core(self) -> core::Service {
        core::Service {
            routed: self.routed,
            strategy: match self.replace {
                true => core::Strategy::Replace,
                false => core::Strategy::Surge,
            },
            start_limit: core::Millis(self.start_limit_ms),
            drain_limit: core::Millis(self.drain_limit_ms),
            count: self.count,
            memory_bytes: self.memory_bytes,
            fingerprint: core::Fingerprint(self.fingerprint),
        }
    }
}

impl Standing {
    fn from_core(standing: &core::Standing) -> Self {
        match standing {
            core::Standing::Up => Self::Up,
            core::Standing::Stopping { since, entered } => Self::Stopping {
                since: since.to_string(),
                entered_ms: entered.0,
            },
            core::Standing::Stopped => Self::Stopped,
            core::Standing::Deleting { since, entered } => Self::Deleting {
                since: since.to_string(),
                entered_ms: entered.0,
            },
        }
    }

    fn into_core(self) -> Result<core::Standing, StoreError> {
        Ok(match self {
            Self::Up => core::Standing::Up,
            Self::Stopping { since, entered_ms } => core::Standing::Stopping {
                since: parse(&since)?,
                entered: core::Timestamp(entered_ms),
            },
            Self::Stopped => core::Standing::Stopped,
            Self::Deleting { since, entered_ms } => core::Standing::Deleting {
                since: parse(&since)?,
                entered: core::Timestamp(entered_ms),
            },
        })
    }
}

impl Serving {
    fn from_core(serving: &core::Serving) -> Self {
        Self {
            release: serving.release.to_string(),
            promotion: serving.promotion.to_string(),
            workloads: by_text(&serving.workloads, Workload::from_core),
            slots: by_text(&serving.slots, |slots| *slots),
        }
    }

    fn into_core(self) -> Result<core::Serving, StoreError> {
        Ok(core::Serving {
            release: parse(&self.release)?,
            promotion: parse(&self.promotion)?,
            workloads: by_name(self.workloads, Workload::into_core)?,
            slots: by_name(self.slots, Ok)?,
        })
    }
}

impl Workload {
    pub(super) fn from_core(workload: &core::Workload) -> Self {
        Self {
            id: workload.id.to_string(),
            release: workload.release.to_string(),
            limits: Limits::from_core(workload.limits),
        }
    }

    pub(super) fn into_core(self) -> Result<core::Workload, StoreError> {
        Ok(core::Workload {
            id: workload_id(&self.id)?,
            release: parse(&self.release)?,
            limits: self.limits.into_core(),
        })
    }
}

impl Retiring {
    fn from_core((id, retiring): (&WorkloadId, &core::Retiring)) -> Self {
        Self {
            id: id.to_string(),
            release: retiring.release.to_string(),
            limits: Limits::from_core(retiring.limits),
            slots: retiring.slots,
            since: retiring.since.to_string(),
            warm_until_ms: retiring.warm_until.0,
            until_ms: retiring.until.0,
        }
    }

    fn into_core(self) -> Result<(WorkloadId, core::Retiring), StoreError> {
        let retiring = core::Retiring {
            release: parse(&self.release)?,
            limits: self.limits.into_core(),
            slots: self.slots,
            since: parse(&self.since)?,
            warm_until: core::Timestamp(self.warm_until_ms),
            until: core::Timestamp(self.until_ms),
        };
        Ok((workload_id(&self.id)?, retiring))
    }
}

impl Limits {
    pub(super) fn from_core(limits: core::Limits) -> Self {
        Self {
            cpu_millicores: limits.cpu_millicores,
            memory_bytes: limits.memory_bytes,
        }
    }

    pub(super) fn into_core(self) -> core::Limits {
        core::Limits {
            cpu_millicores: self.cpu_millicores,
            memory_bytes: self.memory_bytes,
        }
    }
}

impl Renewal {
    fn from_core((slot, renewal): (&SlotId, &core::Renewal)) -> Self {
        Self {
            workload: slot.workload.to_string(),
            slot: slot.slot,
            process: renewal.life.process.to_string(),
            restarts: renewal.life.restarts,
            started_ms: renewal.life.started.0,
            asked: renewal.cause == core::RenewalCause::Asked,
            stage: match renewal.stage {
                core::RenewalStage::Unrouting => RenewalStage::Unrouting,
                core::RenewalStage::Draining => RenewalStage::Draining,
                core::RenewalStage::Stopping => RenewalStage::Stopping,
                core::RenewalStage::Starting { restarts } => RenewalStage::Starting { restarts },
            },
            since: renewal.since.to_string(),
            entered_ms: renewal.entered.0,
        }
    }

    fn into_core(self) -> Result<(SlotId, core::Renewal), StoreError> {
        let slot = SlotId {
            workload: workload_id(&self.workload)?,
            slot: self.slot,
        };
        let renewal = core::Renewal {
            life: core::Life {
                process: parse(&self.process)?,
                restarts: self.restarts,
                started: core::Timestamp(self.started_ms),
            },
            cause: match self.asked {
                true => core::RenewalCause::Asked,
                false => core::RenewalCause::NotAlive,
            },
            stage: match self.stage {
                RenewalStage::Unrouting => core::RenewalStage::Unrouting,
                RenewalStage::Draining => core::RenewalStage::Draining,
                RenewalStage::Stopping => core::RenewalStage::Stopping,
                RenewalStage::Starting { restarts } => core::RenewalStage::Starting { restarts },
            },
            since: parse(&self.since)?,
            entered: core::Timestamp(self.entered_ms),
        };
        Ok((slot, renewal))
    }
}

impl Revived {
    fn from_core((slot, revived): (&SlotId, &core::Revived)) -> Self {
        Self {
            workload: slot.workload.to_string(),
            slot: slot.slot,
            times: revived.times,
            at_ms: revived.at.0,
        }
    }

    fn into_core(self) -> Result<(SlotId, core::Revived), StoreError> {
        let slot = SlotId {
            workload: workload_id(&self.workload)?,
            slot: self.slot,
        };
        let revived = core::Revived {
            times: self.times,
            at: core::Timestamp(self.at_ms),
        };
        Ok((slot, revived))
    }
}

impl Resize {
    fn from_core(resize: &core::Resize) -> Self {
        Self {
            from: resize.from,
            to: resize.to,
            stage: match resize.stage {
                core::ResizeStage::Growing => Stage::Growing,
                core::ResizeStage::Unrouting => Stage::Unrouting,
                core::ResizeStage::Draining => Stage::Draining,
                core::ResizeStage::Removing => Stage::Removing,
            },
            since: resize.since.to_string(),
            entered_ms: resize.entered.0,
        }
    }

    fn into_core(self) -> Result<core::Resize, StoreError> {
        Ok(core::Resize {
            from: self.from,
            to: self.to,
            stage: match self.stage {
                Stage::Growing => core::ResizeStage::Growing,
                Stage::Unrouting => core::ResizeStage::Unrouting,
                Stage::Draining => core::ResizeStage::Draining,
                Stage::Removing => core::ResizeStage::Removing,
            },
            since: parse(&self.since)?,
            entered: core::Timestamp(self.entered_ms),
        })
    }
}

/// A map with its names as text.
pub(super) fn by_text<V, R>(
    map: &BTreeMap<ServiceName, V>,
    row: impl Fn(&V) -> R,
) -> BTreeMap<String, R> {
    map.iter()
        .map(|(name, value)| (name.to_string(), row(value)))
        .collect()
}

/// A map with its names parsed.
pub(super) fn by_name<R, V>(
    map: BTreeMap<String, R>,
    value: impl Fn(R) -> Result<V, StoreError>,
) -> Result<BTreeMap<ServiceName, V>, StoreError> {
    map.into_iter()
        .map(|(name, row)| Ok((parse(&name)?, value(row)?)))
        .collect()
}

/// `app/service/1.42`
pub(super) fn workload_id(text: &str) -> Result<WorkloadId, StoreError> {
    let mut parts = text.split('/');
    let (Some(app), Some(service), Some(attempt), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(unreadable(text));
    };
    Ok(WorkloadId {
        app: parse(app)?,
        service: parse(service)?,
        attempt: parse::<Version>(attempt)?,
    })
}
