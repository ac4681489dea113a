//! Exports as they pass by: what is in one, whether it is whole, and what one is before it is sent.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use hoist_api::export::{APP_HEAD, About, BUILD_HEAD, END, HEAD_BYTES_MAX, PASSPHRASE};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tar::Header;

use crate::error::CliError;
use crate::starter::Passphrase;

/// Tar's unit.
const BLOCK: usize = 512;
/// Bytes that the last entry may have.
const END_BYTES_MAX: u64 = 4 << 10;

/// The last entry's text.
#[derive(Deserialize)]
struct End {
    sha256: String,
}

/// What was seen of an archive.
#[derive(Debug, PartialEq)]
pub(crate) enum Passed {
    /// What it says of itself.
    Head(Box<About>),
    /// An entry, by name.
    Entry(String),
}

/// Follows an archive of which pieces come one by one.
#[derive(Default)]
pub(crate) struct Watch {
    /// The head of an entry, as far as it came.
    block: Vec<u8>,
    /// Bytes of the present entry that are still to come, with what fills its last block.
    left: u64,
    /// The size of the present entry.
    size: usize,
    /// Its text, if it is the first or the last one.
    text: Option<Vec<u8>>,
    entries: u64,
    digest: Sha256,
    /// The last entry has begun.
    ending: bool,
    whole: bool,
    passed: VecDeque<Passed>,
}

impl Watch {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.whole {
            let rest = if self.left > 0 {
                let count = self.left.min(bytes.len() as u64) as usize;
                let (data, rest) = bytes.split_at(count);
                self.data(data);
                rest
            } else {
                let (part, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
                self.block.extend_from_slice(part);
                self.head();
                rest
            };
            bytes = rest;
        }
    }

    /// What was seen since it was asked last, first things first.
    pub(crate) fn next(&mut self) -> Option<Passed> {
        self.passed.pop_front()
    }

    /// Whether the archive came to its end and is as it was written.
    pub(crate) fn whole(&self) -> bool {
        self.whole
    }

    /// Begins an entry when its head is complete.
    fn head(&mut self) {
        let Some(block) = self.block.first_chunk::<BLOCK>() else {
            return;
        };
        let header = Header::from_byte_slice(block);
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        let size = header.entry_size().unwrap_or_default();
        self.ending = name == END;
        if !self.ending {
            self.digest.update(block);
        }
        let most = match (self.entries, self.ending) {
            (0, _) => HEAD_BYTES_MAX,
            (_, true) => END_BYTES_MAX,
            _ => 0,
        };
        self.text = (size <= most).then(Vec::new);
        self.size = size as usize;
        self.left = size.next_multiple_of(BLOCK as u64);
        if self.entries > 0 {
            self.passed.push_back(Passed::Entry(name));
        }
        self.entries += 1;
        self.block.clear();
        if self.left == 0 {
            self.complete();
        }
    }

    fn data(&mut self, data: &[u8]) {
        if !self.ending {
            self.digest.update(data);
        }
        if let Some(text) = &mut self.text {
            text.extend_from_slice(data);
        }
        self.left -= data.len() as u64;
        if self.left == 0 {
            self.complete();
        }
    }

    fn complete(&mut self) {
        let Some(mut text) = self.text.take() else {
            return;
        };
        text.truncate(self.size);
        if self.ending {
            let found: String = self
                .digest
                .clone()
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let end = serde_json::from_slice::<End>(&text);
            self.whole = end.is_ok_and(|end| end.sha256 == found);
        } else if self.entries == 1
            && let Ok(about) = serde_json::from_slice(&text)
        {
            self.passed.push_back(Passed::Head(Box::new(about)));
        }
    }
}

/// An export that is to be sent.
pub(crate) struct Export {
    /// What it says of itself.
    pub(crate) about: About,
    /// Its size, where that is known.
    pub(crate) bytes: Option<u64>,
    /// All of it.
    pub(crate) read: Box<dyn Read + Send>,
}

/// Looks at the beginning of a file, or of standard input; `head` is the entry that it must begin with.
pub(crate) fn open(file: Option<&Path>, head: &'static str) -> Result<Export, CliError> {
    let name = file.map_or("standard input".to_owned(), |file| {
        file.display().to_string()
    });
    let failed = |source| CliError::io(format!("read {name}"), source);
    let (mut read, bytes): (Box<dyn Read + Send>, _) = match file {
        None => (Box::new(io::stdin()), None),
        Some(file) => {
            let file = File::open(file).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            let bytes = metadata.is_file().then_some(metadata.len());
            (Box::new(file), bytes)
        }
    };
    let mut front = Vec::new();
    let mut take = |front: &mut Vec<u8>, count: u64| {
        let wanted = front.len() as u64 + count;
        let taken = read.by_ref().take(count).read_to_end(front);
        taken.map_err(failed).map(|_| front.len() as u64 == wanted)
    };
    take(&mut front, BLOCK as u64)?;
    let header = front.first_chunk::<BLOCK>();
    let header = header.map(|block| Header::from_byte_slice(block).clone());
    let first = header
        .as_ref()
        .map(|header| header.path_bytes().into_owned());
    if first.as_deref() != Some(head.as_bytes()) {
        return Err(another(&name, head, first.as_deref()));
    }
    let size = header.and_then(|header| header.entry_size().ok());
    let size = size.filter(|size| *size <= HEAD_BYTES_MAX).unwrap_or(0);
    if !take(&mut front, size)? {
        return Err(CliError::refused(
            format!("{name} is not whole: its end is missing"),
            "export it again, or use another copy",
        ));
    }
    let about = serde_json::from_slice(&front[BLOCK..]).map_err(|_| {
        CliError::refused(
            format!("what {name} says of itself cannot be read"),
            "was it written by a newer Hoist? otherwise use another copy",
        )
    })?;
    Ok(Export {
        about,
        bytes,
        read: Box::new(Cursor::new(front).chain(read)),
    })
}

fn another(name: &str, wanted: &str, first: Option<&[u8]>) -> CliError {
    let is = |head: &str| first == Some(head.as_bytes());
    let (what, export) = match wanted {
        APP_HEAD => ("an app", "hoist apps export"),
        _ => ("a build", "hoist builds export"),
    };
    let (but, hint) = if is(APP_HEAD) {
        (", but one of an app", "`hoist apps import` takes it")
    } else if is(BUILD_HEAD) {
        (", but one of a build", "`hoist builds import` takes it")
    } else if is("hoist-backup.json") {
        (", but a backup of a rack", "`hoist rack restore` takes it")
    } else {
        let message = format!("{name} is no export of {what}");
        return CliError::refused(message, format!("name a file that `{export}` wrote"));
    };
    CliError::refused(format!("{name} is no export of {what}{but}"), hint)
}

/// The entry that may come before an export, so that the passphrase is in no file and no address.
pub(crate) fn passphrase_entry(passphrase: &Passphrase) -> Result<Vec<u8>, CliError> {
    let text = passphrase.reveal().as_bytes();
    let mut header = Header::new_gnu();
    let named = header.set_path(PASSPHRASE);
    named.map_err(|source| CliError::io("name the passphrase", source))?;
    header.set_mode(0o600);
    header.set_size(text.len() as u64);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend_from_slice(text);
    entry.resize(entry.len().next_multiple_of(BLOCK), 0);
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut tar = tar::Builder::new(&mut bytes);
        let mut add = |name: &str, text: &[u8]| {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text).expect("appended");
        };
        add(
            APP_HEAD,
            br#"{"app": "shop", "builds": [{"id": "B"}], "key": {}}"#,
        );
        add("builds/B/log", b"");
        add(&format!("builds/B/slug/{}", "deep/".repeat(40)), &[7; 700]);
        tar.into_inner().expect("finished");
        bytes.truncate(bytes.len() - 2 * BLOCK);
        let sha: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        damage(&mut bytes);
        let mut tar = tar::Builder::new(&mut bytes);
        let text = format!("{{\"sha256\":\"{sha}\"}}");
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, END, text.as_bytes())
            .expect("appended");
        tar.into_inner().expect("finished");
        bytes
    }

    fn watched(bytes: &[u8], piece: usize) -> (Vec<Passed>, bool) {
        let mut watch = Watch::default();
        bytes.chunks(piece).for_each(|piece| watch.push(piece));
        let passed = std::iter::from_fn(|| watch.next()).collect();
        (passed, watch.whole())
    }

    #[test]
    fn an_archive_is_seen_whatever_its_pieces_are() {
        let bytes = archive(|_| {});
        for piece in [1, 100, 512, 1_000, bytes.len()] {
            let (passed, whole) = watched(&bytes, piece);
            assert!(whole, "pieces of {piece}");
            let Some(Passed::Head(about)) = passed.first() else {
                panic!("{passed:?}");
            };
            assert!(about.app == "shop" && about.sealed() && about.builds[0].id == "B");
            assert_eq!(passed[1], Passed::Entry("builds/B/log".to_owned()));
        }
    }

    #[test]
    fn one_that_was_cut_or_changed_is_not_whole() {
        let bytes = archive(|_| {});
        let end = bytes.len() - 2 * BLOCK;
        for cut in (0..end).step_by(509) {
            assert!(!watched(&bytes[..cut], 4_096).1, "cut at {cut}");
        }
        let changed = archive(|bytes| {
            let last = bytes.len() - BLOCK;
            bytes[last] ^= 1;
        });
        assert!(!watched(&changed, 4_096).1);
    }
}
