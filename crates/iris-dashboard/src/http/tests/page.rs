//! The page and its pieces.

use axum::http::StatusCode;

use super::{assert_problem, content_type, get, page_at, request, shared, state, text};
use crate::state::DashboardState;

#[tokio::test]
async fn the_page_renders_before_anything_is_known() {
    let page = page_at(&shared(DashboardState::default()), "/").await;
    for expected in [
        "Kafka cannot be read",
        "<dd data-figure=\"records\">unknown</dd>",
        "No transaction of a classifier has been read yet.",
        "No predictions yet.",
        "The registry is empty.",
        "The trainer has not written figures yet.",
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
        assert!(script.starts_with(" src=\"assets/"), "{script}");
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
async fn the_page_shows_records_models_and_dead_letters() {
    let page = page_at(&shared(state()), "/?range=15m&q=x&x=SepalLengthCm").await;
    for expected in [
        "<dd data-figure=\"records\">150</dd>",
        "accuracy on 30 held-out rows: 1.0000",
        "there was no champion",
        "<p class=\"status-title\">The loop is less accurate than never learning</p>",
        "Of the newest 1,000 labelled records, the loop predicted 93.0% correctly.",
        "<td>never learning</td><td class=\"number\">95.0%</td><td class=\"number\">0.900</td>",
        "<td class=\"number\">-2.0 ± 0.6</td><td class=\"number\">2,500</td>",
        "not_json",
        "<td>71</td><td>wrong</td>",
        "SepalLengthCm across",
        "11:58:10",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
}

#[tokio::test]
async fn each_address_outside_the_api_has_its_content_type() {
    let shared = shared(state());
    for (address, expected) in [
        ("/", "text/html; charset=utf-8"),
        ("/fragments/scatter", "text/html; charset=utf-8"),
        ("/fragments/feedback", "text/html; charset=utf-8"),
        ("/assets/dashboard.css", "text/css; charset=utf-8"),
        ("/assets/dashboard.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
        ("/events", "text/event-stream"),
    ] {
        let response = get(&shared, address).await;
        assert_eq!(response.status(), StatusCode::OK, "{address}");
        assert_eq!(content_type(&response), expected, "{address}");
    }
}

#[tokio::test]
async fn the_pieces_of_forms_show_their_parameters() {
    let shared = shared(state());
    let scatter = text(get(&shared, "/fragments/scatter?x=SepalWidthCm").await).await;
    assert!(scatter.contains("SepalWidthCm across"), "{scatter}");
    let feedback = text(get(&shared, "/fragments/feedback?q=x").await).await;
    assert!(feedback.contains("no feedback store is set"), "{feedback}");
    let without_champion = self::shared(DashboardState::default());
    let scatter = text(get(&without_champion, "/fragments/scatter").await).await;
    assert!(scatter.contains("There is no champion yet"), "{scatter}");
}

#[tokio::test]
async fn wrong_parameters_addresses_and_methods_are_problems() {
    let shared = shared(state());
    for (address, detail) in [
        ("/?x=Colour", "x is `Colour`"),
        ("/?range=2h", "unknown variant `2h`"),
        ("/fragments/scatter?y=Colour", "y is `Colour`"),
        ("/fragments/scatter?z=1", "unknown field `z`"),
        ("/fragments/feedback?limit=0", "limit is 0"),
        ("/fragments/feedback?q=%00", "q cannot be searched for"),
        ("/events?range=2h", "unknown variant `2h`"),
    ] {
        let response = get(&shared, address).await;
        assert_problem(response, StatusCode::BAD_REQUEST, detail).await;
    }
    let response = get(&shared, "/nothing").await;
    assert_problem(response, StatusCode::NOT_FOUND, "the page is at /").await;
    let response = request(&shared, "POST", "/api/v1/figures").await;
    assert_problem(response, StatusCode::METHOD_NOT_ALLOWED, "read-only").await;
}
