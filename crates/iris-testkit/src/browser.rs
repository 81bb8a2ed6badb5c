//! A headless browser, driven through the program in `browser/`, which `make browser` prepares.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::wait::eventually;
use crate::workspace::workspace;

/// How long the browser may take to close.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    /// Closed to end the browser.
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    /// Starts the browser.
    ///
    /// # Errors
    /// If Node cannot be started.
    pub fn start() -> anyhow::Result<Self> {
        let mut process = Command::new("node")
            .arg("browser.mjs")
            .current_dir(workspace().join("crates/iris-testkit/browser"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start node")?;
        let commands = process.stdin.take().context("no standard input")?;
        let answers = process.stdout.take().context("no standard output")?;
        Ok(Self {
            process,
            commands: Some(commands),
            answers: BufReader::new(answers).lines(),
        })
    }

    /// Sends a command. Returns its result.
    ///
    /// # Errors
    /// The browser's error, or that it has exited.
    pub fn send(&mut self, command: &str, mut arguments: Value) -> anyhow::Result<Value> {
        arguments["command"] = command.into();
        let commands = self.commands.as_mut().context("the browser is closed")?;
        writeln!(commands, "{arguments}")?;
        let answer = self.answers.next().context("the browser has exited")??;
        let answer: Value = serde_json::from_str(&answer)?;
        match answer["error"].as_str() {
            Some(error) => bail!("{arguments}: {error}"),
            None => Ok(answer["answer"].clone()),
        }
    }

    /// Waits until an element contains a text. Returns the time of that, in milliseconds since the epoch.
    ///
    /// # Errors
    /// If the text does not appear within `timeout`.
    pub fn wait_for(
        &mut self,
        selector: &str,
        text: &str,
        timeout: Duration,
    ) -> anyhow::Result<i64> {
        let timeout = u64::try_from(timeout.as_millis())?;
        let arguments = json!({ "selector": selector, "text": text, "timeout": timeout });
        let answer = self.send("wait", arguments)?;
        answer["at"].as_i64().context("no time")
    }

    /// Returns an element's text.
    ///
    /// # Errors
    /// If there is no such element.
    pub fn text(&mut self, selector: &str) -> anyhow::Result<String> {
        let text = self.send("text", json!({ "selector": selector }))?;
        Ok(text.as_str().context("no text")?.to_owned())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.commands.take());
        let ended = eventually("the browser to close", TIMEOUT, || {
            self.process.try_wait().ok().flatten()
        });
        if ended.is_err() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
