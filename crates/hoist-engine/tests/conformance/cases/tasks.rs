//! Commands that run once: at most once for ever, limited, stopped, forgotten.

use std::time::Duration;

use hoist_core::id::{BuildId, Version};
use hoist_core::model::ExitCause;
use hoist_engine::{EngineError, TaskId};

use crate::conformance::Bench;
use crate::conformance::looking::*;

pub(super) fn release_command(number: u64) -> TaskId {
    TaskId::ReleaseCommand("hello".parse().unwrap(), Version { epoch: 1, number })
}

pub(super) async fn a_task_runs_once_for_ever(bench: &mut dyn Bench) {
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

pub(super) async fn a_task_ends_at_its_limit(bench: &mut dyn Bench) {
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

pub(super) async fn a_task_is_stopped_and_forgotten(bench: &mut dyn Bench) {
    let id = one_off(bench.dir(), 8);
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
