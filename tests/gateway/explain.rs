//! `tidegate explain` describes what the gateway does with a request.

use crate::shop::SHOP;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;
use tidegate_testing::{Admin, Cli, Config, TOKEN, Upstream, cli, free_port, ok, replace_file};

async fn explain(folder: &Path, arguments: &[&str]) -> Cli {
    std::fs::write(folder.join("t.yaml"), SHOP).expect("a file");
    let arguments = [&["explain", "--config", "t.yaml"], arguments].concat();
    cli(folder, &arguments, &[]).await
}

#[tokio::test]
async fn explain_names_the_route_its_reasons_and_near_misses() {
    let folder = TempDir::new().expect("a folder");
    let run = explain(folder.path(), &["http://shop.test:3000/api/v1/users/7?x=1"]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    for line in [
        "GET /api/v1/users/7 at shop.test:3000",
        "route     users",
        "as        http://127.0.0.1:4001/people/7?x=1",
        "timeouts  connect 3s, read 5s, write 1m; 2 retries",
        "because   path is /api/v1/users or below",
        "          method is GET or HEAD or POST",
        "not       beta    not met: header x-beta is 1",
        "          orders  not met: host is *.shop.test",
    ] {
        assert!(run.stdout.lines().any(|it| it == line), "{line}\n{}", run.stdout);
    }
    let run =
        explain(folder.path(), &["http://localhost:3000/api/v1/users", "-H", "X-Beta: 1"]).await;
    assert!(run.stdout.contains("route     beta"), "{}", run.stdout);
    assert!(run.stdout.contains("not       users   `beta` takes precedence"), "{}", run.stdout);
}

#[tokio::test]
async fn explain_shows_misses_redirects_and_fixed_responses() {
    let folder = TempDir::new().expect("a folder");
    for (arguments, code, told) in [
        (&["http://localhost:3000/api/v2"][..], 1, "404: no route matches"),
        (&["http://localhost:3000/api/v2"], 1, "not met: path is /api/v1 or below; not met: host"),
        (
            &["http://x:3000/api/v1/users", "--method", "DELETE"],
            0,
            "405: the method must be GET or HEAD or POST",
        ),
        (&["http://x:8080/a?b"], 0, "308 to https://x/a?b"),
        (&["http://x:3000/old"], 0, "answer    301, by the gateway"),
        (&["ws://a.shop.test:3000/api/v1/x"], 0, "answer    403, by the gateway"),
        (&["http://x:3000/a/../../etc"], 1, "GET /etc at x:3000"),
        (
            &["http://x:3000/api/v1/users", "-H", "Origin: https://shop.test"],
            0,
            "CORS      allowed",
        ),
        (
            &["http://x:3000/api/v1/users", "-H", "Origin: https://evil.test"],
            0,
            "CORS      refused",
        ),
    ] {
        let run = explain(folder.path(), arguments).await;
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.all());
        assert!(run.stdout.contains(told), "{arguments:?}: {told}\n{}", run.stdout);
    }
    let run = explain(folder.path(), &["ftp://x/"]).await;
    assert_eq!(run.code, Some(2), "{}", run.all());
}

#[tokio::test]
async fn explain_shows_rejections_with_exit_status_2() {
    let folder = TempDir::new().expect("a folder");
    let long = format!("http://x:3000/{}", "x".repeat(17_000));
    for (arguments, told) in [
        (&["http://x:3000/a%zz"][..], "answer    400: a `%` in the path"),
        (&["http://x:3000/", "-H", "Host: a b"], "answer    400: "),
        (&["http://x:3000/", "--method", "TRACE"], "answer    405: "),
        (&["http://x:3000/", "--method", "CONNECT"], "answer    405: "),
        (&[&long], "answer    414: "),
        (&["http://x:3000/", "-H", "Expect: tea"], "answer    417: "),
        (&["http://x:3000/", "-H", "Content-Length: two"], "answer    400: "),
        (&["http://x:3000/", "-H", "Transfer-Encoding: gzip"], "answer    400: "),
        (&["ws://x:3000/api/v1/users", "-H", "Sec-WebSocket-Version: 8"], "answer    426: "),
        (
            &["ws://x:3000/api/v1/users", "-H", "Sec-WebSocket-Key: x"],
            "route     users\nanswer    400: ",
        ),
        (&["ws://x:3000/api/v1/users", "--method", "POST"], "answer    405: a WebSocket handshake"),
    ] {
        let run = explain(folder.path(), arguments).await;
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.all());
        assert!(run.stdout.contains(told), "{arguments:?}: {told}\n{}", run.stdout);
    }
    let many: Vec<String> = (0..101).map(|number| format!("X-Many: {number}")).collect();
    let mut arguments = vec!["http://x:3000/"];
    arguments.extend(many.iter().flat_map(|field| ["-H", field]));
    let run = explain(folder.path(), &arguments).await;
    assert_eq!(run.code, Some(2), "{}", run.all());
    assert!(run.stdout.contains("answer    431: "), "{}", run.stdout);
}

const SETTINGS: &str = "\
listeners: [{address: \"127.0.0.1:3000\"}]
trusted_proxies: [10.0.0.0/8]
cache: {max_size: 1MiB}
upstreams:
  main: {endpoints: [\"127.0.0.1:4001\", \"127.0.0.1:4002\"], balance: least_requests}
  next: {endpoints: [\"127.0.0.1:4003\"]}
  shadow: {endpoints: [\"127.0.0.1:4004\"]}
routes:
  - name: all
    match: {path_prefix: /}
    upstream: main
    maintenance: {allow: [192.0.2.0/24]}
    cache: {default_ttl: 1m, key_headers: [accept-language]}
    compression: on
    max_body_size: 2MiB
    mirror: {upstream: shadow, percent: 10}
    retry: {attempts: 2, on: [connect_failure, 503]}
    split:
      - {upstream: next, headers: {x-next: \"1\"}}
      - {upstream: next, percent: 100}
    websocket: {idle_timeout: 5m, max_sessions: 7, max_message_size: 64KiB}
";

#[tokio::test]
async fn explain_depends_on_the_client_and_lists_settings() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("s.yaml"), SETTINGS).expect("a file");
    let explain = async |more: &[&str]| {
        let arguments = [&["explain", "--config", "s.yaml", "http://x:3000/a"], more].concat();
        let run = cli(folder.path(), &arguments, &[]).await;
        assert_eq!(run.code, Some(0), "{}", run.all());
        run.stdout
    };
    let told = explain(&[]).await;
    assert!(told.contains("answer    503, by the gateway"), "{told}");
    let told = explain(&["--client", "198.51.100.1"]).await;
    assert!(told.contains("answer    503, by the gateway"), "{told}");
    let told = explain(&["--client", "10.0.0.1", "-H", "X-Forwarded-For: 192.0.2.9"]).await;
    assert!(told.starts_with("GET /a at x:3000 from 192.0.2.9\n"), "{told}");
    assert!(told.contains("route     all"), "{told}");
    let told = explain(&["--client", "192.0.2.7"]).await;
    for line in [
        "GET /a at x:3000 from 192.0.2.7",
        "upstream  next, Host x:3000",
        "or to     next when header x-next is 1",
        "          next for 100%",
        "with      balance: round_robin",
        "          cache: on; default_ttl 1m, key_headers accept-language",
        "          max_body_size: 2.0 MiB",
        "          mirror: 10% to shadow; timeout 10s",
        "          retry: 2 attempts on connect_failure 503; backoff 25ms",
        "          websocket: on; idle_timeout 5m, max_sessions 7, max_message_size 64.0 KiB",
        "without   grpc_web",
    ] {
        assert!(told.lines().any(|it| it == line), "{line}\n{told}");
    }
    let compression = told.lines().find(|line| line.trim().starts_with("compression: "));
    assert!(compression.is_some_and(|line| line.contains("; min_size ")), "{told}");
    let run = cli(folder.path(), &["explain", "http://x/", "--client", "nobody"], &[]).await;
    assert_eq!(run.code, Some(2), "{}", run.all());
}

#[tokio::test]
async fn admin_explain_takes_the_client_address() {
    let (upstream, admin) = (Upstream::saying("hello").await, Admin::new());
    let config = Config::to(&upstream).with("maintenance: {allow: [192.0.2.0/24]}");
    let gateway = config.top(&admin.section()).start().await;
    let verdict = async |client: &str| {
        let told = admin.get(&format!("/explain?url=http://x/{client}")).await;
        told["explanation"]["verdict"].as_str().map(str::to_owned)
    };
    assert_eq!(verdict("").await.as_deref(), Some("answered"));
    assert_eq!(verdict("&client=192.0.2.7").await.as_deref(), Some("forwarded"));
    let bad = admin.send(reqwest::Method::GET, "/explain?url=http://x/&client=x", None).await;
    assert_eq!(bad.status(), 400);
    let url = "http://x/a%zz";
    let run = admin.cli(gateway.folder(), &["explain", "--running", url]).await;
    assert_eq!(run.code, Some(2), "{}", run.all());
    let arguments = ["explain", "--running", "http://x/", "--client", "192.0.2.7"];
    let run = admin.cli(gateway.folder(), &arguments).await;
    assert!(run.stdout.contains("from 192.0.2.7\nroute     all"), "{}", run.all());
}

#[tokio::test]
async fn explain_running_prints_json_without_sending_the_request() {
    let upstream = Upstream::saying("hello").await;
    let admin = format!("127.0.0.1:{}", free_port());
    let config = Config::to(&upstream).top(&format!("admin: {{address: \"{admin}\"}}"));
    let gateway = config.start().await;
    replace_file(&gateway.folder().join("other.yaml"), SHOP);
    let arguments = ["explain", "http://localhost/x?y", "--running", "--admin", &admin, "--json"];
    let run = cli(gateway.folder(), &arguments, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let told: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(told["verdict"], "forwarded");
    assert_eq!(told["route"], "all");
    assert_eq!(told["target"], "/x?y");
    assert_eq!(told["endpoints"][0], upstream.address().to_string());
    assert_eq!(upstream.requests().len(), 0, "nothing is sent");
}

const TESTS: &str = "\
tests:
  - request: {url: \"http://shop.test:3000/api/v1/users/7?x=1\", headers: {origin: \"https://shop.test\"}}
    expect: {route: users, upstream: users, upstream_path: /people/7?x=1, cors: allowed}
  - request: {url: \"http://a.shop.test:3000/api/v1/orders\", method: POST}
    expect: {route: orders, upstream: orders}
  - request: {url: \"http://shop.test:3000/old\"}
    expect: {route: gone, upstream: none, status: 301}
  - request: {url: \"http://shop.test:3000/nothing\", headers: {origin: \"https://evil.test\"}}
    expect: {route: none, status: 404, cors: refused}
  - request: {url: \"ws://a.shop.test:3000/api/v1/ws\"}
    expect: {status: 403}
";

/// Each edit changes what somebody gets, and is caught by the tests that stand in the file.
#[tokio::test]
async fn tests_in_the_file_catch_edits_that_change_behaviour() {
    let folder = TempDir::new().expect("a folder");
    let check = async |yaml: &str| {
        std::fs::write(folder.path().join("t.yaml"), yaml).expect("a file");
        cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await
    };
    let good = format!("{SHOP}{TESTS}");
    let run = check(&good).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    for (from, to, told) in [
        (
            "path_prefix: /api/v1/users, methods",
            "path_prefix: /api/v1/user, methods",
            "tests[0].expect.route",
        ),
        ("rewrite: {prefix: /people}", "rewrite: {prefix: /folk}", "`/folk/7?x=1`"),
        ("methods: [GET, POST]}", "methods: [POST]}", "tests[0].expect"),
        ("hosts: [\"*.shop.test\"]", "hosts: [\"*.shop.example\"]", "tests[1].expect.route"),
        ("status: 301}\n", "status: 302}\n", "tests[2].expect.status"),
        ("[\"https://shop.test\"]", "[\"https://shop.example\"]", "tests[0].expect.cors"),
        ("websocket: off", "websocket: on", "tests[4].expect.status"),
        ("match: {path: /old}", "match: {path: /older}", "not met: path is /older"),
    ] {
        // Its first place is in the routes, not in the tests.
        let edited = good.replacen(from, to, 1);
        assert_ne!(edited, good, "{from}");
        let run = check(&edited).await;
        assert_eq!(run.code, Some(78), "{from} → {to}: {}", run.all());
        assert!(run.all().contains(told), "{from} → {to}: {}", run.all());
        assert!(run.all().contains("t.yaml:"), "{}", run.all());
    }
}

#[tokio::test]
async fn reload_with_failing_tests_is_refused() {
    let (one, other) = (Upstream::saying("one").await, Upstream::saying("other").await);
    let config = |upstream: &str| {
        Config::new()
            .upstream("one", &[one.address()])
            .upstream("other", &[other.address()])
            .route("all", "path_prefix: /", upstream)
            .top("tests: [{request: {url: \"http://x/\"}, expect: {upstream: one}}]")
    };
    let gateway = config("one").start().await;
    let mark = gateway.mark();
    gateway.rewrite(&config("other"));
    let told = gateway.says(mark, "`one` is expected, and it is `other`").await;
    assert!(told.contains("tests[0].expect.upstream"), "{told}");
    assert_eq!(gateway.get("/", &[]).await.text(), "one");
}

#[tokio::test]
async fn explain_header_is_sent_only_with_the_admin_token() {
    let (upstream, admin) = (Upstream::answering(|_| ok("")).await, Admin::new());
    let config = Config::to(&upstream).with("rewrite: {prefix: /v1}").top(&admin.section());
    let gateway = config.with("headers: {response: {set: {X-Set: here}}}").start().await;
    let told = async |fields: &[&str]| {
        let answer = gateway.get("/a?b", fields).await;
        assert_eq!(answer.status(), 200);
        answer.head.only("x-tidegate-explain").map(str::to_owned)
    };
    assert_eq!(told(&[]).await, None);
    assert_eq!(told(&["X-Tidegate-Explain: 1"]).await, None);
    let token = format!("X-Tidegate-Explain: {TOKEN}");
    let explanation =
        told(&[&token, "Origin: https://evil.example"]).await.expect("an explanation");
    let explanation: Value = serde_json::from_str(&explanation).expect("JSON");
    assert_eq!((&explanation["route"], &explanation["target"]), (&"all".into(), &"/v1/a?b".into()));
    assert_eq!(explanation["filters"][0], "headers: response sets x-set: here");
    let seen = upstream.requests();
    assert!(seen.iter().all(|request| request.head.all("x-tidegate-explain").is_empty()));
}

/// One that is refused, for what it is or for the state of the gateway, is not told to have been
/// forwarded; neither is one whose upstream has failed told to have had its answer.
#[tokio::test]
async fn explain_header_describes_the_outcome_of_its_request() {
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .upstream("gone", &[format!("127.0.0.1:{}", free_port())])
        .route("all", "path_prefix: /", "service")
        .with("websocket: {max_sessions: 1}")
        .with("max_body_size: 4B")
        .route("away", "path_prefix: /away", "gone")
        .top(&admin.section())
        .start()
        .await;
    let told = async |request: String, status: u16| {
        let answer = gateway.send(request).await;
        assert_eq!(answer.status(), status, "{}", answer.head.text);
        let told = answer.head.only("x-tidegate-explain").expect("an explanation").to_owned();
        serde_json::from_str::<Value>(&told).expect("JSON")
    };
    let get = |target: &str, more: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-Tidegate-Explain: {TOKEN}\r\n{more}\r\n")
    };
    let refused = told(get("/a%zz", ""), 400).await;
    assert_eq!((&refused["verdict"], &refused["status"]), (&"refused".into(), &400.into()));
    let refused = told(get("/", "Content-Length: 5\r\n") + "hello", 413).await;
    assert_eq!((&refused["verdict"], &refused["route"]), (&"refused".into(), &"all".into()));
    let failed = told(get("/away", ""), 502).await;
    assert_eq!(
        (&failed["verdict"], &failed["instead"]["status"]),
        (&"forwarded".into(), &502.into())
    );
    assert_eq!(failed["client"], "127.0.0.1");
    let _socket = gateway.websocket("/ws").await;
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let full = told(get("/ws", handshake), 429).await;
    assert_eq!((&full["verdict"], &full["status"]), (&"answered".into(), &429.into()));
}

#[tokio::test]
async fn explain_encodes_targets_as_clients_do() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let file = gateway.file().display().to_string();
    let explain =
        async |url: &str| cli(gateway.folder(), &["explain", "--config", &file, url], &[]).await;
    let targets = [
        "/a<b",
        "/a>b",
        "/a\"b",
        "/a`b",
        "/{a}",
        "/a|b",
        "/a^b",
        "/a\\b",
        "/?q=a<b&r=\"c\"",
        "/?q=é",
        "/?q={a|b}",
        "/?u=http://b.test/",
        "/a b",
        "/[x]?y[]=1",
        "/a%zz",
        "/%00",
    ];
    for target in targets {
        let before = upstream.requests().len();
        let sent = gateway.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let run = explain(&format!("http://a.test{target}")).await;
        match upstream.requests().get(before) {
            Some(request) => {
                assert_eq!(run.code, Some(0), "{target}: {}", run.all());
                let way = format!("http://{}{}", upstream.address(), request.head.target());
                assert!(run.stdout.contains(&way), "{target}: {way}\n{}", run.all());
            }
            None => {
                assert_eq!(run.code, Some(2), "{target}: {}", run.all());
                assert!(!run.all().contains("is not a URL"), "{target}: {}", run.all());
                assert!(run.all().contains(&sent.status().to_string()), "{target}: {}", run.all());
            }
        }
    }
    // What a client keeps to itself, or completes.
    for (url, target) in [
        ("http://user:secret@a.test/x", "/x"),
        ("http://a.test/x#part", "/x"),
        ("http://a.test?q=1", "/?q=1"),
        ("a.test/x", "/x"),
        ("/x", "/x"),
    ] {
        let run = explain(url).await;
        let way = format!("http://{}{target}\n", upstream.address());
        assert!(run.stdout.contains(&way), "{url}: {}", run.all());
        assert!(!run.all().contains("secret"), "{}", run.all());
    }
    for url in ["http://", "http:///x", "http://a b/", "ftp://a.test/", "http://a.test/\u{1b}[2J"] {
        let run = explain(url).await;
        assert_eq!(run.code, Some(2), "{url}: {}", run.all());
        assert!(
            run.stderr.starts_with("error: ") && !run.all().contains('\u{1b}'),
            "{}",
            run.all()
        );
    }
}
