//! A route sets the form of the paths that it forwards; routing always uses the normal form.

use tidegate_testing::{Config, Gateway, Handshake, Upstream, cli, ok, until};

/// A gateway with guards, and routes that pass paths on in several forms, all to one upstream that
/// answers with the target that it sees.
async fn gateway(form: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .route("all", "path_prefix: /", "service")
        .with(&format!("path: {form}"))
        .route("api", "path_prefix: /api/v4", "service")
        .with(&format!("path: {form}"))
        .with("rewrite: {prefix: /}")
        .answer("guard", "path_prefix: /admin", "respond: {status: 403, body: guard}")
        .answer("exact", "path: /login", "respond: {status: 403, body: guard}")
        .listening("protocols: [h1, h2c]")
        .start()
        .await;
    (gateway, upstream)
}

/// The status of a GET over HTTP/2, and the body.
async fn over_http2(gateway: &Gateway, path: &str) -> (u16, String) {
    let socket = tokio::net::TcpStream::connect(gateway.address()).await.expect("a connection");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let running = tokio::spawn(connection);
    let mut client = client.ready().await.expect("room for a stream");
    let request =
        http::Request::get(format!("http://localhost{path}")).body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("a stream");
    let response = response.await.expect("a response");
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(part) = body.data().await {
        text.extend_from_slice(&part.expect("a part"));
    }
    running.abort();
    (status, String::from_utf8_lossy(&text).into_owned())
}

/// Spellings that services tell apart: npm, RabbitMQ, GitLab, S3, image proxies, Collabora.
const NAMES: [&str; 12] = [
    "/@scope%2fname",
    "/@scope%2Fname",
    "/api/queues/%2F/jobs",
    "/bucket/a//b",
    "/bucket//a",
    "//bucket/a",
    "/bucket/a/../b",
    "/bucket/./a/.",
    "/bucket/a%5Cb",
    "/resize/https://img.example/a.png",
    "/%61%7e/a;b=1//;c/..;d",
    "/bucket/key?versions=//..%2F",
];

#[tokio::test]
async fn raw_path_is_forwarded_byte_for_byte() {
    let (gateway, _upstream) = gateway("raw").await;
    for path in NAMES {
        let answer = gateway.get(path, &[]).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, path));
        assert_eq!(over_http2(&gateway, path).await, (200, path.to_owned()));
    }
    let line = gateway.access_of("/bucket/a//b").await;
    assert_eq!(line["http.route"], "all");
    // What is no path for anybody passes nowhere.
    for path in ["/a%00b", "/a%0d%0ab", "/a%7f", "/%", "/%zz"] {
        assert_eq!(gateway.get(path, &[]).await.status(), 400, "{path}");
    }
}

#[tokio::test]
async fn raw_path_is_kept_after_a_replaced_prefix() {
    let (gateway, _upstream) = gateway("raw").await;
    for (path, forwarded) in [
        ("/api/v4/projects/group%2Fproject?a=%2F", "/projects/group%2Fproject?a=%2F"),
        ("/%61pi/v4/a//b", "/a//b"),
        ("/api/v4//a", "//a"),
        ("/api/v4/a/../b", "/a/../b"),
        ("/api/v4", "/"),
        ("/api/v4/", "/"),
    ] {
        let answer = gateway.get(path, &[]).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, forwarded), "{path}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_bypasses_a_guard() {
    for form in ["raw", "{encoded_slash: keep}", "{encoded_slash: decode}", "normal"] {
        let (gateway, upstream) = gateway(form).await;
        for path in [
            "/admin",
            "/admin/x",
            "//admin/x",
            "/x/../admin",
            "/x/..%2Fadmin/users",
            "/x%2f..%2fadmin",
            "/x%5c..%5cadmin",
            "/%2Fadmin",
            "/.%2Fadmin",
            "/admin%2Fusers",
            "/admin%5Cusers",
            "/admin/../public",
            "/admin%2F..%2Fpublic",
            "/admin//../public",
            "/x//../admin",
            "/admin;x",
            "/admin;/users",
            "/admin;jsessionid=1/users",
            "/admin;x%2Fusers",
            "/x/..;/admin",
            "/;a/admin",
            "/login",
            "/login;x=1",
            "/%6Cogin",
            "/x/%2e%2e%2flogin",
            "/api/v4/..;/../admin",
            "/api/v4/../../admin",
            "/api/v4/..%2f..%2fadmin",
            "/admin/../api/v4/x",
            "//api/v4//../../admin",
        ] {
            let status = gateway.get(path, &[]).await.status();
            assert!(matches!(status, 200 | 400 | 403), "{form} {path}: {status}");
        }
        for request in upstream.requests() {
            let target = request.head.target();
            assert!(!target.contains("admin") && !target.contains("login"), "{form}: {target}");
        }
    }
}

#[tokio::test]
async fn each_path_setting_changes_its_part() {
    for (form, path, expected) in [
        ("{encoded_slash: keep}", "/a%2fb//c", Ok("/a%2Fb/c")),
        ("{encoded_slash: decode}", "/a%2fb%2F%2Fc", Ok("/a/b/c")),
        ("{encoded_slash: decode}", "/a%5cb", Ok("/a/b")),
        ("{encoded_slash: reject}", "/a%2fb", Err(400)),
        ("{duplicate_slashes: keep}", "/a//b/./c", Ok("/a//b/c")),
        ("{duplicate_slashes: keep}", "/a%2fb", Err(400)),
        ("{dot_segments: keep}", "/a//./b/../c", Ok("/a/./b/../c")),
        ("{duplicate_slashes: merge, dot_segments: resolve}", "/a//./b", Ok("/a/b")),
        (
            "{encoded_slash: keep, duplicate_slashes: keep, dot_segments: keep}",
            "/%61//.%2f",
            Ok("/%61//.%2f"),
        ),
        ("normal", "/a//./b", Ok("/a/b")),
    ] {
        let (gateway, _upstream) = gateway(form).await;
        let answer = gateway.get(path, &[]).await;
        let found = match answer.status() {
            200 => Ok(answer.text()),
            status => Err(status),
        };
        assert_eq!(found.as_deref().map_err(|it| *it), expected, "{form} {path}");
    }
}

#[tokio::test]
async fn path_rejection_names_the_setting() {
    let (gateway, upstream) = gateway("normal").await;
    for (path, named) in [
        ("/a%2fb", "path: {encoded_slash: keep}"),
        ("/a\\b", "path: {encoded_slash: keep}"),
        ("/a/..;/b", "path: {dot_segments: keep}"),
        ("/a/;/b", "path: {duplicate_slashes: keep}"),
        ("/login;a", "read as `/login`"),
    ] {
        let answer = gateway.get(path, &[]).await;
        assert_eq!(answer.status(), 400, "{path}");
        let message = answer.error()["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(named), "{path}: {message}");
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
    assert_eq!(gateway.access_of("/a%2fb").await["http.response.status_code"], 400);
}

#[tokio::test]
async fn path_parameters_are_forwarded() {
    let (gateway, _upstream) = gateway("normal").await;
    for path in
        ["/app/;jsessionid=1A2B", "/;view=list", "/app/page;a=1/b;c", "/app/;jsessionid=1?x=1"]
    {
        let answer = gateway.get(path, &[]).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, path));
    }
}

#[tokio::test]
async fn raw_path_is_kept_for_websockets() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).with("path: raw").start().await;
    let path = "/cool/http%3A%2F%2Fhost%2Ffile//ws";
    let (_, _socket) = Handshake::to(path).open(&gateway).await;
    assert_eq!(upstream.only_request().await.head.target(), path);
}

#[tokio::test]
async fn cache_keys_and_mirrors_use_the_forwarded_path() {
    let upstream = Upstream::answering(|request| {
        tidegate_testing::respond("200 OK", &["Cache-Control: max-age=60"], request.head.target())
    })
    .await;
    let shadow = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream)
        .with("path: raw")
        .with("cache: on")
        .with("mirror: {upstream: shadow}")
        .upstream("shadow", &[shadow.address()])
        .start()
        .await;
    for path in ["/a/b", "/a//b", "/a%2fb", "/a/./b"] {
        for _ in 0..2 {
            assert_eq!(gateway.get(path, &[]).await.text(), path);
        }
    }
    assert_eq!(upstream.requests().len(), 4, "each was kept by its own path");
    until("the copies", async || shadow.requests().len() == 4).await;
    let mut copies: Vec<_> =
        shadow.requests().iter().map(|request| request.head.target().to_owned()).collect();
    copies.sort();
    assert_eq!(copies, ["/a%2fb", "/a/./b", "/a//b", "/a/b"]);
}

#[tokio::test]
async fn explain_and_diff_show_the_path_form() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let config = |form: &str| {
        Config::new()
            .upstream("service", &["127.0.0.1:9"])
            .route("api", "path_prefix: /api", "service")
            .with(form)
            .with("rewrite: {prefix: /v1}")
            .yaml(3000)
    };
    std::fs::write(folder.path().join("a.yaml"), config("path: raw")).expect("a file");
    std::fs::write(folder.path().join("b.yaml"), config("path: {encoded_slash: keep}"))
        .expect("a file");
    let url = "http://x:3000/api//a%2Fb";
    let run = cli(folder.path(), &["explain", "--config", "a.yaml", url, "--json"], &[]).await;
    let told: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(told["target"], "/v1//a%2Fb", "{told:#}");
    assert_eq!(told["path"], "/api/a/b");
    assert_eq!(told["settings"]["path"], "raw");
    let run = cli(folder.path(), &["diff", "a.yaml", "b.yaml"], &[]).await;
    assert!(run.all().contains("encoded_slash keep"), "{}", run.all());
}

#[tokio::test]
async fn no_spelling_escapes_the_prefix_added_by_a_route() {
    let keeps = ["{encoded_slash: keep}", "{encoded_slash: decode}", "{dot_segments: keep}"];
    for form in ["raw", "normal"].into_iter().chain(keeps) {
        let upstream = Upstream::answering(|request| ok(request.head.target())).await;
        let gateway = Config::new()
            .upstream("service", &[upstream.address()])
            .route("all", "path_prefix: /", "service")
            .with(&format!("path: {form}"))
            .with("rewrite: {prefix: /tenant1}")
            .route("api", "path_prefix: /api", "service")
            .with(&format!("path: {form}"))
            .with("rewrite: {prefix: /svc}")
            .listening("protocols: [h1, h2c]")
            .start()
            .await;
        for path in [
            "/../tenant2/x",
            "/%2e%2e/tenant2/x",
            "/..%2ftenant2/x",
            "/..%2Ftenant2/x",
            "/..%5Ctenant2/x",
            "/..;/tenant2/x",
            "/..%3B/tenant2/x",
            "/x/../../tenant2",
            "/x/..%2f..%2ftenant2",
            "/;/../../tenant2",
            "//../../tenant2",
            "/api/../api/z",
            "/api/..%2Fapi/z",
            "/api/a/../../api/z",
        ] {
            let status = gateway.get(path, &[]).await.status();
            assert!(matches!(status, 200 | 400), "{form} {path}: {status}");
            let (status, _) = over_http2(&gateway, path).await;
            assert!(matches!(status, 200 | 400), "{form} {path}: {status}");
        }
        for request in upstream.requests() {
            let target = request.head.target().to_owned();
            let is_inside = target.starts_with("/tenant1/") || target.starts_with("/svc/");
            let leaves = form != "normal" && (target.contains("..") || target.contains("%2e"));
            assert!(is_inside && !leaves, "{form}: {target}");
        }
        if form == "raw" {
            assert_eq!(gateway.get("/../tenant2/x", &[]).await.status(), 400);
            assert_eq!(gateway.get("/api/../api/z", &[]).await.status(), 400);
            let inside = gateway.get("/api/a/../b%2Fc//d", &[]).await;
            assert_eq!(inside.text(), "/svc/a/../b%2Fc//d");
        }
    }
}

#[tokio::test]
async fn guard_matches_a_name_under_every_escaping() {
    for form in ["normal", "raw", "{encoded_slash: keep}"] {
        let upstream = Upstream::answering(|request| ok(request.head.target())).await;
        let gateway = Config::new()
            .upstream("service", &[upstream.address()])
            .route("all", "path_prefix: /", "service")
            .with(&format!("path: {form}"))
            .route("named", "path_prefix: /@api", "service")
            .with("rewrite: {prefix: /new}")
            .answer("at", "path_prefix: /@admin", "respond: {status: 403}")
            .answer("dollar", "path: /$meta", "respond: {status: 403}")
            .answer("escaped", "path_prefix: /%2Bplus", "respond: {status: 403}")
            .answer("colon", "path_prefix: \"/a:b\"", "respond: {status: 403}")
            .answer("accent", "path_prefix: /caf\u{e9}", "respond: {status: 403}")
            .listening("protocols: [h1, h2c]")
            .start()
            .await;
        for path in [
            "/@admin/x",
            "/%40admin/x",
            "/%40%61dmin",
            "/$meta",
            "/%24meta",
            "/+plus",
            "/%2bplus/x",
            "/a:b",
            "/a%3ab/c",
            "/caf\u{e9}/x",
            "/caf%C3%A9",
            "/caf%c3%a9/x",
        ] {
            assert_eq!(gateway.get(path, &[]).await.status(), 403, "{form} {path}");
            assert_eq!(over_http2(&gateway, path).await.0, 403, "{form} {path}");
        }
        // What is passed on keeps its spelling (RFC 3986, section 2.2).
        for (path, passed) in [
            ("/x/%40a@b%2Bc+d%24", "/x/%40a@b%2Bc+d%24"),
            ("/x/\u{e9}\"", "/x/%C3%A9%22"),
            ("/%40api/%40x", "/new/%40x"),
            ("/@api/%40x", "/new/%40x"),
        ] {
            assert_eq!(gateway.get(path, &[]).await.text(), passed, "{form} {path}");
            let answer = over_http2(&gateway, path).await;
            assert_eq!(answer, (200, passed.to_owned()), "{form} {path}");
        }
        let answer = over_http2(&gateway, "/x?a=\u{e9}").await;
        assert_eq!(answer, (200, "/x?a=%C3%A9".to_owned()), "{form}");
    }
}
