//! Variables.

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;
use hoist_core::lineage::Start;

use super::call::{JsonCall, json, parse, start};
use super::views::env_view;
use crate::commands::EnvUpdate;
use crate::error::RackError;
use crate::rack::Rack;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::EnvGet, _, _>(router, get);
    json::<e::EnvUpdate, _, _>(router, update)
}

async fn get(JsonCall { call, .. }: JsonCall<e::EnvGet>) -> Result<wire::Env, RackError> {
    let (release, env) = call.rack.env(&parse(&call.path.app)?, &Start::Base).await?;
    Ok(env_view(release, env, call.query.reveal))
}

async fn update(
    JsonCall { call, body }: JsonCall<e::EnvUpdate>,
) -> Result<wire::Release, RackError> {
    let app = parse(&call.path.app)?;
    let change = EnvUpdate {
        set: body.set,
        unset: body.unset.into_iter().collect(),
        expected: body.expected,
        start: start(body.from.as_deref())?,
    };
    let release = call.rack.update_env(&app, change, &call.actor).await?;
    let entry = call.rack.app(&app)?;
    call.rack.new_release_view(&entry, &release).await
}
