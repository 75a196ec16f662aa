//! The bytes of bodies that filters read whole are limited: those of one client, and all together.

use crate::body_hooks::{Running, Signing, chunked_answer, post};
use std::net::SocketAddr;
use tidegate::async_trait;
use tidegate::filter::{self, BodyAccess, Filter, Flow, RequestBody};
use tidegate_testing::{Admin, Config, Metrics, Response, Upstream, Wire, ok, until, within};
use tokio::net::TcpSocket;
use tokio::sync::watch;

/// Wants bodies whole, and makes one byte of a body that begins with `shrink`.
struct Reading;

#[async_trait]
impl Filter for Reading {
    fn request_body(&self) -> BodyAccess {
        BodyAccess::Whole { max: 1 << 20 }
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        if body.bytes().starts_with(b"shrink") {
            body.replace("s");
        }
        Ok(Flow::Continue)
    }
}

/// A gateway whose upstream answers requests with a body when the test lets it.
struct Holding {
    gateway: Running,
    upstream: Upstream,
    admin: Admin,
    go_on: watch::Sender<bool>,
}

impl Holding {
    async fn start(limits: &str) -> Self {
        let (go_on, goes_on) = watch::channel(false);
        let upstream = Upstream::scripted(move |mut wire: Wire, recorder| {
            let mut goes_on = goes_on.clone();
            async move {
                while let Some(head) = wire.try_head().await {
                    wire.body(&head).await;
                    recorder.record(&head);
                    let _ = goes_on.wait_for(|goes_on| *goes_on).await;
                    wire.send(ok("done")).await;
                }
            }
        })
        .await;
        let admin = Admin::new();
        let config = Config::to(&upstream).top(&admin.section());
        let config = config.top(&format!("limits: {{{limits}}}"));
        let gateway = Running::start(&config, |it| it.filter(Reading)).await;
        Self { gateway, upstream, admin, go_on }
    }

    /// A connection from another address of this machine.
    async fn connect_from(&self, last: u8) -> Wire {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("an address");
        Wire::new(within("a connection", socket.connect(self.gateway.address)).await.expect("one"))
    }

    /// Sends a request whose body is held until the end of the test.
    async fn hold(&self, last: u8, body: &str) -> Wire {
        let before = self.upstream.requests().len();
        let mut wire = self.connect_from(last).await;
        wire.send(with_length(body)).await;
        self.upstream.request(before).await;
        wire
    }

    async fn send_from(&self, last: u8, request: impl AsRef<[u8]>) -> Response {
        let mut wire = self.connect_from(last).await;
        wire.send(request).await;
        within("a response", wire.response()).await
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let answer = self.admin.send(reqwest::Method::GET, "/metrics", None).await;
        Metrics::parse(&answer.text().await.expect("text")).value(name, labels)
    }

    async fn shed(&self, limit: &str) -> f64 {
        self.metric("tidegate_requests_shed_total", &[("limit", limit)]).await
    }

    async fn until_held(&self, bytes: f64) {
        until("the bytes are counted", async || {
            self.metric("tidegate_collected_body_bytes", &[]).await == bytes
        })
        .await;
    }
}

fn with_length(body: &str) -> String {
    post(&format!("Content-Length: {}\r\n", body.len()), body)
}

fn bytes(count: usize) -> String {
    "x".repeat(count)
}

fn refusal(response: &Response) -> (u16, String, bool) {
    let code = response.error()["error"].as_str().unwrap_or_default().to_owned();
    (response.status(), code, response.head.get("retry-after").is_some())
}

#[tokio::test]
async fn client_whose_bodies_are_too_large_together_gets_429_and_others_are_served() {
    let limits = "collected_bodies: 1000B, collected_bodies_per_client: 100B";
    let holding = Holding::start(limits).await;
    let mut held = holding.hold(2, &bytes(60)).await;
    let refused = holding.send_from(2, with_length(&bytes(41))).await;
    assert_eq!(refusal(&refused), (429, "too_many_requests".to_owned(), true));
    let chunked = format!("29\r\n{}\r\n0\r\n\r\n", bytes(0x29));
    let refused = holding.send_from(2, post("Transfer-Encoding: chunked\r\n", &chunked)).await;
    assert_eq!(refusal(&refused), (429, "too_many_requests".to_owned(), true));
    assert_eq!(holding.shed("collected_bodies_per_client").await, 2.0);
    holding.until_held(60.0).await;
    // Of one client there is room for these, of another for more.
    let mut other = holding.hold(3, &bytes(100)).await;
    let mut more = holding.hold(2, &bytes(40)).await;
    holding.until_held(200.0).await;
    holding.go_on.send_replace(true);
    for wire in [&mut held, &mut other, &mut more] {
        assert_eq!(within("a response", wire.response()).await.status(), 200);
    }
    holding.until_held(0.0).await;
    assert_eq!(holding.send_from(2, with_length(&bytes(100))).await.status(), 200);
    assert_eq!(holding.upstream.requests().len(), 4, "what is refused reaches no upstream");
}

#[tokio::test]
async fn body_that_is_larger_than_the_limit_of_one_client_gets_413() {
    let holding = Holding::start("collected_bodies_per_client: 100B").await;
    let chunked = format!("65\r\n{}\r\n0\r\n\r\n", bytes(0x65));
    for request in [with_length(&bytes(101)), post("Transfer-Encoding: chunked\r\n", &chunked)] {
        let refused = holding.send_from(2, request).await;
        assert_eq!(refusal(&refused), (413, "body_too_large".to_owned(), false));
        assert!(refused.text().contains("at most 100 bytes"), "{}", refused.text());
    }
    assert_eq!(holding.shed("collected_bodies_per_client").await, 0.0);
    holding.until_held(0.0).await;
}

#[tokio::test]
async fn bodies_of_all_clients_that_are_too_large_together_get_503() {
    let limits = "collected_bodies: 100B, collected_bodies_per_client: 90B";
    let holding = Holding::start(limits).await;
    let mut held = holding.hold(2, &bytes(60)).await;
    let refused = holding.send_from(3, with_length(&bytes(41))).await;
    assert_eq!(refusal(&refused), (503, "overloaded".to_owned(), true));
    assert_eq!(holding.shed("collected_bodies").await, 1.0);
    let mut other = holding.hold(3, &bytes(40)).await;
    holding.go_on.send_replace(true);
    for wire in [&mut held, &mut other] {
        assert_eq!(within("a response", wire.response()).await.status(), 200);
    }
    holding.until_held(0.0).await;
}

#[tokio::test]
async fn bytes_count_while_they_arrive_and_no_more_after_the_client_has_left() {
    let holding = Holding::start("collected_bodies: 100B, collected_bodies_per_client: 60B").await;
    let mut arriving = holding.connect_from(2).await;
    arriving.send(post("Content-Length: 60\r\n", &bytes(50))).await;
    holding.until_held(50.0).await;
    let refused = holding.send_from(2, with_length(&bytes(11))).await;
    assert_eq!(refusal(&refused), (429, "too_many_requests".to_owned(), true));
    drop(arriving);
    holding.until_held(0.0).await;
}

#[tokio::test]
async fn body_counts_as_the_filters_have_left_it() {
    let holding = Holding::start("collected_bodies: 100B, collected_bodies_per_client: 60B").await;
    let _held = holding.hold(2, &format!("shrink{}", bytes(54))).await;
    holding.until_held(1.0).await;
    let _more = holding.hold(2, &bytes(59)).await;
    holding.until_held(60.0).await;
}

#[tokio::test]
async fn whole_responses_count_until_filters_have_seen_them() {
    let (go_on, goes_on) = watch::channel(false);
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let mut goes_on = goes_on.clone();
        async move {
            while let Some(head) = wire.try_head().await {
                if head.target() == "/slow" {
                    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                    wire.send(format!("{head}3c\r\n{}\r\n", bytes(60))).await;
                    let _ = goes_on.wait_for(|goes_on| *goes_on).await;
                    wire.send("0\r\n\r\n").await;
                } else if wire.try_send(chunked_answer(&[&bytes(41)])).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let admin = Admin::new();
    let config = Config::to(&upstream).top(&admin.section());
    let config = config.top("limits: {collected_bodies: 100B, collected_bodies_per_client: 100B}");
    let access = BodyAccess::Whole { max: 1000 };
    let gateway = Running::start(&config, |it| it.filter(Signing(access))).await;
    let holding = Holding { gateway, upstream, admin, go_on };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut slow = holding.connect_from(2).await;
    slow.send(get("/slow")).await;
    holding.until_held(60.0).await;
    for (last, limit) in [(2, "collected_bodies_per_client"), (3, "collected_bodies")] {
        let mut refused = holding.connect_from(last).await;
        refused.send(get("/fast")).await;
        let answer = within("the end", refused.read_to_end()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let is_broken_off = !answer.ends_with("0\r\n\r\n") && !answer.contains("xxx");
        assert!(is_broken_off || answer.contains("\"error\""), "{answer}");
        assert_eq!(holding.shed(limit).await, 1.0);
    }
    holding.go_on.send_replace(true);
    let response = within("a response", slow.response()).await;
    assert_eq!(response.text(), format!("{}(0 /slow)", bytes(60)));
    holding.until_held(0.0).await;
    let mut again = holding.connect_from(3).await;
    again.send(get("/fast")).await;
    let response = within("a response", again.response()).await;
    assert_eq!(response.text(), format!("{}(0 /fast)", bytes(41)));
}
