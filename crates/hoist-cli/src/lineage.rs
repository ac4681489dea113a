//! What a new release stands on, told when it is made: what is staged in it, and what it is not built on. And how releases
//! differ.

use hoist_api::types::{EnvChange, PassedOverRelease, Release, ReleaseDiff};

use crate::error::CliError;
use crate::output::Output;

/// Of so many releases that were passed over each has its line.
const LINES_MAX: usize = 3;

/// Says what goes out with a release beside its own change, and what was passed over for it. In JSON it is in the data.
pub(crate) fn tell(out: &mut Output<'_>, release: &Release) -> Result<(), CliError> {
    if out.json() {
        return Ok(());
    }
    for line in lines(release) {
        out.chatter(&line)?;
    }
    Ok(())
}

fn lines(release: &Release) -> Vec<String> {
    let includes = release.includes.iter().map(|included| {
        let name = named(&included.release, &included.description);
        format!("includes staged {name}")
    });
    includes.chain(passed_over(&release.passed_over)).collect()
}

/// A line for each release that was passed over; of many the newest.
pub(crate) fn passed_over(releases: &[PassedOverRelease]) -> Vec<String> {
    let shown = releases.iter().take(LINES_MAX);
    let mut lines: Vec<_> = shown
        .map(|over| format!("{} was passed over: {}", over.release, over.reason))
        .collect();
    if releases.len() > LINES_MAX {
        let more = releases.len() - LINES_MAX;
        lines.push(format!("{more} older releases were passed over as well"));
    }
    lines
}

/// How a release differs from another, on one line; nothing when it does not.
pub(crate) fn changes(diff: &ReleaseDiff) -> Option<String> {
    let build = diff.build.as_ref().map(|_| build_words(diff));
    let added = diff.manifest.iter().filter(|line| line.starts_with('+'));
    let added = added.count();
    let removed = diff.manifest.len() - added;
    let manifest = (!diff.manifest.is_empty()).then(|| format!("manifest +{added} -{removed}"));
    let env = Some(env_words(&diff.env)).filter(|words| !words.is_empty());
    let env = env.map(|words| format!("env {words}"));
    let parts: Vec<_> = [build, manifest, env].into_iter().flatten().collect();
    let of = &diff.against;
    (!parts.is_empty()).then(|| format!("changes against {of}: {}", parts.join(", ")))
}

/// `build B… instead of B…`.
pub(crate) fn build_words(diff: &ReleaseDiff) -> String {
    let name = |build: Option<&String>| build.map_or("none", String::as_str).to_owned();
    let change = diff.build.as_ref();
    let after = name(change.and_then(|change| change.after.as_ref()));
    let before = name(change.and_then(|change| change.before.as_ref()));
    format!("build {after} instead of {before}")
}

/// `add:FOO change:BAR remove:BAZ`.
pub(crate) fn env_words(env: &EnvChange) -> String {
    let groups = [
        ("add", &env.added),
        ("change", &env.changed),
        ("remove", &env.removed),
    ];
    let words = groups
        .iter()
        .flat_map(|(word, names)| names.iter().map(move |name| format!("{word}:{name}")));
    words.collect::<Vec<_>>().join(" ")
}

fn named(release: &str, description: &str) -> String {
    match description {
        "" => release.to_owned(),
        description => format!("{release}: {description}"),
    }
}

#[cfg(test)]
mod tests {
    use hoist_api::Time;
    use hoist_api::types::{BuildChange, IncludedRelease};

    use super::*;

    fn over(release: &str) -> PassedOverRelease {
        PassedOverRelease {
            release: release.to_owned(),
            description: "build".to_owned(),
            reason: "its promotion was rolled back".to_owned(),
        }
    }

    #[test]
    fn what_is_staged_comes_with_its_description_and_what_is_not_with_the_reason() {
        let included = |release: &str, description: &str| IncludedRelease {
            release: release.to_owned(),
            description: description.to_owned(),
        };
        let release = Release {
            id: "R4".to_owned(),
            app: "shop".to_owned(),
            status: None,
            build: None,
            created: Time(0),
            description: String::new(),
            parent: None,
            actor: "admin".to_owned(),
            env: None,
            masked: Vec::new(),
            manifest: None,
            includes: vec![included("R1", "env add:FOO"), included("R2", "")],
            passed_over: vec![over("R3")],
            promotions: Vec::new(),
        };
        let expected = [
            "includes staged R1: env add:FOO",
            "includes staged R2",
            "R3 was passed over: its promotion was rolled back",
        ];
        assert_eq!(lines(&release), expected);
    }

    #[test]
    fn a_difference_is_one_line_and_no_difference_is_none() {
        let mut diff = ReleaseDiff {
            release: "R2".to_owned(),
            against: "R1".to_owned(),
            ..ReleaseDiff::default()
        };
        assert_eq!(changes(&diff), None);
        diff.env.changed = vec!["BAR".to_owned()];
        diff.env.added = vec!["A".to_owned(), "FOO".to_owned()];
        let env = "changes against R1: env add:A add:FOO change:BAR";
        assert_eq!(changes(&diff).as_deref(), Some(env));
        diff.build = Some(BuildChange {
            before: None,
            after: Some("B2".to_owned()),
        });
        diff.manifest = ["-a", "+b", "+c"].map(str::to_owned).into();
        let all = "changes against R1: build B2 instead of none, manifest +2 -1, env add:A add:FOO change:BAR";
        assert_eq!(changes(&diff).as_deref(), Some(all));
    }

    #[test]
    fn many_failures_are_not_many_lines() {
        let releases: Vec<_> = ["R9", "R8", "R7", "R6", "R5"].map(over).into();
        let lines = passed_over(&releases);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[3], "2 older releases were passed over as well");
    }
}
