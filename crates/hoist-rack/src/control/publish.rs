//! Points traffic: computes the one route table of all apps and hands it to the router when it must.

use std::collections::BTreeMap;
use std::sync::Arc;

use hoist_core::id::{AppName, ReleaseId, ServiceName, Version};
use hoist_core::model::{App, Phase, RouteTable, ServiceRoute};
use hoist_core::plan;

use super::{Controller, Look};
use crate::error::with_causes;
use crate::store::RackState;

/// The last table that the router acknowledged.
#[derive(Debug, Clone, Default)]
pub(super) struct Published {
    table: RouteTable,
}

impl Published {
    pub(super) fn hosts(&self) -> Vec<(String, AppName)> {
        let hosts = self.table.hosts.iter();
        hosts
            .map(|(host, (app, _))| (host.clone(), app.clone()))
            .collect()
    }
}

impl Controller {
    /// Publishes a table when it says something new, when the router runs another one, or when an app waits for one that
    /// is newer than a decision. Answers whether it did.
    pub(super) async fn publish(self: &Arc<Self>, look: &Look) -> bool {
        // Before the first look at both, an empty table would say that nothing serves.
        let unseen = Version::default();
        if look.router.look == unseen || look.engine.look == unseen {
            return false;
        }
        let read = || self.store.snapshot();
        let Ok((version, state)) = self.sequence.look(read).await else {
            return false;
        };
        let table = self.table(&state, look, version);
        let newest = state
            .apps
            .values()
            .map(|entry| entry.app.routes_since)
            .max();
        let running = look.router.version;
        let same = {
            let published = &self.lock().published.table;
            published.version == running
                && published.hosts == table.hosts
                && published.services == table.services
        };
        if same && newest.is_none_or(|newest| newest < running) {
            return false;
        }
        match self.router.publish(&table).await {
            Ok(report) => {
                let mut own = self.lock();
                let taken = report.version == version;
                own.router_report = Some(report);
                if taken {
                    own.published.table = table;
                }
                taken
            }
            Err(error) => {
                self.lock().router_error = Some(with_causes(&error));
                false
            }
        }
    }

    fn table(&self, state: &RackState, look: &Look, version: Version) -> RouteTable {
        let mut table = RouteTable {
            version,
            ..RouteTable::default()
        };
        for entry in state.apps.values() {
            let app = &entry.app;
            let seen = self.observation(&app.name, look);
            for (service, target) in plan::route(app, &seen) {
                let Some((timeout, domains)) = self.service_words(app, &service) else {
                    continue;
                };
                for host in hosts(&app.name, &service, &self.domain).chain(domains) {
                    table
                        .hosts
                        .entry(host)
                        .or_insert_with(|| (app.name.clone(), service.clone()));
                }
                let route = ServiceRoute {
                    target,
                    timeout,
                    body_bytes_max: 0,
                    access_log: Some(self.layout.logs(&app.name).join("router.log")),
                };
                table.services.insert((app.name.clone(), service), route);
            }
        }
        table
    }

    /// What the manifest of the release in effect says of a service's route.
    fn service_words(
        &self,
        app: &App,
        service: &ServiceName,
    ) -> Option<(hoist_core::model::Millis, Vec<String>)> {
        let detail = effective_release(app).and_then(|id| self.releases.known(id))?;
        let found = detail.manifest.service(service)?;
        (!found.internal).then(|| (found.timeout, found.domains.clone()))
    }
}

/// The release whose routes are meant to be in effect.
fn effective_release(app: &App) -> Option<&ReleaseId> {
    match &app.promotion {
        Some(promotion) if matches!(promotion.phase, Phase::Shifting | Phase::Draining) => {
            Some(&promotion.target)
        }
        _ => app.serving.as_ref().map(|serving| &serving.release),
    }
}

/// Hosts that reach a service: `<app>.<domain>` is `web`, `<service>.<app>.<domain>` any.
pub(crate) fn hosts<'a>(
    app: &'a AppName,
    service: &'a ServiceName,
    domain: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let short = (service.as_str() == "web").then(|| format!("{app}.{domain}"));
    let long = format!("{}.{app}.{domain}", service.host_label());
    short.into_iter().chain([long])
}

/// The addresses of an app's services, for people.
pub fn urls(
    app: &AppName,
    services: impl Iterator<Item = ServiceName>,
    domain: &str,
    port: u16,
) -> BTreeMap<String, String> {
    let suffix = if port == 80 {
        String::new()
    } else {
        format!(":{port}")
    };
    services
        .filter_map(|service| {
            let host = hosts(app, &service, domain).next()?;
            Some((service.to_string(), format!("http://{host}{suffix}")))
        })
        .collect()
}
