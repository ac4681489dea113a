//! Between values and rows. The domain does not serialize; these types do, and conversions are explicit.

mod app;
mod one_off;
mod postdeploy;
mod promotion;
mod settings;

use std::collections::BTreeMap;

use hoist_core::detect::Runtime;
use hoist_core::id::ReleaseId;
use hoist_core::lineage::Kin;
use hoist_core::model::Timestamp;
use rusqlite::{Connection, Params, Row, params};

use super::{
    BuildRecord, BuildStatus, Event, ListedRelease, PromotionRecord, ReleaseRecord, StoreError,
};

pub(super) use app::{read_app, write_app};
pub(super) use one_off::{ONE_OFF_COLUMNS, get_one_off, put_one_off};
pub(super) use settings::{read_settings, write_settings};

type SqlResult<T> = Result<T, rusqlite::Error>;

/// What a query finds, row by row.
pub(super) fn read_all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    get: impl Fn(&Row<'_>) -> Result<Result<T, StoreError>, rusqlite::Error>,
) -> Result<Vec<T>, StoreError> {
    let failed = StoreError::sql("read history");
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    let rows = statement
        .query_map(params, |row| get(row))
        .map_err(&failed)?;
    rows.map(|row| row.map_err(&failed)?).collect()
}

pub(super) fn put_build(connection: &Connection, build: &BuildRecord) -> SqlResult<()> {
    let (file, text) = match &build.manifest {
        Some((file, text)) => (Some(file), Some(text)),
        None => (None, None),
    };
    connection
        .execute(
            "INSERT INTO builds (id, app, status, created_ms, ended_ms, description, git_sha, actor, reason,
                                 manifest_file, manifest, release, warnings, inputs, app_json, runtime)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT (id) DO UPDATE SET status = excluded.status, ended_ms = excluded.ended_ms,
                 reason = excluded.reason, manifest_file = excluded.manifest_file, manifest = excluded.manifest,
                 release = excluded.release, warnings = excluded.warnings,
                 app_json = excluded.app_json, runtime = excluded.runtime",
            params![
                build.id.as_str(),
                build.app.as_str(),
                build.status.word(),
                build.created.0 as i64,
                build.ended.map(|at| at.0 as i64),
                build.description,
                build.git_sha,
                build.actor,
                build.reason,
                file,
                text,
                build.release.as_ref().map(|id| id.as_str()),
                build.warnings.join("\n"),
                build.inputs,
                build.app_json,
                RuntimeRow::write(&build.runtime),
            ],
        )
        .map(drop)
}

pub(super) const BUILD_COLUMNS: &str = "id, app, status, created_ms, ended_ms, description, git_sha, actor, reason, manifest_file, manifest, \
     release, warnings, inputs, app_json, runtime";

pub(super) fn get_build(row: &Row<'_>) -> SqlResult<Result<BuildRecord, StoreError>> {
    let manifest = match (
        row.get::<_, Option<String>>(9)?,
        row.get::<_, Option<String>>(10)?,
    ) {
        (Some(file), Some(text)) => Some((file, text)),
        _ => None,
    };
    let (id, app, status): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let rest = (
        time(row.get(3)?),
        row.get::<_, Option<i64>>(4)?.map(time),
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
        row.get(8)?,
    );
    let (release, warnings): (Option<String>, String) = (row.get(11)?, row.get(12)?);
    let (inputs, app_json) = (row.get(13)?, row.get(14)?);
    let runtime: Option<String> = row.get(15)?;
    Ok((|| {
        let (created, ended, description, git_sha, actor, reason) = rest;
        Ok(BuildRecord {
            id: parse(&id)?,
            app: parse(&app)?,
            status: BuildStatus::from_word(&status).ok_or_else(|| unreadable(&status))?,
            created,
            ended,
            description,
            git_sha,
            actor,
            reason,
            manifest,
            release: release.as_deref().map(parse).transpose()?,
            warnings: warnings.lines().map(str::to_owned).collect(),
            inputs,
            app_json,
            runtime: RuntimeRow::read(runtime.as_deref())?,
        })
    })())
}

/// What a build's language brings to processes.
#[derive(serde::Serialize, serde::Deserialize)]
struct RuntimeRow {
    path: Vec<String>,
    env: BTreeMap<String, String>,
}

impl RuntimeRow {
    /// Nothing when it brings nothing.
    fn write(runtime: &Runtime) -> Option<String> {
        let row = Self {
            path: runtime.path.clone(),
            env: runtime.env.clone(),
        };
        let some = *runtime != Runtime::default();
        some.then(|| serde_json::to_string(&row).unwrap_or_default())
    }

    fn read(text: Option<&str>) -> Result<Runtime, StoreError> {
        let Some(text) = text else {
            return Ok(Runtime::default());
        };
        let row: Self = serde_json::from_str(text).map_err(|_| unreadable(text))?;
        Ok(Runtime {
            path: row.path,
            env: row.env,
        })
    }
}

pub(super) fn put_release(connection: &Connection, release: &ReleaseRecord) -> SqlResult<()> {
    connection
        .execute(
            "INSERT INTO releases (id, app, build, parent, created_ms, description, actor, env, rollback_of)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                release.id.as_str(),
                release.app.as_str(),
                release.build.as_ref().map(|id| id.as_str()),
                release.parent.as_ref().map(|id| id.as_str()),
                release.created.0 as i64,
                release.description,
                release.actor,
                release.env,
                release.rollback_of.as_ref().map(|id| id.as_str()),
            ],
        )
        .map(drop)
}

pub(super) const RELEASE_COLUMNS: &str =
    "id, app, build, parent, created_ms, description, actor, env, rollback_of";

pub(super) fn get_release(row: &Row<'_>) -> SqlResult<Result<ReleaseRecord, StoreError>> {
    let (id, app): (String, String) = (row.get(0)?, row.get(1)?);
    let (build, parent): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
    let rest = (time(row.get(4)?), row.get(5)?, row.get(6)?, row.get(7)?);
    let rollback_of: Option<String> = row.get(8)?;
    Ok((|| {
        let (created, description, actor, env) = rest;
        Ok(ReleaseRecord {
            id: parse(&id)?,
            app: parse(&app)?,
            build: build.as_deref().map(parse).transpose()?,
            parent: parent.as_deref().map(parse).transpose()?,
            created,
            description,
            actor,
            env,
            rollback_of: rollback_of.as_deref().map(parse).transpose()?,
        })
    })())
}

pub(super) const LISTED_COLUMNS: &str = "id, app, build, parent, created_ms, description, actor";

/// [`LISTED_COLUMNS`] and the outcome of its last promotion.
pub(super) fn get_listed(row: &Row<'_>) -> SqlResult<Result<ListedRelease, StoreError>> {
    let (id, app): (String, String) = (row.get(0)?, row.get(1)?);
    let (build, parent): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
    let rest = (time(row.get(4)?), row.get(5)?, row.get(6)?, row.get(7)?);
    Ok((|| {
        let (created, description, actor, outcome) = rest;
        Ok(ListedRelease {
            id: parse(&id)?,
            app: parse(&app)?,
            build: build.as_deref().map(parse).transpose()?,
            parent: parent.as_deref().map(parse).transpose()?,
            created,
            description,
            actor,
            outcome,
        })
    })())
}

/// A release and what it changed.
pub(super) fn get_description(row: &Row<'_>) -> SqlResult<Result<(ReleaseId, String), StoreError>> {
    let (id, description): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(parse(&id).map(|id| (id, description)))
}

/// A release, what it is a copy of, and the kind of its promotion.
pub(super) fn get_kin(row: &Row<'_>) -> SqlResult<Result<Kin, StoreError>> {
    let (id, parent): (String, Option<String>) = (row.get(0)?, row.get(1)?);
    let flawed = row.get(2)?;
    Ok((|| {
        Ok(Kin {
            id: parse(&id)?,
            parent: parent.as_deref().map(parse).transpose()?,
            flawed,
        })
    })())
}

pub(super) fn put_promotion(connection: &Connection, promotion: &PromotionRecord) -> SqlResult<()> {
    let report = serde_json::to_string(&promotion.report)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .execute(
            "INSERT INTO promotions (app, epoch, number, release, kind, actor, began_ms, ended_ms, outcome, reason, report)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (app, epoch, number) DO UPDATE SET ended_ms = excluded.ended_ms,
                 outcome = excluded.outcome, reason = excluded.reason, report = excluded.report",
            params![
                promotion.app.as_str(),
                promotion.number.epoch,
                promotion.number.number as i64,
                promotion.release.as_str(),
                promotion.kind,
                promotion.actor,
                promotion.began.0 as i64,
                promotion.ended.map(|at| at.0 as i64),
                promotion.outcome,
                promotion.reason,
                report,
            ],
        )
        .map(drop)
}

pub(super) const PROMOTION_COLUMNS: &str =
    "app, epoch, number, release, kind, actor, began_ms, ended_ms, outcome, reason, report";

pub(super) fn get_promotion(row: &Row<'_>) -> SqlResult<Result<PromotionRecord, StoreError>> {
    let (app, epoch, number): (String, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (release, kind, actor): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(5)?);
    let (began, ended) = (time(row.get(6)?), row.get::<_, Option<i64>>(7)?.map(time));
    let (outcome, reason, report): (_, _, String) = (row.get(8)?, row.get(9)?, row.get(10)?);
    Ok((|| {
        Ok(PromotionRecord {
            app: parse(&app)?,
            number: hoist_core::id::Version {
                epoch,
                number: number as u64,
            },
            release: parse(&release)?,
            kind,
            actor,
            began,
            ended,
            outcome,
            reason,
            report: serde_json::from_str(&report).map_err(|_| unreadable(&report))?,
        })
    })())
}

pub(super) fn put_event(connection: &Connection, event: &Event) -> SqlResult<()> {
    connection
        .prepare_cached(
            "INSERT INTO events (app, promotion, at_ms, kind, source, text, actor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            event.app.as_str(),
            event.promotion.map(|number| number.to_string()),
            event.at.0 as i64,
            event.kind,
            event.source,
            event.text,
            event.actor,
        ])
        .map(drop)
}

pub(super) const EVENT_COLUMNS: &str = "id, app, promotion, at_ms, kind, source, text, actor";

pub(super) fn get_event(row: &Row<'_>) -> SqlResult<Result<Event, StoreError>> {
    let (id, app, promotion): (i64, String, Option<String>) =
        (row.get(0)?, row.get(1)?, row.get(2)?);
    let rest = (
        time(row.get(3)?),
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
    );
    Ok((|| {
        let (at, kind, source, text, actor) = rest;
        Ok(Event {
            id,
            app: parse(&app)?,
            promotion: promotion.as_deref().map(parse).transpose()?,
            at,
            kind,
            source,
            text,
            actor,
        })
    })())
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp(milliseconds.max(0) as u64)
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| unreadable(text))
}

fn unreadable(text: &str) -> StoreError {
    StoreError::Unreadable(text.chars().take(80).collect())
}
