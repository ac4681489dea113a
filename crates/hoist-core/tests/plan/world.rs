//! A simulated rack: the real planner against an engine, a router and a network that lose, delay, repeat and reorder,
//! looks that arrive late, a store that refuses commits, and a controller that dies between any two acts.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ReleaseId, SlotId, Version};
use hoist_core::model::{
    App, EngineLook, Life, Observation, Probe, ProbeLook, RouterLook, TaskStatus, Timestamp,
    Unready,
};
use hoist_core::plan::{self, Action, Transition, Verdict};

use crate::checks::Checks;
use crate::engine::{Engine, exists};
use crate::faults::Faults;
use crate::planner::{Defect, Planner};
use crate::promises::Promises;
use crate::random::Random;
use crate::records::Records;
use crate::router::{Router, Table};
use crate::users::Kind;

#[derive(Debug, Clone)]
enum Mail {
    Act(Action),
    Forget(Version),
    Publish(Table),
    Engine(EngineLook),
    Probes(Version, BTreeMap<SlotId, Asked>),
    Router(RouterLook),
}

/// What a probe found of one life, and whether that is dead by its liveness check.
#[derive(Debug, Clone)]
pub struct Asked {
    life: Life,
    probe: Probe,
    dead: bool,
}

/// What the controller remembers; its death loses it.
#[derive(Debug, Default)]
struct Controller {
    down_until: u64,
    seen: Observation,
    probes: BTreeMap<SlotId, Asked>,
    published: Option<Table>,
}

pub struct World {
    pub random: Random,
    pub now: u64,
    pub faults: Faults,
    pub planner: Planner,
    /// What the store holds.
    pub apps: BTreeMap<AppName, App>,
    /// What it holds of their releases and promotions.
    pub records: BTreeMap<AppName, Records>,
    pub promises: Promises,
    /// The services that an app's builds may have, and whether their processes may die.
    pub ways: BTreeMap<AppName, (Vec<&'static Kind>, bool)>,
    /// Builds, releases and values so far: each has its own number.
    pub made: u32,
    /// What the next release is called, where a story names it.
    pub called: Option<ReleaseId>,
    pub engine: Engine,
    pub router: Router,
    pub checks: Checks,
    pub history: Vec<String>,
    /// Says everything: for transcripts.
    pub verbose: bool,
    /// What was said last of waiting, per app.
    waits: BTreeMap<AppName, Vec<String>>,
    /// What was asked for last, per app.
    acts: BTreeMap<AppName, Vec<String>>,
    controller: Controller,
    mail: BTreeMap<(u64, u64), (u64, Mail)>,
    orders: u64,
    pub epoch: u32,
    number: u64,
}

impl World {
    pub fn new(seed: u64, faults: Faults, planner: Planner) -> Self {
        let mut random = Random::new(seed);
        let sticky = random.permille(250);
        Self {
            random,
            now: 1_000,
            faults,
            planner,
            apps: BTreeMap::new(),
            records: BTreeMap::new(),
            promises: Promises::default(),
            ways: BTreeMap::new(),
            made: 0,
            called: None,
            engine: Engine::default(),
            router: Router::new(sticky),
            checks: Checks::default(),
            history: Vec::new(),
            verbose: false,
            waits: BTreeMap::new(),
            acts: BTreeMap::new(),
            controller: Controller::default(),
            mail: BTreeMap::new(),
            orders: 0,
            epoch: 1,
            number: 0,
        }
    }

    pub fn draw(&mut self) -> Version {
        self.number += 1;
        Version {
            epoch: self.epoch,
            number: self.number,
        }
    }

    pub fn at(&self) -> Timestamp {
        Timestamp(self.now)
    }

    pub fn say(&mut self, line: impl AsRef<str>) {
        let seconds = self.now as f64 / 1000.0;
        self.history
            .push(format!("{seconds:>9.3} {}", line.as_ref()));
    }

    /// Says what only stories tell.
    fn detail(&mut self, line: &str) {
        if self.verbose {
            self.say(format!("  {line}"));
        }
    }

    /// Commits a change of an app, unless the store refuses. Every generation is checked here.
    pub fn commit(
        &mut self,
        name: &AppName,
        change: impl FnOnce(&mut App, Version, Timestamp) -> bool,
    ) -> bool {
        let (at, now) = (self.draw(), self.at());
        if self.random.permille(self.faults.commit_refused) {
            return false;
        }
        let Some(before) = self.apps.get(name) else {
            return false;
        };
        let mut app = before.clone();
        if !change(&mut app, at, now) {
            return false;
        }
        self.checks.commit(before, &app);
        if let Some(records) = self.records.get_mut(name) {
            records.committed(before, &app);
        }
        self.apps.insert(name.clone(), app);
        true
    }

    /// One moment: the controller, then the mail, then reality, then the checkers.
    pub fn tick(&mut self, ms: u64) {
        self.now += ms;
        if self.random.permille(self.faults.router_dies) {
            self.say("  router dies");
            self.router.crash(self.now, &mut self.random);
        }
        self.look();
        if self.now >= self.controller.down_until {
            self.control();
        }
        self.deliver();
        let deaths = self
            .engine
            .run(self.now, self.faults.process_dies, &mut self.random);
        if self.planner.defect == Some(Defect::ForgetsCommands) {
            self.engine
                .commands
                .retain(|_, (status, ..)| *status == TaskStatus::Running);
        }
        if self.planner.defect == Some(Defect::ForgetsScripts) {
            self.engine.scripts.forget_ended();
        }
        for death in deaths {
            if self.verbose {
                self.say(format!(
                    "  {} {} exits",
                    death.slot.workload, death.slot.slot
                ));
            }
            self.checks.death(&death);
        }
        let engine = &self.engine;
        self.router.in_flight.retain(|slot, _| exists(engine, slot));
        self.router.run(self.now, &mut self.random);
        self.checks
            .reality(&self.apps, &self.engine, &self.router, self.now);
    }

    fn post(&mut self, late: u64, mail: Mail) {
        self.orders += 1;
        let (at, order) = (self.now + late, self.orders);
        if let Mail::Act(Action::Restart { slot, .. }) = &mail {
            let under_way = &mut self.engine.restarts_under_way;
            *under_way.entry(slot.clone()).or_default() += 1;
        }
        self.mail.insert((at, order), (order, mail));
    }

    /// Sends over a network that loses, delays and repeats.
    fn send(&mut self, mail: Mail) {
        let faults = self.faults;
        if self.random.permille(faults.repeat) {
            let late = self.random.below(30_000);
            self.post(late, mail.clone());
        }
        if self.random.permille(faults.lose) {
            return;
        }
        let late = if self.random.permille(faults.delay) {
            self.random.below(20_000)
        } else {
            0
        };
        self.post(late, mail);
    }

    /// Begins looks: each has its number drawn first, holds what was true a moment later, and arrives later still.
    fn look(&mut self) {
        for part in 0..3 {
            let number = self.draw();
            if self.random.permille(self.faults.look_skipped) {
                continue;
            }
            let mail = match part {
                0 => Mail::Engine(self.engine.look(number)),
                1 => Mail::Probes(number, self.probe_all()),
                _ if self.now < self.router.down_until => continue,
                _ => Mail::Router(self.router.look(number)),
            };
            let late = if self.random.permille(self.faults.look_late) {
                self.random.below(8_000)
            } else {
                0
            };
            self.post(late, mail);
        }
        self.deliver();
    }

    pub fn probe_all(&mut self) -> BTreeMap<SlotId, Asked> {
        let mut found = BTreeMap::new();
        for (id, workload) in &self.engine.workloads {
            for number in workload.slots.keys() {
                let slot = SlotId {
                    workload: id.clone(),
                    slot: *number,
                };
                if self.random.permille(self.faults.probe_misses) {
                    continue;
                }
                let Some((life, mut probe)) = self.engine.probe(&slot, self.now) else {
                    continue;
                };
                if self.random.permille(self.faults.probe_flakes) {
                    probe = Probe::Unready(Unready::NotListening);
                }
                let dead = self.engine.dead(&slot, self.now);
                found.insert(slot, Asked { life, probe, dead });
            }
        }
        found
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.mail.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (order, mail) = entry.remove();
            match mail {
                Mail::Act(action) => self.act(&action, order),
                Mail::Forget(number) => self.engine.scripts.forget(number, order),
                Mail::Publish(table) => {
                    self.router.accept(table, self.now);
                }
                Mail::Engine(look) if look.look > self.controller.seen.engine.look => {
                    self.controller.seen.engine = look;
                }
                Mail::Probes(look, found) if look > self.controller.seen.probes.look => {
                    self.controller.seen.probes.look = look;
                    self.controller.probes = found;
                }
                Mail::Router(look) if look.look > self.controller.seen.router.look => {
                    self.controller.seen.router = look;
                }
                Mail::Engine(_) | Mail::Probes(..) | Mail::Router(_) => {}
            }
        }
        self.join_probes();
    }

    /// A verdict counts only for the incarnation that the engine part names.
    fn join_probes(&mut self) {
        let Controller { seen, probes, .. } = &mut self.controller;
        let same = |slot: &SlotId, life: &Life| {
            let slots = seen.engine.workloads.get(&slot.workload);
            let process = slots.and_then(|slots| slots.get(&slot.slot));
            process.is_some_and(|process| process.life() == *life)
        };
        let asked = probes
            .iter()
            .filter(|(slot, asked)| same(slot, &asked.life));
        seen.probes = looked(seen.probes.look, asked);
    }

    fn act(&mut self, action: &Action, order: u64) {
        let stopped = match action {
            Action::Apply { workload, slots } => {
                self.engine
                    .apply(workload, *slots, order, self.now, &mut self.random)
            }
            Action::Remove { id } => self.engine.remove(id, order, self.now, &mut self.random),
            Action::Restart { slot, .. } => {
                let under_way = &mut self.engine.restarts_under_way;
                if let Some(count) = under_way.get_mut(slot) {
                    *count -= 1;
                }
                under_way.retain(|_, count| *count > 0);
                self.engine.restart(slot, order, self.now, &mut self.random)
            }
            Action::RunReleaseCommand { promotion, release } => {
                self.run_command(*promotion, release);
                Vec::new()
            }
            Action::StopReleaseCommand { promotion } => {
                if let Some((TaskStatus::Running, ends_at, code)) =
                    self.engine.commands.get_mut(promotion)
                {
                    *ends_at = (*ends_at).min(self.now + self.random.below(5_000));
                    *code = 143;
                }
                Vec::new()
            }
            Action::RunPostdeploy { promotion, release } => {
                self.run_script(*promotion, release, order);
                Vec::new()
            }
            Action::StopPostdeploy { promotion } => {
                let gone_at = self.now + self.random.below(5_000);
                self.engine.scripts.stop(*promotion, gone_at);
                Vec::new()
            }
        };
        self.checks
            .stopped(&stopped, &self.engine, &self.router, self.now);
    }

    fn run_command(&mut self, promotion: Version, release: &ReleaseId) {
        if self.engine.commands.contains_key(&promotion) {
            return;
        }
        let fails = release.as_str().ends_with('F');
        let most = if self.random.permille(100) {
            90_000
        } else {
            5_000
        };
        let takes = self.random.below(most);
        let ends_at = self.now + self.engine.command_ms.unwrap_or(takes);
        self.engine
            .commands
            .insert(promotion, (TaskStatus::Running, ends_at, i32::from(fails)));
        let starts = self.engine.command_starts.entry(promotion).or_default();
        *starts += 1;
        self.checks.command_started(promotion, *starts);
    }

    fn run_script(&mut self, promotion: Version, release: &ReleaseId, order: u64) {
        let takes = self.random.below(10_000);
        let ends_at = self.now + self.engine.command_ms.unwrap_or(takes);
        let fails = self.engine.scripts_fail.contains(release);
        let starts = self.engine.scripts.start(promotion, order, ends_at, fails);
        if let Some(starts) = starts {
            self.checks.script_started(promotion, starts);
        }
    }

    /// Has the engine forget scripts that no app's state speaks of any more.
    fn forget_scripts(&mut self) {
        let seen = self.controller.seen.engine.postdeploys.iter();
        let ended = seen.filter(|(_, status)| matches!(status, TaskStatus::Ended(_)));
        let needed = |number: &Version| {
            let mut apps = self.apps.values();
            apps.any(|app| app.postdeploys.contains_key(number))
        };
        let over: Vec<_> = ended
            .map(|(number, _)| *number)
            .filter(|number| !needed(number))
            .collect();
        for number in over {
            self.send(Mail::Forget(number));
        }
    }

    fn dies(&mut self) -> bool {
        let dies = self.random.permille(self.faults.controller_dies);
        if dies {
            let ms = self.random.below(6_000);
            self.kill_controller(ms);
        }
        dies
    }

    /// The controller dies, and another begins so many milliseconds later. Looks of the dead one reach nobody.
    pub fn kill_controller(&mut self, ms: u64) {
        self.say("  controller dies");
        self.controller = Controller {
            down_until: self.now + ms,
            ..Controller::default()
        };
        self.mail.retain(|_, (_, mail)| {
            matches!(mail, Mail::Act(_) | Mail::Forget(_) | Mail::Publish(_))
        });
    }

    fn control(&mut self) {
        let names: Vec<_> = self.apps.keys().cloned().collect();
        for name in &names {
            if self.decide(name) || self.converge(name) {
                return;
            }
        }
        for action in plan::strays(self.apps.values(), &self.controller.seen) {
            self.send(Mail::Act(action));
        }
        self.forget_scripts();
        self.publish();
    }

    /// Commits what is decided, one transition after the other. True when the controller died of it.
    fn decide(&mut self, name: &AppName) -> bool {
        for _ in 0..20 {
            let Some(app) = self.apps.get(name) else {
                return false;
            };
            let verdict = self
                .planner
                .step(app, &self.controller.seen, Timestamp(self.now));
            self.explain(name, &verdict);
            let Verdict::Go(transition) = verdict else {
                return false;
            };
            let planner = std::mem::take(&mut self.planner);
            let done = self.commit(name, |app, at, now| {
                planner.apply(app, &transition, at, now);
                true
            });
            self.planner = planner;
            if !done {
                return false;
            }
            self.say(format!("{name} {}", crate::words::transition(&transition)));
            self.checks
                .transition(name, &transition, &self.apps, &self.engine);
            self.note(name, &transition);
            if transition == Transition::Deleted {
                self.apps.remove(name);
                self.records.remove(name);
            }
            if self.dies() {
                return true;
            }
        }
        self.checks.fail(
            "P5",
            format!("{name}: twenty decisions in a row on one look"),
        );
        false
    }

    fn explain(&mut self, name: &AppName, verdict: &Verdict) {
        let lines: Vec<String> = match verdict {
            _ if !self.verbose => return,
            Verdict::Wait(waiting) => waiting.iter().filter_map(crate::words::waiting).collect(),
            Verdict::Rest | Verdict::Go(_) => Vec::new(),
        };
        let last = self
            .waits
            .insert(name.clone(), lines.clone())
            .unwrap_or_default();
        for line in lines.iter().filter(|line| !last.contains(line)) {
            self.say(format!("  {name} waits: {line}"));
        }
    }

    fn converge(&mut self, name: &AppName) -> bool {
        let Some(app) = self.apps.get(name) else {
            return false;
        };
        let mut lines = Vec::new();
        for action in self.planner.converge(app, &self.controller.seen) {
            if self.dies() {
                return true;
            }
            lines.push(crate::words::action(&action));
            self.send(Mail::Act(action));
        }
        // What is asked for again and again is said once.
        let last = self
            .acts
            .insert(name.clone(), lines.clone())
            .unwrap_or_default();
        for line in lines.iter().filter(|line| !last.contains(line)) {
            self.detail(line);
        }
        false
    }

    /// Publishes a table when it differs from the last, or when a decision wants to see a newer one run.
    fn publish(&mut self) {
        let seen = &self.controller.seen;
        if seen.engine.look == Version::default() || self.dies() {
            return;
        }
        let version = self.draw();
        let mut routes = BTreeMap::new();
        for (name, app) in &self.apps {
            let of_app = self.planner.route(app, &self.controller.seen);
            routes.extend(
                of_app
                    .into_iter()
                    .map(|(service, target)| ((name.clone(), service), target)),
            );
        }
        let running = self.controller.seen.router.version;
        let wanted = self
            .apps
            .values()
            .map(|app| app.routes_since)
            .max()
            .unwrap_or_default();
        let last = self.controller.published.as_ref();
        let due = last.is_none_or(|last| last.routes != routes || last.version <= wanted);
        let lost = last.is_some_and(|last| last.version > running);
        if due || lost {
            let table = Table { version, routes };
            if self.verbose && last.is_none_or(|last| last.routes != table.routes) {
                let lines = crate::words::table(&table);
                lines.into_iter().for_each(|line| self.say(line));
            }
            self.controller.published = Some(table.clone());
            self.send(Mail::Publish(table));
        }
    }

    /// What the controller saw of an app's processes last, as a user would read it.
    pub fn listed(&self, app: &AppName) -> Vec<(SlotId, Life)> {
        let workloads = self.controller.seen.engine.workloads.iter();
        let own = workloads.filter(|(id, _)| id.app == *app);
        let each = own.flat_map(|(id, slots)| {
            slots.iter().map(|(slot, process)| {
                let (workload, slot) = (id.clone(), *slot);
                (SlotId { workload, slot }, process.life())
            })
        });
        each.collect()
    }

    /// How an app is, in one word and by the controller's last look.
    pub fn status(&self, app: &App) -> plan::AppStatus {
        plan::status(app, &self.controller.seen)
    }
}

/// As the planner gets it.
pub fn looked<'a>(
    look: Version,
    asked: impl IntoIterator<Item = (&'a SlotId, &'a Asked)>,
) -> ProbeLook {
    let mut found = ProbeLook {
        look,
        ..ProbeLook::default()
    };
    for (slot, asked) in asked {
        found.slots.insert(slot.clone(), asked.probe.clone());
        if asked.dead {
            found.dead.insert(slot.clone(), Unready::NotListening);
        }
    }
    found
}
