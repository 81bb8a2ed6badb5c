//! The open transactions, as text and as JSON.

use std::fmt;

use iris_service::printable;
use iris_transactions::{EndedTransaction, OpenTransaction, State, TransactionResult};
use serde::Serialize;

use crate::output::time;

/// The open transactions in some topics.
#[derive(Debug, Serialize)]
pub(super) struct ListReport {
    /// The topics.
    pub(super) topics: Vec<String>,
    /// Their open transactions, by topic, partition and start offset.
    pub(super) transactions: Vec<OpenTransaction>,
}

/// A transaction that was ended.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct EndReport {
    /// The transaction.
    pub(super) ended: EndedTransaction,
}

impl fmt::Display for ListReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = None;
        for open in &self.transactions {
            let partition = (&open.topic, open.partition);
            if shown != Some(partition) {
                let (stable, high) = (open.last_stable_offset, open.high_watermark);
                writeln!(
                    f,
                    "{} partition {}: last stable offset {stable}, high watermark {high}, so {} offsets are held back",
                    printable(&open.topic),
                    open.partition,
                    high.saturating_sub(stable).max(0)
                )?;
                shown = Some(partition);
            }
            transaction(f, open)?;
        }
        let count = |is: fn(&State) -> bool| {
            let states = self.transactions.iter().map(|open| &open.state);
            states.filter(|state| is(state)).count()
        };
        writeln!(
            f,
            "{} in {}: {} hanging, {} ongoing, {} ending",
            number(self.transactions.len(), "open transaction"),
            number(self.topics.len(), "topic"),
            count(State::is_hanging),
            count(|state| matches!(state, State::Ongoing { .. })),
            count(|state| matches!(state, State::Ending { .. })),
        )
    }
}

/// Returns a number with its noun.
fn number(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn transaction(f: &mut fmt::Formatter<'_>, open: &OpenTransaction) -> fmt::Result {
    let OpenTransaction {
        topic,
        partition,
        producer_id,
        producer_epoch,
        start_offset,
        since_ms,
        last_written_ms,
        state,
        ..
    } = open;
    let unknown = || "an unknown time".to_owned();
    writeln!(
        f,
        "  {}: producer id {producer_id}, epoch {producer_epoch}, {}",
        name(state),
        match id(state) {
            Some(id) => format!("transactional id `{}`", printable(id)),
            None => "transactional id unknown".to_owned(),
        }
    )?;
    writeln!(
        f,
        "    open from offset {start_offset}, since {}; last record written at {}",
        time(*since_ms).unwrap_or_else(unknown),
        time(Some(*last_written_ms)).unwrap_or_else(unknown)
    )?;
    writeln!(f, "    coordinator: {}", coordinator(state))?;
    for end in ends(state) {
        writeln!(
            f,
            "    {end} it: iris-admin transactions --{end} --topic {topic} --partition {partition} --producer-id {producer_id} \
             --start-offset {start_offset}"
        )?;
    }
    Ok(())
}

/// Returns the ways in which an operator can end a transaction, the more likely one first. The end of a hanging one may have been
/// lost after it was committed in its other partitions.
fn ends(state: &State) -> &'static [&'static str] {
    match state {
        State::Ending { .. } => &[],
        State::Ongoing { .. } => &["abort"],
        State::Hanging {
            coordinator_state: Some(state),
            ..
        } if state == "CompleteCommit" => &["commit", "abort"],
        State::Hanging { .. } => &["abort", "commit"],
    }
}

fn name(state: &State) -> &'static str {
    match state {
        State::Ongoing { .. } => "ongoing",
        State::Ending { .. } => "ending",
        State::Hanging { .. } => "hanging",
    }
}

fn id(state: &State) -> Option<&str> {
    match state {
        State::Ongoing {
            transactional_id, ..
        }
        | State::Ending {
            transactional_id, ..
        } => Some(transactional_id),
        State::Hanging {
            transactional_id, ..
        } => transactional_id.as_deref(),
    }
}

/// Returns the coordinator's view.
fn coordinator(state: &State) -> String {
    match state {
        State::Ongoing {
            started_ms,
            timeout_ms,
            ..
        } => {
            let end = started_ms.saturating_add(i64::from(*timeout_ms));
            format!(
                "Ongoing since {}; it aborts the transaction at {} unless the producer ends it before",
                time(Some(*started_ms)).unwrap_or_default(),
                time(Some(end)).unwrap_or_default()
            )
        }
        State::Ending {
            coordinator_state, ..
        } => format!("{coordinator_state}; it is ending the transaction"),
        State::Hanging {
            coordinator_state: Some(state),
            ..
        } => {
            format!("{state}, without this partition; the transaction never ends by itself")
        }
        State::Hanging {
            coordinator_state: None,
            ..
        } => "none knows this producer; the transaction never ends by itself".to_owned(),
    }
}

impl fmt::Display for EndReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EndedTransaction {
            result,
            topic,
            partition,
            producer_id,
            state,
            last_stable_offset_before,
            last_stable_offset,
            high_watermark,
        } = &self.ended;
        let (topic, name) = (printable(topic), name(state));
        let verb = match result {
            TransactionResult::Committed => "committed",
            TransactionResult::Aborted => "aborted",
        };
        writeln!(
            f,
            "{verb} the {name} transaction of producer id {producer_id} in {topic} partition {partition}"
        )?;
        if let State::Ongoing {
            transactional_id, ..
        } = state
        {
            let id = printable(transactional_id);
            writeln!(
                f,
                "the coordinator has aborted it in all its partitions and fenced the producer of transactional id `{id}`"
            )?;
        }
        writeln!(
            f,
            "last stable offset {last_stable_offset_before} before, {last_stable_offset} now; high watermark {high_watermark}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(partition: i32, start_offset: i64, state: State) -> OpenTransaction {
        OpenTransaction {
            topic: "t".to_owned(),
            partition,
            last_stable_offset: 5,
            high_watermark: 12,
            producer_id: 7,
            producer_epoch: 2,
            start_offset,
            since_ms: (start_offset == 5).then_some(1_700_000_000_000),
            last_written_ms: 1_700_000_001_000,
            state,
        }
    }

    #[test]
    fn each_transaction_is_shown_with_its_coordinators_view() {
        let id = || "a\nb".to_owned();
        let ongoing = State::Ongoing {
            transactional_id: id(),
            started_ms: 1_700_000_000_000,
            timeout_ms: 60_000,
        };
        let ending = State::Ending {
            transactional_id: id(),
            coordinator_state: "PrepareCommit".to_owned(),
        };
        let unknown = State::Hanging {
            transactional_id: None,
            coordinator_state: None,
        };
        let other = State::Hanging {
            transactional_id: Some(id()),
            coordinator_state: Some("CompleteCommit".to_owned()),
        };
        let report = ListReport {
            topics: vec!["t".to_owned()],
            transactions: vec![
                open(0, 5, unknown),
                open(0, 6, other),
                open(1, 5, ongoing),
                open(1, 6, ending),
            ],
        };
        insta::assert_snapshot!(report.to_string(), @r"
        t partition 0: last stable offset 5, high watermark 12, so 7 offsets are held back
          hanging: producer id 7, epoch 2, transactional id unknown
            open from offset 5, since 2023-11-14T22:13:20Z; last record written at 2023-11-14T22:13:21Z
            coordinator: none knows this producer; the transaction never ends by itself
            abort it: iris-admin transactions --abort --topic t --partition 0 --producer-id 7 --start-offset 5
            commit it: iris-admin transactions --commit --topic t --partition 0 --producer-id 7 --start-offset 5
          hanging: producer id 7, epoch 2, transactional id `a\nb`
            open from offset 6, since an unknown time; last record written at 2023-11-14T22:13:21Z
            coordinator: CompleteCommit, without this partition; the transaction never ends by itself
            commit it: iris-admin transactions --commit --topic t --partition 0 --producer-id 7 --start-offset 6
            abort it: iris-admin transactions --abort --topic t --partition 0 --producer-id 7 --start-offset 6
        t partition 1: last stable offset 5, high watermark 12, so 7 offsets are held back
          ongoing: producer id 7, epoch 2, transactional id `a\nb`
            open from offset 5, since 2023-11-14T22:13:20Z; last record written at 2023-11-14T22:13:21Z
            coordinator: Ongoing since 2023-11-14T22:13:20Z; it aborts the transaction at 2023-11-14T22:14:20Z unless the producer ends it before
            abort it: iris-admin transactions --abort --topic t --partition 1 --producer-id 7 --start-offset 5
          ending: producer id 7, epoch 2, transactional id `a\nb`
            open from offset 6, since an unknown time; last record written at 2023-11-14T22:13:21Z
            coordinator: PrepareCommit; it is ending the transaction
        4 open transactions in 1 topic: 2 hanging, 1 ongoing, 1 ending
        ");
    }

    #[test]
    fn without_an_open_transaction_the_topics_are_counted() {
        let report = ListReport {
            topics: vec!["t".to_owned(), "u".to_owned()],
            transactions: Vec::new(),
        };
        assert_eq!(
            report.to_string(),
            "0 open transactions in 2 topics: 0 hanging, 0 ongoing, 0 ending\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["transactions"], serde_json::json!([]));
    }

    #[test]
    fn the_end_of_a_transaction_reports_how_far_readers_can_read() {
        let report = EndReport {
            ended: EndedTransaction {
                result: TransactionResult::Aborted,
                topic: "t".to_owned(),
                partition: 0,
                producer_id: 7,
                state: State::Ongoing {
                    transactional_id: "id".to_owned(),
                    started_ms: 1,
                    timeout_ms: 2,
                },
                last_stable_offset_before: 5,
                last_stable_offset: 13,
                high_watermark: 13,
            },
        };
        insta::assert_snapshot!(report.to_string(), @r"
        aborted the ongoing transaction of producer id 7 in t partition 0
        the coordinator has aborted it in all its partitions and fenced the producer of transactional id `id`
        last stable offset 5 before, 13 now; high watermark 13
        ");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["state"], "ongoing");
    }
}
