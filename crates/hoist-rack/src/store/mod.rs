//! Remembers. State and the events that explain it are one transaction of one writer thread.
//!
//! The snapshot in memory holds what decisions read; history is read from SQLite by connections that cannot write. A commit
//! names the generation it was decided on and is refused when the app moved on, so apps never conflict with each other.

mod collect;
mod copy;
mod history;
mod moving;
mod records;
mod rows;
mod schema;
mod settings;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use arc_swap::ArcSwap;
use hoist_core::id::{AppName, BuildId, ReleaseId, Version};
use hoist_core::model::{App, Timestamp};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use collect::{ROWS_MAX, Rows, Surplus};
pub(crate) use copy::{Copied, begin_epoch, copy_store};
pub(crate) use moving::{Taken, WholeApp};
pub use records::*;
pub use settings::AppSettings;

/// Jobs that may wait for the writer; more callers wait for a place.
const JOBS_MAX: usize = 256;

/// What decisions read. Replaced whole, never changed.
#[derive(Debug, Clone, Default)]
pub struct RackState {
    /// Apps by name.
    pub apps: BTreeMap<AppName, Arc<AppEntry>>,
}

/// An app and what only people want to know of it.
#[derive(Debug, Clone)]
pub struct AppEntry {
    /// The app as the planner sees it.
    pub app: App,
    /// When it was created, on the wall clock.
    pub created: Timestamp,
    /// What its users set that no decision of the planner reads.
    pub settings: AppSettings,
}

/// What a commit does to an app's state.
#[derive(Debug, Clone)]
pub enum StateChange {
    /// Nothing: history only.
    None,
    /// The app must not exist yet.
    Create(Box<App>),
    /// The app must be at this generation.
    Update {
        /// The generation that was decided on.
        expected: Version,
        /// The state after it.
        app: Box<App>,
    },
    /// The app must be at this generation; its history goes too.
    Delete {
        /// The generation that was decided on.
        expected: Version,
    },
}

/// One transaction.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The app it is about.
    pub app: AppName,
    /// What it does to the app's state.
    pub state: StateChange,
    /// The app's settings after it; none leaves them. Whoever changes some of them names the generation they were read
    /// at, with [`StateChange::Update`], so that two at once lose nothing.
    pub settings: Option<AppSettings>,
    /// Builds to insert or update.
    pub builds: Vec<BuildRecord>,
    /// Releases to insert.
    pub releases: Vec<ReleaseRecord>,
    /// Promotions to insert or update.
    pub promotions: Vec<PromotionRecord>,
    /// One-offs to insert or to end.
    pub one_offs: Vec<OneOffRecord>,
    /// What explains it.
    pub events: Vec<Event>,
}

impl Commit {
    /// A commit that so far does nothing.
    pub fn new(app: &AppName, state: StateChange) -> Self {
        Self {
            app: app.clone(),
            state,
            settings: None,
            builds: Vec::new(),
            releases: Vec::new(),
            promotions: Vec::new(),
            one_offs: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// What the store can answer instead.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed: a full disk, a broken file.
    #[error("the store could not {doing}")]
    Sql {
        /// What it was doing.
        doing: &'static str,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
    /// The store was written by a newer Hoist.
    #[error(
        "the store has version {version}, of a newer program; this one knows versions up to {known}"
    )]
    Newer {
        /// The store's version.
        version: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// Somebody else committed first: look again and decide again.
    #[error("the app changed meanwhile")]
    Conflict,
    /// The release that it names was collected meanwhile.
    #[error("release {0} was not found")]
    NoRelease(ReleaseId),
    /// The build that it names was collected meanwhile.
    #[error("build {0} was not found")]
    NoBuild(BuildId),
    /// The transaction could not be written; nothing of it was kept.
    #[error("nothing was written: {why}")]
    Unwritten {
        /// SQLite's answer.
        why: String,
        /// Whether the disk is full.
        full: bool,
    },
    /// A row does not say what rows of its kind say.
    #[error("the store holds something unreadable: {0}")]
    Unreadable(String),
    /// The writer is gone: the rack is stopping.
    #[error("the rack is stopping")]
    Closed,
}

impl StoreError {
    fn sql(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Sql { doing, source }
    }
}

/// The store of one rack.
pub struct Store {
    snapshot: Arc<ArcSwap<RackState>>,
    jobs: mpsc::Sender<writer::Job>,
    readers: Mutex<Vec<Connection>>,
    path: std::path::PathBuf,
    changed: watch::Sender<u64>,
    /// Held for writing while a commit is in the file and not yet in the snapshot.
    showing: Arc<RwLock<()>>,
}

/// What a store remembers of the rack itself.
#[derive(Debug, Clone)]
pub struct RackMeta {
    /// The present life of the store.
    pub epoch: u32,
    /// Numbers below this may have been drawn.
    pub reserved: u64,
    /// The rack clock at the last commit.
    pub last_committed: Timestamp,
}

impl Store {
    /// Opens (and makes or migrates) the store and starts its writer.
    pub fn open(path: &Path) -> Result<(Self, RackMeta), StoreError> {
        let mut connection = Connection::open(path).map_err(StoreError::sql("open its file"))?;
        schema::configure(&connection).map_err(StoreError::sql("open its file"))?;
        schema::migrate(&mut connection)?;
        let meta = writer::read_meta(&connection)?;
        let snapshot = Arc::new(ArcSwap::from_pointee(writer::load(&connection)?));
        let (jobs, receiver) = mpsc::channel(JOBS_MAX);
        let changed = watch::Sender::new(0);
        let showing = Arc::new(RwLock::new(()));
        let writer = writer::Writer::new(
            connection,
            snapshot.clone(),
            changed.clone(),
            showing.clone(),
        );
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|_| StoreError::Closed)?;
        let store = Self {
            snapshot,
            jobs,
            readers: Mutex::new(Vec::new()),
            path: path.to_owned(),
            changed,
            showing,
        };
        Ok((store, meta))
    }

    /// Whether there is anything that the rack's key opens.
    pub(crate) fn has_environments(&self) -> Result<bool, StoreError> {
        self.read_now(|connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM releases)";
            let found = connection.query_row(sql, [], |row| row.get(0));
            found.map_err(StoreError::sql("read history"))
        })
    }

    /// The last committed state.
    pub fn snapshot(&self) -> Arc<RackState> {
        self.snapshot.load_full()
    }

    /// An app of the last committed state.
    pub fn app(&self, name: &AppName) -> Option<Arc<AppEntry>> {
        self.snapshot.load().apps.get(name).cloned()
    }

    /// Changes whenever something was committed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Commits, durably, or refuses and changes nothing.
    pub async fn commit(&self, commit: Commit, now: Timestamp) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = writer::Job::Commit {
            commit: Box::new(commit),
            now,
            reply,
        };
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Makes sure that numbers below `up_to` are never drawn again after a crash.
    pub fn reserve(&self, up_to: u64) -> Result<(), StoreError> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        let job = writer::Job::Reserve { up_to, reply };
        self.jobs.try_send(job).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    /// Reads history on a connection that cannot write, off the async threads.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read_now(query))
            .await
            .map_err(|_| StoreError::Closed)?
    }

    fn read_now<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let pooled = self.readers.lock().ok().and_then(|mut pool| pool.pop());
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.path, flags)
                    .map_err(StoreError::sql("open its file for reading"))?;
                connection
                    .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -512;")
                    .map_err(StoreError::sql("open its file for reading"))?;
                connection
            }
        };
        let answer = query(&connection);
        // What was just read may have been committed and not shown yet: a caller must not know of an end before the
        // snapshot does. The writer holds this for the moment between the two.
        drop(self.showing.read());
        if let Ok(mut pool) = self.readers.lock()
            && pool.len() < 4
        {
            pool.push(connection);
        }
        answer
    }
}

#[cfg(test)]
mod tests;
