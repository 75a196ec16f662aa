//! Whether a response may be stored, and for how long (RFC 9111, RFC 5861). Knows nothing of where responses are stored.

mod directives;
mod freshness;

pub(crate) use directives::{RequestDirectives, RequestFacts};
pub(crate) use freshness::{ResponseArrival, has_freshness_lifetime};

use super::RouteCachePolicy;
use freshness::{lifetime, stale_windows};
use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora_cache::CacheMeta;
use pingora_cache::cache_control::{CacheControl, InterpretCacheControl};
use std::time::Duration;
use tidegate_http::accept::EVENT_STREAM;
use tidegate_http::grpc;
use tidegate_http::head::nominated;
use tidegate_http::header_name::{self, HOP_BY_HOP};

/// The statuses whose responses are stored if they say for how long.
const CACHEABLE_STATUSES: [StatusCode; 14] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::NO_CONTENT,
    StatusCode::MULTIPLE_CHOICES,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::GONE,
    StatusCode::URI_TOO_LONG,
    StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
    StatusCode::SEE_OTHER,
];

/// Headers of one connection or one request, which are not stored with a response.
const NOT_STORED_HEADERS: [HeaderName; 2] = [header::PROXY_AUTHENTICATE, header_name::X_REQUEST_ID];

/// Headers of a 304 that do not update the stored response (RFC 9111, section 3.2), and `Vary`, which belongs to
/// the key of the stored response.
const NOT_UPDATED_HEADERS: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::VARY,
    header::SET_COOKIE,
];

/// Headers that the gateway writes itself for the upstream. Responses cannot vary by what the client sent in them.
const GATEWAY_WRITTEN_HEADERS: [HeaderName; 10] = [
    header_name::X_FORWARDED_FOR,
    header_name::X_FORWARDED_HOST,
    header_name::X_FORWARDED_PROTO,
    header_name::X_FORWARDED_PORT,
    header_name::X_FORWARDED_PREFIX,
    header_name::X_FORWARDED_SSL,
    header_name::X_FORWARDED_PROTOCOL,
    header_name::X_REAL_IP,
    header_name::X_REQUEST_ID,
    header::FORWARDED,
];

/// Whether the gateway sets this header itself.
pub(crate) fn is_gateway_written_header(name: &HeaderName) -> bool {
    GATEWAY_WRITTEN_HEADERS.contains(name)
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStoredReason {
    /// Because of its own headers: the next response is not stored either.
    OfResponse,
    /// Because of this request.
    OfRequest(&'static str),
}

impl NotStoredReason {
    /// The request has an `Authorization`.
    pub(crate) const AUTHORIZATION: &'static str = "authorization";
    /// The request has a `Cookie`, and the response does not say that it may be stored.
    pub(crate) const COOKIE: &'static str = "cookie";
    /// The request identifies a user by other means, and the response does not say that it may be stored.
    pub(crate) const USER: &'static str = "user";
    /// The upstream failed; this says nothing about its response to other requests, and stored ones stay.
    pub(crate) const ERROR: &'static str = "error";
    /// The request asks for a range.
    pub(crate) const RANGE: &'static str = "range";

    /// Whether the reason lies in this request alone, so that the response to others may still be stored.
    pub(crate) fn is_request_reason(reason: &'static str) -> bool {
        [Self::AUTHORIZATION, Self::COOKIE, Self::USER, Self::ERROR, Self::RANGE].contains(&reason)
    }
}

/// Whether a response may be stored, and for how long. For a 304, `response` is the stored response, which the headers
/// of the 304 update.
pub(crate) fn decide_storage(
    response: &ResponseHeader,
    arrival: &ResponseArrival,
    asked: RequestFacts,
    policy: &RouteCachePolicy,
) -> Result<CacheMeta, NotStoredReason> {
    if response.status.is_server_error() || response.status == StatusCode::TOO_MANY_REQUESTS {
        return Err(NotStoredReason::OfRequest(NotStoredReason::ERROR));
    }
    let mut head = response.clone();
    if let Some(renewed) = &arrival.not_modified {
        update_from_304(&mut head, renewed);
    } else if !is_delimited(response) {
        return Err(NotStoredReason::OfResponse);
    }
    if !CACHEABLE_STATUSES.contains(&head.status)
        || is_stream(&head.headers)
        || !can_vary(&head.headers)
    {
        return Err(NotStoredReason::OfResponse);
    }
    let cc = CacheControl::from_resp_headers(&head);
    let has = |is: fn(&CacheControl) -> bool| cc.as_ref().is_some_and(is);
    if has(CacheControl::no_store) || has(CacheControl::private) {
        return Err(NotStoredReason::OfResponse);
    }
    if head.headers.contains_key(header::SET_COOKIE) && !has(CacheControl::public) {
        return Err(NotStoredReason::OfResponse);
    }
    if asked.with_authorization && !has(CacheControl::allow_caching_authorized_req) {
        return Err(NotStoredReason::OfRequest(NotStoredReason::AUTHORIZATION));
    }
    let lifetime = lifetime(&head, cc.as_ref(), arrival, asked, policy)?;
    let (while_revalidate, if_error) = stale_windows(cc.as_ref(), policy);
    let can_be_validated =
        head.headers.contains_key(header::ETAG) || head.headers.contains_key(header::LAST_MODIFIED);
    let left = lifetime.saturating_sub(arrival.age);
    if left.is_zero() && !can_be_validated && while_revalidate == 0 && if_error == 0 {
        // It could never be served.
        return Err(NotStoredReason::OfResponse);
    }
    if let Some(cc) = &cc {
        cc.strip_private_headers(&mut head);
    }
    remove_unstored_headers(&mut head);
    let fresh_until = match left {
        // Pingora counts the moment itself as fresh.
        Duration::ZERO => arrival.at.checked_sub(Duration::from_secs(1)),
        left => arrival.at.checked_add(left),
    };
    let fresh_until = fresh_until.unwrap_or(arrival.at);
    let mut meta = CacheMeta::new(fresh_until, arrival.at, while_revalidate, if_error, head);
    if let Some(born) = arrival.at.checked_sub(arrival.age) {
        meta.set_epoch_override(born);
    }
    Ok(meta)
}

/// Whether the end of the body can be distinguished from a lost connection.
fn is_delimited(response: &ResponseHeader) -> bool {
    let headers = &response.headers;
    response.version == Version::HTTP_2
        || response.status == StatusCode::NO_CONTENT
        || headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether the response may last for hours, or is gRPC, whose end is a trailer, or is a range.
fn is_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().trim_start().to_ascii_lowercase();
    [EVENT_STREAM, grpc::GRPC_MEDIA_TYPE, "multipart/x-mixed-replace"]
        .iter()
        .any(|stream| media_type.starts_with(stream))
        || headers.contains_key(header::CONTENT_RANGE)
}

/// Whether `Vary` names only headers of the client, so that the requests which match can be recognised.
fn can_vary(headers: &HeaderMap) -> bool {
    headers.get_all(header::VARY).iter().all(|value| {
        value.to_str().is_ok_and(|names| {
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).all(|name| {
                HeaderName::from_bytes(name.as_bytes())
                    .is_ok_and(|it| it != "*" && !is_gateway_written_header(&it))
            })
        })
    })
}

/// Updates the stored headers with those of a 304 (section 3.2).
fn update_from_304(head: &mut ResponseHeader, renewed: &ResponseHeader) {
    for name in renewed.headers.keys() {
        if HOP_BY_HOP.contains(name)
            || NOT_STORED_HEADERS.contains(name)
            || NOT_UPDATED_HEADERS.contains(name)
        {
            continue;
        }
        head.remove_header(name);
        for value in renewed.headers.get_all(name) {
            // Both come from a parsed message, so they are valid.
            let _ = head.append_header(name.clone(), value.clone());
        }
    }
}

/// Removes the headers of one connection or one request.
fn remove_unstored_headers(head: &mut ResponseHeader) {
    for name in nominated(&head.headers).iter().chain(&HOP_BY_HOP).chain(&NOT_STORED_HEADERS) {
        if head.headers.contains_key(name) {
            head.remove_header(name);
        }
    }
}

#[cfg(test)]
mod tests;
