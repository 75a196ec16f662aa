//! Filters: what happens to a request before it is forwarded, and to its response.
//!
//! Implement [`Filter`], and give it to [`Gateway::filter`](crate::Gateway::filter), or register it by a name that
//! the configuration uses ([`Gateway::register`](crate::Gateway::register)). The built-in filters are filters of the
//! same kind; they know nothing of routes and upstreams.

mod cors;
mod files;
mod headers;
mod maintenance;
mod rate_limit;
mod redirect;
mod registry;
mod respond;
mod user_id;
mod variables;

pub(crate) use cors::refuse_origin;
pub use cors::{CorsFilter, CorsPolicy, is_preflight};
pub(crate) use files::{FilesFilter, ServedFolder};
pub(crate) use headers::{FieldName, FieldValue, HeaderChanges, HeadersFilter};
pub(crate) use maintenance::MaintenanceFilter;
pub(crate) use rate_limit::RateLimitFilter;
pub(crate) use redirect::RedirectFilter;
pub use registry::SettingsError;
pub(crate) use registry::{Registry, UseError};
pub(crate) use respond::RespondFilter;
pub use user_id::{UserIdFilter, UserIdReader as UserIdSource};
pub(crate) use variables::UriTemplate;

pub use crate::exchange::{Exchange, Outcome, UserId, UserIdOrigin};
pub use pingora::http::{RequestHeader, ResponseHeader};
pub use tidegate_http::path::PathError;

use crate::websocket::{LogFrames, Message, Session};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use std::fs::File;
use std::sync::Arc;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::path::{Forwarded, PathPolicy, Spelling};
use tidegate_http::websocket::frame::{Direction, FrameHeader};

/// What a filter may fail with: the request is answered 500, the reason is logged.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

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
/// The order is: `headers`, user id, the check of a WebSocket's `Origin`, CORS, maintenance, filters
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
pub enum Flow {
    /// To the next filter, and at last to the upstream.
    Continue,
    /// No further: this is the answer.
    Respond(Reply),
}

/// An answer of the gateway's own.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: ReplyBody,
}

#[derive(Debug, Clone)]
pub(crate) enum ReplyBody {
    Empty,
    /// A body as it is.
    Bytes(Bytes),
    /// A part of a file: from which byte, and how many.
    File(Arc<File>, u64, u64),
    /// JSON or text by the request's `Accept`, with the request's id.
    Error {
        code: &'static str,
        message: String,
    },
}

impl Reply {
    /// An answer without a body.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Empty }
    }

    /// An error: `{"error": code, "message": …, "request_id": …}`, or plain text for a client
    /// that asks for it. `code` is a word for programs, `message` a sentence for people.
    pub fn error(
        status: StatusCode,
        code: impl Into<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        let body = ReplyBody::Error { code: code.into(), message: message.into() };
        Self { body, ..Self::new(status) }
    }

    /// An error of the gateway's own, with its usual status.
    pub(crate) fn gateway_error(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::error(code.status(), code, message)
    }

    /// With this header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With this body; say its `content-type` with [`Reply::header`].
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = ReplyBody::Bytes(body.into());
        self
    }

    /// The sentence for people, of an error.
    pub(crate) fn reason(&self) -> Option<&str> {
        match &self.body {
            ReplyBody::Error { message, .. } => Some(message),
            _ => None,
        }
    }

    /// Whether it is this error.
    pub(crate) fn is_error(&self, wanted: ErrorCode) -> bool {
        matches!(&self.body, ReplyBody::Error { code, .. } if *code == wanted.as_str())
    }

    /// The first value of a header field, if it is text.
    pub(crate) fn field(&self, name: &HeaderName) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        value.to_str().ok()
    }

    /// With these bytes of a file for its body, read as the client takes them.
    pub(crate) fn file(mut self, file: File, first: u64, length: u64) -> Self {
        self.body = ReplyBody::File(Arc::new(file), first, length);
        self
    }
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
        let spelling = Spelling::read(path)?;
        self.exchange.path = Some(match spelling.forwarded(PathPolicy::NORMAL)? {
            Forwarded::Spelt(form) | Forwarded::Other(form) => form,
            Forwarded::Normal | Forwarded::AsItCame => spelling.normal.into_owned(),
        });
        self.exchange.forwarded = None;
        Ok(())
    }

    /// What the gateway knows of the request: route, user id, client address, store.
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }

    /// The same, to keep something in its store.
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
    pub fn client(&self) -> &RequestHeader {
        self.client
    }

    /// What the gateway knows of the request: route, user id, client address, store.
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }

    /// The same, to keep something in its store.
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

    /// The same, to keep something in its store.
    pub fn exchange_mut(&mut self) -> &mut Exchange {
        self.exchange
    }
}
