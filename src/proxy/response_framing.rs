//! Where an upstream's response ends: the gateway frames each response itself, or rejects it (RFC 9112, section 6).
//! Knows nothing of what a body contains.

use super::Context;
use http::{HeaderMap, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tidegate_http::framing::{self, ResponseLength};
use tidegate_http::head::{is_padded, trimmed};
use tidegate_http::websocket::handshake;

/// Checks how a response of the upstream is framed and writes it anew; an error becomes 502.
///
/// Pingora has chosen by then how it reads the body: by chunks where the last coding is `chunked`, else by
/// `Content-Length`, else to the end of the connection. What it reads otherwise than another reader may is refused.
pub(super) fn check(session: &Session, response: &mut ResponseHeader, ctx: &Context) -> Result<()> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return check_switch(session.req_header(), response, ctx);
    }
    if response.status.is_informational() {
        return Ok(());
    }
    if response.version == Version::HTTP_2 {
        trim_values(response)?;
    }
    if response.headers.contains_key(header::TRANSFER_ENCODING) {
        // RFC 9112, section 6.1: HTTP/1.0 knows no codings, so its framing is in doubt.
        if response.version == Version::HTTP_10 || !framing::is_chunked_once(&response.headers) {
            return malformed("Transfer-Encoding must be `chunked`, once, in HTTP/1.1");
        }
    }
    match framing::response_length(&response.headers) {
        ResponseLength::None | ResponseLength::Canonical => {}
        ResponseLength::Known(length) => response.insert_header(header::CONTENT_LENGTH, length)?,
        ResponseLength::Unclear => return malformed("Content-Length is not a single number"),
    }
    if is_bodiless(response.status) {
        // Nothing may tell a reader otherwise.
        for name in [&header::CONTENT_LENGTH, &header::TRANSFER_ENCODING] {
            if response.headers.contains_key(name) {
                response.remove_header(name);
            }
        }
    }
    if response.version == Version::HTTP_10 {
        // RFC 9110, section 2.5: the version is that of who sends, and that is the gateway.
        response.set_version(Version::HTTP_11);
    }
    Ok(())
}

/// Takes the white space around values off, as a parser of HTTP/1.1 does (RFC 9113, section 8.2.1, has none).
fn trim_values(response: &mut ResponseHeader) -> Result<()> {
    while let Some((name, _)) = response.headers.iter().find(|(_, value)| is_padded(value)) {
        let name = name.clone();
        let values: Vec<_> = response.headers.get_all(&name).iter().map(trimmed).collect();
        response.remove_header(&name);
        for value in values {
            response.append_header(name.clone(), value)?;
        }
    }
    Ok(())
}

/// Removes whitespace around the values of trailers, which only HTTP/2 has here.
pub(super) fn trim_trailers(trailers: &mut HeaderMap) {
    for value in trailers.values_mut().filter(|value| is_padded(value)) {
        *value = trimmed(value);
    }
}

/// Whether a response with this status has no body (RFC 9110, sections 15.3.5 and 15.4.5).
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// A 101 answers a WebSocket's handshake, rightly, or is none (RFC 9110, section 15.2.2).
fn check_switch(
    request: &RequestHeader,
    response: &mut ResponseHeader,
    ctx: &Context,
) -> Result<()> {
    // Over HTTP/2 the bridge has made a 200 of it, or refused it.
    if ctx.session.permit.is_none() || ctx.session.bridge_key.is_some() {
        return malformed(
            "101 Switching Protocols in response to a request that is not a WebSocket handshake",
        );
    }
    let key = request.headers.get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], |it| it.as_bytes());
    match handshake::check_answer(key, response.version, &response.headers) {
        Ok(()) => Ok(()),
        Err(error) => malformed(error.reason()),
    }
}

fn malformed(why: &'static str) -> Result<()> {
    Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up())
}
