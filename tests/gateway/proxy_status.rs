//! RFC 9209: an error of the gateway's own says so in `Proxy-Status`, and a service's answer does not.

use crate::support::{Config, Handshake, Upstream, respond};

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
async fn own_errors_have_it_and_a_services_do_not() {
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
async fn switched_off_it_is_not_there() {
    let upstream = Upstream::saying("ok").await;
    let gateway = config(&upstream).top("proxy_status: off").start().await;
    for target in ["/", "/n", "/%zz"] {
        let answer = gateway.get(target, &[]).await;
        assert!(answer.status() >= 400);
        assert_eq!(answer.head.get(FIELD), None, "{target}");
    }
}
