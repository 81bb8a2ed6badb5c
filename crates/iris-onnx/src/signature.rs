//! The inputs, the outputs and the classes of a model, as its file declares them.

use std::collections::BTreeSet;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{GraphProto, TypeProto, ValueInfoProto, type_proto};

use crate::error::OnnxError;

/// The attributes in which operators of classifiers name their classes.
const CLASS_ATTRIBUTES: [&str; 3] = [
    "classlabels_strings",
    "classlabels_int64s",
    "classlabels_ints",
];

/// The labels that a model predicts, in the order of its scores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Labels {
    /// Strings.
    Text(Vec<String>),
    /// Integers.
    Numbers(Vec<i64>),
}

impl Labels {
    /// Returns the labels as text.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Text(names) => names.clone(),
            Self::Numbers(numbers) => numbers.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The type of the output with the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelType {
    /// Strings.
    Text,
    /// Integers.
    Number,
}

/// A model's input, outputs and classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    /// The number of features.
    pub(crate) features: usize,
    /// The output with the label.
    pub(crate) label: Option<(String, LabelType)>,
    /// The output with the scores.
    pub(crate) scores: Option<String>,
    /// The lists of classes that its operators have.
    pub(crate) listed: BTreeSet<Labels>,
}

impl Signature {
    /// Reads what a graph declares.
    ///
    /// # Errors
    /// [`OnnxError`] if its input or its outputs are not those of a classifier of rows of numbers.
    pub(crate) fn of(graph: &GraphProto) -> Result<Self, OnnxError> {
        if graph.node.iter().any(|node| node.op_type == "ZipMap") {
            return Err(OnnxError::ZipMap);
        }
        let (label, scores) = outputs(graph)?;
        Ok(Self {
            features: features(graph)?,
            label,
            scores,
            listed: listed(graph),
        })
    }

    /// Returns the labels that the model predicts: those that its operators list, or as many numbers from 0 as there are `names`.
    ///
    /// # Errors
    /// [`OnnxError::NoClasses`] if they are not known.
    pub(crate) fn labels(&self, names: Option<&[String]>) -> Result<Labels, OnnxError> {
        let is_predicted = |labels: &&Labels| {
            matches!(
                (&self.label, labels),
                (None, _)
                    | (Some((_, LabelType::Text)), Labels::Text(_))
                    | (Some((_, LabelType::Number)), Labels::Numbers(_))
            )
        };
        let mut listed = self.listed.iter().filter(is_predicted);
        match (listed.next(), listed.next(), names) {
            (Some(labels), None, _) => Ok(labels.clone()),
            (_, _, None) => Err(OnnxError::NoClasses),
            (_, _, Some(names)) => Ok(match self.label {
                Some((_, LabelType::Text)) => Labels::Text(names.to_vec()),
                _ => Labels::Numbers((0..).take(names.len()).collect()),
            }),
        }
    }
}

/// Returns the number of features of the only input.
fn features(graph: &GraphProto) -> Result<usize, OnnxError> {
    let constants: BTreeSet<&str> = graph
        .initializer
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let is_input = |input: &&ValueInfoProto| !constants.contains(input.name.as_str());
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(is_input).collect();
    let &[input] = &inputs[..] else {
        return Err(OnnxError::Inputs(inputs.len()));
    };
    let name = || input.name.clone();
    let tensor = tensor(input.r#type.as_ref());
    if tensor.map(|tensor| tensor.elem_type()) != Some(DataType::Float) {
        return Err(OnnxError::InputType {
            name: name(),
            found: element(input).to_owned(),
        });
    }
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let columns = match shape.map_or(&[][..], |shape| &shape.dim[..]) {
        [_, columns] => columns.value.as_ref(),
        _ => None,
    };
    match columns {
        Some(&dimension::Value::DimValue(columns)) if columns > 0 => usize::try_from(columns).ok(),
        _ => None,
    }
    .ok_or_else(|| OnnxError::InputShape(name()))
}

/// The outputs with the label and with the scores.
type Outputs = (Option<(String, LabelType)>, Option<String>);

fn outputs(graph: &GraphProto) -> Result<Outputs, OnnxError> {
    let refused = || {
        let outputs: Vec<String> = graph.output.iter().map(describe).collect();
        OnnxError::Outputs(outputs.join(", "))
    };
    let (mut label, mut scores) = (None, None);
    for output in &graph.output {
        let name = output.name.clone();
        let kind = tensor(output.r#type.as_ref()).map(type_proto::Tensor::elem_type);
        let earlier = match kind {
            Some(DataType::String) => label.replace((name, LabelType::Text)).is_some(),
            Some(DataType::Int64 | DataType::Int32) => {
                label.replace((name, LabelType::Number)).is_some()
            }
            Some(DataType::Float) => scores.replace(name).is_some(),
            _ => return Err(refused()),
        };
        if earlier {
            return Err(refused());
        }
    }
    if label.is_none() && scores.is_none() {
        return Err(refused());
    }
    Ok((label, scores))
}

/// Returns the lists of classes that operators have.
fn listed(graph: &GraphProto) -> BTreeSet<Labels> {
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let mut listed = BTreeSet::new();
    for attribute in attributes.filter(|it| CLASS_ATTRIBUTES.contains(&it.name.as_str())) {
        if !attribute.strings.is_empty() {
            let names = attribute.strings.iter();
            let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
            listed.insert(Labels::Text(names.collect()));
        } else if !attribute.ints.is_empty() {
            listed.insert(Labels::Numbers(attribute.ints.clone()));
        }
    }
    // Classifiers of strings look them up in a constant.
    for constant in &graph.initializer {
        if constant.data_type() == DataType::String && constant.dims.len() == 1 {
            let names = constant.string_data.iter();
            let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
            listed.insert(Labels::Text(names.collect()));
        }
    }
    listed
}

fn tensor(kind: Option<&TypeProto>) -> Option<&type_proto::Tensor> {
    let type_proto::Value::TensorType(tensor) = kind?.value.as_ref()?;
    Some(tensor)
}

/// Returns the name of an output with the type of its elements.
fn describe(value: &ValueInfoProto) -> String {
    format!("`{}` ({})", value.name, element(value))
}

/// Returns the type of the elements of an input or output, in words.
fn element(value: &ValueInfoProto) -> &'static str {
    match tensor(value.r#type.as_ref()).map(type_proto::Tensor::elem_type) {
        Some(DataType::Float) => "32-bit floats",
        Some(DataType::Double) => "64-bit floats",
        Some(DataType::Int64 | DataType::Int32) => "integers",
        Some(DataType::String) => "strings",
        Some(_) => "another type",
        None => "no tensors",
    }
}
