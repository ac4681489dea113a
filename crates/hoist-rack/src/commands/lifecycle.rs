//! Scale, restart, stop, start and delete: what changes an app without a new release.

use hoist_core::id::{AppName, ServiceName, Version};
use hoist_core::model::{App, Cancel, Millis, PromotionKind, Release, Standing};
use hoist_core::plan::{self, CommandError, Scaling};

use super::{Actor, IfBusy, PromoteRequest};
use crate::error::RackError;
use crate::rack::Rack;
use crate::store::PromotionRecord;

/// What is asked of sizes and limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScaleWish {
    /// By service.
    pub scaling: Scaling,
    /// Everything that an operator ever set goes back to the manifest first.
    pub all_from_manifest: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleOutcome {
    /// When it takes effect.
    pub effect: ScaleEffect,
    /// The promotion that restarts what serves with other limits, or starts what was stopped.
    pub promotion: Option<PromotionRecord>,
}

/// When a change of sizes or limits takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleEffect {
    /// Now.
    Now,
    /// With the first deploy that succeeds.
    FirstDeploy,
    /// The app is stopped, and nothing changed that would start it.
    Start,
}

fn effect(app: &App) -> ScaleEffect {
    match (app.standing, &app.serving) {
        (Standing::Stopping { .. } | Standing::Stopped, _) => ScaleEffect::Start,
        (_, None) => ScaleEffect::FirstDeploy,
        (_, Some(_)) => ScaleEffect::Now,
    }
}

impl ScaleWish {
    fn scaling(&self, app: &App) -> Scaling {
        let mut scaling = self.scaling.clone();
        if self.all_from_manifest {
            let set = app.sizes.keys().chain(app.limits.keys()).cloned();
            // What an earlier release had and the present one lacks is forgotten with the rest.
            scaling.from_manifest.extend(set);
        }
        scaling
    }
}

/// The event of a change: `scale web=2 web.memory=512MB`.
fn scale_words(scaling: &Scaling) -> String {
    let mut words = vec!["scale".to_owned()];
    let sizes = scaling.sizes.iter();
    words.extend(sizes.map(|(name, size)| format!("{name}={size}")));
    for (name, limits) in &scaling.limits {
        if let Some(cpu) = limits.cpu_millicores {
            words.push(format!("{name}.cpu={cpu}"));
        }
        if let Some(bytes) = limits.memory_bytes {
            words.push(format!("{name}.memory={}MB", bytes >> 20));
        }
    }
    if !scaling.from_manifest.is_empty() {
        words.push("--from-manifest".to_owned());
        words.extend(scaling.from_manifest.iter().map(ToString::to_string));
    }
    words.join(" ")
}

impl Rack {
    /// Sets sizes and limits, or gives them back. Returns when that is recorded; processes follow. Other limits begin a
    /// promotion that restarts what serves without them, after any that is in flight; a change of either starts a stopped
    /// app.
    pub async fn scale(
        &self,
        app: &AppName,
        wish: ScaleWish,
        actor: &Actor,
    ) -> Result<ScaleOutcome, RackError> {
        self.controller.forget_resizes(app);
        let mut changes = self.store.changes();
        loop {
            changes.mark_unchanged();
            let active = self.active(app).await?;
            let done = self
                .change(app, |after, at, now, commit| {
                    let before = after.clone();
                    let scaling = wish.scaling(after);
                    let due = plan::scale(after, &scaling, at, now)?;
                    let text = scale_words(&scaling);
                    let event = self.event(app, actor, "release:scale", text);
                    commit.events.push(event);
                    let mut outcome = ScaleOutcome {
                        effect: effect(after),
                        promotion: None,
                    };
                    let starts =
                        outcome.effect == ScaleEffect::Start && plan::scaled(&before, after);
                    let Some(target) = active.as_ref().filter(|_| starts || !due.is_empty()) else {
                        return Ok(outcome);
                    };
                    outcome.effect = ScaleEffect::Now;
                    let alone = due.len() == 1 && !starts;
                    let request = PromoteRequest {
                        release: target.id.clone(),
                        kind: if starts {
                            PromotionKind::Start
                        } else {
                            PromotionKind::Restart
                        },
                        if_busy: IfBusy::Wait,
                        limit: None,
                        only: due.into_iter().next().filter(|_| alone),
                    };
                    let begun = self.begin(&request, target, after, (at, now), actor, commit)?;
                    outcome.promotion = Some(begun);
                    Ok(outcome)
                })
                .await;
            match done {
                Err(RackError::Command(CommandError::InProgress { .. })) => {}
                done => return done,
            }
            changes.changed().await.map_err(|_| RackError::Stopping)?;
        }
    }

    /// The planner's view of the release that serves.
    async fn active(&self, app: &AppName) -> Result<Option<Release>, RackError> {
        let entry = self.app(app)?;
        let Some(serving) = &entry.app.serving else {
            return Ok(None);
        };
        let detail = self.releases.detail(app, &serving.release).await?;
        self.releases.planned(&detail).map(Some)
    }

    /// Starts the active release anew, or one service of it.
    pub async fn restart(
        &self,
        app: &AppName,
        service: Option<ServiceName>,
        if_busy: IfBusy,
        limit: Option<Millis>,
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        let how = (if_busy, limit);
        self.again(app, PromotionKind::Restart, service, how, actor)
            .await
    }

    /// Brings a stopped app back.
    pub async fn start_app(
        &self,
        app: &AppName,
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        let how = (IfBusy::Wait, None);
        self.again(app, PromotionKind::Start, None, how, actor)
            .await
    }

    async fn again(
        &self,
        app: &AppName,
        kind: PromotionKind,
        only: Option<ServiceName>,
        (if_busy, limit): (IfBusy, Option<Millis>),
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        let entry = self.app(app)?;
        let serving = entry.app.serving.as_ref();
        let release = serving.ok_or_else(|| RackError::NothingActive(app.clone()))?;
        let request = PromoteRequest {
            release: release.release.clone(),
            kind,
            if_busy,
            limit,
            only,
        };
        self.promote(app, request, actor).await
    }

    /// Stops an app until somebody starts it. A promotion in flight is cancelled first.
    pub async fn stop(&self, app: &AppName, actor: &Actor) -> Result<(), RackError> {
        self.change(app, |after, at, now, commit| {
            plan::stop(after, at, now)?;
            let text = "stopping".to_owned();
            commit
                .events
                .push(self.event(app, actor, "app:stopping", text));
            Ok(())
        })
        .await
    }

    /// Ends the promotion in flight, if it is `only` where that is named, and says which it was. One that goes back already does
    /// so for the reason it has.
    pub async fn cancel(
        &self,
        app: &AppName,
        how: Cancel,
        only: Option<Version>,
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        let cancelled = self
            .change(app, |after, at, _, commit| {
                let number = in_flight(after, only)?;
                plan::cancel(after, how, at)?;
                let mut event = self.event(app, actor, "release:cancel", "cancelling".to_owned());
                event.promotion = Some(number);
                commit.events.push(event);
                Ok(number)
            })
            .await;
        let number = match cancelled {
            Err(RackError::Command(CommandError::AlreadyGoingBack)) if how == Cancel::ByUser => {
                in_flight(&self.app(app)?.app, only)?
            }
            cancelled => cancelled?,
        };
        self.promotion(app, number).await
    }

    /// Begins to delete an app; the loop finishes it. Volumes stay unless `volumes` says otherwise.
    pub async fn delete(
        &self,
        app: &AppName,
        confirm: &str,
        volumes: bool,
        actor: &Actor,
    ) -> Result<(), RackError> {
        self.app(app)?;
        if confirm != app.as_str() {
            return Err(RackError::Unconfirmed(app.clone()));
        }
        self.change(app, |after, at, now, commit| {
            plan::delete(after, at, now)?;
            let text = "deleting".to_owned();
            commit
                .events
                .push(self.event(app, actor, "app:delete", text));
            Ok(())
        })
        .await?;
        if volumes {
            self.controller.delete_volumes_with(app);
        }
        Ok(())
    }
}

/// The promotion in flight, if it is `only` where that is named.
fn in_flight(app: &App, only: Option<Version>) -> Result<Version, RackError> {
    let found = app.promotion.as_ref().map(|promotion| promotion.number);
    match (found, only) {
        (None, None) => Err(RackError::NothingInFlight(app.name.clone())),
        (found, Some(number)) if found != only => Err(RackError::HasEnded {
            app: app.name.clone(),
            number,
        }),
        (Some(number), _) | (None, Some(number)) => Ok(number),
    }
}
