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

/// The problems that a client has, maybe together with other clients of the process: at most one for each subject, such as a
/// topic.
#[derive(Debug, Default)]
pub(crate) struct SharedProblems {
    by_subject: BTreeMap<String, String>,
    text: Option<String>,
}

impl SharedProblems {
    /// Returns the problems as one text; `None` if there are none.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Sets the problems. Logs each that no other client has, and logs the end of each that no client has any more.
    pub(crate) fn set(&mut self, problems: BTreeMap<String, String>) {
        if problems == self.by_subject {
            return;
        }
        let previous = std::mem::replace(&mut self.by_subject, problems);
        let mut present = PRESENT.lock();
        for (subject, problem) in &self.by_subject {
            if previous.get(subject) != Some(problem) && present.add(problem) {
                error!("{problem}");
            }
        }
        for (subject, problem) in &previous {
            let now = self.by_subject.get(subject);
            if now != Some(problem) && present.remove(problem) && now.is_none() {
                info!("resolved: {problem}");
            }
        }
        drop(present);
        let problems: Vec<&str> = self.by_subject.values().map(String::as_str).collect();
        self.text = (!problems.is_empty()).then(|| problems.join("; "));
    }
}

impl Drop for SharedProblems {
    fn drop(&mut self) {
        let mut present = PRESENT.lock();
        for problem in self.by_subject.values() {
            present.remove(problem);
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
        let clients = |problem| PRESENT.lock().0.get(problem).copied();
        let problems = |problems: &[(&str, &str)]| {
            let owned = problems
                .iter()
                .map(|&(subject, problem)| (subject.to_owned(), problem.to_owned()));
            owned.collect::<BTreeMap<String, String>>()
        };
        let (mut one, mut other) = (SharedProblems::default(), SharedProblems::default());
        one.set(problems(&[("a", "test: a"), ("b", "test: b")]));
        other.set(problems(&[("a", "test: a")]));
        assert_eq!(one.text(), Some("test: a; test: b"));
        assert_eq!((clients("test: a"), clients("test: b")), (Some(2), Some(1)));
        drop(one);
        assert_eq!((clients("test: a"), clients("test: b")), (Some(1), None));
        other.set(problems(&[("a", "test: c")]));
        assert_eq!((clients("test: a"), clients("test: c")), (None, Some(1)));
        other.set(problems(&[]));
        assert_eq!((other.text(), clients("test: c")), (None, None));
    }
}
