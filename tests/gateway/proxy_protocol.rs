//! The PROXY protocol: a listed load balancer reports the client's address.

use std::net::{IpAddr, SocketAddr};
use tidegate_testing::{Config, Gateway, Https, SITES, Upstream, Wire, get, until};

/// A header of version 2: of this kind (command in its first byte, family in its second), with
/// this behind.
fn version_2(kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a length").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &kind[..], &length, rest].concat()
}

/// One that names a client, with further fields behind its addresses.
fn of_client(client: SocketAddr, fields: &[u8]) -> Vec<u8> {
    let (family, mut rest) = match client.ip() {
        IpAddr::V4(ip) => (0x11, [ip.octets(), [192, 0, 2, 1]].concat()),
        IpAddr::V6(ip) => (0x21, [ip.octets(), [0xfd; 16]].concat()),
    };
    rest.extend(client.port().to_be_bytes());
    rest.extend(443_u16.to_be_bytes());
    rest.extend(fields);
    version_2([0x21, family], &rest)
}

/// A field behind the addresses: its type and value.
fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a length").to_be_bytes();
    [&[kind], &length[..], value].concat()
}

fn client(written: &str) -> SocketAddr {
    written.parse().expect("an address")
}

async fn expecting(limits: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::saying("hello").await;
    let config = Config::to(&upstream).listening("proxy_protocol: {from: [127.0.0.0/8]}");
    (config.top(&format!("limits: {{{limits}}}")).start().await, upstream)
}

#[tokio::test]
async fn proxy_header_gives_the_client_address() {
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
    assert_eq!(wire.response().await.status(), 400, "the balancer always sends it");
    assert!(wire.is_ended().await);
}

#[tokio::test]
async fn proxy_header_of_an_unlisted_peer_is_refused() {
    let upstream = Upstream::saying("hello").await;
    let gateway =
        Config::to(&upstream).listening("proxy_protocol: {from: [10.0.0.0/8]}").start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 200);
    let answer = gateway.send(format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n{}", get("/", &[]))).await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn proxy_header_precedes_tls() {
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

#[tokio::test]
async fn version_2_gives_ipv4_and_ipv6_addresses_with_any_extra_fields() {
    let (gateway, upstream) = expecting("").await;
    let more = [
        field(0x02, b"shop.example"),  // the authority
        field(0x20, &[7, 0, 0, 0, 0]), // of a TLS connection
        field(0xe0, &[0; 2000]),       // the balancer's own
        field(0x04, &[0; 300]),        // nothing
    ]
    .concat();
    for address in ["203.0.113.7:12345", "[2001:db8::7]:12345"] {
        for fields in [&[][..], &more] {
            let header = of_client(client(address), fields);
            // Byte by byte would say the same; where it is cut says nothing.
            let (a, b) = header.split_at(header.len() / 2);
            let mut wire = gateway.connect().await;
            wire.send(a).await;
            wire.send([b, get("/", &["Connection: close"]).as_bytes()].concat()).await;
            assert_eq!(wire.response().await.status(), 200);
            let head = upstream.requests().pop().expect("a request").head;
            let told = head.only("x-forwarded-for").map(str::to_owned);
            assert_eq!(told, Some(client(address).ip().to_string()), "{}", fields.len());
        }
    }
}

#[tokio::test]
async fn malformed_proxy_header_ends_the_connection() {
    let (gateway, upstream) = expecting("").await;
    let request = get("/smuggled", &[]).into_bytes();
    let good = of_client(client("203.0.113.7:1"), &[]);
    let mut wrong_version = good.clone();
    wrong_version[12] = 0x31;
    let mut wrong_command = good.clone();
    wrong_command[12] = 0x2f;
    let mut wrong_family = good.clone();
    wrong_family[13] = 0xf1;
    let short = version_2([0x21, 0x11], &[203, 0, 113]);
    for (what, bytes) in [
        ("another version", wrong_version),
        ("another command", wrong_command),
        ("another family", wrong_family),
        ("addresses that are cut off", short),
        ("no address", b"PROXY TCP4 nowhere 192.0.2.1 1 80\r\n".to_vec()),
        ("a port that is none", b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 80\r\n".to_vec()),
        ("a family that is none", b"PROXY UDP4 203.0.113.7 192.0.2.1 1 80\r\n".to_vec()),
        ("lower case", b"proxy TCP4 203.0.113.7 192.0.2.1 1 80\r\n".to_vec()),
        ("nothing but a request", Vec::new()),
    ] {
        let mut wire = gateway.connect().await;
        let _ = wire.try_send([bytes, request.clone()].concat()).await;
        let answer = wire.response().await;
        assert_eq!(answer.status(), 400, "{what}");
        assert_eq!(answer.error()["error"], "proxy_header_required", "{what}");
        assert!(wire.is_ended().await, "{what}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
    let mut wire = gateway.connect().await;
    wire.send([good, get("/", &[]).into_bytes()].concat()).await;
    assert_eq!(wire.response().await.status(), 200, "others are served");
}

#[tokio::test]
async fn endless_proxy_header_ends_the_connection() {
    let (gateway, upstream) = expecting("handshake_timeout: 1s").await;
    // Longer than any that means something: RFC-like bounds are 107 bytes of text, and here 4 KiB.
    for endless in [
        [b"PROXY TCP4 ".to_vec(), vec![b'1'; 8 * 1024]].concat(),
        version_2([0x21, 0x11], &[1; 60_000]),
    ] {
        let mut wire = gateway.connect().await;
        let _ = wire.try_send(endless).await;
        assert_eq!(wire.response().await.status(), 400, "at once");
        assert!(wire.is_ended().await);
    }
    // And one that comes too slowly, or not at all.
    for begun in [&b""[..], b"PROX", b"\r\n\r\n\0\r\nQUIT\n\x21"] {
        let mut wire = gateway.connect().await;
        wire.send(begun).await;
        assert_eq!(wire.read_to_end().await, b"", "after handshake_timeout");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn proxy_header_gives_the_client_address_over_tls() {
    let https =
        Https::with(SITES, |config| config.listening("proxy_protocol: {from: [127.0.0.1]}")).await;
    let tls = https.authority.client();
    for (address, is_v2) in
        [("203.0.113.7:12345", true), ("[2001:db8::7]:1", true), ("203.0.113.8:1", false)]
    {
        let at = client(address);
        let header = match is_v2 {
            true => of_client(at, &field(0x01, b"h2")),
            false => format!("PROXY TCP4 {} 192.0.2.1 {} 443\r\n", at.ip(), at.port()).into_bytes(),
        };
        let stream = tls.connect_behind(&https.gateway, "site.test", &header).await;
        let mut wire = Wire::over(stream);
        wire.send(get("/behind", &["Connection: close"])).await;
        assert_eq!(wire.response().await.status(), 200);
        let head = https.upstream.requests().pop().expect("a request").head;
        assert_eq!(head.only("x-forwarded-for"), Some(&*at.ip().to_string()));
        assert_eq!(head.only("x-forwarded-proto"), Some("https"));
    }
}
