//! Ring 2: builds that somebody ends.

use std::time::Duration;

use hoist_core::id::{AppName, BuildId};
use hoist_core::model::TaskStatus;
use hoist_engine::{Engine as _, TaskId};
use hoist_rack::RackError;
use hoist_rack::commands::BuildRequest;
use hoist_rack::store::BuildStatus;

use super::world::{PATIENCE, World, actor, created, web, write_archive};

async fn begun(world: &World, app: &AppName) -> BuildId {
    let archive = world.dir.path().join("endless.tar");
    let manifest = format!("build: {{ command: [\"idle\"] }}\n{}", web("serve"));
    write_archive(&archive, &[("hoist.yml", &manifest)]);
    let request = BuildRequest::default();
    let actor = actor();
    let build = world.rack().start_build(app, &archive, request, &actor);
    build.await.expect("a build").id
}

/// Whether processes of a build run.
async fn runs(world: &World, app: &AppName, build: &BuildId) -> bool {
    let seen = world.engine.observe().await.expect("a look");
    let id = TaskId::Build(app.clone(), build.clone());
    matches!(seen.tasks.get(&id), Some(TaskStatus::Running))
}

async fn until_it_runs(world: &World, app: &AppName, build: &BuildId) {
    let wait = async {
        while !runs(world, app, build).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_is_ended_wherever_it_is() {
    let world = World::new().await;
    let app = created(&world).await;
    let rack = world.rack();
    let first = begun(&world, &app).await;
    until_it_runs(&world, &app, &first).await;
    let waits = begun(&world, &app).await;
    for build in [&waits, &first] {
        let ended = rack.cancel_build(&app, build, &actor()).await;
        let ended = ended.expect("cancelled");
        assert_eq!(ended.status, BuildStatus::Cancelled);
        assert_eq!(ended.reason.as_deref(), Some("cancelled by test"));
        assert_eq!(ended.release, None);
        assert!(ended.ended.is_some());
        assert!(!runs(&world, &app, build).await, "its processes are gone");
        let again = rack.cancel_build(&app, build, &actor()).await;
        let again = again.expect_err("it has ended");
        assert!(matches!(&again, RackError::BuildEnded { status, .. } if *status == "cancelled"));
    }
    // At its very beginning, and with two who want it.
    let third = begun(&world, &app).await;
    let (one, other) = (actor(), actor());
    let (one, other) = tokio::join!(
        rack.cancel_build(&app, &third, &one),
        rack.cancel_build(&app, &third, &other)
    );
    assert!(one.is_ok() || other.is_ok());
    let third = rack.build(&app, &third).await.expect("the build");
    assert_eq!(third.status, BuildStatus::Cancelled);
    // The app goes on being built.
    world.build(&app, &web("serve")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rack_that_ends_while_it_cancels_leaves_no_build_running() {
    let mut world = World::new().await;
    let app = created(&world).await;
    let build = begun(&world, &app).await;
    until_it_runs(&world, &app, &build).await;
    let rack = world.rack().clone();
    let (of, id) = (app.clone(), build.clone());
    let cancel = tokio::spawn(async move { rack.cancel_build(&of, &id, &actor()).await });
    tokio::task::yield_now().await;
    world.rack().shut_down().await;
    cancel.abort();
    let _ = cancel.await;
    world.crash().await;
    let after = world.rack().build(&app, &build).await.expect("the build");
    assert!(matches!(
        after.status,
        BuildStatus::Failed | BuildStatus::Cancelled
    ));
    let wait = async {
        while runs(&world, &app, &build).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("nothing of it runs");
}
