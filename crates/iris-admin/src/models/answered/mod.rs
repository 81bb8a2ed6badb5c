//! `models answered`: the model that classified an input record, or the models that classified records at a time.
//!
//! A prediction has its input's partition and timestamp, and its provenance names the input record. So it is found by the
//! timestamp and a search from there on, without reading whole topics.

mod lookup;
mod replay;
mod since;

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use iris_contract::Classifier;
use iris_kafka::PartitionOffset;
use iris_registry::RegistryTopic;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::args::AnsweredArgs;
use crate::output::print;
use crate::settings::Settings;
use lookup::Lookup;
use replay::Replay;

/// The question that the arguments ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// The model that classified this input record.
    Record(PartitionOffset),
    /// The models that classified records at this time.
    Since(Timestamp),
}

impl Question {
    fn of(args: &AnsweredArgs) -> anyhow::Result<Self> {
        match (args.partition, args.offset, args.time) {
            (Some(partition), Some(offset), _) => {
                Ok(Self::Record(PartitionOffset { partition, offset }))
            }
            (_, _, Some(time)) => Ok(Self::Since(time)),
            _ => bail!("name a record with --partition and --offset, or a --time"),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// If the record or its prediction does not exist, or if the model now predicts something else.
pub(super) fn run(
    args: &AnsweredArgs,
    settings: &Settings,
    registry: &RegistryTopic,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let lookup = Lookup { settings, stop };
    match Question::of(args)? {
        Question::Record(record) => {
            let replay = replay(&lookup, registry, record)?;
            print(&replay, args.json)?;
            ensure!(
                replay.is_same_when_replayed,
                "model {} now predicts something else",
                replay.model_version
            );
            Ok(())
        }
        Question::Since(time) => print(&since::predictions(&lookup, registry, time)?, args.json),
    }
}

/// Classifies an input record again with the model that classified it.
fn replay(
    lookup: &Lookup<'_>,
    registry: &RegistryTopic,
    record: PartitionOffset,
) -> anyhow::Result<Replay> {
    let input = lookup.input(record)?;
    let found = lookup.prediction_of(&input)?.context(
        "it has no prediction with a provenance: it was dead-lettered, is not classified yet, or predictions are not \
         published",
    )?;
    let version = found.provenance.model_version;
    let model = registry.load(&registry.read()?, version)?.model;
    replay::replay(&Classifier::new(Arc::new(model)), &input, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_ask_about_a_record_or_a_time() {
        let args = |partition, offset, time| AnsweredArgs {
            partition,
            offset,
            time,
            json: false,
        };
        let record = PartitionOffset {
            partition: 2,
            offset: 14,
        };
        let time = Timestamp::UNIX_EPOCH;
        let question = |args| Question::of(&args).ok();
        assert_eq!(
            question(args(Some(2), Some(14), None)),
            Some(Question::Record(record))
        );
        assert_eq!(
            question(args(None, None, Some(time))),
            Some(Question::Since(time))
        );
        assert_eq!(question(args(Some(2), None, None)), None);
    }
}
