//! What a store remembers of an app: its releases with what they were made from, and its promotions with how they ended.

use std::collections::BTreeMap;

use hoist_core::id::{BuildId, ReleaseId, ServiceName, Version};
use hoist_core::lineage::Kin;
use hoist_core::model::{App, Outcome, PromotionKind, Release, Service};
use hoist_core::plan::explain::outcome_word;

use crate::engine::Behaviour;
use crate::planner::Planner;

/// The word of what served and serves.
const SUCCEEDED: &str = "succeeded";

/// What a build says of its services: the same in every release of it.
#[derive(Debug, Clone)]
pub struct Build {
    pub number: u32,
    pub services: BTreeMap<ServiceName, (Service, Behaviour)>,
    pub has_release_command: bool,
    pub command_fails: bool,
    pub has_postdeploy: bool,
    pub script_fails: bool,
}

impl Build {
    pub fn id(&self) -> BuildId {
        let letter = |place: u32| char::from(b'A' + (self.number / 26u32.pow(place) % 26) as u8);
        let letters: String = (0..3).rev().map(letter).collect();
        format!("BAAAAAAA{letters}").parse().expect("a build id")
    }
}

/// Variables; no value is given twice, so a value says which change it came with.
pub type Env = BTreeMap<char, u32>;

/// What a release brings to its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    pub build: Option<u32>,
    pub env: Env,
}

/// What somebody changes with a new release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Build(u32),
    Set(char, u32),
    Unset(char),
}

impl Content {
    pub fn with(mut self, change: &Change) -> Self {
        match change {
            Change::Build(number) => self.build = Some(*number),
            Change::Set(key, value) => drop(self.env.insert(*key, *value)),
            Change::Unset(key) => drop(self.env.remove(key)),
        }
        self
    }
}

#[derive(Debug, Clone)]
pub struct Record {
    pub release: Release,
    pub parent: Option<ReleaseId>,
    /// Of a copy made to go back: the release at the other end of all copying.
    pub copy_of: Option<ReleaseId>,
    pub content: Content,
}

impl Record {
    /// The release that this one is, or is a copy of.
    pub fn origin(&self) -> &ReleaseId {
        self.copy_of.as_ref().unwrap_or(&self.release.id)
    }
}

#[derive(Debug, Clone)]
pub struct Attempt {
    pub number: Version,
    pub release: ReleaseId,
    /// What that is, or is a copy of: known when the release itself is not any more.
    pub origin: ReleaseId,
    pub kind: PromotionKind,
    /// How it ended; none while it is in flight.
    pub outcome: Option<&'static str>,
}

impl Attempt {
    pub fn succeeded(&self) -> bool {
        self.outcome == Some(SUCCEEDED)
    }

    pub fn went_wrong(&self) -> bool {
        self.outcome.is_some() && !self.succeeded()
    }
}

/// Everything of one app, oldest first.
#[derive(Debug, Default)]
pub struct Records {
    pub builds: Vec<Build>,
    pub releases: Vec<Record>,
    pub attempts: Vec<Attempt>,
}

impl Records {
    pub fn find(&self, id: &ReleaseId) -> Option<&Record> {
        // What is asked for is mostly new.
        let mut releases = self.releases.iter().rev();
        releases.find(|record| record.release.id == *id)
    }

    pub fn build(&self, number: u32) -> Option<&Build> {
        self.builds.iter().find(|build| build.number == number)
    }

    pub fn newest(&self) -> Option<&ReleaseId> {
        self.releases.last().map(|record| &record.release.id)
    }

    /// Whether a promotion of a release went wrong.
    pub fn flawed(&self, id: &ReleaseId) -> bool {
        let mut attempts = self.attempts.iter();
        attempts.any(|attempt| attempt.release == *id && attempt.went_wrong())
    }

    /// The place of a release; the first is older than the second.
    pub fn place(&self, id: &ReleaseId) -> Option<usize> {
        let mut releases = self.releases.iter();
        releases.position(|record| record.release.id == *id)
    }

    /// What the choice of a base is made from, newest first.
    pub fn kin_after(&self, active: Option<&ReleaseId>) -> Vec<Kin> {
        let from = active.and_then(|active| self.place(active));
        let newer = self.releases[from.map_or(0, |at| at + 1)..].iter().rev();
        let kin = newer.map(|record| Kin {
            id: record.release.id.clone(),
            parent: record.parent.clone(),
            flawed: self.flawed(&record.release.id),
        });
        kin.collect()
    }

    /// Promotions that succeeded, oldest first: what they made active, copies by what they are copies of.
    pub fn successes(&self) -> impl Iterator<Item = (&ReleaseId, PromotionKind)> {
        let succeeded = self.attempts.iter().filter(|attempt| attempt.succeeded());
        succeeded.map(|attempt| (&attempt.origin, attempt.kind))
    }

    /// Takes note of a promotion that began.
    pub fn committed(&mut self, before: &App, after: &App) {
        if let (None, Some(promotion)) = (&before.promotion, &after.promotion) {
            let target = &promotion.target;
            let origin = self.find(target).map_or(target, Record::origin).clone();
            self.attempts.push(Attempt {
                number: promotion.number,
                release: target.clone(),
                origin,
                kind: promotion.kind,
                outcome: None,
            });
        }
    }

    /// Takes note of how the promotion in flight ended, and answers it.
    pub fn ended(&mut self, outcome: &Outcome, planner: &Planner) -> Option<Attempt> {
        let last = self.attempts.last_mut()?;
        last.outcome = Some(planner.recorded(outcome_word(outcome)));
        Some(last.clone())
    }
}
