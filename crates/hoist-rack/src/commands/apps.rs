//! Creating apps. Their hosts must be free: hosts are looked up in a table, never taken apart.

use hoist_core::id::{AppName, ServiceName};
use hoist_core::plan;

use super::Actor;
use crate::error::RackError;
use crate::rack::Rack;
use crate::store::{Commit, StateChange, StoreError};

impl Rack {
    /// Creates an app.
    pub async fn create(&self, name: &AppName, actor: &Actor) -> Result<(), RackError> {
        self.refuse_taken_name(name)?;
        let ticket = self.sequence.ticket().await?;
        let app = plan::create(name.clone(), ticket.version);
        let mut commit = Commit::new(name, StateChange::Create(Box::new(app)));
        commit
            .events
            .push(self.event(name, actor, "app:create", "created".to_owned()));
        match self.store.commit(commit, self.clock.now()).await {
            Err(StoreError::Conflict) => Err(RackError::AppExists(name.clone())),
            other => Ok(other?),
        }
    }

    /// An app `a.b` would share hosts with service `a` of an app `b`.
    pub(super) fn refuse_taken_name(&self, name: &AppName) -> Result<(), RackError> {
        let host = format!("{name}.{}", self.options.domain);
        if let Some((host, owner)) = self
            .controller
            .hosts()
            .into_iter()
            .find(|(known, owner)| *known == host && owner != name)
        {
            return Err(RackError::HostTaken { host, owner });
        }
        let state = self.store.snapshot();
        if state.apps.contains_key(name) {
            return Err(RackError::AppExists(name.clone()));
        }
        let label_of =
            |app: &AppName, service: &ServiceName| format!("{}.{app}", service.host_label());
        for (owner, entry) in &state.apps {
            let services = entry
                .app
                .releases
                .values()
                .flat_map(|release| release.services.keys());
            for service in services {
                if label_of(owner, service) == name.as_str() {
                    let owner = owner.clone();
                    return Err(RackError::HostTaken { host, owner });
                }
            }
        }
        Ok(())
    }

    /// Names of an app's volumes, which outlive it.
    pub fn volumes(&self, app: &AppName) -> Vec<String> {
        let entries = std::fs::read_dir(self.layout.volumes(app))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
