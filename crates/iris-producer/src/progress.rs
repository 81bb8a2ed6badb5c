//! A progress bar, if standard error is a terminal.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use iris_service::LogWriter;
use tracing_subscriber::fmt::MakeWriter;

/// A progress bar on standard error. If that is not a terminal, nothing is drawn.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Returns a bar that is drawn once streaming starts.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// Returns a writer that writes log lines above the bar.
    #[must_use]
    pub fn log_writer(&self) -> LogWriter {
        LogWriter::new(AboveBar(self.bar.clone()))
    }

    /// Draws the bar for `total` records.
    pub(crate) fn start(&self, total: u64) {
        self.bar.set_length(total);
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} records, {per_sec}, {eta} left");
        if let (true, Ok(style)) = (io::stderr().is_terminal(), style) {
            self.bar.set_style(style);
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Sets the number of records sent.
    pub(crate) fn reach(&self, records: u64) {
        self.bar.set_position(records);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes lines above the bar.
struct AboveBar(ProgressBar);

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.0.clone())
    }
}

struct Line(ProgressBar);

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0
            .suspend(|| io::stderr().write_all(text))
            .map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
