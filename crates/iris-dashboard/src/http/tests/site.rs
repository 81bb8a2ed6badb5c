//! Host names, origins, and the page below a path.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::{Site, assert_problem, json_of, send, shared, state, text};
use crate::shared::SharedState;

/// Requests an address with some headers.
async fn get(
    shared: &Arc<SharedState>,
    site: &Site,
    address: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut request = Request::builder().uri(address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(shared, site, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_request_for_another_host_or_from_another_page_is_refused_everywhere() {
    let shared = shared(state());
    let site = Site::new(&["iris.example".to_owned()], "");
    for address in [
        "/",
        "/events",
        "/assets/dashboard.js",
        "/api/v1/figures",
        "/nothing",
    ] {
        let evil = [("host", "evil.example:8080")];
        let refused = get(&shared, &site, address, &evil).await;
        let policy = &refused.headers()[header::CONTENT_SECURITY_POLICY];
        assert!(policy.to_str().unwrap().starts_with("default-src 'none'"));
        let detail = "add the name to dashboard.allowed_hosts";
        assert_problem(refused, StatusCode::MISDIRECTED_REQUEST, detail).await;
        let other = [
            ("host", "localhost:8080"),
            ("origin", "http://evil.example"),
        ];
        let refused = get(&shared, &site, address, &other).await;
        let detail = "add its host name to dashboard.allowed_hosts";
        assert_problem(refused, StatusCode::FORBIDDEN, detail).await;
    }
    for headers in [
        &[("host", "localhost:8080")][..],
        &[("host", "iris.example")],
        &[("host", "10.1.2.3:80"), ("origin", "http://10.1.2.3:80")],
        &[("host", "127.0.0.1"), ("origin", "https://iris.example")],
    ] {
        let response = get(&shared, &site, "/", headers).await;
        assert_eq!(response.status(), StatusCode::OK, "{headers:?}");
    }
}

#[tokio::test]
async fn all_addresses_of_the_page_are_relative() {
    let page = text(get(&shared(state()), &Site::default(), "/", &[]).await).await;
    for attribute in ["href=\"", "src=\"", "action=\""] {
        for address in page.split(attribute).skip(1) {
            assert!(!address.starts_with('/'), "{attribute}{address}");
        }
    }
    let script = include_str!("../../../assets/dashboard.js");
    assert!(!script.contains("\"/") && !script.contains("`/"));
    let style = include_str!("../../../assets/dashboard.css");
    assert!(!style.contains("url("));
}

#[tokio::test]
async fn below_a_path_every_address_begins_with_it() {
    let shared = shared(state());
    let site = Site::new(&[], "/team/iris/");
    let below = async |path: &str| get(&shared, &site, &format!("/team/iris{path}"), &[]).await;
    for path in [
        "/",
        "/events",
        "/assets/dashboard.css",
        "/fragments/feedback",
        "/api/v1/figures",
    ] {
        assert_eq!(below(path).await.status(), StatusCode::OK, "{path}");
    }
    let redirect = below("").await;
    assert_eq!(redirect.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(redirect.headers()[header::LOCATION], "/team/iris/");
    let document = json_of(below("/api/v1/openapi.json").await).await;
    assert_eq!(document["servers"], json!([{ "url": "/team/iris" }]));
    for address in ["/", "/api/v1/figures", "/team/iris/nothing"] {
        let missing = get(&shared, &site, address, &[]).await;
        let detail = "the page is at /team/iris/.";
        assert_problem(missing, StatusCode::NOT_FOUND, detail).await;
    }
    let post = Request::post("/team/iris/api/v1/figures");
    let refused = send(&shared, &site, post.body(Body::empty()).unwrap()).await;
    assert_problem(refused, StatusCode::METHOD_NOT_ALLOWED, "read-only").await;
}

#[tokio::test]
async fn no_cache_keeps_records() {
    let shared = shared(state());
    for (address, expected) in [
        ("/", "no-store"),
        ("/fragments/feedback", "no-store"),
        ("/api/v1/predictions", "no-store"),
        ("/assets/dashboard.js", "no-cache"),
    ] {
        let response = get(&shared, &Site::default(), address, &[]).await;
        let found = &response.headers()[header::CACHE_CONTROL];
        assert_eq!(found, expected, "{address}");
    }
}
