//! Promotions, rollbacks and their streams.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hoist_api::endpoints as e;
use hoist_api::sse::Streamed;
use hoist_api::types as wire;
use hoist_core::id::{AppName, Version};
use hoist_core::model::{Cancel, Millis, PromotionKind};

use super::call::{Call, JsonCall, json, parse, raw};
use super::command_output::CommandOutput;
use super::stream::{self, Sink};
use super::views::{diff_view, line_view};
use crate::commands::{IfBusy, PromoteRequest, check_timeout};
use crate::error::RackError;
use crate::rack::Rack;
use crate::store::Event;

/// Promotions that one answer lists.
const PAGE_MAX: u32 = 500;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::PromotionCreate, _, _>(router, create);
    let router = json::<e::RollbackGet, _, _>(router, rollback_target);
    let router = json::<e::RollbackCreate, _, _>(router, rollback);
    let router = json::<e::PromotionList, _, _>(router, list);
    let router = json::<e::PromotionGet, _, _>(router, get);
    let router = json::<e::PromotionCancel, _, _>(router, cancel);
    raw::<e::PromotionEvents, _, _>(router, events)
}

async fn create(
    JsonCall { call, body }: JsonCall<e::PromotionCreate>,
) -> Result<wire::Promotion, RackError> {
    let app = parse(&call.path.app)?;
    let request = PromoteRequest {
        release: parse(&call.path.release)?,
        kind: PromotionKind::Promote,
        if_busy: if_busy(body.if_busy)?,
        limit: limit(body.timeout_seconds)?,
        only: None,
    };
    let promotion = call.rack.promote(&app, request, &call.actor).await?;
    Ok(call.rack.promotion_view(&promotion))
}

async fn rollback_target(
    JsonCall { call, .. }: JsonCall<e::RollbackGet>,
) -> Result<wire::RollbackTarget, RackError> {
    let app = parse(&call.path.app)?;
    let release = call.rack.rollback_target(&app).await?;
    Ok(wire::RollbackTarget {
        release: release.to_string(),
    })
}

async fn rollback(
    JsonCall { call, body }: JsonCall<e::RollbackCreate>,
) -> Result<wire::Rollback, RackError> {
    let app = parse(&call.path.app)?;
    let to = body.release.as_deref().map(parse).transpose()?;
    let (busy, limit) = (if_busy(body.if_busy)?, limit(body.timeout_seconds)?);
    let begun = call
        .rack
        .rollback(&app, to, busy, limit, &call.actor)
        .await?;
    let entry = call.rack.app(&app)?;
    Ok(wire::Rollback {
        release: call.rack.release_view(&entry, &begun.release.listed(None)),
        promotion: call.rack.promotion_view(&begun.promotion),
        changes: begun.changes.map(diff_view),
    })
}

async fn list(
    JsonCall { call, .. }: JsonCall<e::PromotionList>,
) -> Result<wire::List<wire::Promotion>, RackError> {
    let app: AppName = parse(&call.path.app)?;
    call.rack.app(&app)?;
    let limit = call.query.limit.unwrap_or(50).min(PAGE_MAX);
    let before = call.query.before.as_deref().map(number).transpose()?;
    let records = call.rack.store.promotions(&app, before, limit).await?;
    let next = (records.len() == limit as usize)
        .then(|| records.last())
        .flatten();
    Ok(wire::List {
        next: next.map(|record| record.number.to_string()),
        items: records
            .iter()
            .map(|record| call.rack.promotion_view(record))
            .collect(),
    })
}

async fn get(
    JsonCall { call, .. }: JsonCall<e::PromotionGet>,
) -> Result<wire::Promotion, RackError> {
    let (app, number) = (parse(&call.path.app)?, number(&call.path.number)?);
    let record = call.rack.promotion(&app, number).await?;
    Ok(call.rack.promotion_view(&record))
}

async fn cancel(
    JsonCall { call, .. }: JsonCall<e::PromotionCancel>,
) -> Result<wire::Promotion, RackError> {
    let app = parse(&call.path.app)?;
    let only = call.query.promotion.as_deref().map(number).transpose()?;
    let promotion = call
        .rack
        .cancel(&app, Cancel::ByUser, only, &call.actor)
        .await?;
    Ok(call.rack.promotion_view(&promotion))
}

async fn events(call: Call<e::PromotionEvents>, _: Body) -> Result<Response, RackError> {
    let (app, number) = (parse(&call.path.app)?, number(&call.path.number)?);
    call.rack.promotion(&app, number).await?;
    let rack = call.rack;
    Ok(stream::respond(move |sink| {
        write_events(rack, app, number, sink)
    }))
}

/// Sends a promotion's events as they come, the output of its release command between them, and itself when it has ended.
async fn write_events(rack: Arc<Rack>, app: AppName, number: Version, sink: Sink) {
    type Item = Streamed<wire::PromotionLine, wire::Promotion>;
    let mut changes = rack.store.changes();
    let mut last = 0;
    let mut output = Some(CommandOutput::of(&rack, &app, number));
    loop {
        changes.mark_unchanged();
        // The record first: once it says ended, all events of it are there.
        let record = rack.promotion(&app, number).await;
        let events = rack.store.promotion_events(number, last).await;
        let (record, events) = match (record, events) {
            (Ok(record), Ok(events)) => (record, events),
            (Err(error), _) => return sink.end(Item::Error(error.body(""))).await,
            (_, Err(error)) => {
                return sink.end(Item::Error(RackError::from(error).body(""))).await;
            }
        };
        let more = events.len() >= 1000;
        for event in events {
            last = event.id;
            // What the command said comes before what came of it.
            let mut lines = output
                .as_mut()
                .map(|own| own.more(&rack))
                .unwrap_or_default();
            if leaves_preparing(&event) {
                output = None;
            }
            lines.push(line_view(&event));
            if !send_all(&sink, lines).await {
                return;
            }
        }
        if record.ended.is_some() && !more {
            return sink.end(Item::End(rack.promotion_view(&record))).await;
        }
        if more {
            continue;
        }
        let mut lines = Vec::new();
        let news = async {
            let said = async {
                match &mut output {
                    Some(output) => output.wait(&rack).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changes.changed() => {}
                said = said => lines = said,
            }
        };
        if !sink.wait(news).await || !send_all(&sink, lines).await {
            return;
        }
    }
}

/// Whether the release command is over with an event.
fn leaves_preparing(event: &Event) -> bool {
    matches!(event.kind.as_str(), "release:start" | "release:rollback")
}

/// Answers false once the reader is gone.
async fn send_all(sink: &Sink, lines: Vec<wire::PromotionLine>) -> bool {
    for line in lines {
        let item: Streamed<_, wire::Promotion> = Streamed::Line(line);
        if !sink.send(item).await {
            return false;
        }
    }
    true
}

pub(super) fn if_busy(word: wire::IfBusy) -> Result<IfBusy, RackError> {
    match word {
        wire::IfBusy::Wait => Ok(IfBusy::Wait),
        wire::IfBusy::Supersede => Ok(IfBusy::Supersede),
        wire::IfBusy::Refuse => Ok(IfBusy::Refuse),
        wire::IfBusy::Unknown => Err(RackError::Invalid(
            "`if_busy` is wait, supersede or refuse".to_owned(),
        )),
    }
}

pub(super) fn limit(seconds: Option<u64>) -> Result<Option<Millis>, RackError> {
    let limit = seconds.map(|seconds| Millis(seconds.saturating_mul(1_000)));
    limit.map(check_timeout).transpose()
}

fn number(text: &str) -> Result<Version, RackError> {
    text.parse()
        .map_err(|_| RackError::Invalid(format!("`{text}` is not a promotion number, like 1.42")))
}
