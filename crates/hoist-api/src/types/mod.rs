//! The JSON of the API: `snake_case`, moments as RFC 3339 in UTC, units in names.

mod app;
mod build;
mod export;
mod params;
mod process;
mod promotion;
mod prune;
mod rack;
mod release;
mod session;
mod source;

pub use app::*;
pub use build::*;
pub use export::*;
pub use params::*;
pub use process::*;
pub use promotion::*;
pub use prune::*;
pub use rack::*;
pub use release::*;
pub use session::*;
pub use source::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nothing: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// A page of a list, newest first where time matters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// The page.
    pub items: Vec<T>,
    /// What to pass as `before` for the next page; null at the end.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A list that fits on one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
