//! Commands beside the process: checks, which answer a number, and commands on streams of the rack.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{RETRY, Supervisor};
use crate::local::proc;
use crate::local::record::{Attached, Cause, ExitRecord};
use crate::local::shim::beside::{self, Command, Start};
use crate::local::shim::protocol::{Answer, Client, Request};
use crate::local::shim::streams::Streams;
use crate::logfile::now_ms;

/// Most checks at once.
const CHECKS_MAX: usize = 8;
/// Most commands on streams of the rack at once.
const EXECS_MAX: usize = 16;
/// What such a command gets from the signal to the kill.
const GRACE: Duration = Duration::from_secs(10);
/// What asks a command on a terminal to end: whoever sat before it is gone, stop, and go on for that if you were halted.
const HANG_UP: [Signal; 3] = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGCONT];
/// What asks any other.
const LEAVE: [Signal; 2] = [Signal::SIGTERM, Signal::SIGCONT];

/// A command beside the process.
pub(super) struct Beside {
    command: Command,
    purpose: Purpose,
    /// None once it was answered, or is gone.
    client: Option<Client>,
    /// When it is killed.
    pub(super) until: Option<Instant>,
    memory_kills: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Check,
    Exec(Attached),
}

impl Purpose {
    fn is_check(self) -> bool {
        self == Self::Check
    }

    fn farewell(self) -> &'static [Signal] {
        match self {
            Self::Exec(Attached::Terminal { .. }) => &HANG_UP,
            Self::Exec(Attached::Pipes) | Self::Check => &LEAVE,
        }
    }
}

/// What is left of a command that ended: its session is asked to end, and then killed.
pub(super) struct Left {
    session: i32,
    /// Who was in it, with their starts: while one of them is, the session's number cannot mean another one.
    known: Vec<(i32, u64)>,
    pub(super) until: Instant,
}

impl Beside {
    /// Where its client can be heard.
    pub(super) fn to_hear(&self) -> Option<BorrowedFd<'_>> {
        let client = self.client.as_ref()?;
        (!self.purpose.is_check()).then(|| client.as_fd())
    }

    fn hang_up(&mut self) {
        if self.until.is_none() {
            self.until = Some(Instant::now() + GRACE);
            signal(&self.members(), self.purpose.farewell());
        }
    }

    /// The command and all of its session; the session is not there from the first moment.
    fn members(&self) -> Vec<i32> {
        let mut members = proc::in_session_of(self.command.pid);
        if !members.contains(&self.command.pid) {
            members.push(self.command.pid);
        }
        members
    }

    fn answer(&mut self, answer: &Answer) {
        if let Some(mut client) = self.client.take() {
            client.answer(answer);
        }
    }
}

fn signal(pids: &[i32], signals: &[Signal]) {
    for pid in pids {
        for signal in signals {
            let _ = kill(Pid::from_raw(*pid), *signal);
        }
    }
}

impl Supervisor {
    pub(super) fn check(&mut self, mut client: Client, argv: &[String], limit_ms: u64) {
        if self.count(true) >= CHECKS_MAX {
            return client.answer(&Answer::Failed("too many checks at once".to_owned()));
        }
        let until = Instant::now() + Duration::from_millis(limit_ms);
        let null = File::open("/dev/null").ok();
        let begun = self.begin_beside(argv, null, Streams::Nothing);
        self.keep(client, Purpose::Check, Some(until), begun);
    }

    /// Runs a command on streams of the rack. The first of the files holds the variables, the rest make the streams.
    pub(super) fn exec(
        &mut self,
        mut client: Client,
        argv: &[String],
        attached: Attached,
        files: Vec<OwnedFd>,
    ) {
        if self.count(false) >= EXECS_MAX {
            let why = format!("{EXECS_MAX} commands run beside it already");
            return client.answer(&Answer::Refused(why));
        }
        let mut files = files.into_iter();
        let env = files.next().map(File::from);
        let begun = match Streams::of(attached, files.collect()) {
            Ok(streams) => self.begin_beside(argv, env, streams),
            Err(fault) => Err(Answer::Failed(fault.to_string())),
        };
        if begun.is_ok() {
            client.answer(&Answer::Started);
        }
        self.keep(client, Purpose::Exec(attached), None, begun);
    }

    fn count(&self, checks: bool) -> usize {
        let same = |command: &&Beside| command.purpose.is_check() == checks;
        self.beside.iter().filter(same).count()
    }

    fn begin_beside(
        &self,
        argv: &[String],
        env: Option<File>,
        streams: Streams,
    ) -> Result<Command, Answer> {
        let child = self.child.as_ref().filter(|_| self.fault.is_none());
        let child = child.ok_or(Answer::NotRunning)?;
        let env = env.ok_or_else(|| Answer::Failed("no variables came".to_owned()))?;
        let started = beside::start(Start {
            spec: &self.spec,
            argv,
            env: [&self.env, &env],
            beside: child,
            cgroups: &self.cgroups,
            streams,
        });
        let command = started.map_err(|fault| Answer::Failed(fault.to_string()))?;
        let _ = fcntl(&command.fault, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        Ok(command)
    }

    fn keep(
        &mut self,
        mut client: Client,
        purpose: Purpose,
        until: Option<Instant>,
        begun: Result<Command, Answer>,
    ) {
        match begun {
            Ok(command) => self.beside.push(Beside {
                command,
                purpose,
                client: Some(client),
                until,
                memory_kills: self.cgroups.memory_kills(),
            }),
            Err(answer) => client.answer(&answer),
        }
    }

    /// Hears those who wait for a command, and those who no longer do.
    pub(super) fn hear_beside(&mut self) {
        let execs = self.beside.iter_mut();
        for command in execs.filter(|command| !command.purpose.is_check()) {
            let Some(client) = &mut command.client else {
                continue;
            };
            match client.hear() {
                Ok(Some((Request::End, _))) => command.hang_up(),
                Ok(Some((Request::Interrupt, _))) => signal(&command.members(), &[Signal::SIGINT]),
                Ok(_) => {}
                Err(_) => {
                    command.client = None;
                    command.hang_up();
                }
            }
        }
    }

    /// Asks every command on the rack's streams to end.
    pub(super) fn hang_up_beside(&mut self) {
        let execs = self.beside.iter_mut();
        execs
            .filter(|command| !command.purpose.is_check())
            .for_each(Beside::hang_up);
    }

    /// Kills what has had its time.
    pub(super) fn beside_due(&mut self, now: Instant) {
        for command in &mut self.beside {
            if command.until.is_some_and(|until| until <= now) {
                signal(&command.members(), &[Signal::SIGKILL]);
                if command.purpose.is_check() {
                    command.answer(&Answer::TimedOut);
                }
                command.until = Some(now + RETRY);
            }
        }
        self.left.retain(|left| {
            let over = left.until <= now;
            if over {
                left.kill();
            }
            !over
        });
    }

    /// A child that is not the process ended: a command, or an orphan of the app.
    pub(super) fn beside_ended(&mut self, pid: i32, code: i32, signal: Option<i32>) {
        let found = self.beside.iter();
        let Some(index) = found.map(|b| b.command.pid).position(|known| known == pid) else {
            return;
        };
        let mut command = self.beside.swap_remove(index);
        let exit = self.exit_of(&mut command, code, signal);
        command.answer(&match command.purpose {
            Purpose::Check => Answer::Exit(code),
            Purpose::Exec(_) => Answer::Ended(exit),
        });
        self.left.extend(Left::of(pid, command.purpose));
    }

    fn exit_of(&self, command: &mut Beside, code: i32, signal: Option<i32>) -> ExitRecord {
        let mut byte = [0];
        let unexecuted = command
            .command
            .fault
            .read(&mut byte)
            .is_ok_and(|count| count > 0);
        let memory = self.cgroups.memory_kills() > command.memory_kills && signal.is_some();
        ExitRecord {
            code,
            signal,
            cause: match (unexecuted, memory) {
                (true, _) => Cause::ExecFailed,
                (false, true) => Cause::OutOfMemory,
                (false, false) => Cause::Own,
            },
            at_ms: now_ms(),
        }
    }

    /// The process ended, and everything beside it ends with it.
    pub(super) fn end_beside(&mut self) {
        for mut command in std::mem::take(&mut self.beside) {
            signal(&command.members(), &[Signal::SIGKILL]);
            if command.purpose.is_check() {
                command.answer(&Answer::NotRunning);
                continue;
            }
            let (code, signal) = reap(command.command.pid);
            let exit = self.exit_of(&mut command, code, signal);
            command.answer(&Answer::Ended(exit));
        }
        for left in self.left.drain(..) {
            left.kill();
        }
    }
}

/// Collects a child that was killed, and does not wait for one that cannot die.
fn reap(pid: i32) -> (i32, Option<i32>) {
    const PAUSE: Duration = Duration::from_millis(1);
    const ROUNDS: usize = 200;
    for _ in 0..ROUNDS {
        match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return (code, None),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return (128 + signal as i32, Some(signal as i32));
            }
            Ok(_) | Err(Errno::EINTR) => std::thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    let kill = Signal::SIGKILL as i32;
    (128 + kill, Some(kill))
}

impl Left {
    /// Asks what a command left behind to end. None when there is nothing.
    fn of(session: i32, of: Purpose) -> Option<Self> {
        let mut members = proc::in_session_of(session);
        members.retain(|pid| proc::lives(*pid));
        signal(&members, of.farewell());
        let known = members.iter();
        let known: Vec<_> = known
            .filter_map(|pid| Some((*pid, proc::started(*pid)?)))
            .collect();
        (!known.is_empty()).then(|| Self {
            session,
            known,
            until: Instant::now() + GRACE,
        })
    }

    fn kill(&self) {
        let members = proc::in_session_of(self.session);
        let same = |(pid, started): &(i32, u64)| {
            members.contains(pid) && proc::started(*pid) == Some(*started)
        };
        if self.known.iter().any(same) {
            signal(&members, &[Signal::SIGKILL]);
        }
    }
}
