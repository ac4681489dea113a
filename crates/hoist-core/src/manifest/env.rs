//! Which variables a process gets: the manifest's list decides which names reach a service, the release gives values.

use std::collections::{BTreeMap, BTreeSet};

use super::Service;

/// One item of an `environment` list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvRule {
    /// `NAME`: the release must have it.
    Required(String),
    /// `NAME=value`: used where the release has none.
    Default(String, String),
    /// `*`: everything that the release has.
    All,
}

/// Variables that a service requires and the release does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("missing in the env of the release: {}", .0.join(", "))]
pub struct MissingNames(pub Vec<String>);

impl MissingNames {
    /// The command that mends it.
    pub fn hint(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|name| format!("{name}=...")).collect();
        format!("`hoist env set {}`", pairs.join(" "))
    }
}

/// Why something cannot be a variable of a process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnv {
    /// The name has other characters than shells allow.
    #[error("`{}` is not a variable name: use letters, digits and `_`, not starting with a digit", .0.escape_default())]
    Name(String),
    /// No process can be given a NUL.
    #[error("the value of `{0}` contains a NUL byte, which no process can be given")]
    Nul(String),
    /// No process can be given so much in one variable.
    #[error(
        "the value of `{name}` has {bytes} bytes, and a process can be given at most {VARIABLE_BYTES_MAX} in one variable"
    )]
    TooLarge {
        /// The variable.
        name: String,
        /// How large its value is.
        bytes: usize,
    },
}

/// Bytes that one variable may have, its name and `=` among them: a kernel refuses to start a process with more.
pub const VARIABLE_BYTES_MAX: usize = (128 << 10) - 1;
/// Bytes that all variables of a release may have together.
pub const ENV_BYTES_MAX: usize = 1 << 20;

/// Checks `^[A-Za-z_][A-Za-z0-9_]*$`.
///
/// # Errors
/// [`InvalidEnv::Name`] when it is something else.
pub fn check_env_name(name: &str) -> Result<(), InvalidEnv> {
    let head = |c: char| c.is_ascii_alphabetic() || c == '_';
    let tail = |c: char| head(c) || c.is_ascii_digit();
    (name.starts_with(head) && name.chars().all(tail))
        .then_some(())
        .ok_or_else(|| InvalidEnv::Name(name.to_owned()))
}

/// Checks that a process can be given the value: lines and any characters, but no NUL and not too much.
///
/// # Errors
/// [`InvalidEnv::Nul`] and [`InvalidEnv::TooLarge`], which name the variable and never show the value.
pub fn check_env_value(name: &str, value: &str) -> Result<(), InvalidEnv> {
    if value.contains('\0') {
        return Err(InvalidEnv::Nul(name.to_owned()));
    }
    if name.len() + 1 + value.len() > VARIABLE_BYTES_MAX {
        return Err(InvalidEnv::TooLarge {
            name: name.to_owned(),
            bytes: value.len(),
        });
    }
    Ok(())
}

/// The variables of the release that reach a service, by its `environment` list.
///
/// Only listed names reach it: required ones with the release's value, others with the release's value or else their
/// default (of two defaults for one name the later wins, so a service's own list beats the manifest's). `*` lets
/// everything through. A manifest without any list is read as `*`.
///
/// # Errors
/// All names that are required and missing, not only the first.
pub fn resolve_env(
    service: &Service,
    release_env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, MissingNames> {
    let mut env = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for rule in &service.environment {
        match rule {
            EnvRule::All => env.extend(
                release_env
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            ),
            EnvRule::Default(name, default) => {
                let value = release_env.get(name).unwrap_or(default);
                env.insert(name.clone(), value.clone());
            }
            EnvRule::Required(name) => match release_env.get(name) {
                Some(value) => {
                    env.insert(name.clone(), value.clone());
                }
                None => {
                    missing.insert(name.clone());
                }
            },
        }
    }
    // A default elsewhere in the list satisfies a requirement: together they say "this, unless the release says".
    missing.retain(|name| !env.contains_key(name));
    if missing.is_empty() {
        Ok(env)
    } else {
        Err(MissingNames(missing.into_iter().collect()))
    }
}

/// Everything a process is started with: what [`resolve_env`] says, above the `system` variables.
///
/// Precedence, lowest first: system variables (`RACK`, `APP`, `RELEASE`, `BUILD`, `BUILD_DESCRIPTION`,
/// `BUILD_GIT_SHA`, `SERVICE`), defaults of the manifest, values of the release. System variables reach every service,
/// whatever its list says, and a release may replace them, with one exception: `PORT` is the engine's, because a
/// process that listens elsewhere cannot be reached. It is taken from `system` alone.
///
/// # Errors
/// As [`resolve_env`].
pub fn process_env(
    service: &Service,
    release_env: &BTreeMap<String, String>,
    system: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, MissingNames> {
    const PORT: &str = "PORT";
    let mut given = release_env.clone();
    if let Some(port) = system.get(PORT) {
        given.insert(PORT.to_owned(), port.clone());
    }
    let mut env = system.clone();
    env.extend(resolve_env(service, &given)?);
    match system.get(PORT) {
        Some(port) => env.insert(PORT.to_owned(), port.clone()),
        None => env.remove(PORT),
    };
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn service(rules: Vec<EnvRule>) -> Service {
        Service {
            environment: rules,
            ..Service::default()
        }
    }

    fn required(name: &str) -> EnvRule {
        EnvRule::Required(name.to_owned())
    }

    fn default(name: &str, value: &str) -> EnvRule {
        EnvRule::Default(name.to_owned(), value.to_owned())
    }

    #[test]
    fn only_listed_names_reach_a_service() {
        let release = map(&[("A", "1"), ("B", "2"), ("SECRET", "s")]);
        let web = service(vec![required("A"), default("B", "x"), default("C", "y")]);
        assert_eq!(
            resolve_env(&web, &release),
            Ok(map(&[("A", "1"), ("B", "2"), ("C", "y")]))
        );
    }

    #[test]
    fn a_star_or_no_list_lets_everything_through() {
        let release = map(&[("A", "1"), ("B", "2")]);
        assert_eq!(
            resolve_env(&Service::default(), &release),
            Ok(release.clone())
        );
        let starred = service(vec![default("A", "x"), EnvRule::All, default("Z", "z")]);
        assert_eq!(
            resolve_env(&starred, &release),
            Ok(map(&[("A", "1"), ("B", "2"), ("Z", "z")]))
        );
    }

    #[test]
    fn an_empty_list_lets_nothing_through() {
        assert_eq!(
            resolve_env(&service(vec![]), &map(&[("A", "1")])),
            Ok(map(&[]))
        );
    }

    #[test]
    fn all_missing_names_are_told_at_once() {
        let web = service(vec![
            required("B"),
            required("A"),
            default("C", "c"),
            required("C"),
        ]);
        let missing = resolve_env(&web, &map(&[])).unwrap_err();
        assert_eq!(missing, MissingNames(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(missing.hint(), "`hoist env set A=... B=...`");
    }

    #[test]
    fn the_release_beats_defaults_which_beat_the_system_but_port_is_the_engines() {
        let system = map(&[("APP", "shop"), ("RELEASE", "R1"), ("PORT", "41873")]);
        let web = service(vec![
            default("APP", "from manifest"),
            required("RELEASE"),
            default("PORT", "3000"),
        ]);
        let env = process_env(&web, &map(&[("RELEASE", "mine"), ("PORT", "80")]), &system);
        assert_eq!(
            env,
            Ok(map(&[
                ("APP", "from manifest"),
                ("RELEASE", "mine"),
                ("PORT", "41873")
            ]))
        );
    }

    #[test]
    fn a_services_default_beats_the_manifests() {
        let web = service(vec![default("LEVEL", "top"), default("LEVEL", "own")]);
        assert_eq!(resolve_env(&web, &map(&[])), Ok(map(&[("LEVEL", "own")])));
        let release = map(&[("LEVEL", "release")]);
        assert_eq!(resolve_env(&web, &release), Ok(release));
    }

    #[test]
    fn what_the_rack_says_reaches_every_service_whatever_its_list() {
        let system = map(&[("APP", "shop"), ("SERVICE", "web")]);
        let web = service(vec![required("A")]);
        let env = process_env(&web, &map(&[("A", "1"), ("B", "2")]), &system);
        let expected = [("A", "1"), ("APP", "shop"), ("SERVICE", "web")];
        assert_eq!(env, Ok(map(&expected)));
    }

    #[test]
    fn names_are_those_of_shells() {
        for good in ["A", "_a9", "FOO_BAR"] {
            assert_eq!(check_env_name(good), Ok(()), "{good}");
        }
        for bad in ["", "9A", "A-B", "A B", "Ä", "A\0", "A="] {
            assert!(check_env_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_env_value("A", "two\nlines").is_ok());
        assert!(check_env_value("A", "x\0").is_err());
        let largest = VARIABLE_BYTES_MAX - "A=".len();
        assert_eq!(check_env_value("A", &"x".repeat(largest)), Ok(()));
        assert!(check_env_value("A", &"x".repeat(largest + 1)).is_err());
    }
}
