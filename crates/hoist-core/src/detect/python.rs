//! Python: a virtual environment in the slug, so that `gunicorn` in a Procfile is the app's own.

use super::{DetectError, Package, Plan, Runtime, Step, Tool, Top, toml_has};

pub(super) fn marker(top: &Top) -> Option<&'static str> {
    // Many projects have a `pyproject.toml` for the settings of tools alone.
    let project = ["project", "build-system", "tool.poetry"]
        .iter()
        .any(|section| toml_has(top.text("pyproject.toml"), section));
    let known = ["requirements.txt", "pyproject.toml", "Pipfile"];
    known
        .into_iter()
        .find(|name| top.has(name) && (*name != "pyproject.toml" || project))
}

pub(super) fn plan(top: &Top) -> Result<Plan, DetectError> {
    let install = match marker(top) {
        Some("Pipfile") => {
            return Err(DetectError::Unsupported {
                file: "Pipfile",
                instead: "`pipenv requirements > requirements.txt` makes a file that is",
            });
        }
        Some("requirements.txt") => "pip install -r requirements.txt",
        _ => "pip install .",
    };
    let mut warnings = Vec::new();
    if install == "pip install ." {
        let locks = ["poetry.lock", "uv.lock", "pdm.lock"];
        for lock in locks.into_iter().filter(|lock| top.has(lock)) {
            warnings.push(format!(
                "{lock} is not read: export it to requirements.txt to have the same versions in each build"
            ));
        }
    }
    Ok(Plan {
        tools: vec![
            Tool::Program("python3", Package::Debian("python3 python3-venv")),
            Tool::PythonModule("ensurepip", Package::Debian("python3-venv")),
        ],
        steps: vec![
            Step::quiet("rm -rf .venv"),
            Step::shown("python3 -m venv .venv"),
            Step {
                shown: Some(install),
                shell: format!(
                    "PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 .venv/bin/{install}"
                ),
            },
            // Programs name the place where they were made; found by PATH they may lie anywhere.
            Step::quiet(
                "find .venv/bin -type f -exec sed -i '1s|^#!.*/\\.venv/bin/python[0-9.]*$|#!/usr/bin/env python3|' {} +",
            ),
        ],
        runtime: Runtime::new(&[".venv/bin"], &[("PYTHONUNBUFFERED", "1")]),
        warnings,
        ..Plan::default()
    })
}
