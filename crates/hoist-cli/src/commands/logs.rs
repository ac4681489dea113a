//! `hoist logs`: lines of an app, from now on or until now.

use std::collections::HashSet;
use std::time::Instant;

use clap::Args;
use hoist_api::Time;
use hoist_api::client::{Client, Next};
use hoist_api::endpoints::LogStream;
use hoist_api::types::{AppPath, LogLine, LogQuery};

use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::follow::{GONE_LIMIT, GONE_PAUSE};
use crate::output::log_line;

/// How many old lines come before the new ones, unless asked for.
const FOLLOW_TAIL: u32 = 100;

/// How far back before the newest line a rack that came back is asked.
const OVERLAP_SECONDS: u64 = 5;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    app: AppArgs,
    /// Go on with what comes [default on a terminal]
    #[arg(short, long)]
    follow: bool,
    /// Stop after what is kept [default when not on a terminal]
    #[arg(long, conflicts_with = "follow")]
    no_follow: bool,
    /// Only lines of the last while, as 90s, 10m, 2h or 1d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    since: Option<u64>,
    /// Only so many last lines of what is kept [default: 100 when following]
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<u32>,
    /// Only lines of this service
    #[arg(short, long)]
    service: Option<String>,
    /// Only lines of this process
    #[arg(short, long, value_name = "ID")]
    process: Option<String>,
}

pub(crate) async fn run(args: Logs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(&args.app)?;
    let follow = args.follow || !args.no_follow && context.environment.stdout_terminal;
    let query = LogQuery {
        follow,
        since_seconds: args.since,
        tail: args
            .tail
            .or_else(|| (follow && args.since.is_none()).then_some(FOLLOW_TAIL)),
        service: args.service,
        process: args.process,
    };
    let client = context.client()?;
    let mut shown = Shown::default();
    let mut gone_since: Option<Instant> = None;
    loop {
        let asked = shown.query(&query, Time::now());
        match stream(&client, &path, &asked, &mut shown, &mut gone_since, context).await {
            Err(CliError::Call(error)) if follow && shown.connected && error.gone() => {
                let since = match gone_since {
                    Some(since) => since,
                    None => {
                        context
                            .out
                            .note("the rack is gone: waiting for it to come back")?;
                        *gone_since.insert(Instant::now())
                    }
                };
                if since.elapsed() > GONE_LIMIT {
                    return Err(error.into());
                }
                tokio::time::sleep(GONE_PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// Prints lines until the stream ends or breaks off.
async fn stream(
    client: &Client,
    path: &AppPath,
    query: &LogQuery,
    shown: &mut Shown,
    gone_since: &mut Option<Instant>,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let mut lines = client.stream::<LogStream, _, _>(path, query).await?;
    shown.connected = true;
    *gone_since = None;
    loop {
        match lines.next().await? {
            Next::End(_) => return Ok(()),
            Next::Line(line) if !shown.is_new(&line) => {}
            Next::Line(line) if context.out.json() => context.out.print_json_line(&line)?,
            Next::Line(line) => context.out.line(&log_line(&line))?,
        }
    }
}

/// What was printed already, so that a rack that came back is asked for the rest and no line comes twice.
#[derive(Default)]
struct Shown {
    /// A stream was open once.
    connected: bool,
    /// The time of the newest line.
    newest: Option<Time>,
    /// The lines of that time.
    at_newest: HashSet<String>,
    /// What was shown of older times before the stream broke off.
    until: Option<Time>,
}

impl Shown {
    /// What to ask for: at first what the user asked for, then what came since the newest line.
    fn query(&mut self, asked: &LogQuery, now: Time) -> LogQuery {
        self.until = self.newest;
        let mut query = asked.clone();
        if self.connected {
            let since = self.newest.map_or(0, |newest| newest.until(now).as_secs());
            // Clocks differ a little, and what comes twice is left out.
            query.since_seconds = Some(since + OVERLAP_SECONDS);
            query.tail = None;
        }
        query
    }

    /// Whether a line was not printed yet.
    fn is_new(&mut self, line: &LogLine) -> bool {
        if self.until.is_some_and(|until| line.at < until) {
            return false;
        }
        let text = format!("{} {}", line.source, line.text);
        if self.newest == Some(line.at) {
            // The same words at the same moment come twice only from the same stream.
            return self.at_newest.insert(text) || self.until != self.newest;
        }
        if self.newest.is_none_or(|newest| line.at > newest) {
            self.newest = Some(line.at);
            self.at_newest = HashSet::from([text]);
        }
        true
    }
}

/// Reads a length of time: a number of seconds, or one with its unit.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let with_unit = units
        .iter()
        .find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (number, size) = with_unit.unwrap_or((text, 1));
    let number = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(size));
    number.ok_or_else(|| "write a number with s, m, h or d, as 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, expected) in [
            ("90", 90),
            ("90s", 90),
            ("10m", 600),
            ("2h", 7_200),
            ("1d", 86_400),
        ] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in [
            "",
            "m",
            "-1s",
            "1.5h",
            "1w",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
