//! Processes, their logs, and what happened.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hoist_api::endpoints as e;
use hoist_api::sse::Streamed;
use hoist_api::time::Time;
use hoist_api::types as wire;
use hoist_core::id::{AppName, ServiceName};

use super::call::{Call, JsonCall, json, parse, raw};
use super::stream::{self, Sink};
use super::views::{Machine, event_view, one_off_view, process_view};
use crate::commands::Found;
use crate::error::RackError;
use crate::logs::{self, Filter};
use crate::rack::Rack;
use crate::store::Event;

/// Lines shown without `tail` or `since_seconds`.
const LINES_DEFAULT: u32 = 200;
/// Lines that one answer has at most before it follows.
const LINES_MAX: u32 = 100_000;
/// The pause between looks at files that are followed.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::ProcessList, _, _>(router, list);
    let router = json::<e::ProcessGet, _, _>(router, get);
    let router = json::<e::ProcessStop, _, _>(router, stop);
    let router = json::<e::EventList, _, _>(router, events);
    raw::<e::LogStream, _, _>(router, stream_logs)
}

async fn list(
    JsonCall { call, .. }: JsonCall<e::ProcessList>,
) -> Result<wire::List<wire::Process>, RackError> {
    let app: AppName = parse(&call.path.app)?;
    let machine = Machine::read();
    let views = call.rack.processes(&app).await?;
    let items = views.iter().map(|view| process_view(&app, view, &machine));
    let one_offs = call.rack.one_offs(&app).await?;
    let one_offs = one_offs.iter().map(|view| one_off_view(view, &machine));
    Ok(wire::List::whole(items.chain(one_offs).collect()))
}

async fn get(JsonCall { call, .. }: JsonCall<e::ProcessGet>) -> Result<wire::Process, RackError> {
    let app: AppName = parse(&call.path.app)?;
    let found = call.rack.process(&app, &call.path.process).await?;
    Ok(found_view(&app, &found))
}

async fn stop(JsonCall { call, .. }: JsonCall<e::ProcessStop>) -> Result<wire::Process, RackError> {
    let app: AppName = parse(&call.path.app)?;
    let stopped = call
        .rack
        .stop_process(&app, &call.path.process, &call.actor);
    Ok(found_view(&app, &stopped.await?))
}

fn found_view(app: &AppName, found: &Found) -> wire::Process {
    let machine = Machine::read();
    match found {
        Found::OfService(view) => process_view(app, view, &machine),
        Found::OneOff(view) => one_off_view(view, &machine),
    }
}

async fn events(
    JsonCall { call, .. }: JsonCall<e::EventList>,
) -> Result<wire::List<wire::Event>, RackError> {
    let app: AppName = parse(&call.path.app)?;
    call.rack.app(&app)?;
    let limit = call.query.limit.unwrap_or(100).min(1_000);
    let before = call.query.before.as_deref().map(str::parse).transpose();
    let before = before.map_err(|_| RackError::Invalid("`before` is an event's id".to_owned()))?;
    let events = call.rack.store.events_before(&app, before, limit).await?;
    let next = (events.len() == limit as usize)
        .then(|| events.last())
        .flatten();
    Ok(wire::List {
        next: next.map(|event| event.id.to_string()),
        items: events.iter().map(event_view).collect(),
    })
}

async fn stream_logs(call: Call<e::LogStream>, _: Body) -> Result<Response, RackError> {
    let app: AppName = parse(&call.path.app)?;
    call.rack.app(&app)?;
    let (rack, query) = (call.rack, call.query);
    if let Some(service) = &query.service {
        refuse_unknown(&rack, &app, &parse(service)?)?;
    }
    Ok(stream::respond(move |sink| {
        write_logs(rack, app, query, sink)
    }))
}

/// A service is known by a release in use, or by what it left in the log.
fn refuse_unknown(rack: &Rack, app: &AppName, service: &ServiceName) -> Result<(), RackError> {
    let entry = rack.app(app)?;
    let in_use = |release: &hoist_core::model::Release| release.services.contains_key(service);
    if entry.app.releases.values().any(in_use)
        || logs::knows(&rack.layout.logs(app), service.as_str())
    {
        return Ok(());
    }
    Err(RackError::NoService {
        app: app.clone(),
        service: service.clone(),
    })
}

type Item = Streamed<wire::LogLine, wire::Empty>;

async fn write_logs(rack: Arc<Rack>, app: AppName, query: wire::LogQuery, sink: Sink) {
    let directory = rack.layout.logs(&app);
    let since = query
        .since_seconds
        .map(|seconds| Time::now().0.saturating_sub(seconds.saturating_mul(1_000)));
    let limit = match (query.tail, since) {
        (Some(tail), _) => tail.min(LINES_MAX),
        (None, Some(_)) => LINES_MAX,
        (None, None) => LINES_DEFAULT,
    } as usize;
    // Lines of the rollout belong to the app, not to one of its services.
    let with_events = query.service.is_none() && query.process.is_none();
    let filter = Filter {
        service: query.service,
        process: query.process,
        since,
    };
    let (lines, mut tail) = logs::read(&directory, &filter, limit);
    let mut views: Vec<_> = lines.into_iter().map(line_view).collect();
    let mut last_event = 0;
    if with_events {
        let events = rack
            .store
            .events_before(&app, None, limit.min(1_000) as u32)
            .await;
        let events = events.unwrap_or_default();
        last_event = events.first().map_or(0, |event| event.id);
        let wanted = events
            .iter()
            .filter(|event| since.is_none_or(|since| event.at.0 >= since));
        views.extend(wanted.map(system_line));
        views.sort_by_key(|line| line.at);
    }
    let surplus = views.len().saturating_sub(limit);
    for line in views.drain(..).skip(surplus) {
        if !sink.send(Item::Line(line)).await {
            return;
        }
    }
    if !query.follow {
        return sink.end(Item::End(wire::Empty {})).await;
    }
    follow(
        &rack,
        &app,
        &filter,
        &mut tail,
        with_events.then_some(last_event),
        &sink,
    )
    .await;
}

/// Sends what is added, until the reader goes or the app does.
async fn follow(
    rack: &Rack,
    app: &AppName,
    filter: &Filter,
    tail: &mut logs::Tail,
    mut last_event: Option<i64>,
    sink: &Sink,
) {
    let directory = rack.layout.logs(app);
    loop {
        let mut views: Vec<_> = tail
            .more(&directory, filter)
            .into_iter()
            .map(line_view)
            .collect();
        if let Some(last) = &mut last_event {
            let events = rack
                .store
                .events_after(app, *last)
                .await
                .unwrap_or_default();
            *last = events.last().map_or(*last, |event| event.id);
            views.extend(events.iter().map(system_line));
            views.sort_by_key(|line| line.at);
        }
        for line in views {
            if !sink.send(Item::Line(line)).await {
                return;
            }
        }
        if rack.store.app(app).is_none() {
            return sink.end(Item::End(wire::Empty {})).await;
        }
        if !sink.wait(tokio::time::sleep(LOOK_PAUSE)).await {
            return;
        }
    }
}

fn line_view(line: logs::Line) -> wire::LogLine {
    wire::LogLine {
        at: Time(line.at),
        source: line.source,
        text: line.text,
        stream: if line.error {
            wire::LogStreamName::Stderr
        } else {
            wire::LogStreamName::Stdout
        },
    }
}

fn system_line(event: &Event) -> wire::LogLine {
    wire::LogLine {
        at: Time(event.at.0),
        source: event.source.clone(),
        text: event.text.clone(),
        stream: wire::LogStreamName::System,
    }
}
