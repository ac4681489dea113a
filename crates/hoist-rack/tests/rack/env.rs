//! Variables: many hands at once, what is refused, and what a manifest asks of them.

use std::collections::{BTreeMap, BTreeSet};

use hoist_core::id::{AppName, ReleaseId};
use hoist_core::lineage::Start;
use hoist_rack::RackError;
use hoist_rack::commands::{EnvUpdate, IfBusy};

use super::world::{World, actor, created, request, setting, web};

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.into()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

async fn update(
    world: &World,
    app: &AppName,
    update: EnvUpdate,
) -> Result<(ReleaseId, String), RackError> {
    let made = world.rack().update_env(app, update, &actor()).await?;
    Ok((made.id, made.description))
}

async fn refused(world: &World, app: &AppName, change: EnvUpdate) -> RackError {
    let before = newest(world, app).await;
    let error = update(world, app, change).await.expect_err("refused");
    assert_eq!(newest(world, app).await, before, "{error}");
    assert!(error.hint().is_some(), "{error}");
    error
}

/// The base of the next release and its variables.
async fn present(world: &World, app: &AppName) -> (Option<ReleaseId>, BTreeMap<String, String>) {
    let found = world.rack().env(app, &Start::Base).await;
    found.expect("the env")
}

/// Releases that the base descends from, itself first.
async fn line(world: &World, app: &AppName) -> Vec<ReleaseId> {
    let mut line = Vec::new();
    let mut next = present(world, app).await.0;
    while let Some(release) = next {
        let record = world.rack().release(app, &release).await;
        next = record.expect("the release").parent;
        assert!(!line.contains(&release), "{release} is its own ancestor");
        line.push(release);
    }
    line
}

/// The newest release.
async fn newest(world: &World, app: &AppName) -> Option<ReleaseId> {
    let found = world.rack().env(app, &Start::Newest).await;
    found.expect("the env").0
}

/// Sets so many variables at once, each on its own.
async fn set_at_once(world: &World, app: &AppName, letter: char, count: usize) {
    let mut sets = tokio::task::JoinSet::new();
    for number in 0..count {
        let (rack, app) = (world.rack().clone(), app.clone());
        let pair = BTreeMap::from([(format!("{letter}{number}"), "1".to_owned())]);
        sets.spawn(async move { rack.update_env(&app, setting(pair, None), &actor()).await });
    }
    for set in sets.join_all().await {
        set.expect("set");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_set_at_once_nobody_loses_anything() {
    let world = World::new().await;
    let app = created(&world).await;
    set_at_once(&world, &app, 'A', 30).await;
    assert_eq!(present(&world, &app).await.1.len(), 30);
    assert_eq!(line(&world, &app).await.len(), 30);
    let first = world.build(&app, &web("serve")).await;
    world.promote(&app, &first).await;
    set_at_once(&world, &app, 'B', 30).await;
    assert_eq!(present(&world, &app).await.1.len(), 60);
    assert_eq!(line(&world, &app).await.len(), 61, "with the build between");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_removes_what_is_not_given_in_one_release() {
    let world = World::new().await;
    let app = created(&world).await;
    let replacing = |set| EnvUpdate {
        replace: true,
        ..setting(set, None)
    };
    let old = pairs([("GONE", "1"), ("KEPT", "1"), ("OTHER", "1")]);
    let made = update(&world, &app, replacing(old)).await.expect("made");
    assert_eq!(made.1, "env add:GONE add:KEPT add:OTHER");
    let new = pairs([("KEPT", "1"), ("NEW", "1"), ("OTHER", "2")]);
    let made = update(&world, &app, replacing(new.clone())).await;
    let made = made.expect("made");
    assert_eq!(made.1, "env add:NEW change:OTHER remove:GONE");
    assert_eq!(
        present(&world, &app).await,
        (Some(made.0.clone()), new.clone())
    );
    // What is there already makes no release, and nothing replaces nothing.
    let again = update(&world, &app, replacing(new))
        .await
        .expect("the same");
    assert_eq!(again.0, made.0);
    let error = refused(&world, &app, replacing(BTreeMap::new())).await;
    assert!(matches!(error, RackError::NothingLeft), "{error}");
    assert_eq!(present(&world, &app).await.1.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_saw_other_variables_is_told_which_changed_and_nobody_else() {
    let world = World::new().await;
    let app = created(&world).await;
    let nothing = Some(String::new());
    let first = setting(pairs([("A", "1"), ("B", "1")]), nothing.clone());
    let seen = update(&world, &app, first).await.expect("set").0;
    let seen = Some(seen.to_string());
    // A build changes no variable.
    let build = world.build(&app, &web("serve")).await;
    world.promote(&app, &build).await;
    let mine = setting(pairs([("MINE", "1")]), seen.clone());
    update(&world, &app, mine).await.expect("set");
    let theirs = EnvUpdate {
        unset: names(["B"]),
        ..setting(pairs([("A", "2")]), None)
    };
    update(&world, &app, theirs).await.expect("set");
    for stale in [seen, nothing] {
        let late = setting(pairs([("C", "1")]), stale.clone());
        let error = refused(&world, &app, late).await;
        let RackError::EnvMoved { change, .. } = error else {
            panic!("{error}");
        };
        let expected = match stale.as_deref() {
            Some("") => "env add:A add:MINE",
            _ => "env add:MINE change:A remove:B",
        };
        assert_eq!(change.to_string(), expected);
    }
    let unknown = setting(pairs([("C", "1")]), Some("RZZZZZZZZZZ".to_owned()));
    let error = refused(&world, &app, unknown).await;
    assert!(matches!(error, RackError::NoReleaseNamed { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_process_can_be_given_changes_nothing() {
    let world = World::new().await;
    let app = created(&world).await;
    let set = setting(pairs([("DATABASE_URL", "x")]), None);
    update(&world, &app, set).await.expect("set");
    let large = "x".repeat(131_072);
    for bad in [
        pairs([("1A", "x")]),
        pairs([("", "x")]),
        pairs([("A=B", "x")]),
        pairs([("A\0", "x")]),
        pairs([("GOOD", "x"), ("BAD", "nul \0 here")]),
        pairs([("BAD", &large)]),
    ] {
        let error = refused(&world, &app, setting(bad, None)).await;
        assert!(matches!(error, RackError::InvalidEnv(_)), "{error}");
        assert!(!error.to_string().contains("here"), "a value: {error}");
    }
    let unset = EnvUpdate {
        unset: names(["DATABASE_URI"]),
        ..EnvUpdate::default()
    };
    let error = refused(&world, &app, unset).await;
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("did you mean `DATABASE_URL`?"), "{hint}");
    let both = EnvUpdate {
        unset: names(["DATABASE_URL"]),
        ..setting(pairs([("DATABASE_URL", "y")]), None)
    };
    let made = world.rack().update_env(&app, both, &actor()).await;
    assert!(matches!(made, Err(RackError::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_masked_for_good_whoever_masks_others_at_once() {
    let mut world = World::new().await;
    let app = created(&world).await;
    let mut masks = tokio::task::JoinSet::new();
    for number in 0..10 {
        let (rack, app) = (world.rack().clone(), app.clone());
        let set = BTreeSet::from([format!("K{number}")]);
        masks.spawn(async move { rack.mask(&app, set, BTreeSet::new(), &actor()).await });
    }
    for mask in masks.join_all().await {
        mask.expect("masked");
    }
    let (set, unset, by) = (names(["NEW"]), names(["K0", "K1"]), actor());
    let masked = world.rack().mask(&app, set, unset, &by).await;
    assert_eq!(masked.expect("changed").len(), 9);
    world.crash().await;
    let masked = world.rack().masked(&app).expect("the app");
    assert_eq!(masked.len(), 9);
    assert!(masked.contains("NEW") && !masked.contains("K0"));
    for (set, unset) in [(names(["1A"]), names([])), (names([]), names(["K0"]))] {
        let refused = world.rack().mask(&app, set, unset, &actor()).await;
        let error = refused.expect_err("refused");
        assert!(error.hint().is_some(), "{error}");
    }
    assert_eq!(world.rack().masked(&app).expect("the app"), masked);
}

/// A manifest that this environment breaks is refused before a promotion is recorded, and what serves goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_only_fails_with_this_environment_is_refused_at_promote() {
    let world = World::new().await;
    let app = created(&world).await;
    let set = setting(pairs([("A", "1"), ("PATH_OF_HEALTH", "/")]), None);
    update(&world, &app, set).await.expect("set");
    let manifest = "environment: [A]\nservices:\n  web:\n    command: [serve]\n    port: 3000\n    health: ${PATH_OF_HEALTH}\n    environment: [B=1]\n";
    let first = world.build(&app, manifest).await;
    let live = world.promote(&app, &first).await;
    assert_eq!(live.outcome.as_deref(), Some("succeeded"));
    let unset = EnvUpdate {
        unset: names(["A"]),
        ..EnvUpdate::default()
    };
    let start = Start::Release(first.clone());
    let odd = EnvUpdate {
        start,
        ..setting(pairs([("PATH_OF_HEALTH", "nowhere")]), None)
    };
    for (change, words) in [
        (unset, "web`: missing in the env of the release: A"),
        (odd, "nowhere"),
    ] {
        let (release, _) = update(&world, &app, change).await.expect("set");
        let wish = request(&release, IfBusy::Wait);
        let error = world.rack().promote(&app, wish, &actor()).await;
        let error = error.expect_err("refused");
        let body = error.body("");
        assert!(body.message.contains(words), "{}", body.message);
        let hint = body.hint.expect("a hint");
        assert!(hint.contains("hoist env set"), "{hint}");
        assert_eq!(world.active(&app), Some(first.clone()));
        let entry = world.rack().app(&app).expect("the app");
        assert!(entry.app.promotion.is_none());
        assert_eq!(world.get("shop.localhost").await, 200);
    }
}
