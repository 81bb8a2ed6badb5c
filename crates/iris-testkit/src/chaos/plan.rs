//! Draws a storm's faults and their times from a seed.
//!
//! The same seed gives the same plan. Which record or request a fault affects depends on the machine's timing.

use std::time::Duration;

use fastrand::Rng;
use iris_contract::{Topic, Topics};

use super::action::{Action, Change, Interruption, Mode, Recreation, Role, Step, Until};
use crate::cluster::BROKERS;
use crate::proxy::{CommitFault, Network};

/// The number of classifier processes.
pub(super) const CLASSIFIERS: usize = 3;

/// The session timeout: after it, a group gives a silent member's partitions to others.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(3);

/// The session timeout and the heartbeat interval, as client settings in TOML.
pub(super) const SESSION_SETTINGS: &str =
    "[kafka.librdkafka]\n\"session.timeout.ms\" = 3000\n\"heartbeat.interval.ms\" = 500\n";

/// The duration of a storm. Faults that have started by then are completed.
pub const STORM: Duration = Duration::from_secs(36);

/// How long a zombie runs beside its replacement before it is killed.
const AFTERLIFE: Duration = Duration::from_secs(5);

const KILLS: usize = 6;
const TERMINATIONS: usize = 1;
const FREEZES: usize = 2;
const BROKER_BOUNCES: usize = 2;
const BROKER_FREEZES: usize = 1;
const NETWORK_FAULTS: usize = 1;
const COMMIT_FAULTS: usize = 4;

/// How often the input topic and the topics of outcomes are given one more partition each.
pub(super) const GROWTHS: i32 = 2;

/// The truncations of one partition that delete only records whose outcomes are committed, and those of the topic's first
/// partitions that delete all records.
const TRUNCATIONS_BEHIND: usize = 2;
const TRUNCATIONS_TO_THE_END: usize = 2;

/// The topics of outcomes.
const OUTCOMES: [Topic; 3] = [Topic::Predictions, Topic::Feedback, Topic::DeadLetters];

/// The faults of a storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed it was drawn from.
    pub seed: u64,
    /// How the classifiers share the partitions.
    pub mode: Mode,
    /// The steps, in order of time.
    pub steps: Vec<Step>,
    /// The deletion and recreation of the input topic, after the steps.
    pub recreation: Recreation,
}

impl Plan {
    /// Draws a plan from a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mode = if rng.bool() {
            Mode::Group
        } else {
            Mode::Listed
        };
        let mut draft = Draft {
            rng,
            mode,
            steps: Vec::new(),
        };
        let mut free = draft.processes();
        draft.brokers();
        draft.commits();
        draft.growths(&mut free);
        draft.truncations();
        let recreation = draft.recreation();
        let mut steps = draft.steps;
        steps.sort_by_key(|step| step.at);
        Self {
            seed,
            mode,
            steps,
            recreation,
        }
    }
}

/// Returns the classifier that reads a partition if each has its own list.
pub(super) fn reader(partition: i32) -> usize {
    usize::try_from(partition).map_or(0, |partition| partition % CLASSIFIERS)
}

struct Draft {
    rng: Rng,
    mode: Mode,
    steps: Vec<Step>,
}

impl Draft {
    fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(from + (to - from) * self.rng.f64())
    }

    fn step(&mut self, at: Duration, action: Action) {
        self.steps.push(Step { at, action });
    }

    /// Returns the given number of each kind, in random order.
    fn shuffled<F: Copy>(&mut self, kinds: &[(F, usize)]) -> Vec<F> {
        let mut faults: Vec<F> = kinds
            .iter()
            .flat_map(|&(fault, count)| std::iter::repeat_n(fault, count))
            .collect();
        self.rng.shuffle(&mut faults);
        faults
    }

    /// Draws moments of the storm, in order.
    fn moments(&mut self, count: usize) -> Vec<Duration> {
        let mut moments: Vec<Duration> = (0..count)
            .map(|_| self.seconds(1.0, STORM.as_secs_f64()))
            .collect();
        moments.sort_unstable();
        moments
    }

    /// Draws kills, terminations and freezes. A process has one fault at a time. Returns the time after each process's last
    /// fault: the classifiers', then the sink's.
    fn processes(&mut self) -> Vec<Duration> {
        type Fault = fn(&mut Draft, Duration, Role) -> Duration;
        let kinds: [(Fault, usize); 3] = [
            (Self::kill, KILLS),
            (Self::terminate, TERMINATIONS),
            (Self::freeze, FREEZES),
        ];
        let faults = self.shuffled(&kinds);
        let roles: Vec<Role> = (0..CLASSIFIERS)
            .map(Role::Classifier)
            .chain([Role::Sink])
            .collect();
        let mut free = vec![Duration::ZERO; roles.len()];
        for (at, fault) in self.moments(faults.len()).into_iter().zip(faults) {
            let role = self.rng.usize(..roles.len());
            let at = at.max(free[role]);
            free[role] = fault(self, at, roles[role]) + Duration::from_millis(300);
        }
        free
    }

    fn kill(&mut self, at: Duration, role: Role) -> Duration {
        self.restart(at, Action::Kill(role), role)
    }

    fn terminate(&mut self, at: Duration, role: Role) -> Duration {
        self.restart(at, Action::Terminate(role), role)
    }

    fn restart(&mut self, at: Duration, end: Action, role: Role) -> Duration {
        let back = at + self.seconds(0.0, 2.0);
        self.step(at, end);
        self.step(back, Action::Start(role));
        back
    }

    fn freeze(&mut self, at: Duration, role: Role) -> Duration {
        let thaw = at + SESSION_TIMEOUT + self.seconds(0.5, 5.0);
        self.step(at, Action::Freeze(role));
        // No other process takes over a list of partitions, so only a replacement shows whether a zombie is fenced.
        if self.mode == Mode::Listed || self.rng.bool() {
            let replaced = at + self.seconds(0.1, 2.0);
            self.step(replaced, Action::Replace(role));
            self.step(thaw, Action::Thaw(role));
            self.step(thaw + AFTERLIFE, Action::KillZombie(role));
            thaw + AFTERLIFE
        } else {
            self.step(thaw, Action::Thaw(role));
            thaw
        }
    }

    /// Draws restarts, freezes and network faults, one broker at a time: a cluster of three tolerates no more.
    fn brokers(&mut self) {
        type Fault = fn(&mut Draft, Duration, usize) -> Duration;
        let kinds: [(Fault, usize); 3] = [
            (Self::bounce, BROKER_BOUNCES),
            (Self::freeze_broker, BROKER_FREEZES),
            (Self::disturb, NETWORK_FAULTS),
        ];
        let faults = self.shuffled(&kinds);
        let mut free = Duration::ZERO;
        for (at, fault) in self.moments(faults.len()).into_iter().zip(faults) {
            let (at, broker) = (at.max(free), self.rng.usize(..BROKERS));
            // The next fault must find all brokers in sync again.
            free = fault(self, at, broker) + Duration::from_secs(5);
        }
    }

    fn bounce(&mut self, at: Duration, broker: usize) -> Duration {
        let back = at + self.seconds(0.5, 5.0);
        let by_kill = self.rng.bool();
        self.step(at, Action::StopBroker { broker, by_kill });
        self.step(back, Action::StartBroker(broker));
        back
    }

    fn freeze_broker(&mut self, at: Duration, broker: usize) -> Duration {
        let thaw = at + self.seconds(1.0, 8.0);
        self.step(at, Action::FreezeBroker(broker));
        self.step(thaw, Action::ThawBroker(broker));
        thaw
    }

    fn disturb(&mut self, at: Duration, broker: usize) -> Duration {
        let over = at + self.seconds(1.0, 5.0);
        let network = if self.rng.bool() {
            Network::Cut
        } else {
            Network::Slow(self.seconds(0.02, 0.5))
        };
        self.step(at, Action::Network(broker, network));
        self.step(over, Action::Network(broker, Network::Up));
        over
    }

    fn commits(&mut self) {
        for at in self.moments(COMMIT_FAULTS) {
            let fault = match self.rng.u8(..4) {
                // Around the client's timeout.
                0 => CommitFault::Delay(self.seconds(6.0, 11.0)),
                1 => CommitFault::Delay(self.seconds(0.1, 2.0)),
                2 => CommitFault::CutBefore,
                _ => CommitFault::CutAfter,
            };
            self.step(at, Action::Commit(fault));
        }
    }

    /// Draws new partitions: in one half of the cases the input topic is the first to get one, else the last. With listed
    /// partitions, the classifier that reads a new one is restarted for that.
    fn growths(&mut self, free: &mut [Duration]) {
        for growth in 0..GROWTHS {
            let partition = Topics::default().partitions + growth;
            let begin = f64::from(growth) * 14.0;
            let at = self.seconds(begin + 2.0, begin + 8.0);
            let input_is_first = self.rng.bool();
            let mut last = at;
            for topic in [Topic::Input].into_iter().chain(OUTCOMES) {
                let delay = if (topic == Topic::Input) == input_is_first {
                    Duration::ZERO
                } else {
                    self.seconds(1.0, 6.0)
                };
                last = last.max(at + delay);
                let partitions = partition + 1;
                let change = Change::Grow { topic, partitions };
                self.step(at + delay, Action::Change(change));
            }
            if self.mode == Mode::Listed {
                let reader = reader(partition);
                let at = free[reader].max(last + Duration::from_millis(500));
                free[reader] = self.terminate(at, Role::Classifier(reader));
            }
        }
    }

    /// Draws truncations. Those to the end follow a fault of a classifier, so that some of the records are not read yet.
    fn truncations(&mut self) {
        let partitions = 0..Topics::default().partitions;
        for at in self.moments(TRUNCATIONS_BEHIND) {
            let until = Until::Processed(self.rng.u8(10..=100));
            let partition = self.rng.i32(partitions.clone());
            self.truncate(at, partition, until);
        }
        let is_fault = |step: &&Step| {
            let classifier = |role| matches!(role, Role::Classifier(_));
            let (Action::Kill(role) | Action::Freeze(role)) = step.action else {
                return false;
            };
            classifier(role) && step.at < STORM
        };
        let faults: Vec<Duration> = self
            .steps
            .iter()
            .filter(is_fault)
            .map(|step| step.at)
            .collect();
        for _ in 0..TRUNCATIONS_TO_THE_END {
            let fault = faults.get(self.rng.usize(..faults.len().max(1)));
            let at = fault.copied().unwrap_or(STORM / 2) + self.seconds(0.3, 1.5);
            for partition in partitions.clone() {
                self.truncate(at, partition, Until::End);
            }
        }
    }

    fn truncate(&mut self, at: Duration, partition: i32, until: Until) {
        let change = Change::Truncate { partition, until };
        self.step(at, Action::Change(change));
    }

    fn recreation(&mut self) -> Recreation {
        let interruption = match self.rng.u8(..3) {
            0 => Interruption::None,
            1 => Interruption::Kill,
            _ => Interruption::Freeze,
        };
        Recreation {
            pause: self.seconds(0.0, 3.0),
            role: Role::Classifier(self.rng.usize(..CLASSIFIERS)),
            interruption,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn equal_seeds_draw_equal_plans_and_different_seeds_different_ones() {
        assert_eq!(Plan::draw(7), Plan::draw(7));
        assert_ne!(Plan::draw(7).steps, Plan::draw(8).steps);
    }

    #[test]
    fn every_plan_has_all_its_faults_and_ends_with_all_processes_running() {
        for seed in 0..200 {
            let plan = Plan::draw(seed);
            let count =
                |is: fn(&Action) -> bool| plan.steps.iter().filter(|step| is(&step.action)).count();
            assert_eq!(count(|action| matches!(action, Action::Kill(_))), KILLS);
            assert_eq!(count(|action| matches!(action, Action::Freeze(_))), FREEZES);
            assert_eq!(
                count(|action| matches!(action, Action::StopBroker { .. })),
                BROKER_BOUNCES
            );
            assert_eq!(
                count(|action| matches!(action, Action::Commit(_))),
                COMMIT_FAULTS
            );
            let mut is_alive: BTreeMap<Role, bool> = BTreeMap::new();
            for Step { action, .. } in &plan.steps {
                match action {
                    Action::Kill(role) | Action::Terminate(role) | Action::Freeze(role) => {
                        assert_ne!(is_alive.insert(*role, false), Some(false), "{seed}");
                    }
                    Action::Start(role) | Action::Thaw(role) => {
                        assert_eq!(is_alive.insert(*role, true), Some(false), "{seed}");
                    }
                    _ => {}
                }
            }
            assert!(is_alive.values().all(|&is_alive| is_alive));
        }
    }

    #[test]
    fn every_plan_grows_each_topic_in_steps_of_one_and_truncates_the_input() {
        let mut input_is_first = BTreeMap::new();
        for seed in 0..200 {
            let plan = Plan::draw(seed);
            let mut grown: BTreeMap<Topic, i32> = BTreeMap::new();
            let (mut behind, mut to_the_end) = (0, 0);
            for Step { action, .. } in &plan.steps {
                let Action::Change(change) = action else {
                    continue;
                };
                match change {
                    Change::Grow { topic, partitions } => {
                        let first = grown.values().all(|&others| others < *partitions);
                        if first {
                            *input_is_first.entry(*topic == Topic::Input).or_insert(0) += 1;
                        }
                        let before = grown.insert(*topic, *partitions).unwrap_or(5);
                        assert_eq!(*partitions, before + 1, "{seed}");
                    }
                    Change::Truncate { partition, until } => {
                        assert!((0..5).contains(partition));
                        match until {
                            Until::Processed(percent) => {
                                assert!((10..=100).contains(percent));
                                behind += 1;
                            }
                            Until::End => to_the_end += 1,
                        }
                    }
                }
            }
            let topics = [Topic::Input].into_iter().chain(OUTCOMES);
            assert_eq!(
                grown,
                topics.map(|topic| (topic, 5 + GROWTHS)).collect(),
                "{seed}"
            );
            assert_eq!(
                (behind, to_the_end),
                (TRUNCATIONS_BEHIND, 5 * TRUNCATIONS_TO_THE_END)
            );
        }
        assert!(input_is_first[&true] > 100 && input_is_first[&false] > 100);
    }

    #[test]
    fn the_reader_of_a_new_partition_is_restarted_after_all_topics_have_it() {
        let is_listed = |plan: &Plan| plan.mode == Mode::Listed;
        for plan in (0..50).map(Plan::draw).filter(is_listed) {
            for partition in 5..5 + GROWTHS {
                let owner = Role::Classifier(reader(partition));
                let grown = plan.steps.iter().rposition(|step| {
                    matches!(step.action, Action::Change(Change::Grow { partitions, .. }) if partitions == partition + 1)
                });
                let after = &plan.steps[grown.unwrap()..];
                let restarts = |step: &&Step| step.action == Action::Terminate(owner);
                assert!(after.iter().any(|step| restarts(&step)), "{}", plan.seed);
            }
        }
    }

    #[test]
    fn a_process_is_frozen_for_longer_than_the_session_timeout() {
        for seed in 0..50 {
            let mut frozen: BTreeMap<Role, Duration> = BTreeMap::new();
            for Step { at, action } in Plan::draw(seed).steps {
                match action {
                    Action::Freeze(role) => drop(frozen.insert(role, at)),
                    Action::Thaw(role) => assert!(at - frozen[&role] > SESSION_TIMEOUT),
                    _ => {}
                }
            }
        }
    }
}
