//! Log lines as plain text.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::printable::Printable;
use crate::telemetry::time::Time;

/// The target of events about one record. Their message contains all of their fields, which JSON lines show separately.
pub const RECORD_TARGET: &str = "record";

thread_local! {
    /// The memory for the text of one event. It is checked as a whole, which takes less time than checking each of its pieces.
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
    static TIME: RefCell<Time> = const { RefCell::new(Time::new()) };
}

/// Formats a line of plain text: time, level, message, and the event's other fields. Control characters in these are escaped, so
/// that each event is one line.
pub(super) struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (dim, colour, end) = match (writer.has_ansi_escapes(), *event.metadata().level()) {
            (false, _) => ("", "", ""),
            (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
            (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
        };
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => " WARN",
            Level::INFO => " INFO",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        };
        writer.write_str(dim)?;
        TIME.with_borrow_mut(|time| time.write(&mut writer))?;
        write!(writer, "{end} {colour}{level}{end} ")?;
        let mut fields = Fields {
            is_record: event.metadata().target() == RECORD_TARGET,
            text: TEXT.take(),
            written: Ok(()),
        };
        event.record(&mut fields);
        let Fields {
            mut text, written, ..
        } = fields;
        let written = written.and_then(|()| Printable(&mut writer).write_str(&text));
        text.clear();
        TEXT.set(text);
        written?;
        writeln!(writer)
    }
}

/// An event's message and its other fields, which are absent from the line of a record.
struct Fields {
    is_record: bool,
    text: String,
    written: fmt::Result,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.written.is_err() {
            return;
        }
        let separator = if self.text.is_empty() { "" } else { " " };
        self.written = match field.name() {
            "message" => write!(self.text, "{separator}{value:?}"),
            _ if self.is_record => Ok(()),
            name => write!(self.text, "{separator}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use proptest::prelude::*;
    use tracing::info;

    use super::*;

    /// A writer whose lines the test reads.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the text after the level of everything that `log` logs.
    fn logged(log: impl FnOnce()) -> String {
        let written = Written::default();
        let lines = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || lines.clone())
            .with_ansi(false)
            .event_format(Line)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        text.split_once(" INFO ").unwrap().1.to_owned()
    }

    #[test]
    fn a_line_has_the_message_and_the_fields_but_of_a_record_only_the_message() {
        let plain = logged(|| info!(count = 3, name = "a", shown = %"b", "A message: {}", "schön"));
        assert_eq!(plain, "A message: schön count=3 name=\"a\" shown=b\n");
        let record = logged(|| info!(target: RECORD_TARGET, offset = 7, "Feedback: {{\"a\": 1}}"));
        assert_eq!(record, "Feedback: {\"a\": 1}\n");
    }

    proptest! {
        #[test]
        fn each_event_is_one_line_without_control_characters(text in any::<String>()) {
            for line in [
                logged(|| info!(field = text, shown = %text, "Predicted: {text}")),
                logged(|| info!(target: RECORD_TARGET, "Predicted: {text}")),
            ] {
                let line = line.strip_suffix('\n').unwrap();
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
                prop_assert!(!line.contains(['\u{2028}', '\u{202e}', '\u{2066}']), "{line:?}");
            }
        }
    }
}
