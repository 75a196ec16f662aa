//! Endpoints are health-checked, and unhealthy ones get no requests.

use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tidegate_testing::{
    Authority, Config, Gateway, TlsService, Upstream, bodies, free_port, next, pool, respond,
    switch, until, with_changeable_status, within,
};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn unhealthy_endpoint_gets_no_requests_until_it_recovers() {
    let (a, b) = (Upstream::saying("a").await, with_changeable_status("b").await);
    let lines = ["health: {check: {http: /health}, interval: 20ms, unhealthy_after: 2}"];
    let admin = free_port();
    let admin_at = format!("admin: {{address: \"127.0.0.1:{admin}\"}}");
    let gateway = pool(&[&a, &b.0], &lines).top(&admin_at).start().await;
    until("both in turn", || async { bodies(&gateway, 4, &[]).await.contains('b') }).await;
    let mark = gateway.mark();
    b.1.store(503, Ordering::Relaxed);
    gateway.says(mark, "is unhealthy").await;
    assert_eq!(bodies(&gateway, 4, &[]).await, "aaaa");
    let check = b.0.requests().iter().find(|it| it.head.target() == "/health").cloned();
    let head = check.expect("a check").head;
    assert_eq!(head.only("host"), Some(&*b.0.address().to_string()));

    let metrics = async || {
        let url = format!("http://127.0.0.1:{admin}/metrics");
        reqwest::get(url).await.expect("an answer").text().await.expect("text")
    };
    let healthy = |upstream: &Upstream, value: u8| {
        let endpoint = upstream.address();
        format!("endpoint_healthy{{upstream=\"both\",endpoint=\"{endpoint}\"}} {value}\n")
    };
    assert!(metrics().await.contains(&healthy(&a, 1)));
    assert!(metrics().await.contains(&healthy(&b.0, 0)));

    let mark = gateway.mark();
    b.1.store(200, Ordering::Relaxed);
    gateway.says(mark, "is healthy again").await;
    assert!(bodies(&gateway, 4, &[]).await.contains('b'));
}

#[tokio::test]
async fn tcp_and_websocket_checks_probe_their_protocol() {
    for (check, is_well) in [("tcp", true), ("{websocket: /ws}", false)] {
        let plain = Upstream::saying("plain").await;
        let health = format!("health: {{check: {check}, interval: 20ms, unhealthy_after: 1}}");
        let gateway = pool(&[&plain], &[&health]).start().await;
        match is_well {
            true => until("a check", || async { plain.connections() > 2 }).await,
            false => drop(gateway.says(0, "the WebSocket handshake at /ws answered 200").await),
        }
        assert_eq!(gateway.get("/", &[]).await.status(), 200, "the only one is used all the same");
    }
    let echo = Upstream::echo().await;
    let health = "health: {check: {websocket: /ws}, interval: 20ms, unhealthy_after: 1}";
    let gateway = pool(&[&echo], &[health]).start().await;
    until("checks", || async { echo.requests().len() > 2 }).await;
    assert!(!gateway.log_lines().iter().any(|line| line.contains("unhealthy")));
}

#[tokio::test]
async fn websocket_check_closes_with_1000_and_may_have_a_query() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let service = Upstream::scripted(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            let mut socket = switch(wire, &head, "").await;
            let message = StreamExt::next(&mut socket).await;
            let _ = sender.send((head.target().to_owned(), message.and_then(Result::ok)));
        }
    })
    .await;
    let check = "{websocket: \"/socket.io/?EIO=4&transport=websocket\"}";
    let health = format!("health: {{check: {check}, interval: 20ms}}");
    let _gateway = pool(&[&service], &[&health]).start().await;
    let (target, message) = within("a check", ends.recv()).await.expect("a check");
    assert_eq!(target, "/socket.io/?EIO=4&transport=websocket");
    let Some(Message::Close(Some(close))) = message else { panic!("{message:?}") };
    assert_eq!(u16::from(close.code), 1000);
}

#[tokio::test]
async fn rfc6455_4_1_websocket_check_fails_where_clients_would_be_refused() {
    for (lines, reason) in [
        ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n", "Accept"),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "Accept"),
        ("Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n", "Upgrade"),
    ] {
        let service = Upstream::scripted(move |mut wire, _| async move {
            wire.head().await;
            wire.send(format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n")).await;
            wire.read_to_end().await;
        })
        .await;
        let health = "health: {check: {websocket: /ws}, interval: 20ms, unhealthy_after: 1}";
        let gateway = pool(&[&service], &[health]).start().await;
        let line = gateway.says(0, "is unhealthy").await;
        assert!(
            line.contains("the response to the WebSocket handshake at /ws is invalid: "),
            "{line}"
        );
        assert!(line.contains(reason), "{line}");
    }
}

#[tokio::test]
async fn backups_take_over_below_the_panic_threshold() {
    let (main, backup) = (with_changeable_status("m").await, Upstream::saying("b").await);
    let text = format!(
        "  - {{address: \"{}\", backup: true}}\n      - \"{}\"",
        backup.address(),
        main.0.address()
    );
    let config = Config::new()
        .upstream("both", &[] as &[String])
        .replacing("endpoints: []", &format!("endpoints:\n    {text}"))
        .speaking("health: {check: {http: /health}, interval: 20ms, unhealthy_after: 1, healthy_after: 1}")
        .route("all", "path_prefix: /", "both");
    let gateway = config.start().await;
    assert_eq!(bodies(&gateway, 4, &[]).await, "mmmm");
    let mark = gateway.mark();
    main.1.store(503, Ordering::Relaxed);
    gateway.says(mark, "is unhealthy").await;
    assert_eq!(bodies(&gateway, 4, &[]).await, "bbbb");
    let mark = gateway.mark();
    main.1.store(200, Ordering::Relaxed);
    gateway.says(mark, "is healthy again").await;
    assert_eq!(bodies(&gateway, 4, &[]).await, "mmmm");
}

#[tokio::test]
async fn sessions_of_an_unhealthy_endpoint_close_or_stay_by_policy() {
    for (policy, code) in [("close", Some(1012)), ("keep", None)] {
        let well = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&well);
        let upstream = Upstream::scripted(move |mut wire, recorder| {
            let state = Arc::clone(&state);
            async move {
                while let Some(head) = wire.try_head().await {
                    recorder.record(&head);
                    if head.get("upgrade").is_some() {
                        let mut socket = switch(wire, &head, "").await;
                        while let Some(Ok(_)) = socket.next().await {}
                        return;
                    }
                    let status = if state.load(Ordering::Relaxed) { "200 OK" } else { "503 Ill" };
                    let _ = wire.try_send(respond(status, &[], "")).await;
                }
            }
        })
        .await;
        let health = "health: {check: {http: /health}, interval: 20ms, unhealthy_after: 1}";
        let websocket = format!("websocket: {{on_change: {policy}}}");
        let gateway = pool(&[&upstream], &[health]).with(&websocket).start().await;
        let mut socket = gateway.websocket("/ws").await;
        well.store(false, Ordering::Relaxed);
        gateway.says(0, "is unhealthy").await;
        match code {
            Some(code) => {
                let message = next(&mut socket).await.expect("a close frame");
                let Message::Close(Some(frame)) = message else { panic!("{message:?}") };
                assert_eq!(u16::from(frame.code), code);
                assert_eq!(&*frame.reason, "the endpoint behind the gateway is unhealthy");
            }
            None => {
                well.store(true, Ordering::Relaxed);
                gateway.says(0, "is healthy again").await;
                socket.send(Message::text("still here")).await.expect("sent");
            }
        }
    }
}

#[tokio::test]
async fn below_the_panic_threshold_all_endpoints_are_used() {
    for (panic_below, used) in [(50, "abc"), (30, "c"), (0, "c")] {
        let (a, b, c) = (
            with_changeable_status("a").await,
            with_changeable_status("b").await,
            with_changeable_status("c").await,
        );
        let below = format!("panic_below: {panic_below}");
        let lines =
            ["health: {check: {http: /health}, interval: 20ms, unhealthy_after: 1}", &below];
        let gateway = pool(&[&a.0, &b.0, &c.0], &lines).start().await;
        for (one, share) in [(&a, "two thirds"), (&b, "one third")] {
            let mark = gateway.mark();
            one.1.store(503, Ordering::Relaxed);
            gateway.says(mark, "is unhealthy").await;
            let said = bodies(&gateway, 9, &[]).await;
            if share == "two thirds" {
                assert!(!said.contains('a') && said.contains('b'), "{panic_below}: {said}");
                continue;
            }
            let mut who: Vec<char> = said.chars().collect();
            who.sort_unstable();
            who.dedup();
            assert_eq!(String::from_iter(who), used, "{panic_below}, {share} well: {said}");
        }
    }
}

#[tokio::test]
async fn health_check_is_bounded_by_its_timeout() {
    let silent = Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            if head.target() != "/health" {
                let _ = wire.try_send(respond("200 OK", &[], "s")).await;
            }
        }
    })
    .await;
    let b = Upstream::saying("b").await;
    let health =
        "health: {check: {http: /health}, interval: 20ms, timeout: 1s, unhealthy_after: 1}";
    let gateway = pool(&[&silent, &b], &[health]).start().await;
    let told = gateway.says(0, &format!("{} is unhealthy", silent.address())).await;
    assert!(told.contains("is unhealthy: no answer within 1s"), "{told}");
    assert_eq!(bodies(&gateway, 4, &[]).await, "bbbb");
}

#[tokio::test]
async fn health_checks_use_tls_and_the_configured_host() {
    for (check, is_request) in
        [("{http: /health}", true), ("{websocket: /health}", true), ("tcp", false)]
    {
        let (folder, authority) = (TempDir::new().expect("a folder"), Authority::new());
        authority.write(&folder.path().join("ca.pem"));
        authority.issue(folder.path(), "good", &["127.0.0.1"], 2090);
        authority.issue(folder.path(), "expired", &["127.0.0.1"], 2021);
        let good = TlsService::start(folder.path(), "good", None, &[]).await;
        let expired = TlsService::start(folder.path(), "expired", None, &[]).await;
        let health = format!(
            "health: {{check: {check}, interval: 20ms, unhealthy_after: 1, host: checks.internal}}"
        );
        let config = Config::new()
            .upstream("both", &[good.address(), expired.address()])
            .speaking("tls: {ca: ca.pem}")
            .speaking(&health)
            .route("all", "path_prefix: /", "both");
        let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
        std::fs::write(&file, config.yaml(port)).expect("a file");
        let gateway = Gateway::run(folder, file, port).await;
        let told = gateway.says(0, "is unhealthy").await;
        assert!(told.contains(&expired.address().to_string()), "{check}: {told}");
        until("the good one to be asked again", async || {
            good.handshakes().max(good.heads().len()) > 3
        })
        .await;
        let unhealthy =
            gateway.log_lines().iter().filter(|line| line.contains("is unhealthy")).count();
        assert_eq!(unhealthy, 1, "{check}: the good one is healthy");
        assert!(expired.heads().is_empty(), "{check}");
        let heads = good.heads();
        assert_eq!(!heads.is_empty(), is_request, "{check}");
        for head in heads {
            assert_eq!((head.target(), head.only("host")), ("/health", Some("checks.internal")));
        }
    }
}

#[tokio::test]
async fn failed_health_check_logs_its_request_and_answer() {
    let failing = Upstream::answering(|_| respond("503 Busy", &[], "")).await;
    let closing = Upstream::scripted(|mut wire, recorder| async move {
        if let Some(head) = wire.try_head().await {
            recorder.record(&head);
        }
    })
    .await;
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let health = |check: &str| {
        format!("health: {{check: {check}, interval: 20ms, timeout: 1s, unhealthy_after: 1}}")
    };
    let gateway = Config::new()
        .upstream("status", &[failing.address()])
        .speaking(&health("{http: /healthz}"))
        .upstream("sockets", &[failing.address()])
        .speaking(&health("{websocket: /ws}"))
        .upstream("nobody", &[nobody])
        .speaking(&health("tcp"))
        .upstream("closing", &[closing.address()])
        .speaking(&health("{http: /healthz}"))
        .route("a", "path: /a", "status")
        .route("b", "path: /b", "sockets")
        .route("c", "path: /c", "nobody")
        .route("d", "path: /d", "closing")
        .start()
        .await;
    for (upstream, reason) in [
        ("status", "GET /healthz answered 503"),
        ("sockets", "the WebSocket handshake at /ws answered 503"),
        ("nobody", "connection refused"),
        ("closing", "the connection ended before GET /healthz was answered"),
    ] {
        let line = gateway.says(0, &format!("upstream `{upstream}`: ")).await;
        assert!(line.ends_with(&format!(" is unhealthy: {reason}")), "{line}");
    }
}

#[tokio::test]
async fn health_check_skips_interim_responses() {
    for check in ["{http: /health}", "{websocket: /ws}"] {
        let service = Upstream::scripted(|mut wire, _| async move {
            let head = wire.head().await;
            let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
            wire.send(format!("HTTP/1.1 102 Processing\r\n\r\n{interim}")).await;
            match head.target() {
                "/ws" => drop(switch(wire, &head, "").await),
                _ => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await,
            }
        })
        .await;
        let health = format!("health: {{check: {check}, interval: 20ms, unhealthy_after: 1}}");
        let gateway = pool(&[&service], &[&health]).start().await;
        until("checks", || async { service.connections() > 3 }).await;
        let lines = gateway.log_lines();
        assert!(!lines.iter().any(|line| line.contains("unhealthy")), "{check}: {lines:?}");
    }
}
