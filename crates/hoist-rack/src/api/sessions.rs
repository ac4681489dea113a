//! One-offs, commands beside a process, and the sessions that carry their streams.

use std::sync::Arc;

use axum::Router;
use hoist_api::endpoints as e;
use hoist_api::types as wire;
use hoist_core::id::AppName;
use hoist_core::manifest::CommandLine;
use hoist_engine::TerminalSize;

use super::call::{Call, JsonCall, Upgrade, json, parse, session};
use super::views::{Machine, one_off_view};
use crate::commands::{OneOffView, RunRequest, RunStreams, Terminal};
use crate::error::RackError;
use crate::rack::Rack;
use crate::usage::Rate;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = json::<e::RunCreate, _, _>(router, run);
    let router = json::<e::ExecCreate, _, _>(router, exec);
    session::<e::SessionAttach, _, _>(router, attach)
}

async fn run(JsonCall { call, body }: JsonCall<e::RunCreate>) -> Result<wire::Run, RackError> {
    let app: AppName = parse(&call.path.app)?;
    let streams = match (body.attach, body.terminal) {
        (true, terminal) => RunStreams::Attached(terminal.map(terminal_of)),
        (false, None) => RunStreams::Detached,
        (false, Some(_)) => {
            return Err(RackError::Invalid("a terminal needs `attach`".to_owned()));
        }
    };
    let request = RunRequest {
        service: parse(&body.service)?,
        command: command_of(body.command, body.shell)?,
        release: body.release.as_deref().map(parse).transpose()?,
        streams,
    };
    let (record, session) = call.rack.run(&app, request, &call.actor).await?;
    // It has only begun: there is nothing yet that it used.
    let begun = OneOffView {
        record,
        usage: Rate::default(),
    };
    let process = one_off_view(&begun, &Machine::read());
    Ok(wire::Run { process, session })
}

async fn exec(JsonCall { call, body }: JsonCall<e::ExecCreate>) -> Result<wire::Exec, RackError> {
    let app: AppName = parse(&call.path.app)?;
    let command = command_of(body.command, body.shell)?;
    let terminal = body.terminal.map(terminal_of);
    let (rack, process) = (&call.rack, &call.path.process);
    let (process, session) = rack.exec(&app, process, &command, terminal).await?;
    let process = process.to_string();
    Ok(wire::Exec { process, session })
}

async fn attach(call: Call<e::SessionAttach>, upgrade: Upgrade) -> Result<(), RackError> {
    if call
        .rack
        .runs
        .attach(&call.path.session, upgrade.connection)
    {
        Ok(())
    } else {
        Err(RackError::NoSession)
    }
}

fn terminal_of(terminal: wire::Terminal) -> Terminal {
    Terminal {
        size: TerminalSize::new(terminal.size.columns, terminal.size.rows),
        term: terminal.term,
    }
}

fn command_of(mut words: Vec<String>, shell: bool) -> Result<CommandLine, RackError> {
    match (words.len(), shell) {
        (1, true) => Ok(CommandLine::Shell(words.remove(0))),
        (_, true) => Err(RackError::Invalid(
            "with `shell`, `command` is one string".to_owned(),
        )),
        (0, false) => Err(RackError::Invalid("`command` is empty".to_owned())),
        (_, false) => Ok(CommandLine::Words(words)),
    }
}
