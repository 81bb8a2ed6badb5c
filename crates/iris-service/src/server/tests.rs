//! A server on a port, and clients that misbehave.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::{HEAD_TIMEOUT, MAX_HEAD_BYTES};
use super::serve_http;

const SECOND: Duration = Duration::from_secs(1);

/// How long many connections that wait may stay open, also on a busy machine: closed one after another, they would take minutes.
const ALL_CLOSED: Duration = Duration::from_secs(10 * HEAD_TIMEOUT.as_secs());

/// A request that keeps the connection open.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Starts a server with a short response, and one that streams forever.
async fn server(max_connections: usize) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let stream = async || {
        let ticks = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(SECOND / 10).await;
            Some((Ok::<_, Infallible>("tick"), ()))
        });
        Body::from_stream(ticks)
    };
    let router = Router::new()
        .route("/", get(async || "fine"))
        .route("/stream", get(stream));
    tokio::spawn(serve_http(listener, router, max_connections, stop.clone()));
    (address, stop)
}

/// Sends bytes, and returns the connection.
async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Reads until the server closes the connection.
async fn read(stream: &mut TcpStream, limit: Duration) -> String {
    let mut read = Vec::new();
    // The server may reset a connection with unread bytes.
    let _ = timeout(limit, stream.read_to_end(&mut read))
        .await
        .expect("the connection stays open");
    String::from_utf8(read).unwrap()
}

/// Fails unless a new client gets a response.
async fn assert_serves(address: SocketAddr) {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = send(address, request.as_bytes()).await;
    let response = read(&mut stream, 2 * SECOND).await;
    assert!(response.ends_with("fine"), "{response}");
}

#[tokio::test]
async fn half_a_request_and_an_idle_connection_are_closed_and_a_stream_is_not() {
    let (address, _stop) = server(1_000).await;
    let started = Instant::now();
    let mut half = Vec::new();
    for _ in 0..300 {
        half.push(send(address, b"GET / HTTP/1.1\r\nHost: ").await);
    }
    let mut idle = send(address, REQUEST.as_bytes()).await;
    let mut streaming = send(address, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_serves(address).await;
    for stream in &mut half {
        let _ = read(stream, ALL_CLOSED).await;
    }
    assert!(started.elapsed() < ALL_CLOSED);
    assert!(read(&mut idle, 2 * SECOND).await.ends_with("fine"));
    let mut buffer = vec![0; 64 * 1024];
    while streaming.try_read(&mut buffer).is_ok_and(|read| read > 0) {}
    let more = timeout(2 * SECOND, streaming.read(&mut buffer)).await;
    assert!(more.unwrap().unwrap() > 0);
}

#[tokio::test]
async fn a_new_connection_replaces_the_oldest_that_waits_and_never_one_that_streams() {
    let (address, _stop) = server(3).await;
    let mut streaming = send(address, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut buffer = [0; 1024];
    assert!(streaming.read(&mut buffer).await.unwrap() > 0);
    let mut half = send(address, b"GET").await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(send(address, b"GET").await);
        assert_serves(address).await;
    }
    assert_eq!(read(&mut half, SECOND).await, "");
    assert!(streaming.read(&mut buffer).await.unwrap() > 0);
}

#[tokio::test]
async fn a_long_head_is_refused_and_a_body_is_not_waited_for() {
    let (address, _stop) = server(10).await;
    let head = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(2 * MAX_HEAD_BYTES));
    let mut stream = send(address, head.as_bytes()).await;
    let response = read(&mut stream, SECOND).await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    for method in ["GET", "POST"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx");
        let mut stream = send(address, request.as_bytes()).await;
        let response = read(&mut stream, SECOND).await;
        assert!(response.starts_with("HTTP/1.1 "), "{method}: {response}");
    }
}

#[tokio::test]
async fn a_stop_ends_connections_that_wait() {
    let (address, stop) = server(10).await;
    let mut half = send(address, b"GET / HTTP").await;
    let mut idle = send(address, REQUEST.as_bytes()).await;
    let mut buffer = [0; 1024];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    stop.cancel();
    read(&mut idle, SECOND).await;
    read(&mut half, 6 * SECOND).await;
}
