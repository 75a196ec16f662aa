//! HTTP/2 without TLS is spoken on the listeners that allow it.

use futures_util::StreamExt;
use tidegate_testing::{Config, Upstream, ok, within};

#[tokio::test]
async fn http2_without_tls_is_spoken_where_configured() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream)
        .top("identity: {user_id: [{query: userId}]}")
        .listening("protocols: [h1, h2c]")
        .start()
        .await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let url = format!("http://127.0.0.1:{}/api/notification?userId=u", gateway.port());
    let mut requests = futures_util::stream::FuturesUnordered::new();
    for _ in 0..20 {
        requests.push(client.get(&url).send());
    }
    while let Some(answer) = within("an answer", requests.next()).await {
        let answer = answer.expect("an answer");
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("x-request-id"));
        assert_eq!(answer.text().await.expect("a body"), "polled");
    }
    let passed = upstream.request(0).await.head;
    assert_eq!(passed.only("host"), Some(format!("127.0.0.1:{}", gateway.port()).as_str()));
    assert_eq!(passed.only("x-forwarded-for"), Some("127.0.0.1"));
    assert!(passed.only("x-forwarded-host").is_some(), "{}", passed.text);
    assert_eq!(gateway.access_of("/api/notification").await["user.id"], "u");
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.text(), "polled", "HTTP/1.1 beside it");
    drop(gateway.websocket("/").await);
}

#[tokio::test]
async fn http2_carries_bodies_and_errors() {
    let upstream = Upstream::answering(|request| ok(&String::from_utf8_lossy(&request.body))).await;
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .listening("protocols: [h1, h2c]")
        .route("up", "path_prefix: /up", "service")
        .with("max_body_size: 1MiB")
        .route("read", "path_prefix: /read, methods: [GET]", "service")
        .start()
        .await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", gateway.port());
    let body = "x".repeat(500_000);
    let answer = client.post(url("/up")).body(body.clone()).send().await.expect("an answer");
    assert!(answer.text().await.expect("a body") == body);
    for (path, size, status) in [("/up", 1_100_000, 413), ("/read", 1, 405), ("/a%2fb", 1, 400)] {
        let answer = client.post(url(path)).body("x".repeat(size)).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        let error: serde_json::Value = answer.json().await.expect("JSON");
        assert!(error["request_id"].is_string(), "{error}");
    }
}

#[tokio::test]
async fn http2_without_tls_is_refused_where_not_configured() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let answer = client.get(format!("http://127.0.0.1:{}/", gateway.port())).send();
    assert!(within("the end", answer).await.is_err());
    assert_eq!(upstream.connections(), 0);
}
