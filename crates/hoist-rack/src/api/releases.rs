//! Looking at releases, comparing them, and composing one of two.

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;
use hoist_core::id::{AppName, ReleaseId};
use hoist_core::lineage::Start;

use super::call::{JsonCall, json, parse, start};
use super::views::{diff_view, masked_of, shown};
use crate::error::RackError;
use crate::rack::Rack;

/// Releases in one answer: as many as the command line asks for.
const RELEASES_MAX: u32 = 1_000;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::ReleaseList, _, _>(router, list);
    let router = json::<e::ReleaseGet, _, _>(router, get);
    let router = json::<e::ReleaseCreate, _, _>(router, create);
    json::<e::ReleaseDiffGet, _, _>(router, diff)
}

async fn create(
    JsonCall { call, body }: JsonCall<e::ReleaseCreate>,
) -> Result<wire::Release, RackError> {
    let app = parse(&call.path.app)?;
    let (build_from, env_from) = (start(Some(&body.build_from))?, start(Some(&body.env_from))?);
    let release = call
        .rack
        .create_from(&app, &build_from, &env_from, &call.actor)
        .await?;
    let entry = call.rack.app(&app)?;
    call.rack.new_release_view(&entry, &release).await
}

async fn diff(
    JsonCall { call, .. }: JsonCall<e::ReleaseDiffGet>,
) -> Result<wire::ReleaseDiff, RackError> {
    let (app, id) = (parse(&call.path.app)?, parse(&call.path.release)?);
    let against = match call.query.against.as_deref() {
        None => Start::Active,
        against => start(against)?,
    };
    Ok(diff_view(call.rack.diff(&app, &id, &against).await?))
}

async fn list(
    JsonCall { call, .. }: JsonCall<e::ReleaseList>,
) -> Result<wire::List<wire::Release>, RackError> {
    let app: AppName = parse(&call.path.app)?;
    let entry = call.rack.app(&app)?;
    let limit = call.query.limit.unwrap_or(20).clamp(1, RELEASES_MAX);
    let before = call
        .query
        .before
        .as_deref()
        .map(parse::<ReleaseId>)
        .transpose()?;
    if let Some(before) = &before {
        // One that was collected since has no place: to begin again at the newest would never end.
        call.rack.release(&app, before).await?;
    }
    let records = call
        .rack
        .store
        .listed_releases(&app, before.as_ref(), limit)
        .await?;
    let items = records.iter();
    let items = items
        .map(|record| call.rack.release_view(&entry, record))
        .collect();
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
    let env = call.rack.releases.env(&record)?;
    view.masked = masked_of(&env, &entry.settings.masked);
    view.env = Some(shown(env, call.reveals(call.query.reveal)));
    let promotions = call.rack.store.promotions_of(&id).await?;
    view.promotions = promotions
        .iter()
        .map(|promotion| call.rack.promotion_view(promotion))
        .collect();
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
