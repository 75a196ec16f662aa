//! Filters that see bodies, with calls of gRPC: streams in both directions, trailers, refusals; and with mirrors.

use crate::body_hooks::{Passing, Running, Signed, Signing, post};
use crate::body_hooks_ends::{http2_client, read};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use std::net::SocketAddr;
use tidegate::async_trait;
use tidegate::filter::{self, BodyAccess, Filter, Flow, RequestBody, ResponseBody};
use tidegate_testing::{Config, Upstream, http2, ok, within};

const WHOLE: BodyAccess = BodyAccess::Whole { max: 100 };

/// A gRPC service that sends each part back as it comes, and ends with a status and a trailer of its own.
async fn grpc_echo() -> SocketAddr {
    http2::serve(|request, mut respond| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let mut body = request.into_body();
        let head = http::Response::builder().header("content-type", "application/grpc");
        let head = head.body(()).expect("a head");
        let mut sent = respond.send_response(head, false).expect("sent");
        while let Some(Ok(part)) = body.data().await {
            let _ = body.flow_control().release_capacity(part.len());
            let _ = sent.send_data(part, false);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("x-trailer", HeaderValue::from_static("there"));
        let _ = sent.send_trailers(trailers);
    })
    .await
}

async fn gateway(filter: impl Filter + 'static) -> Running {
    let config = Config::to_address(grpc_echo().await).speaking("protocols: [h2c]");
    Running::start(&config, |it| it.filter(filter)).await
}

fn call() -> http::Request<()> {
    http::Request::post("http://localhost/a.B/c")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

fn assert_complete(trailers: &HeaderMap) {
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-trailer"], "there");
}

/// Writes `>` before each part of a request, and `<` before each of a response.
struct Marking {
    request: BodyAccess,
    response: BodyAccess,
}

fn marked(mark: u8, bytes: &Bytes) -> Vec<u8> {
    match bytes.is_empty() {
        true => Vec::new(),
        false => [&[mark], &**bytes].concat(),
    }
}

#[async_trait]
impl Filter for Marking {
    fn request_body(&self) -> BodyAccess {
        self.request
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        body.replace(marked(b'>', body.bytes()));
        Ok(Flow::Continue)
    }

    fn response_body(&self) -> BodyAccess {
        self.response
    }

    fn on_response_body(&self, body: &mut ResponseBody<'_>) -> Result<(), filter::Error> {
        body.replace(marked(b'<', body.bytes()));
        Ok(())
    }
}

#[tokio::test]
async fn grpc_stream_in_both_directions_passes_filters_part_by_part() {
    let (chunks, observe) = (BodyAccess::Chunks, BodyAccess::Observe);
    for (request, response, marks) in [
        (chunks, chunks, "<>"),
        (chunks, observe, ">"),
        (observe, chunks, "<"),
        (observe, observe, ""),
    ] {
        let gateway = gateway(Marking { request, response }).await;
        let mut client = http2_client(&gateway).await;
        let (head, mut sending) = client.send_request(call(), false).expect("sent");
        sending.send_data(Bytes::from_static(b"one"), false).expect("sent");
        let mut receiving = within("a head", head).await.expect("a head").into_body();
        for (nth, part) in ["one", "two", "three"].into_iter().enumerate() {
            if nth > 0 {
                sending.send_data(Bytes::from_static(part.as_bytes()), false).expect("sent");
            }
            // The next one is sent only after this one has come back.
            let came = within("a part", receiving.data()).await.expect("a part").expect("no reset");
            let _ = receiving.flow_control().release_capacity(came.len());
            assert_eq!(came, format!("{marks}{part}"));
        }
        sending.send_data(Bytes::new(), true).expect("sent");
        assert!(within("the end", receiving.data()).await.is_none());
        let trailers = within("the trailers", receiving.trailers()).await.expect("no reset");
        let trailers = trailers.expect("trailers");
        assert_complete(&trailers);
    }
}

#[tokio::test]
async fn trailers_follow_a_whole_response_that_a_filter_changes() {
    for (request, response, expected) in [
        (BodyAccess::None, WHOLE, "<onetwo"),
        (WHOLE, BodyAccess::None, ">onetwo"),
        (WHOLE, WHOLE, "<>onetwo"),
    ] {
        let gateway = gateway(Marking { request, response }).await;
        let mut client = http2_client(&gateway).await;
        let (head, mut sending) = client.send_request(call(), false).expect("sent");
        sending.send_data(Bytes::from_static(b"one"), false).expect("sent");
        sending.send_data(Bytes::from_static(b"two"), true).expect("sent");
        let (status, body, trailers) = read(head).await;
        assert_eq!((status.as_u16(), &*body), (200, expected));
        assert_complete(&trailers);
    }
}

/// Replaces a whole response by one that is larger than the window of an HTTP/2 stream.
struct Enlarging;

impl Filter for Enlarging {
    fn response_body(&self) -> BodyAccess {
        WHOLE
    }

    fn on_response_body(&self, body: &mut ResponseBody<'_>) -> Result<(), filter::Error> {
        body.replace("x".repeat(300_000));
        Ok(())
    }
}

#[tokio::test]
async fn trailers_follow_a_whole_response_that_waits_for_the_client() {
    let gateway = gateway(Enlarging).await;
    let mut client = http2_client(&gateway).await;
    let (head, mut sending) = client.send_request(call(), false).expect("sent");
    sending.send_data(Bytes::from_static(b"one"), true).expect("sent");
    let (status, body, trailers) = read(head).await;
    assert_eq!((status.as_u16(), body.len()), (200, 300_000));
    assert_complete(&trailers);
}

#[tokio::test]
async fn grpc_call_that_a_filter_refuses_has_a_status_of_grpc() {
    let whole = gateway(Signed { max: 8 }).await;
    let parts = gateway(Passing(BodyAccess::Chunks)).await;
    for (gateway, body, expected) in [
        // 401 is UNAUTHENTICATED.
        (&whole, "bad", "16"),
        (&whole, "good and too long", grpc_status(413)),
        (&parts, "stop", grpc_status(418)),
    ] {
        let mut client = http2_client(gateway).await;
        let (head, mut sending) = client.send_request(call(), false).expect("sent");
        sending.send_data(Bytes::from_static(body.as_bytes()), false).expect("sent");
        if body == "bad" {
            sending.send_data(Bytes::new(), true).expect("sent");
        }
        let response = within("a head", head).await.expect("a head");
        let (head, mut rest) = response.into_parts();
        let status = match head.headers.get("grpc-status") {
            Some(status) => status.clone(),
            None => {
                while within("a part", rest.data()).await.is_some() {}
                let trailers = within("the trailers", rest.trailers()).await.expect("no reset");
                trailers.expect("trailers")["grpc-status"].clone()
            }
        };
        assert_eq!(
            (head.status.as_u16(), status.to_str().expect("text")),
            (200, expected),
            "{body}"
        );
    }
}

/// The status of gRPC for a status of HTTP.
fn grpc_status(status: u16) -> &'static str {
    tidegate_http::grpc::status_of_http(http::StatusCode::from_u16(status).expect("a status"))
}

/// A gateway with a mirror, whose filters see bodies; the upstream and the mirror.
async fn mirrored(filter: impl Filter + 'static) -> (Running, Upstream, Upstream) {
    let (upstream, mirror) = (Upstream::saying("hello").await, Upstream::saying("seen").await);
    let config = Config::to(&upstream)
        .upstream("shadow", &[mirror.address()])
        .with("mirror: {upstream: shadow}");
    (Running::start(&config, |it| it.filter(filter)).await, upstream, mirror)
}

#[tokio::test]
async fn mirror_gets_the_body_that_filters_have_made() {
    for (access, expected, has_length) in [
        (BodyAccess::Observe, "ab", true),
        (BodyAccess::Chunks, "abab", false),
        (WHOLE, "abab", true),
    ] {
        let (gateway, upstream, mirror) = mirrored(Passing(access)).await;
        let announced = post("Content-Length: 2\r\n", "ab");
        let chunked = post("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n");
        for (nth, request) in [announced, chunked].iter().enumerate() {
            assert_eq!(gateway.send(request).await.status(), 200);
            let (original, copy) = (upstream.request(nth).await, mirror.request(nth).await);
            for request in [&original, &copy] {
                assert_eq!(String::from_utf8_lossy(&request.body), expected, "{access:?}");
            }
            if nth == 0 {
                assert_eq!(original.head.get("content-length").is_some(), has_length, "{access:?}");
            }
            // The copy has its whole body before it is sent.
            let length = expected.len().to_string();
            assert_eq!(copy.head.get("content-length"), Some(&*length), "{access:?}");
            assert_eq!(copy.head.get("transfer-encoding"), None, "{access:?}");
        }
    }
}

#[tokio::test]
async fn mirror_gets_no_copy_of_a_request_that_a_filter_refuses() {
    let (gateway, _upstream, mirror) = mirrored(Signed { max: 8 }).await;
    assert_eq!(gateway.send(post("Content-Length: 3\r\n", "bad")).await.status(), 401);
    assert_eq!(gateway.send(post("Content-Length: 4\r\n", "good")).await.status(), 200);
    assert_eq!(mirror.request(0).await.body, b"GOOD");

    let (gateway, _upstream, mirror) = mirrored(Passing(BodyAccess::Chunks)).await;
    let refused = gateway.send(post("Content-Length: 4\r\n", "stop")).await;
    assert_eq!(refused.status(), 418);
    assert_eq!(gateway.send(post("Content-Length: 2\r\n", "ab")).await.status(), 200);
    assert_eq!(mirror.request(0).await.body, b"abab");
    assert_eq!(mirror.requests().len(), 1);
}

#[tokio::test]
async fn mirror_gets_a_body_once_however_many_attempts_there_are() {
    for access in [BodyAccess::Chunks, WHOLE] {
        let upstream = Upstream::answering(|request| match request.connection {
            1 => b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
            _ => ok("hello"),
        })
        .await;
        let mirror = Upstream::saying("seen").await;
        let config = Config::to(&upstream)
            .upstream("shadow", &[mirror.address()])
            .with("mirror: {upstream: shadow}")
            .with("retry: {attempts: 3, on: [\"503\"], backoff: 1ms}");
        let gateway = Running::start(&config, |it| it.filter(Passing(access))).await;
        let request = post("Content-Length: 2\r\n", "ab").replace("POST", "PUT");
        for nth in 0..2 {
            assert_eq!(gateway.send(&request).await.status(), 200);
            assert_eq!(mirror.request(nth).await.body, b"abab", "{access:?}");
        }
        assert_eq!(mirror.requests().len(), 2, "{access:?}");
    }
}

#[tokio::test]
async fn mirror_sees_no_body_of_responses() {
    let (gateway, _upstream, mirror) = mirrored(Signing(BodyAccess::Chunks)).await;
    let response = gateway.send(post("Content-Length: 2\r\n", "ab")).await;
    assert_eq!(response.text(), "hello(0 /hook)");
    assert_eq!(mirror.request(0).await.body, b"ab");
}
