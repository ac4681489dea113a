//! The planner under test, with the defects that the checkers must catch: each is planted here, around the real
//! functions, so that the product carries no switch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hoist_core::history::Served;
use hoist_core::id::{ReleaseId, ServiceName, Version};
use hoist_core::lineage::{self, Kin};
use hoist_core::model::{
    App, Observation, Outcome, Phase, Planned, Postdeploy, PostdeployStage, Probe, ProcessState,
    PromotionKind, Reason, Release, RenewalStage, RouteTarget, Timestamp,
};
use hoist_core::plan::{self, Action, CommandError, PromoteOptions, Transition, Verdict};
use hoist_core::retention::{self, Facts, Gone};

use crate::records::Records;

/// One planted defect per promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// P1: the route keeps naming processes of before.
    RoutesToOldLook,
    /// P2: removal does not wait for the router.
    RemovesUnacknowledged,
    /// P3: a failed promotion leaves its target live.
    FailureGoesLive,
    /// P4: a commit reuses the last generation.
    GenerationStands,
    /// P5: no limit ever ends a wait.
    ClockStands,
    /// P6: an answer depends on more than its arguments.
    HiddenState,
    /// P7: what is known of a release command is forgotten as soon as it ended.
    ForgetsCommands,
    /// P11: what is known of a postdeploy script is forgotten as soon as it ended.
    ForgetsScripts,
    /// P11: a promotion that begins takes the place of the script before it.
    LosesScripts,
    /// P11: a script is due with the end of every promotion.
    RunsScriptsOfFailures,
    /// P8: traffic moves before the gate.
    ShiftsEarly,
    /// P2: a process is started again before the router has let go of it.
    RestartsAtOnce,
    /// P8: what was started again takes requests before the gate.
    RenewsWithoutGate,
    /// P9: a probe that failed once counts as a death.
    FlakeIsDeath,
    /// P10: a probe that failed once counts as a failed liveness check.
    FlakeIsDeafness,
    /// R1: what failed is built on like anything else.
    BuildsOnFailures,
    /// R1: what stands on a failure is built on, as long as it did not fail itself.
    BuildsAboveFailures,
    /// R2: the next release is made from the active one, whatever is staged.
    LeavesStagedBehind,
    /// R3: a rollback goes to the release made before the active one.
    GoesToTheOneBefore,
    /// R3: a rollback goes to what served last and is not active.
    GoesToAndFro,
    /// R4: what was superseded is recorded as if it had succeeded.
    RecordsSuccess,
    /// R5: a copy is recorded as made from itself.
    NamesItsOwnParent,
    /// R6: a rollback keeps what runs, whatever it is.
    KeepsWhatDiffers,
    /// R7: what one could go back to is collected.
    CollectsWaysBack,
    /// R7: what runs is collected when it is old.
    CollectsWhatRuns,
    /// R7: what is staged is collected when it is old.
    CollectsStaged,
}

/// `step`, `apply`, `converge` and `route`, sound or not.
#[derive(Debug, Default)]
pub struct Planner {
    pub defect: Option<Defect>,
    first_looks: Vec<Observation>,
}

static CALLS: AtomicU64 = AtomicU64::new(0);

impl Planner {
    pub fn new(defect: Option<Defect>) -> Self {
        Self {
            defect,
            first_looks: Vec::new(),
        }
    }

    pub fn step(&self, app: &App, seen: &Observation, now: Timestamp) -> Verdict {
        match self.defect {
            Some(Defect::ClockStands) => plan::step(app, seen, Timestamp(0)),
            Some(Defect::HiddenState) if CALLS.fetch_add(1, Ordering::Relaxed) % 977 == 976 => {
                Verdict::Rest
            }
            Some(Defect::ShiftsEarly) => plan::step(app, &all_ready(seen), now),
            Some(Defect::FlakeIsDeath) => plan::step(app, &flakes_dead(seen), now),
            Some(Defect::FlakeIsDeafness) => plan::step(app, &flakes_deaf(seen), now),
            Some(Defect::RenewsWithoutGate) => {
                let mut starting = app.renewals.iter();
                let found = starting
                    .find(|(_, renewal)| matches!(renewal.stage, RenewalStage::Starting { .. }));
                found.map_or_else(
                    || plan::step(app, seen, now),
                    |(slot, _)| Verdict::Go(Transition::Renewed { slot: slot.clone() }),
                )
            }
            _ => plan::step(app, seen, now),
        }
    }

    pub fn apply(&self, app: &mut App, transition: &Transition, at: Version, now: Timestamp) {
        let generation = app.generation;
        let target = app
            .promotion
            .as_ref()
            .map(|promotion| promotion.target.clone());
        plan::apply(app, transition, at, now);
        match (self.defect, transition, target) {
            (Some(Defect::GenerationStands), Transition::Retire { .. }, _) => {
                app.generation = generation
            }
            (
                Some(Defect::FailureGoesLive),
                Transition::End {
                    outcome: Outcome::RolledBack(_),
                },
                Some(target),
            ) => {
                if let Some(serving) = &mut app.serving {
                    serving.release = target;
                }
            }
            (
                Some(Defect::LosesScripts),
                Transition::Enter {
                    phase: Phase::Starting,
                },
                _,
            ) => app.postdeploys.clear(),
            (
                Some(Defect::RunsScriptsOfFailures),
                Transition::Enter {
                    phase: Phase::RollingBack { .. },
                },
                Some(release),
            ) => {
                let script = Postdeploy {
                    release,
                    stage: PostdeployStage::Due,
                    since: at,
                    entered: now,
                };
                let number = app.promotion.as_ref().map(|promotion| promotion.number);
                app.postdeploys
                    .extend(number.map(|number| (number, script)));
            }
            _ => {}
        }
    }

    pub fn converge(&self, app: &App, seen: &Observation) -> Vec<Action> {
        let mut seen = seen.clone();
        if self.defect == Some(Defect::RemovesUnacknowledged) {
            let far = Version {
                epoch: u32::MAX,
                number: u64::MAX,
            };
            (seen.router.look, seen.router.version) = (far, far);
            seen.router.routed.clear();
        }
        let mut actions = plan::converge(app, &seen);
        if self.defect == Some(Defect::RestartsAtOnce) {
            let each = app.renewals.iter();
            actions.extend(each.map(|(slot, renewal)| Action::Restart {
                slot: slot.clone(),
                life: renewal.life.clone(),
            }));
        }
        actions
    }

    pub fn route(&mut self, app: &App, seen: &Observation) -> BTreeMap<ServiceName, RouteTarget> {
        let mut routes = plan::route(app, seen);
        if self.defect == Some(Defect::RoutesToOldLook) {
            self.first_looks.push(seen.clone());
            if self.first_looks.len() > 40 {
                let old = plan::route(app, &self.first_looks.remove(0));
                routes.extend(old);
            }
        }
        routes
    }

    /// What the next release is made from.
    pub fn base(&self, newer: &[Kin], active: Option<&ReleaseId>) -> Option<ReleaseId> {
        let mut newer = newer.to_vec();
        match self.defect {
            Some(Defect::LeavesStagedBehind) if active.is_some() => return active.cloned(),
            Some(Defect::BuildsOnFailures) => {
                newer.iter_mut().for_each(|kin| kin.flawed = false);
            }
            Some(Defect::BuildsAboveFailures) => {
                let top = newer.iter().position(|kin| !kin.flawed).unwrap_or(0);
                newer
                    .iter_mut()
                    .skip(top)
                    .for_each(|kin| kin.flawed = false);
            }
            _ => {}
        }
        lineage::base(&newer, active).release
    }

    /// What a rollback without a name goes to.
    pub fn last_good(&self, records: &Records, active: &ReleaseId) -> Option<ReleaseId> {
        let origin = |id: &ReleaseId| Some(records.find(id)?.origin().clone());
        match self.defect {
            Some(Defect::GoesToTheOneBefore) => {
                let place = records.place(active)?.checked_sub(1)?;
                return Some(records.releases[place].release.id.clone());
            }
            Some(Defect::GoesToAndFro) => {
                let active = origin(active)?;
                let successes: Vec<_> = records.successes().collect();
                let mut before = successes.into_iter().rev();
                return before
                    .find(|(id, _)| **id != active)
                    .map(|(id, _)| id.clone());
            }
            _ => {}
        }
        let served = records.served();
        let mut ways = served.ways_back();
        ways.find(|id| records.find(id).is_some()).cloned()
    }

    /// What retention takes.
    pub fn gone(&self, facts: &Facts) -> Gone {
        let mut facts = facts.clone();
        match self.defect {
            Some(Defect::CollectsWaysBack) => facts.served = Served::default(),
            Some(Defect::CollectsWhatRuns) => facts.needed.clear(),
            Some(Defect::CollectsStaged) => {
                let releases = facts.releases.iter_mut();
                releases.for_each(|made| made.kin.parent = None);
            }
            _ => {}
        }
        retention::gone(&facts)
    }

    /// What is recorded as the parent of a copy.
    pub fn parent_of_copy(&self, source: &ReleaseId, copy: &ReleaseId) -> ReleaseId {
        match self.defect {
            Some(Defect::NamesItsOwnParent) => copy.clone(),
            _ => source.clone(),
        }
    }

    /// What is recorded of an outcome.
    pub fn recorded(&self, outcome: &'static str) -> &'static str {
        match outcome {
            "superseded" if self.defect == Some(Defect::RecordsSuccess) => "succeeded",
            _ => outcome,
        }
    }

    pub fn promote(
        &self,
        app: &mut App,
        target: Release,
        kind: PromotionKind,
        options: PromoteOptions,
        (at, now): (Version, Timestamp),
    ) -> Result<(), CommandError> {
        plan::promote(app, target, kind, options, at, now)?;
        let keeps = self.defect == Some(Defect::KeepsWhatDiffers);
        if let Some(promotion) = app.promotion.as_mut().filter(|_| keeps)
            && kind == PromotionKind::Rollback
        {
            for (name, planned) in &mut promotion.services {
                let runs = app.serving.as_ref().and_then(|serving| {
                    Some((serving.workloads.get(name)?, *serving.slots.get(name)?))
                });
                if let Some((workload, slots)) = runs {
                    let workload = workload.clone();
                    *planned = Planned::Keep { workload, slots };
                }
            }
        }
        Ok(())
    }

    pub fn is_lost_health(transition: &Transition) -> bool {
        matches!(
            transition,
            Transition::Enter {
                phase: Phase::RollingBack {
                    reason: Reason::LostHealth { .. },
                    ..
                }
            }
        )
    }
}

/// As if every running process had passed its probe.
fn all_ready(seen: &Observation) -> Observation {
    let mut seen = seen.clone();
    for probe in seen.probes.slots.values_mut() {
        *probe = Probe::Ready;
    }
    seen
}

/// As if every process that failed a probe had failed its liveness check.
fn flakes_deaf(seen: &Observation) -> Observation {
    let mut seen = seen.clone();
    for (slot, probe) in &seen.probes.slots {
        if let Probe::Unready(found) = probe {
            seen.probes.dead.insert(slot.clone(), found.clone());
        }
    }
    seen
}

/// As if every process that failed a probe were gone.
fn flakes_dead(seen: &Observation) -> Observation {
    let mut seen = seen.clone();
    for (slot, probe) in &seen.probes.slots {
        let processes = seen.engine.workloads.get_mut(&slot.workload);
        if let Some(process) = processes.and_then(|slots| slots.get_mut(&slot.slot))
            && *probe != Probe::Ready
        {
            process.state = ProcessState::Stopping;
        }
    }
    seen
}
