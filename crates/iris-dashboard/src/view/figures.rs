//! The status, the figures and the partitions.

use askama::Template;

use crate::board::{Figures, Partition, PartitionState};
use crate::format;
use crate::status::Status;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusView<'a> {
    status: &'a Status,
}

/// Renders the state of the pipeline.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn status(status: &Status) -> askama::Result<String> {
    StatusView { status }.render()
}

#[derive(Template)]
#[template(path = "figures.html")]
struct FiguresView<'a> {
    is_known: bool,
    figures: &'a Figures,
    rate: Option<f64>,
    lag: String,
}

/// Renders the figures; `rate` is in records per second.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn figures(
    figures: &Figures,
    partitions: &[Partition],
    rate: Option<f64>,
) -> askama::Result<String> {
    FiguresView {
        is_known: figures.are_known(),
        figures,
        rate,
        lag: total_lag(partitions).map_or_else(|| "unknown".to_owned(), format::count),
    }
    .render()
}

#[derive(Template)]
#[template(path = "partitions.html")]
struct PartitionsView<'a> {
    topic: &'a str,
    partitions: &'a [Partition],
}

/// Renders the partitions of the input topic.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn partitions(topic: &str, partitions: &[Partition]) -> askama::Result<String> {
    PartitionsView { topic, partitions }.render()
}

/// Returns the lag of all partitions together: in each, that of the group that made progress last. `None` if the end of a
/// partition is not known.
fn total_lag(partitions: &[Partition]) -> Option<u64> {
    if partitions.is_empty() {
        return None;
    }
    partitions
        .iter()
        .filter(|partition| partition.state != PartitionState::Superseded)
        .map(|partition| partition.lag.or(partition.end_offset))
        .sum::<Option<i64>>()
        .map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(state: PartitionState, lag: Option<i64>, end: Option<i64>) -> Partition {
        Partition {
            partition: 0,
            group: None,
            end_offset: end,
            next_offset: None,
            lag,
            records: 0,
            records_per_second: None,
            state,
            worker: None,
            stalled_since_ms: None,
        }
    }

    #[test]
    fn the_total_lag_counts_unread_partitions_and_skips_superseded_groups() {
        use PartitionState::{Behind, NoCommitYet, Superseded, Unknown};
        let behind = partition(Behind, Some(3), Some(10));
        let unread = partition(NoCommitYet, None, Some(4));
        let superseded = partition(Superseded, Some(100), Some(10));
        let unknown = partition(Unknown, None, None);
        assert_eq!(total_lag(&[]), None);
        assert_eq!(total_lag(&[behind.clone(), unread, superseded]), Some(7));
        assert_eq!(total_lag(&[behind, unknown]), None);
    }
}
