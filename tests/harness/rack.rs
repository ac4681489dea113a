//! A rack of the real binary, and commands run against it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Answer};
use super::traces;

/// How long a command may take: longer than every limit inside that these tests reach.
const COMMAND_LIMIT: Duration = Duration::from_secs(150);
/// How long a rack may take to answer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A rack on a data directory of its own. Ends with the value, and everything it started with it.
#[derive(Debug)]
pub struct Rack {
    program: PathBuf,
    home: TempDir,
    data: PathBuf,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the router listens.
    pub router: SocketAddr,
    child: Option<Child>,
}

impl Rack {
    /// Starts one, and waits until it answers.
    pub fn start(program: &Path) -> Result<Self> {
        let mut rack = Self::idle(program)?;
        rack.run()?;
        Ok(rack)
    }

    /// A place for a rack that does not run yet.
    pub fn idle(program: &Path) -> Result<Self> {
        let home = tempfile::tempdir()?;
        // Without a mount namespace, apps pass through here to their own directory.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            program: program.to_owned(),
            data: home.path().join("data"),
            home,
            api: free_address()?,
            router: free_address()?,
            child: None,
        })
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A directory for the test's own files, removed at the end.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the rack's process and waits until it answers.
    pub fn run(&mut self) -> Result<()> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join("rack.out"))?;
        let child = self
            .command(&["rack", "start"])
            .args(self.flags())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("cannot start the rack")?;
        self.child = Some(child);
        let began = Instant::now();
        while !self.answers() {
            if let Some(status) = self
                .child
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten()
            {
                bail!("the rack ended with {status}: {}", self.output());
            }
            ensure!(
                began.elapsed() < START_LIMIT,
                "the rack does not answer: {}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// `--listen A --router A`.
    pub fn flags(&self) -> Vec<String> {
        let (api, router) = (self.api.to_string(), self.router.to_string());
        ["--listen".to_owned(), api, "--router".to_owned(), router].into()
    }

    fn answers(&self) -> bool {
        http::get(self.api, "localhost", "/check").is_ok_and(|answer| answer.status == 200)
    }

    /// What the rack's own process printed, over all its lives.
    pub fn output(&self) -> String {
        fs::read_to_string(self.home.path().join("rack.out")).unwrap_or_default()
    }

    /// Ends the rack's process with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Waits for the rack's process to end by itself.
    pub fn ended(&mut self) -> Result<()> {
        if let Some(child) = self.child.take() {
            wait(child, Duration::from_secs(30)).context("the rack does not end")?;
        }
        Ok(())
    }

    /// The program with nothing of this process's surroundings but the path, and this rack's data directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOIST_DATA_DIR", &self.data)
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn hoist(&self, args: &[&str]) -> Result<Ran> {
        Ran::of(self.command(args), COMMAND_LIMIT)
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> Result<Ran> {
        let ran = self.hoist(args)?;
        ensure!(
            ran.code == 0,
            "`hoist {}` should succeed\n{ran}",
            args.join(" ")
        );
        Ok(ran)
    }

    /// Deploys a directory.
    pub fn deploy(&self, dir: &Path) -> Result<Ran> {
        self.hoist(&["deploy", &dir.to_string_lossy()])
    }

    /// Deploys a directory, which must succeed; answers the release.
    pub fn deployed(&self, dir: &Path) -> Result<String> {
        let ran = self.deploy(dir)?;
        ensure!(ran.code == 0, "the deploy should succeed\n{ran}");
        ran.release().map(str::to_owned)
    }

    /// The data of a command.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let ran = self.ok(&[args, &["--json"]].concat())?;
        serde_json::from_str(&ran.stdout).with_context(|| format!("not JSON: {ran}"))
    }

    /// The items of a list.
    pub fn items(&self, args: &[&str]) -> Result<Vec<Value>> {
        let data = self.json(args)?;
        Ok(data["items"].as_array().cloned().unwrap_or_default())
    }

    /// The processes of an app as `(id, status, release)`.
    pub fn processes(&self, app: &str) -> Result<Vec<(String, String, String)>> {
        let items = self.items(&["ps", "-a", app])?;
        let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        Ok(items
            .iter()
            .map(|item| {
                (
                    text(item, "id"),
                    text(item, "status"),
                    text(item, "release"),
                )
            })
            .collect())
    }

    /// One GET through the router.
    pub fn get(&self, host: &str, path: &str) -> Result<Answer> {
        http::get(self.router, host, path).with_context(|| format!("GET {host}{path}"))
    }

    /// The administrator's token.
    pub fn token(&self) -> Result<String> {
        Ok(fs::read_to_string(self.data.join("token"))?
            .trim()
            .to_owned())
    }

    /// Stops everything and answers what is left of it: nothing, when all is well.
    pub fn stop_all(&mut self) -> Result<Vec<String>> {
        self.ok(&["rack", "stop", "--apps"])?;
        self.ended()?;
        let mut left = Vec::new();
        for _ in 0..200 {
            left = traces::left_by(&self.data);
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(left)
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        if self.child.is_some() || self.data.join("engine").exists() {
            let _ = Ran::of(
                self.command(&["rack", "stop", "--apps"]),
                Duration::from_secs(60),
            );
        }
        let _ = self.kill();
        traces::kill_left_by(&self.data);
        if std::thread::panicking() || std::env::var_os("HOIST_TEST_OUTPUT").is_some() {
            eprintln!("the rack said:\n{}", self.output());
        }
    }
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Chatter.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit {}\n--- stdout\n{}--- stderr\n{}---",
            self.code, self.stdout, self.stderr
        )
    }
}

impl Ran {
    /// Runs a command, at most so long.
    pub fn of(mut command: Command, limit: Duration) -> Result<Self> {
        let began = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("no pipes");
        };
        let (out, err) = (collect(out), collect(err));
        let code = wait(child, limit);
        let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
        let (stdout, stderr) = (text(out), text(err));
        let code = code.with_context(|| format!("{command:?}\n{stdout}\n{stderr}"))?;
        Ok(Self {
            code,
            stdout,
            stderr,
            took: began.elapsed(),
        })
    }

    /// The id behind `Release:`.
    pub fn release(&self) -> Result<&str> {
        self.labelled("Release:")
    }

    /// The word behind a label on standard output.
    pub fn labelled(&self, label: &str) -> Result<&str> {
        let line = self
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(label));
        line.map(str::trim)
            .with_context(|| format!("no `{label}` in\n{self}"))
    }

    /// Fails unless it ended with this code and said all of these words, on whichever stream.
    pub fn expect(&self, code: i32, words: &[&str]) -> Result<()> {
        ensure!(self.code == code, "expected exit {code}\n{self}");
        for word in words {
            ensure!(
                self.stdout.contains(word) || self.stderr.contains(word),
                "expected `{word}`\n{self}"
            );
        }
        Ok(())
    }
}

fn collect(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child; kills it when its time is over.
pub fn wait(mut child: Child, limit: Duration) -> Result<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code().unwrap_or(-1));
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("it took longer than {limit:?} and was killed");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Tries until something holds, at most so long.
pub fn eventually<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if began.elapsed() > limit => {
                return Err(error.context(format!("still so after {limit:?}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(25)),
        }
    }
}

/// A free port below those that the kernel and the local engine give away, never the same twice in this process.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 9_000;
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(7);
        let port = FIRST + (start.wrapping_add(offset)) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free")
}
