//! Every wait and every reason as one short sentence for users: lower case, no full stop, what to look at by name. The
//! words are an interface: transcripts hold them.

use crate::id::{SlotId, WorkloadId};
use crate::model::{Cancel, Exit, ExitCause, Outcome, PhaseName, Reason, Timestamp, Unready};

use super::waiting::{Part, Waiting};

/// What is waited for: `web.1 to become ready: it does not listen on $PORT`.
pub fn explain_waiting(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Look { part } => format!("a fresh look at {}", part_words(*part)),
        Waiting::ReleaseCommand { .. } => "the release command".to_owned(),
        Waiting::ReleaseCommandStop => "the release command to stop".to_owned(),
        Waiting::Postdeploy { .. } => "the postdeploy script".to_owned(),
        Waiting::PostdeployStop => "the postdeploy script to stop".to_owned(),
        Waiting::Memory {
            needed_bytes,
            free_bytes,
        } => format!(
            "memory that old processes still hold: {} needed, {} free",
            megabytes(*needed_bytes),
            megabytes(*free_bytes)
        ),
        Waiting::Ready {
            slot,
            found: Some(found),
            ..
        } => format!(
            "{} to become ready: it {}",
            process(slot),
            explain_unready(found)
        ),
        Waiting::Ready {
            slot, found: None, ..
        } => format!("{} to become ready", process(slot)),
        Waiting::Router { .. } => "the router to take the new routes".to_owned(),
        Waiting::Drain { in_flight, .. } => match in_flight {
            Some(1) => "1 request of the old processes to end".to_owned(),
            Some(count) => format!("{count} requests of the old processes to end"),
            None => {
                "requests of the old processes to end that an earlier router counted".to_owned()
            }
        },
        Waiting::Warm { workload, .. } => {
            format!(
                "the old {} to be kept no longer for a quick rollback",
                workload.service
            )
        }
        Waiting::Gone { workloads, .. } => {
            format!("processes of {} to be gone", services(workloads))
        }
        Waiting::Renewed { slot } => format!("{} to stop and start again", process(slot)),
        Waiting::Shrunk { service } => format!("the highest processes of {service} to be gone"),
    }
}

/// When a wait gives up or no longer matters; none when only reality ends it.
pub fn waits_until(waiting: &Waiting) -> Option<Timestamp> {
    match waiting {
        Waiting::ReleaseCommand { until }
        | Waiting::Postdeploy { until }
        | Waiting::Ready { until, .. }
        | Waiting::Drain { until, .. }
        | Waiting::Warm { until, .. } => Some(*until),
        Waiting::Router { until, .. } | Waiting::Gone { until, .. } => *until,
        Waiting::Look { .. }
        | Waiting::ReleaseCommandStop
        | Waiting::PostdeployStop
        | Waiting::Memory { .. }
        | Waiting::Renewed { .. }
        | Waiting::Shrunk { .. } => None,
    }
}

/// Why a promotion or a resize did not succeed: `web.1 exited 3 times before it was ready (exit 1)`.
pub fn explain_reason(reason: &Reason) -> String {
    match reason {
        Reason::ReleaseCommandFailed(ended) => {
            format!("the release command failed ({})", explain_exit(ended))
        }
        Reason::ExitedBeforeReady { slot, times, exit } => {
            let times = match times {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            let exit = explain_exit(exit);
            format!(
                "{} exited {times} before it was ready ({exit})",
                process(slot)
            )
        }
        Reason::CannotRun { slot, exit } => match exit.cause {
            ExitCause::OutOfMemory => {
                format!("{} ran out of memory before it was ready", process(slot))
            }
            ExitCause::ExecFailed => format!(
                "{} could not be executed: is the command there?",
                process(slot)
            ),
            ExitCause::Own | ExitCause::Lost => {
                format!("{} cannot run ({})", process(slot), explain_exit(exit))
            }
        },
        Reason::Hopeless { slot, found } => format!("{} {}", process(slot), explain_unready(found)),
        Reason::NotReadyInTime { slot, found, limit } => {
            let found = found
                .as_ref()
                .map_or_else(|| "was never seen".to_owned(), explain_unready);
            format!("{} was not ready within {limit}: it {found}", process(slot))
        }
        Reason::DeadlineExceeded { during, limit } => {
            format!(
                "it took longer than {limit} and was {} then",
                phase_words(*during)
            )
        }
        Reason::NoCapacity {
            needed_bytes,
            free_bytes,
        } => format!(
            "no capacity: the new processes may need {} of memory and {} is free",
            megabytes(*needed_bytes),
            megabytes(*free_bytes)
        ),
        Reason::LostHealth { service } => {
            format!("{service} was ready and then had no running process left")
        }
        Reason::Refused { service, message } => format!("{service} cannot run here: {message}"),
        Reason::Cancelled(Cancel::ByUser) => "a user cancelled it".to_owned(),
        Reason::Cancelled(Cancel::BySuperseding) => "a newer promotion took its place".to_owned(),
    }
}

/// What is wrong with a process, to follow its name: `listens on 3000, not on $PORT (41873)`.
pub fn explain_unready(found: &Unready) -> String {
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
        } => format!("answers GET {path} with {status}"),
        Unready::BadAnswer { path, status: None } => format!("does not answer GET {path} in time"),
        Unready::CheckFailed { code } => format!("fails its health command (exit {code})"),
        Unready::TooYoung => "has not run long enough".to_owned(),
    }
}

/// How a process ended: `exit 1`, `signal 9`, `out of memory`.
pub fn explain_exit(exit: &Exit) -> String {
    match (exit.cause, exit.signal) {
        (ExitCause::OutOfMemory, _) => "out of memory".to_owned(),
        (ExitCause::ExecFailed, _) => "its command cannot be executed".to_owned(),
        (ExitCause::Lost, _) => "lost together with its supervisor".to_owned(),
        (ExitCause::Own, Some(signal)) => format!("signal {signal}"),
        (ExitCause::Own, None) => format!("exit {}", exit.code),
    }
}

/// How a promotion ended: the word that CLI, API, console and event share.
pub fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::RolledBack(_) => "rolled-back",
        Outcome::Failed(_) => "failed",
        Outcome::Superseded => "superseded",
        Outcome::Cancelled => "cancelled",
    }
}

/// A phase in one word.
pub fn phase_word(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Preparing => "preparing",
        PhaseName::Starting => "starting",
        PhaseName::Replacing => "replacing",
        PhaseName::Shifting => "shifting",
        PhaseName::Draining => "draining",
        PhaseName::RollingBack => "rolling-back",
    }
}

/// What a promotion does in a phase.
fn phase_words(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Preparing => "running the release command",
        PhaseName::Starting => "starting processes",
        PhaseName::Replacing => "replacing processes",
        PhaseName::Shifting => "moving traffic",
        PhaseName::Draining => "draining",
        PhaseName::RollingBack => "rolling back",
    }
}

fn part_words(part: Part) -> &'static str {
    match part {
        Part::Engine => "the engine",
        Part::Probes => "the processes",
        Part::Router => "the router",
    }
}

/// A process as users name it: `web.1`.
fn process(slot: &SlotId) -> String {
    format!("{}.{}", slot.workload.service, slot.slot)
}

fn services(workloads: &[WorkloadId]) -> String {
    let mut names: Vec<_> = workloads.iter().map(|id| id.service.to_string()).collect();
    names.dedup();
    names.join(", ")
}

/// Whole mebibytes, rounded up: what is there at all is not shown as 0.
fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Version;
    use crate::model::Millis;

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
        let at = Timestamp(0);
        Exit {
            code,
            signal,
            cause,
            at,
        }
    }

    #[test]
    fn reasons_are_sentences_that_help() {
        let found = Unready::ListensElsewhere {
            ports: vec![3000],
            wanted: 41873,
        };
        let bad = Unready::BadAnswer {
            path: "/up".to_owned(),
            status: Some(503),
        };
        let cases = [
            (
                Reason::Hopeless { slot: web(), found },
                "web.1 listens on 3000, not on $PORT (41873)",
            ),
            (
                Reason::ExitedBeforeReady {
                    slot: web(),
                    times: 3,
                    exit: ended(1, ExitCause::Own),
                },
                "web.1 exited 3 times before it was ready (exit 1)",
            ),
            (
                Reason::CannotRun {
                    slot: web(),
                    exit: ended(137, ExitCause::OutOfMemory),
                },
                "web.1 ran out of memory before it was ready",
            ),
            (
                Reason::ReleaseCommandFailed(ended(139, ExitCause::Own)),
                "the release command failed (signal 11)",
            ),
            (
                Reason::NotReadyInTime {
                    slot: web(),
                    found: Some(bad),
                    limit: Millis::from_secs(5),
                },
                "web.1 was not ready within 5 s: it answers GET /up with 503",
            ),
        ];
        for (reason, words) in cases {
            assert_eq!(explain_reason(&reason), words);
        }
    }

    #[test]
    fn a_wait_says_what_for_and_until_when() {
        let wait = Waiting::Ready {
            slot: web(),
            found: Some(Unready::NotListening),
            until: Timestamp(15_000),
        };
        assert_eq!(
            explain_waiting(&wait),
            "web.1 to become ready: it does not listen on $PORT"
        );
        assert_eq!(waits_until(&wait), Some(Timestamp(15_000)));
        let drain = Waiting::Drain {
            in_flight: Some(2),
            until: Timestamp(1_000),
        };
        assert_eq!(
            explain_waiting(&drain),
            "2 requests of the old processes to end"
        );
    }
}
