//! A request under test, and the response of its upstream, as a test describes them. Knows nothing of what hooks see.

use super::message::Message;
use super::run::FilterRun;
use crate::exchange::{Exchange, UserId, UserIdOrigin};
use crate::filter::Filter;
use crate::tls::TlsInfo;
use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tidegate_http::header_name::spelled;
use tidegate_http::path::ParsedPath;
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
    TestRequest { message: Message::new(head), exchange, upstream: None }
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
    TestResponse { message: Message::new(head) }
}

/// A request under test; [`request`] makes one.
#[derive(Debug)]
#[must_use = "`run` runs filters over it"]
pub struct TestRequest {
    message: Message<RequestHeader>,
    exchange: Exchange,
    upstream: Option<TestResponse>,
}

/// The response of an upstream; [`response`] makes one.
#[derive(Debug)]
#[must_use = "`TestRequest::upstream` takes it"]
pub struct TestResponse {
    message: Message<ResponseHeader>,
}

impl TestResponse {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.message.add_header(name, value.as_ref());
        self
    }

    /// Adds a part to the body. Filters that want parts see each on its own.
    pub fn body(mut self, part: impl Into<Bytes>) -> Self {
        self.message.body.push(part.into());
        self
    }
}

impl TestRequest {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.message.add_header(name, value.as_ref());
        self
    }

    /// Adds a part to the body. Filters that want parts see each on its own.
    pub fn body(mut self, part: impl Into<Bytes>) -> Self {
        self.message.body.push(part.into());
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
            Err(error) => self.message.head = Err(format!("the request id `{id}`: {error}")),
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
        let Self { message, exchange, upstream } = self;
        let default_status = if exchange.is_websocket { 101 } else { 200 };
        let answer = upstream.unwrap_or_else(|| response(default_status)).message;
        let (mut head, answer_head) = match (message.head, answer.head) {
            (Ok(head), Ok(answer)) => (head, answer),
            (Err(fault), _) | (_, Err(fault)) => {
                panic!("this test's request is malformed: {fault}")
            }
        };
        if !head.headers.contains_key(header::HOST) {
            // The name and the value are valid.
            let _ = head.insert_header(header::HOST, HeaderValue::from_static("localhost"));
        }
        let mut run = FilterRun::new(head, answer_head, exchange);
        run.call_hooks(filters, message.body, answer.body).await;
        run
    }
}
