//! The records that are sent while a right is missing: each is processed once when the right is given back.

use iris_contract::TransactionSummary;
use iris_contract::loop_figures::{FIGURES_KEY, LoopFigures};
use iris_contract::rights::Role;
use iris_testkit::{TIMEOUT, eventually, get};
use serde_json::Value;

use super::stage::{Actor, Served, Stage};

/// Records that were sent while a right was missing.
pub(super) enum Sent {
    /// To the input, and nothing has classified them.
    Input,
    /// To the topics that the trainer reads.
    Predictions,
    /// To the input, and they are classified. The texts are those of the prediction, the misprediction and the dead letter.
    Classified([String; 3]),
}

impl Sent {
    /// Sends `records` records to each partition that a role reads.
    pub(super) fn new(stage: &Stage, role: Role, records: usize) -> Self {
        match role {
            Role::Trainer => {
                stage.send_predictions(records);
                Self::Predictions
            }
            Role::Dashboard | Role::FeedbackSink => Self::Classified(stage.send_classified()),
            _ => {
                stage.send(records);
                Self::Input
            }
        }
    }

    /// Waits until the service has processed the records that were sent, and all before them, once. If it ends at a request that
    /// a broker had refused, it is started again.
    pub(super) fn assert_kept(&self, stage: &Stage, actor: &Actor, served: &mut Served) {
        match (self, actor.role) {
            (Self::Input, Role::Classifier) => all_are_classified_once(stage, actor, served),
            (Self::Predictions, _) => all_are_learned_once(stage, actor, served),
            (Self::Classified(_), Role::FeedbackSink) => all_are_stored_once(stage, actor, served),
            (Self::Classified(texts), _) => all_are_shown_once(stage, actor, served, texts),
            // The producer streams its file again when it starts again.
            (Self::Input, _) => {}
        }
    }
}

/// Waits until a count is that of all records, and fails if it is greater.
fn await_count(
    what: &str,
    (stage, actor): (&Stage, &Actor),
    served: &mut Served,
    all: u64,
    counted: impl Fn(&Served) -> u64,
) {
    let reached = eventually(what, TIMEOUT, || {
        served.start_again_if_refused(stage, actor);
        (counted(served) >= all).then_some(())
    });
    let counted = counted(served);
    assert!(
        reached.is_ok() && counted == all,
        "{what}: {counted} of {all}\n{}\n{}",
        served.running.last_lines(),
        get(served.port, "/metrics").map_or_else(String::new, |(_, metrics)| metrics)
    );
}

/// Returns the records that the summaries of transactions count, of one group or of all.
fn summarised(stage: &Stage, group: Option<&str>) -> u64 {
    let summaries = stage.fixture.records(&stage.fixture.topics.summaries);
    let summaries = summaries.unwrap();
    let summaries = summaries
        .iter()
        .filter_map(|record| serde_json::from_slice(record.value.as_deref()?).ok());
    let counted = summaries
        .filter(|summary: &TransactionSummary| group.is_none_or(|group| summary.group == group));
    counted.map(|summary| summary.records()).sum()
}

/// Waits until the actor's group has an outcome for each record of the input, and none has two.
fn all_are_classified_once(stage: &Stage, actor: &Actor, served: &mut Served) {
    let sent = stage.fixture.records(&stage.fixture.topics.input).unwrap();
    let counted = |_: &Served| summarised(stage, Some(&actor.group));
    await_count(
        "every record to be classified",
        (stage, actor),
        served,
        sent.len() as u64,
        counted,
    );
}

/// Waits until the trainer has counted each prediction once. All of them have a label.
fn all_are_learned_once(stage: &Stage, actor: &Actor, served: &mut Served) {
    let topics = &stage.fixture.topics;
    let predictions = stage.fixture.records(&topics.predictions).unwrap();
    let counted = |_: &Served| {
        let state = stage.fixture.records(&topics.trainer_state).unwrap();
        let key = Some(FIGURES_KEY.as_bytes());
        let newest = state.iter().rfind(|record| record.key.as_deref() == key);
        let figures = newest.and_then(|record| LoopFigures::read(record.value.as_deref()?).ok());
        figures.map_or(0, |figures| figures.total.scores.records)
    };
    let all = predictions.len() as u64;
    await_count(
        "every prediction to be evaluated",
        (stage, actor),
        served,
        all,
        counted,
    );
}

/// Waits until the store has one row for each record of feedback.
fn all_are_stored_once(stage: &Stage, actor: &Actor, served: &mut Served) {
    let feedback = stage.fixture.records(&stage.fixture.topics.feedback);
    let store = stage.store(actor);
    let counted = |_: &Served| {
        let args = ["list", "--json", "--limit", "1000", "--store", &store];
        let listed = stage.fixture.run("iris-feedback-sink", &args).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap_or_default();
        rows.len() as u64
    };
    let all = feedback.unwrap().len() as u64;
    await_count(
        "every record of feedback to be stored",
        (stage, actor),
        served,
        all,
        counted,
    );
}

/// Waits until the page counts each record that has an outcome once, and shows the newest ones.
fn all_are_shown_once(stage: &Stage, actor: &Actor, served: &mut Served, texts: &[String; 3]) {
    let body = |served: &Served, path: &str| {
        get(served.page, path).map_or_else(String::new, |(_, body)| body)
    };
    let counted = |served: &Served| -> u64 {
        let figures = body(served, "/api/v1/figures");
        let figures: Value = serde_json::from_str(&figures).unwrap_or_default();
        figures["records"].as_u64().unwrap_or_default()
    };
    let all = summarised(stage, None);
    await_count(
        "every record to be shown",
        (stage, actor),
        served,
        all,
        counted,
    );
    let newest = ["predictions", "mispredictions", "dead-letters"];
    for (list, text) in newest.iter().zip(texts) {
        let path = format!("/api/v1/{list}");
        let shown = eventually(&path, TIMEOUT, || {
            body(served, &path).contains(text).then_some(())
        });
        assert!(
            shown.is_ok(),
            "no {text} in {path}: {}",
            body(served, &path)
        );
    }
}
