//! The row of the table of feedback, and its columns.

use serde::Serialize;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, FromRow, Row as _};

/// Declares the row: a field for each column. The column names, the reading and the binding of a row follow from the fields,
/// so that each column is listed once here and once in the migrations.
macro_rules! row {
    (
        $(#[$row_attribute:meta])*
        pub struct $row:ident {
            $($(#[$column_attribute:meta])* pub $column:ident: $kind:ty,)+
        }
    ) => {
        $(#[$row_attribute])*
        pub struct $row {
            $($(#[$column_attribute])* pub $column: $kind,)+
        }

        impl $row {
            /// The names of the columns, in the order of the fields.
            pub const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),+];

            /// Binds the values in the order of [`Self::COLUMNS`].
            pub(crate) fn bind<'q>(
                &'q self,
                query: Query<'q, Any, AnyArguments>,
            ) -> Query<'q, Any, AnyArguments> {
                query$(.bind(&self.$column))+
            }
        }

        impl<'r> FromRow<'r, AnyRow> for $row {
            fn from_row(row: &'r AnyRow) -> Result<Self, sqlx::Error> {
                Ok(Self {
                    $($column: row.try_get(stringify!($column))?,)+
                })
            }
        }
    };
}

row! {
    /// A row of the table of feedback: one record of the feedback topic.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub struct FeedbackRow {
        /// The feedback topic.
        pub source_topic: String,
        /// The partition of the feedback record.
        pub source_partition: i64,
        /// The offset of the feedback record.
        pub source_offset: i64,
        /// When the record was created, in milliseconds since the epoch.
        pub created_ms: Option<i64>,
        /// The id of the classified record.
        pub record_id: Option<String>,
        /// The record's label.
        pub label: Option<String>,
        /// The predicted class.
        pub predicted: Option<String>,
        /// The version of the model that predicted it.
        pub model_version: Option<String>,
        /// The record's partition in the input topic.
        pub input_partition: Option<i64>,
        /// The record's offset in that partition.
        pub input_offset: Option<i64>,
        /// The votes of each class, in class order, joined by dots.
        pub votes: Option<String>,
        /// The value of the feedback record.
        pub value: String,
        /// Why the value could not be read; null if it could.
        pub problem: Option<String>,
    }
}
