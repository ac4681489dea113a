//! What the loop could not carry out: how often, why, and when it tries again. Nothing is given up; what is no longer due is
//! forgotten.

use hoist_core::model::{Millis, Timestamp};

use super::act::FAILED_PAUSE;
use super::{Controller, LoopState};

/// Something that failed and is tried again for as long as it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Why, the last time.
    pub why: String,
    /// How often in a row.
    pub times: u32,
    /// When first, on the rack's clock.
    pub since: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// The pass that last found it due.
    due: u64,
}

impl LoopState {
    /// When something that failed is tried again, at the latest; earlier when anything happens.
    pub fn tried_again(&self, failing: &Failing) -> Timestamp {
        let pause = Millis(FAILED_PAUSE.as_millis() as u64);
        self.next_pass.max(failing.last + pause)
    }

    /// At the end of a pass: what it did not find due is not tried again.
    pub(super) fn forget_what_is_not_due(&mut self) {
        let pass = self.passes;
        self.failing.retain(|_, failing| failing.due >= pass);
    }
}

impl Controller {
    pub(super) fn failed(&self, what: String, why: String) {
        let now = self.clock.now();
        let mut own = self.lock();
        let due = own.passes;
        let failing = own.failing.entry(what).or_insert_with(|| Failing {
            why: String::new(),
            times: 0,
            since: now,
            last: now,
            due,
        });
        failing.times = failing.times.saturating_add(1);
        (failing.why, failing.last, failing.due) = (why, now, due);
    }

    pub(super) fn succeeded(&self, what: &str) {
        self.lock().failing.remove(what);
    }

    /// This pass finds it due, whether it is tried now or in a while.
    pub(super) fn still_due(&self, what: &str) {
        let mut own = self.lock();
        let due = own.passes;
        if let Some(failing) = own.failing.get_mut(what) {
            failing.due = due;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pass_does_not_find_due_is_forgotten() {
        let mut state = LoopState {
            passes: 7,
            ..LoopState::default()
        };
        let failing = |due| Failing {
            why: "no port is free".to_owned(),
            times: 2,
            since: Timestamp(0),
            last: Timestamp(0),
            due,
        };
        state.failing.insert("hold shop/web".to_owned(), failing(7));
        state.failing.insert("hold blog/web".to_owned(), failing(6));
        state.forget_what_is_not_due();
        let left: Vec<_> = state.failing.keys().collect();
        assert_eq!(left, ["hold shop/web"]);
    }

    #[test]
    fn it_is_tried_again_at_the_next_pass_but_not_at_once() {
        let failing = Failing {
            why: String::new(),
            times: 1,
            since: Timestamp(1_000),
            last: Timestamp(1_000),
            due: 0,
        };
        let at = |next_pass| LoopState {
            next_pass: Timestamp(next_pass),
            ..LoopState::default()
        };
        assert_eq!(at(1_050).tried_again(&failing), Timestamp(1_200));
        assert_eq!(at(6_000).tried_again(&failing), Timestamp(6_000));
    }
}
