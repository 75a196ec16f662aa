//! The limits of requests hold over HTTP/2.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use tidegate_testing::{Config, Gateway, Upstream, http2, within};

async fn client(gateway: &Gateway) -> SendRequest<Bytes> {
    http2::client(gateway.address()).await
}

async fn speaking(upstream: &Upstream, limits: &str) -> Gateway {
    let config = Config::to(upstream).listening("protocols: [h1, h2c]");
    config.top(&format!("limits: {{{limits}}}")).with("timeouts: {read: 500ms}").start().await
}

/// The status of a request, and whether it is the gateway's own answer.
async fn status(send: &mut SendRequest<Bytes>, request: Request<()>) -> StatusCode {
    within("a free stream", futures_util::future::poll_fn(|cx| send.poll_ready(cx)))
        .await
        .expect("it");
    let (answer, _) = send.send_request(request, true).expect("sent");
    within("an answer", answer).await.expect("an answer").status()
}

#[tokio::test]
async fn oversized_head_is_answered_431_and_the_connection_stays() {
    let upstream = Upstream::saying("hello").await;
    let gateway = speaking(&upstream, "header_size: 8KiB, header_count: 20").await;
    let mut send = client(&gateway).await;
    let request = || Request::get("http://a.test/x");
    let large = request().header("x-large", "y".repeat(9 * 1024)).body(()).expect("a request");
    assert_eq!(status(&mut send, large).await, 431, "by its size");
    let many = (0..30).fold(request(), |it, number| it.header(format!("x-{number}"), "y"));
    assert_eq!(status(&mut send, many.body(()).expect("a request")).await, 431, "by its count");
    let good = request().header("x", "y").body(()).expect("a request");
    assert_eq!(status(&mut send, good).await, 200, "on the same connection");
    assert_eq!(upstream.requests().len(), 1, "the others have come to nobody");
}

#[tokio::test]
async fn stalled_body_ends_only_its_stream() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            let whole = match head.get("content-length") {
                Some(length) => wire.try_exactly(length.parse().expect("a length")).await.is_some(),
                None => true,
            };
            if !whole || wire.try_send(tidegate_testing::ok("whole")).await.is_err() {
                return;
            }
        }
    })
    .await;
    let gateway = speaking(&upstream, "").await;
    let mut send = client(&gateway).await;
    let request = Request::post("http://a.test/stalled").header("content-length", "10");
    let (answer, mut body) =
        send.send_request(request.body(()).expect("a request"), false).expect("sent");
    body.send_data(Bytes::from_static(b"one"), false).expect("sent");
    upstream.request(0).await;
    // Nothing more comes. The route's `timeouts.read` bounds it.
    let answer = within("the end of the stream", answer).await.expect("an answer");
    assert_eq!(answer.status(), 504);
    let good = Request::get("http://a.test/x").body(()).expect("a request");
    assert_eq!(status(&mut send, good).await, 200, "on the same connection");
    let line = gateway.access_of("/stalled").await;
    assert_eq!(line["http.response.status_code"], 504, "{line}");
}
