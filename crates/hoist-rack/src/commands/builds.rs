//! Taking source and starting a build of it.

use std::path::Path;
use std::sync::Arc;

use hoist_core::describe;
use hoist_core::id::AppName;

use super::Actor;
use crate::build::{self, Source};
use crate::clock::wall;
use crate::error::RackError;
use crate::rack::Rack;
use crate::releases::new_build_id;
use crate::store::{BuildRecord, BuildStatus, Commit, StateChange};

/// What a build is asked for.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The user's own words; they win over the commit's.
    pub description: Option<String>,
    /// The commit, from a clean tree.
    pub git_sha: Option<String>,
    /// Its subject.
    pub git_message: Option<String>,
    /// Another manifest than the first of the known names.
    pub manifest: Option<String>,
}

impl Rack {
    /// Starts a build of an uploaded archive, which it takes over. Durable when it returns; the build itself goes on.
    pub async fn start_build(
        self: &Arc<Self>,
        app: &AppName,
        archive: &Path,
        request: BuildRequest,
        actor: &Actor,
    ) -> Result<BuildRecord, RackError> {
        let entry = self.app(app)?;
        if matches!(
            entry.app.standing,
            hoist_core::model::Standing::Deleting { .. }
        ) {
            return Err(hoist_core::plan::CommandError::Deleting.into());
        }
        let description = match (&request.description, &request.git_sha) {
            (Some(words), _) => describe::one_line(words),
            (None, Some(sha)) => {
                describe::commit(sha, request.git_message.as_deref().unwrap_or_default())
            }
            (None, None) => String::new(),
        };
        let record = BuildRecord {
            id: new_build_id()?,
            app: app.clone(),
            status: BuildStatus::Running,
            created: wall(),
            ended: None,
            description,
            git_sha: request.git_sha,
            actor: actor.0.clone(),
            reason: None,
            manifest: None,
            release: None,
            warnings: Vec::new(),
        };
        // What is no archive, or has no manifest, is refused before there is a build.
        let (_, env) = self.env(app).await?;
        let source = Source::open(&self.layout, &record.id, archive, request.manifest, env).await?;
        let mut commit = Commit::new(app, StateChange::None);
        let text = format!("started build {}", record.id);
        commit
            .events
            .push(self.event(app, actor, "build:start", text));
        commit.builds.push(record.clone());
        self.store.commit(commit, self.clock.now()).await?;
        let rack = self.clone();
        let running = record.clone();
        self.tasks
            .spawn(async move { build::run(rack, running, source).await });
        Ok(record)
    }
}
