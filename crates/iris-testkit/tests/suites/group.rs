//! Members of a consumer group: the owner of a partition while a member seeks back.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use iris_kafka::{Consumer, PartitionOffset, Positions, RebalanceListener, Start};
use iris_testkit::Fixture;

const TIMEOUT: Duration = Duration::from_secs(60);
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

fn member(fixture: &Fixture) -> (Consumer, Receiver<()>) {
    let (sender, assignments) = mpsc::channel();
    let start = Start {
        topic: fixture.topics.input.clone(),
        group_id: fixture.classifier_group(),
        partitions: None,
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
