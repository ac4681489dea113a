//! What a process does, in a few words: the sim engine acts it out, and the conformance suite's test app does it for real.
//!
//! Steps are separated by `;`. A process whose last step is done exits 0, unless it serves.

use std::time::Duration;

/// One thing that a process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `say TEXT`: writes a line to its output.
    Say(String),
    /// `cry TEXT`: writes a line to its error output.
    Cry(String),
    /// `print NAME`: says the value of a variable, with line ends as `\n`.
    Print(String),
    /// `wait MS`: sleeps.
    Wait(Duration),
    /// `serve [STATUS]`: from now on answers every request on `$PORT` with this status (200).
    Serve(u16),
    /// `serve-elsewhere`: from now on listens on some port that is not `$PORT`.
    ServeElsewhere,
    /// `stubborn`: from now on ignores the signal to stop.
    Stubborn,
    /// `idle`: runs until it is stopped.
    Idle,
    /// `exit CODE`: ends.
    Exit(i32),
    /// `crash-once FILE CODE`: ends with the code, unless the file is there; makes it. Real processes only.
    CrashOnce(String, i32),
    /// `eat`: takes memory without end. Real processes only.
    Eat,
    /// `count`: says how many processes it can see. Real processes only.
    Count,
    /// `write FILE TEXT`: says `written`, or why not. Real processes only.
    Write(String, String),
    /// `read FILE`: says what is in it, or why not. Real processes only.
    Read(String),
    /// `fork`: starts another one of its kind that idles. Real processes only.
    Fork,
    /// `flood LINES`: says so many numbered lines.
    Flood(u32),
    /// `work MILLIS`: keeps a processor busy until it has used so much of its time. Real processes only.
    Work(Duration),
    /// `echo`: copies its input to its output, until the input ends.
    Echo,
    /// `line`: reads a line of its input and says `heard LINE`.
    Line,
    /// `tty`: says `terminal COLUMNSxROWS` of its terminal, or `no terminal`.
    Tty,
    /// `resized`: waits until the size of its terminal changes, and says it.
    Resized,
    /// `die SIGNAL`: ends by the signal with this number.
    Die(i32),
    /// `fork-bomb`: starts ones of its kind without end. Real processes only.
    ForkBomb,
}

/// Reads a script. The word that is not understood is the error.
pub fn parse(script: &str) -> Result<Vec<Step>, String> {
    script
        .split(';')
        .map(str::trim)
        .filter(|step| !step.is_empty())
        .map(step)
        .collect()
}

fn step(text: &str) -> Result<Step, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let unknown = || text.to_owned();
    let two = || {
        rest.split_once(' ')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .ok_or_else(unknown)
    };
    Ok(match word {
        "say" => Step::Say(rest.to_owned()),
        "cry" => Step::Cry(rest.to_owned()),
        "print" => Step::Print(rest.to_owned()),
        "wait" => Step::Wait(Duration::from_millis(rest.parse().map_err(|_| unknown())?)),
        "work" => Step::Work(Duration::from_millis(rest.parse().map_err(|_| unknown())?)),
        "serve" if rest.is_empty() => Step::Serve(200),
        "serve" => Step::Serve(rest.parse().map_err(|_| unknown())?),
        "serve-elsewhere" => Step::ServeElsewhere,
        "stubborn" => Step::Stubborn,
        "idle" => Step::Idle,
        "exit" => Step::Exit(rest.parse().map_err(|_| unknown())?),
        "crash-once" => {
            let (file, code) = two()?;
            Step::CrashOnce(file, code.parse().map_err(|_| unknown())?)
        }
        "eat" => Step::Eat,
        "count" => Step::Count,
        "write" => {
            let (file, text) = two()?;
            Step::Write(file, text)
        }
        "read" => Step::Read(rest.to_owned()),
        "fork" => Step::Fork,
        "echo" => Step::Echo,
        "line" => Step::Line,
        "tty" => Step::Tty,
        "resized" => Step::Resized,
        "die" => Step::Die(rest.parse().map_err(|_| unknown())?),
        "fork-bomb" => Step::ForkBomb,
        "flood" => Step::Flood(rest.parse().map_err(|_| unknown())?),
        _ => return Err(unknown()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_in_order_and_nonsense_is_named() {
        let steps = parse("say hello there; wait 20 ;serve 404; exit 3;").unwrap();
        let wait = Step::Wait(Duration::from_millis(20));
        assert_eq!(
            steps,
            [
                Step::Say("hello there".into()),
                wait,
                Step::Serve(404),
                Step::Exit(3)
            ]
        );
        assert_eq!(parse("say x; dance"), Err("dance".into()));
        assert_eq!(parse("exit now"), Err("exit now".into()));
    }
}
