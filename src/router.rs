//! The role of the router: `hoist router --dir DIR --listen ADDRESS`, started by a rack or by hand.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use hoist_router::{RouterConfig, router_main};

/// Threads that serve requests, at most: more than there are processors only gets in its own way.
const THREADS_MAX: usize = 16;

/// Runs until SIGTERM.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(config) = parse(args) else {
        eprintln!("usage: hoist router --dir DIR --listen ADDRESS:PORT");
        return ExitCode::from(2);
    };
    // A session of its own, so that the terminal of whoever started it is not its terminal.
    let _ = nix::unistd::setsid();
    match router_main(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hoist router: {}", hoist_rack::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Option<RouterConfig> {
    let (mut dir, mut listen) = (None, None);
    while let Some(flag) = args.next() {
        let value = args.next()?;
        match flag.to_str()? {
            "--dir" => dir = Some(PathBuf::from(value)),
            "--listen" => listen = Some(value.to_str()?.parse::<SocketAddr>().ok()?),
            _ => return None,
        }
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    Some(RouterConfig {
        listen: listen?,
        dir: dir?,
        threads: threads.clamp(1, THREADS_MAX),
    })
}
