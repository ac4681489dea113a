//! An app on two racks: taken from one as a file, made from it on the other, and serving there as it did.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "an_app_serves_on_another_rack_as_it_did",
        an_app_serves_on_another_rack_as_it_did,
    ),
    (
        "an_app_is_exported_as_of_one_moment_of_its_deploy",
        an_app_is_exported_as_of_one_moment_of_its_deploy,
    ),
    (
        "a_build_goes_through_a_pipe_into_another_app",
        a_build_goes_through_a_pipe_into_another_app,
    ),
    (
        "what_is_no_export_changes_nothing",
        what_is_no_export_changes_nothing,
    ),
];

/// A file with a passphrase, and the flags that name it.
fn passphrase(rack: &Rack, words: &str) -> Result<[String; 2]> {
    let file = rack.home().join(words.replace(' ', "-"));
    fs::write(&file, format!("{words}\n"))?;
    Ok(["--passphrase-file".to_owned(), file.display().to_string()])
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Exports `shop` behind a passphrase.
fn exported(rack: &Rack) -> Result<PathBuf> {
    let file = rack.home().join("shop.export");
    let [flag, secret] = passphrase(rack, "open sesame")?;
    rack.ok(&[
        "apps",
        "export",
        "shop",
        "-f",
        &shown(&file),
        &flag,
        &secret,
    ])?;
    Ok(file)
}

fn an_app_serves_on_another_rack_as_it_did() -> Result<()> {
    let (old, new) = (rack()?, rack()?);
    let source = Source::app("shop", &web("first", ""))?;
    old.ok(&["apps", "create", "shop"])?;
    old.ok(&["env", "set", "COLOUR=deep red", "-a", "shop"])?;
    let first = old.deployed(&source.dir())?;
    source.manifest(&web("second", ""))?;
    let second = old.deployed(&source.dir())?;
    old.ok(&["scale", "web=2", "-a", "shop"])?;
    let staged = old.ok(&["env", "set", "COLOUR=pale blue", "-a", "shop"])?;
    let staged = staged.release()?;

    let file = old.home().join("shop.export");
    let [flag, secret] = passphrase(&old, "open sesame")?;
    let written = old.hoist(&[
        "apps",
        "export",
        "shop",
        "-f",
        &shown(&file),
        &flag,
        &secret,
    ])?;
    let lines = [
        "Exporting app shop... OK\n",
        "Exporting env... OK\n",
        "Exporting build B",
        "Packaging export... OK (",
    ];
    written.expect(0, &lines)?;
    ensure!(written.labelled("Export:")? == shown(&file));
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    let whole = fs::read(&file)?;
    for value in ["deep red", "pale blue", "open sesame"] {
        let found = whole.windows(value.len()).any(|at| at == value.as_bytes());
        ensure!(!found, "the export tells `{value}`");
    }

    let (flag, secret) = (flag.as_str(), secret.as_str());
    let file = shown(&file);
    let import = ["apps", "import", "market", "-f", &file, flag, secret];
    let imported = new.hoist(&[&import[..], &["--promote"]].concat())?;
    let promoting = format!("Promoting {second}... ");
    let lines = [
        "Creating app market... OK\n",
        "Importing build B",
        "Importing env... OK\n",
        &promoting,
    ];
    imported.expect(0, &lines)?;
    ensure!(imported.release()? == second);
    let answer = |rack: &Rack, host: &str, path: &str| rack.get(host, path).map(|got| got.text());
    for path in ["/", "/env/COLOUR"] {
        let (there, here) = (
            answer(&old, "shop.localhost", path)?,
            answer(&new, "market.localhost", path)?,
        );
        ensure!(there == here, "{path}: {there} is not {here}");
    }
    ensure!(new.processes("market")?.len() == 2, "the size came along");
    // What was staged goes out next; what served before is there to go back to.
    new.ok(&["promote", "-a", "market"])?;
    ensure!(answer(&new, "market.localhost", "/env/COLOUR")? == "pale blue");
    let releases = new.items(&["releases", "-a", "market"])?;
    ensure!(releases[0]["id"] == staged, "{releases:?}");
    new.ok(&["releases", "rollback", &first, "-a", "market"])?;
    let text = answer(&new, "market.localhost", "/")?;
    ensure!(text.starts_with("first of "), "{text}");

    // The same rack again: ids that are taken get others.
    let again = old.hoist(&["apps", "import", "copy", "-f", &file, flag, secret])?;
    again.expect(
        0,
        &["OK, B", "OK, R", "nothing of it runs yet: `hoist promote R"],
    )?;
    let copy = again.release()?;
    ensure!(copy != second, "{again}");
    ensure!(old.get("copy.localhost", "/")?.status == 404);
    old.ok(&["promote", copy, "-a", "copy"])?;
    ensure!(answer(&old, "copy.localhost", "/env/COLOUR")? == "deep red");
    ensure!(old.get("shop.localhost", "/")?.status == 200);
    Ok(())
}

fn an_app_is_exported_as_of_one_moment_of_its_deploy() -> Result<()> {
    let (old, new) = (rack()?, rack()?);
    let source = Source::app("shop", &web("first", ""))?;
    let first = old.deployed(&source.dir())?;
    source.manifest(&web("second --start-ms 3000", ""))?;
    let built = old.ok(&["build", &shown(&source.dir())])?;
    let second = built.release()?.to_owned();
    old.ok(&["promote", &second, "-a", "shop", "--detach"])?;
    let file = shown(&exported(&old)?);
    let [flag, secret] = passphrase(&new, "open sesame")?;
    let imported = new.json(&["apps", "import", "-f", &file, &flag, &secret])?;
    let ids: Vec<_> = imported["releases"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    ensure!(
        ids.len() == 2 && ids[1]["id"] == second.as_str(),
        "{imported}"
    );
    // Whichever was active when it began, it is whole and goes live.
    let active = imported["release"].as_str().unwrap_or_default();
    ensure!(
        [&first, &second].contains(&&active.to_owned()),
        "{imported}"
    );
    new.ok(&["promote", active, "-a", "shop"])?;
    ensure!(new.get("shop.localhost", "/")?.status == 200);
    Ok(())
}

fn a_build_goes_through_a_pipe_into_another_app() -> Result<()> {
    let (old, new) = (rack()?, rack()?);
    old.deployed(&Source::app("shop", &web("sold", ""))?.dir())?;
    let build = old.items(&["builds", "-a", "shop"])?.swap_remove(0);
    let build = build["id"].as_str().unwrap_or_default().to_owned();
    let piped = old.home().join("piped");
    let status = old
        .command(&["builds", "export", &build, "-a", "shop"])
        .stdout(File::create(&piped)?)
        .status()?;
    ensure!(status.success());
    let file = old.home().join("named");
    let named = old.hoist(&[
        "builds",
        "export",
        &build,
        "-a",
        "shop",
        "-f",
        &shown(&file),
    ])?;
    named.expect(0, &["Exporting build... OK ("])?;
    ensure!(named.labelled("Export:")? == shown(&file));

    new.ok(&["apps", "create", "market"])?;
    new.ok(&["env", "set", "COLOUR=green", "-a", "market"])?;
    let import = new
        .command(&["builds", "import", "-a", "market", "--id"])
        .stdin(File::open(&piped)?)
        .output()?;
    ensure!(import.status.success(), "{import:?}");
    let release = String::from_utf8(import.stdout)?.trim().to_owned();
    new.ok(&["promote", &release, "-a", "market"])?;
    ensure!(
        new.get("market.localhost", "/")?
            .text()
            .starts_with("sold of ")
    );
    ensure!(new.get("market.localhost", "/env/COLOUR")?.text() == "green");
    let log = new.ok(&[
        "builds",
        "logs",
        &of_release(&new, &release)?,
        "-a",
        "market",
    ])?;
    ensure!(log.stdout.contains("slug complete"), "{log}");
    let again = new.hoist(&["builds", "import", "-a", "market", "-f", &shown(&file)])?;
    again.expect(0, &["Importing build... OK, R", "makes it live"])?;
    ensure!(again.labelled("Build:")? != build && again.release()? != release);
    Ok(())
}

/// The build of a release of `market`.
fn of_release(rack: &Rack, release: &str) -> Result<String> {
    let release = rack.json(&["releases", "info", release, "-a", "market"])?;
    Ok(release["build"].as_str().unwrap_or_default().to_owned())
}

fn what_is_no_export_changes_nothing() -> Result<()> {
    let (old, new) = (rack()?, rack()?);
    let source = Source::web("shop", "sold")?;
    old.deployed(&source.dir())?;
    source.manifest("services:\n  web:\n    command: ./app sold\nbuild:\n  command: exit 3\n")?;
    old.deploy(&source.dir())?.expect(1, &["failed"])?;
    let builds = old.items(&["builds", "-a", "shop"])?;
    let failed = builds[0]["id"].as_str().unwrap_or_default();
    let to = shown(&old.home().join("build.export"));
    let export = |build: &str| old.hoist(&["builds", "export", build, "-a", "shop", "-f", &to]);
    export(failed)?.expect(1, &["is failed: only a complete one", "hint: "])?;
    export("BZZZZZZZZZZ")?.expect(1, &["has no build BZZZZZZZZZZ", "hint: "])?;
    let bare = old.hoist(&["apps", "export", "shop", "-f", &to])?;
    bare.expect(
        1,
        &[
            "goes along only behind a passphrase",
            "hint: ",
            "--without-env",
        ],
    )?;
    ensure!(!Path::new(&to).exists(), "a file of nothing");

    let file = exported(&old)?;
    let again = [
        "apps",
        "export",
        "shop",
        "--without-env",
        "-f",
        &shown(&file),
    ];
    old.hoist(&again)?
        .expect(1, &["is there already", "hint: "])?;
    let whole = fs::read(&file)?;
    let [flag, secret] = passphrase(&new, "open sesame")?;
    let import = |path: &Path, more: &[&str]| {
        let path = shown(path);
        new.hoist(&[&["apps", "import", "-f", &path], more].concat())
    };
    import(&file, &[])?.expect(1, &["is sealed with a passphrase", "hint: "])?;
    let [_, wrong] = passphrase(&new, "open barley")?;
    import(&file, &[&flag, &wrong])?.expect(1, &["does not open the env", "hint: "])?;
    import(&file, &["Not-A-Name", &flag, &secret])?.expect(1, &["`Not-A-Name`"])?;
    let none = new.home().join("none");
    import(&none, &[])?.expect(1, &["cannot read ", "hint: "])?;
    import(Path::new("/etc/passwd"), &[])?.expect(1, &["is no export of an app", "hint: "])?;
    let broken = new.home().join("broken");
    for end in [600, whole.len() / 2, whole.len() - 1_500] {
        fs::write(&broken, &whole[..end])?;
        import(&broken, &["--without-env"])?.expect(1, &["hint: "])?;
    }
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&broken, changed)?;
    import(&broken, &["--without-env"])?.expect(1, &["the export is damaged", "hint: "])?;
    let build = new.hoist(&["builds", "import", "-a", "shop", "-f", &shown(&file)])?;
    build.expect(1, &["but one of an app", "`hoist apps import` takes it"])?;
    ensure!(new.items(&["apps"])?.is_empty(), "something was made");
    ensure!(!new.data().join("apps/shop").exists());
    let left: Vec<_> = fs::read_dir(new.data().join("scratch"))?
        .flatten()
        .collect();
    ensure!(left.is_empty(), "{left:?}");

    import(&file, &[&flag, &secret])?.expect(0, &["Creating app shop... OK"])?;
    import(&file, &[&flag, &secret])?.expect(1, &["there is an app `shop` already", "hint: "])?;
    Ok(())
}
