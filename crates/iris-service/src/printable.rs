//! Text from records and files, made safe to show to people.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Returns a text without control characters, each replaced by its escape, such as `\n` or `\u{1b}`. A line break in a label
/// could otherwise forge a log line, and an escape sequence could control the terminal. Other text stays as it is.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !may_need_escape(text) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    // Writing to a string cannot fail.
    let _ = Printable(&mut escaped).write_str(text);
    Cow::Owned(escaped)
}

/// Writes to `W` what [`printable`] returns.
pub(crate) struct Printable<W>(pub(crate) W);

impl<W: Write> Write for Printable<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !may_need_escape(text) {
            return self.0.write_str(text);
        }
        let mut plain = 0;
        for (at, character) in text.char_indices().filter(|(_, c)| needs_escape(*c)) {
            self.0.write_str(&text[plain..at])?;
            write!(self.0, "{}", character.escape_default())?;
            plain = at + character.len_utf8();
        }
        self.0.write_str(&text[plain..])
    }
}

/// Returns whether a text may have a character to escape, from its bytes: false for most texts.
fn may_need_escape(text: &str) -> bool {
    // The first bytes of the characters from U+0080 and from U+2000.
    const C1: u8 = 0xc2;
    const FORMAT: u8 = 0xe2;
    // Without an early end, the compiler checks many bytes at a time.
    text.bytes().fold(false, |found, byte| {
        found | (byte < b' ') | (byte == 0x7f) | (byte == C1) | (byte == FORMAT)
    })
}

/// Returns whether a character is a control character, breaks a line, or changes the direction of the text around it.
fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_text_is_not_copied() {
        for (text, expected) in [
            ("x\n2026-11-26 INFO forged", "x\\n2026-11-26 INFO forged"),
            ("\r\t\u{1b}[31m\u{7f}", "\\r\\t\\u{1b}[31m\\u{7f}"),
            ("\u{85}\u{9b}2J", "\\u{85}\\u{9b}2J"),
            (
                "a\u{202e}b\u{2066}c\u{2028}",
                "a\\u{202e}b\\u{2066}c\\u{2028}",
            ),
        ] {
            assert_eq!(printable(text), expected);
        }
        for text in [
            "",
            "Iris-setosa",
            r#"{"a": "\n"}"#,
            "schön – 三色 \u{1f33c} \u{a0}",
        ] {
            assert_eq!(printable(text), text);
        }
        assert!(matches!(printable("Iris-setosa"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn no_text_has_a_control_character_afterwards(text in any::<String>()) {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(needs_escape));
            prop_assert_eq!(shown == text, !text.chars().any(needs_escape));
        }
    }
}
