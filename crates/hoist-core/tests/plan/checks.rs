//! The promises of the design, checked at every commit, every stop and every moment.

use std::collections::{BTreeMap, BTreeSet};

use hoist_core::id::{AppName, ReleaseId, ServiceName, SlotId, Version, WorkloadId};
use hoist_core::model::{
    App, BackStep, Life, Outcome, Phase, Planned, Reason, RouteTarget, Standing, Strategy,
    TaskStatus,
};
use hoist_core::plan::Transition;

use crate::engine::{Death, Engine, exists, stays};
use crate::planner::Planner;
use crate::promises::Broken;
use crate::router::Router;
use crate::scripts::ScriptChecks;

/// What served when a promotion began.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Before {
    number: Version,
    release: Option<ReleaseId>,
    services: BTreeSet<ServiceName>,
}

#[derive(Debug, Default)]
pub struct Checks {
    /// The first broken promise.
    pub broken: Option<String>,
    /// Probes lie in this world: what they say of health cannot be promised on.
    pub flaky: bool,
    /// Tables arrive in the moment they are decided: then a drain's limit can be measured from outside.
    pub prompt: bool,
    /// How long requests of a service of a release may take at least.
    pub drain_limits: BTreeMap<(ReleaseId, ServiceName), u64>,
    pub scripts: ScriptChecks,
    before: BTreeMap<AppName, Before>,
    /// Apps of which a ready process died by itself.
    mourning: BTreeSet<AppName>,
    /// Services that the router had a process for, and must have one for from then on.
    served: BTreeSet<(AppName, ServiceName)>,
    pub outcomes: BTreeMap<&'static str, u32>,
}

impl Checks {
    pub fn fail(&mut self, promise: &str, what: String) {
        self.broken.get_or_insert(format!("{promise}: {what}"));
    }

    /// Takes note of a promise about releases.
    pub fn hold(&mut self, broken: Broken) {
        if let Some((promise, what)) = broken {
            self.fail(promise, what);
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.outcomes.entry(what).or_default() += 1;
    }

    /// P4: generations only grow, and route decisions with them.
    pub fn commit(&mut self, before: &App, after: &App) {
        if after.generation <= before.generation || after.routes_since < before.routes_since {
            let (was, is) = (before.generation, after.generation);
            self.fail("P4", format!("{}: generation {was} then {is}", after.name));
        }
        self.scripts.commit(before, after);
        match (&before.promotion, &after.promotion) {
            (None, Some(promotion)) => {
                let serving = before.serving.as_ref();
                let number = promotion.number;
                let release = serving.map(|serving| serving.release.clone());
                let services = serving
                    .map(|s| s.workloads.keys().cloned().collect())
                    .unwrap_or_default();
                self.before.insert(
                    after.name.clone(),
                    Before {
                        number,
                        release,
                        services,
                    },
                );
            }
            (Some(old), Some(new)) if old.number != new.number => {
                self.fail(
                    "P3",
                    format!("{}: a promotion took another's place", after.name),
                );
            }
            _ => {}
        }
    }

    /// P3 at the end of every promotion that did not succeed, P9 at every way back.
    pub fn transition(
        &mut self,
        name: &AppName,
        transition: &Transition,
        apps: &BTreeMap<AppName, App>,
        engine: &Engine,
    ) {
        let Some(app) = apps.get(name) else { return };
        if Planner::is_lost_health(transition) && !self.mourning.contains(name) {
            self.fail(
                "P9",
                format!("{name}: rolled back for lost health, and no process died"),
            );
        }
        match transition {
            Transition::End { outcome } => {
                self.scripts.ended(name, *outcome == Outcome::Succeeded);
                self.ended(app, outcome, engine);
            }
            Transition::PostdeployBegan { .. } => self.count("postdeploy began"),
            Transition::PostdeployEnded { promotion, exit } => {
                self.count(match exit {
                    Some(exit) if exit.code == 0 => "postdeploy done",
                    Some(_) => "postdeploy failed",
                    None => "postdeploy forgotten",
                });
                if let Some(what) = self
                    .scripts
                    .over(*promotion, exit.as_ref(), &engine.scripts)
                {
                    self.fail("P11", what);
                }
            }
            Transition::Resized { .. } => self.count("resized"),
            Transition::ResizeFailed { .. } => self.count("resize failed"),
            Transition::Stopped => self.count("stopped"),
            Transition::Deleted => self.count("deleted"),
            Transition::Enter { phase } => self.entered(app, phase),
            Transition::RouterChanged { .. } => self.count("router changed"),
            Transition::RenewalBegun { slot, life, .. } => self.revived(slot, life, engine),
            Transition::Renewed { .. } => self.count("renewed"),
            Transition::RenewalFailed { .. } => {
                // What did not come back in time cannot answer.
                self.count("renewal failed");
                self.mourning.insert(name.clone());
            }
            _ => {}
        }
        if let Some(what) = self.scripts.lost(app) {
            self.fail("P11", what);
        }
    }

    /// P10: only what no longer answers is started again by itself.
    fn revived(&mut self, slot: &SlotId, life: &Life, engine: &Engine) {
        self.count("revived");
        let workload = engine.workloads.get(&slot.workload);
        let process = workload.and_then(|workload| workload.slots.get(&slot.slot));
        let same = process.filter(|process| process.started == life.started.0);
        if same.is_some_and(|process| !process.deaf) {
            let what = format!(
                "{} {} is started again and answers",
                slot.workload, slot.slot
            );
            self.fail("P10", what);
        }
    }

    fn entered(&mut self, app: &App, phase: &Phase) {
        match phase {
            Phase::Preparing => self.count("preparing"),
            Phase::Starting => self.count("starting"),
            Phase::Replacing(_) => self.count("replacing"),
            Phase::Shifting => self.count("shifting"),
            Phase::Draining => self.count("draining"),
            Phase::RollingBack {
                step,
                reason,
                complete,
            } => {
                self.count(match step {
                    BackStep::Restoring => "restoring",
                    BackStep::ShiftingBack => "shifting back",
                    BackStep::Removing => "removing",
                });
                self.count(word(reason));
                if !complete {
                    // What did not come back in time cannot answer.
                    self.count("incomplete");
                    self.mourning.insert(app.name.clone());
                }
            }
        }
        let planned = app
            .promotion
            .iter()
            .flat_map(|promotion| promotion.services.values());
        let kept = planned
            .filter(|planned| matches!(planned, Planned::Keep { .. }))
            .count();
        if kept > 0 && *phase == Phase::Draining {
            self.count("kept");
        }
    }

    fn ended(&mut self, app: &App, outcome: &Outcome, engine: &Engine) {
        self.count(hoist_core::plan::explain::outcome_word(outcome));
        let Some(before) = self.before.remove(&app.name) else {
            return;
        };
        let command = engine.commands.get(&before.number);
        if self.prompt && matches!(command, Some((TaskStatus::Running, ..))) {
            let number = before.number;
            self.fail(
                "command",
                format!("{number} ended while its release command ran"),
            );
        }
        if *outcome == Outcome::Succeeded {
            return;
        }
        let release = app.serving.as_ref().map(|serving| serving.release.clone());
        let services: BTreeSet<_> = app
            .serving
            .iter()
            .flat_map(|serving| serving.workloads.keys().cloned())
            .collect();
        let halted = app.standing != Standing::Up;
        if release != before.release || (!halted && services != before.services) {
            self.fail(
                "P3",
                format!(
                    "{}: {before:?} served before a failure, now {release:?} {services:?}",
                    app.name
                ),
            );
        }
    }

    /// From now on processes of an app may fail that served before.
    pub fn mourn(&mut self, app: &AppName) {
        self.mourning.insert(app.clone());
    }

    pub fn death(&mut self, death: &Death) {
        if death.was_ready {
            self.mourning.insert(death.slot.workload.app.clone());
        }
    }

    /// P2: nothing is told to stop while the router runs a table that names it; and requests get their time.
    pub fn stopped(&mut self, slots: &[SlotId], engine: &Engine, router: &Router, now: u64) {
        for slot in slots {
            if router.named.contains(slot) {
                self.fail(
                    "P2",
                    format!(
                        "{} {} was stopped while the router named it",
                        slot.workload, slot.slot
                    ),
                );
            }
            let in_flight = router.in_flight.get(slot).copied().unwrap_or(0);
            let last = router.last_named.get(slot).copied().unwrap_or(0);
            let limit = engine.workloads.get(&slot.workload).and_then(|workload| {
                self.drain_limits
                    .get(&(workload.release.clone(), slot.workload.service.clone()))
            });
            let limit = limit.copied().unwrap_or(0);
            if self.prompt
                && in_flight > 0
                && now < last + limit
                && !self.mourning.contains(&slot.workload.app)
            {
                let since = now - last;
                self.fail(
                    "drain",
                    format!(
                        "{} {} had {in_flight} requests after {since} ms",
                        slot.workload, slot.slot
                    ),
                );
            }
        }
    }

    /// P7: a release command starts at most once.
    pub fn command_started(&mut self, promotion: Version, starts: u32) {
        if starts > 1 {
            self.fail(
                "P7",
                format!("the release command of {promotion} started {starts} times"),
            );
        }
    }

    /// P11, at every start.
    pub fn script_started(&mut self, promotion: Version, starts: u32) {
        if let Some(what) = self.scripts.started(promotion, starts) {
            self.fail("P11", what);
        }
    }

    /// P1 and P8, at every moment.
    pub fn reality(
        &mut self,
        apps: &BTreeMap<AppName, App>,
        engine: &Engine,
        router: &Router,
        now: u64,
    ) {
        for slot in &router.named {
            if !exists(engine, slot) {
                self.fail(
                    "P1",
                    format!(
                        "the router names {} {}, which does not exist",
                        slot.workload, slot.slot
                    ),
                );
            } else if !stays(engine, slot) {
                self.fail(
                    "P2",
                    format!(
                        "the router names {} {}, which is told to stop",
                        slot.workload, slot.slot
                    ),
                );
            }
        }
        for target in router.table.routes.values() {
            let RouteTarget::Processes(list) = target else {
                continue;
            };
            for endpoint in list {
                let process = engine.workloads.get(&endpoint.slot.workload);
                let process = process.and_then(|workload| workload.slots.get(&endpoint.slot.slot));
                if process.is_some_and(|process| process.address != Some(endpoint.address)) {
                    self.fail(
                        "P1",
                        format!(
                            "the router has an old address of {}",
                            endpoint.slot.workload
                        ),
                    );
                }
            }
        }
        for slot in &router.named {
            let sound = !self.flaky && !self.mourning.contains(&slot.workload.app);
            if sound && !engine.ready(slot, now) {
                self.fail(
                    "P8",
                    format!(
                        "the router names {} {}, which was never ready",
                        slot.workload, slot.slot
                    ),
                );
            }
        }
        self.always_ready(apps, engine, router, now);
        if self.prompt {
            self.alone(apps, engine);
        }
    }

    /// What must not run twice does not, where commands arrive when they are sent.
    fn alone(&mut self, apps: &BTreeMap<AppName, App>, engine: &Engine) {
        let mut last: Option<&WorkloadId> = None;
        for id in engine.workloads.keys() {
            let exclusive = |app: &App| {
                let releases = app.releases.values();
                let mut services = releases.filter_map(|release| release.services.get(&id.service));
                services.any(|service| service.strategy == Strategy::Replace)
            };
            let twin = last.is_some_and(|last| last.app == id.app && last.service == id.service);
            if twin && apps.get(&id.app).is_some_and(exclusive) {
                self.fail("alone", format!("{id} runs beside {last:?}"));
            }
            last = Some(id);
        }
    }

    /// P8: what the router serves has a ready process, from the first on.
    fn always_ready(
        &mut self,
        apps: &BTreeMap<AppName, App>,
        engine: &Engine,
        router: &Router,
        now: u64,
    ) {
        let mourning = &self.mourning;
        self.served.retain(|(name, service)| {
            apps.get(name).is_some_and(|app| must_serve(app, service)) && !mourning.contains(name)
        });
        let mut missing = None;
        for (name, service) in &self.served {
            let target = router.table.routes.get(&(name.clone(), service.clone()));
            let ready = match target {
                Some(RouteTarget::Processes(list)) => {
                    list.iter().any(|e| engine.ready(&e.slot, now))
                }
                Some(RouteTarget::Held) => true,
                Some(RouteTarget::Stopped) | None => false,
            };
            if !ready && !self.flaky {
                missing = Some(format!(
                    "{name}/{service}: no ready process behind {target:?}"
                ));
            }
        }
        if let Some(missing) = missing {
            self.fail("P8", missing);
        }
        for ((name, service), target) in &router.table.routes {
            let listed = matches!(target, RouteTarget::Processes(list) if !list.is_empty());
            let due = apps.get(name).is_some_and(|app| must_serve(app, service));
            if listed && due && !self.mourning.contains(name) {
                self.served.insert((name.clone(), service.clone()));
            }
        }
    }
}

fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::ReleaseCommandFailed(_) => "release command failed",
        Reason::ExitedBeforeReady { .. } => "exited before ready",
        Reason::CannotRun { .. } => "cannot run",
        Reason::Hopeless { .. } => "hopeless",
        Reason::NotReadyInTime { .. } => "not ready in time",
        Reason::DeadlineExceeded { .. } => "deadline exceeded",
        Reason::NoCapacity { .. } => "no capacity",
        Reason::LostHealth { .. } => "lost health",
        Reason::Refused { .. } => "refused",
        Reason::Cancelled(_) => "cancel",
    }
}

/// Whether an app promises to answer for a service: it is up, and the service is routed, wanted and never of size 0 in
/// what serves now and in what is on its way.
fn must_serve(app: &App, service: &ServiceName) -> bool {
    let Some(serving) = app
        .serving
        .as_ref()
        .filter(|_| app.standing == Standing::Up)
    else {
        return false;
    };
    let routed = |release: &ReleaseId| {
        let service = app
            .releases
            .get(release)
            .and_then(|release| release.services.get(service));
        service.is_some_and(|service| service.routed)
    };
    let sized = serving.slots.get(service).is_some_and(|slots| *slots > 0)
        && app.sizes.get(service).is_none_or(|size| *size > 0)
        && app
            .resizes
            .get(service)
            .is_none_or(|resize| resize.from > 0 && resize.to > 0);
    let stays = app.promotion.as_ref().is_none_or(|promotion| {
        routed(&promotion.target) && {
            match promotion.services.get(service) {
                Some(Planned::Replace { slots, .. } | Planned::Keep { slots, .. }) => *slots > 0,
                None => false,
            }
        }
    });
    routed(&serving.release) && serving.workloads.contains_key(service) && sized && stays
}
