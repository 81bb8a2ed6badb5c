//! The stream of server-sent events.

use std::sync::Arc;

use axum::body::BodyDataStream;
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{NOW, assert_problem, content_type, get, shared, state};
use crate::models::Models;
use crate::range::Range;
use crate::view::Fragments;

/// Returns the data of the next event that has some.
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
    // Empty pieces are not sent: the page starts with them.
    let expected = pieces.by_place(Range::QuarterHour);
    let expected = expected.iter().filter(|(_, html)| !html.is_empty());
    for &(place, html) in expected {
        let piece = next_piece(&mut events).await;
        assert_eq!(piece, json!({ "place": place, "html": html }));
    }

    // From then on, only changed pieces are sent.
    shared.write().board.is_known_until(NOW + 1);
    shared.write().models = Models::default();
    let changed = Fragments::render(&shared.read(), &[], NOW).unwrap();
    shared.fragments.send_replace(Arc::new(changed));
    assert_eq!(next_piece(&mut events).await["place"], "models");

    // The stream ends when the service is stopped, so that the server can end.
    shared.stop.cancel();
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn the_number_of_connected_tabs_is_limited() {
    let shared = shared(state());
    let first = get(&shared, "/events").await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = get(&shared, "/events").await;
    assert_problem(second, StatusCode::SERVICE_UNAVAILABLE, "max_clients").await;
    drop(first);
    assert_eq!(get(&shared, "/events").await.status(), StatusCode::OK);
}
