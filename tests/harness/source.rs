//! Directories to deploy: the test app with a manifest, or whatever files a test writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The test app's source, compiled on its own.
const APP: &str = include_str!("app.rs");

/// A directory to deploy, named as its app; removed with the value.
#[derive(Debug)]
pub struct Source {
    home: TempDir,
    app: String,
}

impl Source {
    /// An empty directory of that name.
    pub fn empty(app: &str) -> Result<Self> {
        let source = Self {
            home: tempfile::tempdir()?,
            app: app.to_owned(),
        };
        fs::create_dir(source.dir())?;
        Ok(source)
    }

    /// The test app as `./app`, and a manifest.
    pub fn app(app: &str, manifest: &str) -> Result<Self> {
        let source = Self::empty(app)?;
        fs::copy(program()?, source.dir().join("app"))?;
        source.manifest(manifest)?;
        Ok(source)
    }

    /// The test app with one routed service that says `text`.
    pub fn web(app: &str, text: &str) -> Result<Self> {
        Self::app(app, &web(text, ""))
    }

    /// Where it is.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join(&self.app)
    }

    /// The app's name.
    pub fn name(&self) -> &str {
        &self.app
    }

    /// The app's host.
    pub fn host(&self) -> String {
        format!("{}.localhost", self.app)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.dir().join(name), text).with_context(|| format!("cannot write {name}"))
    }

    /// Writes the manifest anew.
    pub fn manifest(&self, text: &str) -> Result<()> {
        self.write("hoist.yml", text)
    }
}

/// A manifest with one routed service; `more` are lines of its keys.
pub fn web(words: &str, more: &str) -> String {
    let more: String = more.lines().map(|line| format!("    {}\n", line)).collect();
    format!("services:\n  web:\n    command: ./app {words}\n    port: 3000\n{more}")
}

/// The compiled test app: once per version of its source.
pub fn program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let compiled = PROGRAM.get_or_init(|| compile().map_err(|error| format!("{error:#}")));
    compiled
        .as_deref()
        .map_err(|error| anyhow::anyhow!("cannot compile the test app: {error}"))
}

fn compile() -> Result<PathBuf> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    APP.hash(&mut hasher);
    let exe = std::env::current_exe()?;
    // Beside this program, in the target directory: there it may stay.
    let dir = exe
        .parent()
        .context("this program lies nowhere")?
        .join("test-app");
    let done = dir.join(format!("app-{:016x}", hasher.finish()));
    if done.exists() {
        return Ok(done);
    }
    fs::create_dir_all(&dir)?;
    let (text, half) = (
        dir.join(format!("half-{}.rs", std::process::id())),
        dir.join(format!("half-{}", std::process::id())),
    );
    fs::write(&text, APP)?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let run = Command::new(rustc)
        .args([
            "--edition=2024",
            "--crate-name=app",
            "-Copt-level=s",
            "-Cstrip=symbols",
            "-Cpanic=abort",
            "-Adead_code",
        ])
        .arg(&text)
        .arg("-o")
        .arg(&half)
        .output()
        .context("cannot run rustc")?;
    ensure!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    fs::set_permissions(&half, fs::Permissions::from_mode(0o755))?;
    fs::rename(&half, &done)?;
    fs::remove_file(text)?;
    Ok(done)
}
