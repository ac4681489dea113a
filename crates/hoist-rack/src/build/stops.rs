//! The builds that run in this rack, and whether somebody wants one to end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hoist_core::id::BuildId;
use tokio::sync::watch;

/// Who wants a build to end; nobody yet when none.
type Wish = Option<String>;

/// The builds that run.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    builds: Mutex<BTreeMap<BuildId, watch::Sender<Wish>>>,
}

impl Stops {
    /// Notes a build that begins, until the value is dropped.
    pub(crate) fn begin(self: &Arc<Self>, build: &BuildId) -> Stop {
        let wish = watch::Sender::new(None);
        let receiver = wish.subscribe();
        self.locked().insert(build.clone(), wish);
        Stop {
            build: build.clone(),
            wish: receiver,
            stops: self.clone(),
        }
    }

    /// Wants a build to end. False when it does not run here.
    pub(crate) fn ask(&self, build: &BuildId, actor: &str) -> bool {
        let builds = self.locked();
        let Some(wish) = builds.get(build) else {
            return false;
        };
        wish.send_if_modified(|wish| {
            let first = wish.is_none();
            wish.get_or_insert_with(|| actor.to_owned());
            first
        });
        true
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<BuildId, watch::Sender<Wish>>> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One build's end of it.
#[derive(Debug)]
pub(crate) struct Stop {
    build: BuildId,
    wish: watch::Receiver<Wish>,
    stops: Arc<Stops>,
}

impl Stop {
    /// Who wants the build to end, if anybody does.
    pub(super) fn asked(&self) -> Option<String> {
        self.wish.borrow().clone()
    }

    /// Comes back when somebody wants it.
    pub(super) async fn wanted(&self) {
        let mut wish = self.wish.clone();
        if wish.wait_for(Option::is_some).await.is_err() {
            // Nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.stops.locked().remove(&self.build);
    }
}
