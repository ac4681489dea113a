//! The cases. Each begins with an empty engine and leaves the rest to the bench.

use std::time::{Duration, Instant};

use hoist_core::id::{BuildId, ProcessId, Version};
use hoist_core::model::{ExitCause, ProcessState};
use hoist_engine::{EngineError, RestartPolicy, Secret, TaskId, Tree};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::looking::*;
use super::{Bench, Case};

macro_rules! cases {
    ($($name:ident $([$($need:literal),*])?),* $(,)?) => {
        vec![$(Case {
            name: stringify!($name),
            needs: &[$($($need),*)?],
            run: |bench| Box::pin($name(bench)),
        }),*]
    };
}

/// All cases, in the order of a process's life.
pub(crate) fn all() -> Vec<Case> {
    cases![
        apply_twice_is_one,
        shrinking_takes_the_highest,
        remove_of_what_is_absent_is_done,
        removed_is_gone_with_all_its_slots,
        a_process_serves_on_the_address_it_is_given,
        restarts_are_counted_and_pause_longer_each_time,
        never_means_never,
        exit_status_and_cause_are_told,
        a_stop_is_a_signal_first_and_a_kill_at_last,
        a_stop_ends_a_pause_between_restarts,
        a_removal_goes_on_over_a_crash_of_the_rack,
        a_crash_of_the_rack_touches_no_process,
        a_lost_supervisor_leaves_no_orphan_and_is_held_again,
        something_that_changed_is_hinted,
        variables_arrive_whole,
        a_port_of_its_own_choice_is_seen,
        a_check_runs_beside_the_process,
        a_task_runs_once_for_ever,
        a_task_ends_at_its_limit,
        a_task_is_stopped_and_forgotten,
        what_cannot_be_started_is_refused,
        logs_have_the_last_words["real"],
        logs_stay_below_their_limit["real"],
        children_end_with_their_process["real"],
        a_shell_is_stopped_at_once["real"],
        a_program_without_a_handler_is_stopped_at_once["real"],
        a_shell_waits_for_its_polite_child["real", "pid"],
        a_stop_needs_no_answer["real"],
        a_slug_never_changes_and_each_life_begins_with_it["real"],
        a_writable_tree_keeps_changes["real"],
        a_volume_outlives_its_process["real", "mount"],
        only_own_processes_are_visible["real", "pid"],
        an_app_is_not_root["real", "user"],
        the_machine_is_out_of_reach["real", "mount"],
        memory_has_a_limit["real", "memory"],
        processes_have_a_limit["real", "pids"],
        cpu_time_has_a_limit["real", "cpu"],
    ]
}

async fn apply_twice_is_one(bench: &mut dyn Bench) {
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

async fn shrinking_takes_the_highest(bench: &mut dyn Bench) {
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

async fn remove_of_what_is_absent_is_done(bench: &mut dyn Bench) {
    bench.engine().remove(&workload("web", 1)).await.unwrap();
    let task = TaskId::ReleaseCommand(
        "hello".parse().unwrap(),
        Version {
            epoch: 1,
            number: 1,
        },
    );
    bench.engine().stop_task(&task).await.unwrap();
    bench.engine().forget_task(&task).await.unwrap();
    let seen = look(bench).await;
    assert!(seen.workloads.is_empty() && seen.tasks.is_empty());
}

async fn removed_is_gone_with_all_its_slots(bench: &mut dyn Bench) {
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

async fn a_process_serves_on_the_address_it_is_given(bench: &mut dyn Bench) {
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

async fn restarts_are_counted_and_pause_longer_each_time(bench: &mut dyn Bench) {
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

async fn never_means_never(bench: &mut dyn Bench) {
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

async fn exit_status_and_cause_are_told(bench: &mut dyn Bench) {
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

async fn a_stop_is_a_signal_first_and_a_kill_at_last(bench: &mut dyn Bench) {
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

async fn a_stop_ends_a_pause_between_restarts(bench: &mut dyn Bench) {
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

async fn a_removal_goes_on_over_a_crash_of_the_rack(bench: &mut dyn Bench) {
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

async fn a_crash_of_the_rack_touches_no_process(bench: &mut dyn Bench) {
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

async fn a_lost_supervisor_leaves_no_orphan_and_is_held_again(bench: &mut dyn Bench) {
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

async fn something_that_changed_is_hinted(bench: &mut dyn Bench) {
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

async fn variables_arrive_whole(bench: &mut dyn Bench) {
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

async fn a_port_of_its_own_choice_is_seen(bench: &mut dyn Bench) {
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

async fn a_check_runs_beside_the_process(bench: &mut dyn Bench) {
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

fn release_command(number: u64) -> TaskId {
    TaskId::ReleaseCommand("hello".parse().unwrap(), Version { epoch: 1, number })
}

async fn a_task_runs_once_for_ever(bench: &mut dyn Bench) {
    let id = release_command(1);
    let spec = task(bench, &id, "say migrated; wait 200; exit 5");
    bench.engine().run(&spec).await.unwrap();
    bench.engine().run(&spec).await.unwrap();
    bench.reopen();
    bench.engine().run(&spec).await.unwrap();
    let exit = ended(bench, &id).await;
    assert_eq!((exit.code, exit.cause), (5, ExitCause::Own));
    bench.engine().run(&spec).await.unwrap();
    bench.reopen();
    bench.engine().run(&spec).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ended(bench, &id).await, exit);
    let process = look(bench).await.task_processes[&id].clone();
    assert_eq!(log(bench, &process), ["o migrated"]);
}

async fn a_task_ends_at_its_limit(bench: &mut dyn Bench) {
    let id = TaskId::Build("hello".parse().unwrap(), BuildId::from_random([1; 16]));
    let mut spec = task(bench, &id, "stubborn; idle");
    spec.limit = Duration::from_millis(500);
    bench.engine().run(&spec).await.unwrap();
    let exit = ended(bench, &id).await;
    assert_eq!(
        (exit.code, exit.signal, exit.cause),
        (137, Some(9), ExitCause::Own)
    );
    let process = look(bench).await.task_processes[&id].clone();
    let last = log(bench, &process).pop().unwrap();
    assert!(last.contains("limit of 0.5 s"), "{last}");
}

async fn a_task_is_stopped_and_forgotten(bench: &mut dyn Bench) {
    let id = TaskId::OneOff("hello".parse().unwrap(), ProcessId::from_random([8; 6]));
    let spec = task(bench, &id, "say up; idle");
    bench.engine().run(&spec).await.unwrap();
    let process = until(bench, "the task", |seen| {
        seen.task_processes.get(&id).cloned()
    })
    .await;
    logged(bench, &process, "o up").await;
    assert!(matches!(
        bench.engine().forget_task(&id).await,
        Err(EngineError::Refused { .. })
    ));
    bench.engine().stop_task(&id).await.unwrap();
    bench.engine().stop_task(&id).await.unwrap();
    assert_eq!(ended(bench, &id).await.code, 0);
    bench.engine().run(&spec).await.unwrap();
    assert_eq!(ended(bench, &id).await.code, 0);
    bench.engine().forget_task(&id).await.unwrap();
    assert!(look(bench).await.tasks.is_empty());
}

async fn what_cannot_be_started_is_refused(bench: &mut dyn Bench) {
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

async fn logs_have_the_last_words(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "flood 30000; cry last words; exit 1");
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, _) = exited(bench, &slot(&id, 1)).await;
    let lines = log(bench, &process.id);
    let out: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("o "))
        .collect();
    assert_eq!(
        out,
        (0..30_000)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    );
    assert_eq!(
        lines.iter().filter(|line| *line == "e last words").count(),
        1
    );
}

async fn logs_stay_below_their_limit(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "flood 60000; exit 0");
    spec.restart = RestartPolicy::Never;
    spec.process.log_bytes_max = 512 << 10;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, _) = exited(bench, &slot(&id, 1)).await;
    let files = std::fs::read_dir(bench.dir().join("logs"))
        .unwrap()
        .flatten();
    let total: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(total <= 512 << 10, "{total}");
    assert_eq!(log(bench, &process.id).pop().unwrap(), "o 59999");
}

async fn children_end_with_their_process(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    let token = token();
    spec.process.argv = bench.command(&token, "fork; say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
    assert!(!bench.alive(&token));
}

async fn a_shell_is_stopped_at_once(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    spec.process.argv = ["/bin/sh", "-c", "echo up; sleep 1000; echo after"]
        .map(str::to_owned)
        .into();
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    // Until the sleep is there, there is nothing that could hear the signal.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}

async fn a_program_without_a_handler_is_stopped_at_once(bench: &mut dyn Bench) {
    let id = release_command(1);
    let mut spec = task(bench, &id, "");
    spec.process.argv = ["/bin/sh", "-c", "echo up; exec sleep 1000"]
        .map(str::to_owned)
        .into();
    bench.engine().run(&spec).await.unwrap();
    let process = until(bench, "the task", |seen| {
        seen.task_processes.get(&id).cloned()
    })
    .await;
    logged(bench, &process, "o up").await;
    let begin = Instant::now();
    bench.engine().stop_task(&id).await.unwrap();
    let exit = ended(bench, &id).await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!((exit.code, exit.signal), (143, Some(15)));
}

/// Ending the shell would end its namespace, and the child in the middle of its last words.
async fn a_shell_waits_for_its_polite_child(bench: &mut dyn Bench) {
    let id = release_command(1);
    let mut spec = task(bench, &id, "");
    let polite = "trap 'sleep 0.5; echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let script = format!("sh -c \"{polite}\" & wait; wait; echo after");
    spec.process.argv = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    bench.engine().run(&spec).await.unwrap();
    let process = until(bench, "the task", |seen| {
        seen.task_processes.get(&id).cloned()
    })
    .await;
    logged(bench, &process, "o up").await;
    bench.engine().stop_task(&id).await.unwrap();
    ended(bench, &id).await;
    let lines = log(bench, &process);
    assert!(lines.contains(&"o bye".to_owned()), "{lines:?}");
}

async fn a_stop_needs_no_answer(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    let token = token();
    spec.process.argv = bench.command(&token, "say up; idle");
    spec.process.stop_grace = Duration::from_millis(100);
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    bench.freeze_supervisor(&slot(&id, 1));
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
    dead(bench, &token).await;
}

async fn a_slug_never_changes_and_each_life_begins_with_it(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let script =
        "read new.txt; write new.txt x; read new.txt; read hello.txt; write hello.txt mine; exit 1";
    let spec = spec(bench, &id, script);
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = until(bench, "a restart", |seen| {
        find(seen, &slot(&id, 1))
            .filter(|p| p.restarts >= 2)
            .cloned()
    })
    .await;
    let one_life = [
        "o No such file or directory (os error 2)",
        "o written",
        "o x",
        "o from the slug",
        "o written",
    ];
    let lines = log(bench, &process.id);
    for life in lines.chunks_exact(one_life.len()).take(2) {
        assert_eq!(life, one_life);
    }
    let Tree::Slug(slug) = spec.process.tree else {
        unreachable!()
    };
    assert_eq!(
        std::fs::read_to_string(slug.join("hello.txt")).unwrap(),
        "from the slug\n"
    );
    assert!(!slug.join("new.txt").exists());
}

async fn a_writable_tree_keeps_changes(bench: &mut dyn Bench) {
    let id = TaskId::Build("hello".parse().unwrap(), BuildId::from_random([2; 16]));
    let mut spec = task(bench, &id, "write made.txt built; print HOME");
    let tree = bench.dir().join("tree");
    std::fs::create_dir_all(&tree).unwrap();
    spec.process.tree = Tree::Writable(tree.clone());
    bench.engine().run(&spec).await.unwrap();
    assert_eq!(ended(bench, &id).await.code, 0);
    assert_eq!(
        std::fs::read_to_string(tree.join("made.txt")).unwrap(),
        "built"
    );
}

async fn a_volume_outlives_its_process(bench: &mut dyn Bench) {
    let (old, new) = (workload("web", 1), workload("web", 2));
    let volumes = vec![
        (bench.dir().join("volume"), "/data".to_owned()),
        (bench.dir().join("inner"), "/app/deep/inside".to_owned()),
    ];
    let mut spec = spec(
        bench,
        &old,
        "write /data/kept yes; write /app/deep/inside/too yes; idle",
    );
    spec.process.volumes = volumes;
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&old, 1)).await;
    until(bench, "two files", |_| {
        (log(bench, &process.id) == ["o written", "o written"]).then_some(())
    })
    .await;
    bench.engine().remove(&old).await.unwrap();
    gone(bench, &old).await;
    spec.id = new.clone();
    spec.process.argv = bench.command(&token(), "read /data/kept; read deep/inside/too; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&new, 1)).await;
    until(bench, "two files", |_| {
        (log(bench, &process.id) == ["o yes", "o yes"]).then_some(())
    })
    .await;
    assert_eq!(
        std::fs::read_to_string(bench.dir().join("volume/kept")).unwrap(),
        "yes"
    );
}

async fn only_own_processes_are_visible(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "count; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o 1").await;
}

async fn an_app_is_not_root(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "read /etc/shadow; read /app/private; idle");
    let Tree::Slug(slug) = &spec.process.tree else {
        unreachable!()
    };
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(slug.join("private"), "only for the owner").unwrap();
    std::fs::set_permissions(slug.join("private"), std::fs::Permissions::from_mode(0o600)).unwrap();
    spec.process.stop_grace = Duration::from_secs(1);
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o Permission denied (os error 13)").await;
}

async fn the_machine_is_out_of_reach(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let secret = bench.dir().join("secret");
    std::fs::write(&secret, "of the rack").unwrap();
    let script = format!(
        "read {}; write /usr/here x; write /etc/here x; write /tmp/here x; idle",
        secret.display()
    );
    let spec = spec(bench, &id, &script);
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o written").await;
    let lines = log(bench, &process.id);
    assert_eq!(lines[0], "o No such file or directory (os error 2)");
    for line in &lines[1..3] {
        assert!(
            line.contains("Read-only file system") || line.contains("Permission denied"),
            "{line}"
        );
    }
}

async fn memory_has_a_limit(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "say hungry; eat");
    spec.process.memory_bytes = 64 << 20;
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!(
        (exit.code, exit.signal, exit.cause),
        (137, Some(9), ExitCause::OutOfMemory)
    );
    let last = log(bench, &process.id).pop().unwrap();
    assert!(last.contains("out of memory"), "{last}");
}

async fn processes_have_a_limit(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "fork; fork; fork; fork; fork; fork; fork; fork");
    spec.process.pids_max = 5;
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (_, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!(exit.code, 101);
}

async fn cpu_time_has_a_limit(bench: &mut dyn Bench) {
    let id = release_command(1);
    let mut spec = task(bench, &id, "");
    // Works for a while, then says its own CPU time in hundredths of a second.
    let work = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; read -r stat < /proc/$$/stat; set -- $stat; echo $((${14}+${15}))";
    spec.process.argv = ["/bin/sh", "-c", work].map(str::to_owned).into();
    spec.process.cpu_millicores = 50;
    let begin = Instant::now();
    bench.engine().run(&spec).await.unwrap();
    ended(bench, &id).await;
    let took = begin.elapsed();
    let process = look(bench).await.task_processes[&id].clone();
    let said = log(bench, &process).pop().unwrap();
    let used = Duration::from_millis(10 * said.strip_prefix("o ").unwrap().parse::<u64>().unwrap());
    assert!(
        used >= Duration::from_millis(30),
        "too little work to measure: {used:?}"
    );
    assert!(
        took > used * 8,
        "{used:?} of CPU time in {took:?}, with a twentieth of a core"
    );
}
