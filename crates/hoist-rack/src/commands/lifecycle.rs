//! Scale, restart, stop, start and delete: what changes an app without a new release.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ServiceName};
use hoist_core::model::{Cancel, PromotionKind};
use hoist_core::plan;

use super::{Actor, IfBusy, PromoteRequest};
use crate::error::RackError;
use crate::rack::Rack;
use crate::store::PromotionRecord;

impl Rack {
    /// Sets sizes. Returns when that is recorded; processes follow.
    pub async fn scale(
        &self,
        app: &AppName,
        sizes: BTreeMap<ServiceName, u16>,
        actor: &Actor,
    ) -> Result<(), RackError> {
        self.controller.forget_resizes(app);
        self.change(app, |after, at, now, commit| {
            plan::resize(after, &sizes, at, now)?;
            let text: Vec<_> = sizes
                .iter()
                .map(|(name, size)| format!("{name}={size}"))
                .collect();
            let text = format!("scale {}", text.join(" "));
            commit
                .events
                .push(self.event(app, actor, "release:scale", text));
            Ok(())
        })
        .await
    }

    /// Starts the active release anew, or one service of it.
    pub async fn restart(
        &self,
        app: &AppName,
        service: Option<ServiceName>,
        if_busy: IfBusy,
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        self.again(app, PromotionKind::Restart, service, if_busy, actor)
            .await
    }

    /// Brings a stopped app back.
    pub async fn start_app(
        &self,
        app: &AppName,
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        self.again(app, PromotionKind::Start, None, IfBusy::Wait, actor)
            .await
    }

    async fn again(
        &self,
        app: &AppName,
        kind: PromotionKind,
        only: Option<ServiceName>,
        if_busy: IfBusy,
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        let entry = self.app(app)?;
        let serving = entry.app.serving.as_ref();
        let release = serving.ok_or_else(|| RackError::NothingActive(app.clone()))?;
        let request = PromoteRequest {
            release: release.release.clone(),
            kind,
            if_busy,
            limit: None,
            only,
        };
        self.promote(app, request, actor).await
    }

    /// Stops an app until somebody starts it. A promotion in flight is cancelled first.
    pub async fn stop(&self, app: &AppName, actor: &Actor) -> Result<(), RackError> {
        self.change(app, |after, at, now, commit| {
            plan::stop(after, at, now)?;
            let text = "stopping".to_owned();
            commit
                .events
                .push(self.event(app, actor, "app:stopping", text));
            Ok(())
        })
        .await
    }

    /// Ends the promotion in flight, and says which it was.
    pub async fn cancel(
        &self,
        app: &AppName,
        how: Cancel,
        actor: &Actor,
    ) -> Result<PromotionRecord, RackError> {
        let number = self
            .change(app, |after, at, _, commit| {
                let promotion = after.promotion.as_ref();
                let number = promotion.map(|promotion| promotion.number);
                let number = number.ok_or_else(|| RackError::NothingInFlight(app.clone()))?;
                plan::cancel(after, how, at)?;
                let mut event = self.event(app, actor, "release:cancel", "cancelling".to_owned());
                event.promotion = Some(number);
                commit.events.push(event);
                Ok(number)
            })
            .await?;
        self.promotion(app, number).await
    }

    /// Begins to delete an app; the loop finishes it. Volumes stay unless `volumes` says otherwise.
    pub async fn delete(
        &self,
        app: &AppName,
        confirm: &str,
        volumes: bool,
        actor: &Actor,
    ) -> Result<(), RackError> {
        self.app(app)?;
        if confirm != app.as_str() {
            return Err(RackError::Unconfirmed(app.clone()));
        }
        self.change(app, |after, at, now, commit| {
            plan::delete(after, at, now)?;
            let text = "deleting".to_owned();
            commit
                .events
                .push(self.event(app, actor, "app:delete", text));
            Ok(())
        })
        .await?;
        if volumes {
            self.controller.delete_volumes_with(app);
        }
        Ok(())
    }
}
