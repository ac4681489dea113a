//! Variables.

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;

use super::call::{JsonCall, json, parse};
use super::views::env_view;
use crate::error::RackError;
use crate::rack::Rack;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::EnvGet, _, _>(router, get);
    json::<e::EnvUpdate, _, _>(router, update)
}

async fn get(JsonCall { call, .. }: JsonCall<e::EnvGet>) -> Result<wire::Env, RackError> {
    let (release, env) = call.rack.env(&parse(&call.path.app)?).await?;
    Ok(env_view(release, env, call.query.reveal))
}

async fn update(
    JsonCall { call, body }: JsonCall<e::EnvUpdate>,
) -> Result<wire::Release, RackError> {
    let app = parse(&call.path.app)?;
    let unset = body.unset.into_iter().collect();
    let release = call
        .rack
        .update_env(&app, body.set, unset, body.expected, &call.actor)
        .await?;
    call.rack
        .release_view(&*call.rack.app(&app)?, &release)
        .await
}
