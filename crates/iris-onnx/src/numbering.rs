//! Replaces the labels of classifiers, if they are strings, by their positions: tract cannot return strings for them.

use std::collections::BTreeSet;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, attribute_proto, type_proto};

/// The attribute with labels that are strings.
const STRINGS: &str = "classlabels_strings";

/// The operators that leave values as they are.
const UNCHANGED: [&str; 4] = ["Identity", "Reshape", "Squeeze", "Unsqueeze"];

/// Replaces labels that are strings. Returns whether `label` is the output with such a label, now a position.
pub(crate) fn replace(graph: &mut GraphProto, label: Option<&str>) -> bool {
    let mut numbered: BTreeSet<String> = BTreeSet::new();
    for node in &mut graph.node {
        let is_unchanged = UNCHANGED.contains(&node.op_type.as_str());
        if number(node)
            || (is_unchanged && node.input.first().is_some_and(|it| numbered.contains(it)))
        {
            numbered.extend(node.output.first().cloned());
        }
    }
    graph
        .value_info
        .retain(|value| !numbered.contains(&value.name));
    let outputs = graph.output.iter_mut();
    for output in outputs.filter(|output| numbered.contains(&output.name)) {
        let value = output.r#type.as_mut().and_then(|it| it.value.as_mut());
        if let Some(type_proto::Value::TensorType(tensor)) = value {
            tensor.elem_type = DataType::Int64.into();
        }
    }
    label.is_some_and(|label| numbered.contains(label))
}

/// Replaces the labels of a classifier. Returns whether they were strings.
fn number(node: &mut NodeProto) -> bool {
    let name = match node.op_type.as_str() {
        "TreeEnsembleClassifier" => "classlabels_int64s",
        "LinearClassifier" => "classlabels_ints",
        _ => return false,
    };
    let is_labels = |it: &&mut AttributeProto| it.name == STRINGS && !it.strings.is_empty();
    let Some(labels) = node.attribute.iter_mut().find(is_labels) else {
        return false;
    };
    let count = std::mem::take(&mut labels.strings).len();
    *labels = AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::Ints.into(),
        ints: (0..).take(count).collect(),
        ..AttributeProto::default()
    };
    true
}
