//! What commands refuse, and the small answers beside `step`: each case by hand, without a world.

use std::collections::{BTreeMap, BTreeSet};

use hoist_core::id::{ReleaseId, ServiceName, SlotId, Version, WorkloadId};
use hoist_core::model::{
    App, BackStep, Cancel, Fingerprint, Life, Limits, Millis, Observation, Phase, Planned,
    PromotionKind, Reason, Release, ReplaceStep, Retiring, Service, Serving, Standing, Strategy,
    TaskStatus, Timestamp, Workload,
};
use hoist_core::plan::{
    self, Action, AppStatus, CommandError, PromoteOptions, Scaling, Transition, Verdict,
};

fn v(number: u64) -> Version {
    Version { epoch: 1, number }
}

const NOW: Timestamp = Timestamp(1_000);

fn name(text: &str) -> ServiceName {
    text.parse().expect("a service name")
}

fn release(letter: char, fingerprint: u8) -> Release {
    let service = |routed, strategy| Service {
        routed,
        strategy,
        start_limit: Millis(10_000),
        drain_limit: Millis(10_000),
        count: 1,
        memory_bytes: 0,
        fingerprint: Fingerprint([fingerprint; 32]),
    };
    let services = [
        (name("web"), service(true, Strategy::Surge)),
        (name("worker"), service(false, Strategy::Surge)),
        (name("lone"), service(true, Strategy::Replace)),
    ];
    Release {
        id: format!("R{}", letter.to_string().repeat(10))
            .parse()
            .expect("a release id"),
        build: "BAAAAAAAAAA".parse().expect("a build id"),
        has_release_command: false,
        has_postdeploy: false,
        services: services.into(),
    }
}

fn new_app() -> App {
    plan::create("shop".parse().expect("an app name"), v(1))
}

/// An app that serves release A, brought up by attempt 2.
fn serving_app() -> App {
    let mut app = new_app();
    let release = release('A', 1);
    let workload = |service: &ServiceName| Workload {
        id: WorkloadId {
            app: app.name.clone(),
            service: service.clone(),
            attempt: v(2),
        },
        release: release.id.clone(),
        limits: Limits::default(),
    };
    let names = release.services.keys();
    let workloads = names
        .clone()
        .map(|service| (service.clone(), workload(service)))
        .collect();
    let slots = names.map(|service| (service.clone(), 1)).collect();
    app.serving = Some(Serving {
        release: release.id.clone(),
        promotion: v(2),
        workloads,
        slots,
    });
    app.releases.insert(release.id.clone(), release);
    (app.generation, app.routes_since) = (v(3), v(3));
    app
}

fn promote(
    app: &mut App,
    target: Release,
    kind: PromotionKind,
    only: Option<&str>,
) -> Result<(), CommandError> {
    let options = PromoteOptions {
        limit: None,
        only: only.map(name),
    };
    plan::promote(app, target, kind, options, v(10), NOW)
}

/// A refused command changes nothing.
fn refused(app: &App, command: impl FnOnce(&mut App) -> Result<(), CommandError>) -> CommandError {
    let mut after = app.clone();
    let error = command(&mut after).expect_err("the command is refused");
    assert_eq!(&after, app, "a refused command changed something");
    error
}

#[test]
fn one_promotion_at_a_time() {
    let mut app = serving_app();
    promote(&mut app, release('B', 2), PromotionKind::Promote, None).expect("a promotion begins");
    let error = refused(&app, |app| {
        promote(app, release('C', 3), PromotionKind::Promote, None)
    });
    let target: ReleaseId = release('B', 2).id;
    assert_eq!(
        error,
        CommandError::InProgress {
            promotion: v(10),
            target
        }
    );
}

#[test]
fn only_what_is_active_restarts() {
    let app = serving_app();
    let other = refused(&app, |app| {
        promote(app, release('B', 2), PromotionKind::Restart, Some("web"))
    });
    assert_eq!(
        other,
        CommandError::NotActive {
            release: release('B', 2).id
        }
    );
    let unknown = refused(&app, |app| {
        promote(app, release('A', 1), PromotionKind::Restart, Some("api"))
    });
    assert_eq!(
        unknown,
        CommandError::UnknownService {
            service: name("api"),
            known: vec![name("lone"), name("web"), name("worker")],
        }
    );
}

#[test]
fn nothing_to_cancel_or_stop() {
    assert_eq!(
        refused(&serving_app(), |app| plan::cancel(
            app,
            Cancel::ByUser,
            v(10)
        )),
        CommandError::NothingInFlight
    );
    assert_eq!(
        refused(&new_app(), |app| plan::stop(app, v(10), NOW)),
        CommandError::NeverDeployed
    );
    let mut stopped = serving_app();
    plan::stop(&mut stopped, v(10), NOW).expect("it stops");
    assert_eq!(
        refused(&stopped, |app| plan::stop(app, v(11), NOW)),
        CommandError::AlreadyStopped
    );
}

#[test]
fn a_stopped_app_starts_as_a_whole_and_a_running_one_not_again() {
    let again = refused(&serving_app(), |app| {
        promote(app, release('A', 1), PromotionKind::Start, None)
    });
    assert_eq!(again, CommandError::AlreadyRunning);
    let mut stopped = serving_app();
    plan::stop(&mut stopped, v(10), NOW).expect("it stops");
    let alone = refused(&stopped, |app| {
        promote(app, release('A', 1), PromotionKind::Restart, Some("web"))
    });
    assert_eq!(alone, CommandError::IsStopped);
    promote(&mut stopped, release('A', 1), PromotionKind::Restart, None).expect("all restart");
}

fn life() -> Life {
    Life {
        process: "0a1b2c3d4e5f".parse().expect("a process id"),
        restarts: 0,
        started: NOW,
    }
}

fn slot_of(app: &App, service: &str, slot: u16) -> SlotId {
    let serving = app.serving.as_ref().expect("it serves");
    SlotId {
        workload: serving.workloads[&name(service)].id.clone(),
        slot,
    }
}

#[test]
fn only_what_serves_and_stays_is_started_again() {
    let mut app = serving_app();
    let (web, second) = (slot_of(&app, "web", 1), slot_of(&app, "web", 2));
    let renew = |app: &mut App, slot: &SlotId| plan::renew(app, slot, &life(), v(10), NOW);
    let beyond = refused(&app, |app| renew(app, &second));
    assert_eq!(beyond, CommandError::NotStanding { slot: second });
    renew(&mut app, &web).expect("a process that serves");
    let twice = refused(&app, |app| renew(app, &web));
    assert_eq!(twice, CommandError::AlreadyRenewing { slot: web.clone() });
    let mut moving = serving_app();
    promote(&mut moving, release('B', 2), PromotionKind::Promote, None).expect("it begins");
    moving.promotion.as_mut().expect("in flight").phase = Phase::Shifting;
    let busy = refused(&moving, |app| renew(app, &web));
    assert!(matches!(busy, CommandError::InProgress { .. }), "{busy:?}");
    let mut stopped = serving_app();
    plan::stop(&mut stopped, v(10), NOW).expect("it stops");
    let gone = refused(&stopped, |app| renew(app, &web));
    assert_eq!(gone, CommandError::NotStanding { slot: web });
}

#[test]
fn limits_wait_for_a_restart_and_numbers_go_back_to_the_manifest() {
    let mut app = serving_app();
    let limits = Limits {
        memory_bytes: Some(512),
        cpu_millicores: None,
    };
    let scaling = Scaling {
        sizes: BTreeMap::from([(name("web"), 3)]),
        limits: BTreeMap::from([(name("web"), limits)]),
        ..Scaling::default()
    };
    let due = plan::scale(&mut app, &scaling, v(10), NOW).expect("it is recorded");
    assert_eq!(due, BTreeSet::from([name("web")]));
    let overruled = plan::overruled(&app, &release('B', 2));
    let told: Vec<_> = overruled.iter().map(|one| (one.size, one.count)).collect();
    assert_eq!(told, [(3, 1)]);
    let back = Scaling {
        from_manifest: BTreeSet::from([name("web")]),
        ..Scaling::default()
    };
    let due = plan::scale(&mut app, &back, v(11), NOW).expect("it is given back");
    assert!(due.is_empty(), "nothing runs with other limits: {due:?}");
    assert!(app.sizes.is_empty() && app.limits.is_empty());
    let many = Scaling {
        sizes: BTreeMap::from([(name("web"), 1_001)]),
        ..Scaling::default()
    };
    let refusal = refused(&app, |app| plan::scale(app, &many, v(12), NOW).map(drop));
    assert!(matches!(refusal, CommandError::TooMany { .. }), "{refusal}");
}

#[test]
fn every_phase_can_be_cancelled() {
    for phase in [
        Phase::Preparing,
        Phase::Starting,
        Phase::Replacing(ReplaceStep::Draining),
        Phase::Replacing(ReplaceStep::Stopping),
        Phase::Replacing(ReplaceStep::Starting),
        Phase::Shifting,
        Phase::Draining,
    ] {
        let mut app = promoting(phase.clone());
        assert_eq!(plan::cancel(&mut app, Cancel::ByUser, v(11)), Ok(()));
        let verdict = plan::step(&app, &Observation::default(), NOW);
        let Verdict::Go(Transition::Enter {
            phase: Phase::RollingBack { reason, .. },
        }) = verdict
        else {
            panic!("{phase:?}: {verdict:?}");
        };
        assert_eq!(reason, Reason::Cancelled(Cancel::ByUser), "{phase:?}");
    }
    let going_back = promoting(Phase::RollingBack {
        step: BackStep::Removing,
        reason: Reason::Cancelled(Cancel::ByUser),
        complete: true,
    });
    assert_eq!(
        refused(&going_back, |app| plan::cancel(app, Cancel::ByUser, v(11))),
        CommandError::AlreadyGoingBack
    );
}

#[test]
fn a_switched_promotion_that_is_superseded_has_succeeded_unless_it_was_cancelled() {
    let mut app = promoting(Phase::Draining);
    assert_eq!(plan::cancel(&mut app, Cancel::BySuperseding, v(11)), Ok(()));
    let cancel = |app: &App| app.promotion.as_ref().and_then(|own| own.cancel);
    assert_eq!(cancel(&app), Some(Cancel::BySuperseding));
    assert_eq!(plan::cancel(&mut app, Cancel::ByUser, v(12)), Ok(()));
    assert_eq!(plan::cancel(&mut app, Cancel::BySuperseding, v(13)), Ok(()));
    assert_eq!(cancel(&app), Some(Cancel::ByUser));
}

/// A promotion of another release, in a phase.
fn promoting(phase: Phase) -> App {
    let mut app = serving_app();
    promote(&mut app, release('B', 2), PromotionKind::Promote, None).expect("a promotion begins");
    app.promotion.as_mut().expect("in flight").phase = phase;
    app
}

#[test]
fn sizes_are_checked_before_any_changes() {
    let app = serving_app();
    let ask = |sizes: &[(&str, u16)]| {
        let sizes: BTreeMap<_, _> = sizes
            .iter()
            .map(|(service, size)| (name(service), *size))
            .collect();
        refused(&app, |app| plan::resize(app, &sizes, v(10), NOW))
    };
    assert_eq!(
        ask(&[("web", 2), ("zebra", 1)]),
        CommandError::UnknownService {
            service: name("zebra"),
            known: vec![name("lone"), name("web"), name("worker")],
        }
    );
    assert_eq!(
        ask(&[("lone", 2), ("web", 3)]),
        CommandError::Singleton {
            service: name("lone")
        }
    );
}

#[test]
fn a_deleted_app_takes_no_commands() {
    let mut app = serving_app();
    plan::delete(&mut app, v(10), NOW).expect("it is deleted");
    let sizes = BTreeMap::from([(name("web"), 2)]);
    let refusals = [
        refused(&app, |app| {
            promote(app, release('B', 2), PromotionKind::Promote, None)
        }),
        refused(&app, |app| plan::resize(app, &sizes, v(11), NOW)),
        refused(&app, |app| plan::stop(app, v(11), NOW)),
        refused(&app, |app| plan::delete(app, v(11), NOW)),
    ];
    assert!(
        refusals
            .iter()
            .all(|error| *error == CommandError::Deleting),
        "{refusals:?}"
    );
    assert_eq!(
        plan::status(&app, &Observation::default()),
        AppStatus::Deleting
    );
}

#[test]
fn a_rollback_keeps_what_is_the_same_and_a_promotion_replaces_all() {
    let kept = |kind| {
        let mut app = serving_app();
        promote(&mut app, release('B', 1), kind, None).expect("a promotion begins");
        let services = app.promotion.expect("in flight").services;
        services
            .values()
            .filter(|planned| matches!(planned, Planned::Keep { .. }))
            .count()
    };
    assert_eq!(
        (kept(PromotionKind::Rollback), kept(PromotionKind::Promote)),
        (3, 0)
    );
}

#[test]
fn a_promotion_lifts_a_stop_and_its_failure_brings_it_back() {
    let mut app = serving_app();
    app.serving.as_mut().expect("it serves").workloads.clear();
    app.standing = Standing::Stopped;
    promote(&mut app, release('A', 1), PromotionKind::Start, None).expect("a promotion begins");
    assert_eq!(app.standing, Standing::Up);
    let reason = hoist_core::model::Reason::LostHealth {
        service: name("web"),
    };
    let transition = plan::Transition::End {
        outcome: hoist_core::model::Outcome::Failed(reason),
    };
    plan::apply(&mut app, &transition, v(11), NOW);
    assert_eq!(
        (app.standing, app.promotion.is_none()),
        (Standing::Stopped, true)
    );
}

#[test]
fn what_a_newer_state_may_want_is_left_alone() {
    let app = serving_app();
    let mut seen = Observation::default();
    let of = |attempt| WorkloadId {
        app: app.name.clone(),
        service: name("web"),
        attempt,
    };
    (seen.router.look, seen.router.version) = (v(50), v(50));
    seen.engine.workloads.insert(of(v(1)), BTreeMap::new());
    seen.engine.workloads.insert(of(v(40)), BTreeMap::new());
    let removed = |action: &Action| matches!(action, Action::Remove { .. });
    let removals: Vec<_> = plan::converge(&app, &seen)
        .into_iter()
        .filter(removed)
        .collect();
    assert_eq!(removals, [Action::Remove { id: of(v(1)) }]);
}

#[test]
fn strays_go_once_no_route_names_them_and_their_commands_stop() {
    let app = serving_app();
    let mut seen = Observation::default();
    let stray = WorkloadId {
        app: "gone".parse().expect("an app name"),
        service: name("web"),
        attempt: v(1),
    };
    seen.engine.workloads.insert(stray.clone(), BTreeMap::new());
    seen.engine
        .release_commands
        .insert(v(2), TaskStatus::Running);
    let command = Action::StopReleaseCommand { promotion: v(2) };
    assert_eq!(
        plan::strays([&app], &seen),
        std::slice::from_ref(&command),
        "the router was not looked at"
    );
    seen.router.look = v(50);
    assert_eq!(
        plan::strays([&app], &seen),
        [Action::Remove { id: stray }, command]
    );
}

#[test]
fn rest_has_no_next_time_and_a_promotion_has() {
    let mut app = serving_app();
    app.router.incarnation = 0;
    assert_eq!(
        plan::step(&app, &Observation::default(), NOW),
        Verdict::Rest
    );
    assert_eq!(plan::due(&app, NOW), None);
    promote(&mut app, release('B', 2), PromotionKind::Promote, None).expect("a promotion begins");
    assert_eq!(plan::due(&app, NOW), Some(NOW + app.promotion_limit));
    assert_eq!(
        plan::due(&app, NOW + app.promotion_limit),
        None,
        "what is past is not next"
    );
}

#[test]
fn what_is_still_warm_is_no_limit_of_the_next_promotion() {
    let mut app = serving_app();
    promote(&mut app, release('B', 2), PromotionKind::Promote, None).expect("a promotion begins");
    let warm = Retiring {
        release: release('A', 1).id,
        limits: Limits::default(),
        slots: 1,
        since: v(1),
        warm_until: NOW + Millis(1),
        until: NOW + Millis(2),
    };
    let old = WorkloadId {
        app: app.name.clone(),
        service: name("web"),
        attempt: v(1),
    };
    app.retiring.insert(old, warm);
    assert_eq!(plan::due(&app, NOW), Some(NOW + Millis(1)));
    assert_eq!(
        plan::promotion_due(&app, NOW),
        Some(NOW + app.promotion_limit)
    );
}
