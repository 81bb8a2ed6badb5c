use std::fmt;
use std::sync::Arc;

use iris_core::{Model, Schema, TrainingSet};
use iris_kafka::HeaderView;
use iris_kafka::exactly_once::{Omitted, Refused};
use iris_service::Service;
use prometheus_client::encoding::text::encode;
use tokio::sync::watch::Sender;

use super::*;

/// A record that was sent.
#[derive(Debug)]
struct Sent {
    topic: String,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
}

impl Sent {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// One line: the topic, the partition, the timestamp, the key, the value and the headers.
impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_deref().unwrap_or("null");
        let value = self.value.as_deref().unwrap_or("null");
        let number = |n: Option<i64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let partition = number(self.partition.map(i64::from));
        let timestamp = number(self.timestamp);
        write!(f, "{}[{partition}] @{timestamp} {key} {value}", self.topic)?;
        for (name, value) in &self.headers {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// Keeps the records that are sent; with a topic that refuses, fails for it.
#[derive(Debug, Default)]
struct SentRecords {
    records: Vec<Sent>,
    refusing: Option<String>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Outcomes for SentRecords {
    fn send(&mut self, record: OutgoingRecord<'_>) -> Result<(), Fault> {
        if self.refusing.as_deref() == Some(record.topic) {
            return Err(Fault::Abortable("refused".to_owned()));
        }
        let headers = record.headers.to_pairs().into_iter();
        self.records.push(Sent {
            topic: record.topic.to_owned(),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(text),
            value: record.value.map(text),
            headers: headers.map(|(name, value)| (name, text(&value))).collect(),
        });
        Ok(())
    }
}

/// Returns a classifier of the points (0, 0), which are "low", and `high`, which are "high".
fn classifier(high: f64) -> Classifier {
    let schema = Schema {
        features: vec!["x".into(), "y".into()],
        ..Schema::default()
    };
    let rows: [(&[f64], &str); 2] = [(&[0.0, 0.0], "low"), (&[high, high], "high")];
    let rows = TrainingSet::new(schema, rows.into_iter());
    Classifier::new(Arc::new(Model::fit(rows, 1).unwrap()))
}

/// A processor, and all that its outcomes depend on.
struct Bench {
    classify: Classify,
    champion: Sender<Classifier>,
    service: Service,
    sent: SentRecords,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| (), Spans::default())
    }

    fn with(change: impl FnOnce(&mut ClassifierSettings), tracer: Spans) -> Self {
        let mut settings = ClassifierSettings::default();
        change(&mut settings);
        let topics = Topics {
            input: "input".to_owned(),
            predictions: "predictions".to_owned(),
            feedback: "feedback".to_owned(),
            dead_letters: "dead_letters".to_owned(),
            summaries: "summaries".to_owned(),
            ..Topics::default()
        };
        let service = Service::detached("test");
        let (champion, receiver) = watch::channel(classifier(9.0));
        let metrics = Metrics::register(&service);
        let origin = Origin {
            group: "group",
            worker: "host-0 worker 1",
        };
        let classify = Classify::new(receiver, origin, &topics, &settings, metrics, tracer);
        Self {
            classify,
            champion,
            service,
            sent: SentRecords::default(),
        }
    }

    fn process(&mut self, record: &InputRecord<'_>) -> Result<(), Fault> {
        self.classify.process(record, &mut self.sent)
    }

    /// Returns the dead letter of a record whose prediction was refused, without some of its parts.
    fn dead_letter(&mut self, record: &InputRecord<'_>, cause: Cause, without: &[Part]) -> &Sent {
        let refused = Refused {
            topic: "predictions".to_owned(),
            cause,
            error: "InvalidTimestamp (Broker: Invalid timestamp)".to_owned(),
        };
        let omitted = without
            .iter()
            .fold(Omitted::default(), |o, &part| o.with(part));
        let refusal = Refusal {
            refused: &refused,
            omitted,
        };
        self.sent.records.clear();
        self.classify
            .dead_letter(record, refusal, &mut self.sent)
            .unwrap();
        assert_eq!(self.sent.records.len(), 1);
        &self.sent.records[0]
    }

    /// Returns the summary that a commit sends, as the topic, the partition and the value; empty if there is none.
    fn summary(&mut self) -> String {
        self.sent.records.clear();
        self.classify.committing(&mut self.sent).unwrap();
        let [summary] = &self.sent.records[..] else {
            assert!(self.sent.records.is_empty(), "{:?}", self.sent.records);
            return String::new();
        };
        assert_eq!((&summary.key, &summary.headers[..]), (&None, &[][..]));
        let (partition, value) = (summary.partition.unwrap(), summary.value.as_ref().unwrap());
        let version = self.classify.classifier.model_version().to_string();
        format!("{}[{partition}] {value}", summary.topic).replace(&version, "VERSION")
    }

    /// Returns the records that were sent, one per line, with the model's version as `VERSION`.
    fn lines(&self) -> String {
        let lines: Vec<String> = self.sent.records.iter().map(Sent::to_string).collect();
        let version = self.classify.classifier.model_version().to_string();
        lines.join("\n").replace(&version, "VERSION")
    }

    /// Whether the metrics have this line.
    fn exposes(&self, line: &str) -> bool {
        let mut text = String::new();
        encode(&mut text, &self.service.metrics()).unwrap();
        text.lines().any(|found| found == line)
    }
}

const RIGHT: &str = r#"{"x":1,"y":1,"Species":"low"}"#;
const WRONG: &str = r#"{"x":8,"y":9,"Species":"low"}"#;
const UNLABELLED: &str = r#"{"x":1,"y":1}"#;
const UNKNOWN: &str = r#"{"x":1,"y":1,"Species":"middling"}"#;

const OWN_HEADERS: &[(&str, &[u8])] = &[("own", b"1")];

/// Returns a record with a key, a timestamp and a header.
fn input(value: &str) -> InputRecord<'_> {
    InputRecord {
        topic: "input",
        partition: 3,
        offset: 17,
        timestamp: Some(1_000),
        key: Some(b"key"),
        value: Some(value.as_bytes()),
        headers: HeaderView::from(OWN_HEADERS),
    }
}

/// Returns the records that are sent for one input record.
fn outcome(value: &str, change: impl FnOnce(&mut ClassifierSettings)) -> String {
    let mut bench = Bench::with(change, Spans::default());
    bench.process(&input(value)).unwrap();
    bench.lines()
}

#[test]
fn a_correct_prediction_goes_to_the_predictions_with_the_records_key_headers_and_timestamp() {
    insta::assert_snapshot!(outcome(RIGHT, |_| ()), @r#"predictions[3] @1000 key {"x":1,"y":1,"Species":"low","PredictedSpecies":"low"} own=1 iris-provenance=00-VERSION-3-17-0.1"#);
}

#[test]
fn a_misprediction_is_also_feedback() {
    insta::assert_snapshot!(outcome(WRONG, |_| ()), @r#"
    feedback[3] @1000 key {"x":8,"y":9,"Species":"low","PredictedSpecies":"high"} own=1 iris-provenance=00-VERSION-3-17-1.0
    predictions[3] @1000 key {"x":8,"y":9,"Species":"low","PredictedSpecies":"high"} own=1 iris-provenance=00-VERSION-3-17-1.0
    "#);
}

#[test]
fn a_record_without_a_label_is_predicted_only() {
    insta::assert_snapshot!(outcome(UNLABELLED, |_| ()), @r#"predictions[3] @1000 key {"x":1,"y":1,"PredictedSpecies":"low"} own=1 iris-provenance=00-VERSION-3-17-0.1"#);
}

#[test]
fn a_label_that_the_model_does_not_know_is_a_misprediction() {
    insta::assert_snapshot!(outcome(UNKNOWN, |_| ()), @r#"
    feedback[3] @1000 key {"x":1,"y":1,"Species":"middling","PredictedSpecies":"low"} own=1 iris-provenance=00-VERSION-3-17-0.1
    predictions[3] @1000 key {"x":1,"y":1,"Species":"middling","PredictedSpecies":"low"} own=1 iris-provenance=00-VERSION-3-17-0.1
    "#);
}

#[test]
fn without_publish_predictions_only_feedback_is_sent() {
    let feedback_only = |settings: &mut ClassifierSettings| settings.publish_predictions = false;
    insta::assert_snapshot!(outcome(RIGHT, feedback_only), @"");
    insta::assert_snapshot!(outcome(WRONG, feedback_only), @r#"feedback[3] @1000 key {"x":8,"y":9,"Species":"low","PredictedSpecies":"high"} own=1 iris-provenance=00-VERSION-3-17-1.0"#);
}

#[test]
fn without_provenance_only_the_records_own_headers_are_sent() {
    insta::assert_snapshot!(outcome(RIGHT, |settings| settings.provenance = false), @r#"predictions[3] @1000 key {"x":1,"y":1,"Species":"low","PredictedSpecies":"low"} own=1"#);
}

#[test]
fn a_record_without_key_timestamp_and_headers_stays_without_them() {
    let mut bench = Bench::new();
    let record = InputRecord {
        key: None,
        timestamp: None,
        headers: HeaderView::default(),
        ..input(RIGHT)
    };
    bench.process(&record).unwrap();
    insta::assert_snapshot!(bench.lines(), @r#"predictions[3] @- null {"x":1,"y":1,"Species":"low","PredictedSpecies":"low"} iris-provenance=00-VERSION-3-17-0.1"#);
}

#[test]
fn the_provenance_of_an_earlier_prediction_is_replaced() {
    let mut bench = Bench::new();
    let own = [(PROVENANCE_HEADER, &b"old"[..]), ("own", b"1")];
    let record = InputRecord {
        headers: HeaderView::from(&own[..]),
        ..input(RIGHT)
    };
    bench.process(&record).unwrap();
    insta::assert_snapshot!(bench.lines(), @r#"predictions[3] @1000 key {"x":1,"y":1,"Species":"low","PredictedSpecies":"low"} own=1 iris-provenance=00-VERSION-3-17-0.1"#);
}

#[test]
fn each_reason_makes_a_dead_letter_with_the_records_own_value() {
    let cases = [
        ("not_json", Some("{")),
        ("not_an_object", Some("[1]")),
        ("duplicate_field", Some(r#"{"x":1,"x":2,"y":1}"#)),
        ("missing_feature", Some(r#"{"x":1}"#)),
        ("feature_not_a_number", Some(r#"{"x":"a","y":1}"#)),
        ("feature_out_of_range", Some(r#"{"x":1e999,"y":1}"#)),
        ("label_not_a_string", Some(r#"{"x":1,"y":1,"Species":[]}"#)),
        ("no_value", None),
    ];
    for (reason, value) in cases {
        let mut bench = Bench::new();
        let record = InputRecord {
            value: value.map(str::as_bytes),
            ..input("")
        };
        bench.process(&record).unwrap();
        let [sent] = &bench.sent.records[..] else {
            panic!("{reason}: {:?}", bench.sent.records);
        };
        assert_eq!(sent.topic, "dead_letters", "{reason}");
        assert_eq!(sent.value.as_deref(), value, "{reason}");
        let message = sent.header("__iris.errors.message").unwrap();
        assert!(message.starts_with(&format!("{reason}: ")), "{message}");
        assert!(
            bench
                .summary()
                .contains(&format!(r#""dead_letters":{{"{reason}":1}}"#))
        );
        bench.classify.committed(Duration::ZERO);
        let line = format!(r#"iris_dead_letters_total{{reason="{reason}"}} 1"#);
        assert!(bench.exposes(&line), "{line}");
    }
}

#[test]
fn a_dead_letter_has_the_records_key_headers_and_timestamp_and_headers_about_the_error() {
    insta::assert_snapshot!(outcome(r#"{"x":1}"#, |_| ()).replace(env!("CARGO_PKG_VERSION"), "CRATE"), @r#"dead_letters[3] @1000 key {"x":1} own=1 __iris.errors.topic=input __iris.errors.partition=3 __iris.errors.offset=17 __iris.errors.stage=classify __iris.errors.message=missing_feature: the feature `y` is missing __iris.errors.service=iris-classifier __iris.errors.version=CRATE __iris.errors.attempt=1"#);
}

#[test]
fn a_record_that_was_sent_back_keeps_the_number_of_its_attempt() {
    let mut bench = Bench::new();
    let own = [("__iris.errors.attempt", &b"3"[..])];
    let record = InputRecord {
        headers: HeaderView::from(&own[..]),
        ..input("{")
    };
    bench.process(&record).unwrap();
    let sent = &bench.sent.records[0];
    assert_eq!(sent.header("__iris.errors.attempt"), Some("3"));
}

#[test]
fn a_record_with_a_refused_outcome_is_dead_lettered_with_the_cause_as_its_reason() {
    let cases = [
        (Cause::Size, "outcome_too_large"),
        (Cause::Timestamp, "outcome_rejected"),
        (Cause::Content, "outcome_rejected"),
        (Cause::Unexplained, "outcome_rejected"),
    ];
    for (cause, reason) in cases {
        let mut bench = Bench::new();
        let sent = bench.dead_letter(&input(RIGHT), cause, &[]);
        assert_eq!(sent.topic, "dead_letters");
        assert_eq!(sent.value.as_deref(), Some(RIGHT));
        assert_eq!(sent.key.as_deref(), Some("key"));
        assert_eq!(
            (sent.timestamp, sent.header("own")),
            (Some(1_000), Some("1"))
        );
        let expected = format!(
            "{reason}: topic `predictions` refused the outcome of this record of 29 bytes: InvalidTimestamp (Broker: Invalid timestamp)"
        );
        assert_eq!(sent.header("__iris.errors.message"), Some(&*expected));
        let summary = bench.summary();
        let counted = format!(r#""dead_letters":{{"{reason}":1}}"#);
        assert!(summary.contains(&counted), "{summary}");
    }
}

#[test]
fn a_dead_letter_leaves_out_the_parts_that_were_refused_and_names_them() {
    use Part::{Headers, Key, Timestamp, Value};
    let refused =
        "outcome_too_large: topic `predictions` refused the outcome of this record of 29 bytes";
    let code = ": InvalidTimestamp (Broker: Invalid timestamp)";
    let cases: [(&[Part], &str, &str); 4] = [
        (&[Value], code, "value"),
        (&[Timestamp], code, "timestamp 1000"),
        (&[Value, Headers, Key], "", "value, headers, key"),
        (
            &[Value, Headers, Key, Timestamp],
            "",
            "value, headers, key, timestamp 1000",
        ),
    ];
    for (without, error, parts) in cases {
        let mut bench = Bench::new();
        let sent = bench.dead_letter(&input(RIGHT), Cause::Size, without);
        let is_without = |part| without.contains(&part);
        assert_eq!(sent.value.is_none(), is_without(Value));
        assert_eq!(sent.header("own").is_none(), is_without(Headers));
        assert_eq!(sent.key.as_deref() == Some("input/3/17"), is_without(Key));
        assert_eq!(sent.timestamp != Some(1_000), is_without(Timestamp));
        let message = format!(
            "{refused}{error}; left out, because the dead-letter topic refused it: {parts}"
        );
        assert_eq!(sent.header("__iris.errors.message"), Some(&*message));
        assert_eq!(sent.header("__iris.errors.offset"), Some("17"));
    }
}

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Returns the `traceparent` of the outcome of a record that has one.
fn traced(value: &str, tracer: Spans) -> String {
    let mut bench = Bench::with(|_| (), tracer);
    let own = [(TRACEPARENT_HEADER, TRACEPARENT.as_bytes())];
    let record = InputRecord {
        headers: HeaderView::from(&own[..]),
        ..input(value)
    };
    bench.process(&record).unwrap();
    bench.sent.records[0]
        .header(TRACEPARENT_HEADER)
        .unwrap()
        .to_owned()
}

#[test]
fn an_outcome_continues_its_records_trace() {
    for value in [RIGHT, WRONG, "{"] {
        assert_eq!(traced(value, Spans::default()), TRACEPARENT, "no tracing");
        let continued = traced(value, Spans::detached());
        assert_eq!(continued[..36], TRACEPARENT[..36], "the same trace");
        assert_ne!(continued, TRACEPARENT, "a span of its own");
    }
    let mut bench = Bench::with(|_| (), Spans::detached());
    bench.process(&input(RIGHT)).unwrap();
    let sent = &bench.sent.records[0];
    assert_eq!(sent.header(TRACEPARENT_HEADER), None, "there is no trace");
}

#[test]
fn a_summary_counts_the_outcomes_of_one_transaction() {
    let mut bench = Bench::new();
    bench.classify.counted_partitions(5);
    let values = [RIGHT, WRONG, UNLABELLED, UNKNOWN, "{"];
    for (offset, value) in (17..).zip(values) {
        let record = InputRecord {
            offset,
            timestamp: None,
            ..input(value)
        };
        bench.process(&record).unwrap();
    }
    insta::assert_snapshot!(bench.summary(), @r#"summaries[3] {"group":"group","worker":"host-0 worker 1","model_version":"VERSION","partitions":{"3":{"records":5,"next_offset":22}},"predictions":{"high":1,"low":3},"evaluations":{"low":{"high":1,"low":1},"other":{"low":1}},"dead_letters":{"not_json":1},"latency_ms":{}}"#);
    bench.classify.committed(Duration::ZERO);
    insta::assert_snapshot!(bench.summary(), @r#"summaries[0] {"group":"group","worker":"host-0 worker 1","model_version":"VERSION","partitions":{},"predictions":{},"evaluations":{},"dead_letters":{},"latency_ms":{}}"#);
    let quiet = |settings: &mut ClassifierSettings| settings.publish_summaries = false;
    let mut bench = Bench::with(quiet, Spans::default());
    bench.process(&input(RIGHT)).unwrap();
    assert_eq!(bench.summary(), "");
    assert_eq!(bench.classify.transaction_output(), None);
}

#[test]
fn outcomes_are_counted_once_their_transaction_is_committed() {
    let mut bench = Bench::new();
    let version = bench.classify.classifier.model_version();
    let low =
        format!(r#"iris_predictions_total{{predicted_class="low",model_version="{version}"}} 1"#);
    let mispredictions = format!(r#"iris_mispredictions_total{{model_version="{version}"}} 1"#);
    let consumed = r#"iris_records_consumed_total{topic="input",partition="3"} 2"#;
    for value in [RIGHT, WRONG, "{"] {
        bench.process(&input(value)).unwrap();
    }
    bench.classify.aborted(&Fault::Lost("by a test".to_owned()));
    assert!(!bench.exposes(&low));
    assert!(bench.exposes(r#"iris_transactions_total{outcome="aborted"} 1"#));
    assert!(bench.exposes(r#"iris_transaction_aborts_total{cause="lost"} 1"#));
    assert_eq!(bench.classify.summary(), ClassifierSummary::default());
    for value in [RIGHT, WRONG] {
        bench.process(&input(value)).unwrap();
    }
    assert!(!bench.exposes(&low), "it is not committed yet");
    bench.classify.committed(Duration::ZERO);
    assert!(bench.exposes(&low) && bench.exposes(&mispredictions) && bench.exposes(consumed));
    assert!(bench.exposes(r#"iris_transactions_total{outcome="committed"} 1"#));
    let summary = bench.classify.summary();
    assert_eq!(
        (
            summary.predictions,
            summary.labelled,
            summary.mispredicted,
            summary.dead_letters
        ),
        (2, 2, 1, 0)
    );
}

#[test]
fn an_outcome_that_cannot_be_sent_is_returned_as_a_fault() {
    for (topic, value) in [
        ("predictions", RIGHT),
        ("feedback", WRONG),
        ("dead_letters", "{"),
    ] {
        let mut bench = Bench::new();
        bench.sent.refusing = Some(topic.to_owned());
        let fault = bench.process(&input(value)).unwrap_err();
        assert_eq!(fault, Fault::Abortable("refused".to_owned()), "{topic}");
        bench.classify.aborted(&fault);
        assert_eq!(bench.classify.summary().records(), 0, "{topic}");
    }
}

#[test]
fn a_new_model_serves_from_the_next_transaction_on() {
    let mut bench = Bench::new();
    let record = input(r#"{"x":3,"y":3}"#);
    let class = |bench: &mut Bench| {
        bench.sent.records.clear();
        bench.process(&record).unwrap();
        let value = bench.sent.records[0].value.clone().unwrap();
        value.contains(r#""PredictedSpecies":"high""#)
    };
    bench.classify.begun();
    assert!(!class(&mut bench));
    bench.champion.send_replace(classifier(4.0));
    assert!(!class(&mut bench), "the transaction has one model");
    bench.classify.committed(Duration::ZERO);
    bench.classify.begun();
    assert!(class(&mut bench));
    let version = classifier(4.0).model_version();
    assert_eq!(bench.classify.classifier.model_version(), version);
}
