//! Positions at the ends of partitions that were written in transactions: behind the markers and the aborted records that
//! follow the last record.
//!
//! A commit that ends with the last record leaves a lag of one or more, and a partition with only aborted records has no last
//! record. So the position of the client is committed: with the records if there are any, else in a transaction of its own.

use std::ops::Range;

use rdkafka::error::KafkaError;

use crate::consume::consumer::Consumer;
use crate::exactly_once::fault::Fault;
use crate::exactly_once::open_transaction::OpenTransaction;
use crate::exactly_once::processor::Processor;
use crate::exactly_once::rebalance::SharedTransaction;
use crate::exactly_once::recovery::rewind;

/// Moves the positions behind all that the client has read, in the open transaction; opens one if there is anything to move.
/// May be called only while every record that the consumer has returned is processed, or the transaction has a fault.
///
/// # Errors
/// [`Fault`] if no transaction can be opened, or if the start of a log is not known in time.
pub(super) fn pass_markers<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
) -> Result<(), Fault> {
    if transaction.fault().is_some() {
        return Ok(());
    }
    let mut partitions: Vec<i32> = transaction.positions().partitions().collect();
    // The records of these were returned, but not processed.
    partitions.retain(|&partition| !transaction.topics.is_held(partition));
    for (partition, reached) in consumer.reached(&partitions) {
        let position = transaction.positions().get(partition);
        if let Some(position) = position.filter(|&position| position < reached) {
            note_deleted(consumer, transaction, partition, position..reached)?;
            transaction.pass(partition, reached)?;
        }
    }
    Ok(())
}

/// Adds the records of a gap that were deleted before they were read to the transaction.
///
/// # Errors
/// [`Fault`] if the start of the log is not known in time: the records could be lost without a report.
pub(super) fn note_deleted<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
    partition: i32,
    gap: Range<i64>,
) -> Result<(), Fault> {
    let deleted = consumer.deleted_between(partition, gap.start, gap.end);
    match deleted {
        Ok(Some(offsets)) => transaction.deleted.add(partition, offsets),
        Ok(None) => {}
        Err(error) => {
            let problem = format!("requesting the start of partition {partition}: {error}");
            return Err(Fault::Abortable(problem));
        }
    }
    Ok(())
}

/// Gives a position to the assigned partitions from which the client has read something, but no record: only markers and
/// aborted records. They are read again from the committed offset or the beginning, because only then is it certain that
/// nothing was left out. To be called while the transaction has nothing to commit.
///
/// # Errors
/// If the committed offsets are not known in time; then nothing has changed.
pub(super) fn place_unread<P: Processor>(
    consumer: &Consumer,
    transaction: &SharedTransaction<P>,
) -> Result<(), KafkaError> {
    let mut unread = consumer.assignment();
    {
        let transaction = transaction.lock();
        unread.retain(|&partition| {
            !transaction.has_position(partition) && !transaction.topics.is_held(partition)
        });
    }
    let reached = consumer.reached(&unread);
    if reached.is_empty() {
        return Ok(());
    }
    rewind(consumer, transaction)?;
    let mut transaction = transaction.lock();
    for partition in reached.partitions() {
        if !transaction.has_position(partition) {
            transaction.start_at(partition, consumer.log_start(partition));
        }
    }
    Ok(())
}
