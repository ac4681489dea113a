//! Ring 2 of one-offs and sessions: a whole rack with its real API and a real client; processes are scripts of the sim
//! engine.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use hoist_api::ErrorCode;
use hoist_api::client::CallError;
use hoist_api::endpoints::{ExecCreate, ProcessList, RunCreate};
use hoist_api::session::{Note, Received, Stream};
use hoist_api::types::{
    AppPath, BesidePath, Empty, Exec, ExecRequest, RunRequest, Terminal, TerminalSize,
};
use hoist_core::id::AppName;
use world::{World, actor, app, attached, carry, code, detached, path, refusal, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_off_has_its_streams_its_exit_and_its_record() {
    let world = World::new().await;
    let (output, errors, exit) = world.run("say out; cry err; exit 3", b"").await;
    assert_eq!(
        (output.as_str(), errors.as_str(), code(&exit)),
        ("out\n", "err\n", Some(3))
    );
    let (_, _, exit) = world.run("die 9", b"").await;
    assert_eq!((exit.code, exit.signal), (Some(137), Some(9)));
    let (_, errors, exit) = world.run("dance", b"").await;
    assert_eq!(exit.code, Some(127));
    assert!(
        exit.reason
            .is_some_and(|reason| reason.contains("could not be executed"))
    );
    assert!(errors.contains("dance"), "{errors}");
    let input: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let (output, _, exit) = world.run("echo; exit 4", input.as_bytes()).await;
    assert!(
        output == input && exit.code == Some(4),
        "{} bytes",
        output.len()
    );
    world.nothing_left().await;
    let events = world.events().await;
    assert!(
        events
            .iter()
            .any(|text| text.ends_with("of web: say out; cry err; exit 3")),
        "{events:?}"
    );
    assert!(
        events.iter().any(|text| text.ends_with("exited with 3")),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_the_variables_of_its_service_but_no_port() {
    let world = World::new().await;
    let script = "print COLOUR; print SERVICE; print RELEASE; print PORT; print TERM; tty";
    let (output, _, _) = world.run(script, b"").await;
    let release = world.release.as_str();
    let expected = ["blue", "web", release, "unset", "none", "no terminal", ""].join("\n");
    assert_eq!(output, expected);
    let terminal = |columns, rows| Terminal {
        size: TerminalSize { columns, rows },
        term: Some("xterm".to_owned()),
    };
    let request = RunRequest {
        terminal: Some(terminal(0, 0)),
        ..attached("print TERM; tty; resized; exit 2")
    };
    let run = world.begin(request).await.expect("a one-off");
    let (mut reader, mut writer) = world
        .attach(run.session.expect("a session"))
        .await
        .expect("attached");
    let mut output = String::new();
    while !output.ends_with("terminal 80x24\r\n") {
        if let Received::Piece(Stream::Output, bytes) = reader.next().await.expect("output") {
            output.push_str(std::str::from_utf8(bytes).expect("text"));
        }
    }
    assert_eq!(output, "xterm\r\nterminal 80x24\r\n");
    writer
        .note(&Note::Resize(terminal(99, 33).size))
        .await
        .expect("sent");
    let (output, _, exit) = carry((reader, writer), b"").await.expect("an exit");
    assert_eq!(
        (output.as_str(), exit.code),
        ("terminal 99x33\r\n", Some(2))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_come_before_anything_starts() {
    let world = World::new().await;
    let refused = async |request: RunRequest| refusal(world.begin(request).await);
    let (code, message) = refused(RunRequest {
        service: "nope".to_owned(),
        ..attached("idle")
    })
    .await;
    assert_eq!(code, ErrorCode::ServiceNotFound);
    assert!(
        message.ends_with("no service `nope`: it has web, worker"),
        "{message}"
    );
    for (request, expected) in [
        (
            RunRequest {
                release: Some("RAAAAAAAAAA".to_owned()),
                ..attached("idle")
            },
            ErrorCode::ReleaseNotFound,
        ),
        (
            RunRequest {
                release: Some("1".to_owned()),
                ..attached("idle")
            },
            ErrorCode::InvalidName,
        ),
        (
            RunRequest {
                command: Vec::new(),
                ..attached("idle")
            },
            ErrorCode::InvalidRequest,
        ),
        (
            RunRequest {
                shell: true,
                command: vec!["a".to_owned(), "b".to_owned()],
                ..attached("")
            },
            ErrorCode::InvalidRequest,
        ),
        (
            RunRequest {
                terminal: Some(Terminal::default()),
                ..detached("idle")
            },
            ErrorCode::InvalidRequest,
        ),
    ] {
        assert_eq!(refused(request.clone()).await.0, expected, "{request:?}");
    }
    let bare: AppName = "bare".parse().expect("a name");
    world.rack().create(&bare, &actor()).await.expect("created");
    let at = |app: &str| AppPath {
        app: app.to_owned(),
    };
    for (app, expected) in [
        ("bare", ErrorCode::NothingActive),
        ("none", ErrorCode::AppNotFound),
    ] {
        let run = world
            .client()
            .call::<RunCreate>(&at(app), &Empty {}, &attached("idle"))
            .await;
        assert_eq!(refusal(run).0, expected);
    }
    assert_eq!(world.tasks().await, 0);
    assert_eq!(
        refusal(world.attach("0".repeat(32)).await).0,
        ErrorCode::SessionNotFound
    );
    // A session has one client.
    let session = world
        .begin(attached("idle"))
        .await
        .expect("a one-off")
        .session
        .expect("a session");
    let _held = world.attach(session.clone()).await.expect("attached");
    assert_eq!(
        refusal(world.attach(session).await).0,
        ErrorCode::SessionNotFound
    );
    // A release whose slug is gone.
    for entry in std::fs::read_dir(world.dir.path().join("data/apps/shop/slugs")).expect("slugs") {
        std::fs::remove_dir_all(entry.expect("an entry").path()).expect("removed");
    }
    assert_eq!(
        refused(attached("idle")).await.0,
        ErrorCode::BuildNotComplete
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_more_sessions_than_the_limit() {
    let world = World::new().await;
    let mut held = Vec::new();
    for _ in 0..hoist_core::limits::SESSIONS_MAX {
        held.push(world.begin(attached("idle")).await.expect("a one-off"));
    }
    assert_eq!(
        refusal(world.begin(attached("idle")).await).0,
        ErrorCode::TooManySessions
    );
    let session = held.pop().and_then(|run| run.session).expect("a session");
    drop(world.attach(session).await.expect("attached"));
    until("a place comes free", async || {
        world.begin(attached("idle")).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_beside_a_process() {
    let world = World::new().await;
    let all = world
        .client()
        .call::<ProcessList>(&path(), &Empty {}, &Empty {})
        .await;
    let all = all.expect("a list").items;
    let web = all
        .iter()
        .find(|process| process.name == "web")
        .expect("web");
    let exec = async |process: &str, script: &str| -> Result<Exec, CallError> {
        let path = BesidePath {
            app: "shop".to_owned(),
            process: process.to_owned(),
        };
        let request = ExecRequest {
            command: vec![script.to_owned()],
            ..ExecRequest::default()
        };
        world
            .client()
            .call::<ExecCreate>(&path, &Empty {}, &request)
            .await
    };
    let unlike = (1..12).find(|length| {
        all.iter()
            .filter(|other| other.id.starts_with(&web.id[..*length]))
            .count()
            == 1
    });
    let prefix = &web.id[..unlike.unwrap_or(12)];
    for name in [web.id.as_str(), prefix, "web"] {
        let begun = exec(name, "print SERVICE; exit 6").await.expect(name);
        assert_eq!(begun.process, web.id);
        let ends = world.attach(begun.session).await.expect("attached");
        let (output, _, exit) = carry(ends, b"").await.expect("an exit");
        assert_eq!((output.as_str(), exit.code), ("web\n", Some(6)));
    }
    let starts: BTreeSet<_> = all.iter().map(|process| &process.id[..1]).collect();
    if starts.len() < all.len() {
        let message = refusal(exec(starts.first().expect("one"), "idle").await).1;
        assert!(message.contains("several"), "{message}");
    }
    for name in ["nope", "", "0123456789ab"] {
        let path = BesidePath {
            app: "shop".to_owned(),
            process: name.to_owned(),
        };
        let request = ExecRequest {
            command: vec!["idle".to_owned()],
            ..ExecRequest::default()
        };
        let answer = world
            .client()
            .call::<ExecCreate>(&path, &Empty {}, &request)
            .await;
        assert!(answer.is_err(), "{name}");
    }
    // Beside a one-off, whose end is the command's too.
    let one_off = world
        .begin(detached("idle"))
        .await
        .expect("a one-off")
        .process
        .id;
    let begun = exec(&one_off, "idle").await.expect("begun");
    let ends = world.attach(begun.session).await.expect("attached");
    let id = one_off.parse().expect("an id");
    assert!(world.rack().stop_one_off(&app(), &id).await.expect("told"));
    let (_, _, exit) = carry(ends, b"").await.expect("an exit");
    assert_ne!(exit.code, None);
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_takes_the_process_along() {
    let world = World::new().await;
    for script in ["idle", "stubborn; idle", "flood 100000000"] {
        let run = world.begin(attached(script)).await.expect("a one-off");
        let ends = world
            .attach(run.session.expect("a session"))
            .await
            .expect("attached");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.listed().await.len(), 1, "{script}");
        drop(ends);
        world.nothing_left().await;
    }
    // One that never comes.
    let began = std::time::Instant::now();
    let run = world.begin(attached("idle")).await.expect("a one-off");
    until("it is stopped", async || {
        world
            .listed()
            .await
            .iter()
            .all(|process| process.id != run.process.id)
    })
    .await;
    assert!(
        began.elapsed() >= Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    let session = run.session.expect("a session");
    assert_eq!(
        refusal(world.attach(session).await).0,
        ErrorCode::SessionNotFound
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_ended_before_its_client_came_still_tells_everything() {
    let world = World::new().await;
    let run = world
        .begin(attached("say early; exit 7"))
        .await
        .expect("a one-off");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ends = world
        .attach(run.session.expect("a session"))
        .await
        .expect("attached");
    let (output, _, exit) = carry(ends, b"unread").await.expect("an exit");
    assert_eq!((output.as_str(), exit.code), ("early\n", Some(7)));
    let (_, _, exit) = world.run("exit 0", &vec![b'x'; 3_000_000]).await;
    assert_eq!(exit.code, Some(0));
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rack_that_restarts_ends_the_attached_and_follows_the_rest() {
    let mut world = World::new().await;
    let ends = {
        let run = world.begin(attached("idle")).await.expect("a one-off");
        world
            .attach(run.session.expect("a session"))
            .await
            .expect("attached")
    };
    let waits = world.begin(attached("idle")).await.expect("a one-off");
    let ended = world
        .begin(detached("wait 1500; exit 5"))
        .await
        .expect("a one-off")
        .process
        .id;
    let goes_on = world
        .begin(detached("idle"))
        .await
        .expect("a one-off")
        .process
        .id;
    assert_eq!(world.listed().await.len(), 4);
    let read = tokio::spawn(carry(ends, b""));
    world.restart().await;
    let (_, _, exit) = read.await.expect("read").expect("an exit");
    assert_eq!(
        (exit.code, exit.reason.as_deref()),
        (None, Some("the rack is stopping"))
    );
    until("the attached and the ended are gone", async || {
        let listed = world.listed().await;
        listed.len() == 1 && listed[0].id == goes_on
    })
    .await;
    let events = world.events().await;
    assert!(
        events.contains(&format!("one-off {ended} exited with 5")),
        "{events:?}"
    );
    assert!(
        events
            .iter()
            .any(|text| text.starts_with(&format!("one-off {} ", waits.process.id)))
    );
    assert_eq!(world.tasks().await, 1);
    world
        .rack()
        .delete(&app(), "shop", false, &actor())
        .await
        .expect("told");
    until("nothing is left", async || world.tasks().await == 0).await;
}
