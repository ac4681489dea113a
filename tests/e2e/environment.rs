//! Variables as whoever sets them sees them: given in every way, read back, replaced, edited, masked; and what is refused
//! changes nothing.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::rack::Ran;
use crate::harness::terminal::Terminal;
use crate::harness::{Rack, Source};
use crate::{Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    ("given_in_every_way", given_in_every_way),
    ("what_is_shown_reads_back", what_is_shown_reads_back),
    ("replaced_at_once", replaced_at_once),
    (
        "what_is_not_understood_changes_nothing",
        what_is_not_understood_changes_nothing,
    ),
    ("names_that_are_not_set", names_that_are_not_set),
    ("masked", masked),
    ("edited", edited),
    (
        "what_an_editor_did_not_finish_changes_nothing",
        what_an_editor_did_not_finish_changes_nothing,
    ),
    ("edited_on_a_terminal", edited_on_a_terminal),
    ("interrupted_while_editing", interrupted_while_editing),
    ("the_list_of_the_guide", the_list_of_the_guide),
];

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);
const AGAIN: &str = "edit it again (Enter), or leave it (l)? ";

/// A rack with an app that was never built.
fn shop() -> Result<Rack> {
    let rack = rack()?;
    rack.ok(&["apps", "create", "shop"])?;
    Ok(rack)
}

/// Runs a command that reads this.
fn reading(rack: &Rack, args: &[&str], input: &[u8]) -> Result<Ran> {
    let path = rack.home().join("input");
    fs::write(&path, input)?;
    let mut command = rack.command(args);
    command.stdin(File::open(path)?);
    Ran::of(command, LIMIT)
}

/// All variables as they are.
fn variables(rack: &Rack) -> Result<Value> {
    Ok(rack.json(&["env", "-a", "shop"])?["env"].take())
}

/// What the newest release changed, and how many releases there are.
fn newest(rack: &Rack) -> Result<(String, usize)> {
    let releases = rack.items(&["releases", "-a", "shop"])?;
    let description = releases.first().map(|release| &release["description"]);
    let description = description.and_then(Value::as_str).unwrap_or_default();
    Ok((description.to_owned(), releases.len()))
}

fn given_in_every_way() -> Result<()> {
    let rack = shop()?;
    let set = rack.ok(&["env", "set", "B=1", "A=2", "-a", "shop"])?;
    set.expect(0, &["Setting B, A... OK", "Release: R"])?;
    let text = b"# from somewhere\nexport C=3 # three\r\nD='two\nlines'\nE=\"a \\\"b\\\"\\n\"\n\n";
    let set = reading(&rack, &["env", "set", "-a", "shop"], text)?;
    set.expect(0, &["Setting C, D, E... OK"])?;
    rack_file(&rack, "one.env", "A=from a file\nF=x\n")?;
    let file = ["env", "set", "A=typed", "--file", "one.env", "-a", "shop"];
    rack.ok(&file)?.expect(0, &["Setting A, F... OK"])?;
    reading(
        &rack,
        &["env", "set", "--file", "-", "-a", "shop"],
        b"G=  y  \n",
    )?
    .expect(0, &["Setting G... OK"])?;
    let expected = serde_json::json!({
        "A": "typed", "B": "1", "C": "3", "D": "two\nlines", "E": "a \"b\"\n", "F": "x", "G": "y",
    });
    ensure!(variables(&rack)? == expected, "{}", variables(&rack)?);
    ensure!(newest(&rack)? == ("env add:G".to_owned(), 4));
    let get = rack.ok(&["env", "get", "D", "-a", "shop"])?;
    ensure!(get.stdout == "two\nlines\n", "{get}");
    // Input that is there counts only when nothing is typed; with neither there is nothing to do.
    reading(&rack, &["env", "set", "H=1", "-a", "shop"], b"I=1\n")?.expect(0, &["Setting H..."])?;
    ensure!(variables(&rack)?.get("I").is_none());
    reading(&rack, &["env", "set", "-a", "shop"], b"# nothing\n")?
        .expect(1, &["there are no variables in standard input"])?;
    ensure!(newest(&rack)? == ("env add:H".to_owned(), 5));
    Ok(())
}

fn rack_file(rack: &Rack, name: &str, text: &str) -> Result<PathBuf> {
    let path = rack.home().join(name);
    fs::write(&path, text)?;
    Ok(path)
}

fn what_is_shown_reads_back() -> Result<()> {
    let rack = shop()?;
    let values = [
        ("PLAIN", "a=b;c"),
        ("EMPTY", ""),
        ("KEY", "-----BEGIN-----\nabc\n\n-----END-----\n"),
        ("QUOTED", "\"it's\"\n$HOME `x` \\n"),
        ("BLANKS", "  around \t"),
        ("HASH", "a #b"),
        ("STARS", "****"),
        ("CONTROL", "bell\u{7}, return\r\nand ümläut"),
    ];
    let pairs = values.map(|(name, value)| format!("{name}={value}"));
    let mut args = vec!["env", "set", "-a", "shop"];
    args.extend(pairs.iter().map(String::as_str));
    let release = rack.ok(&args)?.release()?.to_owned();
    for (name, value) in values {
        ensure!(variables(&rack)?[name] == value, "{name}");
    }
    let shown = rack.ok(&["env", "-a", "shop"])?.stdout;
    // The same again is no new release, and says so.
    let same = [
        reading(
            &rack,
            &["env", "set", "--replace", "-a", "shop"],
            shown.as_bytes(),
        )?,
        reading(&rack, &["env", "set", "-a", "shop"], shown.as_bytes())?,
        rack.ok(&["env", "set", "PLAIN=a=b;c", "-a", "shop"])?,
    ];
    for ran in same {
        ran.expect(0, &["... OK\nnothing changed: no new release\n"])?;
        ensure!(ran.release()? == release, "{ran}");
    }
    ensure!(newest(&rack)?.1 == 1);
    // Another app has all of it from the same text.
    rack.ok(&["apps", "create", "other"])?;
    let args = ["env", "set", "--replace", "-a", "other"];
    let made = reading(&rack, &args, shown.as_bytes())?;
    ensure!(!made.stderr.contains("nothing changed"), "{made}");
    ensure!(rack.ok(&["env", "-a", "other"])?.stdout == shown);
    Ok(())
}

fn replaced_at_once() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    let of = |name: &str| -> Result<String> {
        let answer = rack.get("shop.localhost", &format!("/env/{name}"))?;
        Ok(answer.text())
    };
    rack.ok(&["env", "set", "ZED=1", "BAR=1", "BAZ=1", "-a", "shop"])?;
    let args = ["env", "set", "--replace", "--promote", "-a", "shop"];
    let replaced = reading(&rack, &args, b"ZED=2\nFOO=new\nBAR=2\nALSO=1\n")?;
    replaced.expect(0, &["Setting ALSO, BAR, FOO, ZED... OK", "Promoting R"])?;
    let expected = "env add:ALSO add:FOO change:BAR change:ZED remove:BAZ";
    ensure!(newest(&rack)?.0 == expected, "{:?}", newest(&rack)?);
    ensure!((of("FOO")?, of("BAR")?, of("BAZ")?) == ("new".into(), "2".into(), String::new()));
    let active = rack.json(&["apps", "info", "shop"])?["release"].take();
    ensure!(active == replaced.release()?, "{active}");
    // Nothing replaces everything only by mistake.
    for nothing in [&b""[..], b"\n# nothing\n"] {
        let ran = reading(&rack, &args, nothing)?;
        ran.expect(1, &["nothing changed", "`hoist env unset KEY...`"])?;
    }
    let before = newest(&rack)?;
    // What is promoted is what is there, whether this set it or not.
    let same = ["env", "set", "FOO=new", "--promote", "-a", "shop"];
    rack.ok(&same)?
        .expect(0, &["nothing changed: no new release"])?;
    rack.ok(&["env", "unset", "FOO", "ALSO", "--promote", "-a", "shop"])?;
    ensure!(newest(&rack)? == ("env remove:ALSO remove:FOO".to_owned(), before.1 + 1));
    ensure!(of("FOO")?.is_empty() && of("BAR")? == "2");
    // Its id alone for scripts.
    let id = rack.ok(&["env", "set", "FOO=1", "--id", "-a", "shop"])?;
    ensure!(id.stdout.len() == 12 && id.stdout.starts_with('R'), "{id}");
    Ok(())
}

fn what_is_not_understood_changes_nothing() -> Result<()> {
    let rack = shop()?;
    rack.ok(&["env", "set", "A=1", "-a", "shop"])?;
    let cases: [(&[u8], &str); 10] = [
        (
            b"B=1\n\nsecret words\n",
            "3: this is neither NAME=value nor a comment",
        ),
        (
            b"B=1\n2C=x\n",
            "2: what stands before `=` is not a variable name",
        ),
        (
            b"B='one\ntwo\n",
            "1: the value of `B` begins with ' and does not end",
        ),
        (b"B=\"x\" y\n", "1: something follows the closing \""),
        (
            b"B=\"\\x\"\n",
            "1: a backslash in the value of `B` is no escape",
        ),
        (b"B='a\nb'\nB=2\n", "3: `B` is set in line 1 already"),
        (
            b"B=****\n",
            "1: `****` stands for a value of `B` that was not shown",
        ),
        (b"B=1\nC=\xff\n", "2: this is not UTF-8"),
        (b"B=1\nC=a\0b\n", "2: "),
        (b"PORT\n", "1: this is neither NAME=value nor a comment"),
    ];
    for (text, problem) in cases {
        fs::write(rack.home().join("bad.env"), text)?;
        for replace in [&[][..], &["--replace"]] {
            let file = ["env", "set", "--file", "bad.env", "-a", "shop"];
            let ran = rack.hoist(&[&file, replace].concat())?;
            let place = format!("bad.env:{problem}");
            ran.expect(1, &[&place, "nothing changed", "hint: "])?;
            let ran = reading(
                &rack,
                &[&["env", "set", "-a", "shop"], replace].concat(),
                text,
            )?;
            ran.expect(1, &[&format!("standard input:{problem}")])?;
            ensure!(!ran.stderr.contains("secret words"), "{ran}");
        }
    }
    rack.hoist(&["env", "set", "--file", "nowhere.env", "-a", "shop"])?
        .expect(1, &["cannot read nowhere.env"])?;
    rack.hoist(&["env", "set", "B=1", "B=2", "-a", "shop"])?
        .expect(2, &["B is given twice"])?;
    ensure!(newest(&rack)? == ("env add:A".to_owned(), 1));
    ensure!(variables(&rack)? == serde_json::json!({"A": "1"}));
    Ok(())
}

fn names_that_are_not_set() -> Result<()> {
    let rack = shop()?;
    rack.ok(&["env", "set", "DATABASE_URL=x", "B=1", "-a", "shop"])?;
    let near = [
        &["env", "get", "DATABASE_ULR", "-a", "shop"][..],
        &["env", "unset", "B", "DATABASE_ULR", "-a", "shop"],
    ];
    for args in near {
        rack.hoist(args)?.expect(
            1,
            &[
                "`DATABASE_ULR` is not set in app `shop`",
                "did you mean `DATABASE_URL`?",
            ],
        )?;
    }
    rack.hoist(&["env", "get", "XYZZY", "-a", "shop"])?
        .expect(1, &["`hoist env -a shop` lists what is set"])?;
    ensure!(newest(&rack)?.1 == 1, "a refusal made a release");
    ensure!(variables(&rack)?["B"] == "1");
    Ok(())
}

/// What a terminal shows of a command that succeeds.
fn on_terminal(rack: &Rack, args: &[&str]) -> Result<String> {
    let mut terminal = Terminal::run(&rack.command(args), 120, 40)?;
    let code = terminal.ended()?;
    let all = String::from_utf8_lossy(&terminal.all()).into_owned();
    ensure!(code == 0, "exit {code}: {all:?}");
    Ok(all)
}

fn masked() -> Result<()> {
    let rack = shop()?;
    let set = [
        "env",
        "set",
        "TOKEN=xylophone",
        "COLOUR=red",
        "-a",
        "shop",
        "--id",
    ];
    let release = rack.ok(&set)?.stdout.trim().to_owned();
    rack.ok(&["env", "mask", "set", "TOKEN", "LATER", "-a", "shop"])?
        .expect(0, &["Masking TOKEN, LATER... OK"])?;
    let names = rack.ok(&["env", "mask", "-a", "shop"])?;
    ensure!(names.stdout == "LATER\nTOKEN\n", "{names}");
    let shown = on_terminal(&rack, &["env", "-a", "shop"])?;
    ensure!(
        shown.contains("TOKEN=****") && shown.contains("COLOUR=red"),
        "{shown:?}"
    );
    ensure!(!shown.contains("xylophone"), "{shown:?}");
    for args in [
        &["env", "get", "TOKEN", "-a", "shop"][..],
        &["releases", "info", &release, "-a", "shop"],
    ] {
        let shown = on_terminal(&rack, args)?;
        ensure!(!shown.contains("xylophone"), "{args:?}: {shown:?}");
        let shown = on_terminal(&rack, &[args, &["--reveal"]].concat())?;
        ensure!(shown.contains("xylophone"), "{args:?}: {shown:?}");
    }
    let shown = on_terminal(&rack, &["env", "-a", "shop", "--reveal"])?;
    ensure!(shown.contains("TOKEN=xylophone"), "{shown:?}");
    // A pipe and JSON are for programs: `--masked` alone takes values from them.
    let piped = rack.ok(&["env", "-a", "shop"])?;
    ensure!(
        piped.stdout == "COLOUR=red\nTOKEN=xylophone\n",
        "not for a terminal: {piped}"
    );
    let all = rack.json(&["env", "-a", "shop"])?;
    ensure!(
        all["env"]["TOKEN"] == "xylophone" && all["masked"][0] == "TOKEN",
        "{all}"
    );
    let piped = rack.ok(&["env", "-a", "shop", "--masked"])?;
    ensure!(piped.stdout == "COLOUR=****\nTOKEN=****\n", "{piped}");
    // It holds for later values of the name, makes no release, and ends when that is asked for.
    rack.ok(&["env", "set", "LATER=xylophone", "-a", "shop"])?;
    let shown = on_terminal(&rack, &["env", "-a", "shop"])?;
    ensure!(shown.contains("LATER=****"), "{shown:?}");
    ensure!(newest(&rack)?.1 == 2);
    rack.ok(&["env", "mask", "unset", "TOKEN", "-a", "shop"])?
        .expect(0, &["Unmasking TOKEN... OK"])?;
    let shown = on_terminal(&rack, &["env", "-a", "shop"])?;
    ensure!(shown.contains("TOKEN=xylophone"), "{shown:?}");
    rack.hoist(&["env", "mask", "unset", "TOKEN", "-a", "shop"])?
        .expect(1, &["`TOKEN` is not masked in app `shop`", "hint: "])?;
    Ok(())
}

/// `hoist env edit` of the app, with an editor that does this to `$1`.
fn editing(rack: &Rack, script: &str, more: &[&str]) -> Result<Command> {
    let editor = rack_file(rack, "editor.sh", script)?;
    let drafts = rack.home().join("drafts");
    fs::create_dir_all(&drafts)?;
    let mut command = rack.command(&[&["env", "edit", "-a", "shop"], more].concat());
    command
        .env("EDITOR", format!("sh {}", editor.display()))
        .env("TMPDIR", drafts)
        .env("HOIST", program());
    Ok(command)
}

fn edits(rack: &Rack, script: &str) -> Result<Ran> {
    Ran::of(editing(rack, script, &[])?, LIMIT)
}

/// Texts that an edit left.
fn drafts(rack: &Rack) -> Result<Vec<PathBuf>> {
    let found = fs::read_dir(rack.home().join("drafts"))?;
    let paths = found.map(|entry| Ok(entry?.path().join("shop.env")));
    paths.collect()
}

fn no_draft(rack: &Rack) -> Result<()> {
    let left = drafts(rack)?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

/// The one text that an edit left; it is taken away.
fn draft(rack: &Rack) -> Result<String> {
    let mut left = drafts(rack)?;
    ensure!(left.len() == 1, "left: {left:?}");
    let path = left.remove(0);
    let text = fs::read_to_string(&path)?;
    fs::remove_dir_all(path.parent().context("no directory")?)?;
    Ok(text)
}

fn edited() -> Result<()> {
    let rack = shop()?;
    // The first variables, too.
    let ran = edits(&rack, "echo A=1 >> \"$1\"; echo \"B='x\ny'\" >> \"$1\"\n")?;
    ran.expect(0, &["Setting variables... OK", "Release: R"])?;
    ensure!(newest(&rack)?.0 == "env add:A add:B");
    // What is masked is in the file, which is nobody else's; all changes are one release.
    rack.ok(&["env", "mask", "set", "A", "-a", "shop"])?;
    let script = "stat -c %a \"$1\" > mode; cp \"$1\" seen; sed -i -e 's/^A=1$/A=2/' -e \"/^B='/,/'$/d\" \"$1\"; echo C=3 >> \"$1\"\n";
    edits(&rack, script)?.expect(0, &["Release: R"])?;
    ensure!(newest(&rack)? == ("env add:C change:A remove:B".to_owned(), 2));
    ensure!(variables(&rack)? == serde_json::json!({"A": "2", "C": "3"}));
    ensure!(fs::read_to_string(rack.home().join("mode"))? == "600\n");
    let seen = fs::read_to_string(rack.home().join("seen"))?;
    ensure!(
        seen.starts_with("# Variables of shop") && seen.ends_with("\nA=1\nB='x\ny'\n"),
        "{seen}"
    );
    // Who only looks, or writes the same in other words, makes no release.
    let same = [
        "true\n",
        "echo '# mine' >> \"$1\"\n",
        "printf 'C=\"3\"\\nexport A=2' > \"$1\"\n",
    ];
    for script in same {
        let ran = edits(&rack, script)?;
        ran.expect(0, &["nothing changed: no new release"])?;
        ensure!(ran.stdout.is_empty(), "{ran}");
    }
    // Somebody who sets the same meanwhile harms nobody; other variables are not overwritten.
    let both = "\"$HOIST\" env set A=2 -a shop > said 2>&1; echo D=4 >> \"$1\"\n";
    edits(&rack, both)?.expect(0, &["Release: R"])?;
    no_draft(&rack)?;
    let other =
        "\"$HOIST\" env set C=other E=5 -a shop > said 2>&1; sed -i s/^C=.*/C=mine/ \"$1\"\n";
    let ran = edits(&rack, other)?;
    ran.expect(
        1,
        &[
            "the variables of app `shop` changed meanwhile (env add:E change:C, in R",
            "your text is kept in ",
            "hint: ",
        ],
    )?;
    ensure!(draft(&rack)?.contains("\nC=mine\n"));
    ensure!(variables(&rack)? == serde_json::json!({"A": "2", "C": "other", "D": "4", "E": "5"}));
    Ok(())
}

fn what_an_editor_did_not_finish_changes_nothing() -> Result<()> {
    let rack = shop()?;
    rack.ok(&["env", "set", "A=1", "B=one two", "-a", "shop"])?;
    let cases = [
        (
            "echo C=3 >> \"$1\"; exit 1\n",
            "the editor ended with exit 1",
            true,
        ),
        ("exit 3\n", "the editor ended with exit 3", false),
        ("kill -KILL $$\n", "the editor was ended by signal 9", false),
        (
            "echo nonsense >> \"$1\"\n",
            "shop.env:5: this is neither NAME=value nor a comment",
            true,
        ),
        (
            "printf \"A=1\\nB='one\" > \"$1\"\n",
            "shop.env:2: the value of `B` begins with ' and does not end",
            true,
        ),
        (": > \"$1\"\n", "no variable is left in the file", true),
    ];
    for (script, problem, kept) in cases {
        let ran = edits(&rack, script)?;
        ran.expect(1, &[problem, "nothing changed", "hint: "])
            .with_context(|| script.to_owned())?;
        match kept {
            true => {
                ran.expect(1, &["your text is kept in "])?;
                draft(&rack)?;
            }
            false => no_draft(&rack)?,
        }
    }
    let mut command = editing(&rack, "", &[])?;
    command.env("EDITOR", "no-such-editor");
    Ran::of(command, LIMIT)?.expect(1, &["the editor could not be run", "VISUAL or EDITOR"])?;
    no_draft(&rack)?;
    ensure!(newest(&rack)?.1 == 1, "a refused edit made a release");
    // The hint is right: what was kept can be mended and set.
    edits(&rack, "echo nonsense >> \"$1\"; echo C=3 >> \"$1\"\n")?.expect(1, &[])?;
    let path = drafts(&rack)?.pop().context("nothing was kept")?;
    let text = fs::read_to_string(&path)?;
    fs::write(&path, text.replace("nonsense\n", ""))?;
    let path = path.to_str().context("no text")?;
    rack.ok(&["env", "set", "--replace", "--file", path, "-a", "shop"])?;
    ensure!(newest(&rack)? == ("env add:C".to_owned(), 2));
    Ok(())
}

/// What an editor does that writes nonsense first and mends it the second time.
const MENDS: &str = "if grep -q nonsense \"$1\"; then sed -i /nonsense/d \"$1\"; echo B=2 >> \"$1\"\nelse echo nonsense >> \"$1\"; fi\n";

fn edited_on_a_terminal() -> Result<()> {
    let rack = shop()?;
    rack.ok(&["env", "set", "A=1", "-a", "shop"])?;
    let mut terminal = Terminal::run(&editing(&rack, MENDS, &[])?, 100, 40)?;
    terminal.shows("shop.env:4: this is neither NAME=value nor a comment")?;
    terminal.shows(AGAIN)?;
    terminal.types("\r")?;
    terminal.shows("Setting variables... ")?;
    terminal.shows("Release: R")?;
    ensure!(terminal.ended()? == 0);
    no_draft(&rack)?;
    ensure!(newest(&rack)? == ("env add:B".to_owned(), 2));
    // Who leaves it finds the text.
    let mut terminal = Terminal::run(&editing(&rack, MENDS, &[])?, 100, 40)?;
    terminal.shows(AGAIN)?;
    terminal.types("l\r")?;
    terminal.shows("your text is kept in ")?;
    ensure!(terminal.ended()? == 1);
    ensure!(draft(&rack)?.ends_with("nonsense\n"));
    ensure!(newest(&rack)?.1 == 2);
    Ok(())
}

fn interrupted_while_editing() -> Result<()> {
    let rack = shop()?;
    rack.ok(&["env", "set", "A=1", "-a", "shop"])?;
    // In the editor, and at the question. The editor waits by itself: a shell's child may miss what comes before it runs.
    let sits = "echo A=9 >> \"$1\"; echo editing; read line\n";
    for (script, shown) in [(sits, "editing"), (MENDS, AGAIN)] {
        let mut terminal = Terminal::run(&editing(&rack, script, &[])?, 100, 40)?;
        terminal.shows(shown)?;
        ensure!(drafts(&rack)?.len() == 1, "no file is edited");
        terminal.types("\x03")?;
        ensure!(terminal.ended()? == 130, "at {shown:?}");
        no_draft(&rack)?;
    }
    ensure!(newest(&rack)?.1 == 1);
    ensure!(variables(&rack)? == serde_json::json!({"A": "1"}));
    Ok(())
}

/// `hoist releases` as the guide of where people come from shows it, in the app's directory.
fn the_list_of_the_guide() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("myapp", "first")?;
    let here = |args: &[&str]| -> Result<Ran> {
        let mut command = rack.command(args);
        command.current_dir(source.dir());
        let ran = Ran::of(command, LIMIT)?;
        ensure!(ran.code == 0, "{args:?}\n{ran}");
        Ok(ran)
    };
    let git = |args: &[&str]| -> Result<String> {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
            .args(args)
            .current_dir(source.dir());
        let ran = Ran::of(git, LIMIT)?;
        ensure!(ran.code == 0, "{ran}");
        Ok(ran.stdout.trim().to_owned())
    };
    git(&["init", "-q"])?;
    git(&["add", "."])?;
    git(&["commit", "-q", "-m", "begun"])?;
    here(&["build", "-d", "my own words"])?;
    source.manifest(&crate::harness::source::web("second", ""))?;
    here(&["build"])?;
    here(&["env", "set", "BAR=1", "BAZ=1", "--promote"])?;
    rack_file(&rack, "new.env", "FOO=1\nBAR=2\n")?;
    let file = rack.home().join("new.env");
    let file = file.to_str().context("no text")?;
    here(&["env", "set", "--replace", "--file", file])?;
    source.manifest(&crate::harness::source::web("third", ""))?;
    git(&["commit", "-q", "-a", "-m", "this is my commit message"])?;
    let sha = git(&["rev-parse", "HEAD"])?;
    let built = here(&["build"])?;
    built.expect(0, &["env add:FOO change:BAR remove:BAZ"])?;
    here(&["releases", "promote", built.release()?])?;

    let list = here(&["releases"])?;
    let lines: Vec<_> = list.stdout.lines().collect();
    let head: Vec<_> = lines[0].split_whitespace().collect();
    ensure!(head == ["ID", "STATUS", "BUILD", "CREATED", "DESCRIPTION"]);
    let at = lines[0].find("DESCRIPTION").context("no column")?;
    let described: Vec<_> = lines[1..]
        .iter()
        .map(|line| line.get(at..).unwrap_or_default().trim_end())
        .collect();
    let commit = format!("build {} this is my commit message", &sha[..10]);
    let expected = [
        commit.as_str(),
        "env add:FOO change:BAR remove:BAZ",
        "env add:BAR add:BAZ",
        "",
        "my own words",
    ];
    ensure!(described == expected, "{list}");
    let id = built.release()?;
    ensure!(lines[1].starts_with(&format!("{id}  active")), "{list}");
    Ok(())
}
