//! What comes back of a backup, and every file that is none.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use hoist_core::id::{AppName, Version};
use hoist_core::plan;

use super::*;
use crate::layout::Layout;
use crate::secrets::{Env, Keyring};
use crate::store::{BuildRecord, BuildStatus, Commit, ReleaseRecord, StateChange, Store};

/// A data directory with an app that has a release with an environment, a slug and a volume.
struct World {
    home: tempfile::TempDir,
    layout: Layout,
}

const BUILD: &str = "BAAAAAAAAAA";

async fn world() -> World {
    let home = tempfile::tempdir().expect("a directory");
    let layout = Layout::new(home.path().join("data"));
    fs::create_dir(layout.root()).expect("made");
    let app: AppName = "shop".parse().expect("a name");
    let ring = Keyring::open(&layout.key()).expect("a key");
    let env = Env::from([("COLOUR".to_owned(), "red".to_owned())]);
    let (store, _) = Store::open(&layout.store()).expect("a store");
    let created = plan::create(
        app.clone(),
        Version {
            epoch: 1,
            number: 7,
        },
    );
    let mut commit = Commit::new(&app, StateChange::Create(Box::new(created)));
    commit.builds.push(BuildRecord {
        id: BUILD.parse().expect("an id"),
        app: app.clone(),
        status: BuildStatus::Complete,
        created: hoist_core::model::Timestamp(1),
        ended: None,
        description: "first".to_owned(),
        git_sha: None,
        actor: "admin".to_owned(),
        reason: None,
        manifest: None,
        release: None,
        warnings: Vec::new(),
        inputs: None,
        app_json: None,
        runtime: Default::default(),
    });
    commit.releases.push(ReleaseRecord {
        id: "RAAAAAAAAAA".parse().expect("an id"),
        app: app.clone(),
        build: Some(BUILD.parse().expect("an id")),
        parent: None,
        created: hoist_core::model::Timestamp(1),
        description: "first".to_owned(),
        actor: "admin".to_owned(),
        env: ring.seal(&app, &env).expect("sealed"),
        rollback_of: None,
    });
    let now = hoist_core::model::Timestamp(1_000);
    Arc::new(store)
        .commit(commit, now)
        .await
        .expect("committed");
    let slug = layout.slug(&app, &BUILD.parse().expect("an id"));
    fs::create_dir_all(slug.join("bin")).expect("made");
    fs::write(slug.join("bin/run"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(slug.join("bin/run"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(slug.join("bin"), fs::Permissions::from_mode(0o555)).expect("a mode");
    symlink("/usr/bin/python3", slug.join("python")).expect("a link");
    fs::create_dir_all(layout.volume(&app, "uploads")).expect("made");
    fs::write(layout.volume(&app, "uploads").join("photo"), "pixels").expect("written");
    World { home, layout }
}

fn passphrase() -> Option<Passphrase> {
    Passphrase::new("open sesame")
}

impl World {
    fn backup(&self, options: &BackupOptions) -> (Vec<u8>, BackupReport) {
        let mut bytes = Vec::new();
        let report = backup(&self.layout, options, &mut bytes).expect("a backup");
        (bytes, report)
    }

    fn restore(
        &self,
        bytes: &[u8],
        key: &KeyChoice,
    ) -> Result<(Layout, BackupReport), BackupError> {
        let file = self.home.path().join("backup");
        fs::write(&file, bytes).expect("written");
        let target = self.home.path().join("other/data");
        let report = restore(&file, &target, key);
        let left = fs::read_dir(self.home.path().join("other"));
        let left = left.into_iter().flatten().flatten().count();
        assert_eq!(left, usize::from(report.is_ok()), "nothing half made stays");
        Ok((Layout::new(target), report?))
    }
}

fn open() -> KeyChoice {
    KeyChoice::Open(passphrase())
}

#[tokio::test]
async fn all_of_it_comes_back_in_a_new_epoch() {
    let world = world().await;
    let options = BackupOptions {
        passphrase: passphrase(),
        without_slugs: false,
        with_volumes: true,
    };
    let (bytes, report) = world.backup(&options);
    assert_eq!(
        (
            report.apps.as_slice(),
            report.slugs,
            report.volumes,
            report.key
        ),
        (["shop".to_owned()].as_slice(), 1, 1, true)
    );
    let secret = fs::read(world.layout.key()).expect("the key");
    assert!(!bytes.windows(32).any(|window| window == secret));

    let (layout, report) = world.restore(&bytes, &open()).expect("restored");
    assert!(report.key);
    let app: AppName = "shop".parse().expect("a name");
    let (store, meta) = Store::open(&layout.store()).expect("a store");
    assert_eq!(meta.epoch, 2);
    let release = Arc::new(store)
        .releases(&app, None, 1)
        .await
        .expect("read")
        .remove(0);
    let ring = Keyring::open(&layout.key()).expect("the key");
    assert_eq!(
        ring.open_env(&app, &release.env).expect("opened")["COLOUR"],
        "red"
    );
    let slug = layout.slug(&app, &BUILD.parse().expect("an id"));
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&slug.join("bin/run")), 0o755);
    assert_eq!(mode(&slug.join("bin")), 0o555);
    assert_eq!(mode(layout.root()), 0o700);
    assert_eq!(
        fs::read_link(slug.join("python")).expect("a link"),
        Path::new("/usr/bin/python3")
    );
    let photo = layout.volume(&app, "uploads").join("photo");
    assert_eq!(fs::read_to_string(photo).expect("read"), "pixels");
    let target = layout.root().to_owned();
    let again = restore(&world.home.path().join("backup"), &target, &open());
    assert!(matches!(again, Err(BackupError::NotEmpty(_))), "{again:?}");
}

#[tokio::test]
async fn the_key_comes_only_with_its_passphrase() {
    let world = world().await;
    let (without, report) = world.backup(&BackupOptions::default());
    assert!(!report.key);
    let (layout, report) = world.restore(&without, &open()).expect("restored");
    assert!(!report.key && !layout.key().exists());
    fs::remove_dir_all(world.home.path().join("other")).expect("removed");

    let options = BackupOptions {
        passphrase: passphrase(),
        ..BackupOptions::default()
    };
    let (bytes, _) = world.backup(&options);
    let none = world.restore(&bytes, &KeyChoice::Open(None));
    assert!(matches!(none, Err(BackupError::PassphraseMissing(_))));
    let wrong = KeyChoice::Open(Passphrase::new("open barley"));
    let wrong = world.restore(&bytes, &wrong);
    assert!(matches!(wrong, Err(BackupError::PassphraseWrong(_))));
    let (layout, _) = world.restore(&bytes, &KeyChoice::Leave).expect("restored");
    assert!(!layout.key().exists());
    assert!(Passphrase::new("").is_none());
}

#[tokio::test]
async fn a_file_that_is_not_as_it_was_written_is_refused_wherever_it_differs() {
    let world = world().await;
    let (bytes, _) = world.backup(&BackupOptions::default());
    let refused = |bytes: &[u8]| {
        let ended = world.restore(bytes, &KeyChoice::Leave);
        match ended.expect_err("it is not whole") {
            BackupError::NotABackup(_) | BackupError::CutShort(_) | BackupError::Damaged { .. } => {
            }
            error => panic!("{error:?}"),
        }
    };
    for end in [
        0,
        1,
        511,
        512,
        1_000,
        5_000,
        bytes.len() - 2_048,
        bytes.len() - 1,
    ] {
        refused(&bytes[..end]);
    }
    for at in (0..bytes.len() - 2_048).step_by(997) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refused(&changed);
    }
    refused(&[&bytes[..], &[0; 512]].concat());
    refused(b"SQLite format 3\0");
}

#[tokio::test]
async fn what_is_newer_is_named() {
    let world = world().await;
    let mut archive = tar::Builder::new(Vec::new());
    let text = br#"{"format": 2, "version": "7.0.0", "unknown": []}"#;
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    archive
        .append_data(&mut header, "hoist-backup.json", &text[..])
        .expect("appended");
    let bytes = archive.into_inner().expect("finished");
    let newer = world.restore(&bytes, &KeyChoice::Leave);
    assert!(matches!(newer, Err(BackupError::Newer { version, .. }) if version == "7.0.0"));

    // A store of a newer program within a backup of this form.
    let newer_program = |store: &Path| {
        let connection = rusqlite::Connection::open(store).expect("opened");
        connection
            .pragma_update(None, "user_version", 1_000)
            .expect("written");
    };
    let prepared = write::prepare(&world.layout, &BackupOptions::default()).expect("prepared");
    newer_program(prepared.store());
    let mut bytes = Vec::new();
    prepared.write(&mut bytes).expect("a backup");
    let newer = world.restore(&bytes, &KeyChoice::Leave);
    assert!(matches!(
        newer,
        Err(BackupError::Store(StoreError::Newer { .. }))
    ));

    // This program does not know what of it belongs together: it makes no backup either, and leaves nothing.
    newer_program(&world.layout.store());
    let left = || fs::read_dir(world.layout.root()).expect("read").count();
    let before = left();
    let refused = backup(&world.layout, &BackupOptions::default(), Vec::new());
    assert!(matches!(
        refused,
        Err(BackupError::Store(StoreError::Newer { .. }))
    ));
    assert_eq!(left(), before);
}

#[test]
fn names_that_no_backup_has_are_refused() {
    let names = [
        "other",
        "slugs/shop",
        "slugs/shop/BAAAAAAAAAA/../../x",
        "slugs/../BAAAAAAAAAA/x",
        "slugs/shop/nonsense/x",
        "volumes/Not A Name/x/y",
        "key",
    ];
    for name in names {
        assert!(read::place_of(Path::new(name)).is_none(), "{name}");
    }
    assert!(read::place_of(Path::new("slugs/shop/BAAAAAAAAAA/a/b")).is_some());
}
