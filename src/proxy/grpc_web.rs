//! gRPC-Web, translated by Pingora's bridge: a browser's requests over HTTP/1.1 or HTTP/2 for a gRPC upstream. Knows no
//! message.

use super::Context;
use super::compression::ResponseEncoding;
use http::{HeaderMap, header};
use pingora::protocols::http::bridge::grpc_web::GrpcWebCtx;
use pingora_proxy::Session;

/// Turns a request of gRPC-Web into one of gRPC, where the route says so.
pub(super) fn translate(session: &mut Session, ctx: &Context) {
    if !ctx.route.grpc_web || !is_grpc_web_request(&session.req_header().headers) {
        return;
    }
    let mut bridge = GrpcWebCtx::default();
    bridge.init();
    bridge.request_header_filter(session.req_header_mut());
    if let Some(outgoing) = session.downstream_modules_ctx.get_mut::<ResponseEncoding>() {
        outgoing.grpc_web = bridge;
    }
}

/// Whether the request has been translated.
pub(super) fn is_translated(session: &Session) -> bool {
    let outgoing = session.downstream_modules_ctx.get::<ResponseEncoding>();
    outgoing.is_some_and(|outgoing| {
        !matches!(outgoing.grpc_web, GrpcWebCtx::Disabled | GrpcWebCtx::Init)
    })
}

/// Whether the body is in the binary form; the one in base64 (`grpc-web-text`) is not translated.
fn is_grpc_web_request(headers: &HeaderMap) -> bool {
    const GRPC_WEB_MEDIA_TYPE: &[u8] = b"application/grpc-web";
    headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).is_some_and(|value| {
        let (name, rest) = value.split_at(value.len().min(GRPC_WEB_MEDIA_TYPE.len()));
        name.eq_ignore_ascii_case(GRPC_WEB_MEDIA_TYPE)
            && matches!(rest.first(), None | Some(b'+' | b';'))
    })
}
