//! A router alone: what can be measured beside nginx without the whole binary.

use std::error::Error;

use hoist_router::{RouterConfig, router_main};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().collect();
    let after = |flag: &str| {
        words
            .iter()
            .skip_while(|word| *word != flag)
            .nth(1)
            .ok_or(format!("{flag} is missing"))
    };
    let config = RouterConfig {
        dir: after("--dir")?.into(),
        listen: after("--listen")?.parse()?,
        threads: 2,
    };
    Ok(router_main(config)?)
}
