//! Postdeploy scripts of an app's state as JSON.

use hoist_core::id::Version;
use hoist_core::model as core;
use serde::{Deserialize, Serialize};

use super::{StoreError, parse};

/// A script that is due, runs or stops.
#[derive(Serialize, Deserialize)]
pub(super) struct Postdeploy {
    promotion: String,
    release: String,
    stage: Stage,
    since: String,
    entered_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Due,
    Running,
    Stopping,
}

impl Postdeploy {
    pub(super) fn from_core((promotion, script): (&Version, &core::Postdeploy)) -> Self {
        Self {
            promotion: promotion.to_string(),
            release: script.release.to_string(),
            stage: match script.stage {
                core::PostdeployStage::Due => Stage::Due,
                core::PostdeployStage::Running => Stage::Running,
                core::PostdeployStage::Stopping => Stage::Stopping,
            },
            since: script.since.to_string(),
            entered_ms: script.entered.0,
        }
    }

    pub(super) fn into_core(self) -> Result<(Version, core::Postdeploy), StoreError> {
        let script = core::Postdeploy {
            release: parse(&self.release)?,
            stage: match self.stage {
                Stage::Due => core::PostdeployStage::Due,
                Stage::Running => core::PostdeployStage::Running,
                Stage::Stopping => core::PostdeployStage::Stopping,
            },
            since: parse(&self.since)?,
            entered: core::Timestamp(self.entered_ms),
        };
        Ok((parse(&self.promotion)?, script))
    }
}
