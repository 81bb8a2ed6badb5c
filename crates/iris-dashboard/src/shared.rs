//! The state that the readers of topics share with the server.

use std::sync::Arc;

use iris_core::{Model, ModelVersion};
use iris_service::Health;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::feedback::Feedback;
use crate::recent::PredictionRow;
use crate::scatter::Regions;
use crate::state::DashboardState;
use crate::view::Fragments;

/// The number of regions that are kept, at most.
const MAX_REGIONS: usize = 16;

/// The regions of a model version over a pair of features.
type Kept = ((ModelVersion, usize, usize), Arc<Regions>);

/// The state that the readers of topics share with the server.
#[derive(Debug)]
pub struct SharedState {
    state: RwLock<DashboardState>,
    regions: Mutex<Vec<Kept>>,
    /// The problems that keep the readers from reading.
    pub health: Arc<Health>,
    /// The feedback store.
    pub feedback: Feedback,
    /// The pieces of the page, rendered while a tab is connected.
    pub fragments: watch::Sender<Arc<Fragments>>,
    /// The number of connected tabs, at most.
    pub max_clients: usize,
    /// A permit for each connected tab.
    pub client_permits: Arc<Semaphore>,
    /// The number of connected tabs.
    pub clients: Gauge,
    /// Stops the server and its open streams.
    pub stop: CancellationToken,
    /// Returns the time, in milliseconds since the epoch.
    pub now_ms: fn() -> i64,
}

impl SharedState {
    /// Returns a shared state for up to `max_clients` tabs.
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
            max_clients,
            client_permits: Arc::new(Semaphore::new(max_clients.min(Semaphore::MAX_PERMITS))),
            clients: Gauge::default(),
            stop,
            now_ms,
        }
    }

    /// Locks the state for reading.
    pub fn read(&self) -> RwLockReadGuard<'_, DashboardState> {
        self.state.read()
    }

    /// Locks the state for writing.
    pub fn write(&self) -> RwLockWriteGuard<'_, DashboardState> {
        self.state.write()
    }

    /// Returns a model's decision regions over two features, and keeps them. Their computation may take seconds for a model of
    /// many rows. `None` if the model has no such features, or if it has no rows and there are no predictions.
    #[must_use]
    pub fn regions(&self, model: &Model, x: usize, y: usize) -> Option<Arc<Regions>> {
        let wanted = (model.version(), x, y);
        let mut kept = self.regions.lock();
        if let Some((_, regions)) = kept.iter().find(|(key, _)| *key == wanted) {
            return Some(Arc::clone(regions));
        }
        let predictions: Vec<PredictionRow> = if model.training_set().is_empty() {
            self.read().predictions.iter().cloned().collect()
        } else {
            Vec::new()
        };
        let (regions, is_kept) = Regions::of(model, predictions.iter(), x, y)?;
        let regions = Arc::new(regions);
        if !is_kept {
            return Some(regions);
        }
        kept.push((wanted, Arc::clone(&regions)));
        if kept.len() > MAX_REGIONS {
            kept.remove(0);
        }
        Some(regions)
    }
}
