//! Releases that a command is about to promote and that no state names yet: it may wait for minutes for another promotion.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hoist_core::id::ReleaseId;

/// Releases, and how many commands want each.
#[derive(Debug, Default)]
pub(crate) struct Wanted(Mutex<BTreeMap<ReleaseId, u32>>);

/// Keeps a release until it is dropped.
#[derive(Debug)]
pub(crate) struct Want<'w> {
    wanted: &'w Wanted,
    release: ReleaseId,
}

impl Wanted {
    /// Keeps a release while the answer is held.
    pub(crate) fn want(&self, release: &ReleaseId) -> Want<'_> {
        *self.lock().entry(release.clone()).or_default() += 1;
        Want {
            wanted: self,
            release: release.clone(),
        }
    }

    /// All of them.
    pub(crate) fn releases(&self) -> Vec<ReleaseId> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ReleaseId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        let mut wanted = self.wanted.lock();
        if let Some(count) = wanted.get_mut(&self.release) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(&self.release);
            }
        }
    }
}
