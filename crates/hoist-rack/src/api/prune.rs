//! Collecting old releases and builds when somebody asks for it.

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;
use hoist_core::id::AppName;
use hoist_core::retention::Unneeded;

use super::call::{JsonCall, json, parse};
use crate::error::RackError;
use crate::rack::Rack;
use crate::retention::{Swept, SweptItem, SweptWhat, Unswept};

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    json::<e::ReleasePrune, _, _>(router, prune)
}

async fn prune(
    JsonCall { call, body }: JsonCall<e::ReleasePrune>,
) -> Result<wire::Pruned, RackError> {
    let app: Option<AppName> = body.app.as_deref().map(parse).transpose()?;
    let swept = call.rack.prune(app.as_ref(), body.dry_run).await?;
    Ok(pruned(swept, body.dry_run))
}

fn pruned(swept: Swept, dry_run: bool) -> wire::Pruned {
    wire::Pruned {
        dry_run,
        bytes: swept.bytes(),
        promotions: swept.promotions,
        events: swept.events,
        one_offs: swept.one_offs,
        needed: swept.needed,
        items: swept.items.into_iter().map(item).collect(),
        failed: swept.failed.into_iter().map(failure).collect(),
    }
}

fn failure(Unswept { app, why }: Unswept) -> wire::PruneFailure {
    wire::PruneFailure {
        app: app.to_string(),
        reason: why,
    }
}

fn item(item: SweptItem) -> wire::PrunedItem {
    let (kind, id, reason) = match item.what {
        SweptWhat::Release(id, keep) => (
            wire::PrunedKind::Release,
            id.to_string(),
            format!("not among the newest {keep}"),
        ),
        SweptWhat::Build(id, why) => (wire::PrunedKind::Build, id.to_string(), words(why)),
        SweptWhat::Stray(id) => (
            wire::PrunedKind::Stray,
            id.to_string(),
            "no record of it".to_owned(),
        ),
    };
    wire::PrunedItem {
        app: item.app.to_string(),
        kind,
        id,
        bytes: item.bytes,
        reason,
    }
}

fn words(why: Unneeded) -> String {
    match why {
        Unneeded::Unnamed => "no release that is kept has it",
        Unneeded::Failed => "it failed long ago",
    }
    .to_owned()
}
