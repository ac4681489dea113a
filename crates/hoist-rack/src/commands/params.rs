//! What is set for an app as a whole: how long its promotions may take, and how many of its releases are kept.

use hoist_core::id::AppName;
use hoist_core::limits::{KEEP_RELEASES_MAX, PROMOTION_LIMIT, PROMOTION_LIMIT_MAX};
use hoist_core::model::{Millis, Standing};
use hoist_core::plan::CommandError;

use super::Actor;
use crate::error::RackError;
use crate::rack::Rack;

/// What is to become of one parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Param<T> {
    /// It stays.
    #[default]
    Unchanged,
    /// It is what it is when nobody sets it.
    Default,
    /// It is this.
    To(T),
}

/// Parameters to set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParamsUpdate {
    /// From a promotion's begin to its switch.
    pub timeout: Param<Millis>,
    /// Newest releases that are kept; 0 for all.
    pub keep: Param<u32>,
}

impl ParamsUpdate {
    fn check(self) -> Result<Self, RackError> {
        if let Param::To(timeout) = self.timeout {
            check_timeout(timeout)?;
        }
        match self.keep {
            Param::To(keep) if keep > KEEP_RELEASES_MAX => Err(RackError::Invalid(format!(
                "keep is 1 to {KEEP_RELEASES_MAX} releases, or 0 for all"
            ))),
            _ => Ok(self),
        }
    }

    /// In words, for events: `timeout=300s keep=all`.
    fn words(self) -> String {
        let timeout = match self.timeout {
            Param::Unchanged => None,
            Param::Default => Some("timeout=default".to_owned()),
            Param::To(Millis(millis)) => Some(format!("timeout={}s", millis / 1_000)),
        };
        let keep = match self.keep {
            Param::Unchanged => None,
            Param::Default => Some("keep=default".to_owned()),
            Param::To(0) => Some("keep=all".to_owned()),
            Param::To(keep) => Some(format!("keep={keep}")),
        };
        let words: Vec<String> = timeout.into_iter().chain(keep).collect();
        words.join(" ")
    }
}

/// Refuses what no promotion may take.
pub(crate) fn check_timeout(timeout: Millis) -> Result<Millis, RackError> {
    let most = PROMOTION_LIMIT_MAX;
    match timeout {
        Millis(1_000..) if timeout <= most => Ok(timeout),
        _ => Err(RackError::Invalid(format!(
            "a timeout is 1 to {} seconds, which is a day",
            most.0 / 1_000
        ))),
    }
}

impl Rack {
    /// Sets parameters of an app; what is in flight keeps what it began with. Durable when it returns.
    pub async fn update_params(
        &self,
        app: &AppName,
        update: ParamsUpdate,
        actor: &Actor,
    ) -> Result<(), RackError> {
        let ParamsUpdate { timeout, keep } = update.check()?;
        self.change(app, |after, at, _, commit| {
            if matches!(after.standing, Standing::Deleting { .. }) {
                return Err(CommandError::Deleting.into());
            }
            match timeout {
                Param::Unchanged => {}
                Param::Default => after.promotion_limit = PROMOTION_LIMIT,
                Param::To(timeout) => after.promotion_limit = timeout,
            }
            // Settings newer than the state that is changed here make the commit a conflict, and this is done again.
            let mut settings = self.app(app)?.settings.clone();
            match keep {
                Param::Unchanged => {}
                Param::Default => settings.keep_releases = None,
                Param::To(keep) => settings.keep_releases = Some(keep),
            }
            commit.settings = Some(settings);
            after.generation = at;
            let text = format!("set {}", update.words());
            commit
                .events
                .push(self.event(app, actor, "app:params", text));
            Ok(())
        })
        .await
    }
}
