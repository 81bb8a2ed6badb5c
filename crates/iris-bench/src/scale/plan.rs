//! The sizes to measure.

use std::env;

use anyhow::{Context, bail, ensure};

/// The parts of a session, in their order.
pub const PARTS: [&str; 6] = [
    "processors",
    "memory",
    "workers",
    "trainer",
    "transactions",
    "cluster",
];

/// The sizes to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePlan {
    /// The numbers of workers that a broker carries.
    pub workers: Vec<usize>,
    /// The records per second that each of them is sent.
    pub trickle: u64,
    /// The numbers of partitions under full load.
    pub partitions: Vec<i32>,
    /// The number of records of a run under full load.
    pub records: u64,
    /// How long a load that does not end by itself is measured, in seconds.
    pub seconds: u64,
    /// How long the trainer is measured, in seconds.
    pub trainer_seconds: u64,
    /// If not empty, the only part to measure.
    pub only: String,
}

impl Default for ScalePlan {
    fn default() -> Self {
        Self {
            workers: vec![10, 100, 1_000],
            trickle: 1,
            partitions: vec![5, 50, 500],
            records: 1_000_000,
            seconds: 10,
            trainer_seconds: 60,
            only: String::new(),
        }
    }
}

impl ScalePlan {
    /// Reads `SCALE_WORKERS`, `SCALE_TRICKLE`, `SCALE_PARTITIONS`, `SCALE_RECORDS`, `SCALE_SECONDS`, `SCALE_TRAINER_SECONDS`
    /// and `SCALE_ONLY`.
    ///
    /// # Errors
    /// If a value is invalid.
    pub fn from_environment() -> anyhow::Result<Self> {
        Self::read(|name| env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let default = Self::default();
        let text = |name: &str| variable(name).filter(|text| !text.is_empty());
        let number = |name: &str, default: u64| match text(name) {
            Some(text) => positive(name, &text),
            None => Ok(default),
        };
        let list = |name: &str| match text(name) {
            Some(text) => text
                .split(',')
                .map(|part| positive(name, part.trim()))
                .collect(),
            None => Ok(Vec::new()),
        };
        let workers: Vec<u64> = list("SCALE_WORKERS")?;
        let partitions: Vec<u64> = list("SCALE_PARTITIONS")?;
        let plan = Self {
            workers: if workers.is_empty() {
                default.workers
            } else {
                sizes(&workers)?
            },
            partitions: if partitions.is_empty() {
                default.partitions
            } else {
                sizes(&partitions)?
            },
            trickle: number("SCALE_TRICKLE", default.trickle)?,
            records: number("SCALE_RECORDS", default.records)?,
            seconds: number("SCALE_SECONDS", default.seconds)?,
            trainer_seconds: number("SCALE_TRAINER_SECONDS", default.trainer_seconds)?,
            only: text("SCALE_ONLY").unwrap_or_default(),
        };
        ensure!(
            plan.records >= MIN_RECORDS,
            "SCALE_RECORDS is {}: allowed is {MIN_RECORDS} or more",
            plan.records
        );
        if !plan.only.is_empty() && !PARTS.contains(&plan.only.as_str()) {
            bail!(
                "SCALE_ONLY is `{}`: allowed are {}",
                plan.only,
                PARTS.join(", ")
            );
        }
        Ok(plan)
    }

    /// Returns whether a part is measured.
    #[must_use]
    pub fn has(&self, part: &str) -> bool {
        self.only.is_empty() || self.only == part
    }

    /// Returns whether everything is measured with the default sizes, so that the results may be published.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self == Self::default()
    }
}

/// The fewest records that a run can be measured on.
const MIN_RECORDS: u64 = 100_000;

fn positive(name: &str, text: &str) -> anyhow::Result<u64> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.with_context(|| format!("{name} has `{text}`: allowed is a number from 1"))
}

fn sizes<T: TryFrom<u64>>(numbers: &[u64]) -> anyhow::Result<Vec<T>> {
    let sizes = numbers.iter().map(|&number| {
        let size = T::try_from(number).ok();
        size.with_context(|| format!("{number} is too large"))
    });
    sizes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> anyhow::Result<ScalePlan> {
        let find = |name: &str| variables.iter().find(|(other, _)| *other == name);
        ScalePlan::read(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn without_variables_everything_is_measured() {
        let plan = read(&[("SCALE_WORKERS", "")]).unwrap();
        assert!(plan.is_complete() && plan.has("trainer"));
    }

    #[test]
    fn variables_choose_sizes_and_the_part() {
        let plan = read(&[
            ("SCALE_WORKERS", "2, 4"),
            ("SCALE_PARTITIONS", "7"),
            ("SCALE_RECORDS", "100000"),
            ("SCALE_ONLY", "memory"),
        ])
        .unwrap();
        assert_eq!(
            (plan.workers.as_slice(), plan.records),
            (&[2, 4][..], 100_000)
        );
        assert_eq!(plan.partitions, [7]);
        assert!(plan.has("memory") && !plan.has("trainer") && !plan.is_complete());
    }

    #[test]
    fn invalid_values_are_refused_with_what_is_allowed() {
        let error = |name, value| read(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(
            error("SCALE_WORKERS", "10,0"),
            "SCALE_WORKERS has `0`: allowed is a number from 1"
        );
        assert_eq!(
            error("SCALE_RECORDS", "7"),
            "SCALE_RECORDS is 7: allowed is 100000 or more"
        );
        assert_eq!(
            error("SCALE_ONLY", "all"),
            "SCALE_ONLY is `all`: allowed are processors, memory, workers, trainer, transactions, cluster"
        );
    }
}
