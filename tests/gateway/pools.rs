//! Balancing over several endpoints avoids busy, slow, unhealthy and missing ones.

use futures_util::SinkExt;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidegate_testing::{
    Config, Gateway, Handshake, Upstream, bodies, free_port, get, next, ok, pool, replace_file,
    until, with_changeable_status, within,
};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn least_requests_avoids_endpoints_with_requests_or_sessions() {
    let (busy, idle) = (Upstream::echo().await, Upstream::saying("b").await);
    let gateway = pool(&[&busy, &idle], &["balance: least_requests"]).start().await;
    let mut sockets = Vec::new();
    while sockets.is_empty() {
        // Only `busy` knows WebSockets.
        let mut wire = gateway.connect().await;
        wire.send(Handshake::to("/ws").bytes()).await;
        if wire.head().await.status() == Some(101) {
            sockets.push(wire);
        }
    }
    // A request counts until a little after its answer has been read. Did the session not count,
    // both would take turns for ever.
    until("the idle one to get all", || async { bodies(&gateway, 6, &[]).await == "bbbbbb" }).await;
}

#[tokio::test]
async fn peak_ewma_avoids_slow_endpoints() {
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let slow = Upstream::scripted(move |mut wire, _| {
        let gate = Arc::clone(&gate);
        async move {
            while wire.try_head().await.is_some() {
                gate.notified().await;
                wire.send(ok("s")).await;
            }
        }
    })
    .await;
    let fast = Upstream::saying("f").await;
    let gateway = pool(&[&slow, &fast], &["balance: peak_ewma"]).start().await;
    let one = tokio::spawn({
        let address = gateway.address();
        async move {
            let mut wire = tidegate_testing::Wire::connect(address).await;
            let mut said = String::new();
            // Until the slow one has it.
            while said != "s" {
                wire.send(get("/", &[])).await;
                said = wire.response().await.text();
            }
        }
    });
    until("the slow one to have a request", || async {
        slow.connections() > 0 && bodies(&gateway, 1, &[]).await == "f"
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    release.notify_one();
    within("the slow answer", one).await.expect("an answer");
    assert_eq!(bodies(&gateway, 8, &[]).await, "ffffffff");
}

#[tokio::test]
async fn hash_sends_a_user_to_the_same_endpoint() {
    let names = ["a", "b", "c"];
    let upstreams = join_all(names.map(Upstream::saying)).await;
    let all: Vec<&Upstream> = upstreams.iter().collect();
    let hash = "balance: {hash: {header: x-user}}";
    let gateway = pool(&all, &[hash]).start().await;
    let mut before = Vec::new();
    for user in 0..30 {
        let field = format!("X-User: {user}");
        let said = bodies(&gateway, 3, &[&field]).await;
        assert!(names.iter().any(|name| said == name.repeat(3)), "{said}");
        before.push(said[..1].to_owned());
    }
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "all have users: {before:?}");
    let without = bodies(&gateway, 3, &[]).await;
    assert_eq!(without.chars().collect::<BTreeSet<_>>().len(), 3, "in turn: {without}");

    // One endpoint less: only its users move.
    let mark = gateway.mark();
    gateway.rewrite(&pool(&all[..2], &[hash]));
    gateway.says(mark, "configuration reloaded").await;
    for (user, endpoint) in before.iter().enumerate() {
        let now = bodies(&gateway, 1, &[&format!("X-User: {user}")]).await;
        assert!(endpoint == "c" || now == *endpoint, "user {user}: {endpoint}, now {now}");
    }
}

#[tokio::test]
async fn sticky_cookie_returns_to_the_same_endpoint() {
    let (a, b) = (Upstream::saying("a").await, Upstream::saying("b").await);
    let gateway = pool(&[&a, &b], &["balance: {sticky_cookie: seat}"]).start().await;
    let first = gateway.get("/", &[]).await;
    let set = first.head.only("set-cookie").expect("a cookie");
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    let cookie = format!("Cookie: {}", set.split(';').next().expect("a pair"));
    for _ in 0..4 {
        let again = gateway.get("/", &[&cookie]).await;
        assert_eq!(again.text(), first.text());
        assert_eq!(again.head.only("set-cookie"), None, "it has one");
    }
    let unknown = gateway.get("/", &["Cookie: seat=elsewhere"]).await;
    assert!(unknown.head.only("set-cookie").is_some(), "an endpoint that is gone");
}

#[tokio::test]
async fn consecutive_server_errors_eject_an_endpoint() {
    let (a, b) = (Upstream::saying("a").await, with_changeable_status("b").await);
    b.1.store(500, Ordering::Relaxed);
    let lines = ["ejection: {server_errors: 2, duration: 300ms}"];
    let gateway = pool(&[&a, &b.0], &lines).start().await;
    let mark = gateway.mark();
    let _ = bodies(&gateway, 4, &[]).await;
    gateway.says(mark, "is ejected for 300ms: too many consecutive server errors").await;
    assert_eq!(bodies(&gateway, 4, &[]).await, "aaaa");
    b.1.store(200, Ordering::Relaxed);
    until("it to come back", || async { bodies(&gateway, 2, &[]).await.contains('b') }).await;
}

#[tokio::test]
async fn unreachable_endpoint_is_ejected_without_failing_requests() {
    let alive = Upstream::saying("a").await;
    let dead = format!("127.0.0.1:{}", free_port());
    let gateway = Config::new()
        .upstream("both", &[dead, alive.address().to_string()])
        .route("all", "path_prefix: /", "both")
        .start()
        .await;
    assert_eq!(bodies(&gateway, 10, &[]).await, "aaaaaaaaaa");
    gateway.says(0, "is ejected for 10s: too many consecutive connection failures").await;
}

#[tokio::test]
async fn ejection_stops_at_half_of_the_endpoints() {
    let (a, b) = (with_changeable_status("a").await, with_changeable_status("b").await);
    a.1.store(500, Ordering::Relaxed);
    b.1.store(500, Ordering::Relaxed);
    let gateway =
        pool(&[&a.0, &b.0], &["ejection: {server_errors: 1, duration: 1m}"]).start().await;
    for _ in 0..6 {
        assert_eq!(gateway.get("/", &[]).await.status(), 500);
    }
    let ejected = gateway.log_lines().iter().filter(|line| line.contains("is ejected")).count();
    assert_eq!(ejected, 1, "half of two");
}

#[tokio::test]
async fn endpoint_state_survives_a_reload() {
    let (a, b) = (Upstream::saying("a").await, with_changeable_status("b").await);
    b.1.store(500, Ordering::Relaxed);
    let lines = ["ejection: {server_errors: 1, duration: 1m}"];
    let gateway = pool(&[&a, &b.0], &lines).start().await;
    let _ = bodies(&gateway, 4, &[]).await;
    gateway.says(0, "is ejected").await;
    let third = Upstream::saying("c").await;
    let mark = gateway.mark();
    gateway.rewrite(&pool(&[&a, &b.0, &third], &lines));
    gateway.says(mark, "configuration reloaded").await;
    let said = bodies(&gateway, 6, &[]).await;
    assert!(!said.contains('b') && said.contains('c'), "{said}");
}

#[tokio::test]
async fn endpoints_file_changes_are_applied() {
    let (a, b) = (Upstream::saying("a").await, Upstream::echo().await);
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("both.endpoints");
    let write = |text: String| replace_file(&list, &text);
    write(format!("# by another program\n\n{}\n", b.address()));
    let config = Config::new()
        .upstream("both", &[] as &[String])
        .replacing("endpoints: []", "endpoints_file: both.endpoints")
        .route("all", "path_prefix: /", "both");
    let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
    std::fs::write(&file, config.yaml(port)).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    let mut socket = gateway.websocket("/ws").await;

    let mark = gateway.mark();
    write(format!("{} weight=2 # new\n{} backup\n", a.address(), b.address()));
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(bodies(&gateway, 4, &[]).await, "aaaa");
    socket.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("still here")));

    for (broken, told) in [
        ("nowhere", "both.endpoints:1: not an endpoint"),
        ("h:1\nh:2 wieght=2", "both.endpoints:2: only `weight=N`"),
        ("h:1 weight=0", "a weight must be a number from 1 to 1000"),
        ("", "both.endpoints is empty"),
        ("# all gone\n", "both.endpoints is empty"),
    ] {
        let mark = gateway.mark();
        write(broken.to_owned());
        gateway.says(mark, told).await;
        assert_eq!(bodies(&gateway, 2, &[]).await, "aa", "nothing has changed");
    }
}

#[tokio::test]
async fn hash_by_user_client_or_cookie_is_stable() {
    let names = ["a", "b", "c"];
    let upstreams = join_all(names.map(Upstream::saying)).await;
    let all: Vec<&Upstream> = upstreams.iter().collect();
    for (key, target, field) in [
        ("user_id", "/?userId=NUMBER", "Accept: */*"),
        ("client_address", "/", "X-Forwarded-For: 203.0.113.NUMBER"),
        ("{cookie: cart}", "/", "Cookie: a=b; cart=NUMBER"),
    ] {
        let gateway = pool(&all, &[&format!("balance: {{hash: {key}}}")])
            .top("identity: {user_id: [{query: userId}]}")
            .top("trusted_proxies: [127.0.0.1]")
            .start()
            .await;
        let mut places = BTreeSet::new();
        for number in 0..30 {
            let with = |text: &str| text.replace("NUMBER", &number.to_string());
            let (target, field) = (with(target), with(field));
            let mut said = BTreeSet::new();
            for _ in 0..3 {
                said.insert(gateway.get(&target, &[&field]).await.text());
            }
            assert_eq!(said.len(), 1, "{key} {number}: {said:?}");
            places.append(&mut said);
        }
        assert_eq!(places.len(), 3, "{key}: all have some");
    }
    let gateway = pool(&all, &["balance: {hash: user_id}"]).start().await;
    let without = bodies(&gateway, 3, &[]).await;
    assert_eq!(without.chars().collect::<BTreeSet<_>>().len(), 3, "nobody is named: {without}");
}
