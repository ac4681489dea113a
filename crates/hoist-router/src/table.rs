//! The table as requests read it, and the exact account of what is in flight.
//!
//! The one thing to know: a request first counts itself on a slot and then checks that the table it chose from is still
//! the newest; a publisher first makes the new table the newest and then reads counts. Whichever comes first, no request
//! goes to a slot that a report has shown as empty and unrouted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hoist_core::id::{AppName, ServiceName, SlotId, Version};
use hoist_core::model::{RouteTable, RouteTarget};
use tokio::sync::watch;

use crate::access::{Journal, Sink};

/// Longest time that a process gets to answer, whatever a table says: clocks can add it to any moment.
const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// One table, compiled; never changes.
pub(crate) struct Live {
    pub(crate) generation: u64,
    pub(crate) version: Version,
    hosts: HashMap<Box<str>, Arc<Service>>,
    routed: BTreeSet<SlotId>,
}

/// A service that hosts reach.
pub(crate) struct Service {
    pub(crate) app: AppName,
    pub(crate) name: ServiceName,
    pub(crate) target: Target,
    pub(crate) timeout: Duration,
    pub(crate) body_bytes_max: u64,
    pub(crate) log: Option<Arc<Sink>>,
    turn: AtomicUsize,
}

pub(crate) enum Target {
    Processes(Box<[Arc<Endpoint>]>),
    Held,
    Stopped,
}

/// One process at one address; the same value over all tables that name it.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    slot: Arc<SlotCounts>,
    /// No table names it any more: idle connections to it are worth nothing.
    retired: AtomicBool,
    /// Milliseconds since the router began; 0 when it is not ejected.
    ejected_until: AtomicU64,
}

struct SlotCounts {
    in_flight: AtomicU32,
    tunnels: AtomicU32,
}

impl Live {
    /// The service of a host in lower case without port.
    pub(crate) fn service(&self, host: &str) -> Option<&Arc<Service>> {
        self.hosts.get(host)
    }
}

impl Service {
    /// The process with the fewest requests among those not tried and not ejected; ejected ones when there is no other.
    /// Equal ones take turns.
    pub(crate) fn choose<'a>(
        &self,
        endpoints: &'a [Arc<Endpoint>],
        tried: &[Arc<Endpoint>],
        now: impl Fn() -> Moment,
    ) -> Option<&'a Arc<Endpoint>> {
        if let ([only], []) = (endpoints, tried) {
            return Some(only);
        }
        let now = now();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn =
            (0..endpoints.len()).map(|n| &endpoints[(turn.wrapping_add(n)) % endpoints.len()]);
        in_turn
            .filter(|endpoint| !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint)))
            .min_by_key(|endpoint| {
                (
                    endpoint.is_ejected(now),
                    endpoint.slot.in_flight.load(Ordering::Relaxed),
                )
            })
    }
}

impl Endpoint {
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Passes it over until `until`, unless there is no other.
    pub(crate) fn eject(&self, until: Moment) {
        self.ejected_until.store(until.0, Ordering::Relaxed);
    }

    fn is_ejected(&self, now: Moment) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now.0
    }
}

/// Milliseconds since the router began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0 + length.as_millis() as u64)
    }
}

/// A request counted on a slot, until it is dropped.
pub(crate) struct InFlight(Arc<Endpoint>);

impl InFlight {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    /// The request became a tunnel, which is counted apart.
    pub(crate) fn into_tunnel(self) -> InTunnel {
        self.0.slot.tunnels.fetch_add(1, Ordering::SeqCst);
        InTunnel(self.0.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.slot.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A tunnel counted on a slot, until it is dropped.
pub(crate) struct InTunnel(Arc<Endpoint>);

impl Drop for InTunnel {
    fn drop(&mut self) {
        self.0.slot.tunnels.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What all threads share: the newest table and who is named in any.
pub(crate) struct Routes {
    began: Instant,
    generation: AtomicU64,
    live: Mutex<Arc<Live>>,
    known: Mutex<Known>,
    changed: watch::Sender<u64>,
    journal: Arc<Journal>,
}

/// Slots and endpoints of the newest table and of requests that have not ended.
#[derive(Default)]
struct Known {
    slots: BTreeMap<SlotId, Arc<SlotCounts>>,
    endpoints: BTreeMap<(SlotId, SocketAddr), Arc<Endpoint>>,
}

/// What runs, for a report.
pub(crate) struct Counts {
    pub(crate) version: Version,
    pub(crate) routed: BTreeSet<SlotId>,
    pub(crate) in_flight: BTreeMap<SlotId, u32>,
    pub(crate) tunnels: BTreeMap<SlotId, u32>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these, and every write leaves a whole value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Routes {
    pub(crate) fn new(journal: Arc<Journal>) -> Self {
        let nothing = Live {
            generation: 0,
            version: Version::default(),
            hosts: HashMap::new(),
            routed: BTreeSet::new(),
        };
        Self {
            began: Instant::now(),
            generation: AtomicU64::new(0),
            live: Mutex::new(Arc::new(nothing)),
            known: Mutex::default(),
            changed: watch::Sender::new(0),
            journal,
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.began.elapsed().as_millis() as u64 + 1)
    }

    /// Serves `table` from now on. One caller at a time.
    pub(crate) fn serve(&self, table: &RouteTable) {
        let generation = self.generation.load(Ordering::SeqCst) + 1;
        let live = Arc::new(self.compile(table, generation));
        *lock(&self.live) = live;
        self.generation.store(generation, Ordering::SeqCst);
        self.forget_ended();
        self.changed.send_replace(generation);
    }

    /// Renews `cached` when a newer table is served.
    pub(crate) fn refresh(&self, cached: &mut Arc<Live>) {
        if cached.generation != self.generation.load(Ordering::SeqCst) {
            *cached = self.newest();
        }
    }

    pub(crate) fn newest(&self) -> Arc<Live> {
        lock(&self.live).clone()
    }

    /// Wakes with every new table.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Counts a request on `endpoint`, chosen from `live`; none when a newer table is served meanwhile.
    pub(crate) fn enter(&self, live: &Live, endpoint: &Arc<Endpoint>) -> Option<InFlight> {
        endpoint.slot.in_flight.fetch_add(1, Ordering::SeqCst);
        let entered = InFlight(endpoint.clone());
        (self.generation.load(Ordering::SeqCst) <= live.generation).then_some(entered)
    }

    pub(crate) fn counts(&self) -> Counts {
        let live = self.newest();
        let known = lock(&self.known);
        let count = |of: fn(&SlotCounts) -> &AtomicU32| {
            let counted = known
                .slots
                .iter()
                .map(|(id, slot)| (id.clone(), of(slot).load(Ordering::SeqCst)));
            counted.filter(|(_, count)| *count > 0).collect()
        };
        Counts {
            version: live.version,
            routed: live.routed.clone(),
            in_flight: count(|slot| &slot.in_flight),
            tunnels: count(|slot| &slot.tunnels),
        }
    }

    fn compile(&self, table: &RouteTable, generation: u64) -> Live {
        let mut known = lock(&self.known);
        let known = &mut *known;
        let mut named = BTreeSet::new();
        let mut services = BTreeMap::new();
        for ((app, name), route) in &table.services {
            let target = match &route.target {
                RouteTarget::Held => Target::Held,
                RouteTarget::Stopped => Target::Stopped,
                RouteTarget::Processes(endpoints) => Target::Processes(
                    endpoints
                        .iter()
                        .map(|endpoint| {
                            named.insert((endpoint.slot.clone(), endpoint.address));
                            known.endpoint(&endpoint.slot, endpoint.address)
                        })
                        .collect(),
                ),
            };
            let service = Service {
                app: app.clone(),
                name: name.clone(),
                target,
                timeout: Duration::from(route.timeout).min(TIMEOUT_MAX),
                body_bytes_max: route.body_bytes_max,
                log: route
                    .access_log
                    .as_deref()
                    .map(|path| self.journal.sink(path)),
                turn: AtomicUsize::new(0),
            };
            services.insert((app, name), Arc::new(service));
        }
        for (key, endpoint) in &known.endpoints {
            endpoint
                .retired
                .store(!named.contains(key), Ordering::Relaxed);
        }
        let reached = |(host, (app, name)): (&String, &(AppName, ServiceName))| {
            let service = services.get(&(app, name))?;
            Some((host.to_ascii_lowercase().into_boxed_str(), service.clone()))
        };
        Live {
            generation,
            version: table.version,
            hosts: table.hosts.iter().filter_map(reached).collect(),
            routed: named.into_iter().map(|(slot, _)| slot).collect(),
        }
    }

    /// Lets go of slots that no table names and no request holds.
    fn forget_ended(&self) {
        let live = self.newest();
        let mut known = lock(&self.known);
        // A count of one holder is this map alone: whoever held it through an older table would still be counted.
        known.endpoints.retain(|(slot, _), endpoint| {
            live.routed.contains(slot) || Arc::strong_count(endpoint) > 1
        });
        known
            .slots
            .retain(|id, slot| live.routed.contains(id) || Arc::strong_count(slot) > 1);
    }
}

impl Known {
    fn endpoint(&mut self, id: &SlotId, address: SocketAddr) -> Arc<Endpoint> {
        let slot = self.slots.entry(id.clone()).or_insert_with(|| {
            Arc::new(SlotCounts {
                in_flight: AtomicU32::new(0),
                tunnels: AtomicU32::new(0),
            })
        });
        let fresh = || {
            Arc::new(Endpoint {
                address,
                slot: slot.clone(),
                retired: AtomicBool::new(false),
                ejected_until: AtomicU64::new(0),
            })
        };
        self.endpoints
            .entry((id.clone(), address))
            .or_insert_with(fresh)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::thread;

    use hoist_core::id::WorkloadId;
    use hoist_core::model::{Endpoint, Millis, ServiceRoute};

    use super::*;

    fn slot(attempt: u64) -> SlotId {
        let workload = WorkloadId {
            app: "app".parse().unwrap(),
            service: "web".parse().unwrap(),
            attempt: Version {
                epoch: 1,
                number: attempt,
            },
        };
        SlotId { workload, slot: 1 }
    }

    /// A table that routes to the process of one attempt, whose port says which.
    fn table(attempt: u64) -> RouteTable {
        let key = ("app".parse().unwrap(), "web".parse().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], attempt as u16));
        let target = RouteTarget::Processes(vec![Endpoint {
            slot: slot(attempt),
            address,
        }]);
        let route = ServiceRoute {
            target,
            timeout: Millis(u64::MAX),
            body_bytes_max: 0,
            access_log: None,
        };
        RouteTable {
            version: Version {
                epoch: 1,
                number: attempt,
            },
            hosts: BTreeMap::from([("app".to_owned(), key.clone())]),
            services: BTreeMap::from([(key, route)]),
        }
    }

    fn enter(routes: &Routes, live: &mut Arc<Live>) -> Option<InFlight> {
        routes.refresh(live);
        let service = live.service("app")?;
        let Target::Processes(endpoints) = &service.target else {
            return None;
        };
        let endpoint = service.choose(endpoints, &[], || routes.now())?;
        routes.enter(live, endpoint)
    }

    /// The promise that drains stand on, tried with real threads: once a report shows a slot as unrouted and empty, no
    /// request is on it or comes to it.
    #[test]
    fn nothing_comes_to_a_slot_that_was_seen_unrouted_and_empty() {
        const SWITCHES: u64 = 3_000;
        let routes = Routes::new(Arc::new(Journal::new(1)));
        routes.serve(&table(1));
        let stopped: Vec<AtomicBool> = (0..=SWITCHES).map(|_| AtomicBool::new(false)).collect();
        let entered = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut live = routes.newest();
                    while !stopped[SWITCHES as usize - 1].load(Ordering::SeqCst) {
                        let Some(request) = enter(&routes, &mut live) else {
                            continue;
                        };
                        let attempt = usize::from(request.endpoint().address.port());
                        assert!(
                            !stopped[attempt].load(Ordering::SeqCst),
                            "a request on stopped {attempt}"
                        );
                        entered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for attempt in 2..=SWITCHES {
                routes.serve(&table(attempt));
                let old = slot(attempt - 1);
                while routes.counts().in_flight.contains_key(&old) {
                    thread::yield_now();
                }
                stopped[attempt as usize - 1].store(true, Ordering::SeqCst);
            }
        });
        assert!(entered.load(Ordering::Relaxed) > 1_000);
        assert!(routes.counts().in_flight.is_empty());
    }

    #[test]
    fn slots_are_forgotten_once_no_table_names_them_and_no_request_holds_them() {
        let routes = Routes::new(Arc::new(Journal::new(1)));
        routes.serve(&table(1));
        let request = enter(&routes, &mut routes.newest()).unwrap();
        routes.serve(&table(2));
        routes.serve(&table(3));
        assert_eq!(routes.counts().in_flight, BTreeMap::from([(slot(1), 1)]));
        assert_eq!(
            lock(&routes.known).slots.keys().collect::<Vec<_>>(),
            [&slot(1), &slot(3)]
        );
        drop(request);
        routes.serve(&table(4));
        assert_eq!(
            lock(&routes.known).slots.keys().collect::<Vec<_>>(),
            [&slot(4)]
        );
    }

    #[test]
    fn the_least_busy_is_chosen_and_equal_ones_take_turns() {
        let routes = Routes::new(Arc::new(Journal::new(1)));
        let mut two = table(1);
        let address = SocketAddr::from(([127, 0, 0, 1], 2));
        if let Some(route) = two.services.values_mut().next()
            && let RouteTarget::Processes(endpoints) = &mut route.target
        {
            endpoints.push(Endpoint {
                slot: slot(2),
                address,
            });
        }
        routes.serve(&two);
        let mut live = routes.newest();
        let mut ports: Vec<_> = (0..4)
            .filter_map(|_| Some(enter(&routes, &mut live)?.endpoint().address.port()))
            .collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 1, 2, 2]);
        let busy = enter(&routes, &mut live).unwrap();
        for _ in 0..4 {
            let other = enter(&routes, &mut live).unwrap();
            assert_ne!(other.endpoint().address, busy.endpoint().address);
        }
        let idle = enter(&routes, &mut live).unwrap().endpoint().clone();
        idle.eject(routes.now() + Duration::from_secs(9));
        assert_eq!(
            enter(&routes, &mut live).unwrap().endpoint().address,
            busy.endpoint().address
        );
    }
}
