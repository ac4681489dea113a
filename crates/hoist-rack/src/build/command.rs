//! Runs one command of a build as an isolated task, and copies what it prints as it comes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hoist_core::model::{Exit, ExitCause, TaskStatus};
use hoist_engine::{ProcessSpec, Secret, TaskId, TaskSpec, Tree};

use super::cache::Cache;
use super::output::Output;
use super::printed::Printed;
use super::stops::Stop;
use crate::error::{RackError, with_causes};
use crate::rack::Rack;
use crate::secrets::Env;

/// How long a build command may run.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Memory that a build may take, so that running apps survive it.
pub(crate) const BUILD_MEMORY_BYTES: u64 = 4 << 30;
/// Memory that a build may take however little is free.
const BUILD_MEMORY_BYTES_MIN: u64 = 256 << 20;
/// Processes that a build may have at once.
pub(crate) const BUILD_PIDS_MAX: u64 = 2048;
/// Bytes of output that wait to be read.
const LOG_BYTES_MAX: u64 = 32 << 20;
/// The pause between looks at a build that runs.
const LOOK_PAUSE: Duration = Duration::from_millis(25);
/// What the shell says for a command that cannot be executed.
const EXEC_FAILED: i32 = 127;
/// Gives way to running apps where no cgroup weighs.
const NICE: [&str; 3] = ["/usr/bin/nice", "-n", "10"];

/// One command of a build.
pub(super) struct Command<'a> {
    /// The task; never used before.
    pub(super) id: TaskId,
    /// What it is in messages: `the build command`.
    pub(super) what: &'static str,
    pub(super) argv: Vec<String>,
    pub(super) env: Env,
    /// Directories of the tree that come first in `PATH`.
    pub(super) path: Vec<String>,
    /// The source directory, which it changes.
    pub(super) tree: PathBuf,
    /// A directory of its own for its log.
    pub(super) log_dir: PathBuf,
    pub(super) cache: &'a Cache,
    /// Whether somebody wants it to end.
    pub(super) stop: &'a Stop,
}

/// Runs a command to its end; anything but exit 0 is an error.
pub(super) async fn run(
    rack: &Rack,
    command: Command<'_>,
    output: &mut Output,
) -> Result<(), RackError> {
    let free = rack.engine.observe().await?.memory_free_bytes;
    let spec = spec(&command, memory_limit(free));
    let mut printed = Printed::new(command.log_dir.clone());
    let began = Instant::now();
    if command.stop.asked().is_some() {
        return Err(RackError::BuildCancelled);
    }
    rack.engine.run(&spec).await?;
    let exit = follow(rack, &spec.id, command.stop, &mut printed, output).await;
    output.command_ended();
    let forgotten = rack.engine.forget_task(&spec.id).await;
    let exit = exit?;
    if let Err(error) = forgotten {
        tracing::warn!(error = %with_causes(&error), "a build's task stays behind");
    }
    if exit.code != 0 || exit.signal.is_some() {
        let late = began.elapsed() >= BUILD_LIMIT;
        let words = exit_words(command.what, &exit, late, spec.process.memory_bytes);
        return Err(RackError::Unsupported(words));
    }
    Ok(())
}

fn spec(command: &Command<'_>, memory_bytes: u64) -> TaskSpec {
    let mut argv: Vec<String> = Vec::new();
    if std::path::Path::new(NICE[0]).exists() {
        argv.extend(NICE.map(str::to_owned));
    }
    argv.extend(command.argv.iter().cloned());
    // What the app says of its env wins over where packages are kept.
    let mut env: Env = command.cache.env().into_iter().collect();
    env.extend(command.env.clone());
    TaskSpec {
        id: command.id.clone(),
        process: ProcessSpec {
            argv,
            env: env
                .into_iter()
                .map(|(name, value)| (name, Secret::new(value)))
                .collect(),
            path: command.path.clone(),
            tree: Tree::Writable(command.tree.clone()),
            volumes: command.cache.volumes(),
            memory_bytes,
            cpu_millicores: 0,
            pids_max: BUILD_PIDS_MAX,
            background: true,
            stop_grace: Duration::from_secs(2),
            log_dir: command.log_dir.clone(),
            log_source: "build".to_owned(),
            log_bytes_max: LOG_BYTES_MAX,
        },
        limit: BUILD_LIMIT,
    }
}

/// Three quarters of what is free, so that a build is ended before an app is.
fn memory_limit(free_bytes: Option<u64>) -> u64 {
    let share = free_bytes.map_or(BUILD_MEMORY_BYTES, |free| free / 4 * 3);
    share.clamp(BUILD_MEMORY_BYTES_MIN, BUILD_MEMORY_BYTES)
}

/// Copies the command's output as it comes, until it ends. When somebody wants that, it is made to end.
async fn follow(
    rack: &Rack,
    id: &TaskId,
    stop: &Stop,
    printed: &mut Printed,
    output: &mut Output,
) -> Result<Exit, RackError> {
    let hints = rack.engine.hints();
    let mut told = false;
    loop {
        if !told && stop.asked().is_some() {
            // Again with the next look when the engine does not hear it.
            told = rack.engine.stop_task(id).await.is_ok();
        }
        let seen = rack.engine.observe().await?;
        let ended = match seen.tasks.get(id) {
            Some(TaskStatus::Ended(exit)) => Some(*exit),
            Some(TaskStatus::Running) => None,
            None => {
                return Err(RackError::Unsupported(
                    "the build's process is gone".to_owned(),
                ));
            }
        };
        let more = copy(printed, output);
        match ended {
            Some(exit) if !more => return Ok(exit),
            // Others have a turn between two pieces of a command that prints without end.
            _ if more => tokio::task::yield_now().await,
            _ => drop(tokio::time::timeout(LOOK_PAUSE, hints.notified()).await),
        }
    }
}

/// Copies one piece; false when there was none.
fn copy(printed: &mut Printed, output: &mut Output) -> bool {
    let piece = printed.more();
    if piece.lost {
        output.lost();
    }
    output.lines(&piece.lines);
    !piece.lines.is_empty()
}

fn exit_words(what: &str, exit: &Exit, late: bool, memory_bytes: u64) -> String {
    match exit.cause {
        ExitCause::OutOfMemory => format!(
            "{what} needed more than {} MB of memory",
            memory_bytes >> 20
        ),
        ExitCause::ExecFailed => format!("{what} could not be executed"),
        ExitCause::Lost => format!("the supervisor of {what} died"),
        ExitCause::Own if late => format!(
            "{what} ran longer than {} minutes and was ended",
            BUILD_LIMIT.as_secs() / 60
        ),
        ExitCause::Own => match exit.signal {
            Some(signal) => format!("{what} was ended by signal {signal}"),
            None if exit.code == EXEC_FAILED => {
                format!("{what} was not found, or could not be executed ({EXEC_FAILED})")
            }
            None => format!("{what} exited with {}", exit.code),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_met_is_named() {
        let exit = |cause, code, signal| Exit {
            code,
            signal,
            cause,
            at: hoist_core::model::Timestamp(0),
        };
        let words = |exit, late| exit_words("the build command", &exit, late, 512 << 20);
        let own = ExitCause::Own;
        for (exit, late, expected) in [
            (
                exit(ExitCause::OutOfMemory, 137, Some(9)),
                false,
                "needed more than 512 MB of memory",
            ),
            (
                exit(own, 137, Some(9)),
                true,
                "ran longer than 20 minutes and was ended",
            ),
            (exit(own, 143, Some(15)), false, "was ended by signal 15"),
            (
                exit(own, 127, None),
                false,
                "was not found, or could not be executed (127)",
            ),
            (exit(own, 2, None), false, "exited with 2"),
        ] {
            assert_eq!(words(exit, late), format!("the build command {expected}"));
        }
    }

    #[test]
    fn a_build_leaves_memory_to_apps() {
        assert_eq!(memory_limit(None), BUILD_MEMORY_BYTES);
        assert_eq!(memory_limit(Some(64 << 30)), BUILD_MEMORY_BYTES);
        assert_eq!(memory_limit(Some(2 << 30)), 3 << 29);
        assert_eq!(memory_limit(Some(1 << 20)), BUILD_MEMORY_BYTES_MIN);
    }
}
