//! Postdeploy scripts on the simulated engine, and the promise about them.

use std::collections::{BTreeMap, BTreeSet};

use hoist_core::id::{AppName, Version};
use hoist_core::model::{App, Exit, ExitCause, PromotionKind, Standing, TaskStatus};

use crate::engine::exit;

/// One that was started and not forgotten.
#[derive(Debug, Clone, Copy)]
struct Script {
    status: TaskStatus,
    ends_at: u64,
    code: i32,
}

/// All of them, all truth.
#[derive(Debug, Default)]
pub struct Scripts {
    held: BTreeMap<Version, Script>,
    /// How often each was started.
    starts: BTreeMap<Version, u32>,
    /// The newest command to forget each: older commands to start it are void.
    forgotten: BTreeMap<Version, u64>,
}

impl Scripts {
    /// Starts one, unless the engine knows of it. Answers how often it was started then.
    pub fn start(&mut self, number: Version, order: u64, ends_at: u64, fails: bool) -> Option<u32> {
        let void = self.forgotten.get(&number).is_some_and(|at| order < *at);
        if void || self.held.contains_key(&number) {
            return None;
        }
        let script = Script {
            status: TaskStatus::Running,
            ends_at,
            code: i32::from(fails),
        };
        self.held.insert(number, script);
        let starts = self.starts.entry(number).or_default();
        *starts += 1;
        Some(*starts)
    }

    pub fn stop(&mut self, number: Version, gone_at: u64) {
        if let Some(script) = self.held.get_mut(&number)
            && script.status == TaskStatus::Running
        {
            script.ends_at = script.ends_at.min(gone_at);
            script.code = 143;
        }
    }

    pub fn forget(&mut self, number: Version, order: u64) {
        let ended = |script: &Script| matches!(script.status, TaskStatus::Ended(_));
        if self.held.get(&number).is_some_and(ended) {
            self.held.remove(&number);
            self.forgotten.insert(number, order);
        }
    }

    /// The defect of an engine that forgets by itself.
    pub fn forget_ended(&mut self) {
        self.held
            .retain(|_, script| script.status == TaskStatus::Running);
    }

    pub fn run(&mut self, now: u64) {
        for script in self.held.values_mut() {
            if script.status == TaskStatus::Running && now >= script.ends_at {
                script.status = TaskStatus::Ended(exit(script.code, ExitCause::Own, now));
            }
        }
    }

    pub fn look(&self) -> BTreeMap<Version, TaskStatus> {
        let each = self.held.iter();
        each.map(|(number, script)| (*number, script.status))
            .collect()
    }

    fn started(&self, number: Version) -> bool {
        self.starts.contains_key(&number)
    }
}

/// P11: the script of a promotion that succeeded starts exactly once, unless its app stops first; no other script starts.
#[derive(Debug, Default)]
pub struct ScriptChecks {
    /// Promotions in flight whose success makes a script due.
    in_flight: BTreeMap<AppName, Version>,
    /// Scripts that must start.
    due: BTreeMap<Version, AppName>,
    /// Scripts that may start.
    allowed: BTreeSet<Version>,
}

impl ScriptChecks {
    /// Takes note of what begins, and of what an end of the app forgives.
    pub fn commit(&mut self, before: &App, after: &App) {
        if let (None, Some(promotion)) = (&before.promotion, &after.promotion) {
            let target = after.releases.get(&promotion.target);
            let has = target.is_some_and(|release| release.has_postdeploy);
            match has && promotion.kind == PromotionKind::Promote {
                true => self.in_flight.insert(after.name.clone(), promotion.number),
                false => self.in_flight.remove(&after.name),
            };
        }
        if after.standing != Standing::Up {
            self.due.retain(|_, app| *app != after.name);
        }
    }

    pub fn ended(&mut self, app: &AppName, succeeded: bool) {
        if let Some(number) = self.in_flight.remove(app).filter(|_| succeeded) {
            self.due.insert(number, app.clone());
            self.allowed.insert(number);
        }
    }

    /// What is wrong with a start.
    pub fn started(&self, number: Version, starts: u32) -> Option<String> {
        if !self.allowed.contains(&number) {
            return Some(format!(
                "a script of {number} started, which has not succeeded"
            ));
        }
        (starts > 1).then(|| format!("the script of {number} started {starts} times"))
    }

    /// What is wrong with an end that the rack took note of.
    pub fn over(
        &mut self,
        number: Version,
        exit: Option<&Exit>,
        scripts: &Scripts,
    ) -> Option<String> {
        let due = self.due.remove(&number).is_some();
        (due && (exit.is_none() || !scripts.started(number)))
            .then(|| format!("the script of {number} is over and was never started"))
    }

    /// What an app no longer knows of.
    pub fn lost(&self, app: &App) -> Option<String> {
        let mut due = self.due.iter().filter(|(_, name)| **name == app.name);
        let (number, name) = due.find(|(number, _)| !app.postdeploys.contains_key(number))?;
        Some(format!("the script of {name} {number} was lost"))
    }
}
