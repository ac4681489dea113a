//! Keeps a router running: adopts one that serves, starts one where none does, and starts it again when it dies.
//!
//! The router is a process of its own so that it drops nothing when the rack ends. It is never a child that matters: its
//! control socket says whether it lives.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hoist_router::check_listen;
use hoist_router::control::{RouterClient, RouterReport};
use tokio::sync::Notify;

use crate::error::{RackError, with_causes};
use crate::pulse::Pulses;

/// How long a new router may take to answer.
const START_LIMIT: Duration = Duration::from_secs(10);
/// The pause between looks at a router that serves. One that this rack started is missed at once.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// The pause before a second look at a router that did not answer.
const SECOND_LOOK_PAUSE: Duration = Duration::from_millis(50);

/// How to run the router of one rack.
#[derive(Debug, Clone)]
pub(crate) struct RouterProcess {
    /// The program: this one.
    pub program: PathBuf,
    /// Its table and control socket.
    pub dir: PathBuf,
    /// Where it listens; port 0 means any.
    pub listen: SocketAddr,
    /// Notified when a router that this rack started has ended.
    pub ended: Arc<Notify>,
}

impl RouterProcess {
    /// Adopts the router that serves, or starts one. Returns once it answers.
    pub(crate) async fn ensure(&self) -> Result<RouterReport, RackError> {
        let client = RouterClient::new(&self.dir);
        if let Ok(report) = client.report().await {
            if self.listen.port() == 0 || report.listen == self.listen {
                return Ok(report);
            }
            tracing::info!(was = %report.listen, now = %self.listen, "the router moves");
            let _ = client.stop().await;
        } else if self.listen.port() != 0 {
            // A router that is on its way out hands its port over; anybody else's listener does not.
            check_listen(&self.dir, self.listen).map_err(|source| RackError::RouterPort {
                address: self.listen,
                source,
            })?;
        }
        self.spawn()?;
        let begun = tokio::time::Instant::now();
        loop {
            match client.report().await {
                Ok(report) if self.listen.port() == 0 || report.listen == self.listen => {
                    return Ok(report);
                }
                _ if begun.elapsed() > START_LIMIT => {
                    let log = self.dir.join("router.log");
                    return Err(RackError::Unsupported(format!(
                        "the router did not start: see {}",
                        log.display()
                    )));
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Starts the router again whenever it ended or does not answer twice in a row.
    pub(crate) async fn keep(self, pulses: Arc<Pulses>) {
        loop {
            let _ = tokio::time::timeout(LOOK_PAUSE, self.ended.notified()).await;
            pulses.router.passed(self.revive().await);
        }
    }

    async fn revive(&self) -> Result<(), String> {
        let client = RouterClient::new(&self.dir);
        if client.report().await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(SECOND_LOOK_PAUSE).await;
        if client.report().await.is_ok() {
            return Ok(());
        }
        tracing::warn!("the router does not answer: starting it again");
        let started = self.ensure().await;
        started.map(drop).map_err(|error| {
            let why = with_causes(&error);
            tracing::error!(error = %why, "no router");
            why
        })
    }

    fn spawn(&self) -> Result<(), RackError> {
        std::fs::create_dir_all(&self.dir).map_err(RackError::io("make the router's directory"))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("router.log"))
            .map_err(RackError::io("open the router's log"))?;
        let errors = log
            .try_clone()
            .map_err(RackError::io("open the router's log"))?;
        let mut child = Command::new(&self.program)
            .arg("router")
            .arg("--dir")
            .arg(&self.dir)
            .arg("--listen")
            .arg(self.listen.to_string())
            .current_dir("/")
            .env_clear()
            // Ctrl-C at the rack's terminal is not the router's.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(RackError::io("start the router"))?;
        let ended = self.ended.clone();
        // Somebody must reap it while the rack lives; afterwards pid 1 does.
        std::thread::Builder::new()
            .name("router-wait".to_owned())
            .spawn(move || {
                let _ = child.wait();
                ended.notify_one();
            })
            .map_err(RackError::io("watch the router"))?;
        Ok(())
    }
}
