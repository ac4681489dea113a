//! The writable layer of a process: made anew for each incarnation, gone with it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::Path;

use super::Fault;
use crate::local::record::{Spec, TreeRecord};
use crate::local::tree::remove_tree;

/// Everything of the layer, below the state directory.
pub(super) const LAYER: &str = "layer";
/// What an overlay writes to.
pub(super) const UPPER: &str = "layer/upper";
/// What an overlay needs beside.
pub(super) const WORK: &str = "layer/work";
/// A copy of the slug, where there is no overlay.
pub(super) const COPY: &str = "layer/app";

/// Makes a fresh layer, and throws the old one away.
pub(super) fn renew(spec: &Spec) -> Result<(), Fault> {
    let TreeRecord::Slug(slug) = &spec.tree else {
        return Ok(());
    };
    let make = || -> io::Result<()> {
        discard()?;
        fs::create_dir(LAYER)?;
        fs::set_permissions(LAYER, fs::Permissions::from_mode(0o711))?;
        if spec.plan.overlay {
            fs::create_dir(WORK)?;
            fs::create_dir(UPPER)?;
            fs::set_permissions(UPPER, fs::Permissions::from_mode(0o755))?;
            return spec
                .uid
                .map_or(Ok(()), |uid| lchown(UPPER, Some(uid), Some(uid)));
        }
        copy(slug, Path::new(COPY), spec.uid)
    };
    make().map_err(Fault::of("make the writable layer"))
}

/// Throws the layer away.
pub(super) fn discard() -> io::Result<()> {
    remove_tree(Path::new(LAYER))
}

/// Copies a tree: directories, files with their modes, links as links; nothing else belongs into a slug.
fn copy(from: &Path, to: &Path, uid: Option<u32>) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if meta.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()), uid)?;
        }
        fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() | 0o700))?;
    } else if meta.is_file() {
        fs::copy(from, to)?;
        fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() | 0o200))?;
    }
    uid.map_or(Ok(()), |uid| lchown(to, Some(uid), Some(uid)))
}
