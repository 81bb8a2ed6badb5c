//! One storm over a cluster of its own; `make chaos` runs more.

use iris_testkit::chaos::{Faults, Target, run};
use iris_testkit::{Broker, Cluster, workspace};

/// The seed of a short storm in which members of a group are frozen, and one of them is replaced.
const SEED: u64 = 1114;

const RECORDS: usize = 40_000;

#[test]
fn every_guarantee_holds_in_a_storm() {
    let directory = workspace().join("target/chaos-test");
    let _ = std::fs::remove_dir_all(&directory);
    // The broker that other tests share must not be disturbed.
    let mut target = if Broker::can_be_local() {
        Target::Cluster(Cluster::start(&directory).unwrap())
    } else {
        Target::obtain(&directory).unwrap()
    };
    let report = run(&mut target, &directory.join("logs"), SEED, RECORDS).unwrap();
    assert!(report.is_clean(), "{report:#?}\n{}", report.details);
    assert_eq!(report.records, RECORDS);
    let without_outcome = report.deleted_unread + report.unread_in_deleted_topic;
    assert_eq!(
        report.predictions + report.dead_letters + without_outcome,
        RECORDS
    );
    assert_eq!(report.stored, report.feedback);
    let Faults {
        kills,
        freezes,
        broker_bounces,
        growths,
        truncations,
        recreations,
        ..
    } = report.faults;
    // Two in the storm, and one while the input topic is recreated.
    assert!(kills >= 6 && freezes == 3, "{report:#?}");
    assert!(growths == 8 && truncations >= 3, "{report:#?}");
    assert_eq!(recreations, 1);
    if let Target::Cluster(_) = target {
        assert_eq!(broker_bounces, 2);
    }
}
