//! A right that is taken away while a service runs: it is named within 15 s, and giving it back loses no record.

use iris_contract::rights::{Names, ResourceKind, Role, rights};
use iris_contract::{Topics, TransactionSummary};
use iris_testkit::{eventually, get};

use super::Case;
use super::case::{Lack, lacks};
use super::stage::{Actor, REPORT, Served, Stage, TIMEOUT};

/// The records that are sent to each partition while a right is missing.
const RECORDS: usize = 2;

/// Returns a case for each right of each service, with and without the right to describe the resource.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [
        Role::Trainer,
        Role::Classifier,
        Role::Dashboard,
        Role::FeedbackSink,
        Role::Producer,
    ] {
        let listed = rights(role, &Topics::default(), &Names::default());
        for lack in lacks(&listed) {
            if role == Role::Dashboard && listed[lack.position].kind == ResourceKind::Group {
                continue;
            }
            let name = format!("while running: {role} without {}", lack.name(&listed));
            cases.push(Case::new(name, move |stage| {
                let actor = stage.actor(role);
                stage.broker.grant(&actor.acls()).unwrap();
                let mut served = stage.start(&actor);
                served.ready();
                lack.revoke(stage, &actor);
                if role == Role::Trainer {
                    stage.send_predictions(RECORDS);
                } else {
                    stage.send(RECORDS);
                }
                let has_ended = reports(&mut served, &actor, lack);
                // Half of the services that still run are stopped without the right, and start again with it.
                let is_stopped = !has_ended && lack.may_describe;
                if is_stopped {
                    served.stop();
                    lack.give_back(stage, &actor);
                    served = stage.start(&actor);
                } else {
                    lack.give_back(stage, &actor);
                    // A service that has reported the right may still end at a request that a broker had refused.
                    if has_ended || served.has_failed() {
                        served = stage.start(&actor);
                    }
                }
                served.ready();
                if role == Role::Classifier {
                    all_are_classified_once(stage, &actor);
                }
                served.stop();
            }));
        }
    }
    cases
}

/// Waits until the service names the right, in `/readyz` or with exit code 1, and in its log. Returns whether it has ended.
fn reports(served: &mut Served, actor: &Actor, lack: Lack) -> bool {
    let port = served.port;
    let reported = eventually("the right to be named", REPORT, || {
        if !served.running.is_running() {
            return Some(true);
        }
        let (status, body) = get(port, "/readyz")?;
        (status == 503 && lack.is_named(actor, &body)).then_some(false)
    });
    let Ok(has_ended) = reported else {
        panic!(
            "not reported; /readyz is {:?}\n{}",
            get(port, "/readyz"),
            served.running.last_lines()
        );
    };
    if has_ended {
        let status = served.running.wait(TIMEOUT).unwrap();
        assert_eq!(status.code(), Some(1), "{}", served.running.last_lines());
    }
    lack.assert_named(actor, &served.running.lines().join("\n"));
    has_ended
}

/// Waits until the actor's group has an outcome for each record of the input, and none has two.
fn all_are_classified_once(stage: &Stage, actor: &Actor) {
    let topics = &stage.fixture.topics;
    let sent = stage.fixture.records(&topics.input).unwrap().len() as u64;
    let counted = || -> u64 {
        let summaries = stage.fixture.records(&topics.summaries).unwrap();
        let summaries = summaries
            .iter()
            .filter_map(|record| serde_json::from_slice(record.value.as_deref()?).ok());
        let own = summaries.filter(|summary: &TransactionSummary| summary.group == actor.group);
        own.map(|summary| summary.records()).sum()
    };
    let all = eventually("every record to be classified", TIMEOUT, || {
        (counted() >= sent).then_some(())
    });
    assert!(
        all.is_ok() && counted() == sent,
        "{} of {sent} are classified",
        counted()
    );
}
