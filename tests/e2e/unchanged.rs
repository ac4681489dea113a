//! Nothing is sent or built twice: what a deploy does that changes nothing, or little.

use anyhow::{Context as _, Result, ensure};

use crate::harness::Source;
use crate::harness::rack::Ran;
use crate::harness::source::web;
use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "nothing_changed_is_not_built_and_only_changes_are_sent",
        nothing_changed_is_not_built_and_only_changes_are_sent,
    ),
    (
        "what_is_not_active_is_promoted_without_a_build",
        what_is_not_active_is_promoted_without_a_build,
    ),
    (
        "a_source_by_hand_and_what_is_refused_of_it",
        a_source_by_hand_and_what_is_refused_of_it,
    ),
];

fn nothing_changed_is_not_built_and_only_changes_are_sent() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "first")?;
    source.write("large", &"x".repeat(3_000_000))?;
    let dir = source.dir();
    let first = rack.deployed(&dir)?;
    let builds = || Ok::<_, anyhow::Error>(rack.items(&["builds", "-a", "shop"])?.len());

    let again = rack.deploy(&dir)?;
    again.expect(
        0,
        &[
            "OK (nothing new)",
            "nothing changed since B",
            "is active already",
        ],
    )?;
    ensure!(again.release()? == first && builds()? == 1, "{again}");

    source.manifest(&web("second", ""))?;
    let changed = rack.deploy(&dir)?;
    changed.expect(0, &["Uploading source... OK (1 of 3 files, "])?;
    ensure!(changed.release()? != first && builds()? == 2, "{changed}");
    ensure!(
        rack.get("shop.localhost", "/")?
            .text()
            .starts_with("second of ")
    );

    // A mode is a change, and nothing has to be sent for it.
    let mut permissions = std::fs::metadata(dir.join("large"))?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(dir.join("large"), permissions)?;
    let mode = rack.deploy(&dir)?;
    mode.expect(0, &["OK (nothing new)", "Promoting R"])?;
    ensure!(builds()? == 3);

    let path = dir.to_string_lossy().into_owned();
    let rebuilt = rack.hoist(&["deploy", &path, "--rebuild"])?;
    rebuilt.expect(0, &["OK (nothing new)", "slug complete", "Promoting R"])?;
    ensure!(builds()? == 4);
    let described = rack.hoist(&["deploy", &path, "-d", "for the record"])?;
    described.expect(0, &["nothing changed since B", "Promoting R"])?;
    ensure!(builds()? == 4 && described.release()? != rebuilt.release()?);
    let releases = rack.items(&["releases", "-a", "shop"])?;
    ensure!(
        releases[0]["description"] == "for the record",
        "{releases:?}"
    );
    ensure!(releases[0]["build"] == releases[1]["build"], "{releases:?}");
    Ok(())
}

fn what_is_not_active_is_promoted_without_a_build() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "first")?;
    let dir = source.dir();
    let first = rack.deployed(&dir)?;
    let unbuilt = |ran: &Ran| -> Result<()> {
        ran.expect(0, &["nothing changed since B", "Promoting R"])?;
        ensure!(rack.items(&["builds", "-a", "shop"])?.len() == 1, "{ran}");
        Ok(())
    };

    rack.ok(&["stop", "-a", "shop"])?;
    let started = rack.deploy(&dir)?;
    unbuilt(&started)?;
    ensure!(started.release()? == first && rack.get("shop.localhost", "/")?.status == 200);

    let staged = rack.ok(&["env", "set", "COLOUR=red", "-a", "shop"])?;
    let deployed = rack.deploy(&dir)?;
    unbuilt(&deployed)?;
    ensure!(deployed.release()? == staged.release()?, "{deployed}");
    ensure!(rack.get("shop.localhost", "/env/COLOUR")?.text() == "red");
    rack.deploy(&dir)?.expect(0, &["is active already"])?;

    // What failed is tried again; once it went back, the source before is still the active one.
    source.manifest(&web("broken --status 503", "health: {path: /, grace: 2}"))?;
    let failed = rack.deploy(&dir)?;
    failed.expect(4, &["was rolled back"])?;
    let retried = rack.deploy(&dir)?;
    retried.expect(4, &["nothing changed since B", "was rolled back"])?;
    ensure!(retried.release()? == failed.release()?, "{retried}");
    source.manifest(&web("first", ""))?;
    let back = rack.deploy(&dir)?;
    back.expect(0, &["nothing changed since B", "is active already"])?;
    ensure!(back.release()? == staged.release()?, "{back}");
    Ok(())
}

/// The API without the command line, as other programs use it.
fn a_source_by_hand_and_what_is_refused_of_it() -> Result<()> {
    let rack = rack()?;
    rack.ok(&["apps", "create", "shop"])?;
    let text = "services: {web: {command: sleep 1000}}\n";
    let digest = sha256(text)?;
    let list = |path: &str, digest: &str, size: usize| {
        serde_json::json!({"entries": [
            {"type": "file", "path": path, "size": size, "sha256": digest},
            {"type": "directory", "path": "d"},
            {"type": "link", "path": "d/up", "target": "../hoist.yml"},
        ]})
        .to_string()
    };
    let call = |method: &str, path: &str, body: &[u8]| -> Result<(u16, serde_json::Value)> {
        let token = rack.token()?;
        let length = body.len();
        let head = format!(
            "{method} /v1/apps/shop{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
        );
        let mut conn = crate::harness::http::Conn::open(rack.api)?;
        conn.send(&[head.as_bytes(), body].concat())?;
        let answer = conn.answer()?;
        Ok((answer.status, serde_json::from_str(&answer.text())?))
    };
    let whole = list("hoist.yml", &digest, text.len());
    let (status, source) = call("POST", "/sources", whole.as_bytes())?;
    ensure!(
        status == 201 && source["missing"] == serde_json::json!([digest]),
        "{source}"
    );
    let at = format!("/sources/{}", source["id"].as_str().context("no id")?);

    let (status, refused) = call("POST", &format!("{at}/builds"), b"")?;
    ensure!(
        status == 409 && refused["code"] == "source_incomplete",
        "{refused}"
    );
    for wrong in ["services: {web: {command: sleep 1001}}\n", "too short"] {
        let (status, refused) = call("PUT", &at, &tar(&digest, wrong))?;
        ensure!(
            status == 422 && refused["code"] == "invalid_archive",
            "{refused}"
        );
    }
    let (status, refused) = call("PUT", &at, &tar("../../../escape", text))?;
    ensure!(status == 422, "{refused}");
    let (status, source) = call("PUT", &at, &tar(&digest, text))?;
    ensure!(
        status == 200 && source["missing"] == serde_json::json!([]),
        "{source}"
    );
    let (status, built) = call("POST", &format!("{at}/builds"), b"")?;
    ensure!(status == 201 && built["unchanged"].is_null(), "{built}");

    for (path, digest, size) in [
        ("../x", digest.as_str(), 1),
        ("/x", &digest, 1),
        ("d/up", &digest, 1),
        ("x", "no digest", 1),
    ] {
        let (status, refused) = call("POST", "/sources", list(path, digest, size).as_bytes())?;
        ensure!(
            status == 422 && refused["code"] == "invalid_archive",
            "{path}: {refused}"
        );
    }
    let (status, refused) = call("POST", "/sources", list("x", &digest, 5 << 30).as_bytes())?;
    ensure!(status == 413 && refused["code"] == "too_large", "{refused}");
    for unknown in ["/sources/nonsense", &format!("/sources/{digest}")] {
        let (status, refused) = call("POST", &format!("{unknown}/builds"), b"")?;
        ensure!(
            status == 404 && refused["code"] == "source_not_found",
            "{refused}"
        );
    }
    Ok(())
}

fn sha256(text: &str) -> Result<String> {
    use std::io::Write as _;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no pipe")?
        .write_all(text.as_bytes())?;
    let said = String::from_utf8(child.wait_with_output()?.stdout)?;
    Ok(said.split(' ').next().context("no digest")?.to_owned())
}

/// A tar archive of one file, whose header is written by hand.
fn tar(name: &str, text: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", text.len()).as_bytes());
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(text.as_bytes());
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
