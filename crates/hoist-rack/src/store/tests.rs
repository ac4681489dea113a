//! What the store promises: commits are durable and whole, conflicts are refused, newer stores are left alone.

use hoist_core::id::{AppName, ReleaseId, Version};
use hoist_core::plan;

use super::*;

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

fn name() -> AppName {
    "shop".parse().expect("a name")
}

async fn created(store: &Store) -> Result<(), StoreError> {
    let app = plan::create(name(), version(1));
    store
        .commit(
            Commit::new(&name(), StateChange::Create(Box::new(app))),
            Timestamp(5),
        )
        .await
}

fn release(id: &str) -> ReleaseRecord {
    ReleaseRecord {
        id: id.parse::<ReleaseId>().expect("an id"),
        app: name(),
        build: None,
        parent: None,
        created: Timestamp(7),
        description: "env add:A".to_owned(),
        actor: "admin".to_owned(),
        env: vec![1, 2, 3],
        rollback_of: None,
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hoist.db");
    let (store, _) = Store::open(&path).expect("a new store");
    created(&store).await.expect("created");
    let mut commit = Commit::new(&name(), StateChange::None);
    commit.releases.push(release("RAAAAAAAAAA"));
    store.commit(commit, Timestamp(9)).await.expect("committed");
    drop(store);
    let (store, meta) = Store::open(&path).expect("the store again");
    assert_eq!(meta.last_committed, Timestamp(9));
    let store = Arc::new(store);
    assert_eq!(
        store.app(&name()).expect("the app").app,
        plan::create(name(), version(1))
    );
    let releases = store.releases(&name(), None, 10).await.expect("read");
    assert_eq!(releases, [release("RAAAAAAAAAA")]);
}

#[tokio::test]
async fn a_commit_on_an_old_generation_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(&dir.path().join("hoist.db")).expect("a new store");
    let store = Arc::new(store);
    created(&store).await.expect("created");
    assert!(matches!(created(&store).await, Err(StoreError::Conflict)));
    let mut app = plan::create(name(), version(1));
    app.generation = version(2);
    let state = StateChange::Update {
        expected: version(9),
        app: Box::new(app),
    };
    let mut commit = Commit::new(&name(), state);
    commit.releases.push(release("RAAAAAAAAAA"));
    let refused = store.commit(commit, Timestamp(9)).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    assert!(
        store
            .releases(&name(), None, 10)
            .await
            .expect("read")
            .is_empty()
    );
    assert_eq!(
        store.app(&name()).expect("the app").app.generation,
        version(1)
    );
}

fn masking(name: &str) -> AppSettings {
    AppSettings {
        keep_releases: Some(7),
        masked: [name.to_owned()].into(),
    }
}

fn at_generation(expected: u64, next: u64) -> Commit {
    let mut app = plan::create(name(), version(1));
    app.generation = version(next);
    let state = StateChange::Update {
        expected: version(expected),
        app: Box::new(app),
    };
    Commit::new(&name(), state)
}

#[tokio::test]
async fn settings_stay_until_a_commit_names_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hoist.db");
    let (store, _) = Store::open(&path).expect("a new store");
    created(&store).await.expect("created");
    let settings = |store: &Store| store.app(&name()).expect("the app").settings.clone();
    assert_eq!(settings(&store), AppSettings::default());

    let mut commit = at_generation(1, 2);
    commit.settings = Some(masking("A"));
    store.commit(commit, Timestamp(6)).await.expect("committed");
    assert_eq!(settings(&store), masking("A"));
    let other = at_generation(2, 3);
    store.commit(other, Timestamp(7)).await.expect("committed");
    assert_eq!(settings(&store), masking("A"));

    let mut late = at_generation(2, 4);
    late.settings = Some(masking("B"));
    let refused = store.commit(late, Timestamp(8)).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    assert_eq!(settings(&store), masking("A"));

    let mut alone = Commit::new(&name(), StateChange::None);
    alone.settings = Some(masking("C"));
    store.commit(alone, Timestamp(9)).await.expect("committed");
    drop(store);
    let (store, _) = Store::open(&path).expect("the store again");
    assert_eq!(settings(&store), masking("C"));
    assert_eq!(
        store.app(&name()).expect("the app").app.generation,
        version(3)
    );
}

#[tokio::test]
async fn a_store_from_before_settings_is_read_and_copied() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hoist.db");
    let connection = Connection::open(&path).expect("a file");
    for step in &schema::STEPS[..4] {
        connection.execute_batch(step).expect("a step");
    }
    let state = rows::write_app(&plan::create(name(), version(1))).expect("a row");
    connection
        .execute("INSERT INTO apps VALUES ('shop', 5, ?1)", [state])
        .and_then(|_| connection.pragma_update(None, "user_version", 4))
        .expect("an older store");
    drop(connection);

    let copied = copy_store(&path, &dir.path().join("copy.db")).expect("copied");
    assert_eq!(copied.apps, [name()]);
    let connection = Connection::open(&path).expect("the file");
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("read");
    assert_eq!(version, 4, "a copy leaves the store as it is");
    drop(connection);

    for file in ["hoist.db", "copy.db"] {
        let (store, _) = Store::open(&dir.path().join(file)).expect("the store");
        let entry = store.app(&name()).expect("the app");
        assert_eq!(entry.settings, AppSettings::default());
    }
}

#[tokio::test]
async fn a_refused_commit_leaves_the_rest_of_its_group_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(&dir.path().join("hoist.db")).expect("a new store");
    created(&store).await.expect("created");
    let other: AppName = "blog".parse().expect("a name");
    let fresh = plan::create(other.clone(), version(3));
    let good = store.commit(
        Commit::new(&other, StateChange::Create(Box::new(fresh))),
        Timestamp(1),
    );
    let bad = created(&store);
    let (good, bad) = tokio::join!(good, bad);
    assert!(good.is_ok() && matches!(bad, Err(StoreError::Conflict)));
    assert!(store.app(&other).is_some());
}

#[test]
fn a_newer_store_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hoist.db");
    let connection = Connection::open(&path).expect("a file");
    connection
        .pragma_update(None, "user_version", 99)
        .expect("set");
    drop(connection);
    let refused = Store::open(&path).err().expect("refused");
    assert!(refused.to_string().contains("version 99"), "{refused}");
    let connection = Connection::open(&path).expect("the file");
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("read");
    assert_eq!(version, 99);
}

#[test]
fn reserved_numbers_are_never_drawn_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hoist.db");
    let (store, meta) = Store::open(&path).expect("a new store");
    store.reserve(meta.reserved + 10).expect("reserved");
    drop(store);
    let (_, again) = Store::open(&path).expect("the store again");
    assert_eq!(again.reserved, meta.reserved + 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_history_tells_the_snapshot_knows() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(&dir.path().join("hoist.db")).expect("a new store");
    let store = Arc::new(store);
    created(&store).await.expect("created");
    let reader = store.clone();
    let reading = tokio::spawn(async move {
        let mut told = 0;
        while told < 200 {
            told = reader
                .releases(&name(), None, 1_000)
                .await
                .expect("read")
                .len() as u64;
            let known = reader.app(&name()).expect("the app").app.generation.number;
            assert!(known > told, "release {told} is told, {known} is known");
        }
    });
    for number in 1..=200 {
        let mut app = plan::create(name(), version(1));
        app.generation = version(number + 1);
        let state = StateChange::Update {
            expected: version(number),
            app: Box::new(app),
        };
        let mut commit = Commit::new(&name(), state);
        let digit = |power: u64| char::from(b'A' + (number / power % 26) as u8);
        let id = format!("RAAAAAAAA{}{}", digit(26), digit(1));
        commit.releases.push(release(&id));
        store
            .commit(commit, Timestamp(number))
            .await
            .expect("committed");
    }
    reading.await.expect("the snapshot is never behind");
}
