//! Ring 2: what is set for an app as a whole, and what it does to promotions.

use hoist_core::limits::PROMOTION_LIMIT;
use hoist_core::model::Millis;
use hoist_rack::RackError;
use hoist_rack::commands::{IfBusy, Param, ParamsUpdate};

use super::world::{World, actor, created, request, web};

fn timeout(timeout: Param<Millis>) -> ParamsUpdate {
    ParamsUpdate {
        timeout,
        ..ParamsUpdate::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apps_own_limit_ends_its_promotions() {
    let world = World::new().await;
    let app = created(&world).await;
    let good = world.build(&app, &web("serve")).await;
    assert_eq!(
        world.promote(&app, &good).await.outcome.as_deref(),
        Some("succeeded")
    );
    let slow = "services:\n  web:\n    command: [\"wait 600000\"]\n    port: 3000\n    health: { path: /, grace: 600 }\n";
    let slow = world.build(&app, slow).await;
    // Begins with the default, which is not over so soon; what is set meanwhile is for the next one.
    let begun = world
        .rack()
        .promote(&app, request(&slow, IfBusy::Wait), &actor())
        .await
        .expect("a promotion");
    let short = timeout(Param::To(Millis(1_000)));
    world
        .rack()
        .update_params(&app, short, &actor())
        .await
        .expect("set");
    let entry = world.rack().app(&app).expect("the app");
    let in_flight = entry.app.promotion.as_ref().expect("in flight");
    assert_eq!(in_flight.number, begun.number);
    assert_eq!(
        in_flight.deadline.0 - in_flight.began.0,
        PROMOTION_LIMIT.0,
        "it keeps what it began with"
    );
    let mut next = request(&slow, IfBusy::Supersede);
    next.limit = None;
    let next = world.rack().promote(&app, next, &actor()).await;
    let ended = world.ended(&app, next.expect("a promotion")).await;
    assert_eq!(ended.outcome.as_deref(), Some("rolled-back"));
    let reason = ended.reason.expect("a reason");
    assert!(reason.contains("1 s"), "{reason}");
    assert_eq!(world.active(&app), Some(good));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn params_are_kept_over_a_crash_and_given_back() {
    let mut world = World::new().await;
    let app = created(&world).await;
    let both = ParamsUpdate {
        timeout: Param::To(Millis(5_000)),
        keep: Param::To(0),
    };
    world
        .rack()
        .update_params(&app, both, &actor())
        .await
        .expect("set");
    world.crash().await;
    let set = |world: &World| {
        let entry = world.rack().app(&app).expect("the app");
        (entry.app.promotion_limit, entry.settings.keep_releases)
    };
    assert_eq!(set(&world), (Millis(5_000), Some(0)));
    let back = timeout(Param::Default);
    world
        .rack()
        .update_params(&app, back, &actor())
        .await
        .expect("given back");
    assert_eq!(set(&world), (PROMOTION_LIMIT, Some(0)));
    for wrong in [0, 999, 86_400_001, u64::MAX] {
        let wrong = timeout(Param::To(Millis(wrong)));
        let refused = world.rack().update_params(&app, wrong, &actor()).await;
        let refused = refused.expect_err("out of range");
        assert!(matches!(refused, RackError::Invalid(_)));
        assert!(refused.to_string().contains("1 to 86400"), "{refused}");
    }
    let many = ParamsUpdate {
        keep: Param::To(u32::MAX),
        ..ParamsUpdate::default()
    };
    let refused = world.rack().update_params(&app, many, &actor()).await;
    assert!(matches!(refused, Err(RackError::Invalid(_))));
    assert_eq!(set(&world), (PROMOTION_LIMIT, Some(0)));
}
