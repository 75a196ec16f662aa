//! Admits a request, by its head and a snapshot alone: finds its route, or the reason to reject it. The proxy and
//! `explain` both use it, so it must not send anything or touch a connection.

mod caller;
mod filters;
mod message;
mod rejection;
mod survey;

pub(crate) use caller::caller;
pub(crate) use filters::{filter, run_response_filters};
pub(crate) use message::{PADDED_VALUE_REASON, authority, prepare};
pub(crate) use rejection::{RejectReason, Rejection};
pub(crate) use survey::{HeaderSurvey, KnownHeader};

use crate::exchange::{Exchange, ForwardedPath};
use crate::filter::{Reply, is_preflight, refuse_address};
use crate::routing::{Miss, Query};
use crate::snapshot::{Listener, Route, Snapshot};
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use pingora::http::RequestHeader;
use std::borrow::Cow;
use std::sync::Arc;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::host::{self, without_port};
use tidegate_http::path::{self, ForwardedForm, ParsedPath, PathError};
use tidegate_http::url::HTTPS_PORT;
use tidegate_http::websocket::handshake;

/// What is known of a request once its head has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IncomingHead<'a> {
    /// The head.
    pub head: &'a RequestHeader,
    /// What the survey of its headers found.
    pub survey: &'a HeaderSurvey,
    /// `http` or `https`, as [`caller()`] determined it.
    pub scheme: &'static str,
    /// The listener that accepted it.
    pub listener: Option<&'a Listener>,
    /// Whether it is a WebSocket over HTTP/2, as [`extended_connect`] determined it.
    pub is_extended: bool,
}

/// What a request asks for, as routing sees it.
#[derive(Debug)]
pub(crate) struct RequestTarget<'a> {
    /// Host and port.
    pub authority: &'a str,
    /// The path, whose normal form routing uses.
    pub path: ParsedPath<'a>,
    method: Cow<'a, Method>,
    head: &'a RequestHeader,
}

/// Whether a head opens a WebSocket over HTTP/2 (RFC 8441).
pub(crate) fn extended_connect(head: &RequestHeader) -> Result<bool, Rejection> {
    if head.method != Method::CONNECT {
        return Ok(false);
    }
    match head.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str) {
        Some(handshake::PROTOCOL) => Ok(true),
        // RFC 9220, section 3, requires this for HTTP/3.
        Some(_) => Err(Rejection::request(Reply::gateway_error(
            ErrorCode::UnknownProtocol,
            "CONNECT is supported only with the protocol websocket",
        ))),
        None => Ok(false),
    }
}

impl IncomingHead<'_> {
    /// Whether the request is a WebSocket handshake.
    fn is_websocket(&self) -> bool {
        let may_be = self.survey.has(KnownHeader::Upgrade);
        self.is_extended || (may_be && handshake::is_requested(&self.head.headers))
    }
}

/// Finds the route of the request and records it in the exchange. A request that no route matches gets the fallback
/// route, whose filters run as well.
pub(crate) fn admit<'g>(
    snapshot: &'g Snapshot,
    arrival: &IncomingHead<'_>,
    exchange: &mut Exchange,
) -> Result<&'g Arc<Route>, Rejection> {
    let lists = arrival.listener.and_then(|listener| listener.clients.as_ref());
    if lists.is_some_and(|lists| !lists.admit(exchange.client_address())) {
        return Err(Rejection::answer(refuse_address()));
    }
    let target = read_target(snapshot, arrival)?;
    exchange.is_websocket = arrival.is_websocket();
    let route = match target.route(snapshot)? {
        Some(route) => route,
        None => &snapshot.fallback,
    };
    exchange.forwarded = target.forwarded(snapshot, route)?;
    if !Arc::ptr_eq(route, &snapshot.fallback) {
        exchange.route = Arc::clone(&route.name);
    }
    if let Cow::Owned(normalized) = target.path.normal {
        exchange.path = Some(normalized);
    }
    Ok(route)
}

/// Reads what the request asks for, or rejects it for a reason that holds for every route.
fn read_target<'a>(
    snapshot: &Snapshot,
    arrival: &IncomingHead<'a>,
) -> Result<RequestTarget<'a>, Rejection> {
    let head = arrival.head;
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(Rejection::request(method_not_allowed(&passed_methods(snapshot, head))));
    }
    message::check(head, arrival.survey)?;
    if let Some(answer) = acme_challenge(snapshot, head) {
        return Err(Rejection::answer(answer));
    }
    let authority = authority(head)?;
    if message::is_about_gateway(head) || message::has_max_forwards_zero(head) {
        return Err(Rejection::answer(methods_of_gateway()));
    }
    if let Some(rejection) =
        arrival.listener.and_then(|it| redirect_to_https(it, arrival, authority))
    {
        return Err(rejection);
    }
    RequestTarget::parse(head, authority)
}

impl<'a> RequestTarget<'a> {
    /// Reads the target from a head and its requested host.
    pub(crate) fn parse(head: &'a RequestHeader, authority: &'a str) -> Result<Self, Rejection> {
        if !head.raw_path_is_utf8() {
            return Err(Rejection::bad_request(&path::PathError::NotUtf8.to_string()));
        }
        let path = ParsedPath::parse(head.uri.path())
            .map_err(|error| Rejection::bad_request(&error.to_string()))?;
        // A preflight announces another request, and belongs to the route of that request.
        let asked = is_preflight(head)
            .then(|| head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD))
            .flatten()
            .and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let method = asked.map_or(Cow::Borrowed(&head.method), Cow::Owned);
        Ok(Self { authority, path, method, head })
    }

    /// The request as a query to the routing table.
    pub(crate) fn query(&self) -> Query<'_> {
        Query {
            path: &self.path.normal,
            query: self.head.uri.query(),
            host: without_port(self.authority),
            method: &self.method,
            headers: &self.head.headers,
        }
    }

    /// The form of the path that this route forwards, if it is not the normal form. The path is rejected if the
    /// upstream could read it as a path of another route, which would bypass that route's guards, or as one outside
    /// of the prefix that this route gives it.
    fn forwarded(
        &self,
        snapshot: &Snapshot,
        route: &Arc<Route>,
    ) -> Result<Option<Box<ForwardedPath>>, Rejection> {
        let forwarded = self.path.forwarded(route.path).map_err(bad_path)?;
        for reading in self.path.readings(&forwarded) {
            let found = snapshot.table.find(&Query { path: &reading, ..self.query() });
            let is_same = match found {
                Ok(other) => Arc::ptr_eq(other, route),
                Err(_) => Arc::ptr_eq(&snapshot.fallback, route),
            };
            if !is_same {
                return Err(Rejection::bad_request(&format!(
                    "the path is ambiguous: read as `{reading}`, it belongs to another route"
                )));
            }
        }
        if self.path.was_normal() {
            return Ok(None);
        }
        let (prefix, replacement) = match &route.rewrite_prefix {
            Some((matched, replacement)) => (*matched, replacement.as_str()),
            None => (0, ""),
        };
        let prefix = self.path.normal.get(..prefix).unwrap_or_default();
        let path = match &forwarded {
            ForwardedForm::Normal => &*self.path.normal,
            ForwardedForm::AsItCame => self.head.uri.path(),
            ForwardedForm::Spelt(form) | ForwardedForm::Other(form) => form,
        };
        let Some(prefix) = path::length_of_prefix(path, prefix) else {
            return Err(Rejection::bad_request(&format!(
                "the path is ambiguous: it spells the route's prefix `{prefix}` differently, for \
                 example percent-encoded or with duplicate slashes"
            )));
        };
        if !replacement.is_empty() {
            let rest = path.get(prefix..).unwrap_or_default();
            if !path::stays_below(&format!("{replacement}{rest}"), replacement) {
                return Err(Rejection::bad_request(&format!(
                    "the path is ambiguous: below the route's new prefix `{replacement}`, it can \
                     be read as a path outside of the prefix"
                )));
            }
        }
        let path = match forwarded {
            ForwardedForm::Normal => return Ok(None),
            ForwardedForm::AsItCame => None,
            ForwardedForm::Spelt(form) | ForwardedForm::Other(form) => Some(form),
        };
        Ok(Some(Box::new(ForwardedPath { path, prefix })))
    }

    /// The route that matches, if there is one.
    fn route<'g>(&self, snapshot: &'g Snapshot) -> Result<Option<&'g Arc<Route>>, Rejection> {
        match snapshot.table.find(&self.query()) {
            Ok(route) => Ok(Some(route)),
            Err(Miss::NotFound) => Ok(None),
            Err(Miss::MethodNotAllowed(allowed)) => {
                Err(Rejection::new(RejectReason::Method, method_not_allowed(&allowed)))
            }
        }
    }
}

/// Rejections that come after the filters, so that logs have the user and browsers may read the reason (CORS).
pub(crate) fn overload_rejection(
    route: &Route,
    head: &RequestHeader,
    is_websocket: bool,
    is_extended: bool,
) -> Option<Rejection> {
    if route.pool.is_none() && route.request_body_filters.is_none() {
        return Some(Rejection::new(
            RejectReason::NoRoute,
            Reply::gateway_error(
                ErrorCode::NoRoute,
                "no route of the gateway matches this host and path",
            ),
        ));
    }
    if is_websocket {
        if route.websocket.is_none() {
            return Some(Rejection::answer(Reply::gateway_error(
                ErrorCode::WebSocketOff,
                format!("WebSocket is switched off on the route `{}`", route.name),
            )));
        }
        let handshake = match is_extended {
            false => handshake::check(&head.method, head.version, &head.headers),
            true => handshake::check_version(&head.headers),
        };
        if let Err(error) = handshake {
            return Some(Rejection::bad_handshake(error));
        }
    }
    let limit = route.max_body_size?;
    let length = head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    let length: u64 = length.trim().parse().ok()?;
    (length > limit).then(|| {
        Rejection::request(Reply::gateway_error(
            ErrorCode::BodyTooLarge,
            format!("the request body may have at most {limit} bytes"),
        ))
    })
}

/// The response to a challenge of a certificate authority, if the request is one (RFC 8555, section 8.3).
fn acme_challenge(snapshot: &Snapshot, head: &RequestHeader) -> Option<Reply> {
    let token = head.uri.path().strip_prefix("/.well-known/acme-challenge/")?;
    let answer = snapshot.managed().find_map(|managed| managed.answer_to_request(token))?;
    let media_type = HeaderValue::from_static("application/octet-stream");
    Some(Reply::new(StatusCode::OK).header(header::CONTENT_TYPE, media_type).body(answer))
}

/// The redirect to the same URL over HTTPS, if the listener has `redirect_to_https`.
fn redirect_to_https(
    listener: &Listener,
    arrival: &IncomingHead<'_>,
    authority: &str,
) -> Option<Rejection> {
    let port = listener.redirect_to?;
    if arrival.scheme == "https" {
        return None;
    }
    let host = host::without_port(authority);
    if host.is_empty() {
        let reason = "this resource requires HTTPS, and the request names no host to redirect to";
        return Some(Rejection::bad_request(reason));
    }
    let uri = &arrival.head.uri;
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let location = match port {
        HTTPS_PORT => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    let location = HeaderValue::try_from(location).ok()?;
    let reply = Reply::gateway_error(ErrorCode::HttpsRequired, "this resource requires HTTPS");
    Some(Rejection::new(RejectReason::Https, reply.header(header::LOCATION, location)))
}

/// The rejection of a path that is not forwarded.
fn bad_path(error: PathError) -> Rejection {
    match error.setting() {
        None => Rejection::bad_request(&error.to_string()),
        Some(setting) => Rejection::bad_request(&format!(
            "{error}; the setting `{setting}` of a route allows this"
        )),
    }
}

/// The methods that the gateway forwards for routes without `methods`.
const PASSED_METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// The methods that the gateway forwards for the target of this head.
fn passed_methods(snapshot: &Snapshot, head: &RequestHeader) -> Vec<Method> {
    let target = authority(head).and_then(|authority| RequestTarget::parse(head, authority));
    match target.map(|target| snapshot.table.find(&target.query())) {
        Ok(Err(Miss::MethodNotAllowed(allowed))) => allowed,
        _ => PASSED_METHODS.to_vec(),
    }
}

/// The response to `OPTIONS *`, and to OPTIONS that must not be forwarded.
fn methods_of_gateway() -> Reply {
    let reply = Reply::new(StatusCode::NO_CONTENT);
    match HeaderValue::try_from(names(&PASSED_METHODS)) {
        Ok(names) => reply.header(header::ALLOW, names),
        Err(_) => reply,
    }
}

fn names(methods: &[Method]) -> String {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.join(", ")
}

fn method_not_allowed(allowed: &[Method]) -> Reply {
    let names = names(allowed);
    let reply = Reply::gateway_error(
        ErrorCode::MethodNotAllowed,
        format!("the method is not allowed here; allowed methods: {names}"),
    );
    match HeaderValue::try_from(names) {
        Ok(names) => reply.header(header::ALLOW, names),
        Err(_) => reply,
    }
}
