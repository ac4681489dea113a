//! Ctrl-C. A command ends with it, unless what it follows would go on: then the person at the terminal is asked what to do.
//!
//! The one thing to know: the question is answered with a line, as the terminal gives it. Nothing of the terminal is
//! changed, so nothing has to be restored however this ends; what happens meanwhile is printed after the answer.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::CliError;

/// What is asked.
pub(crate) const QUESTION: &str =
    "leave it running (l), cancel it and go back (c), or keep watching (Enter)?";
/// No answer is longer.
const ANSWER_BYTES: usize = 256;

/// Whether Ctrl-C ends the command, or is seen to by what it does just now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupts(Rc<Cell<bool>>);

impl Interrupts {
    /// Whether they are seen to elsewhere.
    pub(crate) fn held(&self) -> bool {
        self.0.get()
    }

    /// Somebody else sees to them as long as the value lives.
    pub(crate) fn hold(&self) -> Held {
        self.0.set(true);
        Held(self.clone())
    }

    /// Completes at the next one that ends the command.
    pub(crate) async fn next(&self) -> Result<(), CliError> {
        let mut interrupts = interrupts()?;
        loop {
            interrupts.recv().await;
            if !self.held() {
                return Ok(());
            }
        }
    }
}

/// Somebody sees to interrupts; dropped, they end the command again.
#[derive(Debug)]
pub(crate) struct Held(Interrupts);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.set(false);
    }
}

fn interrupts() -> Result<Signal, CliError> {
    signal(SignalKind::interrupt()).map_err(|source| CliError::io("wait for Ctrl-C", source))
}

/// What the person at the terminal wants done with what is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To be asked.
    Ask,
    /// To go, and let it run.
    Leave,
    /// To end it.
    Cancel,
    /// To see more of it.
    Watch,
    /// The answer is none of these.
    Unclear,
}

impl Wish {
    fn of(answer: &str) -> Self {
        match answer.trim().to_lowercase().as_str() {
            "" => Self::Watch,
            "l" | "leave" => Self::Leave,
            "c" | "cancel" => Self::Cancel,
            _ => Self::Unclear,
        }
    }
}

/// Whoever sits at the terminal while something is followed.
#[derive(Debug)]
pub(crate) struct Person {
    interrupts: Signal,
    /// The line that is read. Its reader ends with the line, or with this program.
    line: Option<oneshot::Receiver<Option<String>>>,
    asked: bool,
    _held: Held,
}

impl Person {
    /// Sees to interrupts from now on.
    pub(crate) fn attend(interrupts: &Interrupts) -> Result<Self, CliError> {
        Ok(Self {
            interrupts: self::interrupts()?,
            line: None,
            asked: false,
            _held: interrupts.hold(),
        })
    }

    /// Whether the question stands.
    pub(crate) fn asked(&self) -> bool {
        self.asked
    }

    /// The question stands from now on; it is for the caller to print.
    pub(crate) fn ask(&mut self) {
        self.asked = true;
        // What was typed since an earlier question answers nothing.
        let reading = |line: &mut oneshot::Receiver<_>| {
            line.try_recv() == Err(oneshot::error::TryRecvError::Empty)
        };
        if !self.line.as_mut().is_some_and(reading) {
            self.line = Some(read_line());
        }
    }

    /// The question no longer stands.
    pub(crate) fn drop_question(&mut self) {
        self.asked = false;
    }

    /// Completes with what is wanted next. A second Ctrl-C, and the end of input, mean to go. Cancellable.
    pub(crate) async fn wish(&mut self) -> Wish {
        let line = self.line.as_mut().filter(|_| self.asked);
        let Some(line) = line else {
            self.interrupts.recv().await;
            return Wish::Ask;
        };
        let wish = tokio::select! {
            line = line => match line.ok().flatten() {
                Some(line) => Wish::of(&line),
                None => Wish::Leave,
            },
            _ = self.interrupts.recv() => return Wish::Leave,
        };
        (self.line, self.asked) = (None, false);
        wish
    }
}

/// Completes with what the person wants next, if there is one.
pub(crate) async fn wish(person: &mut Option<Person>) -> Wish {
    match person {
        Some(person) => person.wish().await,
        None => std::future::pending().await,
    }
}

/// Reads a line of standard input on a thread of its own, which nothing but a line or the end of the input ends.
pub(crate) fn read_line() -> oneshot::Receiver<Option<String>> {
    let (send, line) = oneshot::channel();
    std::thread::spawn(move || {
        let read = || -> io::Result<Option<String>> {
            let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let mut bytes = [0; ANSWER_BYTES];
            let count = input.read(&mut bytes)?;
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            Ok((count > 0).then_some(text))
        };
        // Nobody waits for it any more when the promotion has ended meanwhile.
        let _ = send.send(read().ok().flatten());
    });
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let cases = [
            ("\n", Wish::Watch),
            ("l\n", Wish::Leave),
            (" C \n", Wish::Cancel),
            ("cancel\n", Wish::Cancel),
            ("quit\n", Wish::Unclear),
        ];
        for (answer, wish) in cases {
            assert_eq!(Wish::of(answer), wish, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn interrupts_end_the_command_again_once_nobody_attends() {
        let interrupts = Interrupts::default();
        let person = Person::attend(&interrupts).expect("attended");
        assert!(interrupts.held());
        drop(person);
        assert!(!interrupts.held());
    }
}
