//! Renders the pieces of the page while a tab is connected.

use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::shared::SharedState;
use crate::view::Fragments;

/// How often the pieces are rendered.
const INTERVAL: Duration = Duration::from_millis(250);

/// Renders the pieces until the service is stopped.
pub(super) async fn render(shared: Arc<SharedState>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    while !shared.stop.is_cancelled() {
        ticks.tick().await;
        if shared.fragments.receiver_count() == 0 {
            continue;
        }
        let problems = shared.health.problems();
        let rendered = Fragments::render(&shared.read(), &problems, (shared.now_ms)());
        match rendered {
            Ok(fragments) => {
                shared.fragments.send_if_modified(|shown| {
                    let is_new = **shown != fragments;
                    *shown = Arc::new(fragments);
                    is_new
                });
            }
            Err(error) => error!("cannot render the page: {error}"),
        }
    }
}
