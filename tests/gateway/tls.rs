//! HTTPS works as configured: protocols, session resumption, HSTS, redirects.

use futures_util::{SinkExt, StreamExt};
use tidegate_testing::{Config, Handshake, Https, SITES, TlsVersion, Upstream, Wire, get};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

#[tokio::test]
async fn https_is_reported_to_the_upstream_and_the_log() {
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
async fn http2_is_negotiated_by_alpn() {
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
async fn protocols_restrict_alpn() {
    let https = Https::with(SITES, |config| config.listening("protocols: [h1]")).await;
    let client = https.authority.client().offering(&["h2", "http/1.1"]);
    let stream = client.connect(&https.gateway, "site.test").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn websockets_pass_over_tls() {
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
async fn tls_1_3_sessions_are_resumed_after_a_reload() {
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
async fn hsts_adds_the_header_to_every_response() {
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
async fn plain_http_to_a_tls_port_is_answered_400() {
    let https = Https::new(SITES).await;
    let answer = https.gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("https://"), "{}", answer.text());
}

#[tokio::test]
async fn redirect_to_https_answers_308() {
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
async fn self_signed_serves_without_a_certificate() {
    let https = Https::new("self_signed: true").await;
    let told = https.authority.client().untrusted_error(&https.gateway, "localhost").await;
    assert!(told.contains("UnknownIssuer"), "{told}");
}

#[tokio::test]
async fn tls_1_2_is_spoken_unless_min_version_excludes_it() {
    for (least, old_works) in
        [("", true), (", min_version: \"1.2\"", true), (", min_version: \"1.3\"", false)]
    {
        let https = Https::new(&format!("{SITES}{least}")).await;
        let client = https.authority.client();
        let old = client.clone().speaking(TlsVersion::V1_2);
        match old.try_connect(&https.gateway, "site.test").await {
            Ok(stream) => {
                assert!(old_works, "{least}");
                let mut wire = Wire::over(stream);
                wire.send(get("/old", &["Connection: close"])).await;
                assert_eq!(wire.response().await.text(), "/old");
                let line = https.gateway.access_of("/old").await;
                assert_eq!(line["tls.protocol.version"], "1.2");
            }
            Err(error) => {
                assert!(!old_works, "{least}: {error}");
                // RFC 8446, section 6.2.
                assert!(error.to_string().contains("ProtocolVersion"), "{error}");
            }
        }
        let new = client.speaking(TlsVersion::V1_3);
        assert_eq!(new.get(&https.gateway, "site.test", "/new").await.text(), "/new");
        let line = https.gateway.access_of("/new").await;
        assert_eq!(line["tls.protocol.version"], "1.3");
    }
}

#[tokio::test]
async fn tls_1_2_sessions_are_resumed_after_a_reload() {
    let https = Https::new(SITES).await;
    let client = https.authority.client().speaking(TlsVersion::V1_2).resuming();
    assert!(!client.resumes(&https.gateway, "site.test").await, "nothing to resume yet");
    assert!(client.resumes(&https.gateway, "site.test").await);
    let mark = https.gateway.mark();
    https.authority.issue(https.gateway.folder(), "star", &["*.star.test"], 2091);
    https.gateway.says(mark, "configuration reloaded").await;
    assert!(client.resumes(&https.gateway, "site.test").await, "after a reload as well");
}
