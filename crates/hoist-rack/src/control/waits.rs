//! Tells people what a promotion waits for: each reason once, when it has lasted long enough to be noticed. How long it still
//! lasts is asked for elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use hoist_core::id::{AppName, Version};
use hoist_core::model::{App, Millis, Timestamp, Unready};
use hoist_core::plan::{self, Waiting};

use super::Controller;
use super::words::{event_source, slot_words};
use crate::clock::wall;
use crate::store::{Commit, Event, RackState, StateChange};

/// What is over sooner kept nobody waiting.
const NOTICED: Millis = Millis::from_secs(1);

/// What was told of the promotions in flight.
#[derive(Debug, Clone, Default)]
pub(super) struct ToldWaits(BTreeMap<AppName, OfPromotion>);

#[derive(Debug, Clone)]
struct OfPromotion {
    number: Version,
    since: BTreeMap<String, Timestamp>,
    told: BTreeSet<String>,
}

impl ToldWaits {
    /// What is to be told of an app now. A reason that went and came back is not told again.
    fn due<'w>(
        &mut self,
        app: &App,
        waiting: &'w [Waiting],
        now: Timestamp,
    ) -> Vec<(Version, &'w Waiting)> {
        let Some(number) = app.promotion.as_ref().map(|promotion| promotion.number) else {
            self.0.remove(&app.name);
            return Vec::new();
        };
        let fresh = OfPromotion {
            number,
            since: BTreeMap::new(),
            told: BTreeSet::new(),
        };
        let own = self.0.entry(app.name.clone()).or_insert_with(|| fresh);
        if own.number != number {
            (own.number, own.since, own.told) = (number, BTreeMap::new(), BTreeSet::new());
        }
        let reasons = waiting
            .iter()
            .filter_map(|wait| Some((reason(wait)?, wait)));
        let reasons: BTreeMap<_, _> = reasons.collect();
        own.since.retain(|reason, _| reasons.contains_key(reason));
        let mut due = Vec::new();
        for (reason, wait) in reasons {
            let since = *own.since.entry(reason.clone()).or_insert(now);
            if now >= since + NOTICED && own.told.insert(reason) {
                due.push((number, wait));
            }
        }
        due
    }

    /// Apps that are gone are forgotten.
    fn keep(&mut self, state: &RackState) {
        self.0.retain(|name, _| state.apps.contains_key(name));
    }
}

/// What tells one wait from another, without what changes while it lasts; none for what is told otherwise, or is no wait of a
/// promotion.
fn reason(wait: &Waiting) -> Option<String> {
    match wait {
        // Its own event says that it runs, and its output shows.
        Waiting::ReleaseCommand { .. } => None,
        // Every process without a port is looked at for a while: that is no delay.
        Waiting::Ready {
            found: Some(Unready::TooYoung) | None,
            ..
        } => None,
        Waiting::Warm { .. }
        | Waiting::Postdeploy { .. }
        | Waiting::PostdeployStop
        | Waiting::Renewed { .. }
        | Waiting::Shrunk { .. } => None,
        Waiting::Drain { .. } => Some("drain".to_owned()),
        Waiting::Memory { .. } => Some("memory".to_owned()),
        Waiting::Look { .. }
        | Waiting::ReleaseCommandStop
        | Waiting::Ready { .. }
        | Waiting::Router { .. }
        | Waiting::Gone { .. } => Some(plan::explain::explain_waiting(wait)),
    }
}

/// The wait as a line: `waits for web.1 to become ready: it does not listen on $PORT (at most 118 s more)`.
fn words(wait: &Waiting, now: Timestamp) -> String {
    let on = plan::explain::explain_waiting(wait);
    let until = plan::explain::waits_until(wait).filter(|until| *until > now);
    let left = until.map(|until| Millis::from_secs(until.since(now).0.div_ceil(1_000)));
    match left {
        Some(left) => format!("waits for {on} (at most {left} more)"),
        None => format!("waits for {on}"),
    }
}

impl Controller {
    /// Writes an event for each wait that has become one. What cannot be written is lost, and only words.
    pub(super) async fn tell_waits(
        &self,
        state: &RackState,
        waiting: &BTreeMap<AppName, Vec<Waiting>>,
        now: Timestamp,
    ) {
        let engine = self.engine.capabilities().engine;
        let mut commits = Vec::new();
        {
            let mut own = self.lock();
            own.told_waits.keep(state);
            for entry in state.apps.values() {
                let name = &entry.app.name;
                let waits = waiting.get(name).map(Vec::as_slice).unwrap_or_default();
                let due = own.told_waits.due(&entry.app, waits, now);
                if due.is_empty() {
                    continue;
                }
                let event = |(number, wait): (Version, &Waiting)| Event {
                    id: 0,
                    app: name.clone(),
                    promotion: Some(number),
                    at: wall(),
                    kind: "release:wait".to_owned(),
                    source: match wait {
                        Waiting::Ready { slot, .. } => event_source(engine, &slot_words(slot)),
                        _ => event_source(engine, "promotion"),
                    },
                    text: words(wait, now),
                    actor: None,
                };
                let mut commit = Commit::new(name, StateChange::None);
                commit.events = due.into_iter().map(event).collect();
                commits.push(commit);
            }
        }
        for commit in commits {
            let app = commit.app.clone();
            if let Err(error) = self.store.commit(commit, now).await {
                tracing::debug!(%app, %error, "events were lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hoist_core::id::{SlotId, WorkloadId};
    use hoist_core::model::{Phase, Promotion, PromotionKind};

    use super::*;

    fn version(number: u64) -> Version {
        Version { epoch: 1, number }
    }

    fn app(promotion: u64) -> App {
        let mut app = plan::create("shop".parse().expect("a name"), version(1));
        app.promotion = Some(Promotion {
            number: version(promotion),
            target: "RAAAAAAAAAA".parse().expect("an id"),
            kind: PromotionKind::Promote,
            services: BTreeMap::new(),
            phase: Phase::Starting,
            since: version(promotion),
            entered: Timestamp(0),
            began: Timestamp(0),
            deadline: Timestamp(600_000),
            cancel: None,
        });
        app
    }

    fn ready(found: Option<Unready>) -> Waiting {
        let workload = WorkloadId {
            app: "shop".parse().expect("a name"),
            service: "web".parse().expect("a name"),
            attempt: version(7),
        };
        Waiting::Ready {
            slot: SlotId { workload, slot: 1 },
            found,
            until: Timestamp(20_000),
        }
    }

    fn drain(in_flight: u32) -> Waiting {
        Waiting::Drain {
            in_flight: Some(in_flight),
            until: Timestamp(30_000),
        }
    }

    #[test]
    fn a_wait_is_told_once_it_lasts_and_only_once() {
        let mut told = ToldWaits::default();
        let mut at = |app: &App, wait: Waiting, now: u64| {
            let due = [wait];
            told.due(app, &due, Timestamp(now)).len()
        };
        let one = app(7);
        let listens = || ready(Some(Unready::NotListening));
        assert_eq!(at(&one, listens(), 100), 0, "it may be over in a moment");
        assert_eq!(at(&one, listens(), 1_100), 1);
        assert_eq!(at(&one, listens(), 2_000), 0, "it was told");
        assert_eq!(at(&one, drain(3), 3_000), 0);
        assert_eq!(at(&one, drain(2), 4_000), 1, "it is the same wait");
        assert_eq!(at(&one, drain(1), 5_000), 0);
        assert_eq!(at(&one, listens(), 6_000), 0);
        assert_eq!(at(&one, listens(), 7_000), 0, "it came back");
        let other = app(8);
        assert_eq!(at(&other, listens(), 8_000), 0);
        assert_eq!(at(&other, listens(), 9_000), 1, "of another promotion");
    }

    #[test]
    fn what_is_no_delay_or_told_otherwise_is_no_line() {
        let command = Waiting::ReleaseCommand {
            until: Timestamp(0),
        };
        let quiet = [command, ready(None), ready(Some(Unready::TooYoung))];
        assert!(quiet.iter().all(|wait| reason(wait).is_none()));
    }

    #[test]
    fn a_line_says_for_what_and_how_long_at_most() {
        assert_eq!(
            words(&drain(2), Timestamp(500)),
            "waits for 2 requests of the old processes to end (at most 30 s more)"
        );
        assert_eq!(
            words(&Waiting::ReleaseCommandStop, Timestamp(0)),
            "waits for the release command to stop"
        );
    }
}
