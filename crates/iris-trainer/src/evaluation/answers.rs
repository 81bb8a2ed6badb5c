//! The answers to one labelled record: the prediction that was served, and those of the baselines.

use serde::{Deserialize, Serialize};

use super::classes::Class;

/// The answers to a labelled record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct Answers {
    /// The number under which the join keeps the prediction.
    pub(crate) number: u64,
    /// The ground truth.
    pub(crate) truth: Class,
    /// The prediction that was served.
    pub(crate) served: Class,
    /// The prediction of the first champion, if the record is in its sample.
    pub(crate) never_learning: Option<Class>,
    /// The label of the previous labelled record, if there was one.
    pub(crate) no_change: Option<Class>,
}

/// The stored form. It has no names, because there may be thousands.
type Stored = (u64, Class, Class, Option<Class>, Option<Class>);

impl From<Stored> for Answers {
    fn from((number, truth, served, never_learning, no_change): Stored) -> Self {
        Self {
            number,
            truth,
            served,
            never_learning,
            no_change,
        }
    }
}

impl From<Answers> for Stored {
    fn from(answers: Answers) -> Self {
        let Answers {
            number,
            truth,
            served,
            never_learning,
            no_change,
        } = answers;
        (number, truth, served, never_learning, no_change)
    }
}
