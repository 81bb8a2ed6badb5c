//! What the readers of topics write and the server reads.

use std::sync::Arc;

use iris_core::{Model, ModelVersion};
use iris_service::Health;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::feedback::Feedback;
use crate::scatter::Regions;
use crate::state::DashboardState;
use crate::view::Fragments;

/// How many pairs of features regions are kept for.
const MAX_REGIONS: usize = 16;

/// The regions of a model over a pair of features.
type Kept = ((ModelVersion, usize, usize), Arc<Regions>);

/// What the readers of topics write and the server reads.
#[derive(Debug)]
pub struct SharedState {
    state: RwLock<DashboardState>,
    regions: Mutex<Vec<Kept>>,
    /// The problems that keep the readers from reading.
    pub health: Arc<Health>,
    /// The feedback store.
    pub feedback: Feedback,
    /// The page's pieces, rendered again while a tab is connected.
    pub fragments: watch::Sender<Arc<Fragments>>,
    /// A permit for each connected tab.
    pub client_permits: Arc<Semaphore>,
    /// The number of connected tabs.
    pub clients: Gauge,
    /// Ends the server and its open streams.
    pub stop: CancellationToken,
    /// The time, in milliseconds since the epoch.
    pub now_ms: fn() -> i64,
}

impl SharedState {
    /// Starts with a state, and with room for so many tabs.
    #[must_use]
    pub fn new(
        state: DashboardState,
        feedback: Feedback,
        health: Arc<Health>,
        max_clients: usize,
        stop: CancellationToken,
        now_ms: fn() -> i64,
    ) -> Self {
        Self {
            state: RwLock::new(state),
            regions: Mutex::default(),
            health,
            feedback,
            fragments: watch::Sender::default(),
            client_permits: Arc::new(Semaphore::new(max_clients)),
            clients: Gauge::default(),
            stop,
            now_ms,
        }
    }

    /// The state, to read.
    pub fn read(&self) -> RwLockReadGuard<'_, DashboardState> {
        self.state.read()
    }

    /// The state, to write.
    pub fn write(&self) -> RwLockWriteGuard<'_, DashboardState> {
        self.state.write()
    }

    /// A model's answers over two features, computed once. May take a while for a model of many rows. `None` if there are no
    /// such features.
    #[must_use]
    pub fn regions(&self, model: &Model, x: usize, y: usize) -> Option<Arc<Regions>> {
        let wanted = (model.version(), x, y);
        let mut kept = self.regions.lock();
        if let Some((_, regions)) = kept.iter().find(|(key, _)| *key == wanted) {
            return Some(Arc::clone(regions));
        }
        let regions = Arc::new(Regions::of(model, x, y)?);
        kept.push((wanted, Arc::clone(&regions)));
        if kept.len() > MAX_REGIONS {
            kept.remove(0);
        }
        Some(regions)
    }
}
