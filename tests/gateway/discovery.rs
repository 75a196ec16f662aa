//! Endpoints from DNS change without effect on requests and sessions.

use futures_util::{SinkExt, StreamExt};
use hickory_resolver::proto::rr::RecordType;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tidegate_testing::dns::Dns;
use tidegate_testing::{Admin, Config, Gateway, Upstream, cli, free_port, replace_file, until};
use tokio_tungstenite::tungstenite::Message;

fn config_with_discovery(dns: &Dns, what: &str) -> Config {
    Config::new()
        .top(&format!("resolver: {{address: \"{}\"}}", dns.address()))
        .upstream("service", &[] as &[&str])
        .replacing("    endpoints: []\n", &format!("    discover: {what}\n"))
        .route("all", "path_prefix: /", "service")
}

/// Who answers how many of so many requests.
async fn answers(gateway: &Gateway, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        *answers.entry(gateway.get("/", &[]).await.text()).or_default() += 1;
    }
    answers
}

async fn are_asked(gateway: &Gateway, expected: &[&str]) {
    until(&format!("{expected:?} are asked"), async || {
        let answers = answers(gateway, 20).await;
        answers.keys().map(String::as_str).collect::<Vec<_>>() == expected
    })
    .await;
}

#[tokio::test]
async fn srv_ports_and_weights_are_used() {
    let (a, b) = (Upstream::saying("a").await, Upstream::saying("b").await);
    let dns = Dns::start().await;
    dns.set_addresses("host.test", &[Ipv4Addr::LOCALHOST]);
    let name = "_http._tcp.app.test";
    let port = |upstream: &Upstream| upstream.address().port();
    dns.set_services(name, &[(1, 30, port(&a), "host.test."), (1, 10, port(&b), "host.test.")]);
    let gateway = config_with_discovery(&dns, &format!("{{srv: {name}}}")).start().await;
    let both = answers(&gateway, 40).await;
    assert_eq!(both, BTreeMap::from([("a".to_owned(), 30), ("b".to_owned(), 10)]), "at once");
    dns.set_services(name, &[(1, 10, port(&b), "host.test.")]);
    are_asked(&gateway, &["b"]).await;
    dns.set_services(name, &[(1, 1, port(&a), "host.test."), (1, 1, port(&b), "host.test.")]);
    are_asked(&gateway, &["a", "b"]).await;
    let request = b.requests().pop().expect("a request");
    assert_eq!(request.head.get("host"), Some("localhost"), "the client's");
}

#[tokio::test]
async fn srv_targets_of_a_later_priority_are_backups() {
    let b = Upstream::saying("b").await;
    let dns = Dns::start().await;
    dns.set_addresses("host.test", &[Ipv4Addr::LOCALHOST]);
    let a = Upstream::saying("a").await;
    let port = a.address().port();
    let services = [(1, 1, port, "host.test."), (2, 1, b.address().port(), "host.test.")];
    dns.set_services("_http._tcp.app.test", &services);
    let config = config_with_discovery(&dns, "{srv: _http._tcp.app.test}");
    let gateway = config.speaking("ejection: {connect_failures: 1, duration: 60s}").start().await;
    are_asked(&gateway, &["a"]).await;
    drop(a);
    are_asked(&gateway, &["b"]).await;
}

#[tokio::test]
async fn address_changes_keep_open_sockets() {
    let port = free_port();
    let address = |last: u8| Ipv4Addr::new(127, 0, 0, last);
    let at = |last: u8| SocketAddr::from((address(last), port));
    let _others =
        [Upstream::saying_at(at(2), "two").await, Upstream::saying_at(at(3), "three").await];
    let dns = Dns::start().await;
    dns.set_addresses("app.test", &[address(2)]);
    let echo = Upstream::echo().await;
    let config = config_with_discovery(&dns, &format!("{{host: \"app.test:{port}\"}}"))
        .upstream("echo", &[echo.address()])
        .route("ws", "path_prefix: /ws", "echo");
    let gateway = config.start().await;
    let mut socket = gateway.websocket("/ws").await;
    are_asked(&gateway, &["two"]).await;
    dns.set_addresses("app.test", &[address(2), address(3)]);
    are_asked(&gateway, &["three", "two"]).await;
    dns.set_addresses("app.test", &[address(3)]);
    are_asked(&gateway, &["three"]).await;
    socket.send(Message::text("still here")).await.expect("sent");
    let echoed = socket.next().await.expect("an echo").expect("a message");
    assert_eq!(echoed, Message::text("still here"));
    gateway.says(0, "endpoints updated from DNS: version").await;
}

#[tokio::test]
async fn ipv6_addresses_are_endpoints() {
    let dns = Dns::start().await;
    let (four, six) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let a = Upstream::saying("four").await;
    let port = a.address().port();
    // A machine may have no IPv6, and then nobody answers there.
    let has_ipv6 = std::net::TcpListener::bind((six, 0)).is_ok();
    let _b = if has_ipv6 {
        Some(Upstream::saying_at(SocketAddr::new(six, port), "six").await)
    } else {
        None
    };
    let admin = Admin::new();
    for (known, answers) in [(&[four, six][..], &["four", "six"][..]), (&[six], &["six"])] {
        dns.set_ips("app.test", known);
        let config = config_with_discovery(&dns, &format!("{{host: \"app.test:{port}\"}}"));
        let gateway = config.top(&admin.section()).start().await;
        let listed = admin.get("/upstreams").await;
        let endpoints = listed["upstreams"][0]["endpoints"].as_array().expect("a list").clone();
        let at: Vec<_> = endpoints.iter().filter_map(|it| it["address"].as_str()).collect();
        let expected: Vec<_> =
            known.iter().map(|&ip| SocketAddr::new(ip, port).to_string()).collect();
        assert_eq!(at, expected, "{listed:#}");
        if has_ipv6 {
            are_asked(&gateway, answers).await;
        }
    }
}

#[tokio::test]
async fn last_dns_answer_is_used_while_dns_is_silent() {
    let a = Upstream::saying("a").await;
    let dns = Dns::start().await;
    dns.set_addresses("app.test", &[Ipv4Addr::LOCALHOST]);
    let host = format!("{{host: \"app.test:{}\"}}", a.address().port());
    let config = config_with_discovery(&dns, &host);
    let gateway = config.start().await;
    are_asked(&gateway, &["a"]).await;
    dns.stop_answering();
    gateway.says(0, "does not resolve").await;
    are_asked(&gateway, &["a"]).await;
    // A reload asks nobody anew, and forgets nothing.
    let mark = gateway.mark();
    gateway.rewrite(&config.clone().top("log: {level: debug}"));
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(gateway.get("/", &[]).await.text(), "a");
    dns.set_addresses("app.test", &[Ipv4Addr::LOCALHOST]);
    gateway.says(0, "resolves again").await;
    let told = gateway.log_lines();
    let told = told.iter().filter(|line| line.contains("does not resolve")).count();
    assert_eq!(told, 1, "it is told once");
}

#[tokio::test]
async fn unknown_name_is_503_until_it_resolves() {
    let a = Upstream::saying("a").await;
    let dns = Dns::start().await;
    let host = format!("{{host: \"app.test:{}\"}}", a.address().port());
    let gateway = config_with_discovery(&dns, &host).start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(
        (answer.status(), answer.error()["error"].as_str()),
        (503, Some("upstream_unavailable"))
    );
    dns.set_addresses("app.test", &[Ipv4Addr::LOCALHOST]);
    are_asked(&gateway, &["a"]).await;
}

#[tokio::test]
async fn reload_can_add_discovery_without_an_error() {
    let (a, b) = (Upstream::saying("a").await, Upstream::saying("b").await);
    let dns = Dns::start().await;
    dns.set_addresses("app.test", &[Ipv4Addr::LOCALHOST]);
    let gateway = Config::to(&a).start().await;
    let host = format!("{{host: \"app.test:{}\"}}", b.address().port());
    gateway.rewrite(&config_with_discovery(&dns, &host));
    until("the new one answers", async || {
        let answer = gateway.get("/", &[]).await;
        assert_eq!(answer.status(), 200, "never without an endpoint");
        answer.text() == "b"
    })
    .await;
}

#[tokio::test]
async fn address_as_discovery_host_is_refused() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let yaml = "listeners: [{address: \"127.0.0.1:1\"}]\n\
        upstreams: {a: {discover: {host: \"127.0.0.1:80\"}}}\n\
        routes: [{name: a, match: {path_prefix: /}, upstream: a}]\n";
    std::fs::write(folder.path().join("t.yaml"), yaml).expect("a file");
    let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
    assert_eq!(run.code, Some(78));
    assert!(run.all().contains("t.yaml:2:") && run.all().contains("endpoints"), "{}", run.all());
}

#[tokio::test]
async fn resolvable_srv_targets_are_used_when_others_fail() {
    let (a, b) = (Upstream::saying("a").await, Upstream::saying("b").await);
    let dns = Dns::start().await;
    dns.set_addresses("host.test", &[Ipv4Addr::LOCALHOST]);
    dns.set_addresses("broken.test", &[Ipv4Addr::LOCALHOST]);
    let name = "_http._tcp.app.test";
    let (a, b) = (a.address().port(), b.address().port());
    dns.set_services(name, &[(1, 1, a, "host.test."), (1, 1, 1, "going.test.")]);
    let gateway = config_with_discovery(&dns, &format!("{{srv: {name}}}")).start().await;
    are_asked(&gateway, &["a"]).await;
    let told = gateway.says(0, "the target going.test. of").await;
    assert!(told.contains("gets no requests"), "{told}");
    // What DNS can't tell of just now is what it was: a server that fails is no answer.
    dns.set_services(name, &[(1, 1, b, "broken.test.")]);
    are_asked(&gateway, &["b"]).await;
    dns.fail("broken.test");
    dns.set_services(name, &[(1, 1, a, "host.test."), (1, 1, b, "broken.test.")]);
    are_asked(&gateway, &["a", "b"]).await;
    // A target that DNS says is none has left; the root says that there is no service (RFC 2782).
    let gone = [(1, 1, b, "gone.test."), (1, 1, 0, "host.test."), (1, 1, a, "host.test.")];
    dns.set_services(name, &gone);
    are_asked(&gateway, &["a"]).await;
    dns.set_services(name, &[(0, 0, 0, ".")]);
    until("no service", async || gateway.get("/", &[]).await.status() == 503).await;
}

/// RFC 2782: a target of `.` says that the service is decidedly not available.
#[tokio::test]
async fn rfc2782_root_target_removes_the_endpoints_and_is_not_looked_up() {
    let a = Upstream::saying("a").await;
    let dns = Dns::start().await;
    dns.set_addresses("host.test", &[Ipv4Addr::LOCALHOST]);
    dns.set_services("_http._tcp.app.test", &[(1, 1, a.address().port(), "host.test.")]);
    let gateway = config_with_discovery(&dns, "{srv: _http._tcp.app.test}").start().await;
    are_asked(&gateway, &["a"]).await;
    let mark = gateway.mark();
    dns.set_services("_http._tcp.app.test", &[(0, 0, 80, ".")]);
    until("no endpoint", async || gateway.get("/", &[]).await.status() == 503).await;
    let line = gateway.says(mark, "_http._tcp.app.test").await;
    assert!(line.contains("its SRV target is `.`"), "{line}");
    assert_eq!(gateway.get("/", &[]).await.error()["error"], "upstream_unavailable");
    let asked = dns.queries();
    assert!(asked.iter().any(|(name, _)| name == "host.test."), "{asked:?}");
    assert!(asked.iter().all(|(name, _)| name != "."), "{asked:?}");
    // Beside a real target, it says nothing (it must be the only one).
    let both = [(0, 0, 80, "."), (1, 1, a.address().port(), "host.test.")];
    dns.set_services("_http._tcp.app.test", &both);
    are_asked(&gateway, &["a"]).await;
}

#[tokio::test]
async fn silent_srv_target_does_not_delay_others() {
    let a = Upstream::saying("a").await;
    let dns = Dns::start().await;
    dns.set_addresses("host.test", &[Ipv4Addr::LOCALHOST]);
    let name = "_http._tcp.app.test";
    // A loop of names is answered by an error, after a while.
    dns.set_alias("loop.test", "pool.test.");
    dns.set_alias("pool.test", "loop.test.");
    let port = a.address().port();
    dns.set_services(name, &[(1, 1, port, "host.test."), (1, 1, port, "loop.test.")]);
    dns.ignore(RecordType::AAAA);
    let gateway = config_with_discovery(&dns, &format!("{{srv: {name}}}")).start().await;
    are_asked(&gateway, &["a"]).await;
}

#[tokio::test]
async fn silent_aaaa_query_does_not_delay_ipv4() {
    let a = Upstream::saying("a").await;
    let dns = Dns::start().await;
    dns.ignore(RecordType::AAAA);
    dns.set_addresses("app.test", &[Ipv4Addr::LOCALHOST]);
    let host = format!("{{host: \"app.test:{}\"}}", a.address().port());
    let began = std::time::Instant::now();
    let gateway = config_with_discovery(&dns, &host).start().await;
    assert_eq!(gateway.get("/", &[]).await.text(), "a", "at once");
    // A resolver asks three times, two seconds each.
    assert!(began.elapsed() < std::time::Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test]
async fn truncated_dns_answer_is_queried_over_tcp() {
    let (a, b) = (Upstream::saying("a").await, Upstream::saying("b").await);
    let dns = Dns::start().await;
    dns.truncate();
    dns.set_addresses("host.test", &[Ipv4Addr::LOCALHOST]);
    let port = |upstream: &Upstream| upstream.address().port();
    let services = [(1, 65_535, port(&a), "host.test."), (1, 65_535, port(&b), "host.test.")];
    dns.set_services("_http._tcp.app.test", &services);
    let gateway = config_with_discovery(&dns, "{srv: _http._tcp.app.test}").start().await;
    let both = answers(&gateway, 40).await;
    assert_eq!(both, BTreeMap::from([("a".to_owned(), 20), ("b".to_owned(), 20)]));
}

#[tokio::test]
async fn upstream_without_endpoints_names_its_empty_sources() {
    let a = Upstream::saying("a").await;
    let dns = Dns::start().await;
    dns.set_addresses("host.test", &[Ipv4Addr::LOCALHOST]);
    dns.set_addresses("empty.test", &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("more.endpoints");
    replace_file(&list, &format!("{}\n", a.address()));
    let config = config_with_discovery(&dns, "{host: \"empty.test:80\"}")
        .speaking("endpoints_file: more.endpoints");
    let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
    std::fs::write(&file, config.yaml(port)).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    assert_eq!(gateway.get("/", &[]).await.text(), "a");

    let mark = gateway.mark();
    replace_file(&list, "# none for now\n");
    let told = gateway.says(mark, "more.endpoints lists no endpoints").await;
    assert!(
        told.contains("WARN") && told.contains("upstream `service`: the endpoints_file"),
        "{told}"
    );
    assert_eq!(gateway.get("/lost", &[]).await.status(), 503);
    let line = gateway.access_of("/lost").await;
    let error = line["error.message"].as_str().expect("an error");
    assert!(error.contains("the upstream `service` has no endpoints: "), "{error}");
    assert!(error.contains("more.endpoints lists none"), "{error}");
    assert!(error.contains("DNS lists none for empty.test:80 (`discover`)"), "{error}");

    // It is logged when it happens, and not with each edit after that.
    let mark = gateway.mark();
    replace_file(&list, "# still none\n");
    gateway.says(mark, "configuration reloaded").await;
    let count = |needle: &str| gateway.log_lines().iter().filter(|it| it.contains(needle)).count();
    assert_eq!(count("lists no endpoint"), 1);
    replace_file(&list, &format!("{}\n", a.address()));
    until("the endpoint", async || gateway.get("/", &[]).await.status() == 200).await;
}

#[tokio::test]
async fn rfc1034_3_6_2_address_of_an_unrelated_name_is_ignored() {
    let service = Upstream::saying("right").await;
    let port = service.address().port();
    let stray = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), port));
    let _stray = Upstream::saying_at(stray, "stray").await;
    let dns = Dns::start().await;
    dns.set_addresses("real.test", &[Ipv4Addr::LOCALHOST]);
    dns.set_alias("alias.test", "real.test.");
    dns.set_services("_http._tcp.app.test", &[(1, 1, port, "alias.test.")]);
    dns.add_stray("evil.test.", Ipv4Addr::new(127, 0, 0, 9));
    for what in [
        format!("{{host: \"real.test:{port}\"}}"),
        format!("{{host: \"alias.test:{port}\"}}"),
        "{srv: _http._tcp.app.test}".to_owned(),
    ] {
        let gateway = config_with_discovery(&dns, &what).start().await;
        let answers = answers(&gateway, 10).await;
        assert_eq!(answers, BTreeMap::from([("right".to_owned(), 10)]), "{what}");
    }
}
