//! Old releases are collected, and nothing that anybody needs: whatever happens at the same moment.

use std::fs;
use std::time::Duration;

use hoist_core::id::{AppName, BuildId, ReleaseId};
use hoist_core::lineage::Start;
use hoist_core::manifest::CommandLine;
use hoist_core::model::Cancel;
use hoist_core::retention::{Unneeded, WAYS_BACK_KEPT};
use hoist_rack::RackError;
use hoist_rack::commands::{IfBusy, Param, ParamsUpdate, RunRequest, RunStreams};
use hoist_rack::retention::{Swept, SweptWhat};

use crate::world::{PATIENCE, World, actor, created, request, setting, web};

/// Has the rack keep this many releases of an app.
async fn keep(world: &World, app: &AppName, count: u32) {
    let update = ParamsUpdate {
        keep: Param::To(count),
        ..ParamsUpdate::default()
    };
    let set = world.rack().update_params(app, update, &actor()).await;
    set.expect("set");
}

/// Not routed: its processes are not kept warm.
const WORKER: &str = "services:\n  worker:\n    command: [idle]\n";

/// An app that keeps one release and was promoted more often than it keeps ways back: nothing needs the first, which is
/// answered with its build once that is so.
async fn with_history(world: &World, app: &str) -> (AppName, Vec<ReleaseId>, BuildId) {
    let app: AppName = app.parse().expect("a name");
    let made = world.rack().create(&app, &actor()).await;
    made.expect("created");
    let mut releases = Vec::new();
    for _ in 0..=WAYS_BACK_KEPT + 1 {
        let release = world.build(&app, WORKER).await;
        world.promote(&app, &release).await;
        releases.push(release);
    }
    let first = world.rack().release(&app, &releases[0]).await;
    keep(world, &app, 1).await;
    goes(world, &app, &releases[..1]).await;
    (app, releases, first.expect("there").build.expect("a build"))
}

/// Waits until these and no others would go: while processes of theirs are on their way out, they stay.
async fn goes(world: &World, app: &AppName, expected: &[ReleaseId]) -> Swept {
    let told = async {
        loop {
            let dry = world.rack().prune(Some(app), true).await.expect("told");
            if releases(&dry) == expected {
                return dry;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let dry = tokio::time::timeout(PATIENCE, told).await;
    dry.expect("what is old goes")
}

fn all(swept: &Swept) -> Vec<(&AppName, &SweptWhat)> {
    let items = swept.items.iter();
    items.map(|item| (&item.app, &item.what)).collect()
}

/// More releases than are kept, each with a variable more; answers them, oldest first.
async fn staged(world: &World, app: &AppName, count: usize) -> Vec<ReleaseId> {
    let mut releases = Vec::new();
    for number in 0..count {
        let set = [(format!("K{number}"), String::new())].into();
        let set = setting(set, None);
        let made = world.rack().update_env(app, set, &actor()).await;
        releases.push(made.expect("set").id);
    }
    releases
}

fn releases(swept: &Swept) -> Vec<ReleaseId> {
    let of = |what: &SweptWhat| match what {
        SweptWhat::Release(id, _) => Some(id.clone()),
        _ => None,
    };
    let items = swept.items.iter();
    items.filter_map(|item| of(&item.what)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_serves_stays_and_volumes_do_however_many_releases_there_are() {
    let world = World::new().await;
    let app = created(&world).await;
    let first = world.build(&app, &web("serve")).await;
    let second = world.build(&app, &web("serve")).await;
    world.promote(&app, &second).await;
    let volume = world.rack().layout.volume(&app, "uploads");
    fs::create_dir_all(&volume).expect("made");
    fs::write(volume.join("photo"), "pixels").expect("written");
    // Failed ones are not staged, so they can go.
    let mut old = Vec::new();
    for _ in 0..3 {
        let bad = world.build(&app, &web("exit 1")).await;
        world.promote(&app, &bad).await;
        old.push(bad);
    }
    staged(&world, &app, 60).await;
    let mut expected = vec![first.clone()];
    expected.extend(old.iter().cloned());
    // What failed is kept until the engine has nothing of it any more.
    let dry = goes(&world, &app, &expected).await;
    assert!(
        world.rack().release(&app, &first).await.is_ok(),
        "only told"
    );
    let swept = world.rack().prune(None, false).await.expect("swept");
    assert_eq!(releases(&swept), releases(&dry));
    let gone = world.rack().release(&app, &first).await;
    assert!(matches!(gone, Err(RackError::NoReleaseNamed { .. })));
    assert_eq!(world.active(&app), Some(second));
    assert_eq!(world.get("shop.localhost").await, 200);
    let photo = fs::read_to_string(volume.join("photo")).expect("kept");
    assert_eq!(photo, "pixels");
    let again = world.rack().prune(None, false).await.expect("swept");
    assert_eq!(again.items, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_waits_to_promote_stays() {
    let world = World::new().await;
    let (app, made, _) = with_history(&world, "shop").await;
    let (rack, first) = (world.rack().clone(), made[0].clone());
    let slow = world.build(&app, &web("wait 600000")).await;
    let begun = rack
        .promote(&app, request(&slow, IfBusy::Wait), &actor())
        .await;
    begun.expect("begun");
    let waiting = (rack.clone(), app.clone(), first.clone());
    let waiting = tokio::spawn(async move {
        let (rack, app, first) = waiting;
        let request = request(&first, IfBusy::Wait);
        rack.promote(&app, request, &actor()).await
    });
    goes(&world, &app, &[]).await;
    let entry = rack.app(&app).expect("there");
    let in_flight = entry.app.promotion.as_ref().map(|it| it.target.clone());
    assert_eq!(in_flight, Some(slow), "it waits no more");
    let swept = rack.prune(Some(&app), false).await.expect("swept");
    assert_eq!(releases(&swept), []);
    let cancelled = rack.cancel(&app, Cancel::ByUser, None, &actor()).await;
    cancelled.expect("cancelled");
    let promoted = waiting.await.expect("no panic").expect("promoted");
    assert_eq!(promoted.release, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_at_the_same_moment_wins_or_is_told() {
    let world = World::new().await;
    let app = created(&world).await;
    let old = world.build(&app, &web("serve")).await;
    let good = world.build(&app, &web("serve")).await;
    world.promote(&app, &good).await;
    staged(&world, &app, 60).await;
    let ask = request(&old, IfBusy::Wait);
    let (rack, who) = (world.rack(), actor());
    let (swept, begun) = tokio::join!(rack.prune(Some(&app), false), rack.promote(&app, ask, &who));
    let swept = swept.expect("swept");
    match begun {
        Ok(begun) => {
            assert!(!releases(&swept).contains(&old));
            world.ended(&app, begun).await;
            assert_eq!(world.active(&app), Some(old));
        }
        Err(error) => {
            assert!(releases(&swept).contains(&old), "{error}");
            assert!(error.to_string().contains(old.as_str()), "{error}");
            assert_eq!(world.active(&app), Some(good));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_between_records_and_files_is_found() {
    let mut world = World::new().await;
    let app = created(&world).await;
    let good = world.build(&app, &web("serve")).await;
    world.promote(&app, &good).await;
    let layout = world.rack().layout.clone();
    let stray = "BZZZZZZZZZZ".parse().expect("an id");
    fs::create_dir_all(layout.slug(&app, &stray)).expect("made");
    // What is younger than the rack may be about to be recorded.
    let swept = world.rack().prune(Some(&app), false).await.expect("swept");
    assert_eq!(swept.items, []);
    world.crash().await;
    let swept = world.rack().prune(Some(&app), false).await.expect("swept");
    let found: Vec<_> = swept.items.iter().map(|item| &item.what).collect();
    assert_eq!(found, [&SweptWhat::Stray(stray.clone())]);
    assert!(!layout.slug(&app, &stray).exists());
    assert_eq!(world.get("shop.localhost").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_in_some_apps_is_told_with_what_went_of_all() {
    let mut world = World::new().await;
    let mut apps = Vec::new();
    for name in ["blog", "shop", "wiki"] {
        apps.push(with_history(&world, name).await);
    }
    let layout = world.rack().layout.clone();
    // Where their slugs would be laid aside is something else already.
    for (app, _, build) in &apps[..2] {
        let aside = layout.scratch().join(format!("{app}.{build}.slug"));
        fs::write(aside, "").expect("written");
    }
    let swept = world.rack().prune(None, false).await.expect("swept");
    let failed: Vec<_> = swept.failed.iter().map(|failure| &failure.app).collect();
    assert_eq!(failed, [&apps[0].0, &apps[1].0]);
    for failure in &swept.failed {
        let why = &failure.why;
        assert!(why.contains("remove the files of an old build"), "{why}");
    }
    let (wiki, old, build) = &apps[2];
    let gone: Vec<_> = apps.iter().map(|(_, old, _)| old[0].clone()).collect();
    assert_eq!(releases(&swept), gone);
    let went = SweptWhat::Build(build.clone(), Unneeded::Unnamed);
    assert_eq!(all(&swept).last(), Some(&(wiki, &went)));
    assert!(!layout.slug(wiki, build).exists());
    assert!(world.rack().release(wiki, &old[0]).await.is_err());

    // Records without files never, files without records until the next life of the rack.
    world.crash().await;
    let swept = world.rack().prune(None, false).await.expect("swept");
    let strays = [&apps[0].2, &apps[1].2].map(|build| SweptWhat::Stray(build.clone()));
    let expected = [(&apps[0].0, &strays[0]), (&apps[1].0, &strays[1])];
    assert_eq!(all(&swept), expected);
    assert_eq!(swept.failed, []);
    for (app, _, build) in &apps {
        assert!(!layout.slug(app, build).exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rack_that_crashes_anywhere_in_a_sweep_ends_it_after_its_start() {
    let mut world = World::new().await;
    let (app, _, first) = with_history(&world, "shop").await;
    let mut builds = vec![first];
    let layout = world.rack().layout.clone();
    for pause in [0, 1, 2, 4, 8, 16] {
        let next = world.build(&app, WORKER).await;
        world.promote(&app, &next).await;
        let rack = world.rack().clone();
        let made = rack.release(&app, &next).await.expect("there");
        builds.extend(made.build);
        let swept = async { rack.prune(Some(&app), false).await };
        // Whichever comes first.
        let _ = tokio::time::timeout(Duration::from_millis(pause), swept).await;
        drop(rack);
        world.crash().await;
        let swept = world.rack().prune(None, false).await.expect("swept");
        assert_eq!(swept.failed, [], "crash after {pause} ms");
        for build in &builds {
            let recorded = world.rack().build(&app, build).await.is_ok();
            let there = layout.slug(&app, build).exists();
            assert_eq!(recorded, there, "{build}, crash after {pause} ms");
        }
        assert!(!layout.slug(&app, &builds[0]).exists());
        assert_eq!(world.active(&app), Some(next));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_off_keeps_its_old_release_until_it_ends() {
    let world = World::new().await;
    let (app, old, build) = with_history(&world, "shop").await;
    let request = RunRequest {
        service: "worker".parse().expect("a name"),
        command: CommandLine::Words(vec!["idle".to_owned()]),
        release: Some(old[0].clone()),
        streams: RunStreams::Detached,
    };
    let (one_off, _) = world
        .rack()
        .run(&app, request, &actor())
        .await
        .expect("runs");
    let swept = world.rack().prune(None, false).await.expect("swept");
    assert_eq!(swept.items, []);
    let slug = world.rack().layout.slug(&app, &build);
    assert!(slug.exists());
    let (rack, id, who) = (world.rack(), one_off.id.as_str(), actor());
    rack.stop_process(&app, id, &who).await.expect("stopped");
    goes(&world, &app, &old[..1]).await;
    world.rack().prune(None, false).await.expect("swept");
    assert!(!slug.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_from_a_release_that_is_gone_is_shown_and_compared() {
    let world = World::new().await;
    let (app, old, _) = with_history(&world, "shop").await;
    world.rack().prune(None, false).await.expect("swept");
    let (gone, child) = (&old[0], &old[1]);
    let rack = world.rack();
    let record = rack.release(&app, child).await.expect("kept");
    assert_eq!(record.parent.as_ref(), Some(gone));
    let diff = rack
        .diff(&app, child, &Start::Active)
        .await
        .expect("compared");
    assert_eq!(&diff.release, child);
    for (of, against) in [(child, gone), (gone, child)] {
        let against = Start::Release(against.clone());
        let refused = rack.diff(&app, of, &against).await.expect_err("gone");
        assert!(matches!(refused, RackError::NoReleaseNamed { .. }));
        assert!(
            refused
                .hint()
                .is_some_and(|hint| hint.contains("collected"))
        );
    }
    // Back to it goes without its parent.
    let record = world.promote(&app, child).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"));
}
