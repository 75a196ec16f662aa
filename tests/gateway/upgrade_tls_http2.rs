//! A new process takes over without a failed request over TLS or HTTP/2.

use crate::upgrade::{Line, config};
use bytes::Bytes;
use futures_util::future::poll_fn;
use http::Request;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;
use tidegate_testing::http2::{DATA, END_HEADERS, END_STREAM, Frames, GET, HEADERS};
use tidegate_testing::{Authority, Client, Upstream, Wire, get, ok, until, within};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The load goes on through so many of them.
const UPGRADES: usize = 6;

/// Who asks, and until when.
#[derive(Clone)]
struct Asking {
    client: Client,
    gateway: SocketAddr,
    enough: Arc<AtomicBool>,
    /// Connections by HTTP/2 that have come to their end.
    farewells: Arc<AtomicUsize>,
}

impl Asking {
    fn is_enough(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    /// Request after request on kept connections by HTTP/1.1, or on one each.
    async fn by_http1(self, keeps: bool) -> usize {
        let mut answered = 0;
        while !self.is_enough() {
            let stream = self.client.try_connect_to(self.gateway, "site.test").await;
            let mut wire = Wire::over(stream.expect("a handshake"));
            loop {
                let fields: &[&str] = if keeps { &[] } else { &["Connection: close"] };
                wire.send(get("/one", fields)).await;
                let answer = wire.response().await;
                assert_eq!((answer.status(), answer.text().as_str()), (200, "/one"));
                answered += 1;
                let is_last = answer.head.list("connection").contains(&"close".to_owned());
                if is_last || self.is_enough() {
                    break;
                }
            }
        }
        answered
    }

    /// The same by HTTP/2, several at a time on each connection.
    async fn by_http2(self) -> usize {
        let mut answered = 0;
        while !self.is_enough() {
            let client = self.client.clone().offering(&["h2"]);
            let stream = client.try_connect_to(self.gateway, "site.test").await;
            let stream = stream.expect("a handshake");
            let (mut send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            let connection = tokio::spawn(connection);
            'connection: while !self.is_enough() {
                let mut answers = Vec::new();
                for _ in 0..4 {
                    let request = Request::get("https://site.test/two").body(()).expect("it");
                    let ready = within("room", poll_fn(|cx| send.poll_ready(cx))).await;
                    let sent = ready.and_then(|()| send.send_request(request, true));
                    let Ok((answer, _)) = sent else { break };
                    answers.push(answer);
                }
                let is_over = answers.len() < 4;
                for answer in answers {
                    // What went before the farewell is answered.
                    let answer = within("an answer", answer).await.expect("no request fails");
                    assert_eq!(answer.status(), 200);
                    let mut body = answer.into_body();
                    let mut text = Vec::<u8>::new();
                    while let Some(part) = within("a part", body.data()).await {
                        let part: Bytes = part.expect("the whole body");
                        let _ = body.flow_control().release_capacity(part.len());
                        text.extend(part);
                    }
                    assert_eq!(text, b"/two");
                    answered += 1;
                }
                if is_over {
                    break 'connection;
                }
            }
            drop(send);
            // The gateway may be gone before the client has taken its own leave.
            if let Err(error) = within("the end", connection).await.expect("it runs") {
                assert!(error.is_io(), "{error}");
            }
            if !self.is_enough() {
                self.farewells.fetch_add(1, Ordering::Relaxed);
            }
        }
        answered
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tls_or_http2_request_fails_during_upgrades() {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let (authority, folder) = (Authority::new(), TempDir::new().expect("a folder"));
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let tls = format!(
        "tls: {{certificates: [{{cert: \"{}\", key: \"{}\"}}]}}",
        at("site.pem"),
        at("site.key")
    );
    let mut line = Line::start(&config(&upstream).listening(&tls)).await;
    let asking = Asking {
        client: authority.client(),
        gateway: line.gateway.address(),
        enough: Arc::default(),
        farewells: Arc::default(),
    };
    let mut all = JoinSet::new();
    for _ in 0..2 {
        all.spawn(asking.clone().by_http1(true));
        all.spawn(asking.clone().by_http1(false));
        all.spawn(asking.clone().by_http2());
    }
    for number in 1..=UPGRADES {
        line.upgraded().await;
        // Both have moved once more.
        until("connections by HTTP/2 to move", async || {
            asking.farewells.load(Ordering::Relaxed) >= 2 * number
        })
        .await;
    }
    asking.enough.store(true, Ordering::Relaxed);
    let mut answered = 0;
    while let Some(result) = all.join_next().await {
        answered += result.expect("no request failed");
    }
    assert!(answered > UPGRADES * 20, "{answered} requests are no load");
}

#[tokio::test]
async fn http2_connection_gets_goaway_and_finishes_its_streams() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&opened);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                gate.notified().await;
                if wire.try_send(ok("at last")).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let h2c = config(&upstream).listening("protocols: [h1, h2c]");
    let mut line = Line::start(&h2c).await;
    let mut client = Frames::connect(&line.gateway).await;
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, GET).await.expect("a request");
    upstream.request(0).await;
    line.upgraded().await;
    // RFC 9113, section 6.8.
    assert_eq!(client.goaway().await, Some(0), "NO_ERROR");
    gate.notify_one();
    assert_eq!(client.next_of(DATA).await.payload, b"at last");
}
