//! Run and exec: one command, its streams or its terminal, and its exit code.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::rack::{Ran, eventually, wait};
use crate::harness::source::web;
use crate::harness::terminal::Terminal;
use crate::harness::{Rack, Source};
use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "exit_codes_are_the_process_own",
        exit_codes_are_the_process_own,
    ),
    (
        "a_string_is_for_a_shell_and_words_are_not",
        a_string_is_for_a_shell_and_words_are_not,
    ),
    (
        "it_is_a_process_of_its_service",
        it_is_a_process_of_its_service,
    ),
    (
        "streams_are_apart_and_binary_clean",
        streams_are_apart_and_binary_clean,
    ),
    ("a_real_terminal", a_real_terminal),
    ("a_full_disk_is_named", a_full_disk_is_named),
    ("half_a_terminal_is_none", half_a_terminal_is_none),
    ("a_terminal_is_given_back", a_terminal_is_given_back),
    ("exec_enters_a_process", exec_enters_a_process),
    ("detached_ones_go_on", detached_ones_go_on),
    ("of_an_earlier_release", of_an_earlier_release),
    ("refusals_say_what_there_is", refusals_say_what_there_is),
    ("ends_while_somebody_attaches", ends_while_somebody_attaches),
];

/// A rack with an app `shop`, whose one service is `web`.
pub(crate) fn shop() -> Result<Rack> {
    let rack = rack()?;
    let source = Source::app("shop", &web("hello", "termination: {grace: 2}"))?;
    rack.deployed(&source.dir())?;
    Ok(rack)
}

/// Runs `hoist run -a shop web WORDS`.
pub(crate) fn run(rack: &Rack, words: &[&str]) -> Result<Ran> {
    rack.hoist(&[&["run", "-a", "shop", "web"], words].concat())
}

/// The same, begun.
pub(crate) fn begin(rack: &Rack, words: &[&str]) -> Command {
    let mut command = rack.command(&[&["run", "-a", "shop", "web"], words].concat());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Whether a process of this machine has this word in its command line.
pub(crate) fn lives(word: &str) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        words
            .split(|byte| *byte == 0)
            .any(|found| found == word.as_bytes())
    })
}

/// Words that sleep, and the one of them that nothing else on this machine has.
pub(crate) fn sleeper(seconds: u32) -> (String, String) {
    let word = format!("{seconds}.{}", std::process::id());
    (format!("echo ready; exec sleep {word}"), word)
}

pub(crate) fn gone(word: &str, limit: Duration) -> Result<()> {
    eventually(limit, || {
        ensure!(!lives(word), "`sleep {word}` still lives");
        Ok(())
    })
}

/// How long a line may take to come, in milliseconds.
const LINE_LIMIT: u16 = 60_000;

pub(crate) fn first_line(child: &mut Child) -> Result<String> {
    let out = child.stdout.as_mut().context("no pipe")?;
    let mut line = String::new();
    let mut byte = [0];
    loop {
        let mut ready = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
        ensure!(poll(&mut ready, LINE_LIMIT)? == 1, "no line after {line:?}");
        if out.read(&mut byte)? == 0 || byte[0] == b'\n' {
            return Ok(line);
        }
        line.push(byte[0].into());
    }
}

fn exit_codes_are_the_process_own() -> Result<()> {
    let rack = shop()?;
    for (words, code) in [
        (&["true"][..], 0),
        (&["exit 3"], 3),
        (&["sh", "-c", "exit 255"], 255),
        (&["kill -9 $$"], 137),
        (&["kill -TERM $$"], 143),
        (&["/etc/passwd", "x"], 126),
        (&["no-such-program", "x"], 127),
    ] {
        let ran = run(&rack, words)?;
        ensure!(ran.code == code, "{words:?} should end with {code}\n{ran}");
        ensure!(ran.stdout.is_empty(), "{ran}");
    }
    let ran = run(&rack, &["no-such-program", "x"])?;
    ran.expect(127, &["no-such-program", "could not be executed"])?;
    each_end_is_told_once(&rack)
}

fn each_end_is_told_once(rack: &Rack) -> Result<()> {
    // Who waits for a one-off may have its end before the record does.
    let ends: Vec<String> = eventually(Duration::from_secs(20), || {
        let events = rack.items(&["events", "-a", "shop"])?;
        let ends = events
            .iter()
            .filter(|event| event["name"] == "process:exit")
            .filter_map(|event| event["text"].as_str().map(str::to_owned));
        let ends: Vec<String> = ends.collect();
        ensure!(ends.len() >= 8, "{ends:#?}");
        Ok(ends)
    })?;
    let once: BTreeSet<&String> = ends.iter().collect();
    ensure!(once.len() == ends.len(), "told twice: {ends:#?}");
    Ok(())
}

fn a_string_is_for_a_shell_and_words_are_not() -> Result<()> {
    let rack = shop()?;
    for (words, said) in [
        (&["echo $APP | tr a-z A-Z"][..], "SHOP\n"),
        (&["echo", "$APP", "|", "cat"], "$APP | cat\n"),
        (&["--", "printf", "%s."], "."),
        (
            &["printf", "%s.", "-a", "--json", "--", "-T"],
            "-a.--json.--.-T.",
        ),
        (&["sh", "-c", "echo \"$0\" \"$1\"", "a b", ""], "a b \n"),
    ] {
        let ran = run(&rack, words)?;
        ensure!(ran.code == 0 && ran.stdout == said, "{words:?}\n{ran}");
    }
    // A command with a blank is no program.
    run(&rack, &["--", "echo hello"])?.expect(127, &["echo hello"])
}

fn it_is_a_process_of_its_service() -> Result<()> {
    let rack = rack()?;
    let manifest = web("hello", "environment:\n  - COLOUR=blue");
    let source = Source::app("shop", &manifest)?;
    source.write("note", "kept\n")?;
    let release = rack.deployed(&source.dir())?;
    let ran = run(
        &rack,
        &["echo \"$RELEASE $SERVICE $APP $COLOUR [$PORT]\"; pwd; cat note; id -u"],
    )?;
    let process = rack.processes("shop")?[0].0.clone();
    let beside = rack.ok(&["exec", "-a", "shop", &process, "id", "-u"])?;
    let expected = format!("{release} web shop blue []\n");
    ensure!(ran.code == 0 && ran.stdout.starts_with(&expected), "{ran}");
    ensure!(
        ran.stdout.ends_with(&format!("kept\n{}", beside.stdout)),
        "{ran} {beside}"
    );
    // What it writes to its tree goes with it.
    run(&rack, &["echo mine > note; cat note"])?.expect(0, &["mine"])?;
    run(&rack, &["cat", "note"])?.expect(0, &["kept"])
}

fn streams_are_apart_and_binary_clean() -> Result<()> {
    let rack = shop()?;
    let mut bytes = vec![0; 20_000_000];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut child = begin(&rack, &["cat"]).spawn()?;
    let mut input = child.stdin.take().context("no pipe")?;
    let sent = bytes.clone();
    let send = std::thread::spawn(move || input.write_all(&sent));
    let mut got = Vec::new();
    child
        .stdout
        .take()
        .context("no pipe")?
        .read_to_end(&mut got)?;
    let code = wait(child, Duration::from_secs(60))?;
    ensure!(send.join().is_ok_and(|sent| sent.is_ok()));
    ensure!(
        code == 0 && got == bytes,
        "{code}: {} bytes came back",
        got.len()
    );
    let ran = run(&rack, &["echo out; echo err >&2; wc -c; exit 4"])?;
    ensure!(ran.code == 4 && ran.stdout == "out\n0\n", "{ran}");
    ensure!(ran.stderr == "err\n", "{ran}");
    Ok(())
}

fn a_real_terminal() -> Result<()> {
    let rack = shop()?;
    let command = rack.command(&["run", "-a", "shop", "web", "sh"]);
    let mut terminal = Terminal::run(&command, 99, 33)?;
    terminal.shows("$ ")?;
    terminal.types("stty size; echo $TERM; test -t 2 && echo all\r")?;
    terminal.shows("all\r\n")?;
    terminal.shows("33 99\r\nxterm-test\r\nall\r\n")?;
    terminal.resize(120, 44)?;
    terminal.types("sleep 0.3; stty size\r")?;
    terminal.shows("44 120\r\n")?;
    terminal.types("sleep 1000; echo not reached\r")?;
    std::thread::sleep(Duration::from_millis(300));
    terminal.types("\x03")?;
    terminal.shows("^C")?;
    terminal.types("echo still $((1 + 1))\r")?;
    terminal.shows("still 2\r\n")?;
    // Keys that mean something to a shell on this side.
    // Not before it reads: a signal to nobody would be lost, and it would read what is meant for the shell.
    terminal.types("cat\rmeow\r")?;
    terminal.shows("meow\r\nmeow\r\n")?;
    terminal.types("\x1a")?;
    terminal.shows("^Z")?;
    terminal.shows("$ ")?;
    terminal.types("exit 7\rexit 7\r")?;
    ensure!(terminal.ended()? == 7);
    // A size that is not known is a usual one.
    let command = rack.command(&["exec", "-a", "shop", "web", "stty", "size"]);
    let mut terminal = Terminal::run(&command, 0, 0)?;
    terminal.shows("24 80\r\n")?;
    ensure!(terminal.ended()? == 0);
    Ok(())
}

fn a_full_disk_is_named() -> Result<()> {
    let rack = shop()?;
    let mut command = rack.command(&["run", "-a", "shop", "web", "echo lost"]);
    let full = File::options().write(true).open("/dev/full")?;
    let ran = command.stdout(full).output()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(
        ran.status.code() == Some(255) && said.contains("No space left"),
        "{:?}\n{said}",
        ran.status
    );
    Ok(())
}

fn half_a_terminal_is_none() -> Result<()> {
    let rack = shop()?;
    let said = "test -t 0 && echo in; test -t 1 && echo out; echo done";
    let path = rack.home().join("said");
    let shell = format!(
        "{} run -a shop web '{said}' > {}",
        crate::program().display(),
        path.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).current_dir(rack.home());
    for (name, value) in rack.command(&[]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    ensure!(Terminal::run(&command, 80, 24)?.ended()? == 0);
    ensure!(fs::read_to_string(&path)? == "done\n");
    let ran = rack.hoist(&["run", "-t", "-a", "shop", "web", said])?;
    ensure!(
        ran.code == 0 && ran.stdout == "in\r\nout\r\ndone\r\n",
        "{ran}"
    );
    let command = rack.command(&["run", "-T", "-a", "shop", "web", said]);
    let mut terminal = Terminal::run(&command, 80, 24)?;
    terminal.shows("done")?;
    ensure!(terminal.ended()? == 0 && !terminal.all().starts_with(b"in"));
    Ok(())
}

fn a_terminal_is_given_back() -> Result<()> {
    let rack = shop()?;
    for (words, key, ended) in [
        (&["exit 3"][..], None, 3),
        (&["sleep", "1000"], Some(Signal::SIGTERM), 143),
        (&["sleep", "1000"], Some(Signal::SIGHUP), 129),
    ] {
        let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        // The settings are looked at while a shell still holds the terminal.
        let shell = format!(
            "stty -g; {} run -a shop web {}; echo \"ended $?\"; stty -g; read x",
            crate::program().display(),
            words.join(" ")
        );
        let mut command = Command::new("sh");
        command.args(["-c", &shell]).current_dir(rack.home());
        for (name, value) in rack.command(&[]).get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let mut terminal = Terminal::run(&command, 80, 24)?;
        if let Some(signal) = key {
            eventually(Duration::from_secs(20), || {
                ensure!(terminal.is_raw()?, "not yet raw");
                client_of(terminal.pid())
            })
            .and_then(|pid| {
                std::thread::sleep(Duration::from_millis(200));
                Ok(kill(pid, signal)?)
            })?;
        }
        terminal.shows(&format!("ended {ended}"))?;
        terminal.types("\r")?;
        ensure!(terminal.ended()? == 0);
        let all = String::from_utf8(terminal.all())?;
        let mut settings = all.lines().filter(|line| line.matches(':').count() > 10);
        let (before, after) = (settings.next(), settings.next());
        ensure!(before.is_some() && before == after, "{all}");
    }
    Ok(())
}

/// The command line that a shell on a terminal runs.
fn client_of(shell: Option<u32>) -> Result<Pid> {
    let shell = shell.context("no shell")?;
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
    let child = children.split(' ').next().unwrap_or_default();
    Ok(Pid::from_raw(child.parse().context("no child")?))
}

fn exec_enters_a_process() -> Result<()> {
    let rack = shop()?;
    let id = rack.processes("shop")?[0].0.clone();
    let exec = |process: &str, words: &[&str]| {
        rack.hoist(&[&["exec", "-a", "shop", process], words].concat())
    };
    for name in [id.as_str(), &id[..5], "web"] {
        let ran = exec(name, &["echo $SERVICE ${PORT:+port}"])?;
        ensure!(ran.code == 0 && ran.stdout == "web port\n", "{name}: {ran}");
    }
    // What it sees is the process's: its tree as it was changed, and itself.
    ensure!(exec(&id, &["echo made > mark"])?.code == 0);
    exec(&id, &["cat", "mark"])?.expect(0, &["made"])?;
    let doctor = rack.ok(&["doctor", "--json"])?.stdout;
    if has_isolation(&doctor, "pid")? {
        let ran = exec(&id, &["tr '\\0' ' ' < /proc/1/cmdline"])?;
        ran.expect(0, &["./app hello"])?;
    }
    ensure!(exec(&id, &["exit 5"])?.code == 5);
    for (process, word) in [("ffffffffffff", "no process"), ("nope", "no process")] {
        exec(process, &["true"])?.expect(1, &[word, "hint: `hoist ps -a shop`"])?;
    }
    // It ends with the process that it runs beside.
    let (text, word) = sleeper(1001);
    let mut command = rack.command(&["exec", "-a", "shop", &id, &text]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    ensure!(first_line(&mut child)? == "ready");
    rack.ok(&["stop", "-a", "shop"])?;
    ensure!(wait(child, Duration::from_secs(30))? != 0);
    gone(&word, Duration::from_secs(10))
}

fn has_isolation(doctor: &str, kind: &str) -> Result<bool> {
    let doctor: serde_json::Value = serde_json::from_str(doctor)?;
    let sections = doctor["sections"].as_array().context("no sections")?;
    let items = sections
        .iter()
        .filter(|section| section["name"] == "isolation");
    let mut items = items
        .filter_map(|section| section["items"].as_array())
        .flatten();
    Ok(items.any(|item| item["name"] == kind && item["state"] == "ok"))
}

fn detached_ones_go_on() -> Result<()> {
    let mut rack = shop()?;
    let begin = |rack: &Rack, words: &str| -> Result<String> {
        let ran = rack.ok(&["run", "--detach", "-a", "shop", "web", words])?;
        Ok(ran.stdout.trim().to_owned())
    };
    let id = begin(&rack, "echo begun; sleep 3; echo over >&2; exit 6")?;
    ensure!(id.len() == 12, "{id}");
    eventually(Duration::from_secs(2), || {
        let listed = rack.items(&["ps", "-a", "shop"])?;
        let one_off = listed.iter().find(|process| process["id"] == id.as_str());
        let one_off = one_off.context("it is not listed")?;
        ensure!(
            one_off["one_off"] == true && one_off["name"] == "web",
            "{one_off}"
        );
        // What it uses is measured, like that of every process.
        ensure!(one_off["memory_bytes"].as_u64() > Some(0), "{one_off}");
        Ok(())
    })?;
    // The rack dies and comes back: it goes on, and is seen to its end.
    rack.kill()?;
    rack.run()?;
    eventually(Duration::from_secs(20), || {
        let listed = rack.items(&["ps", "-a", "shop"])?;
        ensure!(listed.len() == 1, "{listed:?}");
        let events = rack.ok(&["events", "-a", "shop"])?.stdout;
        ensure!(
            events.contains(&format!("one-off {id} exited with 6")),
            "{events}"
        );
        Ok(())
    })?;
    let log = rack.ok(&["logs", "-a", "shop", "-p", &id])?.stdout;
    ensure!(log.contains("begun") && log.contains("over"), "{log}");
    let ran = rack.ok(&["run", "--detach", "--json", "-a", "shop", "web", "true"])?;
    ensure!(
        serde_json::from_str::<serde_json::Value>(&ran.stdout)?["one_off"] == true,
        "{ran}"
    );
    // One that is told to stop, and one whose app goes.
    let (text, word) = sleeper(1002);
    let id = begin(&rack, &text)?;
    rack.ok(&["ps", "stop", "-a", "shop", &id])?;
    gone(&word, Duration::from_secs(20))?;
    let (text, word) = sleeper(1003);
    begin(&rack, &text)?;
    rack.ok(&["apps", "delete", "shop", "--confirm", "shop"])?;
    gone(&word, Duration::from_secs(20))
}

fn of_an_earlier_release() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    source.write("text", "first\n")?;
    let first = rack.deployed(&source.dir())?;
    source.write("text", "second\n")?;
    rack.deployed(&source.dir())?;
    let earlier = [
        "run",
        "--release",
        &first,
        "-a",
        "shop",
        "web",
        "cat text; echo $RELEASE",
    ];
    let ran = rack.ok(&earlier)?;
    ensure!(ran.stdout == format!("first\n{first}\n"), "{ran}");
    run(&rack, &["cat", "text"])?.expect(0, &["second"])
}

fn refusals_say_what_there_is() -> Result<()> {
    let mut rack = shop()?;
    for (words, code, said) in [
        (
            &["run", "-a", "shop", "nope", "ls"][..],
            1,
            "has no service `nope`: it has web",
        ),
        (&["run", "-a", "none", "web", "ls"], 1, "no app `none`"),
        (
            &["run", "-a", "shop", "--release", "RAAAAAAAAAA", "web", "ls"],
            1,
            "no release RAAAAAAAAAA",
        ),
        (&["run", "-a", "shop", "web"], 2, "<CMD>..."),
        (
            &["run", "-a", "shop", "web", "--"],
            2,
            "there is no command",
        ),
        (&["run", "--wrong", "web", "ls"], 2, "--wrong"),
        (&["run", "-d", "-t", "web", "ls"], 2, "do not go together"),
        (&["exec", "-a", "shop", "web"], 2, "<CMD>..."),
    ] {
        let ran = rack.hoist(words)?;
        ran.expect(code, &[said])?;
        ensure!(ran.stdout.is_empty(), "{ran}");
    }
    rack.ok(&["apps", "create", "bare"])?;
    rack.hoist(&["run", "-a", "bare", "web", "ls"])?.expect(
        1,
        &["has no release that serves", "hint: `hoist deploy -a bare`"],
    )?;
    // What is stopped can still run a command.
    rack.ok(&["stop", "-a", "shop"])?;
    run(&rack, &["echo works"])?.expect(0, &["works"])?;
    rack.kill()?;
    run(&rack, &["ls"])?.expect(3, &["cannot reach a rack"])
}

fn ends_while_somebody_attaches() -> Result<()> {
    let rack = shop()?;
    let id = rack.processes("shop")?[0].0.clone();
    for _ in 0..15 {
        let ran = run(&rack, &["echo hi; exit 5"])?;
        ensure!(ran.code == 5 && ran.stdout == "hi\n", "{ran}");
        let ran = rack.hoist(&["exec", "-a", "shop", &id, "echo hi; exit 5"])?;
        ensure!(ran.code == 5 && ran.stdout == "hi\n", "{ran}");
    }
    Ok(())
}
