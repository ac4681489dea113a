//! The role of the rack: puts engine, rack and API together for the command line.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_cli::{
    BackupContents, BackupWish, BoxFuture, Passphrase, RackError, RackOptions, RackStarter,
    Restored, RunningRack, StoppedApps,
};
use hoist_engine::local::{LocalConfig, LocalEngine, ShimCommand, stop_everything};
use hoist_rack::{Layout, Options, Rack, Stop, enter};
use hoist_router::control::RouterClient;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts racks with the engines of this build.
pub(crate) struct Starter;

impl RackStarter for Starter {
    fn start(
        &self,
        options: RackOptions,
    ) -> BoxFuture<'_, Result<Box<dyn RunningRack>, RackError>> {
        Box::pin(async move {
            let running = Running::start(options).await?;
            Ok(Box::new(running) as Box<dyn RunningRack>)
        })
    }

    fn stop_apps<'a>(
        &'a self,
        data_dir: &'a Path,
    ) -> BoxFuture<'a, Result<StoppedApps, RackError>> {
        Box::pin(async move {
            // Holding the directory keeps a rack from starting what is being stopped.
            let _held = enter(data_dir).map_err(refused)?;
            stop_apps(Layout::new(data_dir)).await
        })
    }

    fn backup<'a>(
        &'a self,
        data_dir: &'a Path,
        wish: BackupWish,
        to: File,
    ) -> BoxFuture<'a, Result<BackupContents, RackError>> {
        Box::pin(crate::backup::write(data_dir, wish, to))
    }

    fn restore<'a>(
        &'a self,
        file: &'a Path,
        data_dir: &'a Path,
        passphrase: Option<Passphrase>,
        without_key: bool,
    ) -> BoxFuture<'a, Result<Restored, RackError>> {
        Box::pin(crate::backup::restore(
            file,
            data_dir,
            passphrase,
            without_key,
        ))
    }
}

/// A rack that serves its API in this process.
struct Running {
    rack: Arc<Rack>,
    listen: SocketAddr,
    api: AbortHandle,
}

impl Running {
    async fn start(options: RackOptions) -> Result<Self, RackError> {
        log_to_stderr();
        if options.engine != "local" {
            return Err(RackError {
                message: format!("this build has no engine `{}`", options.engine),
                hint: Some("use --engine local".to_owned()),
                source: None,
            });
        }
        if !options.listen.ip().is_loopback() {
            return Err(RackError {
                message: format!(
                    "the API speaks plain HTTP, so it cannot listen on {}",
                    options.listen
                ),
                hint: Some("listen on 127.0.0.1, and reach it through `ssh -L`".to_owned()),
                source: None,
            });
        }
        let entered = enter(&options.data_dir).map_err(refused)?;
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|error| taken(options.listen, "--listen", error))?;
        let listen = listener
            .local_addr()
            .map_err(|error| taken(options.listen, "--listen", error))?;
        let program = program()?;
        let mut config = LocalConfig::new(&options.data_dir);
        config.reserved_ports = vec![listen.port(), options.router.port()];
        config.shim = ShimCommand {
            program: program.clone(),
        };
        let engine = LocalEngine::open(config).map_err(|error| RackError {
            message: "the local engine cannot start".to_owned(),
            hint: Some("hoist doctor".to_owned()),
            source: Some(Box::new(error)),
        })?;
        let options = Options {
            data_dir: options.data_dir,
            listen,
            router: options.router,
            domain: options.domain,
            name: options.name.unwrap_or_else(machine_name),
            program,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let rack = Rack::start(entered, options, Arc::new(engine))
            .await
            .map_err(refused)?;
        let api = tokio::spawn(hoist_rack::api::serve(rack.clone(), listener)).abort_handle();
        rack.announce(listen).map_err(refused)?;
        Ok(Self { rack, listen, api })
    }

    async fn end(&self, apps: bool) -> Result<(), RackError> {
        self.api.abort();
        self.rack.shut_down().await;
        if apps {
            stop_apps(self.rack.layout.clone()).await?;
        }
        Ok(())
    }
}

impl RunningRack for Running {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn router(&self) -> SocketAddr {
        self.rack.options.router
    }

    fn ended(&mut self) -> BoxFuture<'_, Result<(), RackError>> {
        Box::pin(async move {
            let Stop { apps } = self.rack.stopped().await;
            self.end(apps).await
        })
    }

    fn shutdown(self: Box<Self>, apps: bool) -> BoxFuture<'static, Result<(), RackError>> {
        Box::pin(async move { self.end(apps).await })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.api.abort();
        self.rack.request_stop(Stop { apps: false });
    }
}

/// Stops all processes of a data directory and its router. No rack may run on it.
async fn stop_apps(layout: Layout) -> Result<StoppedApps, RackError> {
    // The router first stops taking requests; then nobody misses the processes.
    let router = RouterClient::new(&layout.router()).stop().await.is_ok();
    let data_dir = layout.root().to_owned();
    let stopped = tokio::task::spawn_blocking(move || stop_everything(&data_dir)).await;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| RackError {
        message: "the apps could not be stopped".to_owned(),
        hint: None,
        source: Some(source),
    };
    let processes = stopped
        .map_err(|error| failed(Box::new(error)))?
        .map_err(|error| failed(Box::new(error)))?;
    Ok(StoppedApps {
        processes: processes as u32,
        router,
    })
}

/// This binary, by a path that stays right when the file is replaced by a newer one.
fn program() -> Result<PathBuf, RackError> {
    std::env::current_exe().map_err(|error| RackError {
        message: "this program cannot find itself".to_owned(),
        hint: None,
        source: Some(Box::new(error)),
    })
}

fn machine_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    let short = name.split('.').next().unwrap_or_default();
    if short.is_empty() {
        "rack".to_owned()
    } else {
        short.to_owned()
    }
}

fn taken(address: SocketAddr, flag: &str, error: std::io::Error) -> RackError {
    RackError {
        message: format!("the rack cannot listen on {address}"),
        hint: Some(format!(
            "choose another address with {flag}, or find who has it with `ss -ltnp`"
        )),
        source: Some(Box::new(error)),
    }
}

fn refused(error: hoist_rack::RackError) -> RackError {
    RackError {
        hint: error.hint(),
        message: error.to_string(),
        source: std::error::Error::source(&error)
            .map(|_| Box::<dyn std::error::Error + Send + Sync>::from(cause_words(&error))),
    }
}

/// All causes of an error in one line, without the error itself.
fn cause_words(error: &hoist_rack::RackError) -> String {
    let whole = hoist_rack::with_causes(error);
    let own = error.to_string();
    whole
        .strip_prefix(&own)
        .unwrap_or(&whole)
        .trim_start_matches(": ")
        .to_owned()
}

/// The rack's own lines, `key=value`, on standard error; request lines only below the level that people watch.
fn log_to_stderr() {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    // A second rack in one process (tests) keeps the first one's lines.
    let _ = tracing_subscriber::registry()
        .with(tracing_subscriber::filter::LevelFilter::WARN)
        .with(layer)
        .try_init();
}
