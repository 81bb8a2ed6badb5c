//! Swaps the champion while a contender works.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{bail, ensure};
use iris_registry::RegistryTopic;
use iris_testkit::Fixture;
use iris_testkit::swaps::Swaps;

use crate::testbed::NAME;

/// Swaps the champion a number of times, evenly over the backlog.
pub(crate) struct Swapping {
    swaps: usize,
    requested: usize,
    requests: mpsc::Sender<()>,
    thread: JoinHandle<anyhow::Result<usize>>,
}

impl Swapping {
    /// Starts the thread that swaps the champion.
    pub(crate) fn start(fixture: &Fixture, swaps: usize) -> Self {
        let topic = RegistryTopic::new(&fixture.kafka, &fixture.topics.models, NAME);
        let (requests, received) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut champions = Swaps::prepare(&topic)?;
            let mut swaps = 0;
            while received.recv().is_ok() {
                champions.swap()?;
                swaps += 1;
            }
            Ok(swaps)
        });
        Self {
            swaps,
            requested: 0,
            requests,
            thread,
        }
    }

    /// Requests the swaps that are due after this share of the backlog.
    pub(crate) fn advance(&mut self, share: f64) {
        while self.requested < self.swaps
            && share * (self.swaps + 1) as f64 >= (self.requested + 1) as f64
        {
            self.requested += 1;
            // If the thread has ended, joining it returns its error.
            let _ = self.requests.send(());
        }
    }

    /// Waits for the last swap.
    ///
    /// # Errors
    /// The thread's error; if there were fewer swaps than requested, or more than 5 % were not requested in time.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        drop(self.requests);
        let Ok(done) = self.thread.join() else {
            bail!("the thread that swaps champions panicked");
        };
        let done = done?;
        // The last swaps may have become due after the last check of the progress.
        let enough = self.swaps - self.swaps / 20;
        ensure!(
            done == self.requested && done >= enough,
            "there were {done} swaps"
        );
        Ok(())
    }
}
