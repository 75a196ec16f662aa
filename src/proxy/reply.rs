//! The gateway's own answers, written out.

use super::{Context, filter_response};
use crate::filter::{Reply, ReplyBody};
use bytes::Bytes;
use http::{Method, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

/// Sends an answer, through the route's filters as any other.
pub(super) async fn send(session: &mut Session, ctx: &mut Context, reply: Reply) -> Result<()> {
    if session.req_header().method == Method::CONNECT {
        // RFC 9110, section 9.3.6: what follows a CONNECT need not be a request.
        session.set_keepalive(None);
    }
    let (content_type, body) = render(&reply.body, session.req_header(), ctx);
    let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 8))?;
    if let Some(content_type) = content_type {
        head.insert_header(header::CONTENT_TYPE, content_type)?;
        head.insert_header(header::CACHE_CONTROL, "no-store")?;
    }
    // RFC 9110, section 8.6: a 204 carries no Content-Length.
    if reply.status != http::StatusCode::NO_CONTENT {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    for (name, value) in reply.headers {
        head.append_header(name, value)?;
    }
    filter_response(session.req_header(), &mut head, ctx).await?;
    let is_bodiless = body.is_empty() || session.req_header().method == Method::HEAD;
    ctx.sent = if is_bodiless { 0 } else { body.len() as u64 };
    session.write_response_header(Box::new(head), is_bodiless).await?;
    if is_bodiless {
        return Ok(());
    }
    session.write_response_body(Some(body), true).await
}

fn render(
    body: &ReplyBody,
    request: &RequestHeader,
    ctx: &Context,
) -> (Option<&'static str>, Bytes) {
    match body {
        ReplyBody::Empty => (None, Bytes::new()),
        ReplyBody::Bytes(bytes) => (None, bytes.clone()),
        ReplyBody::Error { code, message } if wants_text(request) => {
            let id = ctx.exchange.request_id();
            let text = format!("{code}: {message}\nrequest id: {id}\n");
            (Some("text/plain; charset=utf-8"), text.into())
        }
        ReplyBody::Error { code, message } => {
            let json = serde_json::json!({
                "error": code,
                "message": message,
                "request_id": ctx.exchange.request_id(),
            });
            (Some("application/json"), json.to_string().into())
        }
    }
}

/// Whether the client likes plain text better than JSON (RFC 9110, section 12.5.1).
fn wants_text(request: &RequestHeader) -> bool {
    let mut text = Quality::default();
    let mut json = Quality::default();
    let fields = request.headers.get_all(header::ACCEPT).iter();
    for range in fields.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media_range = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .and_then(|q| q.parse::<f32>().ok())
            .unwrap_or(1.0);
        match media_range.as_str() {
            "application/json" => json.offer(2, quality),
            "text/plain" => text.offer(2, quality),
            "application/*" => json.offer(1, quality),
            "text/*" => text.offer(1, quality),
            "*/*" => {
                json.offer(0, quality);
                text.offer(0, quality);
            }
            _ => {}
        }
    }
    text.quality > json.quality
}

/// How well a media type is liked, by the most specific range that names it.
#[derive(Default)]
struct Quality {
    quality: f32,
    specificity: u8,
}

impl Quality {
    fn offer(&mut self, specificity: u8, quality: f32) {
        if specificity >= self.specificity {
            *self = Self { quality, specificity };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_12_5_1_text_only_for_those_who_prefer_it() {
        let prefers_text = |accept: Option<&str>| {
            let mut request = RequestHeader::build("GET", b"/", None).expect("request");
            if let Some(accept) = accept {
                request.insert_header("accept", accept).expect("accept");
            }
            wants_text(&request)
        };
        assert!(!prefers_text(None));
        assert!(!prefers_text(Some("*/*")));
        assert!(!prefers_text(Some("application/json")));
        assert!(!prefers_text(Some("text/plain;q=0.5, application/json")));
        assert!(prefers_text(Some("text/plain")));
        assert!(prefers_text(Some("text/*, application/json;q=0.1")));
        assert!(prefers_text(Some("text/plain, */*;q=0.1")));
    }
}
