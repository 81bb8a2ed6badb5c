//! The classes that are counted by name. Their number is limited, because labels may be any text.

use serde::{Deserialize, Serialize};

/// The maximum number of classes that are counted by name: the first ones that occur.
const MAX_CLASSES: usize = 100;

/// The name of all other classes together.
const OTHER: &str = "other";

/// The name of a predicted class that is counted under the same name as the actual class, but is not the same.
const ANOTHER: &str = "another";

/// A class: its position among the classes that are counted by name, or its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Class {
    Named(usize),
    Other(String),
}

/// The classes that are counted by name, in the order in which they were first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Classes(Vec<String>);

impl Classes {
    /// Returns the class of a label. A new one is added unless there are too many.
    pub(crate) fn class(&mut self, label: &str) -> Class {
        if let Some(position) = self.0.iter().position(|known| known == label) {
            return Class::Named(position);
        }
        if self.0.len() == MAX_CLASSES {
            return Class::Other(label.to_owned());
        }
        self.0.push(label.to_owned());
        Class::Named(self.0.len() - 1)
    }

    fn name(&self, class: &Class) -> &str {
        match class {
            Class::Named(position) => self.0.get(*position).map_or(OTHER, String::as_str),
            Class::Other(_) => OTHER,
        }
    }

    /// Returns the names under which a prediction is counted. They are equal if, and only if, the prediction is correct.
    pub(crate) fn cell(&self, truth: &Class, predicted: &Class) -> (&str, &str) {
        let (name, predicted_name) = (self.name(truth), self.name(predicted));
        if name == predicted_name && truth != predicted {
            (name, ANOTHER)
        } else {
            (name, predicted_name)
        }
    }

    /// Whether no class has been seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_above_the_limit_are_counted_together_and_correct_predictions_stay_correct() {
        let mut classes = Classes::default();
        for number in 0..MAX_CLASSES {
            assert_eq!(classes.class(&number.to_string()), Class::Named(number));
        }
        let mut cell = |truth: &str, predicted: &str| {
            let (truth, predicted) = (classes.class(truth), classes.class(predicted));
            let (truth, predicted) = classes.cell(&truth, &predicted);
            format!("{truth} {predicted}")
        };
        assert_eq!(cell("7", "99"), "7 99");
        assert_eq!(cell("7", "100"), "7 other");
        assert_eq!(cell("100", "100"), "other other");
        assert_eq!(cell("100", "101"), "other another");
        assert_eq!(classes.0.len(), MAX_CLASSES);
    }

    #[test]
    fn a_class_is_stored_as_its_position_or_its_name() {
        let mut classes = Classes::default();
        let stored = [classes.class("a"), Class::Other("z".to_owned())];
        let json = serde_json::to_string(&stored).unwrap();
        assert_eq!(json, r#"[0,"z"]"#);
        assert_eq!(serde_json::from_str::<[Class; 2]>(&json).unwrap(), stored);
    }
}
