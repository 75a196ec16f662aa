//! Sends the gateway's own responses: rejections, errors, files, in JSON, HTML, text or gRPC. Decides nothing about
//! which response.

use super::{Context, filter_response, grpc_web, response_body};
use crate::error_pages::{Page, PageValues, render_without_page};
use crate::filter::{Reply, ReplyBody};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::fs::File;
use std::io::SeekFrom;
use std::sync::Arc;
use tidegate_http::accept::{Accept, MediaType};
use tidegate_http::grpc;
use tidegate_http::header_name::{GRPC_MESSAGE, GRPC_STATUS, PROXY_STATUS};
use tidegate_http::proxy_status::proxy_status;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Sends a response through the route's filters, like one of an upstream.
pub(super) async fn send(session: &mut Session, ctx: &mut Context, reply: Reply) -> Result<()> {
    response_body::end(session, ctx);
    if session.req_header().method == Method::CONNECT {
        // RFC 9110, section 9.3.6: what follows a CONNECT need not be a request.
        session.set_keepalive(None);
    }
    if is_grpc_error(session, &reply) {
        return send_to_grpc(session, ctx, reply).await;
    }
    let (content_type, body) = render(&reply, session.req_header(), ctx);
    let length = match &reply.body {
        ReplyBody::File(_, _, length) => *length,
        _ => body.len() as u64,
    };
    let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 8))?;
    if let Some(content_type) = content_type {
        head.insert_header(header::CONTENT_TYPE, content_type)?;
        head.insert_header(header::CACHE_CONTROL, "no-store")?;
    }
    // RFC 9110, section 8.6: a 204 carries no Content-Length, a 304 only that of the 200.
    if !matches!(reply.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        head.insert_header(header::CONTENT_LENGTH, length)?;
    }
    for (name, value) in reply.headers {
        head.append_header(name, value)?;
    }
    name_error(&mut head, &reply.body, ctx)?;
    filter_response(session.req_header(), &mut head, ctx).await?;
    ctx.outcome.response_status = Some(head.status);
    let is_bodiless = length == 0 || session.req_header().method == Method::HEAD;
    if is_bodiless {
        return send_head_alone(session, head).await;
    }
    session.write_response_header(Box::new(head), false).await?;
    if let ReplyBody::File(file, first, length) = reply.body {
        return send_file(session, ctx, file, first, length).await;
    }
    ctx.body.sent = length;
    session.write_response_body(Some(body), true).await
}

/// Names the gateway's own error in `Proxy-Status`, unless that is switched off.
fn name_error(head: &mut ResponseHeader, body: &ReplyBody, ctx: &Context) -> Result<()> {
    if let ReplyBody::Error { code, .. } = body
        && ctx.route.global.sends_proxy_status
        && let Some(value) = proxy_status(code)
    {
        head.insert_header(PROXY_STATUS, value)?;
    }
    Ok(())
}

/// Whether this is an error for a gRPC call, whose clients read only `grpc-status`. Over HTTP/1.1 only translated
/// gRPC-Web requests are such calls.
fn is_grpc_error(session: &Session, reply: &Reply) -> bool {
    let request = session.req_header();
    (reply.status.is_client_error() || reply.status.is_server_error())
        && (request.version == Version::HTTP_2 || grpc_web::is_translated(session))
        && grpc::is_call(&request.headers)
}

/// Sends an error as gRPC expects: a trailers-only response with HTTP status 200. Logs and metrics count it under the
/// status of the equivalent HTTP response.
async fn send_to_grpc(session: &mut Session, ctx: &mut Context, reply: Reply) -> Result<()> {
    let mut head = ResponseHeader::build(StatusCode::OK, Some(reply.headers.len() + 8))?;
    head.insert_header(header::CONTENT_TYPE, grpc::GRPC_MEDIA_TYPE)?;
    head.insert_header(GRPC_STATUS, grpc::status_of_http(reply.status))?;
    if let ReplyBody::Error { message, .. } = &reply.body {
        head.insert_header(GRPC_MESSAGE, grpc::message(message))?;
    }
    for (name, value) in reply.headers {
        if name != header::CONTENT_TYPE {
            head.append_header(name, value)?;
        }
    }
    name_error(&mut head, &reply.body, ctx)?;
    ctx.outcome.grpc_status = Some(reply.status);
    filter_response(session.req_header(), &mut head, ctx).await?;
    send_head_alone(session, head).await?;
    if grpc_web::is_translated(session) {
        // It has been made a response in chunks, of which there are none.
        session.as_downstream_mut().finish_body().await?;
    }
    Ok(())
}

/// Sends a response without a body. Over HTTP/2 its one head ends the stream: a client of gRPC takes a head
/// with its status for trailers only then (gRPC over HTTP/2, "Trailers-Only"). Where a request has failed,
/// Pingora would reset the stream rather than end it.
async fn send_head_alone(session: &mut Session, head: ResponseHeader) -> Result<()> {
    if session.req_header().version == Version::HTTP_2 && !grpc_web::is_translated(session) {
        let head = HttpTask::Header(Box::new(head), true);
        return session.write_response_tasks(vec![head]).await.map(drop);
    }
    session.write_response_header(Box::new(head), true).await
}

/// Maximum number of bytes of a file that are read before the client has taken them.
const MAX_FILE_CHUNK_BYTES: u64 = 64 * 1024;

async fn send_file(
    session: &mut Session,
    ctx: &mut Context,
    file: Arc<File>,
    first: u64,
    length: u64,
) -> Result<()> {
    let cannot = |error| Error::because(ErrorType::FileReadError, "reading a file failed", error);
    // It is this response's alone, and a second descriptor would be one too many.
    let file = Arc::try_unwrap(file).or_else(|file| file.try_clone()).map_err(cannot)?;
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(first)).await.map_err(cannot)?;
    let mut left = length;
    while left > 0 {
        let max = left.min(MAX_FILE_CHUNK_BYTES);
        let mut piece = BytesMut::with_capacity(usize::try_from(max).unwrap_or_default());
        (&mut file).take(max).read_buf(&mut piece).await.map_err(cannot)?;
        if piece.is_empty() {
            return Error::e_explain(
                ErrorType::FileReadError,
                "the file became shorter while it was served",
            );
        }
        left = left.saturating_sub(piece.len() as u64);
        ctx.body.sent += piece.len() as u64;
        session.write_response_body(Some(piece.freeze()), left == 0).await?;
    }
    Ok(())
}

fn render(reply: &Reply, request: &RequestHeader, ctx: &Context) -> (Option<&'static str>, Bytes) {
    let (code, message) = match &reply.body {
        ReplyBody::Empty | ReplyBody::File(..) => return (None, Bytes::new()),
        ReplyBody::Bytes(bytes) => return (None, bytes.clone()),
        ReplyBody::Error { code, message } => (code, message),
    };
    let id = ctx.exchange.request_id();
    let accept = Accept::from_headers(&request.headers);
    let values = PageValues { status: reply.status, error: code, message, request_id: id };
    let (media_type, text) = match page_for(reply.status, accept, ctx) {
        Some(page) => (accept.preferred(), page.render(values)),
        None => render_without_page(values, accept),
    };
    (Some(media_type.content_type()), text.into())
}

/// The configured page for an error in the format that the client prefers, if there is one.
pub(super) fn page_for(status: StatusCode, accept: Accept, ctx: &Context) -> Option<&Page> {
    let pages = ctx.route.global.error_pages.as_ref()?;
    match accept.preferred() {
        MediaType::Html => pages.html.find(status),
        MediaType::Json => pages.json.find(status),
        MediaType::Text => None,
    }
}
