//! Examples of upstreams: pools, discovery, protocols.

use crate::example::Example;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use tidegate_testing::dns::Dns;
use tidegate_testing::{
    Authority, TlsService, Upstream, answer_by_http2, free_port, get, ok, respond, until,
};

#[tokio::test]
async fn balance() {
    let (a, b) = tokio::join!(Upstream::saying("a"), Upstream::saying("b"));
    let mut example = Example::from_file("examples/balance.yaml").at("127.0.0.1:3000");
    for port in 8001..=8007 {
        example = example
            .with(&format!("10.0.0.1:{port}"), a.address())
            .with(&format!("10.0.0.2:{port}"), b.address());
    }
    let gateway = example.run().await;
    let said = async |target: &str, fields: &[&str]| gateway.get(target, fields).await.text();
    let mut turns = String::new();
    for _ in 0..8 {
        turns += &said("/turns", &[]).await;
    }
    assert_eq!(turns.matches('a').count(), 6, "three of four: {turns}");
    for target in ["/idlest", "/quickest"] {
        until("both are asked", async || said(target, &[]).await == "a").await;
        until("both are asked", async || said(target, &[]).await == "b").await;
    }
    for (target, field) in [
        ("/tenant", "X-Tenant: "),
        ("/cart", "Cookie: cart="),
        ("/client", "X-Forwarded-For: 10.9.8."),
    ] {
        let mut all = BTreeSet::new();
        for key in 0..40 {
            let field = format!("{field}{key}");
            let first = said(target, &[&field]).await;
            assert_eq!(said(target, &[&field]).await, first, "{target} {field}");
            all.insert(first);
        }
        assert_eq!(all.len(), 2, "{target}: both have some");
    }
    let first = gateway.get("/seat", &[]).await;
    let cookie = first.head.only("set-cookie").and_then(|it| it.split(';').next());
    let cookie = format!("Cookie: {}", cookie.expect("a cookie"));
    for _ in 0..3 {
        assert_eq!(said("/seat", &[&cookie]).await, first.text());
    }
}

#[tokio::test]
async fn pools() {
    let [a, b, backup, one, two, left, right] =
        ["a", "b", "backup", "one", "two", "left", "right"].map(Upstream::saying);
    let (a, b, backup, left, right) = tokio::join!(a, b, backup, left, right);
    let (one, two) = tokio::join!(one, two);
    let gateway = Example::from_file("examples/pools.yaml")
        .at("0.0.0.0:3000")
        .with("10.0.0.1:8080", a.address())
        .with("10.0.0.2:8080", b.address())
        .with("10.0.1.1:8080", backup.address())
        .with("10.0.0.3:4009", one.address())
        .with("10.0.0.4:4009", two.address())
        .with("10.0.0.5:9000", left.address())
        .with("10.0.0.6:9000", right.address())
        .run()
        .await;
    for _ in 0..6 {
        let said = gateway.get("/api/x", &[]).await.text();
        assert!(["a", "b"].contains(&&*said), "no backup as long as the others are well: {said}");
    }
    until("each is asked whether it is well", async || {
        let is_check = |upstream: &Upstream| {
            upstream.requests().iter().any(|request| {
                request.head.target() == "/health"
                    && request.head.only("host") == Some("api.internal")
            })
        };
        is_check(&a) && is_check(&b) && is_check(&backup)
    })
    .await;
    let target = "/api/notifications/ws?userId=7";
    let first = gateway.get(target, &[]).await.text();
    for _ in 0..3 {
        assert_eq!(gateway.get(target, &[]).await.text(), first);
    }
    assert!(gateway.get("/shop", &[]).await.head.only("set-cookie").is_some());
}

#[tokio::test]
async fn dns() {
    let [api, notes, legacy] = ["api", "notes", "legacy"].map(Upstream::saying);
    let (api, notes, legacy) = tokio::join!(api, notes, legacy);
    let dns = Dns::start().await;
    dns.set_addresses("api-1.test", &[Ipv4Addr::LOCALHOST]);
    dns.set_addresses("notifications.default.svc.cluster.local", &[Ipv4Addr::LOCALHOST]);
    let service = (1, 1, api.address().port(), "api-1.test.");
    dns.set_services("_http._tcp.api.service.consul", &[service]);
    let gateway = Example::from_file("examples/dns.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8600", dns.address())
        .with("cluster.local:4009", format!("cluster.local:{}", notes.address().port()))
        .beside("legacy.endpoints", &format!("{} weight=2\n", legacy.address()))
        .run()
        .await;
    for (target, said) in
        [("/api/x", "api"), ("/api/notifications/ws", "notes"), ("/legacy", "legacy")]
    {
        assert_eq!(gateway.get(target, &[]).await.text(), said);
    }
}

#[tokio::test]
async fn include() {
    let search = Upstream::saying("search").await;
    let team = std::fs::read_to_string("conf/examples/conf.d/search.yaml").expect("the file");
    let gateway = Example::from_file("examples/include.yaml")
        .at("127.0.0.1:3000")
        .beside(
            "conf.d/search.yaml",
            &team.replace("127.0.0.1:9200", &search.address().to_string()),
        )
        .run()
        .await;
    assert_eq!(gateway.get("/search?q=x", &[]).await.text(), "search");
}

#[tokio::test]
async fn upstream_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mesh, strangers) = (Authority::new(), Authority::new());
    mesh.write(&folder.path().join("ca.pem"));
    mesh.issue(folder.path(), "billing", &["billing.internal"], 2090);
    strangers.issue(folder.path(), "laboratory", &["elsewhere"], 2021);
    let billing = TlsService::start(folder.path(), "billing", Some("ca.pem"), &[]).await;
    let laboratory = TlsService::start(folder.path(), "laboratory", None, &[]).await;
    let gauge = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gauge_at = gauge.local_addr().expect("its address");
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = gauge.accept().await {
            tokio::spawn(answer_by_http2(socket));
        }
    });
    let example = Example::from_file("examples/upstream-tls.yaml")
        .at("0.0.0.0:8443")
        .with("    tls: {self_signed: true}\n", "")
        .with("api.partner.example:443", format!("127.0.0.1:{}", free_port()))
        .with("127.0.0.1:9443", billing.address())
        .with("127.0.0.1:9444", laboratory.address())
        .with("127.0.0.1:50051", gauge_at);
    mesh.write(&example.below("tls/ca.pem"));
    mesh.issue_client(&example.below("tls"), "gateway");
    let gateway = example.run().await;
    assert_eq!(gateway.get("/billing/1", &[]).await.text(), "/billing/1");
    assert_eq!(gateway.get("/laboratory", &[]).await.text(), "/laboratory");
    assert_eq!(gateway.get("/tide.Gauge/Read", &[]).await.text(), "/tide.Gauge/Read by HTTP/2");
    assert_eq!(gateway.get("/partner", &[]).await.status(), 502, "nobody is there");
    task.abort();
}

#[tokio::test]
async fn tracing() {
    let collector = tidegate_testing::Collector::http().await;
    let api = Upstream::answering(|request| {
        ok(request.head.only("traceparent").expect("the trace goes on"))
    })
    .await;
    let gateway = Example::from_file("examples/tracing.yaml")
        .at("127.0.0.1:3000")
        .with("http://127.0.0.1:4318", collector.endpoint())
        .with("10.0.0.0/8", "127.0.0.0/8")
        .with("127.0.0.1:4009", api.address())
        .run_with(&[("OTEL_BSP_SCHEDULE_DELAY", "50")])
        .await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("traceparent: 00-{trace}-b7ad6b7169203331-01");
    let told = gateway.get("/x", &[&parent, "X-User-Id: u-7"]).await.text();
    assert!(told.contains(trace), "{told}");
    let span = collector.server("/x").await;
    assert_eq!((&*span.trace, span.text("user.id").as_deref()), (trace, Some("u-7")));
}

#[tokio::test]
async fn retries_of_the_pools_example() {
    let bad = Upstream::answering(|request| match request.head.target() {
        "/health" => ok(""),
        _ => respond("503 No", &[], "bad"),
    })
    .await;
    let good = Upstream::saying("good").await;
    let gateway = Example::from_file("examples/pools.yaml")
        .at("0.0.0.0:3000")
        .with("10.0.0.1:8080", bad.address())
        .with("10.0.0.2:8080", good.address())
        .run()
        .await;
    let mut wire = gateway.connect().await;
    until("the bad one to be asked", async || {
        wire.send(get("/api/x", &[])).await;
        assert_eq!(wire.response().await.text(), "good", "tried again at the other");
        bad.requests().iter().any(|request| request.head.target() == "/api/x")
    })
    .await;
}
