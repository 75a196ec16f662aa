//! TRACE, CONNECT and OPTIONS are answered as RFC 9110 says.

use tidegate_testing::http2::{END_HEADERS, END_STREAM, Frames, HEADERS, field};
use tidegate_testing::{Config, Upstream, get, ok};

#[tokio::test]
async fn trace_and_connect_are_answered_405() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    for request in [
        "TRACE / HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n",
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = gateway.send(request).await;
        assert_eq!(answer.status(), 405, "{request}");
        let allowed = answer.head.list("allow");
        for method in ["get", "head", "post", "put", "patch", "delete", "options"] {
            assert!(allowed.contains(&method.to_owned()), "RFC 9110, 15.5.6: {allowed:?}");
        }
        assert!(answer.text().contains("request_id"), "{request}");
        assert!(!answer.text().contains("secret"));
    }
    assert_eq!(upstream.connections(), 0);
    let config = Config::new().upstream("service", &[upstream.address()]);
    let gateway = config.route("get", "methods: [GET]", "service").start().await;
    let answer = gateway.send("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.head.list("allow"), ["get", "head"], "what the route takes");
}

#[tokio::test]
async fn rfc9110_7_6_2_max_forwards_of_options_is_decremented() {
    let upstream =
        Upstream::answering(|request| ok(&format!("{:?}", request.head.get("max-forwards")))).await;
    let gateway = Config::to(&upstream).listening("protocols: [h1, h2c]").start().await;
    let options =
        |hops: &str| get("/a", &[&format!("Max-Forwards: {hops}")]).replace("GET", "OPTIONS");
    for (hops, seen) in [("10", "9"), ("1", "0"), ("x", "x"), ("-1", "-1")] {
        let answer = gateway.send(options(hops)).await;
        assert_eq!(answer.text(), format!("{:?}", Some(seen)), "{hops}");
    }
    let passed = upstream.requests().len();
    for hops in ["0", "00"] {
        let answer = gateway.send(options(hops)).await;
        assert_eq!((answer.status(), answer.head.list("allow").len()), (204, 7), "{hops}");
    }
    let mut frames = Frames::connect(&gateway).await;
    let method = field(b":method", b"OPTIONS");
    let hops = field(b"max-forwards", b"0");
    let head = [&method[..], &[0x86, 0x84, 0x41, 1, b'a'], &hops].concat();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await.expect("sent");
    frames.next_of(HEADERS).await;
    let line = gateway.access("OPTIONS", |line| line["network.protocol.version"] == "2").await;
    assert_eq!(line["http.response.status_code"], 204, "{line}");
    assert_eq!(upstream.requests().len(), passed, "no further request is passed on");
    // Other methods may make as many as they like.
    let other = gateway.get("/a", &["Max-Forwards: 0"]).await;
    assert_eq!(other.text(), format!("{:?}", Some("0")));
}

#[tokio::test]
async fn rfc9110_9_3_7_options_asterisk_is_answered_by_the_gateway() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).listening("protocols: [h1, h2c]").start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..2 {
        wire.send("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").await;
        let answer = wire.response().await;
        assert_eq!(answer.status(), 204, "{}", answer.text());
        let allowed = answer.head.list("allow");
        assert_eq!(allowed, ["get", "head", "post", "put", "patch", "delete", "options"]);
    }
    for request in ["GET * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n"] {
        assert_eq!(gateway.send(request).await.status(), 400, "{request}");
    }
    let mut frames = Frames::connect(&gateway).await;
    let head =
        [&field(b":method", b"OPTIONS")[..], &[0x86], &field(b":path", b"*"), &[0x41, 1, b'a']];
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head.concat()).await.expect("sent");
    frames.next_of(HEADERS).await;
    let line = gateway.access("OPTIONS", |line| line["network.protocol.version"] == "2").await;
    assert_eq!(line["http.response.status_code"], 204, "{line}");
    assert_eq!(upstream.connections(), 0);
}
