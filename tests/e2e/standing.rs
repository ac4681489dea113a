//! What changes an app without a release: sizes and limits and whose they are, single processes that stop and come back,
//! processes that no longer live, stop and start.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::harness::load::{Clients, Load};
use crate::harness::rack::eventually;
use crate::harness::random::Random;
use crate::harness::soak;
use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::{Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "a_size_is_the_manifests_until_an_operator_sets_one",
        a_size_is_the_manifests_until_an_operator_sets_one,
    ),
    (
        "limits_are_tried_by_a_restart",
        limits_are_tried_by_a_restart,
    ),
    ("sizes_that_are_none", sizes_that_are_none),
    (
        "a_change_of_size_starts_what_is_stopped",
        a_change_of_size_starts_what_is_stopped,
    ),
    (
        "a_process_is_stopped_and_another_starts",
        a_process_is_stopped_and_another_starts,
    ),
    (
        "what_cannot_be_stopped_alone_says_so",
        what_cannot_be_stopped_alone_says_so,
    ),
    (
        "scalings_and_restarts_lose_nothing",
        scalings_and_restarts_lose_nothing,
    ),
    (
        "a_process_that_no_longer_lives_is_started_again",
        a_process_that_no_longer_lives_is_started_again,
    ),
    ("liveness_of_what_has_no_port", liveness_of_what_has_no_port),
    ("health_by_command", health_by_command),
    (
        "a_start_has_a_check_of_its_own",
        a_start_has_a_check_of_its_own,
    ),
    ("stop_and_start_say_what_is", stop_and_start_say_what_is),
    (
        "doctor_says_when_what_ended_starts_again",
        doctor_says_when_what_ended_starts_again,
    ),
];

fn doctor_says_when_what_ended_starts_again() -> Result<()> {
    let rack = rack()?;
    let more = "  worker:\n    command: sleep 1.5; exit 3\n";
    let source = Source::app("shop", &format!("{}{more}", web("first", "")))?;
    let of = |section: &str| -> Result<Vec<(String, String, String)>> {
        let doctor = rack.json(&["doctor"])?;
        let sections = doctor["sections"].as_array().context("no sections")?;
        let found = sections.iter().find(|found| found["name"] == section);
        let items = found.and_then(|found| found["items"].as_array());
        let word =
            |item: &serde_json::Value, key| item[key].as_str().unwrap_or_default().to_owned();
        let items = items.context("no items")?.iter();
        Ok(items
            .map(|item| {
                (
                    word(item, "name"),
                    word(item, "state"),
                    word(item, "detail"),
                )
            })
            .collect())
    };
    let (_, state, detail) = of("retries")?.swap_remove(0);
    ensure!(
        state == "ok" && detail == "nothing has to be tried again",
        "{detail}"
    );
    rack.deployed(&source.dir())?;
    eventually(Duration::from_secs(30), || {
        let found = of("retries")?;
        let worker = found.iter().find(|(name, ..)| name == "shop worker.1");
        let (_, state, detail) = worker.with_context(|| format!("{found:?}"))?;
        ensure!(
            state == "warn"
                && detail.starts_with("exited with 3 ")
                && detail.contains(" ago after ")
                && detail.contains(", again within "),
            "{detail}"
        );
        Ok(())
    })?;
    let loops = of("loops")?;
    for name in [
        "control",
        "engine",
        "router watch",
        "one-offs",
        "usage",
        "janitor",
    ] {
        let found = loops.iter().find(|(found, ..)| found == name);
        let (_, state, detail) = found.with_context(|| format!("no loop {name}: {loops:?}"))?;
        ensure!(state == "ok", "{name}: {detail}");
    }
    Ok(())
}

/// One line of `hoist scale`, without the service.
fn sizes(rack: &Rack) -> Result<Vec<String>> {
    let table = rack.ok(&["scale", "-a", "shop"])?;
    let mut lines = table.stdout.lines();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let head = lines.next().map(words).unwrap_or_default();
    ensure!(
        head == "SERVICE DESIRED RUNNING CPU MEMORY OWNER",
        "{table}"
    );
    Ok(lines.map(words).collect())
}

fn a_size_is_the_manifests_until_an_operator_sets_one() -> Result<()> {
    let rack = rack()?;
    let manifest = |count: u16| web("hello", &format!("scale: {count}"));
    let source = Source::app("shop", &manifest(1))?;
    rack.deployed(&source.dir())?;
    ensure!(sizes(&rack)? == ["web 1 1 - - manifest"]);
    source.manifest(&manifest(2))?;
    rack.deployed(&source.dir())?;
    ensure!(
        sizes(&rack)?[0] == "web 2 2 - - manifest",
        "a later manifest counts"
    );
    rack.hoist(&["scale", "web", "--count", "3", "-a", "shop"])?
        .expect(0, &["Scaling web to 3... OK"])?;
    ensure!(sizes(&rack)?[0].ends_with(" operator"));
    source.write("note", "something new")?;
    rack.deploy(&source.dir())?.expect(
        0,
        &["web stays at 3 by hoist scale; the manifest says 2: hoist scale --from-manifest web gives it back"],
    )?;
    ensure!(sizes(&rack)?[0].starts_with("web 3 "));
    rack.hoist(&["scale", "--from-manifest", "web", "-a", "shop"])?
        .expect(0, &["Giving web back to the manifest... OK"])?;
    ensure!(sizes(&rack)?[0] == "web 2 2 - - manifest");
    let service = rack.items(&["scale", "-a", "shop"])?[0].clone();
    ensure!(
        service["owner"] == "manifest" && service["manifest_count"] == 2,
        "{service}"
    );
    Ok(())
}

fn limits_are_tried_by_a_restart() -> Result<()> {
    let rack = rack()?;
    let source = Source::app("shop", &web("hello", "scale: {count: 1, memory: 256}"))?;
    let release = rack.deployed(&source.dir())?;
    let before = rack.processes("shop")?[0].0.clone();
    rack.hoist(&[
        "scale", "web", "--count", "2", "--cpu", "500", "--memory", "128", "-a", "shop",
    ])?
    .expect(0, &["Scaling web to 2 with 500 millicores and 128 MB each"])?;
    ensure!(
        sizes(&rack)?[0].starts_with("web 2 ") && sizes(&rack)?[0].ends_with("500 128 operator")
    );
    let now: Vec<_> = rack.processes("shop")?;
    let ready: Vec<_> = now.iter().filter(|(_, word, _)| word == "ready").collect();
    ensure!(
        ready.len() == 2
            && ready
                .iter()
                .all(|(id, _, of)| *id != before && *of == release),
        "{now:?}"
    );
    let kept = |rack: &Rack| -> Result<bool> { Ok(sizes(rack)?[0].ends_with("500 128 operator")) };
    source.write("note", "something new")?;
    rack.deployed(&source.dir())?;
    ensure!(kept(&rack)?, "limits outlive a deploy");
    rack.hoist(&["scale", "--from-manifest", "-a", "shop"])?
        .expect(0, &["Giving all services back to the manifest"])?;
    ensure!(
        sizes(&rack)?[0].ends_with("- 256 manifest"),
        "{:?}",
        sizes(&rack)?
    );
    Ok(())
}

fn sizes_that_are_none() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    for (words, said) in [
        (&["web=two"][..], "`two` is not a number of processes"),
        (&["web=-1"], "`-1` is not a number of processes"),
        (
            &["web=1001"],
            "`1001` is not a number of processes: 0 to 1000",
        ),
        (
            &["web", "--count", "-3"],
            "`-3` is not a number of processes",
        ),
        (
            &["web", "--memory", "lots"],
            "`lots` is not a number of megabytes",
        ),
        (
            &["web", "--cpu", "half"],
            "`half` is not a number of thousandths",
        ),
        (&["web"], "a service needs a number"),
        (&["--count", "2"], "are for one service"),
    ] {
        let mut command = vec!["scale"];
        command.extend(words);
        command.extend(["-a", "shop"]);
        rack.hoist(&command)?.expect(2, &[said])?;
    }
    rack.hoist(&["scale", "wob=1", "-a", "shop"])?
        .expect(1, &["there is no service `wob`: the app has web"])?;
    rack.hoist(&["scale", "web", "--memory", "99999g", "-a", "shop"])?
        .expect(4, &["no capacity"])?;
    ensure!(
        sizes(&rack)? == ["web 1 1 - - manifest"],
        "{:?}",
        sizes(&rack)?
    );
    Ok(())
}

fn a_change_of_size_starts_what_is_stopped() -> Result<()> {
    let rack = rack()?;
    rack.ok(&["apps", "create", "shop"])?;
    rack.hoist(&["scale", "web=2", "-a", "shop"])?
        .expect(0, &["OK", "takes effect with the first deploy"])?;
    ensure!(sizes(&rack)? == ["web 2 0 - - operator"]);
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    ensure!(sizes(&rack)? == ["web 2 2 - - operator"]);
    rack.ok(&["stop", "-a", "shop"])?;
    rack.hoist(&["scale", "web=2", "-a", "shop"])?
        .expect(0, &["OK", "shop is stopped", "hoist start -a shop"])?;
    ensure!(sizes(&rack)? == ["web 2 0 - - operator"]);
    rack.ok(&["scale", "web=3", "-a", "shop"])?;
    ensure!(sizes(&rack)? == ["web 3 3 - - operator"]);
    Ok(())
}

fn started(rack: &Rack, id: &str) -> Result<String> {
    let process = rack.json(&["ps", "info", id, "-a", "shop"])?;
    let started = process["started"].as_str().map(str::to_owned);
    started.with_context(|| format!("{process}"))
}

fn a_process_is_stopped_and_another_starts() -> Result<()> {
    let rack = rack()?;
    let source = Source::app("shop", &web("hello --start-ms 300", "scale: 2"))?;
    rack.deployed(&source.dir())?;
    let both = rack.processes("shop")?;
    let (one, other) = (both[0].0.clone(), both[1].0.clone());
    let before = (started(&rack, &one)?, started(&rack, &other)?);
    let load = Load::start(&Clients::mixed(rack.router, "shop.localhost"));
    rack.hoist(&["ps", "stop", &one[..8], "-a", "shop"])?
        .expect(0, &[&format!("Stopping {}... OK", &one[..8])])?;
    // Now the only one of its service: requests wait for it.
    rack.ok(&["scale", "web=1", "-a", "shop"])?;
    let last = rack.processes("shop")?[0].0.clone();
    rack.hoist(&["ps", "stop", &last, "-a", "shop"])?
        .expect(0, &["OK"])?;
    let outcome = load.end();
    ensure!(outcome.lost.is_empty(), "{:#?}", outcome.lost);
    ensure!(outcome.answered > 20, "{outcome:?}");
    ensure!(started(&rack, &rack.processes("shop")?[0].0)? != before.0);
    ensure!(rack.json(&["apps", "info", "-a", "shop"])?["status"] == "running");
    let events = rack.ok(&["events", "-a", "shop"])?.stdout;
    ensure!(events.contains("web.1 was started again"), "{events}");
    drop(other);
    Ok(())
}

fn what_cannot_be_stopped_alone_says_so() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    rack.hoist(&["ps", "stop", "ffffffffffff", "-a", "shop"])?
        .expect(
            1,
            &["no process `ffffffffffff`", "hint: `hoist ps -a shop`"],
        )?;
    let old = rack.processes("shop")?[0].0.clone();
    rack.deployed(&source.dir())?;
    rack.ok(&["restart", "-a", "shop"])?;
    let warm = rack
        .processes("shop")?
        .into_iter()
        .any(|(id, word, _)| id == old && word == "warm");
    if warm {
        rack.hoist(&["ps", "stop", &old, "-a", "shop"])?
            .expect(1, &["web.1 is on its way in or out", "hint: `hoist ps`"])?;
    }
    Ok(())
}

fn scalings_and_restarts_lose_nothing() -> Result<()> {
    let soaked = soak::standing(program(), 16, Random::seed())?;
    ensure!(soaked.outcome.lost.is_empty(), "{:#?}", soaked.outcome.lost);
    ensure!(
        soaked.outcome.answered > 100 && soaked.outcome.echoed > 10,
        "{soaked:?}"
    );
    Ok(())
}

fn a_process_that_no_longer_lives_is_started_again() -> Result<()> {
    let rack = rack()?;
    let live = "liveness: {path: /live, grace: 0, interval: 1s, failureThreshold: 2}";
    let source = Source::app("shop", &web("hello", live))?;
    rack.deployed(&source.dir())?;
    let id = rack.processes("shop")?[0].0.clone();
    let before = started(&rack, &id)?;
    let release = rack.json(&["apps", "info", "-a", "shop"])?["release"].clone();
    rack.get("shop.localhost", "/deafen")?;
    let load = Load::start(&Clients::mixed(rack.router, "shop.localhost"));
    eventually(Duration::from_secs(20), || {
        ensure!(started(&rack, &id)? != before);
        ensure!(rack.get("shop.localhost", "/live")?.status == 200);
        Ok(())
    })?;
    let outcome = load.end();
    ensure!(outcome.lost.is_empty(), "{:#?}", outcome.lost);
    let events = rack.ok(&["events", "-a", "shop"])?.stdout;
    ensure!(
        events.contains("web.1 no longer lives: it answers GET /live with 500; starting it again"),
        "{events}"
    );
    ensure!(
        rack.json(&["apps", "info", "-a", "shop"])?["release"] == release,
        "nothing goes back"
    );
    Ok(())
}

fn liveness_of_what_has_no_port() -> Result<()> {
    let rack = rack()?;
    let worker = "  worker:\n    command: touch /tmp/alive; sleep 3; rm /tmp/alive; sleep 1000\n    \
                  liveness: {command: test -e /tmp/alive, grace: 0, interval: 1s, failureThreshold: 1}\n    \
                  termination: {grace: 1}\n";
    let source = Source::app("shop", &(web("hello", "") + worker))?;
    rack.deployed(&source.dir())?;
    eventually(Duration::from_secs(20), || {
        let events = rack.ok(&["events", "-a", "shop"])?.stdout;
        ensure!(
            events.contains("worker.1 no longer lives: it fails its health command (exit 1)")
                && events.contains("worker.1 was started again"),
            "{events}"
        );
        Ok(())
    })
}

fn health_by_command() -> Result<()> {
    let rack = rack()?;
    let source = Source::app(
        "shop",
        &web("hello", "health: {command: test -e fit, grace: 3}"),
    )?;
    source.write("fit", "")?;
    let fit = rack.deployed(&source.dir())?;
    std::fs::remove_file(source.dir().join("fit"))?;
    rack.deploy(&source.dir())?
        .expect(4, &["fails its health command (exit 1)"])?;
    let app = rack.json(&["apps", "info", "-a", "shop"])?;
    ensure!(app["release"] == fit.as_str(), "{app}");
    Ok(())
}

fn a_start_has_a_check_of_its_own() -> Result<()> {
    let rack = rack()?;
    let more = "startup: {command: test -e /tmp/warmed-up, interval: 1s, grace: 20}\nhealth: /live";
    let manifest = web("hello", more).replace(
        "command: ./app hello",
        "command: (sleep 2; touch /tmp/warmed-up) & exec ./app hello",
    );
    let source = Source::app("shop", &manifest)?;
    let began = std::time::Instant::now();
    rack.deployed(&source.dir())?;
    ensure!(
        began.elapsed() >= Duration::from_secs(2),
        "it listened at once, and its start was not over"
    );
    Ok(())
}

fn stop_and_start_say_what_is() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.hoist(&["stop", "-a", "shop"])?
        .expect(1, &["no app `shop`"])?;
    rack.deployed(&source.dir())?;
    rack.hoist(&["start", "-a", "shop"])?
        .expect(1, &["the app runs already", "hoist restart"])?;
    let address = rack.router;
    let slow = std::thread::spawn(move || {
        crate::harness::http::get(address, "shop.localhost", "/slow?ms=1500")
    });
    std::thread::sleep(Duration::from_millis(300));
    let stopping = rack.command(&["stop", "-a", "shop"]).spawn()?;
    eventually(Duration::from_secs(2), || {
        let status = rack.json(&["apps", "info", "-a", "shop"])?["status"].clone();
        ensure!(status == "stopping", "{status}");
        Ok(())
    })?;
    let answer = slow
        .join()
        .map_err(|_| anyhow::anyhow!("the client fell over"))??;
    ensure!(answer.status == 200, "what was asked before is answered");
    ensure!(crate::harness::rack::wait(stopping, Duration::from_secs(20))? == 0);
    ensure!(rack.json(&["apps", "info", "-a", "shop"])?["status"] == "stopped");
    rack.hoist(&["stop", "-a", "shop"])?
        .expect(1, &["stopped already", "hint: `hoist start`"])?;
    rack.hoist(&["restart", "web", "-a", "shop"])?
        .expect(1, &["it starts as a whole", "hint: `hoist start`"])?;
    rack.ok(&["start", "-a", "shop"])?;
    ensure!(rack.get("shop.localhost", "/")?.status == 200);
    Ok(())
}
