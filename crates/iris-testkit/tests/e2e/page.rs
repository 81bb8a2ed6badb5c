//! The page and the API of the running system.

use std::process::Command;
use std::time::{Duration, Instant};

use iris_contract::Topics;
use iris_kafka::{Headers, read_to_end};
use iris_testkit::{Browser, Fixture, workspace};
use serde_json::json;

use crate::compose::{TIMEOUT, text};
use crate::plain::Plain;

/// A mispredicted row, and its two neighbours in the confusion matrix.
const ROW: &[u8] = br#"{"Id":71,"SepalLengthCm":5.9,"SepalWidthCm":3.2,"PetalLengthCm":4.8,"PetalWidthCm":1.8,"Species":"Iris-versicolor"}"#;

/// The time limit for a figure to be on the page after its transaction has ended.
const UPDATE_TIME_LIMIT_MS: i64 = 1_000;

/// The time limit for the page to show a stall.
const STALL_TIME_LIMIT: Duration = Duration::from_secs(15);

pub(crate) fn check_page_against_kafka(compose: &Plain, browser: &mut Browser) {
    let url = format!("http://localhost:{}/", compose.dashboard_port);
    let opened = browser.send("open", json!({ "url": url })).unwrap();
    assert_eq!(opened["status"], 200);
    let policy = opened["headers"]["content-security-policy"].as_str();
    assert!(
        policy
            .unwrap()
            .starts_with("default-src 'none'; script-src 'self'")
    );
    let reached = browser.send("tab", json!({ "times": 3 })).unwrap();
    assert_eq!(reached[0], "Skip to the figures");
    browser.wait_for("#connection", "Live", TIMEOUT).unwrap();
    browser
        .wait_for("#status", "Every record has been classified", TIMEOUT)
        .unwrap();
    let mut figure = |name: &str| browser.text(&format!("[data-figure={name}]")).unwrap();
    assert_eq!(figure("records"), "150");
    assert_eq!(figure("mispredicted"), "4");
    assert_eq!(figure("lag"), "0");
    assert_eq!(figure("accuracy"), "97.3%");
    assert_eq!(figure("dead-letters"), "0");
    for (actual, predicted, count) in [
        ("setosa", "setosa", "50"),
        ("setosa", "virginica", "0"),
        ("versicolor", "versicolor", "47"),
        ("versicolor", "virginica", "3"),
        ("virginica", "versicolor", "1"),
        ("virginica", "virginica", "49"),
    ] {
        let cell = format!("[data-actual=Iris-{actual}][data-predicted=Iris-{predicted}]");
        assert_eq!(browser.text(&cell).unwrap(), count, "{cell}");
    }
    let texts = |browser: &mut Browser, selector: &str| -> Vec<String> {
        let texts = browser.send("texts", json!({ "selector": selector }));
        serde_json::from_value(texts.unwrap()).unwrap()
    };
    // The newest records are read twice per second.
    browser.wait_for("#mispredictions", "107", TIMEOUT).unwrap();
    let ids = texts(browser, "#mispredictions tbody tr td:nth-child(1)");
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(texts(browser, "#predictions tbody tr").len(), 20);
    assert_eq!(texts(browser, "#partitions tbody tr").len(), 5);
    let version = "#models code[title=e01454b61de2d075]";
    assert_eq!(browser.text(version).unwrap(), "e01454b6");
    assert!(browser.text("#models").unwrap().contains("champion"));
    assert!(
        browser
            .text("#models")
            .unwrap()
            .contains("accuracy on 30 held-out rows: 1.0000")
    );
    browser
        .wait_for("#scatter", "distinct points", TIMEOUT)
        .unwrap();

    // Each range has its charts, and the URL keeps the selection.
    for (range, step) in [
        ("15m", "Each point covers 10 s."),
        ("1m", "Each point covers 1 s."),
    ] {
        let button = format!("#range-form [value='{range}']");
        browser
            .send("click", json!({ "selector": button }))
            .unwrap();
        browser.wait_for("#throughput", step, TIMEOUT).unwrap();
        browser.wait_for("#connection", "Live", TIMEOUT).unwrap();
        let current = browser.text("#range-form [aria-current=true]").unwrap();
        assert!(
            range.starts_with(current.trim_end_matches(" min")),
            "{current}"
        );
    }

    // Axes can be chosen, and the store searched, by keyboard.
    browser
        .send(
            "choose",
            json!({ "selector": "#scatter-form [name=x]", "value": "SepalLengthCm" }),
        )
        .unwrap();
    browser
        .wait_for("#scatter .axis", "SepalLengthCm", TIMEOUT)
        .unwrap();
    browser.wait_for("#feedback", "4 rows", TIMEOUT).unwrap();
    browser
        .send(
            "type",
            json!({ "selector": "#feedback-form [name=q]", "text": "\"Id\":84," }),
        )
        .unwrap();
    browser
        .wait_for("#feedback", "1 row with", TIMEOUT)
        .unwrap();
    assert_eq!(texts(browser, "#feedback tbody tr td:nth-child(1)"), ["84"]);

    let violations = browser.send("axe", json!({})).unwrap();
    assert_eq!(violations, json!([]), "{violations:#}");
    let folder = workspace().join("target/e2e");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, width, height, scheme) in [
        ("light", 1280, 900, "light"),
        ("dark", 1280, 900, "dark"),
        ("narrow", 900, 900, "light"),
        ("phone", 390, 844, "light"),
    ] {
        let path = folder.join(format!("{name}.png"));
        let looks = json!({ "width": width, "height": height, "scheme": scheme, "path": path });
        let look = browser.send("look", looks).unwrap();
        assert_eq!(
            look["overflow"], false,
            "{name}: the page is wider than the screen"
        );
        let violations = browser.send("axe", json!({})).unwrap();
        assert_eq!(violations, json!([]), "{name}: {violations:#}");
    }
    assert_eq!(browser.send("errors", json!({})).unwrap(), json!([]));
}

pub(crate) fn check_live_updates(compose: &Plain, browser: &mut Browser) {
    let fixture = Fixture::for_broker(&compose.broker()).unwrap();
    let topics = Topics::default();
    let send = |partition, value: &[u8]| {
        let (none, values) = (Headers::default(), [Some(value)]);
        fixture
            .produce(&topics.input, partition, None, &values, &none)
            .unwrap();
    };
    compose.run(&["up", "--detach", "--wait", "iris-classifier"]);
    browser
        .wait_for("[data-figure=records]", "300", TIMEOUT)
        .unwrap();

    // A record's figures are shown within 1 s after the end of its transaction.
    for expected in ["301", "302", "303"] {
        send(0, ROW);
        let seen = browser
            .wait_for("[data-figure=records]", expected, TIMEOUT)
            .unwrap();
        let summaries = read_to_end(&compose.kafka(), &topics.summaries, &mut |_| ()).unwrap();
        let ended = summaries.iter().filter_map(|summary| summary.timestamp);
        let ended = ended.max().unwrap();
        println!(
            "on the page {} ms after the end of its transaction",
            seen - ended
        );
        assert!(
            seen - ended <= UPDATE_TIME_LIMIT_MS,
            "{expected}: {} ms",
            seen - ended
        );
    }
    send(0, b"no json");
    browser
        .wait_for("[data-figure=dead-letters]", "1", TIMEOUT)
        .unwrap();
    browser
        .wait_for("#dead-letters", "not_json", TIMEOUT)
        .unwrap();

    // Missing classifiers show as lag and in the state.
    compose.run(&["kill", "iris-classifier"]);
    let killed = Instant::now();
    (0..5).for_each(|partition| send(partition, ROW));
    browser
        .wait_for(
            "#status",
            "Partitions 0, 1, 2, 3, 4 are stalled",
            STALL_TIME_LIMIT,
        )
        .unwrap();
    println!("noticed after {:.1} s", killed.elapsed().as_secs_f64());
    assert!(killed.elapsed() < STALL_TIME_LIMIT);
    assert_eq!(browser.text("[data-figure=lag]").unwrap(), "5");
    let violations = browser.send("axe", json!({})).unwrap();
    assert_eq!(violations, json!([]), "{violations:#}");
    compose.run(&["up", "--detach", "--wait", "iris-classifier"]);
    browser
        .wait_for("#status", "Every record has been classified", TIMEOUT)
        .unwrap();

    // A page whose connection was cut reconnects by itself.
    compose.run(&["stop", "iris-dashboard"]);
    browser
        .wait_for("#connection", "Connection lost", TIMEOUT)
        .unwrap();
    compose.run(&["start", "iris-dashboard"]);
    browser.wait_for("#connection", "Live", TIMEOUT).unwrap();
    browser
        .wait_for("[data-figure=records]", "309", TIMEOUT)
        .unwrap();
    send(0, ROW);
    browser
        .wait_for("[data-figure=records]", "310", TIMEOUT)
        .unwrap();
    assert_eq!(browser.send("errors", json!({})).unwrap(), json!([]));
}

/// Checks with schemathesis that the API responds to all requests as its document describes.
pub(crate) fn check_api(compose: &Plain) {
    let program = workspace().join("target/tools/schemathesis/bin/schemathesis");
    let document = format!(
        "http://localhost:{}/api/v1/openapi.json",
        compose.dashboard_port
    );
    let output = Command::new(program)
        .args([
            "run",
            "--checks",
            "all",
            "--max-examples",
            "50",
            "--no-color",
            &document,
        ])
        .current_dir(workspace().join("target/e2e"))
        .output()
        .expect("make e2e installs schemathesis");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{stdout}");
    text(output, &["schemathesis"]);
}
