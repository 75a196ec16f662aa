//! How bodies end that filters see: by trailers, without a byte, by a fault of the upstream or of a filter.

use crate::body_hooks::{Passing, Running, Signing, answer, chunked_answer, http2_echo, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tidegate::async_trait;
use tidegate::filter::{
    self, BodyAccess, Filter, Flow, Outcome, Request, RequestBody, ResponseBody,
};
use tidegate_testing::{Config, Upstream, Wire, http2, ok, until, within};
use tokio::sync::{Notify, watch};

const WHOLE: BodyAccess = BodyAccess::Whole { max: 100 };

type Client = h2::client::SendRequest<Bytes>;

pub(super) async fn http2_client(gateway: &Running) -> Client {
    http2::client(gateway.address).await
}

/// The status, the body up to its end or a fault, and the trailers.
pub(super) async fn read(response: h2::client::ResponseFuture) -> (StatusCode, String, HeaderMap) {
    let response = within("a response", response).await.expect("a response");
    let (head, mut body) = response.into_parts();
    let mut received = Vec::new();
    while let Some(Ok(part)) = within("a part", body.data()).await {
        let _ = body.flow_control().release_capacity(part.len());
        received.extend_from_slice(&part);
    }
    let trailers = within("the trailers", body.trailers()).await.ok().flatten();
    let text = String::from_utf8(received).expect("text");
    (head.status, text, trailers.unwrap_or_default())
}

/// A request over HTTP/2 whose body may be sent again.
pub(super) fn put() -> http::Request<()> {
    http::Request::put("http://localhost/hook").body(()).expect("a request")
}

#[tokio::test]
async fn rfc9113_8_1_trailers_end_a_request_body_that_filters_see() {
    let http2 = Config::to_address(http2_echo().await).speaking("protocols: [h2c]");
    for (access, expected, expected_without_data) in [
        (BodyAccess::None, "none:ab", "none:"),
        (BodyAccess::Observe, "none:ab", "none:"),
        (BodyAccess::Chunks, "none:abab", "none:"),
        (WHOLE, "4:abab", "0:"),
    ] {
        let upstream = Upstream::answering(|request| {
            let length = request.head.get("content-length").unwrap_or("none");
            ok(&format!("{length}:{}", String::from_utf8_lossy(&request.body)))
        })
        .await;
        for config in [&http2, &Config::to(&upstream)] {
            let gateway = Running::start(config, |it| it.filter(Passing(access))).await;
            let mut client = http2_client(&gateway).await;
            for (data, expected) in [("ab", expected), ("", expected_without_data)] {
                let (response, mut body) = client.send_request(put(), false).expect("sent");
                if !data.is_empty() {
                    body.send_data(Bytes::from_static(data.as_bytes()), false).expect("sent");
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("x-trailer", HeaderValue::from_static("there"));
                body.send_trailers(trailers).expect("sent");
                let (status, body, _) = read(response).await;
                assert_eq!((status.as_u16(), &*body), (200, expected), "{access:?}");
            }
        }
    }
}

/// Puts `filled` in the place of an empty body, and reports that the head has arrived.
pub(super) struct Filling(pub(super) BodyAccess, pub(super) Arc<Notify>);

#[async_trait]
impl Filter for Filling {
    async fn on_request(&self, _: &mut Request<'_>) -> Result<Flow, filter::Error> {
        self.1.notify_one();
        Ok(Flow::Continue)
    }

    fn request_body(&self) -> BodyAccess {
        self.0
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        if body.is_end() && body.offset() == 0 && body.bytes().is_empty() {
            body.replace("filled");
        }
        Ok(Flow::Continue)
    }
}

#[tokio::test]
async fn rfc9113_8_1_empty_body_that_ends_in_a_frame_of_its_own_reaches_the_upstream() {
    let http2 = Config::to_address(http2_echo().await).speaking("protocols: [h2c]");
    for (access, expected) in [
        (BodyAccess::None, "none:"),
        (BodyAccess::Observe, "none:"),
        (BodyAccess::Chunks, "none:filled"),
        (WHOLE, "6:filled"),
    ] {
        // Each connection's first request fails.
        let upstream = Upstream::answering(|request| match request.connection {
            1 => b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
            _ => {
                let length = request.head.get("content-length").unwrap_or("none");
                ok(&format!("{length}:{}", String::from_utf8_lossy(&request.body)))
            }
        })
        .await;
        let http1 = Config::to(&upstream).with("retry: {attempts: 3, on: [\"503\"], backoff: 1ms}");
        for config in [&http2, &http1] {
            let head_arrived = Arc::new(Notify::new());
            let filling = Filling(access, Arc::clone(&head_arrived));
            let gateway = Running::start(config, |it| it.filter(filling)).await;
            let mut client = http2_client(&gateway).await;
            let (response, mut body) = client.send_request(put(), false).expect("sent");
            within("the head", head_arrived.notified()).await;
            body.send_data(Bytes::new(), true).expect("sent");
            let (status, body, _) = read(response).await;
            assert_eq!((status.as_u16(), &*body), (200, expected), "{access:?}");
        }
        let attempts = upstream.requests();
        assert_eq!(attempts.len(), 2);
        assert_eq!(attempts[0].body, attempts[1].body, "{access:?}");
    }
}

#[tokio::test]
async fn empty_chunked_body_that_a_filter_fills_reaches_each_attempt() {
    for access in [BodyAccess::Chunks, WHOLE] {
        let upstream = Upstream::answering(|request| match request.connection {
            1 => b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
            _ => ok(&String::from_utf8_lossy(&request.body)),
        })
        .await;
        let config =
            Config::to(&upstream).with("retry: {attempts: 3, on: [\"503\"], backoff: 1ms}");
        let filling = Filling(access, Arc::new(Notify::new()));
        let gateway = Running::start(&config, |it| it.filter(filling)).await;
        let request = post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replace("POST", "PUT");
        let response = gateway.send(request).await;
        let attempts = upstream.requests();
        assert_eq!((attempts.len(), &*attempts[0].body), (2, &b"filled"[..]), "{access:?}");
        assert_eq!(response.text(), "filled", "{access:?}: {:?}", attempts[1].head);
    }
}

#[tokio::test]
async fn unchanged_empty_body_is_forwarded_after_a_whole_filter_has_seen_it() {
    let http2 = Config::to_address(http2_echo().await).speaking("protocols: [h2c]");
    let head_arrived = Arc::new(Notify::new());
    let waiting = Filling(BodyAccess::None, Arc::clone(&head_arrived));
    let gateway = Running::start(&http2, |it| it.filter(waiting).filter(Passing(WHOLE))).await;
    let mut client = http2_client(&gateway).await;
    let (response, mut body) = client.send_request(put(), false).expect("sent");
    within("the head", head_arrived.notified()).await;
    body.send_data(Bytes::new(), true).expect("sent");
    let (status, body, _) = read(response).await;
    assert_eq!((status.as_u16(), &*body), (200, "0:"));
}

/// An upstream over HTTP/2 that sends `one`, and when the test goes on a second part, or a reset of the stream.
async fn truncating_upstream(
    second: Option<&'static str>,
    goes_on: watch::Receiver<bool>,
) -> SocketAddr {
    http2::serve(move |_, mut respond| {
        let mut goes_on = goes_on.clone();
        async move {
            let response = http::Response::builder()
                .header("content-type", "application/grpc")
                .body(())
                .expect("a head");
            let mut stream = respond.send_response(response, false).expect("sent");
            stream.send_data(Bytes::from_static(b"one"), false).expect("sent");
            let _ = goes_on.wait_for(|goes_on| *goes_on).await;
            match second {
                Some(second) => {
                    let _ = stream.send_data(Bytes::from_static(second.as_bytes()), false);
                    std::future::pending().await
                }
                None => stream.send_reset(h2::Reason::INTERNAL_ERROR),
            }
        }
    })
    .await
}

/// Records the parts of responses; fails at `two`.
struct Recording(BodyAccess, Arc<Mutex<Vec<String>>>);

impl Filter for Recording {
    fn response_body(&self) -> BodyAccess {
        self.0
    }

    fn on_response_body(&self, body: &mut ResponseBody<'_>) -> Result<(), filter::Error> {
        let text = String::from_utf8_lossy(body.bytes()).into_owned();
        let end = if body.is_end() { "." } else { "" };
        self.1.lock().expect("a lock").push(format!("{text}{end}"));
        match text.as_str() {
            "two" => Err(filter::Error::status(StatusCode::FORBIDDEN, "not this")),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn grpc_response_that_is_broken_off_has_a_status_and_is_not_shown_as_complete() {
    for (access, second, expected_body, expected_parts) in [
        (BodyAccess::Chunks, None, "one", vec!["one"]),
        (BodyAccess::Observe, Some("two"), "one", vec!["one", "two"]),
        (BodyAccess::Chunks, Some("two"), "one", vec!["one", "two"]),
        (WHOLE, None, "", vec![]),
        (BodyAccess::Whole { max: 4 }, Some("two"), "", vec![]),
    ] {
        let (go_on, goes_on) = watch::channel(false);
        let upstream = truncating_upstream(second, goes_on).await;
        let config = Config::to_address(upstream).speaking("protocols: [h2c]");
        let parts = Arc::default();
        let recording = Recording(access, Arc::clone(&parts));
        let gateway = Running::start(&config, |it| it.filter(recording)).await;
        let mut client = http2_client(&gateway).await;
        let request = http::Request::post("http://localhost/a.B/c")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let (response, _) = client.send_request(request, true).expect("sent");
        let mut body = within("a head", response).await.expect("a head").into_body();
        let case = format!("{access:?}, {second:?}");
        if !expected_body.is_empty() {
            let part = within("a part", body.data()).await;
            assert_eq!(part.expect("a part").expect("a part"), expected_body, "{case}");
        }
        go_on.send_replace(true);
        assert!(within("the end", body.data()).await.is_none(), "{case}");
        let trailers = within("the trailers", body.trailers()).await;
        let trailers = trailers.expect("no reset").expect("trailers");
        let status = trailers.get("grpc-status").unwrap_or_else(|| panic!("a status: {case}"));
        assert_ne!(status, "0", "{case}");
        assert_eq!(*parts.lock().expect("a lock"), expected_parts, "{case}");
    }
}

#[tokio::test]
async fn responses_without_content_are_not_refused_for_the_length_of_the_content() {
    let upstream = Upstream::answering(|request| {
        let status = if request.head.target() == "/304" { "304 Not Modified" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 12345\r\n\r\n").into_bytes()
    })
    .await;
    let access = BodyAccess::Whole { max: 4 };
    let gateway = Running::start(&Config::to(&upstream), |it| it.filter(Signing(access))).await;
    let mut wire = gateway.connect().await;
    wire.send("GET /304 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(within("a head", wire.head()).await.status(), Some(304));
    wire.send("HEAD /large HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(within("a head", wire.head()).await.status(), Some(200));
}

#[tokio::test]
async fn filter_that_fails_on_a_part_chooses_the_status_with_an_http2_upstream() {
    let upstream = http2_echo().await;
    let config = Config::to_address(upstream).speaking("protocols: [h2c]");
    let config = config.with("max_body_size: 10B");
    let gateway = Running::start(&config, |it| it.filter(Passing(BodyAccess::Chunks))).await;
    for (body, status, code) in
        [("stop it", 418, "stop"), ("more than ten bytes", 413, "body_too_large")]
    {
        let request = post(
            "Transfer-Encoding: chunked\r\n",
            &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        );
        let refused = gateway.send(request).await;
        assert_eq!((refused.status(), refused.error()["error"].as_str()), (status, Some(code)));
        let mut client = http2_client(&gateway).await;
        let (response, mut stream) = client.send_request(put(), false).expect("sent");
        stream.send_data(Bytes::from_static(body.as_bytes()), true).expect("sent");
        let (answered, _, _) = read(response).await;
        assert_eq!(answered.as_u16(), status);
    }
}

/// Sees both bodies, fails at `stop`, and reports whether the store is there at the end.
struct Keeping(Arc<watch::Sender<Option<bool>>>, Arc<Notify>);

#[derive(Clone)]
struct Kept;

#[async_trait]
impl Filter for Keeping {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        request.exchange_mut().store_mut().insert(Kept);
        Ok(Flow::Continue)
    }

    fn request_body(&self) -> BodyAccess {
        BodyAccess::Chunks
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        match &**body.bytes() {
            b"stop" => Err(filter::Error::status(StatusCode::FORBIDDEN, "no further")),
            // The client leaves meanwhile.
            b"wait" => {
                self.1.notify_one();
                std::future::pending().await
            }
            _ => Ok(Flow::Continue),
        }
    }

    fn response_body(&self) -> BodyAccess {
        BodyAccess::Chunks
    }

    fn on_end(&self, outcome: &Outcome<'_>) {
        self.0.send_replace(Some(outcome.exchange.store().get::<Kept>().is_some()));
    }
}

#[tokio::test]
async fn end_finds_the_store_after_a_filter_has_failed_on_a_part_or_was_cancelled() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        let _ = wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
        let _ = wire.read_to_end().await;
    })
    .await;
    for part in ["stop", "wait"] {
        let (sender, mut ended) = watch::channel(None);
        let waits = Arc::new(Notify::new());
        let keeping = Keeping(Arc::new(sender), Arc::clone(&waits));
        let gateway = Running::start(&Config::to(&upstream), |it| it.filter(keeping)).await;
        let mut client = http2_client(&gateway).await;
        let (response, mut stream) = client.send_request(put(), false).expect("sent");
        let mut body = within("a head", response).await.expect("a head").into_body();
        assert!(within("a part", body.data()).await.is_some());
        stream.send_data(Bytes::from_static(part.as_bytes()), false).expect("sent");
        if part == "wait" {
            within("the filter", waits.notified()).await;
            stream.send_reset(h2::Reason::CANCEL);
        }
        let has_store = within("the end", ended.wait_for(Option::is_some)).await;
        assert_eq!(*has_store.expect("a gateway"), Some(true), "{part}");
    }
}

/// Counts the parts that it sees of requests.
struct Counting(Arc<Mutex<Vec<Bytes>>>);

#[async_trait]
impl Filter for Counting {
    fn request_body(&self) -> BodyAccess {
        BodyAccess::Observe
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        self.0.lock().expect("a lock").push(body.bytes().clone());
        Ok(Flow::Continue)
    }
}

#[tokio::test]
async fn early_data_of_a_refused_websocket_over_http2_is_not_shown() {
    let (end, ended) = watch::channel(false);
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let mut ended = ended.clone();
        async move {
            let _ = wire.head().await;
            wire.send("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
            let _ = ended.wait_for(|ends| *ends).await;
            wire.send("0\r\n\r\n").await;
        }
    })
    .await;
    let parts = Arc::default();
    let counting = Counting(Arc::clone(&parts));
    let gateway = Running::start(&Config::to(&upstream), |it| it.filter(counting)).await;
    let mut client = http2_client(&gateway).await;
    until("extended CONNECT is allowed", || async {
        client.is_extended_connect_protocol_enabled()
    })
    .await;
    let request = http::Request::builder()
        .method("CONNECT")
        .uri("http://localhost/hook")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .expect("a request");
    let (response, mut stream) = client.send_request(request, false).expect("sent");
    let response = within("a head", response).await.expect("a head");
    assert_eq!(response.status(), 403);
    let mut body = response.into_body();
    assert!(within("a part", body.data()).await.is_some());
    let _ = stream.send_data(Bytes::from_static(b"early"), false);
    // The upstream ends its response once the gateway has answered a later request of this connection, so that it has
    // read the frame.
    let request = http::Request::get("http://localhost/later").body(()).expect("a request");
    let (later, _) = client.send_request(request, true).expect("sent");
    within("a head", later).await.expect("a head");
    end.send_replace(true);
    while let Some(Ok(_)) = within("the rest", body.data()).await {}
    assert!(parts.lock().expect("a lock").is_empty());
}

/// Puts `filled` in the place of an empty response.
struct Footing(BodyAccess);

impl Filter for Footing {
    fn response_body(&self) -> BodyAccess {
        self.0
    }

    fn on_response_body(&self, body: &mut ResponseBody<'_>) -> Result<(), filter::Error> {
        if body.bytes().is_empty() && body.offset() == 0 {
            body.replace("filled");
        }
        Ok(())
    }
}

#[tokio::test]
async fn empty_response_is_not_shown_however_it_is_framed() {
    let upstream = Upstream::answering(|request| match request.head.target() {
        "/chunked" => chunked_answer(&[]).into_bytes(),
        _ => answer("").into_bytes(),
    })
    .await;
    for access in [BodyAccess::Chunks, WHOLE] {
        let gateway = Running::start(&Config::to(&upstream), |it| it.filter(Footing(access))).await;
        for path in ["/chunked", "/length"] {
            let response =
                gateway.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
            assert_eq!((response.status(), response.text().as_str()), (200, ""), "{path}");
        }
        let run = tidegate::testing::request("GET /").run(&Footing(access)).await;
        assert_eq!(run.body(), "", "as the test kit says");
        let empty = tidegate::testing::response(200).body("");
        let run = tidegate::testing::request("GET /").upstream(empty).run(&Footing(access)).await;
        assert_eq!(run.body(), "");
    }
}
