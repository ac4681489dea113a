//! What the next release is made from, and what is told of it.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ReleaseId};
use hoist_core::lineage::Start;
use hoist_rack::RackError;
use hoist_rack::commands::{Beside, BuildRequest, EnvUpdate, IfBusy};

use super::world::{World, actor, created, request, setting, web};

/// A release with one variable more, made from what is said.
async fn set(world: &World, app: &AppName, name: &str, start: Start) -> ReleaseId {
    let pair = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
    let change = EnvUpdate {
        start,
        ..setting(pair, None)
    };
    let release = world.rack().update_env(app, change, &actor()).await;
    release.expect("a release").id
}

async fn parent(world: &World, app: &AppName, release: &ReleaseId) -> Option<ReleaseId> {
    let record = world.rack().release(app, release).await;
    record.expect("the release").parent
}

/// Names of the variables of a release.
async fn names(world: &World, app: &AppName, release: &ReleaseId) -> String {
    let start = Start::Release(release.clone());
    let (_, env) = world.rack().env(app, &start).await.expect("the env");
    env.into_keys().collect::<Vec<_>>().join(",")
}

async fn told(world: &World, app: &AppName, release: &ReleaseId) -> (Vec<Beside>, Vec<Beside>) {
    let entry = world.rack().app(app).expect("the app");
    let told = world.rack().told(&entry, release).await;
    told.expect("told")
}

fn beside(id: &ReleaseId, description: &str, reason: Option<&str>) -> Beside {
    Beside {
        id: id.clone(),
        description: description.to_owned(),
        reason: reason.map(str::to_owned),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_carries_what_is_staged_and_passes_over_what_failed() {
    let world = World::new().await;
    let app = created(&world).await;
    let first = world.build(&app, &web("serve")).await;
    world.promote(&app, &first).await;
    let bad = world.build(&app, &web("cry no; exit 3")).await;
    world.promote(&app, &bad).await;
    let staged = set(&world, &app, "A", Start::Base).await;
    assert_eq!(parent(&world, &app, &staged).await, Some(first.clone()));
    let over = beside(&bad, "", Some("its promotion was rolled back"));
    assert_eq!(told(&world, &app, &staged).await, (Vec::new(), vec![over]));
    let next = world.build(&app, &web("serve 204")).await;
    assert_eq!(names(&world, &app, &next).await, "A");
    let included = beside(&staged, "env add:A", None);
    assert_eq!(
        told(&world, &app, &next).await,
        (vec![included], Vec::new())
    );
    world.promote(&app, &next).await;
    assert_eq!(told(&world, &app, &next).await, (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_chooses_what_a_release_is_made_from() {
    let world = World::new().await;
    let app = created(&world).await;
    let refused = world
        .rack()
        .update_env(
            &app,
            EnvUpdate {
                start: Start::Active,
                ..EnvUpdate::default()
            },
            &actor(),
        )
        .await;
    assert!(matches!(refused, Err(RackError::NothingActive(_))));
    let first = world.build(&app, &web("serve")).await;
    world.promote(&app, &first).await;
    let staged = set(&world, &app, "A", Start::Base).await;
    let active = set(&world, &app, "B", Start::Active).await;
    assert_eq!(names(&world, &app, &active).await, "B");
    let newest = set(&world, &app, "C", Start::Newest).await;
    assert_eq!(names(&world, &app, &newest).await, "B,C");
    let start = Start::Release(staged.clone());
    let chosen = set(&world, &app, "D", start.clone()).await;
    assert_eq!(names(&world, &app, &chosen).await, "A,D");
    assert_eq!(parent(&world, &app, &chosen).await, Some(staged));

    let request = BuildRequest {
        start: Start::Active,
        ..BuildRequest::default()
    };
    let plain = world.build_as(&app, &web("serve 204"), request).await;
    assert_eq!(names(&world, &app, &plain).await, "");
    assert_eq!(parent(&world, &app, &plain).await, Some(first));
    let request = BuildRequest {
        start,
        ..BuildRequest::default()
    };
    let on = world.build_as(&app, &web("serve 204"), request).await;
    assert_eq!(names(&world, &app, &on).await, "A");

    let unknown: ReleaseId = "RZZZZZZZZZZ".parse().expect("an id");
    let change = EnvUpdate {
        start: Start::Release(unknown.clone()),
        ..setting(BTreeMap::new(), None)
    };
    let refused = world.rack().update_env(&app, change, &actor()).await;
    assert!(
        matches!(refused, Err(RackError::NoReleaseNamed { release, .. }) if release == unknown)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_composed_of_two_others_and_compared_by_names() {
    let world = World::new().await;
    let app = created(&world).await;
    let rack = world.rack();
    let variables = set(&world, &app, "OLD", Start::Base).await;
    let compose = |build: &Start, env: &Start| {
        let (build, env, app) = (build.clone(), env.clone(), app.clone());
        async move { rack.create_from(&app, &build, &env, &actor()).await }
    };
    let of = |release: &ReleaseId| Start::Release(release.clone());
    let unbuilt = compose(&of(&variables), &of(&variables)).await;
    assert!(matches!(unbuilt, Err(RackError::NotBuilt(_))));
    let inactive = compose(&Start::Active, &of(&variables)).await;
    assert!(matches!(inactive, Err(RackError::NothingActive(_))));

    let first = world.build(&app, &web("serve")).await;
    world.promote(&app, &first).await;
    let staged = set(&world, &app, "NEW", Start::Base).await;
    let second = world.build(&app, &web("serve 204")).await;
    world.promote(&app, &second).await;
    let made = compose(&of(&first), &Start::Active)
        .await
        .expect("a release");
    let build = rack.release(&app, &first).await.expect("the first").build;
    let build = build.expect("its build");
    assert_eq!(made.build.as_ref(), Some(&build));
    assert_eq!(made.parent.as_ref(), Some(&first));
    assert_eq!(names(&world, &app, &made.id).await, "NEW,OLD");
    assert_eq!(
        made.description,
        format!("created from {build} of {first}, env of {second}")
    );

    let diff = rack
        .diff(&app, &made.id, &Start::Active)
        .await
        .expect("a diff");
    assert_eq!(diff.against, second);
    assert_eq!(diff.env.to_string(), "");
    assert_eq!(diff.build.and_then(|(_, after)| after), Some(build));
    assert_eq!(diff.manifest.len(), 2, "{:?}", diff.manifest);
    let diff = rack.diff(&app, &first, &of(&staged)).await.expect("a diff");
    assert_eq!(diff.env.to_string(), "env remove:NEW");
    assert_eq!((diff.build, diff.manifest), (None, Vec::new()));

    let ended = world.promote(&app, &made.id).await;
    assert_eq!(ended.outcome.as_deref(), Some("succeeded"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_of_another_app_is_none_of_this_one() {
    let world = World::new().await;
    let app = created(&world).await;
    let own = world.build(&app, &web("serve")).await;
    world.promote(&app, &own).await;
    let other: AppName = "other".parse().expect("a name");
    let made = world.rack().create(&other, &actor()).await;
    made.expect("created");
    // It runs, so the rack has it at hand.
    let foreign = world.build(&other, &web("serve")).await;
    world.promote(&other, &foreign).await;
    let wanted = request(&foreign, IfBusy::Wait);
    let refused = world.rack().promote(&app, wanted, &actor()).await;
    assert!(matches!(refused, Err(RackError::NoReleaseNamed { .. })));
    assert_eq!(world.active(&app), Some(own));
    assert_eq!(world.active(&other), Some(foreign));
}
