//! The layout of a CSV file before its cells have a meaning: encoding, quotes, lines and the likely delimiter.
//!
//! The `csv` crate accepts an unclosed quote and text after a closing one. Both can merge rows, so they are rejected here. Two
//! stray quotes can merge rows, too, without an error of the layout: see [`lines`].

use super::error::DatasetError;

/// The delimiters that a file may have instead of the one in the settings.
const COMMON_DELIMITERS: [u8; 4] = *b",;\t|";

/// A place in a file: the line, and the field in its row, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) field: usize,
}

/// Bytes between two checks for a request to stop.
const STOP_STRIDE: usize = 1 << 20;

/// An error of the layout and its place, or a request to stop.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LayoutError {
    UnclosedQuote(Place),
    TextAfterQuote(Place),
    Stopped,
}

/// The state within a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldState {
    Start,
    Unquoted,
    Quoted,
    /// After a quote within a quoted field: it ends the field, or is the first of two.
    Quote,
}

/// Walks over the bytes of a file and knows the current line, field and state.
struct Scanner {
    delimiter: u8,
    state: FieldState,
    place: Place,
    /// The place of the latest opening quote.
    opened: Place,
    after_carriage_return: bool,
}

impl Scanner {
    fn new(delimiter: u8) -> Self {
        let start = Place { line: 1, field: 1 };
        Self {
            delimiter,
            state: FieldState::Start,
            place: start,
            opened: start,
            after_carriage_return: false,
        }
    }

    /// Takes the next byte. Returns whether it is text after a closing quote.
    fn take(&mut self, byte: u8) -> bool {
        let ends_line = matches!(byte, b'\r' | b'\n');
        let mut is_misplaced = false;
        match (self.state, byte) {
            (FieldState::Start, b'"') => {
                self.state = FieldState::Quoted;
                self.opened = self.place;
            }
            (FieldState::Quoted, b'"') => self.state = FieldState::Quote,
            (FieldState::Quote, b'"') => self.state = FieldState::Quoted,
            (FieldState::Quoted, _) => {}
            (_, byte) if byte == self.delimiter => {
                self.state = FieldState::Start;
                self.place.field += 1;
            }
            (_, _) if ends_line => {
                self.state = FieldState::Start;
                self.place.field = 1;
            }
            (FieldState::Quote, _) => is_misplaced = true,
            (_, _) => self.state = FieldState::Unquoted,
        }
        if ends_line && !(byte == b'\n' && self.after_carriage_return) {
            self.place.line += 1;
        }
        self.after_carriage_return = byte == b'\r';
        is_misplaced
    }
}

/// Checks that every quote is closed and followed by the end of its field.
pub(super) fn check_quotes(
    csv: &[u8],
    delimiter: u8,
    is_stopped: &dyn Fn() -> bool,
) -> Result<(), LayoutError> {
    let mut scanner = Scanner::new(delimiter);
    for piece in csv.chunks(STOP_STRIDE) {
        if is_stopped() {
            return Err(LayoutError::Stopped);
        }
        for &byte in piece {
            if scanner.take(byte) {
                return Err(LayoutError::TextAfterQuote(scanner.place));
            }
        }
    }
    match scanner.state {
        FieldState::Quoted => Err(LayoutError::UnclosedQuote(scanner.opened)),
        _ => Ok(()),
    }
}

/// Returns the lines of a row that are not blank, regardless of quotes.
pub(super) fn lines(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    row.split(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|line| !line.is_empty())
}

/// Returns the place of a byte.
pub(super) fn place_of(csv: &[u8], delimiter: u8, byte: usize) -> Place {
    let mut scanner = Scanner::new(delimiter);
    for &byte in &csv[..byte.min(csv.len())] {
        scanner.take(byte);
    }
    scanner.place
}

/// Returns the line on which the row starts that the parser found at a byte; the parser counts the blank lines before a row
/// as part of it.
pub(super) fn line_of_row(csv: &[u8], delimiter: u8, byte: usize) -> u64 {
    let start = byte.min(csv.len());
    let blank = csv[start..]
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    place_of(csv, delimiter, start + blank).line
}

/// Rejects UTF-16, with or without a byte-order mark.
pub(super) fn check_encoding(csv: &[u8]) -> Result<(), DatasetError> {
    let has_mark = csv.starts_with(b"\xff\xfe") || csv.starts_with(b"\xfe\xff");
    let half = |parity: usize| {
        csv.iter()
            .take(64)
            .skip(parity)
            .step_by(2)
            .all(|&byte| byte == 0)
    };
    if has_mark || csv.len() >= 4 && half(0) != half(1) {
        return Err(DatasetError::Utf16);
    }
    Ok(())
}

/// Returns the separator of the hint line that Excel writes, if the file starts with one.
pub(super) fn separator_hint(csv: &[u8]) -> Option<char> {
    let line = csv.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let (&separator, start) = line.trim_ascii_end().split_last()?;
    let is_hint = start.eq_ignore_ascii_case(b"sep=") && separator.is_ascii();
    is_hint.then_some(char::from(separator))
}

/// Returns the delimiter that separates a header's names better than the one in use, if there is one.
pub(super) fn likely_delimiter(header: &str, in_use: u8) -> Option<u8> {
    let count = |delimiter: u8| header.bytes().filter(|&byte| byte == delimiter).count();
    let used = count(in_use);
    COMMON_DELIMITERS
        .into_iter()
        .filter(|&other| other != in_use && count(other) > used)
        .max_by_key(|&other| count(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_checked_with_their_place() {
        let place = |line, field| Place { line, field };
        for (csv, expected) in [
            ("a,b\n1,\"x\"\n", Ok(())),
            ("a,b\n1,\"x, \"\"y\"\"\nz\"\r\n2,\"\"\n", Ok(())),
            ("a,b\n1,5\" tall\n", Ok(())),
            (
                "a,b\n1,\"x\n2,y\n",
                Err(LayoutError::UnclosedQuote(place(2, 2))),
            ),
            (
                "a,b\r1,x\r\"2,y",
                Err(LayoutError::UnclosedQuote(place(3, 1))),
            ),
            (
                "a,b\r\n1,\"x\ny\" z\r\n",
                Err(LayoutError::TextAfterQuote(place(3, 2))),
            ),
            ("\"a\"b", Err(LayoutError::TextAfterQuote(place(1, 1)))),
        ] {
            assert_eq!(
                check_quotes(csv.as_bytes(), b',', &|| false),
                expected,
                "{csv:?}"
            );
        }
    }

    #[test]
    fn every_line_ending_is_counted_once() {
        for ending in ["\n", "\r\n", "\r"] {
            let csv = format!("a{ending}b{ending}{ending}c");
            let byte = csv.len() - 1;
            assert_eq!(place_of(csv.as_bytes(), b',', byte).line, 4, "{ending:?}");
            let after_b = 1 + ending.len() + 1 + ending.len();
            assert_eq!(line_of_row(csv.as_bytes(), b',', after_b), 4);
        }
    }

    #[test]
    fn the_likely_delimiter_separates_more_names() {
        for (header, in_use, expected) in [
            ("Id;a;b", b',', Some(b';')),
            ("Id\ta\tb", b',', Some(b'\t')),
            ("Id,a,b", b';', Some(b',')),
            ("Id,a;b,c", b',', None),
            ("Id", b',', None),
        ] {
            assert_eq!(likely_delimiter(header, in_use), expected, "{header}");
        }
    }

    #[test]
    fn excels_separator_hint_is_recognised() {
        for (csv, expected) in [
            ("sep=;\nId;a\n", Some(';')),
            ("SEP=,\r\nId,a\n", Some(',')),
            ("separator\n", None),
            ("", None),
        ] {
            assert_eq!(separator_hint(csv.as_bytes()), expected, "{csv:?}");
        }
    }

    #[test]
    fn utf16_is_rejected_with_and_without_a_mark() {
        for csv in [
            &b"\xff\xfeI\0d\0"[..],
            b"\xfe\xff\0I\0d",
            b"I\0d\0,\0",
            b"\0I\0d\0,",
        ] {
            assert_eq!(check_encoding(csv), Err(DatasetError::Utf16), "{csv:?}");
        }
        assert_eq!(check_encoding("Id,größe\n".as_bytes()), Ok(()));
        for csv in [&b""[..], b"\0\0\0\0", b"Id"] {
            assert_eq!(check_encoding(csv), Ok(()), "{csv:?}");
        }
    }
}
