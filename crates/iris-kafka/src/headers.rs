//! Record headers: those of an input record, read in place, and those of an outgoing record.

use std::ffi::CString;

use rdkafka::message::{Header, OwnedHeaders};

use crate::sys::headers;
use crate::sys::message::Fetched;

/// The headers of an input record, read in place: a fetched record's, or a list of names and values.
#[derive(Clone, Copy, Debug)]
pub struct HeaderView<'a>(Backing<'a>);

#[derive(Clone, Copy, Debug)]
enum Backing<'a> {
    /// librdkafka decodes the headers of a message when they are asked for.
    Message(&'a Fetched),
    Pairs(&'a [(&'a str, &'a [u8])]),
}

impl Default for HeaderView<'_> {
    fn default() -> Self {
        Self(Backing::Pairs(&[]))
    }
}

impl<'a> From<&'a [(&'a str, &'a [u8])]> for HeaderView<'a> {
    fn from(pairs: &'a [(&'a str, &'a [u8])]) -> Self {
        Self(Backing::Pairs(pairs))
    }
}

impl<'a> HeaderView<'a> {
    pub(crate) fn of_message(message: &'a Fetched) -> Self {
        Self(Backing::Message(message))
    }

    /// Returns the value of the last header of a name.
    #[must_use]
    pub fn last(self, name: &str) -> Option<&'a [u8]> {
        match self.0 {
            Backing::Message(message) => {
                let name = CString::new(name).ok()?;
                headers::last(message.headers()?, &name)
            }
            Backing::Pairs(pairs) => pairs
                .iter()
                .rfind(|(found, _)| *found == name)
                .map(|&(_, value)| value),
        }
    }

    /// Returns a copy of all headers, for an outgoing record.
    #[must_use]
    pub fn to_outgoing(self) -> Headers {
        match self.0 {
            Backing::Message(message) => Headers(
                message
                    .headers()
                    .map(rdkafka::message::BorrowedHeaders::detach),
            ),
            Backing::Pairs([]) => Headers::default(),
            Backing::Pairs(pairs) => {
                let headers = OwnedHeaders::new_with_capacity(pairs.len());
                Headers(Some(
                    pairs.iter().fold(headers, |headers, &(name, value)| {
                        insert(headers, name, value)
                    }),
                ))
            }
        }
    }
}

/// The headers of an outgoing record.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub(crate) Option<OwnedHeaders>);

impl Headers {
    /// Sets a header. Replaces all headers of that name.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        self.set_all([(name, value)])
    }

    /// Sets headers of different names. Replaces all headers of these names.
    #[must_use]
    pub fn set_all<const N: usize>(self, added: [(&str, &str); N]) -> Self {
        let cleared = if self.0.is_some() {
            added
                .iter()
                .fold(self, |headers, (name, _)| headers.without(name))
        } else {
            self
        };
        let headers = cleared
            .0
            .unwrap_or_else(|| OwnedHeaders::new_with_capacity(N));
        Self(Some(
            added.into_iter().fold(headers, |headers, (name, value)| {
                insert(headers, name, value.as_bytes())
            }),
        ))
    }

    /// Removes all headers of a name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        if let (Some(headers), Ok(name)) = (&mut self.0, CString::new(name)) {
            headers::remove(headers, &name);
        }
        self
    }

    /// Returns all headers in order. Names that are not UTF-8 are converted lossily; a null value becomes empty.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(String, Vec<u8>)> {
        let list = self.0.as_ref().map(OwnedHeaders::as_borrowed);
        list.map(headers::all).unwrap_or_default()
    }
}

/// Appends a header.
fn insert(headers: OwnedHeaders, name: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header {
        key: name,
        value: Some(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: [(&str, &[u8]); 3] = [("a", b"1"), ("b", b"2"), ("a", b"3")];

    fn pairs(headers: &Headers) -> Vec<(String, String)> {
        let text = |value| String::from_utf8(value).unwrap();
        let pairs = headers.to_pairs().into_iter();
        pairs.map(|(name, value)| (name, text(value))).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn the_last_header_of_a_name_counts() {
        let view = HeaderView::from(&INPUT[..]);
        assert_eq!(view.last("a"), Some(b"3".as_slice()));
        assert_eq!(view.last("c"), None);
        assert_eq!(HeaderView::default().last("a"), None);
    }

    #[test]
    fn all_headers_are_copied_in_order() {
        let view = HeaderView::from(&INPUT[..]);
        assert_eq!(
            pairs(&view.to_outgoing()),
            owned(&[("a", "1"), ("b", "2"), ("a", "3")])
        );
        assert_eq!(pairs(&HeaderView::default().to_outgoing()), []);
    }

    #[test]
    fn a_header_that_is_set_replaces_all_of_its_name() {
        let headers = HeaderView::from(&INPUT[..]).to_outgoing();
        assert_eq!(
            pairs(&headers.clone().set_all([("a", "4"), ("c", "5")])),
            owned(&[("b", "2"), ("a", "4"), ("c", "5")])
        );
        assert_eq!(pairs(&headers.without("a")), owned(&[("b", "2")]));
        assert_eq!(
            pairs(&Headers::default().set("a", "1").without("b")),
            owned(&[("a", "1")])
        );
    }
}
