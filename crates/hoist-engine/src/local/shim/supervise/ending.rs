//! How a process comes to its end: the signal to all of it, the first process that cannot hear it, and the kill.

use std::io::Read as _;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BACKOFF_FIRST, BACKOFF_FORGIVEN, BACKOFF_LONGEST, Supervisor};
use crate::local::proc;
use crate::local::record::{Attached, Cause, ExitRecord, Phase};
use crate::logfile::{Stream, now_ms};

/// Pause between looks at a first process that may be deaf.
const DEAF_PAUSE: Duration = Duration::from_millis(20);

impl Supervisor {
    /// Begins the end that a user or the rack wants. Idempotent.
    pub(super) fn stop(&mut self) {
        self.again = false;
        match self.state.phase {
            Phase::Running | Phase::Made => self.begin_end(),
            Phase::Waiting => self.state.phase = Phase::Ended,
            Phase::Stopping | Phase::Ended => {}
        }
    }

    /// Begins an end that a new start follows at once; answers whether it does. Idempotent while it stops.
    pub(super) fn restart(&mut self) -> bool {
        match self.state.phase {
            Phase::Running | Phase::Made => {
                self.again = true;
                self.begin_end();
            }
            Phase::Waiting => {
                self.again = true;
                self.pause = BACKOFF_FIRST;
                self.restart_at = Some(Instant::now());
            }
            Phase::Stopping | Phase::Ended => {}
        }
        self.again
    }

    fn begin_end(&mut self) {
        self.state.phase = Phase::Stopping;
        let now = Instant::now();
        self.kill_at = Some(now + Duration::from_millis(self.spec.grace_ms));
        self.deaf_at = self.spec.plan.pid.then_some(now);
        self.record();
        let members = self.members();
        self.told.clear();
        for pid in &members {
            if matches!(self.spec.attached, Some(Attached::Terminal { .. })) {
                // A shell before which somebody sat obeys only this one.
                let _ = kill(Pid::from_raw(*pid), Signal::SIGHUP);
            }
            let _ = kill(Pid::from_raw(*pid), Signal::SIGTERM);
        }
        self.told.extend(members);
        self.hang_up_beside();
    }

    /// Interrupts the process and goes on: what it makes of that is its own affair.
    pub(super) fn interrupt(&self) {
        for pid in self.members() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
    }

    /// Everything that the process is. Signals go to each, because a shell that is the first of its namespace ignores
    /// them and passes nothing on.
    fn members(&self) -> Vec<i32> {
        match &self.child {
            _ if self.cgroups.lists() => self.cgroups.members(),
            Some(child) if self.spec.plan.pid => proc::in_namespace_of(child.pid),
            None if self.spec.plan.pid => Vec::new(),
            // We adopt its orphans, so everything of it descends from us.
            _ => proc::descendants_of(std::process::id() as i32),
        }
    }

    fn living(&self) -> Vec<i32> {
        let mut members = self.members();
        members.retain(|pid| proc::lives(*pid));
        members
    }

    /// Ends a first process that the signal did not reach.
    ///
    /// The kernel withholds a signal without a handler from the first process of a namespace, where it would have ended
    /// any other. Once that process is the last one, it gets what the signal would have done. What it starts meanwhile,
    /// since it goes on as if nothing were, is told as well.
    pub(super) fn end_the_deaf(&mut self) {
        let Some(child) = self
            .child
            .as_ref()
            .filter(|_| self.state.phase == Phase::Stopping)
        else {
            self.deaf_at = None;
            return;
        };
        let (first, living) = (child.pid, self.living());
        if proc::leaves_to_default(first, Signal::SIGTERM as u32) {
            if living == [first] {
                let _ = kill(Pid::from_raw(first), Signal::SIGKILL);
                self.was_deaf = true;
                self.deaf_at = None;
                return;
            }
            for pid in proc::children_among(first, &living) {
                if self.told.insert(pid) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                }
            }
        }
        self.deaf_at = Some(Instant::now() + DEAF_PAUSE);
    }

    /// The signal that ended the command, where another process was the first and ended with it.
    pub(super) fn signal_of_command(&mut self) -> Option<i32> {
        let mut number = [0];
        let read = self.child.as_mut()?.signal.read(&mut number);
        (read.ok()? == 1).then(|| i32::from(number[0]))
    }

    /// The exit of a process as it would have been, had it heard the signal.
    pub(super) fn as_if_heard(&self, code: i32, signal: Option<i32>) -> (i32, Option<i32>) {
        if self.was_deaf && signal == Some(Signal::SIGKILL as i32) {
            let term = Signal::SIGTERM as i32;
            return (128 + term, Some(term));
        }
        (code, signal)
    }

    /// Kills all of it, and waits a moment for it to be gone.
    pub(super) fn kill_everything(&self) {
        /// Each round catches what was forked during the one before.
        const ROUNDS: usize = 20;
        if let Some(child) = &self.child {
            let _ = kill(Pid::from_raw(child.pid), Signal::SIGKILL);
        }
        if self.spec.plan.pid && !self.cgroups.lists() {
            return;
        }
        for _ in 0..ROUNDS {
            let living = self.living();
            if living.is_empty() {
                return;
            }
            for pid in living {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The process ended: takes its last words, then what follows.
    pub(super) fn process_ended(&mut self, code: i32, signal: Option<i32>) {
        // What it left behind goes with it; only then are the last words complete.
        self.kill_everything();
        for stream in [Stream::Out, Stream::Err] {
            self.drain(stream);
        }
        self.hear_fault();
        let signal = signal.or_else(|| self.signal_of_command());
        self.log.flush();
        let fault = self.fault.take().filter(|heard| !heard.is_empty());
        let (code, signal) = self.as_if_heard(code, signal);
        self.ended(
            code,
            signal,
            fault.map(|heard| String::from_utf8_lossy(&heard).into_owned()),
        );
    }

    fn drain(&mut self, stream: Stream) {
        /// More than any pipe holds: an end even where a survivor keeps writing.
        const READS_MAX: usize = 256;
        let Some(child) = &mut self.child else { return };
        let Some(pipe) = child.log_pipe(stream) else {
            return;
        };
        let mut bytes = [0; 16 << 10];
        for _ in 0..READS_MAX {
            match pipe.read(&mut bytes) {
                Ok(count) if count > 0 => self.log.take(stream, &bytes[..count]),
                _ => return,
            }
        }
    }

    /// Records an end and decides what follows: a restart after a pause, or leaving.
    pub(super) fn ended(&mut self, code: i32, signal: Option<i32>, fault: Option<String>) {
        let ran = self.started.elapsed();
        let memory = self.cgroups.memory_kills() > self.memory_kills && code != 0;
        let cause = match (&fault, memory) {
            (Some(_), _) => Cause::ExecFailed,
            (None, true) => Cause::OutOfMemory,
            (None, false) => Cause::Own,
        };
        if let Some(fault) = fault {
            self.log.say(&format!("hoist: {fault}"));
        }
        if memory {
            self.log.say(&format!(
                "hoist: out of memory: the limit is {} MB",
                self.spec.memory_bytes >> 20
            ));
        }
        self.child = None;
        self.state.pid = None;
        self.state.exit = Some(ExitRecord {
            code,
            signal,
            cause,
            at_ms: now_ms(),
        });
        self.end_beside();
        (self.kill_at, self.deaf_at, self.was_deaf) = (None, None, false);
        if !self.again && (self.state.phase == Phase::Stopping || !self.spec.restart) {
            self.state.phase = Phase::Ended;
            return;
        }
        if self.again || ran >= BACKOFF_FORGIVEN {
            self.pause = BACKOFF_FIRST;
        }
        let pause = if self.again {
            Duration::ZERO
        } else {
            self.pause
        };
        self.restart_at = Some(Instant::now() + pause);
        if !self.again {
            self.pause = (self.pause * 2).min(BACKOFF_LONGEST);
        }
        self.state.phase = Phase::Waiting;
        self.record();
    }
}
