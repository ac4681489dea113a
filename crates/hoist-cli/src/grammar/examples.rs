//! Examples of each command: the grammar's tests hold them against it.

/// Examples of each command: what is typed, and what for.
pub(super) const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "up",
        &[
            ("hoist up", "the present directory"),
            (
                "hoist up examples/hello --router 127.0.0.1:8000",
                "another directory, on another port",
            ),
        ],
    ),
    (
        "deploy",
        &[
            (
                "hoist deploy",
                "the present directory, to the app of its name",
            ),
            (
                "hoist deploy src -a shop -d 'new prices'",
                "another one, to another app",
            ),
        ],
    ),
    (
        "build",
        &[
            ("hoist build", "a release, to promote later"),
            ("hoist build src -a shop", "of another directory"),
        ],
    ),
    (
        "ps",
        &[
            ("hoist ps", "processes with CPU and memory"),
            ("hoist ps -a hoist", "the rack's own"),
        ],
    ),
    ("ps info", &[("hoist ps info 68831d3dce63", "")]),
    (
        "ps stop",
        &[("hoist ps stop 6883", "another starts in its place")],
    ),
    (
        "run",
        &[
            (
                "hoist run web 'psql $POSTGRES_URL'",
                "by a shell within the app",
            ),
            (
                "hoist run --detach worker bin/import --all",
                "exact words; it goes on",
            ),
        ],
    ),
    (
        "exec",
        &[
            ("hoist exec 6883 sh", "a shell in a running process"),
            ("hoist exec web ps ax", "what runs there"),
        ],
    ),
    (
        "logs",
        &[
            ("hoist logs", "what was said last, and what comes"),
            (
                "hoist logs -s web --since 10m --no-follow",
                "the last ten minutes of one service",
            ),
        ],
    ),
    (
        "apps",
        &[
            ("hoist apps", "all of them"),
            ("hoist apps info shop", "one of them"),
        ],
    ),
    (
        "apps create",
        &[("hoist apps create shop", "`hoist deploy` does so by itself")],
    ),
    (
        "apps info",
        &[
            ("hoist apps info", "of the directory's app"),
            ("hoist apps info shop --json", "for a script"),
        ],
    ),
    (
        "apps cancel",
        &[("hoist apps cancel shop", "the same as `hoist cancel`")],
    ),
    (
        "apps params",
        &[("hoist apps params shop", "with the defaults beside")],
    ),
    (
        "apps params set",
        &[(
            "hoist apps params set timeout=5m keep=100 -a shop",
            "`timeout=default` gives it back",
        )],
    ),
    (
        "apps delete",
        &[(
            "hoist apps delete shop --confirm shop",
            "volumes stay unless --volumes",
        )],
    ),
    (
        "builds",
        &[
            ("hoist builds", "the newest"),
            ("hoist builds logs BABCDEFGHIJ", "what one said"),
        ],
    ),
    (
        "apps export",
        &[
            (
                "hoist apps export shop -f shop.export",
                "asks for a passphrase for its variables",
            ),
            (
                "hoist apps export shop -f shop.export --without-env --active-only",
                "what serves, and nothing else",
            ),
        ],
    ),
    (
        "apps import",
        &[
            (
                "hoist apps import -f shop.export",
                "under its own name; nothing of it runs yet",
            ),
            (
                "hoist apps import market -f shop.export --promote",
                "under another name, and live",
            ),
        ],
    ),
    ("builds info", &[("hoist builds info BABCDEFGHIJ", "")]),
    (
        "builds export",
        &[("hoist builds export BABCDEFGHIJ -f shop.build", "")],
    ),
    (
        "builds import",
        &[("hoist builds import -a market -f shop.build", "")],
    ),
    ("builds logs", &[("hoist builds logs BABCDEFGHIJ", "")]),
    (
        "builds cancel",
        &[
            ("hoist builds cancel", "what is being built of the app"),
            ("hoist builds cancel BABCDEFGHIJ -a shop", "one of them"),
        ],
    ),
    (
        "releases",
        &[
            ("hoist releases", "the newest; STATUS says which is active"),
            ("hoist releases info RABCDEFGHIJ", "one, with its variables"),
        ],
    ),
    (
        "releases info",
        &[("hoist releases info RABCDEFGHIJ --reveal", "with values")],
    ),
    (
        "releases manifest",
        &[("hoist releases manifest RABCDEFGHIJ", "")],
    ),
    (
        "releases diff",
        &[
            (
                "hoist releases diff RABCDEFGHIJ",
                "what promoting it would change",
            ),
            (
                "hoist releases diff RABCDEFGHIJ RBCDEFGHIJK",
                "against another one",
            ),
        ],
    ),
    (
        "releases create-from",
        &[
            (
                "hoist releases create-from --build-from RABCDEFGHIJ --use-active-release-env",
                "",
            ),
            (
                "hoist releases create-from --use-active-release-build --env-from RABCDEFGHIJ",
                "",
            ),
        ],
    ),
    (
        "releases promote",
        &[("hoist releases promote RABCDEFGHIJ", "")],
    ),
    (
        "releases rollback",
        &[
            ("hoist releases rollback", "to what served before"),
            (
                "hoist releases rollback RABCDEFGHIJ",
                "to this one, with its variables",
            ),
        ],
    ),
    (
        "releases prune",
        &[
            ("hoist releases prune --dry-run", "what would go"),
            ("hoist releases prune --all", "of every app"),
        ],
    ),
    (
        "promote",
        &[
            ("hoist promote", "what is staged"),
            (
                "hoist promote RABCDEFGHIJ --if-busy supersede",
                "this one, instead of what is on its way",
            ),
        ],
    ),
    (
        "rollback",
        &[
            ("hoist rollback", "to what served before"),
            (
                "hoist rollback RABCDEFGHIJ",
                "to this one, with its variables",
            ),
        ],
    ),
    (
        "promotions",
        &[
            ("hoist promotions", "attempts, and how they ended"),
            ("hoist promotions info 1.42", "one, and what it waits for"),
        ],
    ),
    ("promotions info", &[("hoist promotions info 1.42", "")]),
    (
        "cancel",
        &[("hoist cancel -a shop", "what served goes on serving")],
    ),
    (
        "env",
        &[
            ("hoist env", "all variables"),
            (
                "hoist env set LOG_LEVEL=debug --promote",
                "set one and run with it",
            ),
        ],
    ),
    ("env get", &[("hoist env get DATABASE_URL", "")]),
    (
        "env set",
        &[
            ("hoist env set A=1 B=2", "one new release, not live yet"),
            ("hoist env set A=1 --promote", "and live"),
            ("hoist env set --file .env", "all of a file"),
            (
                "hoist env set --replace --file .env",
                "and remove what is not in it",
            ),
        ],
    ),
    ("env unset", &[("hoist env unset A B --promote", "")]),
    (
        "env edit",
        &[("hoist env edit --promote", "in $VISUAL or $EDITOR")],
    ),
    ("env mask", &[("hoist env mask", "names that are masked")]),
    (
        "env mask set",
        &[("hoist env mask set DATABASE_URL API_KEY", "")],
    ),
    ("env mask unset", &[("hoist env mask unset API_KEY", "")]),
    (
        "scale",
        &[
            ("hoist scale", "the sizes"),
            ("hoist scale web=3 worker=1", "set them"),
        ],
    ),
    (
        "restart",
        &[
            ("hoist restart", "all services, without a lost request"),
            ("hoist restart web", "one of them"),
        ],
    ),
    (
        "stop",
        &[(
            "hoist stop -a shop",
            "it stays stopped, also after a reboot",
        )],
    ),
    ("start", &[("hoist start -a shop", "")]),
    ("events", &[("hoist events -l 50", "")]),
    (
        "open",
        &[
            ("hoist open", "in a browser"),
            (
                "hoist open admin --print",
                "only the address, of another service",
            ),
        ],
    ),
    (
        "rack",
        &[
            ("hoist rack", "what it is and where it listens"),
            ("hoist rack start", "one on this machine"),
        ],
    ),
    (
        "rack start",
        &[(
            "hoist rack start --domain apps.example.com --router 0.0.0.0:80",
            "",
        )],
    ),
    (
        "rack stop",
        &[
            ("hoist rack stop", "apps go on serving"),
            ("hoist rack stop --apps", "everything ends"),
        ],
    ),
    (
        "rack backup",
        &[("hoist rack backup rack.backup", "apps serve on meanwhile")],
    ),
    (
        "rack restore",
        &[("hoist rack restore rack.backup", "on an empty machine")],
    ),
    (
        "doctor",
        &[(
            "hoist doctor",
            "what waits for what, and what this machine lacks",
        )],
    ),
    ("version", &[("hoist version --json", "")]),
    (
        "manifest",
        &[
            ("hoist manifest validate", "before a deploy"),
            ("hoist manifest show", "with every default filled in"),
        ],
    ),
    (
        "manifest validate",
        &[
            ("hoist manifest validate", "of the present directory"),
            (
                "hoist manifest validate deploy/hoist.yml --json",
                "for an editor",
            ),
        ],
    ),
    (
        "manifest show",
        &[
            ("hoist manifest show", "of the present directory"),
            ("hoist manifest show --release RABCDEFGHIJ", "of a release"),
        ],
    ),
    (
        "completions",
        &[
            (
                "hoist completions bash > ~/.local/share/bash-completion/completions/hoist",
                "",
            ),
            (
                "hoist completions zsh > ~/.zfunc/_hoist",
                "with ~/.zfunc in $fpath",
            ),
            (
                "hoist completions fish > ~/.config/fish/completions/hoist.fish",
                "",
            ),
        ],
    ),
    (
        "man",
        &[
            (
                "hoist man ~/.local/share/man/man1",
                "`man hoist` finds them there",
            ),
            ("hoist man > hoist.1", "the first page alone"),
        ],
    ),
    (
        "help",
        &[("hoist help env set", "the same as `hoist env set --help`")],
    ),
];
