//! Requests to HTTP/2 upstreams, and retries of requests that an upstream has not started (RFC 9113, sections 6.8,
//! 8.3.1 and 8.7).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tidegate_testing::http2::{
    self, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, frame, get_over_http2,
};
use tidegate_testing::{
    Admin, Authority, Config, Gateway, TlsService, Upstream, Wire, cli, get, pool, until, within,
};
use tokio::sync::mpsc;

/// The heads that a service got.
type Heads = Arc<Mutex<Vec<http::request::Parts>>>;

/// A service over HTTP/2 that writes down heads, and answers with the request's body.
async fn service() -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let keeps = Arc::clone(&heads);
    let address = http2::serve(move |request, mut respond| {
        let heads = Arc::clone(&keeps);
        async move {
            heads.lock().expect("the heads").push(request.into_parts().0);
            let mut response = http::Response::new(());
            *response.status_mut() = http::StatusCode::NO_CONTENT;
            respond.send_response(response, true).expect("sent");
        }
    })
    .await;
    (address, heads)
}

/// A request without a body over HTTP/2.
async fn ask(gateway: &Gateway, fields: &[(&str, &str)]) {
    let mut client = Frames::connect(gateway).await;
    let head: Vec<u8> =
        fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect();
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await.expect("sent");
    client.next_of(HEADERS).await;
}

#[tokio::test]
async fn authority_is_forwarded_between_any_protocols() {
    let base = [(":method", "GET"), (":scheme", "http"), (":path", "/a?b")];
    let authority = [&base[..], &[(":authority", "shop.test")]].concat();
    let host = [&base[..], &[("host", "shop.test")]].concat();
    for (rewrite, expected, path) in [
        ("rewrite: {host: preserve}", "shop.test", "/a?b"),
        ("rewrite: {host: other.test}", "other.test", "/a?b"),
        ("rewrite: {prefix: /x}", "shop.test", "/x/a?b"),
    ] {
        let (address, heads) = service().await;
        let config = Config::to_address(address)
            .speaking("protocols: [h2c]")
            .listening("protocols: [h1, h2c]")
            .with(rewrite);
        let gateway = config.start().await;
        gateway.get("/a?b", &["Host: shop.test"]).await;
        ask(&gateway, &authority).await;
        ask(&gateway, &host).await;
        let heads = std::mem::take(&mut *heads.lock().expect("the heads"));
        assert_eq!(heads.len(), 3, "{rewrite}");
        for head in heads {
            let seen = head.uri.authority().map(http::uri::Authority::as_str);
            assert_eq!(seen, Some(expected), "{rewrite}: {head:?}");
            assert_eq!(head.uri.path_and_query().map(|it| it.as_str()), Some(path), "{rewrite}");
            assert_eq!(head.uri.scheme_str(), Some("http"));
            assert_eq!(head.headers.get("x-forwarded-host").expect("set"), "shop.test");
            assert!(!head.headers.contains_key("host"), "{head:?}");
        }
    }
}

/// What an upstream does with its first request.
#[derive(Debug, Clone, Copy)]
enum First {
    /// GOAWAY whose last stream is below the request's, with this error code, and the end.
    GoesAway(u32),
    Refuses,
    /// GOAWAY with NO_ERROR at the second request, whose stream it has not begun, and the end.
    GoesAwayLater,
    /// RST_STREAM for another reason: it may have begun.
    Resets,
}

/// An upstream over HTTP/2 that refuses its first request (or second) and answers 204 to all others; with
/// the number of requests.
async fn reluctant(first: First) -> (Upstream, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let refused = usize::from(matches!(first, First::GoesAwayLater));
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let counter = Arc::clone(&counter);
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
                if kind == HEADERS && counter.fetch_add(1, Ordering::SeqCst) == refused {
                    let (kind, of, payload) = match first {
                        First::GoesAway(code) => {
                            (GOAWAY, 0, [0_u32.to_be_bytes(), code.to_be_bytes()].concat())
                        }
                        First::GoesAwayLater => (GOAWAY, 0, [0, 0, 0, 1, 0, 0, 0, 0].to_vec()),
                        First::Refuses => (RST_STREAM, stream, 7_u32.to_be_bytes().to_vec()),
                        First::Resets => (RST_STREAM, stream, 2_u32.to_be_bytes().to_vec()),
                    };
                    wire.send(frame(kind, 0, of, &payload)).await;
                    if kind == GOAWAY {
                        return;
                    }
                } else if [HEADERS, DATA].contains(&kind) && flags & END_STREAM != 0 {
                    // `:status: 204` of the static table.
                    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x89])).await;
                }
            }
        }
    })
    .await;
    (upstream, requests)
}

fn post(body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    get("/", &[&length]).replace("GET", "POST") + body
}

#[tokio::test]
async fn request_that_the_upstream_has_not_started_is_retried() {
    for first in [First::GoesAway(0), First::GoesAway(11), First::Refuses] {
        let expecting = post("abc").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        for request in [get("/", &[]), post("abc"), post(""), expecting] {
            let (upstream, requests) = reluctant(first).await;
            let config = Config::to(&upstream).speaking("protocols: [h2c]");
            let gateway = config.with("retry: {backoff: 1ms}").start().await;
            let answer = gateway.send(&request).await;
            assert_eq!(answer.status(), 204, "{first:?}: {request}");
            assert_eq!(requests.load(Ordering::SeqCst), 2, "{first:?}: {request}");
        }
    }
}

#[tokio::test]
async fn goaway_on_a_reused_connection_costs_no_attempt() {
    for request in [get("/", &[]), post("abc"), post("")] {
        let (upstream, requests) = reluctant(First::GoesAwayLater).await;
        let config = Config::to(&upstream).speaking("protocols: [h2c]");
        let gateway = config.with("retry: off").start().await;
        assert_eq!(gateway.get("/first", &[]).await.status(), 204);
        // By then the connection can be used again.
        gateway.access_of("/first").await;
        assert_eq!(gateway.send(&request).await.status(), 204, "{request}");
        assert_eq!(requests.load(Ordering::SeqCst), 3, "{request}");
    }
    let (upstream, requests) = reluctant(First::GoesAway(0)).await;
    let config = Config::to(&upstream).speaking("protocols: [h2c]");
    let gateway = config.with("retry: off").start().await;
    assert_eq!(gateway.get("/", &[]).await.status(), 502, "the connection is new");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn request_that_the_upstream_may_have_started_is_not_retried() {
    let (upstream, requests) = reluctant(First::Resets).await;
    let config = Config::to(&upstream).speaking("protocols: [h2c]");
    let gateway = config.with("retry: {on: [reset], backoff: 1ms}").start().await;
    assert_eq!(gateway.send(post("abc")).await.status(), 502);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn retries_of_unstarted_requests_are_bounded() {
    for (retry, budget) in [("retry: off", "retry_percent: 100"), ("retry: {attempts: 2}", "")] {
        let (upstream, requests) = reluctant(First::Refuses).await;
        let lines = ["protocols: [h2c]", budget];
        let gateway = pool(&[&upstream], &lines).with(retry).start().await;
        let expected = if retry == "retry: off" { (502, 1) } else { (204, 2) };
        let answer = gateway.send(post("abc")).await;
        assert_eq!((answer.status(), requests.load(Ordering::SeqCst)), expected, "{retry}");
    }
}

#[tokio::test]
async fn http2_only_upstream_is_never_sent_http1() {
    let (folder, authority) = (TempDir::new().expect("a folder"), Authority::new());
    let ca = folder.path().join("ca.pem");
    authority.write(&ca);
    authority.issue(folder.path(), "service", &["127.0.0.1"], 2090);
    let service = TlsService::start(folder.path(), "service", None, &[]).await;
    for (protocols, status) in [("[h2]", 502), ("[h2, h1]", 200)] {
        let config = Config::to_address(service.address())
            .speaking(&format!("protocols: {protocols}"))
            .speaking(&format!("tls: {{ca: {}}}", ca.display()));
        let gateway = config.start().await;
        let mark = gateway.mark();
        assert_eq!(gateway.get("/", &[]).await.status(), status, "{protocols}");
        if status == 502 {
            assert_eq!(service.heads().len(), 0, "it was sent nothing");
            gateway.says(mark, "ALPN").await;
        }
    }
}

#[tokio::test]
async fn http2_only_mirror_is_never_sent_http1() {
    let (folder, authority) = (TempDir::new().expect("a folder"), Authority::new());
    let ca = folder.path().join("ca.pem");
    authority.write(&ca);
    authority.issue(folder.path(), "shadow", &["127.0.0.1"], 2090);
    let upstream = Upstream::saying("hello").await;
    for (protocols, result, sent) in [("[h2]", "broken", 0), ("[h2, h1]", "", 1)] {
        let shadow = TlsService::start(folder.path(), "shadow", None, &[]).await;
        let admin = Admin::new();
        let config = Config::new()
            .upstream("service", &[upstream.address()])
            .upstream("shadow", &[shadow.address()])
            .speaking(&format!("protocols: {protocols}"))
            .speaking(&format!("tls: {{ca: {}}}", ca.display()))
            .route("all", "path_prefix: /", "service")
            .with("mirror: {upstream: shadow}")
            .top(&admin.section());
        let gateway = config.start().await;
        assert_eq!(gateway.get("/", &[]).await.text(), "hello");
        until("the copy's end", async || {
            let metrics = admin.metrics().await;
            let labels = [("upstream", "shadow"), ("result", result)];
            let failed = metrics.value("tidegate_upstream_attempts_total", &labels);
            shadow.heads().len() == sent && (failed > 0.0) == (sent == 0)
        })
        .await;
    }
}

#[tokio::test]
async fn grpc_calls_send_te_trailers_for_any_client_protocol() {
    let (address, heads) = service().await;
    let config = Config::to_address(address).speaking("protocols: [h2c]").with("grpc_web: on");
    let gateway = config.start().await;
    for kind in ["application/grpc-web+proto", "application/grpc"] {
        let request = get("/t.T/Call", &[&format!("Content-Type: {kind}"), "Content-Length: 5"]);
        gateway.send(request.replace("GET", "POST") + "\0\0\0\0\0").await;
    }
    gateway.get("/", &["TE: trailers"]).await;
    let heads = heads.lock().expect("the heads");
    let te: Vec<_> = heads.iter().map(|head| head.headers.get("te").cloned()).collect();
    let trailers = || Some(http::HeaderValue::from_static("trailers"));
    assert_eq!(te, [trailers(), trailers(), None]);
}

#[tokio::test]
async fn te_trailers_of_an_http2_client_is_forwarded() {
    let (address, heads) = service().await;
    let config = Config::to_address(address).speaking("protocols: [h2c]");
    let gateway = config.listening("protocols: [h2c]").start().await;
    get_over_http2(&gateway, "/", &[("te", "trailers")]).await;
    get_over_http2(&gateway, "/", &[]).await;
    let heads = heads.lock().expect("the heads");
    let te: Vec<_> = heads.iter().map(|head| head.headers.contains_key("te")).collect();
    assert_eq!(te, [true, false]);
}

/// An upstream over HTTP/2 that answers 204, with the windows that the gateway gives it on each connection: that
/// of a stream (SETTINGS_INITIAL_WINDOW_SIZE) and by how much that of the connection grows.
async fn told_windows() -> (Upstream, mpsc::UnboundedReceiver<(u32, u32)>) {
    let (windows, seen) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let windows = windows.clone();
        async move {
            wire.send(frame(SETTINGS, 0, 0, &[])).await;
            let _ = wire.try_exactly(24).await;
            let (mut of_stream, mut of_connection) = (65_535, 0);
            let mut is_first = true;
            while let Some(head) = wire.try_exactly(9).await {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let Some(payload) = wire.try_exactly(length).await else { return };
                let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four"));
                match head[3] {
                    SETTINGS => {
                        for setting in payload.chunks(6).filter(|it| it[..2] == [0, 4]) {
                            of_stream = number(&setting[2..]);
                        }
                    }
                    WINDOW_UPDATE if head[5..] == [0; 4] => of_connection += number(&payload),
                    HEADERS => {
                        if std::mem::take(&mut is_first) {
                            let _ = windows.send((of_stream, of_connection));
                        }
                        let stream = number(&head[5..]);
                        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x89])).await;
                    }
                    _ => {}
                }
            }
        }
    })
    .await;
    (upstream, seen)
}

#[tokio::test]
async fn http2_window_is_announced_and_changed_by_a_reload() {
    let (upstream, mut seen) = told_windows().await;
    let config = |more: &str| Config::to(&upstream).speaking("protocols: [h2c]").speaking(more);
    let gateway = config("http2: {}").start().await;
    assert_eq!(gateway.get("/", &[]).await.status(), 204);
    let (of_stream, of_connection) =
        within("a connection", seen.recv()).await.expect("its windows");
    assert_eq!((of_stream, of_connection), (64 * 1024, 101 * 64 * 1024 - 65_535));
    for (window, bytes) in [("16KiB", 16 * 1024), ("1MiB", 1 << 20), ("16MiB", 16 << 20)] {
        gateway.rewrite(&config(&format!("http2: {{window: {window}}}")));
        until("a connection with the new window", async || {
            assert_eq!(gateway.get("/", &[]).await.status(), 204);
            seen.try_recv().is_ok_and(|it| it == (bytes, 101 * bytes - 65_535))
        })
        .await;
    }
}

#[tokio::test]
async fn http2_window_outside_its_bounds_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, http2: &str| {
        let yaml = format!(
            "listeners: [{{address: \"127.0.0.1:1\"}}]\nupstreams:\n  a:\n    \
             endpoints: [\"127.0.0.1:1\"]\n    protocols: [h2c]\n    {http2}\n\
             routes: [{{name: a, upstream: a}}]\n"
        );
        std::fs::write(folder.path().join(name), yaml).expect("a file");
    };
    for (window, is_good) in [
        ("16KiB", true),
        ("16MiB", true),
        ("16383", false),
        ("17MiB", false),
        ("8GiB", false),
        ("64", false),
    ] {
        write("t.yaml", &format!("http2: {{window: {window}}}"));
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert_eq!(run.code == Some(0), is_good, "{window}: {}", run.all());
        let names_key = run.all().contains("upstreams.a.http2.window");
        assert_eq!(names_key, !is_good, "{window}: {}", run.all());
    }
    write("old.yaml", "http2: {}");
    write("new.yaml", "http2: {window: 1MiB}");
    let run = cli(folder.path(), &["diff", "old.yaml", "new.yaml"], &[]).await;
    let shown = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("http2.window 64KiB 1MiB"), "{}", run.all());
}

/// An upstream over HTTP/2 that takes no byte of a body. It notes the frames that came: their kinds.
async fn takes_nothing() -> (Upstream, mpsc::UnboundedReceiver<u8>) {
    let (frames, seen) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let frames = frames.clone();
        async move {
            // SETTINGS_INITIAL_WINDOW_SIZE is 0.
            wire.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
            let _ = wire.try_exactly(24).await;
            while let Some(head) = wire.try_exactly(9).await {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let Some(_) = wire.try_exactly(length).await else { return };
                let _ = frames.send(head[3]);
            }
        }
    })
    .await;
    (upstream, seen)
}

#[tokio::test]
async fn upload_reset_by_its_client_ends_while_the_upstream_stalls() {
    let (upstream, mut seen) = takes_nothing().await;
    let config = Config::to(&upstream).speaking("protocols: [h2c]");
    let gateway = config.listening("protocols: [h2c]").start().await;
    let mut client = Frames::connect(&gateway).await;
    let head = [&[0x83, 0x86, 0x41, 1, b'a'][..], &field(b":path", b"/upload")].concat();
    let mut all = frame(HEADERS, END_HEADERS, 1, &head);
    // As much as the connection's window takes.
    for size in [16_384, 16_384, 16_384, 16_383] {
        all.extend(frame(DATA, 0, 1, &vec![b'x'; size]));
    }
    client.send_all(&all).await.expect("sent");
    let wait_for = async |seen: &mut mpsc::UnboundedReceiver<u8>, kind| {
        while within("a frame", seen.recv()).await.expect("a frame") != kind {}
    };
    wait_for(&mut seen, HEADERS).await;
    client.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).await.expect("sent");
    wait_for(&mut seen, RST_STREAM).await;
    // What is left of the body no longer takes the window of other streams.
    let mut window = 0;
    while window < 32_768 {
        let update = client.next_of(WINDOW_UPDATE).await;
        if update.stream == 0 {
            window += u32::from_be_bytes(update.payload.try_into().expect("an increment"));
        }
    }
    let line = gateway.access_of("/upload").await;
    assert_eq!(line["http.response.status_code"], 499, "{line}");
    assert_eq!(line["http.request.method"], "POST", "{line}");
}
