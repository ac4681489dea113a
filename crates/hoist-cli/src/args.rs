//! The grammar: every command and flag, and what they have in common.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hoist_api::types::{IfBusy, PageQuery};
use hoist_core::lineage::Start;

use crate::commands::{
    apps, build, builds, completions, deploy, env, exec, logs, man, manifest, open, promote,
    promotions, ps, rack, releases, rollback, run, scale, standing, up,
};

/// A self-hosted platform for running apps.
#[derive(Debug, Parser)]
#[command(
    name = "hoist",
    bin_name = "hoist",
    version,
    disable_help_subcommand = true,
    propagate_version = false
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Globals {
    /// Print data as JSON
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// The rack: a URL or a data directory [env: HOIST_RACK]
    #[arg(
        short,
        long,
        global = true,
        value_name = "WHERE",
        conflicts_with = "data_dir",
        help_heading = "Global options"
    )]
    pub(crate) rack: Option<OsString>,
    /// The rack's data directory [env: HOIST_DATA_DIR] [default: $XDG_DATA_HOME/hoist]
    #[arg(long, global = true, value_name = "D", help_heading = "Global options")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a rack if none runs, and deploy a directory to it
    Up(up::Up),
    /// Deploy a directory: build, release and promote
    Deploy(deploy::Deploy),
    /// Build a directory into a release, which is not promoted
    Build(build::Build),
    /// Show the processes of an app, and show or stop one
    Ps(ps::Ps),
    /// Show log lines of an app
    Logs(logs::Logs),
    /// Run a command once, as a process of a service
    Run(run::Run),
    /// Run a command beside a running process
    Exec(exec::Exec),
    /// List apps, and create, show or delete one
    Apps(apps::Apps),
    /// List builds, and show one or its log
    Builds(builds::Builds),
    /// List releases; show, compare, make, promote or go back to one
    Releases(releases::Releases),
    /// Make a release live: the active one with what is staged on it, unless named
    Promote(promote::Promote),
    /// Go back to a release: the last one that served before, unless named
    Rollback(rollback::Rollback),
    /// List promotions, or show one
    Promotions(promotions::Promotions),
    /// End the promotion in flight and go back
    Cancel(AppArgs),
    /// Show the environment of an app, or change it
    Env(env::Env),
    /// Show sizes of services, or set them
    Scale(scale::Scale),
    /// Start all processes of an app, or of one service, anew
    Restart(standing::Restart),
    /// Drain and stop an app until it is started again
    Stop(AppArgs),
    /// Start a stopped app
    Start(AppArgs),
    /// Show what happened to an app
    Events(promotions::Events),
    /// Show the rack, start or stop it
    Rack(rack::Rack),
    /// Show what the rack waits for, and what this machine lacks
    Doctor,
    /// Show the versions of this program and of the rack
    Version,
    /// Open an app in a browser, or print its address
    Open(open::Open),
    /// Check a manifest, or show it as it is read
    Manifest(manifest::ManifestArgs),
    /// Print the script that completes commands in a shell
    Completions(completions::Completions),
    /// What the scripts of `completions` ask
    #[command(name = "__complete", hide = true)]
    Complete(completions::Complete),
    /// Print or write manual pages
    Man(man::ManArgs),
    /// Show the help of a command
    Help {
        /// The command, as `env set`
        command: Vec<String>,
    },
}

impl Command {
    /// Whether it carries streams of a process, and signals to it.
    pub(crate) fn holds_session(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Exec(_))
    }

    /// Whether a rack may run in this process.
    pub(crate) fn holds_rack(&self) -> bool {
        match self {
            Self::Up(_) => true,
            Self::Rack(rack) => rack.holds_rack(),
            _ => false,
        }
    }
}

/// Which app.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AppArgs {
    /// The app [default: the directory's name]
    #[arg(short, long, value_name = "APP")]
    pub(crate) app: Option<String>,
}

/// Where a rack of this process listens, and what it is.
#[derive(Debug, Clone, Args)]
pub(crate) struct RackArgs {
    /// Where the API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4500")]
    pub(crate) listen: SocketAddr,
    /// Where the router listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) router: SocketAddr,
    /// Where apps run
    #[arg(long, default_value = "local")]
    pub(crate) engine: Engine,
    /// Apps are reached at <app>.<domain>
    #[arg(long, default_value = "localhost")]
    pub(crate) domain: String,
    /// The rack's name [default: the machine's]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// Where apps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// As supervised, isolated processes of this machine
    Local,
}

impl Engine {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
        }
    }
}

/// What to build, and for which app.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// The directory to upload
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// What lists show of it [default: the commit's subject, when the working tree is clean]
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// The manifest within the directory [default: hoist.yml, convox.yml or Procfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) manifest: Option<String>,
    /// Build even when nothing changed since the last build
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// Build with an empty cache, even when nothing changed
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Refuse when the app does not exist, instead of creating it
    #[arg(long)]
    pub(crate) no_create: bool,
    #[command(flatten)]
    pub(crate) from: FromArgs,
}

/// What a new release is made from.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FromArgs {
    /// Make the release from another one: active, newest, or R… [default: the active one with what is staged on it]
    #[arg(long, alias = "release", value_name = "WHAT", value_parser = start)]
    pub(crate) from: Option<String>,
}

/// Checks what a release is made from.
pub(crate) fn start(text: &str) -> Result<String, String> {
    match text.parse::<Start>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("write active, newest, or a release, R…".to_owned()),
    }
}

/// How to promote.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PromoteArgs {
    /// What to do when another promotion is in flight
    #[arg(long, value_name = "WHAT", default_value = "wait")]
    pub(crate) if_busy: Busy,
    /// Give up and go back after so many seconds [default: the app's own limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
}

/// What to print of a promotion, and until when.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FollowArgs {
    /// Return as soon as it began
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print nothing but the release's id on standard output
    #[arg(long)]
    pub(crate) id: bool,
    /// Accepted for scripts that have it; there is nothing to force
    #[arg(long)]
    pub(crate) force: bool,
}

/// What to do when another promotion is in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Busy {
    /// Begin after it ended
    #[default]
    Wait,
    /// End it and begin
    Supersede,
    /// Refuse
    Refuse,
}

impl From<Busy> for IfBusy {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Wait => Self::Wait,
            Busy::Supersede => Self::Supersede,
            Busy::Refuse => Self::Refuse,
        }
    }
}

fn page(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(limit @ 1..=1000) => Ok(limit),
        _ => Err("write a number from 1 to 1000".to_owned()),
    }
}

/// How much of a list.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PageArgs {
    /// At most this many [default: 20]
    #[arg(short, long, value_name = "N", value_parser = page)]
    pub(crate) limit: Option<u32>,
    /// Only what is older than this: `next` of a list's JSON
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<String>,
}

impl PageArgs {
    /// As the rack takes it.
    pub(crate) fn query(self) -> PageQuery {
        PageQuery {
            limit: self.limit,
            before: self.before,
        }
    }
}
