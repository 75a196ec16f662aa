//! Examples of a gateway that is changed while it serves.

use crate::example::Example;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidegate_testing::{
    Authority, Handshake, Redis, TOKEN, TlsService, Upstream, cli, free_port, replace_file,
    respond, until,
};

#[tokio::test]
async fn operations() {
    let api = Upstream::saying("api").await;
    let admin = format!("127.0.0.1:{}", free_port());
    let example = Example::from_file("examples/operations.yaml").at("127.0.0.1:3000");
    let sockets = tempfile::tempdir().expect("a folder");
    let upgrade = sockets.path().join("upgrade.sock");
    let example = example
        .with("/var/lib/tidegate", "state")
        .with("127.0.0.1:9901", &admin)
        .with("/run/tidegate/upgrade.sock", upgrade.display())
        .with("127.0.0.1:8080", api.address());
    let text = example.text().to_owned();
    let gateway = example.run_with(&[("TIDEGATE_ADMIN_TOKEN", TOKEN)]).await;

    // An edit, and the way back.
    let mark = gateway.mark();
    let edit = text.replace("    upstream: api\n", "    respond: {status: 404}\n");
    replace_file(gateway.file(), &edit);
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(gateway.get("/", &[]).await.status(), 404);
    let environment = [("TIDEGATE_ADMIN", &*admin), ("TIDEGATE_ADMIN_TOKEN", TOKEN)];
    let back = cli(gateway.folder(), &["rollback"], &environment).await;
    assert_eq!(back.code, Some(0), "{}", back.all());
    assert_eq!(gateway.get("/", &[]).await.text(), "api");
    let history = cli(gateway.folder(), &["history"], &environment).await;
    assert!(history.stdout.contains("rollback"), "{}", history.all());
    let config = reqwest::get(format!("http://{admin}/config")).await.expect("an answer");
    let config = config.text().await.expect("text");
    assert!(config.contains("max_5xx_increase"), "{config}");

    // Another process takes its place, at the socket that is named.
    assert!(!upgrade.exists(), "it is there only while two meet");
    replace_file(gateway.file(), &text);
    let file = gateway.file().to_str().expect("a path").to_owned();
    let upgraded = cli(gateway.folder(), &["upgrade", "--config", &file], &environment).await;
    assert_eq!(upgraded.code, Some(0), "{}", upgraded.all());
    let process = upgraded.stdout.split("process ").nth(1).and_then(|it| it.split(' ').next());
    let process: i32 = process.and_then(|it| it.parse().ok()).expect("a process");
    assert_eq!(gateway.get("/", &[]).await.text(), "api");

    // Not ready any more, but not deaf either.
    kill(Pid::from_raw(process), Signal::SIGTERM).expect("it runs");
    until("it is not ready", async || {
        let ready = reqwest::get(format!("http://{admin}/readyz")).await.expect("an answer");
        ready.status() == 503
    })
    .await;
    assert_eq!(gateway.get("/", &[]).await.text(), "api");
}

#[tokio::test]
async fn rate_limits() {
    let service = Upstream::echo().await;
    let authority = Authority::new();
    let redis = Redis::over_tls(&authority).await;
    let gateway = Example::from_file("examples/rate-limits.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4000", service.address())
        .with("valkey.internal:6379", format!("localhost:{}", redis.port()))
        .with("tls/ca.pem", redis.ca())
        .run()
        .await;
    gateway.says(0, "counted together with the other gateways").await;
    let login = "POST /login?userId=user-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    for _ in 0..5 {
        assert_eq!(gateway.send(login).await.status(), 200);
    }
    assert_eq!(gateway.send(login).await.status(), 429);
    for _ in 0..150 {
        assert_eq!(gateway.get("/status", &[]).await.status(), 200, "it has no limit");
    }
}

#[tokio::test]
async fn authentication_by_another_service() {
    let service = Upstream::echo().await;
    let legacy = Upstream::answering(|request| match request.head.get("cookie") {
        Some("session=ann") => respond("200 OK", &["X-User-Id: ann", "X-Groups: staff admins"], ""),
        Some(_) => respond("200 OK", &["X-User-Id: bob"], ""),
        None => respond("302 Found", &["Location: https://login.test/"], ""),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.issue(folder.path(), "login", &["localhost"], 2090);
    let ca = folder.path().join("ca.pem");
    authority.write(&ca);
    let portal = TlsService::start(folder.path(), "login", None, &[]).await;
    let gateway = Example::from_file("examples/authentication-forward.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4000", service.address())
        .with("127.0.0.1:4010", legacy.address())
        .with("login.internal:4443", format!("localhost:{}", portal.address().port()))
        .with("tls/ca.pem", ca.display())
        .run()
        .await;
    let (ann, bob) = ("Cookie: session=ann", "Cookie: session=bob");
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
    let away = gateway.get("/api", &[]).await;
    assert_eq!((away.status(), away.head.only("location")), (302, Some("https://login.test/")));
    for (target, cookie, status) in
        [("/api", ann, 200), ("/api", bob, 200), ("/admin", ann, 200), ("/admin", bob, 403)]
    {
        assert_eq!(gateway.get(target, &[cookie]).await.status(), status, "{target} {cookie}");
    }
    // The portal admits everybody, and names nobody.
    let handshake = Handshake::to("/ws?userId=ann").set("Cookie", "session=ann");
    assert_eq!(gateway.refused(&handshake).await.status(), 403);
    assert_eq!(portal.heads().len(), 1);
}
