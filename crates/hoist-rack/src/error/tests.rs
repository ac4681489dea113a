//! Hints are in one style. That each error has one, the compiler sees to.

use std::io::{Error, ErrorKind};
use std::str::FromStr;

use hoist_core::detect::Package;
use hoist_core::id::{SlotId, WorkloadId};
use hoist_core::manifest::Place;

use super::*;

fn named<T: FromStr<Err = InvalidId>>(text: &str) -> T {
    text.parse().expect("it follows its rule")
}

fn app() -> AppName {
    named("shop")
}

/// What the rack itself refuses, about apps and what is in them.
fn refusals() -> Vec<RackError> {
    let (build, release, number): (BuildId, ReleaseId, Version) =
        (named("BAAAAAAAAAA"), named("RAAAAAAAAAA"), named("1.2"));
    let service: ServiceName = named("web");
    let (process, name) = ("3f".to_owned(), "COLOR".to_owned());
    vec![
        RackError::NoApp(app()),
        RackError::NoBuild {
            app: app(),
            build: build.clone(),
        },
        RackError::BuildEnded {
            app: app(),
            build,
            status: "failed",
        },
        RackError::BuildCancelled,
        RackError::NoReleaseNamed {
            app: app(),
            release: release.clone(),
        },
        RackError::NoPromotion { app: app(), number },
        RackError::NoService {
            app: app(),
            service: service.clone(),
        },
        RackError::NotAService {
            release: release.clone(),
            service: service.clone(),
            known: Vec::new(),
        },
        RackError::NoSlug(release.clone()),
        RackError::NoProcess {
            app: app(),
            process: process.clone(),
        },
        RackError::AmbiguousProcess {
            app: app(),
            process,
        },
        RackError::NoSession,
        RackError::TooManySessions { limit: 1 },
        RackError::TooManyOneOffs { limit: 1 },
        RackError::AppExists(app()),
        RackError::HostTaken {
            host: "shop.localhost".to_owned(),
            owner: app(),
        },
        RackError::NoRelease(app()),
        RackError::NothingActive(app()),
        RackError::NothingInFlight(app()),
        RackError::HasEnded { app: app(), number },
        RackError::NothingToRollBackTo(app()),
        RackError::NotBuilt(release),
        RackError::EnvMoved {
            app: app(),
            found: None,
            change: EnvChange::default(),
        },
        RackError::NotSet {
            app: app(),
            name: name.clone(),
            known: vec!["COLOUR".to_owned()],
        },
        RackError::NotMasked {
            app: app(),
            name: name.clone(),
            known: BTreeSet::new(),
        },
        RackError::NothingLeft,
        RackError::Unconfirmed(app()),
        RackError::MissingAppEnv(MissingNames(vec![name.clone()])),
        RackError::MissingEnv {
            service,
            source: MissingNames(vec![name.clone()]),
        },
        RackError::InvalidEnv(InvalidEnv::Name(name.clone())),
        RackError::InvalidEnv(InvalidEnv::Nul(name.clone())),
        RackError::InvalidEnv(InvalidEnv::TooLarge { name, bytes: 1 }),
        RackError::EnvTooLarge {
            app: app(),
            limit_bytes: 1,
        },
    ]
}

/// What is wrong with something that was sent, or with the machine.
fn failures() -> Vec<RackError> {
    let io = |kind| RackError::io("write a file")(Error::from(kind));
    let file = "hoist.yml".to_owned();
    vec![
        RackError::InvalidId(InvalidId::ReleaseId("R1".to_owned())),
        RackError::Invalid("the body is not JSON".to_owned()),
        RackError::Manifest(ManifestError::Missing),
        RackError::Manifest(ManifestError::Invalid {
            file,
            place: Place::WholeFile,
            message: "`services` is missing".to_owned(),
            snippet: None,
        }),
        RackError::Detect(DetectError::File(ManifestError::Missing)),
        RackError::NoTool(Tool::Program("npm", Package::Debian("npm"))),
        RackError::Archive("it ends early".to_owned()),
        RackError::NoSource(app()),
        RackError::SourceIncomplete,
        RackError::TooLarge { limit_bytes: 1 },
        RackError::Unsupported("service `web` runs an image".to_owned()),
        RackError::Move(MoveError::CutShort),
        RackError::Move(MoveError::TooMany),
        RackError::Store(StoreError::Conflict),
        RackError::Store(StoreError::Closed),
        RackError::Store(StoreError::Newer {
            version: 2,
            known: 1,
        }),
        RackError::Store(StoreError::Unreadable("x".to_owned())),
        RackError::Store(StoreError::Unwritten {
            why: "full".to_owned(),
            full: true,
        }),
        RackError::Engine(EngineError::NotFound),
        RackError::Secret(SecretError::Sealed),
        RackError::Secret(SecretError::Random),
        io(ErrorKind::PermissionDenied),
        io(ErrorKind::AddrInUse),
        io(ErrorKind::StorageFull),
        RackError::RouterPort {
            address: ([127, 0, 0, 1], 80).into(),
            source: Error::from(ErrorKind::AddrInUse),
        },
        RackError::Busy {
            data_dir: "/data".into(),
            holder: "pid 1".to_owned(),
        },
        RackError::Stopping,
    ]
}

/// What the planner refuses.
fn refused_commands() -> Vec<RackError> {
    let service: ServiceName = named("web");
    let slot = SlotId {
        workload: WorkloadId::least_of(&app()),
        slot: 1,
    };
    let refused = [
        CommandError::InProgress {
            promotion: named("1.2"),
            target: named("RAAAAAAAAAA"),
        },
        CommandError::Deleting,
        CommandError::UnknownService {
            service: service.clone(),
            known: Vec::new(),
        },
        CommandError::NotActive {
            release: named("RAAAAAAAAAA"),
        },
        CommandError::Singleton {
            service: service.clone(),
        },
        CommandError::TooMany {
            service,
            size: 9,
            most: 8,
        },
        CommandError::NotStanding { slot: slot.clone() },
        CommandError::AlreadyRenewing { slot },
        CommandError::NothingInFlight,
        CommandError::AlreadyGoingBack,
        CommandError::AlreadyStopped,
        CommandError::AlreadyRunning,
        CommandError::IsStopped,
        CommandError::NeverDeployed,
    ];
    refused.map(RackError::Command).into()
}

/// What is wrong with how a hint is written.
fn flaw(hint: &str) -> Option<&'static str> {
    let first = hint.chars().next();
    let parts: Vec<&str> = hint.split('`').collect();
    let said = parts.iter().step_by(2);
    if !first.is_some_and(|first| first == '`' || first.is_ascii_lowercase()) {
        Some("begins with neither a lower-case word nor a command")
    } else if parts.len().is_multiple_of(2) {
        Some("a backtick is open")
    } else if said.clone().any(|said| said.contains("hoist ")) {
        Some("a command is not in backticks")
    } else if hint.ends_with('.') || hint.contains('\n') {
        Some("is more than one line, or ends with a full stop")
    } else {
        None
    }
}

#[test]
fn every_error_has_a_hint_in_one_style() {
    for error in refusals()
        .into_iter()
        .chain(failures())
        .chain(refused_commands())
    {
        let hint = error.hint().unwrap_or_default();
        assert_eq!(flaw(&hint), None, "{error}: {hint}");
    }
    for wrong in [
        "",
        "hoist apps",
        "Try again",
        "try `hoist apps",
        "try again.",
    ] {
        assert!(flaw(wrong).is_some(), "{wrong}");
    }
}
