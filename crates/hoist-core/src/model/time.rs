//! Time as a number that callers hand in.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// Milliseconds on the rack's clock, which never goes back: decisions use it, displays do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// A length of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// A whole number of seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;

    fn add(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Timestamp {
    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<Millis> for Duration {
    fn from(length: Millis) -> Self {
        Self::from_millis(length.0)
    }
}

impl fmt::Display for Millis {
    /// Writes seconds when they are whole (`30 s`), else milliseconds (`250 ms`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms >= 1_000 && ms.is_multiple_of(1_000) => write!(f, "{} s", ms / 1_000),
            ms if ms >= 1_000 => write!(f, "{:.1} s", ms as f64 / 1_000.0),
            ms => write!(f, "{ms} ms"),
        }
    }
}
