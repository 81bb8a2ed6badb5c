//! Problems that several clients of one process have at the same time: each is logged once, not once per client.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tracing::{error, info, warn};

/// The present problems of the process.
static PRESENT: Mutex<Present> = Mutex::new(Present(BTreeMap::new()));

/// The events that the process has logged.
static EVENTS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The number of clients that have each problem.
#[derive(Debug, Default)]
struct Present(BTreeMap<String, usize>);

impl Present {
    /// Adds a client that has a problem. Returns whether it is the first one.
    fn add(&mut self, problem: &str) -> bool {
        let clients = self.0.entry(problem.to_owned()).or_default();
        *clients += 1;
        *clients == 1
    }

    /// Removes a client that had a problem. Returns whether it was the last one.
    fn remove(&mut self, problem: &str) -> bool {
        let Some(clients) = self.0.get_mut(problem) else {
            return false;
        };
        *clients -= 1;
        let is_last = *clients == 0;
        if is_last {
            self.0.remove(problem);
        }
        is_last
    }
}

/// A problem that a client may have together with other clients of the process.
#[derive(Debug, Default)]
pub(crate) struct SharedProblem(Option<String>);

impl SharedProblem {
    /// Returns the problem.
    pub(crate) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Sets or clears the problem. Logs it if no other client has it, and logs its end when no client has it any more.
    pub(crate) fn set(&mut self, problem: Option<String>) {
        if problem == self.0 {
            return;
        }
        let mut present = PRESENT.lock();
        let starts = problem.as_ref().is_some_and(|text| present.add(text));
        let ends = self.0.as_ref().is_some_and(|text| present.remove(text));
        drop(present);
        let previous = std::mem::replace(&mut self.0, problem);
        match (&self.0, previous) {
            (Some(problem), _) if starts => error!("{problem}"),
            (None, Some(previous)) if ends => info!("resolved: {previous}"),
            _ => {}
        }
    }
}

impl Drop for SharedProblem {
    fn drop(&mut self) {
        if let Some(problem) = &self.0 {
            PRESENT.lock().remove(problem);
        }
    }
}

/// Logs an event that several clients of the process notice, once. The text must identify the event.
pub(crate) fn warn_once(event: String) {
    if EVENTS.lock().insert(event.clone()) {
        warn!("{event}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_starts_with_the_first_client_and_ends_with_the_last() {
        let mut present = Present::default();
        assert!(present.add("no topic"));
        assert!(!present.add("no topic"));
        assert!(present.add("no partition"));
        assert!(!present.remove("no topic"));
        assert!(present.remove("no topic"));
        assert!(!present.remove("no topic"), "no client has it");
        assert!(present.add("no topic"));
    }

    #[test]
    fn a_client_that_ends_has_no_problem_any_more() {
        let holders = || PRESENT.lock().0.get("only in this test").copied();
        let mut problem = SharedProblem::default();
        let mut other = SharedProblem::default();
        problem.set(Some("only in this test".to_owned()));
        other.set(Some("only in this test".to_owned()));
        assert_eq!(problem.get(), Some("only in this test"));
        assert_eq!(holders(), Some(2));
        drop(problem);
        assert_eq!(holders(), Some(1));
        other.set(None);
        assert_eq!((other.get(), holders()), (None, None));
    }
}
