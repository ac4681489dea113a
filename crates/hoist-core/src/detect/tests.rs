//! Trees and what they are taken for.

use super::*;

fn top(files: &[(&str, &str)]) -> Top {
    let mut top = Top::new(files.iter().map(|(name, _)| (*name).to_owned()));
    for (name, text) in files {
        top.add_text(name, (*text).to_owned());
    }
    top
}

fn look(files: &[(&str, &str)]) -> Detected {
    detect(&top(files), Choice::Look).unwrap().unwrap()
}

fn shown(detected: &Detected) -> Vec<&str> {
    detected
        .plan
        .steps
        .iter()
        .filter_map(|step| step.shown)
        .collect()
}

fn web(detected: &Detected) -> Option<String> {
    detected.plan.web.as_ref().map(ToString::to_string)
}

#[test]
fn python_is_a_virtual_environment_in_the_slug() {
    let found = look(&[("requirements.txt", ""), ("app.py", "")]);
    assert_eq!(
        found.words(),
        ["detected Python: requirements.txt is there"]
    );
    assert_eq!(
        shown(&found),
        ["python3 -m venv .venv", "pip install -r requirements.txt"]
    );
    assert_eq!(found.plan.runtime.path, [".venv/bin"]);
    assert_eq!(web(&found), None);
    let project = "[project]\nname = \"x\"\n";
    let found = look(&[("pyproject.toml", project), ("uv.lock", "")]);
    assert_eq!(shown(&found)[1], "pip install .");
    assert!(found.plan.warnings[0].starts_with("uv.lock is not read"));
    // Settings of a formatter make no project.
    let tools = top(&[("pyproject.toml", "[tool.black]\nline-length = 100\n")]);
    assert_eq!(detect(&tools, Choice::Look), Ok(None));
    let error = detect(&top(&[("Pipfile", "")]), Choice::Look).unwrap_err();
    assert!(error.to_string().starts_with("Pipfile is there"));
    assert!(error.hint().unwrap().contains("requirements.txt"));
}

#[test]
fn node_respects_its_lock_file() {
    let package = r#"{"scripts": {"start": "node x.js", "build": "tsc"}, "devDependencies": {"typescript": "5"}}"#;
    let of = |lock: &str| {
        let found = look(&[("package.json", package), (lock, "")]);
        let programs: Vec<_> = found.plan.tools.iter().map(|tool| tool.name()).collect();
        (shown(&found).join("; "), programs.join(" "), web(&found))
    };
    let (steps, tools, start) = of("package-lock.json");
    assert_eq!(
        steps,
        "npm ci --include=dev --no-audit --no-fund; npm run build; npm prune --omit=dev --no-audit --no-fund"
    );
    assert_eq!(
        (tools.as_str(), start.as_deref()),
        ("node npm", Some("npm start"))
    );
    assert!(
        of("yarn.lock")
            .0
            .starts_with("yarn install --frozen-lockfile")
    );
    assert_eq!(of("pnpm-lock.yaml").1, "node pnpm");
    let bare = look(&[("package.json", "{}")]);
    assert_eq!(
        shown(&bare),
        ["npm install --include=dev --no-audit --no-fund"]
    );
    assert!(bare.plan.warnings[0].starts_with("no lock file"));
    assert_eq!(web(&bare), None);
    let broken = detect(&top(&[("package.json", "{\n  \"a\" 1}")]), Choice::Look);
    assert_eq!(
        broken.unwrap_err().to_string(),
        "package.json:2:7: expected `:`, not `1`"
    );
}

#[test]
fn programs_of_go_and_rust_serve_by_default() {
    let go = "module example.com/team/shop/v2 // here\n\ngo 1.22\n";
    let found = look(&[("go.mod", go), ("main.go", "")]);
    assert_eq!(web(&found).as_deref(), Some("bin/shop"));
    assert_eq!(web(&look(&[("go.mod", go), ("cmd", "")])), None);
    let odd = look(&[("go.mod", "module x/$(id)\n"), ("main.go", "")]);
    assert_eq!(web(&odd), None);
    let rust = "[package]\nversion = \"1\"\nname = \"shop\"\n[dependencies]\n";
    let found = look(&[
        ("Cargo.toml", rust),
        ("Cargo.lock", ""),
        ("src/main.rs", ""),
    ]);
    assert_eq!(web(&found).as_deref(), Some("bin/shop"));
    assert_eq!(shown(&found), ["cargo build --release --locked"]);
    let workspace = look(&[("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n")]);
    assert_eq!(web(&workspace), None);
    assert_eq!(workspace.plan.warnings.len(), 1);
}

#[test]
fn ruby_keeps_to_its_lock_file() {
    let locked = look(&[("Gemfile", ""), ("Gemfile.lock", "")]);
    let script = script(&locked.plan.steps).unwrap();
    assert!(script.contains("deployment true") && script.contains("vendor/bundle"));
    assert_eq!(look(&[("Gemfile", "")]).plan.warnings.len(), 1);
}

#[test]
fn files_alone_are_served() {
    let found = look(&[("index.html", "")]);
    assert_eq!(
        web(&found).as_deref(),
        Some("exec python3 .hoist/serve.py .")
    );
    let found = look(&[("public/index.html", ""), ("public", "")]);
    assert!(web(&found).unwrap().ends_with(" public"));
    assert_eq!(script(&found.plan.steps), None);
    assert_eq!(detect(&top(&[("serve", "")]), Choice::Look), Ok(None));
}

#[test]
fn several_are_taken_in_a_fixed_order_and_told() {
    let files = [
        ("package.json", "{}"),
        ("requirements.txt", ""),
        ("index.html", ""),
    ];
    let found = look(&files);
    assert_eq!(found.language, Language::Python);
    assert_eq!(
        found.words()[1..],
        [
            "package.json is there too and not acted on: `build: {language: node}` in hoist.yml builds that instead"
        ]
    );
    let chosen = detect(&top(&files), Choice::Only(Language::Node))
        .unwrap()
        .unwrap();
    assert_eq!((chosen.language, chosen.others.len()), (Language::Node, 0));
    assert_eq!(detect(&top(&files), Choice::Off), Ok(None));
    let error = detect(&top(&files), Choice::Only(Language::Go)).unwrap_err();
    assert_eq!(error, DetectError::NotThere(Language::Go));
}

#[test]
fn every_language_has_a_word() {
    for language in Language::ALL {
        assert_eq!(Language::from_word(language.word()), Some(language));
    }
}

#[test]
fn a_script_announces_its_steps() {
    let steps = [Step::quiet("a=1"), Step::shown("npm ci")];
    let expected = "set -e\na=1\necho 'running npm ci'\nnpm ci\n";
    assert_eq!(script(&steps).as_deref(), Some(expected));
    assert_eq!(quoted("it's"), r"'it'\''s'");
}
