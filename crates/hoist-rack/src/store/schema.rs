//! The tables, and the numbered steps that lead to them. Steps are only ever added.

use rusqlite::Connection;

use super::StoreError;

/// Each step takes the store from the version of its index to the next.
pub(super) const STEPS: &[&str] = &[
    r"
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE apps (
        name TEXT PRIMARY KEY,
        created_ms INTEGER NOT NULL,
        state TEXT NOT NULL
    ) STRICT;
    CREATE TABLE builds (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        app TEXT NOT NULL,
        status TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        ended_ms INTEGER,
        description TEXT NOT NULL,
        git_sha TEXT,
        actor TEXT NOT NULL,
        reason TEXT,
        manifest_file TEXT,
        manifest TEXT,
        release TEXT,
        warnings TEXT NOT NULL
    ) STRICT;
    CREATE INDEX builds_by_app ON builds (app, position);
    CREATE TABLE releases (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        app TEXT NOT NULL,
        build TEXT,
        parent TEXT,
        created_ms INTEGER NOT NULL,
        description TEXT NOT NULL,
        actor TEXT NOT NULL,
        env BLOB NOT NULL,
        rollback_of TEXT
    ) STRICT;
    CREATE INDEX releases_by_app ON releases (app, position);
    CREATE TABLE promotions (
        app TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        number INTEGER NOT NULL,
        release TEXT NOT NULL,
        kind TEXT NOT NULL,
        actor TEXT NOT NULL,
        began_ms INTEGER NOT NULL,
        ended_ms INTEGER,
        outcome TEXT,
        reason TEXT,
        report TEXT NOT NULL,
        PRIMARY KEY (app, epoch, number)
    ) STRICT;
    CREATE INDEX promotions_by_release ON promotions (release, epoch, number);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        app TEXT NOT NULL,
        promotion TEXT,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        source TEXT NOT NULL,
        text TEXT NOT NULL,
        actor TEXT
    ) STRICT;
    CREATE INDEX events_by_app ON events (app, id);
    CREATE INDEX events_by_promotion ON events (promotion, id);
",
    r"
    ALTER TABLE builds ADD COLUMN inputs TEXT;
",
    r"
    CREATE TABLE one_offs (
        id TEXT PRIMARY KEY,
        app TEXT NOT NULL,
        service TEXT NOT NULL,
        release TEXT NOT NULL,
        command TEXT NOT NULL,
        actor TEXT NOT NULL,
        attached INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        ended_ms INTEGER,
        exit_code INTEGER,
        exit_signal INTEGER,
        reason TEXT
    ) STRICT;
    CREATE INDEX one_offs_by_app ON one_offs (app, created_ms);
    CREATE INDEX one_offs_running ON one_offs (ended_ms) WHERE ended_ms IS NULL;
",
    r"
    ALTER TABLE builds ADD COLUMN app_json TEXT;
    ALTER TABLE builds ADD COLUMN runtime TEXT;
",
    r"
    ALTER TABLE apps ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
",
    r"
    ALTER TABLE promotions ADD COLUMN origin TEXT;
    CREATE INDEX releases_by_build ON releases (build);
",
    r"
    CREATE INDEX promotions_that_went_wrong ON promotions (app, release)
        WHERE outcome IS NOT NULL AND outcome <> 'succeeded';
    CREATE INDEX builds_running ON builds (status) WHERE status = 'running';
",
];

/// Opens a connection the way all of ours are.
pub(super) fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA busy_timeout = 5000;
         PRAGMA cache_size = -1024;",
    )
}

/// Brings an older store up to this version; refuses a newer one without touching it.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(StoreError::sql("read the store's version"))?;
    let known = STEPS.len() as i64;
    if version > known {
        return Err(StoreError::Newer { version, known });
    }
    for (index, step) in STEPS.iter().enumerate().skip(version as usize) {
        let transaction = connection
            .transaction()
            .map_err(StoreError::sql("migrate the store"))?;
        transaction
            .execute_batch(step)
            .and_then(|()| transaction.pragma_update(None, "user_version", index as i64 + 1))
            .and_then(|()| transaction.commit())
            .map_err(StoreError::sql("migrate the store"))?;
    }
    Ok(())
}
