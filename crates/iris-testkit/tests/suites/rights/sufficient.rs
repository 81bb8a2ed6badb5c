//! Each role works with exactly the rights that the table lists.

use iris_contract::rights::Role;

use super::stage::Stage;
use super::{Case, SERVICES};

/// Returns a case for each role.
pub(super) fn cases() -> Vec<Case> {
    let service = |role: Role| {
        Case::new(format!("enough: {role}"), move |stage: &Stage| {
            let actor = stage.actor(role);
            stage.broker.grant(&actor.acls()).unwrap();
            let mut served = stage.start(&actor);
            served.ready();
            served.stop();
        })
    };
    let mut cases: Vec<Case> = SERVICES.into_iter().map(service).collect();
    for (role, args) in [
        (Role::AdminTopics, "topics create"),
        (Role::AdminTopics, "topics describe"),
        (Role::AdminModels, "models list"),
        (Role::AdminModels, "models prune --keep 0"),
        (
            Role::AdminModels,
            "models answered --partition 1 --offset 0",
        ),
        (Role::AdminRedrive, "redrive --dry-run"),
        (Role::AdminRedrive, "redrive"),
        (Role::AdminTransactions, "transactions"),
    ] {
        cases.push(Case::new(format!("enough: {args}"), move |stage| {
            let actor = stage.actor(role);
            stage.broker.grant(&actor.acls()).unwrap();
            let args: Vec<&str> = args.split(' ').collect();
            let ended = stage.run(&actor, &args);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        }));
    }
    for role in Role::ALL {
        cases.push(Case::new(
            format!("enough: acls --for {role}"),
            move |stage| {
                prints_the_rights(stage, role);
            },
        ));
    }
    cases.push(Case::new("enough: models adopt", |stage| {
        adopts(&Stage::empty(stage.broker));
    }));
    cases
}

/// `acls` prints the rights that the cases grant, with the names of the effective settings.
fn prints_the_rights(stage: &Stage, role: Role) {
    let actor = stage.actor(role);
    let args = ["acls", "--for", role.name(), "--format", "json"];
    let output = stage.admin(&actor, &args).output().unwrap();
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let granted = serde_json::to_value(&actor.rights).unwrap();
    assert_eq!(printed[0]["rights"], granted);
    assert_eq!(printed[0]["principal"], format!("User:iris-{role}"));
}

/// A classifier that may not write to the registry waits for a champion, can be stopped meanwhile, and serves the one that
/// `models adopt` adopts.
fn adopts(stage: &Stage) {
    let classifier = stage.actor(Role::Classifier);
    stage.broker.grant(&classifier.acls()).unwrap();
    let waiting = stage.start(&classifier);
    waiting.not_ready("`iris-admin models adopt`");
    waiting.stop();
    let mut waiting = stage.start(&classifier);
    waiting.not_ready("`iris-admin models adopt`");
    let admin = stage.actor(Role::AdminModels);
    stage.broker.grant(&admin.acls()).unwrap();
    let ended = stage.run(&admin, &["models", "adopt"]);
    assert!(ended.stdout.ends_with("is the champion\n"), "{ended:?}");
    waiting.ready();
    waiting.stop();
}
