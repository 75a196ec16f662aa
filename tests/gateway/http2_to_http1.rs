//! An HTTP/2 request is forwarded as exactly one HTTP/1.1 request, or not at all (RFC 9113, sections 8.1.1, 8.2 and
//! 10.3).

use std::sync::{Arc, Mutex};
use tidegate_testing::http2::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, field, frame,
};
use tidegate_testing::{Config, Gateway, Head, Upstream, Wire, ok};

/// What came on each connection.
type Written = Arc<Mutex<Vec<Vec<u8>>>>;

/// An upstream that writes down every byte of each connection.
async fn recording() -> (Upstream, Written) {
    let written = Written::default();
    let keeps = Arc::clone(&written);
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let written = Arc::clone(&keeps);
        let number = {
            let mut written = written.lock().expect("the bytes");
            written.push(Vec::new());
            written.len() - 1
        };
        let keep = move |bytes: Vec<u8>| {
            written.lock().expect("the bytes")[number].extend(bytes);
        };
        async move {
            while let Some(bytes) = wire.try_until(b"\r\n\r\n").await {
                let head = Head::parse(&String::from_utf8_lossy(&bytes));
                keep(bytes);
                let length = head.get("content-length").and_then(|it| it.parse().ok());
                for _ in 0..length.unwrap_or(0_usize) {
                    let Some(byte) = wire.try_exactly(1).await else { return };
                    keep(byte);
                }
                if wire.try_send(ok("answered")).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (upstream, written)
}

async fn gateway() -> (Gateway, Upstream, Written) {
    let (upstream, written) = recording().await;
    let gateway =
        Config::to(&upstream).with("retry: off").listening("protocols: [h1, h2c]").start().await;
    (gateway, upstream, written)
}

/// A head in HPACK: these, with the pseudo-fields of a good request where they are not given.
fn head(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let default: [(&[u8], &[u8]); 4] = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"a.test"),
        (b":path", b"/case"),
    ];
    let given = |name: &[u8]| fields.iter().any(|(own, _)| *own == name);
    let pseudo = default.iter().filter(|(name, _)| !given(name)).copied();
    let own = fields.iter().filter(|(name, _)| name.starts_with(b":")).copied();
    let rest = fields.iter().filter(|(name, _)| !name.starts_with(b":")).copied();
    pseudo.chain(own).chain(rest).flat_map(|(name, value)| field(name, value)).collect()
}

/// Sends a request and waits until the gateway has answered, reset the stream, or gone; then
/// another good one. Returns what the upstream was sent for the first.
async fn sent_on(fields: &[(&[u8], &[u8])], body: &[&[u8]], ends: bool) -> String {
    let (gateway, _upstream, written) = gateway().await;
    let mut client = Frames::connect(&gateway).await;
    let flags = if body.is_empty() && ends { END_HEADERS | END_STREAM } else { END_HEADERS };
    let mut all = frame(HEADERS, flags, 1, &head(fields));
    for (number, part) in body.iter().enumerate() {
        let last = ends && number + 1 == body.len();
        all.extend(frame(DATA, if last { END_STREAM } else { 0 }, 1, part));
    }
    let _ = client.send_all(&all).await;
    loop {
        let Some(frame) = client.next().await else { break };
        let is_over = frame.kind == RST_STREAM
            || [HEADERS, DATA].contains(&frame.kind) && frame.flags & END_STREAM != 0;
        if frame.stream == 1 && is_over {
            break;
        }
    }
    let answer = gateway.get("/control", &[]).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "answered"), "{fields:?}");
    // All but the good request, which must be one of its own.
    let (mut sent, mut controls) = (String::new(), 0);
    for connection in written.lock().expect("the bytes").iter() {
        let connection = String::from_utf8_lossy(connection);
        match connection.split_once("GET /control HTTP/1.1\r\n") {
            None => sent.push_str(&connection),
            Some((before, control)) => {
                controls += 1;
                sent.push_str(before);
                let end = control.split_once("\r\n\r\n").expect("a whole head").1;
                sent.push_str(end);
            }
        }
    }
    assert_eq!(controls, 1, "{fields:?}");
    sent
}

#[tokio::test]
async fn valid_request_is_forwarded() {
    let sent = sent_on(&[(b"content-length", b"5"), (b"x", b"y")], &[b"hel", b"lo"], true).await;
    assert!(sent.starts_with("POST /case HTTP/1.1\r\n") && sent.ends_with("hello"), "{sent:?}");
    assert!(sent.contains("\r\nx: y\r\n"), "{sent:?}");
}

#[tokio::test]
async fn header_with_a_line_break_is_not_forwarded() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"x", b"y\r\nsmuggled: 1"),
        (b"x", b"y\nsmuggled: 1"),
        (b"x", b"y\rsmuggled: 1"),
        (b"x", b"y\0smuggled"),
        (b"x", b"y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"x\r\nsmuggled", b"1"),
        (b"x: y\r\nsmuggled", b"1"),
        (b"x smuggled", b"1"),
        (b"x:smuggled", b"1"),
        (b"X-Smuggled", b"1"),
        (b"", b"smuggled"),
        (b":smuggled", b"1"),
        (b":path", b"/case HTTP/1.1\r\nsmuggled: 1\r\nx: "),
        (b":path", b"/case smuggled"),
        (b":path", b"smuggled"),
        (b":path", b""),
        (b":method", b"GET /smuggled HTTP/1.1\r\nx: "),
        (b":method", b"GET /smuggled"),
        (b":authority", b"a.test\r\nsmuggled: 1"),
        (b":authority", b"a.test smuggled"),
        (b":scheme", b"http\r\nsmuggled: 1"),
    ];
    for case in cases {
        let sent = sent_on(&[*case], &[], true).await;
        assert_eq!(sent, "", "{:?}", String::from_utf8_lossy(case.1));
    }
}

#[tokio::test]
async fn connection_specific_headers_are_refused() {
    // RFC 9113, section 8.2.2.
    for (name, value) in [
        (&b"transfer-encoding"[..], &b"chunked"[..]),
        (b"transfer-encoding", b"identity"),
        (b"connection", b"close"),
        (b"connection", b"x-forwarded-for"),
        (b"proxy-connection", b"keep-alive"),
        (b"keep-alive", b"timeout=5"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
    ] {
        let smuggled: &[&[u8]] = &[b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"];
        let sent = sent_on(&[(name, value)], smuggled, true).await;
        assert_eq!(
            sent,
            "",
            "{}: {}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value)
        );
    }
}

#[tokio::test]
async fn body_that_differs_from_content_length_is_not_forwarded() {
    // RFC 9113, section 8.1.1.
    let more: &[&[u8]] = &[b"12345GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"];
    type Field = (&'static [u8], &'static [u8]);
    let cases: &[(&[Field], &[&[u8]])] = &[
        (&[(b"content-length", b"5")], more),
        (&[(b"content-length", b"0")], more),
        (&[(b"content-length", b"50")], &[b"short"]),
        (&[(b"content-length", b"5")], &[]),
        (&[(b"content-length", b"5"), (b"content-length", b"6")], &[b"hello"]),
        (&[(b"content-length", b"+5")], &[b"hello"]),
        (&[(b"content-length", b"5, 5")], &[b"hello"]),
        (&[(b"content-length", b"0x5")], &[b"hello"]),
        (&[(b"content-length", b"99999999999999999999")], &[b"hello"]),
    ];
    for (fields, body) in cases {
        let sent = sent_on(fields, body, true).await;
        assert!(!sent.contains("smuggled"), "{fields:?}: {sent:?}");
        // What has begun already is never whole.
        let whole = sent.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = Head::parse(head).get("content-length").and_then(|it| it.parse().ok());
            // A head that promises nothing may be on its way before a body comes that must not.
            length == Some(body.len()) && !body.is_empty()
        });
        assert!(!whole, "{fields:?}: {sent:?}");
    }
}

#[tokio::test]
async fn request_with_two_hosts_is_not_forwarded() {
    // RFC 9113, section 8.3.1.
    for fields in [
        &[(&b"host"[..], &b"smuggled.test"[..])][..],
        &[(b"host", b"a.test"), (b"host", b"smuggled.test")],
        &[(b":authority", b"smuggled@a.test")],
    ] {
        let sent = sent_on(fields, &[], true).await;
        assert!(!sent.contains("smuggled"), "{fields:?}: {sent:?}");
        assert!(sent.matches("ost: ").count() <= 1, "{sent:?}");
    }
}

#[tokio::test]
async fn host_and_authority_are_compared_as_hosts() {
    for (authority, host) in [
        ("a.test", "a.test"),
        ("A.test", "a.test"),
        ("a.test", "a.test:80"),
        ("a.test:80", "A.TEST."),
        ("[0::2]", "[::2]"),
    ] {
        let fields: &[(&[u8], &[u8])] =
            &[(b":authority", authority.as_bytes()), (b"host", host.as_bytes())];
        let sent = sent_on(fields, &[], true).await;
        let lines = sent.lines().map(|line| line.split_once(": ").unwrap_or_default());
        let hosts = lines.filter(|(name, _)| name.eq_ignore_ascii_case("host"));
        let hosts: Vec<_> = hosts.map(|(_, host)| host).collect();
        let expected = authority.replace("[0::2]", "[::2]");
        assert_eq!(hosts, [expected], "{authority} {host}: {sent}");
    }
}

#[tokio::test]
async fn fragments_and_trailer_pseudo_headers_are_not_forwarded() {
    // RFC 9113, section 8.3.1: `:path` has no fragment. The crate cuts it off.
    for path in [&b"/case#smuggled"[..], b"/case?a#smuggled", b"/case#/../smuggled?smuggled"] {
        let sent = sent_on(&[(b":path", path)], &[], true).await;
        assert!(sent.is_empty() || sent.starts_with("POST /case"), "{sent:?}");
        assert!(!sent.contains("smuggled") && !sent.contains('#'), "{sent:?}");
    }
    // Section 8.1: trailers have no pseudo-headers. The crate drops them, and Pingora all trailers of requests.
    let (gateway, _upstream, written) = gateway().await;
    let mut client = Frames::connect(&gateway).await;
    let trailers = [field(b":path", b"/smuggled"), field(b"x-smuggled", b"1")].concat();
    let all = [
        frame(HEADERS, END_HEADERS, 1, &head(&[])),
        frame(DATA, 0, 1, b"hello"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
    ];
    client.send_all(&all.concat()).await.expect("sent");
    assert_eq!(gateway.get("/control", &[]).await.status(), 200);
    for connection in written.lock().expect("the bytes").iter() {
        assert!(!String::from_utf8_lossy(connection).contains("smuggled"));
    }
}

#[tokio::test]
async fn cookies_are_joined_into_one_header() {
    // RFC 9113, section 8.2.3.
    let cookies: &[(&[u8], &[u8])] =
        &[(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"sid=2; d=4"), (b"cookie", b"c=3")];
    let sent = sent_on(cookies, &[], true).await;
    let lines: Vec<_> = sent.lines().filter(|line| line.starts_with("cookie:")).collect();
    assert_eq!(lines, ["cookie: a=1; sid=2; d=4; c=3"], "{sent}");
    let sent = sent_on(&[(b"cookie", b"a=1")], &[], true).await;
    assert!(sent.contains("\r\ncookie: a=1\r\n"), "{sent}");
}

#[tokio::test]
async fn unknown_scheme_is_refused() {
    for scheme in [&b"ftp"[..], b"file", b"ws", b"javascript"] {
        assert_eq!(sent_on(&[(b":scheme", scheme)], &[], true).await, "", "{scheme:?}");
    }
    for scheme in [&b"http"[..], b"https", b"HTTP"] {
        let sent = sent_on(&[(b":scheme", scheme)], &[], true).await;
        assert!(sent.starts_with("POST /case HTTP/1.1\r\n"), "{scheme:?}: {sent}");
    }
}

#[tokio::test]
async fn rfc9113_8_2_1_whitespace_around_a_value_is_refused() {
    let (upstream, written) = recording().await;
    let gateway = Config::to(&upstream)
        .answer("guard", "headers: {x-debug: \"1\"}", "respond: {status: 403}")
        .listening("protocols: [h1, h2c]")
        .start()
        .await;
    let ask = async |fields: &[(&[u8], &[u8])]| {
        let mut client = Frames::connect(&gateway).await;
        let head = head(&[&[(&b":method"[..], &b"GET"[..])][..], fields].concat());
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await.expect("sent");
        client.next_of(HEADERS).await.payload
    };
    let status = |head: &[u8]| match head.first() {
        Some(0x88) => 200,
        Some(0x8c) => 400,
        _ => 0,
    };
    assert_eq!(status(&ask(&[(b"x-other", b"a b")]).await), 200);
    assert_ne!(status(&ask(&[(b"x-debug", b"1")]).await), 200);
    let before = written.lock().expect("the bytes").iter().map(Vec::len).sum::<usize>();
    for value in [&b" 1"[..], b"1 ", b"\t1", b"1\t", b" ", b"  1  "] {
        assert_eq!(status(&ask(&[(b"x-debug", value)]).await), 400, "{value:?}");
        assert_eq!(status(&ask(&[(b"cookie", b"a=1"), (b"cookie", value)]).await), 400);
        assert_eq!(status(&ask(&[(b"cookie", value), (b"cookie", b"a=1")]).await), 400);
    }
    let after = written.lock().expect("the bytes").iter().map(Vec::len).sum::<usize>();
    assert_eq!(before, after, "the upstream is not asked");
}
