//! A promotion in flight as JSON: part of its app's row.

use std::collections::BTreeMap;

use hoist_core::id::SlotId;
use hoist_core::model as core;
use serde::{Deserialize, Serialize};

use super::app::{Limits, Workload, by_name, by_text, workload_id};
use super::{StoreError, parse};

#[derive(Serialize, Deserialize)]
pub(super) struct Promotion {
    number: String,
    target: String,
    kind: Kind,
    services: BTreeMap<String, Planned>,
    phase: Phase,
    since: String,
    entered_ms: u64,
    began_ms: u64,
    deadline_ms: u64,
    cancel: Option<Cancel>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Promote,
    Rollback,
    Restart,
    Start,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cancel {
    ByUser,
    BySuperseding,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Planned {
    Replace {
        slots: u16,
        #[serde(default)]
        limits: Limits,
    },
    Keep {
        workload: Workload,
        slots: u16,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Phase {
    Preparing,
    Starting,
    ReplacingDraining,
    ReplacingStopping,
    ReplacingStarting,
    Shifting,
    Draining,
    RollingBack {
        step: BackStep,
        reason: Reason,
        complete: bool,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BackStep {
    Restoring,
    ShiftingBack,
    Removing,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Reason {
    ReleaseCommandFailed {
        exit: Exit,
    },
    ExitedBeforeReady {
        slot: Slot,
        times: u32,
        exit: Exit,
    },
    CannotRun {
        slot: Slot,
        exit: Exit,
    },
    Hopeless {
        slot: Slot,
        found: Unready,
    },
    NotReadyInTime {
        slot: Slot,
        found: Option<Unready>,
        limit_ms: u64,
    },
    DeadlineExceeded {
        during: PhaseName,
        limit_ms: u64,
    },
    NoCapacity {
        needed_bytes: u64,
        free_bytes: u64,
    },
    LostHealth {
        service: String,
    },
    Refused {
        service: String,
        message: String,
    },
    Cancelled {
        by: Cancel,
    },
}

#[derive(Serialize, Deserialize)]
struct Slot {
    workload: String,
    slot: u16,
}

#[derive(Serialize, Deserialize)]
struct Exit {
    code: i32,
    signal: Option<i32>,
    cause: Cause,
    at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cause {
    Own,
    OutOfMemory,
    ExecFailed,
    Lost,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Unready {
    NotRunning,
    NotListening,
    ListensElsewhere { ports: Vec<u16>, wanted: u16 },
    BadAnswer { path: String, status: Option<u16> },
    CheckFailed { code: i32 },
    TooYoung,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseName {
    Preparing,
    Starting,
    Replacing,
    Shifting,
    Draining,
    RollingBack,
}

/// Converts between an enum of the domain and the row's enum of the same unit variants.
macro_rules! same_words {
    ($row:ident, $core:ty, [$($variant:ident),+]) => {
        impl $row {
            fn from_core(value: $core) -> Self {
                match value { $(<$core>::$variant => Self::$variant),+ }
            }

            fn into_core(self) -> $core {
                match self { $(Self::$variant => <$core>::$variant),+ }
            }
        }
    };
}

same_words!(
    Kind,
    core::PromotionKind,
    [Promote, Rollback, Restart, Start]
);
same_words!(Cancel, core::Cancel, [ByUser, BySuperseding]);
same_words!(
    BackStep,
    core::BackStep,
    [Restoring, ShiftingBack, Removing]
);
same_words!(Cause, core::ExitCause, [Own, OutOfMemory, ExecFailed, Lost]);
same_words!(
    PhaseName,
    core::PhaseName,
    [
        Preparing,
        Starting,
        Replacing,
        Shifting,
        Draining,
        RollingBack
    ]
);

impl Promotion {
    pub(super) fn from_core(promotion: &core::Promotion) -> Self {
        Self {
            number: promotion.number.to_string(),
            target: promotion.target.to_string(),
            kind: Kind::from_core(promotion.kind),
            services: by_text(&promotion.services, Planned::from_core),
            phase: Phase::from_core(&promotion.phase),
            since: promotion.since.to_string(),
            entered_ms: promotion.entered.0,
            began_ms: promotion.began.0,
            deadline_ms: promotion.deadline.0,
            cancel: promotion.cancel.map(Cancel::from_core),
        }
    }

    pub(super) fn into_core(self) -> Result<core::Promotion, StoreError> {
        Ok(core::Promotion {
            number: parse(&self.number)?,
            target: parse(&self.target)?,
            kind: self.kind.into_core(),
            services: by_name(self.services, Planned::into_core)?,
            phase: self.phase.into_core()?,
            since: parse(&self.since)?,
            entered: core::Timestamp(self.entered_ms),
            began: core::Timestamp(self.began_ms),
            deadline: core::Timestamp(self.deadline_ms),
            cancel: self.cancel.map(Cancel::into_core),
        })
    }
}

impl Planned {
    fn from_core(planned: &core::Planned) -> Self {
        match planned {
            core::Planned::Replace { slots, limits } => Self::Replace {
                slots: *slots,
                limits: Limits::from_core(*limits),
            },
            core::Planned::Keep { workload, slots } => Self::Keep {
                workload: Workload::from_core(workload),
                slots: *slots,
            },
        }
    }

    fn into_core(self) -> Result<core::Planned, StoreError> {
        Ok(match self {
            Self::Replace { slots, limits } => core::Planned::Replace {
                slots,
                limits: limits.into_core(),
            },
            Self::Keep { workload, slots } => core::Planned::Keep {
                workload: workload.into_core()?,
                slots,
            },
        })
    }
}

impl Phase {
    fn from_core(phase: &core::Phase) -> Self {
        match phase {
            core::Phase::Preparing => Self::Preparing,
            core::Phase::Starting => Self::Starting,
            core::Phase::Replacing(core::ReplaceStep::Draining) => Self::ReplacingDraining,
            core::Phase::Replacing(core::ReplaceStep::Stopping) => Self::ReplacingStopping,
            core::Phase::Replacing(core::ReplaceStep::Starting) => Self::ReplacingStarting,
            core::Phase::Shifting => Self::Shifting,
            core::Phase::Draining => Self::Draining,
            core::Phase::RollingBack {
                step,
                reason,
                complete,
            } => Self::RollingBack {
                step: BackStep::from_core(*step),
                reason: Reason::from_core(reason),
                complete: *complete,
            },
        }
    }

    fn into_core(self) -> Result<core::Phase, StoreError> {
        Ok(match self {
            Self::Preparing => core::Phase::Preparing,
            Self::Starting => core::Phase::Starting,
            Self::ReplacingDraining => core::Phase::Replacing(core::ReplaceStep::Draining),
            Self::ReplacingStopping => core::Phase::Replacing(core::ReplaceStep::Stopping),
            Self::ReplacingStarting => core::Phase::Replacing(core::ReplaceStep::Starting),
            Self::Shifting => core::Phase::Shifting,
            Self::Draining => core::Phase::Draining,
            Self::RollingBack {
                step,
                reason,
                complete,
            } => core::Phase::RollingBack {
                step: step.into_core(),
                reason: reason.into_core()?,
                complete,
            },
        })
    }
}

impl Reason {
    fn from_core(reason: &core::Reason) -> Self {
        match reason.clone() {
            core::Reason::ReleaseCommandFailed(exit) => Self::ReleaseCommandFailed {
                exit: Exit::from_core(exit),
            },
            core::Reason::ExitedBeforeReady { slot, times, exit } => Self::ExitedBeforeReady {
                slot: Slot::from_core(&slot),
                times,
                exit: Exit::from_core(exit),
            },
            core::Reason::CannotRun { slot, exit } => Self::CannotRun {
                slot: Slot::from_core(&slot),
                exit: Exit::from_core(exit),
            },
            core::Reason::Hopeless { slot, found } => Self::Hopeless {
                slot: Slot::from_core(&slot),
                found: Unready::from_core(found),
            },
            core::Reason::NotReadyInTime { slot, found, limit } => Self::NotReadyInTime {
                slot: Slot::from_core(&slot),
                found: found.map(Unready::from_core),
                limit_ms: limit.0,
            },
            core::Reason::DeadlineExceeded { during, limit } => Self::DeadlineExceeded {
                during: PhaseName::from_core(during),
                limit_ms: limit.0,
            },
            core::Reason::NoCapacity {
                needed_bytes,
                free_bytes,
            } => Self::NoCapacity {
                needed_bytes,
                free_bytes,
            },
            core::Reason::LostHealth { service } => Self::LostHealth {
                service: service.to_string(),
            },
            core::Reason::Refused { service, message } => Self::Refused {
                service: service.to_string(),
                message,
            },
            core::Reason::Cancelled(by) => Self::Cancelled {
                by: Cancel::from_core(by),
            },
        }
    }

    fn into_core(self) -> Result<core::Reason, StoreError> {
        Ok(match self {
            Self::ReleaseCommandFailed { exit } => {
                core::Reason::ReleaseCommandFailed(exit.into_core())
            }
            Self::ExitedBeforeReady { slot, times, exit } => core::Reason::ExitedBeforeReady {
                slot: slot.into_core()?,
                times,
                exit: exit.into_core(),
            },
            Self::CannotRun { slot, exit } => core::Reason::CannotRun {
                slot: slot.into_core()?,
                exit: exit.into_core(),
            },
            Self::Hopeless { slot, found } => core::Reason::Hopeless {
                slot: slot.into_core()?,
                found: found.into_core(),
            },
            Self::NotReadyInTime {
                slot,
                found,
                limit_ms,
            } => core::Reason::NotReadyInTime {
                slot: slot.into_core()?,
                found: found.map(Unready::into_core),
                limit: core::Millis(limit_ms),
            },
            Self::DeadlineExceeded { during, limit_ms } => core::Reason::DeadlineExceeded {
                during: during.into_core(),
                limit: core::Millis(limit_ms),
            },
            Self::NoCapacity {
                needed_bytes,
                free_bytes,
            } => core::Reason::NoCapacity {
                needed_bytes,
                free_bytes,
            },
            Self::LostHealth { service } => core::Reason::LostHealth {
                service: parse(&service)?,
            },
            Self::Refused { service, message } => core::Reason::Refused {
                service: parse(&service)?,
                message,
            },
            Self::Cancelled { by } => core::Reason::Cancelled(by.into_core()),
        })
    }
}

impl Slot {
    fn from_core(slot: &SlotId) -> Self {
        Self {
            workload: slot.workload.to_string(),
            slot: slot.slot,
        }
    }

    fn into_core(self) -> Result<SlotId, StoreError> {
        Ok(SlotId {
            workload: workload_id(&self.workload)?,
            slot: self.slot,
        })
    }
}

impl Exit {
    fn from_core(exit: core::Exit) -> Self {
        Self {
            code: exit.code,
            signal: exit.signal,
            cause: Cause::from_core(exit.cause),
            at_ms: exit.at.0,
        }
    }

    fn into_core(self) -> core::Exit {
        core::Exit {
            code: self.code,
            signal: self.signal,
            cause: self.cause.into_core(),
            at: core::Timestamp(self.at_ms),
        }
    }
}

impl Unready {
    fn from_core(unready: core::Unready) -> Self {
        match unready {
            core::Unready::NotRunning => Self::NotRunning,
            core::Unready::NotListening => Self::NotListening,
            core::Unready::ListensElsewhere { ports, wanted } => {
                Self::ListensElsewhere { ports, wanted }
            }
            core::Unready::BadAnswer { path, status } => Self::BadAnswer { path, status },
            core::Unready::CheckFailed { code } => Self::CheckFailed { code },
            core::Unready::TooYoung => Self::TooYoung,
        }
    }

    fn into_core(self) -> core::Unready {
        match self {
            Self::NotRunning => core::Unready::NotRunning,
            Self::NotListening => core::Unready::NotListening,
            Self::ListensElsewhere { ports, wanted } => {
                core::Unready::ListensElsewhere { ports, wanted }
            }
            Self::BadAnswer { path, status } => core::Unready::BadAnswer { path, status },
            Self::CheckFailed { code } => core::Unready::CheckFailed { code },
            Self::TooYoung => core::Unready::TooYoung,
        }
    }
}
