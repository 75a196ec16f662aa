//! One request and its response, as filters and logs see them. Knows nothing of how they are received and sent.

use crate::identity::{AuthenticationOutcome, VerifiedIdentity};
use http::{Extensions, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_http::address::Address;
use tidegate_http::control::is_control;
use tidegate_http::trace_context::TraceParent;
use tidegate_http::websocket::frame::FrameCounts;

/// Where a user id was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserIdOrigin {
    /// In the query string.
    Query,
    /// In a header field.
    Header,
    /// In a cookie.
    Cookie,
    /// A filter has verified it.
    Filter,
    /// In a claim of the identity that `authentication` has verified.
    Claim,
}

impl UserIdOrigin {
    /// Its name in logs (`user.id.source`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Filter => "filter",
            Self::Claim => "claim",
        }
    }
}

/// The user that a request names. Unless a filter [has verified it](UserId::is_verified), it is what the
/// request says: a name for logs and counters, never a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserId {
    value: String,
    origin: UserIdOrigin,
}

impl UserId {
    /// Maximum length of an id that is kept as it is, in characters.
    pub const MAX_CHARS: usize = 256;

    /// Maximum number of characters shown of an id that cannot be kept as it is.
    const MAX_SHOWN_CHARS: usize = 200;

    /// An id from outside; `None` when it is empty.
    ///
    /// One that is longer than [`UserId::MAX_CHARS`], has characters that can't be shown, or white space
    /// at either end, is replaced by its beginning, `…` and a hash of the whole: ids that differ in any
    /// byte stay different.
    pub fn new(written: &str, origin: UserIdOrigin) -> Option<Self> {
        // A `…` of its own would let an id pass for the short form of another.
        let is_plain = |c: char| !is_control(c) && c != '…';
        // Most ids are visible ASCII, which takes no look at each character.
        let is_kept = match written.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => written.len() <= Self::MAX_CHARS,
            false => {
                written.chars().all(is_plain)
                    && written.trim() == written
                    && written.chars().nth(Self::MAX_CHARS).is_none()
            }
        };
        let value = match is_kept {
            true => written.to_owned(),
            false => Self::shortened(written, written.as_bytes()),
        };
        (!value.is_empty()).then_some(Self { value, origin })
    }

    /// A user id from bytes, which need not be UTF-8.
    pub(crate) fn from_bytes(written: &[u8], origin: UserIdOrigin) -> Option<Self> {
        match std::str::from_utf8(written) {
            Ok(text) => Self::new(text, origin),
            Err(_) => {
                let value = Self::shortened(&String::from_utf8_lossy(written), written);
                Some(Self { value, origin })
            }
        }
    }

    fn shortened(shown: &str, whole: &[u8]) -> String {
        use std::fmt::Write;
        let harmless = |c: char| if is_control(c) { char::REPLACEMENT_CHARACTER } else { c };
        let mut short: String = shown.chars().take(Self::MAX_SHOWN_CHARS).map(harmless).collect();
        short.push('…');
        let hash = ring::digest::digest(&ring::digest::SHA256, whole);
        for byte in hash.as_ref().iter().take(16) {
            // A `String` takes all that is written to it.
            let _ = write!(short, "{byte:02x}");
        }
        short
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// Whether it is verified: by `authentication`, or by a filter ([`Exchange::set_verified_user`]).
    pub fn is_verified(&self) -> bool {
        matches!(self.origin, UserIdOrigin::Filter | UserIdOrigin::Claim)
    }

    /// Where it was found.
    pub fn origin(&self) -> UserIdOrigin {
        self.origin
    }
}

/// A path that is not forwarded in its normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForwardedPath {
    /// The form; `None` for the path as received.
    pub(crate) path: Option<String>,
    /// How many of its bytes spell the prefix that is replaced.
    pub(crate) prefix: usize,
}

/// What the gateway knows of one request in flight.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) route: Arc<str>,
    /// The normal form of the path, where the path came otherwise.
    pub(crate) path: Option<String>,
    /// What is passed on, where that is not the normal form.
    pub(crate) forwarded: Option<Box<ForwardedPath>>,
    pub(crate) client_address: Option<IpAddr>,
    pub(crate) tls: Option<Arc<TlsInfo>>,
    pub(crate) request_id: HeaderValue,
    pub(crate) user_id: Option<UserId>,
    /// What authentication has found out, on a route with `require`.
    pub(crate) authentication: Option<Box<AuthenticationOutcome>>,
    pub(crate) is_websocket: bool,
    pub(crate) scheme: &'static str,
    /// The host that the client asked for, where a trusted proxy reports it.
    pub(crate) forwarded_host: Option<Box<str>>,
    pub(crate) is_dry_run: bool,
    /// Its place in a trace, where requests are traced.
    pub(crate) trace: Option<TraceParent>,
    pub(crate) store: Extensions,
}

impl Exchange {
    pub(crate) fn new(route: Arc<str>, request_id: HeaderValue) -> Self {
        Self {
            route,
            path: None,
            forwarded: None,
            client_address: None,
            tls: None,
            request_id,
            user_id: None,
            authentication: None,
            is_websocket: false,
            scheme: "http",
            forwarded_host: None,
            is_dry_run: false,
            trace: None,
            store: Extensions::new(),
        }
    }

    /// An exchange for filters that see the response's body: a copy that takes the store and the identity along.
    pub(crate) fn lend(&mut self) -> Self {
        Self {
            route: Arc::clone(&self.route),
            path: self.path.clone(),
            forwarded: self.forwarded.clone(),
            client_address: self.client_address,
            tls: self.tls.clone(),
            request_id: self.request_id.clone(),
            user_id: self.user_id.clone(),
            authentication: self.authentication.take(),
            is_websocket: self.is_websocket,
            scheme: self.scheme,
            forwarded_host: self.forwarded_host.clone(),
            is_dry_run: self.is_dry_run,
            trace: self.trace,
            store: std::mem::take(&mut self.store),
        }
    }

    /// Takes back what was lent.
    pub(crate) fn take_back(&mut self, lent: &mut Self) {
        self.store = std::mem::take(&mut lent.store);
        self.authentication = lent.authentication.take();
    }

    /// The normal form of the path of this head, by which the request was routed.
    pub(crate) fn normal_path<'e>(&'e self, head: &'e RequestHeader) -> &'e str {
        self.path.as_deref().unwrap_or_else(|| head.uri.path())
    }

    /// The path that is passed on, before its prefix is replaced.
    pub(crate) fn forwarded_path<'e>(&'e self, head: &'e RequestHeader) -> &'e str {
        match &self.forwarded {
            None => self.normal_path(head),
            Some(forwarded) => forwarded.path.as_deref().unwrap_or_else(|| head.uri.path()),
        }
    }

    /// The name of the matched route; empty when none matched.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The client's address: the connection's, or what trusted proxies say it is.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.client_address
    }

    /// What the TLS handshake has settled, with the client's certificate if it has shown one;
    /// `None` without TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// The request's id, as the upstream and the client see it in `X-Request-Id`.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// Sets who the request speaks for, as a filter has verified it, in the place of what the request says. Rate
    /// limits of filters [before them](crate::filter::Phase::BeforeLimits), balancing, session quotas, logs,
    /// `{user_id}` in headers and the commands that close sessions use it. An empty id takes away what the
    /// request says.
    pub fn set_verified_user(&mut self, id: &str) {
        self.user_id = UserId::new(id, UserIdOrigin::Filter);
    }

    /// Who the request speaks for: the user that a filter has verified, else the one that the request names.
    pub fn user_id(&self) -> Option<&UserId> {
        self.user_id.as_ref()
    }

    /// Who sends the request, as a scheme of `authentication` has verified it; `None` on routes without `require`.
    pub fn identity(&self) -> Option<&VerifiedIdentity> {
        self.authentication.as_ref()?.identity.as_deref()
    }

    /// The verified identity, to share.
    pub(crate) fn shared_identity(&self) -> Option<Arc<VerifiedIdentity>> {
        self.authentication.as_ref()?.identity.clone()
    }

    /// Whether this is a WebSocket's opening handshake.
    pub fn is_websocket(&self) -> bool {
        self.is_websocket
    }

    /// `http` or `https`: the connection's, or what trusted proxies say it was.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Whether nobody has asked: `tidegate explain` wants to know what would be. A filter that counts
    /// does not count it.
    pub fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// Things that filters keep for the time of this request, by their types.
    pub fn store(&self) -> &Extensions {
        &self.store
    }

    /// Things that filters keep for the time of this request, by their types.
    pub fn store_mut(&mut self) -> &mut Extensions {
        &mut self.store
    }
}

/// How a WebSocket session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSocketEnd<'o> {
    /// Who ended it: who sent the first close frame, or else who closed its connection first.
    pub initiator: Initiator,
    /// The code of the first close frame (RFC 6455, section 7.4), if there was one with a code.
    pub code: Option<u16>,
    /// The close frame's reason, or what happened.
    pub reason: &'o str,
    /// From the request to the 101.
    pub handshake: Duration,
    /// What the client sent.
    pub client_to_upstream: FrameCounts,
    /// What the client got.
    pub upstream_to_client: FrameCounts,
}

/// How a request, or a WebSocket session, ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome<'o> {
    /// The request's head, as the client sent it.
    pub request: &'o RequestHeader,
    /// The response's head, as the client got it; `None` when there was none.
    pub response: Option<&'o ResponseHeader>,
    /// What the gateway knows of it.
    pub exchange: &'o Exchange,
    /// The response's status; 0 when the client left before there was one.
    pub status: u16,
    /// From the request's head to the end.
    pub duration: Duration,
    /// The name of the upstream that was chosen.
    pub upstream: Option<&'o str>,
    /// The address that was chosen of it.
    pub upstream_address: Option<&'o Address>,
    /// Bytes of body, or of WebSocket frames, that came from the client.
    pub bytes_received: u64,
    /// Bytes of body, or of WebSocket frames, that went to the client.
    pub bytes_sent: u64,
    /// What the cache had to do with the response, on a route that has one: `hit`, `stale`, `miss`,
    /// `expired`, `revalidated`, `pass` or `bypass`.
    pub cache: Option<&'static str>,
    /// Whether the gateway asked for its own sake, to refresh what the cache has.
    pub is_background: bool,
    /// How the session ended, when the handshake became one.
    pub websocket: Option<WebSocketEnd<'o>>,
    /// What went wrong, in words for the operator.
    pub error: Option<&'o str>,
}

/// What a TLS handshake has negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The name that the client asked for (SNI, RFC 6066).
    pub server_name: Option<String>,
    /// The certificate that the client has shown, verified.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate, signed by an authority of the listener's `client_auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// The subject's distinguished name: `CN=billing, O=Example`, values escaped by RFC 4514.
    pub subject: String,
    /// The subject's other names: `DNS:billing.internal`, `URI:spiffe://example/billing`,
    /// `email:ops@example.com`, `IP:10.0.0.1`.
    pub alternative_names: Vec<String>,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Initiator {
    /// The client: by its close frame, or by closing its connection.
    Client,
    /// The upstream: by its close frame, or by closing its connection.
    Upstream,
    /// Neither side sent anything for `websocket.idle_timeout`.
    Idle,
    /// It had lasted for `websocket.max_lifetime`.
    Lifetime,
    /// The credential that opened it has expired, was revoked, or no longer allows it.
    Expiry,
    /// One of the route's limits.
    Limit,
    /// The gateway stops or drains.
    Drain,
    /// A reload changed its route or its endpoint.
    Reload,
    /// A request to the admin endpoint.
    Kick,
    /// The upstream did not answer the handshake in time.
    Handshake,
    /// A connection broke, or a peer answered no ping.
    Network,
}

impl Initiator {
    /// Its name in logs (`websocket.close.initiator`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Expiry => "expiry",
            Self::Limit => "limit",
            Self::Drain => "drain",
            Self::Reload => "reload",
            Self::Kick => "kick",
            Self::Handshake => "handshake",
            Self::Network => "network",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_id_is_bounded_and_printable() {
        let id = |written: &str| {
            UserId::new(written, UserIdOrigin::Query).map(|id| id.as_str().to_owned())
        };
        assert_eq!(id("user-1").as_deref(), Some("user-1"));
        assert_eq!(id(&"ü".repeat(256)), Some("ü".repeat(256)));
        assert_eq!(id(""), None);
        let odd = id("a\nb\u{1b}[31m").expect("an id");
        assert!(odd.starts_with("a\u{fffd}b\u{fffd}[31m…"), "{odd}");
        let long = id(&"ü".repeat(300)).expect("an id");
        assert_eq!(long.chars().count(), 200 + 1 + 32);
    }

    #[test]
    fn different_user_ids_stay_different() {
        let of = |written: &[u8]| UserId::from_bytes(written, UserIdOrigin::Header).expect("an id");
        let long = |last: &str| ["k".repeat(299), last.to_owned()].concat();
        let ids = [
            of(long("A").as_bytes()),
            of(long("B").as_bytes()),
            of(b"\xe4"),
            of(b"\xe9"),
            of("\u{fffd}".as_bytes()),
            of(b"a\x01"),
            of(b"a\x02"),
            of(b"a"),
            of(b" a"),
            of(b"a "),
            of("a\u{a0}".as_bytes()),
            of("\u{2003}a".as_bytes()),
            of(b"\na"),
            of(b" "),
        ];
        for (index, id) in ids.iter().enumerate() {
            for other in ids.iter().skip(index + 1) {
                assert_ne!(id, other);
            }
        }
        // Nobody passes for another by saying what logs show of them.
        let [first, ..] = &ids;
        assert_ne!(&of(first.as_str().as_bytes()), first);
    }
}
