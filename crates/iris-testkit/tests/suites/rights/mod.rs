//! Each service on a broker that checks rights: with exactly the rights of its role, without each one of them before it starts,
//! and after each one is taken away while it runs. Users log in with a password over TLS, or with a certificate.

mod absent;
mod case;
mod kept;
mod lost;
mod stage;
mod sufficient;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use iris_contract::rights::Role;
use iris_testkit::GuardedBroker;
use parking_lot::Mutex;

use stage::{Stage, USERS, user};

/// The number of stages on which cases run at the same time.
const STAGES: usize = 6;

/// The least number of cases, so that none is lost by accident.
const MIN_CASES: usize = 200;

/// The services that run until they are stopped.
const SERVICES: [Role; 5] = [
    Role::Producer,
    Role::Classifier,
    Role::FeedbackSink,
    Role::Trainer,
    Role::Dashboard,
];

/// One case, which panics if it fails.
pub(super) struct Case {
    name: String,
    run: Box<dyn Fn(&Stage) + Send + Sync>,
}

impl Case {
    fn new(name: impl Into<String>, run: impl Fn(&Stage) + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

#[test]
fn each_right_is_needed_and_all_together_are_enough() {
    let directory = tempfile::tempdir().unwrap();
    let users: Vec<String> = (0..USERS).map(user).collect();
    let broker = GuardedBroker::start(directory.path(), &users).unwrap();
    let started = Instant::now();
    let only = std::env::var("IRIS_TEST_RIGHTS").unwrap_or_default();
    let mut cases = lost::cases();
    cases.extend(absent::cases());
    cases.extend(sufficient::cases());
    cases.retain(|case| case.name.contains(&only));
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..STAGES.min(cases.len()) {
            let (broker, cases, next, failures) = (&broker, &cases, &next, &failures);
            scope.spawn(move || {
                let stage = Stage::new(broker);
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (name, begun) = (&case.name, Instant::now());
                    let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&stage)));
                    println!("{:>5.1} s  {name}", begun.elapsed().as_secs_f64());
                    if let Err(panic) = outcome {
                        let text = panic.downcast_ref::<String>().cloned();
                        failures
                            .lock()
                            .push(format!("{name}: {}", text.unwrap_or_default()));
                    }
                }
            });
        }
    });
    let (count, failures) = (cases.len(), failures.into_inner());
    println!(
        "{count} cases of rights in {} s",
        started.elapsed().as_secs()
    );
    assert!(
        failures.is_empty(),
        "{} of {count} failed:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(count >= MIN_CASES || !only.is_empty(), "only {count} cases");
}
