//! Processes whose streams the caller holds: tasks that somebody attends, and commands beside a process.

use std::time::{Duration, Instant};

use hoist_core::id::SlotId;
use hoist_core::model::{Exit, ExitCause, Process, ProcessState};
use hoist_engine::{
    Beside, EngineError, ExecSpec, RestartPolicy, Secret, Session, Streams, TaskId, TerminalSize,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::conformance::Bench;
use crate::conformance::looking::*;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

pub(super) fn terminal(columns: u16, rows: u16) -> Streams {
    Streams::Terminal(TerminalSize::new(columns, rows))
}

/// Runs a script as an attached task.
pub(super) async fn attend(
    bench: &dyn Bench,
    id: &TaskId,
    script: &str,
    streams: Streams,
) -> Session {
    let spec = task(bench, id, script);
    bench.engine().run_attached(&spec, streams).await.unwrap()
}

pub(super) fn command(argv: Vec<String>) -> ExecSpec {
    ExecSpec {
        argv,
        env: Vec::new(),
    }
}

/// A process that commands can run beside, and these beside it.
async fn host(bench: &dyn Bench) -> (Beside, Process) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    (Beside::Slot(slot(&id, 1)), process)
}

pub(super) async fn exec(
    bench: &dyn Bench,
    beside: &Beside,
    script: &str,
    streams: Streams,
) -> Session {
    let spec = command(bench.command(&token(), script));
    bench.engine().exec(beside, &spec, streams).await.unwrap()
}

/// Everything that comes out, and the exit.
pub(super) async fn end(mut session: Session) -> (String, String, Exit) {
    let all = async {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        session.output.read_to_end(&mut output).await.unwrap();
        if let Some(stream) = &mut session.errors {
            stream.read_to_end(&mut errors).await.unwrap();
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let exit = session.control.exit().await.unwrap();
        (text(output), text(errors), exit)
    };
    tokio::time::timeout(PATIENCE, all).await.expect("no end")
}

/// Reads until the text is there.
pub(super) async fn hear(session: &mut Session, wanted: &str) -> String {
    let mut heard = Vec::new();
    let hear = async {
        while !String::from_utf8_lossy(&heard).contains(wanted) {
            let count = session.output.read_buf(&mut heard).await.unwrap();
            assert!(count > 0, "{wanted:?} is not in {heard:?}");
        }
    };
    tokio::time::timeout(PATIENCE, hear)
        .await
        .expect("not heard");
    String::from_utf8(heard).unwrap()
}

pub(super) async fn attached_bytes_pass_as_they_are(bench: &mut dyn Bench) {
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let (beside, _) = host(bench).await;
    let sessions = [
        attend(
            bench,
            &one_off(bench.dir(), 1),
            "echo; exit 5",
            Streams::Pipes,
        )
        .await,
        exec(bench, &beside, "echo; exit 5", Streams::Pipes).await,
    ];
    for session in sessions {
        let Session {
            mut input,
            mut output,
            control,
            ..
        } = session;
        let sent = all.clone();
        let write = tokio::spawn(async move { input.write_all(&sent).await.unwrap() });
        let mut back = Vec::new();
        output.read_to_end(&mut back).await.unwrap();
        write.await.unwrap();
        assert!(back == all, "{} bytes came back", back.len());
        let exit = control.exit().await.unwrap();
        assert_eq!(
            (exit.code, exit.signal, exit.cause),
            (5, None, ExitCause::Own)
        );
    }
    assert_eq!(ended(bench, &one_off(bench.dir(), 1)).await.code, 5);
}

pub(super) async fn output_and_errors_stay_apart_and_out_of_the_log(bench: &mut dyn Bench) {
    let id = one_off(bench.dir(), 1);
    let session = attend(bench, &id, "say out; cry err; say more", Streams::Pipes).await;
    let (output, errors, exit) = end(session).await;
    assert_eq!((&*output, &*errors, exit.code), ("out\nmore\n", "err\n", 0));
    let seen = look(bench).await;
    assert!(log(bench, &seen.task_processes[&id]).is_empty());
    assert!(seen.task_started[&id] <= exit.at);
    let (beside, process) = host(bench).await;
    logged(bench, &process.id, "o up").await;
    let session = exec(bench, &beside, "say out; cry err", Streams::Pipes).await;
    let (output, errors, _) = end(session).await;
    assert_eq!((&*output, &*errors), ("out\n", "err\n"));
    assert_eq!(log(bench, &process.id), ["o up"]);
}

pub(super) async fn attached_exits_are_told(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    let scripts = [
        ("exit 7", 7, None),
        ("die 15", 143, Some(15)),
        ("die 9", 137, Some(9)),
    ];
    for (number, (script, code, signal)) in (1..).zip(scripts) {
        for streams in [Streams::Pipes, terminal(80, 24)] {
            let id = one_off(
                bench.dir(),
                number + if streams == Streams::Pipes { 0 } else { 100 },
            );
            let sessions = [
                attend(bench, &id, script, streams).await,
                exec(bench, &beside, script, streams).await,
            ];
            for session in sessions {
                let (_, _, exit) = end(session).await;
                assert_eq!((exit.code, exit.signal), (code, signal), "{script}");
                assert_eq!(exit.cause, ExitCause::Own);
            }
            assert_eq!(ended(bench, &id).await.signal, signal);
        }
    }
}

pub(super) async fn what_cannot_be_executed_says_so_to_the_caller(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    let missing = vec!["/no/such/program".to_owned()];
    for (number, streams) in [(1, Streams::Pipes), (2, terminal(80, 24))] {
        let mut spec = task(bench, &one_off(bench.dir(), number), "");
        spec.process.argv = missing.clone();
        let sessions = [
            bench.engine().run_attached(&spec, streams).await.unwrap(),
            bench
                .engine()
                .exec(&beside, &command(missing.clone()), streams)
                .await
                .unwrap(),
        ];
        for session in sessions {
            let (output, errors, exit) = end(session).await;
            assert_eq!((exit.code, exit.cause), (127, ExitCause::ExecFailed));
            let said = output + &errors;
            assert!(
                said.contains("/no/such/program") && said.contains("No such file"),
                "{said}"
            );
        }
    }
    let nonsense = [
        command(Vec::new()),
        ExecSpec {
            argv: missing.clone(),
            env: vec![("A=B".to_owned(), Secret::new("x"))],
        },
    ];
    for spec in nonsense {
        let refused = bench.engine().exec(&beside, &spec, Streams::Pipes).await;
        assert!(matches!(refused, Err(EngineError::Refused { .. })));
    }
}

pub(super) async fn what_may_not_be_executed_is_126(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    let spec = command(vec!["/etc/passwd".to_owned()]);
    let session = bench.engine().exec(&beside, &spec, Streams::Pipes).await;
    let (_, errors, exit) = end(session.unwrap()).await;
    assert_eq!((exit.code, exit.cause), (126, ExitCause::ExecFailed));
    assert!(errors.contains("Permission denied"), "{errors}");
}

pub(super) async fn a_terminal_has_the_size_it_is_given(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    let cases = [
        (terminal(100, 40), "terminal 100x40"),
        (terminal(0, 0), "terminal 80x24"),
        (Streams::Pipes, "no terminal"),
    ];
    for (number, (streams, wanted)) in (1..).zip(cases) {
        let sessions = [
            attend(bench, &one_off(bench.dir(), number), "tty", streams).await,
            exec(bench, &beside, "tty", streams).await,
        ];
        for session in sessions {
            let (output, errors, _) = end(session).await;
            assert_eq!(output.trim_end(), wanted, "{errors}");
        }
    }
}

pub(super) async fn a_resized_terminal_is_noticed(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    let sessions = [
        attend(
            bench,
            &one_off(bench.dir(), 1),
            "tty; resized",
            terminal(80, 24),
        )
        .await,
        exec(bench, &beside, "tty; resized", terminal(80, 24)).await,
    ];
    for mut session in sessions {
        hear(&mut session, "terminal 80x24").await;
        session.control.resize(TerminalSize::new(132, 50)).unwrap();
        hear(&mut session, "terminal 132x50").await;
        let (_, _, exit) = end(session).await;
        assert_eq!(exit.code, 0);
    }
    let session = attend(bench, &one_off(bench.dir(), 2), "exit 0", Streams::Pipes).await;
    session.control.resize(TerminalSize::new(132, 50)).unwrap();
    end(session).await;
}

pub(super) async fn ctrl_c_is_a_signal(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    let sessions = [
        attend(
            bench,
            &one_off(bench.dir(), 1),
            "say up; idle",
            terminal(80, 24),
        )
        .await,
        exec(bench, &beside, "say up; idle", terminal(80, 24)).await,
    ];
    for mut session in sessions {
        hear(&mut session, "up").await;
        session.input.write_all(&[CTRL_C]).await.unwrap();
        let (_, _, exit) = end(session).await;
        assert_eq!((exit.code, exit.signal), (130, Some(2)));
    }
    let pipes = attend(bench, &one_off(bench.dir(), 2), "echo", Streams::Pipes).await;
    let Session {
        mut input,
        mut output,
        ..
    } = pipes;
    input.write_all(&[CTRL_C]).await.unwrap();
    drop(input);
    let mut back = Vec::new();
    output.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, [CTRL_C]);
}

pub(super) async fn a_session_is_interrupted(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    for (number, streams) in [(1, Streams::Pipes), (2, terminal(80, 24))] {
        let id = one_off(bench.dir(), number);
        let sessions = [
            attend(bench, &id, "say up; idle", streams).await,
            exec(bench, &beside, "say up; idle", streams).await,
        ];
        for mut session in sessions {
            hear(&mut session, "up").await;
            session.control.interrupt().await.unwrap();
            let (_, _, exit) = end(session).await;
            assert_eq!((exit.code, exit.signal), (130, Some(2)));
        }
    }
}

pub(super) async fn ctrl_d_ends_the_input_of_a_terminal(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    let script = "line; echo; say after";
    let sessions = [
        attend(bench, &one_off(bench.dir(), 1), script, terminal(80, 24)).await,
        exec(bench, &beside, script, terminal(80, 24)).await,
    ];
    for mut session in sessions {
        session.input.write_all(b"hello there\n").await.unwrap();
        hear(&mut session, "heard hello there").await;
        session.input.write_all(&[CTRL_D]).await.unwrap();
        let (output, _, exit) = end(session).await;
        assert!(output.contains("after"), "{output:?}");
        assert_eq!(exit.code, 0);
    }
}

/// The process is long gone when somebody begins to read.
pub(super) async fn last_words_wait_for_who_attends(bench: &mut dyn Bench) {
    const ROUNDS: u8 = 12;
    let (beside, _) = host(bench).await;
    for number in 1..=ROUNDS {
        let streams = match number % 2 {
            0 => Streams::Pipes,
            _ => terminal(80, 24),
        };
        let script = "flood 200; exit 4";
        let sessions = [
            attend(bench, &one_off(bench.dir(), number), script, streams).await,
            exec(bench, &beside, script, streams).await,
        ];
        for session in sessions {
            let exit = session.control.exit().await.unwrap();
            assert_eq!(exit.code, 4);
            let (output, _, again) = end(session).await;
            assert_eq!(again, exit);
            assert_eq!(output.lines().count(), 200, "{output}");
            assert!(output.trim_end().ends_with("199"));
        }
    }
}

pub(super) async fn a_dropped_session_ends_its_process(bench: &mut dyn Bench) {
    let (beside, process) = host(bench).await;
    let token = token();
    for streams in [Streams::Pipes, terminal(80, 24)] {
        let spec = command(bench.command(&token, "say up; idle"));
        let mut session = bench.engine().exec(&beside, &spec, streams).await.unwrap();
        hear(&mut session, "up").await;
        drop(session);
        dead(bench, &token).await;
    }
    let mut session = attend(
        bench,
        &one_off(bench.dir(), 1),
        "say up; idle",
        terminal(80, 24),
    )
    .await;
    hear(&mut session, "up").await;
    drop(session);
    let exit = ended(bench, &one_off(bench.dir(), 1)).await;
    assert_eq!((exit.code, exit.signal), (129, Some(1)));
    let session = attend(
        bench,
        &one_off(bench.dir(), 2),
        "echo; exit 3",
        Streams::Pipes,
    )
    .await;
    drop(session);
    assert_eq!(ended(bench, &one_off(bench.dir(), 2)).await.code, 3);
    let Beside::Slot(id) = beside else {
        unreachable!()
    };
    assert_eq!(running(bench, &id).await.id, process.id);
}

pub(super) async fn a_session_is_stopped(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    for (number, streams) in [(1, Streams::Pipes), (2, terminal(80, 24))] {
        let sessions = [
            attend(
                bench,
                &one_off(bench.dir(), number),
                "say up; idle",
                streams,
            )
            .await,
            exec(bench, &beside, "say up; idle", streams).await,
        ];
        for mut session in sessions {
            hear(&mut session, "up").await;
            let begin = Instant::now();
            session.control.stop().await.unwrap();
            session.control.stop().await.unwrap();
            let (output, _, exit) = end(session).await;
            assert!(begin.elapsed() < Duration::from_secs(5));
            match streams {
                // Without a terminal there is nothing to hang up, and the signal is obeyed.
                Streams::Pipes => assert_eq!((&*output, exit.code), ("stopping\n", 0)),
                Streams::Terminal(_) => assert_eq!((exit.code, exit.signal), (129, Some(1))),
            }
        }
    }
    let mut spec = task(bench, &one_off(bench.dir(), 3), "stubborn; say up; idle");
    spec.process.stop_grace = Duration::from_millis(300);
    let mut session = bench
        .engine()
        .run_attached(&spec, Streams::Pipes)
        .await
        .unwrap();
    hear(&mut session, "up").await;
    bench
        .engine()
        .stop_task(&one_off(bench.dir(), 3))
        .await
        .unwrap();
    let (_, _, exit) = end(session).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

pub(super) async fn an_attached_task_runs_once_for_ever(bench: &mut dyn Bench) {
    let id = one_off(bench.dir(), 1);
    let session = attend(bench, &id, "echo; exit 2", Streams::Pipes).await;
    let spec = task(bench, &id, "exit 0");
    for _ in 0..2 {
        let again = bench.engine().run_attached(&spec, Streams::Pipes).await;
        assert!(matches!(again, Err(EngineError::Refused { .. })));
        bench.engine().run(&spec).await.unwrap();
    }
    drop(session);
    assert_eq!(ended(bench, &id).await.code, 2);
    bench.reopen();
    let again = bench.engine().run_attached(&spec, terminal(80, 24)).await;
    assert!(matches!(again, Err(EngineError::Refused { .. })));
    bench.engine().run(&spec).await.unwrap();
    assert_eq!(ended(bench, &id).await.code, 2);
}

pub(super) async fn an_attached_task_ends_at_its_limit(bench: &mut dyn Bench) {
    let mut spec = task(bench, &one_off(bench.dir(), 1), "stubborn; idle");
    spec.limit = Duration::from_millis(500);
    let session = bench
        .engine()
        .run_attached(&spec, terminal(80, 24))
        .await
        .unwrap();
    let (_, _, exit) = end(session).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

pub(super) async fn a_command_has_the_variables_of_its_process(bench: &mut dyn Bench) {
    let (beside, process) = host(bench).await;
    let script = "print APP; print PORT; print TERM; print NONE";
    let spec = ExecSpec {
        argv: bench.command(&token(), script),
        env: [("TERM", "xterm-256color"), ("APP", "another")]
            .map(|(name, value)| (name.to_owned(), Secret::new(value)))
            .into(),
    };
    let session = bench.engine().exec(&beside, &spec, Streams::Pipes).await;
    let (output, _, _) = end(session.unwrap()).await;
    let port = process.address.unwrap().port();
    assert_eq!(output, format!("another\n{port}\nxterm-256color\nunset\n"));
}

pub(super) async fn a_command_beside_nothing_is_not_found(bench: &mut dyn Bench) {
    let argv = bench.command(&token(), "exit 0");
    let absent = [
        Beside::Slot(slot(&workload("web", 1), 1)),
        Beside::Task(one_off(bench.dir(), 1)),
    ];
    for beside in absent {
        let spec = command(argv.clone());
        let found = bench.engine().exec(&beside, &spec, Streams::Pipes).await;
        assert!(matches!(found, Err(EngineError::NotFound)));
    }
    end(attend(bench, &one_off(bench.dir(), 2), "exit 0", Streams::Pipes).await).await;
    ended(bench, &one_off(bench.dir(), 2)).await;
    let beside = Beside::Task(one_off(bench.dir(), 2));
    let found = bench
        .engine()
        .exec(&beside, &command(argv), Streams::Pipes)
        .await;
    assert!(matches!(found, Err(EngineError::NotFound)));
}

pub(super) async fn a_command_runs_beside_a_one_off(bench: &mut dyn Bench) {
    let mut one = attend(
        bench,
        &one_off(bench.dir(), 1),
        "say up; line",
        Streams::Pipes,
    )
    .await;
    hear(&mut one, "up").await;
    let beside = Beside::Task(one_off(bench.dir(), 1));
    let (output, _, _) = end(exec(bench, &beside, "print APP", Streams::Pipes).await).await;
    assert_eq!(output, "hello\n");
    one.input.write_all(b"bye\n").await.unwrap();
    let (output, _, _) = end(one).await;
    assert_eq!(output, "heard bye\n");
}

pub(super) async fn a_command_ends_with_its_process(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "wait 1000; exit 1");
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let beside = Beside::Slot(slot(&id, 1));
    let sessions = [
        exec(bench, &beside, "stubborn; idle", Streams::Pipes).await,
        exec(bench, &beside, "stubborn; idle", terminal(80, 24)).await,
    ];
    for session in sessions {
        let (_, _, exit) = end(session).await;
        assert_eq!((exit.code, exit.signal), (137, Some(9)));
    }
}

pub(super) async fn many_commands_run_beside_one_process(bench: &mut dyn Bench) {
    let (beside, _) = host(bench).await;
    for round in 0..3 {
        let mut sessions = Vec::new();
        for _ in 0..16 {
            sessions.push(exec(bench, &beside, "line; exit 0", Streams::Pipes).await);
        }
        if bench.real() {
            let one_more = command(bench.command(&token(), "exit 0"));
            let refused = bench
                .engine()
                .exec(&beside, &one_more, Streams::Pipes)
                .await;
            assert!(matches!(refused, Err(EngineError::Refused { .. })));
        }
        for mut session in sessions {
            let words = format!("round {round}\n");
            session.input.write_all(words.as_bytes()).await.unwrap();
            let (output, _, exit) = end(session).await;
            assert_eq!((output, exit.code), (format!("heard {words}"), 0));
        }
    }
}

async fn restarted(bench: &dyn Bench, id: &SlotId, before: &Process) -> Process {
    until(bench, "a new life", |seen| {
        let process = find(seen, id)?;
        let new = process.started > before.started && process.state == ProcessState::Running;
        new.then(|| process.clone())
    })
    .await
}

pub(super) async fn a_slot_is_restarted_without_a_count(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "say up; idle");
    bench.engine().apply(&spec, 2).await.unwrap();
    let (first, other) = (slot(&id, 1), slot(&id, 2));
    let before = running(bench, &first).await;
    let neighbour = running(bench, &other).await;
    logged(bench, &before.id, "o up").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    bench.engine().restart_slot(&first).await.unwrap();
    bench.engine().restart_slot(&first).await.unwrap();
    let after = restarted(bench, &first, &before).await;
    assert_eq!((&after.id, after.address), (&before.id, before.address));
    assert_eq!(after.restarts, 0);
    assert_eq!(after.last_exit.unwrap().code, 0);
    assert_eq!(running(bench, &other).await, neighbour);
    let absent = bench.engine().restart_slot(&slot(&id, 3)).await;
    assert!(matches!(absent, Err(EngineError::NotFound)));
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
    let absent = bench.engine().restart_slot(&first).await;
    assert!(matches!(absent, Err(EngineError::NotFound)));
}

pub(super) async fn a_restart_ends_a_pause_between_restarts(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "exit 1");
    bench.engine().apply(&spec, 1).await.unwrap();
    let id = slot(&id, 1);
    let paused = |seen: &hoist_engine::Seen| {
        let process = find(seen, &id)?;
        let exited = matches!(process.state, ProcessState::Exited(_));
        (process.restarts >= 5 && exited).then(|| process.clone())
    };
    let before = until(bench, "a pause of 3.2 s", paused).await;
    let begin = Instant::now();
    bench.engine().restart_slot(&id).await.unwrap();
    until(bench, "a new life", |seen| {
        (find(seen, &id)?.started > before.started).then_some(())
    })
    .await;
    assert!(begin.elapsed() < Duration::from_millis(2500));
}
