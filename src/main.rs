//! The `hoist` binary: dispatches to the role it was started for. Shim and router come first, because they must stay
//! small: nothing of the command line or the rack is touched before them.

#[cfg(feature = "rack")]
mod backup;
#[cfg(feature = "rack")]
mod rack;
#[cfg(feature = "rack")]
mod router;

use std::process::ExitCode;

use hoist_cli::{Environment, RackStarter};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let role = args.nth(1);
    #[cfg(feature = "rack")]
    match role.as_ref().and_then(|role| role.to_str()) {
        Some("shim") => hoist_engine::local::shim_main(args),
        Some("router") => return router::main(args),
        _ => {}
    }
    drop((args, role));
    hoist_cli::main(std::env::args_os(), &Environment::read(), starter())
}

#[cfg(feature = "rack")]
fn starter() -> Option<&'static dyn RackStarter> {
    Some(&rack::Starter)
}

#[cfg(not(feature = "rack"))]
fn starter() -> Option<&'static dyn RackStarter> {
    None
}
