//! Variables: each change is one new release, and none is ever shown in a description.

use std::collections::{BTreeMap, BTreeSet};

use hoist_core::describe::EnvChange;
use hoist_core::id::{AppName, ReleaseId};
use hoist_core::lineage::Start;
use hoist_core::manifest::{check_env_name, check_env_value};

use super::Actor;
use crate::clock::wall;
use crate::error::RackError;
use crate::rack::Rack;
use crate::releases::new_release_id;
use crate::secrets::Env;
use crate::store::ReleaseRecord;

/// Bytes that all variables of a release may have together.
const ENV_BYTES_MAX: usize = 1 << 20;

/// How the variables of the next release differ.
#[derive(Debug, Clone, Default)]
pub struct EnvUpdate {
    /// Variables to set.
    pub set: BTreeMap<String, String>,
    /// Variables to remove.
    pub unset: BTreeSet<String>,
    /// Refuse when another release would be changed than this one.
    pub expected: Option<String>,
    /// The release to change.
    pub start: Start,
}

impl Rack {
    /// The environment that the next release starts from, and the release that has it.
    pub async fn env(
        &self,
        app: &AppName,
        start: &Start,
    ) -> Result<(Option<ReleaseId>, Env), RackError> {
        match self.base_release(app, start).await? {
            Some(release) => {
                let env = self.releases.env(&release)?;
                Ok((Some(release.id), env))
            }
            None => Ok((None, Env::new())),
        }
    }

    /// Sets and removes variables: one new release, which is not promoted. Two callers at once lose nothing: the second
    /// builds on the first, or is told when it named the release it saw.
    pub async fn update_env(
        &self,
        app: &AppName,
        update: EnvUpdate,
        actor: &Actor,
    ) -> Result<ReleaseRecord, RackError> {
        let EnvUpdate {
            set,
            unset,
            expected,
            start,
        } = update;
        for (name, value) in &set {
            check_env_name(name)?;
            check_env_value(name, value)?;
        }
        let _one_at_a_time = self.env_changes.lock().await;
        let entry = self.app(app)?;
        if matches!(
            entry.app.standing,
            hoist_core::model::Standing::Deleting { .. }
        ) {
            return Err(hoist_core::plan::CommandError::Deleting.into());
        }
        let base = self.base_release(app, &start).await?;
        if let Some(expected) = expected {
            let found = base
                .as_ref()
                .map(|release| release.id.to_string())
                .unwrap_or_default();
            if found != expected {
                return Err(RackError::EnvMoved { expected, found });
            }
        }
        let before = match &base {
            Some(release) => self.releases.env(release)?,
            None => Env::new(),
        };
        if let Some(missing) = unset.iter().find(|name| !before.contains_key(*name)) {
            return Err(RackError::Invalid(format!("`{missing}` is not set")));
        }
        let mut after = before.clone();
        after.retain(|name, _| !unset.contains(name));
        after.extend(set);
        let bytes: usize = after
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > ENV_BYTES_MAX {
            return Err(RackError::EnvTooLarge {
                app: app.clone(),
                limit_bytes: ENV_BYTES_MAX,
            });
        }
        let change = EnvChange::between(&before, &after);
        if change.is_empty()
            && let Some(base) = base
        {
            // What is there is what was asked for.
            return Ok(base);
        }
        let release = ReleaseRecord {
            id: new_release_id()?,
            app: app.clone(),
            build: base.as_ref().and_then(|release| release.build.clone()),
            parent: base.map(|release| release.id),
            created: wall(),
            description: change.to_string(),
            actor: actor.0.clone(),
            env: self.releases.seal(app, &after)?,
            rollback_of: None,
        };
        self.record_release(&release, actor).await?;
        Ok(release)
    }
}
