//! Builds and promotions that are followed: their lines as they come and, on a terminal, a block below them that says
//! how things stand. Without a terminal there are the lines alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hoist_api::Time;
use hoist_api::client::Next;
use hoist_api::endpoints::{BuildLogs, PromotionEvents, PromotionGet};
use hoist_api::types::{Build, BuildPath, Empty, Promotion, PromotionPath};
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};

use crate::error::CliError;
use crate::flow::Flow;
use crate::output::{build_block, event_line, promotion_block};

/// How long a rack may be gone while something of it is followed: it resumes or rolls back when it is back.
pub(crate) const GONE_LIMIT: Duration = Duration::from_secs(60);
/// The pause between tries to reach a rack that is gone.
pub(crate) const GONE_PAUSE: Duration = Duration::from_millis(250);
/// What is over sooner needs no block.
const FIRST_DRAWN: Duration = Duration::from_millis(400);
/// The pause between drawings of a block.
const REDRAW_PAUSE: Duration = Duration::from_millis(500);
/// How long the look for a block may take; the one before stays as long.
const LOOK_LIMIT: Duration = Duration::from_millis(400);

/// When to draw.
fn drawings() -> Interval {
    let first = tokio::time::Instant::now() + FIRST_DRAWN;
    let mut drawings = interval_at(first, REDRAW_PAUSE);
    drawings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    drawings
}

impl Flow<'_, '_, '_> {
    /// Prints the output of a build until it ended.
    pub(crate) async fn follow_build(&mut self, build: &Build) -> Result<Build, CliError> {
        let path = BuildPath {
            app: self.app.clone(),
            build: build.id.clone(),
        };
        let mut stream = self
            .client
            .stream::<BuildLogs, _, _>(&path, &Empty {})
            .await?;
        let draws = self.context.out.draws();
        let (since, mut drawings) = (Instant::now(), drawings());
        let ended = loop {
            let next = tokio::select! {
                next = stream.next() => next?,
                _ = drawings.tick(), if draws => {
                    self.context.out.show(build_block(&build.id, since.elapsed()))?;
                    continue;
                }
            };
            match next {
                Next::Line(line) => self.context.out.chatter(&line.text)?,
                Next::End(build) => break build,
            }
        };
        self.context.out.clear()?;
        Ok(ended)
    }

    /// Prints what happens until the promotion ended. A rack that goes meanwhile is waited for: it resumes or rolls
    /// back, and tells from the start again.
    pub(crate) async fn follow(&mut self, promotion: Promotion) -> Result<Promotion, CliError> {
        if promotion.outcome.is_some() {
            return Ok(promotion);
        }
        let mut followed = Followed {
            path: PromotionPath {
                app: self.app.clone(),
                number: promotion.number,
            },
            since: Instant::now(),
            told: HashMap::new(),
            gone_since: None,
        };
        let ended = loop {
            match self.follow_once(&mut followed).await {
                Err(CliError::Call(error)) if error.gone() => {
                    let since = match followed.gone_since {
                        Some(since) => since,
                        None => {
                            self.context.out.clear()?;
                            self.context
                                .out
                                .note("the rack is gone: waiting for it to come back")?;
                            *followed.gone_since.insert(Instant::now())
                        }
                    };
                    if since.elapsed() > GONE_LIMIT {
                        return Err(error.into());
                    }
                    tokio::time::sleep(GONE_PAUSE).await;
                }
                ended => break ended?,
            }
        };
        self.context.out.clear()?;
        Ok(ended)
    }

    async fn follow_once(&mut self, followed: &mut Followed) -> Result<Promotion, CliError> {
        let mut stream = self
            .client
            .stream::<PromotionEvents, _, _>(&followed.path, &Empty {})
            .await?;
        let draws = self.context.out.draws();
        let mut drawings = drawings();
        let mut told_here = HashMap::<String, u32>::new();
        loop {
            let next = tokio::select! {
                next = stream.next() => next?,
                _ = drawings.tick(), if draws => {
                    self.draw(followed).await?;
                    continue;
                }
            };
            followed.gone_since = None;
            match next {
                Next::End(promotion) => return Ok(promotion),
                Next::Line(line) => {
                    let text = format!("{} {} {}", line.at, line.source, line.text);
                    let here = told_here.entry(text.clone()).or_default();
                    *here += 1;
                    let told = followed.told.entry(text).or_default();
                    if *here > *told {
                        *told = *here;
                        self.context.out.chatter(&event_line(&line))?;
                    }
                }
            }
        }
    }

    /// Looks how the promotion stands, and shows it. A look that fails leaves what there is: the stream says what is wrong.
    async fn draw(&mut self, followed: &Followed) -> Result<(), CliError> {
        let look = self
            .client
            .call::<PromotionGet>(&followed.path, &Empty {}, &Empty {});
        match timeout(LOOK_LIMIT, look).await {
            Ok(Ok(promotion)) if promotion.outcome.is_none() => {
                let elapsed = followed.since.elapsed();
                let block = promotion_block(&promotion, Time::now(), elapsed);
                self.context.out.show(block)
            }
            _ => Ok(()),
        }
    }
}

/// A promotion that is followed.
struct Followed {
    path: PromotionPath,
    since: Instant,
    /// The lines that were printed already, and how often.
    told: HashMap<String, u32>,
    /// Since when the rack does not answer.
    gone_since: Option<Instant>,
}
