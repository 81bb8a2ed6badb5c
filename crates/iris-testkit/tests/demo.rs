//! The demo, ended as people end it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use iris_testkit::{Running, binary, eventually};
use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Signal, kill_process_group};

const PATIENCE: Duration = Duration::from_secs(120);

/// The demo serves its page on port 8080 where that is free: one at a time can look.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock()
}

/// The demo as a shell starts it in a terminal: the leader of the foreground process group.
fn start(interval_ms: u32) -> Running {
    let mut command = Command::new(binary("demo"));
    command
        .env("DEMO_KEEP", "1")
        .env("DEMO_INTERVAL_MS", interval_ms.to_string())
        .process_group(0);
    Running::start("demo", command, false).unwrap()
}

/// Sends what a terminal sends on Ctrl-C: SIGINT to every process of the foreground group.
fn press_ctrl_c(demo: &Running) {
    kill_process_group(demo.pid().unwrap(), Signal::INT).unwrap();
}

fn occurrences(demo: &Running, text: &str) -> usize {
    demo.lines()
        .iter()
        .filter(|line| line.contains(text))
        .count()
}

#[test]
fn ctrl_c_ends_a_kept_demo_with_exit_code_0_and_drained_services() {
    let _alone = alone();
    let mut demo = start(0);
    demo.line_with("To stop:", PATIENCE).unwrap();
    demo.line_with("The page:  http://127.0.0.1:", PATIENCE)
        .unwrap();
    press_ctrl_c(&demo);
    demo.finish(PATIENCE).unwrap();
    assert_eq!(
        occurrences(&demo, "SIGTERM: finishing work in progress"),
        3,
        "{:#?}",
        demo.lines()
    );
    assert_eq!(occurrences(&demo, "exiting immediately"), 0);
}

#[test]
fn sigterm_ends_a_kept_demo_with_exit_code_0() {
    let _alone = alone();
    let mut demo = start(0);
    demo.line_with("To stop:", PATIENCE).unwrap();
    demo.signal(Signal::TERM).unwrap();
    demo.finish(PATIENCE).unwrap();
    assert_eq!(occurrences(&demo, "SIGTERM: finishing work in progress"), 3);
}

#[test]
fn ctrl_c_while_the_rows_stream_stops_everything_and_says_that_there_is_no_summary() {
    let _alone = alone();
    let mut demo = start(1_000);
    demo.line_with("Sent: ", PATIENCE).unwrap();
    press_ctrl_c(&demo);
    demo.finish(PATIENCE).unwrap();
    assert_eq!(occurrences(&demo, "no summary is written"), 1);
    assert_eq!(
        occurrences(&demo, "SIGTERM: finishing work in progress"),
        4,
        "{:#?}",
        demo.lines()
    );
}

#[test]
fn a_demo_that_is_killed_leaves_no_service_behind() {
    let _alone = alone();
    let mut demo = start(1_000);
    demo.line_with("Sent: ", PATIENCE).unwrap();
    let demo_id = demo.pid().unwrap().as_raw_nonzero().get();
    let services = children(demo_id, "iris-");
    assert_eq!(services.len(), 4, "{services:?}");
    demo.signal(Signal::KILL).unwrap();
    demo.wait(PATIENCE).unwrap();
    for (id, name) in services {
        eventually(&format!("{name} to end"), PATIENCE, || {
            // As long as nobody waits for it, a process that has ended is a zombie.
            let has_ended = status(id).is_none_or(|(_, _, state)| state == "Z");
            has_ended.then_some(())
        })
        .unwrap();
    }
}

/// The name, the parent and the state of a process; `None` if there is none.
fn status(id: i32) -> Option<(String, i32, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.to_owned();
    let parent = fields.next()?.parse().ok()?;
    Some((name, parent, state))
}

/// The ids and names of a process's children whose names begin with a text.
fn children(parent: i32, name: &str) -> Vec<(i32, String)> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, status(id)?)))
        .filter(|(_, (found, its_parent, _))| *its_parent == parent && found.starts_with(name))
        .map(|(id, (found, ..))| (id, found))
        .collect()
}
