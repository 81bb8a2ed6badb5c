//! The settings of the services that decide which rights they need.

use iris_contract::rights::Names;
use serde::Deserialize;

/// The keys of the section `classifier` that decide which rights are needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct ClassifierKeys {
    group_id: String,
    #[serde(deserialize_with = "iris_service::settings::list")]
    partitions: Vec<i32>,
    publish_predictions: bool,
    publish_summaries: bool,
}

impl Default for ClassifierKeys {
    fn default() -> Self {
        let names = Names::default();
        Self {
            group_id: names.classifier_group,
            partitions: names.classifier_partitions,
            publish_predictions: names.publish_predictions,
            publish_summaries: names.publish_summaries,
        }
    }
}

/// The keys of the section `feedback_sink` that decide which rights are needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct SinkKeys {
    group_id: String,
}

impl Default for SinkKeys {
    fn default() -> Self {
        Self {
            group_id: Names::default().sink_group,
        }
    }
}

/// Returns the names with the keys of these sections.
pub(crate) fn names(prefix: String, classifier: ClassifierKeys, sink: SinkKeys) -> Names {
    Names {
        prefix,
        classifier_group: classifier.group_id,
        classifier_partitions: classifier.partitions,
        publish_predictions: classifier.publish_predictions,
        publish_summaries: classifier.publish_summaries,
        sink_group: sink.group_id,
    }
}
