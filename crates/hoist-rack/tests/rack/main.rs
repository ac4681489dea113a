//! Ring 2: a whole rack in one process: real store, real router, real probes; processes are scripts of the sim engine.

mod building;
mod cancelling;
mod clock;
mod env;
mod foreign;
mod lists;
mod moving;
mod params;
mod postdeploy;
mod releases;
mod retention;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hoist_core::id::{AppName, ReleaseId, ServiceName};
use hoist_core::model::{Cancel, Life};
use hoist_core::plan::Scaling;
use hoist_rack::commands::{IfBusy, RolledBack, ScaleWish};
use hoist_rack::{Rack, RackError};

use world::{PATIENCE, World, actor, created, request, setting, web};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_release_serves_and_a_bad_one_leaves_it_alone() {
    let world = World::new().await;
    let app = created(&world).await;
    let good = world.build(&app, &web("serve")).await;
    let record = world.promote(&app, &good).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"));
    assert_eq!(world.get("shop.localhost").await, 200);
    assert_eq!(world.get("web.shop.localhost:8080").await, 200);
    assert_eq!(world.get("nobody.localhost").await, 404);
    let cases = [
        ("say goodbye; exit 3", "exited"),
        ("serve-elsewhere", "listens on"),
        ("serve 503", "answers GET / with 503"),
        ("idle", "does not listen"),
    ];
    for (script, words) in cases {
        let bad = world.build(&app, &web(script)).await;
        let record = world.promote(&app, &bad).await;
        assert_eq!(record.outcome.as_deref(), Some("rolled-back"), "{script}");
        let reason = record.reason.expect("a reason");
        assert!(reason.contains(words), "{script}: {reason}");
        assert_eq!(world.active(&app), Some(good.clone()), "{script}");
        assert_eq!(world.get("shop.localhost").await, 200, "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_of_a_first_deploy_that_fails_are_kept() {
    let world = World::new().await;
    let app = created(&world).await;
    let bad = world.build(&app, &web("cry no database; exit 3")).await;
    let record = world.promote(&app, &bad).await;
    assert_eq!(record.outcome.as_deref(), Some("failed"));
    assert!(
        record
            .report
            .last_lines
            .iter()
            .any(|(_, _, text)| text == "no database")
    );
    assert_eq!(world.active(&app), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_command_runs_before_anything_starts_and_its_failure_ends_it() {
    let world = World::new().await;
    let app = created(&world).await;
    let with = |script: &str| format!("release: [\"{script}\"]\n{}", web("serve"));
    let good = world.build(&app, &with("say migrated")).await;
    let record = world.promote(&app, &good).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"));
    let phases: Vec<_> = record
        .report
        .phases
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(phases, ["preparing", "starting", "shifting", "draining"]);
    let before = world.rack().processes(&app).await.expect("processes");
    let bad = world.build(&app, &with("say no table; exit 5")).await;
    let record = world.promote(&app, &bad).await;
    assert_eq!(record.outcome.as_deref(), Some("rolled-back"));
    assert_eq!(
        record.reason.as_deref(),
        Some("the release command failed (exit 5)")
    );
    assert!(
        record
            .report
            .last_lines
            .iter()
            .any(|(_, _, text)| text == "no table")
    );
    let after = world.rack().processes(&app).await.expect("processes");
    let ids = |views: &[hoist_rack::commands::ProcessView]| -> Vec<String> {
        views
            .iter()
            .map(|view| view.process.id.to_string())
            .collect()
    };
    assert_eq!(ids(&before), ids(&after), "nothing was started or stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rack_that_crashes_anywhere_in_a_promotion_ends_it_after_its_start() {
    let mut world = World::new().await;
    let app = created(&world).await;
    let mut last = world.build(&app, &web("serve")).await;
    assert_eq!(
        world.promote(&app, &last).await.outcome.as_deref(),
        Some("succeeded")
    );
    for pause in [0, 2, 5, 10, 20, 40, 80, 160] {
        let bad = pause % 4 == 2;
        let script = if bad {
            "wait 50; exit 1"
        } else {
            "wait 30; serve"
        };
        let next = world.build(&app, &web(script)).await;
        let begun = world
            .rack()
            .promote(&app, request(&next, IfBusy::Wait), &actor())
            .await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        world.crash().await;
        let record = world.ended(&app, begun.expect("a promotion")).await;
        let expected = if bad { "rolled-back" } else { "succeeded" };
        assert_eq!(
            record.outcome.as_deref(),
            Some(expected),
            "crash after {pause} ms: {:?}",
            record.reason
        );
        last = if bad { last } else { next.clone() };
        assert_eq!(
            world.active(&app),
            Some(last.clone()),
            "crash after {pause} ms of {next}: {record:?}"
        );
        assert_eq!(
            world.get("shop.localhost").await,
            200,
            "crash after {pause} ms"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_that_are_too_large_together_are_refused_with_what_helps() {
    let world = World::new().await;
    let app = created(&world).await;
    let names = (0..32).map(|n| (format!("V{n}"), "x".repeat(40_000)));
    let change = setting(names.collect(), None);
    let refused = world.rack().update_env(&app, change, &actor()).await;
    let refused = refused.expect_err("more than 1 MB");
    assert!(
        matches!(refused, RackError::EnvTooLarge { .. }),
        "{refused}"
    );
    assert!(refused.hint().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_promotion_waits_refuses_or_takes_over_as_it_was_told() {
    let world = World::new().await;
    let app = created(&world).await;
    let slow = world.build(&app, &web("wait 1500; serve")).await;
    let quick = world.build(&app, &web("serve")).await;
    let rack = world.rack();
    let begin = |release: &ReleaseId, busy| {
        let (rack, app, request) = (rack.clone(), app.clone(), request(release, busy));
        async move { rack.promote(&app, request, &actor()).await }
    };
    let first = begin(&slow, IfBusy::Refuse).await.expect("the first");
    assert!(begin(&quick, IfBusy::Refuse).await.is_err());
    let second = begin(&quick, IfBusy::Supersede).await.expect("the second");
    let first = world.ended(&app, first).await;
    assert_eq!(first.outcome.as_deref(), Some("superseded"));
    assert_eq!(
        world.ended(&app, second).await.outcome.as_deref(),
        Some("succeeded")
    );
    let third = begin(&slow, IfBusy::Refuse).await.expect("the third");
    let fourth = begin(&quick, IfBusy::Wait)
        .await
        .expect("the fourth, after the third");
    assert_eq!(
        world.ended(&app, third).await.outcome.as_deref(),
        Some("succeeded")
    );
    assert_eq!(
        world.ended(&app, fourth).await.outcome.as_deref(),
        Some("succeeded")
    );
    let fifth = begin(&slow, IfBusy::Refuse).await.expect("the fifth");
    rack.cancel(&app, Cancel::ByUser, None, &actor())
        .await
        .expect("cancelled");
    assert_eq!(
        world.ended(&app, fifth).await.outcome.as_deref(),
        Some("cancelled")
    );
    assert_eq!(world.active(&app), Some(quick));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_keeps_what_is_warm_and_two_of_them_go_further_back() {
    let world = World::new().await;
    let app = created(&world).await;
    let mut releases = Vec::new();
    for number in 0..3 {
        let release = world
            .build(&app, &web(&format!("say {number}; serve")))
            .await;
        assert_eq!(
            world.promote(&app, &release).await.outcome.as_deref(),
            Some("succeeded")
        );
        releases.push(release);
    }
    let rack = world.rack();
    let ids = |processes: Vec<hoist_rack::commands::ProcessView>| -> BTreeSet<String> {
        processes
            .iter()
            .map(|view| view.process.id.to_string())
            .collect()
    };
    let before = ids(rack.processes(&app).await.expect("processes"));
    let back = rack
        .rollback(&app, None, IfBusy::Refuse, None, &actor())
        .await;
    let RolledBack {
        release: copy,
        promotion,
        ..
    } = back.expect("a rollback");
    assert_eq!(copy.rollback_of.as_ref(), Some(&releases[1]));
    assert_eq!(
        world.ended(&app, promotion).await.outcome.as_deref(),
        Some("succeeded")
    );
    let after = ids(rack.processes(&app).await.expect("processes"));
    assert!(
        after.is_subset(&before),
        "a warm process was not kept: {before:?} {after:?}"
    );
    let back = rack
        .rollback(&app, None, IfBusy::Refuse, None, &actor())
        .await;
    let RolledBack {
        release: copy,
        promotion,
        ..
    } = back.expect("another rollback");
    assert_eq!(copy.rollback_of.as_ref(), Some(&releases[0]));
    assert_eq!(
        world.ended(&app, promotion).await.outcome.as_deref(),
        Some("succeeded")
    );
    let nothing = rack
        .rollback(&app, None, IfBusy::Refuse, None, &actor())
        .await;
    assert!(matches!(nothing, Err(RackError::NothingToRollBackTo(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_start_scale_and_delete() {
    let world = World::new().await;
    let app = created(&world).await;
    let release = world.build(&app, &web("serve")).await;
    world.promote(&app, &release).await;
    let rack = world.rack();
    let sizes = BTreeMap::from([("web".parse().expect("a name"), 3)]);
    rack.scale(&app, sized(sizes), &actor())
        .await
        .expect("scaled");
    until(|| async { ready(rack, &app).await == 3 }).await;
    rack.stop(&app, &actor()).await.expect("stopping");
    until(|| async { rack.processes(&app).await.expect("processes").is_empty() }).await;
    assert_eq!(world.get("shop.localhost").await, 502);
    let begun = rack.start_app(&app, &actor()).await.expect("starting");
    assert_eq!(
        world.ended(&app, begun).await.outcome.as_deref(),
        Some("succeeded")
    );
    assert_eq!(ready(rack, &app).await, 3);
    let refused = rack.delete(&app, "shoop", false, &actor()).await;
    assert!(matches!(refused, Err(RackError::Unconfirmed(_))));
    rack.delete(&app, "shop", false, &actor())
        .await
        .expect("deleting");
    until(|| async { rack.app(&app).is_err() }).await;
    until(|| async { !rack.layout.app(&app).exists() }).await;
    until(|| async { world.get("shop.localhost").await == 404 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rack_that_crashes_anywhere_in_a_renewal_ends_it() {
    let mut world = World::new().await;
    let app = created(&world).await;
    let release = world.build(&app, &web("wait 60; serve")).await;
    world.promote(&app, &release).await;
    for pause in [0, 5, 20, 60, 150] {
        let before = lives(world.rack(), &app).await;
        let id = before[0].process.to_string();
        let stopping = world.rack().stop_process(&app, &id, &actor()).await;
        stopping.expect("it is stopped");
        tokio::time::sleep(Duration::from_millis(pause)).await;
        world.crash().await;
        let rack = world.rack();
        until(|| async {
            let entry = rack.app(&app).expect("the app");
            entry.app.renewals.is_empty() && ready(rack, &app).await == 1
        })
        .await;
        assert_ne!(lives(rack, &app).await, before, "after {pause} ms");
        assert_eq!(world.get("shop.localhost").await, 200);
        assert_eq!(world.active(&app), Some(release.clone()));
    }
}

async fn lives(rack: &Rack, app: &AppName) -> Vec<Life> {
    let processes = rack.processes(app).await.expect("processes");
    processes.iter().map(|view| view.process.life()).collect()
}

fn sized(sizes: BTreeMap<ServiceName, u16>) -> ScaleWish {
    let scaling = Scaling {
        sizes,
        ..Scaling::default()
    };
    ScaleWish {
        scaling,
        ..ScaleWish::default()
    }
}

async fn ready(rack: &Rack, app: &AppName) -> usize {
    let processes = rack.processes(app).await.expect("processes");
    processes
        .iter()
        .filter(|view| view.status == "ready")
        .count()
}

async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it comes true");
}
