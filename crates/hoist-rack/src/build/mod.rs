//! Source turned into a slug: unpacked, checked, its build command run in isolation, then moved into place.
//!
//! A failing build creates no release and leaves nothing but its log.

mod contents;
mod listing;
mod output;
mod source;
mod unpack;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hoist_core::id::{AppName, ReleaseId};
use hoist_core::manifest::CommandLine;
use hoist_core::model::{Exit, ExitCause, TaskStatus};
use hoist_engine::{ProcessSpec, Secret, TaskId, TaskSpec, Tree};

use crate::clock::wall;
use crate::error::{RackError, with_causes};
use crate::rack::Rack;
use crate::releases::new_release_id;
use crate::secrets::Env;
use crate::store::{BuildRecord, BuildStatus, Commit, ReleaseRecord, StateChange};

use output::Output;
pub(crate) use contents::Contents;
pub(crate) use listing::{Content, Digest, Item, Listing, Mode, SOURCE_BYTES_MAX};
pub(crate) use source::{Origin, Source, chosen, inputs};

/// How long a build command may run.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Memory that a build may take, so that running apps survive it.
pub(crate) const BUILD_MEMORY_BYTES: u64 = 4 << 30;
/// Processes that a build may have at once.
const BUILD_PIDS_MAX: u64 = 2048;
/// Bytes of output that are kept.
const BUILD_LOG_BYTES_MAX: u64 = 32 << 20;
/// The pause between looks at a build that runs.
const LOOK_PAUSE: Duration = Duration::from_millis(25);

/// Runs a build to its end, which is recorded whatever happens.
pub(crate) async fn run(rack: Arc<Rack>, record: BuildRecord, source: Source) {
    let mut output = Output::create(&rack.layout.build_log(&record.app, &record.id));
    let made = make(&rack, &record, &source, &mut output).await;
    let ended = match made {
        Ok(()) => finish(&rack, &record, &source).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        let why = with_causes(&error);
        output.say(&format!("build failed: {why}"));
        let _ = std::fs::remove_dir_all(rack.layout.slug(&record.app, &record.id));
        fail(&rack, record, source.manifest_record(), why).await;
    }
    source.remove();
}

async fn make(
    rack: &Rack,
    record: &BuildRecord,
    source: &Source,
    output: &mut Output,
) -> Result<(), RackError> {
    output.say(&format!("reading {}", source.manifest_file()));
    for warning in &source.warnings {
        output.say(&format!("warning: {warning}"));
    }
    refuse_what_needs_images(source)?;
    match &source.manifest.build.command {
        Some(command) => run_command(rack, record, source, command, output).await?,
        None => output.say("no build command: the source is the slug"),
    }
    let slug = rack.layout.slug(&record.app, &record.id);
    if let Some(parent) = slug.parent() {
        std::fs::create_dir_all(parent).map_err(RackError::io("make the slug's directory"))?;
    }
    std::fs::rename(source.tree(), &slug).map_err(RackError::io("move the slug into place"))?;
    output.say("slug complete");
    Ok(())
}

fn refuse_what_needs_images(source: &Source) -> Result<(), RackError> {
    for (name, service) in &source.manifest.services {
        if service.image.is_some() && service.command.is_none() {
            return Err(RackError::Unsupported(format!(
                "service `{name}` runs an image, and the local engine has none"
            )));
        }
        if !service.ports.is_empty() {
            return Err(RackError::Unsupported(format!(
                "service `{name}` has further `ports`: on the local engine a process has only $PORT"
            )));
        }
        if service.command.is_none() {
            return Err(RackError::Unsupported(format!(
                "service `{name}` has no `command`: the local engine has no image to take one from"
            )));
        }
    }
    Ok(())
}

async fn run_command(
    rack: &Rack,
    record: &BuildRecord,
    source: &Source,
    command: &CommandLine,
    output: &mut Output,
) -> Result<(), RackError> {
    output.say(&format!("running {command}"));
    let id = TaskId::Build(record.app.clone(), record.id.clone());
    let env = [
        ("APP", record.app.to_string()),
        ("BUILD", record.id.to_string()),
        ("BUILD_GIT_SHA", record.git_sha.clone().unwrap_or_default()),
    ];
    let log_dir = source.scratch().join("log");
    let spec = TaskSpec {
        id: id.clone(),
        process: ProcessSpec {
            argv: command.argv(),
            env: env
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Secret::new(value)))
                .collect(),
            path: Vec::new(),
            tree: Tree::Writable(source.tree()),
            volumes: Vec::new(),
            memory_bytes: BUILD_MEMORY_BYTES,
            cpu_millicores: 0,
            pids_max: BUILD_PIDS_MAX,
            stop_grace: Duration::from_secs(2),
            log_dir: log_dir.clone(),
            log_source: "build".to_owned(),
            log_bytes_max: BUILD_LOG_BYTES_MAX,
        },
        limit: BUILD_LIMIT,
    };
    rack.engine.run(&spec).await?;
    let exit = follow(rack, &id, &log_dir, output).await;
    let forgotten = rack.engine.forget_task(&id).await;
    let exit = exit?;
    if let Err(error) = forgotten {
        tracing::warn!(error = %with_causes(&error), "a build's task stays behind");
    }
    if exit.code != 0 {
        return Err(RackError::Unsupported(exit_words(&exit)));
    }
    Ok(())
}

/// Copies the command's output as it comes, until it ends.
async fn follow(
    rack: &Rack,
    id: &TaskId,
    log_dir: &Path,
    output: &mut Output,
) -> Result<Exit, RackError> {
    let filter = crate::logs::Filter::default();
    let mut tail = crate::logs::Tail::default();
    let hints = rack.engine.hints();
    loop {
        let seen = rack.engine.observe().await?;
        for line in tail.more(log_dir, &filter) {
            output.line(&line);
        }
        match seen.tasks.get(id) {
            Some(TaskStatus::Ended(exit)) => {
                for line in tail.more(log_dir, &filter) {
                    output.line(&line);
                }
                return Ok(*exit);
            }
            Some(TaskStatus::Running) => {}
            None => {
                return Err(RackError::Unsupported(
                    "the build's process is gone".to_owned(),
                ));
            }
        }
        let _ = tokio::time::timeout(LOOK_PAUSE, hints.notified()).await;
    }
}

fn exit_words(exit: &Exit) -> String {
    match exit.cause {
        ExitCause::OutOfMemory => format!(
            "the build command needed more than {} MB of memory",
            BUILD_MEMORY_BYTES >> 20
        ),
        ExitCause::ExecFailed => "the build command could not be executed".to_owned(),
        ExitCause::Lost => "the build command's supervisor died".to_owned(),
        ExitCause::Own => match exit.signal {
            Some(signal) => format!("the build command was ended by signal {signal}"),
            None => format!("the build command exited with {}", exit.code),
        },
    }
}

/// Records the build and its release in one transaction.
async fn finish(rack: &Rack, record: &BuildRecord, source: &Source) -> Result<(), RackError> {
    let app = &record.app;
    let _one_at_a_time = rack.env_changes.lock().await;
    let base = rack.base_release(app).await?;
    let env = match &base {
        Some(release) => rack.releases.env(release)?,
        None => Env::new(),
    };
    let release = ReleaseRecord {
        id: new_release_id()?,
        app: app.clone(),
        build: Some(record.id.clone()),
        parent: base.map(|release| release.id),
        created: wall(),
        description: record.description.clone(),
        actor: record.actor.clone(),
        env: rack.releases.seal(app, &env)?,
        rollback_of: None,
    };
    let complete = BuildRecord {
        status: BuildStatus::Complete,
        ended: Some(wall()),
        manifest: Some(source.manifest_record()),
        release: Some(release.id.clone()),
        warnings: source.warnings.clone(),
        ..record.clone()
    };
    let mut commit = Commit::new(app, StateChange::None);
    commit
        .events
        .push(build_event(rack, app, &complete, Some(&release.id)));
    commit.builds.push(complete);
    commit.releases.push(release);
    Ok(rack.store.commit(commit, rack.clock.now()).await?)
}

async fn fail(rack: &Rack, record: BuildRecord, manifest: (String, String), why: String) {
    let failed = BuildRecord {
        status: BuildStatus::Failed,
        ended: Some(wall()),
        reason: Some(why),
        manifest: Some(manifest),
        ..record
    };
    let app = failed.app.clone();
    let mut commit = Commit::new(&app, StateChange::None);
    commit.events.push(build_event(rack, &app, &failed, None));
    commit.builds.push(failed);
    if let Err(error) = rack.store.commit(commit, rack.clock.now()).await {
        // The next start of the rack marks it failed.
        tracing::error!(error = %with_causes(&error), "a failed build could not be recorded");
    }
}

fn build_event(
    rack: &Rack,
    app: &AppName,
    record: &BuildRecord,
    release: Option<&ReleaseId>,
) -> crate::store::Event {
    let actor = crate::commands::Actor(record.actor.clone());
    let text = match (release, &record.reason) {
        (Some(release), _) => format!("build {} made {release}", record.id),
        (None, Some(reason)) => format!("build {} failed: {reason}", record.id),
        (None, None) => format!("build {} failed", record.id),
    };
    rack.event(app, &actor, "build:create", text)
}

/// Marks builds failed that a dead rack left running, and sweeps what they left.
pub(crate) async fn clean_up(rack: &Rack) -> Result<(), RackError> {
    for record in rack.store.running_builds().await? {
        let id = TaskId::Build(record.app.clone(), record.id.clone());
        rack.engine.stop_task(&id).await?;
        let _ = std::fs::remove_dir_all(rack.layout.slug(&record.app, &record.id));
        let failed = BuildRecord {
            status: BuildStatus::Failed,
            ended: Some(wall()),
            reason: Some("the rack ended while it ran".to_owned()),
            ..record
        };
        let app = failed.app.clone();
        let mut commit = Commit::new(&app, StateChange::None);
        commit.builds.push(failed);
        rack.store.commit(commit, rack.clock.now()).await?;
    }
    sweep_deleted(rack);
    let scratch = rack.layout.scratch();
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).map_err(RackError::io("make the scratch directory"))
}

/// Removes what a crash left of apps that were deleted. Volumes are elsewhere and stay.
fn sweep_deleted(rack: &Rack) {
    let apps = rack.store.snapshot();
    let known = |name: &str| apps.apps.keys().any(|app| app.as_str() == name);
    let entries = std::fs::read_dir(rack.layout.apps())
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        if !known(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
