//! Logs: lines for people or JSON for machines, on standard error.

use std::cell::RefCell;
use std::fmt as std_fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::str::FromStr;

use iris_core::{ImpossibleSetting, Section, one_of};
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// The target of events that tell of one record. Their message says all; as JSON the same stands in fields.
pub const RECORD_TARGET: &str = "record";

/// Libraries whose notices are of no use to a reader; the filter in the settings can ask for them.
const QUIETED: &str = "sqlx=warn";

/// What is told of the service, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// A filter in tracing's syntax, such as `info` or `info,iris_kafka=debug`.
    pub log: String,
    /// How log lines look.
    #[serde(deserialize_with = "one_of")]
    pub format: LogFormat,
    /// Where health and metrics are served, as `host:port`; empty for nowhere.
    pub http_addr: String,
    /// Where spans go: an OTLP collector's HTTP address, as `http://host:4318`; empty for nowhere.
    pub otlp_endpoint: String,
    /// The ratio of records for which the producer starts a trace, from 0 to 1.
    pub trace_sample_ratio: f64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            format: LogFormat::Text,
            http_addr: String::new(),
            otlp_endpoint: String::new(),
            trace_sample_ratio: 1.0,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Section for TelemetrySettings {
    const NAME: &'static str = "telemetry";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        if let Err(error) = EnvFilter::try_new(&self.log) {
            let problem = format!(
                "is `{}`: {error}; allowed is a filter such as info or iris_kafka=debug",
                self.log
            );
            return Err(ImpossibleSetting::new("log", problem));
        }
        if !self.http_addr.is_empty() && SocketAddr::from_str(&self.http_addr).is_err() {
            let problem = format!(
                "is `{}`: allowed is an address and a port, such as 127.0.0.1:9100",
                self.http_addr
            );
            return Err(ImpossibleSetting::new("http_addr", problem));
        }
        if !self.otlp_endpoint.is_empty() && !self.otlp_endpoint.starts_with("http://") {
            let problem = format!(
                "is `{}`: allowed is the address of a collector's HTTP receiver, such as http://localhost:4318",
                self.otlp_endpoint
            );
            return Err(ImpossibleSetting::new("otlp_endpoint", problem));
        }
        if !(0.0..=1.0).contains(&self.trace_sample_ratio) {
            let problem = format!("is {}: allowed is 0 to 1", self.trace_sample_ratio);
            return Err(ImpossibleSetting::new("trace_sample_ratio", problem));
        }
        Ok(())
    }
}

impl TelemetrySettings {
    /// Starts logging, to standard error or, where a service draws there itself, to `writer`.
    pub(crate) fn start(&self, writer: Option<LogWriter>) {
        let writer = writer.map_or_else(|| BoxMakeWriter::new(|| StandardError), |writer| writer.0);
        let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
        let coloured =
            is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(format!("{QUIETED},{}", self.log)))
            .with_writer(writer)
            // Reporting a failed write on standard error panics where that is closed, too, and ends the task that handles
            // signals.
            .log_internal_errors(false)
            .with_ansi(coloured);
        // Fails only if logging has started before, as when several services run in one test.
        let _ = match self.format {
            LogFormat::Text => builder.event_format(Line).try_init(),
            LogFormat::Json => builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .try_init(),
        };
    }
}

thread_local! {
    /// The lines that this thread holds back, if it does.
    static HELD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// How many bytes of lines are held back at most.
const HELD_BYTES: usize = 1 << 16;

/// Standard error, a write for each line or, for a thread that [holds lines](hold_lines), for many.
struct StandardError;

impl io::Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        HELD.with_borrow_mut(|held| match held {
            None => io::stderr().write(line),
            Some(lines) => {
                if lines.len() + line.len() > HELD_BYTES {
                    io::stderr().write_all(lines)?;
                    lines.clear();
                }
                lines.extend_from_slice(line);
                Ok(line.len())
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines are held back while this lives, and written together when it is dropped.
#[derive(Debug)]
pub struct HeldLines(());

/// Has this thread's log lines written together, not one by one: for when there are many at once. What is held when the
/// process is killed is lost.
#[must_use]
pub fn hold_lines() -> HeldLines {
    HELD.set(Some(Vec::with_capacity(HELD_BYTES)));
    HeldLines(())
}

impl Drop for HeldLines {
    fn drop(&mut self) {
        if let Some(lines) = HELD.take() {
            // A log line that cannot be written is lost; there is nowhere to say so.
            let _ = io::stderr().write_all(&lines);
        }
    }
}

/// Where log lines go in place of standard error.
pub struct LogWriter(BoxMakeWriter);

impl LogWriter {
    /// Lines go to what `make` makes.
    pub fn new<M>(make: M) -> Self
    where
        M: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        Self(BoxMakeWriter::new(make))
    }
}

impl std_fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std_fmt::Formatter<'_>) -> std_fmt::Result {
        f.write_str("LogWriter")
    }
}

/// A line for people: time, level, message, and the fields of events that have some beyond their message.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std_fmt::Result {
        let (dim, colour, end) = match (writer.has_ansi_escapes(), *event.metadata().level()) {
            (false, _) => ("", "", ""),
            (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
            (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
        };
        writer.write_str(dim)?;
        SystemTime.format_time(&mut writer)?;
        write!(
            writer,
            "{end} {colour}{:>5}{end} ",
            event.metadata().level()
        )?;
        if event.metadata().target() == RECORD_TARGET {
            event.record(&mut MessageOnly {
                writer: &mut writer,
            });
        } else {
            context
                .field_format()
                .format_fields(writer.by_ref(), event)?;
        }
        writeln!(writer)
    }
}

struct MessageOnly<'a, 'w> {
    writer: &'a mut Writer<'w>,
}

impl Visit for MessageOnly<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std_fmt::Debug) {
        if field.name() == "message" {
            // A log line that cannot be written is lost; there is nowhere to say so.
            let _ = write!(self.writer, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_until_there_are_many_or_the_holder_is_gone() {
        let held = || HELD.with_borrow(|lines| lines.as_ref().map(Vec::len));
        let holder = hold_lines();
        StandardError.write_all(b"one\n").unwrap();
        StandardError.write_all(b"two\n").unwrap();
        assert_eq!(held(), Some(8));
        let long = vec![b' '; HELD_BYTES];
        StandardError.write_all(&long).unwrap();
        assert_eq!(held(), Some(HELD_BYTES), "the first two were written");
        HELD.set(Some(Vec::new()));
        drop(holder);
        assert_eq!(held(), None);
    }

    #[test]
    fn impossible_settings_are_refused() {
        TelemetrySettings::default().validate().unwrap();
        let filter = TelemetrySettings {
            log: "iris=loud".to_owned(),
            ..TelemetrySettings::default()
        };
        assert_eq!(filter.validate().unwrap_err().key, "log");
        let address = TelemetrySettings {
            http_addr: "9100".to_owned(),
            ..TelemetrySettings::default()
        };
        assert_eq!(
            address.validate().unwrap_err().to_string(),
            "http_addr is `9100`: allowed is an address and a port, such as 127.0.0.1:9100"
        );
    }
}
