//! A right that is missing before the start: the service ends and names it. With the right it starts.

use std::time::Duration;

use iris_contract::rights::{Names, Operation, ResourceKind, Right, Role, rights};
use iris_contract::{Topic, Topics};
use iris_testkit::TIMEOUT;

use super::case::{Lack, lacks, logins};
use super::stage::{Actor, Stage};
use super::{Case, SERVICES};

/// Returns a case for each right of each role, with and without the right to describe the resource.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in SERVICES {
        let listed = rights(role, &Topics::default(), &Names::default());
        for (login, lack) in logins(&listed, 0) {
            let name = format!(
                "before the start, {login:?}: {role} without {}",
                lack.name(&listed)
            );
            let is_optional =
                role == Role::Dashboard && listed[lack.position].kind == ResourceKind::Group;
            cases.push(Case::new(name, move |stage| {
                let actor = stage.actor_with(role, login);
                lack.grant_others(stage, &actor);
                if is_optional {
                    // Only the lag at the end of a partition needs it.
                    let mut served = stage.start(&actor);
                    served.ready();
                    served.stop();
                } else {
                    ends(stage, &actor, lack);
                    starts(stage, &actor, lack);
                }
            }));
        }
    }
    cases.extend(commands());
    cases
}

/// The service ends with exit code 1 and names the right.
fn ends(stage: &Stage, actor: &Actor, lack: Lack) {
    let mut served = stage.start(actor);
    let status = served.running.wait(TIMEOUT).unwrap();
    let text = served.running.lines().join("\n");
    assert_eq!(status.code(), Some(1), "{text}");
    lack.assert_named(stage, actor, &text);
}

/// With the right, the service starts.
fn starts(stage: &Stage, actor: &Actor, lack: Lack) {
    lack.give_back(stage, actor);
    let mut served = stage.start(actor);
    served.ready();
    std::thread::sleep(Duration::from_millis(100));
    served.stop();
}

/// The rights that a command of `iris-admin` needs: the topics that it reads, and whether it writes.
struct NeededBy {
    role: Role,
    args: &'static str,
    reads: &'static [Topic],
    writes: bool,
}

const COMMANDS: [NeededBy; 6] = [
    NeededBy {
        role: Role::AdminModels,
        args: "models list",
        reads: &[Topic::Models],
        writes: false,
    },
    NeededBy {
        role: Role::AdminModels,
        args: "models show",
        reads: &[Topic::Models],
        writes: false,
    },
    NeededBy {
        role: Role::AdminModels,
        args: "models answered --partition 1 --offset 0",
        reads: &[
            Topic::Models,
            Topic::Input,
            Topic::Predictions,
            Topic::Feedback,
        ],
        writes: false,
    },
    NeededBy {
        role: Role::AdminModels,
        args: "models adopt",
        reads: &[Topic::Models],
        writes: true,
    },
    NeededBy {
        role: Role::AdminModels,
        args: "models prune",
        reads: &[Topic::Models],
        writes: true,
    },
    NeededBy {
        role: Role::AdminRedrive,
        args: "redrive",
        reads: &[Topic::DeadLetters],
        writes: true,
    },
];

/// Returns a case for each right that a command of `iris-admin` needs.
fn commands() -> Vec<Case> {
    let topics = Topics::default();
    let mut cases = Vec::new();
    for command in COMMANDS {
        let NeededBy {
            role,
            args,
            reads,
            writes,
        } = command;
        let listed = rights(role, &topics, &Names::default());
        for lack in lacks(&listed) {
            let right = &listed[lack.position];
            let is_needed = match right.operation {
                Operation::Read => reads.iter().any(|&topic| topics.name(topic) == right.name),
                _ => writes,
            };
            if !is_needed {
                continue;
            }
            let name = format!("before the start: {args} without {}", lack.name(&listed));
            cases.push(Case::new(name, move |stage| {
                let actor = stage.actor(role);
                lack.grant_others(stage, &actor);
                refused(stage, &actor, lack, args);
                lack.give_back(stage, &actor);
                let args: Vec<&str> = args.split(' ').collect();
                let ended = stage.run(&actor, &args);
                assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            }));
        }
    }
    cases.extend(topic_commands());
    cases
}

/// The command ends with exit code 1 and names the right.
fn refused(stage: &Stage, actor: &Actor, lack: Lack, args: &str) {
    let args: Vec<&str> = args.split(' ').collect();
    let ended = stage.run(actor, &args);
    let text = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(1), "{text}");
    lack.assert_named(stage, actor, &text);
}

/// Returns the position of the right to carry out an operation on a topic.
fn position(actor: &Actor, operation: Operation, topic: &str) -> usize {
    let is_it = |right: &Right| right.operation == operation && right.name == topic;
    actor.rights.iter().position(is_it).unwrap()
}

/// Returns the cases about topics. None of them changes a topic.
fn topic_commands() -> Vec<Case> {
    let mut cases = Vec::new();
    for (args, operation, may_describe) in [
        ("topics delete --yes", "Delete", true),
        ("topics delete --yes", "Delete", false),
        ("topics describe", "Describe", false),
        ("topics create", "Describe", false),
        ("topics create --dry-run", "Describe", false),
    ] {
        let name =
            format!("before the start: {args} without {operation}, Describe kept: {may_describe}");
        cases.push(Case::new(name, move |stage| {
            let actor = stage.actor(Role::AdminTopics);
            let labels = &stage.fixture.topics.labels;
            let lack = Lack {
                position: position(&actor, Operation::Delete, labels),
                may_describe,
            };
            lack.grant_others(stage, &actor);
            refused_by_topic(stage, &actor, args, operation, may_describe);
            let input = stage.fixture.records(&stage.fixture.topics.input);
            assert!(input.is_ok_and(|records| !records.is_empty()));
        }));
    }
    for args in ["topics create", "topics create --dry-run"] {
        let name = format!("before the start: {args} without Create");
        cases.push(Case::new(name, move |stage| without_create(stage, args)));
        let name = format!("before the start: {args} without Alter");
        cases.push(Case::new(name, move |stage| without_alter(stage, args)));
    }
    cases
}

/// The command names the user, the operation on the topic of labels, and the commands that help.
fn refused_by_topic(stage: &Stage, actor: &Actor, args: &str, operation: &str, is_visible: bool) {
    let args: Vec<&str> = args.split(' ').collect();
    let ended = stage.run(actor, &args);
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    let (user, labels) = (&actor.user, &stage.fixture.topics.labels);
    let mut parts = vec![
        format!("user `{user}` lacks the right {operation} on topic `{labels}`"),
        format!("`iris-admin acls --for admin-topics --principal User:{user}`"),
    ];
    if !is_visible {
        parts.push("or the topic does not exist".to_owned());
    }
    for part in parts {
        assert!(
            ended.stderr.contains(&part),
            "no `{part}` in:\n{}",
            ended.stderr
        );
    }
}

/// A topic that does not exist cannot be created without the right, and can with it.
fn without_create(stage: &Stage, args: &str) {
    let mut actor = stage.actor(Role::AdminTopics);
    let labels = format!("{}-{}", stage.fixture.topics.labels, actor.user);
    rename(&mut actor, &stage.fixture.topics.labels, &labels);
    let position = position(&actor, Operation::Create, &labels);
    refused_then_done(
        stage,
        &actor,
        position,
        args,
        ("IRIS__TOPICS__LABELS", &labels),
    );
}

/// A topic of summaries with one partition cannot be given more without the right, and can with it.
fn without_alter(stage: &Stage, args: &str) {
    let mut actor = stage.actor(Role::AdminTopics);
    let summaries = format!("{}-{}", stage.fixture.topics.summaries, actor.user);
    rename(&mut actor, &stage.fixture.topics.summaries, &summaries);
    let setting = ("IRIS__TOPICS__SUMMARIES", summaries.as_str());
    // A user that may do everything creates it.
    let topics = Topics {
        partitions: 1,
        summaries: summaries.clone(),
        ..stage.fixture.topics.clone()
    };
    let mut specs = iris_admin::topic_specs(&topics);
    specs.retain(|spec| spec.name == summaries);
    stage.fixture.create(&specs).unwrap();
    let position = position(&actor, Operation::Alter, &summaries);
    refused_then_done(stage, &actor, position, args, setting);
}

/// Makes the rights on a topic those on another one.
fn rename(actor: &mut Actor, topic: &str, other: &str) {
    for right in &mut actor.rights {
        if right.name == topic {
            other.clone_into(&mut right.name);
        }
    }
}

/// Without the right at this position, the command names it and changes nothing; with it, the command succeeds.
fn refused_then_done(
    stage: &Stage,
    actor: &Actor,
    position: usize,
    args: &str,
    setting: (&str, &str),
) {
    let lack = Lack {
        position,
        may_describe: true,
    };
    lack.grant_others(stage, actor);
    let args: Vec<&str> = args.split(' ').collect();
    let run = || {
        let mut command = stage.command(actor, &args);
        command.envs([setting]).output().unwrap()
    };
    let ended = run();
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{text}");
    lack.assert_named(stage, actor, &text);
    assert!(text.contains("no topic was changed"), "{text}");
    lack.give_back(stage, actor);
    let ended = run();
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{text}");
}
