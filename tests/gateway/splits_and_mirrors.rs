//! Splits send a share of the requests to another upstream; mirrors get copies that no request waits for.

use std::collections::BTreeMap;
use tidegate_testing::http2::get_over_http2;
use tidegate_testing::{Config, Gateway, Upstream, cli, free_port, get, ok, until};

fn config(stable: &Upstream, other: &Upstream) -> Config {
    Config::new()
        .top("identity: {user_id: [{query: userId}]}")
        .upstream("stable", &[stable.address()])
        .upstream("canary", &[other.address()])
        .route("api", "path_prefix: /", "stable")
}

async fn said(gateway: &Gateway, target: &str, fields: &[&str]) -> String {
    gateway.get(target, fields).await.text()
}

#[tokio::test]
async fn split_sends_the_same_share_of_users_to_the_canary() {
    let (stable, canary) = (Upstream::saying("s").await, Upstream::saying("c").await);
    let split = |percent: u8| {
        config(&stable, &canary).with(&format!("split: [{{upstream: canary, percent: {percent}}}]"))
    };
    let gateway = split(20).start().await;
    let mut before = BTreeMap::new();
    for user in 0..200 {
        let target = format!("/?userId={user}");
        let first = said(&gateway, &target, &[]).await;
        assert_eq!(said(&gateway, &target, &[]).await, first, "user {user}");
        before.insert(user, first);
    }
    let count = before.values().filter(|said| *said == "c").count();
    assert!((20..60).contains(&count), "{count} of 200 users");

    let mark = gateway.mark();
    gateway.rewrite(&split(50));
    gateway.says(mark, "configuration reloaded").await;
    for (user, was) in before {
        let now = said(&gateway, &format!("/?userId={user}"), &[]).await;
        assert!(was == "s" || now == "c", "user {user} does not go back");
    }
    let line = gateway.access_of("/").await;
    assert!(["stable", "canary"].contains(&line["upstream.name"].as_str().expect("a name")));
}

#[tokio::test]
async fn non_ascii_cookie_does_not_hide_others() {
    let (stable, canary) = (Upstream::saying("s").await, Upstream::saying("c").await);
    let gateway = Config::new()
        .top("identity: {user_id: [{cookie: uid}, {query: u}]}")
        .upstream("stable", &[stable.address()])
        .upstream("canary", &[canary.address()])
        .route("api", "path_prefix: /", "stable")
        .with("split: [{upstream: canary, cookies: {canary: \"yes\"}}]")
        .start()
        .await;
    for (cookies, user) in
        [(&b"a=\xff; canary=yes; uid=bob"[..], "bob"), ("canary=yes; uid=José".as_bytes(), "José")]
    {
        let target = format!("/{}?u=mallory", user.len());
        let start = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: ");
        let answer = gateway.send([start.as_bytes(), cookies, b"\r\n\r\n"].concat()).await;
        assert_eq!(answer.text(), "c", "{user}");
        assert_eq!(gateway.access_of(&format!("/{}", user.len())).await["user.id"], user);
    }
}

#[tokio::test]
async fn split_by_header_or_cookie_selects_the_upstream() {
    let (stable, canary) = (Upstream::saying("s").await, Upstream::saying("c").await);
    let split =
        "split: [{upstream: canary, headers: {x-canary: \"1\"}, cookies: {canary: \"yes\"}}]";
    let gateway = config(&stable, &canary).with(split).start().await;
    for (fields, expected) in [
        (&["X-Canary: 1"][..], "c"),
        (&["X-Canary: 0"], "s"),
        (&["Cookie: a=b; canary=yes"], "c"),
        (&["Cookie: canary=no"], "s"),
        (&[], "s"),
    ] {
        assert_eq!(said(&gateway, "/", fields).await, expected, "{fields:?}");
    }
}

#[tokio::test]
async fn invalid_split_is_refused() {
    let upstream = Upstream::saying("s").await;
    for (split, told) in [
        ("[{upstream: canry, percent: 1}]", "did you mean `canary`?"),
        ("[{upstream: canary}]", "the split matches no requests"),
        (
            "[{upstream: canary, percent: 60}, {upstream: canary, percent: 50}]",
            "add up to more than 100",
        ),
    ] {
        let config = config(&upstream, &upstream).with(&format!("split: {split}"));
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("t.yaml"), config.yaml(free_port())).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert_eq!(run.code, Some(78), "{split}: {}", run.all());
        assert!(run.all().contains(told), "{split}: {}", run.all());
    }
}

#[tokio::test]
async fn mirror_gets_the_same_request_as_the_upstream() {
    let (stable, shadow) = (Upstream::saying("s").await, Upstream::saying("never seen").await);
    let gateway = config(&stable, &shadow).with("mirror: {upstream: canary}").start().await;
    assert_eq!(said(&gateway, "/a?b=c", &["X-Own: 1"]).await, "s");
    let posted = "POST /p HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(gateway.send(posted).await.text(), "s");
    until("both copies", || async { shadow.requests().len() == 2 }).await;
    let mut copies = shadow.requests();
    copies.sort_by_key(|copy| copy.head.target().to_owned());
    for (copy, original) in copies.iter().zip(stable.requests()) {
        assert_eq!(copy.head.target(), original.head.target());
        assert_eq!(copy.head.only("x-request-id"), original.head.only("x-request-id"));
        assert_eq!(copy.head.only("x-own"), original.head.only("x-own"));
        assert_eq!(copy.body, original.body);
    }
    assert_eq!(copies[1].body, b"hello");
}

#[tokio::test]
async fn rfc9113_8_2_3_cookies_of_a_mirrored_request_are_one_header() {
    let (stable, shadow) = (Upstream::saying("s").await, Upstream::saying("never seen").await);
    let config = config(&stable, &shadow).with("mirror: {upstream: canary}");
    let gateway = config.listening("protocols: [h1, h2c]").start().await;
    let fields = [("cookie", "a=1"), ("x-own", "1"), ("cookie", "sid=2")];
    assert_eq!(get_over_http2(&gateway, "/", &fields).await.status, 200);
    for upstream in [&stable, &shadow] {
        let head = upstream.only_request().await.head;
        assert_eq!(head.only("cookie"), Some("a=1; sid=2"));
    }
}

#[tokio::test]
async fn hanging_or_missing_mirror_delays_nothing() {
    let stable = Upstream::answering(|_| ok("s")).await;
    let hanging = Upstream::scripted(|mut wire, recorder| async move {
        if let Some(head) = wire.try_head().await {
            recorder.record(&head);
        }
        std::future::pending::<()>().await;
    })
    .await;
    let mirror = "mirror: {upstream: canary, concurrency: 2}";
    let gateway = config(&stable, &hanging).with(mirror).start().await;
    for _ in 0..20 {
        assert_eq!(said(&gateway, "/", &[]).await, "s");
    }
    until("the copies", || async { hanging.requests().len() == 2 }).await;
    let mark = gateway.mark();
    let gone = Config::new()
        .upstream("stable", &[stable.address().to_string()])
        .upstream("canary", &[format!("127.0.0.1:{}", free_port())])
        .route("api", "path_prefix: /", "stable")
        .with("mirror: {upstream: canary}");
    gateway.rewrite(&gone);
    gateway.says(mark, "configuration reloaded").await;
    let large = format!(
        "POST /large HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    assert_eq!(gateway.send(&large).await.text(), "s");
    assert_eq!(gateway.send(get("/", &[])).await.text(), "s");
}

#[tokio::test]
async fn impossible_header_value_in_a_match_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let yaml = Config::to_address("127.0.0.1:1")
        .with("split: [{upstream: service, headers: {x-a: \"b\\nc\", x-b: \"\u{e9}\"}}]")
        .route(
            "padded",
            "path_prefix: /, headers: {x-c: \" 1\", x-d: \"2\\t\", x-e: \"a b\"}",
            "service",
        )
        .yaml(3000);
    std::fs::write(&file, yaml).expect("the file");
    let run = cli(folder.path(), &["check", "--config", "tidegate.yaml"], &[]).await;
    assert_eq!(run.code, Some(78), "{}", run.all());
    for told in [
        "routes[0].split[0].headers.x-a: no header value contains line breaks",
        "routes[1].match.headers.x-c: no header value begins or ends with white space",
        "routes[1].match.headers.x-d: no header value begins or ends with white space",
    ] {
        assert!(run.stderr.contains(told), "{told} in:\n{}", run.stderr);
    }
    for good in ["headers.x-b", "headers.x-e"] {
        assert!(!run.stderr.contains(good), "{good} in:\n{}", run.stderr);
    }
}
