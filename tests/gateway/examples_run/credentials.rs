//! Examples that read API keys and passwords from files.

use crate::example::Example;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_testing::{Handshake, Upstream, replace_file};

/// The keys of the example, which nobody may use anywhere else.
const REPORTS: &str = "tgk_cgjxw6YecY5PUOKsOC8hZNqKQc8K6TnRrvgGmDX8eTM";
const WAREHOUSE: &str = "tgk_8ciRnbHvYIgXEJ7tCWXH9tYuaqwQoLAB2gZdl-0uZNg";
const SCANNER: &str = "scan the parcels at gate seven";

#[tokio::test]
async fn authentication_api_keys() {
    let orders = Upstream::echo().await;
    let gateway = Example::from_file("examples/authentication-api-keys.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4000", orders.address())
        .run()
        .await;
    let key = |key: &str| format!("X-API-Key: {key}");
    for (method, path, header, status) in [
        ("GET", "/orders", key(REPORTS), 200),
        ("GET", "/orders", key(SCANNER), 200),
        ("GET", "/orders", key("nobody"), 401),
        ("GET", "/orders", format!("Authorization: Bearer {REPORTS}"), 401),
        ("DELETE", "/orders/7", key(WAREHOUSE), 200),
        ("DELETE", "/orders/7", key(REPORTS), 403),
        ("GET", "/updates", key(REPORTS), 200),
        ("GET", "/updates", format!("Authorization: Bearer {REPORTS}"), 200),
        ("GET", "/updates", format!("Cookie: api_key={REPORTS}"), 200),
        ("GET", "/health", key("nobody"), 200),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
        assert_eq!(gateway.send(request).await.status(), status, "{method} {path} {header}");
    }
    let handshake =
        Handshake::to("/updates").set("Sec-WebSocket-Protocol", &format!("api_key.{REPORTS}"));
    handshake.open(&gateway).await;
    let seen = orders.requests();
    assert!(seen[0].head.get("x-api-key").is_none(), "{}", seen[0].head.text);
    assert_eq!(gateway.access_of("/updates").await["user.id"], "reports");

    let mark = gateway.mark();
    replace_file(&gateway.file().with_file_name("authentication/keys.yaml"), "keys: []\n");
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(gateway.get("/orders", &[&key(REPORTS)]).await.status(), 401);
}

#[tokio::test]
async fn authentication_basic() {
    let tool = Upstream::saying("tool").await;
    let gateway = Example::from_file("examples/authentication-basic.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4000", tool.address())
        .run()
        .await;
    let (anna, ben) = ("anna:the tide comes in at nine", "ben:and leaves at three");
    for (path, pair, status) in [
        ("/", anna, 200),
        ("/", ben, 200),
        ("/", "ben:the tide comes in at nine", 401),
        ("/wiki", ben, 200),
        ("/admin", anna, 200),
        ("/admin", ben, 403),
    ] {
        let header = format!("Authorization: Basic {}", STANDARD.encode(pair));
        assert_eq!(gateway.get(path, &[&header]).await.status(), status, "{path} {pair}");
    }
    let challenge = gateway.get("/", &[]).await;
    let expected = "Basic realm=\"Staff\", charset=\"UTF-8\"";
    assert_eq!(challenge.head.only("www-authenticate"), Some(expected));
    let forwarded: Vec<bool> =
        tool.requests().iter().map(|it| it.head.get("authorization").is_some()).collect();
    assert_eq!(forwarded, [false, false, true, false], "only /wiki asks for it");
}
