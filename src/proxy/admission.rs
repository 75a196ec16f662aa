//! Whether a request may come in, and which route it takes.

use super::{Context, Proxy, failure, tracing};
use crate::filter::{Reply, is_preflight};
use crate::generation::{Edge, Generation, Listener};
use crate::http::{forwarded, framing, head, host, path, request_id};
use crate::routing::Miss;
use crate::tls::TlsInfo;
use crate::websocket::handshake::{self, HandshakeError};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Names the request and finds its route. The configuration is looked at here and once.
pub(super) fn admit(proxy: &Proxy, session: &mut Session, ctx: &mut Context) -> Result<(), Reply> {
    let generation = proxy.live.load();
    identify(&generation.edge, session, ctx);
    if let Some(tracing) = &generation.edge.tracing {
        tracing::begin(tracing, session, ctx);
    }
    extended_connect(session, ctx)?;
    if proxy.overload.refuses(&proxy.in_flight, &generation.edge.limits) {
        return Err(failure::overloaded());
    }
    let head = session.req_header();
    let listener = generation.listener(&proxy.listener);
    if let Some(tls) = listener.and_then(|listener| listener.tls.as_ref()) {
        ctx.exchange.tls = TlsInfo::of_request(session);
        ctx.hsts.clone_from(&tls.hsts);
    }
    check_limits(&generation.edge, head)?;
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(method_not_allowed(&[Method::GET, Method::HEAD, Method::POST]));
    }
    check_message(session)?;
    if let Some(answer) = acme_challenge(&generation, head) {
        return Err(answer);
    }
    let authority = authority(head)?;
    if let Some(redirect) = listener.and_then(|it| to_https(it, head, authority, ctx)) {
        return Err(redirect);
    }
    if !head.raw_path_is_utf8() {
        return Err(bad_request(&path::PathError::NotUtf8.to_string()));
    }
    let path = match path::normalize(head.uri.path()) {
        Ok(path) => path,
        Err(error) => return Err(bad_request(&error.to_string())),
    };
    // A preflight asks on behalf of a request that is yet to come: its route is that one's.
    let asked_method = is_preflight(head)
        .then(|| head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD))
        .flatten()
        .and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let method = asked_method.as_ref().unwrap_or(&head.method);
    ctx.exchange.is_websocket = ctx.bridge.is_some() || handshake::is_requested(&head.headers);
    match generation.route(&path, head.uri.query(), authority, method, &head.headers) {
        Ok(route) => {
            ctx.exchange.route = Arc::clone(&route.name);
            ctx.route = Arc::clone(route);
        }
        Err(Miss::NotFound) => ctx.route = Arc::clone(&generation.fallback),
        Err(Miss::MethodNotAllowed(allowed)) => return Err(method_not_allowed(&allowed)),
    }
    if let Cow::Owned(normalized) = path {
        ctx.exchange.path = Some(normalized);
    }
    Ok(())
}

/// A WebSocket by HTTP/2 (RFC 8441) goes on as what it would be by HTTP/1.1: a GET.
fn extended_connect(session: &mut Session, ctx: &mut Context) -> Result<(), Reply> {
    if session.req_header().method != Method::CONNECT {
        return Ok(());
    }
    match session.req_header().extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str)
    {
        Some("websocket") => {
            session.req_header_mut().set_method(Method::GET);
            ctx.bridge = Some(handshake::key());
            Ok(())
        }
        // RFC 9220, section 3, says it for HTTP/3.
        Some(_) => Err(Reply::error(
            StatusCode::NOT_IMPLEMENTED,
            "unknown_protocol",
            "websocket is the only protocol that CONNECT opens here",
        )),
        None => Ok(()),
    }
}

/// What an authority of certificates asks for, if it does (RFC 8555, section 8.3).
fn acme_challenge(generation: &Generation, head: &RequestHeader) -> Option<Reply> {
    let token = head.uri.path().strip_prefix("/.well-known/acme-challenge/")?;
    let answer = generation.managed().find_map(|managed| managed.answer_to_request(token))?;
    let media_type = HeaderValue::from_static("application/octet-stream");
    Some(Reply::new(StatusCode::OK).header(header::CONTENT_TYPE, media_type).body(answer))
}

/// The same URL by HTTPS, for who came without to a listener that asks for it.
fn to_https(
    listener: &Listener,
    head: &RequestHeader,
    authority: &str,
    ctx: &Context,
) -> Option<Reply> {
    let port = listener.redirect_to?;
    if ctx.exchange.scheme() == "https" {
        return None;
    }
    let host = host::without_port(authority);
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let location = match port {
        443 => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    let location = HeaderValue::try_from(location).ok()?;
    let reply = Reply::error(
        StatusCode::PERMANENT_REDIRECT,
        "https_required",
        "this is served by HTTPS only",
    );
    Some(reply.header(header::LOCATION, location))
}

/// What is refused after the filters have seen it, so that logs know the user and browsers
/// may read the reason.
pub(super) fn refuse(session: &Session, ctx: &Context) -> Option<Reply> {
    let head = session.req_header();
    if ctx.route.pool.is_none() {
        return Some(Reply::error(
            StatusCode::NOT_FOUND,
            "no_route",
            "no route of the gateway matches this host and path",
        ));
    }
    if ctx.exchange.is_websocket {
        if ctx.route.websocket.is_none() {
            return Some(Reply::error(
                StatusCode::FORBIDDEN,
                "websocket_off",
                format!("WebSocket is switched off on the route `{}`", ctx.exchange.route()),
            ));
        }
        let handshake = match ctx.bridge {
            None => handshake::check(&head.method, head.version, &head.headers),
            Some(_) => handshake::check_version(&head.headers),
        };
        if let Err(error) = handshake {
            return Some(bad_handshake(error));
        }
    }
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<u64> = length.and_then(|length| length.trim().parse().ok());
    match (length, ctx.route.max_body_size) {
        (Some(length), Some(limit)) if length > limit => Some(Reply::error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body may have at most {limit} bytes"),
        )),
        _ => None,
    }
}

/// Who asks, and by which id the request goes.
fn identify(edge: &Edge, session: &Session, ctx: &mut Context) {
    let headers = &session.req_header().headers;
    let peer = session
        .client_addr()
        .and_then(|address| address.as_inet())
        .map(|address| address.ip().to_canonical());
    ctx.peer_is_trusted = peer.map_or(edge.trusts_unix, |peer| edge.trusts(peer));
    ctx.exchange.client_address = peer;
    if ctx.peer_is_trusted {
        let fields: Vec<&str> = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let told = forwarded::client(fields.into_iter(), |address: IpAddr| edge.trusts(address));
        ctx.exchange.client_address = told.or(peer);
    }
    ctx.exchange.scheme = scheme(ctx.peer_is_trusted, session);
    let kept = headers
        .get(X_REQUEST_ID)
        .filter(|_| ctx.peer_is_trusted)
        .filter(|id| id.to_str().is_ok_and(request_id::is_acceptable));
    ctx.exchange.request_id = match kept {
        Some(id) => id.clone(),
        // A UUID is made of characters that every header value may hold.
        None => {
            HeaderValue::try_from(request_id::generate()).unwrap_or(HeaderValue::from_static(""))
        }
    };
}

/// By what the client came, as far as the gateway can know.
fn scheme(peer_is_trusted: bool, session: &Session) -> &'static str {
    let told = session.req_header().headers.get(X_FORWARDED_PROTO).filter(|_| peer_is_trusted);
    // Each proxy on the way may have added its own; the first met the client.
    let told = told.and_then(|told| told.to_str().ok()?.split(',').next());
    match told.map(str::trim) {
        Some(told) if told.eq_ignore_ascii_case("https") => "https",
        Some(told) if told.eq_ignore_ascii_case("http") => "http",
        _ if session.digest().is_some_and(|digest| digest.ssl_digest.is_some()) => "https",
        _ => "http",
    }
}

fn check_limits(edge: &Edge, head: &RequestHeader) -> Result<(), Reply> {
    let target = head.raw_path().len() as u64;
    if target > edge.limits.uri_size {
        return Err(Reply::error(
            StatusCode::URI_TOO_LONG,
            "uri_too_long",
            format!("path and query may have at most {} bytes", edge.limits.uri_size),
        ));
    }
    let size: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head.headers.len() > edge.limits.header_count || size as u64 > edge.limits.header_size {
        return Err(Reply::error(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            format!(
                "a request may have at most {} header fields of {} bytes together",
                edge.limits.header_count, edge.limits.header_size
            ),
        ));
    }
    Ok(())
}

/// What could be read in two ways, and thus be two requests to somebody.
fn check_message(session: &Session) -> Result<(), Reply> {
    let request = session.req_header();
    // HTTP/2 has frames for all of this.
    if request.version != Version::HTTP_2 {
        let raw = session.to_h1_raw();
        head::check(&raw).map_err(|error| bad_request(&error.to_string()))?;
        // RFC 9112, section 6.1, lets a server refuse both. Pingora has taken the length away.
        if request.headers.contains_key(header::TRANSFER_ENCODING) && head::has_length(&raw) {
            return Err(bad_request("Content-Length and Transfer-Encoding contradict each other"));
        }
    }
    match framing::check(&request.headers) {
        Ok(()) => {}
        Err(error @ framing::FramingError::Length) => return Err(bad_request(&error.to_string())),
        Err(error @ framing::FramingError::Coding) => {
            return Err(Reply::error(
                StatusCode::NOT_IMPLEMENTED,
                "bad_request",
                error.to_string(),
            ));
        }
    }
    // RFC 9110, section 10.1.1: HTTP/1.0 knows no expectations.
    if request.version != Version::HTTP_10 && framing::expects_the_unknown(&request.headers) {
        return Err(Reply::error(
            StatusCode::EXPECTATION_FAILED,
            "bad_request",
            "the only expectation that can be met is 100-continue",
        ));
    }
    // RFC 9112, section 3.2: origin-form, or absolute-form of what is served here.
    if head::is_target(request.raw_path()) {
        Ok(())
    } else {
        Err(bad_request(&path::PathError::NotAbsolute.to_string()))
    }
}

/// Whether the connection ends with this request: what follows it is not to be trusted.
pub(super) fn is_last(session: &Session, refusal: Option<&Reply>) -> bool {
    let is_doubtful = |reply: &Reply| {
        matches!(
            reply.status,
            StatusCode::BAD_REQUEST | StatusCode::EXPECTATION_FAILED | StatusCode::NOT_IMPLEMENTED
        )
    };
    refusal.is_some_and(is_doubtful) || framing::is_last(&session.req_header().headers)
}

/// The host that is asked for (RFC 9110, section 7.2).
pub(super) fn authority(head: &RequestHeader) -> Result<&str, Reply> {
    if let Some(authority) = head.uri.authority() {
        return Ok(authority.as_str());
    }
    match head.headers.get(header::HOST) {
        Some(value) => match value.to_str() {
            Ok(written) if host::is_authority(written) => Ok(written),
            _ => Err(bad_request("the Host header is not a host")),
        },
        None if head.version == Version::HTTP_10 => Ok(""),
        // RFC 9112, section 3.2: a server must refuse this.
        None => Err(bad_request("the request has no Host header")),
    }
}

fn bad_request(reason: &str) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, "bad_request", reason)
}

fn method_not_allowed(allowed: &[Method]) -> Reply {
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    let names = names.join(", ");
    let reply = Reply::error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("the method is not allowed here; these are: {names}"),
    );
    match HeaderValue::try_from(names) {
        Ok(names) => reply.header(header::ALLOW, names),
        Err(_) => reply,
    }
}

fn bad_handshake(error: HandshakeError) -> Reply {
    let reply = |status| Reply::error(status, "bad_websocket_handshake", error.reason());
    match error {
        HandshakeError::Method => reply(StatusCode::METHOD_NOT_ALLOWED)
            .header(header::ALLOW, HeaderValue::from_static("GET")),
        HandshakeError::WebSocketVersion => reply(StatusCode::UPGRADE_REQUIRED)
            .header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        HandshakeError::Version
        | HandshakeError::Body
        | HandshakeError::Connection
        | HandshakeError::Key => reply(StatusCode::BAD_REQUEST),
    }
}
