//! The rows that a model is fitted to.

use crate::schema::Schema;

/// Labelled rows for fitting a model.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingSet {
    schema: Schema,
    classes: Vec<String>,
    features: Vec<f64>,
    class_of_row: Vec<usize>,
}

impl TrainingSet {
    /// Collects rows of features and labels. Classes are the distinct labels, sorted.
    #[must_use]
    pub fn new<'a>(
        schema: Schema,
        rows: impl Iterator<Item = (&'a [f64], &'a str)> + Clone,
    ) -> Self {
        let mut classes: Vec<String> = rows.clone().map(|(_, label)| label.to_owned()).collect();
        classes.sort_unstable();
        classes.dedup();
        let features = rows
            .clone()
            .flat_map(|(features, _)| features.iter().copied())
            .collect();
        let class_of_row = rows
            .filter_map(|(_, label)| {
                classes
                    .binary_search_by(|class| class.as_str().cmp(label))
                    .ok()
            })
            .collect();
        Self {
            schema,
            classes,
            features,
            class_of_row,
        }
    }

    /// Returns a training set without rows that has these classes, which must be sorted and distinct.
    #[must_use]
    pub(crate) fn without_rows(schema: Schema, classes: Vec<String>) -> Self {
        Self {
            schema,
            classes,
            features: Vec::new(),
            class_of_row: Vec::new(),
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.class_of_row.len()
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.class_of_row.is_empty()
    }

    /// Returns the values of all rows, row-major, one for each feature of the schema.
    #[must_use]
    pub fn features(&self) -> &[f64] {
        &self.features
    }

    /// Returns the class of each row, as an index into [`classes`](Self::classes).
    #[must_use]
    pub fn class_of_row(&self) -> &[usize] {
        &self.class_of_row
    }

    /// The distinct labels, sorted.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Iterates over the rows: the features and the label of each.
    pub fn rows(&self) -> impl Iterator<Item = (&[f64], &str)> + Clone {
        let label = |&class: &usize| self.classes[class].as_str();
        self.features
            .chunks_exact(self.schema.features.len())
            .zip(self.class_of_row.iter().map(label))
    }

    /// Returns the meaning of the columns.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}
