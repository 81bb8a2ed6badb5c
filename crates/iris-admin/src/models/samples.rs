//! Registries for tests.

use iris_core::{Artefact, Lineage, Model, Schema, TrainingSet};
use iris_registry::{Grounds, Registry};

/// Returns a registry of models with these versions. None of the models can be used.
pub(super) fn unusable(versions: &[&str]) -> Registry {
    let mut registry = Registry::default();
    for (offset, version) in (0..).zip(versions) {
        let newer = Some(&b"{\"format\":9}"[..]);
        registry
            .apply(offset, Some(0), version.as_bytes(), newer)
            .unwrap();
    }
    registry
}

/// Returns a model of two rows: values nearer to 0 are of class `a`, values nearer to `x` of class `b`.
pub(super) fn artefact(x: f64, lineage: Lineage) -> Artefact {
    let schema = Schema {
        features: vec!["x".into()],
        ..Schema::default()
    };
    let rows = [(&[0.0][..], "a"), (&[x][..], "b")];
    let set = TrainingSet::new(schema, rows.into_iter());
    Artefact {
        model: Model::fit(set, 1).unwrap(),
        lineage,
    }
}

/// Enters a model into the registry at a time in milliseconds, as the champion if `is_promoted`.
pub(super) fn enter(registry: &mut Registry, model: &Artefact, is_promoted: bool, time: i64) {
    let entries = registry.enter(model, is_promoted, Grounds::default());
    for (entry, n) in entries.iter().zip(0..) {
        let (key, value) = (entry.key.as_bytes(), entry.value.as_deref());
        registry
            .apply(10 * time + n, Some(time), key, value)
            .unwrap();
    }
}

/// Returns a registry in which each of these models has replaced its predecessor, 1 s apart.
pub(super) fn succession(models: &[&Artefact]) -> Registry {
    let mut registry = Registry::default();
    for (model, second) in models.iter().zip(1..) {
        enter(&mut registry, model, true, 1_000 * second);
    }
    registry
}
