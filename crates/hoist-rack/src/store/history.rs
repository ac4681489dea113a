//! Reads of history: newest first, paged, never through the writer.

use std::sync::Arc;

use hoist_core::id::{AppName, BuildId, ProcessId, ReleaseId, Version};
use hoist_core::lineage::Kin;
use rusqlite::{OptionalExtension, Params, Row};

use super::rows::{
    BUILD_COLUMNS, EVENT_COLUMNS, LISTED_COLUMNS, ONE_OFF_COLUMNS, PROMOTION_COLUMNS,
    RELEASE_COLUMNS, get_build, get_description, get_event, get_kin, get_listed, get_one_off,
    get_promotion, get_release, read_all,
};
use super::{
    BuildRecord, Event, ListedRelease, OneOffRecord, PromotionRecord, ReleaseRecord, Store,
    StoreError,
};

type Read<T> = fn(&Row<'_>) -> Result<Result<T, StoreError>, rusqlite::Error>;

impl Store {
    async fn list<T: Send + 'static>(
        self: &Arc<Self>,
        sql: String,
        params: impl Params + Send + 'static,
        get: Read<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.read(move |connection| read_all(connection, &sql, params, get))
            .await
    }

    async fn one<T: Send + 'static>(
        self: &Arc<Self>,
        sql: String,
        params: impl Params + Send + 'static,
        get: Read<T>,
    ) -> Result<Option<T>, StoreError> {
        self.read(move |connection| {
            let failed = StoreError::sql("read history");
            let mut statement = connection.prepare_cached(&sql).map_err(&failed)?;
            let row = statement.query_row(params, get).optional();
            row.map_err(&failed)?.transpose()
        })
        .await
    }

    /// A build of an app.
    pub async fn build(
        self: &Arc<Self>,
        app: &AppName,
        id: &BuildId,
    ) -> Result<Option<BuildRecord>, StoreError> {
        let sql = format!("SELECT {BUILD_COLUMNS} FROM builds WHERE app = ?1 AND id = ?2");
        let params = [app.as_str().to_owned(), id.as_str().to_owned()];
        self.one(sql, params, get_build).await
    }

    /// An app's builds, newest first, before `before` when that is given.
    pub async fn builds(
        self: &Arc<Self>,
        app: &AppName,
        before: Option<&BuildId>,
        limit: u32,
    ) -> Result<Vec<BuildRecord>, StoreError> {
        let sql = format!(
            "SELECT {BUILD_COLUMNS} FROM builds WHERE app = ?1
             AND position < coalesce((SELECT position FROM builds WHERE id = ?2), 9223372036854775807)
             ORDER BY position DESC LIMIT ?3"
        );
        let before = before.map(|id| id.as_str().to_owned());
        self.list(sql, (app.as_str().to_owned(), before, limit), get_build)
            .await
    }

    /// Builds of every app that a dead rack left running.
    pub async fn running_builds(self: &Arc<Self>) -> Result<Vec<BuildRecord>, StoreError> {
        let sql = format!("SELECT {BUILD_COLUMNS} FROM builds WHERE status = 'running'");
        self.list(sql, [], get_build).await
    }

    /// A release of an app.
    pub async fn release(
        self: &Arc<Self>,
        app: &AppName,
        id: &ReleaseId,
    ) -> Result<Option<ReleaseRecord>, StoreError> {
        let sql = format!("SELECT {RELEASE_COLUMNS} FROM releases WHERE app = ?1 AND id = ?2");
        let params = [app.as_str().to_owned(), id.as_str().to_owned()];
        self.one(sql, params, get_release).await
    }

    /// An app's releases, newest first, before `before` when that is given.
    pub async fn releases(
        self: &Arc<Self>,
        app: &AppName,
        before: Option<&ReleaseId>,
        limit: u32,
    ) -> Result<Vec<ReleaseRecord>, StoreError> {
        let sql = format!(
            "SELECT {RELEASE_COLUMNS} FROM releases WHERE app = ?1
             AND position < coalesce((SELECT position FROM releases WHERE id = ?2), 9223372036854775807)
             ORDER BY position DESC LIMIT ?3"
        );
        let before = before.map(|id| id.as_str().to_owned());
        let params = (app.as_str().to_owned(), before, limit);
        self.list(sql, params, get_release).await
    }

    /// An app's releases as a list shows them, newest first, before `before` when that is given.
    pub async fn listed_releases(
        self: &Arc<Self>,
        app: &AppName,
        before: Option<&ReleaseId>,
        limit: u32,
    ) -> Result<Vec<ListedRelease>, StoreError> {
        // No environment: it is most of a release, and none of a list.
        let sql = format!(
            "SELECT {LISTED_COLUMNS}, (
                 SELECT outcome FROM promotions WHERE promotions.release = releases.id
                 ORDER BY epoch DESC, number DESC LIMIT 1
             ) FROM releases WHERE app = ?1
             AND position < coalesce((SELECT position FROM releases WHERE id = ?2), 9223372036854775807)
             ORDER BY position DESC LIMIT ?3"
        );
        let before = before.map(|id| id.as_str().to_owned());
        let params = (app.as_str().to_owned(), before, limit);
        self.list(sql, params, get_listed).await
    }

    /// What releases of an app changed.
    pub async fn descriptions(
        self: &Arc<Self>,
        app: &AppName,
        releases: &[ReleaseId],
    ) -> Result<Vec<(ReleaseId, String)>, StoreError> {
        // In this order: the other way round all releases of the app would be read.
        let sql = "SELECT releases.id, description
                   FROM json_each(?2) CROSS JOIN releases ON releases.id = value WHERE app = ?1";
        let ids: Vec<_> = releases.iter().map(ReleaseId::as_str).collect();
        let ids = serde_json::json!(ids).to_string();
        let params = [app.as_str().to_owned(), ids];
        self.list(sql.to_owned(), params, get_description).await
    }

    /// Where the releases that an app made after `active` stand, newest first; without an active one the newest alone.
    pub async fn kin_after(
        self: &Arc<Self>,
        app: &AppName,
        active: Option<&ReleaseId>,
    ) -> Result<Vec<Kin>, StoreError> {
        // Promotions that went wrong are few, whatever is staged: they are found once, not for each release.
        let sql = "SELECT id, parent, id IN (
                       SELECT release FROM promotions WHERE app = ?1
                       AND outcome IS NOT NULL AND outcome <> 'succeeded'
                   )
                   FROM releases WHERE app = ?1
                   AND position > coalesce((SELECT position FROM releases WHERE id = ?2), -1)
                   ORDER BY position DESC LIMIT ?3";
        // All of them: a way down that is cut short would leave behind what is staged.
        let limit = active.map_or(1, |_| -1);
        let active = active.map(|id| id.as_str().to_owned());
        let params = (app.as_str().to_owned(), active, limit);
        self.list(sql.to_owned(), params, get_kin).await
    }

    /// A promotion of an app.
    pub async fn promotion(
        self: &Arc<Self>,
        app: &AppName,
        number: Version,
    ) -> Result<Option<PromotionRecord>, StoreError> {
        let sql = format!(
            "SELECT {PROMOTION_COLUMNS} FROM promotions WHERE app = ?1 AND epoch = ?2 AND number = ?3"
        );
        let params = (app.as_str().to_owned(), number.epoch, number.number as i64);
        self.one(sql, params, get_promotion).await
    }

    /// An app's promotions, newest first, before `before` when that is given.
    pub async fn promotions(
        self: &Arc<Self>,
        app: &AppName,
        before: Option<Version>,
        limit: u32,
    ) -> Result<Vec<PromotionRecord>, StoreError> {
        let sql = format!(
            "SELECT {PROMOTION_COLUMNS} FROM promotions WHERE app = ?1 AND (epoch, number) < (?2, ?3)
             ORDER BY epoch DESC, number DESC LIMIT ?4"
        );
        let (epoch, number) = before.map_or((i64::MAX, 0), |before| {
            (i64::from(before.epoch), before.number as i64)
        });
        self.list(
            sql,
            (app.as_str().to_owned(), epoch, number, limit),
            get_promotion,
        )
        .await
    }

    /// How the last promotion of a release ended; none when there was none, or that has not ended.
    pub async fn last_outcome(
        self: &Arc<Self>,
        release: &ReleaseId,
    ) -> Result<Option<String>, StoreError> {
        let sql = "SELECT outcome FROM promotions WHERE release = ?1
                   ORDER BY epoch DESC, number DESC LIMIT 1";
        let params = [release.as_str().to_owned()];
        let found = self.one(sql.to_owned(), params, |row| Ok(Ok(row.get(0)?)));
        Ok(found.await?.flatten())
    }

    /// The promotions of a release, newest first.
    pub async fn promotions_of(
        self: &Arc<Self>,
        release: &ReleaseId,
    ) -> Result<Vec<PromotionRecord>, StoreError> {
        /// More than anybody tries, or reads.
        const TOLD_MAX: u32 = 100;
        let sql = format!(
            "SELECT {PROMOTION_COLUMNS} FROM promotions WHERE release = ?1
             ORDER BY epoch DESC, number DESC LIMIT ?2"
        );
        let params = (release.as_str().to_owned(), TOLD_MAX);
        self.list(sql, params, get_promotion).await
    }

    /// A one-off of an app.
    pub async fn one_off(
        self: &Arc<Self>,
        app: &AppName,
        id: &ProcessId,
    ) -> Result<Option<OneOffRecord>, StoreError> {
        let sql = format!("SELECT {ONE_OFF_COLUMNS} FROM one_offs WHERE app = ?1 AND id = ?2");
        let params = [app.as_str().to_owned(), id.as_str().to_owned()];
        self.one(sql, params, get_one_off).await
    }

    /// One-offs of every app of which no end is known.
    pub async fn running_one_offs(self: &Arc<Self>) -> Result<Vec<OneOffRecord>, StoreError> {
        let sql = format!("SELECT {ONE_OFF_COLUMNS} FROM one_offs WHERE ended_ms IS NULL");
        self.list(sql, [], get_one_off).await
    }

    /// Events of a promotion after `after`, oldest first.
    pub async fn promotion_events(
        self: &Arc<Self>,
        number: Version,
        after: i64,
    ) -> Result<Vec<Event>, StoreError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE promotion = ?1 AND id > ?2 ORDER BY id LIMIT 1000"
        );
        self.list(sql, (number.to_string(), after), get_event).await
    }

    /// An app's events after `after`, oldest first.
    pub async fn events_after(
        self: &Arc<Self>,
        app: &AppName,
        after: i64,
    ) -> Result<Vec<Event>, StoreError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE app = ?1 AND id > ?2 ORDER BY id LIMIT 1000"
        );
        self.list(sql, (app.as_str().to_owned(), after), get_event)
            .await
    }

    /// An app's events, newest first, before `before` when that is given.
    pub async fn events_before(
        self: &Arc<Self>,
        app: &AppName,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE app = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
        );
        let before = before.unwrap_or(i64::MAX);
        self.list(sql, (app.as_str().to_owned(), before, limit), get_event)
            .await
    }
}
