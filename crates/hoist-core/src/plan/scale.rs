//! Sizes and limits: what an operator says counts, until it is given back to the manifest.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{ServiceName, Version};
use crate::limits::COUNT_MAX;
use crate::model::{App, Limits, Release, ResizeStage, Standing, Strategy, Timestamp};

use super::CommandError;
use super::apply::begin_resize;
use super::commands::refuse_deleting;
use super::resize::may_begin;
use super::shape::{limits, serving, size};

/// What an operator asks of sizes and limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scaling {
    /// How many processes.
    pub sizes: BTreeMap<ServiceName, u16>,
    /// What each may take; what is none stays as it is.
    pub limits: BTreeMap<ServiceName, Limits>,
    /// Services whose size and limits the manifest gives from now on.
    pub from_manifest: BTreeSet<ServiceName>,
}

/// A size that an operator set and the manifest of a release does not know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// The service.
    pub service: ServiceName,
    /// The operator's number, which counts.
    pub size: u16,
    /// The manifest's.
    pub count: u16,
}

/// Where an operator's numbers differ from a release's manifest.
pub fn overruled(app: &App, release: &Release) -> Vec<Overruled> {
    let differs = |(name, size): (&ServiceName, &u16)| {
        let count = release.services.get(name)?.count;
        (count != *size).then(|| Overruled {
            service: name.clone(),
            size: *size,
            count,
        })
    };
    app.sizes.iter().filter_map(differs).collect()
}

/// Whether the app, started as it is, would have other sizes or limits than one that was started `before`.
pub fn scaled(before: &App, app: &App) -> bool {
    let Some(release) = app
        .serving
        .as_ref()
        .and_then(|serving| app.releases.get(&serving.release))
    else {
        return false;
    };
    let differs = |name: &ServiceName| {
        let wanted = |app: &App| (size(app, &release.id, name), limits(app, name));
        wanted(before) != wanted(app)
    };
    release.services.keys().any(differs)
}

/// Changes sizes and limits. What serves is resized at once; a promotion in flight takes a new size after the switch; a
/// stopped or new app remembers both.
///
/// Running processes are never touched by a limit: the answer names the services that serve with others than wanted,
/// which must be restarted through the gate. These are not resized before.
pub fn scale(
    app: &mut App,
    scaling: &Scaling,
    at: Version,
    now: Timestamp,
) -> Result<BTreeSet<ServiceName>, CommandError> {
    refuse_deleting(app)?;
    for (name, size) in &scaling.sizes {
        check(app, name, *size)?;
    }
    for name in scaling.limits.keys().chain(&scaling.from_manifest) {
        check(app, name, 0)?;
    }
    for name in &scaling.from_manifest {
        app.sizes.remove(name);
        app.limits.remove(name);
    }
    for (name, wanted) in &scaling.limits {
        let before = limits(app, name);
        let merged = Limits {
            cpu_millicores: wanted.cpu_millicores.or(before.cpu_millicores),
            memory_bytes: wanted.memory_bytes.or(before.memory_bytes),
        };
        set_limits(app, name.clone(), merged);
    }
    let sizes = scaling
        .sizes
        .iter()
        .map(|(name, size)| (name.clone(), *size));
    app.sizes.extend(sizes);
    let named = scaling.limits.keys().chain(&scaling.from_manifest);
    let restart: BTreeSet<_> = named
        .filter(|name| limits_differ(app, name))
        .cloned()
        .collect();
    for name in scaling.sizes.keys().chain(&scaling.from_manifest) {
        if !restart.contains(name) {
            resize_serving(app, name, at, now);
        }
    }
    app.generation = at;
    Ok(restart)
}

/// Changes sizes alone: see [`scale`].
pub fn resize(
    app: &mut App,
    sizes: &BTreeMap<ServiceName, u16>,
    at: Version,
    now: Timestamp,
) -> Result<(), CommandError> {
    let scaling = Scaling {
        sizes: sizes.clone(),
        ..Scaling::default()
    };
    scale(app, &scaling, at, now).map(drop)
}

/// Keeps an operator's limits; nothing is kept where the manifest gives them all.
pub(super) fn set_limits(app: &mut App, name: ServiceName, wanted: Limits) {
    match wanted == Limits::default() {
        true => app.limits.remove(&name),
        false => app.limits.insert(name, wanted),
    };
}

/// Whether a service serves with other limits than wanted.
fn limits_differ(app: &App, name: &ServiceName) -> bool {
    app.standing == Standing::Up
        && serving(app, name).is_some_and(|workload| workload.limits != limits(app, name))
}

/// Begins a shrinking of what serves. `step` begins all others: a growth, for which something must be known of reality
/// first, and what waits for a resize under way or for a switch.
fn resize_serving(app: &mut App, name: &ServiceName, at: Version, now: Timestamp) {
    let Some(serving) = &app.serving else {
        return;
    };
    let Some(slots) = serving.slots.get(name).copied() else {
        return;
    };
    let to = size(app, &serving.release, name);
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

fn check(app: &App, name: &ServiceName, size: u16) -> Result<(), CommandError> {
    let active = app.serving.as_ref().map(|serving| &serving.release);
    let next = app.promotion.as_ref().map(|promotion| &promotion.target);
    let releases = active
        .into_iter()
        .chain(next)
        .filter_map(|id| app.releases.get(id));
    let mut found = releases
        .clone()
        .filter_map(|release| release.services.get(name))
        .peekable();
    if releases.clone().count() > 0 && found.peek().is_none() {
        let known = releases.clone().flat_map(|release| release.services.keys());
        let mut known: Vec<_> = known.cloned().collect();
        known.sort();
        known.dedup();
        return Err(CommandError::UnknownService {
            service: name.clone(),
            known,
        });
    }
    if size > COUNT_MAX {
        return Err(CommandError::TooMany {
            service: name.clone(),
            size,
            most: COUNT_MAX,
        });
    }
    match size > 1 && found.any(|service| service.strategy == Strategy::Replace) {
        true => Err(CommandError::Singleton {
            service: name.clone(),
        }),
        false => Ok(()),
    }
}
