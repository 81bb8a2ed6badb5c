//! Reads a topic to its end, with progress reports, and fails when it stalls.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::client::settings::KafkaSettings;
use crate::offsets::Positions;
use crate::read::error::ReadError;
use crate::read::progress::ReadProgress;
use crate::read::reader::{Read, TopicReader};
use crate::read::stored::StoredRecord;
use crate::record::Record;

/// How long one wait for records lasts, and so how soon a stop is noticed.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How often progress is reported. A service that cannot make progress has to report the cause within 15 s.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How long reading may make no progress before it fails.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the request for the end of one partition may take.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the committed records of a topic, by partition and offset. Passes the progress to `report` every few seconds.
///
/// # Errors
/// [`ReadError`] if the topic does not exist, or reading it makes no progress for 30 s.
pub fn read_to_end(
    settings: &KafkaSettings,
    topic: &str,
    report: &mut dyn FnMut(&ReadProgress),
) -> Result<Vec<StoredRecord>, ReadError> {
    let mut records = Vec::new();
    let never = CancellationToken::new();
    let mut reader = TopicReader::open(settings, topic)?;
    reader.read_to_end(&never, report, |record| {
        records.push(StoredRecord::from(&record));
        Ok::<_, ReadError>(ControlFlow::<Infallible>::Continue(()))
    })?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

impl TopicReader {
    /// Reads each partition to its end and passes every record to `visit`, which may break to end reading early. Logs the
    /// progress every few seconds, and passes it to `report`. Returns the value of the break, if there was one.
    ///
    /// # Errors
    /// The error of `visit`; [`ReadError`] if reading makes no progress for 30 s, or `stop` is cancelled.
    pub fn read_to_end<B, E: From<ReadError>>(
        &mut self,
        stop: &CancellationToken,
        report: &mut dyn FnMut(&ReadProgress),
        mut visit: impl FnMut(Record<'_>) -> Result<ControlFlow<B>, E>,
    ) -> Result<Option<B>, E> {
        let mut pace = Pace::new(Instant::now());
        while !self.has_reached_the_end() {
            if stop.is_cancelled() {
                let topic = self.topic().to_owned();
                return Err(ReadError::Stopped { topic }.into());
            }
            match self.read(POLL_TIMEOUT)? {
                Some(Read::Record(record)) => {
                    if let ControlFlow::Break(value) = visit(record)? {
                        return Ok(Some(value));
                    }
                    pace.records += 1;
                    pace.latest = Instant::now();
                }
                Some(Read::End(_)) => pace.latest = Instant::now(),
                None => {}
            }
            let now = Instant::now();
            if pace.is_stalled(now) {
                return Err(ReadError::Stalled {
                    topic: self.topic().to_owned(),
                    timeout: STALL_TIMEOUT,
                    cause: self.client_health().latest_error(),
                }
                .into());
            }
            if pace.is_report_due(now) {
                let progress = self.progress(&mut pace, now);
                info!("{progress}");
                report(&progress);
            }
        }
        Ok(None)
    }

    /// Returns how far reading has got.
    fn progress(&self, pace: &mut Pace, now: Instant) -> ReadProgress {
        if pace.ranges.is_none() {
            pace.ranges = self.ranges();
        }
        let idle = now.saturating_duration_since(pace.latest);
        let is_idle = idle >= REPORT_INTERVAL;
        ReadProgress {
            topic: self.topic().to_owned(),
            records: pace.records,
            offsets: pace
                .ranges
                .as_ref()
                .map(|ranges| count(ranges, self.positions())),
            idle: is_idle.then_some(idle),
            cause: self.client_health().latest_error().filter(|_| is_idle),
        }
    }

    /// Asks the brokers for the first and the end offset of each partition, within what is to be read; `None` if they do not
    /// answer.
    fn ranges(&self) -> Option<Ranges> {
        let range = |&partition: &i32| {
            let (low, end) = self
                .client()
                .fetch_watermarks(self.topic(), partition, END_TIMEOUT)
                .ok()?;
            let start = self.starts().get(partition).unwrap_or_default();
            Some((partition, (start.max(low), end)))
        };
        self.partitions().iter().map(range).collect()
    }
}

/// For each partition the first offset to read, and its end.
type Ranges = BTreeMap<i32, (i64, i64)>;

/// Counts the offsets that were read, and those that there are.
fn count(ranges: &Ranges, positions: &Positions) -> (i64, i64) {
    ranges
        .iter()
        .fold((0, 0), |(read, all), (&partition, &(start, end))| {
            let position = positions.get(partition).unwrap_or_default();
            let read_here = position.clamp(start, end.max(start)) - start;
            (read + read_here, all + (end - start).max(0))
        })
}

/// When records arrived and progress was reported.
struct Pace {
    records: u64,
    /// When the latest record arrived or the latest end was reached.
    latest: Instant,
    /// When progress was reported.
    reported: Instant,
    /// The offsets to read, once the brokers have answered.
    ranges: Option<Ranges>,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            records: 0,
            latest: now,
            reported: now,
            ranges: None,
        }
    }

    fn is_stalled(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.latest) >= STALL_TIMEOUT
    }

    /// Whether a report is due; then the next one is due after another interval.
    fn is_report_due(&mut self, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.reported) >= REPORT_INTERVAL;
        if is_due {
            self.reported = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::simulated::SimulatedCluster;

    const TOPIC: &str = "topic";

    #[test]
    fn a_topic_is_read_to_its_end() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 3);
        let records = read_to_end(&cluster.settings, TOPIC, &mut |_| ()).unwrap();
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [0, 1, 2]);
    }

    #[test]
    fn a_visitor_can_end_reading_early_or_fail() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 3);
        let stop = CancellationToken::new();
        let mut reader = TopicReader::open(&cluster.settings, TOPIC).unwrap();
        let found = reader.read_to_end(&stop, &mut |_| (), |record| {
            Ok::<_, ReadError>(match record.offset() {
                1 => ControlFlow::Break("found"),
                _ => ControlFlow::Continue(()),
            })
        });
        assert_eq!(found.unwrap(), Some("found"));
        stop.cancel();
        let stopped = reader.read_to_end(&stop, &mut |_| (), |_| {
            Ok::<_, ReadError>(ControlFlow::<()>::Continue(()))
        });
        assert!(matches!(stopped, Err(ReadError::Stopped { .. })));
    }

    #[test]
    fn reading_stalls_after_a_time_without_records_and_reports_until_then() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        assert!(!pace.is_report_due(after(4)) && pace.is_report_due(after(5)));
        assert!(!pace.is_report_due(after(9)) && pace.is_report_due(after(10)));
        assert!(!pace.is_stalled(after(29)) && pace.is_stalled(after(30)));
        pace.latest = after(10);
        assert!(!pace.is_stalled(after(39)) && pace.is_stalled(after(40)));
    }

    #[test]
    fn offsets_are_counted_from_the_first_that_exists_to_the_end() {
        let ranges = Ranges::from([(0, (5, 15)), (1, (0, 10)), (2, (7, 7))]);
        let positions = Positions::from([(0, 0), (1, 4), (2, 7)]);
        assert_eq!(count(&ranges, &positions), (4, 20));
        let all = Positions::from([(0, 16), (1, 10), (2, 9)]);
        assert_eq!(count(&ranges, &all), (20, 20));
    }
}
