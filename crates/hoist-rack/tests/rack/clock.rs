//! Ring 2: the wall clock is set an hour forward or back, while a promotion is in flight and while no rack runs.
//!
//! The test runs itself again below a small library that moves the wall clock of one process: the rack must not be built
//! for it. `moved_clock.c` is that library.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use hoist_core::id::{AppName, ReleaseId};
use hoist_core::model::Phase;
use hoist_rack::commands::IfBusy;
use hoist_rack::store::PromotionRecord;

use super::world::{PATIENCE, World, actor, created, request, web};

/// Names the file that says by how many seconds the clock is wrong.
const MOVED: &str = "HOIST_TEST_MOVED_CLOCK";
const HOUR: i64 = 3_600;

#[test]
fn a_wall_clock_that_jumps_an_hour_either_way_takes_nothing_along() {
    match std::env::var_os(MOVED) {
        Some(file) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
            runtime
                .expect("a runtime")
                .block_on(story(&Wall(file.into())));
        }
        None => again_with_a_clock_that_moves(),
    }
}

fn again_with_a_clock_that_moves() {
    let dir = tempfile::tempdir().expect("a directory");
    let (library, moved) = (dir.path().join("moved_clock.so"), dir.path().join("moved"));
    std::fs::write(&moved, 0i64.to_ne_bytes()).expect("written");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rack/moved_clock.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    assert!(made.expect("a compiler").success(), "the library is made");
    let name = "clock::a_wall_clock_that_jumps_an_hour_either_way_takes_nothing_along";
    let told = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env("LD_PRELOAD", &library)
        .env(MOVED, &moved)
        .output()
        .expect("it runs");
    let (out, err) = (
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr),
    );
    assert!(
        told.status.success() && out.contains("1 passed"),
        "{out}\n{err}"
    );
}

/// The wall clock of this process.
struct Wall(PathBuf);

impl Wall {
    /// Sets it so many seconds from what it should be.
    fn set(&self, seconds: i64) {
        let file = std::fs::File::options().write(true).open(&self.0);
        let file = file.expect("the file that moves the clock");
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("moved");
    }
}

async fn story(wall: &Wall) {
    let before = SystemTime::now();
    wall.set(HOUR);
    let jumped = SystemTime::now().duration_since(before).expect("later");
    assert!(jumped.as_secs() >= HOUR as u64, "the clock does not move");
    wall.set(0);
    let mut world = World::new().await;
    let app = created(&world).await;
    let first = world.build(&app, &web("serve")).await;
    world.promote(&app, &first).await;
    for seconds in [HOUR, -HOUR] {
        while_in_flight(&world, &app, wall, seconds).await;
    }
    let active = while_no_rack_runs(&mut world, &app, wall).await;
    assert_eq!(world.active(&app), Some(active));
    assert_eq!(world.get("shop.localhost").await, 200);
}

/// A promotion succeeds or fails as it would, and its clock shows no hour.
async fn while_in_flight(world: &World, app: &AppName, wall: &Wall, seconds: i64) {
    wall.set(0);
    let good = world.build(app, &web("wait 300; serve")).await;
    let begun = starts(world, app, &good).await;
    wall.set(seconds);
    let record = world.ended(app, begun).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"), "{record:?}");
    assert_eq!(world.active(app), Some(good.clone()));
    let times = record.report.phases.iter().map(|(_, at)| *at);
    let (began, last) = (times.clone().min(), times.max());
    let took = last.zip(began).map(|(last, began)| last - began);
    assert!(
        took.expect("phases") < 1_000 * HOUR as u64 / 2,
        "{record:?}"
    );
    let bad = world.build(app, &web("wait 300; exit 1")).await;
    let begun = starts(world, app, &bad).await;
    wall.set(0);
    let record = world.ended(app, begun).await;
    assert_eq!(record.outcome.as_deref(), Some("rolled-back"), "{record:?}");
    let reason = record.reason.expect("a reason");
    assert!(reason.contains("exited"), "{reason}");
    assert_eq!(world.active(app), Some(good));
    assert_eq!(world.get("shop.localhost").await, 200);
}

/// Set back, the clock takes no time from a promotion, and gives it none that never ends. Set forward, it is as if no rack had
/// run for an hour: a promotion that was not through is over its limits, and what served serves. Answers what is active.
async fn while_no_rack_runs(world: &mut World, app: &AppName, wall: &Wall) -> ReleaseId {
    let good = world.build(app, &web("wait 300; serve")).await;
    let begun = starts(world, app, &good).await;
    wall.set(-HOUR);
    world.crash().await;
    let record = world.ended(app, begun).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"), "{record:?}");
    let late = world.build(app, &web("idle")).await;
    let begun = starts(world, app, &late).await;
    wall.set(HOUR);
    world.crash().await;
    let record = world.ended(app, begun).await;
    assert_eq!(record.outcome.as_deref(), Some("rolled-back"), "{record:?}");
    assert!(record.reason.is_some(), "{record:?}");
    assert_eq!(world.active(app), Some(good));
    assert_eq!(world.get("shop.localhost").await, 200);
    let next = world.build(app, &web("serve")).await;
    let record = world.promote(app, &next).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"), "{record:?}");
    next
}

/// Begins to promote a release, and waits until its processes are asked for.
async fn starts(world: &World, app: &AppName, release: &ReleaseId) -> PromotionRecord {
    let begun = world
        .rack()
        .promote(app, request(release, IfBusy::Refuse), &actor())
        .await
        .expect("a promotion");
    let wait = async {
        loop {
            let entry = world.rack().app(app).expect("the app");
            let phase = entry
                .app
                .promotion
                .as_ref()
                .map(|promotion| &promotion.phase);
            if phase.is_none_or(|phase| *phase != Phase::Preparing) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it starts");
    begun
}
