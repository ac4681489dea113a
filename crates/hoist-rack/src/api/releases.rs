//! Looking at releases.

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;
use hoist_core::id::{AppName, ReleaseId};

use super::call::{JsonCall, json, parse};
use super::views::masked;
use crate::error::RackError;
use crate::rack::Rack;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::ReleaseList, _, _>(router, list);
    json::<e::ReleaseGet, _, _>(router, get)
}

async fn list(
    JsonCall { call, .. }: JsonCall<e::ReleaseList>,
) -> Result<wire::List<wire::Release>, RackError> {
    let app: AppName = parse(&call.path.app)?;
    let entry = call.rack.app(&app)?;
    let limit = call.query.limit.unwrap_or(20).clamp(1, 500);
    let before = call
        .query
        .before
        .as_deref()
        .map(parse::<ReleaseId>)
        .transpose()?;
    let records = call
        .rack
        .store
        .releases(&app, before.as_ref(), limit)
        .await?;
    let mut items = Vec::with_capacity(records.len());
    for record in &records {
        items.push(call.rack.release_view(&entry, record).await?);
    }
    let next = (records.len() == limit as usize)
        .then(|| records.last())
        .flatten();
    Ok(wire::List {
        next: next.map(|record| record.id.to_string()),
        items,
    })
}

async fn get(JsonCall { call, .. }: JsonCall<e::ReleaseGet>) -> Result<wire::Release, RackError> {
    let (app, id) = (parse(&call.path.app)?, parse(&call.path.release)?);
    let record = call.rack.release(&app, &id).await?;
    let entry = call.rack.app(&app)?;
    let mut view = call.rack.new_release_view(&entry, &record).await?;
    view.env = Some(masked(call.rack.releases.env(&record)?, call.query.reveal));
    if let Some(build) = &record.build {
        view.manifest = call
            .rack
            .build(&app, build)
            .await?
            .manifest
            .map(|(_, text)| text);
    }
    Ok(view)
}
