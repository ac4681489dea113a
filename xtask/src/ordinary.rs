//! Runs the tests of the local engine and the end-to-end stories once more as an ordinary user: what root may do hides what
//! everybody else may not.
//!
//! Checkouts and target directories often lie in a closed home, so the compiled tests and what they need are copied to a
//! stage that anybody may read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::{User, geteuid};
use serde_json::Value;

use crate::root;

/// The user that is made for it, with nothing but a home.
const USER: &str = "hoist-test";
/// What root's environment has to say to the tests.
const PASSED_ON: [&str; 3] = ["HOIST_ENGINES", "HOIST_EXPECT", "RUST_BACKTRACE"];

/// Compiles, makes the user if it is missing, and runs. `words` go to the test programs, as after `cargo test --`.
///
/// # Errors
/// A test failed, or root's rights are missing: an ordinary user runs `cargo test` and needs none of this.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "you are an ordinary user: `cargo test` is this already"
    );
    let user = user()?;
    let stage = tempfile::tempdir()?;
    fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o755))?;
    let tests = [
        ("local", compiled("hoist-engine", "local")?),
        ("e2e", compiled("hoist", "e2e")?),
    ];
    lay_out(stage.path(), &tests)?;
    let failed: Vec<_> = tests
        .iter()
        .filter_map(
            |(name, _)| match as_user(&user, stage.path(), name, words) {
                Ok(true) => None,
                Ok(false) => Some((*name).to_owned()),
                Err(error) => Some(format!("{name} ({error:#})")),
            },
        )
        .collect();
    ensure!(failed.is_empty(), "failed as {USER}: {}", failed.join(", "));
    Ok(())
}

fn user() -> Result<User> {
    if let Some(user) = User::from_name(USER)? {
        return Ok(user);
    }
    let made = Command::new("useradd")
        .args(["--create-home", "--shell", "/bin/sh", USER])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .status()
        .context("cannot run useradd")?;
    ensure!(made.success(), "cannot make the user {USER}");
    User::from_name(USER)?.context("the new user is not there")
}

/// A compiled test program of a package.
fn compiled(package: &str, test: &str) -> Result<PathBuf> {
    let run = Command::new("cargo")
        .args(["test", "--no-run", "--message-format=json"])
        .args(["-p", package, "--test", test])
        .current_dir(root()?)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        run.status.success(),
        "the tests of {package} do not compile"
    );
    let text = String::from_utf8_lossy(&run.stdout);
    let found = text.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let named = message["target"]["name"] == test && message["target"]["kind"][0] == "test";
        let file = message["executable"].as_str().filter(|_| named)?;
        Some(PathBuf::from(file))
    });
    found.with_context(|| format!("cargo names no program for {package}'s {test}"))
}

/// Copies the programs, the binary under test, the compiled test app and the examples.
fn lay_out(stage: &Path, tests: &[(&str, PathBuf)]) -> Result<()> {
    for (name, program) in tests {
        fs::copy(program, stage.join(name))?;
        let deps = program.parent().context("a test program lies nowhere")?;
        let app = deps.join("test-app");
        if app.exists() {
            copy_tree(&app, &stage.join("test-app"))?;
        }
        let binary = deps.parent().map(|dir| dir.join("hoist"));
        if let Some(binary) = binary.filter(|binary| binary.exists()) {
            fs::copy(binary, stage.join("hoist"))?;
        }
    }
    ensure!(
        stage.join("test-app").exists(),
        "run `cargo test --test e2e` first: it compiles the test app"
    );
    copy_tree(&root()?.join("examples"), &stage.join("examples"))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp")
        .args(["-r", "--no-preserve=ownership"])
        .args([from, to])
        .status()
        .context("cannot run cp")?;
    let open = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(to)
        .status()?;
    if !copied.success() || !open.success() {
        bail!("cannot copy {}", from.display());
    }
    Ok(())
}

fn as_user(user: &User, stage: &Path, name: &str, words: &[&str]) -> Result<bool> {
    eprintln!("Running {name} as {USER}");
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={}", user.uid))
        .arg(format!("--regid={}", user.gid))
        .args(["--clear-groups", "--inh-caps=-all"])
        .arg(stage.join(name))
        .args(words)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("HOME", &user.dir)
        .env("USER", USER)
        .env("HOIST_TEST_STAGE", stage)
        .current_dir(&user.dir);
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Ok(command.status().context("cannot run setpriv")?.success())
}
