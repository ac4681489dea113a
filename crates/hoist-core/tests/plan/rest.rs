//! Whether a simulated rack is at rest, and whether what it holds then is what was asked for.

use std::collections::BTreeSet;

use hoist_core::id::SlotId;
use hoist_core::model::Observation;
use hoist_core::plan::{self, Verdict};

use crate::world::{World, looked};

impl World {
    /// Whether nothing is left to do, by the truth and not by the last look.
    pub fn unsettled(&mut self) -> Option<String> {
        let look = self.draw();
        let truth = Observation {
            engine: self.engine.look(look),
            probes: looked(look, &self.probe_all()),
            router: self.router.look(look),
        };
        for app in self.apps.values() {
            let actions = plan::converge(app, &truth);
            if !actions.is_empty() {
                return Some(format!("{}: converge still wants {actions:?}", app.name));
            }
            match plan::step(app, &truth, self.at()) {
                Verdict::Rest => {}
                verdict => return Some(format!("{}: not at rest: {verdict:?}", app.name)),
            }
        }
        let strays = plan::strays(self.apps.values(), &truth);
        if !strays.is_empty() {
            return Some(format!("strays: {strays:?}"));
        }
        if let Some(other) = self.other_release() {
            self.checks.fail("R6", other);
        }
        self.disagreement()
    }

    /// What runs of another release than its app's state says.
    fn other_release(&self) -> Option<String> {
        let serving = self.apps.values().filter_map(|app| app.serving.as_ref());
        let mut workloads = serving.flat_map(|serving| serving.workloads.values());
        workloads.find_map(|workload| {
            let runs = &self.engine.workloads.get(&workload.id)?.release;
            (*runs != workload.release)
                .then(|| format!("{} runs {runs}, not {}", workload.id, workload.release))
        })
    }

    /// Where reality differs from intent.
    fn disagreement(&self) -> Option<String> {
        let mut wanted = BTreeSet::new();
        for app in self.apps.values() {
            if let Some(serving) = &app.serving {
                for (name, workload) in &serving.workloads {
                    let slots = serving.slots.get(name).copied().unwrap_or(0);
                    wanted.extend((1..=slots).map(|slot| SlotId {
                        workload: workload.id.clone(),
                        slot,
                    }));
                }
            }
        }
        let present: BTreeSet<_> = self
            .engine
            .workloads
            .iter()
            .flat_map(|(id, workload)| {
                workload.slots.keys().map(|slot| SlotId {
                    workload: id.clone(),
                    slot: *slot,
                })
            })
            .collect();
        (wanted != present).then(|| format!("wanted {wanted:?}, present {present:?}"))
    }
}
