//! Members of a consumer group: the owner of a partition while a member seeks back, and a group that another program uses.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use iris_kafka::{Consumer, PartitionOffset, Positions, RebalanceListener, Start};
use iris_testkit::{Fixture, TIMEOUT, eventually, get};

const TICK: Duration = Duration::from_millis(10);

/// Long enough for a rebalance that revokes nothing.
const REBALANCE_TIME: Duration = Duration::from_secs(4);

/// Reports assignments, including empty ones.
struct Assignments(Sender<()>);

impl RebalanceListener for Assignments {
    fn assigned(&self, _: &[i32]) -> Vec<PartitionOffset> {
        let _ = self.0.send(());
        Vec::new()
    }
}

/// Another program's member is polled while a service that uses the same group waits for it to leave.
#[test]
fn a_group_that_another_program_uses_is_reported_until_that_program_leaves_it() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let store = fixture.sqlite();
    let sink_group = format!("{}-sink", fixture.name());
    for (service, args, topic, group_id) in [
        (
            "iris-classifier",
            &[][..],
            &fixture.topics.input,
            fixture.classifier_group(),
        ),
        (
            "iris-feedback-sink",
            &["--store", &store],
            &fixture.topics.feedback,
            sink_group,
        ),
    ] {
        let mut kafka = fixture.kafka.clone();
        let assignor = ("partition.assignment.strategy", "range");
        let assignor = (assignor.0.to_owned(), assignor.1.to_owned());
        kafka.librdkafka.extend([assignor]);
        let start = Start {
            topic: topic.clone(),
            group_id: group_id.clone(),
            partitions: None,
            instance: None,
        };
        let other = Consumer::start(&kafka, "iris-testkit", start, None).unwrap();
        poll_until(&[&other], || other.assignment().len() == 5);

        let workers = "[classifier]\nworkers = 3\n";
        let port = fixture.set_with_endpoint(workers).unwrap();
        let mut process = fixture.start(service, args).unwrap();
        let problem =
            format!("group `{group_id}` refuses this consumer: a member of it has another");
        poll_until(&[&other], || {
            get(port, "/readyz").is_some_and(|(_, body)| body.contains(&problem))
        });
        drop(other);
        let ready = || get(port, "/readyz").filter(|(status, _)| *status == 200);
        eventually("to be ready", TIMEOUT, ready).unwrap();
        assert!(process.terminate(TIMEOUT).unwrap().success());
        let lines = process.lines();
        for start in ["ERROR ", "INFO resolved: "] {
            let logged = format!("{start}{problem}");
            let logged = lines.iter().filter(|line| line.contains(&logged));
            assert_eq!(logged.count(), 1, "{start}: {lines:?}");
        }
    }
}

fn member(fixture: &Fixture) -> (Consumer, Receiver<()>) {
    let (sender, assignments) = mpsc::channel();
    let start = Start {
        topic: fixture.topics.input.clone(),
        group_id: fixture.classifier_group(),
        partitions: None,
        instance: None,
    };
    let listener = Box::new(Assignments(sender));
    let consumer = Consumer::start(&fixture.kafka, "iris-testkit", start, Some(listener)).unwrap();
    (consumer, assignments)
}

fn poll_until(members: &[&Consumer], is_met: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_met() {
        assert!(Instant::now() < deadline, "waited in vain");
        for member in members {
            member.read(TICK).unwrap();
        }
    }
}

/// A member learns of a revocation when it polls, and gives the partitions up then. If it recovers from a fault meanwhile, it
/// seeks back in all of its partitions; that must not give them up.
#[test]
fn seeking_back_gives_no_partition_up() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let (first, _first_assignments) = member(&fixture);
    poll_until(&[&first], || first.assignment().len() == 5);

    let (second, second_assignments) = member(&fixture);
    // When the second member gets an empty assignment, the group has asked the first one to give partitions up.
    poll_until(&[&second], || second_assignments.try_recv().is_ok());
    first.restart_at(&Positions::new()).unwrap();
    let asked = Instant::now();
    while asked.elapsed() < REBALANCE_TIME {
        second.read(TICK).unwrap();
        assert!(
            second.assignment().is_empty(),
            "the first member has all partitions"
        );
    }
    assert_eq!(first.assignment().len(), 5);

    poll_until(&[&first, &second], || second.assignment().len() >= 2);
    let mut partitions: BTreeSet<i32> = first.assignment().into_iter().collect();
    assert!(
        second
            .assignment()
            .into_iter()
            .all(|partition| partitions.insert(partition)),
        "no partition has two readers"
    );
}
