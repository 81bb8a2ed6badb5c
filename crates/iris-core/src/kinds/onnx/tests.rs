use super::super::{ModelContent, ModelKind, Tally};
use crate::artefact::Description;
use crate::kinds::FitError;
use crate::model::Model;
use crate::schema::Schema;

/// A logistic regression of one feature: negative values are of class `a`, positive ones of class `b`.
const THRESHOLD: &[u8] = include_bytes!("threshold.onnx");

/// The description of that model, as the registry has it.
const DESCRIPTION: &str = r#"{"format":5,"blocks":[],"lineage":{"parent":null,"made_by":"","rows":[],"sources":{},"metrics":{}},"schema":{"id":"Id","features":["x"],"label":"Species"},"kind":"onnx","scores":["a","b"],"classes":["a","b"]}"#;

fn schema(features: &[&str]) -> Schema {
    Schema {
        features: features.iter().map(|&name| name.to_owned()).collect(),
        ..Schema::default()
    }
}

fn import(names: Option<&[String]>) -> Result<Model, FitError> {
    Model::import_onnx(THRESHOLD.to_vec(), names, schema(&["x"]))
}

#[test]
fn a_description_is_read_by_every_build() {
    let description = Description::read(DESCRIPTION.as_bytes()).unwrap();
    let ModelContent::Onnx(content) = &description.content else {
        panic!("it is an ONNX model");
    };
    assert_eq!(content.scores, ["a", "b"]);
    assert_eq!(description.content.kind(), ModelKind::Onnx);
    assert_eq!(description.content.kind().tally(), Tally::Thousandths);
    assert_eq!(description.to_json(), DESCRIPTION.as_bytes());
}

#[cfg(not(feature = "onnx"))]
#[test]
fn a_build_without_the_feature_names_it() {
    use crate::artefact::ArtefactError;

    let refused = ArtefactError::from(import(None).unwrap_err());
    assert_eq!(
        refused.to_string(),
        "it is an ONNX model, and this program was built without the cargo feature `onnx`"
    );
}

#[cfg(feature = "onnx")]
mod served {
    use super::*;
    use crate::artefact::{Artefact, Lineage, RowRecords};
    use crate::kinds::Buffers;

    fn predict(model: &Model, x: f64) -> (String, Vec<u32>) {
        let mut votes = Vec::new();
        let class = model.predict(&[x], &mut Buffers::default(), &mut votes);
        (model.classes()[class.class].clone(), votes)
    }

    fn artefact(names: Option<&[String]>) -> Artefact {
        Artefact {
            model: import(names).unwrap(),
            lineage: Lineage::default(),
        }
    }

    #[test]
    fn probabilities_are_in_thousandths() {
        let model = import(None).unwrap();
        let (class, votes) = predict(&model, -0.1);
        assert_eq!(class, "a");
        assert!(votes[0] > 500 && votes[0] < 900, "{votes:?}");
        assert!((999..=1_001).contains(&votes.iter().sum::<u32>()));
        assert_eq!(predict(&model, 100.0), ("b".to_owned(), vec![0, 1_000]));
    }

    #[test]
    fn a_row_that_the_model_cannot_classify_has_no_votes_and_a_reason() {
        let model = import(None).unwrap();
        let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
        for (x, reason) in [
            (1e39, "feature 1 is 1e39, which is not a 32-bit float"),
            (f64::NAN, "feature 1 is NaN, which is not a 32-bit float"),
        ] {
            model.predict(&[x], &mut buffers, &mut votes);
            assert_eq!((votes.len(), buffers.failure()), (0, reason));
            model.predict(&[1.0], &mut buffers, &mut votes);
            assert_eq!(votes.len(), 2, "the next row is classified");
        }
    }

    #[test]
    fn given_names_are_those_of_the_scores_in_their_order() {
        let names = ["z", "m"].map(str::to_owned);
        let model = import(Some(&names)).unwrap();
        assert_eq!(model.classes(), ["m", "z"]);
        assert_eq!(predict(&model, -100.0), ("z".to_owned(), vec![0, 1_000]));
        assert_eq!(predict(&model, 100.0).0, "m");
        assert_ne!(model.version(), import(None).unwrap().version());
        let other = import(Some(&["a", "b"].map(str::to_owned))).unwrap();
        assert_eq!(other.version(), import(None).unwrap().version());
    }

    #[test]
    fn a_model_is_read_back_from_its_blocks() {
        let names = ["z", "m"].map(str::to_owned);
        let written = artefact(Some(&names));
        let version = written.model.version();
        let blocks = written.blocks();
        let description = written.describe_in(&blocks);
        assert_eq!((description.content_blocks, blocks.len()), (1, 1));
        let mut records = RowRecords::default();
        for block in &blocks {
            let json = written.block_json(block);
            records.blocks.insert(block.id, json);
        }
        let json = description.to_json();
        let read = Artefact::read(version, &json, &records).unwrap().model;
        assert_eq!(read.training_set(), written.model.training_set());
        assert_eq!(predict(&read, -1.0), predict(&written.model, -1.0));
        let json = String::from_utf8(json).unwrap();
        let renamed = json.replace(r#"["m","z"]"#, r#"["m","y"]"#);
        let refused = Artefact::read(version, renamed.as_bytes(), &records).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "it is corrupt: its classes are z, m, and those of its description are m, y"
        );
        let swapped = json.replace(r#"["z","m"]"#, r#"["m","z"]"#);
        let refused = Artefact::read(version, swapped.as_bytes(), &records).unwrap_err();
        assert!(refused.to_string().contains("its content is that of"));
    }

    #[test]
    fn a_model_of_other_features_is_refused() {
        let schema = schema(&["x", "y"]);
        let refused = Model::import_onnx(THRESHOLD.to_vec(), None, schema).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "its number of features is 1, and that of the schema is 2: x, y"
        );
    }

    #[test]
    fn a_model_is_not_trained() {
        let model = import(None).unwrap();
        let fitted = Model::fit(model.training_set().clone(), model.kind());
        assert_eq!(fitted.unwrap_err(), FitError::Imported);
        assert!(model.correct_left_out(0..0).is_empty());
    }
}
