//! Variables: each change is one new release, and none is ever shown in a description.

use std::collections::{BTreeMap, BTreeSet};

use hoist_core::describe::{EnvChange, one_line};
use hoist_core::id::{AppName, ReleaseId};
use hoist_core::lineage::Start;
use hoist_core::manifest::{ENV_BYTES_MAX, check_env_name, check_env_value};

use super::Actor;
use crate::clock::wall;
use crate::error::RackError;
use crate::rack::Rack;
use crate::releases::new_release_id;
use crate::secrets::Env;
use crate::store::ReleaseRecord;

/// Names that an app may mask.
const MASKED_MAX: usize = 500;

/// How the variables of the next release differ.
#[derive(Debug, Clone, Default)]
pub struct EnvUpdate {
    /// Variables to set.
    pub set: BTreeMap<String, String>,
    /// Variables to remove.
    pub unset: BTreeSet<String>,
    /// Remove every variable that is not set here.
    pub replace: bool,
    /// Refuse when the variables differ by now from those of this release; empty for those of no release.
    pub expected: Option<String>,
    /// The release to change.
    pub start: Start,
}

impl Rack {
    /// The environment that the next release starts from, or that of another one, and the release that has it.
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
        check(&update)?;
        let _one_at_a_time = self.env_changes.lock().await;
        self.refuse_deleting(app)?;
        let base = self.base_release(app, &update.start).await?;
        let before = self.releases.env_of(base.as_ref())?;
        if let Some(expected) = &update.expected {
            let found = base.as_ref().map(|release| &release.id);
            self.refuse_moved(app, expected, found, &before).await?;
        }
        let after = changed(app, &before, update)?;
        let bytes = after.iter().map(|(name, value)| name.len() + value.len());
        if bytes.sum::<usize>() > ENV_BYTES_MAX {
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
            description: one_line(&change.to_string()),
            actor: actor.0.clone(),
            env: self.releases.seal(app, &after)?,
            rollback_of: None,
        };
        self.record_release(&release, actor).await?;
        Ok(release)
    }

    /// Refuses when the variables are others than those of the release that the caller saw. A release that is newer and
    /// has the same ones, as a build's, harms nobody.
    async fn refuse_moved(
        &self,
        app: &AppName,
        expected: &str,
        found: Option<&ReleaseId>,
        present: &Env,
    ) -> Result<(), RackError> {
        if found.map(ReleaseId::as_str).unwrap_or_default() == expected {
            return Ok(());
        }
        let seen = match expected {
            "" => Env::new(),
            release => {
                let release = self.release(app, &release.parse()?).await?;
                self.releases.env(&release)?
            }
        };
        let change = EnvChange::between(&seen, present);
        if change.is_empty() {
            return Ok(());
        }
        Err(RackError::EnvMoved {
            app: app.clone(),
            found: found.cloned(),
            change,
        })
    }

    /// Names of variables whose values are shown only to who asks for them.
    pub fn masked(&self, app: &AppName) -> Result<BTreeSet<String>, RackError> {
        Ok(self.app(app)?.settings.masked.clone())
    }

    /// Masks names, and shows others again. Two callers at once lose nothing.
    pub async fn mask(
        &self,
        app: &AppName,
        set: BTreeSet<String>,
        unset: BTreeSet<String>,
        actor: &Actor,
    ) -> Result<BTreeSet<String>, RackError> {
        set.iter().try_for_each(|name| check_env_name(name))?;
        self.change(app, |after, at, _, commit| {
            // A newer one than the commit expects makes it a conflict, and this is decided again.
            let entry = self.refuse_deleting(app)?;
            let mut settings = entry.settings.clone();
            if let Some(name) = unset.iter().find(|name| !settings.masked.contains(*name)) {
                let app = app.clone();
                let (name, known) = (name.clone(), settings.masked);
                return Err(RackError::NotMasked { app, name, known });
            }
            settings.masked.retain(|name| !unset.contains(name));
            settings.masked.extend(set.iter().cloned());
            if settings.masked.len() > MASKED_MAX {
                return Err(RackError::Invalid(format!(
                    "an app can mask {MASKED_MAX} names, not {}",
                    settings.masked.len()
                )));
            }
            after.generation = at;
            let names: Vec<_> = settings.masked.iter().map(String::as_str).collect();
            let text = format!("masked: {}", names.join(" "));
            commit.events.push(self.event(app, actor, "env:mask", text));
            commit.settings = Some(settings.clone());
            Ok(settings.masked)
        })
        .await
    }
}

/// What is wrong with a change whatever it is made to.
fn check(update: &EnvUpdate) -> Result<(), RackError> {
    for (name, value) in &update.set {
        check_env_name(name)?;
        check_env_value(name, value)?;
    }
    let both = update.set.keys().find(|name| update.unset.contains(*name));
    if let Some(name) = both {
        let text = format!("`{name}` cannot be set and removed at once");
        return Err(RackError::Invalid(text));
    }
    if update.replace && update.set.is_empty() {
        return Err(RackError::NothingLeft);
    }
    Ok(())
}

/// The variables after a change.
fn changed(app: &AppName, before: &Env, update: EnvUpdate) -> Result<Env, RackError> {
    if let Some(name) = update.unset.iter().find(|name| !before.contains_key(*name)) {
        return Err(RackError::NotSet {
            app: app.clone(),
            name: name.clone(),
            known: before.keys().cloned().collect(),
        });
    }
    let mut after = before.clone();
    after.retain(|name, _| !update.replace && !update.unset.contains(name));
    after.extend(update.set);
    Ok(after)
}
