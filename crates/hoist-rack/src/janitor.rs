//! Keeps logs within their limits, once a minute.

use std::sync::Weak;
use std::time::Duration;

use crate::error::with_causes;
use crate::logs;
use crate::rack::Rack;

/// The pause before each sweep.
pub(crate) const PAUSE: Duration = Duration::from_secs(60);

/// Sweeps until the rack ends.
pub(crate) async fn run(rack: Weak<Rack>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(rack) = rack.upgrade() else {
            return;
        };
        let mut alive = rack.controller.process_ids();
        alive.extend(rack.runs.ids());
        let directories: Vec<_> = rack
            .store
            .snapshot()
            .apps
            .keys()
            .map(|app| rack.layout.logs(app))
            .collect();
        let sweep = move || {
            for directory in directories {
                logs::sweep(&directory, |name| {
                    alive.iter().any(|id| name.contains(id.as_str()))
                });
            }
        };
        let swept = tokio::task::spawn_blocking(sweep).await;
        rack.pulses
            .janitor
            .passed(swept.map_err(|error| with_causes(&error)));
    }
}
