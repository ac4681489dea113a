//! A rack in one file: written while it runs, and a rack of its own made from it on another machine's directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};

use crate::harness::rack::eventually;
use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::{Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "apps_come_up_with_their_env_in_an_empty_directory",
        apps_come_up_with_their_env_in_an_empty_directory,
    ),
    (
        "without_its_key_a_restored_rack_does_not_start",
        without_its_key_a_restored_rack_does_not_start,
    ),
    (
        "what_cannot_be_done_changes_nothing",
        what_cannot_be_done_changes_nothing,
    ),
];

fn apps_come_up_with_their_env_in_an_empty_directory() -> Result<()> {
    let mut old = rack()?;
    let source = Source::app("shop", &web("first", "volumes: [\"uploads:/data\"]"))?;
    let dir = source.dir();
    old.ok(&["apps", "create", "shop"])?;
    old.ok(&["env", "set", "COLOUR=deep red", "-a", "shop"])?;
    let first = old.deployed(&dir)?;
    let with_volumes = old.get("shop.localhost", "/write/photo/pixels")?.text() == "written";
    source.manifest(&web("second", "volumes: [\"uploads:/data\"]"))?;
    let second = old.deployed(&dir)?;
    old.ok(&["scale", "web=2", "-a", "shop"])?;

    let secret = old.home().join("passphrase");
    fs::write(&secret, "open sesame\n")?;
    let (file, secret) = (old.home().join("rack.backup"), secret.display().to_string());
    let shown = file.display().to_string();
    let written = old.hoist(&[
        "rack",
        "backup",
        &shown,
        "--with-volumes",
        "--passphrase-file",
        &secret,
    ])?;
    written.expect(0, &["Backing up rack... OK (1 app, 2 slugs, ", "the key"])?;
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    let key = fs::read(old.data().join("key"))?;
    let holds = |bytes: &[u8]| {
        let whole = fs::read(&file)?;
        Ok::<_, anyhow::Error>(whole.windows(bytes.len()).any(|window| window == bytes))
    };
    ensure!(
        !holds(&key)? && !holds(b"deep red")?,
        "the backup tells secrets"
    );
    ensure!(
        old.get("shop.localhost", "/")?.status == 200,
        "the rack goes on"
    );
    let left = old.stop_all()?;
    ensure!(left.is_empty(), "left over: {left:?}");

    let mut new = Rack::idle(program())?;
    let restored = new.hoist(&["rack", "restore", &shown, "--passphrase-file", &secret])?;
    restored.expect(0, &["Restoring rack... OK (1 app, 2 slugs, "])?;
    new.run()?;
    eventually(std::time::Duration::from_secs(20), || {
        let answer = new.get("shop.localhost", "/")?;
        ensure!(
            answer.status == 200 && answer.text().starts_with("second of "),
            "{answer:?}"
        );
        Ok(())
    })?;
    ensure!(new.get("shop.localhost", "/env/COLOUR")?.text() == "deep red");
    if with_volumes {
        ensure!(new.get("shop.localhost", "/read/photo")?.text() == "pixels");
    }
    eventually(std::time::Duration::from_secs(20), || {
        let found = new.processes("shop")?;
        ensure!(found.len() == 2, "the size came back: {found:?}");
        Ok(())
    })?;
    let releases = new.items(&["releases", "-a", "shop"])?;
    ensure!(
        releases.len() == 3 && releases[0]["id"] == second.as_str(),
        "{releases:?}"
    );
    ensure!(
        new.token()? != old.token().unwrap_or_default(),
        "the token is a new one"
    );

    // What goes on after it is of a new epoch, and the release before is there to go back to.
    let back = new.hoist(&["releases", "rollback", "-a", "shop"])?;
    back.expect(0, &["Rolling back to R", "... OK, R"])?;
    let copy = &rack_newest(&new)?["description"];
    ensure!(*copy == format!("rollback to {first}").as_str(), "{copy}");
    ensure!(
        new.get("shop.localhost", "/")?
            .text()
            .starts_with("first of ")
    );
    let promotions = new.items(&["promotions", "-a", "shop"])?;
    let number = |n: usize| {
        promotions[n]["number"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    ensure!(
        number(0).starts_with("2.") && number(1).starts_with("1."),
        "{promotions:?}"
    );
    Ok(())
}

fn rack_newest(rack: &Rack) -> Result<serde_json::Value> {
    Ok(rack.items(&["releases", "-a", "shop"])?.swap_remove(0))
}

fn without_its_key_a_restored_rack_does_not_start() -> Result<()> {
    let old = rack()?;
    old.deployed(&Source::web("shop", "first")?.dir())?;
    let file = old.home().join("rack.backup").display().to_string();
    let written = old.hoist(&["rack", "backup", &file])?;
    written.expect(0, &["no key", "WARNING: the key is not in it"])?;

    let mut new = Rack::idle(program())?;
    let restored = new.hoist(&["rack", "restore", &file])?;
    restored.expect(0, &["no key", "WARNING: the key is not in it: bring"])?;
    let refused = format!(
        "{:#}",
        new.run()
            .err()
            .map_or_else(String::new, |error| error.to_string())
    );
    ensure!(
        refused.contains("is missing, and there are environments"),
        "{refused}"
    );
    ensure!(
        !new.data().join("key").exists(),
        "a new key would open nothing"
    );
    fs::copy(old.data().join("key"), new.data().join("key"))?;
    new.run()?;
    eventually(std::time::Duration::from_secs(20), || {
        ensure!(new.get("shop.localhost", "/")?.status == 200);
        Ok(())
    })
}

fn what_cannot_be_done_changes_nothing() -> Result<()> {
    let rack = rack()?;
    rack.deployed(&Source::web("shop", "first")?.dir())?;
    let file = rack.home().join("rack.backup");
    let shown = file.display().to_string();
    rack.command(&["rack", "backup", &shown])
        .env("HOIST_BACKUP_PASSPHRASE", "open sesame")
        .status()?;
    let whole = fs::read(&file)?;

    let again = rack.hoist(&["rack", "backup", &shown])?;
    again.expect(1, &["is there already", "hint: "])?;
    ensure!(fs::read(&file)? == whole);
    let nowhere = rack
        .home()
        .join("no/such/directory/x")
        .display()
        .to_string();
    rack.hoist(&["rack", "backup", &nowhere])?
        .expect(1, &["cannot write"])?;
    let used = rack.hoist(&["rack", "restore", &shown])?;
    used.expect(1, &["is not empty", "hint: "])?;

    let target = rack.home().join("target");
    let restore = |file: &str, more: &[&str]| {
        let data = target.display().to_string();
        rack.hoist(&[&["rack", "restore", file, "--data-dir", &data], more].concat())
    };
    restore(&shown, &[])?.expect(1, &["is sealed with a passphrase", "hint: "])?;
    let wrong = rack.home().join("wrong");
    fs::write(&wrong, "open barley\n")?;
    let wrong = wrong.display().to_string();
    restore(&shown, &["--passphrase-file", &wrong])?.expect(1, &["does not open the key"])?;
    restore("/etc/passwd", &[])?.expect(1, &["is not a backup of a rack"])?;
    let broken = rack.home().join("broken");
    let shown = broken.display().to_string();
    fs::write(&broken, &whole[..whole.len() / 2])?;
    restore(&shown, &["--without-key"])?.expect(1, &["is not whole", "hint: "])?;
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&broken, changed)?;
    restore(&shown, &["--without-key"])?.expect(1, &["is damaged", "hint: "])?;
    ensure!(!target.exists(), "something was made");
    // What a restore left that was killed goes with the next one, whether that comes to its end or not.
    let left = rack.home().join(".target.restore-1");
    fs::create_dir_all(left.join("slugs"))?;
    fs::set_permissions(&left, fs::Permissions::from_mode(0o500))?;
    let whole_file = file.display().to_string();
    restore(&whole_file, &["--without-key"])?.expect(0, &["Restoring rack... OK"])?;
    ensure!(target.join("hoist.db").exists() && !left.exists());
    let mut names = fs::read_dir(rack.home())?
        .flatten()
        .map(|entry| entry.file_name());
    ensure!(
        !names.any(|name| name.to_string_lossy().contains("restore-")),
        "something was left"
    );
    Ok(())
}
