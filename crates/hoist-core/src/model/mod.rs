//! The domain as plain values. Nothing here serializes: rows, wire types and manifests have their own types.

mod app;
mod observation;
mod promotion;
mod release;
mod route;
mod time;

pub use app::*;
pub use observation::*;
pub use promotion::*;
pub use release::*;
pub use route::*;
pub use time::*;
