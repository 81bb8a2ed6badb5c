//! Asks the brokers for the rights of a service's user.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::admin::needs::{Need, Operation};
use crate::client::settings::KafkaSettings;
use crate::pause::pause;
use crate::problem::SharedProblems;
use crate::read::error::ReadError;
use crate::read::watcher::TopicWatcher;
use crate::rights::missing::{Denied, Missing, MissingRights};
use crate::sys::describe::Allowed;

/// The time between two requests while a service runs.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The rights on topics that a service needs.
#[derive(Clone, Debug)]
pub struct Rights {
    settings: KafkaSettings,
    service: String,
    wanted: Vec<(Operation, String)>,
}

impl Rights {
    /// Returns the rights for these needs of `service`.
    #[must_use]
    pub fn new(settings: &KafkaSettings, service: &str, needs: &[Need<'_>]) -> Self {
        let right = |need: &Need<'_>| (need.operation(), need.topic().to_owned());
        Self {
            settings: settings.clone(),
            service: service.to_owned(),
            wanted: needs.iter().map(right).collect(),
        }
    }

    /// Returns the rights that the user lacks; `None` if it lacks none, or the brokers do not say.
    #[must_use]
    pub fn missing(&self) -> Option<MissingRights> {
        let found = self.watcher().and_then(|watcher| self.ask(&watcher));
        found.unwrap_or_else(|error| {
            debug!("the rights are not checked: {error}");
            None
        })
    }

    /// Returns the right to carry out an operation on topics that a broker has refused.
    #[must_use]
    pub fn lacking(&self, operation: Operation, topics: &[&str]) -> Option<MissingRights> {
        let missing = topics
            .iter()
            .map(|&topic| Missing::Topic(operation, topic.to_owned()));
        MissingRights::of(&self.settings, &self.service, missing.collect())
    }

    /// Returns the rights that the user lacks after a broker has refused a resource.
    #[must_use]
    pub fn explain(&self, denied: Denied) -> Option<MissingRights> {
        let missing = match denied {
            Denied::Topic => return self.missing(),
            Denied::Group(group) => Missing::Group(group),
            Denied::TransactionalId(id) => Missing::TransactionalId(id),
        };
        MissingRights::of(&self.settings, &self.service, vec![missing])
    }

    /// Passes the rights that the user lacks to `report` every few seconds, until `until` is cancelled. They are logged when
    /// that starts and when it ends.
    pub fn watch(&self, until: &CancellationToken, report: &mut dyn FnMut(Option<String>)) {
        let mut problems = SharedProblems::default();
        let mut watcher = None;
        while !until.is_cancelled() {
            if watcher.is_none() {
                watcher = self.watcher().ok();
            }
            // Brokers that do not answer are reported by the clients that need them.
            if let Some(watcher) = &watcher
                && let Ok(missing) = self.ask(watcher)
            {
                let problem = missing.map(|missing| (String::new(), missing.to_string()));
                problems.set(BTreeMap::from_iter(problem));
            }
            report(problems.text().map(str::to_owned));
            pause(INTERVAL, until);
        }
    }

    fn watcher(&self) -> Result<TopicWatcher, ReadError> {
        let mut topics: Vec<&str> = self
            .wanted
            .iter()
            .map(|(_, topic)| topic.as_str())
            .collect();
        topics.sort_unstable();
        topics.dedup();
        TopicWatcher::open(&self.settings, &self.service, &topics)
    }

    fn ask(&self, watcher: &TopicWatcher) -> Result<Option<MissingRights>, ReadError> {
        let allowed = watcher.allowed(TIMEOUT)?;
        let missing = self.wanted.iter().filter_map(|(operation, topic)| {
            let (_, allowed) = allowed.iter().find(|(name, _)| name == topic)?;
            missing(*operation, topic, *allowed)
        });
        Ok(MissingRights::of(
            &self.settings,
            &self.service,
            missing.collect(),
        ))
    }
}

/// Returns the right that is missing, if the broker's answer says so.
fn missing(
    operation: Operation,
    topic: &str,
    allowed: Result<Option<Allowed>, RDKafkaErrorCode>,
) -> Option<Missing> {
    let topic = topic.to_owned();
    match allowed {
        Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            Some(Missing::HiddenTopic(operation, topic))
        }
        Err(_) | Ok(None) => None,
        Ok(Some(allowed)) => {
            let is_allowed = match operation {
                Operation::Read => allowed.read,
                Operation::Write => allowed.write,
                Operation::Delete => allowed.delete,
                // A topic that is described exists. The cluster's refusal shows that the right to alter it is missing.
                Operation::Describe | Operation::Create | Operation::Alter => true,
            };
            (!is_allowed).then_some(Missing::Topic(operation, topic))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::simulated::SimulatedCluster;

    #[test]
    fn a_right_is_missing_if_the_broker_does_not_list_it_or_hides_the_topic() {
        let topic = || "t".to_owned();
        let allowed = |read, write| {
            Ok(Some(Allowed {
                read,
                write,
                delete: false,
            }))
        };
        let hidden = Err(RDKafkaErrorCode::TopicAuthorizationFailed);
        for (operation, answer, expected) in [
            (Operation::Read, allowed(true, false), None),
            (
                Operation::Read,
                allowed(false, true),
                Some(Missing::Topic(Operation::Read, topic())),
            ),
            (
                Operation::Write,
                allowed(true, false),
                Some(Missing::Topic(Operation::Write, topic())),
            ),
            (Operation::Describe, allowed(false, false), None),
            (
                Operation::Write,
                hidden,
                Some(Missing::HiddenTopic(Operation::Write, topic())),
            ),
            (Operation::Read, Ok(None), None),
            (
                Operation::Read,
                Err(RDKafkaErrorCode::UnknownTopicOrPartition),
                None,
            ),
        ] {
            assert_eq!(
                missing(operation, "t", answer),
                expected,
                "{operation} {answer:?}"
            );
        }
    }

    #[test]
    fn brokers_that_list_no_operations_deny_none() {
        let cluster = SimulatedCluster::new(1, &["input", "output"]);
        let needs = [
            Need::read("input"),
            Need::write("output"),
            Need::write("none"),
        ];
        let rights = Rights::new(&cluster.settings, "test", &needs);
        assert_eq!(rights.missing(), None);
        let group = rights.explain(Denied::Group("g".to_owned()));
        assert!(group.unwrap().to_string().contains("Read on group `g`"));
    }
}
