//! A terminal with somebody at it: types, waits for what appears, changes its size.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::pty::{Winsize, openpty};
use nix::unistd::ttyname;

use super::rack::wait;

/// How long anything may take to appear.
const APPEARS: Duration = Duration::from_secs(20);

/// What appeared, and who waits for more.
#[derive(Debug, Default)]
struct Screen {
    shown: Mutex<Vec<u8>>,
    more: Condvar,
}

/// A terminal, and the program that runs on it.
#[derive(Debug)]
pub struct Terminal {
    keys: File,
    path: PathBuf,
    screen: Arc<Screen>,
    /// Reads until nobody has the terminal open any more.
    reader: JoinHandle<()>,
    /// How much of the screen was waited for already.
    read: usize,
    child: Option<Child>,
}

impl Terminal {
    /// Runs a command on a terminal of its own.
    pub fn run(command: &Command, columns: u16, rows: u16) -> Result<Self> {
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None)?;
        let path = ttyname(&pty.slave)?;
        // It makes the terminal the controlling one, so that its signals arrive.
        let mut on_terminal = Command::new("setsid");
        on_terminal
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .env("TERM", "xterm-test");
        for (name, value) in command.get_envs() {
            on_terminal.env(name, value.unwrap_or_default());
        }
        if let Some(dir) = command.get_current_dir() {
            on_terminal.current_dir(dir);
        }
        let slave = File::from(pty.slave);
        let child = on_terminal
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave))
            .spawn()
            .context("cannot run setsid")?;
        let keys = File::from(pty.master);
        let (screen, mut seen) = (Arc::new(Screen::default()), keys.try_clone()?);
        let shown = screen.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = seen.read(&mut bytes) {
                let mut all = shown.shown.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(&bytes[..count]);
                shown.more.notify_all();
            }
        });
        Ok(Self {
            keys,
            path,
            screen,
            reader,
            read: 0,
            child: Some(child),
        })
    }

    /// Presses keys.
    pub fn types(&mut self, keys: &str) -> Result<()> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    /// Waits until this appears after what was waited for before.
    pub fn shows(&mut self, text: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let all = self.all();
            let rest = String::from_utf8_lossy(&all[self.read..]).into_owned();
            if let Some(at) = rest.find(text) {
                self.read += at + text.len();
                return Ok(());
            }
            if began.elapsed() > APPEARS {
                bail!("the terminal does not show `{text}` but {rest:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Everything that appeared.
    pub fn all(&self) -> Vec<u8> {
        let shown = self.screen.shown.lock();
        shown.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Presses a key, and takes the time until anything appears.
    pub fn echo_of(&mut self, key: &str) -> Result<Duration> {
        let shown = self.screen.shown.lock();
        let mut shown = shown.unwrap_or_else(PoisonError::into_inner);
        let before = shown.len();
        let began = Instant::now();
        self.keys.write_all(key.as_bytes())?;
        while shown.len() == before {
            let (more, late) = self
                .screen
                .more
                .wait_timeout(shown, APPEARS)
                .unwrap_or_else(PoisonError::into_inner);
            ensure!(!late.timed_out(), "no echo of {key:?}");
            shown = more;
        }
        Ok(began.elapsed())
    }

    /// Changes its size.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.stty(&["cols", &columns, "rows", &rows]).map(drop)
    }

    /// Whether keys go to the program unread.
    pub fn is_raw(&self) -> Result<bool> {
        Ok(self.stty(&["-a"])?.contains("-icanon"))
    }

    fn stty(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("stty");
        let output = command.arg("-F").arg(&self.path).args(args).output()?;
        ensure!(
            output.status.success(),
            "stty: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The process on it.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The exit code of the program, which must end by itself.
    pub fn ended(&mut self) -> Result<i32> {
        let child = self.child.take().context("it ended already")?;
        let code = wait(child, APPEARS).with_context(|| {
            let all = String::from_utf8_lossy(&self.all()).into_owned();
            format!("on the terminal: {all:?}")
        })?;
        // Its last words may be on their way still.
        let began = Instant::now();
        while !self.reader.is_finished() && began.elapsed() < APPEARS {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(code)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
