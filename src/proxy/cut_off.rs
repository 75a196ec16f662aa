//! Reports a request or session that ends without Pingora's `logging` hook, because its task is dropped: a stuck
//! session, an evicted client, the end of the gateway. Ends nothing itself.

use super::Context;
use bytes::Bytes;
use http::{Method, Request, Uri, Version};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use tidegate_http::head::MAX_HEADER_COUNT;

/// The logged reason of a request that is cut off because the gateway stops.
pub(super) const STOP_REASON: &str = "cut off: the gateway stopped before the request or session \
                                      ended (shutdown.grace)";

/// The logged reason of a request whose task panics. The panic itself is in the log before it.
const PANIC_REASON: &str = "the gateway or one of its filters panicked; please report this bug";

/// The logged reason of a request that is cut off because its client is evicted.
pub(super) const EVICTION_REASON: &str = "cut off: the gateway was short of memory and evicted \
                                          this client (limits.memory)";

/// The logged reason of a request that its client reset while the upstream took nothing.
pub(super) const RESET_REASON: &str = "client: reset the HTTP/2 stream";

/// The head of a request, kept at no cost for the case that Pingora's session is gone.
#[derive(Default)]
pub(super) enum KeptRequestHead {
    /// None.
    #[default]
    None,
    /// HTTP/1: its bytes, which Pingora's session holds as well.
    Raw(Bytes),
    /// A request over HTTP/2 with a body: its method and target, which cost no copy of the whole.
    Line(Box<(Method, Uri)>),
    /// A session over HTTP/2: the head itself. Pingora needs it no more.
    Taken(Box<RequestHeader>),
}

impl KeptRequestHead {
    /// That of a request which begins.
    pub(super) fn from_session(session: &Session) -> Self {
        let http1 = session.as_downstream().as_http1();
        http1.map_or(Self::None, |session| Self::Raw(session.get_headers_raw_bytes()))
    }

    /// Keeps what can be kept cheaply of a request over HTTP/2 whose body is to come: its task is dropped
    /// when the client resets it while the upstream takes nothing.
    pub(super) fn keep_method_and_target(&mut self, session: &Session) {
        let head = session.req_header();
        if head.version == Version::HTTP_2 {
            *self = Self::Line(Box::new((head.method.clone(), head.uri.clone())));
        }
    }

    /// Keeps it as long as a WebSocket session lives.
    pub(super) fn keep_for_session(&mut self, session: &mut Session) {
        if session.req_header().version != Version::HTTP_2 {
            return;
        }
        let head = session.req_header_mut();
        let Ok(mut stub) = RequestHeader::build(head.method.clone(), b"/", Some(0)) else { return };
        stub.set_version(Version::HTTP_2);
        *self = Self::Taken(Box::new(std::mem::replace(head, stub)));
    }

    /// The head, where Pingora's session has it no more.
    pub(super) fn into_taken(self) -> Option<Box<RequestHeader>> {
        match self {
            Self::Taken(head) => Some(head),
            Self::None | Self::Raw(_) | Self::Line(_) => None,
        }
    }

    /// The head without Pingora's session.
    fn into_parsed(self) -> Option<Box<RequestHeader>> {
        match self {
            Self::Taken(head) => Some(head),
            Self::Raw(bytes) => read(&bytes).map(Box::new),
            Self::Line(line) => {
                let (method, uri) = *line;
                let mut head = Request::new(()).into_parts().0;
                (head.method, head.uri, head.version) = (method, uri, Version::HTTP_2);
                Some(Box::new(head.into()))
            }
            Self::None => None,
        }
    }
}

/// Reads a head again.
fn read(bytes: &[u8]) -> Option<RequestHeader> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADER_COUNT];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(bytes).ok()?;
    let method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    let mut head = RequestHeader::build(method, request.path?.as_bytes(), None).ok()?;
    if request.version == Some(0) {
        head.set_version(Version::HTTP_10);
    }
    for field in request.headers.iter() {
        // One that can't be kept is none that Pingora has kept.
        let _ = head.append_header(field.name.to_owned(), field.value);
    }
    Some(head)
}

impl Drop for Context {
    fn drop(&mut self) {
        if !self.is_in_flight() {
            return;
        }
        if std::thread::panicking() {
            self.outcome.error = Some(PANIC_REASON.to_owned());
        }
        match std::mem::take(&mut self.head).into_parsed() {
            Some(head) => self.record_cut_off_request(&head),
            // Over HTTP/2 the head went with Pingora's session.
            None if std::thread::panicking() => log::error!(
                "{PANIC_REASON} (route `{}`, request {})",
                self.exchange.route(),
                self.exchange.request_id()
            ),
            None => {}
        }
    }
}
