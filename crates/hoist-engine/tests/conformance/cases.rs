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
    ]
}

async fn apply_twice_is_one(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "idle");
    bench.engine().apply(&spec, 2).await.unwrap();
    let first = look(bench).await;
    assert_eq!(first.workloads[&id].len(), 2);
    bench.engine().apply(&spec, 2).await.unwrap();
    let ids = |seen: &hoist_engine::Seen| seen.workloads[&id].values().map(|p| p.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&look(bench).await), ids(&first));
    assert_ne!(ids(&first)[0], ids(&first)[1]);
}

async fn shrinking_takes_the_highest(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "idle");
    bench.engine().apply(&spec, 3).await.unwrap();
    let before = look(bench).await;
    bench.engine().apply(&spec, 1).await.unwrap();
    let left = until(bench, "one slot", |seen| Some(seen.workloads.get(&id)?.clone()).filter(|slots| slots.len() == 1));
    let left = left.await;
    assert_eq!(left[&1].id, before.workloads[&id][&1].id);
}

async fn remove_of_what_is_absent_is_done(bench: &mut dyn Bench) {
    bench.engine().remove(&workload("web", 1)).await.unwrap();
    let task = TaskId::ReleaseCommand("hello".parse().unwrap(), Version { epoch: 1, number: 1 });
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
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    }
    assert_eq!(bench.engine().listening(&slot(&id, 1)).await.unwrap(), [first.port()]);
}

async fn restarts_are_counted_and_pause_longer_each_time(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "say again; exit 3");
    let begin = Instant::now();
    bench.engine().apply(&spec, 1).await.unwrap();
    let first = until(bench, "a process", |seen| find(seen, &slot(&id, 1)).cloned()).await;
    let third = until(bench, "three restarts", |seen| {
        find(seen, &slot(&id, 1)).filter(|process| process.restarts >= 3).cloned()
    });
    let third = third.await;
    // 100 + 200 + 400 ms.
    assert!(begin.elapsed() >= Duration::from_millis(700), "{:?}", begin.elapsed());
    assert_eq!((third.id.clone(), third.address), (first.id, first.address));
    assert_eq!(third.last_exit.unwrap().code, 3);
    assert!(log(bench, &third.id).iter().filter(|line| *line == "o again").count() >= 3);
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
    assert_eq!((exit.code, exit.signal, exit.cause), (7, None, ExitCause::Own));
    assert_eq!(log(bench, &process.id), ["e boom"]);

    let id = workload("web", 2);
    spec.id = id.clone();
    spec.process.argv = vec!["/no/such/program".into()];
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!((exit.code, exit.cause), (127, ExitCause::ExecFailed));
    let last = log(bench, &process.id).pop().unwrap();
    assert!(last.contains("/no/such/program") && last.contains("No such file"), "{last}");
}
