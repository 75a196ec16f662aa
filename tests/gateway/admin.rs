//! The admin endpoint: reading without, changing with the token.

use http::StatusCode;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::Value;
use tidegate_testing::{Admin, Config, TOKEN, Upstream, ok, until};

/// All that changes something.
const CHANGES: [(&str, &str); 9] = [
    ("POST", "/reload"),
    ("POST", "/rollback"),
    ("POST", "/drain"),
    ("DELETE", "/drain"),
    ("PUT", "/log-level?level=debug"),
    ("POST", "/sessions/close?user=nobody"),
    ("POST", "/sessions/log?user=nobody&level=off"),
    ("POST", "/cache/purge?all=true"),
    ("PATCH", "/config"),
];

fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).expect("a method")
}

async fn error(response: reqwest::Response) -> String {
    let body: Value = response.json().await.expect("JSON");
    body["error"].as_str().expect("a reason").to_owned()
}

#[tokio::test]
async fn change_without_the_token_is_refused() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let _gateway = Config::to(&upstream).top(&admin.section()).start().await;
    for (name, target) in CHANGES {
        for (shown, wanted) in [(None, "needs `admin.token`"), (Some("wrong"), "does not match")] {
            let refused = admin.send(method(name), target, shown).await;
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{name} {target}");
            assert!(refused.headers().contains_key("www-authenticate"));
            let reason = error(refused).await;
            assert!(reason.contains(wanted), "{reason}");
        }
    }
    let level = admin.send(Method::PUT, "/log-level?level=debug", Some(TOKEN)).await;
    assert_eq!(level.status(), StatusCode::OK);
    assert_eq!(admin.get("/log-level").await["level"], "debug");
    let reloaded = admin.send(Method::POST, "/reload", Some(TOKEN)).await;
    assert_eq!(reloaded.status(), StatusCode::OK);
    assert_eq!(admin.get("/log-level").await["level"], "info", "as it is configured");
}

#[tokio::test]
async fn changes_over_tcp_are_refused_without_a_configured_token() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let section = format!("admin: {{address: \"{}\"}}", admin.address());
    let _gateway = Config::to(&upstream).top(&section).start().await;
    for (name, target) in CHANGES {
        let refused = admin.send(method(name), target, Some(TOKEN)).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{name} {target}");
        assert!(error(refused).await.contains("set `admin.token`"));
    }
    assert_eq!(admin.get("/livez").await["live"], true);
}

#[tokio::test]
async fn short_admin_token_is_refused() {
    let text = "listeners: [{address: 127.0.0.1:3000}]\n\
                admin: {address: 127.0.0.1:9901, token: short}\n";
    let problems = tidegate::Config::from_yaml(text).check().expect_err("too short").to_string();
    assert!(problems.contains("2:41: error: admin.token: a token of fewer than 16"), "{problems}");
}

#[tokio::test]
async fn admin_refuses_requests_of_foreign_origins_and_hosts() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let _gateway = Config::to(&upstream).top(&admin.section()).start().await;
    let ask = async |name: &'static str, value: String| {
        let url = format!("http://{}/sessions", admin.address());
        let request = reqwest::Client::new().get(url).header(name, value);
        request.send().await.expect("an answer").status()
    };
    assert_eq!(ask("origin", "https://evil.example".into()).await, StatusCode::FORBIDDEN);
    assert_eq!(ask("origin", "null".into()).await, StatusCode::FORBIDDEN);
    assert_eq!(ask("host", "evil.example".into()).await, StatusCode::FORBIDDEN);
    assert_eq!(ask("origin", format!("http://{}", admin.address())).await, StatusCode::OK);
}

#[tokio::test]
async fn unknown_admin_path_is_404_and_wrong_method_405() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let _gateway = Config::to(&upstream).top(&admin.section()).start().await;
    let missing = admin.send(Method::GET, "/nothing", None).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(error(missing).await.contains("/sessions/close"));
    let wrong = admin.send(Method::DELETE, "/log-level", Some(TOKEN)).await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()["allow"], "GET, HEAD, PUT");
    let head = admin.send(Method::HEAD, "/livez", None).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.text().await.expect("no body"), "");
}

#[tokio::test]
async fn admin_lists_routes_and_upstreams_with_counts() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let gateway = Config::to(&upstream).top(&admin.section()).start().await;
    gateway.get("/", &[]).await;
    let counted = async || admin.get("/routes").await["routes"][0]["requests"] == 1;
    until("it is counted", counted).await;
    let routes = admin.get("/routes").await;
    let route = &routes["routes"][0];
    assert_eq!((&route["name"], &route["upstream"]), (&"all".into(), &"service".into()));
    assert_eq!(route["settings"]["timeouts.connect"], "3s");
    assert_eq!(routes["routes"][1]["name"], "", "what no route takes");
    let buckets = route["duration_buckets"].as_array().expect("a list");
    assert_eq!(buckets.len(), routes["bounds"].as_array().expect("a list").len() + 1);
    assert_eq!(buckets.last(), Some(&1.into()));
    let upstreams = admin.get("/upstreams").await;
    let told = &upstreams["upstreams"][0];
    assert_eq!(told["endpoints"][0]["address"], upstream.address().to_string());
    assert_eq!(told["endpoints"][0]["healthy"], true);
    assert_eq!(told["attempts"]["2xx"], 1);
}

#[tokio::test]
async fn admin_config_is_shown_with_secrets_redacted() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let gateway = Config::to(&upstream)
        .with("headers: {request: {set: {Authorization: Basic c2VjcmV0}}}")
        .top(&admin.section())
        .start()
        .await;
    let shown = admin.get("/config").await;
    assert_eq!(shown["version"], 1);
    let file = &shown["files"][0];
    assert_eq!(file["path"], gateway.file().display().to_string());
    let configuration = &file["configuration"];
    assert_eq!(configuration["admin"]["token"], "REDACTED");
    let fields = &configuration["routes"][0]["headers"]["request"]["set"];
    assert_eq!(fields["Authorization"], "REDACTED");
    assert_eq!(configuration["routes"][0]["match"]["path_prefix"], "/");
    let text = shown.to_string();
    assert!(!text.contains(TOKEN) && !text.contains("c2VjcmV0"), "{text}");
}

#[tokio::test]
async fn admin_returns_the_newest_access_log_lines() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let gateway = Config::to(&upstream).top(&admin.section()).start().await;
    gateway.get("/first", &[]).await;
    until("it is written", async || admin.get("/logs").await["newest"] == 1).await;
    gateway.get("/second", &[]).await;
    until("it is written", async || admin.get("/logs").await["newest"] == 2).await;
    let new = admin.get("/logs?after=1").await;
    let lines = new["lines"].as_array().expect("a list");
    let line: Value = serde_json::from_str(lines[0].as_str().expect("a line")).expect("JSON");
    assert_eq!((lines.len(), &line["url.path"]), (1, &"/second".into()));
    assert_eq!(admin.get("/logs?after=2").await["lines"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn admin_reload_returns_the_errors_of_the_file() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let config = Config::to(&upstream).top(&admin.section());
    let gateway = config.start().await;
    gateway.rewrite(&config.clone().with("websokcet: off"));
    let refused = admin.send(Method::POST, "/reload", Some(TOKEN)).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(error(refused).await.contains("did you mean `websocket`?"));
    gateway.rewrite(&config.clone().with("websocket: off"));
    let done = admin.send(Method::POST, "/reload", Some(TOKEN)).await;
    assert_eq!(done.status(), StatusCode::OK);
    gateway.signal(Signal::SIGHUP);
}
