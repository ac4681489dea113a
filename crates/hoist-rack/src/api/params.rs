//! `/apps/{app}/params`

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;
use hoist_core::limits::PROMOTION_LIMIT;
use hoist_core::model::Millis;
use hoist_core::retention::RELEASES_KEPT;

use super::call::{JsonCall, json, parse};
use crate::commands::{Param, ParamsUpdate};
use crate::error::RackError;
use crate::rack::Rack;
use crate::store::AppEntry;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::AppParamsGet, _, _>(router, get);
    json::<e::AppParamsUpdate, _, _>(router, update)
}

async fn get(
    JsonCall { call, .. }: JsonCall<e::AppParamsGet>,
) -> Result<wire::AppParams, RackError> {
    let app = parse(&call.path.app)?;
    Ok(view(&*call.rack.app(&app)?))
}

async fn update(
    JsonCall { call, body }: JsonCall<e::AppParamsUpdate>,
) -> Result<wire::AppParams, RackError> {
    let app = parse(&call.path.app)?;
    let wanted = wanted(&body)?;
    call.rack.update_params(&app, wanted, &call.actor).await?;
    Ok(view(&*call.rack.app(&app)?))
}

fn wanted(body: &wire::AppParamsUpdateRequest) -> Result<ParamsUpdate, RackError> {
    if body.reset.contains(&wire::AppParam::Unknown) {
        let text = "`reset` names `timeout` and `keep`".to_owned();
        return Err(RackError::Invalid(text));
    }
    let seconds = |seconds: u64| Millis(seconds.saturating_mul(1_000));
    let update = ParamsUpdate {
        timeout: param(
            body,
            wire::AppParam::Timeout,
            body.timeout_seconds.map(seconds),
        )?,
        keep: param(body, wire::AppParam::Keep, body.keep_releases)?,
    };
    if update == ParamsUpdate::default() {
        let text = "name a parameter: `timeout_seconds`, `keep_releases`, or one to `reset`";
        return Err(RackError::Invalid(text.to_owned()));
    }
    Ok(update)
}

fn param<T>(
    body: &wire::AppParamsUpdateRequest,
    name: wire::AppParam,
    value: Option<T>,
) -> Result<Param<T>, RackError> {
    match (value, body.reset.contains(&name)) {
        (Some(_), true) => Err(RackError::Invalid(format!(
            "{name} is set and reset at once"
        ))),
        (Some(value), false) => Ok(Param::To(value)),
        (None, true) => Ok(Param::Default),
        (None, false) => Ok(Param::Unchanged),
    }
}

fn view(entry: &AppEntry) -> wire::AppParams {
    wire::AppParams {
        timeout_seconds: entry.app.promotion_limit.0 / 1_000,
        timeout_seconds_default: PROMOTION_LIMIT.0 / 1_000,
        keep_releases: entry.settings.keep_releases.unwrap_or(RELEASES_KEPT),
        keep_releases_default: RELEASES_KEPT,
    }
}
