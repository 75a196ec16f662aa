//! CGI, WSGI, Rack and PHP read `X_Real_IP` as `X-Real-IP`: clients cannot set a managed header by an alias.

use tidegate_testing::http2::get_over_http2;
use tidegate_testing::{Config, Head, Upstream, respond};

/// Names that the gateway sets, removes, believes, matches or keys by, each in another spelling.
const ALIASES: [&str; 18] = [
    "X_Forwarded_For",
    "X-Forwarded_Proto",
    "X_Forwarded_Host",
    "x.forwarded.for",
    "X_Real_IP",
    "X_Request_Id",
    "X_Tenant",
    "X_Role",
    "X_Added",
    "X_User_Id",
    "X_Version",
    "X_Canary",
    "X_Plan",
    "X_Session_Id",
    "X_Api_Key",
    "X_Forwarded_Client_Cert",
    "SSL_CLIENT_I_DN",
    "X_Amzn_Mtls_Clientcert_Subject",
];

fn config(upstream: &Upstream, top: &str) -> Config {
    let config = Config::new()
        .upstream("service", &[upstream.address()])
        .speaking("balance: {hash: {header: x-session-id}}")
        .route("versioned", "path_prefix: /v, headers: {x-version: \"2\"}", "service")
        .route("all", "path_prefix: /", "service")
        .with("headers: {request: {set: {X-Tenant: blue}, add: {X-Added: a}, remove: [x-role]}}")
        .with("split: [{upstream: service, headers: {x-canary: \"1\"}}]")
        .with("cache: {key_headers: [x-plan]}")
        .with("rate_limits: [{requests: 1000, per: 1m, by: {header: x-api-key}}]")
        .top("identity: {user_id: [{header: x-user-id}]}");
    if top.is_empty() { config } else { config.top(top) }
}

async fn seen(top: &str, sent: &[&str]) -> Result<Head, u16> {
    let upstream = Upstream::saying("ok").await;
    let gateway = config(&upstream, top).start().await;
    let fields: Vec<String> = sent.iter().map(|name| format!("{name}: evil")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let answer = gateway.get("/x", &fields).await;
    match answer.status() {
        200 => Ok(upstream.only_request().await.head),
        status => {
            assert!(answer.error()["message"].as_str().is_some_and(|it| it.contains("underscore")));
            Err(status)
        }
    }
}

#[tokio::test]
async fn alias_of_a_managed_header_is_dropped() {
    let sent = [&ALIASES[..], &["X_Other", "X-Fine"]].concat();
    let head = seen("", &sent).await.expect("an answer");
    for alias in ALIASES {
        assert_eq!(head.get(alias), None, "{alias}");
    }
    assert_eq!(head.only("x_other"), Some("evil"), "it is nobody's alias");
    assert_eq!(head.only("x-fine"), Some("evil"));
    assert_eq!(head.only("x-tenant"), Some("blue"));
}

#[tokio::test]
async fn alias_over_http2_is_handled_as_over_http1() {
    let sent: Vec<_> =
        ALIASES.iter().chain(&["X_Other", "X-Fine"]).map(|name| (*name, "evil")).collect();
    for (top, status, has_other) in [
        ("", 200, true),
        ("limits: {underscore_headers: drop}", 200, false),
        ("limits: {underscore_headers: reject}", 400, false),
    ] {
        let upstream = Upstream::saying("ok").await;
        let config = config(&upstream, top).listening("protocols: [h1, h2c]");
        let gateway = config.start().await;
        assert_eq!(get_over_http2(&gateway, "/x", &sent).await.status, status, "{top}");
        if status != 200 {
            assert_eq!(upstream.requests().len(), 0, "{top}");
            continue;
        }
        let head = upstream.only_request().await.head;
        for alias in ALIASES {
            assert_eq!(head.get(alias), None, "{alias} {top}");
        }
        assert_eq!(head.only("x_other"), has_other.then_some("evil"), "{top}");
        assert_eq!(head.only("x-fine"), Some("evil"), "{top}");
    }
}

#[tokio::test]
async fn underscore_headers_setting_drops_rejects_or_allows() {
    let sent = ["X_Real_IP", "X_Other", "X-Fine"];
    let head = seen("limits: {underscore_headers: drop}", &sent).await.expect("an answer");
    assert_eq!((head.get("x_real_ip"), head.get("x_other")), (None, None));
    assert_eq!(head.only("x-fine"), Some("evil"));
    let refused = seen("limits: {underscore_headers: reject}", &sent).await;
    assert_eq!(refused.err(), Some(400));
    let head = seen("limits: {underscore_headers: reject}", &["X-Fine"]).await.expect("an answer");
    assert_eq!(head.only("x-fine"), Some("evil"));
    let head = seen("limits: {underscore_headers: allow}", &sent).await.expect("an answer");
    assert_eq!(head.only("x_real_ip"), Some("evil"));
}

#[tokio::test]
async fn configured_header_with_an_underscore_is_kept() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream)
        .route("next", "path_prefix: /, headers: {x_version: \"2\"}", "service")
        .start()
        .await;
    gateway.get("/x", &["X_Version: 2"]).await;
    assert_eq!(gateway.access_of("/x").await["http.route"], "next");
    assert_eq!(upstream.only_request().await.head.only("x_version"), Some("2"));
    gateway.get("/y", &["X-Version: 2"]).await;
    assert_eq!(upstream.request(1).await.head.get("x-version"), None, "it reads the same");
}

#[tokio::test]
async fn alias_does_not_poison_the_cache() {
    let upstream = Upstream::answering(|request| {
        let host = request.head.get("x_forwarded_host").or(request.head.get("x-forwarded-host"));
        respond("200 OK", &["Cache-Control: public, max-age=60"], host.unwrap_or_default())
    })
    .await;
    let gateway = Config::to(&upstream).with("cache: on").start().await;
    gateway.get("/x", &["X_Forwarded_Host: evil.example"]).await;
    assert_eq!(gateway.get("/x", &[]).await.text(), "localhost");
}

#[tokio::test]
async fn proxy_and_certificate_headers_of_clients_are_dropped() {
    let certificates = [
        "X-Forwarded-Client-Cert: Subject=\"CN=root\"",
        "Client-Cert: :MIIB:",
        "Client-Cert-Chain: :MIIB:",
        "X-SSL-Client-Verify: SUCCESS",
        "SSL-Client-Cert: x",
        "SSL-Client-Issuer-DN: CN=root",
        "SSL-Client-Serial: 1",
        "X-SSL-Client-CN: root",
        "X-SSL-Issuer: root",
        "X-ARR-ClientCert: x",
        "X-Amzn-Mtls-Clientcert-Leaf: x",
        "X-Client-Cert-Hash: x",
        "X-Client-Verify: SUCCESS",
        "X-Forwarded-Tls-Client-Cert-Info: x",
    ];
    let fields = [&certificates[..], &["Proxy: http://evil.example/"]].concat();
    for (top, kept) in [("", false), ("trusted_proxies: [127.0.0.1]", true)] {
        let upstream = Upstream::saying("ok").await;
        let config = Config::to(&upstream);
        let config = if top.is_empty() { config } else { config.top(top) };
        config.start().await.get("/", &fields).await;
        let head = upstream.only_request().await.head;
        assert_eq!(head.get("proxy"), None, "not even a trusted proxy");
        for field in certificates {
            let (name, _) = field.split_once(':').expect("a name");
            assert_eq!(head.get(name).is_some(), kept, "{name} {top}");
        }
    }
}
