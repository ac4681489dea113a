//! Where everything of a rack lies below its data directory: the one place that knows file names.

use std::path::{Path, PathBuf};

use hoist_core::id::{AppName, BuildId};

/// The data directory of a rack. Only root or the owning user can enter it.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// A layout below `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// SQLite's file.
    pub fn store(&self) -> PathBuf {
        self.root.join("hoist.db")
    }

    /// Locked by the rack that runs on this directory, and says who it is.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The administrator's token, mode 0600.
    pub fn token(&self) -> PathBuf {
        self.root.join("token")
    }

    /// The key that environments are encrypted with, mode 0600.
    pub fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    /// Where a running rack says how to reach it.
    pub fn address(&self) -> PathBuf {
        self.root.join("rack.json")
    }

    /// The router's table, control socket and log.
    pub fn router(&self) -> PathBuf {
        self.root.join("router")
    }

    /// The engine's own directories.
    pub fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    /// Uploads and trees of builds that run: swept at each start.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// The immutable tree of a finished build.
    pub fn slug(&self, app: &AppName, build: &BuildId) -> PathBuf {
        self.app(app).join("slugs").join(build.as_str())
    }

    /// The contents of an app's last sources.
    pub fn source(&self, app: &AppName) -> PathBuf {
        self.app(app).join("source")
    }

    /// One directory per app.
    pub fn apps(&self) -> PathBuf {
        self.root.join("apps")
    }

    /// All that belongs to an app apart from its volumes.
    pub fn app(&self, app: &AppName) -> PathBuf {
        self.apps().join(app.as_str())
    }

    /// Log files of an app's processes and of its router lines.
    pub fn logs(&self, app: &AppName) -> PathBuf {
        self.app(app).join("logs")
    }

    /// What package tools keep from one build of an app to the next.
    pub fn cache(&self, app: &AppName) -> PathBuf {
        self.app(app).join("cache")
    }

    /// What a build printed.
    pub fn build_log(&self, app: &AppName, build: &BuildId) -> PathBuf {
        self.app(app).join("builds").join(format!("{build}.log"))
    }

    /// A named volume. Outside the app's own directory: it outlives deploys and the app.
    pub fn volume(&self, app: &AppName, name: &str) -> PathBuf {
        self.root.join("volumes").join(app.as_str()).join(name)
    }

    /// All volumes of an app.
    pub fn volumes(&self, app: &AppName) -> PathBuf {
        self.root.join("volumes").join(app.as_str())
    }
}
