//! Runs filters without sockets, for the tests of programs with filters of their own. It knows what a filter sees and
//! may change; it must not know routes, upstreams and connections.
//!
//! ```
//! use tidegate::filter::{self, Filter, Flow, Reply, Request};
//! use tidegate::http::StatusCode;
//! use tidegate::testing::request;
//!
//! /// Lets only requests with a key in, and keeps the key from the upstream.
//! struct RequireKey;
//!
//! #[tidegate::async_trait]
//! impl Filter for RequireKey {
//!     async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
//!         Ok(match request.head_mut().remove_header("x-api-key") {
//!             Some(_) => Flow::Continue,
//!             None => Flow::Respond(Reply::error(StatusCode::UNAUTHORIZED, "no_key", "a key is needed")),
//!         })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let run = request("GET /api").header("x-api-key", "secret").run(&RequireKey).await;
//! assert_eq!(run.status(), 200);
//! assert_eq!(run.forwarded_header("x-api-key"), None);
//!
//! let run = request("GET /api").route("api").run(&RequireKey).await;
//! assert!(run.forwarded().is_none());
//! assert_eq!((run.status().as_u16(), run.error_code()), (401, Some("no_key")));
//! # });
//! ```

use crate::error_pages::{PageValues, render_without_page};
use crate::exchange::{Exchange, Outcome, UserId, UserIdOrigin, WebSocketEnd};
use crate::filter::{
    self, BodyAccess, BodyPart, Filter, Flow, Reply, ReplyBody, Request, RequestBody, Response,
    ResponseBody, UpstreamRequest, show_with_access,
};
use crate::tls::TlsInfo;
use crate::websocket::Initiator;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tidegate_http::accept::Accept;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::header_name::spelled;
use tidegate_http::path::ParsedPath;
use tidegate_http::websocket::frame::FrameCounts;
use tidegate_http::websocket::handshake;

/// The route and the request id of requests that name none.
const UNNAMED: &str = "test";

/// A request to run filters over: a method and a target, such as `GET /api?page=2`.
///
/// It comes from `127.0.0.1` over `http`, on a route named `test`, with `Host: localhost`, until a method of
/// [`TestRequest`] says otherwise.
pub fn request(line: &str) -> TestRequest {
    let mut exchange = Exchange::new(UNNAMED.into(), HeaderValue::from_static(UNNAMED));
    exchange.client_address = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let head = match line.split_once(' ') {
        Some((method, target)) => build(method, target, &mut exchange),
        None => Err(format!("`{line}` is not a method and a target, such as `GET /api`")),
    };
    TestRequest { head, body: Vec::new(), exchange, upstream: None }
}

fn build(method: &str, target: &str, exchange: &mut Exchange) -> Result<RequestHeader, String> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    let head = RequestHeader::build(method, target.as_bytes(), None);
    let head = head.map_err(|error| format!("the target `{target}`: {error}"))?;
    let spelling = ParsedPath::parse(head.uri.path());
    let normal = spelling.map_err(|error| format!("the path of `{target}`: {error}"))?.normal;
    exchange.path = (normal != head.uri.path()).then(|| normal.into_owned());
    Ok(head)
}

/// A response that an upstream sends, for [`TestRequest::upstream`].
pub fn response(status: u16) -> TestResponse {
    let head = ResponseHeader::build(status, None);
    let head = head.map_err(|error| format!("the status {status}: {error}"));
    TestResponse { head, body: Vec::new() }
}

/// A request under test; [`request`] makes one.
#[derive(Debug)]
#[must_use = "`run` runs filters over it"]
pub struct TestRequest {
    /// Or what is wrong with it.
    head: Result<RequestHeader, String>,
    body: Vec<Bytes>,
    exchange: Exchange,
    upstream: Option<TestResponse>,
}

/// The response of an upstream; [`response`] makes one.
#[derive(Debug)]
#[must_use = "`TestRequest::upstream` takes it"]
pub struct TestResponse {
    /// Or what is wrong with it.
    head: Result<ResponseHeader, String>,
    body: Vec<Bytes>,
}

impl TestResponse {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head = self.head.and_then(|mut head| {
            let value = HeaderValue::from_bytes(value.as_ref());
            let value = value.map_err(|error| malformed(name, error))?;
            head.append_header(name.to_owned(), value).map_err(|error| malformed(name, error))?;
            Ok(head)
        });
        self
    }

    /// Adds a part to the body. Filters that want parts see each on its own.
    pub fn body(mut self, part: impl Into<Bytes>) -> Self {
        self.body.push(part.into());
        self
    }
}

fn malformed(name: &str, error: impl Display) -> String {
    format!("the header `{name}`: {error}")
}

impl TestRequest {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head = self.head.and_then(|mut head| {
            let value = HeaderValue::from_bytes(value.as_ref());
            let value = value.map_err(|error| malformed(name, error))?;
            head.append_header(name.to_owned(), value).map_err(|error| malformed(name, error))?;
            Ok(head)
        });
        self
    }

    /// Adds a part to the body. Filters that want parts see each on its own.
    pub fn body(mut self, part: impl Into<Bytes>) -> Self {
        self.body.push(part.into());
        self
    }

    /// Sets the name of the matched route.
    pub fn route(mut self, name: &str) -> Self {
        self.exchange.route = Arc::from(name);
        self
    }

    /// Sets the client's address.
    pub fn client_address(mut self, address: IpAddr) -> Self {
        self.exchange.client_address = Some(address);
        self
    }

    /// Sets the user, as if an earlier filter had verified it.
    pub fn verified_user(mut self, id: &str) -> Self {
        self.exchange.set_verified_user(id);
        self
    }

    /// Sets the user, as if `identity.user_id` had found it in a header, unverified.
    pub fn claimed_user(mut self, id: &str) -> Self {
        self.exchange.user_id = UserId::new(id, UserIdOrigin::Header);
        self
    }

    /// Sets the request's id.
    pub fn request_id(mut self, id: &str) -> Self {
        match HeaderValue::try_from(id) {
            Ok(id) => self.exchange.request_id = id,
            Err(error) => self.head = Err(format!("the request id `{id}`: {error}")),
        }
        self
    }

    /// Makes it come over TLS.
    pub fn tls(mut self, tls: TlsInfo) -> Self {
        self.exchange.scheme = "https";
        self.exchange.tls = Some(Arc::new(tls));
        self
    }

    /// Makes it the opening handshake of a WebSocket, with the headers of one. The upstream then answers 101.
    pub fn websocket(mut self) -> Self {
        self.exchange.is_websocket = true;
        self.header(spelled::CONNECTION, "Upgrade")
            .header(spelled::UPGRADE, handshake::PROTOCOL)
            .header(spelled::SEC_WEBSOCKET_VERSION, handshake::VERSION)
            .header(spelled::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// Makes it a dry run, as of `tidegate explain`.
    pub fn dry_run(mut self) -> Self {
        self.exchange.is_dry_run = true;
        self
    }

    /// Puts a value into the exchange's store, as an earlier filter would.
    pub fn stored<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.exchange.store.insert(value);
        self
    }

    /// Sets what the upstream answers. Default: 200 without a body.
    pub fn upstream(mut self, response: TestResponse) -> Self {
        self.upstream = Some(response);
        self
    }

    /// Runs one filter; see [`TestRequest::run_all`].
    ///
    /// # Panics
    /// When the request is malformed.
    pub async fn run(self, filter: &dyn Filter) -> FilterRun {
        self.run_all(&[filter]).await
    }

    /// Runs filters in this order, as the gateway does, until a filter answers or fails: `on_request`, `on_request_body`
    /// where it wants the whole, `on_forward`, `on_request_body` where it wants parts. Then, in reverse, `on_response` for
    /// the answer as well as for the upstream's response, and `on_response_body` for the latter; `on_open` where a WebSocket
    /// opens; and `on_end` in reverse.
    ///
    /// What the gateway does itself is left out: it adds no headers, removes none, and limits nothing but the bodies that
    /// filters want whole.
    ///
    /// # Panics
    /// When the request, or the upstream's response, is malformed.
    #[allow(clippy::panic, reason = "only tests call this, and the fault is the test's")]
    pub async fn run_all(self, filters: &[&dyn Filter]) -> FilterRun {
        let Self { head, body, exchange, upstream } = self;
        let default_status = if exchange.is_websocket { 101 } else { 200 };
        let upstream = upstream.unwrap_or_else(|| response(default_status));
        let (mut head, answer) = match (head, upstream.head) {
            (Ok(head), Ok(answer)) => (head, answer),
            (Err(fault), _) | (_, Err(fault)) => {
                panic!("this test's request is malformed: {fault}")
            }
        };
        if !head.headers.contains_key(header::HOST) {
            // The name and the value are valid.
            let _ = head.insert_header(header::HOST, HeaderValue::from_static("localhost"));
        }
        let mut run = FilterRun {
            request: head,
            forwarded: None,
            forwarded_body: Bytes::new(),
            response: answer,
            body: Bytes::new(),
            error_code: None,
            error: None,
            exchange,
        };
        let is_answered = match run.forward(filters, body).await {
            Ok(None) => false,
            Ok(Some(reply)) => run.answer(reply),
            Err(error) => run.fail(error),
        };
        match run.on_response(filters).await {
            Ok(()) if is_answered => {}
            Ok(()) => run.on_response_body(filters, upstream.body),
            Err(error) => {
                run.fail(error);
            }
        }
        run.report(filters);
        run
    }
}

/// What filters made of a request; [`TestRequest::run`] returns it.
#[derive(Debug)]
pub struct FilterRun {
    /// As `on_request` left it.
    request: RequestHeader,
    forwarded: Option<RequestHeader>,
    forwarded_body: Bytes,
    response: ResponseHeader,
    body: Bytes,
    error_code: Option<&'static str>,
    error: Option<filter::Error>,
    exchange: Exchange,
}

impl FilterRun {
    /// The head that the upstream gets; `None` when a filter answered the request or failed on it.
    pub fn forwarded(&self) -> Option<&RequestHeader> {
        self.forwarded.as_ref()
    }

    /// The first value of a header that the upstream gets, if it is text.
    pub fn forwarded_header(&self, name: &str) -> Option<&str> {
        text(&self.forwarded.as_ref()?.headers, name)
    }

    /// The body that the upstream gets.
    pub fn forwarded_body(&self) -> &Bytes {
        &self.forwarded_body
    }

    /// The status that the client gets; 500 when a filter failed without a status of its own.
    pub fn status(&self) -> StatusCode {
        self.response.status
    }

    /// The headers that the client gets.
    pub fn headers(&self) -> &HeaderMap {
        &self.response.headers
    }

    /// The first value of a header that the client gets, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.response.headers, name)
    }

    /// The body that the client gets.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The code of the error that the client gets from [`Reply::error`].
    pub fn error_code(&self) -> Option<&str> {
        self.error_code
    }

    /// The error of the filter that failed, with all that the gateway logs of it. A response that has begun is then broken
    /// off.
    pub fn error(&self) -> Option<&filter::Error> {
        self.error.as_ref()
    }

    /// What the filters left in the exchange: the user, the store.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Runs the hooks of the request. Returns the answer of a filter, if one answers.
    async fn forward(
        &mut self,
        filters: &[&dyn Filter],
        mut body: Vec<Bytes>,
    ) -> Result<Option<Reply>, filter::Error> {
        for filter in filters {
            let mut request = Request { head: &mut self.request, exchange: &mut self.exchange };
            if let Flow::Respond(reply) = filter.on_request(&mut request).await? {
                return Ok(Some(reply));
            }
        }
        let max = smallest_bound(filters.iter().map(|filter| filter.request_body()));
        if let Some(max) = max {
            body = vec![body.concat().into()];
            if body.iter().any(|whole| whole.len() > max) {
                let message = format!(
                    "the request body may have at most {max} bytes here, because a filter reads \
                     the whole body"
                );
                return Ok(Some(Reply::gateway_error(ErrorCode::BodyTooLarge, message)));
            }
            if let Some(reply) = self.on_request_body(filters, &mut body).await? {
                return Ok(Some(reply));
            }
        }
        let forwarded = self.on_forward(filters)?;
        if max.is_none()
            && !self.exchange.is_websocket
            && let Some(reply) = self.on_request_body(filters, &mut body).await?
        {
            return Ok(Some(reply));
        }
        self.forwarded = Some(forwarded);
        self.forwarded_body = body.concat().into();
        Ok(None)
    }

    async fn on_request_body(
        &mut self,
        filters: &[&dyn Filter],
        body: &mut [Bytes],
    ) -> Result<Option<Reply>, filter::Error> {
        let (mut offset, count) = (0, body.len());
        for (index, bytes) in body.iter_mut().enumerate() {
            let length = bytes.len() as u64;
            for filter in filters {
                let access = filter.request_body();
                if access == BodyAccess::None {
                    continue;
                }
                let mut shown = bytes.clone();
                let part = BodyPart { bytes: &mut shown, offset, is_end: index + 1 == count };
                let (head, exchange) = (&self.request, &mut self.exchange);
                let mut view = RequestBody { part, head, exchange };
                if let Flow::Respond(reply) = filter.on_request_body(&mut view).await? {
                    return Ok(Some(reply));
                }
                show_with_access(access, bytes, |bytes| *bytes = shown);
            }
            offset += length;
        }
        Ok(None)
    }

    fn on_forward(&mut self, filters: &[&dyn Filter]) -> Result<RequestHeader, filter::Error> {
        let mut head = self.request.clone();
        if self.exchange.path.is_some() || self.exchange.forwarded.is_some() {
            let path = self.exchange.forwarded_path(&self.request);
            let target = match self.request.uri.query() {
                Some(query) => format!("{path}?{query}"),
                None => path.to_owned(),
            };
            head.set_raw_path(target.as_bytes())?;
        }
        for filter in filters {
            let (client, exchange) = (&self.request, &mut self.exchange);
            filter.on_forward(&mut UpstreamRequest { head: &mut head, client, exchange })?;
        }
        Ok(head)
    }

    async fn on_response(&mut self, filters: &[&dyn Filter]) -> Result<(), filter::Error> {
        for filter in filters.iter().rev() {
            let Self { response: head, request, exchange, .. } = self;
            filter.on_response(&mut Response { head, request, exchange }).await?;
        }
        Ok(())
    }

    fn on_response_body(&mut self, filters: &[&dyn Filter], mut body: Vec<Bytes>) {
        let is_bodiless =
            matches!(self.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if self.exchange.is_websocket || is_bodiless || self.request.method == Method::HEAD {
            return;
        }
        if let Some(max) = smallest_bound(filters.iter().map(|filter| filter.response_body())) {
            body = vec![body.concat().into()];
            if body.iter().any(|whole| whole.len() > max) {
                let message = format!(
                    "the response has more than {max} bytes, the limit of a filter that reads \
                     the whole response"
                );
                let reply = Reply::error(StatusCode::BAD_GATEWAY, ErrorCode::FilterFailed, message);
                self.answer(reply);
                return;
            }
        }
        // The gateway shows no empty body, and no empty part but the last.
        body.retain(|part| !part.is_empty());
        let (mut offset, count) = (0, body.len());
        let mut sent: Vec<Bytes> = Vec::new();
        for (index, mut bytes) in body.into_iter().enumerate() {
            let length = bytes.len() as u64;
            for filter in filters.iter().rev() {
                let access = filter.response_body();
                if access == BodyAccess::None {
                    continue;
                }
                let (status, exchange) = (self.response.status, &mut self.exchange);
                let is_end = index + 1 == count;
                let shown = show_with_access(access, &mut bytes, |bytes| {
                    let part = BodyPart { bytes, offset, is_end };
                    filter.on_response_body(&mut ResponseBody { part, status, exchange })
                });
                if let Err(error) = shown {
                    self.error = Some(error);
                    self.body = Bytes::from(sent.concat());
                    return;
                }
            }
            offset += length;
            sent.push(bytes);
        }
        self.body = Bytes::from(sent.concat());
    }

    fn report(&self, filters: &[&dyn Filter]) {
        let is_session = self.exchange.is_websocket && self.status() == 101;
        let end = WebSocketEnd {
            initiator: Initiator::Client,
            code: Some(1000),
            reason: "",
            handshake: Duration::ZERO,
            client_to_upstream: FrameCounts::default(),
            upstream_to_client: FrameCounts::default(),
        };
        let error = self.error.as_ref().map(ToString::to_string);
        let mut outcome = Outcome {
            request: &self.request,
            response: Some(&self.response),
            exchange: &self.exchange,
            status: self.status().as_u16(),
            duration: Duration::ZERO,
            upstream: None,
            upstream_address: None,
            bytes_received: self.forwarded_body.len() as u64,
            bytes_sent: self.body.len() as u64,
            cache: None,
            is_background: false,
            websocket: None,
            error: error.as_deref(),
        };
        if is_session {
            filters.iter().for_each(|filter| filter.on_open(&outcome));
            outcome.websocket = Some(end);
        }
        filters.iter().rev().for_each(|filter| filter.on_end(&outcome));
    }

    /// Makes the client get the error's answer. Returns true: the client gets no response of the upstream.
    fn fail(&mut self, error: filter::Error) -> bool {
        let internal = || Reply::gateway_error(ErrorCode::InternalError, "the gateway failed");
        let reply = error.reply().unwrap_or_else(internal);
        self.error = Some(error);
        self.answer(reply)
    }

    /// Makes the client get this. Returns true: the client gets no response of the upstream.
    fn answer(&mut self, reply: Reply) -> bool {
        // `Reply` has a valid status.
        let head = ResponseHeader::build(reply.status, None);
        let Ok(mut head) = head else { return true };
        let mut set = |name, value: HeaderValue| drop(head.insert_header(name, value));
        self.error_code = None;
        self.body = match reply.body {
            ReplyBody::Empty | ReplyBody::File(..) => Bytes::new(),
            ReplyBody::Bytes(bytes) => bytes,
            ReplyBody::Error { code, message } => {
                self.error_code = Some(code);
                let request_id = self.exchange.request_id();
                let (status, error) = (reply.status, code);
                let values = PageValues { status, error, message: &message, request_id };
                let accept = Accept::from_headers(&self.request.headers);
                let (media_type, body) = render_without_page(values, accept);
                set(header::CONTENT_TYPE, HeaderValue::from_static(media_type.content_type()));
                set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                body.into()
            }
        };
        for (name, value) in reply.headers {
            let _ = head.append_header(name, value);
        }
        self.response = head;
        true
    }
}

/// The most bytes of a body, where one of the filters wants it whole.
fn smallest_bound(wanted: impl Iterator<Item = BodyAccess>) -> Option<usize> {
    let max = |access| match access {
        BodyAccess::Whole { max } => Some(max),
        _ => None,
    };
    wanted.filter_map(max).min()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
