//! Follows the registry, and loads each champion.

use std::sync::Arc;

use anyhow::anyhow;
use iris_core::{Model, ModelVersion};
use iris_registry::{Follower, RegistryTopic, RegistryTopicError};
use tracing::warn;

use super::reader::{Reader, WAIT};
use crate::NAME;
use crate::models::Models;

/// Follows the registry until the service is stopped.
pub(super) fn read(reader: &Reader) {
    let topic = RegistryTopic::new(&reader.settings.kafka, &reader.settings.topics.models, NAME)
        .until(&reader.stop)
        .reporting(reader.part.reporter());
    reader.retry(|reader| follow(reader, &topic));
}

fn follow(reader: &Reader, topic: &RegistryTopic) -> Result<(), RegistryTopicError> {
    let mut follower = topic.follow()?.keeping_rows();
    loop {
        let models = Models::of(follower.registry());
        let champion = reader.shared.read().champion.clone();
        let known = champion.as_ref().map(|model| model.version());
        let loaded = match champion_to_load(follower.registry().champion(), known) {
            None => None,
            Some(version) => load(&mut follower, version, champion.as_deref())?,
        };
        let mut state = reader.shared.write();
        state.models = models;
        if loaded.is_some() {
            state.champion = loaded;
        }
        drop(state);
        while !follower.wait(WAIT)? {
            reader.part.report(None);
            if reader.stop.is_cancelled() {
                return Ok(());
            }
        }
    }
}

/// Returns the champion's version if it is not the known one.
fn champion_to_load(
    champion: Option<ModelVersion>,
    known: Option<ModelVersion>,
) -> Option<ModelVersion> {
    champion.filter(|_| champion != known)
}

/// Loads a model, whose rows may be those of the previous one. Returns `None` if the registry has it in a form that this build
/// refuses; the classifiers log the same.
fn load(
    follower: &mut Follower,
    version: ModelVersion,
    previous: Option<&Model>,
) -> Result<Option<Arc<Model>>, RegistryTopicError> {
    match follower.load(version, previous.as_slice()) {
        Ok(artefact) => Ok(Some(Arc::new(artefact.model))),
        Err(error) if error.is_retriable() => Err(error),
        Err(error) => {
            warn!("{:#}", anyhow!(error));
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_champion_is_loaded_once() {
        let version = |text: &str| -> Option<ModelVersion> { Some(text.parse().unwrap()) };
        let (first, second) = (version("00c0ffee00c0ffee"), version("0000000000000001"));
        assert_eq!(champion_to_load(None, None), None);
        assert_eq!(champion_to_load(first, None), first);
        assert_eq!(champion_to_load(first, first), None);
        assert_eq!(champion_to_load(second, first), second);
    }
}
