//! Requests to stop: Ctrl-C, SIGTERM or the end of the terminal.

use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::runtime::runtime;

/// Whether a stop of this process was requested.
#[derive(Clone, Debug, Default)]
pub struct StopRequest(Arc<OnceLock<&'static str>>);

impl StopRequest {
    /// Handles signals from now on: the first SIGINT, SIGTERM or SIGHUP sets the request, a second one exits with code 1.
    ///
    /// # Errors
    /// If the system refuses the handlers or the thread that waits for signals.
    pub fn listen() -> anyhow::Result<Self> {
        let request = Self::default();
        let requested = request.clone();
        let runtime = runtime()?;
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        drop(entered);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    loop {
                        let name = tokio::select! {
                            _ = interrupt.recv() => "SIGINT",
                            _ = terminate.recv() => "SIGTERM",
                            _ = hang_up.recv() => "SIGHUP",
                        };
                        if requested.0.set(name).is_err() {
                            std::process::exit(1);
                        }
                    }
                });
            })?;
        Ok(request)
    }

    /// Returns the name of the signal that requested the stop; `None` before that.
    #[must_use]
    pub fn signal(&self) -> Option<&'static str> {
        self.0.get().copied()
    }
}
