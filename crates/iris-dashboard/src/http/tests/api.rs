//! The API.

use axum::http::StatusCode;
use iris_feedback_store::{FeedbackRow, FeedbackStore, StoreUrl, StoredOffsets};
use serde_json::{Value, json};

use super::schema::assert_conforms;
use super::{
    LAST, assert_problem, content_type, get, json_of, shared, shared_with_store, state, text,
};
use crate::state::DashboardState;

/// The routes of the API.
pub(super) const ROUTES: [&str; 12] = [
    "/api/v1/status",
    "/api/v1/figures",
    "/api/v1/partitions",
    "/api/v1/timeline",
    "/api/v1/latency",
    "/api/v1/predictions",
    "/api/v1/mispredictions",
    "/api/v1/dead-letters",
    "/api/v1/models",
    "/api/v1/learning",
    "/api/v1/scatter",
    "/api/v1/feedback",
];

#[tokio::test]
async fn the_timeline_of_a_range_has_exact_sums_and_the_time_of_the_last_record() {
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

#[tokio::test]
async fn the_learning_loop_has_its_scores_and_those_of_its_baselines() {
    let shared = shared(state());
    let body = json_of(get(&shared, "/api/v1/learning").await).await;
    let learning = &body["learning"];
    assert_eq!(learning["first_champion"], "00c0ffee00c0ffee");
    for (span, records) in [("total", 2_500), ("window", 1_000)] {
        let span = &learning[span];
        let expected = json!({ "records": records, "accuracy": 0.93, "kappa": 0.9, "balanced_accuracy": 0.93 });
        assert_eq!(span["loop"], expected);
        let never_learning = &span["never_learning"];
        assert_eq!(never_learning["scores"]["accuracy"], 0.95);
        assert_eq!(never_learning["loop_accuracy"], 0.93);
        assert_eq!(never_learning["is_ahead"], true);
        assert_eq!(span["no_change"]["scores"]["records"], records - 1);
        assert_eq!(span["no_change"]["is_ahead"], false);
    }
    assert_eq!(
        learning["warnings"][0]["title"],
        "The loop is less accurate than never learning"
    );
    let unwritten = self::shared(DashboardState::default());
    let body = json_of(get(&unwritten, "/api/v1/learning").await).await;
    assert_eq!(body, json!({ "learning": null }));
}

#[tokio::test]
async fn each_response_conforms_to_the_openapi_document() {
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
async fn each_route_of_the_api_rejects_a_wrong_parameter() {
    let shared = shared(state());
    for (route, query, detail) in [
        ("status", "a=1", "unknown field `a`"),
        ("figures", "a=1", "unknown field `a`"),
        ("partitions", "a=1", "unknown field `a`"),
        ("models", "a=1", "unknown field `a`"),
        ("learning", "a=1", "unknown field `a`"),
        (
            "timeline",
            "range=2h",
            "unknown variant `2h`, expected one of `1m`, `15m`, `all`",
        ),
        ("timeline", "seconds=60", "unknown field `seconds`"),
        ("latency", "range=2h", "unknown variant `2h`"),
        ("predictions", "limit=0", "limit is 0"),
        ("mispredictions", "limit=301", "limit is 301"),
        ("dead-letters", "limit=-1", "limit"),
        ("feedback", "limit=201", "limit is 201"),
        ("scatter", "x=Colour", "x is `Colour`"),
    ] {
        let response = get(&shared, &format!("/api/v1/{route}?{query}")).await;
        assert_problem(response, StatusCode::BAD_REQUEST, detail).await;
    }
}

#[tokio::test]
async fn each_route_of_the_api_is_json() {
    let shared = shared(state());
    for route in ROUTES {
        let response = get(&shared, route).await;
        let (status, expected) = if route == "/api/v1/feedback" {
            (StatusCode::NOT_FOUND, "application/problem+json")
        } else {
            (StatusCode::OK, "application/json")
        };
        assert_eq!(response.status(), status, "{route}");
        assert_eq!(content_type(&response), expected, "{route}");
    }
}

#[tokio::test]
async fn a_limit_is_the_number_of_records() {
    let shared = shared(state());
    let prediction = shared.read().predictions.first(1)[0].clone();
    shared.write().predictions.add([prediction]);
    for (query, expected) in [("", 2), ("?limit=1", 1)] {
        let address = format!("/api/v1/predictions{query}");
        let records = json_of(get(&shared, &address).await).await;
        assert_eq!(records.as_array().unwrap().len(), expected, "{query}");
    }
}

#[tokio::test]
async fn feedback_is_searched_in_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("a.db").display());
    let url = StoreUrl::from(url.as_str());
    let shared = shared_with_store(state(), &url);
    let response = get(&shared, "/api/v1/feedback").await;
    let detail =
        "the feedback store cannot be read; the cause is in the log of iris-dashboard, as error ";
    assert_problem(response, StatusCode::SERVICE_UNAVAILABLE, detail).await;

    let store = FeedbackStore::open(&url).await.unwrap();
    let row = |offset| FeedbackRow {
        source_topic: "feedback".to_owned(),
        source_offset: offset,
        value: format!("{{\"Id\":{offset}}}"),
        ..FeedbackRow::default()
    };
    let rows = [row(7), row(8)];
    let after = [(0, 9)].into();
    store
        .append("feedback", &rows, &StoredOffsets::new(), &after)
        .await
        .unwrap();
    let document = json_of(get(&shared, "/api/v1/openapi.json").await).await;
    for (query, expected) in [("", 2), ("?q=%22id%22:8", 1), ("?limit=1", 1), ("?q=x", 0)] {
        let route = format!("/api/v1/feedback{query}");
        let rows = json_of(get(&shared, &route).await).await;
        assert_eq!(rows.as_array().unwrap().len(), expected, "{query}");
        let responses = &document["paths"]["/api/v1/feedback"]["get"]["responses"];
        let schema = &responses["200"]["content"]["application/json"]["schema"];
        assert_conforms(&document, schema, &rows, &route);
    }
    let piece = text(get(&shared, "/fragments/feedback?q=8").await).await;
    assert!(piece.contains("1 row with “8”."), "{piece}");
}
