//! Compresses response bodies, as a module of Pingora's that runs after all filters, for responses of upstreams and the
//! gateway's own alike. Decides nothing about which responses; `compression/` does.

use super::filtered_body::FilteredBody;
use super::{Context, task_state};
use crate::compression::{Compression, DIGEST_HEADERS, Encoder, length};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::protocols::http::bridge::grpc_web::GrpcWebCtx;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;
use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tidegate_http::encoding::{Coding, negotiate};
use tidegate_http::header_name::spelled;

/// Creates a [`ResponseEncoding`] for each request.
pub(super) struct CompressionBuilder;

impl HttpModuleBuilder for CompressionBuilder {
    fn init(&self) -> Module {
        let state = CompressionState::Idle;
        Box::new(ResponseEncoding { state, filtered: None, grpc_web: GrpcWebCtx::Disabled })
    }
}

/// Compression and gRPC-Web of one response, after all filters. They share one module, because each module costs every
/// request.
pub(super) struct ResponseEncoding {
    state: CompressionState,
    /// The body that filters see. They see it here because Pingora calls a module at every end of a body.
    pub(super) filtered: Option<FilteredBody>,
    /// Pingora's gRPC-Web bridge, if the request uses it.
    pub(super) grpc_web: GrpcWebCtx,
}

enum CompressionState {
    /// There is nothing to do, or nothing more.
    Idle,
    /// The client uses HTTP/1.0 without chunked bodies (RFC 9112, section 6.1), so it gets only the `Vary`.
    Unchunked(Option<Arc<Compression>>),
    /// The route compresses; the head of the response decides about this one.
    Prepared(Box<CompressionOffer>),
    Encoding {
        encoder: Box<Encoder>,
        is_streamed: bool,
    },
    /// The end of the body was sent.
    Ended,
}

struct CompressionOffer {
    compression: Arc<Compression>,
    coding: Option<Coding>,
    /// What the client has, where it asks whether that is still so.
    if_none_match: Option<HeaderValue>,
    is_head: bool,
    is_chunked: bool,
}

/// Prepares the response for compression, if its route compresses.
pub(super) fn prepare(session: &mut Session, ctx: &Context) {
    let request = session.req_header();
    // The compressed length is unknown, so the body would be chunked.
    if request.version == Version::HTTP_10 || request.version == Version::HTTP_09 {
        let compression = ctx.route.compression.clone();
        if let Some(outgoing) = session.downstream_modules_ctx.get_mut::<ResponseEncoding>() {
            outgoing.state = CompressionState::Unchunked(compression);
        }
        return;
    }
    let Some(compression) = &ctx.route.compression else { return };
    let offer = CompressionOffer {
        coding: negotiate(&request.headers, &compression.codings),
        if_none_match: request.headers.get(header::IF_NONE_MATCH).cloned(),
        compression: Arc::clone(compression),
        is_head: request.method == Method::HEAD,
        is_chunked: request.version == Version::HTTP_11,
    };
    if let Some(compressor) = session.downstream_modules_ctx.get_mut::<ResponseEncoding>() {
        compressor.state = CompressionState::Prepared(Box::new(offer));
    }
}

/// Whether the number of sent bytes differs from that of received bytes.
pub(super) fn is_used(session: &Session) -> bool {
    let compressor = session.downstream_modules_ctx.get::<ResponseEncoding>();
    compressor.is_some_and(|compressor| {
        matches!(compressor.state, CompressionState::Encoding { .. } | CompressionState::Ended)
    })
}

impl ResponseEncoding {
    fn head(&mut self, head: &mut ResponseHeader, is_bodiless: bool) -> Result<()> {
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        if head.status == StatusCode::UPGRADE_REQUIRED {
            name_upgrade(head, matches!(self.state, CompressionState::Unchunked(_)))?;
        }
        let offer = match std::mem::replace(&mut self.state, CompressionState::Idle) {
            CompressionState::Prepared(offer) => offer,
            CompressionState::Unchunked(compression) => {
                head.remove_header(&header::TRANSFER_ENCODING);
                return match compression {
                    Some(compression) if compression.compresses(head) => vary(head),
                    _ => Ok(()),
                };
            }
            _ => return Ok(()),
        };
        if head.status == StatusCode::NOT_MODIFIED {
            return not_modified(head, &offer);
        }
        if head.status == StatusCode::PARTIAL_CONTENT {
            // RFC 9110, section 15.3.7: it has the `Vary` that the 200 would have.
            return add_vary_of_full_response(head, &offer).map(drop);
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS
            || (is_bodiless && !offer.is_head)
            || !offer.compression.compresses(head)
        {
            return Ok(());
        }
        vary(head)?;
        let Some(coding) = offer.coding else { return Ok(()) };
        let length = length(&head.headers);
        head.insert_header(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()))?;
        head.remove_header(&header::CONTENT_LENGTH);
        // A range would refer to compressed bytes, which are not the same each time.
        head.remove_header(&header::ACCEPT_RANGES);
        if head.headers.keys().any(|name| DIGEST_HEADERS.contains(name)) {
            for name in &DIGEST_HEADERS {
                head.remove_header(name);
            }
        }
        weaken_etag(head)?;
        if offer.is_head {
            return Ok(());
        }
        if offer.is_chunked {
            head.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        }
        let encoder = Encoder::new(coding, offer.compression.levels, length)
            .or_err(ErrorType::InternalError, "cannot compress the response")?;
        self.state = CompressionState::Encoding {
            encoder: Box::new(encoder),
            is_streamed: length.is_none(),
        };
        Ok(())
    }

    fn body(&mut self, body: &mut Option<Bytes>, end: bool) -> Result<()> {
        let CompressionState::Encoding { encoder, is_streamed } = &mut self.state else {
            return Ok(());
        };
        let failed = |error| {
            Error::because(ErrorType::InternalError, "compressing the response failed", error)
        };
        let piece = body.take().unwrap_or_default();
        // What an upstream streams must reach the client without delay.
        let mut encoded = Bytes::new();
        if !piece.is_empty() {
            encoded = encoder.push(&piece, *is_streamed && !end).map_err(failed)?;
        }
        if end {
            let rest = encoder.finish().map_err(failed)?;
            encoded = match encoded.is_empty() {
                true => rest,
                false => [encoded, rest].concat().into(),
            };
            self.state = CompressionState::Ended;
        }
        *body = (!encoded.is_empty()).then_some(encoded);
        Ok(())
    }
}

/// RFC 9110, section 7.8: a sender of `Upgrade` names it in `Connection`, and HTTP/1.0 has no upgrades.
fn name_upgrade(head: &mut ResponseHeader, is_http10: bool) -> Result<()> {
    if is_http10 {
        head.remove_header(&header::UPGRADE);
    } else if head.headers.contains_key(header::UPGRADE) {
        // The reason phrase carries the second header line, because nothing else gets past Pingora 0.9: its HTTP/1
        // session replaces every `Connection` header with its own (`prepare_response_header`), and the switch for that
        // (`update_resp_headers`) is private. The alternatives are an HTTP/1 session of our own, or edits of the bytes
        // that it has written. HTTP/2 has neither reason phrases nor `Connection`.
        head.set_reason_phrase(Some("Upgrade Required\r\nConnection: Upgrade"))?;
    }
    Ok(())
}

/// RFC 9110, section 15.4.5: a 304 has the `ETag` and the `Vary` that the 200 would have. Its media type
/// is not known; but a client that asks by a weak form of the `ETag` has got what was compressed.
fn not_modified(head: &mut ResponseHeader, offer: &CompressionOffer) -> Result<()> {
    if !add_vary_of_full_response(head, offer)? {
        return Ok(());
    }
    let has_weak = |etag: &HeaderValue| {
        let weak = [b"W/", etag.as_bytes()].concat();
        let asked = offer.if_none_match.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        asked.windows(weak.len()).any(|part| part == weak)
    };
    if head.headers.get(header::ETAG).is_some_and(has_weak) {
        weaken_etag(head)?;
    }
    Ok(())
}

/// Adds the `Vary` that the 200 would have, as far as that is known. Whether it would be compressed.
fn add_vary_of_full_response(head: &mut ResponseHeader, offer: &CompressionOffer) -> Result<bool> {
    let mut whole = ResponseHeader::build(StatusCode::OK, None)?;
    for name in [header::CONTENT_TYPE, header::CACHE_CONTROL, header::CONTENT_ENCODING] {
        if let Some(value) = head.headers.get(&name) {
            whole.insert_header(name, value.clone())?;
        }
    }
    let has_type = whole.headers.contains_key(header::CONTENT_TYPE);
    if has_type && !offer.compression.compresses(&whole)
        || whole.headers.contains_key(header::CONTENT_ENCODING)
    {
        return Ok(false);
    }
    vary(head).map(|()| true)
}

/// Adds `Vary`, so that caches do not serve one client's coding to another (RFC 9110, section 12.5.5).
fn vary(head: &mut ResponseHeader) -> Result<()> {
    match varies_by_encoding(&head.headers) {
        true => Ok(()),
        false => head
            .append_header(spelled::VARY, HeaderValue::from_static(spelled::ACCEPT_ENCODING))
            .map(drop),
    }
}

/// Weakens the `ETag`, because it now identifies several byte sequences (RFC 9110, section 8.8.1).
fn weaken_etag(head: &mut ResponseHeader) -> Result<()> {
    let Some(etag) = head.headers.get(header::ETAG) else { return Ok(()) };
    if etag.as_bytes().starts_with(b"W/") {
        return Ok(());
    }
    match HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()) {
        Ok(weak) if etag.as_bytes().starts_with(b"\"") => head.insert_header(spelled::ETAG, weak),
        _ => {
            head.remove_header(&header::ETAG);
            Ok(())
        }
    }
}

fn varies_by_encoding(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|value| value.split(',')).any(|name| {
        matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case(spelled::ACCEPT_ENCODING)
    })
}

/// A completed future. It has no size, so boxing it allocates nothing: most requests have nothing to do here.
struct ReadyOk;

impl Future for ReadyOk {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type BoxedResult<'f> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'f>>;

// What `#[async_trait]` would make of it, but for the boxes.
impl HttpModule for ResponseEncoding {
    fn request_header_filter<'a, 'b, 'f>(&'a mut self, _: &'b mut RequestHeader) -> BoxedResult<'f>
    where
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        Box::pin(ReadyOk)
    }

    fn request_body_filter<'a, 'b, 'f>(
        &'a mut self,
        _: &'b mut Option<Bytes>,
        _: bool,
    ) -> BoxedResult<'f>
    where
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        Box::pin(ReadyOk)
    }

    fn response_header_filter<'a, 'b, 'f>(
        &'a mut self,
        head: &'b mut ResponseHeader,
        end: bool,
    ) -> BoxedResult<'f>
    where
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        self.grpc_web.response_header_filter(head);
        match self.head(head, end) {
            Ok(()) => Box::pin(ReadyOk),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn response_body_filter(&mut self, body: &mut Option<Bytes>, end: bool) -> Result<()> {
        if let Some(filtered) = &self.filtered {
            filtered.show(body, end)?;
        }
        self.body(body, end)
    }

    fn response_trailer_filter(
        &mut self,
        trailers: &mut Option<Box<HeaderMap>>,
    ) -> Result<Option<Bytes>> {
        let mut rest = self.filtered.as_ref().map_or(Ok(None), FilteredBody::finish)?;
        if let Some(trailers) = trailers
            && let Some(frame) = self.grpc_web.response_trailer_filter(trailers)?
        {
            return Ok(Some(match rest {
                None => frame,
                Some(rest) => [rest, frame].concat().into(),
            }));
        }
        self.body(&mut rest, true)?;
        if trailers.is_some() && self.filtered.as_ref().is_some_and(FilteredBody::keeps_trailers) {
            // Pingora would send what is left of the body in the place of the trailers.
            task_state::set_last_part(rest.take());
        }
        Ok(rest)
    }

    fn response_done_filter(&mut self) -> Result<Option<Bytes>> {
        let mut rest = self.filtered.as_ref().map_or(Ok(None), FilteredBody::finish)?;
        self.body(&mut rest, true)?;
        Ok(rest)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
