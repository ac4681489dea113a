//! Waits and reasons as short sentences for users: lower case, no final stop, what to look at by name.

use crate::id::SlotId;
use crate::model::{Cancel, Exit, ExitCause, PhaseName, Reason, Unready};

use super::{Part, Waiting};

/// Why a promotion did not succeed.
pub fn explain_reason(reason: &Reason) -> String {
    match reason {
        Reason::ReleaseCommandFailed(exit) => format!("the release command {}", exit_words(exit)),
        Reason::ExitedBeforeReady { slot, times, exit } => {
            let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
            format!("{} exited {times} before it was ready; the last {}", name(slot), exit_words(exit))
        }
        Reason::CannotRun { slot, exit } => format!("{} {}", name(slot), exit_words(exit)),
        Reason::Hopeless { slot, found } => format!("{} {}", name(slot), unready_words(found)),
        Reason::NotReadyInTime { slot, found, limit } => {
            let found = found.as_ref().map_or_else(|| "was never seen".to_owned(), unready_words);
            format!("{} was not ready within {limit}: it {found}", name(slot))
        }
        Reason::DeadlineExceeded { during, limit } => {
            format!("it took longer than {limit} and was {} then", phase_words(*during))
        }
        Reason::NoCapacity { needed_bytes, free_bytes } => format!(
            "the new processes may need {} of memory and only {} is free",
            megabytes(*needed_bytes),
            megabytes(*free_bytes)
        ),
        Reason::LostHealth { service } => format!("{service} was ready and then had no ready process left"),
        Reason::Refused { service, message } => format!("{service} cannot run here: {message}"),
        Reason::Cancelled(Cancel::ByUser) => "it was cancelled".to_owned(),
        Reason::Cancelled(Cancel::BySuperseding) => "a newer promotion took its place".to_owned(),
    }
}

/// What something in flight waits for.
pub fn explain_waiting(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Look { part } => {
            let part = match part {
                Part::Engine => "the engine",
                Part::Probes => "the processes",
                Part::Router => "the router",
            };
            format!("a fresh look at {part}")
        }
        Waiting::ReleaseCommand { .. } => "the release command".to_owned(),
        Waiting::ReleaseCommandStop => "the release command to stop".to_owned(),
        Waiting::Memory { needed_bytes, free_bytes } => format!(
            "memory: {} needed, {} free",
            megabytes(*needed_bytes),
            megabytes(*free_bytes)
        ),
        Waiting::Ready { slot, found, .. } => match found {
            Some(found) => format!("{} to become ready: it {}", name(slot), unready_words(found)),
            None => format!("{} to become ready", name(slot)),
        },
        Waiting::Router { newer_than, running, .. } => {
            format!("the router to run a table newer than {newer_than}; it runs {running}")
        }
        Waiting::Drain { in_flight: Some(1), .. } => "one request of the old processes to end".to_owned(),
        Waiting::Drain { in_flight: Some(count), .. } => format!("{count} requests of the old processes to end"),
        Waiting::Drain { in_flight: None, .. } => "requests of the old processes to end".to_owned(),
        Waiting::Warm { workload, .. } => {
            format!("the old {} to be kept no longer for a quick rollback", workload.service)
        }
        Waiting::Gone { workloads, .. } => {
            let names: Vec<_> = workloads.iter().map(|id| id.service.to_string()).collect();
            format!("old processes to be gone: {}", names.join(", "))
        }
        Waiting::Shrunk { service } => format!("leaving processes of {service} to be gone"),
    }
}

fn name(slot: &SlotId) -> String {
    format!("{}.{}", slot.workload.service, slot.slot)
}

fn exit_words(exit: &Exit) -> String {
    match (exit.cause, exit.signal) {
        (ExitCause::OutOfMemory, _) => "was killed for using more memory than its limit".to_owned(),
        (ExitCause::ExecFailed, _) => "could not be executed: is the command there?".to_owned(),
        (ExitCause::Lost, _) => "was lost together with its supervisor".to_owned(),
        (ExitCause::Own, Some(signal)) => format!("was ended by signal {signal}"),
        (ExitCause::Own, None) => format!("exited with {}", exit.code),
    }
}

fn unready_words(unready: &Unready) -> String {
    match unready {
        Unready::NotRunning => "does not run".to_owned(),
        Unready::NotListening => "listens on no port".to_owned(),
        Unready::ListensElsewhere { ports, wanted } => {
            let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
            format!("listens on {}, not on $PORT ({wanted})", ports.join(", "))
        }
        Unready::BadAnswer { path, status: Some(status) } => format!("answers GET {path} with {status}"),
        Unready::BadAnswer { path, status: None } => format!("does not answer GET {path} in time"),
        Unready::CheckFailed { code } => format!("fails its health command (exit {code})"),
        Unready::TooYoung => "has not run long enough".to_owned(),
    }
}

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

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Version, WorkloadId};
    use crate::model::Millis;

    fn slot() -> SlotId {
        let workload = WorkloadId {
            app: "shop".parse().expect("a name"),
            service: "web".parse().expect("a name"),
            attempt: Version { epoch: 1, number: 7 },
        };
        SlotId { workload, slot: 1 }
    }

    #[test]
    fn the_sentence_that_helps() {
        let found = Unready::ListensElsewhere { ports: vec![3000], wanted: 41873 };
        let reason = Reason::Hopeless { slot: slot(), found };
        assert_eq!(explain_reason(&reason), "web.1 listens on 3000, not on $PORT (41873)");
        let found = Some(Unready::BadAnswer { path: "/up".to_owned(), status: Some(503) });
        let reason = Reason::NotReadyInTime { slot: slot(), found, limit: Millis::from_secs(5) };
        assert_eq!(
            explain_reason(&reason),
            "web.1 was not ready within 5 s: it answers GET /up with 503"
        );
    }
}
