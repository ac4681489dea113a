//! Users who make releases: builds, changes of variables, copies and compositions, on whatever base, promoted or not.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ReleaseId, ServiceName};
use hoist_core::lineage::Start;
use hoist_core::model::{
    App, Cancel, Fingerprint, Millis, PromotionKind, Release, Service, Strategy,
};
use hoist_core::plan::Transition;

use crate::engine::Behaviour;
use crate::promises;
use crate::random::Random;
use crate::records::{Build, Change, Content, Record, Records};
use crate::users::{self, KINDS, Kind};
use crate::world::World;

/// Variables that are set and unset.
const KEYS: [char; 4] = ['A', 'B', 'C', 'D'];

/// A new build of an app, good or bad.
pub fn build(random: &mut Random, number: u32, kinds: &[&Kind], mortal: bool) -> Build {
    let command_fails = random.permille(150);
    let script_fails = random.permille(300);
    let mut services = BTreeMap::new();
    for kind in kinds {
        if kind.name != "web" && random.permille(150) {
            continue;
        }
        let name: ServiceName = kind.name.parse().expect("a service name");
        let behaviour = users::behaviour(random, mortal);
        let memory_bytes = random.below(200);
        let mut fingerprint = [0; 32];
        // Some services are the same in every build that is good.
        let same = matches!(behaviour, Behaviour::Good(_)) && random.permille(400);
        fingerprint[0] = 1;
        if !same {
            fingerprint[1..5].copy_from_slice(&number.to_le_bytes());
        }
        let service = Service {
            routed: kind.routed,
            strategy: kind.strategy,
            start_limit: Millis(random.between(8_000, 20_000)),
            drain_limit: Millis(random.between(1_000, 50_000)),
            count: match kind.strategy {
                Strategy::Replace => 1,
                Strategy::Surge => random.below(4) as u16,
            },
            memory_bytes,
            fingerprint: Fingerprint(fingerprint),
        };
        services.insert(name, (service, behaviour));
    }
    Build {
        number,
        services,
        has_release_command: command_fails || random.permille(250),
        command_fails,
        has_postdeploy: random.permille(400),
        script_fails,
    }
}

/// The services that an app's builds may have.
pub fn kinds(random: &mut Random) -> Vec<&'static Kind> {
    let kinds = KINDS.iter();
    kinds
        .filter(|kind| kind.name == "web" || random.permille(300))
        .collect()
}

impl World {
    /// An app that was never deployed. In a plain one all users leave the choice of the base to the rack.
    pub fn found(&mut self, app: App, plain: bool) {
        self.promises.found(&app.name, plain);
        self.records.insert(app.name.clone(), Records::default());
        self.apps.insert(app.name.clone(), app);
    }

    /// Keeps how a promotion ended, and checks that records and state say the same.
    pub fn note(&mut self, name: &AppName, transition: &Transition) {
        let (Some(records), Some(app)) = (self.records.get_mut(name), self.apps.get(name)) else {
            return;
        };
        if let Transition::End { outcome } = transition
            && let Some(attempt) = records.ended(outcome, &self.planner)
        {
            self.checks
                .count(match (attempt.kind, attempt.succeeded()) {
                    (PromotionKind::Rollback, true) => "rollback succeeded",
                    (PromotionKind::Rollback, false) => "rollback failed",
                    (_, true) => "promoted",
                    (_, false) => "not promoted",
                });
            self.checks
                .hold(self.promises.ended(name, &attempt, records));
        }
        self.checks.hold(promises::agrees(records, app));
    }

    /// A number that nothing else has.
    fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// An id that nothing else has; its last letter says whether the release command fails.
    fn release_id(&mut self, fails: bool) -> ReleaseId {
        if let Some(called) = self.called.take() {
            return called;
        }
        let number = self.next();
        let letter = |place: u32| char::from(b'A' + (number / 26u32.pow(place) % 26) as u8);
        let last = if fails { 'F' } else { 'S' };
        let letters: String = (0..3).rev().map(letter).collect();
        format!("RAAAAAA{letters}{last}")
            .parse()
            .expect("a release id")
    }

    /// The release that serves.
    pub fn active(&self, app: &AppName) -> Option<ReleaseId> {
        let serving = self.apps.get(app)?.serving.as_ref()?;
        Some(serving.release.clone())
    }

    /// The release that the next one is made from; of what the rack chooses the promises are checked.
    pub fn base(&mut self, app: &AppName, start: &Start) -> Option<ReleaseId> {
        let active = self.active(app);
        let records = self.records.get(app)?;
        match start {
            Start::Base => {
                let newer = records.kin_after(active.as_ref());
                let base = self.planner.base(&newer, active.as_ref());
                self.checks
                    .hold(promises::base(records, active.as_ref(), base.as_ref()));
                if active.is_some() && base.as_ref() != records.newest() {
                    self.checks.count("passed over");
                }
                base
            }
            Start::Active => active,
            Start::Newest => records.newest().cloned(),
            Start::Release(release) => Some(release.clone()),
        }
    }

    /// What a rollback without a name goes to.
    pub fn last_good(&mut self, app: &AppName) -> Option<ReleaseId> {
        let active = self.active(app)?;
        let records = self.records.get(app)?;
        let chosen = self.planner.last_good(records, &active);
        let origin = |id: &ReleaseId| records.find(id).map(|record| record.origin().clone());
        let origin = chosen.as_ref().and_then(origin);
        self.checks
            .hold(promises::last_good(records, origin.as_ref()));
        chosen
    }

    /// Makes a release with a change on a base, and answers it. Without a build there is nothing to promote.
    pub fn change(&mut self, app: &AppName, start: &Start, change: &Change) -> Option<ReleaseId> {
        let base = self.base(app, start);
        if *start != Start::Base {
            self.checks.count("chosen base");
        }
        let records = self.records.get(app)?;
        let below = base.as_ref().and_then(|base| records.find(base));
        let content = below.map(|record| record.content.clone());
        let content = content.unwrap_or_default().with(change);
        content.build?;
        let made = self.record(app, content, base, None);
        let record = self.records.get(app)?.find(&made)?;
        self.checks.hold(self.promises.changed(app, record, change));
        let on = record.parent.as_ref().map(|id| format!(" on {id}"));
        self.say(format!(
            "{app} made {made}{}: {change}",
            on.unwrap_or_default()
        ));
        Some(made)
    }

    /// Makes a release that stands on nothing.
    pub fn declare(&mut self, app: &AppName, change: &Change) {
        self.record(app, Content::default().with(change), None, None);
    }

    /// Makes a release of the build of one and the variables of another.
    pub fn compose(
        &mut self,
        app: &AppName,
        built: &ReleaseId,
        env: &ReleaseId,
    ) -> Option<ReleaseId> {
        let records = self.records.get(app)?;
        let content = Content {
            build: records.find(built)?.content.build,
            env: records.find(env)?.content.env.clone(),
        };
        let made = self.record(app, content, Some(built.clone()), None);
        self.checks.count("composed");
        self.say(format!("{app} made {made} on {built}: env of {env}"));
        Some(made)
    }

    /// Makes a copy of a release to go back to.
    pub fn copy(&mut self, app: &AppName, source: &ReleaseId) -> Option<ReleaseId> {
        let record = self.records.get(app)?.find(source)?;
        let (content, origin) = (record.content.clone(), record.origin().clone());
        let made = self.record(app, content, Some(source.clone()), Some(origin));
        self.say(format!("{app} made {made}: rollback to {source}"));
        Some(made)
    }

    /// Keeps a release in the records, and what its processes do in the engine.
    fn record(
        &mut self,
        app: &AppName,
        content: Content,
        parent: Option<ReleaseId>,
        copy_of: Option<ReleaseId>,
    ) -> ReleaseId {
        let number = content
            .build
            .expect("a release that is recorded has a build");
        let build = self
            .records
            .get(app)
            .and_then(|records| records.build(number));
        let build = build.cloned().expect("a build that was made");
        let id = self.release_id(build.command_fails);
        let build_id = build.id();
        if build.script_fails {
            self.engine.scripts_fail.insert(id.clone());
        }
        let parent = match copy_of {
            Some(_) => parent.map(|source| self.planner.parent_of_copy(&source, &id)),
            None => parent,
        };
        let mut services = BTreeMap::new();
        for (name, (service, behaviour)) in build.services {
            services.insert(
                name.clone(),
                self.service(&id, name, service, behaviour, &content),
            );
        }
        let record = Record {
            release: Release {
                id: id.clone(),
                build: build_id,
                has_release_command: build.has_release_command,
                has_postdeploy: build.has_postdeploy,
                services,
            },
            parent,
            copy_of,
            content,
        };
        if let Some(records) = self.records.get_mut(app) {
            records.releases.push(record);
            self.checks.hold(promises::parent(records));
        }
        id
    }

    /// A service of a release: as its build says, with its variables.
    fn service(
        &mut self,
        id: &ReleaseId,
        name: ServiceName,
        mut service: Service,
        behaviour: Behaviour,
        content: &Content,
    ) -> Service {
        // What must not run twice has no time to give on the way back; nothing has more than 30 s there.
        let least = match service.strategy {
            Strategy::Replace => 0,
            Strategy::Surge => service.drain_limit.0.min(30_000),
        };
        let key = (id.clone(), name);
        self.checks.drain_limits.insert(key.clone(), least);
        // Some values are bad for whoever reads them.
        let bad = content.env.values().any(|value| value % 8 == 7);
        let behaviour = if bad { Behaviour::Exits(1) } else { behaviour };
        let env = content
            .env
            .iter()
            .zip(service.fingerprint.0[8..].chunks_exact_mut(5));
        for ((key, value), place) in env {
            place[0] = *key as u8;
            place[1..].copy_from_slice(&value.to_le_bytes());
        }
        let engine = &mut self.engine;
        engine.behaviours.insert(key.clone(), behaviour);
        engine
            .memory_bytes
            .insert(key.clone(), service.memory_bytes);
        if !service.routed {
            engine.unrouted.insert(key);
        }
        service
    }
}

/// A build, on whatever base.
pub fn deploys(world: &mut World, app: &AppName) -> Option<ReleaseId> {
    let number = world.next();
    let mut random = world.random.clone();
    let (kinds, mortal) = world.ways.get(app).cloned()?;
    let build = build(&mut random, number, &kinds, mortal);
    world.random = random;
    world.records.get_mut(app)?.builds.push(build);
    let start = start(world, app);
    world.change(app, &start, &Change::Build(number))
}

/// A change of variables, on whatever base.
pub fn sets(world: &mut World, app: &AppName) -> Option<ReleaseId> {
    let key = *world.random.pick(&KEYS)?;
    let change = match world.random.permille(200) {
        true => Change::Unset(key),
        false => Change::Set(key, world.next()),
    };
    let start = start(world, app);
    world.change(app, &start, &change)
}

/// Mostly what the rack chooses.
fn start(world: &mut World, app: &AppName) -> Start {
    if world.promises.plain(app) {
        return Start::Base;
    }
    match world.random.below(10) {
        0 => Start::Active,
        1 => Start::Newest,
        2 => any(world, app).map_or(Start::Base, Start::Release),
        _ => Start::Base,
    }
}

/// Any release of an app.
pub fn any(world: &mut World, app: &AppName) -> Option<ReleaseId> {
    let releases = &world.records.get(app)?.releases;
    let record = world.random.pick(releases)?;
    Some(record.release.id.clone())
}

/// One moment of users who make releases.
pub fn act(world: &mut World, app: &AppName, chance: u64) -> Option<()> {
    let plain = world.promises.plain(app);
    let (release, kind) = match chance {
        0..8 => (deploys(world, app)?, PromotionKind::Promote),
        8..14 => {
            let made = sets(world, app)?;
            if !world.random.permille(300) {
                return Some(());
            }
            (made, PromotionKind::Promote)
        }
        14..16 => return deploys(world, app).map(drop),
        16..21 => (world.base(app, &Start::Base)?, PromotionKind::Promote),
        21..23 if !plain => {
            let (built, env) = (any(world, app)?, any(world, app)?);
            let made = world.compose(app, &built, &env)?;
            if world.random.permille(500) {
                return Some(());
            }
            (made, PromotionKind::Promote)
        }
        23..26 if !plain => (any(world, app)?, PromotionKind::Promote),
        26..31 => (goes_back(world, app, None)?, PromotionKind::Rollback),
        31..34 if !plain => {
            let source = any(world, app)?;
            (
                goes_back(world, app, Some(source))?,
                PromotionKind::Rollback,
            )
        }
        34..39 => {
            users::cancel(world, app, Cancel::BySuperseding);
            let release = match world.random.permille(500) {
                true => deploys(world, app)?,
                false => world.base(app, &Start::Base)?,
            };
            (release, PromotionKind::Promote)
        }
        _ => return None,
    };
    users::promote(world, app, &release, kind);
    Some(())
}

/// A copy of a release to go back to; without a name, of the last good one.
fn goes_back(world: &mut World, app: &AppName, to: Option<ReleaseId>) -> Option<ReleaseId> {
    let source = match to {
        Some(named) => named,
        None => world.last_good(app)?,
    };
    world.copy(app, &source)
}
