//! Lists, as an array in a settings file or as one string.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// Deserializes a list. The environment and flags give it as one string, with its items separated by commas.
///
/// # Errors
/// The deserializer's, if an item is not of its type.
pub fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de> + std::str::FromStr,
    T::Err: fmt::Display,
    D: Deserializer<'de>,
{
    struct ListVisitor<T>(std::marker::PhantomData<T>);

    impl<'de, T> serde::de::Visitor<'de> for ListVisitor<T>
    where
        T: Deserialize<'de> + std::str::FromStr,
        T::Err: fmt::Display,
    {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            items
                .map(|item| {
                    item.parse()
                        .map_err(|error| E::custom(format!("`{item}`: {error}")))
                })
                .collect()
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut items: A,
        ) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(ListVisitor(std::marker::PhantomData))
}
