//! The life of a router: take the directory, load the table, listen, serve, and end without dropping anything.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener as DoorListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::access::Journal;
use crate::admin::Admin;
use crate::listen::{self, Lane};
use crate::place::{self, Place, PlaceError};
use crate::succession;
use crate::table::Routes;
use crate::worker::{Task, Totals, Worker, incarnation};

/// Connections that may wait for a worker to take them.
const QUEUE: usize = 1024;
/// File descriptors that connections do not get: the log, the sockets, the runtimes.
const FILES_KEPT: u64 = 64;

/// How long it goes on accepting after SIGTERM, its directory given up: time for a successor to ask for the listener.
const SUCCESSOR_LIMIT: Duration = Duration::from_secs(2);

/// What a router is started with.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where the table, the control socket and the lock live; created if missing.
    pub dir: PathBuf,
    /// How many threads serve; at least one.
    pub threads: usize,
}

/// Why a router could not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// The directory cannot be used, or another router has it.
    #[error("cannot use the router's directory")]
    Place(#[from] PlaceError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system refused what the router is built of.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn system(doing: &'static str) -> impl FnOnce(io::Error) -> RouterError {
    move |source| RouterError::System { doing, source }
}

/// Serves until SIGTERM, SIGINT or a `stop` over the control socket, then finishes what is in flight (at most 30 s).
/// After SIGTERM, a successor may be started in the same directory and on the same address at once.
///
/// Blocks; builds its own runtimes and threads. Call it from a thread that is in no runtime.
pub fn router_main(config: RouterConfig) -> Result<(), RouterError> {
    let threads = config.threads.max(1);
    let place = Place::take(&config.dir)?;
    let table = place.load();
    let bound =
        listen(&place, config.listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|source| RouterError::Listen {
        address: config.listen,
        source,
    })?;
    let heirloom = listener.try_clone().map_err(system("keep the listener"))?;

    let journal = Arc::new(Journal::new(threads));
    let routes = Arc::new(Routes::new(journal.clone()));
    routes.serve(&table);
    let end = watch::Sender::new(false);
    let (end_accepting, ending) = UnixStream::pair().map_err(system("make a socket pair"))?;
    let totals: Vec<_> = (0..threads).map(|_| Arc::new(Totals::default())).collect();

    let writer = {
        let journal = journal.clone();
        spawn("access-lines", move || journal.write())?
    };
    let mut running = Vec::new();
    let mut lanes = Vec::new();
    for (index, totals) in totals.iter().enumerate() {
        let (tasks, inbox) = mpsc::channel(QUEUE);
        let worker = Seat {
            index,
            port: address.port(),
            routes: routes.clone(),
            journal: journal.clone(),
            totals: totals.clone(),
        };
        running.push(spawn("serve", move || worker.run(inbox))?);
        lanes.push(Lane {
            tasks,
            totals: totals.clone(),
        });
    }
    running.push(spawn("accept", move || {
        run_acceptor(listener, &lanes, &ending)
    })?);

    let admin = Admin {
        place,
        routes,
        journal: journal.clone(),
        totals,
        incarnation: incarnation(),
        listen: address,
        end,
    };
    tracing::info!(%address, version = %table.version, incarnation = admin.incarnation, "the router serves");
    let outcome = answer_until_end(admin, &config.dir, &heirloom);
    drop((end_accepting, heirloom));
    for thread in running {
        // A thread that panicked has said so itself.
        let _ = thread.join();
    }
    journal.close();
    let _ = writer.join();
    tracing::info!("the router ended");
    outcome
}

fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, RouterError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(system("start a thread"))
}

/// Whether a router started now in `dir` could listen on `address`: nobody else does, or the router before hands it on.
pub fn check_listen(dir: &Path, address: SocketAddr) -> io::Result<()> {
    if place::has_door(dir) {
        Ok(())
    } else {
        listen::check(address)
    }
}

/// Takes the listener of a predecessor that is about to end, else binds the address.
fn listen(place: &Place, address: SocketAddr) -> io::Result<TcpListener> {
    if let Some(door) = place.knock() {
        match succession::inherit(door, address) {
            Ok(Some(listener)) => {
                tracing::info!(%address, "took over the listener of the router before");
                return Ok(listener);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot take over the listener of the router before")
            }
        }
    }
    listen::bind(address)
}

/// Answers the control socket until it is time to end, then gives up the directory, and the listener to whoever takes it.
fn answer_until_end(admin: Admin, dir: &Path, listener: &TcpListener) -> Result<(), RouterError> {
    let Some(door) = answer(&admin)? else {
        return Ok(());
    };
    // Until a successor has the listener, there is nobody else to accept.
    match succession::offer(&door, listener, SUCCESSOR_LIMIT) {
        Ok(true) => tracing::info!("handed the listener to a successor"),
        Ok(false) => place::close_door(dir),
        Err(error) => tracing::warn!(%error, "cannot hand the listener to a successor"),
    }
    Ok(())
}

/// Answers the control socket until it is time to end. After SIGTERM a successor may come: then there is a door for it.
fn answer(admin: &Admin) -> Result<Option<DoorListener>, RouterError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the control thread"))?;
    let mut asked = admin.end.subscribe();
    runtime.block_on(async {
        let listener =
            UnixListener::from_std(admin.place.bind_control()?).map_err(system("listen"))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(system("wait for signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("wait for signals"))?;
        let replaced = tokio::select! {
            () = admin.serve(&listener) => false,
            _ = terminate.recv() => true,
            _ = interrupt.recv() => false,
            () = stop_was_answered(&mut asked) => false,
        };
        // Before the directory is free, and that before this socket is gone: a successor is started as soon as nobody
        // answers, and knocks as soon as it has the directory.
        let door = replaced.then(|| admin.place.bind_door()).transpose()?;
        admin.place.give_up();
        Ok(door)
    })
}

/// Ends a moment after a `stop` came in, so that its answer leaves first.
async fn stop_was_answered(asked: &mut watch::Receiver<bool>) {
    // The sender lives as long as this thread.
    let _ = asked.wait_for(|end| *end).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn run_acceptor(listener: TcpListener, lanes: &[Lane], end: &UnixStream) {
    if let Err(error) = listen::accept(listener, lanes, connections_max(), end) {
        tracing::error!(%error, "cannot accept connections");
    }
}

/// Two descriptors for each connection, its process's included.
fn connections_max() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, hard)| {
        let wanted = hard.min(1 << 20);
        if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
            wanted
        } else {
            soft
        }
    });
    limit.unwrap_or(1024).saturating_sub(FILES_KEPT) / 2
}

/// What a worker's thread is given.
struct Seat {
    index: usize,
    port: u16,
    routes: Arc<Routes>,
    journal: Arc<Journal>,
    totals: Arc<Totals>,
}

impl Seat {
    fn run(self, inbox: mpsc::Receiver<Task>) {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "cannot start a worker");
                return;
            }
        };
        let worker = Worker::new(
            self.index,
            self.port,
            self.routes,
            self.journal,
            self.totals,
        );
        runtime.block_on(Rc::new(worker).run(inbox));
    }
}
