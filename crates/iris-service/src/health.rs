//! Whether a service makes progress, part by part, and if not, why.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// A part that has not reported for longer is stuck.
const SILENCE: Duration = Duration::from_secs(10);

/// A part that has not reported for longer hangs: every call that it makes has a time limit far below this.
const HANG: Duration = Duration::from_secs(60);

/// The health of a service: that of all its parts.
#[derive(Debug, Default)]
pub struct Health {
    parts: Mutex<Vec<Arc<Part>>>,
}

/// One part of a service that makes progress or does not, such as a worker.
#[derive(Debug)]
pub struct Part {
    name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    problem: Option<String>,
    reported: Instant,
    is_finished: bool,
}

impl Health {
    /// Adds a part, not ready until it reports that it is.
    pub fn part(&self, name: impl Into<String>) -> Arc<Part> {
        let state = State {
            problem: Some("starting".to_owned()),
            reported: Instant::now(),
            is_finished: false,
        };
        let part = Arc::new(Part {
            name: name.into(),
            state: Mutex::new(state),
        });
        self.parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&part));
        part
    }

    /// What keeps the service from its work, a line for each part that has a problem; empty if it is ready.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.problems_at(Instant::now())
    }

    /// A part that hangs, and so does not end by itself, nor heeds a stop.
    #[must_use]
    pub fn hanging(&self) -> Option<String> {
        self.hanging_at(Instant::now())
    }

    fn hanging_at(&self, now: Instant) -> Option<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = |part: &&Arc<Part>| part.silence_at(now).is_some_and(|silence| silence > HANG);
        parts.iter().find(hangs).map(|part| part.name.clone())
    }

    fn problems_at(&self, now: Instant) -> Vec<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.is_empty() {
            return vec!["starting".to_owned()];
        }
        parts
            .iter()
            .filter_map(|part| part.problem_at(now))
            .collect()
    }
}

/// As a metric: whether the service makes progress.
impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Whether the service makes progress: 1, or 0; /readyz says why not";
        let told = encoder.encode_descriptor("ready", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.problems().is_empty())).encode(told)
    }
}

impl Part {
    /// Reports that the part is alive, and what keeps it from its work, if anything does.
    pub fn report(&self, problem: Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.problem = problem;
        state.reported = Instant::now();
    }

    /// Reports that the part has done its work and will not report again.
    pub fn finish(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_finished = true;
    }

    /// How long it has not reported; `None` if it has finished.
    fn silence_at(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (!state.is_finished).then(|| now.saturating_duration_since(state.reported))
    }

    fn problem_at(&self, now: Instant) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_finished {
            return None;
        }
        let silence = now.saturating_duration_since(state.reported);
        let problem = match &state.problem {
            Some(problem) => problem.clone(),
            None if silence > SILENCE => format!("has not advanced for {} s", silence.as_secs()),
            None => return None,
        };
        Some(format!("{}: {problem}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_every_part_is() {
        let health = Health::default();
        assert_eq!(health.problems(), ["starting"]);
        let (one, two) = (health.part("worker 0"), health.part("worker 1"));
        one.report(None);
        assert_eq!(health.problems(), ["worker 1: starting"]);
        two.report(Some("no broker".to_owned()));
        assert_eq!(health.problems(), ["worker 1: no broker"]);
        two.report(None);
        assert!(health.problems().is_empty());
    }

    #[test]
    fn a_part_that_falls_silent_is_a_problem_unless_it_has_finished() {
        let health = Health::default();
        let part = health.part("worker 0");
        part.report(None);
        let later = Instant::now() + Duration::from_secs(12);
        assert_eq!(
            health.problems_at(later),
            ["worker 0: has not advanced for 12 s"]
        );
        assert_eq!(health.hanging_at(later), None);
        let much_later = Instant::now() + Duration::from_secs(61);
        assert_eq!(health.hanging_at(much_later).as_deref(), Some("worker 0"));
        part.finish();
        assert!(health.problems_at(later).is_empty());
        assert_eq!(health.hanging_at(much_later), None);
    }
}
