//! Two models that take turns as the champion.

use std::time::Duration;

use anyhow::Context;
use iris_core::{Artefact, Lineage, Model, ModelVersion, TrainingSet};
use iris_registry::Grounds;
use iris_registry::{Follower, RegistryTopic, RegistryWriter};
use tokio_util::sync::CancellationToken;

use crate::eventually;

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The row that the second model has beside those of the first, as one of the class that sorts first: that of a flower
/// which the paper's model mispredicts, so that answers nearby differ from model to model.
pub const EXTRA_ROW: [f64; 4] = [6.3, 2.5, 4.9, 1.5];

/// Who is said to have decided.
const BY: &str = "a test";

/// A model like another but for one row more, so that it is another model.
///
/// # Errors
/// If it cannot be fitted.
pub fn with_one_more_row(parent: &Model, row: [f64; 4]) -> anyhow::Result<Artefact> {
    let rows = parent.training_set();
    let labels = rows
        .class_of_row()
        .iter()
        .map(|&class| rows.classes()[class].as_str());
    let class = rows.classes().first().context("a model has classes")?;
    let more = rows
        .features()
        .chunks(row.len())
        .zip(labels)
        .chain([(&row[..], class.as_str())]);
    Ok(Artefact {
        model: Model::fit(
            TrainingSet::new(rows.schema().clone(), more),
            parent.neighbors(),
        )?,
        lineage: Lineage {
            parent: Some(parent.version()),
            made_by: BY.into(),
            ..Lineage::default()
        },
    })
}

/// The grounds of a decision that is a test's.
#[must_use]
pub fn grounds() -> Grounds {
    Grounds {
        by: BY.into(),
        reason: "to see".into(),
        ..Grounds::default()
    }
}

/// Has two models take turns as the champion.
#[derive(Debug)]
pub struct Swaps {
    writer: RegistryWriter,
    follower: Follower,
    stop: CancellationToken,
    /// The champion, and who is next.
    models: [ModelVersion; 2],
}

impl Swaps {
    /// Waits for the first champion, and enters a second model beside it. From here on nobody else may decide.
    ///
    /// # Errors
    /// If the registry cannot be used, or there is no champion in time.
    pub fn prepare(topic: &RegistryTopic) -> anyhow::Result<Self> {
        let registry = eventually("a first champion", PATIENCE, || {
            topic
                .read()
                .ok()
                .filter(|registry| registry.champion().is_some())
        })?;
        let champion = registry.champion().context("there is a champion")?;
        let model = topic.load(&registry, champion)?.model;
        let second = with_one_more_row(&model, EXTRA_ROW)?;
        let stop = CancellationToken::new();
        topic.update(&stop, &mut |registry| {
            Ok(registry.enter(&second, false, grounds()))
        })?;
        let mut writer = topic.writer()?;
        writer.take_turn(&stop, &mut |_| ())?;
        Ok(Self {
            writer,
            follower: topic.follow()?,
            stop,
            models: [champion, second.model.version()],
        })
    }

    /// The champion, and the other one. Before the first swap, the other one is that with [`EXTRA_ROW`].
    #[must_use]
    pub fn models(&self) -> [ModelVersion; 2] {
        self.models
    }

    /// Makes the other one the champion, and returns it.
    ///
    /// # Errors
    /// If somebody else has decided, or the cluster does not do its part.
    pub fn swap(&mut self) -> anyhow::Result<ModelVersion> {
        self.models.reverse();
        let [next, _] = self.models;
        let entries = self.follower.registry().promote(next, grounds())?;
        self.writer.write(&entries, [])?;
        self.follower.wait_for(&entries, &self.stop)?;
        Ok(next)
    }
}
