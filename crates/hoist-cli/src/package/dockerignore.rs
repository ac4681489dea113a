//! `.dockerignore`: as `.gitignore`, but patterns begin at the root, and the last one that matches decides, also about what
//! lies in an ignored directory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::PackageError;

/// The patterns of a directory's `.dockerignore`, in order.
#[derive(Debug, Clone)]
pub(crate) struct DockerIgnore {
    patterns: Arc<Vec<Pattern>>,
}

#[derive(Debug)]
struct Pattern {
    glob: Gitignore,
    brings_back: bool,
}

impl DockerIgnore {
    /// Reads it; none when there is none.
    pub(crate) fn read(root: &Path) -> Result<Option<Self>, PackageError> {
        let path = root.join(".dockerignore");
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(root, &text)
                .map(Some)
                .map_err(|source| PackageError::IgnoreFile { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PackageError::Read { path, source }),
        }
    }

    fn parse(root: &Path, text: &str) -> Result<Self, ignore::Error> {
        let lines = text
            .trim_start_matches('\u{feff}')
            .lines()
            .filter(|line| !line.starts_with('#'));
        let patterns = lines.filter_map(|line| {
            let line = line.trim();
            let (line, brings_back) = line
                .strip_prefix('!')
                .map_or((line, false), |rest| (rest.trim(), true));
            let anchored = line.trim_start_matches("./").trim_matches('/');
            (!anchored.is_empty() && anchored != ".")
                .then_some((format!("/{anchored}"), brings_back))
        });
        let compile = |(line, brings_back): (String, bool)| {
            let mut builder = GitignoreBuilder::new(root);
            builder.add_line(None, &line)?;
            Ok(Pattern {
                glob: builder.build()?,
                brings_back,
            })
        };
        let patterns = patterns
            .map(compile)
            .collect::<Result<_, ignore::Error>>()?;
        Ok(Self {
            patterns: Arc::new(patterns),
        })
    }

    /// Whether a path is ignored: by the last pattern that matches it or a directory above it.
    pub(crate) fn ignores(&self, path: &Path, is_dir: bool) -> bool {
        let matches = |pattern: &&Pattern| {
            pattern
                .glob
                .matched_path_or_any_parents(path, is_dir)
                .is_ignore()
        };
        self.patterns
            .iter()
            .rfind(matches)
            .is_some_and(|pattern| !pattern.brings_back)
    }

    /// Whether nothing below a directory can belong, so that it need not be read at all.
    pub(crate) fn prunes(&self, directory: &Path) -> bool {
        !self.patterns.iter().any(|pattern| pattern.brings_back) && self.ignores(directory, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(text: &str, path: &str) -> bool {
        let rules = DockerIgnore::parse(Path::new("/source"), text).expect("well-formed patterns");
        rules.ignores(Path::new(path), false)
    }

    #[test]
    fn patterns_begin_at_the_root() {
        assert!(ignored("node_modules", "node_modules/a/b.js"));
        assert!(!ignored("node_modules", "web/node_modules/a.js"));
        assert!(ignored("**/node_modules", "web/node_modules/a.js"));
        assert!(ignored("*/temp*", "a/temporary.txt"));
        assert!(!ignored("*/temp*", "a/b/temporary.txt"));
        assert!(ignored("/build/", "build/x"));
        assert!(ignored("./build", "build"));
    }

    #[test]
    fn the_last_match_decides_also_below_ignored_directories() {
        assert!(!ignored("*\n!src", "src/main.py"));
        assert!(ignored("*\n!src", "other/main.py"));
        assert!(ignored("*.md\n!README.md\n*ME.md", "README.md"));
        assert!(ignored("!src/keep\nsrc", "src/keep"));
    }

    #[test]
    fn comments_blanks_and_dots_match_nothing() {
        assert!(!ignored("# *\n\n  \n.\n/\n!", "a"));
    }
}
