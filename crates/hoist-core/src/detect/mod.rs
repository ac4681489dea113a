//! What source is written in, by the files at its top, and what makes a slug of it: for apps without a build command.
//!
//! Nothing is opened here: callers list the top of the tree and bring a few small texts. The first language in the order
//! of [`Language::ALL`] whose file is there is built; others that are there are named, not guessed at.

mod go;
mod node;
mod python;
mod ruby;
mod rust;
mod site;

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::{CommandLine, ManifestError};

/// Files whose text [`Top`] wants, where they are there.
pub const TEXTS: [&str; 5] = [
    "package.json",
    "pyproject.toml",
    "go.mod",
    "Cargo.toml",
    "requirements.txt",
];
/// Names further down that matter.
pub const BELOW: [&str; 2] = ["public/index.html", "src/main.rs"];
/// Largest text that is wanted.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Where a build finds its app's cache directory.
pub const CACHE_VARIABLE: &str = "HOIST_BUILD_CACHE";

/// What lies at the top of a source directory.
#[derive(Debug, Clone, Default)]
pub struct Top {
    names: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl Top {
    /// Files and directories by name, and those of [`BELOW`] that are there.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            names: names.into_iter().collect(),
            texts: BTreeMap::new(),
        }
    }

    /// Adds the text of one of [`TEXTS`].
    pub fn add_text(&mut self, name: &str, text: String) {
        self.texts.insert(name.to_owned(), text);
    }

    /// Whether a file or directory is there.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn any(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.names.iter().any(|name| wanted(name))
    }

    fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }
}

/// A language that is built without being told how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// By `Gemfile`.
    Ruby,
    /// By `requirements.txt` or `pyproject.toml`.
    Python,
    /// By `go.mod`.
    Go,
    /// By `Cargo.toml`.
    Rust,
    /// By `package.json`.
    Node,
    /// Files for browsers, by `index.html`.
    Site,
}

impl Language {
    /// In the order in which they win. `package.json` comes late because apps in other languages have one for what they
    /// show in browsers.
    pub const ALL: [Self; 6] = [
        Self::Ruby,
        Self::Python,
        Self::Go,
        Self::Rust,
        Self::Node,
        Self::Site,
    ];

    /// The name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ruby => "Ruby",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::Rust => "Rust",
            Self::Node => "Node",
            Self::Site => "static files",
        }
    }

    /// The word that `build.language` takes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ruby => "ruby",
            Self::Python => "python",
            Self::Go => "go",
            Self::Rust => "rust",
            Self::Node => "node",
            Self::Site => "static",
        }
    }

    /// The language of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }

    /// The file that gives it away, if one is there.
    fn marker(self, top: &Top) -> Option<&'static str> {
        match self {
            Self::Ruby => ruby::marker(top),
            Self::Python => python::marker(top),
            Self::Go => go::marker(top),
            Self::Rust => rust::marker(top),
            Self::Node => node::marker(top),
            Self::Site => site::marker(top),
        }
    }

    fn plan(self, top: &Top) -> Result<Plan, DetectError> {
        match self {
            Self::Ruby => Ok(ruby::plan(top)),
            Self::Python => python::plan(top),
            Self::Go => Ok(go::plan(top)),
            Self::Rust => Ok(rust::plan(top)),
            Self::Node => node::plan(top),
            Self::Site => Ok(site::plan(top)),
        }
    }
}

/// What a manifest says about detection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// Nothing: look.
    #[default]
    Look,
    /// Not to look: the source is the slug.
    Off,
    /// This language and no other.
    Only(Language),
}

/// What was found, and what makes a slug of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The language.
    pub language: Language,
    /// The file that gave it away.
    pub marker: &'static str,
    /// How it is built and run.
    pub plan: Plan,
    /// Files of other languages, which are not acted on.
    pub others: Vec<(Language, &'static str)>,
}

/// How a language is built and run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the machine must have, for the build or for the processes.
    pub tools: Vec<Tool>,
    /// What is run in the source directory, in this order.
    pub steps: Vec<Step>,
    /// What processes get beside what their release says.
    pub runtime: Runtime,
    /// What runs where nothing says what does.
    pub web: Option<CommandLine>,
    /// Files that the build needs and the source lacks: (name, text).
    pub files: Vec<(&'static str, &'static str)>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// One command of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the log says; nothing for what only goes with another.
    pub shown: Option<&'static str>,
    /// A command for the shell.
    pub shell: String,
}

impl Step {
    fn shown(command: &'static str) -> Self {
        Self {
            shown: Some(command),
            shell: command.to_owned(),
        }
    }

    fn quiet(shell: impl Into<String>) -> Self {
        Self {
            shown: None,
            shell: shell.into(),
        }
    }
}

/// Something that the machine must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// A program, and what installs it.
    Program(&'static str, Package),
    /// A module of Python's standard library that comes in a package of its own.
    PythonModule(&'static str, Package),
}

/// What brings a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// Packages of Debian.
    Debian(&'static str),
    /// A package of npm.
    Npm(&'static str),
}

impl Tool {
    /// What is missing, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program(name, _) => name,
            Self::PythonModule(name, _) => name,
        }
    }

    /// The command that installs it.
    pub fn install(self) -> String {
        let (Self::Program(_, package) | Self::PythonModule(_, package)) = self;
        match package {
            Package::Debian(names) => format!("apt-get install {names}"),
            Package::Npm(name) => format!("npm install -g {name}"),
        }
    }
}

/// What processes of a build get beside what their release says. Recorded with the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Directories of the slug that come first in `PATH`.
    pub path: Vec<String>,
    /// Variables, which the release's win over.
    pub env: BTreeMap<String, String>,
}

impl Runtime {
    fn new(path: &[&str], env: &[(&str, &str)]) -> Self {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            path: path.iter().map(|dir| (*dir).to_owned()).collect(),
            env: env.iter().map(pair).collect(),
        }
    }
}

/// Why source cannot be built without being told how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectError {
    /// It is there and nothing is known to be done about it.
    #[error("{file} is there, which is not built without a `build.command`")]
    Unsupported {
        /// The file.
        file: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// The manifest names a language whose files are not there.
    #[error("`build.language` is {word}, but none of its files is there", word = .0.word())]
    NotThere(Language),
    /// A file that had to be read is broken.
    #[error(transparent)]
    File(#[from] ManifestError),
}

impl DetectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unsupported { instead, .. } => Some(instead),
            Self::NotThere(_) => Some("`build: {detect: false}` takes the source as it is"),
            Self::File(error) => error.hint(),
        }
    }
}

/// Says what the source is written in; nothing when no known file is there, or nobody wants to know.
///
/// # Errors
/// When a known file is there that nothing can be made of.
pub fn detect(top: &Top, choice: Choice) -> Result<Option<Detected>, DetectError> {
    let found = Language::ALL
        .into_iter()
        .filter_map(|language| Some((language, language.marker(top)?)));
    let mut found = found.collect::<Vec<_>>();
    match choice {
        Choice::Look => {}
        Choice::Off => return Ok(None),
        Choice::Only(wanted) => {
            found.retain(|(language, _)| *language == wanted);
            if found.is_empty() {
                return Err(DetectError::NotThere(wanted));
            }
        }
    }
    let Some((language, marker)) = found.first().copied() else {
        return Ok(None);
    };
    // A page at the top is no second language: many apps have one.
    let other = |(other, _): &(Language, _)| *other != Language::Site;
    let others = found[1..].iter().copied().filter(other).collect();
    Ok(Some(Detected {
        language,
        marker,
        plan: language.plan(top)?,
        others,
    }))
}

impl Detected {
    /// What was found and why, for the log of the build.
    pub fn words(&self) -> Vec<String> {
        let name = self.language.name();
        let mut words = vec![format!("detected {name}: {} is there", self.marker)];
        words.extend(self.others.iter().map(|(language, marker)| {
            format!(
                "{marker} is there too and not acted on: `build: {{language: {}}}` in hoist.yml builds that instead",
                language.word()
            )
        }));
        words
    }
}

/// One program for `/bin/sh` of all steps: each is announced, and the first that fails ends it.
pub fn script<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Option<String> {
    let mut script = String::from("set -e\n");
    let mut any = false;
    for step in steps {
        any = true;
        if let Some(shown) = step.shown {
            script.push_str(&format!("echo {}\n", quoted(&format!("running {shown}"))));
        }
        script.push_str(&step.shell);
        script.push('\n');
    }
    any.then_some(script)
}

/// One word of a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Variables that point the package tools of all languages into a directory which outlives the build.
pub fn cache_env(dir: &str) -> Vec<(String, String)> {
    let below = [
        ("PIP_CACHE_DIR", "pip"),
        ("npm_config_cache", "npm"),
        ("YARN_CACHE_FOLDER", "yarn"),
        ("npm_config_store_dir", "pnpm"),
        ("CARGO_HOME", "cargo"),
        ("GOCACHE", "go-build"),
        ("GOMODCACHE", "go-mod"),
        ("BUNDLE_USER_CACHE", "bundle"),
    ];
    let mut env: Vec<(String, String)> = below
        .iter()
        .map(|(name, below)| ((*name).to_owned(), format!("{dir}/{below}")))
        .collect();
    env.push((CACHE_VARIABLE.to_owned(), dir.to_owned()));
    // Else it makes directories that only their owner can remove, and not even them at once.
    env.push(("GOFLAGS".to_owned(), "-modcacherw".to_owned()));
    env
}

/// The value of `key = "value"` in a section of TOML; enough for a name.
fn toml_value<'t>(text: &'t str, section: &str, key: &str) -> Option<&'t str> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == section;
        } else if inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return value.trim().strip_prefix('"')?.split('"').next();
        }
    }
    None
}

/// Whether TOML has one of these sections, or one below it.
fn toml_has(text: &str, section: &str) -> bool {
    let open = format!("[{section}");
    text.lines().map(str::trim).any(|line| {
        line.strip_prefix(open.as_str())
            .is_some_and(|rest| rest.starts_with([']', '.']))
    })
}

#[cfg(test)]
mod tests;
