//! Builds: the upload, the list and the stream of what a build prints.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hoist_api::endpoints as e;
use hoist_api::sse::Streamed;
use hoist_api::time::Time;
use hoist_api::types as wire;
use hoist_core::id::{AppName, BuildId};
use http_body_util::BodyExt;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::call::{Call, JsonCall, drain, json, parse, raw, start, success};
use super::stream::{self, Sink};
use super::views::build_view;
use crate::commands::BuildRequest;
use crate::error::RackError;
use crate::logs::{self, Filter};
use crate::rack::Rack;
use crate::store::BuildStatus;

/// Bytes that an upload may have.
const UPLOAD_BYTES_MAX: u64 = 4 << 30;
/// The pause between looks at a build's log.
const LOOK_PAUSE: Duration = Duration::from_millis(30);

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = raw::<e::BuildCreate, _, _>(router, create);
    let router = json::<e::BuildList, _, _>(router, list);
    let router = json::<e::BuildGet, _, _>(router, get);
    let router = json::<e::BuildCancel, _, _>(router, cancel);
    raw::<e::BuildLogs, _, _>(router, stream_logs)
}

async fn create(call: Call<e::BuildCreate>, mut body: Body) -> Result<Response, RackError> {
    let checked = parse(&call.path.app).and_then(|app: AppName| {
        call.rack.app(&app)?;
        Ok((app, start(call.query.from.as_deref())?))
    });
    let (app, start) = match checked {
        Ok(checked) => checked,
        Err(error) => {
            drain(body).await;
            return Err(error);
        }
    };
    let archive = call
        .rack
        .layout
        .scratch()
        .join(format!("{}.tar", call.request_id));
    if let Err(error) = receive(Bytes::new(), &mut body, &archive, UPLOAD_BYTES_MAX).await {
        let _ = std::fs::remove_file(&archive);
        drain(body).await;
        return Err(error);
    }
    let query = call.query;
    let request = BuildRequest {
        description: query.description,
        git_sha: query.git_sha,
        git_message: query.git_message,
        manifest: query.manifest,
        no_cache: query.no_cache,
        start,
    };
    let record = call
        .rack
        .start_build(&app, &archive, request, &call.actor)
        .await?;
    Ok(success::<e::BuildCreate>(
        &build_view(&record),
        &call.request_id,
    ))
}

/// Writes an upload to disk as it comes, after what was read of it already.
pub(super) async fn receive(
    front: Bytes,
    body: &mut Body,
    path: &Path,
    bytes_max: u64,
) -> Result<(), RackError> {
    let doing = "keep the upload";
    let mut file = File::create(path).await.map_err(RackError::io(doing))?;
    let mut bytes = front.len() as u64;
    file.write_all(&front).await.map_err(RackError::io(doing))?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| RackError::Archive("it ends early".to_owned()))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        bytes += piece.len() as u64;
        if bytes > bytes_max {
            return Err(RackError::TooLarge {
                limit_bytes: bytes_max,
            });
        }
        file.write_all(&piece).await.map_err(RackError::io(doing))?;
    }
    file.flush().await.map_err(RackError::io(doing))
}

async fn list(
    JsonCall { call, .. }: JsonCall<e::BuildList>,
) -> Result<wire::List<wire::Build>, RackError> {
    let app: AppName = parse(&call.path.app)?;
    call.rack.app(&app)?;
    let limit = call.query.limit.unwrap_or(50).min(500);
    let before = call
        .query
        .before
        .as_deref()
        .map(parse::<BuildId>)
        .transpose()?;
    if let Some(before) = &before {
        call.rack.build(&app, before).await?;
    }
    let records = call.rack.store.builds(&app, before.as_ref(), limit).await?;
    let next = (records.len() == limit as usize)
        .then(|| records.last())
        .flatten();
    Ok(wire::List {
        next: next.map(|record| record.id.to_string()),
        items: records.iter().map(build_view).collect(),
    })
}

async fn get(JsonCall { call, .. }: JsonCall<e::BuildGet>) -> Result<wire::Build, RackError> {
    let (app, build) = (parse(&call.path.app)?, parse(&call.path.build)?);
    Ok(build_view(&call.rack.build(&app, &build).await?))
}

async fn cancel(JsonCall { call, .. }: JsonCall<e::BuildCancel>) -> Result<wire::Build, RackError> {
    let (app, build) = (parse(&call.path.app)?, parse(&call.path.build)?);
    let ended = call.rack.cancel_build(&app, &build, &call.actor).await?;
    Ok(build_view(&ended))
}

async fn stream_logs(call: Call<e::BuildLogs>, _: Body) -> Result<Response, RackError> {
    let (app, build) = (parse(&call.path.app)?, parse(&call.path.build)?);
    call.rack.build(&app, &build).await?;
    let rack = call.rack;
    Ok(stream::respond(move |sink| {
        write_logs(rack, app, build, sink)
    }))
}

/// Sends a build's lines as they come, and the build when it has ended.
async fn write_logs(rack: Arc<Rack>, app: AppName, build: BuildId, sink: Sink) {
    type Item = Streamed<wire::LogLine, wire::Build>;
    let path = rack.layout.build_log(&app, &build);
    let mut tail = logs::Tail::default();
    let mut changes = rack.store.changes();
    loop {
        changes.mark_unchanged();
        // The record first: once it says ended, all lines are there.
        let record = match rack.build(&app, &build).await {
            Ok(record) => record,
            Err(error) => return sink.end(Item::Error(error.body(""))).await,
        };
        let lines = tail.more_of(&path, &Filter::default());
        let drained = lines.is_empty();
        for line in lines {
            if !sink.send(Item::Line(line_view(line))).await {
                return;
            }
        }
        if record.status != BuildStatus::Running && drained {
            return sink.end(Item::End(build_view(&record))).await;
        }
        if drained {
            let changed = async {
                let _ = tokio::time::timeout(LOOK_PAUSE, changes.changed()).await;
            };
            if !sink.wait(changed).await {
                return;
            }
        }
    }
}

fn line_view(line: logs::Line) -> wire::LogLine {
    wire::LogLine {
        at: Time(line.at),
        source: "build".to_owned(),
        text: line.text,
        stream: if line.error {
            wire::LogStreamName::Stderr
        } else {
            wire::LogStreamName::Stdout
        },
    }
}
