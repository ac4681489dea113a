//! Apps and builds that are taken from one rack and taken in by another, and every file that is none of those.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use hoist_api::ErrorCode;
use hoist_core::id::{AppName, BuildId, ReleaseId, ServiceName};
use hoist_core::lineage::Start;
use hoist_core::plan::Scaling;
use hoist_rack::backup::Passphrase;
use hoist_rack::commands::{Imported, ScaleWish};
use hoist_rack::moving::{ExportWish, ImportWish, MoveError};
use hoist_rack::store::BuildRecord;
use hoist_rack::{Layout, RackError};

use crate::world::{World, actor, created, setting, web};

fn passphrase() -> Option<Passphrase> {
    Passphrase::new("open sesame")
}

fn name(text: &str) -> AppName {
    text.parse().expect("a name")
}

fn layout(world: &World) -> Layout {
    Layout::new(world.dir.path().join("data"))
}

async fn set(world: &World, app: &AppName, pairs: &[(&str, &str)]) -> ReleaseId {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let update = setting(pairs.collect::<BTreeMap<_, _>>(), None);
    let release = world.rack().update_env(app, update, &actor()).await;
    release.expect("a release").id
}

/// An app with an active release, one that failed after it, and one that is staged; its slug has what a tree can have.
struct Moved {
    app: AppName,
    build: BuildId,
    active: ReleaseId,
    failed: ReleaseId,
    staged: ReleaseId,
}

async fn shop(world: &World) -> Moved {
    let app = created(world).await;
    set(world, &app, &[("SECRET", "hush-hush"), ("EMPTY", "")]).await;
    let active = world.build(&app, &web("serve")).await;
    let build = world.rack().release(&app, &active).await.expect("it");
    let build = build.build.expect("a build");
    let slug = layout(world).slug(&app, &build);
    fs::create_dir(slug.join("bin")).expect("made");
    fs::write(slug.join("bin/run"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(slug.join("bin/run"), fs::Permissions::from_mode(0o4755)).expect("a mode");
    fs::set_permissions(slug.join("bin"), fs::Permissions::from_mode(0o555)).expect("a mode");
    symlink("/usr/bin/python3", slug.join("python")).expect("a link");
    fs::write(slug.join("x".repeat(180)), "a long name").expect("written");
    world.promote(&app, &active).await;
    let failed = world.build(&app, &web("exit 1")).await;
    world.promote(&app, &failed).await;
    let staged = set(world, &app, &[("SECRET", "hush-hush-2")]).await;
    let sizes = BTreeMap::from([("web".parse::<ServiceName>().expect("a name"), 3)]);
    let wish = ScaleWish {
        scaling: Scaling {
            sizes,
            ..Scaling::default()
        },
        all_from_manifest: false,
    };
    world
        .rack()
        .scale(&app, wish, &actor())
        .await
        .expect("scaled");
    Moved {
        app,
        build,
        active,
        failed,
        staged,
    }
}

async fn export(world: &World, app: &AppName, wish: ExportWish) -> Vec<u8> {
    let prepared = world.rack().export_app(app, wish).await.expect("an export");
    written(prepared).await
}

async fn written(prepared: hoist_rack::moving::Prepared) -> Vec<u8> {
    let write = move || {
        let mut bytes = Vec::new();
        prepared.write(&mut bytes).map(|()| bytes)
    };
    let written = tokio::task::spawn_blocking(write).await;
    written.expect("it ended").expect("written")
}

fn with_env() -> ExportWish {
    ExportWish {
        passphrase: passphrase(),
        ..ExportWish::default()
    }
}

/// The file as it lies when it was uploaded.
fn upload(world: &World, bytes: &[u8]) -> PathBuf {
    let path = layout(world).scratch().join("upload.tar");
    fs::write(&path, bytes).expect("written");
    path
}

async fn import(world: &World, bytes: &[u8], wish: ImportWish) -> Result<Imported, RackError> {
    let file = upload(world, bytes);
    world.rack().import_app(file, wish, &actor()).await
}

async fn take_build(world: &World, app: &AppName, bytes: &[u8]) -> Result<BuildRecord, RackError> {
    let file = upload(world, bytes);
    world.rack().import_build(app, file, &actor()).await
}

fn opened() -> ImportWish {
    ImportWish {
        passphrase: passphrase(),
        ..ImportWish::default()
    }
}

/// Nothing of an import is left: no app, no file, nothing on its way.
fn assert_nothing(world: &World, app: &AppName) {
    assert!(world.rack().app(app).is_err());
    assert!(!layout(world).app(app).exists(), "a directory of the app");
    let left: Vec<_> = fs::read_dir(layout(world).scratch())
        .expect("read")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_serves_elsewhere_as_it_did() {
    let (old, new) = (World::new().await, World::new().await);
    let moved = shop(&old).await;
    let bytes = export(&old, &moved.app, with_env()).await;
    assert!(
        !bytes.windows(9).any(|window| window == b"hush-hush"),
        "values are sealed"
    );
    let wish = ImportWish {
        app: Some(name("market")),
        ..opened()
    };
    let imported = import(&new, &bytes, wish).await.expect("imported");
    let app = name("market");
    assert_eq!(imported.active, Some(moved.active.clone()));
    assert!(imported.env);
    let ids: Vec<_> = imported.releases.iter().map(|made| &made.id).collect();
    assert!(!ids.contains(&&moved.failed), "nothing is built on it");
    assert!(ids.contains(&&moved.staged));
    assert!(imported.releases.iter().all(|made| made.id == made.was));

    let slug = layout(&new).slug(&app, &moved.build);
    let mode = |path: &str| {
        let found = fs::symlink_metadata(slug.join(path)).expect("there");
        found.permissions().mode() & 0o7777
    };
    assert_eq!(
        mode("bin/run"),
        0o755,
        "executable, with nobody else's rights"
    );
    assert_eq!(mode("bin"), 0o555);
    let link = fs::read_link(slug.join("python")).expect("a link");
    assert_eq!(link, Path::new("/usr/bin/python3"));
    assert!(slug.join("x".repeat(180)).is_file());
    let log = |world: &World, app: &AppName| {
        let path = layout(world).build_log(app, &moved.build);
        fs::read_to_string(path).expect("a log")
    };
    assert_eq!(log(&new, &app), log(&old, &moved.app));

    let entry = new.rack().app(&app).expect("the app");
    assert!(entry.app.serving.is_none() && entry.app.promotion.is_none());
    assert_eq!(entry.app.sizes.len(), 1);
    let (base, env) = new.rack().env(&app, &Start::Base).await.expect("the env");
    assert_eq!(
        base,
        Some(moved.staged.clone()),
        "the newest stays the newest"
    );
    assert_eq!(env.get("SECRET").map(String::as_str), Some("hush-hush-2"));
    assert_eq!(env.get("EMPTY").map(String::as_str), Some(""));
    let before = Start::Release(moved.active.clone());
    let (_, env) = new.rack().env(&app, &before).await.expect("the env");
    assert_eq!(env.get("SECRET").map(String::as_str), Some("hush-hush"));

    let record = new.promote(&app, &moved.active).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"), "{record:?}");
    assert_eq!(new.get("market.localhost").await, 200);
    let processes = new.rack().processes(&app).await.expect("processes");
    assert_eq!(processes.len(), 3, "the operator's size came along");
    let (base, _) = new.rack().env(&app, &Start::Base).await.expect("the env");
    assert_eq!(base, Some(moved.staged), "what is staged is built on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_are_taken_are_given_anew_with_all_that_names_them() {
    let world = World::new().await;
    let moved = shop(&world).await;
    let bytes = export(&world, &moved.app, with_env()).await;
    let exists = import(&world, &bytes, opened()).await;
    assert!(matches!(exists, Err(RackError::AppExists(_))));
    let wish = || ImportWish {
        app: Some(name("market")),
        ..opened()
    };
    let imported = import(&world, &bytes, wish()).await.expect("imported");
    for made in &imported.builds {
        assert_ne!(made.id, made.was);
    }
    let app = name("market");
    let active = imported.active.expect("an active one");
    assert_ne!(active, moved.active);
    let release = world.rack().release(&app, &active).await.expect("it");
    assert_eq!(release.build.as_ref(), Some(&imported.builds[0].id));
    assert_eq!(
        release.parent.as_ref(),
        Some(&imported.releases[0].id),
        "its parent is the one here"
    );
    let build = world.rack().build(&app, &imported.builds[0].id).await;
    assert_eq!(build.expect("the build").release, Some(active.clone()));
    let record = world.promote(&app, &active).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"));
    let old = world.rack().build(&moved.app, &moved.build).await;
    assert_eq!(
        old.expect("the old build").app,
        moved.app,
        "it is as it was"
    );
    assert!(layout(&world).slug(&moved.app, &moved.build).is_dir());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_env_comes_only_with_its_passphrase() {
    let (old, new) = (World::new().await, World::new().await);
    let moved = shop(&old).await;
    let bytes = export(&old, &moved.app, with_env()).await;
    let none = import(&new, &bytes, ImportWish::default()).await;
    let error = none.expect_err("no passphrase");
    assert!(matches!(
        error,
        RackError::Move(MoveError::PassphraseMissing)
    ));
    assert_eq!(error.code(), ErrorCode::WrongPassphrase);
    let wrong = ImportWish {
        passphrase: Passphrase::new("open barley"),
        ..ImportWish::default()
    };
    let wrong = import(&new, &bytes, wrong).await;
    assert!(matches!(
        wrong,
        Err(RackError::Move(MoveError::PassphraseWrong))
    ));
    assert_nothing(&new, &moved.app);
    let without = ImportWish {
        without_env: true,
        ..ImportWish::default()
    };
    let imported = import(&new, &bytes, without).await.expect("imported");
    assert!(!imported.env);
    let env = new.rack().env(&moved.app, &Start::Newest).await;
    assert!(env.expect("the env").1.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_active_release_goes_alone_and_without_its_env() {
    let (old, new) = (World::new().await, World::new().await);
    let moved = shop(&old).await;
    let wish = || ExportWish {
        active_only: true,
        ..ExportWish::default()
    };
    let bytes = export(&old, &moved.app, wish()).await;
    let imported = import(&new, &bytes, ImportWish::default()).await;
    let imported = imported.expect("imported");
    let ids: Vec<_> = imported.releases.iter().map(|made| &made.id).collect();
    assert_eq!(ids, [&moved.active]);
    assert!(!imported.env);
    let release = new.rack().release(&moved.app, &moved.active).await;
    assert_eq!(
        release.expect("it").parent,
        None,
        "what stayed behind is forgotten"
    );

    let empty = name("empty");
    old.rack().create(&empty, &actor()).await.expect("created");
    let refused = old.rack().export_app(&empty, wish()).await.err();
    assert!(matches!(refused, Some(RackError::NothingActive(_))));
    let bytes = export(&old, &empty, ExportWish::default()).await;
    let imported = import(&new, &bytes, ImportWish::default()).await;
    assert!(imported.expect("imported").releases.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_as_it_was_written_leaves_nothing() {
    let (old, new) = (World::new().await, World::new().await);
    let moved = shop(&old).await;
    let bytes = export(&old, &moved.app, ExportWish::default()).await;
    let refused = async |bytes: &[u8], what: &str| {
        let ended = import(&new, bytes, ImportWish::default()).await;
        let error = ended.expect_err(what);
        assert_eq!(error.code(), ErrorCode::InvalidArchive, "{what}: {error:?}");
        assert!(error.hint().is_some(), "{what}: {error:?}");
        assert_nothing(&new, &moved.app);
    };
    for end in [0, 1, 511, 512, 1_000, bytes.len() - 2_048, bytes.len() - 1] {
        refused(&bytes[..end], &format!("{end} bytes")).await;
    }
    for at in (0..bytes.len() - 2_048).step_by(1_511) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refused(&changed, &format!("byte {at}")).await;
    }
    refused(b"nonsense", "nonsense").await;
    let build = old.rack().export_build(&moved.app, &moved.build).await;
    let build = written(build.expect("an export")).await;
    refused(&build, "a build").await;
    refused(
        &changed_head(&bytes, |head| head["format"] = 2.into()),
        "newer",
    )
    .await;
    refused(
        &with_entry(&bytes, "builds/BAAAAAAAAAA/../../../out"),
        "a way out",
    )
    .await;
    refused(&with_entry(&bytes, "settings/x"), "what no export has").await;
    refused(&with_entry(&bytes, "hoist-app.json/../x"), "no way").await;
    let twice = format!("builds/{}/log", moved.build);
    refused(&with_entry(&bytes, &twice), "an entry twice").await;
    let alien = |head: &mut serde_json::Value| head["builds"][0]["id"] = "../x".into();
    refused(&changed_head(&bytes, alien), "an id that is none").await;
    let volume = |head: &mut serde_json::Value| head["volumes"] = vec!["../x"].into();
    refused(&changed_head(&bytes, volume), "a volume that is none").await;
    let other = |head: &mut serde_json::Value| head["made_for"]["arch"] = "vax".into();
    let elsewhere = import(&new, &changed_head(&bytes, other), ImportWish::default()).await;
    let error = elsewhere.expect_err("another machine's");
    assert_eq!(error.code(), ErrorCode::Unsupported);
    assert!(error.to_string().contains("sim on linux vax"), "{error}");
    assert_nothing(&new, &moved.app);
    // The file is as good as it was.
    let imported = import(&new, &bytes, ImportWish::default()).await;
    imported.expect("imported");
}

/// The same archive with another head, and a right end.
fn changed_head(bytes: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut change = Some(change);
    rewritten(bytes, |name, text| {
        if name == "hoist-app.json"
            && let Some(change) = change.take()
        {
            let mut head: serde_json::Value = serde_json::from_slice(text).expect("JSON");
            change(&mut head);
            *text = serde_json::to_vec(&head).expect("JSON");
        }
        None
    })
}

/// The same archive with one entry more, and a right end.
fn with_entry(bytes: &[u8], name: &str) -> Vec<u8> {
    rewritten(bytes, |first, _| {
        (first == "hoist-app.json").then(|| name.to_owned())
    })
}

fn rewritten(
    bytes: &[u8],
    mut change: impl FnMut(&str, &mut Vec<u8>) -> Option<String>,
) -> Vec<u8> {
    use std::io::Read as _;
    let mut tar = tar::Builder::new(Vec::new());
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if name == "end.json" {
            continue;
        }
        let mut header = entry.header().clone();
        let link = entry.link_name().expect("a link");
        if let Some(link) = link.map(|link| link.into_owned()) {
            tar.append_link(&mut header, &name, link).expect("appended");
            continue;
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).expect("read");
        let more = change(&name, &mut text);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, &name, &text[..])
            .expect("appended");
        if let Some(more) = more {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().expect("gnu").name[..more.len()].copy_from_slice(more.as_bytes());
            header.set_mode(0o644);
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, std::io::empty()).expect("appended");
        }
    }
    let bytes = tar.get_ref().clone();
    let sha256 = hoist_rack_digest(&bytes);
    let end = format!("{{\"sha256\":\"{sha256}\"}}");
    let mut header = tar::Header::new_gnu();
    header.set_size(end.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, "end.json", end.as_bytes())
        .expect("appended");
    tar.into_inner().expect("finished")
}

fn hoist_rack_digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_makes_a_release_of_another_app() {
    let (old, new) = (World::new().await, World::new().await);
    let moved = shop(&old).await;
    let prepared = old.rack().export_build(&moved.app, &moved.build).await;
    let bytes = written(prepared.expect("an export")).await;
    assert!(!bytes.windows(9).any(|window| window == b"hush-hush"));

    let app = name("market");
    let none = take_build(&new, &app, &bytes);
    assert!(matches!(none.await, Err(RackError::NoApp(_))));
    new.rack().create(&app, &actor()).await.expect("created");
    let base = set(&new, &app, &[("COLOUR", "red")]).await;
    let build = take_build(&new, &app, &bytes);
    let build = build.await.expect("imported");
    assert_ne!(build.id, moved.build, "a build of its own");
    let release = build.release.clone().expect("a release");
    let release = new.rack().release(&app, &release).await.expect("it");
    assert_eq!(release.parent, Some(base));
    let (_, env) = new.rack().env(&app, &Start::Newest).await.expect("env");
    assert_eq!(env.get("COLOUR").map(String::as_str), Some("red"));
    assert!(!env.contains_key("SECRET"));
    let record = new.promote(&app, &release.id).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"));
    assert!(layout(&new).slug(&app, &build.id).join("bin/run").is_file());
    assert!(layout(&new).build_log(&app, &build.id).is_file());

    let slugs = || {
        fs::read_dir(layout(&new).app(&app).join("slugs"))
            .expect("read")
            .count()
    };
    let before = slugs();
    let app_export = export(&old, &moved.app, ExportWish::default()).await;
    for (what, bytes) in [("an app", &app_export[..]), ("cut short", &bytes[..700])] {
        let refused = take_build(&new, &app, bytes);
        let error = refused.await.expect_err(what);
        assert_eq!(error.code(), ErrorCode::InvalidArchive, "{what}");
    }
    assert_eq!(slugs(), before, "nothing changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_a_build_made_is_exported() {
    let world = World::new().await;
    let moved = shop(&world).await;
    let unknown: BuildId = "BZZZZZZZZZZ".parse().expect("an id");
    let none = world.rack().export_build(&moved.app, &unknown).await.err();
    assert!(matches!(none, Some(RackError::NoBuild { .. })));
    fs::remove_dir_all(layout(&world).slug(&moved.app, &moved.build).join("bin")).ok();
    let gone = layout(&world).slug(&moved.app, &moved.build);
    fs::rename(&gone, gone.with_extension("gone")).expect("moved away");
    let refused = world.rack().export_build(&moved.app, &moved.build).await;
    let error = refused.err().expect("nothing to take");
    assert!(matches!(error, RackError::Move(MoveError::NoSlug(_))));
    assert!(error.hint().is_some());
    let refused = world.rack().export_app(&moved.app, with_env()).await;
    let error = refused.err().expect("nothing to take");
    assert!(matches!(error, RackError::Move(MoveError::NothingOf(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_come_when_they_are_asked_for_and_never_over_others() {
    let (old, new) = (World::new().await, World::new().await);
    let moved = shop(&old).await;
    let volume = layout(&old).volume(&moved.app, "uploads");
    fs::create_dir_all(&volume).expect("made");
    fs::write(volume.join("photo"), "pixels").expect("written");
    let wish = ExportWish {
        with_volumes: true,
        ..ExportWish::default()
    };
    let bytes = export(&old, &moved.app, wish).await;
    let kept = layout(&new).volume(&moved.app, "uploads");
    fs::create_dir_all(&kept).expect("made");
    let taken = import(&new, &bytes, ImportWish::default()).await;
    assert!(matches!(
        taken,
        Err(RackError::Move(MoveError::VolumeTaken { .. }))
    ));
    assert_nothing(&new, &moved.app);
    assert!(kept.is_dir(), "what was kept is kept");
    fs::remove_dir(&kept).expect("removed");
    let imported = import(&new, &bytes, ImportWish::default()).await;
    assert_eq!(imported.expect("imported").volumes, ["uploads"]);
    let photo = fs::read_to_string(kept.join("photo"));
    assert_eq!(photo.expect("the photo"), "pixels");
}
