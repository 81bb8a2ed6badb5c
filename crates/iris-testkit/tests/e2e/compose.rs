//! A project of Docker Compose.

use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iris_testkit::{eventually, workspace};
use serde_json::Value;

/// The time limit for a state of the system.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(180);

/// Taken while a system runs, because two would share the cores.
static ENGINE: Mutex<Images> = Mutex::new(Images { are_built: false });

/// The images of the services, which all systems share.
struct Images {
    are_built: bool,
}

impl Images {
    /// Builds the images once, unless `E2E_BUILD=no`.
    fn build(&mut self) {
        if self.are_built || std::env::var_os("E2E_BUILD").is_some_and(|value| value == "no") {
            return;
        }
        for args in [
            &["build", "--quiet"][..],
            &["build", "--quiet", "iris-proxy"],
        ] {
            let mut command = Command::new("docker");
            command.arg("compose").args(args).current_dir(workspace());
            text(
                command.output().expect("a Docker engine with Compose"),
                args,
            );
        }
        self.are_built = true;
    }
}

/// A profile in Docker, with its own project name and ports. It is taken down when the test ends.
pub(crate) struct Compose {
    project: &'static str,
    /// Selects the profile, unless it is the default.
    profile: &'static [&'static str],
    environment: Vec<(&'static str, String)>,
    _engine: MutexGuard<'static, Images>,
}

impl Compose {
    /// Waits until no other system runs, builds the images and removes an earlier system of the same project.
    pub(crate) fn new(
        project: &'static str,
        profile: &'static [&'static str],
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let mut engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        engine.build();
        let compose = Self {
            project,
            profile,
            environment,
            _engine: engine,
        };
        compose.down();
        compose
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["compose", "--project-name", self.project])
            .args(self.profile)
            .args(args)
            .current_dir(workspace())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Removes all containers, networks and volumes.
    fn down(&self) {
        let all = ["--profile", "*", "down", "--volumes", "--remove-orphans"];
        let _ = self.output(&[&all[..], &["--timeout", "5"]].concat());
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.output().expect("a Docker engine with Compose")
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> String {
        text(self.output(args), args)
    }

    /// Returns the containers of a service, as Compose lists them.
    pub(crate) fn containers(&self, service: &str) -> Vec<Value> {
        let listed = self.run(&["ps", "--all", "--format", "json", service]);
        listed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn log(&self, service: &str) -> String {
        self.run(&["logs", "--no-color", "--no-log-prefix", service])
    }

    /// Waits until a service has so many containers, and all are healthy.
    #[track_caller]
    pub(crate) fn wait_until_healthy(&self, service: &str, replicas: usize) {
        eventually(&format!("{service} to be healthy"), TIMEOUT, || {
            let containers = self.containers(service);
            let mut states = containers.iter().map(|container| &container["Health"]);
            (containers.len() == replicas && states.all(|state| state == "healthy")).then_some(())
        })
        .unwrap();
    }

    /// Waits until a service has ended, with success.
    #[track_caller]
    pub(crate) fn wait_until_done(&self, service: &str) {
        let ended = eventually(&format!("{service} to end"), TIMEOUT, || {
            let containers = self.containers(service);
            let mut ended = containers.into_iter();
            ended.find(|container| container["State"] == "exited")
        });
        assert_eq!(ended.unwrap()["ExitCode"], 0, "{}", self.log(service));
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self
                .command(&["logs", "--no-color", "--tail", "40"])
                .output();
            eprintln!(
                "{}",
                logs.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                    .unwrap_or_default()
            );
        }
        self.down();
    }
}

/// Returns the standard output of a command that succeeded.
#[track_caller]
pub(crate) fn text(output: Output, args: &[&str]) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
