//! From a release's rows to what engines and the planner need of it. The only place that opens environments.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hoist_core::id::{AppName, BuildId, ReleaseId, ServiceName, Version};
use hoist_core::limits;
use hoist_core::manifest::{self, Dialect, Manifest, Service};
use hoist_core::model::{Fingerprint, Limits, Millis, Release, Workload};
use hoist_engine::{ProcessSpec, RestartPolicy, Secret, TaskId, TaskSpec, Tree, WorkloadSpec};
use sha2::{Digest, Sha256};

use crate::control::{Check, Liveness, Question};
use crate::error::RackError;
use crate::layout::Layout;
use crate::secrets::{Env, Keyring};
use crate::store::{BuildRecord, ReleaseRecord, Store};

/// Bytes of log that one process may keep before its oldest lines go.
pub(crate) const PROCESS_LOG_BYTES_MAX: u64 = 16 << 20;

/// What lines of a postdeploy script are of in the log.
pub(crate) const POSTDEPLOY_SOURCE: &str = "postdeploy";

/// A release with its build and its manifest, read with the release's own environment.
pub struct ReleaseDetail {
    /// The release.
    pub record: ReleaseRecord,
    /// Its build.
    pub build: BuildRecord,
    /// What the build's manifest says under this environment.
    pub manifest: Manifest,
}

/// Reads releases and keeps those in use at hand.
pub struct Releases {
    store: Arc<Store>,
    keyring: Arc<Keyring>,
    layout: Layout,
    rack: String,
    known: Mutex<HashMap<ReleaseId, Arc<ReleaseDetail>>>,
}

impl Releases {
    /// Of one store.
    pub fn new(store: Arc<Store>, keyring: Arc<Keyring>, layout: Layout, rack: String) -> Self {
        Self {
            store,
            keyring,
            layout,
            rack,
            known: Mutex::new(HashMap::new()),
        }
    }

    /// A release, complete enough to be promoted.
    pub async fn detail(
        &self,
        app: &AppName,
        id: &ReleaseId,
    ) -> Result<Arc<ReleaseDetail>, RackError> {
        // Known by its id alone: a release of another app is none of this one's.
        if let Some(known) = self.known(id).filter(|known| known.record.app == *app) {
            return Ok(known);
        }
        let record =
            self.store
                .release(app, id)
                .await?
                .ok_or_else(|| RackError::NoReleaseNamed {
                    app: app.clone(),
                    release: id.clone(),
                })?;
        let build = record
            .build
            .clone()
            .ok_or(RackError::NotBuilt(id.clone()))?;
        let build = self
            .store
            .build(app, &build)
            .await?
            .ok_or(RackError::NotBuilt(id.clone()))?;
        let (file, text) = build
            .manifest
            .as_ref()
            .ok_or(RackError::NotBuilt(id.clone()))?;
        let env = self.keyring.open_env(app, &record.env)?;
        let read = manifest::read_with(Dialect::of_file(file), file, text, &env);
        let (mut manifest, _) = read.map_err(|source| RackError::ReleaseManifest {
            release: id.clone(),
            source,
        })?;
        if let Some(text) = &build.app_json {
            manifest::read_app_json(text, &mut manifest)?;
        }
        let detail = Arc::new(ReleaseDetail {
            record,
            build,
            manifest,
        });
        self.lock().insert(id.clone(), detail.clone());
        Ok(detail)
    }

    /// A release that was read before.
    pub fn known(&self, id: &ReleaseId) -> Option<Arc<ReleaseDetail>> {
        self.lock().get(id).cloned()
    }

    /// Forgets releases that nothing names any more.
    pub fn retain(&self, named: impl Fn(&ReleaseId) -> bool) {
        self.lock().retain(|id, _| named(id));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ReleaseId, Arc<ReleaseDetail>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The variables that a release starts from: of its base, or none.
    pub fn env_of(&self, base: Option<&ReleaseRecord>) -> Result<Env, RackError> {
        base.map_or_else(|| Ok(Env::new()), |base| self.env(base))
    }

    /// The variables of a release, opened.
    pub fn env(&self, record: &ReleaseRecord) -> Result<Env, RackError> {
        Ok(self.keyring.open_env(&record.app, &record.env)?)
    }

    /// Seals variables for a release of `app`.
    pub fn seal(&self, app: &AppName, env: &Env) -> Result<Vec<u8>, RackError> {
        Ok(self.keyring.seal(app, env)?)
    }

    /// The planner's view. Fails when the environment lacks what the manifest requires.
    pub fn planned(&self, detail: &ReleaseDetail) -> Result<Release, RackError> {
        let mut fingerprints = BTreeMap::new();
        for (name, service) in &detail.manifest.services {
            fingerprints.insert(name.clone(), self.fingerprint(detail, name, service)?);
        }
        manifest::to_release(
            &detail.manifest,
            detail.record.id.clone(),
            detail.build.id.clone(),
            &fingerprints,
        )
        .map_err(|error| RackError::Invalid(error.to_string()))
    }

    /// What an engine needs to hold a workload.
    pub fn workload(
        &self,
        detail: &ReleaseDetail,
        workload: &Workload,
    ) -> Result<WorkloadSpec, RackError> {
        let name = &workload.id.service;
        let service = detail
            .manifest
            .service(name)
            .ok_or_else(|| RackError::NoService {
                app: workload.id.app.clone(),
                service: name.clone(),
            })?;
        let argv = service
            .command
            .as_ref()
            .map(manifest::CommandLine::argv)
            .ok_or_else(|| RackError::Unsupported(format!("service `{name}` has no command")))?;
        let source = format!("service/{name}");
        Ok(WorkloadSpec {
            id: workload.id.clone(),
            release: workload.release.clone(),
            process: self.process(detail, name, service, argv, source, workload.limits)?,
            port: service.port.is_some(),
            restart: RestartPolicy::Always,
        })
    }

    /// The release command of a promotion, with the env and limits of `web`, or of the first service without one. At the
    /// app's first deploy, what `app.json` wants then goes with it.
    pub fn release_command(
        &self,
        detail: &ReleaseDetail,
        promotion: Version,
        limit: Duration,
        first: bool,
    ) -> Result<Option<TaskSpec>, RackError> {
        let every = detail.manifest.release_command.iter();
        let once = detail.manifest.app_json.first_deploy.iter();
        let commands: Vec<_> = every.chain(once.filter(|_| first)).collect();
        let argv = manifest::CommandLine::in_turn(&commands);
        let id = TaskId::ReleaseCommand(detail.record.app.clone(), promotion);
        self.as_web(detail, id, argv, "release", limit)
    }

    /// The postdeploy script of a promotion, as a release command is run.
    pub fn postdeploy(
        &self,
        detail: &ReleaseDetail,
        promotion: Version,
    ) -> Result<Option<TaskSpec>, RackError> {
        let Some(command) = &detail.manifest.app_json.postdeploy else {
            return Ok(None);
        };
        let id = TaskId::Postdeploy(detail.record.app.clone(), promotion);
        let limit = limits::POSTDEPLOY_LIMIT.into();
        self.as_web(detail, id, command.argv(), POSTDEPLOY_SOURCE, limit)
    }

    /// A task with the env, user and limits of `web`, or of the first service without one; none when there is no service.
    fn as_web(
        &self,
        detail: &ReleaseDetail,
        id: TaskId,
        argv: Vec<String>,
        source: &str,
        limit: Duration,
    ) -> Result<Option<TaskSpec>, RackError> {
        let services = &detail.manifest.services;
        let web = services.iter().find(|(name, _)| name.as_str() == "web");
        let Some((name, service)) = web.or(services.first()) else {
            return Ok(None);
        };
        let limits = self.limits_of(&detail.record.app, name);
        let process = self.process(detail, name, service, argv, source.to_owned(), limits)?;
        Ok(Some(TaskSpec { id, process, limit }))
    }

    /// A command of its own with the env, user, limits and volumes of a service, and further variables. It has no port.
    pub fn one_off(
        &self,
        detail: &ReleaseDetail,
        name: &ServiceName,
        id: TaskId,
        argv: Vec<String>,
        variables: Vec<(String, Secret)>,
    ) -> Result<TaskSpec, RackError> {
        let app = &detail.record.app;
        let service = detail.manifest.service(name).ok_or_else(|| {
            let known = detail.manifest.services.iter();
            RackError::NotAService {
                release: detail.record.id.clone(),
                service: name.clone(),
                known: known.map(|(name, _)| name.clone()).collect(),
            }
        })?;
        if !self.layout.slug(app, &detail.build.id).is_dir() {
            return Err(RackError::NoSlug(detail.record.id.clone()));
        }
        let (source, limits) = (format!("service/{name}"), self.limits_of(app, name));
        let mut process = self.process(detail, name, service, argv, source, limits)?;
        let replaced = |name: &str| variables.iter().any(|(other, _)| other == name);
        process
            .env
            .retain(|(name, _)| name != "PORT" && !replaced(name));
        process.env.extend(variables);
        Ok(TaskSpec {
            id,
            process,
            limit: limits::ONE_OFF_LIMIT.into(),
        })
    }

    /// What an operator wants of a service's limits now.
    fn limits_of(&self, app: &AppName, service: &ServiceName) -> Limits {
        let entry = self.store.app(app);
        let limits = entry.and_then(|entry| entry.app.limits.get(service).copied());
        limits.unwrap_or_default()
    }

    fn process(
        &self,
        detail: &ReleaseDetail,
        name: &ServiceName,
        service: &Service,
        argv: Vec<String>,
        log_source: String,
        limits: Limits,
    ) -> Result<ProcessSpec, RackError> {
        let app = &detail.record.app;
        let env = self.process_env(detail, name, service, true)?;
        Ok(ProcessSpec {
            argv,
            env: env
                .into_iter()
                .map(|(key, value)| (key, Secret::new(value)))
                .collect(),
            path: detail.build.runtime.path.clone(),
            tree: Tree::Slug(self.layout.slug(app, &detail.build.id)),
            volumes: service
                .volumes
                .iter()
                .map(|volume| (self.layout.volume(app, &volume.name), volume.path.clone()))
                .collect(),
            memory_bytes: limits.memory_bytes.unwrap_or(service.memory_bytes),
            cpu_millicores: limits
                .cpu_millicores
                .unwrap_or(service.cpu_millicores)
                .into(),
            pids_max: 0,
            background: false,
            stop_grace: service.stop_grace.into(),
            log_dir: self.layout.logs(app),
            log_source,
            log_bytes_max: PROCESS_LOG_BYTES_MAX,
        })
    }

    /// Everything but `PORT`, which is the engine's.
    fn process_env(
        &self,
        detail: &ReleaseDetail,
        name: &ServiceName,
        service: &Service,
        with_release: bool,
    ) -> Result<Env, RackError> {
        let mut system = detail.build.runtime.env.clone();
        system.extend([
            ("RACK".to_owned(), self.rack.clone()),
            ("APP".to_owned(), detail.record.app.to_string()),
            ("BUILD".to_owned(), detail.build.id.to_string()),
            (
                "BUILD_DESCRIPTION".to_owned(),
                detail.build.description.clone(),
            ),
            (
                "BUILD_GIT_SHA".to_owned(),
                detail.build.git_sha.clone().unwrap_or_default(),
            ),
            ("SERVICE".to_owned(), name.to_string()),
        ]);
        if with_release {
            system.insert("RELEASE".to_owned(), detail.record.id.to_string());
        }
        let env = self.env(&detail.record)?;
        manifest::process_env(service, &env, &system).map_err(|source| RackError::MissingEnv {
            service: name.clone(),
            source,
        })
    }

    /// Digests all that a process is started with, `RELEASE` aside.
    fn fingerprint(
        &self,
        detail: &ReleaseDetail,
        name: &ServiceName,
        service: &Service,
    ) -> Result<Fingerprint, RackError> {
        let mut digest = Sha256::new();
        let mut add = |part: &str| {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        };
        for (key, value) in self.process_env(detail, name, service, false)? {
            add(&key);
            add(&value);
        }
        let argv = service.command.as_ref().map(manifest::CommandLine::argv);
        argv.unwrap_or_default().iter().for_each(|word| add(word));
        for volume in &service.volumes {
            add(&volume.name);
            add(&volume.path);
        }
        let runtime = &detail.build.runtime;
        runtime.path.iter().for_each(|dir| add(dir));
        add(&format!(
            "{} {} {} {:?}",
            service.memory_bytes, service.cpu_millicores, service.stop_grace.0, service.port
        ));
        Ok(Fingerprint(digest.finalize().into()))
    }
}

/// How processes of a service are asked whether they are ready.
pub(crate) fn check_of(service: &Service) -> Check {
    Check {
        question: question_of(service, &service.health.check),
        timeout: service.health.timeout.into(),
        interval: service.health.interval.max(Millis(1_000)).into(),
    }
}

fn question_of(service: &Service, check: &manifest::Check) -> Question {
    match (check, service.port.is_some()) {
        (manifest::Check::Command(command), _) => Question::Command(command.argv()),
        (_, false) => Question::Age(limits::READY_AFTER.into()),
        (manifest::Check::Unset, true) => Question::AnyAnswer {
            path: "/".to_owned(),
        },
        (manifest::Check::Path(path), true) => Question::GoodAnswer { path: path.clone() },
        (manifest::Check::Disabled, true) => Question::Accepts,
    }
}

/// How they are asked before, until the first good answer.
pub(crate) fn startup_of(service: &Service) -> Option<Check> {
    service.startup.as_ref().map(|startup| Check {
        question: question_of(service, &startup.check),
        timeout: startup.timeout.into(),
        interval: startup.interval.unwrap_or_default().into(),
    })
}

/// How they are asked whether they live.
pub(crate) fn liveness_of(service: &Service) -> Option<Liveness> {
    service.liveness.as_ref().map(|liveness| Liveness {
        check: Check {
            question: question_of(service, &liveness.check),
            timeout: liveness.timeout.into(),
            interval: liveness.interval.max(Millis(1_000)).into(),
        },
        grace: liveness.grace.into(),
        failures: liveness.failures,
        successes: liveness.successes,
    })
}

/// Names of builds and releases that a fresh random source makes.
pub(crate) fn new_build_id() -> Result<BuildId, RackError> {
    Ok(BuildId::from_random(random()?))
}

/// See [`new_build_id`].
pub(crate) fn new_release_id() -> Result<ReleaseId, RackError> {
    Ok(ReleaseId::from_random(random()?))
}

fn random() -> Result<[u8; 16], RackError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| RackError::Secret(crate::secrets::SecretError::Random))?;
    Ok(bytes)
}
