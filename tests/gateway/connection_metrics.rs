//! Metrics of connections on both sides: accepted, refused and failed ones, and the limits of upstreams.

use crate::metrics::{Counted, hanging};
use std::net::Ipv4Addr;
use tempfile::TempDir;
use tidegate_testing::{Authority, Config, Pebble, Upstream, get, ok, until};
use tokio::net::TcpListener;

const SITE: &str = "certificates: [{cert: site.pem, key: site.key}]";
const FAILURES: &str = "tidegate_tls_handshake_failures_total";

/// A gateway with a certificate for `site.test`, by this authority.
async fn https(authority: &Authority, tls: &str, more: &str) -> Counted {
    let folder = TempDir::new().expect("a folder");
    authority.write(&folder.path().join("ca.pem"));
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let config = Config::new().answer("all", "path_prefix: /", "respond: {status: 200}");
    let config = config.listening(&format!("tls: {{{SITE}{tls}}}")).top(more);
    Counted::start_in(folder, config).await
}

impl Counted {
    async fn failures(&self, reason: &str) -> f64 {
        self.value(FAILURES, &[("listener", &*self.listener()), ("reason", reason)]).await
    }
}

#[tokio::test]
async fn connections_are_counted_by_listener_and_refusal() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let counted = Counted::start(Config::to(&upstream).top("limits: {connections: 1}")).await;
    let listener = counted.listener();
    let accepted = async || {
        counted.value("tidegate_connections_accepted_total", &[("listener", &*listener)]).await
    };
    until("the kit's own connection is gone", async || {
        accepted().await == 1.0 && counted.value("tidegate_connections", &[]).await == 0.0
    })
    .await;
    let mut held = counted.gateway.connect().await;
    held.send(get("/", &[])).await;
    held.response().await;
    assert_eq!(counted.gateway.get("/", &[]).await.status(), 503);
    assert_eq!(accepted().await, 3.0);
    let metrics = counted.now().await;
    let refused = |limit| metrics.value("tidegate_connections_refused_total", &[("limit", limit)]);
    assert_eq!((refused("connections"), refused("connections_per_client")), (1.0, 0.0));
    assert_eq!(metrics.value("tidegate_connections", &[]), 1.0);
}

#[tokio::test]
async fn failed_tls_handshakes_are_counted_by_reason() {
    let authority = Authority::new();
    let counted = https(&authority, ", client_auth: {ca: ca.pem}", "").await;
    let folder = counted.gateway.folder();
    authority.issue_client(folder, "known");
    Authority::new().issue_client(folder, "stranger");
    let client = authority.client();
    // The kit looked whether the port is open.
    until("it is counted", async || counted.failures("closed").await == 1.0).await;

    assert_eq!(counted.gateway.get("/", &[]).await.status(), 400);
    let known = client.clone().showing(folder.join("known"));
    let _ = known.clone().offering(&["spdy/1"]).try_connect(&counted.gateway, "site.test").await;
    for unknown in [client.clone(), client.showing(folder.join("stranger"))] {
        let _ = unknown.try_connect(&counted.gateway, "site.test").await;
    }
    let _ = known.try_connect(&counted.gateway, "other.test").await;
    let mut nonsense = counted.gateway.connect().await;
    nonsense.send([22, 3, 1, 0, 5, 99, 0, 0, 1, 0]).await;
    nonsense.read_to_end().await;
    assert_eq!(known.get(&counted.gateway, "site.test", "/").await.status(), 200);

    let expected = [
        ("not_tls", 1.0),
        ("incompatible", 1.0),
        ("client_certificate", 2.0),
        ("certificate_refused", 1.0),
        ("other", 1.0),
        ("closed", 1.0),
        ("timeout", 0.0),
    ];
    for (reason, count) in expected {
        until(reason, async || counted.failures(reason).await == count).await;
    }
    assert_eq!(counted.now().await.values_of("reason").len(), expected.len());
}

#[tokio::test]
async fn timed_out_tls_handshake_is_counted_as_failed() {
    let more = "limits: {handshake_timeout: 300ms}";
    let counted = https(&Authority::new(), "", more).await;
    let mut silent = counted.gateway.connect().await;
    silent.read_to_end().await;
    until("it is counted", async || counted.failures("timeout").await == 1.0).await;
}

#[tokio::test]
async fn connection_without_a_proxy_header_is_counted() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let config = Config::to(&upstream).listening("proxy_protocol: {from: [127.0.0.1]}");
    let counted = Counted::start(config).await;
    let listener = counted.listener();
    let failures = async || {
        counted.value("tidegate_proxy_header_failures_total", &[("listener", &*listener)]).await
    };
    until("the kit's own has none", async || failures().await == 1.0).await;
    let mut wire = counted.gateway.connect().await;
    wire.send(get("/", &[])).await;
    wire.read_to_end().await;
    until("it is counted", async || failures().await == 2.0).await;
    let mut wire = counted.gateway.connect().await;
    wire.send(format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{}", get("/", &[]))).await;
    assert_eq!(wire.response().await.status(), 200);
    assert_eq!(failures().await, 2.0);
}

#[tokio::test]
async fn certificate_expiry_is_a_metric() {
    let counted = https(&Authority::new(), "", "").await;
    let labels = [("listener", &*counted.listener()), ("number", "0"), ("name", "site.test")];
    let name = "tidegate_tls_certificate_not_after_timestamp_seconds";
    // 2090-01-01T00:00:00Z.
    assert_eq!(counted.value(name, &labels).await, 3_786_912_000.0);
}

#[tokio::test]
async fn acme_orders_are_counted_by_result() {
    let mut pebble = Pebble::new();
    let (directory, ca) = (pebble.directory(), pebble.ca());
    let acme = format!(
        "acme: {{agree_to_terms: true, directory: \"{directory}\", ca: {}, retry: 1s, \
         domains: [a.test]}}",
        ca.display()
    );
    let config = Config::new()
        .top("state_dir: state")
        .listening(&format!("tls: {{{acme}}}"))
        .answer("all", "path_prefix: /", "respond: {status: 200}");
    let folder = TempDir::new().expect("a folder");
    let counted = Counted::start_at(pebble.targets.1, folder, config).await;
    let orders = async |result: &str| {
        let labels = [("name", "a.test"), ("result", result)];
        counted.value("tidegate_acme_orders_total", &labels).await
    };
    until("nobody answers", async || orders("failed").await >= 1.0).await;
    assert_eq!(orders("issued").await, 0.0);
    pebble.run().await;
    until("it is issued", async || orders("issued").await == 1.0).await;
}

#[tokio::test]
async fn opened_and_reused_upstream_connections_are_counted() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let counted = Counted::start(Config::to(&upstream)).await;
    let of = async |kind: &str| {
        let labels = [("upstream", "service"), ("kind", kind)];
        counted.value("tidegate_upstream_connections_total", &labels).await
    };
    let mut requests = 0.0;
    until("one is reused", async || {
        assert_eq!(counted.gateway.get("/", &[]).await.status(), 200);
        requests += 1.0;
        of("reused").await > 0.0
    })
    .await;
    assert_eq!(of("opened").await, upstream.connections() as f64);
    assert_eq!(of("opened").await + of("reused").await, requests);
}

/// How an upstream's limit is filled, how much it allows, and how many it has refused.
async fn bound(counted: &Counted, limit: &str) -> (f64, f64, f64) {
    let metrics = counted.now().await;
    let of = |name: &str| metrics.value(name, &[("upstream", "service"), ("limit", limit)]);
    (
        of("tidegate_upstream_limit_used"),
        of("tidegate_upstream_limit"),
        of("tidegate_upstream_refused_total"),
    )
}

#[tokio::test]
async fn upstream_limits_report_usage_and_refusals() {
    let upstream = hanging().await;
    let config = Config::to(&upstream).speaking("limits: {connections: 5, requests: 1}");
    let counted = Counted::start(config).await;
    let mut hanging = counted.gateway.connect().await;
    hanging.send(get("/hangs", &[])).await;
    upstream.request(0).await;
    for _ in 0..2 {
        assert_eq!(counted.gateway.get("/", &[]).await.error()["error"], "upstream_busy");
    }
    assert_eq!(bound(&counted, "requests").await, (1.0, 1.0, 2.0));
    assert_eq!(bound(&counted, "connections").await, (1.0, 5.0, 0.0));
    let limits = counted.now().await;
    assert!(!limits.values_of("limit").contains("pending"), "there is no such limit here");
    hanging.reset();
    until("its place is free", async || bound(&counted, "requests").await == (0.0, 1.0, 2.0)).await;
}

#[tokio::test]
async fn sessions_count_towards_the_connection_limit() {
    let upstream = Upstream::echo().await;
    let counted = Counted::start(Config::to(&upstream).speaking("limits: {connections: 1}")).await;
    let _socket = counted.gateway.websocket("/ws").await;
    assert_eq!(counted.gateway.get("/", &[]).await.status(), 503);
    assert_eq!(bound(&counted, "connections").await, (1.0, 1.0, 1.0));
}

#[tokio::test]
async fn pending_connections_count_towards_the_pending_limit() {
    // It accepts and never says a word of TLS.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let config = Config::to_address(silent.local_addr().expect("an address"))
        .speaking("tls: {insecure_skip_verify: true}")
        .speaking("limits: {pending: 1}");
    let counted = Counted::start(config).await;
    let mut waiting = counted.gateway.connect().await;
    waiting.send(get("/", &[])).await;
    let _accepted = silent.accept().await.expect("a connection");
    assert_eq!(counted.gateway.get("/", &[]).await.status(), 503);
    assert_eq!(bound(&counted, "pending").await, (1.0, 1.0, 1.0));
}
