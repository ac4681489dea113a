//! What leaves the store: all of a piece or nothing, never what somebody needs, and only as much history as is too much.

use hoist_core::detect::Runtime;
use hoist_core::model::{App, Timestamp};
use hoist_core::plan;

use super::*;
use crate::store::{
    BuildRecord, Commit, Event, OneOffEnd, OneOffRecord, PromotionRecord, PromotionReport,
    ReleaseRecord, StateChange,
};

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

fn name() -> AppName {
    "shop".parse().expect("a name")
}

fn letters(number: u64) -> String {
    let letter = |place| char::from(b'A' + (number / 26_u64.pow(place) % 26) as u8);
    (0..10).rev().map(letter).collect()
}

fn release_id(number: u64) -> ReleaseId {
    format!("R{}", letters(number)).parse().expect("an id")
}

fn build_id(number: u64) -> BuildId {
    format!("B{}", letters(number)).parse().expect("an id")
}

fn process_id(number: u64) -> ProcessId {
    format!("{number:012x}").parse().expect("an id")
}

fn build(number: u64, status: BuildStatus) -> BuildRecord {
    BuildRecord {
        id: build_id(number),
        app: name(),
        status,
        created: Timestamp(1),
        ended: None,
        description: String::new(),
        git_sha: None,
        actor: "admin".to_owned(),
        reason: None,
        manifest: None,
        release: None,
        warnings: Vec::new(),
        inputs: None,
        app_json: None,
        runtime: Runtime::default(),
    }
}

fn release(number: u64, build: Option<u64>) -> ReleaseRecord {
    ReleaseRecord {
        id: release_id(number),
        app: name(),
        build: build.map(build_id),
        parent: number.checked_sub(1).map(release_id),
        created: Timestamp(1),
        description: String::new(),
        actor: "admin".to_owned(),
        env: Vec::new(),
        rollback_of: None,
    }
}

fn promotion(number: u64, release: u64, outcome: Option<&str>) -> PromotionRecord {
    PromotionRecord {
        app: name(),
        number: version(number),
        release: release_id(release),
        kind: kind_word(PromotionKind::Promote).to_owned(),
        actor: "admin".to_owned(),
        began: Timestamp(1),
        ended: outcome.map(|_| Timestamp(2)),
        outcome: outcome.map(str::to_owned),
        reason: None,
        report: PromotionReport::default(),
    }
}

fn one_off(number: u64, release: u64, ended: bool) -> OneOffRecord {
    OneOffRecord {
        id: process_id(number),
        app: name(),
        service: "web".parse().expect("a name"),
        release: release_id(release),
        command: "true".to_owned(),
        actor: "admin".to_owned(),
        attached: false,
        created: Timestamp(number),
        ended: ended.then_some(OneOffEnd {
            at: Timestamp(2),
            code: Some(0),
            signal: None,
            reason: None,
        }),
    }
}

struct World {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl World {
    /// A store with one app, at generation 1.
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, _) = Store::open(&dir.path().join("hoist.db")).expect("a new store");
        let world = Self {
            _dir: dir,
            store: Arc::new(store),
        };
        let app = plan::create(name(), version(1));
        world.change(StateChange::Create(Box::new(app))).await;
        world
    }

    async fn change(&self, state: StateChange) {
        let commit = Commit::new(&name(), state);
        let done = self.store.commit(commit, Timestamp(1)).await;
        done.expect("committed");
    }

    async fn add(&self, fill: impl FnOnce(&mut Commit)) -> Result<(), StoreError> {
        let mut commit = Commit::new(&name(), StateChange::None);
        fill(&mut commit);
        self.store.commit(commit, Timestamp(1)).await
    }

    async fn has(&self, fill: impl FnOnce(&mut Commit)) {
        self.add(fill).await.expect("committed");
    }

    async fn collect(&self, rows: Rows) -> Result<(), StoreError> {
        self.store.collect(&name(), rows).await
    }

    async fn kept(&self) -> Kept {
        let kept = self.store.kept(&name(), Vec::new()).await;
        kept.expect("read")
    }

    /// The releases and the builds that are there, newest first.
    async fn there(&self) -> (Vec<ReleaseId>, Vec<BuildId>) {
        let kept = self.kept().await;
        let releases = kept.releases.into_iter().map(|made| made.kin.id);
        let builds = kept.builds.into_iter().map(|(id, _)| id);
        (releases.collect(), builds.collect())
    }
}

fn releases(at: u64, numbers: &[u64]) -> Rows {
    Rows::Releases(
        version(at),
        numbers.iter().copied().map(release_id).collect(),
    )
}

fn builds(at: u64, numbers: &[u64]) -> Rows {
    Rows::Builds(version(at), numbers.iter().copied().map(build_id).collect())
}

#[tokio::test]
async fn builds_leave_after_the_last_release_that_has_them() {
    let world = World::new().await;
    world
        .has(|commit| {
            commit.builds = vec![
                build(1, BuildStatus::Complete),
                build(2, BuildStatus::Complete),
                build(3, BuildStatus::Running),
            ];
            commit.releases = vec![release(1, Some(1)), release(2, Some(2)), release(3, None)];
        })
        .await;
    let refused = world.collect(builds(1, &[1])).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    world.collect(releases(1, &[1])).await.expect("collected");
    // Nothing of a piece leaves when one of it is needed: by a release, or because it runs.
    for needed in [2, 3] {
        let refused = world.collect(builds(1, &[1, needed])).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{needed}");
    }
    let all = [3, 2, 1].map(build_id).to_vec();
    assert_eq!(world.there().await, ([3, 2].map(release_id).to_vec(), all));
    world.collect(builds(1, &[1])).await.expect("collected");
    assert_eq!(world.there().await.1, [3, 2].map(build_id));
    // Idempotent: a sweep that crashed does the same again.
    world.collect(builds(1, &[1])).await.expect("nothing to do");
    let parent = world.kept().await.releases[1].kin.parent.clone();
    assert_eq!(parent, Some(release_id(1)), "its name stays");
}

#[tokio::test]
async fn an_app_that_moved_on_is_decided_anew() {
    let world = World::new().await;
    world
        .has(|commit| {
            commit.builds = vec![build(1, BuildStatus::Failed)];
            commit.releases = vec![release(1, None)];
        })
        .await;
    let app: App = plan::create(name(), version(2));
    let moved = StateChange::Update {
        expected: version(1),
        app: Box::new(app),
    };
    world.change(moved).await;
    for rows in [releases(1, &[1]), builds(1, &[1])] {
        let refused = world.collect(rows).await;
        assert!(matches!(refused, Err(StoreError::Conflict)));
    }
    let there = (vec![release_id(1)], vec![build_id(1)]);
    assert_eq!(world.there().await, there);
    for rows in [releases(2, &[1]), builds(2, &[1])] {
        world.collect(rows).await.expect("collected");
    }
    assert_eq!(world.there().await, (Vec::new(), Vec::new()));
    world
        .change(StateChange::Delete {
            expected: version(2),
        })
        .await;
    let refused = world.collect(releases(2, &[1])).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
}

#[tokio::test]
async fn a_one_off_that_runs_keeps_its_release_and_what_would_leave_with_it() {
    let world = World::new().await;
    world
        .has(|commit| {
            commit.releases = vec![release(1, None), release(2, None)];
            commit.one_offs = vec![one_off(1, 2, false)];
        })
        .await;
    let refused = world.collect(releases(1, &[1, 2])).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    assert_eq!(world.there().await.0, [2, 1].map(release_id));
    assert_eq!(world.kept().await.one_offs, [release_id(2)].into());
    world
        .has(|commit| commit.one_offs = vec![one_off(1, 2, true)])
        .await;
    let gone = world.collect(releases(1, &[1, 2])).await;
    gone.expect("collected");
    assert_eq!(world.there().await.0, []);
}

#[tokio::test]
async fn what_names_a_release_or_build_that_is_gone_is_refused() {
    let world = World::new().await;
    let refused = world
        .add(|commit| commit.promotions = vec![promotion(1, 1, None)])
        .await;
    assert!(matches!(refused, Err(StoreError::NoRelease(id)) if id == release_id(1)));
    let refused = world
        .add(|commit| commit.one_offs = vec![one_off(1, 2, false)])
        .await;
    assert!(matches!(refused, Err(StoreError::NoRelease(id)) if id == release_id(2)));
    let refused = world
        .add(|commit| commit.releases = vec![release(1, Some(3))])
        .await;
    assert!(matches!(refused, Err(StoreError::NoBuild(id)) if id == build_id(3)));
    assert_eq!(world.there().await.0, [], "and nothing of it is written");
    // What ends may be of one that is gone.
    world
        .has(|commit| {
            commit.promotions = vec![promotion(1, 1, Some("failed"))];
            commit.one_offs = vec![one_off(1, 2, true)];
        })
        .await;
}

#[tokio::test]
async fn what_served_is_known_when_the_copy_that_served_is_gone() {
    let world = World::new().await;
    world
        .has(|commit| {
            let copy = ReleaseRecord {
                rollback_of: Some(release_id(1)),
                ..release(2, None)
            };
            commit.releases = vec![release(1, None), copy, release(3, None)];
            commit.promotions = vec![
                promotion(1, 1, Some("succeeded")),
                promotion(2, 2, Some("succeeded")),
                promotion(3, 3, Some("succeeded")),
            ];
        })
        .await;
    let before = world.store.served(&name()).await.expect("read");
    world.collect(releases(1, &[2])).await.expect("collected");
    let after = world.store.served(&name()).await.expect("read");
    assert_eq!(after, before);
    assert_eq!(after.ways_back().next(), Some(&release_id(1)));
}

#[tokio::test]
async fn history_beyond_its_limits_leaves_oldest_first_in_pieces() {
    let world = World::new().await;
    let (promotions, events) = (u64::from(PROMOTIONS_KEPT), i64::from(EVENTS_KEPT));
    let (more, ended) = (ROWS_MAX as u64 + 7, u64::from(ONE_OFFS_KEPT));
    let event = |_| Event {
        id: 0,
        app: name(),
        promotion: None,
        at: Timestamp(1),
        kind: "app:create".to_owned(),
        source: "system".to_owned(),
        text: String::new(),
        actor: None,
    };
    world
        .has(|commit| {
            commit.releases = vec![release(1, None)];
            // The first one is the only one of a release that is there.
            let release = |number| if number == 1 { 1 } else { 2 };
            commit.promotions = (1..=promotions + more)
                .map(|number| promotion(number, release(number), Some("failed")))
                .collect();
            commit.events = (0..events + 3).map(event).collect();
            commit.one_offs = (1..=ended + 2).map(|n| one_off(n, 2, true)).collect();
        })
        .await;
    let mut surplus = world.kept().await.surplus;
    surplus.promotions.sort();
    let expected: Vec<_> = (2..=more).map(version).collect();
    assert_eq!(surplus.promotions, expected);
    surplus.events.sort_unstable();
    assert_eq!(surplus.events, [1, 2, 3]);
    assert_eq!(surplus.one_offs, [2, 1].map(process_id));

    let pieces = surplus.pieces();
    let rows = |piece: &Surplus| piece.promotions.len() + piece.events.len() + piece.one_offs.len();
    let counts: Vec<_> = pieces.iter().map(rows).collect();
    assert_eq!(counts, [ROWS_MAX, 6, 3, 2]);
    for piece in pieces {
        let gone = world.collect(Rows::Surplus(piece)).await;
        gone.expect("collected");
    }
    assert_eq!(world.kept().await.surplus, Surplus::default());
    // Without its release nothing is told by it any more.
    world.collect(releases(1, &[1])).await.expect("collected");
    let surplus = world.kept().await.surplus;
    assert_eq!(surplus.promotions, [version(1)]);
}

#[tokio::test]
async fn what_has_not_ended_is_no_surplus() {
    let world = World::new().await;
    world
        .has(|commit| {
            commit.releases = vec![release(1, None)];
            commit.promotions = vec![promotion(1, 1, None)];
            commit.one_offs = vec![one_off(1, 1, false)];
        })
        .await;
    let asked = Surplus {
        promotions: vec![version(1)],
        one_offs: vec![process_id(1)],
        ..Surplus::default()
    };
    let done = world.collect(Rows::Surplus(asked)).await;
    done.expect("nothing to do");
    assert_eq!(world.kept().await.one_offs, [release_id(1)].into());
    let promotion = world.store.promotion(&name(), version(1)).await;
    assert!(promotion.expect("read").is_some());
}
