//! Retention in a simulated rack, and the promise about it.

use std::collections::BTreeSet;

use hoist_core::id::{AppName, BuildId, ReleaseId};
use hoist_core::model::PromotionKind;
use hoist_core::retention::{self, BuildState, Facts, Gone, Keep, Made};

use crate::promises::Broken;
use crate::records::Records;
use crate::world::World;

impl World {
    /// Collects what an app need not keep beside its newest releases. `used` is what a one-off runs.
    pub fn sweep(&mut self, app: &AppName, keep: u32, used: Option<ReleaseId>) {
        let Some(facts) = self.facts(app, keep, used) else {
            return;
        };
        let ways = |world: &Self| {
            let records = world.records.get(app)?;
            let active = world.active(app);
            let base = world
                .planner
                .base(&records.kin_after(active.as_ref()), active.as_ref());
            let back = active.and_then(|active| world.planner.last_good(records, &active));
            Some((base, back))
        };
        let gone = self.planner.gone(&facts);
        let before = ways(self);
        if let Some(records) = self.records.get_mut(app) {
            records.collect(&gone);
        }
        let after = ways(self);
        if before != after {
            let what = format!("{app}: base and way back were {before:?}, now {after:?}");
            self.checks.hold(Some(("R7", what)));
        }
        if let Some(records) = self.records.get(app) {
            self.checks.hold(kept(&facts, records));
        }
        if !gone.releases.is_empty() {
            self.checks.count("collected");
            let ids: Vec<_> = gone.releases.iter().map(ReleaseId::as_str).collect();
            self.say(format!("{app} collects {}", ids.join(" ")));
        }
    }

    fn facts(&self, app: &AppName, keep: u32, used: Option<ReleaseId>) -> Option<Facts> {
        let (records, state) = (self.records.get(app)?, self.apps.get(app)?);
        let build_of = |id: &ReleaseId| records.find(id).map(|record| record.release.build.clone());
        let made = records.kin_after(None).into_iter().map(|kin| Made {
            build: build_of(&kin.id),
            kin,
        });
        let mut needed = retention::named(state);
        needed.extend(used);
        let builds = records.builds.iter().rev();
        Some(Facts {
            releases: made.collect(),
            builds: builds
                .map(|build| (build.id(), BuildState::Complete))
                .collect(),
            active: self.active(app),
            needed,
            served: records.served(),
            keep: Keep::of(Some(keep)),
        })
    }
}

impl Records {
    fn collect(&mut self, gone: &Gone) {
        self.releases
            .retain(|record| !gone.releases.contains(&record.release.id));
        let builds: BTreeSet<&BuildId> = gone.builds.iter().map(|(id, _)| id).collect();
        self.builds.retain(|build| !builds.contains(&build.id()));
    }

    /// What served, by the records.
    pub fn served(&self) -> hoist_core::history::Served {
        let mut served = hoist_core::history::Served::default();
        for (release, kind) in self.successes() {
            served.add(release.clone(), kind == PromotionKind::Rollback);
        }
        served
    }
}

/// R7: what serves, is warm, is a target, is used, or is new stays, and every release that stays has its build.
fn kept(facts: &Facts, left: &Records) -> Broken {
    let mut wanted = facts.needed.clone();
    wanted.extend(facts.active.clone());
    if let Keep::Newest(count) = facts.keep {
        let newest = facts.releases.iter().take(count as usize);
        wanted.extend(newest.map(|made| made.kin.id.clone()));
    }
    if let Some(missing) = wanted.iter().find(|id| left.find(id).is_none()) {
        return Some(("R7", format!("{missing} is needed and gone")));
    }
    let has_build = |id: &BuildId| left.builds.iter().any(|build| build.id() == *id);
    let bare = left
        .releases
        .iter()
        .find(|record| !has_build(&record.release.build));
    bare.map(|record| ("R7", format!("the build of {} is gone", record.release.id)))
}
