//! Every wait has a limit with a name and a unit, and all of them are here.

use crate::model::Millis;

/// From a promotion's begin to its switch, unless the app or the promotion says otherwise.
pub const PROMOTION_LIMIT: Millis = Millis::from_secs(600);
/// The longest that this may be said to be.
pub const PROMOTION_LIMIT_MAX: Millis = Millis::from_secs(24 * 3600);
/// Most releases of an app that may be asked to be kept, short of all.
pub const KEEP_RELEASES_MAX: u32 = 1_000_000;
/// How long a postdeploy script may take, and for how long an engine that cannot start it is asked again.
pub const POSTDEPLOY_LIMIT: Millis = Millis::from_secs(600);
/// From a process's start to ready, unless its service says otherwise.
pub const START_LIMIT: Millis = Millis::from_secs(120);
/// From a route table's decision to the router's acknowledgement, on the way forward.
pub const SHIFT_LIMIT: Millis = Millis::from_secs(30);
/// How long plain requests of old processes may take to end.
pub const DRAIN_LIMIT: Millis = Millis::from_secs(30);
/// How long old processes of routed services stay for a quick rollback.
pub const WARM_LIMIT: Millis = Millis::from_secs(30);
/// How long each step of going back may take.
pub const BACK_STEP_LIMIT: Millis = Millis::from_secs(120);
/// How long the router holds a request of a service that is being replaced.
pub const HOLD_LIMIT: Millis = Millis::from_secs(30);
/// How long a process without a port must run to count as ready.
pub const READY_AFTER: Millis = Millis::from_secs(1);
/// From SIGTERM to SIGKILL, unless the service says otherwise.
pub const STOP_GRACE: Millis = Millis::from_secs(30);
/// From a process's end to its first restart; each further pause is twice as long.
pub const RESTART_FIRST: Millis = Millis(100);
/// The longest pause before a restart.
pub const RESTART_SLOWEST: Millis = Millis::from_secs(30);
/// A process that ran this long begins again with the first pause.
pub const RESTART_FORGOTTEN: Millis = Millis::from_secs(60);
/// Exits before ready that end a promotion.
pub const EXITS_BEFORE_READY_MAX: u32 = 3;
/// First pause between probes of a process that is not ready yet.
pub const PROBE_FIRST: Millis = Millis(25);
/// Longest pause between probes of a process that is not ready yet.
pub const PROBE_SLOWEST: Millis = Millis(250);
/// Most processes of one service.
pub const COUNT_MAX: u16 = 1_000;
/// Most thousandths of a core that one process may be given.
pub const CPU_MILLICORES_MAX: u32 = 1_024_000;
/// After a process was started again because it no longer lived: the first pause before that may happen to it again.
pub const REVIVAL_FIRST: Millis = Millis::from_secs(10);
/// The longest such pause.
pub const REVIVAL_SLOWEST: Millis = Millis::from_secs(300);
/// How long such a process must live for the pause to be the first again.
pub const REVIVAL_FORGOTTEN: Millis = Millis::from_secs(900);
/// Pause between liveness checks, unless the service says otherwise.
pub const LIVENESS_INTERVAL: Millis = Millis::from_secs(5);
/// From ready to the first liveness check, unless the service says otherwise.
pub const LIVENESS_GRACE: Millis = Millis::from_secs(10);
/// How long one liveness check may take, unless the service says otherwise.
pub const LIVENESS_TIMEOUT: Millis = Millis::from_secs(5);
/// Liveness checks that fail in a row before a process is started again, unless the service says otherwise.
pub const LIVENESS_FAILURES: u32 = 3;
/// How long the router waits for a byte from a process, unless the service says otherwise.
pub const REQUEST_TIMEOUT: Millis = Millis::from_secs(60);
/// How long the router waits for a process to accept a connection.
pub const CONNECT_LIMIT: Millis = Millis::from_secs(3);
/// How long a client may take for the head of a request, the idle time before it included.
pub const REQUEST_HEAD_LIMIT: Millis = Millis::from_secs(60);
/// Pause between probes of a process that is ready, unless its service says otherwise.
pub const HEALTH_INTERVAL: Millis = Millis::from_secs(5);
/// How long one probe may take, unless its service says otherwise.
pub const HEALTH_TIMEOUT: Millis = Millis::from_secs(4);
/// How long an attached process waits for its client, before it is stopped.
pub const ATTACH_LIMIT: Millis = Millis::from_secs(10);
/// How long a one-off may run.
pub const ONE_OFF_LIMIT: Millis = Millis::from_secs(24 * 3600);
/// How long what an attached process left behind may go on writing after it ended, when nothing comes.
pub const LAST_WORDS_LIMIT: Millis = Millis(500);
/// How long the client of a process that ended may take to read its last words.
pub const CLOSE_LIMIT: Millis = Millis::from_secs(60);
/// Sessions of a rack at once.
pub const SESSIONS_MAX: usize = 100;
/// One-offs of a rack at once, attached or not.
pub const ONE_OFFS_MAX: usize = 200;
