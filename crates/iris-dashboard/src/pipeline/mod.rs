//! Starts the threads that read the topics into the state, the rendering and the server.

mod held;
mod learning;
mod newest;
mod offsets;
mod reader;
mod registry;
mod render;
mod summaries;

use std::sync::Arc;

use anyhow::Context;
use iris_contract::Topics;
use iris_kafka::startup::{Need, connect};
use iris_kafka::{LagMetrics, Rights, now_ms};
use iris_service::{Part, Service, Work, supervise_with, watcher};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::board::Board;
use crate::feedback::Feedback;
use crate::settings::Settings;
use crate::shared::SharedState;
use crate::state::DashboardState;
use crate::{NAME, http};
use reader::Reader;

/// Serves the page until the service is stopped.
///
/// # Errors
/// If the address cannot be listened on, or the cluster cannot be used.
pub async fn run(settings: Settings, service: &Service) -> anyhow::Result<()> {
    let shared = Arc::new(shared_state(&settings, service)?);
    let lag = LagMetrics::default();
    {
        let mut metrics = service.metrics();
        metrics.register_collector(Box::new(lag.clone()));
        metrics.register_collector(Box::new(iris_kafka::CertificateExpiry));
        let help = "Connected browser tabs";
        metrics.register("dashboard_sse_clients", help, shared.clients.clone());
    }
    let listen = &settings.dashboard.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("dashboard.listen: cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let site = settings.dashboard.site();
    info!("the page is at http://{address}{}", site.base_path);

    let serving = tokio::spawn(http::serve(listener, Arc::clone(&shared), site));
    let part = service.health.part("page");
    tokio::spawn(render::render(Arc::clone(&shared), part));
    let read = read(settings, service, &shared, &lag).await;
    service.stop.cancel();
    serving.await?;
    read
}

fn shared_state(settings: &Settings, service: &Service) -> anyhow::Result<SharedState> {
    let state = DashboardState {
        board: Board::new(settings.dashboard.history_s()),
        schema: settings.dataset.schema(),
        input: settings.topics.input.clone(),
        ..DashboardState::default()
    };
    let store = settings.dashboard.store()?;
    if let Some(warning) = store.warning() {
        warn!("{warning}");
    }
    Ok(SharedState::new(
        state,
        Feedback::new(&store)?,
        Arc::clone(&service.health),
        settings.dashboard.max_clients,
        service.stop.clone(),
        now_ms,
    ))
}

/// Reads all topics until the service is stopped.
async fn read(
    settings: Settings,
    service: &Service,
    shared: &Arc<SharedState>,
    lag: &LagMetrics,
) -> anyhow::Result<()> {
    let grace = settings.service.shutdown_grace();
    let startup = service.health.part("startup");
    let (waiting, wanted) = (Arc::clone(&startup), settings.clone());
    let stop = service.stop.clone();
    let found = tokio::task::spawn_blocking(move || find_topics(&wanted, &stop, &waiting));
    if !found.await?? {
        return Ok(());
    }
    let work = |name: &str, read: fn(&Reader)| -> (String, Work<()>) {
        let reader = Reader {
            settings: settings.clone(),
            shared: Arc::clone(shared),
            lag: lag.clone(),
            part: service.health.part(name),
            stop: service.stop.clone(),
        };
        let work = move || {
            read(&reader);
            Ok(())
        };
        (name.to_owned(), Box::new(work))
    };
    let work = vec![
        work("figures", summaries::read),
        work("late figures", held::read),
        work("offsets", offsets::read),
        work("newest", newest::read),
        work("models", registry::read),
        work("learning", learning::read),
    ];
    startup.finish();
    let rights = Rights::new(&settings.kafka, NAME, &needs(&settings.topics));
    let watcher = watcher("rights", move |until, report| rights.watch(until, report));
    let followers = vec![watcher];
    supervise_with(work, followers, service, grace)
        .await
        .map(drop)
}

/// Returns the topics that the page needs.
fn needs(topics: &Topics) -> [Need<'_>; 7] {
    [
        Need::describe(&topics.input),
        Need::read(&topics.summaries),
        Need::read(&topics.predictions),
        Need::read(&topics.feedback),
        Need::read(&topics.dead_letters),
        Need::read(&topics.models),
        Need::read(&topics.trainer_state),
    ]
}

/// Waits for the cluster, and checks that the topics exist. Returns false if the service is stopped first.
fn find_topics(
    settings: &Settings,
    stop: &CancellationToken,
    waiting: &Part,
) -> anyhow::Result<bool> {
    let wait = settings.service.wait_for_broker;
    let report = &mut |cause| waiting.report(Some(cause));
    let needs = needs(&settings.topics);
    let cluster = connect(&settings.kafka, NAME, wait, stop, report, &needs)?;
    Ok(cluster.is_some())
}
