//! Sees an attached process to its end: waits for its client, carries its streams, stops it when the client goes.

use std::sync::Arc;
use std::time::Duration;

use hoist_api::session::{Reader, Side, Writer};
use hoist_api::types::SessionExit;
use hoist_core::limits;
use hoist_core::model::{Exit, ExitCause};
use hoist_engine::{Session, SessionControl};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::lock;
use super::pump::{self, Pump};
use crate::clock::wall;
use crate::control::exit_words;
use crate::error::{RackError, with_causes};
use crate::rack::Rack;
use crate::secrets::SecretError;
use crate::store::{OneOffEnd, OneOffRecord};

/// How long a rack that stops waits for clients to hear it and for processes to end.
const FAREWELL: Duration = Duration::from_millis(500);

impl Rack {
    /// Holds a process that was started attached; answers the name of its session. `one_off` is its record, when it has
    /// one: a command beside a process has none.
    pub(crate) fn attend(
        self: &Arc<Self>,
        session: Session,
        one_off: Option<OneOffRecord>,
        place: OwnedSemaphorePermit,
    ) -> Result<String, RackError> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(|_| RackError::Secret(SecretError::Random))?;
        let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (sender, attached) = oneshot::channel();
        lock(&self.runs.waiting).insert(name.clone(), sender);
        let (rack, waits) = (self.clone(), name.clone());
        self.tasks.spawn(async move {
            rack.see_to_its_end(session, one_off, attached, &waits)
                .await;
            drop(place);
        });
        Ok(name)
    }

    /// Returns early when the rack is stopping: then the process is told to end, and the next start finds out how it did.
    async fn see_to_its_end(
        &self,
        session: Session,
        one_off: Option<OneOffRecord>,
        attached: oneshot::Receiver<OnUpgrade>,
        name: &str,
    ) {
        let control = session.control.clone();
        let client = tokio::select! {
            client = client(attached) => client,
            _ = self.stopped() => None,
        };
        lock(&self.runs.waiting).remove(name);
        let Some(client) = client else {
            drop(session);
            let exit = self.stop_attached(&*control).await;
            return self.record_end(one_off, exit).await;
        };
        let mut pump = Pump::new(session, client);
        let exit = match pump.carry(self.stopped()).await {
            Some(exit) => exit,
            None if self.is_stopping() => {
                let told = said("the rack is stopping".to_owned());
                // The client learns it, unless it does not read.
                let told = tokio::time::timeout(FAREWELL, pump.close(told));
                let (exit, _) = tokio::join!(self.stop_attached(&*control), told);
                return self.record_end(one_off, exit).await;
            }
            None => {
                drop(pump);
                let exit = self.stop_attached(&*control).await;
                return self.record_end(one_off, exit).await;
            }
        };
        let told = match &exit {
            Ok(exit) => told(*exit),
            Err(error) => said(with_causes(error)),
        };
        if let Some(record) = one_off.as_ref().filter(|_| exit.is_ok()) {
            self.runs.over(&record.id);
        }
        tokio::join!(self.record_end(one_off, exit.ok()), pump.close(told));
    }

    async fn record_end(&self, one_off: Option<OneOffRecord>, exit: Option<Exit>) {
        match (one_off, exit) {
            (Some(record), Some(exit)) => self.one_off_ended(&record, end_of(exit)).await,
            (Some(record), None) => self.runs.unattended(&record.id),
            (None, _) => {}
        }
    }

    /// Ends a process that nobody holds any more; none when how it ended is not known in this life of the rack.
    async fn stop_attached(&self, control: &dyn SessionControl) -> Option<Exit> {
        let _ = control.stop().await;
        let given_up = async {
            self.stopped().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            exit = control.exit() => exit.ok(),
            () = given_up => None,
        }
    }
}

/// Waits for the client, as long as it may take.
async fn client(attached: oneshot::Receiver<OnUpgrade>) -> Option<pump::Client> {
    let connection = async {
        let upgraded = attached.await.ok()?.await.ok()?;
        let parts = upgrade::downcast::<TokioIo<TcpStream>>(upgraded).ok()?;
        let (read, write) = parts.io.into_inner().into_split();
        let reader = Reader::new(read, Side::Rack, &parts.read_buf);
        Some((reader, Writer::new(write, Side::Rack)))
    };
    let limit = Duration::from(limits::ATTACH_LIMIT);
    tokio::time::timeout(limit, connection).await.ok().flatten()
}

/// What a client learns of how a process ended.
fn told(exit: Exit) -> SessionExit {
    let end = end_of(exit);
    SessionExit {
        code: end.code,
        signal: end.signal,
        reason: end.reason,
    }
}

fn said(reason: String) -> SessionExit {
    SessionExit {
        reason: Some(reason),
        ..SessionExit::default()
    }
}

/// What is kept of how a process ended.
pub(super) fn end_of(exit: Exit) -> OneOffEnd {
    OneOffEnd {
        at: wall(),
        code: (exit.cause != ExitCause::Lost).then_some(exit.code),
        signal: exit.signal,
        reason: (exit.cause != ExitCause::Own).then(|| exit_words(&exit)),
    }
}
