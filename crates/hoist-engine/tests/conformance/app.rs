//! The suite's test app: does for real what a script says, as a process of the engine under test.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::exit;
use std::time::Duration;

use hoist_engine::sim::script::{self, Step};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::SignalFd;

/// Runs a script; `token` only serves to be found in the process list.
pub(crate) fn run(token: &str, text: &str) -> ! {
    let steps = script::parse(text).unwrap_or_else(|word| {
        eprintln!("no such step: {word}");
        exit(2)
    });
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    term.thread_block().unwrap();
    let stops = SignalFd::new(&term).unwrap();
    let mut winch = SigSet::empty();
    winch.add(Signal::SIGWINCH);
    winch.thread_block().unwrap();
    let mut app = App {
        stops,
        sizes: SignalFd::new(&winch).unwrap(),
        stubborn: false,
        serving: false,
    };
    for step in steps {
        app.act(token, step);
    }
    if app.serving {
        app.rest(PollTimeout::NONE);
    }
    exit(0)
}

struct App {
    stops: SignalFd,
    /// Says that the terminal has another size.
    sizes: SignalFd,
    stubborn: bool,
    serving: bool,
}

impl App {
    fn act(&mut self, token: &str, step: Step) {
        match step {
            Step::Say(text) => say(&text),
            Step::Cry(text) => eprintln!("{text}"),
            Step::Print(name) => say(&std::env::var(name)
                .unwrap_or_else(|_| "unset".into())
                .replace('\n', "\\n")),
            Step::Wait(time) => self.rest(PollTimeout::try_from(time).unwrap()),
            Step::Serve(status) => {
                let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
                serve(TcpListener::bind(("127.0.0.1", port)).unwrap(), status);
                self.serving = true;
            }
            Step::ServeElsewhere => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                say(&listener.local_addr().unwrap().port().to_string());
                serve(listener, 200);
                self.serving = true;
            }
            Step::Stubborn => self.stubborn = true,
            Step::Idle => self.rest(PollTimeout::NONE),
            Step::Exit(code) => exit(code),
            Step::CrashOnce(file, code) => {
                if std::fs::exists(&file).unwrap() {
                    return;
                }
                std::fs::write(&file, "").unwrap();
                exit(code)
            }
            Step::Eat => eat(),
            Step::Count => {
                let pids = std::fs::read_dir("/proc").unwrap().flatten();
                let numbers =
                    pids.filter(|entry| entry.file_name().to_str().unwrap().parse::<u32>().is_ok());
                say(&numbers.count().to_string());
            }
            Step::Write(file, text) => match std::fs::write(&file, text) {
                Ok(()) => say("written"),
                Err(error) => say(&error.to_string()),
            },
            Step::Read(file) => match std::fs::read_to_string(&file) {
                Ok(text) => say(text.trim()),
                Err(error) => say(&error.to_string()),
            },
            Step::Fork => {
                let me = std::env::current_exe().unwrap();
                #[allow(clippy::zombie_processes, reason = "it ends with us")]
                std::process::Command::new(me)
                    .args(["app", token, "idle"])
                    .spawn()
                    .unwrap();
            }
            Step::Echo => echo(),
            Step::Line => say(&format!("heard {}", line())),
            Step::Tty => say(&terminal()),
            Step::Resized => {
                self.sizes.read_signal().unwrap();
                say(&terminal());
            }
            Step::Die(signal) => {
                SigSet::empty().thread_set_mask().unwrap();
                raise(Signal::try_from(signal).unwrap()).unwrap();
            }
            Step::ForkBomb => fork_bomb(token),
            Step::Work(time) => work(time),
            Step::Flood(lines) => (0..lines).for_each(|number| say(&number.to_string())),
        }
    }

    /// Waits, and obeys a stop unless it is stubborn.
    fn rest(&mut self, time: PollTimeout) {
        loop {
            let mut fds = [PollFd::new(self.stops.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, time).unwrap() == 0 {
                return;
            }
            self.stops.read_signal().unwrap();
            if !self.stubborn {
                say("stopping");
                exit(0)
            }
        }
    }
}

fn work(time: Duration) {
    let clock = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID;
    while Duration::from(clock.now().unwrap()) < time {}
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

fn serve(listener: TcpListener, status: u16) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, status);
        }
    });
}

fn answer(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked)?;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    )
}

fn eat() -> ! {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1u8; 1 << 20]);
    }
}

fn echo() {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = input.read(&mut bytes) {
        output.write_all(&bytes[..count]).unwrap();
        output.flush().unwrap();
    }
}

fn line() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn terminal() -> String {
    let asked = std::process::Command::new("stty")
        .arg("size")
        .stdin(std::process::Stdio::inherit())
        .output()
        .unwrap();
    let size = String::from_utf8(asked.stdout).unwrap();
    match size.trim().split_once(' ') {
        Some((rows, columns)) => format!("terminal {columns}x{rows}"),
        None => "no terminal".to_owned(),
    }
}

fn fork_bomb(token: &str) -> ! {
    let me = std::env::current_exe().unwrap();
    loop {
        let child = std::process::Command::new(&me)
            .args(["app", token, "fork-bomb"])
            .spawn();
        if child.is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
