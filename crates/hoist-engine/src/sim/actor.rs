//! One process of the sim: acts out its script, life after life, and is stopped as a real one would be. And what runs beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hoist_core::id::ProcessId;
use hoist_core::limits;
use hoist_core::model::{Exit, ProcessState};
use tokio::sync::watch;
use tokio::time::timeout;

use super::player::{End, KILLED, Player, by};
use super::stage::Voice;
use super::world::{self, Cell, Key, World};
use crate::RestartPolicy;

const BACKOFF_FIRST: Duration = Duration::from_millis(limits::RESTART_FIRST.0);
const BACKOFF_LONGEST: Duration = Duration::from_millis(limits::RESTART_SLOWEST.0);
/// A check that took too long, as everywhere.
const TIMED_OUT: i32 = 124;

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing.
    Run,
    /// To end and begin again at once.
    Again,
    /// To end for good.
    Stop,
}

/// The place of a process in the engine.
#[derive(Clone)]
pub(super) struct Hold {
    pub(super) world: Arc<World>,
    pub(super) key: Key,
    pub(super) id: ProcessId,
}

impl Hold {
    /// Changes its cell, if that still is its own.
    pub(super) fn change(&self, change: impl FnOnce(&mut Cell)) {
        self.world.with(&self.key, &self.id, change);
    }
}

/// A process.
pub(super) struct Actor {
    pub(super) hold: Hold,
    pub(super) player: Player,
    pub(super) restart: RestartPolicy,
    pub(super) limit: Option<Duration>,
    pub(super) log_dir: PathBuf,
    pub(super) orders: watch::Receiver<Order>,
    /// Told once it ended for good.
    pub(super) ended: watch::Sender<Option<Exit>>,
}

impl Actor {
    /// Lives until it is stopped or may not live again.
    pub(super) async fn live(mut self) {
        let _ = std::fs::create_dir_all(&self.log_dir);
        let mut pause = BACKOFF_FIRST;
        loop {
            let end = self.player.live(&mut self.orders, self.limit).await;
            self.player.servers.shutdown().await;
            if let Voice::Log(log) = &mut self.player.voice {
                log.flush();
            }
            let (End::Own(exit) | End::Told(exit)) = end;
            self.hold.change(|cell| cell.end(exit));
            let order = *self.orders.borrow();
            if order == Order::Run && self.restart == RestartPolicy::Always {
                let ordered = timeout(pause, told(&mut self.orders)).await;
                if ordered.is_err() {
                    pause = (pause * 2).min(BACKOFF_LONGEST);
                    self.begin_again(exit, 1);
                    continue;
                }
            }
            if *self.orders.borrow() == Order::Again {
                pause = BACKOFF_FIRST;
                self.begin_again(exit, 0);
                continue;
            }
            // The streams end before the exit is told, as they do where processes are real.
            self.player.voice = Voice::Nobody;
            self.ended.send_replace(Some(exit));
            if *self.orders.borrow() == Order::Stop {
                self.hold.world.forget(&self.hold.key, &self.hold.id);
            }
            return;
        }
    }

    fn begin_again(&mut self, exit: Exit, count: u32) {
        self.player.stubborn = false;
        self.hold.change(|cell| {
            cell.process.restarts += count;
            cell.process.last_exit = Some(exit);
            cell.process.state = ProcessState::Running;
            cell.process.started = world::now();
            cell.orders.send_if_modified(|order| {
                let again = *order == Order::Again;
                if again {
                    *order = Order::Run;
                }
                again
            });
        });
    }
}

/// Waits until a process is told to end; for ever when nobody is left who could.
pub(super) async fn told(orders: &mut watch::Receiver<Order>) {
    if orders.wait_for(|order| *order != Order::Run).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until a process ends the life that it has now.
async fn over(ends: &mut watch::Receiver<u32>) {
    let _ = ends.changed().await;
}

/// Acts out a check; answers its exit status. None when the process ended before.
pub(super) async fn check(
    mut player: Player,
    mut ends: watch::Receiver<u32>,
    limit: Duration,
) -> Option<i32> {
    let (_never, mut orders) = watch::channel(Order::Run);
    tokio::select! {
        lived = timeout(limit, player.live(&mut orders, None)) => Some(match lived {
            Ok(End::Own(exit) | End::Told(exit)) => exit.code,
            Err(_) => TIMED_OUT,
        }),
        () = over(&mut ends) => None,
    }
}

/// Acts out a command beside a process, and ends with it at the latest, or when whoever began it is gone.
pub(super) async fn beside(
    mut player: Player,
    mut ends: watch::Receiver<u32>,
    mut orders: watch::Receiver<Order>,
    ended: watch::Sender<Option<Exit>>,
) {
    let (tell, mut told) = watch::channel(Order::Run);
    let watched = async {
        // An error is somebody who went away.
        let _ = orders.wait_for(|order| *order == Order::Stop).await;
        tell.send_replace(Order::Stop);
        std::future::pending::<()>().await;
    };
    let exit = tokio::select! {
        End::Own(exit) | End::Told(exit) = player.live(&mut told, None) => exit,
        () = watched => return,
        () = over(&mut ends) => by(KILLED),
    };
    drop(player);
    ended.send_replace(Some(exit));
}
