//! What removes stored responses: writes, purges and the limit on memory.

use super::{gateway, is_hit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::{Config, TOKEN, Upstream, cli, free_port, get, respond, until};
use tokio::sync::Semaphore;

#[tokio::test]
async fn rfc9111_4_4_successful_unsafe_request_purges_its_url() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::answering(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let status = if request.head.target() == "/refused" { "409 X" } else { "200 OK" };
        match request.head.line.split(' ').next() {
            Some("GET") => respond("200 OK", &["Cache-Control: max-age=60"], &format!("{number}")),
            _ => respond(status, &[], ""),
        }
    })
    .await;
    // The one who writes takes another route.
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .route("read", "path_prefix: /, methods: [GET]", "service")
        .with("cache: on")
        .route("write", "path_prefix: /", "service")
        .start()
        .await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROB"] {
        gateway.get("/a?q", &[]).await;
        assert!(is_hit(&gateway.get("/a?q", &[]).await), "{method}");
        let write =
            format!("{method} /a?q HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        gateway.send(write).await;
        assert!(!is_hit(&gateway.get("/a?q", &[]).await), "{method}");
    }
    gateway.get("/refused", &[]).await;
    gateway.send("POST /refused HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    assert!(is_hit(&gateway.get("/refused", &[]).await), "nothing was changed");
}

#[tokio::test]
async fn response_requested_before_a_write_is_not_stored_after_it() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if head.line.starts_with("GET") {
                    gate.acquire().await.expect("open").forget();
                }
                let _ = wire.try_send(respond("200 OK", &["Cache-Control: max-age=60"], "x")).await;
            }
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    let mut early = gateway.connect().await;
    early.send(get("/", &[])).await;
    upstream.request(0).await;
    gateway.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    gate.add_permits(3);
    assert_eq!(early.response().await.text(), "x");
    assert!(!is_hit(&gateway.get("/", &[]).await), "what was read before the write");
    assert!(is_hit(&gateway.get("/", &[]).await));
}

#[tokio::test]
async fn purge_removes_by_url_by_prefix_or_all() {
    let upstream = Upstream::answering(|request| {
        let fields = &["Cache-Control: max-age=60", "Vary: Accept"];
        respond("200 OK", fields, request.head.target())
    })
    .await;
    let port = free_port();
    let gateway = Config::to(&upstream)
        .with("cache: on")
        .top(&format!("admin: {{address: 127.0.0.1:{port}, token: {TOKEN}}}"))
        .start()
        .await;
    let paths = ["/a/1", "/a/1?x", "/a/2", "/b"];
    let fill = async || {
        for path in paths {
            gateway.get(path, &[]).await;
            gateway.get(path, &["Accept: x"]).await;
        }
    };
    let kept = async || {
        let mut kept = Vec::new();
        for path in paths {
            let wish = &["Cache-Control: only-if-cached"];
            if gateway.get(path, wish).await.status() == 200 {
                kept.push(path);
            }
        }
        kept
    };
    let admin = format!("127.0.0.1:{port}");
    let purge = async |arguments: &[&str]| {
        let all: Vec<&str> =
            [&["cache", "purge", "--admin", &admin, "--token", TOKEN], arguments].concat();
        let done = cli(gateway.folder(), &all, &[]).await;
        assert_eq!(done.code, Some(0), "{}", done.all());
        done.stdout.trim().to_owned()
    };
    fill().await;
    assert_eq!(kept().await, paths);
    let said = purge(&["--url", "http://LOCALHOST/x/../a/1"]).await;
    assert_eq!(said, "purged 2 responses");
    assert_eq!(kept().await, ["/a/1?x", "/a/2", "/b"]);
    assert_eq!(purge(&["--prefix", "http://localhost/a/"]).await, "purged 4 responses");
    assert_eq!(kept().await, ["/b"]);
    fill().await;
    assert_eq!(purge(&["--all"]).await, "purged 8 responses");
    assert_eq!(kept().await, [""; 0]);
    for wrong in [&["--url", "/a"][..], &["--url", "ftp://localhost/"]] {
        let all = [&["cache", "purge", "--admin", &admin, "--token", TOKEN], wrong].concat();
        assert_eq!(cli(gateway.folder(), &all, &[]).await.code, Some(1), "{wrong:?}");
    }
}

#[tokio::test]
async fn cache_memory_is_bounded_and_counted() {
    let upstream = Upstream::answering(|request| {
        let body = request.head.target().repeat(4096 / request.head.target().len());
        respond("200 OK", &["Cache-Control: max-age=60"], &body)
    })
    .await;
    let port = free_port();
    let gateway = Config::to(&upstream)
        .with("cache: on")
        .top("cache: {max_size: 128KiB}")
        .top(&format!("admin: {{address: 127.0.0.1:{port}}}"))
        .start()
        .await;
    for number in 0..200 {
        gateway.get(&format!("/{number:04}"), &[]).await;
    }
    let metrics = async || {
        let mut wire = tidegate_testing::Wire::connect(([127, 0, 0, 1], port).into()).await;
        wire.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        wire.response().await.text()
    };
    let value = |text: &str, name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {text}")).trim().parse().expect("a number")
    };
    // The last is counted when its client has it already.
    until("all are counted", async || {
        let text = metrics().await;
        let entries = value(&text, "tidegate_cache_entries ");
        entries + value(&text, "tidegate_cache_evictions_total ") == 200
            && value(&text, "tidegate_cache_filling_bytes ") == 0
    })
    .await;
    let text = metrics().await;
    let value = |name| value(&text, name);
    let bytes = value("tidegate_cache_bytes ");
    assert!((10_000..=128 * 1024).contains(&bytes), "{bytes}");
    let entries = value("tidegate_cache_entries ");
    assert!((2..=32).contains(&entries), "{entries}");
    assert_eq!(value("tidegate_cache_requests_total{route=\"all\",status=\"miss\"} "), 200);
    assert!(!is_hit(&gateway.get("/0000", &[]).await), "the oldest made room");
    // Its client has it before the cache has.
    until("it is kept", async || is_hit(&gateway.get("/0000", &[]).await)).await;
}
