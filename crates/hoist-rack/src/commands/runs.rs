//! Run and exec: a command of its own, once, as a process of a service or beside one.

use std::sync::Arc;

use hoist_core::id::{AppName, ProcessId, ReleaseId, ServiceName};
use hoist_core::manifest::CommandLine;
use hoist_core::model::{Probe, Process, ProcessState, Standing};
use hoist_core::plan::CommandError;
use hoist_engine::{Beside, EngineError, ExecSpec, Secret, Streams, TaskId, TerminalSize};

use super::Actor;
use crate::clock::wall;
use crate::error::{RackError, with_causes};
use crate::rack::Rack;
use crate::store::{OneOffEnd, OneOffRecord};

/// What to run as a one-off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// The service whose environment, user, limits and volumes it gets.
    pub service: ServiceName,
    /// The command.
    pub command: CommandLine,
    /// The release; the active one unless named.
    pub release: Option<ReleaseId>,
    /// Where its streams go.
    pub streams: RunStreams,
}

/// Where the streams of a one-off go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStreams {
    /// Its output goes to the app's log, and it goes on until it ends.
    Detached,
    /// They are carried by a session, and it ends with that.
    Attached(Option<Terminal>),
}

/// The user's terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Its size.
    pub size: TerminalSize,
    /// Its kind.
    pub term: Option<String>,
}

impl Rack {
    /// Starts a one-off; answers its record, and its session when it is attached.
    pub async fn run(
        self: &Arc<Self>,
        app: &AppName,
        request: RunRequest,
        actor: &Actor,
    ) -> Result<(OneOffRecord, Option<String>), RackError> {
        let entry = self.app(app)?;
        if matches!(entry.app.standing, Standing::Deleting { .. }) {
            return Err(CommandError::Deleting.into());
        }
        let serving = entry.app.serving.as_ref();
        let active = serving.map(|serving| serving.release.clone());
        let release = request.release.or(active);
        let release = release.ok_or_else(|| RackError::NothingActive(app.clone()))?;
        let detail = self.releases.detail(app, &release).await?;
        let place = match &request.streams {
            RunStreams::Detached => None,
            RunStreams::Attached(_) => Some(self.runs.place()?),
        };
        let record = OneOffRecord {
            id: new_process_id()?,
            app: app.clone(),
            service: request.service,
            release,
            command: request.command.to_string(),
            actor: actor.0.clone(),
            attached: place.is_some(),
            created: wall(),
            ended: None,
        };
        let (laid, variables) = match request.streams {
            RunStreams::Detached => (Streams::Pipes, Vec::new()),
            RunStreams::Attached(terminal) => streams(terminal),
        };
        let id = TaskId::OneOff(app.clone(), record.id.clone());
        let argv = request.command.argv();
        let spec = self
            .releases
            .one_off(&detail, &record.service, id, argv, variables)?;
        self.runs.begin(record.clone())?;
        let text = format!(
            "one-off {} of {}: {}",
            record.id, record.service, record.command
        );
        let event = self.one_off_event(&record, "process:run", text);
        if let Err(error) = self.commit_one_off(record.clone(), event).await {
            self.runs.forget(&record.id);
            return Err(error);
        }
        let begun = match place {
            None => self.engine.run(&spec).await.map(|()| None),
            Some(place) => {
                let session = self.engine.run_attached(&spec, laid).await;
                session.map(|session| Some((session, place)))
            }
        };
        self.runs.started(&record.id);
        match begun {
            Ok(None) => Ok((record, None)),
            Ok(Some((session, place))) => {
                let name = self.attend(session, Some(record.clone()), place)?;
                Ok((record, Some(name)))
            }
            Err(error) => {
                let end = OneOffEnd {
                    at: wall(),
                    code: None,
                    signal: None,
                    reason: Some(format!("was not started: {}", with_causes(&error))),
                };
                self.one_off_ended(&record, end).await;
                Err(error.into())
            }
        }
    }

    /// Runs a command beside a process; answers that process and the session.
    pub async fn exec(
        self: &Arc<Self>,
        app: &AppName,
        process: &str,
        command: &CommandLine,
        terminal: Option<Terminal>,
    ) -> Result<(ProcessId, String), RackError> {
        let (id, beside) = self.find_process(app, process)?;
        let place = self.runs.place()?;
        let (laid, env) = streams(terminal);
        let spec = ExecSpec {
            argv: command.argv(),
            env,
        };
        let session = match self.engine.exec(&beside, &spec, laid).await {
            Err(EngineError::NotFound) => {
                return Err(RackError::NoProcess {
                    app: app.clone(),
                    process: process.to_owned(),
                });
            }
            session => session?,
        };
        let session = self.attend(session, None, place)?;
        Ok((id, session))
    }

    /// Tells a one-off to stop; false when no such one-off runs.
    pub async fn stop_one_off(&self, app: &AppName, id: &ProcessId) -> Result<bool, RackError> {
        if !self.runs.of(app).iter().any(|record| record.id == *id) {
            return Ok(false);
        }
        let task = TaskId::OneOff(app.clone(), id.clone());
        self.engine.stop_task(&task).await?;
        Ok(true)
    }

    /// The running process that a user means: by its id, by a service of which the best is taken, or by the beginning of
    /// an id that no other has.
    fn find_process(&self, app: &AppName, name: &str) -> Result<(ProcessId, Beside), RackError> {
        let all = self.running_processes(app)?;
        let found = all.iter().find(|found| found.id.as_str() == name);
        let found = found.or_else(|| {
            let of_service = all.iter().filter(|found| found.service.as_str() == name);
            of_service.max_by_key(|found| found.rank)
        });
        if let Some(found) = found {
            return Ok((found.id.clone(), found.beside.clone()));
        }
        let mut begins = all
            .iter()
            .filter(|found| found.id.as_str().starts_with(name));
        match (begins.next().filter(|_| !name.is_empty()), begins.next()) {
            (Some(found), None) => Ok((found.id.clone(), found.beside.clone())),
            (Some(_), Some(_)) => Err(RackError::AmbiguousProcess {
                app: app.clone(),
                process: name.to_owned(),
            }),
            (None, _) => Err(RackError::NoProcess {
                app: app.clone(),
                process: name.to_owned(),
            }),
        }
    }

    fn running_processes(&self, app: &AppName) -> Result<Vec<Found>, RackError> {
        self.app(app)?;
        let seen = self.controller.last_seen(app);
        let mut all = Vec::new();
        for (workload, slots) in &seen.engine.workloads {
            let runs = |process: &Process| process.state == ProcessState::Running;
            for (slot, process) in slots.iter().filter(|(_, process)| runs(process)) {
                let slot = hoist_core::id::SlotId {
                    workload: workload.clone(),
                    slot: *slot,
                };
                let ready = seen.probes.slots.get(&slot) == Some(&Probe::Ready);
                all.push(Found {
                    id: process.id.clone(),
                    service: workload.service.clone(),
                    rank: (true, ready, workload.attempt),
                    beside: Beside::Slot(slot),
                });
            }
        }
        all.extend(self.runs.of(app).into_iter().map(|record| Found {
            beside: Beside::Task(TaskId::OneOff(record.app, record.id.clone())),
            id: record.id,
            service: record.service,
            rank: Default::default(),
        }));
        Ok(all)
    }
}

/// A process that a command may run beside.
struct Found {
    id: ProcessId,
    service: ServiceName,
    /// Of several of a service the greatest is taken: no one-off, ready, newest.
    rank: (bool, bool, hoist_core::id::Version),
    beside: Beside,
}

/// How the streams are laid, and what the process must know of its terminal.
fn streams(terminal: Option<Terminal>) -> (Streams, Vec<(String, Secret)>) {
    match terminal {
        None => (Streams::Pipes, Vec::new()),
        Some(terminal) => {
            let term = terminal
                .term
                .map(|term| ("TERM".to_owned(), Secret::new(term)));
            (Streams::Terminal(terminal.size), term.into_iter().collect())
        }
    }
}

fn new_process_id() -> Result<ProcessId, RackError> {
    let mut bytes = [0u8; 6];
    getrandom::fill(&mut bytes)
        .map_err(|_| RackError::Secret(crate::secrets::SecretError::Random))?;
    Ok(ProcessId::from_random(bytes))
}
