//! What retention reads of an app's history, and how rows leave it: few at a time, so that other commits wait for
//! milliseconds only.

use std::collections::BTreeSet;
use std::sync::Arc;

use hoist_core::history::Served;
use hoist_core::id::{AppName, BuildId, ProcessId, ReleaseId, Version};
use hoist_core::model::PromotionKind;
use hoist_core::retention::{BuildState, EVENTS_KEPT, Made, ONE_OFFS_KEPT, PROMOTIONS_KEPT};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::oneshot;

use super::rows::{get_kin, read_all};
use super::{BuildStatus, RackState, Store, StoreError, writer};
use crate::commands::kind_word;

/// Rows that leave in one transaction.
pub(crate) const ROWS_MAX: usize = 500;
/// Rows of each kind of history that are found surplus at once; the rest are found next time.
const SURPLUS_MAX: u32 = 20_000;

/// What retention reads of one app.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// Releases, newest first.
    pub(crate) releases: Vec<Made>,
    /// Builds, newest first.
    pub(crate) builds: Vec<(BuildId, BuildState)>,
    /// Releases of one-offs that run.
    pub(crate) one_offs: BTreeSet<ReleaseId>,
    /// Releases of the promotions that were asked about.
    pub(crate) promoted: BTreeSet<ReleaseId>,
    /// What served.
    pub(crate) served: Served,
    /// Older history than is kept.
    pub(crate) surplus: Surplus,
}

/// Promotions, events and one-offs beyond those that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Surplus {
    pub(crate) promotions: Vec<Version>,
    pub(crate) events: Vec<i64>,
    pub(crate) one_offs: Vec<ProcessId>,
}

/// Rows that leave, all of one app; at most [`ROWS_MAX`].
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    /// Releases, as long as the app is at this generation and no one-off runs them.
    Releases(Version, Vec<ReleaseId>),
    /// Builds, as long as the app is at this generation and no release has them.
    Builds(Version, Vec<BuildId>),
    /// History that has ended.
    Surplus(Surplus),
}

impl Surplus {
    /// The same in pieces that leave at once each.
    pub(crate) fn pieces(&self) -> Vec<Self> {
        let mut pieces = Vec::new();
        for promotions in self.promotions.chunks(ROWS_MAX) {
            pieces.push(Self {
                promotions: promotions.to_vec(),
                ..Self::default()
            });
        }
        for events in self.events.chunks(ROWS_MAX) {
            pieces.push(Self {
                events: events.to_vec(),
                ..Self::default()
            });
        }
        for one_offs in self.one_offs.chunks(ROWS_MAX) {
            pieces.push(Self {
                one_offs: one_offs.to_vec(),
                ..Self::default()
            });
        }
        pieces
    }
}

impl Store {
    /// What retention reads of an app; `promotions` are attempts of which the engine still holds something.
    pub(crate) async fn kept(
        self: &Arc<Self>,
        app: &AppName,
        promotions: Vec<Version>,
    ) -> Result<Kept, StoreError> {
        let app = app.clone();
        self.read(move |connection| {
            let app = app.as_str();
            Ok(Kept {
                releases: read_all(connection, RELEASES, (app,), |row| {
                    let build: Option<String> = row.get(3)?;
                    let kin = get_kin(row)?;
                    Ok(kin.and_then(|kin| {
                        let build = build.as_deref().map(parse).transpose()?;
                        Ok(Made { kin, build })
                    }))
                })?,
                builds: read_all(connection, BUILDS, (app,), get_build_state)?,
                one_offs: read_all(connection, RUNNING, (app,), get_id)?
                    .into_iter()
                    .collect(),
                promoted: promoted(connection, app, &promotions)?,
                served: served(connection, app)?,
                surplus: surplus(connection, app)?,
            })
        })
        .await
    }

    /// What served, as far as promotions that succeeded are kept.
    pub(crate) async fn served(self: &Arc<Self>, app: &AppName) -> Result<Served, StoreError> {
        let app = app.clone();
        self.read(move |connection| served(connection, app.as_str()))
            .await
    }

    /// Removes rows, durably, all or none of them.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the app moved on since the decision, or one of them is needed after all.
    pub(crate) async fn collect(&self, app: &AppName, rows: Rows) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let app = app.clone();
        let job = writer::Job::Collect { app, rows, reply };
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

const RELEASES: &str = "
    SELECT id, parent, id IN (
        SELECT release FROM promotions WHERE app = ?1 AND outcome IS NOT NULL AND outcome <> 'succeeded'
    ), build FROM releases WHERE app = ?1 ORDER BY position DESC";
const BUILDS: &str = "SELECT id, status FROM builds WHERE app = ?1 ORDER BY position DESC";
const RUNNING: &str = "SELECT release FROM one_offs WHERE app = ?1 AND ended_ms IS NULL";

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Unreadable(text.to_owned()))
}

fn get_id<T: std::str::FromStr>(row: &Row<'_>) -> Result<Result<T, StoreError>, rusqlite::Error> {
    let id: String = row.get(0)?;
    Ok(parse(&id))
}

fn get_build_state(
    row: &Row<'_>,
) -> Result<Result<(BuildId, BuildState), StoreError>, rusqlite::Error> {
    let (id, status): (String, String) = (row.get(0)?, row.get(1)?);
    let state = match BuildStatus::from_word(&status) {
        Some(BuildStatus::Complete) => BuildState::Complete,
        Some(BuildStatus::Failed | BuildStatus::Cancelled) => BuildState::Failed,
        // What is not known is left alone.
        Some(BuildStatus::Running) | None => BuildState::Running,
    };
    Ok(parse(&id).map(|id| (id, state)))
}

fn get_version(row: &Row<'_>) -> Result<Result<Version, StoreError>, rusqlite::Error> {
    let (epoch, number): (u32, i64) = (row.get(0)?, row.get(1)?);
    let number = number as u64;
    Ok(Ok(Version { epoch, number }))
}

fn promoted(
    connection: &Connection,
    app: &str,
    promotions: &[Version],
) -> Result<BTreeSet<ReleaseId>, StoreError> {
    let sql = "SELECT release FROM promotions WHERE app = ?1 AND epoch = ?2 AND number = ?3";
    let mut releases = BTreeSet::new();
    for version in promotions {
        let number = version.number as i64;
        releases.extend(read_all(
            connection,
            sql,
            (app, version.epoch, number),
            get_id,
        )?);
    }
    Ok(releases)
}

/// Of a release that is gone its promotions remember what it was a copy of.
fn served(connection: &Connection, app: &str) -> Result<Served, StoreError> {
    let sql = "SELECT coalesce(rollback_of, origin, release), kind FROM promotions
               LEFT JOIN releases ON releases.id = promotions.release
               WHERE promotions.app = ?1 AND outcome = 'succeeded'
               ORDER BY epoch DESC, number DESC LIMIT ?2";
    let get = |row: &Row<'_>| {
        let (release, kind): (String, String) = (row.get(0)?, row.get(1)?);
        let back = kind == kind_word(PromotionKind::Rollback);
        Ok(parse(&release).map(|release| (release, back)))
    };
    let mut served = Served::default();
    let all = read_all(connection, sql, (app, PROMOTIONS_KEPT), get)?;
    for (release, back) in all.into_iter().rev() {
        served.add(release, back);
    }
    Ok(served)
}

fn surplus(connection: &Connection, app: &str) -> Result<Surplus, StoreError> {
    // An older promotion stays when it is the last of a release that is there: it says how that stands.
    let promotions = |outcome: &str| {
        let sql = format!(
            "SELECT epoch, number FROM (
                 SELECT epoch, number, release FROM promotions WHERE app = ?1 AND {outcome}
                 ORDER BY epoch DESC, number DESC LIMIT -1 OFFSET ?2
             ) AS old WHERE NOT EXISTS (SELECT 1 FROM releases WHERE id = old.release)
             OR EXISTS (SELECT 1 FROM promotions AS newer WHERE newer.release = old.release AND {outcome}
                        AND (newer.epoch, newer.number) > (old.epoch, old.number))
             LIMIT ?3"
        );
        read_all(
            connection,
            &sql,
            (app, PROMOTIONS_KEPT, SURPLUS_MAX),
            get_version,
        )
    };
    let mut all = promotions("outcome = 'succeeded'")?;
    all.extend(promotions("outcome <> 'succeeded'")?);
    let events = "SELECT id FROM events WHERE app = ?1 ORDER BY id DESC LIMIT ?3 OFFSET ?2";
    let one_offs = "SELECT id FROM one_offs WHERE app = ?1 AND ended_ms IS NOT NULL
                    ORDER BY created_ms DESC LIMIT ?3 OFFSET ?2";
    Ok(Surplus {
        promotions: all,
        events: read_all(connection, events, (app, EVENTS_KEPT, SURPLUS_MAX), |row| {
            Ok(Ok(row.get(0)?))
        })?,
        one_offs: read_all(
            connection,
            one_offs,
            (app, ONE_OFFS_KEPT, SURPLUS_MAX),
            get_id,
        )?,
    })
}

/// Removes rows within the writer's transaction.
pub(super) fn remove(
    connection: &Connection,
    app: &AppName,
    rows: &Rows,
    state: &RackState,
) -> Result<(), StoreError> {
    let at = state.apps.get(app).map(|entry| entry.app.generation);
    let failed = StoreError::sql("remove history");
    match rows {
        Rows::Releases(expected, _) | Rows::Builds(expected, _) if at != Some(*expected) => {
            Err(StoreError::Conflict)
        }
        Rows::Releases(_, releases) => releases
            .iter()
            .try_for_each(|id| remove_release(connection, app, id).map_err(&failed)?),
        Rows::Builds(_, builds) => builds
            .iter()
            .try_for_each(|id| remove_build(connection, app, id).map_err(&failed)?),
        Rows::Surplus(surplus) => remove_surplus(connection, app, surplus).map_err(&failed),
    }
}

type Removed = Result<Result<(), StoreError>, rusqlite::Error>;

fn remove_release(connection: &Connection, app: &AppName, id: &ReleaseId) -> Removed {
    let (app, id) = (app.as_str(), id.as_str());
    let runs = "SELECT EXISTS (SELECT 1 FROM one_offs WHERE release = ?1 AND ended_ms IS NULL)";
    if connection
        .prepare_cached(runs)?
        .query_row([id], |row| row.get(0))?
    {
        return Ok(Err(StoreError::Conflict));
    }
    let origin = "UPDATE promotions SET origin = (SELECT rollback_of FROM releases WHERE id = ?1)
                  WHERE release = ?1";
    connection.prepare_cached(origin)?.execute([id])?;
    let delete = "DELETE FROM releases WHERE app = ?1 AND id = ?2";
    connection.prepare_cached(delete)?.execute([app, id])?;
    Ok(Ok(()))
}

fn remove_build(connection: &Connection, app: &AppName, id: &BuildId) -> Removed {
    let (app, id) = (app.as_str(), id.as_str());
    let needed = "SELECT EXISTS (SELECT 1 FROM releases WHERE build = ?1)
                  OR EXISTS (SELECT 1 FROM builds WHERE id = ?1 AND status = 'running')";
    if connection
        .prepare_cached(needed)?
        .query_row([id], |row| row.get(0))?
    {
        return Ok(Err(StoreError::Conflict));
    }
    let delete = "DELETE FROM builds WHERE app = ?1 AND id = ?2";
    connection.prepare_cached(delete)?.execute([app, id])?;
    Ok(Ok(()))
}

fn remove_surplus(
    connection: &Connection,
    app: &AppName,
    surplus: &Surplus,
) -> Result<(), rusqlite::Error> {
    let app = app.as_str();
    let mut statement = connection.prepare_cached(
        "DELETE FROM promotions WHERE app = ?1 AND epoch = ?2 AND number = ?3 AND ended_ms IS NOT NULL",
    )?;
    for version in &surplus.promotions {
        statement.execute(params![app, version.epoch, version.number as i64])?;
    }
    let mut statement =
        connection.prepare_cached("DELETE FROM events WHERE app = ?1 AND id = ?2")?;
    for id in &surplus.events {
        statement.execute(params![app, id])?;
    }
    let mut statement = connection.prepare_cached(
        "DELETE FROM one_offs WHERE app = ?1 AND id = ?2 AND ended_ms IS NOT NULL",
    )?;
    for id in &surplus.one_offs {
        statement.execute([app, id.as_str()])?;
    }
    Ok(())
}

/// Refuses what names a release or build that is not there: it was collected since the caller looked.
pub(super) fn refuse_dangling(
    connection: &Connection,
    commit: &super::Commit,
) -> Result<(), StoreError> {
    let failed = StoreError::sql("look for what a commit names");
    let there = |table: &str, id: &str| {
        let sql = format!("SELECT 1 FROM {table} WHERE id = ?1");
        let mut statement = connection.prepare_cached(&sql)?;
        let found = statement.query_row([id], |_| Ok(())).optional()?;
        Ok(found.is_some())
    };
    let begun = commit
        .promotions
        .iter()
        .filter(|promotion| promotion.ended.is_none());
    let begun = begun.map(|promotion| &promotion.release);
    let running = commit
        .one_offs
        .iter()
        .filter(|one_off| one_off.ended.is_none());
    for release in begun.chain(running.map(|one_off| &one_off.release)) {
        if !there("releases", release.as_str()).map_err(&failed)? {
            return Err(StoreError::NoRelease(release.clone()));
        }
    }
    for build in commit
        .releases
        .iter()
        .filter_map(|release| release.build.as_ref())
    {
        if !there("builds", build.as_str()).map_err(&failed)? {
            return Err(StoreError::NoBuild(build.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
