//! Ring 2: cancelling, in every phase in which a promotion can be found.

use std::time::Duration;

use hoist_core::id::{AppName, ReleaseId, Version};
use hoist_core::model::{Cancel, Phase};
use hoist_rack::RackError;
use hoist_rack::commands::IfBusy;
use hoist_rack::store::PromotionRecord;

use super::world::{PATIENCE, World, actor, created, request, web};

/// Begins to promote a release of this manifest, and waits until it is where it should be.
async fn begun(
    world: &World,
    app: &AppName,
    manifest: &str,
    there: impl Fn(&Phase) -> bool,
) -> PromotionRecord {
    let release = world.build(app, manifest).await;
    let begun = world
        .rack()
        .promote(app, request(&release, IfBusy::Refuse), &actor())
        .await
        .expect("a promotion");
    reaches(world, app, there).await;
    begun
}

/// Waits until the promotion in flight is where it should be.
async fn reaches(world: &World, app: &AppName, there: impl Fn(&Phase) -> bool) {
    let wait = async {
        loop {
            let entry = world.rack().app(app).expect("the app");
            let promotion = entry.app.promotion.as_ref();
            if there(&promotion.expect("in flight").phase) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a phase");
}

/// Waits until the release command has said something.
async fn command_runs(world: &World) {
    let logs = world.dir.path().join("data/apps/shop/logs");
    let said = || {
        let files = std::fs::read_dir(&logs).expect("logs").flatten();
        let mut own =
            files.filter(|file| file.file_name().to_string_lossy().starts_with("release."));
        own.any(|file| file.metadata().is_ok_and(|file| file.len() > 0))
    };
    let wait = async {
        while !said() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it runs");
}

async fn cancel(
    world: &World,
    app: &AppName,
    only: Option<Version>,
) -> Result<PromotionRecord, RackError> {
    world
        .rack()
        .cancel(app, Cancel::ByUser, only, &actor())
        .await
}

async fn is_cancelled(world: &World, app: &AppName, begun: PromotionRecord, active: &ReleaseId) {
    let number = begun.number;
    let cancelled = cancel(world, app, Some(number)).await.expect("cancelled");
    assert_eq!(cancelled.number, number);
    let ended = world.ended(app, begun).await;
    assert_eq!(ended.outcome.as_deref(), Some("cancelled"));
    assert_eq!(world.active(app).as_ref(), Some(active));
    assert_eq!(world.get("shop.localhost").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_not_switched_goes_back() {
    let world = World::new().await;
    let app = created(&world).await;
    let good = world.build(&app, &web("serve")).await;
    world.promote(&app, &good).await;
    let preparing = format!("release: [\"wait 60000\"]\n{}", web("serve"));
    let promotion = begun(&world, &app, &preparing, |phase| *phase == Phase::Preparing).await;
    is_cancelled(&world, &app, promotion, &good).await;
    let starting = web("idle").replace("grace: 2", "grace: 60");
    let promotion = begun(&world, &app, &starting, |phase| *phase == Phase::Starting).await;
    is_cancelled(&world, &app, promotion, &good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_switched_goes_back_while_old_requests_run() {
    let world = World::new().await;
    let app = created(&world).await;
    let good = world.build(&app, &web("serve")).await;
    world.promote(&app, &good).await;
    // A request whose end does not come holds the old process.
    let mut open = tokio::net::TcpStream::connect(world.address)
        .await
        .expect("the router");
    let head = "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 10\r\n\r\n12345";
    tokio::io::AsyncWriteExt::write_all(&mut open, head.as_bytes())
        .await
        .expect("sent");
    let promotion = begun(&world, &app, &web("say new; serve"), |phase| {
        *phase == Phase::Draining
    })
    .await;
    is_cancelled(&world, &app, promotion, &good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_back_does_so_and_what_has_ended_stays() {
    let world = World::new().await;
    let app = created(&world).await;
    let good = world.build(&app, &web("serve")).await;
    let first = world.promote(&app, &good).await;
    let refused = cancel(&world, &app, None).await;
    assert!(matches!(refused, Err(RackError::NothingInFlight(_))));
    // The release command ignores its signal, so that the way back takes a while.
    let manifest = format!(
        "release: [\"stubborn; say here; wait 60000\"]\n{}",
        web("serve")
    );
    let promotion = begun(&world, &app, &manifest, |phase| *phase == Phase::Preparing).await;
    command_runs(&world).await;
    cancel(&world, &app, None).await.expect("cancelled");
    reaches(&world, &app, |phase| {
        matches!(phase, Phase::RollingBack { .. })
    })
    .await;
    let again = cancel(&world, &app, None)
        .await
        .expect("it goes back already");
    assert_eq!(again.number, promotion.number);
    // Of another promotion than the one in flight nothing is cancelled.
    let refused = cancel(&world, &app, Some(first.number)).await;
    assert!(matches!(refused, Err(RackError::HasEnded { .. })));
}
