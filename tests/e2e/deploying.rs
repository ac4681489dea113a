//! From a directory to a served app: up, deploy, build, promote.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::rack::{eventually, wait};
use crate::harness::source::web;
use crate::harness::{Rack, Source, traces};
use crate::{Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "up_serves_and_a_second_up_deploys",
        up_serves_and_a_second_up_deploys,
    ),
    (
        "deploy_creates_the_app_and_serves",
        deploy_creates_the_app_and_serves,
    ),
    ("build_does_not_promote", build_does_not_promote),
    ("a_procfile_runs_web_alone", a_procfile_runs_web_alone),
    ("two_services_and_a_worker", two_services_and_a_worker),
    (
        "a_build_command_makes_the_slug",
        a_build_command_makes_the_slug,
    ),
    (
        "a_failing_build_leaves_nothing",
        a_failing_build_leaves_nothing,
    ),
    (
        "env_reaches_the_process_and_is_encrypted",
        env_reaches_the_process_and_is_encrypted,
    ),
    ("volumes_outlive_the_app", volumes_outlive_the_app),
];

/// `hoist up` starts a rack in the foreground; Ctrl-C stops it and what it started.
fn up_serves_and_a_second_up_deploys() -> Result<()> {
    let rack = Rack::idle(program())?;
    let source = Source::web("hello", "first")?;
    let dir = source.dir();
    let mut up = rack
        .command(&["up", &dir.to_string_lossy()])
        .args(rack.flags())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(rack.home().join("up.err"))?)
        .spawn()?;
    let mut said = Vec::new();
    for line in BufReader::new(up.stdout.take().unwrap()).lines() {
        said.push(line?);
        if said.last().is_some_and(|line| line.starts_with("Url:")) {
            break;
        }
    }
    let port = rack.router.port();
    ensure!(
        said.contains(&format!("Url:     http://hello.localhost:{port}")),
        "{said:?}"
    );
    ensure!(
        said.iter()
            .any(|line| line.starts_with("Release: R") && line.len() == 20),
        "{said:?}"
    );
    ensure!(
        rack.get("hello.localhost", "/")?
            .text()
            .starts_with("first of R")
    );

    source.manifest(&web("second", ""))?;
    let second = rack.hoist(&["up", &dir.to_string_lossy()])?;
    second.expect(
        0,
        &[
            "a rack runs already: deploying to",
            "Build:   B",
            "Release: R",
            "Url:",
            " ps -a hello\n",
        ],
    )?;
    ensure!(
        rack.get("hello.localhost", "/")?.text()
            == format!("second of {} takes 0 bytes\n", second.release()?)
    );
    ensure!(rack.items(&["releases", "-a", "hello"])?.len() == 2);

    kill(Pid::from_raw(up.id() as i32), Signal::SIGINT)?;
    let began = Instant::now();
    let code = wait(up, Duration::from_secs(30))?;
    let words = std::fs::read_to_string(rack.home().join("up.err"))?;
    ensure!(code == 0, "exit {code} after Ctrl-C: {words}");
    ensure!(
        began.elapsed() < Duration::from_secs(5),
        "Ctrl-C took {:?}",
        began.elapsed()
    );
    for line in [
        "Starting rack... OK",
        "Creating app hello... OK",
        "web 1 (health: GET /)",
        "Stopping rack and apps... OK",
    ] {
        ensure!(words.contains(line), "no `{line}` in\n{words}");
    }
    eventually(Duration::from_secs(3), || {
        let left = traces::left_by(rack.data());
        ensure!(left.is_empty(), "left over: {left:?}");
        Ok(())
    })
}

fn deploy_creates_the_app_and_serves() -> Result<()> {
    let mut rack = rack()?;
    let source = Source::web("shop", "hello")?;
    let refused = rack.hoist(&["deploy", &source.dir().to_string_lossy(), "--no-create"])?;
    refused.expect(1, &["there is no app `shop`", "hint: "])?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(
        0,
        &[
            "Creating app shop... OK",
            "Build:   B",
            "Release: R",
            "Promoting R",
        ],
    )?;
    ensure!(ran.stderr.trim_end().ends_with("OK"), "{ran}");
    let release = ran.release()?;
    ensure!(
        rack.get("shop.localhost", "/")?.text() == format!("hello of {release} takes 0 bytes\n")
    );
    let left = rack.stop_all()?;
    ensure!(left.is_empty(), "left over: {left:?}");
    Ok(())
}

/// `build` makes a release and says how to promote it; what serves is not touched until that is asked for.
fn build_does_not_promote() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "first")?;
    let dir = source.dir();
    let dir = dir.to_string_lossy();
    let first = rack.ok(&["build", &dir])?.release()?.to_owned();
    ensure!(
        rack.processes("shop")?.is_empty(),
        "build started processes"
    );
    let page = rack.get("shop.localhost", "/")?;
    ensure!(
        page.status >= 400,
        "nothing was promoted, and yet it answers {}",
        page.status
    );
    rack.hoist(&["releases", "promote", "-a", "shop"])?
        .expect(0, &["Promoting R"])?;
    ensure!(rack.get("shop.localhost", "/")?.text() == format!("first of {first} takes 0 bytes\n"));

    source.manifest(&web("second", ""))?;
    let second = rack.ok(&["build", &dir, "-d", "blue door"])?;
    ensure!(rack.get("shop.localhost", "/")?.text().starts_with("first"));
    let list = rack.ok(&["releases", "-a", "shop"])?.stdout;
    let lines: Vec<&str> = list.lines().collect();
    ensure!(
        lines[1].contains(second.release()?) && lines[1].contains("blue door"),
        "{list}"
    );
    ensure!(
        lines[2].contains(&first) && lines[2].contains("active"),
        "{list}"
    );
    rack.hoist(&["releases", "promote", second.release()?, "-a", "shop"])?
        .expect(0, &[])?;
    ensure!(
        rack.get("shop.localhost", "/")?
            .text()
            .starts_with("second")
    );
    let log = rack.ok(&["builds", "logs", second.labelled("Build:")?, "-a", "shop"])?;
    ensure!(log.stdout.contains("slug complete"), "{log}");
    Ok(())
}

fn a_procfile_runs_web_alone() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("legacy", "unused")?;
    std::fs::remove_file(source.dir().join("hoist.yml"))?;
    source.write(
        "Procfile",
        "web: ./app from-procfile\nworker: echo busy; exec sleep 1000\n",
    )?;
    rack.deployed(&source.dir())?;
    ensure!(
        rack.get("legacy.localhost", "/")?
            .text()
            .starts_with("from-procfile")
    );
    let names: Vec<_> = rack
        .items(&["ps", "-a", "legacy"])?
        .iter()
        .map(|item| item["name"].clone())
        .collect();
    ensure!(names == ["web"], "{names:?}");
    let sizes = rack.ok(&["scale", "-a", "legacy"])?.stdout;
    let worker = sizes.lines().find(|line| line.contains("worker"));
    ensure!(
        worker.is_some_and(|line| line.split_whitespace().nth(1) == Some("0")),
        "{sizes}"
    );
    rack.ok(&["scale", "worker=1", "-a", "legacy"])?;
    eventually(Duration::from_secs(10), || {
        ensure!(rack.processes("legacy")?.len() == 2);
        Ok(())
    })
}

/// Each routed service has a host of its own; a worker has none and comes and goes with the release.
fn two_services_and_a_worker() -> Result<()> {
    let rack = rack()?;
    let manifest = |text: &str| {
        format!(
            "services:\n  web:\n    command: ./app {text}-web\n    port: 3000\n    scale: {{count: 2}}\n  api:\n    command: ./app {text}-api\n    \
             port: 3001\n  worker:\n    command: echo {text} works; exec sleep 1000\n"
        )
    };
    let source = Source::app("shop", &manifest("old"))?;
    rack.deployed(&source.dir())?;
    ensure!(
        rack.get("shop.localhost", "/")?
            .text()
            .starts_with("old-web")
    );
    ensure!(
        rack.get("api.shop.localhost", "/")?
            .text()
            .starts_with("old-api")
    );
    let missing = rack.get("worker.shop.localhost", "/")?;
    ensure!(missing.status == 404, "{}", missing.status);
    source.manifest(&manifest("new"))?;
    let release = rack.deployed(&source.dir())?;
    ensure!(
        rack.get("shop.localhost", "/")?
            .text()
            .starts_with("new-web")
    );
    ensure!(
        rack.get("api.shop.localhost", "/")?
            .text()
            .starts_with("new-api")
    );
    let ready = |release: &str| -> Result<usize> {
        let all = rack.processes("shop")?;
        Ok(all
            .iter()
            .filter(|(_, status, of)| status == "ready" && of == release)
            .count())
    };
    ensure!(ready(&release)? == 4, "{:?}", rack.processes("shop")?);
    // The old worker does not stay warm: it has no route to give back.
    eventually(Duration::from_secs(10), || {
        let items = rack.items(&["ps", "-a", "shop"])?;
        let workers = items.iter().filter(|item| item["name"] == "worker").count();
        ensure!(workers == 1, "{workers} workers");
        Ok(())
    })?;
    let logs = rack.ok(&["logs", "-a", "shop", "-s", "worker"])?.stdout;
    ensure!(
        logs.contains("old works") && logs.contains("new works"),
        "{logs}"
    );
    Ok(())
}

fn a_build_command_makes_the_slug() -> Result<()> {
    let rack = rack()?;
    let source = Source::app(
        "shop",
        &(web("built", "") + "build:\n  command: echo making it; echo made > made.txt\n"),
    )?;
    let manifest = std::fs::read_to_string(source.dir().join("hoist.yml"))?;
    source.manifest(&manifest.replace("./app built", "./app $(cat made.txt)"))?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(0, &["making it"])?;
    ensure!(
        rack.get("shop.localhost", "/")?
            .text()
            .starts_with("made of R")
    );
    ensure!(
        !source.dir().join("made.txt").exists(),
        "the build wrote into the user's directory"
    );
    Ok(())
}

fn a_failing_build_leaves_nothing() -> Result<()> {
    let rack = rack()?;
    let manifest = web("good", "") + "build:\n  command: echo about to fail; exit 5\n";
    let source = Source::app("shop", &manifest)?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(
        1,
        &[
            "about to fail",
            "failed",
            "the build command exited with 5; nothing changed",
            "hint: `hoist builds logs B",
        ],
    )?;
    ensure!(
        rack.items(&["releases", "-a", "shop"])?.is_empty(),
        "a failing build made a release"
    );
    let builds = rack.items(&["builds", "-a", "shop"])?;
    ensure!(
        builds.len() == 1 && builds[0]["status"] == "failed",
        "{builds:?}"
    );
    let slugs = rack.data().join("apps/shop/slugs");
    let left = |dir: &std::path::Path| std::fs::read_dir(dir).into_iter().flatten().count();
    ensure!(left(&slugs) == 0, "a failing build left a slug");
    ensure!(
        left(&rack.data().join("scratch")) == 0,
        "a failing build left its tree"
    );
    ensure!(
        left(&rack.data().join("engine/tasks")) == 0,
        "a failing build left its task"
    );
    source.manifest(&web("good", ""))?;
    rack.deployed(&source.dir())?;
    source.manifest(&manifest)?;
    rack.deploy(&source.dir())?
        .expect(1, &["nothing changed"])?;
    ensure!(rack.get("shop.localhost", "/")?.text().starts_with("good"));
    Ok(())
}

/// The value is in the process and in no file of the rack.
fn env_reaches_the_process_and_is_encrypted() -> Result<()> {
    const VALUE: &str = "xylophone-in-the-attic-93";
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    let set = rack.hoist(&[
        "env",
        "set",
        &format!("SECRET={VALUE}"),
        "COLOR=blue",
        "-a",
        "shop",
    ])?;
    set.expect(0, &["Setting COLOR, SECRET", "Release: R"])
        .or_else(|_| set.expect(0, &["Setting SECRET, COLOR", "Release: R"]))?;
    ensure!(
        rack.get("shop.localhost", "/env/SECRET")?.text().is_empty(),
        "not promoted, and yet there"
    );
    rack.hoist(&["releases", "promote", "-a", "shop"])?
        .expect(0, &[])?;
    ensure!(rack.get("shop.localhost", "/env/SECRET")?.text() == VALUE);
    rack.hoist(&["env", "set", "COLOR=red", "--promote", "-a", "shop"])?
        .expect(0, &["Promoting R"])?;
    ensure!(rack.get("shop.localhost", "/env/COLOR")?.text() == "red");
    ensure!(rack.get("shop.localhost", "/env/SECRET")?.text() == VALUE);
    for (name, value) in [("APP", "shop"), ("SERVICE", "web")] {
        ensure!(
            rack.get("shop.localhost", &format!("/env/{name}"))?.text() == value,
            "{name}"
        );
    }
    for name in ["RELEASE", "BUILD", "RACK", "PORT"] {
        ensure!(
            !rack
                .get("shop.localhost", &format!("/env/{name}"))?
                .text()
                .is_empty(),
            "{name} is empty"
        );
    }
    ensure!(
        rack.ok(&["env", "-a", "shop"])?
            .stdout
            .contains(&format!("SECRET={VALUE}"))
    );
    ensure!(
        rack.ok(&["env", "-a", "shop", "--masked"])?
            .stdout
            .contains("SECRET=****")
    );
    rack.hoist(&["env", "unset", "COLOR", "--promote", "-a", "shop"])?
        .expect(0, &[])?;
    ensure!(rack.get("shop.localhost", "/env/COLOR")?.text().is_empty());
    let found = files_with(rack.data(), VALUE.as_bytes());
    ensure!(found.is_empty(), "the value lies open in {found:?}");
    // The search itself works: an app's name is no secret.
    ensure!(!files_with(rack.data(), b"shop").is_empty());
    Ok(())
}

/// Regular files below a directory that hold these bytes.
fn files_with(dir: &std::path::Path, wanted: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let kind = entry.file_type();
        if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
            found.extend(files_with(&entry.path(), wanted));
        } else if kind.is_ok_and(|kind| kind.is_file()) {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(wanted.len()).any(|window| window == wanted) {
                found.push(entry.path());
            }
        }
    }
    found
}

fn volumes_outlive_the_app() -> Result<()> {
    let rack = rack()?;
    let source = Source::app("shop", &web("keeper", "volumes:\n  - data:/data"))?;
    rack.deployed(&source.dir())?;
    ensure!(
        rack.get("shop.localhost", "/write/note/kept")?.text() == "written",
        "{}",
        rack.get("shop.localhost", "/write/note/kept")?.text()
    );
    rack.deployed(&source.dir())?;
    ensure!(rack.get("shop.localhost", "/read/note")?.text() == "kept");
    rack.hoist(&["apps", "delete", "shop"])?
        .expect(2, &["destroys its processes", "--confirm shop"])?;
    rack.hoist(&["apps", "delete", "shop", "--confirm", "ship"])?
        .expect(2, &["--confirm shop"])?;
    ensure!(rack.get("shop.localhost", "/")?.status == 200);
    let deleted = rack.hoist(&["apps", "delete", "shop", "--confirm", "shop"])?;
    deleted.expect(0, &["Deleting shop... OK", "kept: "])?;
    ensure!(rack.get("shop.localhost", "/")?.status == 404);
    rack.hoist(&["ps", "-a", "shop"])?
        .expect(1, &["there is no app `shop`"])?;
    ensure!(
        traces::held(rack.data()).is_empty(),
        "processes of a deleted app"
    );
    rack.deployed(&source.dir())?;
    ensure!(
        rack.get("shop.localhost", "/read/note")?.text() == "kept",
        "{}",
        rack.get("shop.localhost", "/read/note")?.text()
    );
    Ok(())
}
