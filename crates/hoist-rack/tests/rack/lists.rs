//! Histories that are longer than a page: everything is listed once, in order, and nothing that is staged is left behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use hoist_api::client::{Client, Target};
use hoist_api::endpoints::ReleaseList;
use hoist_api::types::{AppPath, Empty, List, PageQuery, Release, ReleaseStatus};
use hoist_core::id::{AppName, ReleaseId};
use hoist_core::model::Timestamp;
use hoist_rack::api;
use hoist_rack::store::{Commit, ReleaseRecord, StateChange, Store};

use super::world::{World, actor, created, setting, web};

/// Releases that are staged: more than any page has.
const STAGED: usize = 2_498;

/// Releases of two apps in turn, each made from the one before of its app, as an `env set` makes them.
async fn stage(world: &mut World, app: &AppName, active: &ReleaseId, other: &AppName) {
    let rack = world.rack.take().expect("a running rack");
    let base = rack.release(app, active).await.expect("the release");
    let path = rack.layout.store();
    rack.shut_down().await;
    drop(rack);
    let (store, _) = Store::open(&path).expect("the store");
    let mut parents = BTreeMap::from([(app, Some(active.clone())), (other, None)]);
    let mut ours = Commit::new(app, StateChange::None);
    let mut theirs = Commit::new(other, StateChange::None);
    for number in 0..STAGED {
        for (of, commit) in [(app, &mut ours), (other, &mut theirs)] {
            let mut random = (number as u128 + 1).to_le_bytes();
            random[10] = of.as_str().len() as u8;
            let id = ReleaseId::from_random(random);
            commit.releases.push(ReleaseRecord {
                id: id.clone(),
                app: of.clone(),
                build: None,
                parent: parents.insert(of, Some(id)).flatten(),
                // All in one millisecond: nothing may order by time.
                created: Timestamp(1_700_000_000_000),
                description: format!("env change:N{number}"),
                actor: "test".to_owned(),
                env: base.env.clone(),
                rollback_of: None,
            });
        }
    }
    for commit in [ours, theirs] {
        let committed = store.commit(commit, Timestamp(1)).await;
        committed.expect("committed");
    }
    drop(store);
    world.start().await;
}

/// The rack's API, with a client of it.
async fn client(world: &World) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(api::serve(Arc::clone(world.rack()), listener));
    let token = std::fs::read_to_string(world.dir.path().join("data/token")).expect("a token");
    let target = Target::parse(&format!("http://{address}")).expect("a URL");
    Client::new(target.with_token(token.trim()))
}

async fn page(client: &Client, app: &AppName, limit: u32, before: Option<String>) -> List<Release> {
    let path = AppPath {
        app: app.to_string(),
    };
    let query = PageQuery {
        limit: Some(limit),
        before,
    };
    let page = client.call::<ReleaseList>(&path, &query, &Empty {}).await;
    page.expect("a page")
}

/// All releases of an app, by pages of this size.
async fn all(client: &Client, app: &AppName, limit: u32) -> Vec<Release> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = page(client, app, limit, before.take()).await;
        assert!(page.items.len() <= limit as usize);
        assert!(page.next.is_none() || page.items.len() == limit as usize);
        all.extend(page.items);
        match page.next {
            Some(next) => {
                assert_eq!(all.last().map(|last| &last.id), Some(&next));
                before = Some(next);
            }
            None => return all,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_releases_are_paged_and_built_on() {
    let mut world = World::new().await;
    let app = created(&world).await;
    let other: AppName = "other".parse().expect("a name");
    let made = world.rack().create(&other, &actor()).await;
    made.expect("created");
    let bad = world.build(&app, &web("cry no; exit 3")).await;
    world.promote(&app, &bad).await;
    let active = world.build(&app, &web("serve")).await;
    world.promote(&app, &active).await;
    stage(&mut world, &app, &active, &other).await;
    let client = client(&world).await;

    let once = all(&client, &app, 100).await;
    assert_eq!(once.len(), STAGED + 2);
    assert_eq!(all(&client, &app, 1_000).await, once);
    for (number, release) in once[..STAGED].iter().rev().enumerate() {
        assert_eq!(release.description, format!("env change:N{number}"));
        assert_eq!(release.app, "shop");
        assert_eq!(release.status, None);
    }
    let (second, first) = (&once[STAGED], &once[STAGED + 1]);
    assert_eq!(second.id, active.as_str());
    assert_eq!(second.status, Some(ReleaseStatus::Active));
    assert_eq!(first.id, bad.as_str());
    assert_eq!(first.status, Some(ReleaseStatus::Failed));

    // Whatever is staged, the next change is made from all of it.
    let pair = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    let update = world
        .rack()
        .update_env(&app, setting(pair, None), &actor())
        .await;
    let next = update.expect("a release");
    assert_eq!(next.parent.expect("a parent").as_str(), once[0].id);
    let entry = world.rack().app(&app).expect("the app");
    let (includes, passed_over) = world.rack().told(&entry, &next.id).await.expect("told");
    assert_eq!(includes.len(), STAGED);
    assert_eq!(passed_over, Vec::new());
}
