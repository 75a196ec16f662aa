//! Filters that see bodies, over real sockets: whole and part by part, over HTTP/1.1 and HTTP/2.

use bytes::Bytes;
use http::StatusCode;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use tidegate::filter::{
    self, BodyAccess, Filter, Flow, Outcome, Reply, Request, RequestBody, ResponseBody,
    UpstreamRequest,
};
use tidegate::{Gateway, async_trait};
use tidegate_testing::{Config, Response, Upstream, Wire, free_port, http2, ok, until, within};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A gateway in this process, with filters of the test's own.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) async fn start(config: &Config, with: impl FnOnce(Gateway) -> Gateway) -> Self {
        let port = free_port();
        let config = config.clone().listening("protocols: [h1, h2c]").top("shutdown: {grace: 1s}");
        let config = tidegate::Config::from_yaml(&config.yaml(port));
        Self::run(with(Gateway::from_config(config)), port).await
    }

    /// Runs a gateway that listens on this port.
    pub(super) async fn run(gateway: Gateway, port: u16) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let gateway = gateway.ignore_signals().with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let thread = std::thread::spawn(move || gateway.run().expect("a gateway that runs"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("the gateway listens", || async { TcpStream::connect(address).await.is_ok() }).await;
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub(super) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends a request over HTTP/1.1 on a connection of its own.
    pub(super) async fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut wire = self.connect().await;
        wire.send(request).await;
        within("a response", wire.response()).await
    }

    /// Sends a request over HTTP/2 whose body comes in these parts, the last of which ends it.
    async fn send_over_http2(
        &self,
        parts: &[&'static [u8]],
    ) -> Result<(StatusCode, Vec<u8>), h2::Error> {
        let mut client = http2::client(self.address).await;
        let request = http::Request::post("http://localhost/hook").body(()).expect("a request");
        let (response, mut body) = client.send_request(request, parts.is_empty())?;
        for (index, part) in parts.iter().enumerate() {
            let mut part = Bytes::from_static(part);
            while !part.is_empty() {
                body.reserve_capacity(part.len());
                let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
                let Some(Ok(room)) = room else { break };
                let _ = body.send_data(part.split_to(room.min(part.len())), false);
            }
            if index + 1 == parts.len() {
                let _ = body.send_data(Bytes::new(), true);
            }
        }
        let (head, mut body) = within("a response", response).await?.into_parts();
        let mut received = Vec::new();
        while let Some(part) = within("a part", body.data()).await {
            let part = part?;
            let _ = body.flow_control().release_capacity(part.len());
            received.extend_from_slice(&part);
        }
        Ok((head.status, received))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request with these headers and this body.
pub(super) fn post(headers: &str, body: &str) -> String {
    format!("POST /hook HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n{body}")
}

fn with_length(body: &str) -> String {
    post(&format!("Content-Length: {}\r\n", body.len()), body)
}

fn in_chunks(chunks: &[&str]) -> String {
    let mut body: String =
        chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    body.push_str("0\r\n\r\n");
    post("Transfer-Encoding: chunked\r\n", &body)
}

/// Lets through whole bodies that begin with `good`, in capitals.
pub(super) struct Signed {
    pub(super) max: usize,
}

#[async_trait]
impl Filter for Signed {
    fn request_body(&self) -> BodyAccess {
        BodyAccess::Whole { max: self.max }
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        assert!(body.is_end() && body.offset() == 0);
        if !body.bytes().starts_with(b"good") {
            let reply = Reply::error(StatusCode::UNAUTHORIZED, "bad_signature", "it is not signed");
            return Ok(Flow::Respond(reply));
        }
        body.replace(body.bytes().to_ascii_uppercase());
        Ok(Flow::Continue)
    }
}

#[tokio::test]
async fn whole_body_is_collected_changed_and_forwarded_with_its_length() {
    let upstream = Upstream::saying("hello").await;
    let gateway =
        Running::start(&Config::to(&upstream), |it| it.filter(Signed { max: 1 << 20 })).await;
    let large = format!("good{}", "x".repeat(200_000));
    for (nth, body) in ["good", "good morning", &large].iter().enumerate() {
        let (first, rest) = body.split_at(3);
        assert_eq!(gateway.send(with_length(body)).await.status(), 200);
        assert_eq!(gateway.send(in_chunks(&[first, rest])).await.status(), 200);
        let parts: [&'static [u8]; 2] =
            [first, rest].map(|part| Box::leak(part.as_bytes().to_vec().into_boxed_slice()) as _);
        let (status, answer) = gateway.send_over_http2(&parts).await.expect("an answer");
        assert_eq!((status.as_u16(), &*answer), (200, &b"hello"[..]));
        let requests = upstream.requests();
        for request in &requests[nth * 3..] {
            assert_eq!(request.body, body.to_ascii_uppercase().into_bytes());
            assert_eq!(request.head.get("content-length"), Some(&*body.len().to_string()));
            assert_eq!(request.head.get("transfer-encoding"), None);
        }
        assert_eq!(requests.len(), nth * 3 + 3);
    }
}

#[tokio::test]
async fn connection_serves_further_requests_after_a_whole_body() {
    let upstream = Upstream::saying("hello").await;
    let gateway =
        Running::start(&Config::to(&upstream), |it| it.filter(Signed { max: 1 << 20 })).await;
    let mut wire = gateway.connect().await;
    for request in [
        with_length(&format!("good{}", "y".repeat(100_000))),
        with_length("good"),
        with_length("bad"),
        with_length("good"),
    ] {
        wire.send(request).await;
        let status = within("a response", wire.response()).await.status();
        assert!(matches!(status, 200 | 401), "{status}");
    }
    // Two at once: the second is read after the first has been answered.
    wire.send(format!("{}{}", with_length("good1"), with_length("good2"))).await;
    for _ in 0..2 {
        assert_eq!(within("a response", wire.response()).await.status(), 200);
    }
    let bodies: Vec<_> = upstream.requests().iter().map(|it| it.body.len()).collect();
    assert_eq!(bodies, [100_004, 4, 4, 5, 5]);
}

#[tokio::test]
async fn refused_body_reaches_no_upstream() {
    let upstream = Upstream::saying("hello").await;
    let gateway =
        Running::start(&Config::to(&upstream), |it| it.filter(Signed { max: 1 << 20 })).await;
    for request in [with_length("bad"), in_chunks(&["b", "ad"]), post("", "")] {
        let refused = gateway.send(request).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.error()["error"], "bad_signature");
    }
    let (status, _) = gateway.send_over_http2(&[b"bad", b"ly"]).await.expect("an answer");
    assert_eq!(status, 401);
    let (status, _) = gateway.send_over_http2(&[]).await.expect("an answer");
    assert_eq!(status, 401, "no body is none that is signed");
    let handshake = "GET /hook HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(gateway.send(handshake).await.status(), 401);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn body_over_the_bound_is_refused_with_413() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Running::start(&Config::to(&upstream), |it| it.filter(Signed { max: 8 })).await;
    let chunked = post("Transfer-Encoding: chunked\r\n", "9\r\ngood12345\r\n");
    for request in [with_length("good12345"), chunked] {
        let refused = gateway.send(request).await;
        assert_eq!(refused.status(), 413);
        assert_eq!(refused.error()["error"], "body_too_large");
        assert!(refused.text().contains("at most 8 bytes"), "{}", refused.text());
    }
    let (status, _) = gateway.send_over_http2(&[b"good12", b"345"]).await.expect("an answer");
    assert_eq!(status, 413);
    assert_eq!(upstream.connections(), 0);
    assert_eq!(gateway.send(with_length("good1234")).await.status(), 200);
}

#[tokio::test]
async fn client_that_expects_100_is_asked_for_the_body_unless_it_is_too_large() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Running::start(&Config::to(&upstream), |it| it.filter(Signed { max: 8 })).await;
    let mut wire = gateway.connect().await;
    wire.send(post("Content-Length: 4\r\nExpect: 100-continue\r\n", "")).await;
    assert_eq!(within("an interim response", wire.head()).await.status(), Some(100));
    wire.send("good").await;
    assert_eq!(within("a response", wire.response()).await.status(), 200);
    assert_eq!(upstream.only_request().await.head.get("expect"), None);
    let refused = gateway.send(post("Content-Length: 9\r\nExpect: 100-continue\r\n", "")).await;
    assert_eq!(refused.status(), 413);
}

#[tokio::test]
async fn body_that_does_not_arrive_in_time_is_answered_408() {
    let upstream = Upstream::saying("hello").await;
    let config = Config::to(&upstream).top("limits: {body_timeout: 200ms}");
    let gateway = Running::start(&config, |it| it.filter(Signed { max: 1 << 20 })).await;
    let refused = gateway.send(post("Content-Length: 9\r\n", "good")).await;
    assert_eq!(refused.status(), 408);
    assert_eq!(refused.error()["error"], "request_timeout");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn each_attempt_sends_the_body_that_filters_have_made() {
    let upstream = Upstream::answering(|request| match request.connection {
        1 => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .to_vec(),
        _ => ok("hello"),
    })
    .await;
    let config = Config::to(&upstream).with("retry: {attempts: 3, on: [\"503\"], backoff: 1ms}");
    let gateway = Running::start(&config, |it| it.filter(Signed { max: 1 << 20 })).await;
    let body = format!("good{}", "x".repeat(150_000));
    let request = in_chunks(&[&body]).replace("POST ", "PUT ");
    assert_eq!(gateway.send(request).await.status(), 200);
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.body, body.to_ascii_uppercase().into_bytes());
    }
}

/// Counts what passes, and changes parts where it may; refuses from a word on.
pub(super) struct Passing(pub(super) BodyAccess);

#[async_trait]
impl Filter for Passing {
    fn request_body(&self) -> BodyAccess {
        self.0
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        if body.bytes().starts_with(b"stop") {
            return Err(filter::Error::status(StatusCode::IM_A_TEAPOT, "no further").code("stop"));
        }
        let mut doubled = body.bytes().to_vec();
        doubled.extend_from_slice(body.bytes());
        body.replace(doubled);
        Ok(Flow::Continue)
    }
}

#[tokio::test]
async fn parts_pass_before_the_body_is_complete_and_may_change_in_length() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        let head = wire.head().await;
        assert_eq!(head.get("content-length"), None);
        let first = wire.chunk().await.expect("a chunk");
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        wire.send(format!("{:x}\r\n{}\r\n", first.len(), String::from_utf8_lossy(&first))).await;
        while let Some(chunk) = wire.chunk().await {
            wire.send(format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(&chunk)))
                .await;
        }
        wire.send("0\r\n\r\n").await;
    })
    .await;
    let config = Config::to(&upstream);
    let gateway = Running::start(&config, |it| it.filter(Passing(BodyAccess::Chunks))).await;
    let mut wire = gateway.connect().await;
    wire.send(post("Content-Length: 6\r\n", "abc")).await;
    let head = within("a head", wire.head()).await;
    assert_eq!(head.status(), Some(200));
    assert_eq!(within("the first part", wire.chunk()).await.as_deref(), Some(&b"abcabc"[..]));
    wire.send("def").await;
    assert_eq!(within("the second part", wire.chunk()).await.as_deref(), Some(&b"defdef"[..]));
    assert_eq!(within("the end", wire.chunk()).await, None);
}

#[tokio::test]
async fn observer_changes_nothing() {
    let upstream = Upstream::saying("hello").await;
    let config = Config::to(&upstream);
    let gateway = Running::start(&config, |it| it.filter(Passing(BodyAccess::Observe))).await;
    assert_eq!(gateway.send(with_length("abc")).await.status(), 200);
    let request = upstream.only_request().await;
    assert_eq!(request.body, b"abc");
    assert_eq!(request.head.get("content-length"), Some("3"));
}

#[tokio::test]
async fn filter_that_fails_on_a_part_chooses_the_status() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        let _ = wire.try_head().await;
        let _ = wire.read_to_end().await;
    })
    .await;
    let config = Config::to(&upstream);
    let gateway = Running::start(&config, |it| it.filter(Passing(BodyAccess::Chunks))).await;
    let refused = gateway.send(with_length("stop it")).await;
    assert_eq!(refused.status(), 418);
    assert_eq!(refused.error()["error"], "stop");
    assert_eq!(refused.error()["message"], "no further");
    let (status, _) = gateway.send_over_http2(&[b"stop it"]).await.expect("an answer");
    assert_eq!(status, 418);
}

/// Answers, framed by a length.
pub(super) fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Answers, framed by chunks.
pub(super) fn chunked_answer(chunks: &[&str]) -> String {
    let mut text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    text.extend(chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())));
    text.push_str("0\r\n\r\n");
    text
}

/// Writes the request's path behind each part of a response; fails at `stop`.
pub(super) struct Signing(pub(super) BodyAccess);

#[derive(Clone)]
struct Path(String);

#[async_trait]
impl Filter for Signing {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        let path = Path(request.path().to_owned());
        request.exchange_mut().store_mut().insert(path);
        Ok(Flow::Continue)
    }

    fn response_body(&self) -> BodyAccess {
        self.0
    }

    fn on_response_body(&self, body: &mut ResponseBody<'_>) -> Result<(), filter::Error> {
        if body.bytes().starts_with(b"stop") {
            return Err(filter::Error::status(StatusCode::BAD_GATEWAY, "it must stop"));
        }
        assert_eq!(body.status(), 200);
        let mut signed = body.bytes().to_vec();
        if !signed.is_empty() {
            let path = body.exchange().store().get::<Path>().map(|path| path.0.clone());
            signed.extend(format!("({} {})", body.offset(), path.unwrap_or_default()).bytes());
        }
        body.replace(signed);
        Ok(())
    }

    fn on_end(&self, outcome: &Outcome<'_>) {
        assert!(outcome.exchange.store().get::<Path>().is_some(), "the store is back");
    }
}

#[tokio::test]
async fn whole_response_is_collected_and_changed() {
    let upstream = Upstream::answering(|request| match request.head.target() {
        "/chunked" => chunked_answer(&["one", "two"]).into_bytes(),
        "/empty" => answer("").into_bytes(),
        _ => answer("three").into_bytes(),
    })
    .await;
    let access = BodyAccess::Whole { max: 100 };
    let gateway = Running::start(&Config::to(&upstream), |it| it.filter(Signing(access))).await;
    let mut wire = gateway.connect().await;
    for (path, expected) in [
        ("/chunked", "onetwo(0 /chunked)"),
        ("/length", "three(0 /length)"),
        ("/empty", ""),
        ("/chunked", "onetwo(0 /chunked)"),
    ] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let response = within("a response", wire.response()).await;
        assert_eq!((response.status(), response.text().as_str()), (200, expected));
    }
    let head = "HEAD /length HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    wire.send(head).await;
    let head = String::from_utf8(within("a head", wire.read_to_end()).await).expect("text");
    assert!(
        !head.to_lowercase().contains("content-length") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let (status, body) = gateway.send_over_http2(&[]).await.expect("an answer");
    assert_eq!((status.as_u16(), &*body), (200, &b"three(0 /hook)"[..]));
}

#[tokio::test]
async fn response_parts_are_not_held_back() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        let _ = wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none").await;
        let _ = wire.head().await;
    })
    .await;
    let gateway =
        Running::start(&Config::to(&upstream), |it| it.filter(Signing(BodyAccess::Chunks))).await;
    let mut wire = gateway.connect().await;
    wire.send("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(within("a head", wire.head()).await.get("content-length"), None);
    let part = within("the first part", wire.chunk()).await;
    assert_eq!(part.as_deref(), Some(&b"one(0 /a)"[..]));
}

#[tokio::test]
async fn response_over_the_bound_is_answered_502_or_broken_off() {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let mut receiver = receiver.clone();
        async move {
            let head = wire.head().await;
            if head.target() == "/length" {
                return wire.send(answer("12345")).await;
            }
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            wire.send(format!("{head}2\r\n12\r\n")).await;
            let _ = receiver.wait_for(|goes_on| *goes_on).await;
            wire.send("3\r\n345\r\n").await;
            let _ = wire.try_until(b"never").await;
        }
    })
    .await;
    let access = BodyAccess::Whole { max: 4 };
    let gateway = Running::start(&Config::to(&upstream), |it| it.filter(Signing(access))).await;
    let refused = gateway.send("GET /length HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(refused.status(), 502);
    assert_eq!(refused.error()["error"], "filter_failed");
    let mut wire = gateway.connect().await;
    wire.send("GET /chunked HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(within("a head", wire.head()).await.status(), Some(200));
    let mut client = http2::client(gateway.address).await;
    let request = http::Request::get("http://localhost/chunked").body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("sent");
    let mut body = within("a head", response).await.expect("a head").into_body();
    sender.send_replace(true);
    assert!(within("the end", wire.read_to_end()).await.is_empty(), "no last chunk");
    let error = within("a reset", body.data()).await.expect("no end").expect_err("a reset");
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn filter_that_fails_after_the_head_breaks_the_response_off() {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let mut receiver = receiver.clone();
        async move {
            let _ = wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
            let _ = receiver.wait_for(|goes_on| *goes_on).await;
            wire.send("4\r\nstop\r\n0\r\n\r\n").await;
            let _ = wire.try_until(b"never").await;
        }
    })
    .await;
    let gateway =
        Running::start(&Config::to(&upstream), |it| it.filter(Signing(BodyAccess::Chunks))).await;
    let mut wire = gateway.connect().await;
    wire.send("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(within("a head", wire.head()).await.status(), Some(200));
    assert!(within("the first part", wire.chunk()).await.is_some());
    let mut client = http2::client(gateway.address).await;
    let request = http::Request::get("http://localhost/b").body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("sent");
    let mut body = within("a response", response).await.expect("a response").into_body();
    assert!(within("the first part", body.data()).await.is_some_and(|part| part.is_ok()));
    sender.send_replace(true);
    assert!(within("the end", wire.read_to_end()).await.is_empty(), "no last chunk");
    let error = within("a reset", body.data()).await.expect("no end").expect_err("a reset");
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn cached_responses_are_shown_each_time() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\none".to_vec()
    })
    .await;
    let config = Config::to(&upstream).with("cache: {}");
    for access in [BodyAccess::Whole { max: 100 }, BodyAccess::Chunks] {
        let gateway = Running::start(&config, |it| it.filter(Signing(access))).await;
        for _ in 0..3 {
            let response = gateway.send("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
            assert_eq!(response.text(), "one(0 /a)");
            let (_, body) = gateway.send_over_http2(&[]).await.expect("an answer");
            assert_eq!(body, b"one(0 /hook)");
        }
    }
}

/// Fails in the hook that the test names.
struct Failing(&'static str);

#[async_trait]
impl Filter for Failing {
    async fn on_request(&self, _: &mut Request<'_>) -> Result<Flow, filter::Error> {
        match self.0 {
            "on_request" => Err(std::io::Error::other("a reason for the log"))?,
            _ => Ok(Flow::Continue),
        }
    }

    fn on_forward(&self, _: &mut UpstreamRequest<'_>) -> Result<(), filter::Error> {
        match self.0 {
            "on_forward" => Err(filter::Error::status(StatusCode::BAD_GATEWAY, "no key")
                .code("no_key")
                .source(std::io::Error::other("a reason for the log"))),
            _ => Ok(()),
        }
    }

    async fn on_response(&self, _: &mut filter::Response<'_>) -> Result<(), filter::Error> {
        match self.0 {
            "on_response" => Err(filter::Error::status(StatusCode::CONFLICT, "not like this")),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn filter_chooses_the_status_that_it_fails_with() {
    let upstream = Upstream::saying("hello").await;
    for (hook, status, code, message) in [
        ("on_request", 500, "internal_error", None),
        ("on_forward", 502, "no_key", Some("no key")),
        ("on_response", 409, "filter_failed", Some("not like this")),
    ] {
        let gateway = Running::start(&Config::to(&upstream), |it| it.filter(Failing(hook))).await;
        let failed = gateway.send(with_length("a")).await;
        assert_eq!((failed.status(), failed.error()["error"].as_str()), (status, Some(code)));
        assert!(!failed.text().contains("a reason for the log"), "{}", failed.text());
        if let Some(message) = message {
            assert_eq!(failed.error()["message"], message);
        }
    }
}

/// An upstream over HTTP/2 that sends each body back, with its announced length in front and trailers behind.
pub(super) async fn http2_echo() -> SocketAddr {
    http2::serve(|request, mut respond| async move {
        let (head, mut body) = request.into_parts();
        let length = head.headers.get("content-length");
        let length = length.and_then(|it| it.to_str().ok()).unwrap_or("none");
        let mut answer = format!("{length}:").into_bytes();
        while let Some(Ok(part)) = body.data().await {
            let _ = body.flow_control().release_capacity(part.len());
            answer.extend_from_slice(&part);
        }
        let mut sent =
            respond.send_response(http::Response::new(()), false).expect("a head is sent");
        let _ = sent.send_data(answer.into(), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-trailer", http::HeaderValue::from_static("there"));
        let _ = sent.send_trailers(trailers);
    })
    .await
}

#[tokio::test]
async fn bodies_are_seen_on_their_way_to_and_from_http2_upstreams() {
    let upstream = http2_echo().await;
    let config = Config::to_address(upstream).speaking("protocols: [h2c]");
    let gateway = Running::start(&config, |it| it.filter(Signed { max: 1 << 20 })).await;
    let (_, body) = gateway.send_over_http2(&[b"good ", b"one"]).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&body), "8:GOOD ONE");
    assert_eq!(gateway.send(in_chunks(&["good", " one"])).await.text(), "8:GOOD ONE");
    assert_eq!(gateway.send(with_length("bad")).await.status(), 401);
    let large = format!("good{}", "x".repeat(200_000));
    assert_eq!(gateway.send(in_chunks(&[&large])).await.body.len(), "200004:".len() + large.len());

    let gateway = Running::start(&config, |it| it.filter(Passing(BodyAccess::Chunks))).await;
    let (_, body) = gateway.send_over_http2(&[b"ab"]).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&body), "none:abab");
    assert_eq!(gateway.send(with_length("ab")).await.text(), "none:abab");

    for access in [BodyAccess::Chunks, BodyAccess::Whole { max: 100 }] {
        let gateway = Running::start(&config, |it| it.filter(Signing(access))).await;
        let (_, body) = gateway.send_over_http2(&[b"ab"]).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&body), "none:ab(0 /hook)");
        assert_eq!(gateway.send(with_length("ab")).await.text(), "2:ab(0 /hook)");
    }
}

#[tokio::test]
async fn response_is_changed_before_it_is_compressed_and_for_clients_without_chunks() {
    let upstream = Upstream::answering(|_| {
        let body = "one ".repeat(1000);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4000\r\n\r\n";
        format!("{head}{body}").into_bytes()
    })
    .await;
    let config = Config::to(&upstream).top("compression: on");
    let access = BodyAccess::Whole { max: 5000 };
    let gateway = Running::start(&config, |it| it.filter(Signing(access))).await;
    let expected = format!("{}(0 /a)", "one ".repeat(1000));
    let old = gateway.send("GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert_eq!((old.head.get("transfer-encoding"), old.text()), (None, expected));
    let get = "GET /a HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n";
    let compressed = gateway.send(get).await;
    assert_eq!(compressed.head.get("content-encoding"), Some("gzip"));
    assert!(compressed.body.len() < 1000 && compressed.body.starts_with(&[0x1f, 0x8b]));
}
