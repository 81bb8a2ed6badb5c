//! The stored form of a place in a topic: an object with `partition` and `offset`.

use iris_kafka::PartitionOffset;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
struct Place {
    partition: i32,
    offset: i64,
}

/// Writes a place.
///
/// # Errors
/// The serialiser's error.
pub(crate) fn serialize<S: Serializer>(
    place: &PartitionOffset,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let &PartitionOffset { partition, offset } = place;
    Place { partition, offset }.serialize(serializer)
}

/// Reads a place.
///
/// # Errors
/// The deserialiser's error.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<PartitionOffset, D::Error> {
    let Place { partition, offset } = Place::deserialize(deserializer)?;
    Ok(PartitionOffset { partition, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Stored {
        #[serde(with = "super")]
        place: PartitionOffset,
    }

    #[test]
    fn a_place_is_stored_as_an_object() {
        let stored = Stored {
            place: PartitionOffset::new(1, 40),
        };
        let json = serde_json::to_string(&stored).unwrap();
        assert_eq!(json, r#"{"place":{"partition":1,"offset":40}}"#);
        assert_eq!(serde_json::from_str::<Stored>(&json).unwrap(), stored);
    }
}
