//! Logs on standard error, as plain text or JSON, and the settings of logs, metrics and traces.

pub(crate) mod collector;
mod line;
mod output;
mod settings;
mod time;

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

pub use line::RECORD_TARGET;
pub use output::{HeldLines, LogWriter, hold_lines};
pub use settings::{LogFormat, TelemetrySettings};

use line::Line;
use output::StandardError;

/// Directives that silence libraries' less useful lines, such as one for each attempt of a pool to connect; the filter in the
/// settings can override them.
const QUIETED: &str = "sqlx=warn,sqlx_core::pool=off";

impl TelemetrySettings {
    /// Starts logging, to standard error or, for a service that draws on it, to `writer`.
    pub(crate) fn start(&self, writer: Option<LogWriter>) {
        let writer = writer.map_or_else(|| BoxMakeWriter::new(|| StandardError), |writer| writer.0);
        let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
        let coloured =
            is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(format!("{QUIETED},{}", self.log)))
            .with_writer(writer)
            // Reporting a failed write on standard error panics if that is closed too, which would end the task that handles
            // signals.
            .log_internal_errors(false)
            .with_ansi(coloured);
        // Fails only if logging was started before, as when several services run in one test.
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
