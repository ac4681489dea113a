//! What users ask for: each command checks and changes an app, or refuses and changes nothing.

use std::collections::BTreeMap;

use crate::id::{AppName, ReleaseId, ServiceName, Version};
use crate::limits::{DRAIN_LIMIT, PROMOTION_LIMIT};
use crate::model::{
    App, BackStep, Cancel, Millis, Phase, Planned, Promotion, PromotionKind, Reason, Release,
    ResizeStage, Retiring, RouterLife, Standing, Strategy, Timestamp, Workload,
};

use super::apply::{begin_resize, forget_releases};
use super::resize::may_begin;
use super::shape::{held, routed, service_of, serving, size, targets, withdrawn};

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
    #[error("there is no service `{service}`")]
    UnknownService {
        /// The name.
        service: ServiceName,
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
    /// There is no promotion to cancel.
    #[error("no promotion is in flight")]
    NothingInFlight,
    /// The promotion is going back already.
    #[error("the promotion is already going back")]
    AlreadyGoingBack,
    /// The switch has happened.
    #[error("too late to cancel: the new release serves already")]
    AlreadySwitched,
    /// It is stopped, or stopping.
    #[error("the app is already stopped")]
    AlreadyStopped,
    /// It was never deployed.
    #[error("the app was never deployed: there is nothing to stop")]
    NeverDeployed,
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
        standing: Standing::Up,
        serving: None,
        retiring: BTreeMap::new(),
        promotion: None,
        resizes: BTreeMap::new(),
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
    if let Some(service) = &options.only {
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
        service_of(app, workload).is_some_and(|service| {
            service.fingerprint == wanted.fingerprint && service.routed == wanted.routed
        })
    };
    let warm = app
        .retiring
        .iter()
        .filter(|(id, retiring)| id.service == *name && now < retiring.warm_until);
    let warm = warm.map(|(id, retiring)| {
        (
            Workload {
                id: id.clone(),
                release: retiring.release.clone(),
            },
            retiring.slots,
        )
    });
    let mut warm: Vec<_> = warm.filter(|(workload, _)| same(workload)).collect();
    warm.pop()
        .filter(|_| wanted.strategy == Strategy::Surge)
        .or_else(|| running(app, name).filter(|(workload, _)| same(workload)))
}

/// Asks the promotion in flight to end. One that has switched already ends `succeeded` at once when it is superseded.
pub fn cancel(app: &mut App, cancel: Cancel, at: Version) -> Result<(), CommandError> {
    let promotion = app
        .promotion
        .as_mut()
        .ok_or(CommandError::NothingInFlight)?;
    match promotion.phase {
        Phase::RollingBack { .. } => return Err(CommandError::AlreadyGoingBack),
        Phase::Draining if cancel == Cancel::ByUser => return Err(CommandError::AlreadySwitched),
        _ => promotion.cancel = Some(cancel),
    }
    app.generation = at;
    Ok(())
}

/// Changes sizes. What serves is resized at once; a promotion in flight takes the new size after the switch; a stopped
/// or new app remembers it.
pub fn resize(
    app: &mut App,
    sizes: &BTreeMap<ServiceName, u16>,
    at: Version,
    now: Timestamp,
) -> Result<(), CommandError> {
    refuse_deleting(app)?;
    for (name, size) in sizes {
        check_size(app, name, *size)?;
    }
    for (name, to) in sizes {
        app.sizes.insert(name.clone(), *to);
        resize_serving(app, name, *to, at, now);
    }
    app.generation = at;
    Ok(())
}

/// Begins a shrinking of what serves. `step` begins all others: a growth, for which something must be known of reality
/// first, and what waits for a resize under way or for a switch.
fn resize_serving(app: &mut App, name: &ServiceName, to: u16, at: Version, now: Timestamp) {
    let slots = app
        .serving
        .as_ref()
        .and_then(|serving| serving.slots.get(name));
    let Some(slots) = slots.copied() else {
        return;
    };
    match app
        .resizes
        .get(name)
        .map(|resize| (resize.stage, resize.from, resize.to))
    {
        None if to < slots && may_begin(app) => begin_resize(app, name, slots, to, at, now),
        // A growth that is no longer wanted ends at once; what it may have started leaves in order.
        Some((ResizeStage::Growing, from, asked)) if to <= from => {
            begin_resize(app, name, asked, to, at, now);
        }
        None | Some(_) => {}
    }
}

fn check_size(app: &App, name: &ServiceName, size: u16) -> Result<(), CommandError> {
    let active = app.serving.as_ref().map(|serving| &serving.release);
    let next = app.promotion.as_ref().map(|promotion| &promotion.target);
    let releases = active
        .into_iter()
        .chain(next)
        .filter_map(|id| app.releases.get(id));
    let mut known = releases
        .clone()
        .filter_map(|release| release.services.get(name))
        .peekable();
    if releases.count() > 0 && known.peek().is_none() {
        return Err(CommandError::UnknownService {
            service: name.clone(),
        });
    }
    match size > 1 && known.any(|service| service.strategy == Strategy::Replace) {
        true => Err(CommandError::Singleton {
            service: name.clone(),
        }),
        false => Ok(()),
    }
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

fn refuse_deleting(app: &App) -> Result<(), CommandError> {
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
    app.generation = at;
    app.routes_since = at;
    forget_releases(app);
}
