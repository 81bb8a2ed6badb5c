//! Renders the pieces of the page while a tab is connected.

use std::sync::Arc;
use std::time::Duration;

use iris_service::Part;
use tracing::error;

use crate::shared::SharedState;
use crate::view::Fragments;

/// How often the pieces are rendered.
const INTERVAL: Duration = Duration::from_millis(250);

/// Renders the pieces until the service is stopped, and reports to `part`.
pub(super) async fn render(shared: Arc<SharedState>, part: Arc<Part>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    while !shared.stop.is_cancelled() {
        ticks.tick().await;
        part.report(None);
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
    part.finish();
}
