//! Where log lines are written: standard error, or a writer of the service.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write as _};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

thread_local! {
    /// The lines that this thread holds, if it does.
    static HELD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The most bytes of lines that are held.
const HELD_BYTES: usize = 1 << 16;

/// Standard error. Each line is one write, or many lines are, on a thread that [holds lines](hold_lines).
pub(super) struct StandardError;

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

/// Holds this thread's log lines until it is dropped, and then writes them together.
#[derive(Debug)]
pub struct HeldLines(());

/// Starts holding this thread's log lines, to write many of them at once. If the process is killed, the held lines are lost.
#[must_use]
pub fn hold_lines() -> HeldLines {
    HELD.set(Some(Vec::with_capacity(HELD_BYTES)));
    HeldLines(())
}

impl Drop for HeldLines {
    fn drop(&mut self) {
        if let Some(lines) = HELD.take() {
            // A line that cannot be written is lost; the error cannot be logged either.
            let _ = io::stderr().write_all(&lines);
        }
    }
}

/// A writer of log lines in place of standard error.
pub struct LogWriter(pub(super) BoxMakeWriter);

impl LogWriter {
    /// Returns a writer that writes each line to a value that `make` makes.
    pub fn new<M>(make: M) -> Self
    where
        M: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        Self(BoxMakeWriter::new(make))
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogWriter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_until_there_are_many_or_the_holder_is_dropped() {
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
}
