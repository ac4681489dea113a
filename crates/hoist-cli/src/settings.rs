//! Which rack and which app: flags over environment over files over defaults.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hoist_api::client::{Target, TargetError};
use hoist_api::local::{RACK_FILE, RackFile, TOKEN_FILE};
use hoist_core::id::{AppName, InvalidId};

use crate::args::Globals;
use crate::environment::Environment;
use crate::error::CliError;

/// What names the rack.
enum Named<'n> {
    Url(&'n OsStr),
    Directory(&'n Path),
    /// Nothing: it is the user's own.
    Default,
}

/// A flag, else `HOIST_RACK`, `HOIST_URL` or `HOIST_DATA_DIR`, in this order.
fn named<'n>(globals: &'n Globals, environment: &'n Environment) -> Named<'n> {
    let rack = |rack: &'n OsString| match rack.to_string_lossy().contains("://") {
        true => Named::Url(rack),
        false => Named::Directory(Path::new(rack)),
    };
    if let Some(named) = &globals.rack {
        return rack(named);
    }
    if let Some(directory) = &globals.data_dir {
        return Named::Directory(directory);
    }
    match (&environment.rack, &environment.url, &environment.data_dir) {
        (Some(named), _, _) => rack(named),
        (None, Some(url), _) => Named::Url(url),
        (None, None, Some(directory)) => Named::Directory(Path::new(directory)),
        (None, None, None) => Named::Default,
    }
}

/// Whether the rack is named by a URL, so that it may be another machine's.
pub(crate) fn by_url(globals: &Globals, environment: &Environment) -> bool {
    matches!(named(globals, environment), Named::Url(_))
}

/// The data directory: the one that names the rack, else `HOIST_DATA_DIR`, `$XDG_DATA_HOME/hoist`, `~/.local/share/hoist`.
pub(crate) fn data_dir(globals: &Globals, environment: &Environment) -> Result<PathBuf, CliError> {
    let named = match named(globals, environment) {
        Named::Directory(directory) => Some(directory.to_owned()),
        Named::Url(_) | Named::Default => environment.data_dir.clone().map(PathBuf::from),
    };
    let xdg = || {
        environment
            .xdg_data_home
            .as_ref()
            .map(|data| Path::new(data).join("hoist"))
    };
    let home = || {
        environment
            .home
            .as_ref()
            .map(|home| Path::new(home).join(".local/share/hoist"))
    };
    let found = named.or_else(xdg).or_else(home);
    let found = found.ok_or_else(|| {
        CliError::usage(
            "there is no home to keep data in",
            "name a directory with --data-dir",
        )
    })?;
    Ok(environment.directory.join(found))
}

/// The rack: the one that is named, else the one of the data directory.
pub(crate) fn target(globals: &Globals, environment: &Environment) -> Result<Target, CliError> {
    match named(globals, environment) {
        Named::Url(url) => {
            let malformed = CliError::Call(TargetError::Malformed("it is not text").into());
            let target = Target::parse(url.to_str().ok_or(malformed)?);
            let target = target.and_then(|target| target.admissible().map(|()| target));
            target.map_err(|error| CliError::Call(error.into()))
        }
        Named::Directory(_) | Named::Default => target_of(&data_dir(globals, environment)?),
    }
}

/// The rack that a data directory tells of; it may not run.
pub(crate) fn target_of(data_dir: &Path) -> Result<Target, CliError> {
    let file = rack_file(data_dir)?.ok_or_else(|| CliError::NoRack {
        message: format!("no rack runs on {}", data_dir.display()),
        hint: "`hoist rack start` or `hoist up` starts one; --rack names another, by its URL or data directory"
            .to_owned(),
    })?;
    let path = data_dir.join(TOKEN_FILE);
    let token = std::fs::read_to_string(&path).map_err(|source| CliError::Io {
        doing: format!("read the rack's token in {}", path.display()),
        source,
    })?;
    let target = Target::parse(&format!("http://{}", reachable(&file.listen)));
    let target = target.and_then(|target| {
        target
            .admissible()
            .map(|()| target.with_token(token.trim()))
    });
    target.map_err(|error| CliError::Call(error.into()))
}

/// What the data directory says of its rack; none when it never had one.
pub(crate) fn rack_file(data_dir: &Path) -> Result<Option<RackFile>, CliError> {
    let path = data_dir.join(RACK_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| CliError::BadFile { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CliError::io(format!("read {}", path.display()), source)),
    }
}

/// An address to listen on as one to connect to.
pub(crate) fn reachable(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() && address.is_ipv4() => {
            format!("127.0.0.1:{}", address.port())
        }
        Ok(address) if address.ip().is_unspecified() => format!("[::1]:{}", address.port()),
        _ => listen.to_owned(),
    }
}

/// The app: the one that is named, else the directory's own name. Never a name made up from it.
pub(crate) fn app(named: Option<&str>, directory: &Path) -> Result<String, CliError> {
    let invalid = |error: InvalidId, hint: &str| CliError::usage(error.to_string(), hint);
    if let Some(name) = named {
        return match name.parse::<AppName>() {
            // The rack shows as an app of its own.
            Ok(_) | Err(InvalidId::Reserved(_)) => Ok(name.to_owned()),
            Err(error) => Err(invalid(error, "`hoist apps` lists the apps")),
        };
    }
    let hint = "name the app with `-a NAME`";
    let directory = directory.canonicalize().map_err(|error| {
        CliError::refused(
            format!("cannot find the directory {}: {error}", directory.display()),
            "name the directory of the source",
        )
    })?;
    let name = directory
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    name.parse::<AppName>()
        .map(|_| name)
        .map_err(|error| invalid(error, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            home: Some("/home/me".into()),
            directory: "/somewhere".into(),
            ..Environment::default()
        }
    }

    fn globals(data_dir: &str) -> Globals {
        Globals {
            data_dir: Some(data_dir.into()),
            ..Globals::default()
        }
    }

    #[test]
    fn flags_over_environment_over_defaults() {
        let mut environment = environment();
        let found = |globals: &Globals, environment: &Environment| {
            data_dir(globals, environment).expect("found")
        };
        let none = Globals::default();
        assert_eq!(
            found(&none, &environment),
            Path::new("/home/me/.local/share/hoist")
        );
        environment.xdg_data_home = Some("/data".into());
        assert_eq!(found(&none, &environment), Path::new("/data/hoist"));
        environment.data_dir = Some("/srv/hoist".into());
        assert_eq!(found(&none, &environment), Path::new("/srv/hoist"));
        assert_eq!(
            found(&globals("here"), &environment),
            Path::new("/somewhere/here")
        );
    }

    #[test]
    fn without_a_home_it_asks_for_a_directory() {
        let error = data_dir(&Globals::default(), &Environment::default()).expect_err("nowhere");
        assert_eq!(error.exit_code(), 2);
    }

    fn a_rack(listen: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let file = format!(r#"{{ "listen": "{listen}", "of_a_later_version": true }}"#);
        std::fs::write(directory.path().join(RACK_FILE), file).expect("written");
        std::fs::write(directory.path().join(TOKEN_FILE), "sesame\n").expect("written");
        directory
    }

    #[test]
    fn the_url_is_the_rack_unless_a_flag_names_a_directory() {
        let directory = a_rack("0.0.0.0:4501");
        let environment = Environment {
            url: Some("http://:other@localhost:1".into()),
            ..environment()
        };
        let target = |globals: &Globals| super::target(globals, &environment).expect("a rack");
        let by_url = target(&Globals::default());
        assert_eq!(
            (by_url.to_string().as_str(), by_url.token()),
            ("http://localhost:1", Some("other"))
        );
        let by_directory = target(&globals(&directory.path().to_string_lossy()));
        assert_eq!(by_directory.to_string(), "http://127.0.0.1:4501");
        assert_eq!(by_directory.token(), Some("sesame"));
    }

    #[test]
    fn a_rack_is_named_by_a_url_or_a_directory_and_the_flag_comes_first() {
        let (one, other) = (a_rack("127.0.0.1:4501"), a_rack("127.0.0.1:4502"));
        let path = |directory: &tempfile::TempDir| OsString::from(directory.path());
        let mut environment = Environment {
            rack: Some(path(&one)),
            url: Some("http://:other@localhost:1".into()),
            ..environment()
        };
        let found = |rack: Option<OsString>, environment: &Environment| {
            let globals = Globals {
                rack,
                ..Globals::default()
            };
            let target = target(&globals, environment).expect("a rack").to_string();
            (target, by_url(&globals, environment))
        };
        let by_directory = |port: u16| (format!("http://127.0.0.1:{port}"), false);
        assert_eq!(found(None, &environment), by_directory(4501));
        assert_eq!(found(Some(path(&other)), &environment), by_directory(4502));
        let url = || ("http://localhost:2".to_owned(), true);
        let flag = Some("http://:t@localhost:2".into());
        assert_eq!(found(flag, &environment), url());
        environment.rack = Some("http://:t@localhost:2".into());
        assert_eq!(found(None, &environment), url());
        assert_eq!(
            data_dir(&globals("here"), &environment).expect("a directory"),
            Path::new("/somewhere/here")
        );
    }

    #[test]
    fn what_is_missing_or_broken_has_its_code() {
        let directory = tempfile::tempdir().expect("a directory");
        let code = || {
            target_of(directory.path())
                .err()
                .map(|error| error.exit_code())
        };
        assert_eq!(code(), Some(3), "no rack");
        std::fs::write(directory.path().join(RACK_FILE), "{").expect("written");
        assert_eq!(code(), Some(1), "garbage");
        std::fs::write(
            directory.path().join(RACK_FILE),
            r#"{"listen":"192.0.2.1:4500"}"#,
        )
        .expect("written");
        assert_eq!(code(), Some(1), "no token");
        std::fs::write(directory.path().join(TOKEN_FILE), "t").expect("written");
        assert_eq!(code(), Some(1), "beyond loopback");
    }

    #[test]
    fn malformed_urls_are_wrong_usage_and_remote_ones_refused() {
        for (url, code) in [("nonsense", 2), ("http://:t@example.com:4500", 1)] {
            let environment = Environment {
                url: Some(url.into()),
                ..environment()
            };
            let error = target(&Globals::default(), &environment).err().expect(url);
            assert_eq!(error.exit_code(), code, "{url}");
        }
    }

    #[test]
    fn apps_are_named_or_named_by_their_directory() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = |name: &str| {
            let path = parent.path().join(name);
            std::fs::create_dir_all(&path).expect("created");
            path
        };
        assert_eq!(app(None, &directory("hello")).expect("a name"), "hello");
        assert_eq!(
            app(Some("other"), &directory("hello")).expect("a name"),
            "other"
        );
        assert_eq!(
            app(Some("hoist"), &directory("hello")).expect("the rack"),
            "hoist"
        );
        for name in ["My App", "hoist", "-x"] {
            assert_eq!(
                app(None, &directory(name))
                    .err()
                    .map(|error| error.exit_code()),
                Some(2),
                "{name}"
            );
        }
        assert_eq!(
            app(Some("a/b"), &directory("hello"))
                .err()
                .map(|error| error.exit_code()),
            Some(2)
        );
    }
}
