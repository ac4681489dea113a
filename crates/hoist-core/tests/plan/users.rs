//! Users who deploy, promote, go back, restart, cancel, supersede, resize, stop, start and delete, at any moment.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ReleaseId, ServiceName, SlotId};
use hoist_core::model::{
    App, Cancel, Life, Limits, Millis, PromotionKind, Release, Standing, Strategy,
};
use hoist_core::plan::{self, PromoteOptions, Scaling};

use crate::deploys;
use crate::engine::Behaviour;
use crate::random::Random;
use crate::world::World;

/// A service of a simulated release.
pub struct Kind {
    pub name: &'static str,
    pub routed: bool,
    pub strategy: Strategy,
}

pub const KINDS: [Kind; 5] = [
    Kind {
        name: "web",
        routed: true,
        strategy: Strategy::Surge,
    },
    Kind {
        name: "api",
        routed: true,
        strategy: Strategy::Surge,
    },
    Kind {
        name: "worker",
        routed: false,
        strategy: Strategy::Surge,
    },
    Kind {
        name: "lone",
        routed: true,
        strategy: Strategy::Replace,
    },
    Kind {
        name: "clock",
        routed: false,
        strategy: Strategy::Replace,
    },
];

/// Fills a world with apps, each with a first release.
pub fn populate(world: &mut World, mortal: bool) {
    let apps = 1 + world.random.below(3);
    world.engine.memory_total_bytes = if world.random.permille(300) { 3_000 } else { 0 };
    for number in 0..apps {
        let name: AppName = format!("app{number}").parse().expect("an app name");
        let kinds = deploys::kinds(&mut world.random);
        world.ways.insert(name.clone(), (kinds, mortal));
        found(world, &name);
    }
}

fn found(world: &mut World, name: &AppName) {
    let at = world.draw();
    let mut app = plan::create(name.clone(), at);
    app.promotion_limit = Millis(world.random.between(20_000, 120_000));
    let plain = world.random.permille(500);
    world.found(app, plain);
    for _ in 0..=world.random.below(2) {
        deploys::deploys(world, name);
    }
}

pub fn behaviour(random: &mut Random, mortal: bool) -> Behaviour {
    match random.below(100) {
        0..72 => Behaviour::Good(random.below(4_000)),
        72..75 if mortal => Behaviour::Deaf(random.below(3_000), random.between(500, 20_000)),
        75..80 if mortal => Behaviour::DiesAfter(random.below(3_000), random.between(500, 20_000)),
        80..84 => Behaviour::Exits(1),
        84..88 => Behaviour::NeverReady,
        88..90 => Behaviour::ListensElsewhere,
        90..92 => Behaviour::OutOfMemory,
        92..94 => Behaviour::ExecFails,
        94..95 => Behaviour::Refused,
        95..97 => Behaviour::Good(15_000),
        _ => Behaviour::Good(300),
    }
}

/// One moment of all users.
pub fn act(world: &mut World) {
    let names: Vec<_> = world.ways.keys().cloned().collect();
    for name in names {
        let chance = world.random.below(1000);
        if !world.apps.contains_key(&name) {
            if chance < 20 {
                world.say(format!("{name} created"));
                found(world, &name);
            }
            continue;
        }
        match chance {
            0..39 => drop(deploys::act(world, &name, chance)),
            39..45 => restart(world, &name),
            45..49 => start(world, &name),
            49..54 => cancel(world, &name, Cancel::ByUser),
            54..68 => resize(world, &name),
            68..76 => renew(world, &name),
            76..79 => limit(world, &name),
            79..82 => said(world, &name, "stop", plan::stop),
            82..83 => said(world, &name, "delete", plan::delete),
            83..87 => sweep(world, &name),
            _ => {}
        }
    }
}

type Command = fn(
    &mut App,
    hoist_core::id::Version,
    hoist_core::model::Timestamp,
) -> Result<(), plan::CommandError>;

pub fn said(world: &mut World, name: &AppName, word: &str, command: Command) {
    if world.commit(name, |app, at, now| command(app, at, now).is_ok()) {
        world.say(format!("{name} {word}"));
    }
}

/// Begins a promotion of a release that is recorded.
pub fn promote(
    world: &mut World,
    name: &AppName,
    release: &ReleaseId,
    kind: PromotionKind,
) -> bool {
    let records = world.records.get(name);
    let target = records.and_then(|records| records.find(release));
    let target = target.map(|record| record.release.clone());
    target.is_some_and(|target| begin(world, name, target, kind, PromoteOptions::default()))
}

/// Some apps have a one-off that runs whatever release.
fn sweep(world: &mut World, name: &AppName) {
    let keep = world.random.between(1, 6) as u32;
    let used = deploys::any(world, name).filter(|_| world.random.permille(300));
    world.sweep(name, keep, used);
}

fn restart(world: &mut World, name: &AppName) {
    let Some(target) = active(world, name) else {
        return;
    };
    let services: Vec<_> = target.services.keys().cloned().collect();
    let only = world.random.pick(&services).cloned();
    let only = only.filter(|_| world.random.permille(500));
    let options = PromoteOptions { limit: None, only };
    begin(world, name, target, PromotionKind::Restart, options);
}

fn start(world: &mut World, name: &AppName) {
    let stopped = |app: &App| app.standing == Standing::Stopped;
    if !world.apps.get(name).is_some_and(stopped) {
        return;
    }
    if let Some(target) = active(world, name) {
        let options = PromoteOptions::default();
        begin(world, name, target, PromotionKind::Start, options);
    }
}

/// The release that serves, whole.
fn active(world: &World, name: &AppName) -> Option<Release> {
    let record = world.records.get(name)?.find(&world.active(name)?)?;
    Some(record.release.clone())
}

pub fn begin(
    world: &mut World,
    name: &AppName,
    target: Release,
    kind: PromotionKind,
    options: PromoteOptions,
) -> bool {
    let only = options.only.as_ref();
    let only = only.map(|only| format!(" only {only}"));
    let (word, id) = (word(kind), &target.id);
    let line = format!("{name} {word} {id}{}", only.unwrap_or_default());
    let planner = std::mem::take(&mut world.planner);
    let done = world.commit(name, |app, at, now| {
        let begun = planner.promote(app, target, kind, options, (at, now));
        begun.is_ok()
    });
    world.planner = planner;
    if done {
        world.say(line);
    }
    done
}

fn word(kind: PromotionKind) -> &'static str {
    match kind {
        PromotionKind::Promote => "promote",
        PromotionKind::Rollback => "rollback to",
        PromotionKind::Restart => "restart",
        PromotionKind::Start => "start",
    }
}

pub fn cancel(world: &mut World, name: &AppName, how: Cancel) {
    if world.commit(name, |app, at, _| plan::cancel(app, how, at).is_ok()) {
        world.say(format!("{name} cancel {how:?}"));
    }
}

fn resize(world: &mut World, name: &AppName) {
    let Some(app) = world.apps.get(name) else {
        return;
    };
    let services = app.releases.values().flat_map(|release| &release.services);
    let services: Vec<_> = services
        .map(|(name, service)| (name.clone(), service.strategy))
        .collect();
    let Some((service, strategy)) = world.random.pick(&services).cloned() else {
        return;
    };
    let most = if strategy == Strategy::Replace { 1 } else { 4 };
    let size = world.random.between(0, most) as u16;
    resize_to(world, name, &service, size);
}

fn renew(world: &mut World, name: &AppName) {
    let listed = world.listed(name);
    if let Some((slot, life)) = world.random.pick(&listed).cloned() {
        renew_one(world, name, &slot, &life);
    }
}

pub fn renew_one(world: &mut World, name: &AppName, slot: &SlotId, life: &Life) {
    if world.commit(name, |app, at, now| {
        plan::renew(app, slot, life, at, now).is_ok()
    }) {
        world.say(format!("{name} ps stop {} {}", slot.workload, slot.slot));
    }
}

fn limit(world: &mut World, name: &AppName) {
    let Some(app) = world.apps.get(name) else {
        return;
    };
    let services = app.releases.values().flat_map(|release| &release.services);
    let services: Vec<_> = services.map(|(name, _)| name.clone()).collect();
    let Some(service) = world.random.pick(&services).cloned() else {
        return;
    };
    let bytes = 1 + world.random.below(200);
    let back = world.random.permille(300);
    limit_to(world, name, &service, (!back).then_some(bytes));
}

/// Sets the memory of a service, or gives size and memory back to the manifest, and restarts it where that is due.
pub fn limit_to(world: &mut World, name: &AppName, service: &ServiceName, bytes: Option<u64>) {
    let limits = Limits {
        memory_bytes: bytes,
        cpu_millicores: None,
    };
    let mut scaling = Scaling::default();
    match bytes {
        Some(_) => drop(scaling.limits.insert(service.clone(), limits)),
        None => drop(scaling.from_manifest.insert(service.clone())),
    }
    let mut restarts = false;
    let done = world.commit(name, |app, at, now| {
        let Ok(due) = plan::scale(app, &scaling, at, now) else {
            return false;
        };
        let active = app.serving.as_ref().map(|serving| &serving.release);
        let active = active.and_then(|id| app.releases.get(id)).cloned();
        let (Some(target), Some(only)) = (active, due.into_iter().next()) else {
            return true;
        };
        restarts = true;
        let options = PromoteOptions {
            limit: None,
            only: Some(only),
        };
        plan::promote(app, target, PromotionKind::Restart, options, at, now).is_ok()
    });
    if !done {
        return;
    }
    if restarts {
        world.checks.count("restarted with limits");
    }
    match bytes {
        Some(bytes) => world.say(format!("{name} scale {service} to {bytes} bytes each")),
        None => world.say(format!("{name} scale {service} by the manifest")),
    }
}

pub fn resize_to(world: &mut World, name: &AppName, service: &ServiceName, size: u16) {
    let sizes = BTreeMap::from([(service.clone(), size)]);
    if world.commit(name, |app, at, now| {
        plan::resize(app, &sizes, at, now).is_ok()
    }) {
        world.say(format!("{name} scale {service}={size}"));
    }
}
