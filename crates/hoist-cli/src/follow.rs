//! Builds and promotions that are followed: their lines as they come and, on a terminal, a block below them that says
//! how things stand. Without a terminal there are the lines alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hoist_api::Time;
use hoist_api::client::Next;
use hoist_api::endpoints::{BuildLogs, PromotionCancel, PromotionEvents, PromotionGet};
use hoist_api::types::{
    Build, BuildPath, CancelQuery, Empty, LogLine, PhaseName, Promotion, PromotionLine,
    PromotionPath,
};
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};

use crate::error::CliError;
use crate::flow::Flow;
use crate::interrupt::{Person, QUESTION, Wish, wish};
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

/// Lines that are held back while a question stands; the stream waits with more.
const HELD_MAX: usize = 1_000;

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
    pub(crate) async fn follow(
        &mut self,
        promotion: Promotion,
    ) -> Result<(Promotion, Told), CliError> {
        if promotion.outcome.is_some() {
            return Ok((promotion, Told::default()));
        }
        let person = match self.context.asks {
            true => Some(Person::attend(&self.context.interrupts)?),
            false => None,
        };
        let mut followed = Followed {
            path: PromotionPath {
                app: self.app.clone(),
                number: promotion.number,
            },
            since: Instant::now(),
            told: Told::default(),
            gone_since: None,
            person,
            held_back: Vec::new(),
        };
        let ended = loop {
            match self.follow_once(&mut followed).await {
                Err(CliError::Call(error)) if error.gone() => {
                    let since = match followed.gone_since {
                        Some(since) => since,
                        None => self.rack_is_gone(&mut followed)?,
                    };
                    if since.elapsed() > GONE_LIMIT {
                        return Err(error.into());
                    }
                    tokio::select! {
                        () = tokio::time::sleep(GONE_PAUSE) => {}
                        // There is nobody to cancel it.
                        _ = wish(&mut followed.person) => return Err(self.left()),
                    }
                }
                ended => break ended?,
            }
        };
        self.context.out.clear()?;
        self.tell_held_back(&mut followed)?;
        Ok((ended, followed.told))
    }

    fn rack_is_gone(&mut self, followed: &mut Followed) -> Result<Instant, CliError> {
        if let Some(person) = &mut followed.person {
            person.drop_question();
        }
        self.context.out.clear()?;
        self.tell_held_back(followed)?;
        self.context
            .out
            .note("the rack is gone: waiting for it to come back")?;
        Ok(*followed.gone_since.insert(Instant::now()))
    }

    async fn follow_once(&mut self, followed: &mut Followed) -> Result<Promotion, CliError> {
        let mut stream = tokio::select! {
            stream = self.client.stream::<PromotionEvents, _, _>(&followed.path, &Empty {}) => stream?,
            // It does not answer now, so that nothing can be asked of it.
            _ = wish(&mut followed.person) => return Err(self.left()),
        };
        let draws = self.context.out.draws();
        let mut drawings = drawings();
        let mut told_here = Told::default();
        loop {
            let asked = followed.asked();
            let next = tokio::select! {
                wish = wish(&mut followed.person) => {
                    self.heed(wish, followed).await?;
                    continue;
                }
                next = stream.next(), if followed.held_back.len() < HELD_MAX => next?,
                _ = drawings.tick(), if draws && !asked => {
                    self.draw(followed).await?;
                    continue;
                }
            };
            followed.gone_since = None;
            match next {
                Next::End(promotion) => return Ok(promotion),
                Next::Line(line) => {
                    let here = told_here.add(line.at, &line.text, &line.source);
                    if here <= followed.told.times(line.at, &line.text, &line.source) {
                        continue;
                    }
                    followed.told.add(line.at, &line.text, &line.source);
                    match asked {
                        true => followed.held_back.push(line),
                        false => self.context.out.chatter(&event_line(&line))?,
                    }
                }
            }
        }
    }

    /// Does what the person at the terminal wants.
    async fn heed(&mut self, wish: Wish, followed: &mut Followed) -> Result<(), CliError> {
        if wish != Wish::Ask && !followed.asked() {
            self.context.out.answered();
        }
        match wish {
            Wish::Ask | Wish::Unclear => {
                if let Some(person) = &mut followed.person {
                    person.ask();
                }
                self.context.out.ask(QUESTION)
            }
            Wish::Leave => Err(self.left()),
            Wish::Watch => self.tell_held_back(followed),
            Wish::Cancel => {
                self.tell_held_back(followed)?;
                self.cancel(&followed.path).await
            }
        }
    }

    /// What goes on when the person at the terminal goes.
    fn left(&mut self) -> CliError {
        CliError::Interrupted {
            goes_on: self.context.goes_on.take(),
        }
    }

    /// Cancels the promotion that is followed, and no other. Where that is refused, what happens to it is told as before.
    async fn cancel(&mut self, path: &PromotionPath) -> Result<(), CliError> {
        self.context
            .out
            .begin(&format!("Cancelling promotion {}", path.number))?;
        let query = CancelQuery {
            promotion: Some(path.number.clone()),
        };
        let app = self.path();
        let asked = self.client.call::<PromotionCancel>(&app, &query, &Empty {});
        match asked.await {
            Ok(promotion) if promotion.phase == Some(PhaseName::RollingBack) => {
                self.context.out.done("OK, it goes back already")
            }
            Ok(_) => self.context.out.done("OK"),
            Err(error) => self.context.out.warn(&error.to_string()),
        }
    }

    /// Prints what came while a question stood.
    fn tell_held_back(&mut self, followed: &mut Followed) -> Result<(), CliError> {
        for line in followed.held_back.drain(..) {
            self.context.out.chatter(&event_line(&line))?;
        }
        Ok(())
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

/// Lines of a stream, and how often each came.
#[derive(Debug, Default)]
pub(crate) struct Told(HashMap<(Time, String, String), u32>);

impl Told {
    /// Once more; answers how often it came by now.
    pub(crate) fn add(&mut self, at: Time, text: &str, source: &str) -> u32 {
        let key = (at, text.to_owned(), source.to_owned());
        let times = self.0.entry(key).or_default();
        *times += 1;
        *times
    }

    fn times(&self, at: Time, text: &str, source: &str) -> u32 {
        let key = (at, text.to_owned(), source.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// Whether a line of a log came, under whatever name its source has in a stream.
    pub(crate) fn has(&self, line: &LogLine) -> bool {
        let mut told = self.0.keys();
        told.any(|(at, text, _)| (*at, text) == (line.at, &line.text))
    }
}

/// A promotion that is followed.
struct Followed {
    path: PromotionPath,
    since: Instant,
    /// The lines that were printed already.
    told: Told,
    /// Since when the rack does not answer.
    gone_since: Option<Instant>,
    /// Whoever can be asked.
    person: Option<Person>,
    /// Lines to print when the question is answered.
    held_back: Vec<PromotionLine>,
}

impl Followed {
    fn asked(&self) -> bool {
        self.person.as_ref().is_some_and(Person::asked)
    }
}
