//! Turns an error into the response for the client and the message for the operator. Decides nothing about retries.

use super::filter_error::{FILTER, filter_error};
use super::filtered_body::FilteredBody;
use super::shortage::overloaded_reply;
use super::{Context, first_byte_timeout, grpc_web, reply, response_body};
use crate::filter::{self, RETRY_SOON, Reply};
use crate::upstream::{CONNECTION_CLOSING, deepest_cause, is_out_of_files};
use crate::websocket::{CloseRequest, HandshakeTimeout, Initiator};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, Session};
use tidegate_http::accept::Accept;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::raw_head::{HEAD_MALFORMED, TOO_SLOW};
use tidegate_http::websocket::close_code;
use tidegate_http::{grpc, header_name};

/// Answers a failed request, if its client is still there and no response has begun.
pub(super) async fn answer_failure(
    session: &mut Session,
    error: &Error,
    ctx: &mut Context,
) -> FailToProxy {
    ctx.outcome.error = Some(describe(error, ctx));
    ctx.outcome.is_intended |= ctx.close_request().is_some();
    let silent = FailToProxy { error_code: 0, can_reuse_downstream: false };
    if ctx.is_cut_off() {
        return silent;
    }
    if ctx.is_evicted() {
        // Others may use the connection as well, so that only the stream ends.
        if session.req_header().version == Version::HTTP_2 {
            session.as_downstream_mut().shutdown().await;
        }
        return silent;
    }
    if has_begun(session) {
        break_off(session, error, ctx).await;
        return silent;
    }
    let of_filter = take_filter_reply(ctx);
    let Some(reply) = of_filter.or_else(|| reply_for(error, ctx)) else { return silent };
    let error_code = reply.status.as_u16();
    if let Some(explaining) = &mut ctx.explanation {
        explaining.failed(&reply);
    }
    // The upstream has no part in the answer: a client that has read it finds the place free.
    ctx.attempt.upstream_permit = None;
    // What is left of the request can't be told from the next one.
    session.set_keepalive(None);
    if let Err(error) = reply::send(session, ctx, reply).await {
        log::debug!("cannot send the error response to the client: {error}");
    }
    FailToProxy { error_code, can_reuse_downstream: false }
}

/// What the client gets for a request that a filter has answered or failed on, or whose response has a page of its own.
fn take_filter_reply(ctx: &mut Context) -> Option<Reply> {
    let of_body = ctx.body.filtered.as_ref().and_then(FilteredBody::take_reply);
    ctx.outcome.substitute_reply.take().map(|reply| *reply).or(of_body)
}

/// Whether the head of the final response was sent (RFC 9110, section 15.2).
pub(super) fn has_begun(session: &Session) -> bool {
    session.response_written().is_some_and(|head| {
        !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
    })
}

/// Ends an incomplete response recognisably, after the bytes that have arrived. Over HTTP/1.1 this closes the
/// connection.
async fn break_off(session: &mut Session, error: &Error, ctx: &mut Context) {
    if is_of_client(error) || ctx.session.permit.is_some() {
        return;
    }
    let of_filter = take_filter_reply(ctx);
    if ctx.body.filtered.is_some() {
        // Filters must not take what has come of the body for the whole of it.
        response_body::end(session, ctx);
        ctx.body.sent = session.body_bytes_sent() as u64;
    }
    let is_grpc = grpc::is_call(&session.req_header().headers)
        && (session.req_header().version == Version::HTTP_2 || grpc_web::is_translated(session));
    if is_grpc && let Some(reply) = of_filter.or_else(|| reply_for(error, ctx)) {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(
            header_name::GRPC_STATUS,
            HeaderValue::from_static(grpc::status_of_http(reply.status)),
        );
        let message = match *error.etype() == FILTER {
            true => "a filter of the gateway ended the response early",
            false => "the service behind the gateway ended its response early",
        };
        trailers.insert(header_name::GRPC_MESSAGE, HeaderValue::from_static(message));
        let tasks = vec![HttpTask::Trailer(Some(Box::new(trailers))), HttpTask::Done];
        if let Err(error) = session.write_response_tasks(tasks).await {
            log::debug!("cannot send the trailers of a gRPC response to the client: {error}");
        }
        return;
    }
    if session.req_header().version == Version::HTTP_2 {
        // RFC 9113, section 7: the fault is on this side. CANCEL, which is what dropping it makes
        // of it, is what a client says that wants no more.
        session.as_downstream_mut().shutdown().await;
    }
}

/// Replaces an upstream's error by the configured page, if there is one.
pub(super) fn intercept(
    session: &Session,
    response: &ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    let pages = ctx.route.global.error_pages.as_ref().filter(|pages| pages.intercepts);
    let page =
        reply::page_for(response.status, Accept::from_headers(&session.req_header().headers), ctx);
    if pages.is_none() || page.is_none() {
        return Ok(());
    }
    let mut instead = Reply::error(
        response.status,
        ErrorCode::UpstreamError,
        "the service behind the gateway answered with an error",
    );
    for (name, value) in &response.headers {
        if is_kept_on_replacement(name, response.status) {
            instead = instead.header(name.clone(), value.clone());
        }
    }
    ctx.outcome.substitute_reply = Some(Box::new(instead));
    let status = response.status.as_u16();
    Error::e_explain(
        ErrorType::HTTPStatus(status),
        format!(
            "the upstream answered {status}; the gateway sends an error page instead \
             (error_pages.intercept)"
        ),
    )
}

/// What would have been accepted (RFC 9110, sections 12.5.1 and 12.5.3; RFC 5789, section 3.1).
static ACCEPTED_BY_UPSTREAM: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_ENCODING, header_name::ACCEPT_PATCH, header_name::ACCEPT_POST];

/// Kept with every status: what the client does next (RFC 7615, RFC 9449, and the rate limits of clients that wait by
/// them), and who may read it.
static KEPT_ON_EVERY_STATUS: [HeaderName; 13] = [
    header::ALLOW,
    header::PROXY_AUTHENTICATE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
    header_name::AUTHENTICATION_INFO,
    header_name::PROXY_AUTHENTICATION_INFO,
    header_name::DPOP_NONCE,
    header_name::RATELIMIT,
    header_name::RATELIMIT_POLICY,
    header::VARY,
    header_name::TIMING_ALLOW_ORIGIN,
    header_name::CROSS_ORIGIN_RESOURCE_POLICY,
];

/// Whether a page that takes the place of an upstream's error keeps this header of it: what the status is nothing
/// without (RFC 9110, sections 15.5 and 15.6), what the client must know to do better, and what browsers ask for
/// before a page's script may see the status at all.
fn is_kept_on_replacement(name: &HeaderName, status: StatusCode) -> bool {
    let is_kept_with = match status {
        StatusCode::RANGE_NOT_SATISFIABLE => *name == header::CONTENT_RANGE,
        StatusCode::UPGRADE_REQUIRED => *name == header::UPGRADE,
        // RFC 7725, section 4: who has the resource blocked.
        StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => *name == header::LINK,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ACCEPTED_BY_UPSTREAM.contains(name),
        _ => false,
    };
    is_kept_with
        || KEPT_ON_EVERY_STATUS.contains(name)
        || name.as_str().starts_with(header_name::CORS_PREFIX)
}

/// The response to a request on which a filter failed.
pub(super) fn reply_for_filter_error(ctx: &mut Context, error: &filter::Error) -> Reply {
    ctx.outcome.error = Some(format!("a filter failed: {error}"));
    error.reply().unwrap_or_else(internal_error_reply)
}

/// Ends a request that a filter failed on. The client gets the filter's status, if it has got no head yet.
pub(super) fn filter_failed(ctx: &mut Context, error: &filter::Error) -> Box<Error> {
    ctx.outcome.substitute_reply = error.reply().map(Box::new);
    filter_error(format!("a filter failed: {error}"))
}

/// Ends a request that a filter answers when it is on its way to the upstream.
pub(super) fn answered_by_filter(ctx: &mut Context, reply: Reply) -> Box<Error> {
    ctx.outcome.is_intended = true;
    let reason = format!("a filter answered the request with {}", reply.status.as_u16());
    ctx.outcome.substitute_reply = Some(Box::new(reply));
    filter_error(reason)
}

/// Makes Pingora give up the request for an error of its body, which is none of the client's connection: with an HTTP/2
/// upstream, Pingora ignores errors of other sources and goes on to wait for the response.
pub(super) fn stop_request(error: Box<Error>) -> Box<Error> {
    error.into_down()
}

/// Whether it is an error of the client or its connection.
fn is_of_client(error: &Error) -> bool {
    let is_stopped =
        matches!(error.etype(), ErrorType::HTTPStatus(413)) || *error.etype() == FILTER;
    *error.esource() == ErrorSource::Downstream && !is_stopped
}

/// Who ended a session, as far as the error shows.
pub(super) fn initiator(error: &Error) -> Initiator {
    match (error.esource(), error.etype()) {
        (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Initiator::Network,
        (ErrorSource::Downstream, _) => Initiator::Client,
        (ErrorSource::Upstream, ErrorType::ConnectionClosed) => Initiator::Upstream,
        _ => Initiator::Network,
    }
}

/// The response to the error; `None` if the client is gone.
fn reply_for(error: &Error, ctx: &Context) -> Option<Reply> {
    let upstream = |code, message| Some(Reply::gateway_error(code, message));
    let timed_out = || {
        upstream(
            ErrorCode::UpstreamTimeout,
            "the service behind the gateway did not answer in time",
        )
    };
    if ctx.session.permit.is_some() {
        if HandshakeTimeout::from_error(error).is_some() {
            return timed_out();
        }
        if let Some(request) = ctx.close_request() {
            return Some(session_ended_reply(request));
        }
    }
    if is_out_of_files(error) || *error.etype() == CONNECTION_CLOSING {
        return Some(overloaded_reply());
    }
    if is_head_refused(error) || *error.etype() == FILTER {
        return Some(internal_error_reply());
    }
    match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(413), _) => Some(Reply::gateway_error(
            ErrorCode::BodyTooLarge,
            "the request body is larger than the gateway allows",
        )),
        (ErrorType::HTTPStatus(503), _) if ctx.attempt.hit_upstream_limit => upstream(
            ErrorCode::UpstreamBusy,
            "the service behind the gateway is busy: its limit of concurrent requests is reached",
        )
        .map(|reply| reply.header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SOON))),
        (ErrorType::HTTPStatus(503), _) => upstream(
            ErrorCode::UpstreamUnavailable,
            "the service behind the gateway is unavailable: it has no known address at the moment",
        )
        .map(|reply| reply.header(header::RETRY_AFTER, HeaderValue::from_static("5"))),
        (ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout, _) => timed_out(),
        (
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert,
            ErrorSource::Upstream | ErrorSource::Unset | ErrorSource::Internal,
        ) => upstream(
            ErrorCode::UpstreamTlsFailed,
            "the TLS handshake with the service behind the gateway failed",
        ),
        (ErrorType::ReadTimedout | ErrorType::WriteTimedout, ErrorSource::Upstream) => timed_out(),
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => {
            Some(Reply::gateway_error(ErrorCode::RequestTimeout, TOO_SLOW))
        }
        (
            ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed,
            ErrorSource::Downstream,
        ) => None,
        (_, ErrorSource::Downstream) => {
            Some(Reply::gateway_error(ErrorCode::BadRequest, HEAD_MALFORMED.reason))
        }
        (
            ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::SocketError,
            _,
        ) => upstream(
            ErrorCode::UpstreamUnreachable,
            "the gateway cannot connect to the service behind it",
        ),
        (_, ErrorSource::Upstream) => upstream(
            ErrorCode::UpstreamFailed,
            "the service behind the gateway closed the connection or sent an invalid response",
        ),
        _ => Some(internal_error_reply()),
    }
}

/// The response to a handshake that was ended before the upstream accepted it.
fn session_ended_reply(request: &CloseRequest) -> Reply {
    let code = match request.initiator {
        _ if request.code == Some(close_code::TRY_AGAIN_LATER) => ErrorCode::Overloaded,
        Initiator::Limit => ErrorCode::TooManyHandshakes,
        _ => ErrorCode::ClosedEarly,
    };
    Reply::gateway_error(code, request.reason.to_string())
        .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SOON))
}

fn internal_error_reply() -> Reply {
    Reply::gateway_error(
        ErrorCode::InternalError,
        "internal error in the gateway; its log has the cause under this request id",
    )
}

/// Whether the response was not sent because of a header that HTTP/2 has no place for (RFC 9113, section 8.2.2). The
/// gateway removes those of upstreams, so a filter has set it. Pingora takes it for the client's fault.
pub(super) fn is_head_refused(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    // The `h2` crate tells its caller's faults apart by their texts alone.
    cause.is_some_and(|cause| cause.to_string().ends_with("malformed headers"))
}

/// The message for the operator: what failed, at which endpoint, and the root cause.
pub(super) fn describe(error: &Error, ctx: &Context) -> String {
    if let (Some(upload), ErrorType::ReadTimedout, ErrorSource::Downstream) =
        (&ctx.body.timeout, error.etype(), error.esource())
    {
        return format!("client: {TOO_SLOW} ({})", upload.key);
    }
    if let Some(request) = ctx.close_request().filter(|_| !is_of_client(error)) {
        return session_end_reason(request);
    }
    if is_head_refused(error) {
        return "a filter has set a header that HTTP/2 forbids, such as `TE`".to_owned();
    }
    if *error.etype() == FILTER {
        return error.context.as_ref().map(|reason| reason.as_str().to_owned()).unwrap_or_default();
    }
    match ctx.attempt.endpoint.as_ref().filter(|_| !is_of_client(error)) {
        Some(chosen) if is_timeout(error) && first_byte_timeout::has_expired(ctx) => {
            format!("upstream {}: no answer in time (timeouts.request)", chosen.address())
        }
        Some(chosen) => format!("upstream {}: {}", chosen.address(), in_words(error)),
        None => in_words(error),
    }
}

/// Whether it may be that of the whole request. A handshake knows what has bounded it.
fn is_timeout(error: &Error) -> bool {
    let is_late = matches!(
        error.etype(),
        ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
    );
    is_late && HandshakeTimeout::from_error(error).is_none()
}

/// Why the gateway ended a handshake.
pub(super) fn session_end_reason(request: &CloseRequest) -> String {
    match request.initiator {
        Initiator::Handshake => request.reason.to_string(),
        initiator => {
            format!(
                "the gateway ended the WebSocket handshake ({}): {}",
                initiator.as_str(),
                request.reason
            )
        }
    }
}

/// The error as text, with its root cause.
pub(super) fn in_words(error: &Error) -> String {
    if let Some(timeout) = HandshakeTimeout::from_error(error) {
        return timeout.to_string();
    }
    let is_clients = is_of_client(error);
    let what = match error.etype() {
        ErrorType::ConnectRefused => "connection refused",
        ErrorType::ConnectTimedout => "connecting timed out (timeouts.connect)",
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => "the TLS handshake failed",
        ErrorType::TLSHandshakeTimedout => "the TLS handshake timed out (timeouts.tls)",
        ErrorType::ConnectNoRoute => "no route to the host",
        ErrorType::ConnectError | ErrorType::SocketError => "connecting failed",
        ErrorType::ReadTimedout if is_clients => TOO_SLOW,
        ErrorType::ReadTimedout => "no answer in time",
        ErrorType::WriteTimedout if is_clients => {
            "did not read the response in time (limits.send_timeout)"
        }
        ErrorType::WriteTimedout => "the request could not be sent in time (timeouts.write)",
        ErrorType::ConnectionClosed => "the connection was closed early",
        ErrorType::ReadError => "reading failed",
        ErrorType::WriteError => "writing failed",
        ErrorType::InvalidHTTPHeader => "the message is malformed",
        ErrorType::HTTPStatus(_) => "refused",
        other => other.as_str(),
    };
    let side = if is_clients { "client: " } else { "" };
    let cause = match deepest_cause(error) {
        // Pingora knows of one time for each side.
        Some(cause) if *error.etype() == ErrorType::ReadTimedout && !cause.ends_with(')') => {
            let key = if is_clients { "limits.body_timeout" } else { "timeouts.read" };
            Some(format!("{cause} ({key})"))
        }
        cause => cause,
    };
    match cause {
        Some(cause) => format!("{side}{what}: {cause}"),
        None => format!("{side}{what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the `h2` crate says of a response with this header.
    async fn said_of(name: &'static str, value: &'static str) -> Option<h2::Error> {
        let (client, server) = tokio::io::duplex(4096);
        let client = tokio::spawn(async move {
            let (mut send, connection) = h2::client::handshake(client).await.expect("HTTP/2");
            tokio::spawn(connection);
            let request = http::Request::get("http://a.test/").body(()).expect("a request");
            send.send_request(request, true).expect("sent").0.await
        });
        let mut connection = h2::server::handshake(server).await.expect("HTTP/2");
        let (_, mut respond) = connection.accept().await.expect("a request").expect("sound");
        let response = http::Response::builder().header(name, value).body(()).expect("a head");
        client.abort();
        respond.send_response(response, true).err()
    }

    #[tokio::test]
    async fn rfc9113_8_2_2_head_forbidden_in_http2_is_recognised() {
        let refused = said_of("te", "gzip").await.expect("an error");
        let error = Error::because(ErrorType::WriteError, "while writing", refused).into_down();
        assert!(is_head_refused(&error));
        assert!(said_of("te", "trailers").await.is_none());
        let gone = h2::Error::from(h2::Reason::CANCEL);
        let error = Error::because(ErrorType::WriteError, "while writing", gone).into_down();
        assert!(!is_head_refused(&error));
    }
}
