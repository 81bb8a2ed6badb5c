//! Recovery after a fault: a usable producer, and every partition at its committed offset.
//!
//! librdkafka can redeliver records. After a rebalance has paused and resumed partitions, it may continue at an earlier offset
//! (for example [#4637](https://github.com/confluentinc/librdkafka/issues/4637)). It also restarts at the beginning of a
//! partition when a broker reports the offset as out of range, as a broker does that was unavailable and does not know yet
//! that another one leads. So a worker keeps its own position in each partition, starting from the offsets that the group and
//! the worker itself have committed, and skips all records before it.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::consume::consumer::Consumer;
use crate::exactly_once::error::WorkerError;
use crate::exactly_once::fault::Fault;
use crate::exactly_once::open_transaction::OpenTransaction;
use crate::exactly_once::processor::Processor;
use crate::exactly_once::rebalance::SharedTransaction;
use crate::pause::Backoff;
use crate::record::Record;

/// How long a request for the committed offsets may take.
pub(super) const OFFSETS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after a recovery the position of the consumer may not be known yet: its statistics are up to 1 s old.
const FETCH_TIME: Duration = Duration::from_secs(3);

/// The delays between failed transactions.
const MIN_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Receives, several times a second, the problem that keeps a worker from its work; `None` if there is none.
pub type Report<'a> = dyn FnMut(Option<String>) + Send + 'a;

/// How often a worker has failed in succession, and whether it has ever worked.
pub(super) struct Recovery {
    transactional_id: String,
    backoff: Backoff,
    /// The transaction's steps forward at the last recovery.
    progress: u64,
    /// The last fault, and when the worker resumed after it.
    resumed: Option<(Instant, String)>,
    is_started: bool,
}

impl Recovery {
    pub(super) fn new(transactional_id: &str) -> Self {
        Self {
            transactional_id: transactional_id.to_owned(),
            backoff: Backoff::new(MIN_DELAY, MAX_DELAY),
            progress: 0,
            resumed: None,
            is_started: false,
        }
    }

    pub(super) fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    /// Whether the worker has been ready to process records.
    pub(super) fn is_started(&self) -> bool {
        self.is_started
    }

    /// Returns the last fault, if the worker resumed after it so recently that the records to retry may not be fetched yet.
    pub(super) fn recent_fault(&self) -> Option<String> {
        let (resumed, fault) = self.resumed.as_ref()?;
        (resumed.elapsed() < FETCH_TIME).then(|| fault.clone())
    }

    /// Makes the producer usable again and rewinds to the committed offsets. Leaves the fault in place if that failed or
    /// `stop` was cancelled.
    ///
    /// # Errors
    /// [`WorkerError`] if a retry cannot help.
    pub(super) fn recover<P: Processor>(
        &mut self,
        consumer: &Consumer,
        transaction: &SharedTransaction<P>,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<(), WorkerError> {
        let (fault, progress) = {
            let transaction = transaction.lock();
            (transaction.fault().cloned(), transaction.progress())
        };
        let Some(fault) = fault else { return Ok(()) };
        if let Fault::NotAuthorised(_) = fault {
            return Err(self.not_authorised(fault));
        }
        // A rebalance waits until every member has agreed to give partitions up, so it is served during recovery as well.
        consumer.serve(Duration::ZERO)?;
        if self.progress != progress {
            self.progress = progress;
            self.backoff.reset();
        }
        if self.is_started {
            warn!("the transaction failed, processing its records again: {fault}");
            report(Some(fault.to_string()));
            self.backoff.pause(stop);
        }
        let prepared = transaction
            .lock()
            .producer
            .prepare(stop, &mut |cause| report(Some(cause)));
        let is_usable = prepared.map_err(|fault| self.not_authorised(fault))?;
        if !is_usable {
            return Ok(());
        }
        // Also before the first record: the committed offsets that the consumer knows may be older than the last commit of
        // the producer that was just fenced.
        if let Err(error) = rewind(consumer, transaction) {
            report(Some(format!("requesting the committed offsets: {error}")));
            self.backoff.pause(stop);
            return Ok(());
        }
        if self.is_started {
            info!("resuming at the committed offsets");
            self.resumed = Some((Instant::now(), fault.to_string()));
        }
        transaction.lock().recovered();
        self.is_started = true;
        Ok(())
    }

    fn not_authorised(&self, fault: Fault) -> WorkerError {
        WorkerError::NotAuthorised {
            transactional_id: self.transactional_id.clone(),
            fault,
        }
    }
}

/// Rewinds all assigned partitions to their committed offsets.
///
/// # Errors
/// If the committed offsets are not known in time; then nothing has changed.
pub(super) fn rewind<P: Processor>(
    consumer: &Consumer,
    transaction: &SharedTransaction<P>,
) -> Result<(), KafkaError> {
    let committed = consumer.rewind_to_committed(OFFSETS_TIMEOUT)?;
    let mut transaction = transaction.lock();
    transaction.forget_positions();
    for (partition, offset) in committed {
        transaction.resume(partition, offset);
    }
    Ok(())
}

/// Requests the committed offset of a record's partition, if the position in it is not known yet. The record may lie before
/// that offset.
///
/// # Errors
/// If the committed offset is not known in time.
pub(super) fn find_position<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
    record: &Record<'_>,
) -> Result<(), KafkaError> {
    let (partition, begun) = (record.partition(), record.offset());
    if transaction.has_position(partition) {
        return Ok(());
    }
    let committed = consumer.committed(&[partition], OFFSETS_TIMEOUT)?;
    let position = committed.get(partition).unwrap_or(begun);
    transaction.resume(partition, position);
    if begun < position {
        warn!(
            "partition {partition} starts at offset {begun}, before its committed offset {position}: skipping the records \
             in between"
        );
    }
    Ok(())
}
