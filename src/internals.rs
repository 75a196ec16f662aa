//! What `benches/` measure and `fuzz/` tries; no part of the library's promise.

pub use crate::cache::RequestDirectives;
pub use crate::filter::{CorsFilter, CorsPolicy};
pub use crate::routing::{PathRule, Query, Rule, Table};

use crate::cache::{self, RequestFacts, ResponseArrival};
use crate::websocket::{
    FrameObserver, Identity, LogFrames, Message, MessageObserver, OnChange, Session,
};
use http::HeaderMap;
use pingora::http::ResponseHeader;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tidegate_http::websocket::frame::{Direction, Header, Scanner};

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
