//! What `benches/` measure and `fuzz/` tries; no part of the library's promise.

pub use crate::cache::RequestDirectives;
pub use crate::filter::{CorsFilter, CorsPolicy};
pub use crate::routing::{PathRule, Query, Rule, Table};
pub use crate::telemetry::redact_secrets;
pub use http::{HeaderMap, HeaderName, HeaderValue};
pub use tidegate_http::conditional::{Part, Validators, Verdict};
pub use tidegate_http::host::{HostPattern, is_authority, without_port};
pub use tidegate_http::origin::{Origin, OriginPattern};
pub use tidegate_http::path::normalize;
pub use tidegate_http::template::Template;
pub use tidegate_http::trace_context::{self, TraceParent};
pub use tidegate_http::websocket::frame::{Direction, Event, Scanner};
pub use tidegate_http::{cookie, encoding, forwarded, framing, head, query};

use crate::cache::{self, RequestFacts, ResponseArrival};
use crate::websocket::{
    Chunks, FrameObserver, Identity, LogFrames, Message, MessageObserver, OnChange, Session,
};
use bytes::BytesMut;
use pingora::http::{RequestHeader, ResponseHeader};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tidegate_http::raw_head;
use tidegate_http::websocket::frame::Header;
use tidegate_http::websocket::response_head::{Answer, Heads};

/// Whether these fields of a request like HTML better than JSON.
pub fn wants_html(headers: &HeaderMap) -> bool {
    let Ok(mut request) = RequestHeader::build("GET", b"/", None) else { return false };
    for value in headers.get_all("accept") {
        let _ = request.append_header("accept", value);
    }
    crate::proxy::wants_html(&request)
}

/// The head that these bytes begin with, as Pingora gets it; `None` where there is no whole one, or it is refused.
pub fn judged_head(bytes: &[u8]) -> Option<Vec<u8>> {
    let scan = raw_head::scan(bytes)?;
    let mut head = BytesMut::from(bytes.get(..scan.length)?);
    raw_head::judge(&mut head).ok().map(|()| head.to_vec())
}

/// For how long from now on a response with this status and these fields is fresh in the cache;
/// `None` when it is not kept.
pub fn fresh_for(status: u16, headers: &HeaderMap) -> Option<Duration> {
    let mut response = ResponseHeader::build(status, None).ok()?;
    for (name, value) in headers {
        let _ = response.append_header(name, value);
    }
    let policy = cache::Policy {
        default_ttl: Duration::from_secs(10),
        max_ttl: Some(Duration::from_secs(3600)),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        key_headers: Vec::new(),
        identity_headers: Vec::new(),
        counts: Arc::default(),
    };
    let arrival = ResponseArrival::of(&response, Duration::ZERO);
    let kept = cache::judge(&response, &arrival, RequestFacts::default(), &policy).ok()?;
    Some(kept.fresh_until().duration_since(SystemTime::now()).unwrap_or_default())
}

/// What an upstream has answered a handshake with, in parts of this size: how many bytes belong to
/// heads, and whether frames follow.
pub fn answered(bytes: &[u8], split: usize) -> Option<(usize, bool)> {
    let mut heads = Heads::default();
    let mut before = 0;
    for part in bytes.chunks(split.max(1)) {
        if let Some((length, answer)) = heads.feed(part) {
            return Some((before + length, matches!(answer, Answer::Frames { .. })));
        }
        before += part.len();
    }
    None
}

/// The data of a body in chunks, read in parts of this size.
pub fn unchunked(bytes: &[u8], split: usize) -> Vec<u8> {
    let mut chunks = Chunks::new();
    let mut all = Vec::new();
    for mut part in bytes.chunks(split.max(1)) {
        while !part.is_empty() {
            let count = match chunks.data(part) {
                Some(data) => {
                    all.extend_from_slice(data);
                    chunks.consume(data.len());
                    data.len()
                }
                None => chunks.consume_framing(part),
            };
            part = part.get(count..).unwrap_or_default();
        }
    }
    all
}

/// What a observer is told of a client's messages, in parts of this size: their text, their length
/// on the wire, and whether there is more of them.
pub fn watched(bytes: &[u8], deflate: bool, split: usize) -> Vec<(String, u64, bool)> {
    let identity = Identity {
        id: "".into(),
        route: "watched".into(),
        fingerprint: 0,
        on_change: OnChange::Keep,
        user: None,
        client: None,
        path: "".into(),
        upstream: "none".into(),
    };
    let session = Session::new(identity, LogFrames::Text);
    let told = Arc::new(Told::default());
    let mut messages = MessageObserver::new(
        Arc::clone(&told) as Arc<dyn FrameObserver>,
        Direction::ClientToUpstream,
        deflate,
    );
    let mut scanner = Scanner::new(Direction::ClientToUpstream, deflate);
    for part in bytes.chunks(split.max(1)) {
        scanner.feed(part, |event, _| {
            messages.record(&session, &event);
            true
        });
    }
    std::mem::take(&mut told.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Writes messages down.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(String, u64, bool)>>);

impl FrameObserver for Told {
    fn wants(&self, _: &Session) -> LogFrames {
        LogFrames::Text
    }

    fn frame(&self, _: &Session, _: Direction, _: &Header) {}

    fn message(&self, _: &Session, _: Direction, message: &Message<'_>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.push((message.text.to_owned(), message.length, message.is_cut));
    }
}
