//! Alternates between two champions.

use std::time::Instant;

use anyhow::{Context, ensure};
use iris_core::{Artefact, Lineage, Model, ModelKind, ModelVersion, TrainingSet};
use iris_registry::{Follower, Grounds, RegistryTopic, RegistryWriter};
use tokio_util::sync::CancellationToken;

use crate::{TIMEOUT, eventually};

/// The row that the second model has in addition to those of the first, with the class that sorts first. The paper's model
/// mispredicts a flower with these measurements, so the two models differ near it.
pub const EXTRA_ROW: [f64; 4] = [6.3, 2.5, 4.9, 1.5];

/// The author of the decisions.
const BY: &str = "a test";

/// Returns a model with one row more than its parent.
///
/// # Errors
/// If the model cannot be fitted.
pub fn with_one_more_row(parent: &Model, row: [f64; 4]) -> anyhow::Result<Artefact> {
    let rows = parent.training_set();
    let class = rows.classes().first().context("a model has classes")?;
    let more = rows.rows().chain([(&row[..], class.as_str())]);
    Ok(Artefact {
        model: Model::fit(TrainingSet::new(rows.schema().clone(), more), parent.kind())?,
        lineage: Lineage {
            parent: Some(parent.version()),
            made_by: BY.into(),
            ..Lineage::default()
        },
    })
}

/// Returns a model of another kind with the same rows as its parent.
///
/// # Errors
/// If the model cannot be fitted.
pub fn of_another_kind(parent: &Model, kind: ModelKind) -> anyhow::Result<Artefact> {
    Ok(Artefact {
        model: Model::fit(parent.training_set().clone(), kind)?,
        lineage: Lineage {
            parent: Some(parent.version()),
            made_by: BY.into(),
            ..Lineage::default()
        },
    })
}

/// Returns the grounds of a test's decision.
#[must_use]
pub fn grounds() -> Grounds {
    Grounds {
        by: BY.into(),
        reason: "to see".into(),
        ..Grounds::default()
    }
}

/// Promotes two models in turn.
#[derive(Debug)]
pub struct Swaps {
    writer: RegistryWriter,
    follower: Follower,
    /// The champion and the next champion.
    models: [ModelVersion; 2],
}

impl Swaps {
    /// Waits for the first champion, and adds the second model that `second` makes from it. From now on, no other process may write to the registry.
    ///
    /// # Errors
    /// If the registry cannot be used, or there is no champion in time.
    pub fn prepare(
        topic: &RegistryTopic,
        second: impl FnOnce(&Model) -> anyhow::Result<Artefact>,
    ) -> anyhow::Result<Self> {
        let registry = eventually("a first champion", TIMEOUT, || {
            topic
                .read()
                .ok()
                .filter(|registry| registry.champion().is_some())
        })?;
        let champion = registry.champion().context("there is a champion")?;
        let model = topic.load(&registry, champion)?.model;
        let second = second(&model)?;
        let stop = CancellationToken::new();
        topic.update(
            &stop,
            &mut |registry| Ok(registry.offer(&second, grounds())),
        )?;
        let mut writer = topic.writer()?;
        writer.take_turn(&[], &stop, &mut |_| ())?;
        Ok(Self {
            writer,
            follower: topic.follow()?,
            models: [champion, second.model.version()],
        })
    }

    /// Returns the champion and the other model.
    #[must_use]
    pub fn models(&self) -> [ModelVersion; 2] {
        self.models
    }

    /// Promotes the other model. Returns its version.
    ///
    /// # Errors
    /// If another process has written to the registry, or the cluster refuses.
    pub fn swap(&mut self) -> anyhow::Result<ModelVersion> {
        self.models.reverse();
        let [next, _] = self.models;
        let entries = self.follower.registry().promote(next, grounds())?;
        self.writer.write(&entries, [])?;
        let deadline = Instant::now() + TIMEOUT;
        while !self.follower.registry().has(&entries) {
            ensure!(Instant::now() < deadline, "the decision cannot be read");
            self.follower.wait(TIMEOUT)?;
        }
        Ok(next)
    }
}
