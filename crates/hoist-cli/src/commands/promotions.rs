//! `hoist promotions`, `hoist cancel`, `hoist events`: what was tried, and what happened.

use clap::{Args, Subcommand};
use hoist_api::Time;
use hoist_api::endpoints::{EventList, PromotionCancel, PromotionGet, PromotionList};
use hoist_api::types::{CancelQuery, Empty, Event, PhaseName, Promotion, PromotionPath, Waiting};

use crate::args::{AppArgs, PageArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::last_log;
use crate::output::{Cell, Table, ago, phases, short};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Promotions {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(subcommand)]
    command: Option<PromotionsCommand>,
}

#[derive(Debug, Subcommand)]
enum PromotionsCommand {
    /// Show a promotion: where it stands and what it waits for, or how it ended and why
    Info {
        /// The promotion's number, as 1.42
        number: String,
        #[command(flatten)]
        app: AppArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    page: PageArgs,
}

pub(crate) async fn run(args: Promotions, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => list(&args.app, args.page, context).await,
        Some(PromotionsCommand::Info { number, app }) => {
            let path = PromotionPath {
                app: context.app(&app)?,
                number,
            };
            let promotion = context
                .client()?
                .call::<PromotionGet>(&path, &Empty {}, &Empty {})
                .await?;
            context
                .out
                .data(&promotion, |promotion| fields(promotion, Time::now()))
        }
    }
}

async fn list(
    app: &AppArgs,
    page: PageArgs,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = context.app_path(app)?;
    let query = page.query();
    let promotions = context
        .client()?
        .call::<PromotionList>(&path, &query, &Empty {})
        .await?;
    let now = Time::now();
    context.out.list(&promotions, |promotions| {
        let row = |promotion: &Promotion| {
            [
                promotion.number.as_str().into(),
                promotion.kind.as_str().into(),
                promotion.release.as_str().into(),
                standing(promotion),
                ago(promotion.began, now).into(),
                promotion
                    .ended
                    .map(|ended| short(promotion.began.until(ended)))
                    .unwrap_or_default()
                    .into(),
                promotion.actor.as_str().into(),
                promotion.reason.as_deref().unwrap_or_default().into(),
            ]
        };
        let header = [
            "NUMBER", "KIND", "RELEASE", "OUTCOME", "BEGAN", "DURATION", "ACTOR", "REASON",
        ];
        Table::list(header, promotions.iter().map(row))
    })
}

/// Its outcome, or the phase while it is in flight.
fn standing(promotion: &Promotion) -> Cell {
    let outcome = promotion.outcome.map(|outcome| outcome.as_str());
    let phase = promotion.phase.map(|phase| phase.as_str());
    Cell::word(outcome.or(phase).unwrap_or_default())
}

fn waiting(waiting: &Waiting, now: Time) -> String {
    let limit = waiting
        .until
        .map(|until| format!(", at most {} more", short(now.until(until))))
        .unwrap_or_default();
    format!(
        "{} (for {}{limit})",
        waiting.on,
        short(waiting.since.until(now))
    )
}

fn fields(promotion: &Promotion, now: Time) -> Table {
    let text = |text: &Option<String>| text.as_ref().map(Cell::from);
    let mut table = Table::fields([
        ("Number", Some(Cell::from(&promotion.number))),
        ("App", Some(Cell::from(&promotion.app))),
        ("Release", Some(Cell::from(&promotion.release))),
        ("Kind", Some(promotion.kind.as_str().into())),
        ("Status", Some(standing(promotion))),
        (
            "Waits for",
            promotion
                .waiting
                .as_ref()
                .map(|wait| waiting(wait, now).into()),
        ),
        ("Reason", text(&promotion.reason)),
        ("Hint", text(&promotion.hint)),
        ("Actor", Some(Cell::from(&promotion.actor))),
        ("Began", Some(promotion.began.to_seconds_text().into())),
        (
            "Ended",
            promotion.ended.map(|ended| ended.to_seconds_text().into()),
        ),
        (
            "Phases",
            Some(phases(promotion))
                .filter(|phases| !phases.is_empty())
                .map(Cell::from),
        ),
        ("Serving", text(&promotion.serving)),
    ]);
    let services = promotion.services.iter().map(|service| {
        let how = format!(
            "{}, {}, {} of {} ready",
            service.plan, service.strategy, service.ready, service.desired
        );
        vec![format!("Service {}", service.name).into(), how.into()]
    });
    table.extend(services);
    let label = std::iter::once("Last log").chain(std::iter::repeat(""));
    table.extend(
        last_log(promotion)
            .zip(label)
            .map(|(line, label)| vec![label.into(), line.into()]),
    );
    table
}

pub(crate) async fn cancel(args: AppArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(&args)?;
    let client = context.client()?;
    context.out.begin("Cancelling")?;
    let promotion = client
        .call::<PromotionCancel>(&path, &CancelQuery::default(), &Empty {})
        .await?;
    let already = match promotion.phase {
        Some(PhaseName::RollingBack) => " already",
        _ => "",
    };
    context.out.done(&format!(
        "OK, promotion {} of {} goes back{already}",
        promotion.number, promotion.release
    ))?;
    if context.out.json() {
        context.out.print_json(&promotion)
    } else {
        Ok(())
    }
}

pub(crate) async fn events(args: Events, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(&args.app)?;
    let query = args.page.query();
    let events = context
        .client()?
        .call::<EventList>(&path, &query, &Empty {})
        .await?;
    let now = Time::now();
    context.out.list(&events, |events| {
        let row = |event: &Event| {
            [
                ago(event.at, now).into(),
                event.name.as_str().into(),
                event.actor.as_str().into(),
                event.text.as_str().into(),
            ]
        };
        Table::list(["WHEN", "EVENT", "ACTOR", "TEXT"], events.iter().map(row))
    })
}
