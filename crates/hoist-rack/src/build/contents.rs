//! The contents of an app's last sources, by their SHA-256, so that nothing has to be sent twice.
//!
//! `source/objects/ab/cdef…` hold contents, `source/lists/ID` what belongs to a source. Nothing here is trusted: what arrives
//! is digested before it has its name, and digested again on its way into a tree, because a crash of the machine may
//! leave a name without its bytes. Trees get copies, never the objects themselves: builds write in them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use super::listing::{Content, Digest, Item, Listing, Mode};
use crate::error::RackError;

/// Sources whose contents are kept: the last one, and one that is on its way.
const SOURCES_KEPT: usize = 2;
/// Bytes copied at once.
const PIECE_BYTES: usize = 128 << 10;

/// Contents of one app's sources.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    dir: PathBuf,
    scratch: PathBuf,
}

impl Contents {
    /// Those in `dir`; files come to be in `scratch`, on the same file system.
    pub(crate) fn new(dir: PathBuf, scratch: PathBuf) -> Self {
        Self { dir, scratch }
    }

    /// Keeps a list, and answers which of its contents are not here.
    pub(crate) fn list(&self, listing: &Listing) -> Result<Vec<Digest>, RackError> {
        let path = self.list_path(&listing.id);
        make_parent(&path)?;
        let new = self.scratch.join(format!("{}.list", random_name()?));
        let doing = "keep the list of the source";
        let written = fs::write(&new, listing.to_text()?).and_then(|()| fs::rename(&new, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&new);
            return Err(RackError::io(doing)(error));
        }
        Ok(self.missing(listing))
    }

    /// A list that was kept; none when it is not, or not any more.
    pub(crate) fn listing(&self, id: &Digest) -> Result<Option<Listing>, RackError> {
        match fs::read(self.list_path(id)) {
            // A list that a crash cut short is no list.
            Ok(text) => Ok(Listing::from_text(&text)
                .ok()
                .filter(|listing| listing.id == *id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RackError::io("read the list of the source")(error)),
        }
    }

    /// Contents of a list that are not here.
    pub(crate) fn missing(&self, listing: &Listing) -> Vec<Digest> {
        let here = |content: &Content| {
            let found = fs::symlink_metadata(self.object(&content.digest));
            found.is_ok_and(|found| found.is_file() && found.len() == content.size)
        };
        let contents = listing.contents();
        let missing = contents.iter().filter(|content| !here(content));
        missing.map(|content| content.digest).collect()
    }

    /// Takes contents of a list from a tar archive of files named by their digests. What was taken whole stays, also
    /// when the archive breaks off.
    pub(crate) fn receive(&self, listing: &Listing, archive: impl Read) -> Result<(), RackError> {
        let wanted = listing.contents();
        let mut archive = Archive::new(archive);
        for entry in archive.entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let content = match entry.header().entry_type() {
                EntryType::Regular => Content {
                    digest: name.parse()?,
                    size: entry.size(),
                },
                _ => return Err(RackError::Archive(format!("`{name}` in it is no file"))),
            };
            if !wanted.contains(&content) {
                let text = format!(
                    "the source names no content {name} of {} bytes",
                    content.size
                );
                return Err(RackError::Archive(text));
            }
            self.take(&content, entry)?;
        }
        Ok(())
    }

    fn take(&self, content: &Content, from: impl Read) -> Result<(), RackError> {
        let path = self.object(&content.digest);
        make_parent(&path)?;
        let new = self.scratch.join(format!("{}.object", random_name()?));
        let taken = self.write(content, from, &new).and_then(|()| {
            let doing = "keep a content of the source";
            fs::rename(&new, &path).map_err(RackError::io(doing))
        });
        if taken.is_err() {
            let _ = fs::remove_file(&new);
        }
        taken
    }

    fn write(&self, content: &Content, from: impl Read, new: &Path) -> Result<(), RackError> {
        let doing = "keep a content of the source";
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(new);
        let mut file = file.map_err(RackError::io(doing))?;
        let found = copy(from, &mut file).map_err(|error| match error {
            CopyError::Read(error) => unreadable(error),
            CopyError::Write(error) => RackError::io(doing)(error),
        })?;
        if found == *content {
            Ok(())
        } else if found.size < content.size {
            Err(RackError::Archive(
                "it ends in the middle of a file".to_owned(),
            ))
        } else {
            let text = format!("the content named {} is another one", content.digest);
            Err(RackError::Archive(text))
        }
    }

    /// Writes the tree of a list into an empty directory.
    ///
    /// # Errors
    /// [`RackError::SourceIncomplete`] when a content is not here; one that is damaged is forgotten, so that it is sent again.
    pub(crate) fn write_tree(&self, listing: &Listing, target: &Path) -> Result<(), RackError> {
        for (path, item) in listing.items() {
            let full = target.join(path);
            super::unpack::make_directories(target, full.parent().unwrap_or(target))?;
            let doing = || format!("write `{}` of the source", path.display());
            match item {
                Item::Directory => super::unpack::make_directories(target, &full)?,
                Item::Link(to) => symlink(to, &full).map_err(RackError::io(doing()))?,
                Item::File(content, mode) => self.write_file(content, *mode, &full, &doing())?,
            }
        }
        Ok(())
    }

    fn write_file(
        &self,
        content: &Content,
        mode: Mode,
        path: &Path,
        doing: &str,
    ) -> Result<(), RackError> {
        let object = self.object(&content.digest);
        let from = File::open(&object).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RackError::SourceIncomplete,
            _ => RackError::io(doing)(error),
        })?;
        let mut file = File::create_new(path).map_err(RackError::io(doing))?;
        let found = copy(from, &mut file).map_err(|error| match error {
            CopyError::Read(error) | CopyError::Write(error) => RackError::io(doing)(error),
        })?;
        if found != *content {
            let _ = fs::remove_file(&object);
            return Err(RackError::SourceIncomplete);
        }
        let mode = match mode {
            Mode::Plain => 0o644,
            Mode::Executable => 0o755,
        };
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(RackError::io(doing))
    }

    /// Removes what none of the last sources names. What a source that is on its way misses then is sent again.
    pub(crate) fn collect(&self) {
        let mut lists: Vec<_> = children(&self.dir.join("lists"))
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        lists.sort();
        let old = lists.len().saturating_sub(SOURCES_KEPT);
        for (_, path) in lists.drain(..old) {
            let _ = fs::remove_file(path);
        }
        let mut kept = BTreeSet::new();
        for (_, path) in lists {
            let listing = fs::read(path).ok();
            let listing = listing.and_then(|text| Listing::from_text(&text).ok());
            let contents = listing
                .map(|listing| listing.contents())
                .unwrap_or_default();
            kept.extend(
                contents
                    .into_iter()
                    .map(|content| self.object(&content.digest)),
            );
        }
        for path in children(&self.dir.join("objects")).flat_map(|dir| children(&dir)) {
            if !kept.contains(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn list_path(&self, id: &Digest) -> PathBuf {
        self.dir.join("lists").join(id.to_string())
    }

    fn object(&self, digest: &Digest) -> PathBuf {
        let text = digest.to_string();
        let (first, rest) = text.split_at(2);
        self.dir.join("objects").join(first).join(rest)
    }
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies to the end, and says what it was.
fn copy(mut from: impl Read, to: &mut File) -> Result<Content, CopyError> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut size = 0;
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        digest.update(&piece[..count]);
        to.write_all(&piece[..count]).map_err(CopyError::Write)?;
        size += count as u64;
    }
    Ok(Content {
        digest: Digest(digest.finalize().into()),
        size,
    })
}

fn children(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn make_parent(path: &Path) -> Result<(), RackError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(RackError::io("make a directory for the source"))
}

fn random_name() -> Result<String, RackError> {
    let mut bytes = [0u8; 12];
    getrandom::fill(&mut bytes).map_err(|_| crate::secrets::SecretError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unreadable(error: io::Error) -> RackError {
    RackError::Archive(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        home: tempfile::TempDir,
        contents: Contents,
    }

    fn world() -> World {
        let home = tempfile::tempdir().expect("a directory");
        let scratch = home.path().join("scratch");
        fs::create_dir(&scratch).expect("made");
        let contents = Contents::new(home.path().join("source"), scratch);
        World { home, contents }
    }

    impl World {
        fn tree(&self, listing: &Listing) -> Result<PathBuf, RackError> {
            let target = self.home.path().join(random_name().expect("a name"));
            fs::create_dir(&target).expect("made");
            self.contents.write_tree(listing, &target).map(|()| target)
        }

        fn objects(&self) -> usize {
            let dirs = children(&self.home.path().join("source/objects"));
            dirs.map(|dir| children(&dir).count()).sum()
        }
    }

    fn listing(files: &[(&str, &str)]) -> Listing {
        let item = |text: &str| {
            let digest = Digest::of(text.as_bytes());
            let size = text.len() as u64;
            Item::File(Content { digest, size }, Mode::Plain)
        };
        let list = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), item(text)));
        Listing::new(list).expect("a list")
    }

    /// An archive of contents, each by its own name or another's.
    fn archive(contents: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (named, text) in contents {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            let name = Digest::of(named.as_bytes()).to_string();
            archive
                .append_data(&mut header, name, text.as_bytes())
                .expect("appended");
        }
        archive.into_inner().expect("finished")
    }

    #[test]
    fn what_is_here_is_not_missing() {
        let world = world();
        let first = listing(&[("a", "one"), ("dir/b", "two"), ("c", "two")]);
        assert_eq!(world.contents.list(&first).expect("listed").len(), 2);
        let sent = archive(&[("one", "one"), ("two", "two")]);
        world.contents.receive(&first, &sent[..]).expect("taken");
        assert!(world.contents.missing(&first).is_empty());
        let tree = world.tree(&first).expect("a tree");
        assert_eq!(fs::read_to_string(tree.join("dir/b")).expect("read"), "two");
        // A build that writes in its tree leaves the content as it is.
        fs::write(tree.join("a"), "changed").expect("written");
        let tree = world.tree(&first).expect("a tree");
        assert_eq!(fs::read_to_string(tree.join("a")).expect("read"), "one");
        let second = listing(&[("a", "one"), ("dir/b", "three")]);
        let missing = world.contents.list(&second).expect("listed");
        assert_eq!(missing, [Digest::of(b"three")]);
    }

    #[test]
    fn contents_that_are_not_what_they_say_are_refused() {
        let world = world();
        let list = listing(&[("a", "one"), ("b", "two")]);
        world.contents.list(&list).expect("listed");
        let whole = archive(&[("one", "one")]);
        let cases: [Vec<u8>; 4] = [
            archive(&[("one", "two")]),
            archive(&[("none of it", "none of it")]),
            archive(&[("one", "ones")]),
            whole[..513].to_vec(),
        ];
        for sent in cases {
            let taken = world.contents.receive(&list, &sent[..]);
            assert!(matches!(taken, Err(RackError::Archive(_))), "{taken:?}");
        }
        assert_eq!(
            (world.objects(), world.contents.missing(&list).len()),
            (0, 2)
        );
        assert!(children(&world.contents.scratch).next().is_none());
        assert!(matches!(
            world.tree(&list),
            Err(RackError::SourceIncomplete)
        ));
    }

    #[test]
    fn what_came_before_an_upload_broke_off_is_kept() {
        let world = world();
        let list = listing(&[("a", "one"), ("b", "two")]);
        world.contents.list(&list).expect("listed");
        let sent = archive(&[("one", "one"), ("two", "two")]);
        let _ = world.contents.receive(&list, &sent[..1024 + 512 + 1]);
        assert_eq!(world.contents.missing(&list), [Digest::of(b"two")]);
    }

    #[test]
    fn a_damaged_content_is_noticed_and_sent_again() {
        let world = world();
        let list = listing(&[("a", "one")]);
        world.contents.list(&list).expect("listed");
        let sent = archive(&[("one", "one")]);
        world.contents.receive(&list, &sent[..]).expect("taken");
        let object = world.contents.object(&Digest::of(b"one"));
        fs::write(&object, "oen").expect("damaged");
        assert!(world.contents.missing(&list).is_empty(), "it looks right");
        assert!(matches!(
            world.tree(&list),
            Err(RackError::SourceIncomplete)
        ));
        assert_eq!(world.contents.missing(&list).len(), 1);
    }

    #[test]
    fn only_what_the_last_sources_name_is_kept() {
        let world = world();
        let lists: Vec<_> = ["one", "two", "three"]
            .iter()
            .map(|text| listing(&[("same", "same"), ("a", text)]))
            .collect();
        for (list, text) in lists.iter().zip(["one", "two", "three"]) {
            world.contents.list(list).expect("listed");
            let sent = archive(&[("same", "same"), (text, text)]);
            world.contents.receive(list, &sent[..]).expect("taken");
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
        world.contents.collect();
        assert_eq!(world.objects(), 3, "same, two, three");
        let kept = |list: &Listing| world.contents.listing(&list.id).expect("read").is_some();
        assert_eq!(
            lists.iter().map(kept).collect::<Vec<_>>(),
            [false, true, true]
        );
        world.tree(&lists[2]).expect("the last is whole");
    }
}
