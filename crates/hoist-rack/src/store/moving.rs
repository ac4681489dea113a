//! Reads for exports and imports: an app as of one moment, and which ids are taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use hoist_core::id::{AppName, BuildId, ReleaseId};
use hoist_core::model::App;
use rusqlite::OptionalExtension;

use super::rows::{
    BUILD_COLUMNS, RELEASE_COLUMNS, get_build, get_release, read_all, read_app, read_settings,
};
use super::{AppSettings, BuildRecord, ReleaseRecord, Store, StoreError};

/// An app with its builds and releases, as of one moment.
pub(crate) struct WholeApp {
    pub(crate) app: App,
    pub(crate) settings: AppSettings,
    /// Oldest first.
    pub(crate) builds: Vec<BuildRecord>,
    /// Oldest first.
    pub(crate) releases: Vec<ReleaseRecord>,
    /// Releases of which a promotion went wrong.
    pub(crate) flawed: BTreeSet<ReleaseId>,
}

/// Ids that records of this rack have already.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) builds: BTreeSet<String>,
    pub(crate) releases: BTreeSet<String>,
}

impl Store {
    /// All of an app that an export may take along; none without the app.
    pub(crate) async fn whole_app(
        self: &Arc<Self>,
        app: &AppName,
    ) -> Result<Option<WholeApp>, StoreError> {
        let app = app.as_str().to_owned();
        self.read(move |connection| {
            let failed = StoreError::sql("read an app");
            // What is committed meanwhile is not seen in half.
            let moment = connection.unchecked_transaction().map_err(&failed)?;
            let state = moment.query_row(
                "SELECT state, settings FROM apps WHERE name = ?1",
                [&app],
                |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
            );
            let Some((state, settings)) = state.optional().map_err(&failed)? else {
                return Ok(None);
            };
            let order = "WHERE app = ?1 ORDER BY position";
            let builds = format!("SELECT {BUILD_COLUMNS} FROM builds {order}");
            let releases = format!("SELECT {RELEASE_COLUMNS} FROM releases {order}");
            let flawed = "SELECT DISTINCT release FROM promotions WHERE app = ?1
                          AND outcome IS NOT NULL AND outcome <> 'succeeded'";
            Ok(Some(WholeApp {
                app: read_app(&state)?,
                settings: read_settings(&settings)?,
                builds: read_all(&moment, &builds, [&app], get_build)?,
                releases: read_all(&moment, &releases, [&app], get_release)?,
                flawed: read_all(&moment, flawed, [&app], |row| {
                    let id: String = row.get(0)?;
                    Ok(id.parse().map_err(|_| StoreError::Unreadable(id.clone())))
                })?
                .into_iter()
                .collect(),
            }))
        })
        .await
    }

    /// Which of these ids a record of this rack has.
    pub(crate) async fn taken(
        self: &Arc<Self>,
        builds: &[BuildId],
        releases: &[ReleaseId],
    ) -> Result<Taken, StoreError> {
        let builds: Vec<_> = builds.iter().map(BuildId::as_str).collect();
        let releases: Vec<_> = releases.iter().map(ReleaseId::as_str).collect();
        let (builds, releases) = (
            serde_json::json!(builds).to_string(),
            serde_json::json!(releases).to_string(),
        );
        self.read(move |connection| {
            let of = |table: &str, ids: String| {
                let sql =
                    format!("SELECT id FROM {table} WHERE id IN (SELECT value FROM json_each(?1))");
                let found = read_all(connection, &sql, [ids], |row| Ok(Ok(row.get(0)?)))?;
                Ok::<_, StoreError>(found.into_iter().collect())
            };
            Ok(Taken {
                builds: of("builds", builds)?,
                releases: of("releases", releases)?,
            })
        })
        .await
    }
}
