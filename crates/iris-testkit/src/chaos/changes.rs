//! Changes topics while they are used.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use iris_admin::topic_specs;
use iris_contract::{Topic, Topics};
use iris_kafka::{Admin, KafkaSettings, end_offsets};

use super::action::{Change, Until};
use super::groups::Groups;
use super::partitions::Partitions;
use super::traffic::join;
use crate::ledger::Truncations;
use crate::runtime::runtime;
use crate::wait::{TIMEOUT, eventually};

/// The name under which brokers log these requests.
const NAME: &str = "iris-testkit";

/// The error of a topic that has the partitions already: an earlier request was carried out, and its answer was lost.
const HAS_PARTITIONS: &str = "InvalidPartitions";

/// Changes topics on threads of its own: a request may have to wait for a broker that is frozen. One thread adds partitions,
/// the other one deletes records.
pub(super) struct TopicChanges {
    growths: (Sender<Change>, JoinHandle<anyhow::Result<Truncations>>),
    truncations: (Sender<Change>, JoinHandle<anyhow::Result<Truncations>>),
}

impl TopicChanges {
    /// Starts the threads. `kafka` bypasses the proxies.
    pub(super) fn start(
        kafka: &KafkaSettings,
        topics: &Topics,
        groups: &Groups,
        partitions: &Partitions,
    ) -> Self {
        let start = || {
            let (requests, due) = mpsc::channel();
            let changer = Changer {
                kafka: kafka.clone(),
                topics: topics.clone(),
                groups: groups.clone(),
                partitions: partitions.clone(),
                read: BTreeSet::new(),
                truncations: Truncations::default(),
            };
            (requests, thread::spawn(move || changer.run(due)))
        };
        Self {
            growths: start(),
            truncations: start(),
        }
    }

    /// Requests a change.
    pub(super) fn request(&self, change: Change) {
        let (requests, _) = match change {
            Change::Grow { .. } => &self.growths,
            Change::Truncate { .. } => &self.truncations,
        };
        // If the thread has failed, `finish` returns its error.
        let _ = requests.send(change);
    }

    /// Waits until all changes are carried out. Returns the truncations.
    pub(super) fn finish(self) -> anyhow::Result<Truncations> {
        let (requests, thread) = self.growths;
        drop(requests);
        join(thread)?;
        let (requests, thread) = self.truncations;
        drop(requests);
        join(thread)
    }
}

struct Changer {
    kafka: KafkaSettings,
    topics: Topics,
    groups: Groups,
    partitions: Partitions,
    /// The partitions in which the group has committed an offset.
    read: BTreeSet<i32>,
    truncations: Truncations,
}

impl Changer {
    fn run(mut self, due: mpsc::Receiver<Change>) -> anyhow::Result<Truncations> {
        for change in due {
            match change {
                Change::Grow { topic, partitions } => self.grow(topic, partitions),
                Change::Truncate { partition, until } => self.truncate(partition, until),
            }
            .with_context(|| format!("{change:?}"))?;
        }
        Ok(self.truncations)
    }

    fn grow(&self, topic: Topic, partitions: i32) -> anyhow::Result<()> {
        let name = self.topics.name(topic);
        let count = usize::try_from(partitions)?;
        eventually("the topic to grow", TIMEOUT, || {
            let admin = Admin::new(&self.kafka, NAME).ok()?;
            match runtime().ok()?.block_on(admin.add_partitions(name, count)) {
                Ok(()) => Some(()),
                Err(error) => format!("{error:?}").contains(HAS_PARTITIONS).then_some(()),
            }
        })?;
        self.partitions.set(topic, partitions);
        Ok(())
    }

    /// Deletes a partition's oldest records. Waits until the group has committed an offset in it: records that are deleted
    /// before that are none that the group has missed.
    fn truncate(&mut self, partition: i32, until: Until) -> anyhow::Result<()> {
        let input = &self.topics.input;
        let start = self.truncations.start(partition);
        let committed = || {
            eventually("the committed offset", TIMEOUT, || {
                self.groups.committed().ok()?.get(partition)
            })
        };
        let until = match until {
            Until::Processed(percent) => {
                start + (committed()? - start).max(0) * i64::from(percent) / 100
            }
            Until::End => {
                if !self.read.contains(&partition) {
                    committed()?;
                    self.read.insert(partition);
                }
                eventually("the end of the input", TIMEOUT, || {
                    end_offsets(&self.kafka, input).ok()?.get(partition)
                })?
            }
        };
        if until <= start {
            return Ok(());
        }
        eventually("the records to be deleted", TIMEOUT, || {
            let admin = Admin::new(&self.kafka, NAME).ok()?;
            let before = [(partition, until)].into();
            let deleted = runtime()
                .ok()?
                .block_on(admin.delete_records(input, &before));
            deleted.ok()
        })?;
        self.truncations.add(partition, until);
        Ok(())
    }
}

/// Deletes the input topic while it is used, and creates it again, with its present number of partitions, after a pause.
pub(super) fn recreate_input(
    kafka: &KafkaSettings,
    topics: &Topics,
    partitions: &Partitions,
    pause: Duration,
) -> anyhow::Result<()> {
    let admin = Admin::new(kafka, NAME)?;
    runtime()?.block_on(admin.delete(&[&topics.input]))?;
    thread::sleep(pause);
    let mut specs = topic_specs(topics);
    specs.retain(|spec| spec.name == topics.input);
    for spec in &mut specs {
        spec.partitions = partitions.get(Topic::Input);
    }
    eventually("the topic to be created", TIMEOUT, || {
        runtime().ok()?.block_on(admin.create(&specs, false)).ok()
    })?;
    Ok(())
}
