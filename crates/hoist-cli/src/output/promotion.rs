//! The words of a promotion: what happens, and when it does not succeed, why, what serves, and what to do.

use std::time::Duration;

use hoist_api::types::{LogLine, Outcome, Promotion, PromotionLine};

use super::short;
use crate::follow::Told;

/// What was asked for, in the words of the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `deploy` and `up`: mending means deploying again.
    Deploy,
    /// A release that existed.
    Release,
}

/// What happens, as a line: `2026-01-01T00:00:49Z system/local/web.1 started`.
pub(crate) fn event_line(line: &PromotionLine) -> String {
    format!(
        "{} {} {}",
        line.at.to_seconds_text(),
        line.source,
        line.text
    )
}

/// A line of a log.
pub(crate) fn log_line(line: &LogLine) -> String {
    format!(
        "{} {} {}",
        line.at.to_seconds_text(),
        line.source,
        line.text
    )
}

/// The phases with their times: `starting 120 ms, shifting 4 ms`.
pub(crate) fn phases(promotion: &Promotion) -> String {
    let phase = |phase: &hoist_api::types::PhaseTime| {
        format!(
            "{} {}",
            phase.name,
            short(Duration::from_millis(phase.milliseconds))
        )
    };
    promotion
        .phases
        .iter()
        .map(phase)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a promotion that did not succeed leaves behind: lines for the user, the hint last. Log lines that were told already
/// are not told again.
pub(crate) fn not_live(promotion: &Promotion, subject: &Subject, told: &Told) -> Vec<String> {
    let Promotion {
        app,
        release,
        number,
        ..
    } = promotion;
    let outcome = match promotion.outcome {
        Some(Outcome::RolledBack) => "was rolled back",
        Some(Outcome::Superseded) => "was superseded by a newer promotion",
        Some(Outcome::Cancelled) => "was cancelled",
        _ => "failed",
    };
    let mut lines = vec![match &promotion.reason {
        Some(reason) => format!("ERROR: {release} of {app} {outcome}: {reason}"),
        None => format!("ERROR: {release} of {app} {outcome}"),
    }];
    let last_log = promotion.last_log.iter().filter(|line| !told.has(line));
    let last_log: Vec<_> = last_log
        .map(|line| format!("  {}", log_line(line)))
        .collect();
    if !last_log.is_empty() {
        lines.push("last log lines:".to_owned());
        lines.extend(last_log);
    }
    lines.push(match &promotion.serving {
        Some(serving) if serving == release => format!("serving: {serving}"),
        Some(serving) => format!("serving: {serving}, as before"),
        None => format!("serving: nothing; {app} has no active release"),
    });
    if promotion.serving.as_ref() != Some(release) {
        lines.push(format!("kept:    {release} and its build, not active"));
    }
    lines.push(format!("look:    hoist promotions info {number} -a {app}"));
    let mend = match (subject, promotion.outcome) {
        (_, Some(Outcome::Superseded)) => {
            format!("`hoist releases -a {app}` shows what is active now")
        }
        (_, Some(Outcome::Cancelled)) => {
            format!("`hoist promote {release} -a {app}` tries it again")
        }
        (Subject::Deploy, _) => format!("mend the source and run `hoist deploy -a {app}` again"),
        (Subject::Release, _) => format!("`hoist logs -a {app}` shows what its processes said"),
    };
    lines.push(format!(
        "hint: {}",
        promotion.hint.as_ref().unwrap_or(&mend)
    ));
    lines
}

#[cfg(test)]
mod tests {
    use hoist_api::Time;
    use hoist_api::types::{LineKind, LogStreamName, PhaseName, PhaseTime, PromotionKind};

    use super::*;

    fn failed() -> Promotion {
        Promotion {
            number: "1.42".to_owned(),
            app: "hello".to_owned(),
            release: "RBBBBBBBBBB".to_owned(),
            kind: PromotionKind::Promote,
            actor: "admin".to_owned(),
            phase: None,
            waiting: None,
            outcome: Some(Outcome::RolledBack),
            reason: Some("web.1 listens on 3000, not on $PORT (41873)".to_owned()),
            hint: Some("make the app listen on the port in $PORT".to_owned()),
            began: Time(1_767_225_649_000),
            ended: Some(Time(1_767_225_651_000)),
            deadline: None,
            serving: Some("RAAAAAAAAAA".to_owned()),
            last_log: vec![LogLine {
                at: Time(1_767_225_650_000),
                source: "service/web/0a1b2c3d4e5f".to_owned(),
                text: "listening on 3000".to_owned(),
                stream: LogStreamName::Stdout,
            }],
            phases: vec![
                PhaseTime {
                    name: PhaseName::Starting,
                    milliseconds: 1_530,
                },
                PhaseTime {
                    name: PhaseName::RollingBack,
                    milliseconds: 40,
                },
            ],
            services: Vec::new(),
        }
    }

    #[test]
    fn a_rollback_says_why_and_what_serves() {
        let expected = "\
ERROR: RBBBBBBBBBB of hello was rolled back: web.1 listens on 3000, not on $PORT (41873)
last log lines:
  2026-01-01T00:00:50Z service/web/0a1b2c3d4e5f listening on 3000
serving: RAAAAAAAAAA, as before
kept:    RBBBBBBBBBB and its build, not active
look:    hoist promotions info 1.42 -a hello
hint: make the app listen on the port in $PORT";
        assert_eq!(
            not_live(&failed(), &Subject::Deploy, &Told::default()).join("\n"),
            expected
        );
    }

    #[test]
    fn a_first_deploy_that_fails_says_that_nothing_serves() {
        let promotion = Promotion {
            outcome: Some(Outcome::Failed),
            serving: None,
            hint: None,
            last_log: Vec::new(),
            ..failed()
        };
        let expected = "\
ERROR: RBBBBBBBBBB of hello failed: web.1 listens on 3000, not on $PORT (41873)
serving: nothing; hello has no active release
kept:    RBBBBBBBBBB and its build, not active
look:    hoist promotions info 1.42 -a hello
hint: mend the source and run `hoist deploy -a hello` again";
        assert_eq!(
            not_live(&promotion, &Subject::Deploy, &Told::default()).join("\n"),
            expected
        );
    }

    #[test]
    fn a_release_that_serves_is_not_said_to_be_inactive() {
        let promotion = Promotion {
            serving: Some("RBBBBBBBBBB".to_owned()),
            kind: PromotionKind::Restart,
            ..failed()
        };
        let lines = not_live(&promotion, &Subject::Release, &Told::default()).join("\n");
        assert!(lines.contains("serving: RBBBBBBBBBB\n"), "{lines}");
        assert!(!lines.contains("not active"), "{lines}");
    }

    #[test]
    fn what_was_told_as_it_came_is_not_told_again() {
        let mut told = Told::default();
        let line = &failed().last_log[0];
        told.add(line.at, &line.text, "system/local/release");
        let lines = not_live(&failed(), &Subject::Deploy, &told).join("\n");
        assert!(!lines.contains("listening on 3000"), "{lines}");
        assert!(!lines.contains("last log lines"), "{lines}");
    }

    #[test]
    fn a_cancelled_one_needs_no_mending() {
        let promotion = Promotion {
            outcome: Some(Outcome::Cancelled),
            hint: None,
            reason: None,
            ..failed()
        };
        let lines = not_live(&promotion, &Subject::Deploy, &Told::default());
        assert_eq!(lines[0], "ERROR: RBBBBBBBBBB of hello was cancelled");
        assert_eq!(
            lines.last().map(String::as_str),
            Some("hint: `hoist promote RBBBBBBBBBB -a hello` tries it again")
        );
    }

    #[test]
    fn lines_and_phases() {
        let line = PromotionLine {
            at: Time(1_767_225_649_123),
            source: "system/local/web.1".to_owned(),
            text: "started".to_owned(),
            kind: LineKind::Process,
        };
        assert_eq!(
            event_line(&line),
            "2026-01-01T00:00:49Z system/local/web.1 started"
        );
        assert_eq!(phases(&failed()), "starting 1.5 s, rolling-back 40 ms");
    }
}
