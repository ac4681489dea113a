//! Source turned into a slug: unpacked, checked, its build command run in isolation, then moved into place.
//!
//! A failing build creates no release and leaves nothing but its log.

mod cache;
mod command;
mod contents;
mod listing;
mod output;
mod printed;
mod reading;
mod source;
mod stops;
mod toolchain;
mod unpack;

use std::collections::BTreeMap;
use std::sync::Arc;

use hoist_core::detect;
use hoist_core::id::{AppName, ReleaseId};
use hoist_core::lineage::Start;
use hoist_core::manifest::{self, CommandLine, EnvSource};
use hoist_core::model::TaskStatus;
use hoist_engine::TaskId;

use crate::clock::wall;
use crate::error::{RackError, with_causes};
use crate::rack::Rack;
use crate::releases::{new_build_id, new_release_id};
use crate::secrets::Env;
use crate::store::{BuildRecord, BuildStatus, Commit, ReleaseRecord, StateChange};

use cache::Cache;
pub(crate) use cache::{CACHE_BYTES_MAX, Turns};
use command::Command;
pub(crate) use command::{BUILD_LIMIT, BUILD_MEMORY_BYTES, BUILD_PIDS_MAX};
pub(crate) use contents::Contents;
pub(crate) use listing::{Content, Digest, Item, Listing, Mode, SOURCE_BYTES_MAX};
use output::Output;
pub(crate) use source::{Origin, Source, chosen, inputs};
pub(crate) use stops::{Stop, Stops};

/// What is wanted of a build beside its source.
pub(crate) struct Wanted {
    /// Begin with an empty cache.
    pub(crate) no_cache: bool,
    /// The release that the new one is made from.
    pub(crate) start: Start,
}

/// What a build goes by beside its source.
struct Settings {
    wanted: Wanted,
    /// The env of the release that it will make, as far as it is known.
    env: Env,
    /// Variables that `app.json` sets in it: whether it keeps them in step, and the value.
    added: BTreeMap<String, (bool, String)>,
    /// Whether somebody wants it to end.
    stop: Stop,
}

/// Runs a build to its end, which is recorded whatever happens.
pub(crate) async fn run(
    rack: Arc<Rack>,
    record: BuildRecord,
    source: Source,
    wanted: Wanted,
    stop: Stop,
) {
    let mut output = Output::create(&rack.layout.build_log(&record.app, &record.id));
    let mut settings = Settings {
        wanted,
        env: Env::new(),
        added: BTreeMap::new(),
        stop,
    };
    let ended = in_turn(&rack, &record, &source, &mut settings, &mut output).await;
    if let Err(error) = ended {
        let manifest = source.manifest_record();
        let (status, why) = match settings.stop.asked() {
            Some(actor) => (BuildStatus::Cancelled, format!("cancelled by {actor}")),
            None => (BuildStatus::Failed, with_causes(&error)),
        };
        output.say(&match status {
            BuildStatus::Cancelled => why.clone(),
            _ => format!("build failed: {why}"),
        });
        let _ = std::fs::remove_dir_all(rack.layout.slug(&record.app, &record.id));
        end(&rack, record, status, Some(manifest), why).await;
    }
    source.remove();
}

/// Makes the slug and the release when it is the app's turn to build.
async fn in_turn(
    rack: &Rack,
    record: &BuildRecord,
    source: &Source,
    settings: &mut Settings,
    output: &mut Output,
) -> Result<(), RackError> {
    let _turn = match rack.build_turns.try_take(&record.app) {
        Some(turn) => turn,
        None => {
            output.say(&format!("waiting for another build of {}", record.app));
            tokio::select! {
                turn = rack.build_turns.take(&record.app) => turn,
                () = settings.stop.wanted() => return Err(RackError::BuildCancelled),
            }
        }
    };
    make(rack, record, source, settings, output).await?;
    if settings.stop.asked().is_some() {
        return Err(RackError::BuildCancelled);
    }
    finish(rack, record, source, settings).await
}

async fn make(
    rack: &Rack,
    record: &BuildRecord,
    source: &Source,
    settings: &mut Settings,
    output: &mut Output,
) -> Result<(), RackError> {
    output.say(&source.words());
    for warning in source.warnings() {
        output.say(&format!("warning: {warning}"));
    }
    refuse_what_needs_images(source)?;
    fill_env(rack, record, source, settings, output).await?;
    run_commands(rack, record, source, settings, output).await?;
    let slug = rack.layout.slug(&record.app, &record.id);
    if let Some(parent) = slug.parent() {
        std::fs::create_dir_all(parent).map_err(RackError::io("make the slug's directory"))?;
    }
    std::fs::rename(source.tree(), &slug).map_err(RackError::io("move the slug into place"))?;
    output.say("slug complete");
    Ok(())
}

/// Finds out the variables that `app.json` sets, before anything is run: the operator may have to set some first.
async fn fill_env(
    rack: &Rack,
    record: &BuildRecord,
    source: &Source,
    settings: &mut Settings,
    output: &mut Output,
) -> Result<(), RackError> {
    let base = rack
        .base_release(&record.app, &settings.wanted.start)
        .await?;
    let before = rack.releases.env_of(base.as_ref())?;
    let first = base.is_none_or(|release| release.build.is_none());
    let asked = &source.manifest().app_json;
    let secrets = asked
        .env
        .iter()
        .filter(|rule| rule.from == EnvSource::Secret);
    let mut secrets = secrets
        .map(|_| random_word())
        .collect::<Result<Vec<_>, _>>()?;
    settings.env = before;
    let secret = || secrets.pop().unwrap_or_default();
    let names = asked
        .fill(&mut settings.env, first, secret)
        .map_err(RackError::MissingAppEnv)?;
    if !names.is_empty() {
        output.say(&format!("app.json sets {}", names.join(", ")));
    }
    for rule in &asked.env {
        if names.contains(&rule.name) {
            let value = settings.env.get(&rule.name).cloned().unwrap_or_default();
            settings.added.insert(rule.name.clone(), (rule.sync, value));
        }
    }
    Ok(())
}

/// 64 hexadecimal digits that nobody can guess.
fn random_word() -> Result<String, RackError> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| RackError::Secret(crate::secrets::SecretError::Random))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn refuse_what_needs_images(source: &Source) -> Result<(), RackError> {
    for (name, service) in &source.manifest().services {
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

/// What makes the tree a slug: the manifest's own command, or what its language needs.
async fn run_commands(
    rack: &Rack,
    record: &BuildRecord,
    source: &Source,
    settings: &Settings,
    output: &mut Output,
) -> Result<(), RackError> {
    let dir = rack.layout.cache(&record.app);
    if settings.wanted.no_cache {
        let _ = std::fs::remove_dir_all(&dir);
        output.say("the build cache was emptied");
    }
    let cache = Cache::prepare(&dir, &source.tree(), rack.engine.capabilities())?;
    let system = [
        ("APP", record.app.to_string()),
        ("BUILD", record.id.to_string()),
        ("BUILD_GIT_SHA", record.git_sha.clone().unwrap_or_default()),
    ];
    let system: Env = system
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let runtime = source.runtime();
    let command = |id, what, argv, env, log: &str| Command {
        id: TaskId::Build(record.app.clone(), id),
        what,
        argv,
        env,
        path: runtime.path.clone(),
        tree: source.tree(),
        log_dir: source.scratch().join(log),
        cache: &cache,
        stop: &settings.stop,
    };
    if let Some(argv) = argv(source, output)? {
        let build = command(
            record.id.clone(),
            "the build command",
            argv,
            system.clone(),
            "log",
        );
        command::run(rack, build, output).await?;
    }
    if let Some(script) = &source.manifest().app_json.predeploy {
        output.say(&format!("running predeploy: {script}"));
        let env = predeploy_env(source, system, &settings.env)?;
        let (id, what) = (new_build_id()?, "the predeploy script");
        let predeploy = command(id, what, script.argv(), env, "log-predeploy");
        command::run(rack, predeploy, output).await?;
    }
    let tree = source.tree();
    let tidied = tokio::task::spawn_blocking(move || cache.tidy(&tree)).await;
    if let Ok(Some(words)) = tidied {
        output.say(&words);
    }
    Ok(())
}

/// Says what is run, and gives it; nothing when the source is the slug.
fn argv(source: &Source, output: &mut Output) -> Result<Option<Vec<String>>, RackError> {
    if let Some(command) = &source.manifest().build.command {
        output.say(&format!("running {command}"));
        return Ok(Some(command.argv()));
    }
    let Some(detected) = source.detected() else {
        output.say("no build command, no known language: the source is the slug");
        return Ok(None);
    };
    detected.words().iter().for_each(|words| output.say(words));
    toolchain::check(&detected.plan.tools)?;
    for warning in &detected.plan.warnings {
        output.say(&format!("warning: {warning}"));
    }
    for (name, text) in &detected.plan.files {
        let path = source.tree().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(RackError::io(format!("write {name}")))?;
        }
        std::fs::write(&path, text).map_err(RackError::io(format!("write {name}")))?;
    }
    Ok(detect::script(&detected.plan.steps).map(|script| CommandLine::Shell(script).argv()))
}

/// The predeploy script sees what processes of the release will, of `web` or else of the first service.
fn predeploy_env(source: &Source, system: Env, env: &Env) -> Result<Env, RackError> {
    let mut below = source.runtime().env;
    below.extend(system);
    let services = &source.manifest().services;
    let web = services.iter().find(|(name, _)| name.as_str() == "web");
    let Some((name, service)) = web.or(services.first()) else {
        return Ok(below);
    };
    manifest::process_env(service, env, &below).map_err(|source| RackError::MissingEnv {
        service: name.clone(),
        source,
    })
}

/// Records the build and its release in one transaction.
async fn finish(
    rack: &Rack,
    record: &BuildRecord,
    source: &Source,
    settings: &Settings,
) -> Result<(), RackError> {
    let app = &record.app;
    let _one_at_a_time = rack.env_changes.lock().await;
    let base = rack.base_release(app, &settings.wanted.start).await?;
    let mut env = rack.releases.env_of(base.as_ref())?;
    for (name, (sync, value)) in &settings.added {
        if *sync || !env.contains_key(name) {
            env.insert(name.clone(), value.clone());
        }
    }
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
        warnings: source.warnings(),
        app_json: source.app_json(),
        runtime: source.runtime(),
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

/// Records that a build ended without a release.
pub(crate) async fn end(
    rack: &Rack,
    record: BuildRecord,
    status: BuildStatus,
    manifest: Option<(String, String)>,
    why: String,
) {
    let ended = BuildRecord {
        status,
        ended: Some(wall()),
        reason: Some(why),
        manifest,
        ..record
    };
    let app = ended.app.clone();
    let mut commit = Commit::new(&app, StateChange::None);
    commit.events.push(build_event(rack, &app, &ended, None));
    commit.builds.push(ended);
    if let Err(error) = rack.store.commit(commit, rack.clock.now()).await {
        // The next start of the rack marks it failed.
        tracing::error!(error = %with_causes(&error), "the end of a build could not be recorded");
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
        (None, Some(reason)) if record.status == BuildStatus::Cancelled => {
            format!("build {} was {reason}", record.id)
        }
        (None, Some(reason)) => format!("build {} failed: {reason}", record.id),
        (None, None) => format!("build {} failed", record.id),
    };
    rack.event(app, &actor, "build:create", text)
}

/// Marks builds failed that a dead rack left running, and sweeps what they left.
pub(crate) async fn clean_up(rack: &Rack) -> Result<(), RackError> {
    // No build goes on without its rack, and none has begun yet.
    for (id, status) in rack.engine.observe().await?.tasks {
        match (&id, status) {
            (TaskId::Build(..), TaskStatus::Running) => rack.engine.stop_task(&id).await?,
            (TaskId::Build(..), TaskStatus::Ended(_)) => rack.engine.forget_task(&id).await?,
            _ => {}
        }
    }
    for record in rack.store.running_builds().await? {
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
    let known = |name: &str| {
        let name = name.parse::<AppName>();
        name.is_ok_and(|name| apps.apps.contains_key(&name))
    };
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
