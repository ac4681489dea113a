//! Postdeploy scripts: due with the success of their promotion, run one after the other, and nothing waits for them.
//!
//! A script that is due is asked for until the engine shows something of it. From then on it is never asked for again, and
//! it stays in the app's state until its end was seen: a crash in between loses nothing and repeats nothing.

use crate::id::Version;
use crate::limits::POSTDEPLOY_LIMIT;
use crate::model::{
    App, Observation, Postdeploy, PostdeployStage, PromotionKind, TaskStatus, Timestamp,
};

use super::gate::stale;
use super::waiting::{Part, Waiting};
use super::{Action, Transition, Verdict};

/// The promotion in flight succeeds: its script is due. Going back, restarting and starting are no deploys.
pub(super) fn come_due(app: &mut App, at: Version, now: Timestamp) {
    let Some(promotion) = &app.promotion else {
        return;
    };
    let has_script = app
        .releases
        .get(&promotion.target)
        .is_some_and(|release| release.has_postdeploy);
    if has_script && promotion.kind == PromotionKind::Promote {
        let script = Postdeploy {
            release: promotion.target.clone(),
            stage: PostdeployStage::Due,
            since: at,
            entered: now,
        };
        app.postdeploys.insert(promotion.number, script);
    }
}

/// What an app that stops has of them stops or is forgotten.
pub(super) fn stop(app: &mut App, at: Version, now: Timestamp) {
    for script in app.postdeploys.values_mut() {
        (script.stage, script.since, script.entered) = (PostdeployStage::Stopping, at, now);
    }
}

pub(super) fn began(app: &mut App, promotion: Version, at: Version, now: Timestamp) {
    if let Some(script) = app.postdeploys.get_mut(&promotion) {
        (script.stage, script.since, script.entered) = (PostdeployStage::Running, at, now);
    }
}

/// The next one's turn begins.
pub(super) fn ended(app: &mut App, promotion: Version, at: Version, now: Timestamp) {
    app.postdeploys.remove(&promotion);
    if let Some((_, next)) = app.postdeploys.iter_mut().next() {
        (next.since, next.entered) = (at, now);
    }
}

/// The one whose turn it is.
fn first(app: &App) -> Option<(Version, &Postdeploy)> {
    let (promotion, script) = app.postdeploys.first_key_value()?;
    Some((*promotion, script))
}

/// Whether the script comes from before a restore: nobody knows whether it ran then.
fn of_earlier_epoch(promotion: Version, seen: &Observation) -> bool {
    promotion.epoch < seen.engine.look.epoch
}

pub(super) fn step(app: &App, seen: &Observation, now: Timestamp) -> Verdict {
    let Some((promotion, script)) = first(app) else {
        return Verdict::Rest;
    };
    let until = script.entered + POSTDEPLOY_LIMIT;
    let over = |exit| Verdict::Go(Transition::PostdeployEnded { promotion, exit });
    match (script.stage, seen.engine.postdeploys.get(&promotion)) {
        (PostdeployStage::Due, Some(_)) => Verdict::Go(Transition::PostdeployBegan { promotion }),
        (PostdeployStage::Running | PostdeployStage::Stopping, Some(TaskStatus::Ended(exit))) => {
            over(Some(*exit))
        }
        (PostdeployStage::Running, Some(TaskStatus::Running)) => {
            Verdict::Wait(vec![Waiting::Postdeploy { until }])
        }
        (PostdeployStage::Stopping, Some(TaskStatus::Running)) => {
            Verdict::Wait(vec![Waiting::PostdeployStop])
        }
        (PostdeployStage::Due, None) if now < until && !of_earlier_epoch(promotion, seen) => {
            Verdict::Wait(vec![Waiting::Postdeploy { until }])
        }
        (_, None) => match stale(seen, script.since, &[Part::Engine]) {
            blind if blind.is_empty() => over(None),
            blind => Verdict::Wait(blind),
        },
    }
}

/// When time alone changes what [`step`] answers.
pub(super) fn times(app: &App) -> Option<Timestamp> {
    let (_, script) = first(app).filter(|(_, script)| script.stage == PostdeployStage::Due)?;
    Some(script.entered + POSTDEPLOY_LIMIT)
}

pub(super) fn converge(app: &App, seen: &Observation) -> Option<Action> {
    let (promotion, script) = first(app)?;
    match (script.stage, seen.engine.postdeploys.get(&promotion)) {
        (PostdeployStage::Due, None) if !of_earlier_epoch(promotion, seen) => {
            Some(Action::RunPostdeploy {
                promotion,
                release: script.release.clone(),
            })
        }
        (PostdeployStage::Stopping, Some(TaskStatus::Running)) => {
            Some(Action::StopPostdeploy { promotion })
        }
        _ => None,
    }
}
