//! What must be refused: with a clear message, a hint and the right exit code, and with nothing lost.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use hoist_api::endpoints::operations;
use serde_json::Value;

use crate::harness::http::{Answer, Conn};
use crate::harness::rack::{Ran, eventually, free_address};
use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::{Lacking, Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    ("names_and_variables", names_and_variables),
    ("manifests", manifests),
    ("tokens_and_plain_http", tokens_and_plain_http),
    (
        "every_operation_wants_a_token",
        every_operation_wants_a_token,
    ),
    ("uploads_that_end_early", uploads_that_end_early),
    ("archives_that_point_outside", archives_that_point_outside),
    ("a_port_is_taken", a_port_is_taken),
    ("another_rack_holds_the_data", another_rack_holds_the_data),
    (
        "the_data_is_of_a_newer_version",
        the_data_is_of_a_newer_version,
    ),
    ("the_disk_is_full", the_disk_is_full),
];

fn names_and_variables() -> Result<()> {
    let rack = rack()?;
    let long = "a".repeat(64);
    for name in ["Shop", "my_app", "-x", &long, ""] {
        let ran = rack.hoist(&["apps", "create", "--", name])?;
        ensure!(ran.code == 1 || ran.code == 2, "{name}\n{ran}");
        ensure!(
            ran.stderr.contains("is not an app name: use a-z"),
            "{name}\n{ran}"
        );
    }
    for name in ["hoist", "convox", "rack", "system"] {
        rack.hoist(&["apps", "create", name])?
            .expect(1, &["is reserved for the rack itself"])?;
    }
    ensure!(rack.items(&["apps"])?.is_empty());
    rack.ok(&["apps", "create", "shop"])?;
    for (variable, code) in [("1A=x", 1), ("A-B=x", 1), ("A B=x", 1), ("=x", 2), ("A", 2)] {
        let ran = rack.hoist(&["env", "set", variable, "-a", "shop"])?;
        ensure!(ran.code == code, "{variable}\n{ran}");
    }
    ensure!(rack.ok(&["env", "-a", "shop"])?.stdout.is_empty());
    ensure!(
        rack.items(&["releases", "-a", "shop"])?.is_empty(),
        "a refused variable made a release"
    );
    // What is allowed stays whole, whatever it holds.
    let value = "spaces, \"quotes\", $DOLLARS, ümläuts and\ntwo lines";
    rack.ok(&["env", "set", &format!("A={value}"), "-a", "shop"])?;
    ensure!(rack.ok(&["env", "get", "A", "-a", "shop"])?.stdout == format!("{value}\n"));
    Ok(())
}

fn manifests() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "good")?;
    let good = rack.deployed(&source.dir())?;
    for (manifest, words) in [
        ("services:\n  web:\n    port: 3000\n", "has no `command`"),
        ("services: [", "hoist.yml"),
        ("", "hoist.yml"),
        (
            "services:\n  web:\n    command: ./app x\n    port: 99999\n",
            "port",
        ),
    ] {
        source.manifest(manifest)?;
        let ran = rack.deploy(&source.dir())?;
        ensure!(
            ran.code == 1 && ran.stderr.contains(words),
            "{manifest}\n{ran}"
        );
        ensure!(
            rack.items(&["releases", "-a", "shop"])?.len() == 1,
            "{manifest}\n{ran}"
        );
    }
    source.manifest(&web("good", "helth: /up\nports: []"))?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(0, &["hoist.yml:5", "helth", "health"])?;
    source.manifest(&(web("good", "") + "timers:\n  night:\n    schedule: 0 3 * * *\n    command: ./app x\n    service: web\n"))?;
    rack.deploy(&source.dir())?
        .expect(0, &["hoist.yml:5", "timers", "not run yet"])?;
    ensure!(
        rack.items(&["releases", "-a", "shop"])?
            .iter()
            .any(|release| release["id"] == good.as_str())
    );
    Ok(())
}

fn tokens_and_plain_http() -> Result<()> {
    let rack = rack()?;
    let with_url = |url: &str| {
        let mut command = rack.command(&["apps"]);
        command.env_remove("HOIST_DATA_DIR").env("HOIST_URL", url);
        Ran::of(command, Duration::from_secs(10))
    };
    with_url(&format!("http://:{}@{}", rack.token()?, rack.api))?.expect(0, &[])?;
    with_url(&format!("http://:wrong@{}", rack.api))?.expect(1, &["token", "hint: "])?;
    with_url(&format!("http://{}", rack.api))?.expect(1, &["token", "hint: "])?;
    // Refused before anything is sent: this address belongs to nobody.
    with_url("http://:sesame@192.0.2.1:4500")?.expect(1, &["plain HTTP", "hint: "])?;
    with_url("http://:sesame@example.com")?.expect(1, &["plain HTTP", "hint: "])?;
    with_url("not a url")?.expect(2, &[])?;
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(rack.data().join("token"))?);
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    Ok(())
}

fn call(rack: &Rack, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> Result<Answer> {
    let mut conn = Conn::open(rack.api)?;
    let token = token
        .map(|token| format!("authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    let kind = if body.first() == Some(&b'{') {
        "application/json"
    } else {
        "application/x-tar"
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{token}content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    conn.send(head.as_bytes())?;
    conn.send(body)?;
    Ok(conn.answer()?)
}

fn code_of(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["code"].as_str().unwrap_or_default().to_owned()
}

fn every_operation_wants_a_token() -> Result<()> {
    let rack = rack()?;
    let token = rack.token()?;
    let all = operations(&mut schemars::SchemaGenerator::default());
    ensure!(all.len() > 25, "{}", all.len());
    for operation in all {
        let path = format!("/v1{}", operation.path)
            .replace("{app}", "nope")
            .replace("{build}", "BAAAAAAAAAA")
            .replace("{release}", "RAAAAAAAAAA")
            .replace("{source}", "1")
            .replace("{process}", "aaaaaaaaaaaa")
            .replace("{session}", "1")
            .replace("{number}", "1.1");
        ensure!(!path.contains('{'), "{path}");
        let method = operation.method.as_str();
        for wrong in [None, Some("wrong"), Some("")] {
            let answer = call(&rack, method, &path, wrong, b"{}")?;
            ensure!(
                answer.status == 401 && code_of(&answer) == "unauthenticated",
                "{method} {path}: {}",
                answer.text()
            );
            let body: Value = serde_json::from_slice(&answer.body)?;
            ensure!(
                body["hint"].is_string() && body["request_id"].is_string(),
                "{body}"
            );
        }
        if operation.id != "stop_rack" {
            let answer = call(&rack, method, &path, Some(&token), b"{}")?;
            let code = code_of(&answer);
            ensure!(
                code != "route_not_found" && code != "method_not_allowed",
                "{method} {path}: {}",
                answer.text()
            );
        }
    }
    let nothing = call(&rack, "GET", "/v1/nothing", Some(&token), b"{}")?;
    ensure!(nothing.status == 404 && code_of(&nothing) == "route_not_found");
    ensure!(call(&rack, "GET", "/check", None, b"")?.status == 200);
    Ok(())
}

/// One entry of a tar archive.
fn entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend([0; 1024]);
    bytes
}

const MANIFEST: &[u8] = b"services:\n  web:\n    command: ./app x\n    port: 3000\n";

fn uploads_that_end_early() -> Result<()> {
    let rack = rack()?;
    let token = rack.token()?;
    rack.ok(&["apps", "create", "shop"])?;
    let whole = archive(&[
        entry("hoist.yml", b'0', "", MANIFEST),
        entry("data", b'0', "", &[7; 5000]),
    ]);
    for sent in [0, 100, 512, 1500, whole.len() - 1024 - 300] {
        // The connection ends before the announced length.
        let mut conn = Conn::open(rack.api)?;
        let head = format!(
            "POST /v1/apps/shop/builds HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/x-tar\r\ncontent-length: {}\r\n\r\n",
            whole.len()
        );
        conn.send(head.as_bytes())?;
        conn.send(&whole[..sent])?;
        conn.half_close()?;
        if let Ok(answer) = conn.answer() {
            ensure!(
                answer.status >= 400,
                "{sent} bytes were enough: {}",
                answer.text()
            );
        }
        // The whole request, but the archive inside ends early.
        let answer = call(
            &rack,
            "POST",
            "/v1/apps/shop/builds",
            Some(&token),
            &whole[..sent],
        )?;
        ensure!(
            answer.status == 422 && code_of(&answer) == "invalid_archive",
            "{sent}: {} {}",
            answer.status,
            answer.text()
        );
    }
    nothing_was_built(&rack)?;
    let answer = call(&rack, "POST", "/v1/apps/shop/builds", Some(&token), &whole)?;
    ensure!(answer.status == 201, "{}", answer.text());
    Ok(())
}

fn nothing_was_built(rack: &Rack) -> Result<()> {
    let complete = rack
        .items(&["builds", "-a", "shop"])?
        .iter()
        .filter(|build| build["status"] == "complete")
        .count();
    ensure!(complete == 0);
    ensure!(
        rack.items(&["releases", "-a", "shop"])?.is_empty(),
        "a broken upload made a release"
    );
    eventually(Duration::from_secs(5), || {
        let left = std::fs::read_dir(rack.data().join("scratch"))?.count();
        ensure!(left == 0, "{left} uploads are left over");
        Ok(())
    })
}

fn archives_that_point_outside() -> Result<()> {
    let rack = rack()?;
    let token = rack.token()?;
    rack.ok(&["apps", "create", "shop"])?;
    let manifest = || entry("hoist.yml", b'0', "", MANIFEST);
    let target = rack.home().join("evil");
    let absolute = target.to_string_lossy().into_owned();
    let bad = [
        ("up", vec![entry("../evil", b'0', "", b"x")]),
        ("up within", vec![entry("a/../../evil", b'0', "", b"x")]),
        ("absolute", vec![entry(&absolute, b'0', "", b"x")]),
        (
            "link up",
            vec![
                entry("l", b'2', "../../..", b""),
                entry("l/evil", b'0', "", b"x"),
            ],
        ),
        (
            "absolute link",
            vec![
                entry("l", b'2', &rack.home().to_string_lossy(), b""),
                entry("l/evil", b'0', "", b"x"),
            ],
        ),
        ("hard link", vec![entry("l", b'1', "/etc/passwd", b"")]),
        ("device", vec![entry("null", b'3', "", b"")]),
    ];
    for (what, mut entries) in bad {
        entries.insert(0, manifest());
        let answer = call(
            &rack,
            "POST",
            "/v1/apps/shop/builds",
            Some(&token),
            &archive(&entries),
        )?;
        ensure!(
            answer.status == 422 && code_of(&answer) == "invalid_archive",
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
    }
    ensure!(!target.exists(), "an archive wrote outside");
    ensure!(
        files_named(rack.home(), "evil") == 0,
        "an archive wrote outside"
    );
    nothing_was_built(&rack)
}

fn files_named(dir: &Path, name: &str) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let inside = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                files_named(&entry.path(), name)
            } else {
                0
            };
            inside + usize::from(entry.file_name() == name)
        })
        .sum()
}

fn a_port_is_taken() -> Result<()> {
    let rack = Rack::idle(program())?;
    let start = || {
        let mut command = rack.command(&["rack", "start"]);
        command.args(rack.flags());
        Ran::of(command, Duration::from_secs(20))
    };
    for (address, flag) in [(rack.api, "--listen"), (rack.router, "--router")] {
        let _listener = TcpListener::bind(address)?;
        let ran = start()?;
        ran.expect(
            1,
            &["ERROR: ", &address.to_string(), "in use", "hint: ", flag],
        )?;
    }
    let left = crate::harness::traces::left_by(rack.data());
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

fn another_rack_holds_the_data() -> Result<()> {
    let rack = rack()?;
    let mut command = rack.command(&["rack", "start", "--listen", &free_address()?.to_string()]);
    command.args(["--router", &free_address()?.to_string()]);
    let ran = Ran::of(command, Duration::from_secs(20))?;
    ran.expect(1, &["another rack runs on", "hint: ", "--data-dir"])?;
    rack.ok(&["apps"])?;
    Ok(())
}

fn the_data_is_of_a_newer_version() -> Result<()> {
    let mut rack = rack()?;
    rack.ok(&["apps", "create", "shop"])?;
    rack.hoist(&["rack", "stop"])?.expect(0, &[])?;
    rack.ended()?;
    let store = rusqlite::Connection::open(rack.data().join("hoist.db"))?;
    let version: i64 = store.pragma_query_value(None, "user_version", |row| row.get(0))?;
    ensure!(version > 0, "the store has no version");
    store.pragma_update(None, "user_version", version + 1)?;
    drop(store);
    let mut command = rack.command(&["rack", "start"]);
    command.args(rack.flags());
    Ran::of(command, Duration::from_secs(20))?.expect(1, &["newer", "hint: "])?;
    let store = rusqlite::Connection::open(rack.data().join("hoist.db"))?;
    store.pragma_update(None, "user_version", version)?;
    drop(store);
    rack.run()?;
    ensure!(rack.items(&["apps"])?.len() == 1, "an app was lost");
    Ok(())
}

/// A tmpfs that fills up: only root can mount one.
fn the_disk_is_full() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Lacking("only root can mount a small disk").into());
    }
    let mut rack = Rack::idle(program())?;
    std::fs::create_dir_all(rack.data())?;
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "none"])
        .arg(rack.data())
        .status()?;
    ensure!(mount.success(), "cannot mount a tmpfs");
    let told = full_disk(&mut rack);
    let _ = rack.hoist(&["rack", "stop", "--apps"]);
    let _ = rack.ended();
    let unmount = Command::new("umount")
        .arg("--lazy")
        .arg(rack.data())
        .status()?;
    ensure!(unmount.success());
    told
}

fn full_disk(rack: &mut Rack) -> Result<()> {
    rack.run()?;
    let source = Source::web("shop", "good")?;
    let good = rack.deployed(&source.dir())?;
    source.write("large.bin", &"0123456789abcdef".repeat(1 << 20))?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(
        1,
        &[
            "No space left on device",
            "hint: free space on the rack's disk",
        ],
    )?;
    std::fs::write(rack.data().join("ballast"), vec![1; 16 << 20]).unwrap_err();
    for _ in 0..20 {
        ensure!(
            rack.get("shop.localhost", "/")?.text() == format!("good of {good} takes 0 bytes\n")
        );
    }
    let ran = rack.hoist(&["env", "set", "A=b", "--promote", "-a", "shop"])?;
    ensure!(ran.code != 0, "a full disk took a change\n{ran}");
    ensure!(
        ran.stderr.contains("ERROR: ") && ran.stderr.contains("hint: "),
        "{ran}"
    );
    rack.ok(&["ps", "-a", "shop"])?;
    ensure!(rack.get("shop.localhost", "/")?.status == 200);
    std::fs::remove_file(rack.data().join("ballast"))?;
    std::fs::remove_file(source.dir().join("large.bin"))?;
    eventually(Duration::from_secs(20), || {
        rack.deployed(&source.dir()).map(drop)
    })?;
    Ok(())
}
