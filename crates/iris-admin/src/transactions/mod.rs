//! `transactions`: lists the open transactions that hold back readers of committed records, or ends one of them.

mod report;

use iris_contract::{Topic, Topics};
use iris_kafka::startup::{Need, connect};
use iris_service::{Service, UsageError};
use iris_transactions::{Cluster, TransactionKey, TransactionResult, end, open_transactions};
use tokio_util::sync::CancellationToken;

use crate::args::TransactionsArgs;
use crate::output::print;
use crate::settings::Settings;
use report::{EndReport, ListReport};

/// The name of the role whose rights the command needs.
const ROLE: &str = "iris-admin-transactions";

/// Lists or ends transactions.
///
/// # Errors
/// If the cluster refuses, or the transaction to end is not open; [`UsageError`] if it is not named exactly.
pub async fn run(
    args: TransactionsArgs,
    settings: &Settings,
    service: &Service,
) -> anyhow::Result<()> {
    let (settings, stop) = (settings.clone(), service.stop.clone());
    tokio::task::spawn_blocking(move || run_blocking(&args, &settings, &stop)).await?
}

fn run_blocking(
    args: &TransactionsArgs,
    settings: &Settings,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let to_end = to_end(args)?;
    Cluster::check(&settings.kafka).map_err(UsageError::new)?;
    let topics = selected(args, &settings.topics);
    let needs: Vec<Need<'_>> = topics.iter().map(|topic| Need::read(topic)).collect();
    let (kafka, wait) = (&settings.kafka, settings.service.wait_for_broker);
    if connect(kafka, ROLE, wait, stop, &mut |_| (), &needs)?.is_none() {
        return Ok(());
    }
    let mut cluster = Cluster::connect(kafka, ROLE)?;
    if let Some((key, result)) = to_end {
        let ended = end(&mut cluster, &key, result)?;
        return print(&EndReport { ended }, args.json);
    }
    let transactions = open_transactions(&mut cluster, &topics)?;
    let report = ListReport {
        topics,
        transactions,
    };
    print(&report, args.json)
}

/// Returns the topics to look at.
fn selected(args: &TransactionsArgs, topics: &Topics) -> Vec<String> {
    if !args.topic.is_empty() {
        return args.topic.clone();
    }
    let all = Topic::ALL.into_iter();
    all.map(|topic| topics.name(topic).to_owned()).collect()
}

/// Returns the transaction to end, and how; `None` if they are to be listed.
fn to_end(
    args: &TransactionsArgs,
) -> Result<Option<(TransactionKey, TransactionResult)>, UsageError> {
    let result = match (args.commit, args.abort) {
        (true, _) => TransactionResult::Committed,
        (false, true) => TransactionResult::Aborted,
        (false, false) => return Ok(None),
    };
    match (
        args.topic.as_slice(),
        args.partition,
        args.producer_id,
        args.start_offset,
    ) {
        ([topic], Some(partition), Some(producer_id), Some(start_offset)) => {
            let key = TransactionKey {
                topic: topic.clone(),
                partition,
                producer_id,
                start_offset,
            };
            Ok(Some((key, result)))
        }
        _ => Err(UsageError::from(anyhow::anyhow!(
            "one transaction is ended at a time, so --topic may be given only once"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, ClusterCommand, Command};

    fn parsed(line: &str) -> Result<TransactionsArgs, String> {
        let line = format!("iris-admin transactions {line}");
        let args = Args::try_parse_from(line.split_whitespace());
        match args.map_err(|error| error.to_string())?.command {
            Some(Command::Cluster(ClusterCommand::Transactions(args))) => Ok(args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_transaction_must_be_named_exactly() {
        let line = "--abort --topic t --partition 0 --producer-id 7 --start-offset 9";
        let expected = TransactionKey {
            topic: "t".to_owned(),
            partition: 0,
            producer_id: 7,
            start_offset: 9,
        };
        let commit = line.replace("--abort", "--commit");
        for (line, result) in [
            (line, TransactionResult::Aborted),
            (&commit, TransactionResult::Committed),
        ] {
            let ended = to_end(&parsed(line).unwrap()).unwrap();
            assert_eq!(ended, Some((expected.clone(), result)));
        }
        assert!(parsed(&format!("{line} --commit")).is_err());
        for part in [
            "--topic t",
            "--partition 0",
            "--producer-id 7",
            "--start-offset 9",
        ] {
            assert!(parsed(&line.replace(part, "")).is_err(), "{part}");
        }
        let twice = parsed(&format!("{line} --topic u")).unwrap();
        assert!(to_end(&twice).is_err());
        assert!(parsed("--partition 0").is_err());
        assert_eq!(
            to_end(&parsed("--topic t --topic u").unwrap()).unwrap(),
            None
        );
    }

    #[test]
    fn without_a_topic_all_topics_of_the_settings_are_looked_at() {
        let topics = Topics::default();
        let all = selected(&parsed("").unwrap(), &topics);
        assert_eq!(all.len(), Topic::ALL.len());
        assert_eq!(selected(&parsed("--topic t").unwrap(), &topics), ["t"]);
    }
}
