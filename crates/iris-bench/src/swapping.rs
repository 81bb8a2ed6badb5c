//! Swaps the champion while a contender works.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{bail, ensure};
use iris_core::ModelSettings;
use iris_registry::RegistryTopic;
use iris_testkit::Fixture;
use iris_testkit::swaps::{EXTRA_ROW, Swaps, of_another_kind, with_one_more_row};

use crate::testbed::NAME;

/// Swaps the champion a number of times, evenly over the backlog.
pub(crate) struct Swapping {
    swaps: usize,
    requested: usize,
    requests: mpsc::Sender<()>,
    thread: JoinHandle<anyhow::Result<usize>>,
}

impl Swapping {
    /// Starts the thread that swaps the champion and a model of the same or of another kind.
    pub(crate) fn start(fixture: &Fixture, swaps: usize, is_between_kinds: bool) -> Self {
        let topic = RegistryTopic::new(&fixture.kafka, &fixture.topics.models, NAME);
        let (requests, received) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut champions = Swaps::prepare(&topic, |champion| {
                if is_between_kinds {
                    of_another_kind(champion, ModelSettings::default().forest())
                } else {
                    with_one_more_row(champion, EXTRA_ROW)
                }
            })?;
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
