//! A model that is ready to classify rows.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use crate::error::OnnxError;
use crate::numbering;
use crate::scaler;
use crate::signature::{Labels, Signature};
use crate::trees::{self, Trees, first_largest};

/// What computes the scores.
#[derive(Clone)]
enum Runtime {
    /// An ensemble of trees and nothing else.
    Trees(Arc<Trees>),
    /// tract.
    Plan(Arc<TypedRunnableModel>),
}

/// A model that classifies rows of numbers. A copy is cheap.
#[derive(Clone)]
pub struct Classifier {
    runtime: Runtime,
    features: usize,
    labels: Arc<Labels>,
    classes: Arc<Vec<String>>,
    has_label: bool,
    has_scores: bool,
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier")
            .field("features", &self.features)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

impl Classifier {
    /// Reads a model. `names` are the names of its classes in the order of its scores; without them, they are the labels that the
    /// model predicts.
    ///
    /// # Errors
    /// [`OnnxError`] if it is not a model of this kind, or tract cannot run it.
    pub fn read(bytes: &[u8], names: Option<&[String]>) -> Result<Self, OnnxError> {
        let malformed = |error: TractError| OnnxError::Malformed(chain(&error));
        let mut source = bytes;
        let framework = tract_onnx::onnx();
        let mut proto = framework
            .proto_model_for_read(&mut source)
            .map_err(malformed)?;
        let graph = proto.graph.as_mut();
        let graph = graph.ok_or_else(|| OnnxError::Malformed("it has no graph".to_owned()))?;
        let signature = Signature::of(graph)?;
        scaler::replace(graph);
        let mut labels = signature.labels(names)?;
        let classes = names.map_or_else(|| labels.names(), <[String]>::to_vec);
        check_classes(&labels, &classes)?;
        let label = signature.label.as_ref().map(|(name, _)| name.as_str());
        if numbering::replace(graph, label) {
            labels = Labels::Numbers((0..).take(classes.len()).collect());
        }
        trees::check(graph)?;
        let runtime = match Trees::of(graph, signature.features) {
            Some(trees) => Runtime::Trees(Arc::new(trees)),
            None => Runtime::Plan(plan(&framework, &proto, &signature)?),
        };
        let classifier = Self {
            runtime,
            features: signature.features,
            labels: Arc::new(labels),
            classes: Arc::new(classes),
            has_label: signature.label.is_some(),
            has_scores: signature.scores.is_some(),
        };
        // Shapes do not depend on the values, so a model that classifies one row classifies every row.
        classifier.predict(&vec![0.0; classifier.features], &mut Vec::new())?;
        Ok(classifier)
    }

    /// Returns the number of features.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// Returns the names of the classes, in the order of the scores.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Predicts the class of a row, as an index into the [classes](Self::classes), and writes the score of each class to `scores`;
    /// none if the model has no scores. The features are rounded to 32-bit floats.
    ///
    /// # Errors
    /// [`OnnxError`] if the model cannot classify this row.
    pub fn predict(&self, features: &[f64], scores: &mut Vec<f32>) -> Result<usize, OnnxError> {
        let refused = |error: TractError| OnnxError::Unsupported(chain(&error));
        let row = rounded(features)?;
        let plan = match &self.runtime {
            Runtime::Plan(plan) => plan,
            Runtime::Trees(trees) => {
                let class = trees.predict(&row, scores);
                if !self.has_scores {
                    scores.clear();
                }
                return Ok(class);
            }
        };
        let row = Tensor::from_shape(&[1, row.len()], &row).map_err(refused)?;
        let outputs = plan.run(tvec![row.into()]).map_err(refused)?;
        scores.clear();
        if self.has_scores
            && let Some(output) = outputs.last()
        {
            let view = output.try_as_plain_ram().map_err(refused)?;
            scores.extend_from_slice(view.as_slice::<f32>().map_err(refused)?);
            check_number(scores.len(), &self.classes)?;
            if let Some(class) = scores.iter().position(|score| score.is_nan()) {
                return Err(OnnxError::Score(self.classes[class].clone()));
            }
        }
        match outputs.first() {
            Some(label) if self.has_label => self.class_of(label),
            _ => Ok(first_largest(scores)),
        }
    }

    /// Returns the class of a predicted label.
    fn class_of(&self, label: &Tensor) -> Result<usize, OnnxError> {
        let refused = |error: TractError| OnnxError::Unsupported(chain(&error));
        let (class, text) = match &*self.labels {
            Labels::Text(texts) => {
                let view = label.try_as_plain_ram().map_err(refused)?;
                let predicted = view.as_slice::<String>().map_err(refused)?.first();
                let class = texts.iter().position(|text| Some(text) == predicted);
                (class, predicted.cloned().unwrap_or_default())
            }
            Labels::Numbers(numbers) => {
                let label = label.cast_to::<i64>().map_err(refused)?;
                let view = label.try_as_plain_ram().map_err(refused)?;
                let predicted = view.as_slice::<i64>().map_err(refused)?.first();
                let class = numbers.iter().position(|number| Some(number) == predicted);
                (
                    class,
                    predicted.map(ToString::to_string).unwrap_or_default(),
                )
            }
        };
        class.ok_or(OnnxError::UnknownLabel(text))
    }
}

fn check_classes(labels: &Labels, classes: &[String]) -> Result<(), OnnxError> {
    check_number(labels.names().len(), classes)?;
    let mut names = BTreeSet::new();
    match classes.iter().find(|&name| !names.insert(name)) {
        Some(name) => Err(OnnxError::DuplicateClass(name.clone())),
        None => Ok(()),
    }
}

fn check_number(found: usize, classes: &[String]) -> Result<(), OnnxError> {
    if found == classes.len() {
        return Ok(());
    }
    Err(OnnxError::OtherClasses {
        found,
        named: classes.len(),
        names: classes.to_vec(),
    })
}

/// Returns the plan by which tract computes the outputs of one row.
fn plan(
    framework: &Onnx,
    proto: &ModelProto,
    signature: &Signature,
) -> Result<Arc<TypedRunnableModel>, OnnxError> {
    let outputs = signature.label.iter().map(|(name, _)| name.as_str());
    let outputs: Vec<&str> = outputs.chain(signature.scores.as_deref()).collect();
    let row = InferenceFact::dt_shape(f32::datum_type(), tvec![1, signature.features]);
    framework
        .model_for_proto_model(proto)
        .and_then(|model| model.with_outputs_by_name(&outputs))
        .and_then(|model| model.with_input_fact(0, row))
        .and_then(InferenceModelExt::into_optimized)
        .and_then(IntoRunnable::into_runnable)
        .map_err(|error| OnnxError::Unsupported(chain(&error)))
}

/// Returns an error with its causes.
fn chain(error: &TractError) -> String {
    format!("{error:#}")
}

/// Returns features as 32-bit floats.
fn rounded(features: &[f64]) -> Result<Vec<f32>, OnnxError> {
    let features = features.iter().enumerate();
    features
        .map(|(position, &value)| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the models compute with 32-bit floats"
            )]
            let rounded = value as f32;
            let is_usable = rounded.is_finite();
            is_usable
                .then_some(rounded)
                .ok_or(OnnxError::Feature { position, value })
        })
        .collect()
}
