//! From records to what crosses the wire.

use std::collections::{BTreeMap, BTreeSet};

use hoist_api::time::Time;
use hoist_api::types as wire;
use hoist_core::id::{AppName, ReleaseId, ServiceName};
use hoist_core::manifest::Service;
use hoist_core::model::{App, Promotion, Timestamp};
use hoist_core::plan;

use super::planned::planned_services;
use crate::commands::{Beside, OneOffView, ProcessView, ReleaseDiff, awaits_route};
use crate::control;
use crate::error::RackError;
use crate::rack::Rack;
use crate::secrets::Env;
use crate::store::{
    AppEntry, BuildRecord, BuildStatus, Event, ListedRelease, PromotionRecord, ReleaseRecord,
};

pub(super) fn time(at: Timestamp) -> Time {
    Time(at.0)
}

impl Rack {
    pub(super) fn app_view(&self, entry: &AppEntry) -> wire::App {
        let app = &entry.app;
        let urls = self.urls(entry);
        wire::App {
            name: app.name.to_string(),
            status: wire::AppStatus::from_word(control::status_word(self.status(entry))),
            release: app
                .serving
                .as_ref()
                .map(|serving| serving.release.to_string()),
            promotion: app
                .promotion
                .as_ref()
                .map(|promotion| promotion.number.to_string()),
            url: urls.get("web").or(urls.values().next()).cloned(),
            urls,
            created: time(entry.created),
            locked: false,
        }
    }

    /// Addresses of the services that serve, or will when the first promotion succeeds.
    fn urls(&self, entry: &AppEntry) -> BTreeMap<String, String> {
        let app = &entry.app;
        let target = app.promotion.as_ref().map(|promotion| &promotion.target);
        let release = app
            .serving
            .as_ref()
            .map(|serving| &serving.release)
            .or(target);
        let detail = release.and_then(|id| self.releases.known(id));
        let Some(detail) = detail else {
            return BTreeMap::new();
        };
        let routed = detail
            .manifest
            .services
            .iter()
            .filter(|(_, service)| service.routed());
        let names = routed.map(|(name, _)| name.clone());
        let port = self.options.router.port();
        control::urls(&app.name, names, &self.options.domain, port)
    }

    pub(super) fn service_views(&self, entry: &AppEntry) -> Vec<wire::Service> {
        let app = &entry.app;
        let seen = self.controller.last_seen(&app.name);
        let urls = self.urls(entry);
        let Some(serving) = &app.serving else {
            return self.asked_views(app);
        };
        let release = app.releases.get(&serving.release);
        let services = release
            .map(|release| release.services.iter())
            .into_iter()
            .flatten();
        services
            .map(|(name, service)| {
                let workload = serving.workloads.get(name);
                let slots = workload.and_then(|workload| seen.engine.workloads.get(&workload.id));
                let running = slots.map_or(0, |slots| {
                    let running = |p: &&hoist_core::model::Process| {
                        p.state == hoist_core::model::ProcessState::Running
                    };
                    slots.values().filter(running).count()
                });
                let ready = seen.probes.slots.iter().filter(|(slot, probe)| {
                    workload.is_some_and(|workload| workload.id == slot.workload)
                        && **probe == hoist_core::model::Probe::Ready
                });
                let ready: Vec<_> = ready.map(|(slot, _)| slot).collect();
                let under_way = app.resizes.get(name).map(|resize| wire::Resize {
                    from: resize.from,
                    to: resize.to,
                    began: time(resize.entered),
                    ended: None,
                    reason: None,
                });
                // Asked for and not begun: a growth waits for a look, others for a switch.
                let asked = app.sizes.get(name).copied().unwrap_or(service.count);
                let has = serving.slots.get(name).copied().unwrap_or(0);
                let is_asked = app.standing == hoist_core::model::Standing::Up && asked != has;
                let asked = is_asked.then(|| wire::Resize {
                    from: has,
                    to: asked,
                    began: time(self.clock.now()),
                    ended: None,
                    reason: None,
                });
                let ended = self.controller.last_resize(&app.name, name);
                // A size is reached when requests can reach its processes.
                let reached = !ready.iter().any(|slot| awaits_route(app, &seen, slot));
                let ended = ended.map(|resize| wire::Resize {
                    from: resize.from,
                    to: resize.to,
                    began: time(resize.began),
                    ended: (reached || resize.reason.is_some()).then(|| time(resize.ended)),
                    reason: resize.reason.clone(),
                });
                let resize = under_way.or(asked).or(ended);
                let detail = self.releases.known(&serving.release);
                let own = detail
                    .as_ref()
                    .and_then(|detail| detail.manifest.service(name));
                wire::Service {
                    running: running as u16,
                    ready: ready.len() as u16,
                    url: urls.get(name.as_str()).cloned(),
                    resize,
                    ..asked_view(app, name, Some(service.count), own)
                }
            })
            .collect()
    }

    /// What was asked for of an app that was never deployed.
    fn asked_views(&self, app: &App) -> Vec<wire::Service> {
        let names: BTreeSet<_> = app.sizes.keys().chain(app.limits.keys()).collect();
        let view = |name: &ServiceName| asked_view(app, name, None, None);
        names.into_iter().map(view).collect()
    }

    pub(super) fn release_view(&self, entry: &AppEntry, release: &ListedRelease) -> wire::Release {
        let status = self.release_status(entry, release);
        wire::Release {
            id: release.id.to_string(),
            app: release.app.to_string(),
            status: status.map(|word| wire::ReleaseStatus::from_word(&word)),
            build: release.build.as_ref().map(ToString::to_string),
            created: time(release.created),
            description: release.description.clone(),
            parent: release.parent.as_ref().map(ToString::to_string),
            actor: release.actor.clone(),
            env: None,
            masked: Vec::new(),
            manifest: None,
            includes: Vec::new(),
            passed_over: Vec::new(),
            promotions: Vec::new(),
        }
    }

    /// The same with what is in it and not active yet, and what was passed over for it.
    pub(super) async fn new_release_view(
        &self,
        entry: &AppEntry,
        record: &ReleaseRecord,
    ) -> Result<wire::Release, RackError> {
        let (includes, passed_over) = self.told(entry, &record.id).await?;
        let outcome = self.store.last_outcome(&record.id).await?;
        let included = |beside: Beside| wire::IncludedRelease {
            release: beside.id.to_string(),
            description: beside.description,
        };
        Ok(wire::Release {
            includes: includes.into_iter().map(included).collect(),
            passed_over: passed_over.into_iter().map(passed_over_view).collect(),
            ..self.release_view(entry, &record.listed(outcome))
        })
    }

    fn waiting_view(&self, entry: &AppEntry, promotion: &Promotion) -> Option<wire::Waiting> {
        let on = self.controller.waiting_for(&entry.app.name)?;
        Some(wire::Waiting {
            on: plan::explain::explain_waiting(&on),
            since: time(promotion.entered),
            until: plan::promotion_due(&entry.app, self.clock.now()).map(time),
        })
    }

    /// A promotion, with what it waits for while it is in flight.
    pub(super) fn promotion_view(&self, record: &PromotionRecord) -> wire::Promotion {
        let entry = self.store.app(&record.app);
        let live = entry.as_ref().and_then(|entry| {
            let promotion = entry.app.promotion.as_ref()?;
            (promotion.number == record.number).then_some((entry, promotion))
        });
        let serving = entry.as_ref().and_then(|entry| entry.app.serving.as_ref());
        let report = &record.report;
        wire::Promotion {
            number: record.number.to_string(),
            app: record.app.to_string(),
            release: record.release.to_string(),
            kind: wire::PromotionKind::from_word(&record.kind),
            actor: record.actor.clone(),
            phase: live.map(|(_, promotion)| {
                wire::PhaseName::from_word(plan::explain::phase_word(promotion.phase.name()))
            }),
            waiting: live.and_then(|(entry, promotion)| self.waiting_view(entry, promotion)),
            outcome: record.outcome.as_deref().map(wire::Outcome::from_word),
            reason: record.reason.clone(),
            hint: report.hint.clone(),
            began: time(record.began),
            ended: record.ended.map(time),
            deadline: live.map(|(_, promotion)| time(promotion.deadline)),
            serving: serving.map(|serving| serving.release.to_string()),
            last_log: report
                .last_lines
                .iter()
                .map(|(at, source, text)| wire::LogLine {
                    at: Time(*at),
                    source: source.clone(),
                    text: text.clone(),
                    stream: wire::LogStreamName::Stdout,
                })
                .collect(),
            phases: phases(record),
            services: live.map_or(Vec::new(), |(entry, promotion)| {
                planned_services(entry, promotion, &self.controller.last_seen(&record.app))
            }),
        }
    }
}

/// What is asked of a service, and who says so.
fn asked_view(
    app: &App,
    name: &ServiceName,
    count: Option<u16>,
    own: Option<&Service>,
) -> wire::Service {
    let owner = |by_operator: bool| match by_operator {
        true => wire::Owner::Operator,
        false => wire::Owner::Manifest,
    };
    let size = app.sizes.get(name).copied();
    let limits = app.limits.get(name).copied().unwrap_or_default();
    wire::Service {
        name: name.to_string(),
        desired: size.or(count).unwrap_or(0),
        running: 0,
        ready: 0,
        url: None,
        owner: owner(size.is_some()),
        manifest_count: count,
        cpu_millicores: limits
            .cpu_millicores
            .or(own.map(|own| own.cpu_millicores))
            .unwrap_or(0),
        cpu_owner: owner(limits.cpu_millicores.is_some()),
        memory_bytes: limits
            .memory_bytes
            .or(own.map(|own| own.memory_bytes))
            .unwrap_or(0),
        memory_owner: owner(limits.memory_bytes.is_some()),
        resize: None,
    }
}

/// How long each phase took, as far as it went.
fn phases(record: &PromotionRecord) -> Vec<wire::PhaseTime> {
    let phases = &record.report.phases;
    let ends = phases
        .iter()
        .skip(1)
        .map(|(_, at)| *at)
        .chain(record.report.ended);
    phases
        .iter()
        .zip(ends)
        .map(|((name, began), end)| wire::PhaseTime {
            name: wire::PhaseName::from_word(name),
            milliseconds: end.saturating_sub(*began),
        })
        .collect()
}

pub(super) fn diff_view(diff: ReleaseDiff) -> wire::ReleaseDiff {
    wire::ReleaseDiff {
        release: diff.release.to_string(),
        against: diff.against.to_string(),
        build: diff.build.map(|(before, after)| wire::BuildChange {
            before: before.map(|build| build.to_string()),
            after: after.map(|build| build.to_string()),
        }),
        manifest: diff.manifest,
        env: wire::EnvChange {
            added: diff.env.added.into_iter().collect(),
            changed: diff.env.changed.into_iter().collect(),
            removed: diff.env.removed.into_iter().collect(),
        },
    }
}

pub(super) fn passed_over_view(beside: Beside) -> wire::PassedOverRelease {
    wire::PassedOverRelease {
        release: beside.id.to_string(),
        description: beside.description,
        reason: beside.reason.unwrap_or_default(),
    }
}

pub(super) fn build_view(record: &BuildRecord) -> wire::Build {
    wire::Build {
        id: record.id.to_string(),
        app: record.app.to_string(),
        status: match record.status {
            BuildStatus::Running => wire::BuildStatus::Running,
            BuildStatus::Complete => wire::BuildStatus::Complete,
            BuildStatus::Failed => wire::BuildStatus::Failed,
            BuildStatus::Cancelled => wire::BuildStatus::Cancelled,
        },
        created: time(record.created),
        ended: record.ended.map(time),
        description: record.description.clone(),
        git_sha: record.git_sha.clone(),
        release: record.release.as_ref().map(ToString::to_string),
        reason: record.reason.clone(),
        warnings: record.warnings.clone(),
    }
}

/// Names, and values only for who asked to see them.
pub(super) fn env_view(
    release: Option<ReleaseId>,
    env: Env,
    masked: &BTreeSet<String>,
    reveal: bool,
) -> wire::Env {
    wire::Env {
        release: release.map(|id| id.to_string()),
        masked: masked_of(&env, masked),
        env: shown(env, reveal),
    }
}

/// Those variables that are masked.
pub(super) fn masked_of(env: &Env, masked: &BTreeSet<String>) -> Vec<String> {
    let masked = masked.iter().filter(|name| env.contains_key(*name));
    masked.cloned().collect()
}

pub(super) fn shown(env: Env, reveal: bool) -> BTreeMap<String, Option<String>> {
    env.into_iter()
        .map(|(name, value)| (name, reveal.then_some(value)))
        .collect()
}

pub(super) fn line_view(event: &Event) -> wire::PromotionLine {
    let kind = match event.kind.split(':').next() {
        Some("process") => wire::LineKind::Process,
        _ if event.kind == "release:shift" => wire::LineKind::Route,
        _ => wire::LineKind::Phase,
    };
    wire::PromotionLine {
        at: time(event.at),
        source: event.source.clone(),
        text: event.text.clone(),
        kind,
    }
}

pub(super) fn event_view(event: &Event) -> wire::Event {
    let promotion = event
        .promotion
        .map(|number| ("promotion".to_owned(), number.to_string()));
    let source = ("source".to_owned(), event.source.clone());
    wire::Event {
        id: event.id.to_string(),
        at: time(event.at),
        name: event.kind.clone(),
        app: Some(event.app.to_string()),
        actor: event.actor.clone().unwrap_or_else(|| "rack".to_owned()),
        text: event.text.clone(),
        data: promotion.into_iter().chain([source]).collect(),
    }
}

pub(super) fn process_view(app: &AppName, view: &ProcessView, machine: &Machine) -> wire::Process {
    let limit = match view.memory_limit_bytes {
        0 => machine.memory_bytes,
        limit => limit,
    };
    let process = &view.process;
    let exit = match process.state {
        hoist_core::model::ProcessState::Exited(exit) => Some(exit),
        _ => process.last_exit,
    };
    wire::Process {
        id: process.id.to_string(),
        app: app.to_string(),
        name: view.slot.workload.service.to_string(),
        slot: view.slot.slot,
        one_off: false,
        status: wire::ProcessStatus::from_word(view.status),
        release: view
            .release
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        promotion: Some(view.slot.workload.attempt.to_string()),
        cpu: view.usage.cpu_millicores as f64 / 1_000.0,
        memory: view.usage.memory_bytes as f64 / limit.max(1) as f64,
        cpu_millicores: view.usage.cpu_millicores,
        memory_bytes: view.usage.memory_bytes,
        started: Some(time(process.started)),
        command: view.command.clone(),
        restarts: process.restarts,
        last_exit: exit.map(|exit| wire::LastExit {
            code: exit.code,
            signal: exit.signal,
            text: control::exit_words(&exit),
            at: time(exit.at),
        }),
        host: machine.host.clone(),
        ports: process
            .address
            .map(|address| address.port())
            .into_iter()
            .collect(),
        detail: None,
        renewal: view.renewal.as_ref().map(|renewal| wire::Renewal {
            began: time(renewal.began),
            ended: renewal.ended.map(time),
            reason: renewal.reason.clone(),
        }),
    }
}

/// A one-off that runs.
pub(super) fn one_off_view(view: &OneOffView, machine: &Machine) -> wire::Process {
    let OneOffView { record, usage } = view;
    wire::Process {
        id: record.id.to_string(),
        app: record.app.to_string(),
        name: record.service.to_string(),
        slot: 0,
        one_off: true,
        status: wire::ProcessStatus::Ready,
        release: record.release.to_string(),
        promotion: None,
        cpu: usage.cpu_millicores as f64 / 1_000.0,
        memory: usage.memory_bytes as f64 / machine.memory_bytes.max(1) as f64,
        cpu_millicores: usage.cpu_millicores,
        memory_bytes: usage.memory_bytes,
        started: Some(time(record.created)),
        command: record.command.clone(),
        restarts: 0,
        last_exit: None,
        host: machine.host.clone(),
        ports: Vec::new(),
        detail: None,
        renewal: None,
    }
}

/// What is the same for all processes of this machine.
pub(super) struct Machine {
    pub(super) host: String,
    pub(super) memory_bytes: u64,
}

impl Machine {
    pub(super) fn read() -> Self {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Self {
            host: host.to_string_lossy().into_owned(),
            memory_bytes: kib.unwrap_or(0) * 1024,
        }
    }
}
