//! HTTPS: the right certificate for each name, replaced live; clients known by theirs.

use crate::support::{
    Authority, Config, Gateway, Handshake, Upstream, Wire, free_port, get, ok, until,
};
use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A gateway whose listener has TLS, with what stands between the braces of `tls: {…}`; the
/// authority has issued `site` for `site.test`, `star` for `*.star.test`.
struct Https {
    authority: Authority,
    gateway: Gateway,
    upstream: Upstream,
}

const SITES: &str =
    "certificates: [{cert: site.pem, key: site.key}, {cert: star.pem, key: star.key}]";

impl Https {
    async fn new(tls: &str) -> Self {
        Self::with(tls, |config| config).await
    }

    async fn with(tls: &str, more: impl FnOnce(Config) -> Config) -> Self {
        let authority = Authority::new();
        let folder = TempDir::new().expect("a folder");
        authority.write(&folder.path().join("ca.pem"));
        authority.issue(folder.path(), "site", &["site.test"], 2090);
        authority.issue(folder.path(), "star", &["*.star.test"], 2090);
        let upstream = Upstream::answering(|request| ok(request.head.target())).await;
        let config = more(Config::to(&upstream).listening(&format!("tls: {{{tls}}}")));
        let port = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, config.yaml(port)).expect("a file");
        let gateway = Gateway::run(folder, file, port).await;
        Self { authority, gateway, upstream }
    }
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let https = Https::new(SITES).await;
    let client = https.authority.client();
    assert_eq!(client.shown(&https.gateway, "site.test").await, "site.test");
    assert_eq!(client.shown(&https.gateway, "a.star.test").await, "*.star.test");
    assert_eq!(client.shown(&https.gateway, "A.STAR.test").await, "*.star.test");
    let told = client.shown_to_stranger(&https.gateway, "other.test").await;
    assert!(told.contains("site.test"), "the first is shown to who asks for none: {told}");
    let told = client.shown_to_stranger(&https.gateway, "a.b.star.test").await;
    assert!(told.contains("site.test"), "RFC 6125: a wildcard stands for one label: {told}");
}

#[tokio::test]
async fn requests_by_https_say_so_upstream_and_in_the_log() {
    let https = Https::new(SITES).await;
    let answer = https.authority.client().get(&https.gateway, "site.test", "/x?y=1").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "/x?y=1"));
    let head = &https.upstream.requests()[0].head;
    assert_eq!(head.only("x-forwarded-proto"), Some("https"));
    assert!(head.only("forwarded").is_some_and(|it| it.contains("proto=https")), "{}", head.text);
    let line = https.gateway.access_of("/x").await;
    assert_eq!(line["tls.protocol.version"], "1.3");
    assert_eq!(line["tls.client.server_name"], "site.test");
}

#[tokio::test]
async fn http2_is_spoken_with_who_offers_it() {
    let https = Https::new(SITES).await;
    let client = https.authority.client();
    for (offered, chosen) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let stream = client.clone().offering(offered).connect(&https.gateway, "site.test").await;
        let protocol = stream.get_ref().1.alpn_protocol();
        assert_eq!(protocol, chosen.map(str::as_bytes), "{offered:?}");
    }
    let stream = client.offering(&["h2"]).connect(&https.gateway, "site.test").await;
    let (mut send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::get("https://site.test/two").body(()).expect("a request");
    let (response, _) = send.send_request(request, true).expect("sent");
    let response = response.await.expect("an answer");
    assert_eq!(response.status(), 200);
    let head = &https.upstream.requests()[0].head;
    assert_eq!(head.only("x-forwarded-proto"), Some("https"));
    assert_eq!(head.only("host"), Some("site.test"));
    assert_eq!(https.gateway.access_of("/two").await["network.protocol.version"], "2");
}

#[tokio::test]
async fn protocols_can_be_chosen() {
    let https = Https::with(SITES, |config| config.listening("protocols: [h1]")).await;
    let client = https.authority.client().offering(&["h2", "http/1.1"]);
    let stream = client.connect(&https.gateway, "site.test").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn websockets_pass_by_wss() {
    let https =
        Https::new("self_signed: true, certificates: [{cert: site.pem, key: site.key}]").await;
    let echo = Upstream::echo().await;
    https.gateway.rewrite(&Config::to(&echo).listening(&format!("tls: {{{SITES}}}")));
    https.gateway.says(0, "reloaded").await;
    let client = https.authority.client();
    let mut wire = Wire::over(client.connect(&https.gateway, "site.test").await);
    wire.send(Handshake::to("/ws?userId=user-1").bytes()).await;
    assert_eq!(wire.head().await.status(), Some(101));
    let (stream, behind) = wire.into_parts();
    let mut socket = WebSocketStream::from_partially_read(stream, behind, Role::Client, None).await;
    socket.send(Message::text("over TLS")).await.expect("sent");
    let echoed = socket.next().await.expect("a message").expect("a message");
    assert_eq!(echoed, Message::text("over TLS"));
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_without_a_dropped_connection() {
    let https = Https::new(SITES).await;
    let client = https.authority.client();
    let mut open = Wire::over(client.connect(&https.gateway, "site.test").await);
    open.send(get("/before", &[])).await;
    assert_eq!(open.response().await.status(), 200);

    let mark = https.gateway.mark();
    https.authority.issue(https.gateway.folder(), "site", &["new.test", "site.test"], 2090);
    https.gateway.says(mark, "configuration reloaded").await;
    assert_eq!(client.shown(&https.gateway, "site.test").await, "new.test");
    open.send(get("/after", &[])).await;
    assert_eq!(open.response().await.status(), 200, "the open connection goes on");
}

#[tokio::test]
async fn a_broken_pair_changes_nothing_and_is_told() {
    let https = Https::new(SITES).await;
    let client = https.authority.client();
    let key = https.gateway.folder().join("site.key");
    let good = std::fs::read(&key).expect("the key");
    let other = std::fs::read(https.gateway.folder().join("star.key")).expect("another key");
    for (broken, told) in
        [(other.as_slice(), "the key is not the certificate's"), (b"rubbish", "no private key")]
    {
        let mark = https.gateway.mark();
        std::fs::write(&key, broken).expect("written");
        https.gateway.says(mark, told).await;
        assert!(https.gateway.log_lines().iter().any(|line| line.contains("not reloaded")));
        assert_eq!(client.shown(&https.gateway, "site.test").await, "site.test");
    }
    let mark = https.gateway.mark();
    std::fs::write(&key, good).expect("written");
    https.gateway.says(mark, "configuration reloaded").await;
}

#[tokio::test]
async fn a_certificate_near_its_end_is_warned_of() {
    let admin = free_port();
    let admin_at = format!("admin: {{address: \"127.0.0.1:{admin}\"}}");
    let https = Https::with(SITES, |config| config.top(&admin_at)).await;
    let mark = https.gateway.mark();
    https.authority.issue(https.gateway.folder(), "site", &["site.test"], 2021);
    https.gateway.says(mark, "the certificate for site.test expired at 2021-01-01").await;
    until("the metric", || async {
        let metrics = reqwest::get(format!("http://127.0.0.1:{admin}/metrics")).await;
        let metrics = metrics.expect("an answer").text().await.expect("text");
        metrics.contains("name=\"site.test\"} 1609459200\n")
    })
    .await;
}

#[tokio::test]
async fn sessions_are_resumed_also_after_a_reload() {
    let https = Https::new(SITES).await;
    let client = https.authority.client().resuming();
    assert!(!client.resumes(&https.gateway, "site.test").await, "nothing to resume yet");
    assert!(client.resumes(&https.gateway, "site.test").await);
    let mark = https.gateway.mark();
    https.authority.issue(https.gateway.folder(), "star", &["*.star.test"], 2091);
    https.gateway.says(mark, "configuration reloaded").await;
    assert!(client.resumes(&https.gateway, "site.test").await);
}

#[tokio::test]
async fn mutual_tls_lets_in_only_clients_of_the_authority() {
    let tls = format!("{SITES}, client_auth: {{ca: ca.pem}}");
    let https = Https::new(&tls).await;
    let folder = https.gateway.folder().to_owned();
    https.authority.issue_client(&folder, "billing");
    Authority::new().issue_client(&folder, "stranger");
    let client = https.authority.client();

    let known = client.clone().showing(folder.join("billing"));
    assert_eq!(known.get(&https.gateway, "site.test", "/known").await.status(), 200);
    let line = https.gateway.access_of("/known").await;
    assert!(
        line["tls.client.subject"].as_str().is_some_and(|it| it.contains("CN=billing")),
        "{line}"
    );
    assert_eq!(line["tls.client.x509.alternative_names"], "URI:spiffe://example/billing");

    for refused in [client.clone(), client.showing(folder.join("stranger"))] {
        // With TLS 1.3 the client learns of it by the first read.
        let Ok(stream) = refused.try_connect(&https.gateway, "site.test").await else { continue };
        let mut wire = Wire::over(stream);
        let _ = wire.try_send(get("/refused", &[])).await;
        assert_eq!(wire.read_to_end().await, b"");
    }
    assert_eq!(https.upstream.requests().len(), 1);
}

#[tokio::test]
async fn mutual_tls_may_be_optional() {
    let tls = format!("{SITES}, client_auth: {{ca: ca.pem, mode: request}}");
    let https = Https::new(&tls).await;
    let answer = https.authority.client().get(&https.gateway, "site.test", "/").await;
    assert_eq!(answer.status(), 200);
    assert!(https.gateway.access_of("/").await["tls.client.subject"].is_null());
}

#[tokio::test]
async fn hsts_is_one_key() {
    let https = Https::new(&format!("{SITES}, hsts: on")).await;
    let answer = https.authority.client().get(&https.gateway, "site.test", "/").await;
    assert_eq!(answer.head.only("strict-transport-security"), Some("max-age=31536000"));
    let own = https.authority.client().get(&https.gateway, "site.test", "/%00").await;
    assert_eq!(own.status(), 400);
    assert_eq!(own.head.only("strict-transport-security"), Some("max-age=31536000"));

    let settings = "hsts: {max_age: 1h, include_subdomains: true, preload: true}";
    let mark = https.gateway.mark();
    let config = Config::to(&https.upstream).listening(&format!("tls: {{{SITES}, {settings}}}"));
    https.gateway.rewrite(&config);
    https.gateway.says(mark, "configuration reloaded").await;
    let answer = https.authority.client().get(&https.gateway, "site.test", "/").await;
    assert_eq!(
        answer.head.only("strict-transport-security"),
        Some("max-age=3600; includeSubDomains; preload")
    );
}

#[tokio::test]
async fn who_speaks_http_to_a_port_of_https_is_told() {
    let https = Https::new(SITES).await;
    let answer = https.gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("https://"), "{}", answer.text());
}

#[tokio::test]
async fn http_is_redirected_to_https() {
    let upstream = Upstream::saying("never").await;
    let gateway = Config::to(&upstream).listening("redirect_to_https: on").start().await;
    let answer = gateway
        .send("POST /a%20b?c=d HTTP/1.1\r\nHost: site.test:8080\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.head.only("location"), Some("https://site.test/a%20b?c=d"));
    let mark = gateway.mark();
    gateway.rewrite(
        &Config::to(&upstream)
            .listening("redirect_to_https: {port: 8443}")
            .top("trusted_proxies: [127.0.0.1]"),
    );
    gateway.says(mark, "configuration reloaded").await;
    let answer = gateway.get("/", &["Host: [::1]:80"]).await;
    assert_eq!(answer.head.only("location"), Some("https://[::1]:8443/"));
    // A balancer in front has done the TLS.
    let answer = gateway.get("/", &["X-Forwarded-Proto: https"]).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn development_needs_no_certificate_of_ones_own() {
    let https = Https::new("self_signed: true").await;
    let told = https.authority.client().shown_to_stranger(&https.gateway, "localhost").await;
    assert!(told.contains("UnknownIssuer"), "{told}");
}

#[tokio::test]
async fn the_proxy_protocol_tells_the_clients_address() {
    let upstream = Upstream::saying("hello").await;
    let gateway =
        Config::to(&upstream).listening("proxy_protocol: {from: [127.0.0.0/8]}").start().await;
    let v2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[203, 0, 113, 7, 192, 0, 2, 1, 0x30, 0x39, 0, 80],
    ]
    .concat();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    for (header, client) in [
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 12345 80\r\n".to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2, "203.0.113.7"),
        (local, "127.0.0.1"),
    ] {
        let mut wire = gateway.connect().await;
        // In two pieces, with the request behind in the second.
        let (a, b) = header.split_at(9);
        wire.send(a).await;
        wire.send([b, get("/", &[]).as_bytes()].concat()).await;
        assert_eq!(wire.response().await.status(), 200);
        let seen = upstream.requests().last().expect("a request").head.clone();
        assert_eq!(seen.only("x-forwarded-for"), Some(client));
    }
    let mut wire = gateway.connect().await;
    wire.send(get("/without", &[])).await;
    assert_eq!(wire.read_to_end().await, b"", "closed: the balancer always sends it");
}

#[tokio::test]
async fn the_proxy_protocol_of_a_stranger_is_not_heeded() {
    let upstream = Upstream::saying("hello").await;
    let gateway =
        Config::to(&upstream).listening("proxy_protocol: {from: [10.0.0.0/8]}").start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 200);
    let answer = gateway.send(format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n{}", get("/", &[]))).await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let https =
        Https::with(SITES, |config| config.listening("proxy_protocol: {from: [127.0.0.1]}")).await;
    let told = https.authority.client().try_connect(&https.gateway, "site.test").await;
    assert!(told.is_err(), "no PROXY header");
    until("the gateway to live on", || async {
        https.gateway.connect().await;
        true
    })
    .await;
}
