//! Stories with their transcripts: `stories/NAME.story` is what happens, `stories/NAME.told` all that the planner made
//! of it. `UPDATE_GOLDEN=1` writes the transcripts anew; they are reviewed as text.
//!
//! A story's lines: `release A web*2=good:500 worker=exits:1 +command` (or `+command-fails`, `+script`, `+script-fails`), which
//! stands on nothing, `build A web=good:500`, which is made on the base, as `env B K=1 [from active|newest|A]` and `env B K=` are;
//! `create-from C A B` (the build of A, the variables of B), `releases`,
//! `promote [A [within MS]]`, `limit-of-promotions MS`, `no rack for MS`, `rollback [A]`, `restart [SERVICE]`, `start A`, `cancel`, `supersede`, `scale SERVICE=N`, `limit SERVICE=MB`, `give-back SERVICE`, `renew SERVICE.N`,
//! `behave A SERVICE=BEHAVIOUR`, `stop`, `delete`, `memory N` (in MB, as `web^40`),
//! `requests N`, `answered`, `rack dies MS`, `router dies`, `run MS`, `rest`.

use std::collections::BTreeMap;
use std::path::Path;

use hoist_core::id::{AppName, ReleaseId, ServiceName, SlotId};
use hoist_core::lineage::{self, Start};
use hoist_core::model::{Cancel, Fingerprint, Millis, PromotionKind, Service};
use hoist_core::plan::{self, PromoteOptions};

use crate::engine::Behaviour;
use crate::faults::Faults;
use crate::planner::Planner;
use crate::records::{Build, Change};
use crate::users::{self, KINDS};
use crate::words;
use crate::world::World;

/// A moment of a story.
const TICK_MS: u64 = 100;
/// Makes versions recognizable, to name them by their order: transcripts do not change with the number of looks.
const EPOCH: u32 = 77_777;

struct Story {
    world: World,
    app: AppName,
    releases: BTreeMap<String, ReleaseId>,
    copies: u8,
    told: Vec<String>,
}

#[test]
fn stories_are_told_as_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan/stories");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut stories = 0;
    let mut differing = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of stories") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_none_or(|extension| extension != "story")
        {
            continue;
        }
        stories += 1;
        let told = tell(&std::fs::read_to_string(&path).expect("a story"));
        let golden = path.with_extension("told");
        if update {
            std::fs::write(&golden, &told).expect("a transcript is written");
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != told {
            differing.push(format!("--- {}\n{told}", golden.display()));
        }
    }
    assert!(stories > 0, "no stories");
    assert!(
        differing.is_empty(),
        "told otherwise (UPDATE_GOLDEN=1 accepts):\n{}",
        differing.join("\n")
    );
}

fn tell(text: &str) -> String {
    let app: AppName = "shop".parse().expect("an app name");
    let mut world = World::new(1, Faults::default(), Planner::new(None));
    world.verbose = true;
    world.epoch = EPOCH;
    world.now = 0;
    (world.engine.stop_ms, world.engine.command_ms) = (Some(300), Some(2_000));
    (world.router.quiet, world.router.sticky) = (true, false);
    world.checks.prompt = true;
    let at = world.draw();
    world.found(plan::create(app.clone(), at), false);
    let mut story = Story {
        world,
        app,
        releases: BTreeMap::new(),
        copies: 0,
        told: Vec::new(),
    };
    for line in text.lines() {
        story.line(line.trim());
    }
    story.told.push(String::new());
    name_versions(&story.told.join("\n"))
}

/// Writes `v1`, `v2`, … for versions, in the order in which they are told.
fn name_versions(text: &str) -> String {
    let mut names = Vec::new();
    let mark = format!("{EPOCH}.");
    let mut parts = text.split(&mark);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        let (number, rest) = part.split_at(digits);
        let known = names.iter().position(|name| *name == number);
        let place = known.unwrap_or_else(|| {
            names.push(number);
            names.len() - 1
        });
        told.push_str(&format!("v{}{rest}", place + 1));
    }
    told
}

impl Story {
    fn line(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let told = if line.is_empty() || line.starts_with('#') {
            line.to_owned()
        } else {
            format!("> {line}")
        };
        self.told.push(told);
        match words.as_slice() {
            [] => {}
            ["#", ..] => {}
            ["release", name, rest @ ..] => drop(self.release(name, rest, Start::Newest)),
            ["run", ms] => self.run(number(ms)),
            ["rest"] => self.rest(),
            ["memory", megabytes] => self.world.engine.memory_total_bytes = number(megabytes) << 20,
            ["requests", count] => {
                for slot in self.world.router.named.clone() {
                    self.world
                        .router
                        .in_flight
                        .insert(slot, number(count) as u32);
                }
            }
            ["answered"] => self.world.router.in_flight.clear(),
            ["behave", name, change] => self.behave(name, change),
            ["limit-of-promotions", ms] => {
                let app = self.world.apps.get_mut(&self.app).expect("an app");
                app.promotion_limit = Millis(number(ms));
            }
            // No rack ran, or the clock of the machine was set: for the next one it is that much later.
            ["no", "rack", "for", ms] => {
                self.world.kill_controller(0);
                self.world.now += number(ms);
            }
            ["rack", "dies", ms] => self.world.kill_controller(number(ms)),
            ["router", "dies"] => {
                self.world
                    .router
                    .crash(self.world.now, &mut crate::random::Random::new(1));
                self.world.router.down_until = self.world.now + 500;
            }
            command => self.command(command),
        }
        // What happened belongs to the line that made it happen.
        self.told.append(&mut self.world.history);
    }

    fn command(&mut self, words: &[&str]) {
        let app = self.app.clone();
        let before = self.world.history.len();
        match words {
            ["build", name, rest @ ..] => {
                let made = self.release(name, rest, Start::Base);
                self.tell(&made);
            }
            ["env", name, change, rest @ ..] => self.env(name, change, rest),
            ["create-from", name, built, env] => {
                let (built, env) = (self.releases[*built].clone(), self.releases[*env].clone());
                self.call(name, false);
                self.world.compose(&app, &built, &env);
            }
            ["releases"] => self.list(),
            ["promote"] => {
                if let Some(base) = self.world.base(&app, &Start::Base) {
                    users::promote(&mut self.world, &app, &base, PromotionKind::Promote);
                }
            }
            ["promote", name] => self.promote(name, PromotionKind::Promote, None),
            ["promote", name, "within", ms] => {
                let limit = Some(Millis(number(ms)));
                let options = PromoteOptions { limit, only: None };
                self.begin(name, PromotionKind::Promote, options);
            }
            ["rollback"] => {
                if let Some(source) = self.world.last_good(&app) {
                    self.go_back(&source);
                }
            }
            ["rollback", name] => self.go_back(&self.releases[*name].clone()),
            ["start", name] => self.promote(name, PromotionKind::Start, None),
            ["restart", name] => self.promote(name, PromotionKind::Restart, None),
            ["restart", name, only] => {
                self.promote(name, PromotionKind::Restart, Some(service(only)))
            }
            ["cancel"] => users::cancel(&mut self.world, &app, Cancel::ByUser),
            ["supersede"] => users::cancel(&mut self.world, &app, Cancel::BySuperseding),
            ["scale", change] => {
                let (name, size) = change.split_once('=').expect("SERVICE=N");
                users::resize_to(&mut self.world, &app, &service(name), number(size) as u16);
            }
            ["limit", change] => {
                let (name, megabytes) = change.split_once('=').expect("SERVICE=MB");
                users::limit_to(
                    &mut self.world,
                    &app,
                    &service(name),
                    Some(number(megabytes) << 20),
                );
            }
            ["give-back", name] => {
                users::limit_to(&mut self.world, &app, &service(name), None);
            }
            ["renew", process] => {
                let listed = self.world.listed(&app);
                let named = |(slot, _): &&(SlotId, _)| {
                    format!("{}.{}", slot.workload.service, slot.slot) == *process
                };
                let (slot, life) = listed.iter().find(named).expect("a process");
                users::renew_one(&mut self.world, &app, slot, life);
            }
            ["stop"] => users::said(&mut self.world, &app, "stop", plan::stop),
            ["delete"] => users::said(&mut self.world, &app, "delete", plan::delete),
            other => panic!("a story cannot say {other:?}"),
        }
        if self.world.history.len() == before {
            self.world.say(format!("{app} refused"));
        }
    }

    fn promote(&mut self, name: &str, kind: PromotionKind, only: Option<ServiceName>) {
        self.begin(name, kind, PromoteOptions { limit: None, only });
    }

    fn begin(&mut self, name: &str, kind: PromotionKind, options: PromoteOptions) {
        let id = self.releases.get(name).expect("a release of the story");
        let record = self.world.records[&self.app].find(id);
        let target = record.expect("a record of it").release.clone();
        users::begin(&mut self.world, &self.app.clone(), target, kind, options);
    }

    /// Promotes a copy: the first is called Z, the next Y.
    fn go_back(&mut self, source: &ReleaseId) {
        let app = self.app.clone();
        let letter = char::from(b'Z' - self.copies);
        let id = format!("{}{letter}S", &source.as_str()[..9]);
        let id: ReleaseId = id.parse().expect("a release id");
        self.releases.insert(letter.to_string(), id.clone());
        self.world.called = Some(id);
        self.copies += 1;
        if let Some(copy) = self.world.copy(&app, source) {
            users::promote(&mut self.world, &app, &copy, PromotionKind::Rollback);
        }
    }

    /// What processes of a release do from now on, and those of all that is made of its build later.
    fn behave(&mut self, name: &str, change: &str) {
        let (of, behaviour) = change.split_once('=').expect("SERVICE=BEHAVIOUR");
        let (of, behaviour) = (service(of), behaviour_of(behaviour));
        let id = self.releases[name].clone();
        let records = self.world.records.get_mut(&self.app).expect("records");
        let number = records.find(&id).expect("a record").content.build;
        let mut builds = records.builds.iter_mut();
        let build = builds.find(|build| Some(build.number) == number);
        let services = &mut build.expect("its build").services;
        services.get_mut(&of).expect("a service of it").1 = behaviour;
        self.world.engine.behaviours.insert((id, of), behaviour);
        // Nothing can be promised of what served and does not come up again.
        self.world.checks.mourn(&self.app);
    }

    /// Names the next release.
    fn call(&mut self, name: &str, fails: bool) -> ReleaseId {
        let last = if fails { 'F' } else { 'S' };
        let id = format!("R{}{last}", name.repeat(9));
        let id: ReleaseId = id.parse().expect("a release id");
        self.releases.insert(name.to_owned(), id.clone());
        self.world.called = Some(id.clone());
        id
    }

    fn env(&mut self, name: &str, change: &str, rest: &[&str]) {
        let start = match rest {
            [] => Start::Base,
            ["from", "active"] => Start::Active,
            ["from", "newest"] => Start::Newest,
            ["from", name] => Start::Release(self.releases[*name].clone()),
            other => panic!("a story cannot say {other:?}"),
        };
        let (key, value) = change.split_once('=').expect("K=N");
        let key = key.chars().next().expect("a name");
        let change = match value {
            "" => Change::Unset(key),
            value => Change::Set(key, number(value) as u32),
        };
        self.call(name, false);
        if let Some(made) = self.world.change(&self.app.clone(), &start, &change) {
            self.tell(&made);
        }
    }

    /// What is told of a release beside itself.
    fn tell(&mut self, made: &ReleaseId) {
        let active = self.world.active(&self.app);
        let newer = self.world.records[&self.app].kin_after(active.as_ref());
        let told = lineage::told(made, &newer, active.as_ref());
        self.world.history.extend(words::told(&told));
    }

    fn list(&mut self) {
        let records = self.world.records.get(&self.app).expect("records");
        let app = self.world.apps.get(&self.app).expect("an app");
        self.world.history.extend(words::releases(records, app));
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.world.tick(TICK_MS);
        }
        assert_eq!(self.world.checks.broken, None, "{}", self.told.join("\n"));
    }

    /// Runs until nothing is left to do, and shows what there is then.
    fn rest(&mut self) {
        let limit = self.world.now + 600_000;
        while let Some(why) = self.world.unsettled() {
            assert!(
                self.world.now < limit,
                "no rest: {why}\n{}",
                self.world.history.join("\n")
            );
            self.run(TICK_MS);
        }
        let Some(app) = self.world.apps.get(&self.app).cloned() else {
            self.world.say("no app");
            return;
        };
        let status = self.world.status(&app);
        self.world.say(format!("{} is {status}", self.app));
        self.world.history.extend(words::app(&app));
    }

    fn release(&mut self, name: &str, words: &[&str], start: Start) -> ReleaseId {
        let command_fails = words.contains(&"+command-fails");
        let id = self.call(name, command_fails);
        let number = id.as_str().as_bytes()[1];
        let mut services = BTreeMap::new();
        for word in words.iter().filter(|word| !word.starts_with('+')) {
            let (name, of, behaviour) = service_words(word, number);
            services.insert(name, (of, behaviour));
        }
        let script_fails = words.contains(&"+script-fails");
        let build = Build {
            number: number.into(),
            services,
            has_release_command: command_fails || words.contains(&"+command"),
            command_fails,
            has_postdeploy: script_fails || words.contains(&"+script"),
            script_fails,
        };
        let (app, change) = (self.app.clone(), Change::Build(build.number));
        let records = self.world.records.get_mut(&app).expect("records");
        records.builds.push(build);
        match start {
            Start::Newest => self.world.declare(&app, &change),
            start => drop(self.world.change(&app, &start, &change)),
        }
        id
    }
}

/// A service as a story writes it: `web*2^40=good:500`.
fn service_words(word: &str, number_of_build: u8) -> (ServiceName, Service, Behaviour) {
    let (head, behaviour) = word.split_once('=').expect("SERVICE=BEHAVIOUR");
    let (head, memory) = head.split_once('^').unwrap_or((head, "0"));
    let (name, count) = head.split_once('*').unwrap_or((head, "1"));
    let kind = KINDS.iter().find(|kind| kind.name == name);
    let kind = kind.expect("a service that is known");
    let mut fingerprint = [0; 32];
    fingerprint[0] = number_of_build;
    let of = Service {
        routed: kind.routed,
        strategy: kind.strategy,
        start_limit: Millis(20_000),
        drain_limit: Millis(10_000),
        count: number(count) as u16,
        memory_bytes: number(memory) << 20,
        fingerprint: Fingerprint(fingerprint),
    };
    (service(name), of, behaviour_of(behaviour))
}

fn behaviour_of(text: &str) -> Behaviour {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        ["good", ms] => Behaviour::Good(number(ms)),
        ["dies", ms, later] => Behaviour::DiesAfter(number(ms), number(later)),
        ["deaf", ms, later] => Behaviour::Deaf(number(ms), number(later)),
        ["exits", code] => Behaviour::Exits(number(code) as i32),
        ["never"] => Behaviour::NeverReady,
        ["elsewhere"] => Behaviour::ListensElsewhere,
        ["memory"] => Behaviour::OutOfMemory,
        ["missing"] => Behaviour::ExecFails,
        ["refused"] => Behaviour::Refused,
        other => panic!("no process behaves like {other:?}"),
    }
}

fn service(name: &str) -> ServiceName {
    name.parse().expect("a service name")
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}
