//! The records of a dataset's rows.

use std::path::Path;

use anyhow::anyhow;
use iris_core::Dataset;
use iris_kafka::{Headers, OutgoingRecord};
use iris_service::UsageError;

use crate::schedule::Schedule;

/// The rows as records, with the values of one column as their keys.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    dataset: &'a Dataset,
    key_column: &'a str,
    /// The JSON value of the current record.
    value: Vec<u8>,
}

/// Checks that a dataset has the column that is named as the key, if one is.
///
/// # Errors
/// [`UsageError`] with the columns of the dataset.
pub(crate) fn check_key_column(
    dataset: &Dataset,
    key_column: &str,
    path: &Path,
) -> Result<(), UsageError> {
    if key_column.is_empty() || dataset.cell(0, key_column).is_some() {
        return Ok(());
    }
    let (path, columns) = (path.display(), dataset.columns().join(", "));
    Err(
        anyhow!("producer.key is `{key_column}`, but {path} has no such column: it has {columns}")
            .into(),
    )
}

impl<'a> Rows<'a> {
    /// Returns the rows of a dataset. If the name of the column is empty, the records have no keys.
    pub(crate) fn new(dataset: &'a Dataset, key_column: &'a str) -> Self {
        Self {
            dataset,
            key_column,
            value: Vec::new(),
        }
    }

    /// Returns the `n`-th record of a schedule. If it has a key, the key determines its partition.
    pub(crate) fn record<'r>(
        &'r mut self,
        schedule: &Schedule,
        n: u64,
        topic: &'r str,
        headers: Headers,
    ) -> anyhow::Result<OutgoingRecord<'r>> {
        let row = usize::try_from(schedule.row(n))?;
        self.value.clear();
        self.dataset.write_json(row, &mut self.value);
        let key = self.dataset.cell(row, self.key_column);
        Ok(OutgoingRecord {
            topic,
            partition: key.is_none().then(|| schedule.partition(n)),
            timestamp: None,
            key: key.map(str::as_bytes),
            value: Some(&self.value),
            headers,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iris_core::Schema;

    use super::*;

    fn dataset() -> Dataset {
        let schema = Schema {
            features: vec!["x".into()],
            ..Schema::default()
        };
        Dataset::parse(b"Id,x,Species\n7,1.0,a\n8,2.5,b\n", &schema).unwrap()
    }

    /// Returns the partition, key and value of each record of two rounds over 3 partitions.
    fn sent(key_column: &str) -> Vec<(Option<i32>, Option<String>, String)> {
        let dataset = dataset();
        let mut rows = Rows::new(&dataset, key_column);
        let schedule = Schedule {
            rows: 2,
            rounds: 2,
            interval: Duration::ZERO,
            partitions: 3,
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (0..schedule.total())
            .map(|n| {
                let record = rows.record(&schedule, n, "input", Headers::default());
                let record = record.unwrap();
                assert_eq!(record.topic, "input");
                let value = text(record.value.unwrap());
                (record.partition, record.key.map(text), value)
            })
            .collect()
    }

    #[test]
    fn records_without_a_key_are_assigned_to_the_partitions_in_turn() {
        let (first, second) = (
            r#"{"Id":7,"x":1.0,"Species":"a"}"#,
            r#"{"Id":8,"x":2.5,"Species":"b"}"#,
        );
        let expected = [(0, first), (1, second), (2, first), (0, second)];
        let expected = expected.map(|(partition, value)| (Some(partition), None, value.to_owned()));
        assert_eq!(sent(""), expected);
    }

    #[test]
    fn a_key_determines_the_partition() {
        let keys: Vec<_> = sent("Id")
            .into_iter()
            .map(|(partition, key, _)| (partition, key.unwrap()))
            .collect();
        let expected = ["7", "8", "7", "8"].map(|key| (None, key.to_owned()));
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_missing_key_column_is_refused_with_the_columns_of_the_dataset() {
        let (dataset, path) = (dataset(), Path::new("data.csv"));
        assert!(check_key_column(&dataset, "", path).is_ok());
        assert!(check_key_column(&dataset, "Species", path).is_ok());
        let refused = check_key_column(&dataset, "Name", path).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "producer.key is `Name`, but data.csv has no such column: it has Id, x, Species"
        );
    }
}
