//! Names and ids as types, so that one cannot stand where another belongs.
//!
//! Parsing is the only way in from text; ids that need randomness take the bytes as an argument.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a name or id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// An app's name breaks the rule that host names and directories impose.
    #[error(
        "`{0}` is not an app name: use a-z, 0-9, `.` and `-`, start with a letter or digit, at most 63 characters"
    )]
    AppName(String),
    /// The name belongs to the rack itself.
    #[error("`{0}` is reserved for the rack itself")]
    Reserved(String),
    /// A service's name cannot be part of a host name, even after lowering.
    #[error(
        "`{0}` is not a service name: use letters, digits, `-` and `_`, start with a letter, at most 63 characters"
    )]
    ServiceName(String),
    /// Not `R` and ten capital letters.
    #[error("`{0}` is not a release id: a release id is R and 10 capital letters")]
    ReleaseId(String),
    /// Not `B` and ten capital letters.
    #[error("`{0}` is not a build id: a build id is B and 10 capital letters")]
    BuildId(String),
    /// Not twelve hexadecimal digits.
    #[error("`{0}` is not a process id: a process id is 12 hex digits")]
    ProcessId(String),
    /// Not `epoch.number`.
    #[error("`{0}` is not a version: a version is two numbers with a dot between")]
    Version(String),
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as users see it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_id! {
    /// What a user deploys and names: `^[a-z0-9][a-z0-9.-]{0,62}$`, not one of the rack's own names.
    AppName
}
text_id! {
    /// A named process type of an app, as the manifest or Procfile spells it.
    ServiceName
}
text_id! {
    /// `R` and ten capital letters.
    ReleaseId
}
text_id! {
    /// `B` and ten capital letters.
    BuildId
}
text_id! {
    /// Twelve hex digits; names one process slot's supervisor from start to removal, over restarts.
    ProcessId
}

/// Names that belong to the rack itself, under which it shows as an app.
pub const RESERVED_APP_NAMES: [&str; 4] = ["hoist", "convox", "rack", "system"];

impl FromStr for AppName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let head = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let tail = |c: char| head(c) || c == '.' || c == '-';
        let well_formed = text.len() <= 63 && text.starts_with(head) && text.chars().all(tail);
        if !well_formed || text.contains("..") {
            return Err(InvalidId::AppName(text.to_owned()));
        }
        if RESERVED_APP_NAMES.contains(&text) {
            return Err(InvalidId::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for ServiceName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let tail = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let well_formed = text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(tail);
        well_formed
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| InvalidId::ServiceName(text.to_owned()))
    }
}

impl ServiceName {
    /// The name as one label of a host name: lower case, `_` as `-`.
    pub fn host_label(&self) -> String {
        self.0.to_ascii_lowercase().replace('_', "-")
    }
}

fn ten_capitals(text: &str, head: char) -> bool {
    text.len() == 11
        && text.starts_with(head)
        && text.chars().skip(1).all(|c| c.is_ascii_uppercase())
}

/// Draws ten capital letters from 16 random bytes, without bias that matters (26^10 is far below 2^128).
fn capitals(head: char, random: [u8; 16]) -> String {
    let mut number = u128::from_le_bytes(random);
    let mut text = String::from(head);
    for _ in 0..10 {
        text.push(char::from(b'A' + (number % 26) as u8));
        number /= 26;
    }
    text
}

impl ReleaseId {
    /// Makes an id from 16 bytes of the system's random source.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(capitals('R', random))
    }
}

impl FromStr for ReleaseId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        ten_capitals(text, 'R')
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| InvalidId::ReleaseId(text.to_owned()))
    }
}

impl BuildId {
    /// Makes an id from 16 bytes of the system's random source.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(capitals('B', random))
    }
}

impl FromStr for BuildId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        ten_capitals(text, 'B')
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| InvalidId::BuildId(text.to_owned()))
    }
}

impl ProcessId {
    /// Makes an id from 6 bytes of the system's random source.
    pub fn from_random(random: [u8; 6]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl FromStr for ProcessId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        (text.len() == 12 && text.chars().all(hex))
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| InvalidId::ProcessId(text.to_owned()))
    }
}

/// A number of the rack's one sequence: promotions, generations, looks and route tables all draw from it.
///
/// Never reused. A restored or imported store begins a new epoch, so numbers compare as (epoch, number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// Which life of the store drew the number.
    pub epoch: u32,
    /// The number within that life, from 1.
    pub number: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl FromStr for Version {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let (epoch, number) = text.split_once('.')?;
            Some(Self {
                epoch: epoch.parse().ok()?,
                number: number.parse().ok()?,
            })
        };
        parse().ok_or_else(|| InvalidId::Version(text.to_owned()))
    }
}

/// One service of one promotion attempt: what an engine holds copies of.
///
/// The name contains the attempt, so a command that arrives late can only hit the attempt it was meant for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    /// The app it belongs to.
    pub app: AppName,
    /// The service it runs.
    pub service: ServiceName,
    /// The promotion that brought it up.
    pub attempt: Version,
}

impl WorkloadId {
    /// The least of all that an app's workloads may be named: in an ordered map they begin there.
    pub fn least_of(app: &AppName) -> Self {
        Self {
            app: app.clone(),
            // Names begin with a letter, and this is the first of them.
            service: ServiceName("A".to_owned()),
            attempt: Version::default(),
        }
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.app, self.service, self.attempt)
    }
}

/// The number of a process within its workload, from 1. The highest go first.
pub type Slot = u16;

/// One place of a workload: what a route points at and a probe asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    /// The workload the slot belongs to.
    pub workload: WorkloadId,
    /// Which of its processes.
    pub slot: Slot,
}

impl SlotId {
    /// The least of all that an app's slots may be named: see [`WorkloadId::least_of`].
    pub fn least_of(app: &AppName) -> Self {
        Self {
            workload: WorkloadId::least_of(app),
            slot: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn workloads_of_an_app_begin_at_the_least_and_end_before_another_apps(
            app in "[a-c][a-c.-]{0,2}[a-c]",
            other in "[a-c][a-c.-]{0,2}[a-c]",
            service in "[A-Za-z][A-Za-z0-9_-]{0,3}",
        ) {
            let (Ok(app), Ok(other)) = (app.parse::<AppName>(), other.parse::<AppName>()) else {
                return Ok(());
            };
            let of = |app: &AppName| WorkloadId {
                app: app.clone(),
                service: service.parse().expect("a name"),
                attempt: Version::default(),
            };
            prop_assert!(WorkloadId::least_of(&app) <= of(&app));
            let before = SlotId { workload: of(&other), slot: 0 } < SlotId::least_of(&app);
            prop_assert_eq!(before, other < app);
        }
    }
}
