//! Topics of their own with records in each, and services that log in.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use iris_contract::rights::{Names, Right, Role, rights};
use iris_testkit::{
    Acl, Ended, Fixture, GuardedBroker, Login, Running, TIMEOUT, eventually, free_port, get,
};

/// How long a service may take to report a right that was taken away.
pub(super) const REPORT: Duration = Duration::from_secs(15);

/// The number of users that can log in. Each case has one of its own, so its rights are too.
pub(super) const USERS: usize = 400;

/// The partitions of each topic with more than one.
const PARTITIONS: i32 = 2;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Returns the name of a user.
pub(super) fn user(number: usize) -> String {
    format!("user{number}")
}

/// Topics that no other stage uses.
pub(super) struct Stage<'a> {
    pub(super) broker: &'a GuardedBroker,
    pub(super) fixture: Fixture,
}

/// A user with the names of the group and of the rights of one role.
pub(super) struct Actor {
    pub(super) user: String,
    pub(super) login: Login,
    pub(super) role: Role,
    pub(super) rights: Vec<Right>,
    pub(super) group: String,
}

impl Actor {
    /// Returns the rights as those of the user.
    pub(super) fn acls(&self) -> Vec<Acl> {
        let acl = |right: &Right| Acl::of(&self.principal(), right);
        self.rights.iter().map(acl).collect()
    }

    /// Returns the name by which the broker knows the user.
    pub(super) fn principal(&self) -> String {
        self.login.principal(&self.user)
    }
}

impl<'a> Stage<'a> {
    /// Creates the topics and writes records to each of them.
    pub(super) fn new(broker: &'a GuardedBroker) -> Self {
        let stage = Self::empty(broker);
        stage.fill();
        stage
    }

    /// Creates the topics.
    pub(super) fn empty(broker: &'a GuardedBroker) -> Self {
        let mut fixture = Fixture::for_broker(&broker.open_address()).unwrap();
        fixture.topics.partitions = PARTITIONS;
        // A broker that has just started may take long to create the topics of all stages.
        eventually("the topics to be created", TIMEOUT, || {
            fixture.create_topics().ok()
        })
        .unwrap();
        Self { broker, fixture }
    }

    /// Sends records and classifies them, as a user that may do everything. Their model becomes the champion.
    fn fill(&self) {
        self.send(20);
        let dead: &[u8] = b"no json";
        let topic = &self.fixture.topics.input;
        let headers = iris_kafka::Headers::default();
        self.fixture
            .produce(topic, 0, None, &[Some(dead)], &headers)
            .unwrap();
        self.classify();
    }

    /// Classifies the records of the input, as a user that may do everything.
    fn classify(&self) {
        let args = ["--idle-timeout-ms", "500"];
        let ended = self.fixture.command("iris-classifier", &args).output();
        let ended = ended.unwrap();
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{}\n{text}", ended.status);
    }

    /// Sends records to each partition of the input, as a user that may do everything.
    pub(super) fn send(&self, records: usize) {
        self.send_to(&self.fixture.topics.input, &record(""), records);
    }

    /// Sends predictions to each partition, and one whose label comes in the topic of labels, as a user that may do everything.
    pub(super) fn send_predictions(&self, records: usize) {
        let predicted = record(r#","PredictedSpecies":"Iris-setosa""#);
        let topics = &self.fixture.topics;
        self.send_to(&topics.predictions, &predicted, records);
        let id = next_id();
        let unlabelled = predicted
            .replace(r#""Id":1,"#, &format!(r#""Id":{id},"#))
            .replace(r#""Species":"Iris-setosa","#, "");
        self.send_one(&topics.predictions, None, &unlabelled);
        let label = r#"{"Species":"Iris-setosa"}"#;
        self.send_one(&topics.labels, Some(&id), label);
    }

    /// Sends a record that is predicted right, one that is mispredicted and one that is dead-lettered, and classifies them, as
    /// a user that may do everything. Returns texts by which they are found, in this order.
    pub(super) fn send_classified(&self) -> [String; 3] {
        let ids = [next_id(), next_id(), next_id()];
        let input = &self.fixture.topics.input;
        let with_id = |id: &str| record("").replace(r#""Id":1,"#, &format!(r#""Id":{id},"#));
        self.send_one(input, None, &with_id(&ids[0]));
        let wrong = with_id(&ids[1]).replace("Iris-setosa", "Iris-virginica");
        self.send_one(input, None, &wrong);
        self.send_one(input, None, &format!("no json {}", ids[2]));
        self.classify();
        ids
    }

    fn send_one(&self, topic: &str, key: Option<&str>, value: &str) {
        let (key, values) = (key.map(str::as_bytes), [Some(value.as_bytes())]);
        let headers = iris_kafka::Headers::default();
        self.fixture
            .produce(topic, 0, key, &values, &headers)
            .unwrap();
    }

    fn send_to(&self, topic: &str, value: &str, records: usize) {
        let value = value.as_bytes();
        let headers = iris_kafka::Headers::default();
        for partition in 0..PARTITIONS {
            let values = vec![Some(value); records];
            self.fixture
                .produce(topic, partition, None, &values, &headers)
                .unwrap();
        }
    }

    /// Returns the next user with a password: see [`actor_with`](Self::actor_with).
    pub(super) fn actor(&self, role: Role) -> Actor {
        self.actor_with(role, Login::Password)
    }

    /// Returns the next user, for a role, with the rights of the role but without any granted.
    pub(super) fn actor_with(&self, role: Role, login: Login) -> Actor {
        let user = user(NEXT.fetch_add(1, Ordering::Relaxed));
        let names = Names {
            prefix: self.prefix(),
            classifier_group: user.clone(),
            sink_group: user.clone(),
            ..Names::default()
        };
        let group = format!("{}{user}", names.prefix);
        Actor {
            rights: rights(role, &self.fixture.topics, &names),
            user,
            login,
            role,
            group,
        }
    }

    /// Returns a command that logs in as the actor.
    pub(super) fn command(&self, actor: &Actor, args: &[&str]) -> Command {
        let service = match actor.role {
            Role::AdminTopics
            | Role::AdminModels
            | Role::AdminRedrive
            | Role::AdminTransactions => "iris-admin".to_owned(),
            role => format!("iris-{role}"),
        };
        self.logged_in(actor, &service, args)
    }

    /// Returns the beginning of the name of every group and transactional id.
    fn prefix(&self) -> String {
        format!("{}-", self.fixture.name())
    }

    /// Returns the address of the actor's store.
    pub(super) fn store(&self, actor: &Actor) -> String {
        let file = self.fixture.directory().join(format!("{}.db", actor.user));
        format!("sqlite://{}", file.display())
    }

    /// Returns a command of `iris-admin` that logs in as the actor.
    pub(super) fn admin(&self, actor: &Actor, args: &[&str]) -> Command {
        self.logged_in(actor, "iris-admin", args)
    }

    fn logged_in(&self, actor: &Actor, service: &str, args: &[&str]) -> Command {
        let mut command = self.fixture.command(service, args);
        match actor.login {
            Login::Password => self.broker.log_in(&mut command, &actor.user),
            Login::Certificate => self.broker.present(&mut command, &actor.user).unwrap(),
        }
        let store = self.store(actor);
        command
            .env("IRIS__TOPICS__PARTITIONS", PARTITIONS.to_string())
            .env("IRIS__KAFKA__NAME_PREFIX", self.prefix())
            .env("IRIS__CLASSIFIER__GROUP_ID", &actor.user)
            .env("IRIS__CLASSIFIER__WORKERS", "1")
            .env("IRIS__CLASSIFIER__INSTANCE", &actor.user)
            .env("IRIS__FEEDBACK_SINK__GROUP_ID", &actor.user)
            .env("IRIS__FEEDBACK_SINK__STORE", &store)
            .env("IRIS__DASHBOARD__STORE", &store);
        command
    }

    /// Runs a command until it ends.
    pub(super) fn run(&self, actor: &Actor, args: &[&str]) -> Ended {
        let output = self.command(actor, args).output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a service.
    pub(super) fn start(&self, actor: &Actor) -> Served {
        let [port, page] = [free_port().unwrap(), free_port().unwrap()];
        let args: &[&str] = match actor.role {
            Role::Producer => &["--rounds", "1000", "--interval-ms", "20"],
            _ => &[],
        };
        let mut command = self.command(actor, args);
        command
            .env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("IRIS__DASHBOARD__LISTEN", format!("127.0.0.1:{page}"));
        Served {
            running: Running::start(&actor.user, command, false).unwrap(),
            port,
            page,
            is_second: false,
        }
    }
}

/// Returns the id of a record that no other record has.
fn next_id() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1_000_001);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

/// Returns a record of the dataset, with more members.
fn record(more: &str) -> String {
    format!(
        r#"{{"Id":1,"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"Iris-setosa"{more}}}"#
    )
}

/// A service with its endpoint.
pub(super) struct Served {
    pub(super) running: Running,
    pub(super) port: u16,
    /// The port of the page, if it is the dashboard.
    pub(super) page: u16,
    /// Whether it was started again after a refused request.
    is_second: bool,
}

impl Served {
    /// Waits until it is ready.
    #[track_caller]
    pub(super) fn ready(&mut self) {
        let port = self.port;
        let ready = eventually("to be ready", TIMEOUT, || {
            let is_ready = get(port, "/readyz").is_some_and(|(status, _)| status == 200);
            (is_ready || !self.running.is_running()).then_some(is_ready)
        });
        assert!(
            matches!(ready, Ok(true)),
            "{ready:?}, {:?}\n{}",
            get(port, "/readyz"),
            self.running.last_lines()
        );
    }

    /// Waits until it is ready. If it [ends](Self::start_again_if_refused) first, it is started again.
    #[track_caller]
    pub(super) fn ready_after_refusal(&mut self, stage: &Stage, actor: &Actor) {
        let ready = eventually("to be ready", TIMEOUT, || {
            self.start_again_if_refused(stage, actor);
            get(self.port, "/readyz").filter(|(status, _)| *status == 200)
        });
        assert!(ready.is_ok(), "{}", self.running.last_lines());
    }

    /// Starts it again, once, if it has ended with exit code 1. A service that has reported a right may still end after the right is
    /// given back, at the answer to a request that a broker had refused.
    #[track_caller]
    pub(super) fn start_again_if_refused(&mut self, stage: &Stage, actor: &Actor) {
        if self.running.is_running() {
            return;
        }
        let lines = self.running.last_lines();
        assert!(!self.is_second, "it has ended twice\n{lines}");
        let status = self.running.wait(TIMEOUT).unwrap();
        assert_eq!(status.code(), Some(1), "{lines}");
        *self = Self {
            is_second: true,
            ..stage.start(actor)
        };
    }

    /// Waits until it is not ready for this reason.
    #[track_caller]
    pub(super) fn not_ready(&self, reason: &str) {
        let port = self.port;
        let reported = eventually("not to be ready", REPORT, || {
            get(port, "/readyz").filter(|(status, body)| *status == 503 && body.contains(reason))
        });
        assert!(
            reported.is_ok(),
            "{:?}\n{}",
            get(port, "/readyz"),
            self.running.last_lines()
        );
    }

    /// Stops it without a right that it has reported, which must be quick. Until it stops, a broker may refuse a request to it:
    /// then it fails.
    #[track_caller]
    pub(super) fn stop_without_right(mut self) {
        let status = self.running.terminate(Duration::from_secs(10));
        assert!(
            matches!(&status, Ok(status) if matches!(status.code(), Some(0 | 1))),
            "{status:?}\n{}",
            self.running.last_lines()
        );
    }

    /// Stops it, which must be quick and a success.
    #[track_caller]
    pub(super) fn stop(mut self) {
        let status = self.running.terminate(Duration::from_secs(10));
        assert!(
            matches!(&status, Ok(status) if status.success()),
            "{status:?}\n{}",
            self.running.last_lines()
        );
    }
}
