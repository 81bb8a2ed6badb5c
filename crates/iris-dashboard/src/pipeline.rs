//! The shell: reads the topics into the state, and renders the page's pieces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use iris_contract::TransactionSummary;
use iris_kafka::startup::{Need, connect};
use iris_kafka::{
    LagMetrics, Positions, Read, ReadError, Record, Tail, TopicEnds, TopicReader, end_offsets,
    now_ms, offsets_at, pause,
};
use iris_registry::{RegistryTopic, RegistryTopicError};
use iris_service::{Part, Service, Work, supervise};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::board::Board;
use crate::feedback::Feedback;
use crate::models::Models;
use crate::recent::{DeadLetterRow, PredictionRow, in_order};
use crate::settings::Settings;
use crate::shared::SharedState;
use crate::state::DashboardState;
use crate::view::Fragments;
use crate::{NAME, http};

/// How long one wait for records lasts, and so how soon a stop is noticed.
const WAIT: Duration = Duration::from_millis(100);

/// How long to wait before reading is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How often the page's pieces are rendered while somebody looks at them.
const RENDER_INTERVAL: Duration = Duration::from_millis(250);

/// How often the newest records are looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Looking takes no more than one part in so many of the time.
const LOOK_SHARE: u32 = 10;

/// The most offsets of a partition that a look goes through: some are markers of transactions.
const LOOKED_AT: i64 = 60;

/// Serves the page until the service is stopped.
///
/// # Errors
/// If the address cannot be listened on, or the cluster cannot be used.
pub async fn run(settings: Settings, service: &Service) -> anyhow::Result<()> {
    let state = DashboardState {
        board: Board::new(settings.dashboard.history_s()),
        schema: settings.dataset.schema(),
        input: settings.topics.input.clone(),
        ..DashboardState::default()
    };
    let shared = Arc::new(SharedState::new(
        state,
        Feedback::new(&settings.dashboard.store)?,
        Arc::clone(&service.health),
        settings.dashboard.max_clients,
        service.stop.clone(),
        now_ms,
    ));
    let lag = LagMetrics::default();
    {
        let mut metrics = service.metrics();
        metrics.register_collector(Box::new(lag.clone()));
        let help = "Browser tabs that are kept up to date";
        metrics.register("dashboard_sse_clients", help, shared.clients.clone());
    }
    let listen = &settings.dashboard.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("dashboard.listen: cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    info!("the page is at http://{address}");

    let serving = tokio::spawn(http::serve(listener, Arc::clone(&shared)));
    tokio::spawn(render(Arc::clone(&shared)));
    let read = read(settings, service, &shared, &lag).await;
    service.stop.cancel();
    serving.await?;
    read
}

/// Reads all that there is to show, until the service is stopped.
async fn read(
    settings: Settings,
    service: &Service,
    shared: &Arc<SharedState>,
    lag: &LagMetrics,
) -> anyhow::Result<()> {
    let grace = settings.service.shutdown_grace();
    let startup = service.health.part("startup");
    let (waiting, found) = (Arc::clone(&startup), settings.clone());
    let stop = service.stop.clone();
    let found = tokio::task::spawn_blocking(move || find(&found, &stop, &waiting));
    if !found.await?? {
        return Ok(());
    }
    let reader = |part: &str| Reader {
        settings: settings.clone(),
        shared: Arc::clone(shared),
        lag: lag.clone(),
        part: service.health.part(part),
        stop: service.stop.clone(),
    };
    let (figures, newest, models) = (reader("figures"), reader("newest"), reader("models"));
    startup.finish();
    let work: Vec<(String, Work<()>)> = vec![
        ("figures".to_owned(), Box::new(move || figures.figures())),
        ("newest".to_owned(), Box::new(move || newest.newest())),
        ("models".to_owned(), Box::new(move || models.models())),
    ];
    supervise(work, service, grace).await.map(drop)
}

/// Waits for the cluster, and checks that the topics are there. `false` if `stop` was cancelled meanwhile.
fn find(settings: &Settings, stop: &CancellationToken, waiting: &Part) -> anyhow::Result<bool> {
    let wait = settings.service.wait_for_broker;
    let report = &mut |cause| waiting.report(Some(cause));
    let topics = &settings.topics;
    let needs = [
        &topics.input,
        &topics.summaries,
        &topics.predictions,
        &topics.feedback,
        &topics.dead_letters,
        &topics.models,
    ]
    .map(|topic| Need::read(topic));
    let found = connect(&settings.kafka, NAME, wait, stop, report, &needs)?;
    Ok(found.is_some())
}

/// Renders the page's pieces while somebody looks at them.
async fn render(shared: Arc<SharedState>) {
    let mut ticks = tokio::time::interval(RENDER_INTERVAL);
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
            Err(problem) => error!("cannot render the page: {problem}"),
        }
    }
}

/// One of those that read.
struct Reader {
    settings: Settings,
    shared: Arc<SharedState>,
    lag: LagMetrics,
    part: Arc<Part>,
    stop: CancellationToken,
}

impl Reader {
    /// Reads until the service is stopped, and starts again after a fault.
    fn again_and_again<E: Into<anyhow::Error>>(
        &self,
        mut read: impl FnMut(&Self) -> Result<(), E>,
    ) -> anyhow::Result<()> {
        while !self.stop.is_cancelled() {
            if let Err(problem) = read(self) {
                let problem = format!("{:#}", problem.into());
                warn!("{problem}; trying again");
                self.part.report(Some(problem));
                pause(RETRY_DELAY, &self.stop);
            }
        }
        self.part.finish();
        Ok(())
    }

    /// Adds up the summaries of the history, then new ones.
    fn figures(&self) -> anyhow::Result<()> {
        let mut next: Option<Positions> = None;
        self.again_and_again(|reader| {
            let offsets = match &next {
                Some(offsets) => offsets.clone(),
                None => reader.history_start()?,
            };
            let next = next.insert(offsets);
            reader.follow_summaries(next)
        })
    }

    /// The offsets of the history's first summaries.
    fn history_start(&self) -> Result<Positions, ReadError> {
        let (kafka, topic) = (&self.settings.kafka, &self.settings.topics.summaries);
        let history = self.settings.dashboard.history_s();
        let begins = now_ms().saturating_sub(history.saturating_mul(1000));
        let mut offsets = end_offsets(kafka, topic)?;
        offsets.extend(offsets_at(kafka, topic, begins.max(0))?);
        Ok(offsets)
    }

    fn follow_summaries(&self, next: &mut Positions) -> Result<(), ReadError> {
        let topic = &self.settings.topics.summaries;
        let mut reader = TopicReader::resume(&self.settings.kafka, topic, next)?;
        self.lag.watch_reader(topic, reader.client_health());
        while !self.stop.is_cancelled() {
            match reader.read(WAIT)? {
                Some(Read::Record(record)) => {
                    next.advance(record.partition_offset());
                    self.add_summary(&record);
                }
                Some(Read::End(_)) | None => {
                    if reader.has_reached_the_end() && reader.client_health().problem().is_none() {
                        self.shared.write().board.is_known_until(now_ms());
                    }
                }
            }
            self.part.report(reader.client_health().problem());
        }
        Ok(())
    }

    fn add_summary(&self, record: &Record<'_>) {
        let topic = &self.settings.topics.summaries;
        let at = record.timestamp().unwrap_or_else(now_ms);
        self.lag.reached(topic, record.partition(), at);
        match serde_json::from_slice::<TransactionSummary>(record.value().unwrap_or(b"")) {
            Ok(summary) => self.shared.write().board.add(&summary, at),
            Err(problem) => warn!(
                "{topic}, partition {}, offset {}: not a summary, skipped: {problem}",
                record.partition(),
                record.offset()
            ),
        }
    }

    /// Looks where the input ends, and at the newest predictions, feedback and dead letters.
    fn newest(&self) -> anyhow::Result<()> {
        self.again_and_again(|reader| reader.look_again_and_again())
    }

    fn look_again_and_again(&self) -> Result<(), ReadError> {
        let (kafka, topics) = (&self.settings.kafka, &self.settings.topics);
        let ends = TopicEnds::open(kafka, &topics.input)?;
        let tail = |topic| Tail::open(kafka, topic, LOOKED_AT);
        let mut predictions = tail(&topics.predictions)?;
        let mut feedback = tail(&topics.feedback)?;
        let mut dead_letters = tail(&topics.dead_letters)?;
        let schema = self.settings.dataset.schema();
        while !self.stop.is_cancelled() {
            let started = Instant::now();
            let ends = ends.offsets()?;
            self.shared.write().board.ended(ends, now_ms());
            let answers = |tail: &mut Tail| -> Result<Vec<PredictionRow>, ReadError> {
                let mut records = tail.look()?;
                in_order(&mut records);
                let answers = records.iter();
                Ok(answers
                    .filter_map(|record| PredictionRow::read(record, &schema))
                    .collect())
            };
            let (predictions, mispredictions) =
                (answers(&mut predictions)?, answers(&mut feedback)?);
            let mut records = dead_letters.look()?;
            in_order(&mut records);
            let mut state = self.shared.write();
            state.predictions.add(predictions);
            state.mispredictions.add(mispredictions);
            state
                .dead_letters
                .add(records.iter().filter_map(DeadLetterRow::read));
            drop(state);
            self.part.report(None);
            let took = started.elapsed();
            debug!("looking took {} ms", took.as_millis());
            pause(LOOK_INTERVAL.max(took * (LOOK_SHARE - 1)), &self.stop);
        }
        Ok(())
    }

    /// Follows the registry, and loads each champion.
    fn models(&self) -> anyhow::Result<()> {
        let topic = RegistryTopic::new(&self.settings.kafka, &self.settings.topics.models, NAME);
        self.again_and_again(|reader| reader.follow_registry(&topic))
    }

    fn follow_registry(&self, topic: &RegistryTopic) -> Result<(), RegistryTopicError> {
        let mut follower = topic.follow()?;
        loop {
            let registry = follower.registry();
            let models = Models::of(registry);
            let known = self
                .shared
                .read()
                .champion
                .as_ref()
                .map(|model| model.version());
            let champion = registry.champion();
            let loaded = match champion.filter(|champion| Some(*champion) != known) {
                None => None,
                Some(champion) => match topic.load(registry, champion) {
                    Ok(artefact) => Some(Arc::new(artefact.model)),
                    Err(problem) if problem.is_retriable() => return Err(problem),
                    Err(problem) => {
                        // Those that serve it refuse it, too, and say so.
                        warn!("{:#}", anyhow!(problem));
                        None
                    }
                },
            };
            let mut state = self.shared.write();
            state.models = models;
            if loaded.is_some() {
                state.champion = loaded;
            }
            drop(state);
            while !follower.wait(WAIT)? {
                self.part.report(None);
                if self.stop.is_cancelled() {
                    return Ok(());
                }
            }
        }
    }
}
