//! Interim responses (RFC 9110, section 15.2) pass to clients that know them, without what is of the
//! upstream's connection.

use crate::support::{Config, Upstream, Wire, get};

/// An upstream that has two things to say first.
async fn hinting() -> Upstream {
    Upstream::scripted(|mut wire: Wire, _| async move {
        while wire.try_head().await.is_some() {
            wire.send(
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\n\
                 X-Hop: 1\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\
                 Upgrade: h2c\r\n\r\n\
                 HTTP/1.1 102 Processing\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )
            .await;
        }
    })
    .await
}

#[tokio::test]
async fn http11_gets_them_and_http10_does_not() {
    let upstream = hinting().await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    let hints = wire.head().await;
    assert_eq!(hints.status(), Some(103));
    assert_eq!(hints.get("link"), Some("</a.css>; rel=preload"));
    for gone in ["connection", "x-hop", "keep-alive", "transfer-encoding", "upgrade"] {
        assert_eq!(hints.get(gone), None, "{}", hints.text);
    }
    assert_eq!(wire.head().await.status(), Some(102));
    let answer = wire.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));

    let mut wire = gateway.connect().await;
    wire.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.status(), Some(200));
}
