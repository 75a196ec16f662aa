//! The first phase of a request: reads the snapshot, identifies the client, checks for overload, and gives the head to
//! `crate::admission`, which alone decides about heads.

use super::{Context, Proxy, explain_header, shortage, task_state, tracing};
use crate::admission::{
    self, HeaderSurvey, IncomingHead, KnownHeader, PADDED_VALUE_REASON, Rejection, caller,
};
use crate::snapshot::{GlobalSettings, Snapshot};
use crate::tls::TlsInfo;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use tidegate_http::head::is_padded;
use tidegate_http::header_name::X_REQUEST_ID;
use tidegate_http::websocket::handshake;
use tidegate_http::{framing, request_id};

/// Admits a request and finds its route. Nothing else reads the current snapshot.
pub(super) fn admit(
    proxy: &Proxy,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<(), Rejection> {
    let snapshot = proxy.state.current.load();
    let joined = match session.req_header().version {
        Version::HTTP_2 => join_cookies(session.req_header_mut()),
        _ => Ok(()),
    };
    let survey = HeaderSurvey::from_headers(&session.req_header().headers);
    let admitted = joined.and_then(|()| check(proxy, &snapshot, &survey, session, ctx));
    if survey.has(KnownHeader::Explain) {
        explain_header::check_and_remove_admin_token(&snapshot, session, ctx);
    }
    if admitted.is_err() {
        ctx.route = Arc::clone(&snapshot.fallback);
    }
    if closes_connection(session, &survey, admitted.as_ref().err()) {
        session.set_keepalive(None);
    }
    admitted
}

fn check(
    proxy: &Proxy,
    snapshot: &Snapshot,
    survey: &HeaderSurvey,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<(), Rejection> {
    identify(&snapshot.global, session, ctx);
    if let Some(tracing) = &snapshot.global.tracing {
        tracing::start_trace(tracing, session, ctx);
    }
    // A WebSocket over HTTP/2 (RFC 8441) continues as what it would be over HTTP/1.1: a GET.
    if admission::extended_connect(session.req_header())? {
        session.req_header_mut().set_method(Method::GET);
        ctx.session.bridge_key = Some(handshake::key().into());
    }
    if proxy.state.overload.refuses(&proxy.state.in_flight, &snapshot.global.limits) {
        ctx.stop_counting();
        return Err(Rejection::answer(shortage::overloaded_reply()));
    }
    count_client(proxy, &snapshot.global, ctx)?;
    let listener = snapshot.listener(&proxy.listener);
    if let Some(tls) = listener.and_then(|listener| listener.tls.as_ref()) {
        ctx.exchange.tls = TlsInfo::for_session(session);
        ctx.hsts.clone_from(&tls.hsts);
    }
    let head = session.req_header_mut();
    admission::prepare(&snapshot.global, survey, ctx.peer_is_trusted, head)?;
    let head = session.req_header();
    let arrival = IncomingHead {
        head,
        survey,
        scheme: ctx.exchange.scheme(),
        listener: listener.map(|listener| &**listener),
        is_extended: ctx.session.bridge_key.is_some(),
    };
    ctx.route = Arc::clone(admission::admit(snapshot, &arrival, &mut ctx.exchange)?);
    Ok(())
}

/// Joins the cookie headers that a client may send over HTTP/2 (RFC 9113, section 8.2.3), before anything reads
/// them: all then see what the upstream sees.
fn join_cookies(head: &mut RequestHeader) -> Result<(), Rejection> {
    let mut pieces = head.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(_)) = (pieces.next(), pieces.next()) else { return Ok(()) };
    // Inside the joined value nothing would find the white space.
    if head.headers.get_all(header::COOKIE).iter().any(is_padded) {
        return Err(Rejection::bad_request(PADDED_VALUE_REASON));
    }
    let mut joined = first.as_bytes().to_vec();
    for piece in head.headers.get_all(header::COOKIE).iter().skip(1) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(piece.as_bytes());
    }
    HeaderValue::from_maybe_shared(Bytes::from(joined))
        .ok()
        .and_then(|joined| head.insert_header(header::COOKIE, joined).ok())
        .ok_or_else(|| Rejection::bad_request("the cookie headers are malformed"))
}

/// Counts the request among those of its client.
fn count_client(
    proxy: &Proxy,
    global: &GlobalSettings,
    ctx: &mut Context,
) -> Result<(), Rejection> {
    let client = match ctx.exchange.client_address {
        // A proxy's own request, or one whose client it does not name.
        Some(address) if ctx.peer_is_trusted && global.trusts(address) => None,
        Some(address) if ctx.peer_is_trusted => {
            Some(proxy.state.connection_limiter.clients().find(address))
        }
        // The connection has found it already.
        _ => task_state::client(),
    };
    let Some(client) = client else { return Ok(()) };
    if proxy.state.overload.refuses_client(&client) {
        ctx.stop_counting();
        return Err(Rejection::answer(shortage::overloaded_reply()));
    }
    ctx.request_permit = proxy.state.overload.admit_client_request(client, &global.limits);
    match &ctx.request_permit {
        Some(permit) => {
            if ctx.peer_is_trusted {
                task_state::set_shared(Some(permit.shared_request()));
            }
            Ok(())
        }
        None => {
            ctx.stop_counting();
            Err(Rejection::answer(shortage::too_many_requests()))
        }
    }
}

/// Refuses what filters see before it is refused.
pub(super) fn refuse(session: &Session, ctx: &Context) -> Option<Rejection> {
    let is_websocket = ctx.exchange.is_websocket;
    admission::overload_rejection(
        &ctx.route,
        session.req_header(),
        is_websocket,
        ctx.session.bridge_key.is_some(),
    )
}

/// Determines the client and the request id.
fn identify(global: &GlobalSettings, session: &Session, ctx: &mut Context) {
    let headers = &session.req_header().headers;
    let peer = session
        .client_addr()
        .and_then(|address| address.as_inet())
        .map(|address| address.ip().to_canonical());
    ctx.peer_is_trusted = peer.map_or(global.trusts_unix, |peer| global.trusts(peer));
    let uses_tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    let caller = caller(global, peer, ctx.peer_is_trusted, uses_tls, headers);
    ctx.exchange.client_address = caller.address;
    ctx.exchange.scheme = caller.scheme;
    ctx.exchange.forwarded_host = caller.forwarded_host;
    let sent = if ctx.peer_is_trusted { headers.get(X_REQUEST_ID) } else { None };
    let kept = sent.filter(|id| id.to_str().is_ok_and(request_id::is_acceptable));
    ctx.exchange.request_id = match kept {
        Some(id) => id.clone(),
        // A UUID consists of characters that are valid in a header.
        None => {
            HeaderValue::try_from(request_id::generate()).unwrap_or(HeaderValue::from_static(""))
        }
    };
}

/// Whether the connection ends with this request, because nothing after it can be trusted.
fn closes_connection(
    session: &Session,
    survey: &HeaderSurvey,
    rejection: Option<&Rejection>,
) -> bool {
    let is_doubtful = |rejection: &Rejection| {
        matches!(
            rejection.reply.status,
            StatusCode::BAD_REQUEST | StatusCode::EXPECTATION_FAILED | StatusCode::NOT_IMPLEMENTED
        )
    };
    let may_say = survey.has(KnownHeader::Connection) || survey.has(KnownHeader::TransferEncoding);
    rejection.is_some_and(is_doubtful)
        || (may_say && framing::closes_connection(&session.req_header().headers))
}
