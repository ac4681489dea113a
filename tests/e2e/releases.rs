//! Releases as the reference of where people come from shows them: each of its examples, typed with `hoist`, gives output
//! of the same shape.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[
    ("created_listed_and_shown", created_listed_and_shown),
    ("composed_of_two", composed_of_two),
    ("promoted_and_rolled_back", promoted_and_rolled_back),
    (
        "the_output_names_what_goes_out_and_what_does_not",
        the_output_names_what_goes_out_and_what_does_not,
    ),
    ("ids_alone_for_scripts", ids_alone_for_scripts),
];

/// Output with what differs each time made the same: ids, times, and the spaces between columns.
fn shape(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().map(word).collect();
        words.join(" ").replace("AGO ago", "AGO")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn word(word: &str) -> String {
    let id = |first: char| {
        word.len() >= 11
            && word.starts_with(first)
            && word[..11].bytes().all(|byte| byte.is_ascii_uppercase())
    };
    if id('R') || id('B') {
        return format!("{}…{}", &word[..1], &word[11..]);
    }
    let time = word.len() >= 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    if time {
        "TIME".to_owned()
    } else {
        word.to_owned()
    }
}

/// A list without its column of times, which depends on how fast the machine is.
fn listed(rack: &Rack) -> Result<Vec<String>> {
    let list = rack.ok(&["releases", "-a", "myapp"])?.stdout;
    let lines = list.lines().map(|line| {
        let line = shape(line);
        match line.split_once(" ago ") {
            Some((before, after)) => {
                let before: Vec<_> = before.rsplitn(3, ' ').collect();
                format!("{} {after}", before.last().copied().unwrap_or_default())
            }
            None => line
                .replace(" now ", " ")
                .trim_end_matches(" now")
                .to_owned(),
        }
    });
    Ok(lines.collect())
}

fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let ran = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
        .args(args)
        .output()
        .context("git")?;
    ensure!(ran.status.success(), "{ran:?}");
    Ok(String::from_utf8(ran.stdout)?.trim().to_owned())
}

fn created_listed_and_shown() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("myapp", "first")?;
    let dir = source.dir();
    git(&dir, &["init", "-q"])?;
    git(&dir, &["add", "."])?;
    git(&dir, &["commit", "-q", "-m", "my commit message"])?;
    let sha = git(&dir, &["rev-parse", "HEAD"])?;
    let path = dir.to_string_lossy();
    let built = rack.ok(&["build", &path, "-a", "myapp"])?;
    ensure!(shape(&built.stdout) == "Build: B…\nRelease: R…", "{built}");
    built.expect(0, &["Packaging source... OK", "Starting build... OK"])?;
    rack.ok(&["releases", "promote", built.release()?, "-a", "myapp"])?;

    let set = rack.ok(&["env", "set", "FOO=bar", "-a", "myapp"])?;
    ensure!(shape(&set.stdout) == "Release: R…", "{set}");
    set.expect(0, &["Setting FOO... OK"])?;
    let commit = format!("build {} my commit message", &sha[..10]);
    let expected = [
        "ID STATUS BUILD CREATED DESCRIPTION".to_owned(),
        "R… B… env add:FOO".to_owned(),
        format!("R… active B… {commit}"),
    ];
    ensure!(listed(&rack)? == expected, "{:?}", listed(&rack)?);
    ensure!(
        rack.items(&["releases", "-a", "myapp", "--limit", "1"])?
            .len()
            == 1
    );

    let info = rack.ok(&["releases", "info", set.release()?, "-a", "myapp"])?;
    let shown = shape(&info.stdout);
    let fields = "Id R…\nBuild B…\nCreated TIME\nDescription env add:FOO\nEnv FOO=bar\nParent R…\n";
    ensure!(shown.starts_with(fields), "{info}");
    let info = rack.ok(&["releases", "info", built.release()?, "-a", "myapp"])?;
    ensure!(
        shape(&info.stdout).contains("promote: succeeded after"),
        "{info}"
    );

    let manifest = rack.ok(&["releases", "manifest", set.release()?, "-a", "myapp"])?;
    ensure!(manifest.stdout == web("first", ""), "{manifest}");

    // What is not committed is nobody's commit.
    source.manifest(&web("second", ""))?;
    rack.ok(&["build", &path, "-a", "myapp"])?;
    ensure!(listed(&rack)?[1] == "R… B…", "{:?}", listed(&rack)?);
    Ok(())
}

fn composed_of_two() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("myapp", "first")?;
    let old = rack.deployed(&source.dir())?;
    source.manifest(&web("second", ""))?;
    let active = rack.deployed(&source.dir())?;
    let env = rack.ok(&["env", "set", "FOO=bar", "-a", "myapp"])?;
    let env = env.release()?;
    let create = |flags: &[&str]| {
        let args = [&["releases", "create-from", "-a", "myapp"], flags].concat();
        rack.hoist(&args)
    };
    let (build_from, env_from) = (format!("--build-from={old}"), format!("--env-from={env}"));
    let sources: [[&str; 2]; 3] = [
        [&build_from, &env_from],
        ["--use-active-release-build", &env_from],
        [&build_from, "--use-active-release-env"],
    ];
    let before = rack.get("myapp.localhost", "/")?.text();
    for flags in sources {
        let made = create(&flags)?;
        made.expect(0, &["Creating release... OK"])?;
        ensure!(shape(&made.stdout) == "Release: R…", "{made}");
    }
    ensure!(
        rack.get("myapp.localhost", "/")?.text() == before,
        "it was promoted"
    );
    ensure!(
        listed(&rack)?[1] == "R… B… created from B… of R…, env of R…",
        "{:?}",
        listed(&rack)?
    );

    let made = create(&[&build_from, &env_from, "--promote"])?;
    made.expect(0, &["Creating release... OK", "Promoting R", "OK"])?;
    ensure!(shape(&made.stdout) == "Release: R…", "{made}");
    let changes = format!("changes against {active}: build B");
    made.expect(0, &[&changes, "manifest +1 -1, env add:FOO"])?;
    ensure!(
        rack.get("myapp.localhost", "/")?
            .text()
            .starts_with("first")
    );
    ensure!(rack.get("myapp.localhost", "/env/FOO")?.text() == "bar");

    for wrong in [
        &[build_from.as_str()][..],
        &[&env_from],
        &[&build_from, "--use-active-release-build", &env_from],
    ] {
        create(wrong)?.expect(2, &["ERROR: ", "hint: "])?;
    }
    create(&["--build-from=RZZZZZZZZZZ", &env_from])?
        .expect(1, &["app `myapp` has no release RZZZZZZZZZZ", "hint: "])?;
    Ok(())
}

fn promoted_and_rolled_back() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("myapp", "first")?;
    let first = rack.deployed(&source.dir())?;
    source.manifest(&web("second", ""))?;
    let build = rack.ok(&["build", &source.dir().to_string_lossy(), "-a", "myapp"])?;
    let second = build.release()?;
    let diff = rack.ok(&["releases", "diff", second, "-a", "myapp"])?;
    let expected = "Release R…\nAgainst R…\nBuild B… instead of B…\nManifest - command: ./app first\n+ command: ./app second";
    ensure!(shape(&diff.stdout) == expected, "{diff}");
    rack.hoist(&["releases", "diff", second, second, "-a", "myapp"])?
        .expect(0, &["nothing differs"])?;

    let promoted = rack.ok(&["releases", "promote", second, "-a", "myapp"])?;
    let lines: Vec<_> = promoted.stderr.lines().map(shape).collect();
    ensure!(
        lines[0].starts_with("changes against R…: build B… instead of B…, manifest"),
        "{promoted}"
    );
    ensure!(
        lines[1] == "Promoting R…..." || lines[1] == "Promoting R… ...",
        "{promoted}"
    );
    let events = &lines[2..lines.len() - 1];
    ensure!(
        !events.is_empty() && events.iter().all(|line| line.starts_with("TIME system/")),
        "{promoted}"
    );
    ensure!(lines.last().map(String::as_str) == Some("OK"), "{promoted}");

    let back = rack.ok(&["releases", "rollback", &first, "-a", "myapp"])?;
    let lines: Vec<_> = back.stderr.lines().map(shape).collect();
    ensure!(lines[0].starts_with("changes against R…: build"), "{back}");
    ensure!(lines[1].contains("volumes, databases and sizes"), "{back}");
    ensure!(lines[2] == "Rolling back to R…... OK, R…", "{back}");
    ensure!(lines[3].starts_with("TIME system/"), "{back}");
    ensure!(lines.last().map(String::as_str) == Some("OK"), "{back}");
    back.expect(0, &[&format!("changes against {second}: build")])?;
    ensure!(
        listed(&rack)?[1] == "R… active B… rollback to R…",
        "{:?}",
        listed(&rack)?
    );
    // The first served before anything else: two rollbacks do not go to and fro.
    rack.hoist(&["releases", "rollback", "-a", "myapp"])?
        .expect(1, &["no release of app `myapp` served before"])?;
    Ok(())
}

fn the_output_names_what_goes_out_and_what_does_not() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("myapp", "first")?;
    let dir = source.dir();
    rack.deployed(&dir)?;
    source.manifest("services:\n  web:\n    command: exit 4\n    port: 3000\n")?;
    let bad = rack.deploy(&dir)?;
    bad.expect(4, &["was rolled back"])?;
    let over = format!(
        "{} was passed over: its promotion was rolled back",
        bad.release()?
    );
    let set = rack.ok(&["env", "set", "FOO=bar", "-a", "myapp"])?;
    set.expect(0, &[&over])?;
    let staged = set.release()?;
    source.manifest(&web("third", ""))?;
    let third = rack.deploy(&dir)?;
    third.expect(0, &[&format!("includes staged {staged}: env add:FOO")])?;
    ensure!(!third.stderr.contains("passed over"), "{third}");
    ensure!(rack.get("myapp.localhost", "/env/FOO")?.text() == "bar");

    let set = rack.json(&["env", "set", "BAR=1", "-a", "myapp"])?;
    let chosen = rack.json(&["env", "set", "BAZ=1", "-a", "myapp", "--from", "active"])?;
    let names = rack.json(&[
        "releases",
        "info",
        chosen["id"].as_str().unwrap_or_default(),
        "-a",
        "myapp",
    ])?;
    ensure!(
        names["env"].get("BAR").is_none() && names["env"]["BAZ"] == "1",
        "{names}"
    );
    source.manifest(&web("fourth", ""))?;
    let from = set["id"].as_str().unwrap_or_default();
    let built = rack.json(&[
        "build",
        &dir.to_string_lossy(),
        "-a",
        "myapp",
        "--from",
        from,
    ])?;
    ensure!(
        built["includes"][0]["description"] == "env add:BAR",
        "{built}"
    );
    rack.hoist(&["env", "set", "A=1", "--from", "yesterday", "-a", "myapp"])?
        .expect(2, &["active, newest, or a release"])?;
    Ok(())
}

fn ids_alone_for_scripts() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("myapp", "first")?;
    let first = rack.deployed(&source.dir())?;
    rack.ok(&["env", "set", "FOO=bar", "-a", "myapp"])?;
    // Without a release it is the one that the next would be made from.
    let promoted = rack.ok(&["releases", "promote", "--id", "-a", "myapp"])?;
    ensure!(shape(&promoted.stdout) == "R…", "{promoted}");
    ensure!(rack.get("myapp.localhost", "/env/FOO")?.text() == "bar");
    let back = rack.ok(&["rollback", "--id", "--force", "-a", "myapp"])?;
    ensure!(shape(&back.stdout) == "R…", "{back}");
    let from = format!("--env-from={first}");
    let made = rack.ok(&[
        "releases",
        "create-from",
        "--use-active-release-build",
        &from,
        "--id",
        "-a",
        "myapp",
    ])?;
    ensure!(shape(&made.stdout) == "R…", "{made}");
    let left = rack.ok(&["promote", made.stdout.trim(), "--detach", "-a", "myapp"])?;
    left.expect(
        0,
        &[
            "Promoting R",
            "OK",
            "the promotion goes on: `hoist promotions info",
        ],
    )?;
    Ok(())
}
