//! Long runs under constant load: change after change, and change after change with a rack that is killed in the middle.
//!
//! Tests run a few rounds, the bench all. A round that goes wrong says its number and the seed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::load::{Clients, Load, Outcome};
use super::rack::{eventually, wait};
use super::random::Random;
use super::source::web;
use super::{Rack, Source, traces};

/// The app under load.
const APP: &str = "shop";
/// How long the rack may take to finish what it was killed in, beginning with its next start.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// How long the load may go on after the last round until a WebSocket was closed in words: a bit more than processes stay warm.
const CLOSE_LIMIT: Duration = Duration::from_secs(45);

/// What a run came to.
#[derive(Debug)]
pub struct Soaked {
    /// What the clients met.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// Rounds in which the new release won.
    pub new_won: usize,
    /// Rounds in which the rack died while a promotion was followed.
    pub interrupted: usize,
}

/// What one round asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Deploy,
    Env,
    Promote,
    Rollback,
}

const CHANGES: [Change; 4] = [
    Change::Deploy,
    Change::Env,
    Change::Promote,
    Change::Rollback,
];

/// An app that serves, and what its releases say.
struct Stage {
    rack: Rack,
    source: Source,
    round: usize,
    /// How long a deploy takes on this machine: rack deaths fall within.
    usual: Duration,
}

impl Stage {
    fn set(program: &Path) -> Result<Self> {
        let rack = Rack::start(program)?;
        let source = Source::web(APP, "v0")?;
        let mut stage = Self {
            rack,
            source,
            round: 0,
            usual: Duration::ZERO,
        };
        let first =
            stage
                .rack
                .hoist(&["deploy", &stage.source.dir().to_string_lossy(), "-d", "v0"])?;
        ensure!(first.code == 0, "the first deploy failed\n{first}");
        stage.usual = first.took;
        Ok(stage)
    }

    fn clients(&self) -> Clients {
        Clients::mixed(self.rack.router, &self.source.host())
    }

    /// The command line of a change.
    fn words(&mut self, change: Change, random: &mut Random) -> Result<Vec<String>> {
        self.round += 1;
        let text = format!("v{}", self.round);
        let words: Vec<String> = match change {
            Change::Deploy => {
                self.source.manifest(&web(&text, ""))?;
                let dir = self.source.dir().to_string_lossy().into_owned();
                vec!["deploy".into(), dir, "-d".into(), text]
            }
            Change::Env => [
                "env",
                "set",
                &format!("ROUND={text}"),
                "--promote",
                "-a",
                APP,
            ]
            .map(str::to_owned)
            .into(),
            Change::Promote => {
                let releases = self.releases()?;
                // The newest or the one before: from an old one a rollback may have nowhere to go.
                let any = &releases[random.below(releases.len().min(2) as u64) as usize];
                vec![
                    "releases".into(),
                    "promote".into(),
                    word(any, "id"),
                    "-a".into(),
                    APP.into(),
                ]
            }
            Change::Rollback => ["releases", "rollback", "-a", APP]
                .map(str::to_owned)
                .into(),
        };
        Ok(words)
    }

    fn releases(&self) -> Result<Vec<Value>> {
        self.rack.items(&["releases", "-a", APP, "-l", "1000"])
    }

    fn active(&self) -> Result<String> {
        Ok(word(
            &self.rack.json(&["apps", "info", "-a", APP])?,
            "release",
        ))
    }

    /// Whether the app serves what the rack says, and nothing is under way.
    fn settled(&self) -> Result<String> {
        let app = self.rack.json(&["apps", "info", "-a", APP])?;
        ensure!(
            app["status"] == "running" && app["promotion"].is_null(),
            "the app is {app}"
        );
        let active = word(&app, "release");
        let releases = self.releases()?;
        let release = releases
            .iter()
            .find(|release| word(release, "id") == active);
        let build = word(
            release.with_context(|| format!("{active} is lost"))?,
            "build",
        );
        let text = word(
            &self.rack.json(&["builds", "info", &build, "-a", APP])?,
            "description",
        );
        for _ in 0..3 {
            let said = self.rack.get(&self.source.host(), "/")?.text();
            ensure!(
                said.starts_with(&format!("{text} of ")),
                "{active} is active and says {text}, but served is: {said}"
            );
        }
        Ok(active)
    }

    /// Ends the load and looks whether anything was lost or left over.
    fn end(self, load: Load, began: Instant) -> Result<(Soaked, Self)> {
        let patience = Instant::now();
        while load.closed() == 0 && patience.elapsed() < CLOSE_LIMIT {
            std::thread::sleep(Duration::from_millis(100));
        }
        let took = began.elapsed();
        let outcome = load.end();
        eventually(Duration::from_secs(45), || {
            let known: BTreeSet<String> = self
                .rack
                .processes(APP)?
                .into_iter()
                .map(|(id, _, _)| id)
                .collect();
            let strays = traces::strays(self.rack.data(), &known);
            ensure!(strays.is_empty(), "{strays:#?}");
            Ok(())
        })?;
        Ok((
            Soaked {
                outcome,
                took,
                new_won: 0,
                interrupted: 0,
            },
            self,
        ))
    }
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Deploys, promotes, rolls back and changes variables, `rounds` times in all, under load. Every one must succeed.
pub fn changes(program: &Path, rounds: usize, seed: u64) -> Result<Soaked> {
    let run = || -> Result<Soaked> {
        let mut random = Random::new(seed);
        let mut stage = Stage::set(program)?;
        let began = Instant::now();
        let load = Load::start(&stage.clients());
        let mut made = stage.releases()?.len();
        for round in 0..rounds {
            let change = CHANGES[round % CHANGES.len()];
            let words = stage.words(change, &mut random)?;
            let ran = stage
                .rack
                .hoist(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
            ensure!(
                ran.code == 0,
                "round {round}, `hoist {}` should succeed\n{ran}",
                words.join(" ")
            );
            stage
                .settled()
                .with_context(|| format!("after round {round}, {change:?}"))?;
            made += usize::from(change != Change::Promote);
            ensure!(
                load.lost() == 0,
                "round {round}, {change:?}, lost: {:#?}",
                load.end().lost
            );
        }
        let (soaked, stage) = stage.end(load, began)?;
        let kept = stage.releases()?.len();
        ensure!(kept == made, "{made} releases were made, {kept} are there");
        let mut rack = stage.rack;
        let left = rack.stop_all()?;
        ensure!(left.is_empty(), "left over: {left:#?}");
        Ok(soaked)
    };
    run().with_context(|| format!("HOIST_SEED={seed}"))
}

/// Scales, restarts and stops single processes, `rounds` times in all, under load. Every one must succeed, the last process
/// included: requests wait for it.
pub fn standing(program: &Path, rounds: usize, seed: u64) -> Result<Soaked> {
    let run = || -> Result<Soaked> {
        let mut random = Random::new(seed);
        let stage = Stage::set(program)?;
        let began = Instant::now();
        let load = Load::start(&stage.clients());
        for round in 0..rounds {
            let words = match round % 4 {
                0 => ["scale", &format!("web={}", 1 + random.below(4)), "-a", APP]
                    .map(str::to_owned)
                    .to_vec(),
                1 => ["restart", "web", "-a", APP].map(str::to_owned).to_vec(),
                _ => {
                    let serve = stage.rack.processes(APP)?;
                    let serve: Vec<_> = serve
                        .iter()
                        .filter(|(_, word, _)| word == "ready")
                        .collect();
                    let (id, ..) = serve[random.below(serve.len() as u64) as usize];
                    ["ps", "stop", id, "-a", APP].map(str::to_owned).to_vec()
                }
            };
            let ran = stage
                .rack
                .hoist(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
            let said = words.join(" ");
            ensure!(
                ran.code == 0,
                "round {round}, `hoist {said}` should succeed\n{ran}"
            );
            stage
                .settled()
                .with_context(|| format!("after round {round}, {said}"))?;
            ensure!(
                load.lost() == 0,
                "round {round}, `hoist {said}`, lost: {:#?}",
                load.end().lost
            );
        }
        let (soaked, stage) = stage.end(load, began)?;
        let mut rack = stage.rack;
        let left = rack.stop_all()?;
        ensure!(left.is_empty(), "left over: {left:#?}");
        Ok(soaked)
    };
    run().with_context(|| format!("HOIST_SEED={seed}"))
}

/// Kills the rack at a random moment of each of `rounds` changes under load, and starts it again. Every app must end with
/// what served before or what was asked for.
pub fn kills(program: &Path, rounds: usize, seed: u64) -> Result<Soaked> {
    let run = || -> Result<Soaked> {
        let mut random = Random::new(seed);
        let mut stage = Stage::set(program)?;
        let began = Instant::now();
        let load = Load::start(&stage.clients());
        let (mut new_won, mut interrupted) = (0, 0);
        for round in 0..rounds {
            let change = CHANGES[random.below(CHANGES.len() as u64) as usize];
            let (won, cut) = killed_in(&mut stage, change, &mut random)
                .with_context(|| format!("round {round}, {change:?}"))?;
            new_won += usize::from(won);
            interrupted += usize::from(cut);
            ensure!(
                load.lost() == 0,
                "round {round}, {change:?}, lost: {:#?}",
                load.end().lost
            );
        }
        let (mut soaked, stage) = stage.end(load, began)?;
        (soaked.new_won, soaked.interrupted) = (new_won, interrupted);
        let mut rack = stage.rack;
        let left = rack.stop_all()?;
        ensure!(left.is_empty(), "left over: {left:#?}");
        Ok(soaked)
    };
    run().with_context(|| format!("HOIST_SEED={seed}"))
}

/// One round; answers whether the new release won, and whether the rack died while the promotion was followed.
fn killed_in(stage: &mut Stage, change: Change, random: &mut Random) -> Result<(bool, bool)> {
    let before = stage.active()?;
    let there: BTreeSet<String> = stage
        .releases()?
        .iter()
        .map(|release| word(release, "id"))
        .collect();
    let words = stage.words(change, random)?;
    let said = stage.rack.home().join("command.out");
    let out = std::fs::File::create(&said)?;
    let asked = stage
        .rack
        .command(&words.iter().map(String::as_str).collect::<Vec<_>>())
        .stdout(out.try_clone()?)
        .stderr(out)
        .stdin(Stdio::null())
        .spawn()?;
    let moment = random.below(stage.usual.as_micros() as u64);
    std::thread::sleep(Duration::from_micros(moment));
    stage.rack.kill()?;
    std::thread::sleep(Duration::from_millis(random.below(200)));
    stage.rack.run()?;
    let told = || {
        format!(
            "`hoist {}` said:\n{}",
            words.join(" "),
            std::fs::read_to_string(&said).unwrap_or_default()
        )
    };
    let code = wait(asked, SETTLE_LIMIT + Duration::from_secs(90)).with_context(told)?;
    let active = eventually(SETTLE_LIMIT, || stage.settled()).with_context(told)?;
    let now: BTreeSet<String> = stage
        .releases()?
        .iter()
        .map(|release| word(release, "id"))
        .collect();
    ensure!(
        there.is_subset(&now),
        "releases are lost: {:?}",
        there.difference(&now)
    );
    let asked_for = match change {
        Change::Promote => active == words[2],
        Change::Deploy | Change::Env | Change::Rollback => !there.contains(&active),
    };
    if active != before && !asked_for {
        bail!("{active} serves; before it was {before}\n{}", told());
    }
    // A command that was told of success must not be wrong.
    ensure!(
        code != 0 || asked_for,
        "success was told, but {active} serves\n{}",
        told()
    );
    Ok((asked_for, told().contains("the rack is gone")))
}

/// Kills a process behind the rack's back under load: the count must show losses, or it cannot be trusted.
pub fn planted_loss(program: &Path) -> Result<Outcome> {
    let stage = Stage::set(program)?;
    let load = Load::start(&stage.clients());
    while load.answered() < 20 {
        std::thread::sleep(Duration::from_millis(10));
    }
    ensure!(
        load.lost() == 0,
        "lost before anything was planted: {:?}",
        load.end().lost
    );
    let pid = traces::held(stage.rack.data())
        .first()
        .and_then(|held| held.pid)
        .context("no process runs")?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(load.end())
}
