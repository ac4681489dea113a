//! Whether the machine has what a language needs, before anything is run: a sentence instead of `not found`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hoist_core::detect::Tool;
use hoist_engine::SEARCH_PATH;

use crate::error::RackError;

/// Fails with the first tool that builds would not find.
pub(super) fn check(tools: &[Tool]) -> Result<(), RackError> {
    let missing = tools.iter().find(|tool| !is_there(**tool));
    missing.map_or(Ok(()), |tool| Err(RackError::NoTool(*tool)))
}

fn is_there(tool: Tool) -> bool {
    match tool {
        Tool::Program(name, _) => find(name).is_some(),
        Tool::PythonModule(name, _) => find("python3").is_some_and(|python| {
            let prefix = python.parent().and_then(Path::parent);
            prefix.is_some_and(|prefix| has_module(&prefix.join("lib"), name))
        }),
    }
}

/// Where builds find a program: not where the rack does, whose homes they do not see.
fn find(name: &str) -> Option<PathBuf> {
    let mut places = SEARCH_PATH.split(':').map(|dir| Path::new(dir).join(name));
    places.find(|path| {
        fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

fn has_module(lib: &Path, name: &str) -> bool {
    let mut versions = fs::read_dir(lib).into_iter().flatten().flatten();
    versions.any(|version| {
        let python = version
            .file_name()
            .to_string_lossy()
            .starts_with("python3.");
        python && version.path().join(name).is_dir()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_core::detect::Package;

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let shell = Tool::Program("sh", Package::Debian("dash"));
        let none = Tool::Program("no-such-program", Package::Debian("no-such-package"));
        assert!(check(&[shell]).is_ok());
        let error = check(&[shell, none]).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "no-such-program is not on this machine: apt-get install no-such-package"
        );
    }

    #[test]
    fn a_module_lies_in_any_version() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(!has_module(dir.path(), "ensurepip"));
        fs::create_dir_all(dir.path().join("python3.11/ensurepip")).expect("made");
        assert!(has_module(dir.path(), "ensurepip"));
    }
}
