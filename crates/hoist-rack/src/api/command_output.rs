//! What a release command says, as lines of its promotion's stream: read from its log while it runs. Whoever reads slowly
//! holds up only their own stream.

use std::path::PathBuf;
use std::time::Duration;

use hoist_api::Time;
use hoist_api::types as wire;
use hoist_core::id::{AppName, Version};
use hoist_engine::TaskId;

use crate::control::event_source;
use crate::logs::{Filter, Line, Tail};
use crate::rack::Rack;

/// Lines of one command that a stream carries; the rest is in the app's log alone.
const LINES_MAX: usize = 1_000;
/// The pause between looks at the log.
const PAUSE: Duration = Duration::from_millis(100);

/// The output of one promotion's release command, as far as a stream has read it.
pub(super) struct CommandOutput {
    task: TaskId,
    app: AppName,
    directory: PathBuf,
    source: String,
    /// Known once the command was seen.
    log: Option<PathBuf>,
    tail: Tail,
    /// How many lines may follow.
    room: usize,
}

impl CommandOutput {
    /// Of the beginning.
    pub(super) fn of(rack: &Rack, app: &AppName, promotion: Version) -> Self {
        Self {
            task: TaskId::ReleaseCommand(app.clone(), promotion),
            app: app.clone(),
            directory: rack.layout.logs(app),
            source: event_source(rack.engine.capabilities().engine, "release"),
            log: None,
            tail: Tail::default(),
            room: LINES_MAX,
        }
    }

    /// Waits for lines. Never ends once none may follow.
    pub(super) async fn wait(&mut self, rack: &Rack) -> Vec<wire::PromotionLine> {
        loop {
            tokio::time::sleep(PAUSE).await;
            let lines = self.more(rack);
            if !lines.is_empty() {
                return lines;
            }
        }
    }

    /// All lines since the last look.
    pub(super) fn more(&mut self, rack: &Rack) -> Vec<wire::PromotionLine> {
        if self.log.is_none() {
            let process = rack.controller.process_of(&self.task);
            let file = process.map(|process| format!("release.{process}.log"));
            self.log = file.map(|file| self.directory.join(file));
        }
        let Some(log) = &self.log else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        while self.room > 0 {
            let mut more = self.tail.more_of(log, &Filter::default());
            let Some(last) = more.last().cloned() else {
                break;
            };
            let too_many = more.len() > self.room;
            more.truncate(self.room);
            self.room -= more.len();
            let view = |line: Line| self.line(line.at, line.text);
            lines.extend(more.into_iter().map(view));
            if too_many {
                let text = format!("further lines are in `hoist logs -a {}`", self.app);
                lines.push(self.line(last.at, text));
            }
        }
        lines
    }

    fn line(&self, at: u64, text: String) -> wire::PromotionLine {
        wire::PromotionLine {
            at: Time(at),
            source: self.source.clone(),
            text,
            kind: wire::LineKind::Log,
        }
    }
}
