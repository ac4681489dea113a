//! The block that stands below the lines of a promotion while it is followed: failures first, then what is in
//! progress, then what is done, in one line; and below them the promotion itself with what it waits for.

use std::time::Duration;

use hoist_api::Time;
use hoist_api::types::{PhaseName, Plan, PlannedService, Promotion};

use super::Colour;
use super::live::Line;
use super::table::Cell;

/// Services that are shown one per line; more are counted.
const LINES_MAX: usize = 8;

/// The block of a promotion at a moment. `elapsed` is what the one who waits has waited.
pub(crate) fn promotion_block(promotion: &Promotion, now: Time, elapsed: Duration) -> Vec<Line> {
    let goes_back = promotion.phase == Some(PhaseName::RollingBack);
    let mut services: Vec<_> = promotion.services.iter().collect();
    services.sort_by_key(|service| standing(service));
    let done = services
        .iter()
        .filter(|service| standing(service) == Standing::Ready)
        .count();
    let width = services.iter().map(|service| service.name.len()).max();
    let width = width.unwrap_or_default();
    let others = services.len() - done;
    // While it goes back, how far forward it had come says nothing.
    let shown = if goes_back { 0 } else { others.min(LINES_MAX) };
    let mut lines: Vec<_> = services
        .iter()
        .take(shown)
        .map(|service| service_line(service, width))
        .collect();
    if !goes_back && others > shown {
        lines.push(vec![Cell::from(format!("  and {} more", others - shown))]);
    }
    if !goes_back && done > 0 {
        lines.push(done_line(&services[others..]));
    }
    lines.push(promotion_line(promotion, now, elapsed));
    // A line of its own: what is found is the longest and matters most.
    let waits = promotion.waiting.as_ref();
    lines.extend(waits.map(|wait| vec![Cell::from(format!("  waits for {}", wait.on))]));
    lines
}

/// In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Failing,
    Starting,
    Ready,
}

fn standing(service: &PlannedService) -> Standing {
    if service.plan == Plan::Keep || service.ready >= service.desired {
        Standing::Ready
    } else if service.problem.is_some() {
        Standing::Failing
    } else {
        Standing::Starting
    }
}

/// `  web     1/2 ready  failing: web.2 exited 2 times (exit 1)`
fn service_line(service: &PlannedService, width: usize) -> Line {
    let counted = format!(
        "  {:<width$}  {}/{} ready  ",
        service.name, service.ready, service.desired
    );
    let word = match &service.problem {
        Some(problem) => Cell::coloured(format!("failing: {problem}"), Colour::Bad),
        None => Cell::coloured("starting", Colour::Busy),
    };
    vec![Cell::from(counted), word]
}

/// `  ready: api 2/2, worker 1/1`
fn done_line(services: &[&PlannedService]) -> Line {
    let each = services.iter().map(|service| match service.plan {
        Plan::Keep => format!("{} kept", service.name),
        _ => format!("{} {}/{}", service.name, service.ready, service.desired),
    });
    let each: Vec<_> = each.collect();
    vec![
        Cell::from("  "),
        Cell::coloured("ready", Colour::Good),
        Cell::from(format!(": {}", each.join(", "))),
    ]
}

/// `starting RABC (12 s, at most 1 min 50 s more)`
fn promotion_line(promotion: &Promotion, now: Time, elapsed: Duration) -> Line {
    let phase = promotion.phase.map_or("waiting", PhaseName::as_str);
    let colour = match promotion.phase {
        Some(PhaseName::RollingBack) => Colour::Bad,
        _ => Colour::Busy,
    };
    let until = promotion.waiting.as_ref().and_then(|wait| wait.until);
    let left = until.map(|until| now.until(until));
    let left = left.filter(|left| *left >= Duration::from_secs(1));
    let limit = left.map(|left| format!(", at most {} more", seconds(left)));
    let rest = format!(
        " {} ({}{})",
        promotion.release,
        seconds(elapsed),
        limit.unwrap_or_default()
    );
    vec![Cell::coloured(phase, colour), Cell::from(rest)]
}

/// The block of a build: how long it runs.
pub(crate) fn build_block(id: &str, elapsed: Duration) -> Vec<Line> {
    let elapsed = seconds(elapsed);
    vec![vec![
        Cell::coloured("building", Colour::Busy),
        Cell::from(format!(" {id} ({elapsed})")),
    ]]
}

/// A length of time that is drawn again every moment, so without fractions: `12 s`, `1 min 5 s`, `2 h 10 min`.
fn seconds(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use hoist_api::types::{PromotionKind, Strategy, Waiting};

    use super::*;

    fn service(name: &str, ready: u16, desired: u16, problem: Option<&str>) -> PlannedService {
        PlannedService {
            name: name.to_owned(),
            plan: Plan::Replace,
            strategy: Strategy::Surge,
            desired,
            ready,
            problem: problem.map(str::to_owned),
        }
    }

    fn promotion(phase: PhaseName, services: Vec<PlannedService>) -> Promotion {
        Promotion {
            number: "1.42".to_owned(),
            app: "hello".to_owned(),
            release: "RABCDEFGHIJ".to_owned(),
            kind: PromotionKind::Promote,
            actor: "admin".to_owned(),
            phase: Some(phase),
            waiting: Some(Waiting {
                on: "web.2 to become ready: it does not listen on $PORT".to_owned(),
                since: Time(0),
                until: Some(Time(122_000)),
            }),
            outcome: None,
            reason: None,
            hint: None,
            began: Time(0),
            ended: None,
            deadline: None,
            serving: None,
            last_log: Vec::new(),
            phases: Vec::new(),
            services,
        }
    }

    fn text(lines: Vec<Line>) -> String {
        let line = |line: Line| line.iter().map(Cell::text).collect::<String>() + "\n";
        lines.into_iter().map(line).collect()
    }

    #[test]
    fn failures_first_then_what_is_in_progress_then_what_is_done() {
        let kept = PlannedService {
            plan: Plan::Keep,
            ..service("db", 0, 1, None)
        };
        let services = vec![
            service("api", 2, 2, None),
            service("web", 1, 2, None),
            kept,
            service("worker", 0, 1, Some("worker.1 exited 2 times (exit 1)")),
        ];
        let expected = "\
\x20 worker  0/1 ready  failing: worker.1 exited 2 times (exit 1)
  web     1/2 ready  starting
  ready: api 2/2, db kept
starting RABCDEFGHIJ (12 s, at most 1 min 50 s more)
  waits for web.2 to become ready: it does not listen on $PORT
";
        let block = promotion_block(
            &promotion(PhaseName::Starting, services),
            Time(12_000),
            Duration::from_millis(12_345),
        );
        assert_eq!(text(block), expected);
    }

    #[test]
    fn going_back_is_one_line() {
        let failing = vec![service("web", 0, 1, Some("web.1 exited (exit 1)"))];
        let mut promotion = promotion(PhaseName::RollingBack, failing);
        promotion.waiting = None;
        let block = promotion_block(&promotion, Time(0), Duration::from_secs(3));
        assert_eq!(text(block), "rolling-back RABCDEFGHIJ (3 s)\n");
    }

    #[test]
    fn many_services_are_counted() {
        let services = (0..20).map(|number| service(&format!("s{number}"), 0, 1, None));
        let promotion = promotion(PhaseName::Starting, services.collect());
        let block = text(promotion_block(&promotion, Time(0), Duration::ZERO));
        assert!(block.contains("  and 12 more\n"), "{block}");
        assert_eq!(block.lines().count(), 11);
    }

    #[test]
    fn a_build_shows_how_long_it_runs() {
        let block = build_block("BABCDEFGHIJ", Duration::from_millis(61_900));
        assert_eq!(text(block), "building BABCDEFGHIJ (1 min 1 s)\n");
    }
}
