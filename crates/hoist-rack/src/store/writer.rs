//! The one thread that writes. It takes what waits, commits it as one transaction, then answers everybody.

use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use hoist_core::id::AppName;
use hoist_core::model::{App, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    AppEntry, AppSettings, Commit, RackMeta, RackState, StateChange, StoreError, collect, rows,
};
use crate::clock::wall;

/// Commits that share one fsync at most.
const GROUP_MAX: usize = 64;

pub(super) enum Job {
    Commit {
        commit: Box<Commit>,
        now: Timestamp,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Collect {
        app: AppName,
        rows: collect::Rows,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Reserve {
        up_to: u64,
        reply: std::sync::mpsc::SyncSender<Result<(), StoreError>>,
    },
}

pub(super) struct Writer {
    connection: Connection,
    snapshot: Arc<ArcSwap<RackState>>,
    changed: watch::Sender<u64>,
    showing: Arc<RwLock<()>>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        snapshot: Arc<ArcSwap<RackState>>,
        changed: watch::Sender<u64>,
        showing: Arc<RwLock<()>>,
    ) -> Self {
        Self {
            connection,
            snapshot,
            changed,
            showing,
        }
    }

    /// Runs until every handle of the store is gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(job) = jobs.try_recv()
            {
                group.push(job);
            }
            self.write(group);
        }
    }

    fn write(&mut self, group: Vec<Job>) {
        let mut state = RackState::clone(&self.snapshot.load());
        let mut answers = Vec::new();
        let showing = self.showing.clone();
        // Until the snapshot has what the file has; see `Store::read_now`.
        let mut shown = None;
        let written = self.transact(group, &mut state, &mut answers, || {
            shown = Some(showing.write().unwrap_or_else(PoisonError::into_inner));
        });
        match written {
            Ok(()) => {
                self.snapshot.store(Arc::new(state));
                drop(shown);
                self.changed.send_modify(|count| *count += 1);
                answers.into_iter().for_each(Answer::give);
            }
            Err(source) => {
                // Nothing of the group was kept: everybody hears the true reason.
                let full = source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
                for answer in answers {
                    answer.fail(&source.to_string(), full);
                }
            }
        }
    }

    fn transact(
        &mut self,
        group: Vec<Job>,
        state: &mut RackState,
        answers: &mut Vec<Answer>,
        before_commit: impl FnOnce(),
    ) -> Result<(), rusqlite::Error> {
        let mut transaction = match self.connection.transaction() {
            Ok(transaction) => transaction,
            Err(error) => {
                answers.extend(group.into_iter().map(Answer::pending));
                return Err(error);
            }
        };
        for job in group {
            match job {
                Job::Commit { commit, now, reply } => {
                    let mut after = state.clone();
                    let result = commit_one(&mut transaction, &commit, now, &mut after);
                    if result.is_ok() {
                        *state = after;
                    }
                    answers.push(Answer::Commit(reply, result));
                }
                Job::Collect { app, rows, reply } => {
                    let result = collect_one(&mut transaction, &app, &rows, state);
                    answers.push(Answer::Commit(reply, result));
                }
                Job::Reserve { up_to, reply } => {
                    let result = put_meta(&transaction, "reserved", &up_to.to_string())
                        .map_err(StoreError::sql("reserve numbers"));
                    answers.push(Answer::Reserve(reply, result));
                }
            }
        }
        before_commit();
        transaction.commit()
    }
}

enum Answer {
    Commit(
        oneshot::Sender<Result<(), StoreError>>,
        Result<(), StoreError>,
    ),
    Reserve(
        std::sync::mpsc::SyncSender<Result<(), StoreError>>,
        Result<(), StoreError>,
    ),
}

impl Answer {
    fn pending(job: Job) -> Self {
        match job {
            Job::Commit { reply, .. } | Job::Collect { reply, .. } => Self::Commit(reply, Ok(())),
            Job::Reserve { reply, .. } => Self::Reserve(reply, Ok(())),
        }
    }

    /// A caller that went away does not want its answer.
    fn give(self) {
        match self {
            Self::Commit(reply, result) => drop(reply.send(result)),
            Self::Reserve(reply, result) => drop(reply.send(result)),
        }
    }

    fn fail(self, why: &str, full: bool) {
        let failed = || StoreError::Unwritten {
            why: why.to_owned(),
            full,
        };
        match self {
            Self::Commit(reply, result) => drop(reply.send(result.and(Err(failed())))),
            Self::Reserve(reply, result) => drop(reply.send(result.and(Err(failed())))),
        }
    }
}

/// Writes one commit inside a savepoint, so that a refused one leaves the rest of its group alone.
fn commit_one(
    transaction: &mut Transaction<'_>,
    commit: &Commit,
    now: Timestamp,
    state: &mut RackState,
) -> Result<(), StoreError> {
    let savepoint = transaction
        .savepoint()
        .map_err(StoreError::sql("begin a commit"))?;
    change_state(&savepoint, commit, state)?;
    write_history(&savepoint, commit).map_err(StoreError::sql("write history"))?;
    collect::refuse_dangling(&savepoint, commit)?;
    put_meta(&savepoint, "last_committed", &now.0.to_string())
        .map_err(StoreError::sql("write the time"))?;
    savepoint.commit().map_err(StoreError::sql("end a commit"))
}

/// Removes rows inside a savepoint, as [`commit_one`] writes them.
fn collect_one(
    transaction: &mut Transaction<'_>,
    app: &AppName,
    rows: &collect::Rows,
    state: &RackState,
) -> Result<(), StoreError> {
    let savepoint = transaction
        .savepoint()
        .map_err(StoreError::sql("begin a commit"))?;
    collect::remove(&savepoint, app, rows, state)?;
    savepoint.commit().map_err(StoreError::sql("end a commit"))
}

fn change_state(
    connection: &Connection,
    commit: &Commit,
    state: &mut RackState,
) -> Result<(), StoreError> {
    let name = &commit.app;
    let present = state.apps.get(name).cloned();
    let at = |expected| match &present {
        Some(entry) if entry.app.generation == expected => Ok(entry.clone()),
        _ => Err(StoreError::Conflict),
    };
    let settings = |before: &AppSettings| commit.settings.as_ref().unwrap_or(before).clone();
    let mut put = |entry: AppEntry| {
        put_app(connection, &entry)?;
        state.apps.insert(name.clone(), Arc::new(entry));
        Ok(())
    };
    match &commit.state {
        StateChange::None => match present {
            // History of an app that is gone would belong to nobody.
            None => Err(StoreError::Conflict),
            Some(_) if commit.settings.is_none() => Ok(()),
            Some(entry) => put(AppEntry {
                settings: settings(&entry.settings),
                ..AppEntry::clone(&entry)
            }),
        },
        StateChange::Create(_) if present.is_some() => Err(StoreError::Conflict),
        StateChange::Create(app) => put(AppEntry {
            app: App::clone(app),
            created: wall(),
            settings: settings(&AppSettings::default()),
        }),
        StateChange::Update { expected, app } => {
            let before = at(*expected)?;
            put(AppEntry {
                app: App::clone(app),
                created: before.created,
                settings: settings(&before.settings),
            })
        }
        StateChange::Delete { expected } => {
            at(*expected)?;
            for table in ["builds", "releases", "promotions", "one_offs", "events"] {
                connection
                    .execute(
                        &format!("DELETE FROM {table} WHERE app = ?1"),
                        [name.as_str()],
                    )
                    .map_err(StoreError::sql("delete an app's history"))?;
            }
            connection
                .execute("DELETE FROM apps WHERE name = ?1", [name.as_str()])
                .map_err(StoreError::sql("delete an app"))?;
            state.apps.remove(name);
            Ok(())
        }
    }
}

fn put_app(connection: &Connection, entry: &AppEntry) -> Result<(), StoreError> {
    let AppEntry {
        app,
        created,
        settings,
    } = entry;
    let (state, settings) = (rows::write_app(app)?, rows::write_settings(settings)?);
    connection
        .execute(
            "INSERT INTO apps (name, created_ms, state, settings) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET state = excluded.state, settings = excluded.settings",
            params![app.name.as_str(), created.0 as i64, state, settings],
        )
        .map_err(StoreError::sql("write an app"))?;
    Ok(())
}

fn write_history(connection: &Connection, commit: &Commit) -> Result<(), rusqlite::Error> {
    for build in &commit.builds {
        rows::put_build(connection, build)?;
    }
    for release in &commit.releases {
        rows::put_release(connection, release)?;
    }
    for promotion in &commit.promotions {
        rows::put_promotion(connection, promotion)?;
    }
    for one_off in &commit.one_offs {
        rows::put_one_off(connection, one_off)?;
    }
    for event in &commit.events {
        rows::put_event(connection, event)?;
    }
    Ok(())
}

pub(super) fn put_meta(
    connection: &Connection,
    key: &str,
    value: &str,
) -> Result<(), rusqlite::Error> {
    connection
        .execute(
            "INSERT INTO meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [key, value],
        )
        .map(drop)
}

pub(super) fn read_meta(connection: &Connection) -> Result<RackMeta, StoreError> {
    let get = |key: &str| -> Result<Option<u64>, StoreError> {
        connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get::<_, String>(0)
            })
            .optional()
            .map_err(StoreError::sql("read its settings"))?
            .map(|text| {
                text.parse()
                    .map_err(|_| StoreError::Unreadable(format!("meta.{key}")))
            })
            .transpose()
    };
    Ok(RackMeta {
        epoch: get("epoch")?.unwrap_or(1) as u32,
        reserved: get("reserved")?.unwrap_or(1),
        last_committed: Timestamp(get("last_committed")?.unwrap_or(0)),
    })
}

pub(super) fn load(connection: &Connection) -> Result<RackState, StoreError> {
    let mut statement = connection
        .prepare("SELECT created_ms, state, settings FROM apps")
        .map_err(StoreError::sql("read apps"))?;
    let texts = statement
        .query_map([], |row| {
            let texts: (String, String) = (row.get(1)?, row.get(2)?);
            Ok((row.get::<_, i64>(0)?, texts))
        })
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(StoreError::sql("read apps"))?;
    let mut state = RackState::default();
    for (created, (app, settings)) in texts {
        let entry = AppEntry {
            app: rows::read_app(&app)?,
            created: Timestamp(created as u64),
            settings: rows::read_settings(&settings)?,
        };
        state.apps.insert(entry.app.name.clone(), Arc::new(entry));
    }
    Ok(state)
}
