//! RFC 9209: the gateway's own errors have `Proxy-Status`, a service's responses do not.

use tidegate_testing::{Config, Handshake, Upstream, respond};

const FIELD: &str = "proxy-status";

fn config(upstream: &Upstream) -> Config {
    Config::new()
        .upstream("service", &[upstream.address()])
        .upstream("nobody", &["127.0.0.1:1"])
        .route("service", "path_prefix: /s", "service")
        .route("nobody", "path_prefix: /n", "nobody")
        .route("closed", "path_prefix: /closed", "service")
        .with("websocket: off")
}

#[tokio::test]
async fn gateway_errors_have_proxy_status_and_upstream_errors_do_not() {
    let upstream = Upstream::answering(|_| respond("502 Oh", &["X-A: 1"], "theirs")).await;
    let gateway = config(&upstream).start().await;
    for (target, status, error, word) in [
        ("/", 404, "destination_not_found", "no_route"),
        ("/n", 502, "connection_refused", "upstream_unreachable"),
        ("/%zz", 400, "http_request_error", "bad_request"),
    ] {
        let answer = gateway.get(target, &[]).await;
        assert_eq!(answer.status(), status);
        let expected = format!("tidegate; error={error}; details=\"{word}\"");
        assert_eq!(answer.head.only(FIELD), Some(&*expected), "{target}");
    }
    let theirs = gateway.get("/s", &[]).await;
    assert_eq!((theirs.status(), theirs.head.get(FIELD)), (502, None));
    let refused = gateway.refused(&Handshake::to("/closed")).await;
    let expected = "tidegate; error=http_request_denied; details=\"websocket_off\"";
    assert_eq!(refused.head.only(FIELD), Some(expected));
}

#[tokio::test]
async fn proxy_status_off_removes_the_header() {
    let upstream = Upstream::saying("ok").await;
    let gateway = config(&upstream).top("proxy_status: off").start().await;
    for target in ["/", "/n", "/%zz"] {
        let answer = gateway.get(target, &[]).await;
        assert!(answer.status() >= 400);
        assert_eq!(answer.head.get(FIELD), None, "{target}");
    }
}

/// What is answered before there is a request, with the listener that does so.
const BEFORE_HTTP: [(&str, &str, u16, &str, &str); 5] = [
    ("", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http_request_error", "bad_request"),
    ("", "GET / HTTP/1.1\r\nHo st: a\r\n\r\n", 400, "http_request_error", "bad_request"),
    ("", "GET / HT", 400, "http_request_error", "bad_request"),
    (
        "protocols: [h2c]",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        505,
        "http_request_denied",
        "version_not_supported",
    ),
    (
        "proxy_protocol: {from: [127.0.0.0/8]}",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
        "http_request_error",
        "proxy_header_required",
    ),
];

#[tokio::test]
async fn connection_level_errors_have_proxy_status() {
    let upstream = Upstream::saying("ok").await;
    for (listener, sent, status, error, word) in BEFORE_HTTP {
        for is_on in [true, false] {
            let config = if listener.is_empty() {
                config(&upstream)
            } else {
                config(&upstream).listening(listener)
            };
            let config = if is_on { config } else { config.top("proxy_status: off") };
            let gateway = config.start().await;
            let mut wire = gateway.connect().await;
            wire.send(sent).await;
            wire.finish().await;
            let answer = wire.response().await;
            assert_eq!(answer.status(), status, "{sent}");
            assert_eq!(answer.error()["error"], word);
            let expected = format!("tidegate; error={error}; details=\"{word}\"");
            assert_eq!(answer.head.only(FIELD), is_on.then_some(&*expected), "{sent}");
        }
    }
}
