//! Bodies that filters see, in further attempts at an upstream over HTTP/2.

use crate::body_hooks::{Passing, Running, post};
use crate::body_hooks_ends::{Filling, http2_client, put, read};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tidegate::filter::BodyAccess;
use tidegate_testing::{Config, http2, within};
use tokio::sync::Notify;

const WHOLE: BodyAccess = BodyAccess::Whole { max: 100 };

/// An upstream over HTTP/2 that answers the first request 503 and sends the body of each further one back. It records
/// the bodies of all.
async fn http2_failing_once() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let bodies = Arc::<Mutex<Vec<String>>>::default();
    let recorded = Arc::clone(&bodies);
    let address = http2::serve(move |request, mut respond| {
        let recorded = Arc::clone(&recorded);
        async move {
            let mut body = request.into_body();
            let mut received = Vec::new();
            while let Some(Ok(part)) = body.data().await {
                let _ = body.flow_control().release_capacity(part.len());
                received.extend_from_slice(&part);
            }
            let text = String::from_utf8(received).expect("text");
            let is_first = {
                let mut bodies = recorded.lock().expect("a lock");
                bodies.push(text.clone());
                bodies.len() == 1
            };
            let status = if is_first { 503 } else { 200 };
            let head = http::Response::builder().status(status).body(()).expect("a head");
            let mut sent = respond.send_response(head, false).expect("sent");
            let _ = sent.send_data(text.into(), true);
        }
    })
    .await;
    (address, bodies)
}

fn retrying(address: SocketAddr) -> Config {
    Config::to_address(address)
        .speaking("protocols: [h2c]")
        .with("retry: {attempts: 3, on: [\"503\"], backoff: 1ms}")
}

#[tokio::test]
async fn empty_chunked_body_that_a_filter_fills_reaches_each_attempt_over_http2() {
    for (access, expected) in [
        (BodyAccess::None, ""),
        (BodyAccess::Observe, ""),
        (BodyAccess::Chunks, "filled"),
        (WHOLE, "filled"),
    ] {
        let (address, bodies) = http2_failing_once().await;
        let filling = Filling(access, Arc::new(Notify::new()));
        let gateway = Running::start(&retrying(address), |it| it.filter(filling)).await;
        let request = post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replace("POST", "PUT");
        for _ in 0..2 {
            let response = gateway.send(&request).await;
            assert_eq!((response.status(), &*response.text()), (200, expected), "{access:?}");
        }
        assert_eq!(*bodies.lock().expect("a lock"), [expected; 3], "{access:?}");
    }
}

#[tokio::test]
async fn empty_http2_body_that_a_filter_fills_reaches_each_attempt_over_http2() {
    for (access, expected) in [(BodyAccess::Chunks, "filled"), (WHOLE, "filled")] {
        let (address, bodies) = http2_failing_once().await;
        let head_arrived = Arc::new(Notify::new());
        let filling = Filling(access, Arc::clone(&head_arrived));
        let gateway = Running::start(&retrying(address), |it| it.filter(filling)).await;
        let mut client = http2_client(&gateway).await;
        let (response, mut body) = client.send_request(put(), false).expect("sent");
        within("the head", head_arrived.notified()).await;
        body.send_data(Bytes::new(), true).expect("sent");
        let (status, body, _) = read(response).await;
        assert_eq!((status.as_u16(), &*body), (200, expected), "{access:?}");
        assert_eq!(*bodies.lock().expect("a lock"), [expected; 2], "{access:?}");
    }
}

#[tokio::test]
async fn parts_that_a_filter_changes_are_changed_once_in_each_attempt_over_http2() {
    let (address, bodies) = http2_failing_once().await;
    let passing = Passing(BodyAccess::Chunks);
    let gateway = Running::start(&retrying(address), |it| it.filter(passing)).await;
    let request = post("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n");
    let response = gateway.send(request.replace("POST", "PUT")).await;
    assert_eq!((response.status(), &*response.text()), (200, "abab"));
    assert_eq!(*bodies.lock().expect("a lock"), ["abab"; 2]);
}
