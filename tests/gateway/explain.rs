//! `tidegate explain` says what the proxy does, and the proxy does what it says.

use crate::support::{Admin, Cli, Config, TOKEN, Upstream, cli, free_port, ok, replace_file};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;
use tidegate::{Asked, Config as Library};

const SHOP: &str = "\
listeners:
  - {address: \"127.0.0.1:3000\"}
  - {address: \"127.0.0.1:8080\", redirect_to_https: on}
cors: {allow_origins: [\"https://shop.test\"]}
upstreams:
  users: {endpoints: [\"127.0.0.1:4001\"]}
  orders: {endpoints: [\"127.0.0.1:4002\", \"127.0.0.1:4003\"]}
routes:
  - name: users
    match: {path_prefix: /api/v1/users, methods: [GET, POST]}
    upstream: users
    rewrite: {prefix: /people}
    timeouts: {read: 5s}
  - name: beta
    match: {path_prefix: /api/v1/users, methods: [GET, POST], headers: {x-beta: \"1\"}}
    upstream: orders
  - name: orders
    match: {path_prefix: /api/v1, hosts: [\"*.shop.test\"]}
    upstream: orders
    websocket: off
  - name: gone
    match: {path: /old}
    redirect: {to: /new, status: 301}
";

async fn explain(folder: &Path, arguments: &[&str]) -> Cli {
    std::fs::write(folder.join("t.yaml"), SHOP).expect("a file");
    let arguments = [&["explain", "--config", "t.yaml"], arguments].concat();
    cli(folder, &arguments, &[]).await
}

#[tokio::test]
async fn the_route_why_and_who_else_came_close() {
    let folder = TempDir::new().expect("a folder");
    let run = explain(folder.path(), &["http://shop.test:3000/api/v1/users/7?x=1"]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    for line in [
        "GET /api/v1/users/7 at shop.test:3000",
        "route     users",
        "as        http://127.0.0.1:4001/people/7?x=1",
        "timeouts  connect 3s, read 5s, write 1m; 2 retries",
        "because   path is /api/v1/users or below",
        "          method is GET or POST",
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
async fn misses_redirects_methods_and_answers() {
    let folder = TempDir::new().expect("a folder");
    for (arguments, code, told) in [
        (&["http://localhost:3000/api/v2"][..], 1, "404: no route takes it"),
        (&["http://localhost:3000/api/v2"], 1, "not met: path is /api/v1 or below; not met: host"),
        (
            &["http://x:3000/api/v1/users", "--method", "DELETE"],
            0,
            "405: it would have to be GET or POST",
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
async fn as_json_and_of_the_gateway_that_runs() {
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

/// SplitMix64, from a seed of its own: a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn one_of<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[usize::try_from(self.roll()).unwrap_or(0) % from.len()]
    }

    fn path(&mut self) -> String {
        let count = self.roll() % 5;
        let segments = ["a", "b", "ab", "api", "v1", "%61", "..", ".", "", "A"];
        (0..count).fold(String::new(), |path, _| path + "/" + self.one_of(&segments))
            + self.one_of(&["", "/"])
    }
}

/// 100,000 requests with `TIDEGATE_EXPLAIN_REQUESTS=100000`.
#[tokio::test]
async fn the_proxy_does_what_it_says_to_random_requests_of_a_random_table() {
    let count = std::env::var("TIDEGATE_EXPLAIN_REQUESTS").ok().and_then(|it| it.parse().ok());
    let count: usize = count.unwrap_or(5_000);
    let upstream = Upstream::saying("hello").await;
    let mut dice = Dice(7);
    let mut config = Config::new().upstream("service", &[upstream.address()]);
    let mut seen = std::collections::HashSet::new();
    for number in 0..60 {
        let kind = dice.one_of(&["path", "path_prefix", "path_prefix"]);
        let segments = ["a", "b", "ab", "api", "v1"];
        let path =
            (0..dice.roll() % 4).fold(String::new(), |path, _| path + "/" + dice.one_of(&segments));
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut rule = format!("{kind}: {path}");
        rule += dice.one_of(&["", "", ", hosts: [a.test]", ", hosts: [\"*.test\"]"]);
        rule += dice.one_of(&["", "", ", methods: [GET]", ", methods: [POST, PUT]"]);
        rule +=
            dice.one_of(&["", "", ", headers: {x-v: \"1\"}", ", headers: {x-v: {present: true}}"]);
        rule += dice.one_of(&["", "", ", query: {q: \"1\"}"]);
        if seen.insert(rule.clone()) {
            let set = format!("headers: {{response: {{set: {{X-Route: r{number}}}}}}}");
            config = config.route(&format!("r{number}"), &rule, "service").with(&set);
        }
    }
    let gateway = config.start().await;
    let explainer = Library::from_file(gateway.file()).explainer().expect("a good file");
    let mut wire = gateway.connect().await;
    for number in 0..count {
        let path = dice.path();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let target = path + dice.one_of(&["", "?q=1", "?q=2", "?x&q=1"]);
        let method = dice.one_of(&["GET", "POST", "PUT", "DELETE"]);
        let host = dice.one_of(&["a.test", "b.test", "A.TEST", "c.b.test", "localhost"]);
        let field = dice.one_of(&["x-v: 1", "x-v: 2", "x-w: 1"]);
        wire.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{field}\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
        let answer = wire.response().await;
        let asked = Asked::new(&format!("http://{host}{target}"), method, &[field.to_owned()]);
        let told = explainer.explain(&asked.expect("a request")).await;
        let what = format!("request {number}: {method} {target} at {host}, {field}\n{told}");
        assert_eq!(told.route(), answer.head.get("x-route"), "{what}");
        assert_eq!(told.status().unwrap_or(200), answer.status(), "{what}");
        if answer.head.get("connection") == Some("close") {
            wire = gateway.connect().await;
        }
    }
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
async fn tests_in_the_file_catch_edits_that_change_what_it_does() {
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
async fn a_reload_whose_tests_fail_is_refused() {
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
async fn a_response_tells_who_has_the_token_and_nobody_else() {
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
