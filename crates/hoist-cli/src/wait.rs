//! Looking again until something is so. Every wait of the command line has a limit: what it waits for goes on without it.

use std::time::{Duration, Instant};

use crate::error::CliError;

/// How long a command waits at most: longer than any drain and grace that the rack would wait for itself.
const WAIT_LIMIT: Duration = Duration::from_secs(15 * 60);
/// The pause between looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is an answer. `what` is what is waited for, as `the rack to stop`.
pub(crate) async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, CliError>,
) -> Result<T, CliError> {
    let since = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if since.elapsed() > WAIT_LIMIT {
            let message = format!(
                "gave up waiting for {what} after {} minutes; it goes on",
                WAIT_LIMIT.as_secs() / 60
            );
            return Err(CliError::refused(
                message,
                "`hoist doctor` shows what the rack waits for",
            ));
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}
