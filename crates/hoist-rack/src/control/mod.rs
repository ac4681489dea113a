//! The loop that makes it true: look at everything, commit what the planner decides, carry out what is due.
//!
//! There is no deploy script. Each pass is the same for every app, starts from the last committed state, and may be the
//! first after a crash. Hints only make the next pass come sooner.

mod act;
mod decide;
mod failing;
mod follow;
mod probe;
mod publish;
mod waits;
mod words;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hoist_core::id::{AppName, ProcessId, ServiceName, SlotId, Version, WorkloadId};
use hoist_core::model::{EngineLook, Life, Millis, Observation, RouterLook, TaskStatus, Timestamp};
use hoist_core::plan::{self, Verdict, Waiting};
use hoist_engine::{Engine, Seen, TaskId};
use hoist_router::control::{RouterClient, RouterReport};
use tokio::sync::Notify;

pub use failing::Failing;
pub use follow::{exit_words, limits_of, release_of};
pub use probe::{Check, Liveness, Prober, Question, Target};
pub use publish::urls;
pub use words::{event_source, status_word, status_words};

use crate::clock::Clock;
use crate::error::with_causes;
use crate::layout::Layout;
use crate::releases::Releases;
use crate::sequence::Sequence;
use crate::store::{AppEntry, RackState, Store};
use follow::Follower;
use waits::ToldWaits;

/// The longest pause between passes when nothing happens.
const PAUSE_AT_REST: Duration = Duration::from_secs(5);
/// The longest pause between passes while something is in flight: requests in flight are counted, not hinted.
const PAUSE_IN_FLIGHT: Duration = Duration::from_millis(50);
/// How long one look at the engine or the router may take.
pub(crate) const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// What the loop is made of. One per rack.
pub struct Controller {
    /// The store.
    pub store: Arc<Store>,
    /// The rack's numbers.
    pub sequence: Arc<Sequence>,
    /// The rack's clock.
    pub clock: Arc<dyn Clock>,
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The router's control socket.
    pub router: RouterClient,
    /// The prober.
    pub prober: Arc<Prober>,
    /// Releases in use.
    pub releases: Arc<Releases>,
    /// The data directory.
    pub layout: Layout,
    /// Hosts end with it.
    pub domain: String,
    /// Makes the next pass come now.
    pub wake: Arc<Notify>,
    state: Mutex<LoopState>,
    acting: Mutex<HashSet<act::Acting>>,
}

/// What the loop last did, for `doctor`, `ps` and promotions in flight.
#[derive(Clone, Default)]
pub struct LoopState {
    /// Passes so far.
    pub passes: u64,
    /// When the last one ended.
    pub last_pass: Timestamp,
    /// The last look at the engine.
    pub engine: EngineLook,
    /// Its raw form, with tasks.
    pub seen: Seen,
    /// The last look at the router.
    pub router: RouterLook,
    /// The router's own report.
    pub router_report: Option<RouterReport>,
    /// Why the engine could not be looked at.
    pub engine_error: Option<String>,
    /// Why the router could not be looked at.
    pub router_error: Option<String>,
    /// What each app in flight waits for.
    pub waiting: BTreeMap<AppName, Vec<Waiting>>,
    /// How the last resize of each service ended, since the rack started.
    pub resized: BTreeMap<(AppName, ServiceName), EndedResize>,
    /// How the last renewal of each process ended, since the rack started.
    pub renewed: BTreeMap<SlotId, EndedRenewal>,
    /// Lives that were told to end for another one in their slot, and when.
    restarted: BTreeMap<SlotId, (Life, Instant)>,
    /// Workloads that the engine refused for good, with its words.
    refused: BTreeMap<WorkloadId, String>,
    /// Apps whose volumes go when they are gone.
    volumes_too: HashSet<AppName>,
    /// When the next pass comes, at the latest.
    pub next_pass: Timestamp,
    /// What could not be carried out and is tried again, by what it is.
    pub failing: BTreeMap<String, Failing>,
    published: publish::Published,
    follower: Follower,
    told_waits: ToldWaits,
}

/// A resize that has ended.
#[derive(Debug, Clone)]
pub struct EndedResize {
    /// The size before.
    pub from: u16,
    /// The size that was asked for.
    pub to: u16,
    /// When it began, on the rack's clock.
    pub began: Timestamp,
    /// When it ended, on the rack's clock.
    pub ended: Timestamp,
    /// Why the size before came back; none when it did not.
    pub reason: Option<String>,
}

/// A renewal that has ended.
#[derive(Debug, Clone)]
pub struct EndedRenewal {
    /// When its last stage began, on the rack's clock.
    pub began: Timestamp,
    /// When it ended, on the rack's clock.
    pub ended: Timestamp,
    /// Why the process was not ready; none when it was.
    pub reason: Option<String>,
}

/// The parts that a controller is put together from.
pub struct Parts {
    /// See [`Controller`].
    pub store: Arc<Store>,
    /// See [`Controller`].
    pub sequence: Arc<Sequence>,
    /// See [`Controller`].
    pub clock: Arc<dyn Clock>,
    /// See [`Controller`].
    pub engine: Arc<dyn Engine>,
    /// See [`Controller`].
    pub router: RouterClient,
    /// See [`Controller`].
    pub releases: Arc<Releases>,
    /// See [`Controller`].
    pub layout: Layout,
    /// See [`Controller`].
    pub domain: String,
}

impl Controller {
    /// A controller that has not looked yet.
    pub fn new(parts: Parts) -> Self {
        let wake = Arc::new(Notify::new());
        let prober = Prober::new(parts.engine.clone(), parts.sequence.clone(), wake.clone());
        Self {
            store: parts.store,
            sequence: parts.sequence,
            clock: parts.clock,
            engine: parts.engine,
            router: parts.router,
            prober: Arc::new(prober),
            releases: parts.releases,
            layout: parts.layout,
            domain: parts.domain,
            wake,
            state: Mutex::default(),
            acting: Mutex::default(),
        }
    }

    /// A copy of what the loop last did.
    pub fn state(&self) -> LoopState {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LoopState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes until it is dropped. Cancelling it between or inside passes loses nothing.
    pub async fn run(self: Arc<Self>) {
        let hints = self.engine.hints();
        loop {
            let moved = self.pass().await;
            if moved {
                continue;
            }
            let pause = self.pause();
            self.lock().next_pass = self.clock.now() + Millis(pause.as_millis() as u64);
            tokio::select! {
                () = self.wake.notified() => {}
                () = hints.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Until when nothing but a hint or a person changes anything.
    fn pause(&self) -> Duration {
        let state = self.store.snapshot();
        let now = self.clock.now();
        let busy = state.apps.values().any(|entry| in_flight(entry));
        let longest = if busy { PAUSE_IN_FLIGHT } else { PAUSE_AT_REST };
        state
            .apps
            .values()
            .filter_map(|entry| plan::due(&entry.app, now))
            .map(|due| Duration::from(due.since(now)))
            .fold(longest, Duration::min)
            .max(Duration::from_millis(1))
    }

    /// One pass. Answers whether it changed the state, so that another should follow at once.
    async fn pass(self: &Arc<Self>) -> bool {
        let state = self.store.snapshot();
        let (engine, seen) = self.look_at_engine().await;
        let router = self.look_at_router().await;
        self.load_releases(&state).await;
        self.prober.watch(self.targets(&state, &seen));
        let Ok((fresh, state)) = self.sequence.look(|| self.store.snapshot()).await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            return false;
        };
        let look = Look {
            engine,
            router,
            fresh,
        };
        self.follow(&state, &look, &seen).await;
        let moved = self.decide_all(&state, &look).await;
        self.act_all(&self.store.snapshot(), &look, &seen);
        let published = self.publish(&look).await;
        let mut own = self.lock();
        own.forget_what_is_not_due();
        own.passes += 1;
        own.last_pass = self.clock.now();
        own.router = look.router;
        moved || published
    }

    async fn look_at_engine(&self) -> (EngineLook, Seen) {
        let Ok((look, ())) = self.sequence.look(|| ()).await else {
            return self.last_engine_look();
        };
        // Before the look: an action that ends during it shows in one or the other.
        let acting = self
            .acting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let answer = tokio::time::timeout(LOOK_LIMIT, self.engine.observe()).await;
        let seen = match answer {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => return self.engine_unseen(with_causes(&error)),
            Err(_) => return self.engine_unseen(format!("no answer within {LOOK_LIMIT:?}")),
        };
        self.lock().engine_error = None;
        let release_commands = seen.tasks.iter().filter_map(|(id, status)| match id {
            TaskId::ReleaseCommand(_, promotion) => Some((*promotion, *status)),
            _ => None,
        });
        let postdeploys = seen.tasks.iter().filter_map(|(id, status)| match id {
            TaskId::Postdeploy(_, promotion) => Some((*promotion, *status)),
            _ => None,
        });
        let mut engine = EngineLook {
            look,
            workloads: seen.workloads.clone(),
            release_commands: release_commands.collect::<BTreeMap<Version, TaskStatus>>(),
            postdeploys: postdeploys.collect(),
            refused: self.lock().refused.clone(),
            memory_free_bytes: seen.memory_free_bytes,
        };
        act::count_in(&mut engine, &acting);
        // At once: what this pass decides may need to know whose last words to keep.
        let mut own = self.lock();
        own.engine = engine.clone();
        own.seen = seen.clone();
        drop(own);
        (engine, seen)
    }

    /// An engine that cannot be looked at leaves the last look, which is old and so no evidence of anything new.
    fn engine_unseen(&self, why: String) -> (EngineLook, Seen) {
        tracing::warn!(error = %why, "the engine cannot be looked at");
        self.lock().engine_error = Some(why);
        self.last_engine_look()
    }

    fn last_engine_look(&self) -> (EngineLook, Seen) {
        let own = self.lock();
        (own.engine.clone(), own.seen.clone())
    }

    async fn look_at_router(&self) -> RouterLook {
        let Ok((look, ())) = self.sequence.look(|| ()).await else {
            return self.lock().router.clone();
        };
        let answer = tokio::time::timeout(LOOK_LIMIT, self.router.report()).await;
        let error = match answer {
            Ok(Ok(report)) => {
                let mut own = self.lock();
                own.router_error = None;
                own.router_report = Some(report.clone());
                return report.into_look(look);
            }
            Ok(Err(error)) => with_causes(&error),
            Err(_) => format!("no answer within {LOOK_LIMIT:?}"),
        };
        let mut own = self.lock();
        own.router_error = Some(error);
        own.router.clone()
    }

    /// Has the releases that the state names at hand: routes and probes need their manifests.
    async fn load_releases(&self, state: &RackState) {
        for entry in state.apps.values() {
            for id in entry.app.releases.keys() {
                if self.releases.known(id).is_none()
                    && let Err(error) = self.releases.detail(&entry.app.name, id).await
                {
                    let what = format!("read release {id} of {}", entry.app.name);
                    self.failed(what, with_causes(&error));
                }
            }
        }
        let apps = state.apps.values();
        let named: HashSet<_> = apps.flat_map(|entry| entry.app.releases.keys()).collect();
        self.releases.retain(|id| named.contains(id));
    }

    /// Every running process whose readiness anybody may ask for.
    fn targets(&self, state: &RackState, seen: &Seen) -> Vec<Target> {
        let mut targets = Vec::new();
        for (id, processes) in &seen.workloads {
            let Some(entry) = state.apps.get(&id.app) else {
                continue;
            };
            let Some(release) = follow::release_of(&entry.app, id) else {
                continue;
            };
            let Some(detail) = self.releases.known(&release) else {
                continue;
            };
            let Some(service) = detail.manifest.service(&id.service) else {
                continue;
            };
            let check = crate::releases::check_of(service);
            let startup = crate::releases::startup_of(service);
            let liveness = crate::releases::liveness_of(service);
            for (slot, process) in processes {
                if process.state != hoist_core::model::ProcessState::Running {
                    continue;
                }
                targets.push(Target {
                    slot: hoist_core::id::SlotId {
                        workload: id.clone(),
                        slot: *slot,
                    },
                    life: process.life(),
                    address: process.address,
                    check: check.clone(),
                    startup: startup.clone(),
                    liveness: liveness.clone(),
                });
            }
        }
        targets
    }

    /// What the last pass saw of one app, for people.
    pub fn last_seen(&self, app: &AppName) -> Observation {
        let own = self.lock();
        self.observation_of(app, &own.engine, &own.router, own.engine.look)
    }

    /// What an app in flight waits for first.
    pub fn waiting_for(&self, app: &AppName) -> Option<Waiting> {
        self.lock().waiting.get(app)?.first().cloned()
    }

    /// How the last resize of a service ended.
    pub fn last_resize(&self, app: &AppName, service: &ServiceName) -> Option<EndedResize> {
        let key = (app.clone(), service.clone());
        self.lock().resized.get(&key).cloned()
    }

    /// How the last renewal of a process ended.
    pub fn last_renewal(&self, slot: &SlotId) -> Option<EndedRenewal> {
        self.lock().renewed.get(slot).cloned()
    }

    /// Deletes an app's volumes once the app is gone. A rack that ends before forgets it, and keeps them.
    pub fn delete_volumes_with(&self, app: &AppName) {
        self.lock().volumes_too.insert(app.clone());
    }

    /// Forgets how earlier resizes of an app ended: a new one begins.
    pub fn forget_resizes(&self, app: &AppName) {
        self.lock().resized.retain(|(name, _), _| name != app);
    }

    /// Hosts in the table that the router runs, and whose they are.
    pub fn hosts(&self) -> Vec<(String, AppName)> {
        self.lock().published.hosts()
    }

    /// Whether the engine held one-offs at the last look.
    pub fn holds_one_offs(&self) -> bool {
        let own = self.lock();
        let mut tasks = own.seen.tasks.keys();
        tasks.any(|task| matches!(task, TaskId::OneOff(..)))
    }

    /// What a task shows as, once the engine was seen to hold it.
    pub fn process_of(&self, task: &TaskId) -> Option<ProcessId> {
        self.lock().seen.task_processes.get(task).cloned()
    }

    /// Processes that the engine holds.
    pub fn process_ids(&self) -> HashSet<String> {
        let own = self.lock();
        let processes = own.seen.workloads.values().flat_map(BTreeMap::values);
        processes.map(|process| process.id.to_string()).collect()
    }

    /// What was seen of one app.
    fn observation(&self, app: &AppName, look: &Look) -> Observation {
        self.observation_of(app, &look.engine, &look.router, look.fresh)
    }

    fn observation_of(
        &self,
        app: &AppName,
        engine: &EngineLook,
        router: &RouterLook,
        fresh: Version,
    ) -> Observation {
        // A thousand apps are each looked at in each pass: none may search what all of them have.
        let first = WorkloadId::least_of(app);
        let workloads = engine.workloads.range(&first..);
        let workloads = workloads.take_while(|(id, _)| id.app == *app);
        let first = SlotId::least_of(app);
        let routed = router.routed.range(&first..);
        let routed = routed.take_while(|slot| slot.workload.app == *app);
        let in_flight = router.in_flight.range(&first..);
        let in_flight = in_flight.take_while(|(slot, _)| slot.workload.app == *app);
        Observation {
            engine: EngineLook {
                look: engine.look,
                workloads: workloads
                    .map(|(id, slots)| (id.clone(), slots.clone()))
                    .collect(),
                release_commands: engine.release_commands.clone(),
                postdeploys: engine.postdeploys.clone(),
                refused: engine.refused.clone(),
                memory_free_bytes: engine.memory_free_bytes,
            },
            probes: self.prober.look(app, &engine.workloads, fresh),
            router: RouterLook {
                routed: routed.cloned().collect(),
                in_flight: in_flight
                    .map(|(slot, count)| (slot.clone(), *count))
                    .collect(),
                ..RouterLook {
                    routed: Default::default(),
                    in_flight: Default::default(),
                    ..*router
                }
            },
        }
    }

    /// Asks the planner about every app and commits what it decides, all apps at once.
    async fn decide_all(self: &Arc<Self>, state: &RackState, look: &Look) -> bool {
        let now = self.clock.now();
        let mut waiting = BTreeMap::new();
        let mut commits = Vec::new();
        for entry in state.apps.values() {
            let seen = self.observation(&entry.app.name, look);
            match plan::step(&entry.app, &seen, now) {
                Verdict::Rest => {}
                Verdict::Wait(on) => {
                    let stale = on.iter().any(|wait| {
                        matches!(
                            wait,
                            Waiting::Look {
                                part: plan::Part::Probes
                            }
                        )
                    });
                    if stale {
                        self.prober.refresh(&entry.app.name);
                    }
                    waiting.insert(entry.app.name.clone(), on);
                }
                Verdict::Go(transition) => {
                    commits.push(self.commit(entry.clone(), transition, seen));
                }
            }
        }
        self.tell_waits(state, &waiting, now).await;
        self.lock().waiting = waiting;
        let moved = !commits.is_empty();
        join_all(commits).await;
        moved
    }
}

/// What one pass saw of everything but probes, which each app has its own of.
struct Look {
    engine: EngineLook,
    router: RouterLook,
    fresh: Version,
}

/// Whether something of the app is under way, so that the loop looks often.
fn in_flight(entry: &AppEntry) -> bool {
    use hoist_core::model::Standing;
    let app = &entry.app;
    let moving = !matches!(app.standing, Standing::Up | Standing::Stopped);
    app.promotion.is_some() || !app.resizes.is_empty() || !app.renewals.is_empty() || moving
}
