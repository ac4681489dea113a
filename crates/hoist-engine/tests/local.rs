//! The conformance suite on the local engine: with all that this machine gives, as an ordinary user, and without isolation.
//!
//! The test program is its own shim and its own test app, so `cargo test -p hoist-engine` needs nothing else.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "conformance/app.rs"]
mod app;
mod conformance;
mod local_only;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use conformance::Bench;
use hoist_core::id::SlotId;
use hoist_engine::Engine;
use hoist_engine::local::{
    Ceiling, LocalConfig, LocalEngine, shim_main, state_dir_of, stop_everything,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Set where root has a case run as an ordinary user.
const ERRAND: &str = "HOIST_TEST_AS_USER";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(word) if word == "shim" => shim_main(args),
        Some(word) if word == "rack" => local_only::rack(Path::new(&args.next().unwrap())),
        Some(word) if word == "attend" => {
            local_only::attached::rack(Path::new(&args.next().unwrap()))
        }
        Some(word) if word == "app" => {
            let words: Vec<String> = args
                .map(|word: OsString| word.into_string().unwrap())
                .collect();
            app::run(&words[0], &words[1])
        }
        _ => {}
    }
    conformance::expect_engine("local");
    {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _within = runtime.enter();
        conformance::expect_isolation(&*LocalBench::boxed(Ceiling::Everything).engine());
    }
    let mut trials = Vec::new();
    for case in conformance::all() {
        trials.push(conformance::trial("local", case, || {
            LocalBench::boxed(Ceiling::Everything)
        }));
    }
    for case in conformance::all() {
        trials.push(conformance::trial("local-plain", case, || {
            LocalBench::boxed(Ceiling::Plain)
        }));
    }
    // An ordinary user has run all of it already, unless this is root's errand.
    if geteuid().is_root() || std::env::var_os(ERRAND).is_some() {
        trials.extend(conformance::all().into_iter().map(as_user));
    }
    trials.extend(local_only::all());
    let code = libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
    let _ = std::fs::remove_dir_all(copies());
    code
}

/// Where copies of this program lie while it runs.
fn copies() -> PathBuf {
    std::env::temp_dir().join(format!("hoist-engine-test-{}", std::process::id()))
}

/// The same case as an ordinary user: root runs this program once more as nobody, for this one case.
fn as_user(case: conformance::Case) -> Trial {
    const ENGINE: &str = "local-user";
    if !geteuid().is_root() {
        return conformance::trial(ENGINE, case, || LocalBench::boxed(Ceiling::Everything));
    }
    let name = format!("{ENGINE}::{}", case.name);
    Trial::ignorable_test(name.clone(), move || {
        const NOBODY: u32 = 65_534;
        let program = readable_program()?;
        let run = Command::new(&program)
            .args(["--exact", &name])
            .env(ERRAND, "1")
            // What root gets here is not to be expected of others.
            .env_remove(conformance::EXPECT)
            .env_remove("TMPDIR")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()?;
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        match (run.status.success(), said.contains("... ignored (")) {
            (false, _) => Err(Failed::from(said + &String::from_utf8_lossy(&run.stderr))),
            (true, true) => Ok(Completion::ignored_with("what an ordinary user lacks")),
            (true, false) => Ok(Completion::Completed),
        }
    })
}

/// This program where anybody may read it: target directories often lie in a closed home.
fn readable_program() -> std::io::Result<PathBuf> {
    let me = std::env::current_exe()?;
    let open = |dir: &Path| {
        dir.metadata()
            .is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
    };
    if me.ancestors().all(open) {
        return Ok(me);
    }
    let dir = copies();
    let copy = dir.join("local");
    if !copy.exists() {
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))?;
        let half = dir.join(format!("half-{:?}", std::thread::current().id()));
        std::fs::copy(me, &half)?;
        std::fs::rename(half, &copy)?;
    }
    Ok(copy)
}

struct LocalBench {
    dir: tempfile::TempDir,
    engine: Option<Arc<LocalEngine>>,
    ceiling: Ceiling,
    reserved_ports: Vec<u16>,
    /// Another place for the data.
    deep: Option<PathBuf>,
}

impl LocalBench {
    fn boxed(ceiling: Ceiling) -> Box<dyn Bench> {
        Box::new(Self::with(ceiling))
    }

    fn with(ceiling: Ceiling) -> Self {
        let mut bench = Self::closed(ceiling);
        bench.reopen();
        bench
    }

    fn closed(ceiling: Ceiling) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Without a mount namespace, apps pass through here to their own directory.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            dir,
            engine: None,
            ceiling,
            reserved_ports: Vec::new(),
            deep: None,
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.deep
            .clone()
            .unwrap_or_else(|| self.dir.path().join("data"))
    }

    fn supervisor(&self, slot: &SlotId) -> Pid {
        let state =
            std::fs::read_to_string(state_dir_of(&self.data_dir(), slot).join("state.json"))
                .unwrap();
        let (_, rest) = state.split_once("\"shim\":").unwrap();
        Pid::from_raw(rest.split(',').next().unwrap().parse().unwrap())
    }
}

impl Drop for LocalBench {
    fn drop(&mut self) {
        self.engine = None;
        if let Err(error) = stop_everything(&self.data_dir()) {
            eprintln!("could not clean up: {error}");
        }
    }
}

/// The directory that holds the test program, which processes must be able to read.
fn programs() -> PathBuf {
    std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned()
}

impl Bench for LocalBench {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(self.engine.as_ref().unwrap()) as Arc<dyn Engine>
    }

    fn reopen(&mut self) {
        self.engine = None;
        let config = LocalConfig {
            read_only: vec![programs()],
            ceiling: self.ceiling,
            reserved_ports: self.reserved_ports.clone(),
            ..LocalConfig::new(self.data_dir())
        };
        self.engine = Some(Arc::new(LocalEngine::open(config).unwrap()));
    }

    fn command(&self, token: &str, script: &str) -> Vec<String> {
        let me = std::env::current_exe()
            .unwrap()
            .into_os_string()
            .into_string()
            .unwrap();
        [&me, "app", token, script].map(str::to_owned).into()
    }

    fn kill_supervisor(&self, slot: &SlotId) {
        kill(self.supervisor(slot), Signal::SIGKILL).unwrap();
    }

    fn freeze_supervisor(&self, slot: &SlotId) {
        kill(self.supervisor(slot), Signal::SIGSTOP).unwrap();
    }

    fn alive(&self, token: &str) -> bool {
        self.count(token) > 0
    }

    fn real(&self) -> bool {
        true
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl LocalBench {
    /// How many processes have the token in their command.
    fn count(&self, token: &str) -> usize {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| {
                line.split(|byte| *byte == 0)
                    .any(|word| word == token.as_bytes())
            })
            .count()
    }
}
