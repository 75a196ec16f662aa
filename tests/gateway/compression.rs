//! Responses are compressed for clients that accept it, where compression is allowed.

use futures_util::SinkExt;
use std::io::Read;
use tidegate_testing::{Config, Gateway, Handshake, Response, Upstream, next, respond};
use tokio_tungstenite::tungstenite::Message;

/// Long enough to be worth it.
fn page() -> String {
    "All work and no play makes Jack a dull boy.\n".repeat(400)
}

async fn gateway(settings: &str, fields: &'static [&'static str]) -> (Gateway, Upstream) {
    let upstream = Upstream::answering(move |_| respond("200 OK", fields, &page())).await;
    (Config::to(&upstream).top(&format!("compression: {settings}")).start().await, upstream)
}

fn decoded(answer: &Response) -> String {
    let mut text = String::new();
    let body = &answer.body[..];
    match answer.head.only("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_string(&mut text),
        Some("zstd") => {
            zstd::stream::read::Decoder::new(body).and_then(|mut it| it.read_to_string(&mut text))
        }
        _ => return answer.text(),
    }
    .expect("a whole stream");
    text
}

#[tokio::test]
async fn each_client_gets_its_preferred_coding() {
    let fields = &["Content-Type: text/html", "ETag: \"v1\"", "Accept-Ranges: bytes"];
    let (gateway, _upstream) = gateway("on", fields).await;
    for (accept, coding) in [
        ("gzip", Some("gzip")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", Some("br")),
        ("gzip;q=0", None),
        ("identity", None),
    ] {
        let answer = gateway.get("/", &[&format!("Accept-Encoding: {accept}")]).await;
        assert_eq!(answer.head.only("content-encoding"), coding, "{accept}");
        assert_eq!(decoded(&answer), page(), "{accept}");
        assert_eq!(answer.head.list("vary"), ["accept-encoding"], "{accept}");
        if coding.is_some() {
            assert!(answer.body.len() < page().len() / 10, "{accept}: {}", answer.body.len());
            assert_eq!(answer.head.only("etag"), Some("W/\"v1\""));
            assert_eq!(answer.head.get("accept-ranges"), None);
            assert_eq!(answer.head.get("content-length"), None);
        } else {
            assert_eq!(answer.head.only("etag"), Some("\"v1\""));
            assert_eq!(answer.body.len(), page().len());
        }
    }
    let line = gateway
        .access("a compressed answer", |line| {
            line["http.response.body.size"].as_u64().is_some_and(|size| size < 2000)
        })
        .await;
    assert_eq!(line["http.response.status_code"], 200, "the log counts what was sent");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_keeps_the_connection() {
    let (gateway, _upstream) = gateway("on", &["Content-Type: text/html"]).await;
    let mut wire = gateway.connect().await;
    wire.send("HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!((head.only("content-encoding"), head.get("content-length")), (Some("br"), None));
    wire.send(tidegate_testing::get("/", &["Accept-Encoding: gzip"])).await;
    assert_eq!(decoded(&wire.response().await), page());
    // A client of HTTP/1.0 knows no chunks.
    let old = gateway.send("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").await;
    assert_eq!((old.head.get("content-encoding"), old.text()), (None, page()));
}

#[tokio::test]
async fn excluded_responses_are_not_compressed() {
    for fields in [
        &["Content-Type: text/html", "Cache-Control: no-transform"][..],
        &["Content-Type: text/html", "Content-Encoding: identity"],
        &["Content-Type: text/event-stream"],
        &["Content-Type: image/png"],
        &[],
    ] {
        let (gateway, _upstream) = gateway("on", fields).await;
        let answer = gateway.get("/", &["Accept-Encoding: gzip"]).await;
        assert_ne!(answer.head.get("content-encoding"), Some("gzip"), "{fields:?}");
        assert_eq!(answer.body, page().as_bytes(), "{fields:?}");
    }
    let parts = Upstream::answering(|request| {
        let fields = &["Content-Type: text/html", "Content-Range: bytes 0-3999/5000"];
        match request.head.target() {
            "/part" => respond("206 Partial Content", fields, &page()[..4000]),
            "/short" => respond("200 OK", &["Content-Type: text/html"], &page()[..1023]),
            _ => b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n".to_vec(),
        }
    })
    .await;
    let gateway = Config::to(&parts).top("compression: on").start().await;
    for target in ["/part", "/short", "/same"] {
        let answer = gateway.get(target, &["Accept-Encoding: gzip"]).await;
        assert_eq!(answer.head.get("content-encoding"), None, "{target}");
    }
}

#[tokio::test]
async fn compression_is_off_by_default_and_set_per_route() {
    let upstream =
        Upstream::answering(|_| respond("200 OK", &["Content-Type: text/html"], &page())).await;
    let address = [upstream.address()];
    let config = Config::new()
        .upstream("service", &address)
        .route("off", "path_prefix: /off", "service")
        .route("on", "path_prefix: /on", "service")
        .with("compression: {algorithms: [gzip], min_size: 10B, types: [text/html], levels: {gzip: 9}}");
    let gateway = config.clone().start().await;
    let all = ["Accept-Encoding: gzip, br, zstd"];
    assert_eq!(gateway.get("/off", &all).await.head.get("content-encoding"), None);
    assert_eq!(gateway.get("/on", &all).await.head.only("content-encoding"), Some("gzip"));
    let gateway = Config::new()
        .top("compression: on")
        .upstream("service", &address)
        .route("off", "path_prefix: /off", "service")
        .with("compression: off")
        .answer("own", "path: /own", "respond:")
        .with(&format!("  body: {:?}", page()))
        .start()
        .await;
    assert_eq!(gateway.get("/off", &all).await.head.get("content-encoding"), None);
    let own = gateway.get("/own", &all).await;
    assert_eq!((own.head.only("content-encoding"), decoded(&own)), (Some("zstd"), page()));
}

#[tokio::test]
async fn streamed_response_is_compressed_without_delay() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        while wire.try_head().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n").await;
            wire.until("never").await;
        }
    })
    .await;
    let gateway = Config::to(&upstream).top("compression: on").start().await;
    for coding in ["gzip", "br", "zstd"] {
        let mut wire = gateway.connect().await;
        wire.send(tidegate_testing::get("/", &[&format!("Accept-Encoding: {coding}")])).await;
        assert_eq!(wire.head().await.only("content-encoding"), Some(coding));
        let chunk = wire.chunk().await.expect("the first piece, before there is another");
        assert!(!chunk.is_empty(), "{coding}");
    }
}

#[tokio::test]
async fn truncated_body_stays_truncated_when_compressed() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        if wire.try_head().await.is_some() {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20000\r\n\r\n";
            wire.send(format!("{head}{}", &page()[..4000])).await;
        }
    })
    .await;
    let gateway = Config::to(&upstream).top("compression: on").start().await;
    let mut wire = gateway.connect().await;
    wire.send(tidegate_testing::get("/", &["Accept-Encoding: gzip"])).await;
    let head = wire.head().await;
    assert_eq!(head.only("content-encoding"), Some("gzip"));
    let rest = wire.read_to_end().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "no last chunk: the client sees that it broke off");
}

#[tokio::test]
async fn websocket_messages_are_not_compressed() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).top("compression: on").start().await;
    let handshake = Handshake::to("/ws").set("Accept-Encoding", "gzip");
    let (head, mut socket) = handshake.open(&gateway).await;
    assert_eq!((head.get("content-encoding"), head.get("vary")), (None, None));
    socket.send(Message::text(page())).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text(page())));
}

#[tokio::test]
async fn http2_client_gets_compressed_responses() {
    let upstream =
        Upstream::answering(|_| respond("200 OK", &["Content-Type: text/html"], &page())).await;
    let gateway = Config::to(&upstream)
        .top("compression: on")
        .listening("protocols: [h1, h2c]")
        .start()
        .await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let url = format!("http://{}/", gateway.address());
    let answer = client.get(url).header("accept-encoding", "gzip").send().await.expect("an answer");
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let body = answer.bytes().await.expect("a body");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).expect("a whole stream");
    assert_eq!(text, page());
}

#[tokio::test]
async fn digests_of_the_uncompressed_body_are_removed() {
    const FIELDS: &[&str] = &[
        "Content-Type: text/html",
        "Digest: sha-256=x",
        "Repr-Digest: sha-256=:x:",
        "Content-Digest: sha-256=:x:",
        "Content-MD5: x",
    ];
    let (gateway, _upstream) = gateway("on", FIELDS).await;
    let names = ["digest", "repr-digest", "content-digest", "content-md5"];
    let compressed = gateway.get("/", &["Accept-Encoding: gzip"]).await;
    assert_eq!(decoded(&compressed), page());
    assert_eq!(compressed.head.only("content-encoding"), Some("gzip"));
    for name in names {
        assert_eq!(compressed.head.get(name), None, "{name}");
    }
    let plain = gateway.get("/", &[]).await;
    for name in names {
        assert!(plain.head.only(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn rfc9110_8_4_1_3_x_gzip_is_accepted_as_gzip() {
    let (gateway, _upstream) = gateway("on", &["Content-Type: text/html"]).await;
    let answer = gateway.get("/", &["Accept-Encoding: x-gzip"]).await;
    assert_eq!(answer.head.only("content-encoding"), Some("gzip"));
    assert_eq!(decoded(&answer), page());
}

#[tokio::test]
async fn rfc9110_15_4_5_304_has_the_etag_and_vary_of_the_200() {
    let upstream = Upstream::answering(|request| {
        let fields = ["ETag: \"v1\"", "Content-Type: text/html"];
        match request.head.get("if-none-match") {
            Some(_) => respond("304 Not Modified", &fields[..1], ""),
            None => respond("200 OK", &fields, &page()),
        }
    })
    .await;
    for route in ["", "cache: {default_ttl: 1m}"] {
        let config = Config::to(&upstream).top("compression: on");
        let config = if route.is_empty() { config } else { config.with(route) };
        let gateway = config.start().await;
        for (accept, etag) in [("Accept-Encoding: gzip", "W/\"v1\""), ("Accept: */*", "\"v1\"")] {
            let whole = gateway.get("/", &[accept]).await;
            assert_eq!(whole.head.only("etag"), Some(etag));
            let none = gateway.get("/", &[accept, &format!("If-None-Match: {etag}")]).await;
            assert_eq!(none.status(), 304, "{route} {accept}");
            assert_eq!(none.head.only("etag"), Some(etag), "{route} {accept}");
            assert_eq!(none.head.list("vary"), whole.head.list("vary"), "{route} {accept}");
        }
    }
}

#[tokio::test]
async fn rfc9110_15_3_7_206_has_the_vary_of_the_200() {
    let upstream = Upstream::answering(|request| {
        let html = "Content-Type: text/html";
        match request.head.target() {
            "/part" => respond(
                "206 Partial Content",
                &[html, "Content-Range: bytes 0-3999/5000"],
                &page()[..4000],
            ),
            _ => respond("200 OK", &[html], &page()),
        }
    })
    .await;
    let gateway = Config::to(&upstream).top("compression: on").start().await;
    let part = gateway.get("/part", &["Range: bytes=0-3999", "Accept-Encoding: gzip"]).await;
    assert_eq!((part.status(), part.head.only("vary")), (206, Some("Accept-Encoding")));
    assert_eq!(part.head.get("content-encoding"), None);
    let old = gateway.send("GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
    assert_eq!(old.head.only("vary"), Some("Accept-Encoding"));
    assert_eq!((old.head.get("content-encoding"), old.text()), (None, page()));
}
