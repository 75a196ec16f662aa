//! Connections of clients and of upstreams are kept, reused and closed as HTTP/1.1 says.

use tidegate_testing::{Config, Upstream, get, ok, within};

#[tokio::test]
async fn connections_are_reused_on_both_sides() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..5 {
        wire.send(get("/", &[])).await;
        assert_eq!(wire.response().await.text(), "ok");
    }
    let connections: Vec<_> =
        upstream.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [1; 5]);
}

#[tokio::test]
async fn connection_close_is_honoured() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &["Connection: close"])).await;
    let answer = wire.response().await;
    assert_eq!(answer.text(), "ok");
    assert!(answer.head.list("connection").contains(&"close".to_owned()));
    assert!(wire.is_ended().await);
}

#[tokio::test]
async fn request_is_resent_when_a_kept_connection_was_closed() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        wire.send(ok("once")).await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..10 {
        wire.send(get("/", &[])).await;
        assert_eq!(wire.response().await.text(), "once");
    }
}

#[tokio::test]
async fn rfc9112_9_3_2_pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(["/1", "/2", "/3"].map(|target| get(target, &[])).concat()).await;
    for target in ["/1", "/2", "/3"] {
        let head = wire.head().await;
        assert_eq!(wire.body(&head).await, target.as_bytes());
    }
    let forwarded: Vec<_> =
        upstream.requests().iter().map(|request| request.head.target().to_owned()).collect();
    assert_eq!(forwarded, ["/1", "/2", "/3"], "each is passed on once");
}

#[tokio::test]
async fn client_disconnect_closes_the_upstream_connection() {
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            recorder.record(&head);
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
            wire.read_to_end().await;
            let _ = sender.send(());
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    wire.until("hi").await;
    drop(wire);
    within("the upstream's end", ended.recv()).await;
}

#[tokio::test]
async fn rfc9112_9_3_2_pipelined_request_may_arrive_in_pieces() {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let gateway = Config::to(&upstream).start().await;
    let posted = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let second = get("/second", &["X-Own: a \"b\" c"]);
    for first in [get("/first", &[]).as_str(), posted] {
        for cut in 1..second.len() {
            let mut wire = gateway.connect().await;
            let (begin, rest) = second.split_at(cut);
            wire.send(format!("{first}{begin}")).await;
            assert_eq!(wire.response().await.text(), "/first");
            wire.send(rest).await;
            assert_eq!(wire.response().await.text(), "/second", "{begin:?}");
            let seen = upstream.requests().last().expect("a request").head.clone();
            assert_eq!(seen.only("x-own"), Some("a \"b\" c"));
        }
    }
    // A body that ends anyhow is no beginning of a head: what follows is judged as ever.
    let mut wire = gateway.connect().await;
    wire.send(posted).await;
    assert_eq!(wire.response().await.text(), "/first");
    wire.send("GET  /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let refused = wire.response().await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().contains("one space"), "{}", refused.text());
}
