//! A simulated router: runs the newest table it got, keeps it over its own death, counts requests in flight.

use std::collections::{BTreeMap, BTreeSet};

use hoist_core::id::{AppName, ServiceName, SlotId, Version};
use hoist_core::model::{RouteTarget, RouterLook};

use crate::random::Random;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub version: Version,
    pub routes: BTreeMap<(AppName, ServiceName), RouteTarget>,
}

impl Table {
    pub fn named(&self) -> BTreeSet<SlotId> {
        let lists = self.routes.values().filter_map(|target| match target {
            RouteTarget::Processes(list) => Some(list),
            RouteTarget::Held | RouteTarget::Stopped => None,
        });
        lists
            .flatten()
            .map(|endpoint| endpoint.slot.clone())
            .collect()
    }
}

#[derive(Debug)]
pub struct Router {
    pub incarnation: u64,
    /// What it runs, and has on disk: it acknowledges nothing before.
    pub table: Table,
    pub named: BTreeSet<SlotId>,
    pub in_flight: BTreeMap<SlotId, u32>,
    /// When each slot that has requests was last named by the running table.
    pub last_named: BTreeMap<SlotId, u64>,
    /// Not before then does it answer.
    pub down_until: u64,
    /// Some clients never hang up.
    pub sticky: bool,
    /// In stories requests come and go only when the story says so.
    pub quiet: bool,
}

impl Router {
    pub fn new(sticky: bool) -> Self {
        Self {
            incarnation: 1,
            table: Table::default(),
            named: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            last_named: BTreeMap::new(),
            down_until: 0,
            sticky,
            quiet: false,
        }
    }

    pub fn accept(&mut self, table: Table, now: u64) {
        if now >= self.down_until && table.version > self.table.version {
            self.named = table.named();
            self.table = table;
        }
    }

    pub fn crash(&mut self, now: u64, random: &mut Random) {
        self.incarnation += 1;
        self.in_flight.clear();
        self.down_until = now + random.below(10_000);
    }

    /// Requests come and go.
    pub fn run(&mut self, now: u64, random: &mut Random) {
        if now < self.down_until {
            return;
        }
        for slot in &self.named {
            self.last_named.insert(slot.clone(), now);
        }
        if self.quiet {
            return;
        }
        for slot in &self.named {
            *self.in_flight.entry(slot.clone()).or_default() += random.below(4) as u32;
        }
        let floor = u32::from(self.sticky);
        for count in self.in_flight.values_mut() {
            *count = count
                .saturating_sub(random.below(6) as u32)
                .max(floor.min(*count));
        }
        self.in_flight.retain(|_, count| *count > 0);
    }

    pub fn look(&self, look: Version) -> RouterLook {
        RouterLook {
            look,
            incarnation: self.incarnation,
            version: self.table.version,
            routed: self.named.clone(),
            in_flight: self.in_flight.clone(),
        }
    }
}
