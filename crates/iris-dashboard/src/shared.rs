//! What the readers of topics fill and the server shows.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use iris_core::{Model, ModelVersion};
use iris_service::Health;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::scatter::Regions;
use crate::state::State;
use crate::store::Store;
use crate::view::Fragments;

/// How many pairs of features regions are kept for.
const KEPT_REGIONS: usize = 16;

/// The regions of a model over a pair of features.
type Kept = ((ModelVersion, usize, usize), Arc<Regions>);

/// What the readers of topics fill and the server shows.
#[derive(Debug)]
pub struct Shared {
    state: RwLock<State>,
    regions: Mutex<Vec<Kept>>,
    /// What keeps the readers from reading.
    pub health: Arc<Health>,
    /// The feedback store.
    pub store: Store,
    /// The page's pieces, rendered anew while somebody looks at them.
    pub fragments: watch::Sender<Arc<Fragments>>,
    /// A permit for each tab that is kept up to date.
    pub seats: Arc<Semaphore>,
    /// How many there are.
    pub clients: Gauge,
    /// Ends open streams, too.
    pub stop: CancellationToken,
}

impl Shared {
    /// With a state to begin with, and room for so many tabs.
    #[must_use]
    pub fn new(
        state: State,
        store: Store,
        health: Arc<Health>,
        most_clients: usize,
        stop: CancellationToken,
    ) -> Self {
        Self {
            state: RwLock::new(state),
            regions: Mutex::default(),
            health,
            store,
            fragments: watch::Sender::default(),
            seats: Arc::new(Semaphore::new(most_clients)),
            clients: Gauge::default(),
            stop,
        }
    }

    /// What is known.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, to add to it.
    pub fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a model answers over two features, worked out once. May take a while for a model of many rows. `None` if there
    /// are no such features.
    #[must_use]
    pub fn regions(&self, model: &Model, x: usize, y: usize) -> Option<Arc<Regions>> {
        let wanted = (model.version(), x, y);
        let mut kept = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, regions)) = kept.iter().find(|(key, _)| *key == wanted) {
            return Some(Arc::clone(regions));
        }
        let regions = Arc::new(Regions::of(model, x, y)?);
        kept.push((wanted, Arc::clone(&regions)));
        if kept.len() > KEPT_REGIONS {
            kept.remove(0);
        }
        Some(regions)
    }
}
