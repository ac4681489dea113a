//! Users who promote, go back, restart, cancel, supersede, resize, stop, start and delete, at any moment.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ReleaseId, ServiceName, SlotId};
use hoist_core::model::{
    App, Cancel, Fingerprint, Life, Limits, Millis, PromotionKind, Release, Service, Standing,
    Strategy,
};
use hoist_core::plan::{self, PromoteOptions, Scaling};

use crate::engine::{Behaviour, Engine};
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

/// Fills a world with apps and releases, some of them bad.
pub fn populate(world: &mut World, mortal: bool) {
    let apps = 1 + world.random.below(3);
    world.engine.memory_total_bytes = if world.random.permille(300) { 3_000 } else { 0 };
    for number in 0..apps {
        let name: AppName = format!("app{number}").parse().expect("an app name");
        let mut random = world.random.clone();
        let kinds: Vec<_> = KINDS
            .iter()
            .filter(|kind| kind.name == "web" || random.permille(300))
            .collect();
        let count = random.between(3, 5);
        let releases =
            (0..count).map(|n| release(&mut world.engine, &mut random, number, n, &kinds, mortal));
        let releases: Vec<_> = releases.collect();
        for release in &releases {
            for (service, of) in &release.services {
                // What must not run twice has no time to give on the way back; nothing has more than 30 s there.
                let least = if of.strategy == Strategy::Replace {
                    0
                } else {
                    of.drain_limit.0.min(30_000)
                };
                world
                    .checks
                    .drain_limits
                    .insert((release.id.clone(), service.clone()), least);
            }
        }
        world.random = random;
        world.catalog.insert(name.clone(), releases);
        found(world, &name);
    }
}

fn found(world: &mut World, name: &AppName) {
    let at = world.draw();
    let mut app = plan::create(name.clone(), at);
    app.promotion_limit = Millis(world.random.between(20_000, 120_000));
    world.apps.insert(name.clone(), app);
}

fn release(
    engine: &mut Engine,
    random: &mut Random,
    app: u64,
    number: u64,
    kinds: &[&Kind],
    mortal: bool,
) -> Release {
    let letter = |n: u64| char::from(b'A' + n as u8);
    let command_fails = random.permille(150);
    let last = if command_fails { 'F' } else { 'S' };
    let id: ReleaseId = format!("RAAAAAAA{}{}{last}", letter(app), letter(number))
        .parse()
        .expect("a release id");
    if random.permille(300) {
        engine.scripts_fail.insert(id.clone());
    }
    let mut services = BTreeMap::new();
    for kind in kinds {
        if kind.name != "web" && random.permille(150) {
            continue;
        }
        let name: ServiceName = kind.name.parse().expect("a service name");
        let behaviour = behaviour(random, mortal);
        let memory_bytes = random.below(200);
        let key = (id.clone(), name.clone());
        engine.behaviours.insert(key.clone(), behaviour);
        engine.memory_bytes.insert(key.clone(), memory_bytes);
        if !kind.routed {
            engine.unrouted.push(key);
        }
        let mut fingerprint = [0; 32];
        // Some services are the same in every release that is good.
        let same = matches!(behaviour, Behaviour::Good(_)) && random.permille(400);
        (fingerprint[0], fingerprint[1]) = (1, if same { 0 } else { number as u8 + 1 });
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
        services.insert(name, service);
    }
    Release {
        id,
        build: "BAAAAAAAAAA".parse().expect("a build id"),
        has_release_command: command_fails || random.permille(250),
        has_postdeploy: random.permille(400),
        services,
    }
}

fn behaviour(random: &mut Random, mortal: bool) -> Behaviour {
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
    let names: Vec<_> = world.catalog.keys().cloned().collect();
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
            0..18 => promote(world, &name, PromotionKind::Promote),
            18..26 => promote(world, &name, PromotionKind::Rollback),
            26..32 => promote(world, &name, PromotionKind::Restart),
            32..36 => promote(world, &name, PromotionKind::Start),
            36..41 => cancel(world, &name, Cancel::ByUser),
            41..46 => {
                cancel(world, &name, Cancel::BySuperseding);
                promote(world, &name, PromotionKind::Promote);
            }
            46..60 => resize(world, &name),
            64..72 => renew(world, &name),
            72..75 => limit(world, &name),
            60..63 => said(world, &name, "stop", plan::stop),
            63..64 => said(world, &name, "delete", plan::delete),
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

fn promote(world: &mut World, name: &AppName, kind: PromotionKind) {
    let Some(app) = world.apps.get(name) else {
        return;
    };
    let active = app.serving.as_ref().map(|serving| serving.release.clone());
    let stopped = app.standing == Standing::Stopped;
    let warm = app
        .retiring
        .values()
        .map(|retiring| retiring.release.clone())
        .next();
    let releases = world.catalog.get(name).cloned().unwrap_or_default();
    let by_id = |id: Option<ReleaseId>| {
        releases
            .iter()
            .find(|release| Some(&release.id) == id.as_ref())
            .cloned()
    };
    let random = world.random.pick(&releases).cloned();
    let target = match kind {
        PromotionKind::Promote => random,
        PromotionKind::Rollback => by_id(warm).or(random),
        PromotionKind::Restart => by_id(active),
        PromotionKind::Start if stopped => by_id(active),
        PromotionKind::Start => None,
    };
    let Some(target) = target else { return };
    let services: Vec<_> = target.services.keys().cloned().collect();
    let only = world.random.pick(&services).cloned();
    let only = only.filter(|_| kind == PromotionKind::Restart && world.random.permille(500));
    begin(world, name, target, kind, only);
}

pub fn begin(
    world: &mut World,
    name: &AppName,
    target: Release,
    kind: PromotionKind,
    only: Option<ServiceName>,
) -> bool {
    let line = format!(
        "{name} {} {}{}",
        word(kind),
        target.id,
        only.as_ref()
            .map(|o| format!(" only {o}"))
            .unwrap_or_default()
    );
    let options = PromoteOptions { limit: None, only };
    let done = world.commit(name, |app, at, now| {
        plan::promote(app, target, kind, options, at, now).is_ok()
    });
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
