//! Whether each part of a service makes progress, and the cause if one does not.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::printable::printable;

/// The time without a report after which a part counts as stalled.
const SILENCE: Duration = Duration::from_secs(10);

/// The time without a report after which a part counts as hanging. The time limit of every call is much shorter.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// The health of a service, which consists of its parts.
#[derive(Debug, Default)]
pub struct Health {
    parts: Mutex<Vec<Arc<Part>>>,
}

/// A part of a service, such as a worker or a follower.
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
    /// Adds a part. It is not ready until its first report.
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
        self.parts.lock().push(Arc::clone(&part));
        part
    }

    /// Returns the problem of each part that has one; empty if the service is ready.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.problems_at(Instant::now())
    }

    /// Returns the name of a part that hangs: it neither reports nor reacts to a stop.
    #[must_use]
    pub fn hanging(&self) -> Option<String> {
        self.hanging_at(Instant::now())
    }

    fn hanging_at(&self, now: Instant) -> Option<String> {
        let parts = self.parts.lock();
        let is_hanging =
            |part: &&Arc<Part>| part.silence_at(now).is_some_and(|silence| silence > HANG);
        parts.iter().find(is_hanging).map(|part| part.name.clone())
    }

    fn problems_at(&self, now: Instant) -> Vec<String> {
        let parts = self.parts.lock();
        if parts.is_empty() {
            return vec!["starting".to_owned()];
        }
        parts
            .iter()
            .filter_map(|part| part.problem_at(now))
            .collect()
    }
}

/// The metric of whether the service makes progress.
impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 if the service makes progress, else 0; /readyz shows the cause";
        let metric = encoder.encode_descriptor("ready", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.problems().is_empty())).encode(metric)
    }
}

impl Part {
    /// Reports that the part is alive, and its present problem if it has one. Control characters in it are escaped.
    pub fn report(&self, problem: Option<String>) {
        let mut state = self.state.lock();
        state.problem = problem.map(|problem| printable(&problem).into_owned());
        state.reported = Instant::now();
    }

    /// Returns a function that reports the progress of a step that takes long, such as reading a topic before the work
    /// starts.
    pub fn reporter<P: fmt::Display>(self: &Arc<Self>) -> impl Fn(&P) + Send + Sync + use<P> {
        let part = Arc::clone(self);
        move |progress| part.report(Some(progress.to_string()))
    }

    /// Reports that the part has finished its work and will not report again.
    pub fn finish(&self) {
        self.state.lock().is_finished = true;
    }

    /// Returns the time since the latest report; `None` if the part has finished.
    fn silence_at(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock();
        (!state.is_finished).then(|| now.saturating_duration_since(state.reported))
    }

    fn problem_at(&self, now: Instant) -> Option<String> {
        let state = self.state.lock();
        if state.is_finished {
            return None;
        }
        let silence = now.saturating_duration_since(state.reported);
        let problem = match &state.problem {
            Some(problem) => problem.clone(),
            None if silence > SILENCE => format!("no progress for {} s", silence.as_secs()),
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
    fn a_part_that_stops_reporting_is_a_problem_unless_it_has_finished() {
        let health = Health::default();
        let part = health.part("worker 0");
        part.report(None);
        let later = Instant::now() + Duration::from_secs(12);
        assert_eq!(
            health.problems_at(later),
            ["worker 0: no progress for 12 s"]
        );
        assert_eq!(health.hanging_at(later), None);
        let much_later = Instant::now() + Duration::from_secs(61);
        assert_eq!(health.hanging_at(much_later).as_deref(), Some("worker 0"));
        part.finish();
        assert!(health.problems_at(later).is_empty());
        assert_eq!(health.hanging_at(much_later), None);
    }
}
