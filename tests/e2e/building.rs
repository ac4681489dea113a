//! Source that is built by what it is written in, and builds that misbehave. Without a network: packages lie beside the app.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::harness::rack::eventually;
use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::{Lacking, Story, rack};

pub(crate) const STORIES: &[Story] = &[
    ("python_packages_in_the_slug", python_packages_in_the_slug),
    ("node_by_its_lock_file", node_by_its_lock_file),
    ("files_alone_are_served", files_alone_are_served),
    ("nothing_to_run_is_refused", nothing_to_run_is_refused),
    ("a_missing_runtime_is_named", a_missing_runtime_is_named),
    (
        "the_command_wins_over_detection",
        the_command_wins_over_detection,
    ),
    ("a_cache_per_app", a_cache_per_app),
    ("app_json_beside_a_procfile", app_json_beside_a_procfile),
    (
        "the_release_command_runs_as_web_does",
        the_release_command_runs_as_web_does,
    ),
    (
        "the_release_command_is_heard_while_it_runs",
        the_release_command_is_heard_while_it_runs,
    ),
    (
        "a_postdeploy_script_after_every_deploy",
        a_postdeploy_script_after_every_deploy,
    ),
    ("a_build_prints_without_end", a_build_prints_without_end),
    ("a_build_forks_without_end", a_build_forks_without_end),
];

/// Makes a wheel with one program, as `pip` would download it.
const WHEEL: &str = r#"
import sys, zipfile
name = sys.argv[1]
with zipfile.ZipFile(name, "w") as wheel:
    wheel.writestr("greet.py", '''
import http.server, os, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"greetings by {sys.executable} unbuffered={os.environ['PYTHONUNBUFFERED']}".encode())

def main():
    if len(sys.argv) > 1:
        return print("prepared by", sys.argv[1])
    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
''')
    info = "greet-1.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "entry_points.txt", "[console_scripts]\ngreet = greet:main\n")
    wheel.writestr(info + "RECORD", "greet.py,,\n")
"#;

fn wheel(source: &Source) -> Result<()> {
    fs::create_dir(source.dir().join("wheels"))?;
    let made = Command::new("python3")
        .args(["-c", WHEEL, "wheels/greet-1.0-py3-none-any.whl"])
        .current_dir(source.dir())
        .status()?;
    ensure!(made.success(), "no wheel: {made}");
    source.write("requirements.txt", "./wheels/greet-1.0-py3-none-any.whl\n")
}

fn log_of_last_build(rack: &Rack, app: &str) -> Result<String> {
    let builds = rack.items(&["builds", "-a", app])?;
    let id = builds[0]["id"].as_str().context("no id")?;
    Ok(rack.ok(&["builds", "logs", id, "-a", app])?.stdout)
}

fn python_packages_in_the_slug() -> Result<()> {
    let rack = rack()?;
    let source = Source::empty("shop")?;
    wheel(&source)?;
    source.write("Procfile", "web: greet\nrelease: greet release\n")?;
    let ran = rack.deploy(&source.dir())?;
    let log = "detected Python: requirements.txt is there";
    ran.expect(0, &[log, "running pip install -r requirements.txt"])?;
    let page = rack.get(&source.host(), "/")?.text();
    ensure!(
        page.contains("greetings by ") && page.contains("/.venv/bin/python"),
        "{page}"
    );
    ensure!(page.ends_with("unbuffered=1"), "{page}");
    let said = rack.ok(&["logs", "-a", "shop", "--no-follow"])?.stdout;
    ensure!(said.contains("prepared by release"), "{said}");
    // The release's own variables win, but for the directories that come first in PATH.
    rack.ok(&[
        "env",
        "set",
        "PYTHONUNBUFFERED=2",
        "PATH=/usr/bin:/bin",
        "-a",
        "shop",
        "--promote",
    ])?;
    let page = rack.get(&source.host(), "/")?.text();
    ensure!(page.ends_with("unbuffered=2"), "{page}");
    Ok(())
}

fn node_by_its_lock_file() -> Result<()> {
    let rack = rack()?;
    let source = Source::empty("shop")?;
    let package = r#"{"name": "shop", "scripts": {"start": "node serve.js", "build": "only-for-builds"},
        "dependencies": {"greet": "file:greet"}, "devDependencies": {"builder": "file:builder"}}"#;
    source.write("package.json", package)?;
    for (name, more) in [
        ("greet", ""),
        ("builder", r#", "bin": {"only-for-builds": "run.js"}"#),
    ] {
        fs::create_dir(source.dir().join(name))?;
        let text = format!(r#"{{"name": "{name}", "version": "1.0.0"{more}}}"#);
        source.write(&format!("{name}/package.json"), &text)?;
    }
    source.write("greet/index.js", "module.exports = 'greetings';\n")?;
    let build = "#!/usr/bin/env node\nrequire('fs').writeFileSync('made.txt', ' and built');\n";
    source.write("builder/run.js", build)?;
    let serve = "const page = require('greet') + require('fs').readFileSync('made.txt') + require('fs').existsSync('node_modules/builder');
        require('http').createServer((_, r) => r.end(page + process.env.NODE_ENV)).listen(process.env.PORT, '127.0.0.1');\n";
    source.write("serve.js", serve)?;
    let warned = rack.deploy(&source.dir())?;
    warned.expect(
        0,
        &[
            "no manifest: going by `web: npm start`",
            "detected Node: package.json is there",
            "no lock file beside package.json",
            "running npm run build",
        ],
    )?;
    let page = rack.get(&source.host(), "/")?.text();
    ensure!(page == "greetings and builtfalseproduction", "{page}");
    let locked = Command::new("npm")
        .args([
            "install",
            "--package-lock-only",
            "--offline",
            "--no-audit",
            "--no-fund",
        ])
        .current_dir(source.dir())
        .output()?;
    ensure!(
        locked.status.success(),
        "{}",
        String::from_utf8_lossy(&locked.stderr)
    );
    let quiet = rack.deploy(&source.dir())?;
    quiet.expect(0, &["running npm ci"])?;
    ensure!(!quiet.stderr.contains("no lock file"), "{quiet}");
    Ok(())
}

fn files_alone_are_served() -> Result<()> {
    let rack = rack()?;
    let source = Source::empty("site")?;
    for dir in ["css", ".well"] {
        fs::create_dir(source.dir().join(dir))?;
    }
    source.write("index.html", "<p>home")?;
    source.write("css/a.css", "p {}")?;
    source.write(".secret", "no")?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(0, &["detected static files: index.html is there"])?;
    let status = |path: &str| Ok::<_, anyhow::Error>(rack.get(&source.host(), path)?.status);
    ensure!(rack.get(&source.host(), "/")?.text() == "<p>home");
    ensure!(status("/css/a.css")? == 200 && status("/none")? == 404);
    for hidden in [
        "/.secret",
        "/css/",
        "/.hoist/serve.py",
        "/css/../.secret",
        "/%2e%73ecret",
    ] {
        ensure!(status(hidden)? == 404, "{hidden}");
    }
    Ok(())
}

fn nothing_to_run_is_refused() -> Result<()> {
    let rack = rack()?;
    let source = Source::empty("shop")?;
    source.write("requirements.txt", "")?;
    rack.deploy(&source.dir())?.expect(
        1,
        &[
            "requirements.txt says that it is Python, and nothing says what to run",
            "hint: ",
            "Procfile",
        ],
    )?;
    source.write("Procfile", "web: x\n")?;
    source.write("package.json", "{\n  \"scripts\": {\n}\n")?;
    fs::remove_file(source.dir().join("requirements.txt"))?;
    rack.deploy(&source.dir())?
        .expect(1, &["package.json:4:1: ", "hint: "])?;
    Ok(())
}

fn a_missing_runtime_is_named() -> Result<()> {
    let there = |program: &str| {
        let dirs = ["/usr/local/bin", "/usr/bin", "/bin"];
        dirs.iter().any(|dir| Path::new(dir).join(program).exists())
    };
    let known = [
        ("go", "go.mod", "module x\n", "apt-get install golang-go"),
        ("ruby", "Gemfile", "", "apt-get install ruby"),
        ("pnpm", "pnpm-lock.yaml", "", "npm install -g pnpm"),
        ("yarn", "yarn.lock", "", "npm install -g yarn"),
    ];
    let missing = known.into_iter().find(|known| !there(known.0));
    let Some((program, file, text, install)) = missing else {
        return Err(Lacking("a machine that lacks Go, Ruby, pnpm or Yarn").into());
    };
    let rack = rack()?;
    let source = Source::empty("shop")?;
    source.write("Procfile", "web: bin/x\n")?;
    source.write("package.json", "{}")?;
    source.write(file, text)?;
    let reason = format!("{program} is not on this machine: {install}");
    rack.deploy(&source.dir())?
        .expect(1, &["detected ", &reason, "nothing changed"])?;
    Ok(())
}

fn the_command_wins_over_detection() -> Result<()> {
    let rack = rack()?;
    let source = Source::app("shop", &web("serve", ""))?;
    source.write("requirements.txt", "no-such-package-anywhere==1\n")?;
    let text = |build: &str| format!("build: {{{build}}}\n{}", web("serve", ""));
    source.manifest(&text("command: echo mine"))?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(0, &["running echo mine"])?;
    ensure!(!ran.stderr.contains("detected"), "{ran}");
    source.manifest(&text("detect: false"))?;
    rack.deploy(&source.dir())?
        .expect(0, &["the source is the slug"])?;
    source.manifest(&text("language: cobol"))?;
    rack.deploy(&source.dir())?.expect(
        1,
        &[
            "hoist.yml:1:",
            "is one of ruby, python, go, rust, node, static, not `cobol`",
        ],
    )?;
    Ok(())
}

fn a_cache_per_app() -> Result<()> {
    let rack = rack()?;
    let build = "build:\n  command: cat $HOIST_BUILD_CACHE/seen || printf '%s cached\\n' nothing; date >> $HOIST_BUILD_CACHE/seen; cp $HOIST_BUILD_CACHE/seen .\n";
    let source = Source::app("shop", &format!("{build}{}", web("serve", "")))?;
    rack.deploy(&source.dir())?.expect(0, &["nothing cached"])?;
    let lines = |ran: &str| ran.contains("nothing cached");
    ensure!(!lines(
        &rack.ok(&["deploy", &path(&source), "--rebuild"])?.stderr
    ));
    // What another app keeps is its own.
    let other = rack.ok(&["deploy", &path(&source), "-a", "other"])?;
    ensure!(lines(&other.stderr), "{other}");
    let emptied = rack.ok(&["deploy", &path(&source), "--no-cache"])?;
    emptied.expect(0, &["the build cache was emptied", "nothing cached"])?;
    let cache = rack.data().join("apps/shop/cache");
    ensure!(cache.join("seen").exists());
    rack.ok(&["apps", "delete", "shop", "--confirm", "shop"])?;
    eventually(Duration::from_secs(20), || {
        ensure!(!cache.exists());
        Ok(())
    })
}

fn path(source: &Source) -> String {
    source.dir().to_string_lossy().into_owned()
}

const APP_JSON: &str = r#"{
  // Read beside a Procfile.
  "formation": {"web": {"quantity": 2}, "worker": {"quantity": 1}},
  "healthchecks": {"web": [{"type": "startup", "path": "/", "timeout": 2, "onFailure": {"command": ["x"]}}]},
  "env": {"KEY": {"generator": "secret"}, "COLOUR": "red", "TOKEN": {"description": "ask somebody"}},
  "scripts": {
    "dokku": {"predeploy": "echo $COLOUR-$TOKEN > paint.txt"},
    "postdeploy": "echo seeded with ${#KEY} characters"
  }
}
"#;

fn app_json_beside_a_procfile() -> Result<()> {
    let rack = rack()?;
    let source = Source::app("shop", "")?;
    fs::remove_file(source.dir().join("hoist.yml"))?;
    let procfile = "web: ./app \"$(cat paint.txt)\"\nworker: sleep 1000\nidle: sleep 1000\nrelease: echo released\n";
    source.write("Procfile", procfile)?;
    source.write("app.json", APP_JSON)?;
    rack.deploy(&source.dir())?.expect(
        1,
        &[
            "app.json: missing in the env of the release: TOKEN",
            "nothing changed",
        ],
    )?;
    rack.ok(&["env", "set", "TOKEN=t", "-a", "shop"])?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(
        0,
        &[
            "app.json sets KEY, COLOUR",
            "running predeploy: ",
            "app.json:4: `onFailure` is ignored",
        ],
    )?;
    ensure!(rack.get(&source.host(), "/")?.text().contains("red-t"));
    let mut services: Vec<_> = rack.processes("shop")?;
    services.sort();
    ensure!(services.len() == 3, "{services:?}");
    let said = |word: &str| {
        Ok::<_, anyhow::Error>(
            rack.ok(&["logs", "-a", "shop", "--no-follow"])?
                .stdout
                .matches(word)
                .count(),
        )
    };
    ensure!(said("released")? == 1 && said("seeded with 64 characters")? == 1);
    // Once in the app's life, and what was set stays as it is.
    rack.ok(&["env", "set", "COLOUR=blue", "-a", "shop"])?;
    rack.ok(&["deploy", &path(&source), "--rebuild"])?;
    ensure!(rack.get(&source.host(), "/")?.text().contains("blue-t"));
    ensure!(said("released")? == 2 && said("seeded with")? == 1);
    Ok(())
}

/// Its env, user and limits are those of `web`; a restart does not run it again.
fn the_release_command_runs_as_web_does() -> Result<()> {
    let rack = rack()?;
    let manifest = |release: &str| {
        format!(
            "release: {release}\nenvironment: [SHARED=1]\nservices:\n  first:\n    command: sleep 1000\n  web:\n    command: sh -c 'echo serving as $(id -u) $SHARED-$ONLY; exec ./app hello'\n    port: 3000\n    environment: [ONLY=web]\n    scale: {{memory: 64}}\n"
        )
    };
    let source = Source::app(
        "shop",
        &manifest("echo migrating as $(id -u) $SHARED-$ONLY"),
    )?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(0, &["system/local/release migrating as "])?;
    let place = |word: &str| ran.stderr.find(word);
    let order = [
        place("running the release command"),
        place("system/local/release migrating as "),
        place("starting the processes"),
    ];
    ensure!(order.is_sorted() && order[0].is_some(), "{ran}");
    let said = || Ok::<_, anyhow::Error>(rack.ok(&["logs", "-a", "shop", "--no-follow"])?.stdout);
    let log = said()?;
    let after = |word: &str| {
        log.lines()
            .find_map(|line| Some(line.split_once(word)?.1.to_owned()))
    };
    let (web, release) = (after("serving as "), after("migrating as "));
    ensure!(
        web.is_some() && web == release,
        "{web:?} {release:?}\n{log}"
    );
    ensure!(web.is_some_and(|line| line.ends_with(" 1-web")));
    rack.ok(&["restart", "-a", "shop"])?;
    ensure!(said()?.matches("migrating as ").count() == 1, "{}", said()?);
    if !has(&rack, "memory")? {
        return Ok(());
    }
    source.manifest(&manifest(
        r#"exec python3 -c 'print(len(b"x" * 200000000))'"#,
    ))?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(4, &["release command", "memory"])?;
    ensure!(rack.get(&source.host(), "/")?.status == 200);
    Ok(())
}

fn the_release_command_is_heard_while_it_runs() -> Result<()> {
    let rack = rack()?;
    let release = "release: echo begun; sleep 3; seq 3000; echo again; echo again\n";
    let source = Source::app("shop", &format!("{release}{}", web("serve", "")))?;
    let heard = rack.home().join("heard");
    let mut deploy = rack
        .command(&["deploy", &path(&source)])
        .stdout(std::process::Stdio::null())
        .stderr(fs::File::create(&heard)?)
        .spawn()?;
    let text = eventually(Duration::from_secs(20), || {
        let text = fs::read_to_string(&heard)?;
        ensure!(text.contains("system/local/release begun"), "{text}");
        Ok(text)
    })?;
    ensure!(!text.contains("starting the processes") && deploy.try_wait()?.is_none());
    ensure!(deploy.wait()?.success());
    // What is too much for a deploy is in the log.
    let text = fs::read_to_string(&heard)?;
    ensure!(
        text.contains("release 998\n") && !text.contains("release 1200\n"),
        "{text}"
    );
    ensure!(
        text.matches("further lines are in `hoist logs -a shop`")
            .count()
            == 1
    );
    let log = rack.ok(&["logs", "-a", "shop", "--no-follow", "--tail", "5000"])?;
    ensure!(log.stdout.matches(" again\n").count() == 2, "{log}");
    Ok(())
}

/// Once per deploy, as `web`, whoever kills the rack meanwhile; its failure is an event and nothing else.
fn a_postdeploy_script_after_every_deploy() -> Result<()> {
    let mut rack = rack()?;
    let source = Source::app("shop", "")?;
    fs::remove_file(source.dir().join("hoist.yml"))?;
    source.write(
        "Procfile",
        "web: echo serving as $(id -u) $COLOUR; exec ./app hello\n",
    )?;
    let script = |script: &str| {
        let json = format!(
            r#"{{"env": {{"COLOUR": "red"}}, "scripts": {{"dokku": {{"postdeploy": "{script}"}}}}}}"#
        );
        source.write("app.json", &json)
    };
    let begun = "echo seeding as $(id -u) $COLOUR";
    script(&format!("{begun}; sleep 3; echo seeded"))?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(0, &[])?;
    ensure!(!ran.stderr.contains("postdeploy` is ignored"), "{ran}");
    let log = |rack: &Rack| {
        Ok::<_, anyhow::Error>(rack.ok(&["logs", "-a", "shop", "--no-follow"])?.stdout)
    };
    let told = |rack: &Rack, word: &str, times: usize| {
        eventually(Duration::from_secs(20), || {
            let log = log(rack)?;
            ensure!(
                log.matches(word).count() == times,
                "not {times} times {word}:\n{log}"
            );
            Ok(log)
        })
    };
    told(&rack, "seeding as ", 1)?;
    rack.kill()?;
    rack.run()?;
    let text = told(&rack, "is done", 1)?;
    let after = |word: &str| {
        let line = text.lines().find_map(|line| line.split_once(word));
        line.map(|(_, rest)| rest.to_owned())
    };
    let (web, script_as) = (after("serving as "), after("seeding as "));
    ensure!(web.is_some() && web == script_as, "{web:?} {script_as:?}");
    ensure!(text.matches("seeding as ").count() == 1 && text.matches("seeded").count() == 1);
    // A restart is no deploy.
    rack.ok(&["restart", "-a", "shop"])?;
    script(&format!("{begun}; echo no table; exit 3"))?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(0, &[])?;
    let text = told(&rack, "its postdeploy script failed (exit 3): no table", 1)?;
    ensure!(text.matches("seeding as ").count() == 2, "{text}");
    ensure!(rack.get(&source.host(), "/")?.status == 200);
    let active = rack.ok(&["releases", "-a", "shop"])?.stdout;
    let release = ran.release()?;
    let line = active.lines().find(|line| line.contains(release));
    ensure!(line.is_some_and(|line| line.contains("active")), "{active}");
    Ok(())
}

/// Whether processes get a kind of isolation here.
fn has(rack: &Rack, kind: &str) -> Result<bool> {
    let doctor = rack.ok(&["doctor", "--json"])?.stdout;
    let doctor: serde_json::Value = serde_json::from_str(&doctor)?;
    let sections = doctor["sections"].as_array().context("no sections")?.iter();
    let items = sections.flat_map(|section| section["items"].as_array().into_iter().flatten());
    let mut items = items.filter(|item| item["name"] == kind);
    Ok(items.any(|item| item["state"] == "ok"))
}

/// The most memory that the rack ever had, in kilobytes.
fn peak_memory(rack: &Rack) -> Result<u64> {
    let pid = rack.pid().context("no rack")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.context("no VmHWM")?.trim().trim_end_matches(" kB");
    Ok(number.parse()?)
}

fn a_build_prints_without_end() -> Result<()> {
    let rack = rack()?;
    let good = Source::web("shop", "serve")?;
    rack.deployed(&good.dir())?;
    let before = rack.get(&good.host(), "/")?.text();
    let bad = format!(
        "build:\n  command: yes 'this is one of very many lines' | head -c 200000000; echo last words; exit 3\n{}",
        web("serve", "")
    );
    good.manifest(&bad)?;
    let memory = peak_memory(&rack)?;
    let ran = rack.deploy(&good.dir())?;
    ran.expect(
        1,
        &["lines are left out here", "the build command exited with 3"],
    )?;
    ensure!(ran.stderr.contains("last words"));
    ensure!(
        ran.stderr.len() < 10 << 20,
        "{} bytes were sent",
        ran.stderr.len()
    );
    ensure!(log_of_last_build(&rack, "shop")?.len() < 10 << 20);
    let grown = peak_memory(&rack)?.saturating_sub(memory);
    ensure!(grown < 64 << 10, "the rack grew by {grown} kB");
    ensure!(rack.get(&good.host(), "/")?.text() == before);
    Ok(())
}

fn a_build_forks_without_end() -> Result<()> {
    let rack = rack()?;
    if !has(&rack, "pids")? {
        return Err(Lacking("limits on the number of processes").into());
    }
    let good = Source::web("shop", "serve")?;
    rack.deployed(&good.dir())?;
    let forks = "import os, signal\nn = 0\ntry:\n    while n < 20000:\n        if os.fork() == 0:\n            signal.pause()\n        n += 1\nexcept OSError as error:\n    print('stopped after', n, error.strerror, flush=True)\nos._exit(9)\n";
    good.write("forks.py", forks)?;
    good.manifest(&format!(
        "build:\n  command: python3 forks.py\n{}",
        web("serve", "")
    ))?;
    let ran = rack.deploy(&good.dir())?;
    ran.expect(1, &["stopped after 20", "the build command exited with 9"])?;
    ensure!(rack.get(&good.host(), "/")?.status == 200);
    Ok(())
}
