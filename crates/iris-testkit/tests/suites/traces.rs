//! The trace of a record through all services, as an OpenTelemetry collector receives it.

use std::process::Command;

use iris_testkit::{
    Authority, Fixture, Running, TIMEOUT, dataset, eventually, free_port, workspace,
};

/// A span as the collector prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Span {
    service: String,
    trace: String,
    parent: String,
    id: String,
    name: String,
}

/// Returns the spans that the collector has printed.
fn spans(lines: &[String]) -> Vec<Span> {
    let (mut spans, mut service) = (Vec::<Span>::new(), String::new());
    for line in lines {
        if let Some(name) = line.split("service.name: Str(").nth(1) {
            service = name.trim_end_matches(')').to_owned();
        }
        if line.trim_start().starts_with("Span #") {
            spans.push(Span {
                service: service.clone(),
                ..Span::default()
            });
        }
        let Some(span) = spans.last_mut() else {
            continue;
        };
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim().to_owned();
        match key.trim() {
            "Trace ID" => span.trace = value,
            "Parent ID" => span.parent = value,
            "ID" => span.id = value,
            "Name" => span.name = value,
            _ => {}
        }
    }
    spans
}

/// Starts a collector with these settings of TLS, which listens on the returned port.
fn collector(fixture: &Fixture, tls: &str) -> (Running, u16) {
    let port = free_port().unwrap();
    let settings = fixture.directory().join("collector.yaml");
    std::fs::write(
        &settings,
        format!(
            "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 'localhost:{port}'{tls} }} }} }} }}\n\
             exporters: {{ debug: {{ verbosity: detailed }} }}\n\
             service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  \
             pipelines: {{ traces: {{ receivers: [otlp], exporters: [debug] }} }}\n"
        ),
    )
    .unwrap();
    let mut command = Command::new(workspace().join("target/tools/collector"));
    command
        .arg("--config")
        .arg(format!("file:{}", settings.display()));
    let collector = Running::start("collector", command, false).unwrap();
    collector.line_with("Everything is ready", TIMEOUT).unwrap();
    (collector, port)
}

#[test]
fn one_trace_spans_from_the_producer_to_the_store() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let (collector, port) = collector(&fixture, "");

    // Without a collector in the settings, there is no trace.
    let file = dataset("iris.csv").display().to_string();
    let send = || {
        let args = ["--file", &file, "--interval-ms", "0"];
        assert_eq!(fixture.run("iris-producer", &args).unwrap().code, Some(0));
    };
    let headers = |topic: &str| -> Vec<Option<String>> {
        let records = fixture.records(topic).unwrap();
        let header = |record: &iris_kafka::StoredRecord| {
            let value = record.header("traceparent")?;
            Some(String::from_utf8(value.to_vec()).unwrap())
        };
        records.iter().map(header).collect()
    };
    send();
    assert!(headers(&fixture.topics.input).iter().all(Option::is_none));

    let endpoint = format!("[telemetry]\notlp_endpoint = \"http://localhost:{port}\"\n");
    fixture.set(&endpoint).unwrap();
    send();
    let classified = fixture.run("iris-classifier", &["--idle-timeout-ms", "2000"]);
    assert_eq!(classified.unwrap().code, Some(0));
    let store = fixture.sqlite();
    let mut sink = fixture
        .start("iris-feedback-sink", &["--store", &store])
        .unwrap();
    eventually("eight rows", TIMEOUT, || {
        (sink
            .lines()
            .iter()
            .filter(|line| line.contains("Stored: "))
            .count()
            == 8)
            .then_some(())
    })
    .unwrap();
    assert!(sink.terminate(TIMEOUT).unwrap().success());

    // 150 records have a trace and 150 have none; each of the four mispredictions with a trace is stored.
    let input: Vec<String> = headers(&fixture.topics.input)
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(input.len(), 150);
    let feedback: Vec<String> = headers(&fixture.topics.feedback)
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(feedback.len(), 4);
    for header in feedback {
        let mut parts = header.split('-').skip(1);
        let (trace, classified) = (parts.next().unwrap(), parts.next().unwrap());
        let found = eventually("the trace to be complete", TIMEOUT, || {
            let all = spans(&collector.lines());
            let found: Vec<Span> = all.into_iter().filter(|span| span.trace == trace).collect();
            (found.len() == 3).then_some(found)
        })
        .unwrap();
        let of = |service: &str| found.iter().find(|span| span.service == service).unwrap();
        let (sent, judged, stored) = (
            of("iris-producer"),
            of("iris-classifier"),
            of("iris-feedback-sink"),
        );
        assert_eq!(sent.name, format!("send {}", fixture.topics.input));
        assert_eq!(judged.name, format!("process {}", fixture.topics.input));
        assert_eq!(stored.name, format!("process {}", fixture.topics.feedback));
        assert_eq!(sent.parent, "");
        assert_eq!((&judged.parent, judged.id.as_str()), (&sent.id, classified));
        assert_eq!(stored.parent, judged.id);
    }
}

/// A collector with TLS. A producer trusts the authority in the file of the settings or, without one, the system's. One that
/// trusts another authority reports it once and sends its records.
#[test]
fn spans_are_exported_over_https_to_a_collector_whose_authority_is_trusted() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let directory = fixture.directory();
    let file = |name: &str| directory.join(name).display().to_string();
    let ours = Authority::new("ours").unwrap();
    ours.issue("localhost")
        .unwrap()
        .write(directory, "collector")
        .unwrap();
    Authority::write(&[&ours], &directory.join("ours.ca")).unwrap();
    let others = Authority::new("others").unwrap();
    Authority::write(&[&others], &directory.join("others.ca")).unwrap();
    let (certificate, key) = (file("collector.pem"), file("collector.key"));
    let tls = format!(", tls: {{ cert_file: '{certificate}', key_file: '{key}' }}");
    let (collector, port) = collector(&fixture, &tls);

    let (rows, address) = (dataset("iris.csv"), format!("https://localhost:{port}"));
    let send = |variable: &str, authority: &str| -> String {
        let rows = rows.display().to_string();
        let mut producer =
            fixture.command("iris-producer", &["--file", &rows, "--interval-ms", "20"]);
        producer
            .env("IRIS__TELEMETRY__OTLP_ENDPOINT", &address)
            .env(variable, file(authority));
        let ended = producer.output().unwrap();
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{log}");
        log
    };
    let mut expected = 0;
    for (variable, authority) in [
        ("IRIS__TELEMETRY__OTLP_CA", "ours.ca"),
        ("SSL_CERT_FILE", "ours.ca"),
    ] {
        let log = send(variable, authority);
        assert!(!log.contains("cannot export traces"), "{log}");
        expected += 150;
        eventually("the spans to arrive", TIMEOUT, || {
            (spans(&collector.lines()).len() == expected).then_some(())
        })
        .unwrap();
    }
    for (variable, authority) in [
        ("IRIS__TELEMETRY__OTLP_CA", "others.ca"),
        ("SSL_CERT_FILE", "others.ca"),
    ] {
        let log = send(variable, authority);
        let lines = log.lines().filter(|line| line.contains("cannot export"));
        let lines: Vec<&str> = lines.collect();
        let [problem] = &lines[..] else {
            panic!("{log}")
        };
        let expected = format!(
            "cannot export traces to {address}/v1/traces: its certificate cannot be verified, "
        );
        assert!(problem.contains(&expected), "{problem}");
        assert!(problem.contains("set telemetry.otlp_ca"), "{problem}");
    }
    assert_eq!(spans(&collector.lines()).len(), expected);
    assert_eq!(fixture.records(&fixture.topics.input).unwrap().len(), 600);
}
