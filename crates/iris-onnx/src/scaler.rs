//! Replaces the operator `Scaler`, which tract does not have, by a subtraction and a multiplication.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// The operator that scales features.
const SCALER: &str = "Scaler";

/// Replaces each `Scaler` of a graph.
pub(crate) fn replace(graph: &mut GraphProto) {
    let nodes = std::mem::take(&mut graph.node);
    for (number, node) in nodes.into_iter().enumerate() {
        if node.op_type == SCALER {
            let [offset, scale] = ["offset", "scale"].map(|name| constant(&node, name, number));
            let difference = format!("{SCALER}-{number}-difference");
            let subtraction = operation("Sub", &node.input, &offset.name, vec![difference]);
            let multiplication =
                operation("Mul", &subtraction.output, &scale.name, node.output.clone());
            graph.initializer.extend([offset, scale]);
            graph.node.extend([subtraction, multiplication]);
        } else {
            graph.node.push(node);
        }
    }
}

/// Returns an attribute of a node as a constant of the graph; 0 or 1 if it is absent, which changes nothing.
fn constant(node: &NodeProto, name: &str, number: usize) -> TensorProto {
    let attribute = node.attribute.iter().find(|it| it.name == name);
    let neutral = if name == "scale" { 1.0 } else { 0.0 };
    let values = attribute.map_or_else(|| vec![neutral], |it| it.floats.clone());
    TensorProto {
        name: format!("{SCALER}-{number}-{name}"),
        dims: vec![i64::try_from(values.len()).unwrap_or_default()],
        data_type: DataType::Float.into(),
        float_data: values,
        ..TensorProto::default()
    }
}

fn operation(name: &str, input: &[String], other: &str, output: Vec<String>) -> NodeProto {
    NodeProto {
        name: output.concat(),
        op_type: name.to_owned(),
        input: input.iter().cloned().chain([other.to_owned()]).collect(),
        output,
        ..NodeProto::default()
    }
}
