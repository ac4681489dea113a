//! The store as one file of one moment, and the first commit of a store that was copied back.

use std::collections::BTreeSet;
use std::path::Path;

use hoist_core::id::{AppName, BuildId};
use rusqlite::{Connection, OpenFlags};

use super::{StoreError, schema, writer};

/// Promotions that succeeded whose slugs go along, so that a rollback works after a restore.
const PROMOTIONS_LOOKED_AT: u32 = 2;

/// What is in a copy.
pub(crate) struct Copied {
    /// Apps, sorted.
    pub(crate) apps: Vec<AppName>,
    /// Builds whose slugs an app needs to run, to be promoted, or to go back.
    pub(crate) needed: BTreeSet<(AppName, BuildId)>,
}

/// Copies the store to a file that must not exist. Writers go on meanwhile.
pub(crate) fn copy_store(from: &Path, to: &Path) -> Result<Copied, StoreError> {
    let failed = StoreError::sql("copy itself");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags).map_err(&failed)?;
    connection
        .busy_timeout(std::time::Duration::from_secs(5))
        .map_err(&failed)?;
    connection
        .execute("VACUUM INTO ?1", [to.to_string_lossy()])
        .map_err(&failed)?;
    // The store may be older than this program, and another rack may run on it: the copy is what gets migrated.
    let mut copy =
        Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(&failed)?;
    schema::migrate(&mut copy)?;
    let state = writer::load(&copy)?;
    let mut needed = BTreeSet::new();
    for (name, entry) in &state.apps {
        let named = entry.app.releases.values();
        needed.extend(named.map(|release| (name.clone(), release.build.clone())));
        for build in builds_of(&copy, name)? {
            let build = build
                .parse()
                .map_err(|_| StoreError::Unreadable(build.clone()))?;
            needed.insert((name.clone(), build));
        }
    }
    let apps = state.apps.keys().cloned().collect();
    Ok(Copied { apps, needed })
}

/// Builds of the newest release, and of those that served last.
fn builds_of(connection: &Connection, app: &AppName) -> Result<Vec<String>, StoreError> {
    let failed = StoreError::sql("read history");
    let sql = format!(
        "SELECT build FROM (SELECT build FROM releases WHERE app = ?1 ORDER BY position DESC LIMIT 1)
         WHERE build IS NOT NULL
         UNION SELECT build FROM releases WHERE build IS NOT NULL AND id IN
             (SELECT release FROM promotions WHERE app = ?1 AND outcome = 'succeeded'
              GROUP BY release ORDER BY max(epoch) DESC, max(number) DESC LIMIT {PROMOTIONS_LOOKED_AT})"
    );
    let mut statement = connection.prepare(&sql).map_err(&failed)?;
    let rows = statement
        .query_map([app.as_str()], |row| row.get(0))
        .map_err(&failed)?;
    rows.map(|row| row.map_err(&failed)).collect()
}

/// Begins the next epoch of a store that was copied back, after looking whether it is whole and of a version that this
/// program knows.
pub(crate) fn begin_epoch(path: &Path) -> Result<(), StoreError> {
    let failed = StoreError::sql("begin a new epoch");
    let mut connection = Connection::open(path).map_err(&failed)?;
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(&failed)?;
    if found != "ok" {
        return Err(StoreError::Unreadable(found));
    }
    schema::configure(&connection).map_err(&failed)?;
    schema::migrate(&mut connection)?;
    let meta = writer::read_meta(&connection)?;
    writer::put_meta(&connection, "epoch", &(meta.epoch + 1).to_string()).map_err(&failed)?;
    // A store in one file can be moved.
    connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .map_err(&failed)
}
