//! Every wait and every reason as one short sentence for users. The words are an interface: transcripts hold them.

use crate::id::{SlotId, WorkloadId};
use crate::model::{Cancel, Exit, ExitCause, Outcome, PhaseName, Reason, Timestamp, Unready};

use super::waiting::{Part, Waiting};

/// A process as users name it: `web.1`.
pub fn slot(slot: &SlotId) -> String {
    format!("{}.{}", slot.workload.service, slot.slot)
}

/// What is waited for, and how long still: `web.1 to become ready: nothing listens on its port (at most 12 s more)`.
pub fn waiting(waiting: &Waiting, now: Timestamp) -> String {
    let left = |until: &Timestamp| format!(" (at most {} more)", until.since(now));
    let perhaps = |until: &Option<Timestamp>| until.as_ref().map(left).unwrap_or_default();
    match waiting {
        Waiting::Look { part } => format!("a fresh look at {}", part_word(*part)),
        Waiting::ReleaseCommand { until } => format!("the release command{}", left(until)),
        Waiting::ReleaseCommandStop => "the release command to stop".to_owned(),
        Waiting::Memory {
            needed_bytes,
            free_bytes,
        } => {
            let (needed, free) = (bytes(*needed_bytes), bytes(*free_bytes));
            format!("memory that old processes still hold: {needed} needed, {free} free")
        }
        Waiting::Ready {
            slot: of,
            found,
            until,
        } => {
            let found = found
                .as_ref()
                .map(|found| format!(": {}", unready(found)))
                .unwrap_or_default();
            format!("{} to become ready{found}{}", slot(of), left(until))
        }
        Waiting::Router {
            newer_than,
            running,
            until,
        } => {
            format!(
                "the router to run a table newer than {newer_than}; it runs {running}{}",
                perhaps(until)
            )
        }
        Waiting::Drain {
            in_flight: Some(1),
            until,
        } => format!("1 request to end{}", left(until)),
        Waiting::Drain {
            in_flight: Some(count),
            until,
        } => format!("{count} requests to end{}", left(until)),
        Waiting::Drain {
            in_flight: None,
            until,
        } => {
            format!(
                "requests to end that a router before this one took{}",
                left(until)
            )
        }
        Waiting::Warm { workload, until } => {
            format!(
                "old {} stays warm for a quick rollback{}",
                workload.service,
                left(until)
            )
        }
        Waiting::Gone { workloads, until } => {
            format!("{} to be gone{}", services(workloads), perhaps(until))
        }
        Waiting::Shrunk { service } => format!("the highest processes of {service} to be gone"),
    }
}

/// Why a promotion or a resize did not succeed: `web.1 exited 3 times before it was ready (exit 1)`.
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::ReleaseCommandFailed(ended) => {
            format!("the release command failed ({})", exit(ended))
        }
        Reason::ExitedBeforeReady {
            slot: of,
            times,
            exit: last,
        } => {
            let times = if *times == 1 {
                "once".to_owned()
            } else {
                format!("{times} times")
            };
            format!(
                "{} exited {times} before it was ready ({})",
                slot(of),
                exit(last)
            )
        }
        Reason::CannotRun {
            slot: of,
            exit: last,
        } => match last.cause {
            ExitCause::OutOfMemory => format!("{} ran out of memory before it was ready", slot(of)),
            ExitCause::ExecFailed => format!(
                "{} could not be started: its command cannot be executed",
                slot(of)
            ),
            ExitCause::Own | ExitCause::Lost => format!("{} cannot run ({})", slot(of), exit(last)),
        },
        Reason::Hopeless { slot: of, found } => format!("{} {}", slot(of), unready(found)),
        Reason::NotReadyInTime {
            slot: of,
            found,
            limit,
        } => {
            let found = found
                .as_ref()
                .map(|found| format!(": it {}", unready(found)))
                .unwrap_or_default();
            format!("{} was not ready within {limit}{found}", slot(of))
        }
        Reason::DeadlineExceeded { during, limit } => {
            format!("it took longer than {limit} ({})", phase(*during))
        }
        Reason::NoCapacity {
            needed_bytes,
            free_bytes,
        } => {
            let (needed, free) = (bytes(*needed_bytes), bytes(*free_bytes));
            format!(
                "no capacity: the new processes may take {needed} of memory, and {free} are free"
            )
        }
        Reason::LostHealth { service } => {
            format!("{service} was ready, and then none of its processes ran")
        }
        Reason::Refused { service, message } => format!("{service} was refused: {message}"),
        Reason::Cancelled(Cancel::ByUser) => "a user cancelled it".to_owned(),
        Reason::Cancelled(Cancel::BySuperseding) => "a newer promotion took its place".to_owned(),
    }
}

/// How a promotion ended, as the word that CLI, API, console and event share.
pub fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::RolledBack(_) => "rolled-back",
        Outcome::Failed(_) => "failed",
        Outcome::Superseded => "superseded",
        Outcome::Cancelled => "cancelled",
    }
}

/// A phase in one word.
pub fn phase(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Preparing => "preparing",
        PhaseName::Starting => "starting",
        PhaseName::Replacing => "replacing",
        PhaseName::Shifting => "shifting",
        PhaseName::Draining => "draining",
        PhaseName::RollingBack => "rolling back",
    }
}

/// What is wrong with a process, to follow its name: `listens on 3000, not on $PORT (41873)`.
pub fn unready(found: &Unready) -> String {
    match found {
        Unready::NotRunning => "does not run".to_owned(),
        Unready::NotListening => "does not listen on $PORT".to_owned(),
        Unready::ListensElsewhere { ports, wanted } => {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            format!("listens on {}, not on $PORT ({wanted})", ports.join(", "))
        }
        Unready::BadAnswer {
            path,
            status: Some(status),
        } => format!("answers {status} to GET {path}"),
        Unready::BadAnswer { path, status: None } => format!("gives no good answer to GET {path}"),
        Unready::CheckFailed { code } => format!("fails its check command (exit {code})"),
        Unready::TooYoung => "has not run long enough".to_owned(),
    }
}

/// How a process ended: `exit 1`, `signal 9`, `out of memory`.
pub fn exit(exit: &Exit) -> String {
    match (exit.cause, exit.signal) {
        (ExitCause::OutOfMemory, _) => "out of memory".to_owned(),
        (ExitCause::ExecFailed, _) => "its command cannot be executed".to_owned(),
        (ExitCause::Lost, _) => "lost with its supervisor".to_owned(),
        (ExitCause::Own, Some(signal)) => format!("signal {signal}"),
        (ExitCause::Own, None) => format!("exit {}", exit.code),
    }
}

fn part_word(part: Part) -> &'static str {
    match part {
        Part::Engine => "the engine",
        Part::Probes => "the probes",
        Part::Router => "the router",
    }
}

fn services(workloads: &[WorkloadId]) -> String {
    let names: Vec<_> = workloads
        .iter()
        .map(|id| format!("old {}", id.service))
        .collect();
    names.join(", ")
}

/// Whole mebibytes for people, up: 1 byte shows as 1 MB.
fn bytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Version;

    fn web() -> SlotId {
        let workload = WorkloadId {
            app: "shop".parse().expect("an app name"),
            service: "web".parse().expect("a service name"),
            attempt: Version {
                epoch: 1,
                number: 7,
            },
        };
        SlotId { workload, slot: 1 }
    }

    fn ended(code: i32, cause: ExitCause) -> Exit {
        let signal = (code > 128).then_some(code - 128);
        Exit {
            code,
            signal,
            cause,
            at: Timestamp(0),
        }
    }

    #[test]
    fn reasons_read_as_sentences() {
        let exit = ended(1, ExitCause::Own);
        let exited = Reason::ExitedBeforeReady {
            slot: web(),
            times: 3,
            exit,
        };
        assert_eq!(
            reason(&exited),
            "web.1 exited 3 times before it was ready (exit 1)"
        );
        let found = Unready::ListensElsewhere {
            ports: vec![3000],
            wanted: 41873,
        };
        let hopeless = Reason::Hopeless { slot: web(), found };
        assert_eq!(
            reason(&hopeless),
            "web.1 listens on 3000, not on $PORT (41873)"
        );
        let exit = ended(137, ExitCause::OutOfMemory);
        assert_eq!(
            reason(&Reason::CannotRun { slot: web(), exit }),
            "web.1 ran out of memory before it was ready"
        );
        assert_eq!(
            reason(&Reason::ReleaseCommandFailed(ended(139, ExitCause::Own))),
            "the release command failed (signal 11)"
        );
    }

    #[test]
    fn waits_say_how_long_still() {
        let wait = Waiting::Ready {
            slot: web(),
            found: Some(Unready::NotListening),
            until: Timestamp(15_000),
        };
        assert_eq!(
            waiting(&wait, Timestamp(3_000)),
            "web.1 to become ready: does not listen on $PORT (at most 12 s more)"
        );
        let drain = Waiting::Drain {
            in_flight: Some(2),
            until: Timestamp(1_000),
        };
        assert_eq!(
            waiting(&drain, Timestamp(0)),
            "2 requests to end (at most 1 s more)"
        );
    }
}
