//! Idle connections to processes, one pool per thread, most recently used first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Connection;
use crate::table::Endpoint;

/// How long a connection may idle: less than the 5 s after which common app servers close.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// How often idle connections are looked through while there are any.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// Most idle connections of one process.
const IDLE_MAX: usize = 256;

/// The idle connections of one thread.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<usize, Idle>>,
    filled: Notify,
}

struct Idle {
    endpoint: Arc<Endpoint>,
    connections: Vec<(Connection, Instant)>,
}

fn key(endpoint: &Arc<Endpoint>) -> usize {
    // An entry holds its endpoint, so no other can take the address meanwhile.
    Arc::as_ptr(endpoint) as usize
}

impl Pool {
    /// A connection that is not known to be closed. With `surely` the kernel is asked: for requests that could not be
    /// sent a second time.
    pub(crate) fn take(&self, endpoint: &Arc<Endpoint>, surely: bool) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = &mut idle.get_mut(&key(endpoint))?.connections;
        while let Some((mut connection, _)) = connections.pop() {
            if connection.is_stale() || (surely && connection.is_stale_now()) {
                continue;
            }
            return Some(connection);
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, endpoint: &Arc<Endpoint>, mut connection: Connection) {
        // Bytes beyond the answer are nobody's answer; a process that left the table is about to stop.
        if !connection.buffer.is_empty() || endpoint.is_retired() {
            return;
        }
        connection.reused = true;
        connection.full_reads = 0;
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            self.filled.notify_one();
        }
        let fresh = || Idle {
            endpoint: endpoint.clone(),
            connections: Vec::new(),
        };
        let connections = &mut idle.entry(key(endpoint)).or_insert_with(fresh).connections;
        if connections.len() < IDLE_MAX {
            connections.push((connection, Instant::now()));
        }
    }

    /// Drops the idle connections of a process that closed or refused one.
    pub(crate) fn forget(&self, endpoint: &Arc<Endpoint>) {
        self.idle.borrow_mut().remove(&key(endpoint));
    }

    /// Drops those of processes that no table names: they may be waiting for it to stop.
    pub(crate) fn forget_retired(&self) {
        self.idle
            .borrow_mut()
            .retain(|_, idle| !idle.endpoint.is_retired());
    }

    /// Drops what idled too long, for ever; sleeps while there is nothing idle.
    pub(crate) async fn sweep(&self) {
        loop {
            self.filled.notified().await;
            loop {
                tokio::time::sleep(SWEEP_PAUSE).await;
                let now = Instant::now();
                let mut idle = self.idle.borrow_mut();
                idle.retain(|_, idle| {
                    // Used last means pushed last: the oldest stand in front.
                    let fresh = |(_, since): &(_, Instant)| now.duration_since(*since) < IDLE_LIMIT;
                    let old = idle
                        .connections
                        .iter()
                        .position(fresh)
                        .unwrap_or(idle.connections.len());
                    idle.connections.drain(..old);
                    !idle.connections.is_empty()
                });
                if idle.is_empty() {
                    break;
                }
            }
        }
    }
}
