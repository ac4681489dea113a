//! Variables.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;

use super::call::{JsonCall, json, parse, start};
use super::views::env_view;
use crate::commands::EnvUpdate;
use crate::error::RackError;
use crate::rack::Rack;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::EnvGet, _, _>(router, get);
    let router = json::<e::EnvUpdate, _, _>(router, update);
    let router = json::<e::EnvMaskGet, _, _>(router, get_mask);
    json::<e::EnvMaskUpdate, _, _>(router, update_mask)
}

async fn get(JsonCall { call, .. }: JsonCall<e::EnvGet>) -> Result<wire::Env, RackError> {
    let app = parse(&call.path.app)?;
    let from = start(call.query.from.as_deref())?;
    let (release, env) = call.rack.env(&app, &from).await?;
    let masked = call.rack.masked(&app)?;
    Ok(env_view(
        release,
        env,
        &masked,
        call.reveals(call.query.reveal),
    ))
}

async fn update(
    JsonCall { call, body }: JsonCall<e::EnvUpdate>,
) -> Result<wire::Release, RackError> {
    let app = parse(&call.path.app)?;
    let change = EnvUpdate {
        set: body.set,
        unset: body.unset.into_iter().collect(),
        replace: body.replace,
        expected: body.expected,
        start: start(body.from.as_deref())?,
    };
    let release = call.rack.update_env(&app, change, &call.actor).await?;
    let entry = call.rack.app(&app)?;
    call.rack.new_release_view(&entry, &release).await
}

async fn get_mask(
    JsonCall { call, .. }: JsonCall<e::EnvMaskGet>,
) -> Result<wire::EnvMask, RackError> {
    Ok(mask(call.rack.masked(&parse(&call.path.app)?)?))
}

async fn update_mask(
    JsonCall { call, body }: JsonCall<e::EnvMaskUpdate>,
) -> Result<wire::EnvMask, RackError> {
    let app = parse(&call.path.app)?;
    let (set, unset) = (body.set.into_iter(), body.unset.into_iter());
    let masked = call
        .rack
        .mask(&app, set.collect(), unset.collect(), &call.actor);
    masked.await.map(mask)
}

fn mask(names: BTreeSet<String>) -> wire::EnvMask {
    wire::EnvMask {
        names: names.into_iter().collect(),
    }
}
