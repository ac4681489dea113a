//! Ruby: gems in the slug, by Bundler, whose settings travel in `.bundle/config`.

use super::{Package, Plan, Runtime, Step, Tool, Top};

pub(super) fn marker(top: &Top) -> Option<&'static str> {
    top.has("Gemfile").then_some("Gemfile")
}

pub(super) fn plan(top: &Top) -> Plan {
    let mut steps = vec![Step::quiet(
        "bundle config set --local path vendor/bundle\nbundle config set --local without development:test",
    )];
    let mut warnings = Vec::new();
    if top.has("Gemfile.lock") {
        steps.push(Step::quiet("bundle config set --local deployment true"));
    } else {
        warnings.push(
            "no Gemfile.lock beside Gemfile: two builds may get different versions (`bundle lock` writes it)"
                .to_owned(),
        );
    }
    steps.push(Step::shown("bundle install"));
    let env = [
        ("RACK_ENV", "production"),
        ("RAILS_ENV", "production"),
        ("RAILS_LOG_TO_STDOUT", "enabled"),
        ("RAILS_SERVE_STATIC_FILES", "enabled"),
        ("LANG", "C.UTF-8"),
    ];
    Plan {
        tools: vec![
            Tool::Program("ruby", Package::Debian("ruby ruby-dev build-essential")),
            Tool::Program("bundle", Package::Debian("bundler")),
        ],
        steps,
        runtime: Runtime::new(&["bin"], &env),
        warnings,
        ..Plan::default()
    }
}
