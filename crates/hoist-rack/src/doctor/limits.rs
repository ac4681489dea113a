//! Every limit by its name, with its value and what it is about.

use std::time::Duration;

use hoist_api::types::DoctorItem;
use hoist_core::limits;
use hoist_core::model::Millis;
use hoist_core::retention::{
    EVENTS_KEPT, ONE_OFFS_KEPT, PROMOTIONS_KEPT, RELEASES_KEPT, WAYS_BACK_KEPT,
};

use super::{ok, span};
use crate::build::{
    BUILD_LIMIT, BUILD_MEMORY_BYTES, BUILD_PIDS_MAX, CACHE_BYTES_MAX, SOURCE_BYTES_MAX,
};
use crate::control::LOOK_LIMIT;
use crate::logs::{LOG_AGE_MAX, LOG_BYTES_MAX};
use crate::releases::PROCESS_LOG_BYTES_MAX;

/// All of them: promotions first, then processes, requests, builds, sessions and logs.
pub(super) fn items() -> Vec<DoctorItem> {
    let mut items = Vec::new();
    let mut add = |name: &str, value: String, meaning: &str| {
        items.push(ok(name, format!("{value}: {meaning}")));
    };
    for (name, limit, meaning) in TIMES {
        add(name, span(*limit), meaning);
    }
    for (name, count, meaning) in COUNTS {
        add(name, count.to_string(), meaning);
    }
    for (name, bytes, meaning) in SIZES {
        let value = match bytes {
            bytes if bytes.is_multiple_of(1 << 30) => format!("{} GB", bytes >> 30),
            bytes => format!("{} MB", bytes >> 20),
        };
        add(name, value, meaning);
    }
    items
}

const fn of(duration: Duration) -> Millis {
    Millis(duration.as_millis() as u64)
}

const TIMES: &[(&str, Millis, &str)] = &[
    (
        "promotion",
        limits::PROMOTION_LIMIT,
        "from its begin to the switch (--timeout)",
    ),
    (
        "postdeploy",
        limits::POSTDEPLOY_LIMIT,
        "a postdeploy script",
    ),
    (
        "start",
        limits::START_LIMIT,
        "from a process's start to ready (health.grace)",
    ),
    (
        "ready after",
        limits::READY_AFTER,
        "a process without a port runs so long to count as ready",
    ),
    (
        "probe",
        limits::PROBE_FIRST,
        "the first pause between questions to a process that starts",
    ),
    (
        "probe at most",
        limits::PROBE_SLOWEST,
        "the longest pause between them",
    ),
    (
        "shift",
        limits::SHIFT_LIMIT,
        "for the router to run a new table",
    ),
    (
        "hold",
        limits::HOLD_LIMIT,
        "the router holds requests while a service is replaced",
    ),
    (
        "drain",
        limits::DRAIN_LIMIT,
        "for requests of old processes to end (drain)",
    ),
    (
        "warm",
        limits::WARM_LIMIT,
        "old processes stay for a quick rollback",
    ),
    ("back", limits::BACK_STEP_LIMIT, "each step of going back"),
    (
        "stop",
        limits::STOP_GRACE,
        "from SIGTERM to SIGKILL (termination.grace)",
    ),
    (
        "restart",
        limits::RESTART_FIRST,
        "from a process's end to its first restart; then ever longer",
    ),
    (
        "restart at most",
        limits::RESTART_SLOWEST,
        "the longest pause before a restart",
    ),
    (
        "restart again",
        limits::RESTART_FORGOTTEN,
        "a process that ran so long begins with the first pause again",
    ),
    (
        "liveness",
        limits::LIVENESS_TIMEOUT,
        "one question whether a process lives (liveness.timeout)",
    ),
    (
        "revival",
        limits::REVIVAL_FIRST,
        "from one start for not living to the next; then ever longer",
    ),
    (
        "revival at most",
        limits::REVIVAL_SLOWEST,
        "the longest such pause",
    ),
    (
        "revival again",
        limits::REVIVAL_FORGOTTEN,
        "a process that lived so long begins with the first pause again",
    ),
    (
        "health",
        limits::HEALTH_TIMEOUT,
        "one question to a process (health.timeout)",
    ),
    (
        "request",
        limits::REQUEST_TIMEOUT,
        "for a byte of a process (timeout)",
    ),
    (
        "connect",
        limits::CONNECT_LIMIT,
        "for a process to accept a connection of the router",
    ),
    (
        "request head",
        limits::REQUEST_HEAD_LIMIT,
        "for a client to send the head of a request",
    ),
    (
        "look",
        of(LOOK_LIMIT),
        "the control loop looks at the engine or the router",
    ),
    (
        "build",
        of(BUILD_LIMIT),
        "the build command; then it is ended and the build failed",
    ),
    (
        "attach",
        limits::ATTACH_LIMIT,
        "for a client to come to its session",
    ),
    (
        "one-off",
        limits::ONE_OFF_LIMIT,
        "a process of `hoist run`; then it is ended",
    ),
    (
        "last words",
        limits::LAST_WORDS_LIMIT,
        "what an attached process left behind may be silent after its end",
    ),
    (
        "session end",
        limits::CLOSE_LIMIT,
        "for a client to read what an attached process wrote before its end",
    ),
    (
        "log age",
        of(LOG_AGE_MAX),
        "lines of an app that are older go",
    ),
];

const COUNTS: &[(&str, u64, &str)] = &[
    (
        "exits",
        limits::EXITS_BEFORE_READY_MAX as u64,
        "exits before ready end a promotion",
    ),
    (
        "liveness failures",
        limits::LIVENESS_FAILURES as u64,
        "in a row start a process again (liveness.failures)",
    ),
    ("size", limits::COUNT_MAX as u64, "processes of a service"),
    (
        "sessions",
        limits::SESSIONS_MAX as u64,
        "clients that are attached at once",
    ),
    (
        "one-offs",
        limits::ONE_OFFS_MAX as u64,
        "processes of `hoist run` at once",
    ),
    ("build processes", BUILD_PIDS_MAX, "of a build at once"),
    (
        "releases",
        RELEASES_KEPT as u64,
        "of an app, the newest; older ones only as they are needed (keep)",
    ),
    (
        "ways back",
        WAYS_BACK_KEPT as u64,
        "good releases before the active one, however old",
    ),
    (
        "promotions",
        PROMOTIONS_KEPT as u64,
        "of an app that succeeded, and as many that did not; then the oldest go",
    ),
    (
        "events",
        EVENTS_KEPT as u64,
        "of an app; then the oldest go",
    ),
    (
        "ended one-offs",
        ONE_OFFS_KEPT as u64,
        "of an app; then the oldest go",
    ),
];

const SIZES: &[(&str, u64, &str)] = &[
    ("source", SOURCE_BYTES_MAX, "an upload"),
    (
        "build cache",
        CACHE_BYTES_MAX,
        "of an app; one that is larger is emptied",
    ),
    (
        "build memory",
        BUILD_MEMORY_BYTES,
        "of a build; less when little is free",
    ),
    ("log", LOG_BYTES_MAX, "lines of an app; the oldest go first"),
    (
        "process log",
        PROCESS_LOG_BYTES_MAX,
        "lines of one process; the oldest go first",
    ),
];
