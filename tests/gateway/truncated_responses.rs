//! A truncated response is recognisable, with all received bytes, and a gRPC call gets the right status.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_testing::http2::{self, END_HEADERS, END_STREAM, Frames, HEADERS};
use tidegate_testing::{Config, Gateway, Upstream, Wire, free_port, get, within};
use tokio::net::TcpListener;

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
                      5\r\nfirst\r\n";

/// An upstream over HTTP/1.1 that sends two pieces and is gone.
async fn upstream_that_breaks_off(pause: Duration) -> Upstream {
    Upstream::scripted(move |mut wire: Wire, _| async move {
        if wire.try_head().await.is_some() {
            wire.send(EVENTS).await;
            tokio::time::sleep(pause).await;
            wire.send("6\r\nsecond\r\n").await;
        }
    })
    .await
}

/// What a client over HTTP/2 gets.
#[derive(Debug)]
struct Got {
    head: http::response::Parts,
    body: Vec<u8>,
    /// The trailers, or why there are none.
    end: Result<Option<HeaderMap>, h2::Reason>,
}

async fn ask(gateway: &Gateway, path: &str, fields: &[(&'static str, &'static str)]) -> Got {
    let mut client = http2::client(gateway.address()).await;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://a.test{path}").parse().expect("a URI");
    *request.version_mut() = Version::HTTP_2;
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    let (response, _) = client.send_request(request, true).expect("sent");
    let response = within("a response", response).await.expect("a response");
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    let broken = loop {
        match within("a piece", stream.data()).await {
            Some(Ok(data)) => {
                body.extend(&data);
                let _ = stream.flow_control().release_capacity(data.len());
            }
            Some(Err(error)) => break error.reason(),
            None => break None,
        }
    };
    let end = match broken {
        Some(reason) => Err(reason),
        None => Ok(stream.trailers().await.expect("trailers, or none")),
    };
    Got { head, body, end }
}

fn config(address: SocketAddr) -> Config {
    Config::to_address(address).listening("protocols: [h1, h2c]").with("retry: off")
}

#[tokio::test]
async fn received_body_is_delivered_before_the_reset() {
    for pause in [Duration::ZERO, Duration::from_millis(100)] {
        let upstream = upstream_that_breaks_off(pause).await;
        let gateway = config(upstream.address()).start().await;
        for _ in 0..8 {
            let got = ask(&gateway, "/", &[]).await;
            assert_eq!(got.body, b"firstsecond", "{pause:?}");
            assert_eq!(got.end, Err(h2::Reason::INTERNAL_ERROR), "{pause:?}");
            // Over HTTP/1.1 the connection ends without the last chunk.
            let mut wire = gateway.connect().await;
            wire.send(get("/", &[])).await;
            wire.head().await;
            let body = String::from_utf8(wire.read_to_end().await).expect("text");
            assert!(body.contains("first") && body.contains("second"), "{body}");
            assert!(!body.ends_with("0\r\n\r\n"), "{body}");
        }
    }
}

#[tokio::test]
async fn response_head_is_delivered_before_the_reset() {
    let upstream = Upstream::scripted(|mut wire: Wire, _| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
    })
    .await;
    let gateway = config(upstream.address()).start().await;
    for _ in 0..8 {
        let got = ask(&gateway, "/", &[]).await;
        assert_eq!((got.head.status.as_u16(), got.end), (200, Err(h2::Reason::INTERNAL_ERROR)));
    }
}

/// A service of gRPC that sends a piece of each answer, and then is gone, or resets the stream.
async fn dying_service(resets: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
                let (_, mut respond) = connection.accept().await.expect("a call").expect("sound");
                let mut response = http::Response::new(());
                let kind = HeaderValue::from_static("application/grpc");
                response.headers_mut().insert("content-type", kind);
                let mut stream = respond.send_response(response, false).expect("sent");
                stream.send_data(Bytes::from_static(b"\0\0\0\0\x01x"), false).expect("sent");
                let pause = tokio::time::sleep(Duration::from_millis(50));
                // Nothing is sent but while the connection is driven.
                tokio::select! {
                    _ = connection.accept() => {}
                    () = pause => {}
                }
                if resets {
                    stream.send_reset(h2::Reason::INTERNAL_ERROR);
                    let _ = connection.accept().await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn grpc_call_whose_service_dies_ends_with_unavailable() {
    for resets in [false, true] {
        let address = dying_service(resets).await;
        let config = config(address).speaking("protocols: [h2c]").with("grpc_web: on");
        let gateway = config.start().await;
        let fields = [("content-type", "application/grpc+proto"), ("te", "trailers")];
        let got = ask(&gateway, "/t.T/Watch", &fields).await;
        assert_eq!(got.body, b"\0\0\0\0\x01x", "{resets}");
        let trailers = got.end.expect("no reset").expect("trailers");
        assert_eq!(trailers.get("grpc-status").expect("a status"), "14", "{resets}");
        assert!(trailers.contains_key("grpc-message"));
        // gRPC-Web has its trailers in the body, whatever carries it. The service takes one call on
        // each connection.
        let gateway = config.start().await;
        let request = get("/t.T/Watch", &["Content-Type: application/grpc-web+proto"]);
        let answer = gateway.send(request.replace("GET", "POST")).await;
        assert!(answer.body.starts_with(b"\0\0\0\0\x01x\x80"), "{:?}", answer.text());
        assert!(answer.text().contains("grpc-status:14"), "{:?}", answer.text());
    }
}

#[tokio::test]
async fn gateway_errors_are_grpc_statuses_for_grpc_calls() {
    let config = Config::to_address(format!("127.0.0.1:{}", free_port()))
        .speaking("protocols: [h2c]")
        .listening("protocols: [h1, h2c]")
        .with("grpc_web: on")
        .with("retry: off");
    let gateway = config.start().await;
    let grpc = ("content-type", "application/grpc");
    for (fields, status, http) in [(&[grpc][..], "14", 502), (&[grpc, ("expect", "x")], "2", 417)] {
        let path = format!("/t.T/{http}");
        let got = ask(&gateway, &path, fields).await;
        assert_eq!(got.head.status.as_u16(), 200, "{path}");
        assert_eq!(got.head.headers.get("content-type").expect("a type"), "application/grpc");
        assert_eq!(got.head.headers.get("grpc-status").expect("a status"), status, "{path}");
        assert!(got.head.headers.contains_key("grpc-message"), "{path}");
        let named = got.head.headers.get("proxy-status").expect("a Proxy-Status");
        assert!(named.as_bytes().starts_with(b"tidegate; error="), "{named:?}");
        assert_eq!((got.body.len(), got.end), (0, Ok(None)));
        let line = gateway.access_of(&path).await;
        assert_eq!(line["http.response.status_code"], http);
    }
    // What is no call gets what it always got.
    let got = ask(&gateway, "/other", &[("content-type", "application/json")]).await;
    assert_eq!(got.head.status.as_u16(), 502);
    assert!(!got.head.headers.contains_key("grpc-status"));
    let request = get("/t.T/Web", &["Content-Type: application/grpc-web+proto"]);
    let answer = gateway.send(request.replace("GET", "POST")).await;
    assert_eq!((answer.status(), answer.head.get("grpc-status")), (200, Some("14")));
    assert_eq!(answer.head.get("content-type"), Some("application/grpc-web"));
}

#[tokio::test]
async fn grpc_error_is_a_trailers_only_response() {
    let config = Config::to_address(format!("127.0.0.1:{}", free_port()))
        .speaking("protocols: [h2c]")
        .listening("protocols: [h1, h2c]")
        .with("retry: off")
        .answer("refused", "path_prefix: /refused", "respond: {status: 401}");
    let gateway = config.start().await;
    for path in ["/t.T/Call", "/refused"] {
        let mut frames = Frames::connect(&gateway).await;
        let mut head = http2::field(b":method", b"POST");
        for (name, value) in
            [(":scheme", "http"), (":authority", "a"), (":path", path), ("te", "trailers")]
        {
            head.extend(http2::field(name.as_bytes(), value.as_bytes()));
        }
        head.extend(http2::field(b"content-type", b"application/grpc\t;x=y"));
        let flags = END_HEADERS | END_STREAM;
        frames.send(HEADERS, flags, 1, &head).await.expect("sent");
        let answer = frames.next_of(HEADERS).await;
        assert_eq!(answer.flags & END_STREAM, END_STREAM, "{path}");
    }
}
