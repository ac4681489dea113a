//! Old releases are collected, and nothing that anybody needs: whatever happens at the same moment.

use std::fs;

use hoist_core::id::{AppName, ReleaseId};
use hoist_rack::RackError;
use hoist_rack::commands::IfBusy;
use hoist_rack::retention::{Swept, SweptWhat};

use crate::world::{PATIENCE, World, actor, created, request, setting, web};

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
    let told = async {
        loop {
            // What failed is kept until the engine has nothing of it any more.
            let dry = world.rack().prune(Some(&app), true).await.expect("told");
            if releases(&dry) == expected {
                return dry;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let dry = tokio::time::timeout(PATIENCE, told).await;
    let dry = dry.expect("what is old goes");
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
    assert_eq!(again, Swept::default());
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
    assert_eq!(swept, Swept::default());
    world.crash().await;
    let swept = world.rack().prune(Some(&app), false).await.expect("swept");
    let found: Vec<_> = swept.items.iter().map(|item| &item.what).collect();
    assert_eq!(found, [&SweptWhat::Stray(stray.clone())]);
    assert!(!layout.slug(&app, &stray).exists());
    assert_eq!(world.get("shop.localhost").await, 200);
}
