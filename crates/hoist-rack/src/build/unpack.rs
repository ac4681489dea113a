//! Unpacks an upload. What may be unpacked, `hoist_core::archive_path` decides; this only does it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hoist_core::archive_path::{self, Entries};
use tar::{Archive, EntryType};

use crate::error::RackError;

/// Unpacks the tar archive `file` into `target`, which must be an empty directory.
///
/// Files become 0644 or 0755, directories 0755: what the packer's umask was does not matter.
pub(super) fn unpack(file: File, target: &Path) -> Result<(), RackError> {
    check_trailer(&file)?;
    let mut archive = Archive::new(BufReader::new(file));
    let mut entries = Entries::new();
    for entry in archive.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.header().entry_type() != EntryType::XGlobalHeader {
            unpack_entry(entry, &mut entries, target)?;
        }
    }
    Ok(())
}

fn unpack_entry(
    mut entry: tar::Entry<'_, impl Read>,
    entries: &mut Entries,
    target: &Path,
) -> Result<(), RackError> {
    let name = entry.path_bytes().into_owned();
    let link = entry.link_name_bytes().unwrap_or_default().into_owned();
    let kind = match entry.header().entry_type() {
        EntryType::Directory => archive_path::Entry::Directory,
        EntryType::Regular | EntryType::Continuous => archive_path::Entry::File,
        EntryType::Symlink => archive_path::Entry::SymbolicLink(&link),
        EntryType::Link => archive_path::Entry::HardLink(&link),
        _ => archive_path::Entry::Other,
    };
    let relative = entries
        .admit(&name, kind)
        .map_err(|error| RackError::Archive(error.to_string()))?;
    let path = target.join(&relative);
    make_directories(
        target,
        if matches!(kind, archive_path::Entry::Directory) {
            &path
        } else {
            path.parent().unwrap_or(target)
        },
    )?;
    match kind {
        archive_path::Entry::File => {
            let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
            let size = entry.size();
            let mut file = File::create(&path).map_err(failed(&path))?;
            let written = io::copy(&mut entry, &mut file).map_err(failed(&path))?;
            if written != size {
                return Err(RackError::Archive(
                    "it ends in the middle of a file".to_owned(),
                ));
            }
            let mode = if executable { 0o755 } else { 0o644 };
            file.set_permissions(fs::Permissions::from_mode(mode))
                .map_err(failed(&path))
        }
        archive_path::Entry::SymbolicLink(to) => symlink(as_path(to), &path).map_err(failed(&path)),
        archive_path::Entry::HardLink(to) => {
            // A copy: the two names of an upload need not stay one file.
            fs::copy(target.join(as_path(to)), &path)
                .map(drop)
                .map_err(failed(&path))
        }
        archive_path::Entry::Directory | archive_path::Entry::Other => Ok(()),
    }
}

fn as_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

pub(super) fn make_directories(target: &Path, path: &Path) -> Result<(), RackError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent()
        && parent.starts_with(target)
    {
        make_directories(target, parent)?;
    }
    fs::create_dir(path).map_err(failed(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed(path))
}

/// A tar archive ends with two blocks of zeros. Without them the upload was cut short, perhaps between two files.
fn check_trailer(mut file: &File) -> Result<(), RackError> {
    let length = file.metadata().map_err(unreadable)?.len();
    let short = || RackError::Archive("it ends early, or is not a tar archive".to_owned());
    if length < 1024 || !length.is_multiple_of(512) {
        return Err(short());
    }
    file.seek(SeekFrom::End(-1024)).map_err(unreadable)?;
    let mut trailer = [1u8; 1024];
    file.read_exact(&mut trailer).map_err(unreadable)?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    if trailer.iter().any(|byte| *byte != 0) {
        return Err(short());
    }
    Ok(())
}

fn unreadable(error: io::Error) -> RackError {
    RackError::Archive(error.to_string())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RackError {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    RackError::io(format!("unpack `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(build: impl FnOnce(&mut tar::Builder<&mut File>)) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        let mut builder = tar::Builder::new(&mut file);
        build(&mut builder);
        builder.into_inner().expect("finished");
        file.seek(SeekFrom::Start(0)).expect("rewound");
        file
    }

    fn add(
        builder: &mut tar::Builder<&mut File>,
        path: &str,
        kind: EntryType,
        link: &str,
        text: &str,
    ) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(text.len() as u64);
        header.set_mode(0o777);
        header.as_gnu_mut().expect("gnu").name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().expect("gnu").linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, text.as_bytes()).expect("appended");
    }

    #[test]
    fn an_archive_becomes_a_tree() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = archive(|tar| {
            add(tar, "bin/run", EntryType::Regular, "", "#!/bin/sh\n");
            add(tar, "run", EntryType::Symlink, "bin/run", "");
        });
        unpack(file, dir.path()).expect("unpacked");
        let text = fs::read_to_string(dir.path().join("run")).expect("through the link");
        assert_eq!(text, "#!/bin/sh\n");
    }

    #[test]
    fn what_points_outside_is_refused_and_touches_nothing() {
        let outside = tempfile::tempdir().expect("a directory");
        let victim = outside.path().join("victim");
        fs::write(&victim, "mine").expect("written");
        let target = outside.path().join("in");
        let cases: [(&str, EntryType, &str); 5] = [
            ("../victim", EntryType::Regular, ""),
            ("/victim", EntryType::Regular, ""),
            ("a/../../victim", EntryType::Regular, ""),
            ("link", EntryType::Symlink, "../../victim"),
            ("hard", EntryType::Link, "../victim"),
        ];
        for (path, kind, link) in cases {
            fs::create_dir(&target).expect("made");
            let file = archive(|tar| {
                add(tar, path, kind, link, "");
                add(tar, "link", EntryType::Regular, "", "theirs");
            });
            assert!(unpack(file, &target).is_err(), "{path} was taken");
            assert_eq!(fs::read_to_string(&victim).expect("still there"), "mine");
            fs::remove_dir_all(&target).expect("removed");
        }
    }

    #[test]
    fn a_truncated_archive_is_refused_wherever_it_ends() {
        let file = archive(|tar| {
            add(tar, "a", EntryType::Regular, "", &"x".repeat(2000));
            add(tar, "b", EntryType::Regular, "", "y");
        });
        let length = file.metadata().expect("a length").len();
        for end in (0..length).step_by(256) {
            let dir = tempfile::tempdir().expect("a directory");
            let mut cut = tempfile::tempfile().expect("a file");
            let mut whole = &file;
            whole.seek(SeekFrom::Start(0)).expect("rewound");
            io::copy(&mut whole.take(end), &mut cut).expect("copied");
            assert!(
                unpack(cut, dir.path()).is_err(),
                "taken with {end} of {length} bytes"
            );
        }
    }
}
