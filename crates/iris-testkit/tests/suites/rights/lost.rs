//! A right that is taken away while a service runs: it is named within 15 s, and giving it back loses no record.

use iris_contract::Topics;
use iris_contract::rights::{Names, ResourceKind, Role, rights};
use iris_testkit::{TIMEOUT, eventually, get};

use super::Case;
use super::case::{Lack, logins};
use super::kept::Sent;
use super::stage::{Actor, REPORT, Served, Stage};

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
        for (login, lack) in logins(&listed, 1) {
            if role == Role::Dashboard && listed[lack.position].kind == ResourceKind::Group {
                continue;
            }
            let name = format!(
                "while running, {login:?}: {role} without {}",
                lack.name(&listed)
            );
            cases.push(Case::new(name, move |stage| {
                let actor = stage.actor_with(role, login);
                is_taken_away(stage, &actor, lack);
            }));
        }
    }
    cases
}

/// Takes the right of a running service away and gives it back. The service names it, and loses no record.
fn is_taken_away(stage: &Stage, actor: &Actor, lack: Lack) {
    stage.broker.grant(&actor.acls()).unwrap();
    let mut served = stage.start(actor);
    served.ready();
    lack.revoke(stage, actor);
    let sent = Sent::new(stage, actor.role, RECORDS);
    let has_ended = reports(&mut served, stage, actor, lack);
    // Half of the services that still run are stopped without the right, and start again with it.
    if !has_ended && lack.may_describe {
        served.stop_without_right();
        lack.give_back(stage, actor);
        served = stage.start(actor);
    } else {
        lack.give_back(stage, actor);
        if has_ended {
            served = stage.start(actor);
        }
    }
    served.ready_after_refusal(stage, actor);
    sent.assert_kept(stage, actor, &mut served);
    served.stop();
}

/// Waits until the service names the right, in `/readyz` or with exit code 1, and in its log. Returns whether it has ended.
fn reports(served: &mut Served, stage: &Stage, actor: &Actor, lack: Lack) -> bool {
    let port = served.port;
    let reported = eventually("the right to be named", REPORT, || {
        if !served.running.is_running() {
            return Some(true);
        }
        let (status, body) = get(port, "/readyz")?;
        (status == 503 && lack.is_named(stage, actor, &body)).then_some(false)
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
    lack.assert_named(stage, actor, &served.running.lines().join("\n"));
    has_ended
}
