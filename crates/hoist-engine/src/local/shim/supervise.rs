//! The shim's loop: one thread, one poll, and what follows from each thing that can happen.
//!
//! Whatever changes is written to the state file before anybody is told; the rack reads files and needs no answer.

mod beside;
mod ending;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

use hoist_core::limits;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::child::{self, Child};
use super::nursery::Taken;
use super::protocol::{Answer, Client, Request};
use super::streams::Streams;
use super::{Fault, layer, sys};
use crate::local::cgroup::{Cgroups, Limits};
use crate::local::layout::{HINTS_FROM_STATE, SPEC, STATE, STOP};
use crate::local::proc;
use crate::local::record::{self, Cause, ExitRecord, PROTOCOL, Phase, Spec, State};
use crate::logfile::{LogFile, Stream, now_ms};
use beside::{Beside, Left};

/// The pause before the first restart; each further one is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(limits::RESTART_FIRST.0);
/// The longest pause before a restart.
const BACKOFF_LONGEST: Duration = Duration::from_millis(limits::RESTART_SLOWEST.0);
/// A process that ran this long begins again with the first pause.
const BACKOFF_FORGIVEN: Duration = Duration::from_millis(limits::RESTART_FORGOTTEN.0);
/// How long a state file that could not be written waits for the next attempt.
const RETRY: Duration = Duration::from_secs(1);
/// Attempts to write the last state before it is given up: the process then shows as lost.
const LAST_WORDS: u32 = 30;
/// Most connections at once; a rack uses one or two.
const CLIENTS_MAX: usize = 16;
/// How long removing a cgroup waits for the last to leave.
const LEAVE: Duration = Duration::from_secs(2);

struct Supervisor {
    spec: Spec,
    state: State,
    env: File,
    lock: File,
    log: LogFile,
    cgroups: Cgroups,
    signals: SignalFd,
    listener: UnixListener,
    clients: Vec<Client>,
    /// Words for the process that came before it was executed.
    early: Vec<(Client, Request, Vec<OwnedFd>)>,
    /// What runs beside the process.
    beside: Vec<Beside>,
    /// What commands beside the process left behind.
    left: Vec<Left>,
    /// The rack's streams, until the process has them.
    attached: Option<Streams>,
    child: Option<Child>,
    streams_open: [bool; 2],
    fault: Option<Vec<u8>>,
    started: Instant,
    memory_kills: u64,
    pause: Duration,
    restart_at: Option<Instant>,
    /// Whether the next start was asked for, and does not count.
    again: bool,
    kill_at: Option<Instant>,
    /// Who got the signal of the present stop.
    told: BTreeSet<i32>,
    /// When to look whether the first process cannot hear a stop.
    deaf_at: Option<Instant>,
    /// Whether it could not, and was killed in place of the signal.
    was_deaf: bool,
    limit_at: Option<Instant>,
    unwritten: bool,
}

/// Supervises until the process has ended for good; answers the exit code of the shim itself.
pub(super) fn run(taken: Taken) -> i32 {
    let records = || -> Result<(Spec, State), Fault> {
        let spec = record::read(Path::new(SPEC)).map_err(Fault::of("read the specification"))?;
        Ok((
            spec,
            record::read(Path::new(STATE)).map_err(Fault::of("read the state"))?,
        ))
    };
    let (spec, state) = match records() {
        Ok(records) => records,
        Err(fault) => {
            super::complain(&fault.to_string());
            return 1;
        }
    };
    let failed = state.clone();
    let log = (spec.log.clone(), spec.log_bytes_max);
    match Supervisor::begin(spec, state, taken) {
        Ok(mut supervisor) => {
            supervisor.work();
            supervisor.end();
            0
        }
        Err(fault) => {
            give_up(failed, LogFile::new(log.0, log.1), &fault);
            1
        }
    }
}

/// Says that nothing could be started at all, in the log and in the state.
fn give_up(mut state: State, mut log: LogFile, fault: &Fault) {
    log.say(&format!("hoist: {fault}"));
    state.phase = Phase::Ended;
    state.started_ms = now_ms();
    state.exit = Some(ExitRecord {
        code: 127,
        signal: None,
        cause: Cause::ExecFailed,
        at_ms: now_ms(),
    });
    let _ = record::write(Path::new(STATE), &state, false);
    hint();
}

impl Supervisor {
    fn begin(spec: Spec, mut state: State, taken: Taken) -> Result<Self, Fault> {
        state.protocol = PROTOCOL;
        state.boot = record::boot();
        state.shim = i32::try_from(std::process::id()).ok();
        let mut wanted = SigSet::empty();
        wanted.add(Signal::SIGCHLD);
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(Fault::of("listen for signals"))?;
        if !spec.plan.pid {
            // Without a pid namespace, orphans of the app come to us and not to the machine.
            prctl::set_child_subreaper(true).map_err(Fault::of("adopt orphans"))?;
        }
        let cgroups = Cgroups::of(&spec.plan.controllers, &spec.process);
        let limits = Limits {
            memory_bytes: spec.memory_bytes,
            cpu_millicores: spec.cpu_millicores,
            pids_max: spec.pids_max,
            background: spec.background,
        };
        cgroups
            .create(limits)
            .map_err(Fault::of("make the cgroups"))?;
        let streams = |attached| Streams::of(attached, taken.streams);
        let attached = spec.attached.map(streams).transpose()?;
        let log = LogFile::new(spec.log.clone(), spec.log_bytes_max);
        let limit_at = spec
            .limit_ms
            .map(|limit| Instant::now() + Duration::from_millis(limit));
        Ok(Self {
            state,
            env: taken.env,
            lock: taken.lock,
            log,
            cgroups,
            signals,
            listener: taken.socket,
            clients: Vec::new(),
            early: Vec::new(),
            beside: Vec::new(),
            left: Vec::new(),
            attached,
            child: None,
            streams_open: [false; 2],
            fault: None,
            started: Instant::now(),
            memory_kills: 0,
            pause: BACKOFF_FIRST,
            restart_at: None,
            again: false,
            kill_at: None,
            deaf_at: None,
            told: BTreeSet::new(),
            was_deaf: false,
            limit_at,
            unwritten: false,
            spec,
        })
    }

    fn work(&mut self) {
        // A stop that was asked for before we began is obeyed before anything is executed.
        if Path::new(STOP).exists() {
            let signal = Signal::SIGTERM as i32;
            let exit = ExitRecord {
                code: 128 + signal,
                signal: Some(signal),
                cause: Cause::Own,
                at_ms: now_ms(),
            };
            self.state.exit = Some(exit);
            self.state.phase = Phase::Ended;
            return;
        }
        self.start();
        sys::trim_memory();
        while self.state.phase != Phase::Ended {
            self.wait();
            self.due();
        }
    }

    /// Starts the process and says so.
    fn start(&mut self) {
        self.restart_at = None;
        self.started = Instant::now();
        self.memory_kills = self.cgroups.memory_kills();
        if self.state.phase != Phase::Made {
            // The first life keeps the time that it was already seen with: the time tells lives apart.
            self.state.started_ms = now_ms();
        }
        self.state.phase = Phase::Running;
        self.state.last_exit = self.state.exit.take().or(self.state.last_exit);
        self.state.pid = None;
        // A task must never run twice, not even after a power cut: that it runs is on the disk before it does. For the
        // rest it is enough to say so afterwards.
        let is_task = self.spec.limit_ms.is_some() && !self.spec.restart;
        if is_task && let Err(error) = record::write(Path::new(STATE), &self.state, true) {
            self.ended(
                127,
                None,
                Some(format!("could not record the start: {error}")),
            );
            return;
        }
        let attached = self.attached.take();
        match child::start(&self.spec, &self.env, &self.cgroups, attached) {
            Ok(child) => {
                let logged = [&child.out, &child.err].into_iter().flatten();
                for pipe in logged.chain([&child.fault, &child.signal]) {
                    let _ = fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
                }
                self.streams_open = [child.out.is_some(), child.err.is_some()];
                self.state.pid = Some(child.pid);
                self.state.pid_started = proc::started(child.pid);
                self.fault = Some(Vec::new());
                self.child = Some(child);
                self.record();
            }
            Err(fault) => {
                self.ended(fault.code(), None, Some(fault.to_string()));
            }
        }
    }

    /// Waits for the next thing to happen and deals with it.
    fn wait(&mut self) {
        let timeout = match self.next_deadline() {
            None => PollTimeout::NONE,
            Some(at) => {
                // One more millisecond, because a timeout that is cut down would wake us just before the time.
                let left = at
                    .saturating_duration_since(Instant::now())
                    .as_millis()
                    .min(600_000)
                    + 1;
                PollTimeout::try_from(left as u32).unwrap_or(PollTimeout::MAX)
            }
        };
        let ready = match self.poll(timeout) {
            Ok(ready) => ready,
            Err(nix::Error::EINTR) => return,
            Err(_) => {
                std::thread::sleep(BACKOFF_FIRST);
                return;
            }
        };
        for source in ready {
            match source {
                Source::Signals => self.reap(),
                Source::Out => self.pump(Stream::Out),
                Source::Err => self.pump(Stream::Err),
                Source::Fault => self.hear_fault(),
                Source::Listener => self.accept(),
            }
        }
        self.hear_clients();
        self.hear_beside();
    }

    fn poll(&self, timeout: PollTimeout) -> nix::Result<Vec<Source>> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![self.signals.as_fd()];
        if let Some(child) = &self.child {
            let [out, err] = self.streams_open;
            let ends = [
                (Source::Out, child.out.as_ref().filter(|_| out)),
                (Source::Err, child.err.as_ref().filter(|_| err)),
                (
                    Source::Fault,
                    Some(&child.fault).filter(|_| self.fault.is_some()),
                ),
            ];
            for (source, end) in ends {
                if let Some(end) = end {
                    sources.push(source);
                    fds.push(end.as_fd());
                }
            }
        }
        if self.clients.len() < CLIENTS_MAX {
            sources.push(Source::Listener);
            fds.push(self.listener.as_fd());
        }
        fds.extend(self.clients.iter().map(AsFd::as_fd));
        fds.extend(self.beside.iter().filter_map(Beside::to_hear));
        let mut polled: Vec<PollFd> = fds
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        poll(&mut polled, timeout)?;
        let happened = polled
            .iter()
            .zip(sources)
            .filter(|(fd, _)| fd.any().unwrap_or(false));
        Ok(happened.map(|(_, source)| source).collect())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let beside = self.beside.iter().filter_map(|command| command.until);
        let left = self.left.iter().map(|left| left.until);
        let retry = self.unwritten.then(|| Instant::now() + RETRY);
        [
            self.restart_at,
            self.kill_at,
            self.deaf_at,
            self.limit_at,
            retry,
        ]
        .into_iter()
        .flatten()
        .chain(beside)
        .chain(left)
        .min()
    }

    /// Does what the time asks for.
    fn due(&mut self) {
        let now = Instant::now();
        let past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if past(self.limit_at) && self.child.is_some() {
            self.limit_at = None;
            let limit = Duration::from_millis(self.spec.limit_ms.unwrap_or(0));
            self.log.say(&format!(
                "hoist: killed after its limit of {} s",
                limit.as_secs_f32()
            ));
            self.kill_everything();
        }
        if past(self.kill_at) {
            self.kill_at = None;
            self.kill_everything();
        }
        if past(self.deaf_at) {
            self.end_the_deaf();
        }
        self.beside_due(now);
        if past(self.restart_at) {
            if !std::mem::take(&mut self.again) {
                self.state.restarts += 1;
            }
            self.start();
        } else if self.unwritten {
            self.record();
        }
    }

    /// Takes what the process wrote. Once per wake-up, so that a chatty stream cannot starve the rest.
    fn pump(&mut self, stream: Stream) {
        let Some(child) = &mut self.child else { return };
        let Some(pipe) = child.log_pipe(stream) else {
            return;
        };
        let mut bytes = [0; 16 << 10];
        match pipe.read(&mut bytes) {
            Ok(0) => self.streams_open[stream as usize] = false,
            Ok(count) => self.log.take(stream, &bytes[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(_) => self.streams_open[stream as usize] = false,
        }
    }

    /// Hears why the command was not executed; an end without a word means that it was.
    fn hear_fault(&mut self) {
        let (Some(child), Some(heard)) = (&mut self.child, &mut self.fault) else {
            return;
        };
        let mut bytes = [0; 512];
        match child.fault.read(&mut bytes) {
            Ok(0) if heard.is_empty() => self.fault = None,
            Ok(0) => {}
            Ok(count) => heard.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.fault = None,
        }
    }

    /// Collects every child that ended: the process, checks, and orphans of the app.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (pid, code, signal) = match status {
                WaitStatus::Exited(pid, code) => (pid.as_raw(), code, None),
                WaitStatus::Signaled(pid, signal, _) => {
                    (pid.as_raw(), 128 + signal as i32, Some(signal as i32))
                }
                WaitStatus::StillAlive => break,
                _ => continue,
            };
            if self.child.as_ref().is_some_and(|child| child.pid == pid) {
                self.process_ended(code, signal);
            } else {
                self.beside_ended(pid, code, signal);
            }
        }
    }

    fn accept(&mut self) {
        let accepted = self.listener.accept();
        if let Ok(client) = accepted.and_then(|(stream, _)| Client::new(stream)) {
            self.clients.push(client);
        }
    }

    fn hear_clients(&mut self) {
        for mut client in std::mem::take(&mut self.clients) {
            match client.hear() {
                Ok(Some((request, files))) => self.obey(client, request, files),
                Ok(None) => self.clients.push(client),
                Err(_) => {}
            }
        }
        if self.fault.is_none() {
            for (client, request, files) in std::mem::take(&mut self.early) {
                self.obey(client, request, files);
            }
        }
    }

    fn obey(&mut self, mut client: Client, request: Request, files: Vec<OwnedFd>) {
        match request {
            Request::Stop => {
                self.stop();
                client.answer(&Answer::Accepted);
                self.clients.push(client);
            }
            Request::Interrupt => {
                self.interrupt();
                client.answer(&Answer::Accepted);
                self.clients.push(client);
            }
            Request::Restart => {
                let accepted = self.restart();
                client.answer(if accepted {
                    &Answer::Accepted
                } else {
                    &Answer::NotRunning
                });
                self.clients.push(client);
            }
            // It is not known yet whether there is anything to run beside.
            Request::Check { .. } | Request::Exec { .. } if self.fault.is_some() => {
                self.early.push((client, request, files));
            }
            Request::Check { argv, limit_ms } => self.check(client, &argv, limit_ms),
            Request::Exec { argv, attached } => self.exec(client, &argv, attached, files),
            Request::End => client.answer(&Answer::NotRunning),
        }
    }

    /// Writes the state and tells the rack to look.
    fn record(&mut self) {
        self.unwritten = record::write(Path::new(STATE), &self.state, false).is_err();
        hint();
    }

    /// Leaves nothing but the record, and lets go of the lock before the last hint: a rack that looks then sees the end.
    fn end(mut self) {
        self.state.shim = None;
        if self.spec.attached.is_some()
            && record::write(Path::new(STATE), &self.state, false).is_ok()
        {
            // Somebody waits for the exit, and the disk can be slow.
            hint();
        }
        for _ in 0..LAST_WORDS {
            let durable = !self.spec.restart;
            self.unwritten = record::write(Path::new(STATE), &self.state, durable).is_err();
            if !self.unwritten {
                break;
            }
            std::thread::sleep(RETRY);
        }
        self.cgroups.remove(LEAVE);
        let _ = layer::discard();
        let _ = self.lock.unlock();
        hint();
    }
}

/// What can have happened.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Out,
    Err,
    Fault,
    Listener,
}

/// "Look again." Without a rack nobody listens, and that is fine.
fn hint() {
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(b"", HINTS_FROM_STATE);
    }
}
