//! The demo, and how it stops.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use iris_testkit::{Running, TIMEOUT, binary, eventually, free_port};
use rustix::process::{Signal, kill_process_group};
use tempfile::TempDir;

/// Starts the demo as a shell in a terminal does: as the leader of the foreground process group.
fn start(directory: &TempDir, interval_ms: u32) -> Running {
    let mut command = Command::new(binary("demo"));
    command
        .env("DEMO_DIR", directory.path())
        .env("DEMO_LISTEN", format!("127.0.0.1:{}", free_port().unwrap()))
        .env("DEMO_KEEP", "1")
        .env("DEMO_INTERVAL_MS", interval_ms.to_string())
        .process_group(0);
    Running::start("demo", command, false).unwrap()
}

/// Sends SIGINT to every process of the foreground group, as a terminal does on Ctrl-C.
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
fn ctrl_c_drains_the_services_of_a_kept_demo_and_exits_with_code_0() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = start(&directory, 0);
    demo.line_with("To stop:", TIMEOUT).unwrap();
    demo.line_with("The page:  http://127.0.0.1:", TIMEOUT)
        .unwrap();
    press_ctrl_c(&demo);
    demo.finish(TIMEOUT).unwrap();
    assert_eq!(
        occurrences(&demo, "SIGTERM: finishing work in progress"),
        3,
        "{:#?}",
        demo.lines()
    );
    assert_eq!(occurrences(&demo, "exiting immediately"), 0);
}

#[test]
fn sigterm_stops_a_kept_demo_with_exit_code_0() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = start(&directory, 0);
    demo.line_with("To stop:", TIMEOUT).unwrap();
    demo.signal(Signal::TERM).unwrap();
    demo.finish(TIMEOUT).unwrap();
    assert_eq!(occurrences(&demo, "SIGTERM: finishing work in progress"), 3);
}

#[test]
fn ctrl_c_while_rows_are_sent_stops_everything_and_reports_that_no_summary_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = start(&directory, 1_000);
    demo.line_with("Sent: ", TIMEOUT).unwrap();
    press_ctrl_c(&demo);
    demo.finish(TIMEOUT).unwrap();
    assert_eq!(occurrences(&demo, "no summary is written"), 1);
    assert_eq!(
        occurrences(&demo, "SIGTERM: finishing work in progress"),
        4,
        "{:#?}",
        demo.lines()
    );
}

#[test]
fn a_killed_demo_leaves_no_service_running() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = start(&directory, 1_000);
    demo.line_with("Sent: ", TIMEOUT).unwrap();
    let demo_id = demo.pid().unwrap().as_raw_nonzero().get();
    let services = children(demo_id, "iris-");
    assert_eq!(services.len(), 4, "{services:?}");
    demo.signal(Signal::KILL).unwrap();
    demo.wait(TIMEOUT).unwrap();
    for (id, name) in services {
        eventually(&format!("{name} to end"), TIMEOUT, || {
            // An exited process stays a zombie until its parent waits for it.
            let has_ended = status(id).is_none_or(|(_, _, state)| state == "Z");
            has_ended.then_some(())
        })
        .unwrap();
    }
}

/// Returns the name, the parent and the state of a process; `None` if it does not exist.
fn status(id: i32) -> Option<(String, i32, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.to_owned();
    let parent = fields.next()?.parse().ok()?;
    Some((name, parent, state))
}

/// Returns the ids and names of a process's children whose names begin with `name`.
fn children(parent: i32, name: &str) -> Vec<(i32, String)> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, status(id)?)))
        .filter(|(_, (found, its_parent, _))| *its_parent == parent && found.starts_with(name))
        .map(|(id, (found, ..))| (id, found))
        .collect()
}
