//! What is promised of releases, checked when one is made, when one is gone back to, and at every commit. Each check looks
//! at all records anew and shares no code with what it checks.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ReleaseId};
use hoist_core::model::{App, PromotionKind};

use crate::records::{Attempt, Change, Content, Record, Records};

/// A promise that was broken, and how.
pub type Broken = Option<(&'static str, String)>;

/// What an app's users meant: what became active, and on top of it what they staged, as long as nobody chose otherwise.
#[derive(Debug, Default)]
struct Meant {
    active: Option<Content>,
    staged: Vec<(ReleaseId, Content)>,
}

#[derive(Debug, Default)]
pub struct Promises {
    /// Of apps whose users leave the choice of the base to the rack.
    meant: BTreeMap<AppName, Meant>,
    /// Promotions that took staged releases along.
    pub staged: u32,
}

impl Promises {
    pub fn found(&mut self, app: &AppName, plain: bool) {
        self.meant.remove(app);
        if plain {
            self.meant.insert(app.clone(), Meant::default());
        }
    }

    /// Whether the users of an app leave the choice of the base to the rack.
    pub fn plain(&self, app: &AppName) -> bool {
        self.meant.contains_key(app)
    }

    /// R2: what is made contains all that was staged before it, and nothing of what failed.
    pub fn changed(&mut self, app: &AppName, made: &Record, change: &Change) -> Broken {
        let meant = self.meant.get_mut(app)?;
        let below = meant.staged.last().map(|(_, content)| content);
        let below = below.or(meant.active.as_ref()).cloned();
        let wanted = below.unwrap_or_default().with(change);
        let (id, found) = (&made.release.id, &made.content);
        meant.staged.push((id.clone(), wanted.clone()));
        (wanted != *found).then(|| {
            let what = format!("{id} of {app} should bring {wanted:?} and brings {found:?}");
            ("R2", what)
        })
    }

    /// R2 at the end of a promotion: what became active is what was staged.
    pub fn ended(&mut self, app: &AppName, attempt: &Attempt, records: &Records) -> Broken {
        let meant = self.meant.get_mut(app)?;
        let of = |(id, _): &(ReleaseId, Content)| *id == attempt.release;
        let place = meant.staged.iter().position(of);
        if attempt.went_wrong() {
            // While nothing is active, what failed is mended by what comes on top of it.
            if let Some(place) = place.filter(|_| meant.active.is_some()) {
                meant.staged.truncate(place);
            }
            return None;
        }
        let found = records.find(&attempt.release)?.content.clone();
        let Some(place) = place else {
            // A rollback, a restart or a start: on what was active, what is staged stays staged.
            if meant.active.as_ref() != Some(&found) || attempt.kind == PromotionKind::Rollback {
                meant.staged.clear();
            }
            meant.active = Some(found);
            return None;
        };
        self.staged += u32::from(place > 0);
        let (id, wanted) = meant.staged.drain(..=place).next_back()?;
        meant.active = Some(wanted.clone());
        (wanted != found).then(|| {
            let what = format!("{id} of {app} is active with {found:?} and not {wanted:?}");
            ("R2", what)
        })
    }
}

/// R1 and R2: the base stands on nothing that failed, and nothing that is sound is newer.
pub fn base(records: &Records, active: Option<&ReleaseId>, chosen: Option<&ReleaseId>) -> Broken {
    let Some(active) = active else {
        let newest = records.newest();
        return (chosen != newest).then(|| ("R2", format!("base {chosen:?}, newest {newest:?}")));
    };
    let Some(chosen) = chosen else {
        return Some(("R2", format!("no base on {active}")));
    };
    if let Err(why) = sound(records, chosen, active) {
        return Some(("R1", format!("base {chosen} on {active}: {why}")));
    }
    let place = records.place(chosen).max(records.place(active));
    let newer = &records.releases[place.map_or(0, |place| place + 1)..];
    let better = newer
        .iter()
        .map(|record| &record.release.id)
        .find(|id| sound(records, id, active).is_ok())?;
    Some(("R2", format!("base {chosen}, and {better} is left behind")))
}

/// Whether a release is the active one, or stands on it and on nothing between of which a promotion went wrong.
fn sound(records: &Records, from: &ReleaseId, active: &ReleaseId) -> Result<(), String> {
    let mut at = from;
    while at != active {
        let record = records.find(at).ok_or_else(|| format!("no {at}"))?;
        if records.flawed(at) {
            return Err(format!("a promotion of {at} went wrong"));
        }
        let parent = record.parent.as_ref();
        at = parent.ok_or_else(|| format!("{at} stands on nothing"))?;
    }
    Ok(())
}

/// R5: what a release was made from was there before it.
pub fn parent(records: &Records) -> Broken {
    let (last, before) = records.releases.split_last()?;
    let (id, parent) = (&last.release.id, last.parent.as_ref()?);
    let known = before.iter().any(|record| record.release.id == *parent);
    (!known).then(|| {
        (
            "R5",
            format!("{id} was made from {parent}, which was not there"),
        )
    })
}

/// A time in which one release served.
struct Period<'r> {
    release: &'r ReleaseId,
    /// A rollback went back over it.
    left: bool,
}

/// R3: without a name a rollback goes to what served last before now, to no time that a rollback left, and only to what a
/// promotion brought to serve.
pub fn last_good(records: &Records, chosen: Option<&ReleaseId>) -> Broken {
    let mut periods: Vec<Period<'_>> = Vec::new();
    let mut now = 0;
    for (release, kind) in records.successes() {
        let again = |period: &Period<'_>| !period.left && period.release == release;
        let known = match kind {
            PromotionKind::Rollback => periods.iter().rposition(again),
            _ => periods.get(now).filter(|period| again(period)).map(|_| now),
        };
        if let Some(known) = known {
            let over = periods.iter_mut().skip(known + 1);
            over.for_each(|period| period.left = true);
            now = known;
        } else {
            let left = false;
            periods.push(Period { release, left });
            now = periods.len() - 1;
        }
    }
    let mut before = periods.iter().take(now).rev();
    // What is gone for good is nothing to go back to.
    let there = |release: &ReleaseId| records.find(release).is_some();
    let wanted = before.find(|period| !period.left && there(period.release));
    let wanted = wanted.map(|period| period.release);
    (chosen != wanted).then(|| ("R3", format!("goes back to {chosen:?}, not to {wanted:?}")))
}

/// R4: one release is active, the one of the last promotion that succeeded, and one promotion at most is open. R6: what
/// serves runs what the active release brings, whatever came and went.
pub fn agrees(records: &Records, app: &App) -> Broken {
    let mut open = records.attempts.iter().filter(|a| a.outcome.is_none());
    let (open, more) = (open.next(), open.next());
    let in_flight = app.promotion.as_ref().map(|promotion| promotion.number);
    if open.map(|attempt| attempt.number) != in_flight || more.is_some() {
        let what = format!("{}: {in_flight:?} is in flight, open is {open:?}", app.name);
        return Some(("R4", what));
    }
    let mut attempts = records.attempts.iter().rev();
    let last = attempts.find(|attempt| attempt.succeeded());
    let (last, active) = (last.map(|a| &a.release), app.serving.as_ref());
    if last != active.map(|serving| &serving.release) {
        let active = active.map(|serving| &serving.release);
        let what = format!("{}: {active:?} is active, {last:?} succeeded", app.name);
        return Some(("R4", what));
    }
    let serving = active.filter(|serving| !serving.workloads.is_empty())?;
    let promised = &records.find(&serving.release)?.release.services;
    if !serving.workloads.keys().eq(promised.keys()) {
        let runs = serving.workloads.keys().collect::<Vec<_>>();
        let what = format!("{}: {runs:?} serve for {}", app.name, serving.release);
        return Some(("R6", what));
    }
    serving.workloads.iter().find_map(|(name, workload)| {
        let runs = &records.find(&workload.release)?.release.services;
        let same =
            runs.get(name).map(|of| of.fingerprint) == promised.get(name).map(|of| of.fingerprint);
        let what = || {
            format!(
                "{}/{name} runs as in {} for {}",
                app.name, workload.release, serving.release
            )
        };
        (!same).then(|| ("R6", what()))
    })
}
