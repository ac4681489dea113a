//! `hoist releases prune`: removes releases and builds that nobody needs, and says what that freed.

use clap::Args;
use hoist_api::endpoints::ReleasePrune;
use hoist_api::types::{Empty, PruneRequest, Pruned, PrunedItem, PrunedKind};

use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Table, bytes};

#[derive(Debug, Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    app: AppArgs,
    /// Of every app of the rack
    #[arg(long, conflicts_with = "app")]
    all: bool,
    /// Remove nothing, only show what would be
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Prune, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let app = match args.all {
        true => None,
        false => Some(context.app(&args.app)?),
    };
    let request = PruneRequest {
        app,
        dry_run: args.dry_run,
    };
    let client = context.client()?;
    let pruned = client
        .call::<ReleasePrune>(&Empty {}, &Empty {}, &request)
        .await?;
    if context.out.json() {
        context.out.print_json(&pruned)?;
    } else {
        if !pruned.items.is_empty() {
            context.out.table(&table(&pruned.items))?;
        }
        context.out.line(&sum(&pruned))?;
        if let Some(text) = needed(pruned.needed) {
            context.out.chatter(&text)?;
        }
    }
    for failure in &pruned.failed {
        let text = format!("not all of {}: {}", failure.app, failure.reason);
        context.out.error(&text, None)?;
    }
    match pruned.failed.is_empty() {
        true => Ok(()),
        false => Err(CliError::Said { exit_code: 1 }),
    }
}

fn table(items: &[PrunedItem]) -> Table {
    let row = |item: &PrunedItem| {
        let size = match item.kind {
            PrunedKind::Release => String::new(),
            _ => bytes(item.bytes),
        };
        [
            item.app.as_str().into(),
            item.kind.as_str().into(),
            item.id.as_str().into(),
            size.into(),
            item.reason.as_str().into(),
        ]
    };
    Table::list(
        ["APP", "KIND", "ID", "SIZE", "REASON"],
        items.iter().map(row),
    )
}

/// Why nothing more goes, although there are older releases than are kept.
fn needed(count: u64) -> Option<String> {
    let stay = match count {
        0 => return None,
        1 => "1 older release stays".to_owned(),
        count => format!("{count} older releases stay"),
    };
    Some(format!(
        "{stay}: warm, staged, run by something, or a way back"
    ))
}

/// `freed 123.0 MB: 12 releases, 3 builds`.
fn sum(pruned: &Pruned) -> String {
    let of = |kind| pruned.items.iter().filter(|item| item.kind == kind).count() as u64;
    let counts = [
        (of(PrunedKind::Release), "release", "releases"),
        (of(PrunedKind::Build), "build", "builds"),
        (of(PrunedKind::Stray), "stray", "strays"),
        (pruned.promotions, "old promotion", "old promotions"),
        (pruned.events, "old event", "old events"),
        (pruned.one_offs, "old one-off", "old one-offs"),
    ];
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    let words: Vec<_> = counts
        .map(|(count, one, many)| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {many}"),
        })
        .collect();
    match (words.is_empty(), pruned.dry_run) {
        (true, _) => "nothing to free".to_owned(),
        (false, true) => format!("would free {}: {}", bytes(pruned.bytes), words.join(", ")),
        (false, false) => format!("freed {}: {}", bytes(pruned.bytes), words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: PrunedKind, id: &str, bytes: u64, reason: &str) -> PrunedItem {
        PrunedItem {
            app: "shop".to_owned(),
            kind,
            id: id.to_owned(),
            bytes,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn what_goes_is_listed_with_its_size_and_summed() {
        let old = "not among the newest 50";
        let unneeded = "no release that is kept has it";
        let items = vec![
            item(PrunedKind::Release, "RABCDEFGHIJ", 0, old),
            item(PrunedKind::Release, "RBCDEFGHIJK", 0, old),
            item(PrunedKind::Build, "BABCDEFGHIJ", 12_300_000, unneeded),
        ];
        let expected = "\
APP   KIND     ID           SIZE     REASON
shop  release  RABCDEFGHIJ           not among the newest 50
shop  release  RBCDEFGHIJK           not among the newest 50
shop  build    BABCDEFGHIJ  12.3 MB  no release that is kept has it
";
        assert_eq!(table(&items).render(None, false), expected);
        let mut pruned = Pruned {
            bytes: 12_300_000,
            events: 1,
            items,
            ..Pruned::default()
        };
        let words = "12.3 MB: 2 releases, 1 build, 1 old event";
        assert_eq!(sum(&pruned), format!("freed {words}"));
        pruned.dry_run = true;
        assert_eq!(sum(&pruned), format!("would free {words}"));
        assert_eq!(sum(&Pruned::default()), "nothing to free");
    }

    #[test]
    fn older_releases_that_stay_are_told() {
        let told = [0, 1, 2].map(needed);
        let one = "1 older release stays: warm, staged, run by something, or a way back";
        let two = "2 older releases stay: warm, staged, run by something, or a way back";
        assert_eq!(told, [None, Some(one.to_owned()), Some(two.to_owned())]);
    }
}
