//! The rack itself.

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;

use super::call::{JsonCall, json};
use super::views::time;
use crate::error::RackError;
use crate::rack::{Rack, Stop};

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::RackGet, _, _>(router, get);
    let router = json::<e::RackStop, _, _>(router, stop);
    let router = json::<e::DoctorGet, _, _>(router, doctor);
    json::<e::OpenApiGet, _, _>(router, openapi)
}

async fn get(JsonCall { call, .. }: JsonCall<e::RackGet>) -> Result<wire::RackInfo, RackError> {
    Ok(info(&call.rack))
}

async fn stop(JsonCall { call, body }: JsonCall<e::RackStop>) -> Result<wire::RackInfo, RackError> {
    let info = info(&call.rack);
    let rack = call.rack;
    tokio::spawn(async move {
        // The answer goes out first.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        rack.request_stop(Stop { apps: body.apps });
    });
    Ok(info)
}

async fn doctor(JsonCall { call, .. }: JsonCall<e::DoctorGet>) -> Result<wire::Doctor, RackError> {
    Ok(crate::doctor::examine(&call.rack).await)
}

async fn openapi(JsonCall { .. }: JsonCall<e::OpenApiGet>) -> Result<serde_json::Value, RackError> {
    Ok(hoist_api::openapi::document())
}

fn info(rack: &Rack) -> wire::RackInfo {
    let options = &rack.options;
    wire::RackInfo {
        name: options.name.clone(),
        version: options.version.clone(),
        engine: rack.engine.capabilities().engine.to_owned(),
        domain: options.domain.clone(),
        listen: options.listen.to_string(),
        router: options.router.to_string(),
        data_dir: options.data_dir.display().to_string(),
        started: time(rack.started),
        apps: rack.store.snapshot().apps.len() as u32,
        pid: std::process::id(),
    }
}
