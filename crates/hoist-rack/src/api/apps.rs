//! `/apps` and what changes an app without a release.

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;
use hoist_core::id::{AppName, ServiceName};
use hoist_core::limits::CPU_MILLICORES_MAX;
use hoist_core::model::Limits;
use hoist_core::plan::Scaling;

use super::call::{JsonCall, json, parse};
use super::promotions::if_busy;
use crate::commands::{ScaleEffect, ScaleWish};
use crate::error::RackError;
use crate::rack::Rack;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::AppList, _, _>(router, list);
    let router = json::<e::AppCreate, _, _>(router, create);
    let router = json::<e::AppGet, _, _>(router, get);
    let router = json::<e::AppDelete, _, _>(router, delete);
    let router = json::<e::AppRestart, _, _>(router, restart);
    let router = json::<e::AppStop, _, _>(router, stop);
    let router = json::<e::AppStart, _, _>(router, start);
    let router = json::<e::ServiceList, _, _>(router, services);
    json::<e::ScaleUpdate, _, _>(router, scale)
}

async fn list(
    JsonCall { call, .. }: JsonCall<e::AppList>,
) -> Result<wire::List<wire::App>, RackError> {
    let state = call.rack.store.snapshot();
    let apps = state.apps.values().map(|entry| call.rack.app_view(entry));
    Ok(wire::List::whole(apps.collect()))
}

async fn create(JsonCall { call, body }: JsonCall<e::AppCreate>) -> Result<wire::App, RackError> {
    let name: AppName = parse(&body.name)?;
    call.rack.create(&name, &call.actor).await?;
    Ok(call.rack.app_view(&*call.rack.app(&name)?))
}

async fn get(JsonCall { call, .. }: JsonCall<e::AppGet>) -> Result<wire::App, RackError> {
    let name = parse(&call.path.app)?;
    Ok(call.rack.app_view(&*call.rack.app(&name)?))
}

async fn delete(
    JsonCall { call, .. }: JsonCall<e::AppDelete>,
) -> Result<wire::AppDeleted, RackError> {
    let name = parse(&call.path.app)?;
    let with_volumes = call.query.volumes;
    call.rack
        .delete(&name, &call.query.confirm, with_volumes, &call.actor)
        .await?;
    Ok(wire::AppDeleted {
        name: name.to_string(),
        volumes_kept: if with_volumes {
            Vec::new()
        } else {
            call.rack.volumes(&name)
        },
    })
}

async fn restart(
    JsonCall { call, body }: JsonCall<e::AppRestart>,
) -> Result<wire::Promotion, RackError> {
    let name = parse(&call.path.app)?;
    let service = body
        .service
        .as_deref()
        .map(parse::<ServiceName>)
        .transpose()?;
    let busy = if_busy(body.if_busy)?;
    let limit = super::promotions::limit(body.timeout_seconds)?;
    let restart = call.rack.restart(&name, service, busy, limit, &call.actor);
    let promotion = restart.await?;
    Ok(call.rack.promotion_view(&promotion))
}

async fn stop(JsonCall { call, .. }: JsonCall<e::AppStop>) -> Result<wire::App, RackError> {
    let name = parse(&call.path.app)?;
    call.rack.stop(&name, &call.actor).await?;
    Ok(call.rack.app_view(&*call.rack.app(&name)?))
}

async fn start(JsonCall { call, .. }: JsonCall<e::AppStart>) -> Result<wire::Promotion, RackError> {
    let name = parse(&call.path.app)?;
    let promotion = call.rack.start_app(&name, &call.actor).await?;
    Ok(call.rack.promotion_view(&promotion))
}

async fn services(
    JsonCall { call, .. }: JsonCall<e::ServiceList>,
) -> Result<wire::List<wire::Service>, RackError> {
    let name = parse(&call.path.app)?;
    let entry = call.rack.app(&name)?;
    Ok(wire::List::whole(call.rack.service_views(&entry)))
}

async fn scale(
    JsonCall { call, body }: JsonCall<e::ScaleUpdate>,
) -> Result<wire::Scaled, RackError> {
    let name = parse(&call.path.app)?;
    let outcome = call.rack.scale(&name, wish(&body)?, &call.actor).await?;
    let entry = call.rack.app(&name)?;
    let promotion = outcome.promotion.as_ref();
    Ok(wire::Scaled {
        items: call.rack.service_views(&entry),
        next: None,
        effect: match outcome.effect {
            ScaleEffect::Now => wire::ScaleEffect::Now,
            ScaleEffect::FirstDeploy => wire::ScaleEffect::FirstDeploy,
            ScaleEffect::Start => wire::ScaleEffect::Start,
        },
        promotion: promotion.map(|promotion| call.rack.promotion_view(promotion)),
    })
}

fn wish(body: &wire::ScaleRequest) -> Result<ScaleWish, RackError> {
    let sizes = body.sizes.iter();
    let sizes = sizes.map(|(service, size)| Ok((parse(service)?, *size)));
    let limits = body.limits.iter().map(|(service, limits)| {
        let service: ServiceName = parse(service)?;
        let cpu_millicores = limits.cpu_millicores;
        if cpu_millicores.is_some_and(|cpu| cpu > CPU_MILLICORES_MAX) {
            let text = format!("`{service}` cannot have more than {CPU_MILLICORES_MAX} millicores");
            return Err(RackError::Invalid(text));
        }
        let memory_bytes = limits.memory_bytes;
        let limits = Limits {
            cpu_millicores,
            memory_bytes,
        };
        Ok((service, limits))
    });
    let from_manifest = body.from_manifest.iter().map(|service| parse(service));
    Ok(ScaleWish {
        scaling: Scaling {
            sizes: sizes.collect::<Result<_, RackError>>()?,
            limits: limits.collect::<Result<_, RackError>>()?,
            from_manifest: from_manifest.collect::<Result<_, RackError>>()?,
        },
        all_from_manifest: body.all_from_manifest,
    })
}
