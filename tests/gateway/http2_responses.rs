//! Responses between HTTP/1 and HTTP/2: framing, connection headers, `Expect: 100-continue`.

use tidegate_testing::http2::{
    self, DATA, END_HEADERS, END_STREAM, Frame, Frames, GET, HEADERS, SETTINGS, field, frame,
    get_over_http2,
};
use tidegate_testing::{Config, Gateway, Upstream, Wire, get, respond, within};

/// `:status: 200`, `204` and `304` of HPACK's static table.
const OK: u8 = 0x88;
const NO_CONTENT: u8 = 0x89;
const NOT_MODIFIED: u8 = 0x8b;

/// An upstream over HTTP/2 that answers each request, when its body is whole, with these frames.
async fn answering<F>(answer: F) -> Upstream
where
    F: Fn(u32) -> Vec<u8> + Clone + Send + Sync + 'static,
{
    Upstream::scripted(move |mut wire: Wire, _| {
        let answer = answer.clone();
        async move {
            wire.send(frame(SETTINGS, 0, 0, &[])).await;
            let _ = wire.try_exactly(24).await;
            while let Some(head) = wire.try_exactly(9).await {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let Some(_) = wire.try_exactly(length).await else { return };
                let (kind, flags) = (head[3], head[4]);
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                if kind == SETTINGS && flags & 1 == 0 {
                    wire.send(frame(SETTINGS, 1, 0, &[])).await;
                }
                if [HEADERS, DATA].contains(&kind) && flags & END_STREAM != 0 {
                    wire.send(answer(stream)).await;
                }
            }
        }
    })
    .await
}

/// A response with this status in HPACK, these fields and a body.
fn response(stream: u32, status: u8, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let fields = fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes()));
    let head: Vec<u8> = std::iter::once(status).chain(fields).collect();
    let head = frame(HEADERS, END_HEADERS, stream, &head);
    [head, frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

fn over_http2(upstream: &Upstream) -> Config {
    Config::to(upstream).speaking("protocols: [h2c]").listening("protocols: [h1, h2c]")
}

#[tokio::test]
async fn rfc9112_6_1_http10_client_gets_no_chunks() {
    let upstream =
        answering(|stream| response(stream, OK, &[("content-type", "text/html")], "hello")).await;
    for compression in ["off", "on"] {
        let config = over_http2(&upstream).with(&format!("compression: {compression}"));
        let gateway = config.start().await;
        for more in ["", "Connection: keep-alive\r\n", "Accept-Encoding: gzip\r\n"] {
            let mut wire = gateway.connect().await;
            wire.send(format!("GET / HTTP/1.0\r\nHost: a\r\n{more}\r\n")).await;
            let head = wire.head().await;
            assert_eq!(head.get("transfer-encoding"), None, "{}", head.text);
            assert_eq!(head.only("connection"), Some("close"), "{}", head.text);
            assert_eq!(wire.read_to_end().await, b"hello", "{more}");
        }
        let answer = gateway.get("/", &[]).await;
        assert_eq!(answer.head.only("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.text(), "hello");
    }
}

#[tokio::test]
async fn http10_connection_is_kept_when_the_length_is_known() {
    let upstream =
        answering(|stream| response(stream, OK, &[("content-length", "5")], "hello")).await;
    let gateway = over_http2(&upstream).start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..2 {
        wire.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").await;
        let answer = wire.response().await;
        assert_eq!(answer.head.only("connection"), Some("keep-alive"), "{}", answer.head.text);
        assert_eq!(answer.text(), "hello");
    }
}

/// The frames of the answer to a GET, up to the last.
async fn frames(gateway: &Gateway) -> Vec<Frame> {
    let mut client = Frames::connect(gateway).await;
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, GET).await.expect("sent");
    let mut frames = Vec::new();
    loop {
        let frame = client.next().await.expect("a frame");
        if frame.stream != 1 || ![HEADERS, DATA].contains(&frame.kind) {
            continue;
        }
        let is_last = frame.flags & END_STREAM != 0;
        frames.push(frame);
        if is_last {
            return frames;
        }
    }
}

#[tokio::test]
async fn rfc9110_15_3_5_no_data_follows_a_204_or_304() {
    for status in [NO_CONTENT, NOT_MODIFIED] {
        let upstream = answering(move |stream| response(stream, status, &[], "hello")).await;
        let gateway = over_http2(&upstream).start().await;
        let frames = frames(&gateway).await;
        assert_eq!(frames[0].kind, HEADERS);
        assert!(frames[1..].iter().all(|frame| frame.payload.is_empty()), "{frames:?}");
        let mut wire = gateway.connect().await;
        wire.send(get("/", &["Connection: close"])).await;
        let head = wire.head().await;
        assert!(matches!(head.status(), Some(204 | 304)));
        assert_eq!(wire.read_to_end().await, b"");
    }
}

#[tokio::test]
async fn rfc9113_8_2_1_whitespace_around_response_values_is_trimmed() {
    let upstream = answering(|stream| {
        let fields = [("x-a", " b "), ("x-a", "\tc"), ("x-b", "d e")];
        response(stream, OK, &fields, "hello")
    })
    .await;
    let gateway = over_http2(&upstream).start().await;
    let head = get_over_http2(&gateway, "/", &[]).await;
    let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["b", "c"]);
    assert_eq!(head.headers["x-b"], "d e");
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.text(), "hello");
    assert!(answer.head.text.contains(": b\r\n"), "{}", answer.head.text);
}

#[tokio::test]
async fn whitespace_around_trailer_values_is_trimmed() {
    let upstream = answering(|stream| {
        let body = frame(DATA, 0, stream, b"hello");
        let trailers =
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &field(b"x-checksum", b" 1\t"));
        [frame(HEADERS, END_HEADERS, stream, &[OK]), body, trailers].concat()
    })
    .await;
    let gateway = over_http2(&upstream).start().await;
    let mut client = http2::client(gateway.address()).await;
    let request = http::Request::get("http://a.test/").body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("sent");
    let mut body = within("a response", response).await.expect("a response").into_body();
    while let Some(data) = within("data", body.data()).await {
        data.expect("data");
    }
    let trailers = within("trailers", body.trailers()).await.expect("trailers");
    assert_eq!(trailers.expect("trailers")["x-checksum"], "1");
}

#[tokio::test]
async fn connection_headers_of_the_upstream_are_removed() {
    let upstream = Upstream::answering(|_| {
        let fields = [
            "TE: gzip",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Upgrade: h2c",
            "X-Own: 1",
        ];
        respond("200 OK", &fields, "hello")
    })
    .await;
    let gateway = Config::to(&upstream).listening("protocols: [h1, h2c]").start().await;
    let gone = ["te", "http2-settings", "keep-alive", "proxy-connection", "upgrade"];
    let answer = gateway.get("/", &[]).await;
    let over_http2 = get_over_http2(&gateway, "/x", &[]).await;
    for name in gone {
        assert_eq!(answer.head.get(name), None, "{}", answer.head.text);
        assert!(!over_http2.headers.contains_key(name), "{over_http2:?}");
    }
    assert_eq!((answer.text().as_str(), answer.head.only("x-own")), ("hello", Some("1")));
    assert_eq!(
        (over_http2.status.as_u16(), &over_http2.headers["x-own"]),
        (200, &"1".parse().expect("a value"))
    );
    assert_eq!(gateway.access_of("/x").await["http.response.status_code"], 200);
}

/// A service over HTTP/2 that says whether it got an `Expect`, and how long the body was.
async fn expecting() -> std::net::SocketAddr {
    http2::serve(|request, mut respond| async move {
        let expects = request.headers().contains_key("expect");
        let mut body = request.into_body();
        let mut length = 0;
        while let Some(Ok(data)) = body.data().await {
            length += data.len();
        }
        let response = http::Response::builder()
            .header("x-expects", expects.to_string())
            .header("x-length", length);
        let response = response.body(()).expect("a response");
        respond.send_response(response, true).expect("sent");
    })
    .await
}

#[tokio::test]
async fn rfc9110_10_1_1_expecting_client_gets_a_100() {
    let address = expecting().await;
    let gateway = Config::to_address(address).speaking("protocols: [h2c]").start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..2 {
        wire.send(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        )
        .await;
        assert_eq!(wire.head().await.status(), Some(100), "before there is a body");
        wire.send("abc").await;
        let head = wire.head().await;
        assert_eq!(head.status(), Some(200));
        assert_eq!(head.only("x-expects"), Some("false"), "the upstream is not asked");
        assert_eq!(head.only("x-length"), Some("3"));
        wire.body(&head).await;
    }
    // RFC 9110, section 10.1.1: HTTP/1.0 knows no expectations.
    let mut wire = gateway.connect().await;
    wire.send("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(wire.head().await.status(), Some(200));
}
