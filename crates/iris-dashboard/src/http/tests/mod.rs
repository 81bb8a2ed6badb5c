//! Requests to the server over a given state, without a broker and without a port.

mod api;
mod events;
mod page;
mod schema;
mod site;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use iris_core::{Artefact, Lineage, Model, Schema, TrainingSet};
use iris_feedback_store::StoreUrl;
use iris_registry::{Grounds, Registry};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{Site, router};
use crate::feedback::Feedback;
use crate::fixtures::{loop_figures, summary};
use crate::learning::Learning;
use crate::models::Models;
use crate::recent::{DeadLetterRow, PredictionRow};
use crate::shared::SharedState;
use crate::state::DashboardState;

/// The current time of the tests: 12:05:00 UTC, in milliseconds since the epoch.
const NOW: i64 = 43_500_000;

/// The time of the last record in [`state`]: 12:03:10 UTC.
const LAST: i64 = NOW - 110_000;

fn shared(state: DashboardState) -> Arc<SharedState> {
    shared_with_store(state, &StoreUrl::default())
}

fn shared_with_store(state: DashboardState, url: &StoreUrl) -> Arc<SharedState> {
    let feedback = Feedback::new(url).unwrap();
    let stop = CancellationToken::new();
    let health = Arc::default();
    Arc::new(SharedState::new(state, feedback, health, 1, stop, || NOW))
}

/// Returns a state with records, a registry with a champion, a loop that is worse than never learning,
/// and a dead letter.
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
        let (key, value) = (entry.key.as_bytes(), entry.value.as_deref());
        registry.apply(offset, Some(LAST), key, value).unwrap();
    }
    let prediction = PredictionRow {
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
        learning: Some(Learning::of(&loop_figures(0.93), Some(LAST))),
        ..DashboardState::default()
    };
    state.board.add(&summary(0, 120, 120), LAST - 300_000);
    state.board.add(&summary(0, 30, 150), LAST);
    state.board.ended([(0, 150), (1, 0)].into(), NOW);
    state.board.is_known_until(NOW);
    state.predictions.add([prediction.clone()]);
    state.mispredictions.add([prediction]);
    state.dead_letters.add([letter]);
    state
}

async fn request(shared: &Arc<SharedState>, method: &str, address: &str) -> Response {
    let request = Request::builder().method(method).uri(address);
    let request = request.body(Body::empty()).unwrap();
    send(shared, &Site::default(), request).await
}

/// Sends a request to a server of a site.
async fn send(shared: &Arc<SharedState>, site: &Site, request: Request<Body>) -> Response {
    let router = router(Arc::clone(shared), site);
    router.oneshot(request).await.unwrap()
}

async fn get(shared: &Arc<SharedState>, address: &str) -> Response {
    request(shared, "GET", address).await
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

/// Returns the page at an address.
async fn page_at(shared: &Arc<SharedState>, address: &str) -> String {
    let response = get(shared, address).await;
    assert_eq!(response.status(), StatusCode::OK, "{address}");
    assert_eq!(content_type(&response), "text/html; charset=utf-8");
    text(response).await
}

/// Fails unless the response is a problem document with a status and a detail that contains a text.
async fn assert_problem(response: Response, status: StatusCode, detail: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(content_type(&response), "application/problem+json");
    let problem = json_of(response).await;
    assert_eq!(problem["status"], status.as_u16());
    let found = problem["detail"].as_str().unwrap();
    assert!(found.contains(detail), "{found}");
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
    for address in assets.iter().chain(&pieces).chain(&api::ROUTES) {
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
        assert!(policy.contains("frame-ancestors 'none'"), "{address}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{address}");
        for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
            assert_eq!(header(name), "same-origin", "{address}");
        }
    }
}
