//! What only the local engine has of attached processes: older supervisors, deaths on either side, a grace that passes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hoist_core::model::ExitCause;
use hoist_engine::local::{Ceiling, state_dir_of};
use hoist_engine::{Beside, EngineError, ExecSpec, Streams, TerminalSize};
use libtest_mimic::Trial;
use tokio::io::AsyncReadExt as _;

use super::trial;
use crate::LocalBench;
use crate::conformance::Bench as _;
use crate::conformance::looking::*;

pub(super) fn all() -> Vec<Trial> {
    vec![
        trial(
            "an_older_supervisor_is_not_asked_for_more",
            an_older_supervisor_is_not_asked_for_more,
        ),
        trial(
            "a_command_that_will_not_end_is_killed",
            a_command_that_will_not_end_is_killed,
        ),
        trial(
            "a_command_is_lost_with_its_supervisor",
            a_command_is_lost_with_its_supervisor,
        ),
        trial(
            "a_rack_that_is_killed_takes_commands_along",
            a_rack_that_is_killed_takes_commands_along,
        ),
        trial("one_offs_are_measured", one_offs_are_measured),
    ]
}

async fn host(bench: &LocalBench) -> Beside {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    Beside::Slot(slot(&id, 1))
}

fn command(bench: &LocalBench, token: &str, script: &str) -> ExecSpec {
    ExecSpec {
        argv: bench.command(token, script),
        env: Vec::new(),
    }
}

async fn an_older_supervisor_is_not_asked_for_more(bench: LocalBench) {
    let beside = host(&bench).await;
    let id = slot(&workload("web", 1), 1);
    let file = state_dir_of(&bench.data_dir(), &id).join("state.json");
    let state = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, state.replace("\"protocol\":2", "\"protocol\":1")).unwrap();
    let spec = command(&bench, &token(), "exit 0");
    let refusals = [
        bench
            .engine()
            .exec(&beside, &spec, Streams::Pipes)
            .await
            .err(),
        bench.engine().restart_slot(&id).await.err(),
    ];
    for refusal in refusals {
        let refusal = refusal.unwrap();
        assert!(!refusal.retryable());
        assert!(refusal.to_string().contains("older hoist"), "{refusal}");
    }
    assert_eq!(
        bench
            .engine
            .as_ref()
            .unwrap()
            .older_shims()
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn a_command_that_will_not_end_is_killed(bench: LocalBench) {
    const GRACE: Duration = Duration::from_secs(10);
    let beside = host(&bench).await;
    let token = token();
    let spec = command(&bench, &token, "stubborn; fork; say up; idle");
    let mut session = bench
        .engine()
        .exec(&beside, &spec, Streams::Pipes)
        .await
        .unwrap();
    let mut up = [0; 3];
    session.output.read_exact(&mut up).await.unwrap();
    let begin = Instant::now();
    session.control.stop().await.unwrap();
    let exit = session.control.exit().await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let took = begin.elapsed();
    assert!((GRACE..GRACE * 3 / 2).contains(&took), "{took:?}");
    dead(&bench, &token).await;
}

async fn a_command_is_lost_with_its_supervisor(bench: LocalBench) {
    let beside = host(&bench).await;
    let token = token();
    let spec = command(&bench, &token, "say up; idle");
    let mut session = bench
        .engine()
        .exec(&beside, &spec, Streams::Pipes)
        .await
        .unwrap();
    let mut up = [0; 3];
    session.output.read_exact(&mut up).await.unwrap();
    bench.kill_supervisor(&slot(&workload("web", 1), 1));
    let exit = session.control.exit().await.unwrap();
    assert_eq!((exit.code, exit.cause), (137, ExitCause::Lost));
    dead(&bench, &token).await;
}

/// The other program of the next case: a rack that attends a one-off and a command until it is killed.
pub(crate) fn rack(dir: &Path) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut bench = LocalBench::closed(Ceiling::Everything);
        bench.deep = Some(dir.join("data"));
        bench.reopen();
        let token = dir.file_name().unwrap().to_str().unwrap();
        let beside = host(&bench).await;
        let terminal = Streams::Terminal(TerminalSize::new(80, 24));
        let mut spec = task(&bench, &one_off(dir, 7), "");
        spec.process.argv = bench.command(token, "say up; idle");
        let engine = bench.engine();
        let mut sessions = vec![engine.run_attached(&spec, terminal).await.unwrap()];
        for streams in [Streams::Pipes, terminal] {
            let spec = command(&bench, token, "say up; idle");
            sessions.push(engine.exec(&beside, &spec, streams).await.unwrap());
        }
        for session in &mut sessions {
            let mut up = [0; 3];
            session.output.read_exact(&mut up).await.unwrap();
        }
        println!("attended");
        std::future::pending::<()>().await;
    });
    unreachable!("killed before")
}

async fn a_rack_that_is_killed_takes_commands_along(mut bench: LocalBench) {
    let dir = bench.dir().join(token());
    let token = dir.file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::create_dir_all(&dir).unwrap();
    let rack = Command::new(std::env::current_exe().unwrap())
        .arg("attend")
        .arg(&dir)
        .env("TMPDIR", bench.dir())
        .stdout(Stdio::piped())
        .spawn();
    let mut rack = rack.unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(rack.stdout.as_mut().unwrap());
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "attended\n");
    assert_eq!(bench.count(&token), 3);
    rack.kill().unwrap();
    rack.wait().unwrap();
    dead(&bench, &token).await;
    bench.engine = None;
    bench.deep = Some(dir.join("data"));
    bench.reopen();
    let exit = ended(&bench, &one_off(&dir, 7)).await;
    assert_eq!((exit.code, exit.signal), (129, Some(1)));
    running(&bench, &slot(&workload("web", 1), 1)).await;
}

async fn one_offs_are_measured(bench: LocalBench) {
    let spec = task(&bench, &one_off(bench.dir(), 7), "work 50; cry up; line");
    let session = bench.engine().run_attached(&spec, Streams::Pipes).await;
    let mut session = session.unwrap();
    let mut up = [0; 3];
    session
        .errors
        .as_mut()
        .unwrap()
        .read_exact(&mut up)
        .await
        .unwrap();
    let usage = bench.engine().task_usage().await.unwrap()[&one_off(bench.dir(), 7)];
    assert!(usage.cpu_nanos > 1_000_000, "{usage:?}");
    assert!(
        (100_000..1_000_000_000).contains(&usage.memory_bytes),
        "{usage:?}"
    );
    drop(session);
    ended(&bench, &one_off(bench.dir(), 7)).await;
    assert!(bench.engine().task_usage().await.unwrap().is_empty());
    let again = bench.engine().run_attached(&spec, Streams::Pipes).await;
    assert!(matches!(again, Err(EngineError::Refused { .. })));
}
