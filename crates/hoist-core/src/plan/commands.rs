//! What users ask for: each command checks and changes an app, or refuses and changes nothing.

use std::collections::BTreeMap;

use crate::id::{AppName, ReleaseId, ServiceName, SlotId, Version};
use crate::limits::{DRAIN_LIMIT, PROMOTION_LIMIT};
use crate::model::{
    App, BackStep, Cancel, Life, Millis, Phase, Planned, Promotion, PromotionKind, Reason, Release,
    RenewalCause, Retiring, RouterLife, Standing, Strategy, Timestamp, Workload,
};

use super::apply::forget_releases;
use super::resize::may_begin;
use super::shape::{held, limits, retired, routed, service_of, serving, size, targets, withdrawn};

/// Why a command was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// One promotion at a time.
    #[error("a promotion to {target} is in flight")]
    InProgress {
        /// The promotion.
        promotion: Version,
        /// What it wants live.
        target: ReleaseId,
    },
    /// Nothing brings a deleted app back.
    #[error("the app is being deleted")]
    Deleting,
    /// There is no such service.
    #[error("there is no service `{service}`: the app has {}", names(known))]
    UnknownService {
        /// The name.
        service: ServiceName,
        /// Those that there are.
        known: Vec<ServiceName>,
    },
    /// Only what serves can be restarted.
    #[error("only the active release can be restarted, and {release} is not active")]
    NotActive {
        /// The release.
        release: ReleaseId,
    },
    /// The service must not run twice.
    #[error("`{service}` must not run twice: its size is 0 or 1")]
    Singleton {
        /// The service.
        service: ServiceName,
    },
    /// More processes than a service may have.
    #[error("`{service}` cannot have {size} processes: the most is {most}")]
    TooMany {
        /// The service.
        service: ServiceName,
        /// What was asked for.
        size: u16,
        /// The limit.
        most: u16,
    },
    /// The process is not one of those that serve and stay.
    #[error("{}.{} is on its way in or out: only a process that serves is started again", slot.workload.service, slot.slot)]
    NotStanding {
        /// The process.
        slot: SlotId,
    },
    /// Its restart is under way.
    #[error("{}.{} is being started again already", slot.workload.service, slot.slot)]
    AlreadyRenewing {
        /// The process.
        slot: SlotId,
    },
    /// There is no promotion to cancel.
    #[error("no promotion is in flight")]
    NothingInFlight,
    /// The promotion is going back already.
    #[error("the promotion is already going back")]
    AlreadyGoingBack,
    /// It is stopped, or stopping.
    #[error("the app is stopped already, or about to be")]
    AlreadyStopped,
    /// It is not stopped.
    #[error("the app runs already")]
    AlreadyRunning,
    /// One service cannot run while its app is stopped.
    #[error("the app is stopped: it starts as a whole")]
    IsStopped,
    /// It was never deployed.
    #[error("the app was never deployed: there is nothing to stop")]
    NeverDeployed,
}

fn names(known: &[ServiceName]) -> String {
    let names: Vec<_> = known.iter().map(ToString::to_string).collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

/// What a promotion may be told beside its target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromoteOptions {
    /// From its begin to the switch; the app's limit when none.
    pub limit: Option<Millis>,
    /// Replace this service alone (`restart SERVICE`).
    pub only: Option<ServiceName>,
}

/// Makes an app that was never deployed.
pub fn create(name: AppName, at: Version) -> App {
    App {
        name,
        generation: at,
        routes_since: at,
        releases: BTreeMap::new(),
        sizes: BTreeMap::new(),
        limits: BTreeMap::new(),
        standing: Standing::Up,
        serving: None,
        retiring: BTreeMap::new(),
        promotion: None,
        resizes: BTreeMap::new(),
        renewals: BTreeMap::new(),
        postdeploys: BTreeMap::new(),
        revived: BTreeMap::new(),
        promotion_limit: PROMOTION_LIMIT,
        router: RouterLife::default(),
        failed: false,
    }
}

/// Begins to make `target` live. The promotion's number is `at`. A stopped app is meant to run from here on.
pub fn promote(
    app: &mut App,
    target: Release,
    kind: PromotionKind,
    options: PromoteOptions,
    at: Version,
    now: Timestamp,
) -> Result<(), CommandError> {
    refuse_deleting(app)?;
    if let Some(promotion) = &app.promotion {
        let (promotion, target) = (promotion.number, promotion.target.clone());
        return Err(CommandError::InProgress { promotion, target });
    }
    if kind == PromotionKind::Start && app.standing == Standing::Up && app.serving.is_some() {
        return Err(CommandError::AlreadyRunning);
    }
    if let Some(service) = &options.only {
        if app.standing != Standing::Up {
            return Err(CommandError::IsStopped);
        }
        let active = app
            .serving
            .as_ref()
            .filter(|serving| serving.release == target.id);
        let active = active.ok_or_else(|| CommandError::NotActive {
            release: target.id.clone(),
        })?;
        if !target.services.contains_key(service) || !active.workloads.contains_key(service) {
            return Err(CommandError::UnknownService {
                service: service.clone(),
                known: target.services.keys().cloned().collect(),
            });
        }
    }
    app.releases.insert(target.id.clone(), target.clone());
    let plan = |name: &ServiceName| {
        let kept = match (&options.only, kind) {
            (Some(only), _) if only != name => running(app, name),
            (None, PromotionKind::Rollback) => reusable(app, &target, name, now),
            _ => None,
        };
        let planned = match kept {
            Some((workload, slots)) => Planned::Keep { workload, slots },
            None => Planned::Replace {
                slots: size(app, &target.id, name),
                limits: limits(app, name),
            },
        };
        (name.clone(), planned)
    };
    let services: BTreeMap<_, _> = target.services.keys().map(plan).collect();
    let limit = options.limit.unwrap_or(app.promotion_limit);
    app.promotion = Some(Promotion {
        number: at,
        target: target.id,
        kind,
        services,
        phase: Phase::Preparing,
        since: at,
        entered: now,
        began: now,
        deadline: now + limit,
        cancel: None,
    });
    if app.standing != Standing::Up {
        app.standing = Standing::Up;
        app.routes_since = at;
    }
    app.failed = false;
    app.generation = at;
    forget_releases(app);
    Ok(())
}

/// What runs for a service, with its slots.
fn running(app: &App, name: &ServiceName) -> Option<(Workload, u16)> {
    serving(app, name).map(|workload| (workload.clone(), held(app, name)))
}

/// A warm or running workload that a process of `target` would be started exactly like.
fn reusable(
    app: &App,
    target: &Release,
    name: &ServiceName,
    now: Timestamp,
) -> Option<(Workload, u16)> {
    let wanted = target.services.get(name)?;
    let same = |workload: &Workload| {
        workload.limits == limits(app, name)
            && service_of(app, workload).is_some_and(|service| {
                service.fingerprint == wanted.fingerprint && service.routed == wanted.routed
            })
    };
    let warm = app
        .retiring
        .iter()
        .filter(|(id, retiring)| id.service == *name && now < retiring.warm_until);
    let warm = warm.map(|(id, retiring)| (retired(id, retiring), retiring.slots));
    let mut warm: Vec<_> = warm.filter(|(workload, _)| same(workload)).collect();
    warm.pop()
        .filter(|_| wanted.strategy == Strategy::Surge)
        .or_else(|| running(app, name).filter(|(workload, _)| same(workload)))
}

/// Asks the promotion in flight to end. One that has switched already goes back when a user cancels it, and ends `succeeded`
/// at once when it is superseded.
pub fn cancel(app: &mut App, cancel: Cancel, at: Version) -> Result<(), CommandError> {
    let promotion = app
        .promotion
        .as_mut()
        .ok_or(CommandError::NothingInFlight)?;
    match promotion.phase {
        Phase::RollingBack { .. } => return Err(CommandError::AlreadyGoingBack),
        // Whoever cancelled was told that it goes back.
        _ if promotion.cancel == Some(Cancel::ByUser) => {}
        _ => promotion.cancel = Some(cancel),
    }
    app.generation = at;
    Ok(())
}

/// Starts one process that serves again: out of the route, drained, stopped, started in its slot, back through the gate.
/// While a promotion is on its way to what serves next, it is that promotion's turn: refused.
pub fn renew(
    app: &mut App,
    slot: &SlotId,
    life: &Life,
    at: Version,
    now: Timestamp,
) -> Result<(), CommandError> {
    refuse_deleting(app)?;
    if app.renewals.contains_key(slot) {
        return Err(CommandError::AlreadyRenewing { slot: slot.clone() });
    }
    if !super::renewal::stands(app, slot) || app.standing != Standing::Up {
        return Err(CommandError::NotStanding { slot: slot.clone() });
    }
    if let Some(promotion) = app.promotion.as_ref().filter(|_| !may_begin(app)) {
        let (promotion, target) = (promotion.number, promotion.target.clone());
        return Err(CommandError::InProgress { promotion, target });
    }
    super::renewal::begin(app, slot, life, RenewalCause::Asked, at, now);
    app.generation = at;
    Ok(())
}

/// Stops an app until a user starts it: traffic leaves at once, requests finish, processes go, sizes stay.
pub fn stop(app: &mut App, at: Version, now: Timestamp) -> Result<(), CommandError> {
    refuse_deleting(app)?;
    match app.standing {
        Standing::Stopping { .. } | Standing::Stopped => return Err(CommandError::AlreadyStopped),
        _ if app.serving.is_none() && app.promotion.is_none() => {
            return Err(CommandError::NeverDeployed);
        }
        _ => {}
    }
    app.standing = Standing::Stopping {
        since: at,
        entered: now,
    };
    let_all_go(app, at, now);
    Ok(())
}

/// Deletes an app: as stopping, and nothing brings it back. The record goes when `step` says so.
pub fn delete(app: &mut App, at: Version, now: Timestamp) -> Result<(), CommandError> {
    refuse_deleting(app)?;
    app.standing = Standing::Deleting {
        since: at,
        entered: now,
    };
    let_all_go(app, at, now);
    Ok(())
}

pub(super) fn refuse_deleting(app: &App) -> Result<(), CommandError> {
    match app.standing {
        Standing::Deleting { .. } => Err(CommandError::Deleting),
        Standing::Up | Standing::Stopping { .. } | Standing::Stopped => Ok(()),
    }
}

/// Takes traffic from everything at once; what may have requests retires, the rest is no longer wanted. A promotion in
/// flight has only its release command and its processes to see gone.
fn let_all_go(app: &mut App, at: Version, now: Timestamp) {
    let mut leaving: Vec<(Workload, u16)> = Vec::new();
    let stopped = withdrawn(app);
    for (name, workload) in app.serving.iter().flat_map(|serving| &serving.workloads) {
        if !stopped.contains(name) {
            leaving.push((workload.clone(), held(app, name)));
        }
    }
    if let Some(promotion) = &app.promotion {
        leaving.extend(targets(app, promotion).map(|(_, workload, slots)| (workload, slots)));
    }
    leaving.retain(|(workload, _)| routed(app, workload));
    for (workload, slots) in leaving {
        let limit = service_of(app, &workload).map_or(DRAIN_LIMIT, |service| service.drain_limit);
        let retiring = Retiring {
            release: workload.release,
            limits: workload.limits,
            slots,
            since: at,
            warm_until: now,
            until: now + limit,
        };
        app.retiring.insert(workload.id, retiring);
    }
    for retiring in app.retiring.values_mut() {
        retiring.warm_until = retiring.warm_until.min(now);
    }
    if let Some(promotion) = &mut app.promotion {
        let reason = Reason::Cancelled(Cancel::ByUser);
        promotion.cancel = Some(Cancel::ByUser);
        promotion.phase = Phase::RollingBack {
            step: BackStep::Removing,
            reason,
            complete: true,
        };
        (promotion.since, promotion.entered) = (at, now);
    }
    if let Some(serving) = &mut app.serving {
        serving.workloads.clear();
        serving.slots.clear();
    }
    app.resizes.clear();
    app.renewals.clear();
    super::postdeploy::stop(app, at, now);
    app.revived.clear();
    app.generation = at;
    app.routes_since = at;
    forget_releases(app);
}
