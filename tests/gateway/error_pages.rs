//! Browsers get the configured error page, programs get JSON.

use nix::sys::signal::Signal;
use std::path::Path;
use tempfile::TempDir;
use tidegate_testing::{Config, Gateway, Response, Upstream, cli, replace_file, respond, until};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
const PAGE: &str = "<h1>{{status}} {{reason}}</h1><p>{{message}}</p><i>{{request.id}}</i>";

fn pages() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("all.html"), PAGE).expect("a page");
    std::fs::write(folder.path().join("404.html"), "lost {{request.id}}").expect("a page");
    folder
}

fn config(folder: &TempDir, upstream: &Upstream, more: &str) -> Config {
    let page = |name: &str| folder.path().join(name).display().to_string();
    let (all, lost) = (page("all.html"), page("404.html"));
    Config::new()
        .top(&format!(
            "error_pages: {{pages: {{404: {lost:?}, 4xx: {all:?}, 5xx: {all:?}}}{more}}}"
        ))
        .upstream("service", &[upstream.address()])
        .upstream("nobody", &["127.0.0.1:1"])
        .route("service", "path_prefix: /s", "service")
        .route("nobody", "path_prefix: /n, methods: [GET, HEAD]", "nobody")
}

async fn browse(gateway: &Gateway, target: &str) -> Response {
    let answer = gateway.get(target, &[BROWSER]).await;
    assert_eq!(answer.head.only("content-length"), Some(&*answer.body.len().to_string()));
    answer
}

#[tokio::test]
async fn browser_gets_the_error_page_and_a_program_json() {
    let folder = pages();
    let upstream = Upstream::answering(|_| respond("500 Oh", &["X-A: 1"], "theirs")).await;
    let gateway = config(&folder, &upstream, "").start().await;
    let lost = browse(&gateway, "/%3Cb%3E").await;
    let id = lost.head.only("x-request-id").expect("an id");
    assert_eq!((lost.status(), lost.text()), (404, format!("lost {id}")));
    assert_eq!(lost.head.only("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(lost.head.only("cache-control"), Some("no-store"));
    let down = browse(&gateway, "/n").await;
    let id = down.head.only("x-request-id").expect("an id");
    assert_eq!(down.status(), 502);
    assert!(
        down.text().starts_with("<h1>502 Bad Gateway</h1><p>the gateway cannot connect"),
        "{}",
        down.text()
    );
    assert!(down.text().ends_with(&format!("<i>{id}</i>")), "{}", down.text());
    let malformed = browse(&gateway, "/%zz").await;
    assert!(malformed.text().starts_with("<h1>400 Bad Request</h1>"), "{}", malformed.text());
    for accept in ["Accept: */*", "Accept: application/json", "X: y"] {
        assert_eq!(gateway.get("/n", &[accept]).await.error()["error"], "upstream_unreachable");
    }
    let theirs = browse(&gateway, "/s").await;
    assert_eq!((theirs.status(), theirs.text().as_str()), (500, "theirs"), "not ours to replace");
}

#[tokio::test]
async fn upstream_errors_get_the_page_where_configured() {
    let folder = pages();
    let upstream = Upstream::answering(|request| match request.head.target() {
        "/s/401" => {
            respond("401 Unauthorized", &["WWW-Authenticate: Basic", "ETag: \"x\""], "theirs")
        }
        "/s/503" => b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/s/404" => b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nth".to_vec(),
        _ => respond("200 OK", &[], "fine"),
    })
    .await;
    let gateway = config(&folder, &upstream, ", intercept: true")
        .top("headers: {response: {set: {x-edge: \"1\"}}}")
        .start()
        .await;
    let denied = browse(&gateway, "/s/401").await;
    assert_eq!((denied.status(), denied.head.only("www-authenticate")), (401, Some("Basic")));
    assert_eq!((denied.head.get("etag"), denied.head.only("x-edge")), (None, Some("1")));
    assert!(denied.text().starts_with("<h1>401 Unauthorized</h1>"), "{}", denied.text());
    let busy = browse(&gateway, "/s/503").await;
    assert_eq!((busy.status(), busy.head.only("retry-after")), (503, Some("7")));
    assert!(busy.text().starts_with("<h1>503 "), "{}", busy.text());
    assert!(browse(&gateway, "/s/404").await.text().starts_with("lost "));
    assert_eq!(browse(&gateway, "/s").await.text(), "fine");
    let program = gateway.get("/s/401", &["Accept: application/json"]).await;
    assert_eq!((program.status(), program.text().as_str()), (401, "theirs"));
}

#[tokio::test]
async fn error_page_keeps_headers_that_the_status_requires() {
    let folder = pages();
    let upstream = Upstream::answering(|request| {
        let (status, field) = match request.head.target() {
            "/s/405" => ("405 No", "Allow: GET"),
            "/s/407" => ("407 No", "Proxy-Authenticate: Basic"),
            "/s/415" => ("415 No", "Accept-Encoding: gzip"),
            "/s/416" => ("416 No", "Content-Range: bytes */99"),
            "/s/426" => ("426 No", "Upgrade: websocket"),
            "/s/451" => ("451 No", "Link: <https://a.test/>; rel=\"blocked-by\""),
            _ => ("403 No", "Content-Range: bytes 0-1/2"),
        };
        let cors =
            ["Access-Control-Allow-Origin: https://a.test", "Access-Control-Expose-Headers: x"];
        let more = ["Vary: Origin", "Timing-Allow-Origin: *", "X-Own: 1", "ETag: \"x\"", field];
        respond(status, &[&cors[..], &more].concat(), "theirs")
    })
    .await;
    let gateway = config(&folder, &upstream, ", intercept: true").start().await;
    for (status, name, value) in [
        (405, "allow", Some("GET")),
        (407, "proxy-authenticate", Some("Basic")),
        (415, "accept-encoding", Some("gzip")),
        (416, "content-range", Some("bytes */99")),
        (426, "upgrade", Some("websocket")),
        (451, "link", Some("<https://a.test/>; rel=\"blocked-by\"")),
        (403, "content-range", None),
    ] {
        let answer = browse(&gateway, &format!("/s/{status}")).await;
        assert_eq!((answer.status(), answer.head.only(name)), (status, value));
        assert!(answer.text().starts_with(&format!("<h1>{status}")), "{}", answer.text());
        let origin = answer.head.only("access-control-allow-origin");
        assert_eq!(origin, Some("https://a.test"), "{}", answer.head.text);
        assert_eq!(answer.head.only("access-control-expose-headers"), Some("x"));
        assert_eq!(answer.head.only("timing-allow-origin"), Some("*"));
        assert_eq!(answer.head.only("vary"), Some("Origin"));
        assert_eq!((answer.head.get("x-own"), answer.head.get("etag")), (None, None));
    }
    let upgrade = browse(&gateway, "/s/426").await;
    assert!(upgrade.head.list("connection").contains(&"upgrade".to_owned()));
}

#[tokio::test]
async fn error_page_is_reread_on_sighup_and_a_bad_one_refused() {
    let folder = pages();
    let upstream = Upstream::saying("ok").await;
    let config = config(&folder, &upstream, "");
    let gateway = config.start().await;
    replace_file(&folder.path().join("404.html"), "found {{message}}");
    gateway.signal(Signal::SIGHUP);
    until("the new page", || async {
        gateway.get("/x", &[BROWSER]).await.text().starts_with("found no route")
    })
    .await;
    let file = folder.path().join("tidegate.yaml");
    let yaml = "listeners: [{address: 127.0.0.1:1}]\nerror_pages: {pages: {404: /none.html, 200: x, 6xx: y}}\n";
    std::fs::write(&file, yaml).expect("the file");
    let run =
        cli(Path::new("."), &["check", "--config", file.to_str().expect("a path")], &[]).await;
    for told in [
        "error_pages.pages.404: cannot read the error page `/none.html`: No such file",
        "error_pages.pages.200: not an error status; write it like `404`, `4xx` or `5xx`",
        "error_pages.pages.6xx: not an error status",
    ] {
        assert!(run.stderr.contains(told), "{told} in:\n{}", run.stderr);
    }
}

#[tokio::test]
async fn program_gets_the_configured_json_error() {
    let folder = pages();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a page");
        path.display().to_string()
    };
    let own = r#"{"code": {{status}}, "reason": "{{reason}}", "name": "{{error}}",
        "detail": "{{message}}", "trace": "{{request.id}}"}"#;
    let all = write("all.json", own);
    let upstream =
        Upstream::answering(|_| respond("503 Busy", &["Retry-After: 7"], "theirs")).await;
    let yaml = |more: &str| {
        let html = folder.path().join("all.html").display().to_string();
        Config::new()
            .top(&format!("error_pages: {{pages: {{5xx: {html:?}}}, json: {{4xx: {all:?}, 503: {all:?}}}{more}}}"))
            .upstream("service", &[upstream.address()])
            .upstream("nobody", &["127.0.0.1:1"])
            .route("service", "path_prefix: /s", "service")
            .route("nobody", "path_prefix: /n", "nobody")
            .with("max_body_size: 1B")
    };
    let gateway = yaml("").start().await;
    let json = |answer: &Response| -> serde_json::Value {
        assert_eq!(answer.head.only("content-type"), Some("application/json"));
        assert_eq!(answer.head.only("cache-control"), Some("no-store"));
        serde_json::from_slice(&answer.body).expect("JSON")
    };
    for accept in ["Accept: application/json", "Accept: */*", "X: y", BROWSER] {
        let lost = gateway.get("/x", &[accept]).await;
        assert_eq!(lost.status(), 404);
        if accept == BROWSER {
            assert!(lost.text().contains("\"no_route\""), "no page for it: {}", lost.text());
            continue;
        }
        let told = json(&lost);
        assert_eq!((&told["code"], &told["reason"]), (&404.into(), &"Not Found".into()));
        assert_eq!(told["name"], "no_route");
        assert_eq!(told["trace"].as_str(), lost.head.only("x-request-id"));
        assert!(told["detail"].as_str().is_some_and(|it| it.starts_with("no route")), "{told}");
    }
    let text = gateway.get("/x", &["Accept: text/plain"]).await;
    assert!(text.text().starts_with("no_route: "), "{}", text.text());
    assert_eq!(
        gateway.get("/n", &[]).await.error()["error"],
        "upstream_unreachable",
        "none for 502"
    );
    assert_eq!(gateway.get("/s", &[]).await.text(), "theirs");
    assert!(gateway.get("/n", &[BROWSER]).await.text().starts_with("<h1>502 "));
    gateway.rewrite(&yaml(", intercept: true"));
    until("theirs is replaced", async || gateway.get("/s", &[]).await.text() != "theirs").await;
    let busy = gateway.get("/s", &[]).await;
    assert_eq!((busy.status(), busy.head.only("retry-after")), (503, Some("7")));
    assert_eq!(json(&busy)["name"], "upstream_error");

    let bad = write("bad.json", "{\"detail\": {{message}}}");
    let file = folder.path().join("bad.yaml");
    let yaml =
        format!("listeners: [{{address: 127.0.0.1:1}}]\nerror_pages: {{json: {{404: {bad:?}}}}}\n");
    std::fs::write(&file, yaml).expect("the file");
    let run =
        cli(Path::new("."), &["check", "--config", file.to_str().expect("a path")], &[]).await;
    assert_eq!(run.code, Some(78));
    assert!(run.stderr.contains("is not valid JSON once"), "{}", run.stderr);
}
