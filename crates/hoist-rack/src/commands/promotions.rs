//! Promotions and rollbacks: what is asked of the planner, and their records.

use hoist_core::describe;
use hoist_core::id::{AppName, ReleaseId, ServiceName, Version};
use hoist_core::lineage::Start;
use hoist_core::model::{App, Cancel, Millis, PromotionKind, Release, Timestamp};
use hoist_core::plan::{self, CommandError, Overruled, PromoteOptions};

use super::{Actor, ReleaseDiff};
use crate::clock::wall;
use crate::control::{event_source, status_words};
use crate::error::RackError;
use crate::rack::Rack;
use crate::releases::new_release_id;
use crate::store::{Commit, Event, PromotionRecord, PromotionReport, ReleaseRecord};

/// What happens when another promotion is in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfBusy {
    /// Wait for it.
    #[default]
    Wait,
    /// Cancel it.
    Supersede,
    /// Refuse this one.
    Refuse,
}

/// What a promotion is asked for.
#[derive(Debug, Clone)]
pub struct PromoteRequest {
    /// The release.
    pub release: ReleaseId,
    /// As what.
    pub kind: PromotionKind,
    /// When another is in flight.
    pub if_busy: IfBusy,
    /// The limit of the whole; the app's when none.
    pub limit: Option<Millis>,
    /// This service alone.
    pub only: Option<ServiceName>,
}

/// A way back that has begun.
#[derive(Debug)]
pub struct RolledBack {
    /// The copy of the earlier release.
    pub release: ReleaseRecord,
    /// The promotion of the copy.
    pub promotion: PromotionRecord,
    /// How the copy differs from what was active before; none when nothing was.
    pub changes: Option<ReleaseDiff>,
}

impl Rack {
    /// Begins a promotion, after any that is in flight if that was asked for. Durable when it returns.
    pub async fn promote(
        &self,
        app: &AppName,
        request: PromoteRequest,
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        // Whoever names an app that is not there hears that, and nothing of its releases.
        self.app(app)?;
        let _kept = self.retention.wanted.want(&request.release);
        let detail = self.releases.detail(app, &request.release).await?;
        let target = self.releases.planned(&detail)?;
        self.refuse_taken_hosts(app, &detail)?;
        let mut changes = self.store.changes();
        let mut superseded = false;
        loop {
            changes.mark_unchanged();
            let begun = self
                .change(app, |after, at, now, commit| {
                    self.begin(&request, &target, after, (at, now), actor, commit)
                })
                .await;
            match begun {
                Err(RackError::Command(CommandError::InProgress { .. })) => {}
                other => return other,
            }
            match request.if_busy {
                IfBusy::Refuse => return begun,
                IfBusy::Supersede if !superseded => {
                    superseded = true;
                    // It may have ended meanwhile, or be going back already: both make room.
                    let _ = self.cancel(app, Cancel::BySuperseding, None, actor).await;
                }
                IfBusy::Supersede | IfBusy::Wait => {}
            }
            changes.changed().await.map_err(|_| RackError::Stopping)?;
        }
    }

    /// Begins a promotion in an app's next state, with its record and its events.
    pub(super) fn begin(
        &self,
        request: &PromoteRequest,
        target: &Release,
        after: &mut App,
        (at, now): (Version, Timestamp),
        actor: &Actor,
        commit: &mut Commit,
    ) -> Result<PromotionRecord, RackError> {
        let app = after.name.clone();
        let options = PromoteOptions {
            limit: request.limit,
            only: request.only.clone(),
        };
        let seen = self.controller.last_seen(&app);
        let before = plan::status(after, &seen);
        plan::promote(after, target.clone(), request.kind, options, at, now)?;
        let record = self.begun(&app, request, after, at, now.0, actor);
        let text = format!("{} {}", kind_word(request.kind), request.release);
        let mut events = vec![self.event(&app, actor, "release:promote", text)];
        let status = plan::status(after, &seen);
        if status != before {
            let text = status_words(before, status);
            events.push(self.event(&app, actor, "app:status", text));
        }
        if matches!(
            request.kind,
            PromotionKind::Promote | PromotionKind::Rollback
        ) {
            let overruled = plan::overruled(after, target);
            events.extend(overruled.iter().map(|overruled| {
                self.event(&app, actor, "release:scale", overruled_words(overruled))
            }));
        }
        for event in &mut events {
            event.promotion = Some(at);
        }
        commit.events.extend(events);
        commit.events.extend(self.preparing(after, at, actor));
        commit.promotions.push(record.clone());
        Ok(record)
    }

    /// The first phase begins with the promotion, so nothing else tells of it.
    fn preparing(&self, after: &App, at: Version, actor: &Actor) -> Option<Event> {
        let text = "running the release command".to_owned();
        plan::runs_release_command(after).then(|| Event {
            promotion: Some(at),
            source: event_source(self.engine.capabilities().engine, "promotion"),
            ..self.event(&after.name, actor, "release:prepare", text)
        })
    }

    fn begun(
        &self,
        app: &AppName,
        request: &PromoteRequest,
        after: &App,
        number: Version,
        now: u64,
        actor: &Actor,
    ) -> PromotionRecord {
        let phase = after
            .promotion
            .as_ref()
            .map(|promotion| plan::explain::phase_word(promotion.phase.name()));
        PromotionRecord {
            app: app.clone(),
            number,
            release: request.release.clone(),
            kind: kind_word(request.kind).to_owned(),
            actor: actor.0.clone(),
            began: wall(),
            ended: None,
            outcome: None,
            reason: None,
            report: PromotionReport {
                phases: phase
                    .into_iter()
                    .map(|phase| (phase.to_owned(), now))
                    .collect(),
                ..PromotionReport::default()
            },
        }
    }

    /// A release whose own domains another app has would take its traffic.
    fn refuse_taken_hosts(
        &self,
        app: &AppName,
        detail: &crate::releases::ReleaseDetail,
    ) -> Result<(), RackError> {
        let own = |host: &str| {
            let services = detail.manifest.services.iter();
            services
                .flat_map(|(_, service)| &service.domains)
                .any(|domain| domain == host)
        };
        let hosts = self.controller.hosts();
        match hosts
            .into_iter()
            .find(|(host, owner)| owner != app && own(host))
        {
            Some((host, owner)) => Err(RackError::HostTaken { host, owner }),
            None => Ok(()),
        }
    }

    /// A promotion of an app.
    pub async fn promotion(
        &self,
        app: &AppName,
        number: Version,
    ) -> Result<PromotionRecord, RackError> {
        self.app(app)?;
        let found = self.store.promotion(app, number).await?;
        found.ok_or_else(|| RackError::NoPromotion {
            app: app.clone(),
            number,
        })
    }

    /// Where a rollback would go now.
    pub async fn rollback_target(&self, app: &AppName) -> Result<ReleaseId, RackError> {
        Ok(self.last_good_before_active(app).await?.id)
    }

    /// Makes a copy of an earlier release and promotes it, keeping what is still warm.
    pub async fn rollback(
        &self,
        app: &AppName,
        to: Option<ReleaseId>,
        if_busy: IfBusy,
        limit: Option<Millis>,
        actor: &Actor,
    ) -> Result<RolledBack, RackError> {
        let source = match to {
            Some(id) => self.release(app, &id).await?,
            None => self.last_good_before_active(app).await?,
        };
        // Everything that can be refused is refused before the copy exists.
        let detail = self.releases.detail(app, &source.id).await?;
        self.releases.planned(&detail)?;
        let in_flight = self.app(app)?.app.promotion.clone();
        if let Some(other) = in_flight.filter(|_| if_busy == IfBusy::Refuse) {
            return Err(RackError::Command(CommandError::InProgress {
                promotion: other.number,
                target: other.target,
            }));
        }
        let copy = ReleaseRecord {
            id: new_release_id()?,
            app: app.clone(),
            build: source.build.clone(),
            parent: Some(source.id.clone()),
            created: wall(),
            description: describe::rollback(&source.id),
            actor: actor.0.clone(),
            env: source.env.clone(),
            rollback_of: Some(source.rollback_of.clone().unwrap_or(source.id.clone())),
        };
        self.record_release(&copy, actor).await?;
        let request = PromoteRequest {
            release: copy.id.clone(),
            kind: PromotionKind::Rollback,
            if_busy,
            limit,
            only: None,
        };
        let changes = self.diff(app, &copy.id, &Start::Active).await.ok();
        let promotion = self.promote(app, request, actor).await?;
        Ok(RolledBack {
            release: copy,
            promotion,
            changes,
        })
    }

    /// The release that served before the active one.
    async fn last_good_before_active(&self, app: &AppName) -> Result<ReleaseRecord, RackError> {
        let entry = self.app(app)?;
        if entry.app.serving.is_none() {
            return Err(RackError::NothingActive(app.clone()));
        }
        let served = self.store.served(app).await?;
        // One that was collected is passed over: the ways back that can be needed are kept.
        for release in served.ways_back() {
            if let Some(found) = self.store.release(app, release).await? {
                return Ok(found);
            }
        }
        Err(RackError::NothingToRollBackTo(app.clone()))
    }
}

/// That an operator's number stays, and how to give it back.
fn overruled_words(overruled: &Overruled) -> String {
    let Overruled {
        service,
        size,
        count,
    } = overruled;
    format!(
        "{service} stays at {size} by hoist scale; the manifest says {count}: hoist scale --from-manifest {service} gives it back"
    )
}

/// The word of what a promotion was asked for.
pub(crate) fn kind_word(kind: PromotionKind) -> &'static str {
    match kind {
        PromotionKind::Promote => "promote",
        PromotionKind::Rollback => "rollback",
        PromotionKind::Restart => "restart",
        PromotionKind::Start => "start",
    }
}
