//! The gate's eyes: asks each process from outside whether it may take requests. One module for all engines.
//!
//! One task per life of a process. Before ready it asks every 25 ms, then ever slower up to 250 ms; afterwards at the
//! interval of its health check, or at once when the control loop needs a fresh answer. Whether a process lives is a
//! question of its own, asked from ready on; what follows from the answer is the planner's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hoist_core::id::{AppName, Slot, SlotId, Version, WorkloadId};
use hoist_core::limits;
use hoist_core::model::{Life, Probe, ProbeLook, Process, Unready};
use hoist_engine::Engine;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::sequence::Sequence;

/// Failures in a row that take a ready process out of the route.
const FAILURES_MAX: u32 = 3;
/// Pause between looks whether a process has become ready, before the first question whether it lives.
const READY_PAUSE: Duration = Duration::from_millis(250);
/// How long a process may listen on nothing before its other sockets are looked at.
const ELSEWHERE_AFTER: Duration = Duration::from_millis(400);
/// The pause between such looks, which take longer than asking: a process that comes up meanwhile is not kept waiting.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(250);

/// How a process is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The question.
    pub question: Question,
    /// How long one answer may take.
    pub timeout: Duration,
    /// The pause between questions to a ready process.
    pub interval: Duration,
}

/// How a process that was ready once is asked whether it still lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// The question, and how often it is asked.
    pub check: Check,
    /// From ready to the first question.
    pub grace: Duration,
    /// Failures in a row that mean it is dead.
    pub failures: u32,
    /// Good answers in a row that mean it is alive after all.
    pub successes: u32,
}

/// What a process is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Whether it has run long enough: it has no port.
    Age(Duration),
    /// Whether its port accepts.
    Accepts,
    /// Whether GET of the path gets any answer below 500.
    AnyAnswer {
        /// The path.
        path: String,
    },
    /// Whether GET of the path gets 200 to 399.
    GoodAnswer {
        /// The path.
        path: String,
    },
    /// Whether a command beside the process exits 0.
    Command(Vec<String>),
}

/// One incarnation of a process that is to be asked.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its slot.
    pub slot: SlotId,
    /// Which life of it.
    pub life: Life,
    /// Where it was told to listen.
    pub address: Option<SocketAddr>,
    /// How it is asked.
    pub check: Check,
    /// How it is asked until the first good answer, before `check` is.
    pub startup: Option<Check>,
    /// How it is asked whether it lives.
    pub liveness: Option<Liveness>,
}

/// Asks processes and remembers their answers.
pub struct Prober {
    engine: Arc<dyn Engine>,
    sequence: Arc<Sequence>,
    wake: Arc<Notify>,
    watched: Mutex<BTreeMap<SlotId, Watched>>,
}

struct Watched {
    life: Life,
    answer: Option<Answer>,
    dead: Option<Unready>,
    refresh: Arc<Notify>,
    tasks: Vec<AbortHandle>,
}

#[derive(Clone, PartialEq, Eq)]
struct Answer {
    look: Version,
    probe: Probe,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Prober {
    /// A prober without targets. It notifies `wake` when an answer changes or a fresh one was asked for.
    pub fn new(engine: Arc<dyn Engine>, sequence: Arc<Sequence>, wake: Arc<Notify>) -> Self {
        Self {
            engine,
            sequence,
            wake,
            watched: Mutex::new(BTreeMap::new()),
        }
    }

    /// Asks exactly these from now on. An incarnation that is asked already goes on being asked.
    pub fn watch(self: &Arc<Self>, targets: Vec<Target>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: BTreeSet<&SlotId> = targets.iter().map(|target| &target.slot).collect();
        watched.retain(|slot, _| wanted.contains(slot));
        for target in targets {
            let known = watched
                .get(&target.slot)
                .is_some_and(|watched| watched.life == target.life);
            if known {
                continue;
            }
            let slot = target.slot.clone();
            let refresh = Arc::new(Notify::new());
            let life = target.life.clone();
            let mut tasks = Vec::new();
            if let Some(liveness) = target.liveness.clone() {
                let asking = self.clone().ask_whether_alive(target.clone(), liveness);
                tasks.push(tokio::spawn(asking).abort_handle());
            }
            let asking = self.clone().ask_for_ever(target, refresh.clone());
            tasks.push(tokio::spawn(asking).abort_handle());
            let entry = Watched {
                life,
                answer: None,
                dead: None,
                refresh,
                tasks,
            };
            watched.insert(slot, entry);
        }
    }

    /// Asks all processes of an app again now.
    pub fn refresh(&self, app: &AppName) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let own = watched.range(SlotId::least_of(app)..);
        for (_, entry) in own.take_while(|(slot, _)| slot.workload.app == *app) {
            entry.refresh.notify_one();
        }
    }

    /// The answers of an app's processes, each only of the life that `seen` shows: what a former life answered says
    /// nothing of the present one. `fresh` is the number of a look that begins now: what an app without processes to ask
    /// has instead of answers.
    pub fn look(
        &self,
        app: &AppName,
        seen: &BTreeMap<WorkloadId, BTreeMap<Slot, Process>>,
        fresh: Version,
    ) -> ProbeLook {
        let alive = |slot: &SlotId, entry: &Watched| {
            let process = seen
                .get(&slot.workload)
                .and_then(|slots| slots.get(&slot.slot));
            process.is_some_and(|process| process.life() == entry.life)
        };
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut look = fresh;
        let (mut slots, mut dead) = (BTreeMap::new(), BTreeMap::new());
        let own = watched.range(SlotId::least_of(app)..);
        let own = own.take_while(|(slot, _)| slot.workload.app == *app);
        for (slot, entry) in own.filter(|(slot, entry)| alive(slot, entry)) {
            if let Some(answer) = &entry.answer {
                look = look.min(answer.look);
                slots.insert(slot.clone(), answer.probe.clone());
            }
            if let Some(found) = &entry.dead {
                dead.insert(slot.clone(), found.clone());
            }
        }
        ProbeLook { look, slots, dead }
    }

    async fn ask_for_ever(self: Arc<Self>, target: Target, refresh: Arc<Notify>) {
        let mut asking = Asking::new(target);
        let mut asked = true;
        loop {
            let Ok((look, ())) = self.sequence.look(|| ()).await else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let mut found = asking.ask(&*self.engine).await;
            if found.is_ok() && asking.started() {
                found = asking.ask(&*self.engine).await;
            }
            let probe = asking.settle(found);
            self.remember(&asking.target, Answer { look, probe }, asked);
            asked = timeout(asking.pause(), refresh.notified()).await.is_ok();
        }
    }

    /// Asks a process that was ready once whether it lives, for as long as it is watched.
    async fn ask_whether_alive(self: Arc<Self>, target: Target, liveness: Liveness) {
        while !self.was_found_ready(&target) {
            tokio::time::sleep(READY_PAUSE).await;
        }
        tokio::time::sleep(liveness.grace).await;
        let interval = liveness.check.interval;
        let mut asking = Asking::new(Target {
            check: liveness.check,
            startup: None,
            liveness: None,
            ..target
        });
        let (mut good, mut bad) = (0, 0);
        loop {
            match asking.ask(&*self.engine).await {
                Ok(()) => {
                    (good, bad) = (good + 1, 0);
                    if good >= liveness.successes {
                        self.set_dead(&asking.target, None);
                    }
                }
                Err((found, _)) => {
                    (good, bad) = (0, bad + 1);
                    if bad >= liveness.failures {
                        self.set_dead(&asking.target, Some(found));
                    }
                }
            }
            tokio::time::sleep(interval).await;
        }
    }

    fn was_found_ready(&self, target: &Target) -> bool {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = watched.get(&target.slot);
        let answer = entry.filter(|entry| entry.life == target.life);
        let answer = answer.and_then(|entry| entry.answer.as_ref());
        answer.is_some_and(|answer| answer.probe == Probe::Ready)
    }

    fn set_dead(&self, target: &Target, dead: Option<Unready>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = watched.get_mut(&target.slot);
        if let Some(entry) = entry.filter(|entry| entry.life == target.life)
            && entry.dead != dead
        {
            entry.dead = dead;
            self.wake.notify_one();
        }
    }

    /// Keeps an answer; wakes the loop when it is news, or when the loop asked for a fresh one.
    fn remember(&self, target: &Target, answer: Answer, asked: bool) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = watched.get_mut(&target.slot) else {
            return;
        };
        if entry.life != target.life {
            return;
        }
        let before = entry.answer.replace(answer.clone());
        if asked || before.is_none_or(|before| before.probe != answer.probe) {
            self.wake.notify_one();
        }
    }
}

/// The state of asking one incarnation.
struct Asking {
    target: Target,
    began: Instant,
    was_ready: bool,
    failures: u32,
    elsewhere: Option<Vec<u16>>,
    /// When its other sockets were looked at last.
    looked: Option<Instant>,
}

impl Asking {
    fn new(target: Target) -> Self {
        Self {
            target,
            began: Instant::now(),
            was_ready: false,
            failures: 0,
            elsewhere: None,
            looked: None,
        }
    }

    fn check(&self) -> &Check {
        self.target.startup.as_ref().unwrap_or(&self.target.check)
    }

    /// Notes that the process gave its first good answer. Whether that was to the question of its start.
    fn started(&mut self) -> bool {
        self.target.startup.take().is_some()
    }

    /// Asks once. `Err` says why not, and whether waiting can help.
    async fn ask(&mut self, engine: &dyn Engine) -> Result<(), (Unready, bool)> {
        let check = self.check().clone();
        let soft = |unready| (unready, false);
        match (&check.question, self.target.address) {
            (Question::Age(age), _) => (self.began.elapsed() >= *age)
                .then_some(())
                .ok_or(soft(Unready::TooYoung)),
            (Question::Command(argv), _) => {
                let code = engine.check(&self.target.slot, argv, check.timeout).await;
                match code {
                    Ok(0) => Ok(()),
                    Ok(code) => Err(soft(Unready::CheckFailed { code })),
                    Err(_) => Err(soft(Unready::CheckFailed { code: 255 })),
                }
            }
            (_, None) => Err(soft(Unready::NotListening)),
            (question, Some(address)) => {
                let Ok(Ok(stream)) = timeout(check.timeout, TcpStream::connect(address)).await
                else {
                    return Err(self.look_elsewhere(engine, address.port()).await);
                };
                let path = match question {
                    Question::AnyAnswer { path } | Question::GoodAnswer { path } => path,
                    _ => return Ok(()),
                };
                let status = timeout(check.timeout, get_status(stream, address, path)).await;
                let status = status.ok().flatten();
                let good = status.is_some_and(|status| match question {
                    Question::AnyAnswer { .. } => status < 500,
                    _ => (200..400).contains(&status),
                });
                let path = path.clone();
                good.then_some(())
                    .ok_or(soft(Unready::BadAnswer { path, status }))
            }
        }
    }

    /// Nothing accepts on its port: does it listen on another? Twice the same answer makes it certain.
    async fn look_elsewhere(&mut self, engine: &dyn Engine, wanted: u16) -> (Unready, bool) {
        let just_looked = |at: Instant| at.elapsed() < ELSEWHERE_PAUSE;
        if self.began.elapsed() < ELSEWHERE_AFTER || self.looked.is_some_and(just_looked) {
            let ports = self.elsewhere.clone();
            let found = ports.map(|ports| Unready::ListensElsewhere { ports, wanted });
            return (found.unwrap_or(Unready::NotListening), false);
        }
        self.looked = Some(Instant::now());
        let mut ports = engine
            .listening(&self.target.slot)
            .await
            .unwrap_or_default();
        ports.sort_unstable();
        ports.dedup();
        if ports.is_empty() || ports.contains(&wanted) {
            self.elsewhere = None;
            return (Unready::NotListening, false);
        }
        let certain = self.elsewhere.replace(ports.clone()) == Some(ports.clone());
        (Unready::ListensElsewhere { ports, wanted }, certain)
    }

    /// Turns an answer into a verdict: a ready process is not dropped for one bad answer.
    fn settle(&mut self, found: Result<(), (Unready, bool)>) -> Probe {
        match found {
            Ok(()) => {
                self.was_ready = true;
                self.failures = 0;
                Probe::Ready
            }
            Err((unready, hopeless)) => {
                self.failures += 1;
                let refused = matches!(
                    unready,
                    Unready::NotListening | Unready::ListensElsewhere { .. }
                );
                if self.was_ready && !refused && self.failures < FAILURES_MAX {
                    return Probe::Ready;
                }
                if hopeless && !self.was_ready {
                    return Probe::Hopeless(unready);
                }
                Probe::Unready(unready)
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.was_ready && self.failures == 0 {
            return self.target.check.interval;
        }
        if let Question::Age(age) = self.check().question
            && !self.was_ready
        {
            return age
                .saturating_sub(self.began.elapsed())
                .max(Duration::from_millis(1));
        }
        if let Some(startup) = self
            .target
            .startup
            .as_ref()
            .filter(|check| !check.interval.is_zero())
        {
            return startup.interval;
        }
        // A fortieth of its age: whatever a process took to start, little is added to it.
        (self.began.elapsed() / 40).clamp(limits::PROBE_FIRST.into(), limits::PROBE_SLOWEST.into())
    }
}

/// GET of a path; the answer's status, or none when no HTTP answer came.
async fn get_status(stream: TcpStream, address: SocketAddr, path: &str) -> Option<u16> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let request = http::Request::get(path)
        .header(http::header::HOST, address.to_string())
        .header(http::header::USER_AGENT, "hoist-probe")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .ok()?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    connection.abort();
    Some(answer.ok()?.status().as_u16())
}
