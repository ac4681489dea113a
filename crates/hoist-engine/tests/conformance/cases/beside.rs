//! What only real processes show of commands beside them, and of neighbours that behave badly.

use std::time::Duration;

use hoist_core::model::{ExitCause, Process, ProcessState};
use hoist_engine::{Beside, RestartPolicy, Streams};

use super::attached::{attend, command, end, exec, hear, terminal};
use crate::conformance::Bench;
use crate::conformance::looking::*;

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).into()
}

/// What a shell says beside a process.
async fn ask(bench: &dyn Bench, beside: &Beside, script: &str, streams: Streams) -> String {
    let spec = command(shell(script));
    let session = bench.engine().exec(beside, &spec, streams).await.unwrap();
    end(session).await.0
}

pub(super) async fn a_command_sees_its_process_as_the_first(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    let token = token();
    spec.process.argv = bench.command(&token, "say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let beside = Beside::Slot(slot(&id, 1));
    let first = "tr '\\0' ' ' < /proc/1/cmdline; echo; ls -d /proc/[0-9]* | wc -l";
    let said = ask(bench, &beside, first, Streams::Pipes).await;
    assert!(said.contains(&token), "{said}");
    // The process, the shell, the two of its pipe at most.
    let count: usize = said.lines().last().unwrap().trim().parse().unwrap();
    assert!((2..=4).contains(&count), "{said}");
}

/// User, rights, limits, place: whatever a process can ask about itself.
pub(super) async fn a_command_is_who_its_process_is(bench: &mut dyn Bench) {
    let about = "id; pwd; umask; ulimit -n; ulimit -c; env | grep -v ^_= | sort; cat /proc/self/cgroup; \
        grep -E '^(Cap|NoNew|Uid|Gid|Groups|SigIgn|SigBlk)' /proc/self/status";
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    spec.process.argv = shell(&format!("{about}; echo up; exec sleep 1000"));
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    let own: Vec<String> = log(bench, &process.id);
    let own = own.iter().filter_map(|line| line.strip_prefix("o "));
    let own: Vec<&str> = own.filter(|line| *line != "up").collect();
    let beside = Beside::Slot(slot(&id, 1));
    let said = ask(bench, &beside, about, Streams::Pipes).await;
    assert!(own.len() > 10, "{own:?}");
    assert_eq!(said.lines().collect::<Vec<_>>(), own);
}

pub(super) async fn a_terminal_has_a_name(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let beside = Beside::Slot(slot(&id, 1));
    let by_name =
        "tty; echo by name > $(tty); echo by control > /dev/tty; ps >/dev/null 2>&1; stty -a";
    let said = [ask(bench, &beside, by_name, terminal(80, 24)).await, {
        let mut spec = task(bench, &one_off(bench.dir(), 1), "");
        spec.process.argv = shell(by_name);
        let session = bench.engine().run_attached(&spec, terminal(80, 24)).await;
        end(session.unwrap()).await.0
    }];
    for said in said {
        assert!(said.starts_with("/dev/pts/"), "{said}");
        assert!(
            said.contains("by name") && said.contains("by control"),
            "{said}"
        );
        assert!(said.contains(" iutf8"), "{said}");
    }
}

pub(super) async fn output_can_be_opened_by_name(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    let script = "echo out > /dev/stdout; echo err > /dev/stderr";
    spec.process.argv = shell(&format!("{script}; exec sleep 1000"));
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o out").await;
    logged(bench, &process.id, "e err").await;
    let spec = command(shell(script));
    let beside = Beside::Slot(slot(&id, 1));
    let session = bench.engine().exec(&beside, &spec, Streams::Pipes).await;
    let (output, errors, _) = end(session.unwrap()).await;
    assert_eq!((&*output, &*errors), ("out\n", "err\n"));
}

pub(super) async fn what_a_command_leaves_behind_is_ended(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    let (app, left) = (token(), token());
    spec.process.argv = bench.command(&app, "fork; say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    let beside = Beside::Slot(slot(&id, 1));
    for streams in [Streams::Pipes, terminal(80, 24)] {
        let spec = command(bench.command(&left, "fork; exit 6"));
        let session = bench.engine().exec(&beside, &spec, streams).await.unwrap();
        let (_, _, exit) = end(session).await;
        assert_eq!(exit.code, 6);
        dead(bench, &left).await;
    }
    assert!(bench.alive(&app));
    assert_eq!(running(bench, &slot(&id, 1)).await, process);
}

/// A process that serves, to see that it is not harmed.
async fn neighbour(bench: &dyn Bench) -> Process {
    let id = workload("neighbour", 9);
    let spec = spec(bench, &id, "say up; serve 204");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    process
}

async fn is_unharmed(bench: &dyn Bench, process: &Process) {
    let seen = look(bench).await;
    let found = find(&seen, &slot(&workload("neighbour", 9), 1));
    assert_eq!(found, Some(process));
    let answer = tokio::net::TcpStream::connect(process.address.unwrap());
    let answer = tokio::time::timeout(Duration::from_secs(2), answer).await;
    answer.expect("the neighbour is deaf").unwrap();
}

pub(super) async fn one_that_forks_without_end_harms_no_other(bench: &mut dyn Bench) {
    let other = neighbour(bench).await;
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    let token = token();
    spec.process.argv = bench.command(&token, "fork-bomb");
    spec.process.pids_max = 24;
    spec.process.stop_grace = Duration::from_secs(1);
    bench.engine().apply(&spec, 1).await.unwrap();
    for _ in 0..20 {
        is_unharmed(bench, &other).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let state = running(bench, &slot(&id, 1)).await.state;
    assert_eq!(state, ProcessState::Running);
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
    assert!(!bench.alive(&token));
    is_unharmed(bench, &other).await;
}

pub(super) async fn one_that_eats_memory_harms_no_other(bench: &mut dyn Bench) {
    let other = neighbour(bench).await;
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "say hungry; eat");
    spec.process.memory_bytes = 48 << 20;
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (_, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!(exit.cause, ExitCause::OutOfMemory);
    is_unharmed(bench, &other).await;
}

pub(super) async fn a_command_shares_the_limits_of_its_process(bench: &mut dyn Bench) {
    let other = neighbour(bench).await;
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "say up; idle");
    spec.process.memory_bytes = 48 << 20;
    bench.engine().apply(&spec, 1).await.unwrap();
    let beside = Beside::Slot(slot(&id, 1));
    let session = exec(bench, &beside, "eat", Streams::Pipes).await;
    let (_, _, exit) = end(session).await;
    assert_eq!((exit.code, exit.cause), (137, ExitCause::OutOfMemory));
    let mut spec = task(bench, &one_off(bench.dir(), 1), "eat");
    spec.process.memory_bytes = 48 << 20;
    let session = bench.engine().run_attached(&spec, Streams::Pipes).await;
    let (_, _, exit) = end(session.unwrap()).await;
    assert_eq!((exit.code, exit.cause), (137, ExitCause::OutOfMemory));
    is_unharmed(bench, &other).await;
}

/// A shell has its jobs, and Ctrl-C is for the job and not for the shell.
pub(super) async fn a_shell_controls_its_jobs(bench: &mut dyn Bench) {
    use tokio::io::AsyncWriteExt as _;

    let mut spec = task(bench, &one_off(bench.dir(), 1), "");
    spec.process.argv = ["/bin/sh", "-i"].map(str::to_owned).into();
    spec.process
        .env
        .push(("PS1".into(), hoist_engine::Secret::new("ready> ")));
    let session = bench.engine().run_attached(&spec, terminal(80, 24)).await;
    let mut session = session.unwrap();
    hear(&mut session, "ready> ").await;
    session.input.write_all(b"sleep 1000\n").await.unwrap();
    hear(&mut session, "sleep 1000").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    session.input.write_all(&[3]).await.unwrap();
    hear(&mut session, "ready> ").await;
    session
        .input
        .write_all(b"echo st$((40+2))ill; exit 9\n")
        .await
        .unwrap();
    let (output, _, exit) = end(session).await;
    assert!(output.contains("st42ill"), "{output}");
    assert!(!output.contains("job control"), "{output}");
    assert_eq!(exit.code, 9);
    let session = attend(bench, &one_off(bench.dir(), 2), "exit 0", Streams::Pipes).await;
    end(session).await;
}
