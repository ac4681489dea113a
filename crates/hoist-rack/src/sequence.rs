//! The rack's one sequence of numbers: promotions, generations, looks and route tables all draw from it.
//!
//! Numbers are reserved in the store a block ahead of use, so that a crash can waste numbers and never reuse one.
//!
//! Comparing numbers must mean comparing decisions. So a commit holds a [`Ticket`] from the drawing of its number until
//! it is in the snapshot, and a look or route table draws its number while no ticket is out: whatever has a smaller
//! number was visible to it.

use std::sync::{Arc, Mutex};

use hoist_core::id::Version;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::store::{RackMeta, Store, StoreError};

/// Numbers reserved at once: days of looks at the pace of a busy rack.
const BLOCK: u64 = 1_000_000;

/// Draws versions, each greater than all before it.
pub struct Sequence {
    store: Arc<Store>,
    epoch: u32,
    state: Mutex<Block>,
    committing: Arc<RwLock<()>>,
}

/// The number of one commit, held until the commit is visible.
pub struct Ticket {
    /// The number.
    pub version: Version,
    _committing: OwnedRwLockReadGuard<()>,
}

struct Block {
    next: u64,
    reserved: u64,
}

impl Sequence {
    /// Continues where the last run of the rack may have been.
    pub fn open(store: Arc<Store>, meta: &RackMeta) -> Result<Self, StoreError> {
        let reserved = meta.reserved + BLOCK;
        store.reserve(reserved)?;
        Ok(Self {
            store,
            epoch: meta.epoch,
            state: Mutex::new(Block {
                next: meta.reserved,
                reserved,
            }),
            committing: Arc::default(),
        })
    }

    /// Draws the number of a commit. Drop the ticket when the commit is done.
    pub async fn ticket(&self) -> Result<Ticket, StoreError> {
        let committing = self.committing.clone().read_owned().await;
        Ok(Ticket {
            version: self.draw()?,
            _committing: committing,
        })
    }

    /// Draws a number that all visible commits are below and all later ones above; `read` happens at that moment.
    pub async fn look<T>(&self, read: impl FnOnce() -> T) -> Result<(Version, T), StoreError> {
        let _nobody_commits = self.committing.write().await;
        let version = self.draw()?;
        Ok((version, read()))
    }

    /// Fails only when a block is used up and the store cannot reserve another.
    fn draw(&self) -> Result<Version, StoreError> {
        let mut block = self.state.lock().map_err(|_| StoreError::Closed)?;
        if block.next >= block.reserved {
            let reserved = block.next + BLOCK;
            self.store.reserve(reserved)?;
            block.reserved = reserved;
        }
        let number = block.next;
        block.next += 1;
        Ok(Version {
            epoch: self.epoch,
            number,
        })
    }
}
