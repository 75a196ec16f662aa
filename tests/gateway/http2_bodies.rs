//! A body has one end, however HTTP/2 divides it into frames (RFC 9112, section 7.1; RFC 9113, section 8.1).

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tidegate_testing::http2::{
    self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, field, frame,
};
use tidegate_testing::{Config, Gateway, Upstream, Wire, get, ok, within};

const CASES: usize = 200;

/// The cases that share a connection: implementations bound the empty frames of one.
const SHARE: usize = 20;

/// A body as its sender cuts it.
#[derive(Debug, Clone)]
struct Cut {
    pieces: Vec<Vec<u8>>,
    /// Whether trailers end it, rather than its last piece.
    has_trailers: bool,
    has_length: bool,
}

impl Cut {
    fn whole(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

/// Bodies cut at random, with empty pieces anywhere.
fn cuts() -> Vec<Cut> {
    let piece = prop_oneof![
        2 => Just(Vec::new()),
        3 => proptest::collection::vec(any::<u8>(), 1..40),
        1 => Just(b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
    ];
    let cut = (proptest::collection::vec(piece, 0..6), any::<bool>(), any::<bool>())
        .prop_map(|(pieces, has_trailers, has_length)| Cut { pieces, has_trailers, has_length });
    let mut runner = TestRunner::deterministic();
    let mut one = || cut.new_tree(&mut runner).expect("a case").current();
    (0..CASES).map(|_| one()).collect()
}

/// What came to an upstream, request by request.
type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// An upstream by HTTP/1.1 that keeps its connections and takes every byte for what it says:
/// what is behind a body is the next request.
async fn strict_upstream() -> (Upstream, Seen) {
    let seen = Seen::default();
    let keeps = Arc::clone(&seen);
    let upstream = Upstream::scripted(move |mut wire: Wire, _| {
        let seen = Arc::clone(&keeps);
        async move {
            while let Some(head) = wire.try_head().await {
                let body = wire.body(&head).await;
                seen.lock().expect("the requests").push((head.line.clone(), body));
                if wire.try_send(ok(head.target())).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (upstream, seen)
}

/// The frames of a request with this body.
fn request(stream: u32, cut: &Cut) -> Vec<u8> {
    let length = cut.whole().len().to_string();
    let mut head = [
        (&b":method"[..], &b"POST"[..]),
        (b":scheme", b"http"),
        (b":authority", b"a.test"),
        (b":path", b"/case"),
    ]
    .iter()
    .flat_map(|(name, value)| field(name, value))
    .collect::<Vec<_>>();
    if cut.has_length {
        head.extend(field(b"content-length", length.as_bytes()));
    }
    let ends = !cut.has_trailers && cut.pieces.is_empty();
    let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
    let mut frames = frame(HEADERS, flags, stream, &head);
    for (number, piece) in cut.pieces.iter().enumerate() {
        let is_last = number + 1 == cut.pieces.len() && !cut.has_trailers;
        frames.extend(frame(DATA, if is_last { END_STREAM } else { 0 }, stream, piece));
    }
    if cut.has_trailers {
        let trailers = field(b"x-checksum", b"1");
        frames.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers));
    }
    frames
}

/// Reads until the stream is over; its data, or `None` when it was reset.
async fn answer(client: &mut Frames, stream: u32) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let frame = client.next().await.expect("a connection that lives");
        if frame.stream != stream {
            continue;
        }
        match frame.kind {
            RST_STREAM => return None,
            DATA => data.extend(&frame.payload),
            _ => {}
        }
        if [DATA, HEADERS].contains(&frame.kind) && frame.flags & END_STREAM != 0 {
            return Some(data);
        }
    }
}

async fn gateway(speaking: &str, upstream: SocketAddr) -> Gateway {
    let config = Config::to_address(upstream).listening("protocols: [h1, h2c]").with("retry: off");
    let config = if speaking.is_empty() { config } else { config.speaking(speaking) };
    config.start().await
}

/// Each request's frames go out at once in the one round, and one by one in the other.
#[tokio::test]
async fn http1_upstream_gets_one_last_chunk_for_any_framing() {
    for at_once in [true, false] {
        let (upstream, seen) = strict_upstream().await;
        let gateway = gateway("", upstream.address()).await;
        let mut client = Frames::connect(&gateway).await;
        for (number, cut) in cuts().iter().enumerate() {
            if number % SHARE == 0 {
                client = Frames::connect(&gateway).await;
            }
            let stream = number as u32 * 2 + 1;
            let bytes = request(stream, cut);
            if at_once {
                client.send_all(&bytes).await.expect("sent");
            } else {
                // Head and frames by themselves, so that each is seen before the next is there.
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let length = 9 + u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
                    client.send_all(&rest[..length]).await.expect("sent");
                    rest = &rest[length..];
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(
                answer(&mut client, stream).await.as_deref(),
                Some(&b"/case"[..]),
                "{cut:?}"
            );
            let victim = gateway.get("/victim", &[]).await;
            assert_eq!((victim.status(), victim.text().as_str()), (200, "/victim"), "{cut:?}");
            let requests = std::mem::take(&mut *seen.lock().expect("the requests"));
            let expected = [
                ("POST /case HTTP/1.1".to_owned(), cut.whole()),
                ("GET /victim HTTP/1.1".to_owned(), Vec::new()),
            ];
            assert_eq!(requests, expected, "{cut:?}");
        }
        // One whose answer is there before the end of its request is not used again.
        assert!(upstream.connections() < CASES, "kept: {}", upstream.connections());
    }
}

/// A service by HTTP/2 that echoes bodies, or answers with the cut that the path numbers.
async fn http2_service() -> SocketAddr {
    let cuts = Arc::new(cuts());
    http2::serve(move |request, respond| serve(request, respond, Arc::clone(&cuts))).await
}

async fn serve(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    cuts: Arc<Vec<Cut>>,
) {
    let (head, mut body) = request.into_parts();
    let number = head.uri.path().trim_start_matches('/').parse::<usize>().ok();
    let Some(cut) = number.and_then(|number| cuts.get(number)) else {
        let mut whole = Vec::new();
        while let Some(Ok(data)) = body.data().await {
            whole.extend(&data);
            let _ = body.flow_control().release_capacity(data.len());
        }
        let mut stream = respond.send_response(http::Response::new(()), false).expect("sent");
        stream.send_data(Bytes::from(whole), true).expect("sent");
        return;
    };
    let mut response = http::Response::builder();
    if cut.has_length {
        response = response.header("content-length", cut.whole().len());
    }
    let ends = cut.pieces.is_empty() && !cut.has_trailers;
    let response = response.body(()).expect("a response");
    let mut stream = respond.send_response(response, ends).expect("sent");
    for (at, piece) in cut.pieces.iter().enumerate() {
        let is_last = at + 1 == cut.pieces.len() && !cut.has_trailers;
        stream.send_data(Bytes::from(piece.clone()), is_last).expect("sent");
        if at % 2 == 0 {
            tokio::task::yield_now().await;
        }
    }
    if cut.has_trailers {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-checksum", http::HeaderValue::from_static("1"));
        stream.send_trailers(trailers).expect("sent");
    }
}

#[tokio::test]
async fn http2_upstream_gets_the_body_for_any_framing() {
    let gateway = gateway("protocols: [h2c]", http2_service().await).await;
    let mut client = Frames::connect(&gateway).await;
    for (number, cut) in cuts().iter().enumerate() {
        if number % SHARE == 0 {
            client = Frames::connect(&gateway).await;
        }
        let stream = number as u32 * 2 + 1;
        client.send_all(&request(stream, cut)).await.expect("sent");
        assert_eq!(answer(&mut client, stream).await, Some(cut.whole()), "{cut:?}");
    }
}

#[tokio::test]
async fn client_gets_the_body_once_for_any_upstream_framing() {
    let service = http2_service().await;
    let mut gateway = gateway("protocols: [h2c]", service).await;
    let mut wire = gateway.connect().await;
    let mut client = Frames::connect(&gateway).await;
    for (number, cut) in cuts().iter().enumerate() {
        if number % SHARE == 0 {
            gateway = self::gateway("protocols: [h2c]", service).await;
            wire = gateway.connect().await;
            client = Frames::connect(&gateway).await;
        }
        // Over HTTP/1.1, on one connection: what is too much there is the next response.
        wire.send(get(&format!("/{number}"), &[])).await;
        let response = within("a response", wire.response()).await;
        assert_eq!((response.status(), &response.body), (200, &cut.whole()), "{cut:?}");
        let path = format!("/{number}");
        let head = [
            (&b":method"[..], &b"GET"[..]),
            (b":scheme", b"http"),
            (b":authority", b"a.test"),
            (b":path", path.as_bytes()),
        ];
        let head: Vec<u8> = head.iter().flat_map(|(name, value)| field(name, value)).collect();
        let stream = number as u32 * 2 + 1;
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &head).await.expect("sent");
        assert_eq!(answer(&mut client, stream).await, Some(cut.whole()), "{cut:?}");
    }
}
