//! The server over a state that is given, without a broker and without a port.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use iris_core::{Artefact, Lineage, Model, Schema, TrainingSet};
use iris_feedback_store::StoreUrl;
use iris_registry::Grounds;
use iris_registry::Registry;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::board::tests::summary;
use crate::feedback::Feedback;
use crate::models::Models;
use crate::recent::{DeadLetterRow, PredictionRow};
use crate::state::DashboardState;

/// The time at which tests look: 12:05:00 UTC, in milliseconds since the epoch.
const NOW: i64 = 43_500_000;

/// The time of the last record of a state with records: 12:03:10 UTC.
const LAST: i64 = NOW - 110_000;

const ROUTES: [&str; 11] = [
    "/api/v1/status",
    "/api/v1/figures",
    "/api/v1/partitions",
    "/api/v1/timeline",
    "/api/v1/latency",
    "/api/v1/predictions",
    "/api/v1/mispredictions",
    "/api/v1/dead-letters",
    "/api/v1/models",
    "/api/v1/scatter",
    "/api/v1/feedback",
];

fn shared(state: DashboardState) -> Arc<SharedState> {
    let feedback = Feedback::new(&StoreUrl::default()).unwrap();
    let stop = CancellationToken::new();
    Arc::new(SharedState::new(
        state,
        feedback,
        Arc::default(),
        1,
        stop,
        || NOW,
    ))
}

/// A state with records, a registry with a champion, and a dead letter.
fn state() -> DashboardState {
    let rows: [([f64; 4], &str); 2] = [([0.0; 4], "a"), ([1.0; 4], "b")];
    let rows = rows.iter().map(|(row, label)| (row.as_slice(), *label));
    let model = Model::fit(TrainingSet::new(Schema::default(), rows), 1).unwrap();
    let metrics = [("holdout_accuracy", 1.0), ("holdout_rows", 30.0)];
    let metrics = metrics.map(|(name, value)| (name.to_owned(), value));
    let lineage = Lineage {
        made_by: "iris-classifier".to_owned(),
        rows: vec![("dataset".to_owned(), 2)],
        metrics: metrics.into(),
        ..Lineage::default()
    };
    let artefact = Artefact { model, lineage };
    let mut registry = Registry::default();
    let grounds = Grounds {
        reason: "there was no champion".to_owned(),
        ..Grounds::default()
    };
    for (offset, entry) in (0..).zip(registry.enter(&artefact, true, grounds)) {
        let (key, value) = (entry.key.as_bytes(), Some(entry.value.as_slice()));
        registry.apply(offset, Some(LAST), key, value).unwrap();
    }
    let answer = PredictionRow {
        partition: 0,
        offset: 1,
        created_ms: Some(LAST),
        id: Some("71".to_owned()),
        features: vec![Some(0.5); 4],
        predicted: "a".to_owned(),
        actual: Some("b".to_owned()),
        model_version: Some(artefact.model.version().to_string()),
        input_offset: Some(0),
        votes: vec![1, 0],
    };
    let letter = DeadLetterRow {
        partition: 0,
        offset: 0,
        created_ms: Some(LAST),
        reason: "not_json".to_owned(),
        message: "expected value".to_owned(),
        topic: "input".to_owned(),
        input_offset: 9,
        attempt: 1,
        value: "x".to_owned(),
    };
    let mut state = DashboardState {
        models: Models::of(&registry),
        champion: Some(Arc::new(artefact.model)),
        ..DashboardState::default()
    };
    state.board.add(&summary(0, 120, 120), LAST - 300_000);
    state.board.add(&summary(0, 30, 150), LAST);
    state.board.ended([(0, 150), (1, 0)].into(), NOW);
    state.board.is_known_until(NOW);
    state.predictions.add([answer.clone()]);
    state.mispredictions.add([answer]);
    state.dead_letters.add([letter]);
    state
}

async fn ask(shared: &Arc<SharedState>, method: &str, address: &str) -> Response {
    let request = Request::builder().method(method).uri(address);
    let request = request.body(Body::empty()).unwrap();
    router(Arc::clone(shared)).oneshot(request).await.unwrap()
}

async fn get(shared: &Arc<SharedState>, address: &str) -> Response {
    ask(shared, "GET", address).await
}

fn content_type(response: &Response) -> &str {
    response.headers()[header::CONTENT_TYPE].to_str().unwrap()
}

async fn text(response: Response) -> String {
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// The page at an address, which has to be one.
async fn page_at(shared: &Arc<SharedState>, address: &str) -> String {
    let response = get(shared, address).await;
    assert_eq!(response.status(), StatusCode::OK, "{address}");
    assert_eq!(content_type(&response), "text/html; charset=utf-8");
    text(response).await
}

/// A problem document with this status and a detail that contains a text.
async fn assert_problem(response: Response, status: StatusCode, detail: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(content_type(&response), "application/problem+json");
    let problem = json_of(response).await;
    assert_eq!(problem["status"], status.as_u16());
    let told = problem["detail"].as_str().unwrap();
    assert!(told.contains(detail), "{told}");
}

#[tokio::test]
async fn the_page_renders_before_anything_is_known() {
    let page = page_at(&shared(DashboardState::default()), "/").await;
    for expected in [
        "Kafka cannot be read",
        "<dd data-figure=\"records\">unknown</dd>",
        "No transaction of a classifier has been read yet.",
        "No predictions yet.",
        "The registry is empty.",
        "There is no champion yet",
        "no feedback store is set",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
}

#[tokio::test]
async fn the_page_has_no_inline_style_or_script() {
    let page = page_at(&shared(state()), "/?range=all").await;
    assert!(!page.contains("style="), "{page}");
    assert!(!page.contains("<style"));
    assert!(!page.contains(" onclick="));
    let inline = page.split("<script").skip(1);
    for script in inline {
        assert!(script.starts_with(" src=\"/assets/"), "{script}");
    }
}

#[tokio::test]
async fn the_page_shows_the_range_of_its_address() {
    let shared = shared(state());
    for (address, range, note) in [
        (
            "/",
            "1m",
            "No records since 12:03:10 UTC; showing the last minute with data.",
        ),
        (
            "/?range=1m",
            "1m",
            "No records since 12:03:10 UTC; showing the last minute with data.",
        ),
        ("/?range=15m", "15m", ""),
        ("/?range=all", "all", ""),
    ] {
        let page = page_at(&shared, address).await;
        assert!(page.contains(&format!("<main data-range=\"{range}\">")));
        assert!(page.contains(&format!("value=\"{range}\" aria-current=\"true\">")));
        assert_eq!(page.matches("aria-current").count(), 1, "{address}");
        assert!(
            page.contains(&format!("role=\"status\">{note}</span>")),
            "{address}"
        );
        // The other forms keep it.
        let kept = format!("<input type=\"hidden\" name=\"range\" value=\"{range}\">");
        assert_eq!(page.matches(&kept).count(), 2, "{address}");
    }
}

#[tokio::test]
async fn the_page_shows_what_is_known() {
    let page = page_at(&shared(state()), "/?range=15m&q=x&x=SepalLengthCm").await;
    for expected in [
        "<dd data-figure=\"records\">150</dd>",
        "accuracy on 30 held-out rows: 1.0000",
        "there was no champion",
        "not_json",
        "<td>71</td><td>wrong</td>",
        "SepalLengthCm across",
        "11:58:10",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
}

#[tokio::test]
async fn an_unknown_range_is_rejected_with_those_that_there_are() {
    let shared = shared(state());
    for address in [
        "/?range=2h",
        "/events?range=2h",
        "/api/v1/timeline?range=2h",
        "/api/v1/latency?range=2h",
    ] {
        let response = get(&shared, address).await;
        let detail = "unknown variant `2h`, expected one of `1m`, `15m`, `all`";
        assert_problem(response, StatusCode::BAD_REQUEST, detail).await;
    }
    let response = get(&shared, "/api/v1/timeline?seconds=60").await;
    assert_problem(response, StatusCode::BAD_REQUEST, "unknown field `seconds`").await;
}

#[tokio::test]
async fn the_timeline_of_a_range_has_exact_sums_and_says_since_when_nothing_came() {
    let shared = shared(state());
    for (query, range, records, since) in [
        ("", "1m", 30, json!(LAST / 1000)),
        ("?range=1m", "1m", 30, json!(LAST / 1000)),
        ("?range=15m", "15m", 150, Value::Null),
        ("?range=all", "all", 150, Value::Null),
    ] {
        let timeline = json_of(get(&shared, &format!("/api/v1/timeline{query}")).await).await;
        let latency = json_of(get(&shared, &format!("/api/v1/latency{query}")).await).await;
        let sum = |figures: &Value, name: &str| -> u64 {
            let buckets = figures["buckets"].as_array().unwrap();
            buckets
                .iter()
                .map(|bucket| bucket[name].as_u64().unwrap())
                .sum()
        };
        assert_eq!(sum(&timeline, "records"), records, "{query}");
        assert_eq!(sum(&latency, "count"), records, "{query}");
        for figures in [&timeline, &latency] {
            assert_eq!(figures["range"], range);
            assert_eq!(figures["window"]["no_records_since_s"], since, "{query}");
        }
    }
    let unread =
        json_of(get(&self::shared(DashboardState::default()), "/api/v1/timeline").await).await;
    assert_eq!(
        unread,
        json!({ "range": "1m", "window": null, "buckets": [] })
    );
}

/// Fails unless a value is as a schema of an OpenAPI document says.
fn assert_conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
        return assert_conforms(document, schema, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let is_null = |choice: &&Value| choice["type"] == "null";
        let choice = match value {
            Value::Null => choices.iter().find(is_null),
            _ => choices.iter().find(|choice| !is_null(choice)),
        };
        return assert_conforms(document, choice.unwrap(), value, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => vec![
            one.as_str()
                .unwrap_or_else(|| panic!("{at}: no type in {schema}")),
        ],
    };
    let is_type = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{at}: unknown type {other}"),
    };
    assert!(types.iter().any(is_type), "{at} is {value}, not {types:?}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(
            names.contains(value),
            "{at} is {value}, not one of {names:?}"
        );
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        assert_conforms(document, &schema["items"], item, &format!("{at}[{index}]"));
    }
    let Some(members) = value.as_object() else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(
            members.contains_key(name.as_str().unwrap()),
            "{at}: no {name}"
        );
    }
    for (name, member) in members {
        let declared = schema["properties"].get(name);
        let schema = declared.unwrap_or(&schema["additionalProperties"]);
        assert!(schema.is_object(), "{at}.{name} is not described");
        assert_conforms(document, schema, member, &format!("{at}.{name}"));
    }
}

#[tokio::test]
async fn each_route_of_the_api_answers_as_the_document_describes() {
    let known = shared(state());
    let unknown = shared(DashboardState::default());
    let document = json_of(get(&known, "/api/v1/openapi.json").await).await;
    let paths = document["paths"].as_object().unwrap();
    let mut described: Vec<&str> = paths.keys().map(String::as_str).collect();
    let mut routes = ROUTES;
    described.sort_unstable();
    routes.sort_unstable();
    assert_eq!(described, routes);
    for shared in [&known, &unknown] {
        for route in ROUTES {
            let response = get(shared, route).await;
            let described = &paths[route]["get"]["responses"][response.status().as_str()];
            let schema = &described["content"][content_type(&response)]["schema"];
            assert!(schema.is_object(), "{route}: {response:?}");
            assert_conforms(&document, schema, &json_of(response).await, route);
        }
    }
    let ranges = document.pointer("/paths/~1api~1v1~1timeline/get/parameters/0");
    let range = ranges.unwrap();
    assert_eq!(
        range["schema"]["enum"],
        json!(["1m", "15m", "all"]),
        "{range}"
    );
    assert_eq!(
        (&range["name"], &range["required"]),
        (&json!("range"), &json!(false))
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let shared = shared(state());
    let response = get(&shared, "/nothing").await;
    assert_problem(response, StatusCode::NOT_FOUND, "the page is at /").await;
    let response = ask(&shared, "POST", "/api/v1/figures").await;
    assert_problem(response, StatusCode::METHOD_NOT_ALLOWED, "read-only").await;
    let response = get(&shared, "/api/v1/predictions?limit=0").await;
    assert_problem(response, StatusCode::BAD_REQUEST, "limit is 0").await;
    let response = get(&shared, "/?x=Colour").await;
    assert_problem(response, StatusCode::BAD_REQUEST, "x is `Colour`").await;
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    let shared = shared(state());
    let assets = [
        "/assets/dashboard.css",
        "/assets/dashboard.js",
        "/assets/icon.svg",
    ];
    let pieces = [
        "/",
        "/fragments/scatter",
        "/fragments/feedback",
        "/events",
        "/nothing",
    ];
    for address in assets.iter().chain(&pieces).chain(&ROUTES) {
        let response = get(&shared, address).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
        ] {
            assert!(policy.contains(part), "{address}: {policy}");
        }
        assert!(!policy.contains("unsafe-inline"), "{address}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{address}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{address}");
    }
}

/// The next of a stream's events that has data.
async fn next_piece(events: &mut BodyDataStream) -> Value {
    loop {
        let event = events.next().await.unwrap().unwrap();
        let event = std::str::from_utf8(&event).unwrap();
        if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[tokio::test]
async fn the_event_stream_begins_with_all_pieces_of_its_range() {
    let shared = shared(state());
    let response = get(&shared, "/events?range=15m").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(content_type(&response), "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let first = events.next().await.unwrap().unwrap();
    let first = std::str::from_utf8(&first).unwrap();
    assert!(
        first.contains("retry: 1000") && first.contains(": live"),
        "{first}"
    );

    let pieces = Fragments::render(&shared.read(), &[], NOW).unwrap();
    shared.fragments.send_replace(Arc::new(pieces.clone()));
    // A piece that is empty, as it is at first, is not sent.
    let expected = pieces.by_place(Range::QuarterHour);
    let expected = expected.iter().filter(|(_, html)| !html.is_empty());
    for &(place, html) in expected {
        let piece = next_piece(&mut events).await;
        assert_eq!(piece, json!({ "place": place, "html": html }));
    }

    // From then on, only what has changed.
    shared.write().board.is_known_until(NOW + 1);
    shared.write().models = Models::default();
    let changed = Fragments::render(&shared.read(), &[], NOW).unwrap();
    shared.fragments.send_replace(Arc::new(changed));
    assert_eq!(next_piece(&mut events).await["place"], "models");

    // The stream ends when the service is stopped, and so does not keep it from ending.
    shared.stop.cancel();
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn as_many_tabs_are_connected_as_the_settings_allow() {
    let shared = shared(state());
    let first = get(&shared, "/events").await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = get(&shared, "/events").await;
    assert_problem(second, StatusCode::SERVICE_UNAVAILABLE, "max_clients").await;
    drop(first);
    assert_eq!(get(&shared, "/events").await.status(), StatusCode::OK);
}
