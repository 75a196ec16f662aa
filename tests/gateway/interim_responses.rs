//! Interim responses (RFC 9110, section 15.2) reach clients that support them, without connection headers.

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tidegate_testing::{Config, Gateway, Upstream, Wire, get, http2, ok, respond, until, within};
use tokio::sync::Notify;

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
async fn interim_responses_reach_http11_and_not_http10() {
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

/// A client over HTTP/2 without TLS.
async fn client(gateway: &Gateway) -> SendRequest<Bytes> {
    http2::client(gateway.address()).await
}

/// What a GET over HTTP/2 gets: the interim responses, and the final one with its body.
async fn ask(
    client: &mut SendRequest<Bytes>,
) -> (Vec<http::Response<()>>, http::response::Parts, Vec<u8>) {
    let request = Request::get("http://a.test/").body(()).expect("a request");
    let (mut response, _) = client.send_request(request, true).expect("sent");
    let mut interim = Vec::new();
    let informed = async {
        loop {
            let next = poll_fn(|cx| match response.poll_informational(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Pin::new(&mut response).poll(cx).map(Err),
                Poll::Ready(Some(one)) => Poll::Ready(Ok(one)),
            });
            match next.await {
                Ok(one) => interim.push(one.expect("an interim response")),
                Err(last) => break last.expect("a response"),
            }
        }
    };
    let (head, mut body) = within("a response", informed).await.into_parts();
    let mut text = Vec::new();
    while let Some(piece) = within("a piece", body.data()).await {
        text.extend(piece.expect("a piece"));
    }
    (interim, head, text)
}

#[tokio::test]
async fn interim_responses_reach_http2() {
    let upstream = hinting().await;
    let gateway = Config::to(&upstream).listening("protocols: [h2c]").start().await;
    let mut client = client(&gateway).await;
    // The second request goes over a connection to the upstream that the first has used.
    for _ in 0..2 {
        let (interim, last, body) = ask(&mut client).await;
        let status: Vec<_> = interim.iter().map(|it| it.status().as_u16()).collect();
        assert_eq!(status, [103, 102]);
        let hints = interim[0].headers();
        assert_eq!(hints.get("link").expect("a link"), "</a.css>; rel=preload");
        assert_eq!(hints.len(), 1, "{hints:?}");
        assert_eq!((last.status.as_u16(), body.as_slice()), (200, &b"ok"[..]));
    }
    assert_eq!(gateway.access_of("/").await["http.response.status_code"], 200);
}

#[tokio::test]
async fn http2_gets_no_unrequested_100() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        wire.head().await;
        wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 X\r\nA: b\r\n\r\n").await;
        wire.send(ok("done")).await;
    })
    .await;
    let gateway = Config::to(&upstream).listening("protocols: [h2c]").start().await;
    let (interim, _, body) = ask(&mut client(&gateway).await).await;
    let status: Vec<_> = interim.iter().map(|it| it.status().as_u16()).collect();
    assert_eq!((status, body.as_slice()), (vec![199], &b"done"[..]));
}

#[tokio::test]
async fn rfc9110_10_1_1_expecting_http2_client_gets_one_100() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        let head = wire.head().await;
        // The second is one too many.
        wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
        wire.body(&head).await;
        wire.send(ok("done")).await;
    })
    .await;
    let gateway = Config::to(&upstream).listening("protocols: [h2c]").start().await;
    let request = Request::post("http://a.test/").header("expect", "100-continue").body(());
    let mut client = client(&gateway).await;
    let (mut response, mut body) =
        client.send_request(request.expect("a request"), false).expect("sent");
    let mut next =
        async || within("an interim response", poll_fn(|cx| response.poll_informational(cx))).await;
    let first = next().await.expect("one").expect("an interim response");
    assert_eq!(first.status(), 100, "before there is a body");
    body.send_data(Bytes::from_static(b"abc"), true).expect("sent");
    assert!(next().await.is_none(), "one is enough");
    let last = within("a response", response).await.expect("a response");
    assert_eq!(last.status(), 200);
}

#[tokio::test]
async fn interim_responses_over_http2_are_bounded() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        wire.head().await;
        let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "a".repeat(1000));
        for _ in 0..1000 {
            wire.send(&hint).await;
        }
        wire.send(ok("done")).await;
    })
    .await;
    let gateway = Config::to(&upstream).listening("protocols: [h2c]").start().await;
    let (interim, _, body) = ask(&mut client(&gateway).await).await;
    assert!((64..128).contains(&interim.len()), "{}", interim.len());
    assert_eq!(body, b"done");
}

#[tokio::test]
async fn reset_stream_gets_no_interim_response() {
    let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (resume, left) = (Arc::clone(&go), Arc::clone(&gone));
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let (resume, left) = (Arc::clone(&resume), Arc::clone(&left));
        async move {
            while let Some(head) = wire.try_head().await {
                if head.target() == "/reset" {
                    resume.notified().await;
                    let _ = wire.try_send("HTTP/1.1 103 Early Hints\r\n\r\n").await;
                    wire.read_to_end().await;
                    left.notify_one();
                    return;
                }
                wire.send("HTTP/1.1 103 Early Hints\r\n\r\n").await;
                wire.send(ok("done")).await;
            }
        }
    })
    .await;
    let gateway = Config::to(&upstream).listening("protocols: [h2c]").start().await;
    let mut client = client(&gateway).await;
    let request = Request::get("http://a.test/reset").body(()).expect("a request");
    let (response, mut stream) = client.send_request(request, true).expect("sent");
    until("the request", async || upstream.connections() == 1).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    go.notify_one();
    within("the end of the request", gone.notified()).await;
    let (interim, last, _) = ask(&mut client).await;
    assert_eq!((interim.len(), last.status.as_u16()), (1, 200));
}

#[tokio::test]
async fn interim_responses_reach_an_http2_websocket_handshake() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        let head = wire.head().await;
        let key = head.get("sec-websocket-key").expect("a key");
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        // The end of one head and the beginning of the next come together.
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 Pro").await;
        wire.send("cessing\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
            .await;
        wire.send(format!("Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n\x01"))
            .await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).listening("protocols: [h2c]").start().await;
    let mut client = client(&gateway).await;
    until("extended CONNECT", async || client.is_extended_connect_protocol_enabled()).await;
    let request = Request::connect("http://a.test/")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .expect("a handshake");
    let (mut response, _stream) = client.send_request(request, false).expect("sent");
    for status in [103, 102] {
        let next = poll_fn(|cx| response.poll_informational(cx));
        let next = within("an interim response", next).await.expect("one").expect("sound");
        assert_eq!(next.status().as_u16(), status);
    }
    assert_eq!(within("the answer", response).await.expect("an answer").status().as_u16(), 200);
}

#[tokio::test]
async fn early_hints_are_sent_once_for_a_cached_response() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let upstream = Upstream::answering(move |request| {
        let age = match request.head.target() {
            "/other" => "Cache-Control: no-store",
            _ => "Cache-Control: max-age=60",
        };
        [hints.as_bytes(), hints.as_bytes(), &respond("200 OK", &[age], "ok")[..]].concat()
    })
    .await;
    let config = Config::to(&upstream).with("cache: on").listening("protocols: [h1, h2c]");
    let gateway = config.start().await;
    let mut client = client(&gateway).await;
    for hints in [2, 0] {
        let (interim, last, body) = ask(&mut client).await;
        assert_eq!(
            (interim.len(), last.status.as_u16(), body.as_slice()),
            (hints, 200, &b"ok"[..])
        );
    }
    for target in ["/kept", "/other"] {
        let mut wire = gateway.connect().await;
        wire.send(get(target, &[])).await;
        for _ in 0..2 {
            assert_eq!(wire.head().await.status(), Some(103), "{target}");
        }
        let head = wire.head().await;
        assert_eq!(head.status(), Some(200), "{target}");
        assert_eq!(wire.body(&head).await, b"ok");
        wire.send("GET /kept HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.head().await.status(), Some(200), "{target}");
    }
}

#[tokio::test]
async fn connection_is_reused_after_an_upload_with_100() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        while let Some(head) = wire.try_head().await {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            wire.body(&head).await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..2 {
        wire.send(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        )
        .await;
        assert_eq!(wire.head().await.status(), Some(100));
        wire.send("abc").await;
        let answer = wire.response().await;
        assert_eq!((answer.status(), answer.head.only("connection")), (200, Some("keep-alive")));
    }
}
