//! `Procfile`: one `name: command` per line. `web` is routed and starts once, the others start when scaled; `release`
//! is no service but the command that runs before a release starts.

use std::collections::BTreeSet;

use super::fields::{Problem, Reader};
use super::{
    CommandLine, Dialect, Manifest, ManifestError, Place, Port, SERVICES_MAX, Scheme, Service,
    Warning,
};
use crate::id::ServiceName;

pub(super) fn read(file: &str, text: &str) -> Result<(Manifest, Vec<Warning>), ManifestError> {
    let mut reader = Reader::new(Dialect::Procfile, file);
    let manifest = lines(text, &mut reader).map_err(|problem| problem.in_file(file, text))?;
    Ok((manifest, reader.into_warnings()))
}

fn lines(text: &str, reader: &mut Reader<'_>) -> Result<Manifest, Problem> {
    let mut manifest = Manifest::default();
    let mut hosts = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let place = Place::At {
            line: u32::try_from(index + 1).unwrap_or(u32::MAX),
            column: 1,
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        let (name, command) = entry(line, place)?;
        if name == "release" {
            if manifest.release_command.replace(command).is_some() {
                return Err(Problem::at(place, "`release` stands here a second time"));
            }
            continue;
        }
        let name: ServiceName = name
            .parse()
            .map_err(|error: crate::id::InvalidId| Problem::at(place, error.to_string()))?;
        if !hosts.insert(name.host_label()) {
            return Err(Problem::at(
                place,
                format!(
                    "`{name}` stands here a second time (upper case and `_` make no other host name)"
                ),
            ));
        }
        manifest
            .services
            .push((name.clone(), service(&name, command)));
        if manifest.services.len() > SERVICES_MAX {
            return Err(Problem::at(
                place,
                format!("more than {SERVICES_MAX} services"),
            ));
        }
    }
    if manifest.services.is_empty() {
        return Err(Problem::at(
            Place::WholeFile,
            "no services: write a line like `web: command`",
        ));
    }
    if manifest.service_named("web").is_none() {
        reader.warn(
            Place::WholeFile,
            "no `web`: nothing starts until a service is scaled, and no request reaches the app",
        );
    }
    Ok(manifest)
}

fn entry(line: &str, place: Place) -> Result<(&str, CommandLine), Problem> {
    let (name, command) = line
        .split_once(':')
        .ok_or_else(|| Problem::at(place, "a line is `name: command`"))?;
    let command = without_comment(command).trim();
    if command.is_empty() {
        return Err(Problem::at(
            place,
            format!("`{}` has no command", super::values::shown(name.trim())),
        ));
    }
    if command.contains('\0') {
        return Err(Problem::at(place, "the command contains a NUL byte"));
    }
    Ok((name.trim(), CommandLine::Shell(command.to_owned())))
}

/// A comment behind a command begins with a blank and `#`; inside quotes it is the command's.
fn without_comment(command: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in command.char_indices() {
        match quote {
            Some(open) if c == open && before != '\\' => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"') && before != '\\' => quote = Some(c),
            None if c == '#' && before.is_whitespace() => return &command[..at],
            None => {}
        }
        before = c;
    }
    command
}

fn service(name: &ServiceName, command: CommandLine) -> Service {
    let web = name.as_str() == "web";
    Service {
        command: Some(command),
        port: web.then_some(Port {
            number: None,
            scheme: Scheme::Http,
        }),
        count: u16::from(web),
        ..Service::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::read as read_manifest;

    fn procfile(text: &str) -> Result<(Manifest, Vec<Warning>), ManifestError> {
        read_manifest(Dialect::Procfile, "Procfile", text)
    }

    #[test]
    fn web_starts_once_and_is_routed_others_wait() {
        let text = "# apps\r\nweb: bin/web --port $PORT # the site\r\n\r\nworker : bundle exec 'a # b'\r\n// old\r\nrelease: bin/migrate\r\n";
        let (manifest, warnings) = procfile(text).unwrap();
        let shown: Vec<_> = manifest
            .services
            .iter()
            .map(|(name, s)| {
                (
                    name.to_string(),
                    s.count,
                    s.port.is_some(),
                    s.command.clone().unwrap().to_string(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("web".to_owned(), 1, true, "bin/web --port $PORT".to_owned()),
                (
                    "worker".to_owned(),
                    0,
                    false,
                    "bundle exec 'a # b'".to_owned()
                ),
            ]
        );
        assert_eq!(
            manifest.release_command,
            Some(CommandLine::Shell("bin/migrate".to_owned()))
        );
        assert_eq!(warnings, []);
    }

    #[test]
    fn each_bad_line_is_named() {
        let cases = [
            (
                "web: a\nworker\n",
                "Procfile:2:1: a line is `name: command`",
            ),
            ("web:\n", "Procfile:1:1: `web` has no command"),
            ("web: # nothing\n", "Procfile:1:1: `web` has no command"),
            (
                "web: a\nweb: b\n",
                "Procfile:2:1: `web` stands here a second time",
            ),
            (
                "<<<<<<< HEAD\nweb: a\n",
                "Procfile:1:1: a line is `name: command`",
            ),
            ("we b: a\n", "Procfile:1:1: `we b` is not a service name"),
            ("9: a\n", "Procfile:1:1: `9` is not a service name"),
            (
                "release: a\nrelease: b\n",
                "Procfile:2:1: `release` stands here a second time",
            ),
            ("\n# none\n", "Procfile: no services"),
            ("release: a\n", "Procfile: no services"),
        ];
        for (text, expected) in cases {
            let error = procfile(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_file_without_web_says_so() {
        let (_, warnings) = procfile("worker: a\n").unwrap();
        assert!(
            warnings[0].to_string().starts_with("Procfile: no `web`"),
            "{warnings:?}"
        );
    }
}
