//! `scripts.dokku.postdeploy`: once per deploy that succeeded, whatever becomes of the rack meanwhile.

use std::time::Duration;

use hoist_core::id::{AppName, ReleaseId};
use hoist_core::model::PromotionKind;
use hoist_engine::Engine as _;
use hoist_rack::commands::{BuildRequest, IfBusy, PromoteRequest};

use crate::world::{PATIENCE, World, actor, created, request};

/// A release whose web serves and whose script is this.
async fn release(world: &World, app: &AppName, script: &str) -> ReleaseId {
    let app_json = format!(r#"{{"scripts": {{"dokku": {{"postdeploy": "{script}"}}}}}}"#);
    let files = [("Procfile", "web: serve\n"), ("app.json", &app_json)];
    world
        .build_files(app, &files, BuildRequest::default())
        .await
}

/// Waits until no script is due or runs, and none is remembered by the engine.
async fn rest(world: &World, app: &AppName) {
    let wait = async {
        loop {
            let entry = world.rack().app(app).expect("the app");
            let seen = world.engine.observe().await.expect("a look");
            if entry.app.postdeploys.is_empty() && seen.tasks.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("scripts end and are forgotten");
}

/// How often a line was said by scripts.
fn said(world: &World, app: &AppName, line: &str) -> usize {
    let logs = world.rack().layout.logs(app);
    let files = std::fs::read_dir(logs).expect("logs").flatten();
    let scripts = files.filter(|file| {
        file.file_name()
            .to_string_lossy()
            .starts_with("postdeploy.")
    });
    let texts = scripts.map(|file| std::fs::read_to_string(file.path()).expect("a log"));
    texts.map(|text| text.matches(line).count()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_runs_once_per_deploy_and_its_failure_changes_nothing() {
    let world = World::new().await;
    let app = created(&world).await;
    let good = release(&world, &app, "say seeded; print RELEASE").await;
    let record = world.promote(&app, &good).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"));
    rest(&world, &app).await;
    assert_eq!(said(&world, &app, good.as_str()), 1);
    let bad = release(&world, &app, "say no table; exit 3").await;
    assert_eq!(
        world.promote(&app, &bad).await.outcome.as_deref(),
        Some("succeeded")
    );
    rest(&world, &app).await;
    assert_eq!(said(&world, &app, "no table"), 1);
    assert_eq!(world.active(&app), Some(bad.clone()));
    assert_eq!(world.get("shop.localhost").await, 200);
    // Going back and restarting are no deploys.
    for kind in [PromotionKind::Rollback, PromotionKind::Restart] {
        let asked = PromoteRequest {
            kind,
            ..request(&good, IfBusy::Wait)
        };
        let begun = world.rack().promote(&app, asked, &actor()).await;
        let record = world.ended(&app, begun.expect("a promotion")).await;
        assert_eq!(record.outcome.as_deref(), Some("succeeded"));
    }
    world.promote(&app, &good).await;
    rest(&world, &app).await;
    assert_eq!(said(&world, &app, "seeded"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rack_that_crashes_anywhere_neither_loses_nor_repeats_a_script() {
    let mut world = World::new().await;
    let app = created(&world).await;
    for (round, pause) in [0, 5, 20, 60, 100, 140, 180, 220].into_iter().enumerate() {
        let script = format!("say begun {round}; wait 60; say done {round}");
        let next = release(&world, &app, &script).await;
        let begun = world
            .rack()
            .promote(&app, request(&next, IfBusy::Wait), &actor())
            .await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        world.crash().await;
        let record = world.ended(&app, begun.expect("a promotion")).await;
        assert_eq!(record.outcome.as_deref(), Some("succeeded"));
        rest(&world, &app).await;
        for word in ["begun", "done"] {
            let times = said(&world, &app, &format!("{word} {round}"));
            assert_eq!(times, 1, "{word} after a crash at {pause} ms");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_stops_with_its_app_and_holds_up_no_deploy() {
    let world = World::new().await;
    let app = created(&world).await;
    let slow = release(&world, &app, "say begun; idle").await;
    world.promote(&app, &slow).await;
    let next = release(&world, &app, "say never").await;
    let record = world.promote(&app, &next).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"));
    let due = world.rack().app(&app).expect("the app");
    assert_eq!(due.app.postdeploys.len(), 2, "the first one still runs");
    world.rack().stop(&app, &actor()).await.expect("it stops");
    rest(&world, &app).await;
    assert_eq!(said(&world, &app, "begun"), 1);
    assert_eq!(said(&world, &app, "never"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_ends_with_an_app_that_is_deleted() {
    let world = World::new().await;
    let app = created(&world).await;
    let slow = release(&world, &app, "idle").await;
    world.promote(&app, &slow).await;
    world
        .rack()
        .delete(&app, "shop", false, &actor())
        .await
        .expect("it goes");
    let gone = async {
        while world.rack().app(&app).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while !world
            .engine
            .observe()
            .await
            .expect("a look")
            .tasks
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("nothing is left");
}
