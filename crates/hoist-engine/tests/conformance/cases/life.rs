//! A process from its start to its end: what every engine promises, the one in memory too.

use std::time::{Duration, Instant};

use hoist_core::model::{ExitCause, ProcessState};
use hoist_engine::{EngineError, RestartPolicy, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::conformance::Bench;
use crate::conformance::looking::*;

pub(super) async fn apply_twice_is_one(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "idle");
    bench.engine().apply(&spec, 2).await.unwrap();
    let first = look(bench).await;
    assert_eq!(first.workloads[&id].len(), 2);
    bench.engine().apply(&spec, 2).await.unwrap();
    let ids = |seen: &hoist_engine::Seen| {
        seen.workloads[&id]
            .values()
            .map(|p| p.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&look(bench).await), ids(&first));
    assert_ne!(ids(&first)[0], ids(&first)[1]);
}

pub(super) async fn shrinking_takes_the_highest(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "idle");
    bench.engine().apply(&spec, 3).await.unwrap();
    let before = look(bench).await;
    bench.engine().apply(&spec, 1).await.unwrap();
    let left = until(bench, "one slot", |seen| {
        Some(seen.workloads.get(&id)?.clone()).filter(|slots| slots.len() == 1)
    });
    let left = left.await;
    assert_eq!(left[&1].id, before.workloads[&id][&1].id);
}

pub(super) async fn remove_of_what_is_absent_is_done(bench: &mut dyn Bench) {
    bench.engine().remove(&workload("web", 1)).await.unwrap();
    let task = super::tasks::release_command(1);
    bench.engine().stop_task(&task).await.unwrap();
    bench.engine().forget_task(&task).await.unwrap();
    let seen = look(bench).await;
    assert!(seen.workloads.is_empty() && seen.tasks.is_empty());
}

pub(super) async fn removed_is_gone_with_all_its_slots(bench: &mut dyn Bench) {
    let (old, new) = (workload("web", 1), workload("web", 2));
    for id in [&old, &new] {
        let spec = spec(bench, id, "idle");
        bench.engine().apply(&spec, 2).await.unwrap();
    }
    bench.engine().remove(&old).await.unwrap();
    bench.engine().remove(&old).await.unwrap();
    gone(bench, &old).await;
    assert_eq!(look(bench).await.workloads[&new].len(), 2);
}

pub(super) async fn a_process_serves_on_the_address_it_is_given(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "serve 204");
    bench.engine().apply(&spec, 2).await.unwrap();
    let first = running(bench, &slot(&id, 1)).await.address.unwrap();
    let second = running(bench, &slot(&id, 2)).await.address.unwrap();
    assert_ne!(first, second);
    for address in [first, second] {
        let begin = Instant::now();
        let mut stream = loop {
            match tokio::net::TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    }
    assert_eq!(
        bench.engine().listening(&slot(&id, 1)).await.unwrap(),
        [first.port()]
    );
}

pub(super) async fn restarts_are_counted_and_pause_longer_each_time(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "say again; exit 3");
    let begin = Instant::now();
    bench.engine().apply(&spec, 1).await.unwrap();
    let first = until(bench, "a process", |seen| {
        find(seen, &slot(&id, 1)).cloned()
    })
    .await;
    let third = until(bench, "three restarts", |seen| {
        find(seen, &slot(&id, 1))
            .filter(|process| process.restarts >= 3)
            .cloned()
    });
    let third = third.await;
    // 100 + 200 + 400 ms.
    assert!(
        begin.elapsed() >= Duration::from_millis(700),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!((third.id.clone(), third.address), (first.id, first.address));
    assert_eq!(third.last_exit.unwrap().code, 3);
    assert!(
        log(bench, &third.id)
            .iter()
            .filter(|line| *line == "o again")
            .count()
            >= 3
    );
}

pub(super) async fn never_means_never(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "exit 0");
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!((exit.code, exit.cause), (0, ExitCause::Own));
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.engine().apply(&spec, 1).await.unwrap();
    bench.reopen();
    assert_eq!(exited(bench, &slot(&id, 1)).await, (process, exit));
}

pub(super) async fn exit_status_and_cause_are_told(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "cry boom; exit 7");
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!(
        (exit.code, exit.signal, exit.cause),
        (7, None, ExitCause::Own)
    );
    assert_eq!(log(bench, &process.id), ["e boom"]);

    let id = workload("web", 2);
    spec.id = id.clone();
    spec.process.argv = vec!["/no/such/program".into()];
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!((exit.code, exit.cause), (127, ExitCause::ExecFailed));
    let last = log(bench, &process.id).pop().unwrap();
    assert!(
        last.contains("/no/such/program") && last.contains("No such file"),
        "{last}"
    );
}

pub(super) async fn a_stop_is_a_signal_first_and_a_kill_at_last(bench: &mut dyn Bench) {
    let (polite, rude) = (workload("web", 1), workload("web", 2));
    let spec_polite = spec(bench, &polite, "say up; idle");
    let mut spec_rude = spec(bench, &rude, "stubborn; say up; idle");
    spec_rude.process.stop_grace = Duration::from_millis(600);
    bench.engine().apply(&spec_polite, 1).await.unwrap();
    bench.engine().apply(&spec_rude, 1).await.unwrap();
    let first = running(bench, &slot(&polite, 1)).await;
    let second = running(bench, &slot(&rude, 1)).await;
    logged(bench, &first.id, "o up").await;
    logged(bench, &second.id, "o up").await;

    let begin = Instant::now();
    bench.engine().remove(&polite).await.unwrap();
    gone(bench, &polite).await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(log(bench, &first.id), ["o up", "o stopping"]);

    let begin = Instant::now();
    bench.engine().remove(&rude).await.unwrap();
    let stopping = |seen: &hoist_engine::Seen| {
        Some(find(seen, &slot(&rude, 1))?.state == ProcessState::Stopping)
    };
    assert!(until(bench, "the stubborn one", stopping).await);
    gone(bench, &rude).await;
    assert!(
        begin.elapsed() >= Duration::from_millis(600),
        "{:?}",
        begin.elapsed()
    );
}

pub(super) async fn a_stop_ends_a_pause_between_restarts(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "exit 1");
    bench.engine().apply(&spec, 1).await.unwrap();
    until(bench, "some restarts", |seen| {
        find(seen, &slot(&id, 1))
            .filter(|p| p.restarts >= 3)
            .map(|_| ())
    })
    .await;
    bench.engine().remove(&id).await.unwrap();
    let begin = Instant::now();
    gone(bench, &id).await;
    assert!(begin.elapsed() < Duration::from_secs(5));
}

pub(super) async fn a_removal_goes_on_over_a_crash_of_the_rack(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "stubborn; say up; idle");
    spec.process.stop_grace = Duration::from_secs(1);
    bench.engine().apply(&spec, 2).await.unwrap();
    for number in [1, 2] {
        let process = running(bench, &slot(&id, number)).await;
        logged(bench, &process.id, "o up").await;
    }
    bench.engine().remove(&id).await.unwrap();
    bench.reopen();
    let slots = look(bench)
        .await
        .workloads
        .get(&id)
        .cloned()
        .unwrap_or_default();
    assert!(
        slots
            .values()
            .all(|process| process.state == ProcessState::Stopping),
        "{slots:?}"
    );
    gone(bench, &id).await;
}

pub(super) async fn a_crash_of_the_rack_touches_no_process(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "say up; serve");
    bench.engine().apply(&spec, 2).await.unwrap();
    let before = [
        running(bench, &slot(&id, 1)).await,
        running(bench, &slot(&id, 2)).await,
    ];
    logged(bench, &before[0].id, "o up").await;
    bench.reopen();
    bench.engine().apply(&spec, 2).await.unwrap();
    let after = [
        running(bench, &slot(&id, 1)).await,
        running(bench, &slot(&id, 2)).await,
    ];
    assert_eq!(before, after);
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
}

pub(super) async fn a_lost_supervisor_leaves_no_orphan_and_is_held_again(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "idle");
    let token = token();
    spec.process.argv = bench.command(&token, "say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let first = running(bench, &slot(&id, 1)).await;
    logged(bench, &first.id, "o up").await;
    assert!(bench.alive(&token));
    bench.kill_supervisor(&slot(&id, 1));
    let (_, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!(exit.cause, ExitCause::Lost);
    dead(bench, &token).await;
    bench.engine().apply(&spec, 1).await.unwrap();
    let second = running(bench, &slot(&id, 1)).await;
    assert_ne!(second.id, first.id);
    assert_eq!(
        (second.restarts, second.last_exit.unwrap().cause),
        (1, ExitCause::Lost)
    );
}

pub(super) async fn something_that_changed_is_hinted(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "wait 300; exit 0");
    spec.restart = RestartPolicy::Never;
    let hints = bench.engine().hints();
    bench.engine().apply(&spec, 1).await.unwrap();
    loop {
        tokio::time::timeout(PATIENCE, hints.notified())
            .await
            .expect("no hint came");
        let seen = look(bench).await;
        if matches!(
            find(&seen, &slot(&id, 1)).unwrap().state,
            ProcessState::Exited(_)
        ) {
            break;
        }
    }
}

pub(super) async fn variables_arrive_whole(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(
        bench,
        &id,
        "print KEY; print PORT; print EMPTY; print PORT; idle",
    );
    spec.process.env = [("KEY", "a=b\n\"c\"\n\n$d"), ("EMPTY", ""), ("PORT", "1")]
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .into();
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    let port = process.address.unwrap().port();
    logged(bench, &process.id, &format!("o {port}")).await;
    assert_eq!(
        log(bench, &process.id)[..3],
        [
            "o a=b\\n\"c\"\\n\\n$d".to_owned(),
            format!("o {port}"),
            "o ".to_owned()
        ]
    );
}

pub(super) async fn a_port_of_its_own_choice_is_seen(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "serve-elsewhere");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    let begin = Instant::now();
    let ports = loop {
        let ports = bench.engine().listening(&slot(&id, 1)).await.unwrap();
        if !ports.is_empty() {
            break ports;
        }
        assert!(begin.elapsed() < PATIENCE);
    };
    assert!(!ports.contains(&process.address.unwrap().port()));
    logged(bench, &process.id, &format!("o {}", ports[0])).await;
    let absent = bench.engine().listening(&slot(&id, 2)).await;
    assert!(matches!(absent, Err(EngineError::NotFound)));
}

pub(super) async fn a_check_runs_beside_the_process(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    let token = token();
    let check = async |script: &str, limit: u64| {
        let argv = bench.command(&token, script);
        bench
            .engine()
            .check(&slot(&id, 1), &argv, Duration::from_millis(limit))
            .await
    };
    assert_eq!(check("exit 0", 10_000).await.unwrap(), 0);
    assert_eq!(check("say unheard; exit 4", 10_000).await.unwrap(), 4);
    let begin = Instant::now();
    assert_eq!(check("stubborn; idle", 500).await.unwrap(), 124);
    assert!(begin.elapsed() < Duration::from_secs(5));
    dead(bench, &token).await;
    assert_eq!(
        bench
            .engine()
            .check(&slot(&id, 1), &["/no/such".into()], PATIENCE)
            .await
            .unwrap(),
        127
    );
    assert_eq!(log(bench, &process.id), ["o up"]);
    let argv = bench.command(&token, "exit 0");
    let absent = bench.engine().check(&slot(&id, 2), &argv, PATIENCE).await;
    assert!(matches!(absent, Err(EngineError::NotFound)));
}

pub(super) async fn what_cannot_be_started_is_refused(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "idle");
    let good = std::mem::take(&mut spec.process.argv);
    let refused = bench.engine().apply(&spec, 1).await.unwrap_err();
    assert!(!refused.retryable(), "{refused}");
    spec.process.argv = good;
    for (name, value) in [("A=B", "x"), ("", "x"), ("A", "x\0y")] {
        spec.process.env = vec![(name.into(), Secret::new(value))];
        let refused = bench.engine().apply(&spec, 1).await.unwrap_err();
        assert!(!refused.retryable(), "{refused}");
    }
    assert!(look(bench).await.workloads.is_empty());
}
