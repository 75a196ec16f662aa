//! Filters: what happens to a request before it is forwarded, and to its response.
//!
//! Implement [`Filter`], and give it to [`Gateway::filter`](crate::Gateway::filter), or register it by a name that
//! the configuration uses ([`Gateway::register`](crate::Gateway::register)). The built-in filters are filters of the
//! same kind; they know nothing of routes and upstreams.

mod authentication;
mod body;
mod body_filters;
mod body_parts;
mod clients;
mod cors;
mod error;
mod files;
mod headers;
mod logout;
mod maintenance;
mod rate_limit;
mod redirect;
mod registry;
mod renewal;
mod reply;
mod respond;
mod scheme_endpoint;
mod user_id;
mod variables;

pub(crate) use authentication::AuthenticationFilter;
pub(crate) use body::BodyPart;
pub use body::{BodyAccess, RequestBody, ResponseBody};
pub(crate) use body_filters::{BodyFilters, show_request, show_response};
pub(crate) use body_parts::{BodyParts, BodyTooLarge, ShownPart};
pub(crate) use clients::{ClientLists, ClientsFilter, refuse_address};
pub use cors::{CorsFilter, CorsPolicy};
pub(crate) use cors::{is_preflight, refuse_origin};
pub use error::Error;
pub(crate) use files::{FilesFilter, ServedFolder};
pub(crate) use headers::{FieldName, FieldValue, HeaderChanges, HeadersFilter};
pub(crate) use logout::LogoutFilter;
pub(crate) use maintenance::MaintenanceFilter;
pub(crate) use rate_limit::RateLimitFilter;
pub(crate) use redirect::RedirectFilter;
pub use registry::SettingsError;
pub(crate) use registry::{FilterRegistry, UseError};
pub(crate) use renewal::RenewalFilter;
pub use reply::Reply;
pub(crate) use reply::{RETRY_SOON, ReplyBody};
pub(crate) use respond::RespondFilter;
pub(crate) use scheme_endpoint::SchemeEndpointFilter;
pub(crate) use user_id::{UserIdFilter, UserIdReader};
pub(crate) use variables::UriTemplate;

pub use crate::exchange::{Exchange, Outcome, UserId, UserIdOrigin};
pub use crate::identity::{SchemeKind, VerifiedIdentity};
pub use pingora::http::{RequestHeader, ResponseHeader};
pub use tidegate_http::origin::{Origin, OriginPattern};
pub use tidegate_http::path::PathError;

use crate::websocket::{LogFrames, Message, Session};
use async_trait::async_trait;
use tidegate_http::path::{ForwardedForm, ParsedPath, PathPolicy};
use tidegate_http::websocket::frame::{Direction, FrameHeader};

/// A step on the way of every request of a route.
///
/// Filters run in order on requests, in reverse on responses. The built-in ones (user id, CORS)
/// run before those added with [`Gateway::filter`](crate::Gateway::filter) or used by name; see
/// [`Phase`].
#[async_trait]
pub trait Filter: Send + Sync {
    /// When it sees requests. Asked once for each route and version of the configuration.
    fn phase(&self) -> Phase {
        Phase::AfterLimits
    }

    /// What it is and how it is set, in a line for `tidegate explain` and `tidegate diff`; nothing
    /// secret. Default: the name of its type.
    fn describe(&self) -> String {
        let name = std::any::type_name::<Self>();
        name.rsplit("::").next().unwrap_or(name).to_owned()
    }

    /// Sees the request when its route is known and before an upstream is chosen. May change
    /// its head, or answer it.
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let _ = request;
        Ok(Flow::Continue)
    }

    /// What it wants of request bodies: nothing (default), parts as they pass, or the whole. Asked once for each
    /// route and version of the configuration.
    fn request_body(&self) -> BodyAccess {
        BodyAccess::None
    }

    /// Sees the body of a request that goes to an upstream or to the cache, as [`Filter::request_body`] wants it, in
    /// the order of the filters, after all their [`Filter::on_request`]. May change the body, or answer the request.
    ///
    /// A *whole* body is collected before an upstream is chosen: one that is refused reaches none. It is called once
    /// for each request, with no bytes where there is no body, as in the handshake of a WebSocket. `limits.body_timeout`
    /// and `max_body_size` apply while the body arrives. A body that is larger than the smallest bound of the route's
    /// filters is refused with 413; one for which `limits.collected_bodies` leaves no room with 503, or 429 for that of one
    /// client. Where one filter wants it whole, those that want parts see the whole as one part.
    /// Each attempt at an upstream sends what the filters have made of it.
    ///
    /// *Parts* are seen on their way to the upstream, which has got the head by then; refusing one breaks the request
    /// off there. Another attempt begins the body anew, with a part whose offset is zero. Requests without a body and
    /// WebSocket sessions have no parts.
    ///
    /// The body is as the client sent it: compressed where `Content-Encoding` says so. Trailers are not shown.
    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, Error> {
        let _ = body;
        Ok(Flow::Continue)
    }

    /// Sees the request as it is about to be sent to the upstream, once for each attempt. May
    /// change its head.
    fn on_forward(&self, request: &mut UpstreamRequest<'_>) -> Result<(), Error> {
        let _ = request;
        Ok(())
    }

    /// Sees the head of each response, the gateway's own answers included. May change it.
    async fn on_response(&self, response: &mut Response<'_>) -> Result<(), Error> {
        let _ = response;
        Ok(())
    }

    /// What it wants of response bodies: nothing (default), parts as they pass, or the whole. Asked once for each
    /// route and version of the configuration.
    fn response_body(&self) -> BodyAccess {
        BodyAccess::None
    }

    /// Sees the body of a response as [`Filter::response_body`] wants it, in reverse order of the filters. May change
    /// it; it must not wait.
    ///
    /// It sees responses of upstreams and of the cache (which keeps what the upstream sent), before the gateway
    /// compresses them. It sees no answer of the gateway's own (errors, `respond`, `redirect`, `files`), no response to
    /// HEAD, none with status 204 or 304, none whose body is empty, and nothing of WebSocket sessions. Whoever changes the content also sees to
    /// what describes it in [`Filter::on_response`]: `ETag`, `Accept-Ranges`, digests. An upstream may send a part of
    /// the content (206) or compress it; a filter can remove `Range` and `Accept-Encoding` in [`Filter::on_forward`].
    ///
    /// A *whole* body is collected before any of it is passed on; its head has been sent by then. A body that is larger
    /// than the smallest bound of the route's filters is refused: with 502 where `Content-Length` says so, else by
    /// breaking the response off. Its trailers follow it, where the client speaks HTTP/2.
    ///
    /// Where it fails after the head has been sent, the response is broken off so that the client notices: by the end
    /// of the connection (HTTP/1.1), or by a reset of the stream (HTTP/2).
    fn on_response_body(&self, body: &mut ResponseBody<'_>) -> Result<(), Error> {
        let _ = body;
        Ok(())
    }

    /// Told when a WebSocket session has opened.
    fn on_open(&self, outcome: &Outcome<'_>) {
        let _ = outcome;
    }

    /// How much of what goes through WebSocket sessions it wants to be told: nothing (default),
    /// frames, or messages of text as well. Asked once for each route.
    fn watches(&self) -> LogFrames {
        LogFrames::Off
    }

    /// Told of each frame, in the tunnel's own task: it must not wait.
    fn on_frame(&self, session: &Session, direction: Direction, header: &FrameHeader) {
        let _ = (session, direction, header);
    }

    /// Told of each message of text, in the tunnel's own task: it must not wait.
    fn on_message(&self, session: &Session, direction: Direction, message: &Message<'_>) {
        let _ = (session, direction, message);
    }

    /// Told when all is over; for a WebSocket, when the session has ended.
    fn on_end(&self, outcome: &Outcome<'_>) {
        let _ = outcome;
    }
}

/// When a filter sees requests. Responses are seen in reverse.
///
/// The order is: `headers`, `clients`, `identity.user_id`, the check of a WebSocket's `Origin`, `cors`, `require`,
/// `maintenance`, filters
/// [before the limits](Phase::BeforeLimits), `rate_limits`, filters [after them](Phase::AfterLimits), and last
/// `respond`, `redirect` or `files`. Within a phase, filters of the program
/// ([`Gateway::filter`](crate::Gateway::filter)) come first, then those of the top-level `filters`, then those
/// of the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Phase {
    /// Before the rate limits, which then count by the identity that the filter verifies. For
    /// authentication. Such a filter sees requests that a limit refuses.
    BeforeLimits,
    /// After the rate limits: it sees no request that they refuse.
    #[default]
    AfterLimits,
}

/// Whether a request goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Flow {
    /// To the next filter, and at last to the upstream.
    Continue,
    /// No further: this is the answer.
    Respond(Reply),
}

/// A request, as a filter sees it.
#[derive(Debug)]
pub struct Request<'r> {
    pub(crate) head: &'r mut RequestHeader,
    pub(crate) exchange: &'r mut Exchange,
}

impl Request<'_> {
    /// Method, target, header fields.
    pub fn head(&self) -> &RequestHeader {
        self.head
    }

    /// Method and header fields, to change what the upstream will see.
    pub fn head_mut(&mut self) -> &mut RequestHeader {
        self.head
    }

    /// The normalised path.
    pub fn path(&self) -> &str {
        self.exchange.normal_path(self.head)
    }

    /// Changes the path that the upstream will see. Routing is done and stays as it is.
    pub fn set_path(&mut self, path: &str) -> Result<(), PathError> {
        let spelling = ParsedPath::parse(path)?;
        self.exchange.path = Some(match spelling.forwarded(PathPolicy::NORMAL)? {
            ForwardedForm::Spelt(form) | ForwardedForm::Other(form) => form,
            ForwardedForm::Normal | ForwardedForm::AsItCame => spelling.normal.into_owned(),
        });
        self.exchange.forwarded = None;
        Ok(())
    }

    /// The host that the client asks for, with the port if it names one.
    pub(crate) fn authority(&self) -> &str {
        if let Some(host) = self.exchange.forwarded_host.as_deref() {
            return host;
        }
        let host = || self.head.headers.get(http::header::HOST)?.to_str().ok();
        let authority = self.head.uri.authority().map(http::uri::Authority::as_str);
        authority.or_else(host).unwrap_or_default()
    }

    /// What the gateway knows of the request: route, user id, client address, store.
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }

    /// What the gateway knows of the request, mutable, so that a filter can keep a value in its store.
    pub fn exchange_mut(&mut self) -> &mut Exchange {
        self.exchange
    }
}

/// A request that is about to be sent to the upstream, as a filter sees it.
#[derive(Debug)]
pub struct UpstreamRequest<'r> {
    pub(crate) head: &'r mut RequestHeader,
    pub(crate) client: &'r RequestHeader,
    pub(crate) exchange: &'r mut Exchange,
}

impl UpstreamRequest<'_> {
    /// Method, target, header fields, as the upstream will see them.
    pub fn head(&self) -> &RequestHeader {
        self.head
    }

    /// Method and header fields, to change what the upstream will see.
    pub fn head_mut(&mut self) -> &mut RequestHeader {
        self.head
    }

    /// The head of the client's request.
    pub fn client_head(&self) -> &RequestHeader {
        self.client
    }

    /// What the gateway knows of the request: route, user id, client address, store.
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }

    /// What the gateway knows of the request, mutable, so that a filter can keep a value in its store.
    pub fn exchange_mut(&mut self) -> &mut Exchange {
        self.exchange
    }
}

/// The head of a response, as a filter sees it.
#[derive(Debug)]
pub struct Response<'r> {
    pub(crate) head: &'r mut ResponseHeader,
    pub(crate) request: &'r RequestHeader,
    pub(crate) exchange: &'r mut Exchange,
}

impl Response<'_> {
    /// Status and header fields.
    pub fn head(&self) -> &ResponseHeader {
        self.head
    }

    /// Status and header fields, to change what the client will see.
    pub fn head_mut(&mut self) -> &mut ResponseHeader {
        self.head
    }

    /// The head of the request that this answers.
    pub fn request(&self) -> &RequestHeader {
        self.request
    }

    /// What the gateway knows of the request.
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }

    /// What the gateway knows of the request, mutable, so that a filter can keep a value in its store.
    pub fn exchange_mut(&mut self) -> &mut Exchange {
        self.exchange
    }
}
