//! Filters that see bodies on a route with a cache: what they refuse is refused, whatever the cache has.

use crate::body_hooks::{Running, Signed, Signing, http2_echo, post};
use crate::body_hooks_ends::http2_client;
use bytes::Bytes;
use http::StatusCode;
use std::net::SocketAddr;
use tidegate::async_trait;
use tidegate::filter::{self, BodyAccess, Filter, Flow, Reply, RequestBody, UpstreamRequest};
use tidegate_testing::{Config, Upstream, Wire, http2, within};
use tokio::sync::watch;

/// Answers a request with 403 at a part that begins with `stop`.
struct Stopping(BodyAccess);

#[async_trait]
impl Filter for Stopping {
    fn request_body(&self) -> BodyAccess {
        self.0
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        if body.bytes().starts_with(b"stop") {
            return Ok(Flow::Respond(Reply::error(StatusCode::FORBIDDEN, "stopped", "not this")));
        }
        Ok(Flow::Continue)
    }
}

const CACHEABLE: &str =
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\none";

/// An upstream that answers each request with what may be kept, at the end of its body. Some never end.
async fn cacheable_over_http1() -> Upstream {
    Upstream::scripted(|mut wire: Wire, _| async move {
        while let Some(head) = wire.try_head().await {
            if let Some(length) = head.get("content-length") {
                if wire.try_exactly(length.parse().expect("a number")).await.is_none() {
                    return;
                }
            } else if head.get("transfer-encoding").is_some() {
                while wire.try_until(b"\r\n").await.is_some_and(|line| line != b"0\r\n") {}
                let _ = wire.try_until(b"\r\n").await;
            }
            if wire.try_send(CACHEABLE).await.is_err() {
                return;
            }
        }
    })
    .await
}

fn get(headers: &str, body: &str) -> String {
    post(headers, body).replace("POST", "GET")
}

/// The status and the code of the answer to a GET over HTTP/2 with this body, which comes after the head.
async fn get_over_http2(gateway: &Running, body: &'static str) -> (u16, String) {
    let mut client = http2_client(gateway).await;
    let request = http::Request::get("http://localhost/hook").body(()).expect("a request");
    let (response, mut stream) = client.send_request(request, false).expect("sent");
    stream.send_data(Bytes::from_static(body.as_bytes()), true).expect("sent");
    let (head, mut body) = within("a response", response).await.expect("a response").into_parts();
    let mut text = Vec::new();
    while let Some(part) = within("a part", body.data()).await {
        text.extend_from_slice(&part.expect("no reset"));
    }
    (head.status.as_u16(), String::from_utf8(text).expect("text"))
}

async fn refuses_get_with_body(config: &Config, access: BodyAccess) {
    let gateway = Running::start(config, |it| it.filter(Stopping(access))).await;
    let chunked = get("Transfer-Encoding: chunked\r\n", "4\r\nstop\r\n0\r\n\r\n");
    let announced = get("Content-Length: 4\r\n", "stop");
    for is_warm in [false, true] {
        let case = format!("{access:?}, warm: {is_warm}");
        for request in [&chunked, &announced] {
            let refused = gateway.send(request).await;
            assert_eq!(refused.status(), 403, "{case}: {request}");
            assert_eq!(refused.error()["error"], "stopped", "{case}");
        }
        let (status, text) = get_over_http2(&gateway, "stop").await;
        assert!(status == 403 && text.contains("stopped"), "{case}: {status} {text}");
        if !is_warm {
            // The cache has the response from here on.
            assert_eq!(gateway.send(get("", "")).await.status(), 200);
            assert_eq!(gateway.send(get("", "")).await.status(), 200);
        }
    }
}

#[tokio::test]
async fn filter_refuses_a_get_with_a_body_on_a_route_with_a_cache() {
    for access in [BodyAccess::Observe, BodyAccess::Chunks, BodyAccess::Whole { max: 100 }] {
        let upstream = cacheable_over_http1().await;
        refuses_get_with_body(&Config::to(&upstream).with("cache: {}"), access).await;
        let http2 = Config::to_address(cacheable_over_http2().await).speaking("protocols: [h2c]");
        refuses_get_with_body(&http2.with("cache: {}"), access).await;
    }
}

/// An upstream over HTTP/2 that answers each request with what may be kept, at the end of its body.
async fn cacheable_over_http2() -> SocketAddr {
    http2::serve(|request, mut respond| async move {
        let mut body = request.into_body();
        while let Some(Ok(part)) = body.data().await {
            let _ = body.flow_control().release_capacity(part.len());
        }
        let head = http::Response::builder().header("cache-control", "max-age=60");
        if let Ok(mut sent) = respond.send_response(head.body(()).expect("a head"), false) {
            let _ = sent.send_data(Bytes::from_static(b"one"), true);
        }
    })
    .await
}

#[tokio::test]
async fn whole_get_body_is_not_answered_from_the_cache() {
    let http2 = Config::to_address(http2_echo().await).speaking("protocols: [h2c]");
    let gateway =
        Running::start(&http2.with("cache: {default_ttl: 60s}"), |it| it.filter(Signed { max: 8 }))
            .await;
    for body in ["good1", "good2"] {
        let headers = format!("Content-Length: {}\r\n", body.len());
        let response = gateway.send(get(&headers, body)).await;
        assert_eq!(response.text(), format!("5:{}", body.to_uppercase()));
    }
    assert_eq!(gateway.send(get("", "")).await.status(), 401, "no body is none that is signed");
}

/// Fails on its way to the upstream once the test says so.
struct Closing(watch::Receiver<bool>);

#[async_trait]
impl Filter for Closing {
    fn on_forward(&self, _: &mut UpstreamRequest<'_>) -> Result<(), filter::Error> {
        match *self.0.borrow() {
            true => Err(filter::Error::status(StatusCode::FORBIDDEN, "closed").code("closed")),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn refusal_of_a_filter_is_not_replaced_by_a_stale_response() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=0, stale-if-error=60\r\nContent-Length: 3\r\n\r\none"
            .to_vec()
    })
    .await;
    let (close, closes) = watch::channel(false);
    let config = Config::to(&upstream).with("cache: {}");
    let gateway = Running::start(&config, |it| it.filter(Closing(closes))).await;
    assert_eq!(gateway.send(get("", "")).await.status(), 200);
    close.send_replace(true);
    let refused = gateway.send(get("", "")).await;
    assert_eq!((refused.status(), refused.error()["error"].as_str()), (403, Some("closed")));
}

#[tokio::test]
async fn response_that_a_filter_breaks_off_is_recognisably_incomplete_while_the_cache_fills() {
    let (go_on, goes_on) = watch::channel(false);
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let mut goes_on = goes_on.clone();
        async move {
            let _ = wire.head().await;
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
            wire.send(format!("{head}3\r\none\r\n")).await;
            let _ = goes_on.wait_for(|goes_on| *goes_on).await;
            let _ = wire.try_send("4\r\nstop\r\n0\r\n\r\n").await;
            let _ = wire.try_until(b"never").await;
        }
    })
    .await;
    let config = Config::to(&upstream).with("cache: {}");
    let gateway = Running::start(&config, |it| it.filter(Signing(BodyAccess::Chunks))).await;
    let mut wire = gateway.connect().await;
    wire.send("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(within("a head", wire.head()).await.status(), Some(200));
    assert!(within("the first part", wire.chunk()).await.is_some());
    let mut client = http2_client(&gateway).await;
    let request = http::Request::get("http://localhost/b").body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("sent");
    let mut body = within("a response", response).await.expect("a response").into_body();
    assert!(within("the first part", body.data()).await.is_some_and(|part| part.is_ok()));
    go_on.send_replace(true);
    assert!(within("the end", wire.read_to_end()).await.is_empty(), "no last chunk");
    within("a reset", body.data()).await.expect("no end").expect_err("a reset");
}
