//! A simulated engine: slots, starts that take a while, releases that are bad in every way, processes that die.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hoist_core::id::{ProcessId, ReleaseId, ServiceName, Slot, SlotId, Version, WorkloadId};
use hoist_core::model::{
    EngineLook, Exit, ExitCause, Life, Probe, Process, ProcessState, TaskStatus, Timestamp,
    Unready, Workload,
};

use crate::random::Random;
use crate::scripts::Scripts;

/// What processes of one service of one release do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Become ready after so many milliseconds.
    Good(u64),
    /// Become ready, and die so many milliseconds later, again and again.
    DiesAfter(u64, u64),
    /// Become ready, and no longer answer so many milliseconds later; running all the same.
    Deaf(u64, u64),
    /// Exit with this status at once.
    Exits(i32),
    /// Run and never become ready.
    NeverReady,
    /// Listen somewhere else.
    ListensElsewhere,
    /// Die of the memory limit.
    OutOfMemory,
    /// Cannot be executed.
    ExecFails,
    /// The engine does not want them.
    Refused,
}

#[derive(Debug, Clone)]
pub struct SimProcess {
    pub id: ProcessId,
    pub address: Option<SocketAddr>,
    pub state: SimState,
    pub restarts: u32,
    pub last_exit: Option<Exit>,
    pub started: u64,
    /// It no longer answers.
    pub deaf: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimState {
    Running {
        since: u64,
    },
    Exited {
        exit: Exit,
        again_at: u64,
    },
    Stopping {
        gone_at: u64,
    },
    /// It stops, and another one starts in its slot.
    Restarting {
        again_at: u64,
    },
}

#[derive(Debug, Clone)]
pub struct SimWorkload {
    pub release: ReleaseId,
    pub slots: BTreeMap<Slot, SimProcess>,
}

/// The engine, all truth.
#[derive(Debug, Default)]
pub struct Engine {
    pub workloads: BTreeMap<WorkloadId, SimWorkload>,
    pub refused: BTreeMap<WorkloadId, String>,
    /// Release commands: status, end, exit code.
    pub commands: BTreeMap<Version, (TaskStatus, u64, i32)>,
    /// How often each was started.
    pub command_starts: BTreeMap<Version, u32>,
    /// Postdeploy scripts.
    pub scripts: Scripts,
    /// Releases whose postdeploy script fails.
    pub scripts_fail: BTreeSet<ReleaseId>,
    /// The newest command about each workload: older ones are void.
    order: BTreeMap<WorkloadId, u64>,
    pub behaviours: BTreeMap<(ReleaseId, ServiceName), Behaviour>,
    pub unrouted: BTreeSet<(ReleaseId, ServiceName)>,
    pub memory_bytes: BTreeMap<(ReleaseId, ServiceName), u64>,
    pub memory_total_bytes: u64,
    /// Restarts that were asked for and have not arrived: the rack knows of them.
    pub restarts_under_way: BTreeMap<SlotId, u32>,
    /// In stories every stop takes this long.
    pub stop_ms: Option<u64>,
    /// In stories every release command takes this long.
    pub command_ms: Option<u64>,
    ports: u16,
    ids: u64,
}

/// Something that happened to a process by itself.
pub struct Death {
    pub slot: SlotId,
    /// It had been ready.
    pub was_ready: bool,
}

impl Engine {
    fn behaviour(&self, release: &ReleaseId, service: &ServiceName) -> Behaviour {
        let key = (release.clone(), service.clone());
        self.behaviours
            .get(&key)
            .copied()
            .unwrap_or(Behaviour::Good(100))
    }

    /// Whether a command is newer than the last one about the workload.
    fn in_order(&mut self, id: &WorkloadId, order: u64) -> bool {
        let last = self.order.entry(id.clone()).or_default();
        let newer = order > *last;
        *last = order.max(*last);
        newer
    }

    /// Slots above `slots` of a workload, which an `Apply` would tell to stop.
    pub fn above(&self, id: &WorkloadId, slots: u16) -> Vec<SlotId> {
        let present = self.workloads.get(id).into_iter().flat_map(|w| &w.slots);
        let leaving =
            present.filter(|(n, p)| **n > slots && !matches!(p.state, SimState::Stopping { .. }));
        leaving
            .map(|(n, _)| SlotId {
                workload: id.clone(),
                slot: *n,
            })
            .collect()
    }

    /// Returns the slots that were told to stop.
    pub fn apply(
        &mut self,
        w: &Workload,
        slots: u16,
        order: u64,
        now: u64,
        random: &mut Random,
    ) -> Vec<SlotId> {
        if !self.in_order(&w.id, order) {
            return Vec::new();
        }
        let behaviour = self.behaviour(&w.release, &w.id.service);
        if behaviour == Behaviour::Refused {
            self.refused
                .insert(w.id.clone(), "no such image".to_owned());
            return Vec::new();
        }
        let stopped = self.above(&w.id, slots);
        self.stop(&stopped, now, random);
        let has_port = !self
            .unrouted
            .contains(&(w.release.clone(), w.id.service.clone()));
        let mut new = Vec::new();
        for slot in 1..=slots {
            if !self
                .workloads
                .get(&w.id)
                .is_some_and(|w| w.slots.contains_key(&slot))
            {
                self.ports = 1000 + (self.ports + 1) % 60_000;
                self.ids += 1;
                let port = self.ports;
                let process = SimProcess {
                    id: format!("{:012x}", self.ids)
                        .parse()
                        .expect("twelve hex digits"),
                    address: has_port.then(|| SocketAddr::from(([127, 0, 0, 1], port))),
                    state: SimState::Running { since: now },
                    restarts: 0,
                    last_exit: None,
                    started: now,
                    deaf: false,
                };
                new.push((slot, process));
            }
        }
        if new.is_empty() && !self.workloads.contains_key(&w.id) {
            return stopped;
        }
        let held = self
            .workloads
            .entry(w.id.clone())
            .or_insert_with(|| SimWorkload {
                release: w.release.clone(),
                slots: BTreeMap::new(),
            });
        assert_eq!(
            held.release, w.release,
            "a workload's name was used for another release"
        );
        held.slots.extend(new);
        stopped
    }

    /// Returns the slots that were told to stop.
    pub fn remove(
        &mut self,
        id: &WorkloadId,
        order: u64,
        now: u64,
        random: &mut Random,
    ) -> Vec<SlotId> {
        if !self.in_order(id, order) {
            return Vec::new();
        }
        let stopped = self.above(id, 0);
        self.stop(&stopped, now, random);
        stopped
    }

    /// Returns the slot when it was told to stop.
    pub fn restart(
        &mut self,
        slot: &SlotId,
        order: u64,
        now: u64,
        random: &mut Random,
    ) -> Vec<SlotId> {
        if !self.in_order(&slot.workload, order) {
            return Vec::new();
        }
        let again_at = now + self.stop_time(random);
        let held = self
            .workloads
            .get_mut(&slot.workload)
            .and_then(|w| w.slots.get_mut(&slot.slot));
        match held {
            Some(process) if !leaves(process) => {
                process.state = SimState::Restarting { again_at };
                vec![slot.clone()]
            }
            _ => Vec::new(),
        }
    }

    fn stop_time(&self, random: &mut Random) -> u64 {
        match self.stop_ms {
            Some(ms) => ms,
            None if random.permille(200) => random.below(8_000),
            None => 0,
        }
    }

    fn stop(&mut self, slots: &[SlotId], now: u64, random: &mut Random) {
        for slot in slots {
            let gone_at = now + self.stop_time(random);
            let held = self
                .workloads
                .get_mut(&slot.workload)
                .and_then(|w| w.slots.get_mut(&slot.slot));
            if let Some(process) = held {
                process.state = SimState::Stopping { gone_at };
            }
        }
    }

    /// Lets time pass. Returns who died by itself.
    pub fn run(&mut self, now: u64, crash_permille: u64, random: &mut Random) -> Vec<Death> {
        for (status, ends_at, code) in self.commands.values_mut() {
            if *status == TaskStatus::Running && now >= *ends_at {
                *status = TaskStatus::Ended(exit(*code, ExitCause::Own, now));
            }
        }
        self.scripts.run(now);
        let mut deaths = Vec::new();
        let behaviours = &self.behaviours;
        for (id, workload) in &mut self.workloads {
            let key = (workload.release.clone(), id.service.clone());
            let behaviour = behaviours
                .get(&key)
                .copied()
                .unwrap_or(Behaviour::Good(100));
            workload.slots.retain(
                |_, p| !matches!(p.state, SimState::Stopping { gone_at } if now >= gone_at),
            );
            for (slot, process) in &mut workload.slots {
                let crash = random.permille(crash_permille);
                if let Some(was_ready) = live(process, behaviour, crash, now) {
                    let slot = SlotId {
                        workload: id.clone(),
                        slot: *slot,
                    };
                    deaths.push(Death { slot, was_ready });
                }
                if goes_deaf(process, behaviour, now) {
                    process.deaf = true;
                    let slot = SlotId {
                        workload: id.clone(),
                        slot: *slot,
                    };
                    deaths.push(Death {
                        slot,
                        was_ready: true,
                    });
                }
            }
        }
        self.workloads.retain(|_, w| !w.slots.is_empty());
        deaths
    }

    /// Whether a slot would answer requests now.
    pub fn ready(&self, slot: &SlotId, now: u64) -> bool {
        let Some(workload) = self.workloads.get(&slot.workload) else {
            return false;
        };
        let Some(process) = workload.slots.get(&slot.slot) else {
            return false;
        };
        let SimState::Running { since } = process.state else {
            return false;
        };
        match self.behaviour(&workload.release, &slot.workload.service) {
            Behaviour::Good(after) | Behaviour::DiesAfter(after, _) => now >= since + after,
            Behaviour::Deaf(after, _) => now >= since + after && !process.deaf,
            _ => false,
        }
    }

    /// Whether the liveness check of a slot has failed for long enough.
    pub fn dead(&self, slot: &SlotId, now: u64) -> bool {
        let workload = self.workloads.get(&slot.workload);
        let process = workload.and_then(|workload| workload.slots.get(&slot.slot));
        process.is_some_and(|process| {
            process.deaf
                && matches!(process.state, SimState::Running { since } if now > since + 2_000)
        })
    }

    pub fn memory_free_bytes(&self) -> u64 {
        let taken = self.workloads.iter().map(|(id, w)| {
            let each = self
                .memory_bytes
                .get(&(w.release.clone(), id.service.clone()));
            each.copied().unwrap_or(0) * w.slots.len() as u64
        });
        self.memory_total_bytes.saturating_sub(taken.sum())
    }

    pub fn look(&self, look: Version) -> EngineLook {
        let workloads = self.workloads.iter().map(|(id, w)| {
            let report = |(number, process): (&Slot, &SimProcess)| {
                let slot = SlotId {
                    workload: id.clone(),
                    slot: *number,
                };
                let mut report = report(process);
                if self.restarts_under_way.contains_key(&slot) {
                    report.state = ProcessState::Stopping;
                }
                (*number, report)
            };
            (id.clone(), w.slots.iter().map(report).collect())
        });
        EngineLook {
            look,
            workloads: workloads.collect(),
            release_commands: self
                .commands
                .iter()
                .map(|(id, (status, ..))| (*id, *status))
                .collect(),
            postdeploys: self.scripts.look(),
            refused: self.refused.clone(),
            memory_free_bytes: (self.memory_total_bytes > 0).then(|| self.memory_free_bytes()),
        }
    }

    /// What a probe finds at one slot, with the incarnation that it asked.
    pub fn probe(&self, slot: &SlotId, now: u64) -> Option<(Life, Probe)> {
        let workload = self.workloads.get(&slot.workload)?;
        let process = workload.slots.get(&slot.slot)?;
        let verdict = match (
            process.state,
            self.behaviour(&workload.release, &slot.workload.service),
        ) {
            (SimState::Running { since }, Behaviour::ListensElsewhere) if now >= since + 500 => {
                let wanted = process.address.map_or(0, |address| address.port());
                Probe::Hopeless(Unready::ListensElsewhere {
                    ports: vec![3000],
                    wanted,
                })
            }
            (SimState::Running { .. }, _) if self.ready(slot, now) => Probe::Ready,
            (SimState::Running { .. }, _) if process.address.is_none() => {
                Probe::Unready(Unready::TooYoung)
            }
            (SimState::Running { .. }, _) => Probe::Unready(Unready::NotListening),
            _ => Probe::Unready(Unready::NotRunning),
        };
        Some((report(process).life(), verdict))
    }
}

/// One process, a moment later. Says whether it died, and whether it had been ready.
fn live(process: &mut SimProcess, behaviour: Behaviour, crash: bool, now: u64) -> Option<bool> {
    match process.state {
        SimState::Running { since } => {
            let age = now - since;
            let (dies, was_ready, code, cause) = match behaviour {
                Behaviour::Good(after) => (crash, age >= after, 137, ExitCause::Own),
                Behaviour::DiesAfter(after, later) => {
                    (age >= after + later, true, 139, ExitCause::Own)
                }
                Behaviour::Exits(code) => (age >= 50, false, code, ExitCause::Own),
                Behaviour::OutOfMemory => (age >= 300, false, 137, ExitCause::OutOfMemory),
                Behaviour::ExecFails => (true, false, 127, ExitCause::ExecFailed),
                Behaviour::NeverReady
                | Behaviour::ListensElsewhere
                | Behaviour::Refused
                | Behaviour::Deaf(..) => (false, false, 0, ExitCause::Own),
            };
            if !dies {
                return None;
            }
            let pause = (100_u64 << process.restarts.min(8)).min(30_000);
            process.state = SimState::Exited {
                exit: exit(code, cause, now),
                again_at: now + pause,
            };
            Some(was_ready)
        }
        SimState::Exited { exit, again_at } if now >= again_at => {
            process.restarts += 1;
            process.last_exit = Some(exit);
            begin(process, now);
            None
        }
        SimState::Restarting { again_at } if now >= again_at => {
            begin(process, now);
            None
        }
        SimState::Exited { .. } | SimState::Stopping { .. } | SimState::Restarting { .. } => None,
    }
}

fn begin(process: &mut SimProcess, now: u64) {
    process.state = SimState::Running { since: now };
    process.started = now;
    process.deaf = false;
}

/// Whether a process is told to stop, for good or to start again.
pub fn leaves(process: &SimProcess) -> bool {
    matches!(
        process.state,
        SimState::Stopping { .. } | SimState::Restarting { .. }
    )
}

fn goes_deaf(process: &SimProcess, behaviour: Behaviour, now: u64) -> bool {
    match (process.state, behaviour) {
        (SimState::Running { since }, Behaviour::Deaf(after, later)) => {
            !process.deaf && now >= since + after + later
        }
        _ => false,
    }
}

pub fn exit(code: i32, cause: ExitCause, now: u64) -> Exit {
    let signal = (code > 128).then_some(code - 128);
    Exit {
        code,
        signal,
        cause,
        at: Timestamp(now),
    }
}

fn report(process: &SimProcess) -> Process {
    Process {
        id: process.id.clone(),
        address: process.address,
        state: match process.state {
            SimState::Running { .. } => ProcessState::Running,
            SimState::Exited { exit, .. } => ProcessState::Exited(exit),
            SimState::Stopping { .. } | SimState::Restarting { .. } => ProcessState::Stopping,
        },
        restarts: process.restarts,
        last_exit: process.last_exit,
        started: Timestamp(process.started),
    }
}

pub fn exists(engine: &Engine, slot: &SlotId) -> bool {
    engine
        .workloads
        .get(&slot.workload)
        .is_some_and(|workload| workload.slots.contains_key(&slot.slot))
}

/// Exists and was not told to stop.
pub fn stays(engine: &Engine, slot: &SlotId) -> bool {
    let process = engine
        .workloads
        .get(&slot.workload)
        .and_then(|workload| workload.slots.get(&slot.slot));
    process.is_some_and(|process| !leaves(process))
}
