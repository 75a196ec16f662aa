//! External authorization by Envoy's protocol: a gRPC service decides, and learns the truth about the request.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use prost::Message;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tidegate_testing::http2::serve;
use tidegate_testing::{Config, Handshake, Upstream, free_port};

/// What the tests read of `envoy.service.auth.v3.CheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, optional, tag = "1")]
    source: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    request: Option<Request>,
}

#[derive(Clone, PartialEq, Message)]
struct Peer {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, Message)]
struct SocketAddress {
    #[prost(string, tag = "2")]
    address: String,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "2")]
    http: Option<Http>,
}

#[derive(Clone, PartialEq, Message)]
struct Http {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
    #[prost(string, tag = "11")]
    body: String,
}

/// A field of Protocol Buffers whose value has a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    assert!(length < 128, "one byte is enough");
    [&[number << 3 | 2, length], value].concat()
}

/// A field of a number below 128.
fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// `HeaderValueOption`s.
fn headers(headers: &[(&str, &str)]) -> Vec<u8> {
    let option = |(name, value): &(&str, &str)| {
        let header = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
        field(2, &field(1, &header))
    };
    headers.iter().flat_map(option).collect()
}

/// A `CheckResponse` that admits, with these headers.
fn ok(sent: &[(&str, &str)]) -> Vec<u8> {
    [field(1, &[]), field(3, &headers(sent))].concat()
}

/// One that denies: status, headers, body.
fn denied(status: &[u8], sent: &[(&str, &str)], body: &str) -> Vec<u8> {
    let status = field(1, &[&[1 << 3], status].concat());
    let response = [status, headers(sent), field(3, body.as_bytes())].concat();
    [field(1, &number(1, 7)), field(2, &response)].concat()
}

/// A gRPC service that answers `Check` with these bytes, or with this status of gRPC.
async fn service(answer: Result<Vec<u8>, &'static str>) -> (SocketAddr, Arc<Mutex<Vec<Http>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let address = serve(move |request, mut respond| {
        let (answer, seen) = (answer.clone(), Arc::clone(&seen));
        async move {
            assert_eq!(request.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
            let mut body = request.into_body();
            let mut bytes = BytesMut::new();
            while let Some(part) = body.data().await {
                let part = part.unwrap();
                let _ = body.flow_control().release_capacity(part.len());
                bytes.extend_from_slice(&part);
            }
            let message = CheckRequest::decode(&bytes[5..]).unwrap();
            let attributes = message.attributes.unwrap();
            let source = attributes.source.unwrap().address.unwrap().socket_address.unwrap();
            assert_eq!(source.address, "127.0.0.1");
            seen.lock().unwrap().push(attributes.request.unwrap().http.unwrap());
            let head = http::Response::builder().header("content-type", "application/grpc");
            let mut trailers = HeaderMap::new();
            let status = answer.as_ref().err().map_or("0", |status| *status);
            trailers.insert("grpc-status", status.parse().unwrap());
            let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
            if let Ok(answer) = answer {
                let mut framed = BytesMut::new();
                framed.put_u8(0);
                framed.put_u32(u32::try_from(answer.len()).unwrap());
                framed.extend_from_slice(&answer);
                stream.send_data(Bytes::from(framed), false).unwrap();
            }
            stream.send_trailers(trailers).unwrap();
        }
    })
    .await;
    (address, asked)
}

fn asking(service: impl std::fmt::Display, upstream: &Upstream, more: &str) -> Config {
    Config::to(upstream).with("require: opa").top(&format!(
        "authentication: {{opa: {{ext_authz: {{url: \"http://{service}\", take: [x-user-id], \
         user: x-user-id{more}}}}}}}\nidentity: {{user_id: [{{claim: sub}}]}}"
    ))
}

#[tokio::test]
async fn service_learns_the_request_and_its_headers_reach_the_upstream() {
    let (address, asked) = service(Ok(ok(&[("X-User-Id", "ann"), ("x-other", "o")]))).await;
    let upstream = Upstream::saying("ok").await;
    let gateway = asking(address, &upstream, ", cache: 1h").start().await;
    let request = "POST /a/../b?c=d HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\nCookie: s=1\r\n\
                   X-User-Id: root\r\nX-Secret: s\r\n\r\nbody";
    for _ in 0..2 {
        assert_eq!(gateway.send(request).await.text(), "ok");
    }
    let asked = asked.lock().unwrap().clone();
    let [asked] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
    assert_eq!((&*asked.method, &*asked.path, &*asked.host), ("POST", "/b?c=d", "shop.test"));
    assert_eq!((&*asked.scheme, &*asked.body), ("http", ""));
    assert_eq!(asked.headers, HashMap::from([("cookie".to_owned(), "s=1".to_owned())]));
    let sent = upstream.request(0).await;
    assert_eq!(sent.head.only("x-user-id"), Some("ann"));
    assert_eq!((sent.head.get("x-other"), &*sent.body), (None, &b"body"[..]));
    assert_eq!(sent.head.only("x-request-id"), Some(&*asked.id));
    let line = gateway.access_of("/b").await;
    assert_eq!((&line["auth.result"], &line["user.id"]), (&"verified".into(), &"ann".into()));
}

#[tokio::test]
async fn denial_reaches_the_client_whole() {
    // 302 as a number of variable length.
    let redirect =
        denied(&[0xae, 2], &[("location", "https://id.test/"), ("set-cookie", "a=1")], "go");
    let (address, _) = service(Ok(redirect)).await;
    let upstream = Upstream::echo().await;
    let gateway = asking(address, &upstream, ", on_error: allow").start().await;
    for answer in [gateway.get("/a", &[]).await, gateway.refused(&Handshake::to("/ws")).await] {
        assert_eq!((answer.status(), &*answer.text()), (302, "go"));
        assert_eq!(answer.head.only("location"), Some("https://id.test/"));
        assert_eq!(answer.head.only("set-cookie"), Some("a=1"));
    }
    // Without a response of its own, a denial is 403.
    let (address, _) = service(Ok(field(1, &number(1, 16)))).await;
    let gateway = asking(address, &upstream, ", on_error: allow").start().await;
    assert_eq!(gateway.get("/a", &[]).await.status(), 403);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn answer_that_cannot_be_obeyed_admits_nobody_and_an_outage_as_set() {
    let removes = [field(1, &[]), field(3, &field(5, b"x-role"))].concat();
    let query = [field(1, &[]), field(3, &field(8, b"token"))].concat();
    let both = [ok(&[]), field(2, &[])].concat();
    let nothing = Vec::new();
    let admits = denied(&[0xc8, 1], &[], "");
    for (what, answer) in [
        ("removes", Ok(removes)),
        ("query", Ok(query)),
        ("both", Ok(both)),
        ("no status", Ok(nothing)),
        ("denies with 200", Ok(admits)),
        ("PERMISSION_DENIED", Err("7")),
        ("UNIMPLEMENTED", Err("12")),
    ] {
        let (address, _) = service(answer).await;
        let upstream = Upstream::saying("ok").await;
        let gateway = asking(address, &upstream, ", on_error: allow").start().await;
        assert_eq!(gateway.get("/a", &[]).await.status(), 503, "{what}");
        assert_eq!(gateway.access_of("/a").await["auth.reason"], "bad_answer", "{what}");
    }
    for (more, status) in [("", 503), (", on_error: allow", 200)] {
        let upstream = Upstream::saying("ok").await;
        let gateway = asking(format!("127.0.0.1:{}", free_port()), &upstream, more).start().await;
        assert_eq!(gateway.get("/a", &["X-User-Id: root"]).await.status(), status);
        assert_eq!(gateway.access_of("/a").await["auth.reason"], "unreachable");
    }
}
