//! A table is on disk before it is acknowledged, survives the router, and never goes back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use hoist_core::id::Version;
use hoist_core::model::RouteTarget;
use hoist_router::control::ControlError;
use hoist_router::{PlaceError, RouterConfig, RouterError, check_listen, router_main};
use stage::{App, Router, slot, table, to, until};

#[test]
fn a_killed_router_starts_from_the_table_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::new(|_| "hello".to_owned());
    let mut router = Router::start(dir.path());
    let first = router
        .publish(&table(7, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    router.child.kill().unwrap();
    router.child.wait().unwrap();
    let router = Router::start(dir.path());
    let report = router.report().unwrap();
    assert_eq!(
        report.version,
        Version {
            epoch: 1,
            number: 7
        }
    );
    assert_eq!(report.routed, [slot(1, 1)].into());
    assert_ne!(report.incarnation, first.incarnation);
    assert_eq!(router.get("app.localhost", "/").text(), "hello");
}

#[test]
fn a_table_that_is_not_newer_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    router
        .publish(&table(5, to(&[(slot(5, 1), stage::free_address())])))
        .unwrap();
    for number in [4, 5] {
        let report = router
            .publish(&table(number, RouteTarget::Stopped))
            .unwrap();
        assert_eq!(
            (report.version.number, report.routed),
            (5, [slot(5, 1)].into())
        );
    }
    let mut restored = table(1, RouteTarget::Stopped);
    restored.version.epoch = 2;
    assert_eq!(router.publish(&restored).unwrap().version, restored.version);
}

#[test]
fn a_table_that_cannot_be_read_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("table.json"), "{ not a table").unwrap();
    let router = Router::start(dir.path());
    assert_eq!(router.report().unwrap().version, Version::default());
    assert_eq!(
        std::fs::read_to_string(dir.path().join("table.json.unreadable")).unwrap(),
        "{ not a table"
    );
    assert_eq!(
        router
            .publish(&table(1, RouteTarget::Stopped))
            .unwrap()
            .version
            .number,
        1
    );
}

#[test]
fn a_table_that_cannot_be_kept_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    router.publish(&table(1, RouteTarget::Stopped)).unwrap();
    std::fs::create_dir(dir.path().join("table.json.new")).unwrap();
    let refused = router.publish(&table(2, to(&[]))).unwrap_err();
    assert!(
        matches!(&refused, ControlError::Refused { code, .. } if code == "not-kept"),
        "{refused:?}"
    );
    assert_eq!(router.report().unwrap().version.number, 1);
}

#[test]
fn one_router_has_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let config = RouterConfig {
        listen: stage::free_address(),
        dir: dir.path().to_owned(),
        threads: 1,
    };
    let pid = router.child.id();
    match router_main(config) {
        Err(RouterError::Place(PlaceError::Taken {
            pid: Some(other), ..
        })) => assert_eq!(other, pid),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_router_has_an_address() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let router = Router::start(dir.path());
    let config = RouterConfig {
        listen: router.address,
        dir: other.path().to_owned(),
        threads: 1,
    };
    let taken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    assert!(taken(
        &check_listen(other.path(), router.address).unwrap_err()
    ));
    match router_main(config) {
        Err(RouterError::Listen { address, source }) => {
            assert!(address == router.address && taken(&source), "{source}");
        }
        other => panic!("{other:?}"),
    }
    let address = router.address;
    drop(router);
    until("it is free", || check_listen(other.path(), address).is_ok());
}

#[test]
fn a_deep_directory_and_no_router_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
    let mut router = Router::start(&deep);
    router.stop().unwrap();
    until("it ended", || router.child.try_wait().unwrap().is_some());
    assert!(matches!(
        router.report(),
        Err(ControlError::Unreachable { .. })
    ));
}
