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

#[cfg(test)]
mod tests {
    use hoist_core::plan;

    use super::core::{Postdeploy, PostdeployStage, Timestamp};
    use super::*;
    use crate::store::rows::app::{read_app, write_app};

    #[test]
    fn scripts_come_back_as_they_were_and_older_rows_have_none() {
        let version = |number| Version { epoch: 1, number };
        let mut app = plan::create("shop".parse().unwrap(), version(1));
        let before = app.clone();
        let stages = [
            PostdeployStage::Stopping,
            PostdeployStage::Running,
            PostdeployStage::Due,
        ];
        for (number, stage) in (10..).zip(stages) {
            let script = Postdeploy {
                release: "RAAAAAAAAAA".parse().unwrap(),
                stage,
                since: version(number + 1),
                entered: Timestamp(number),
            };
            app.postdeploys.insert(version(number), script);
        }
        let text = write_app(&app).unwrap();
        assert_eq!(read_app(&text).unwrap(), app);
        let mut row: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(row.as_object_mut().unwrap().remove("postdeploys").is_some());
        assert_eq!(read_app(&row.to_string()).unwrap(), before);
    }
}
