//! What a message must be like, whatever it asks for.

use super::Halt;
use crate::filter::Reply;
use crate::generation::Limits;
use crate::http::{framing, head, host, path};
use http::header;
use http::{StatusCode, Version};
use pingora::http::RequestHeader;

pub(super) fn check_limits(limits: &Limits, head: &RequestHeader) -> Result<(), Halt> {
    let target = head.raw_path().len() as u64;
    if target > limits.uri_size {
        return Err(Halt::request(Reply::error(
            StatusCode::URI_TOO_LONG,
            "uri_too_long",
            format!("path and query may have at most {} bytes", limits.uri_size),
        )));
    }
    let size: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head.headers.len() > limits.header_count || size as u64 > limits.header_size {
        return Err(Halt::request(Reply::error(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            format!(
                "a request may have at most {} header fields of {} bytes together",
                limits.header_count, limits.header_size
            ),
        )));
    }
    Ok(())
}

/// What could be read in two ways, and thus be two requests to somebody.
pub(super) fn check(request: &RequestHeader, raw: &[u8]) -> Result<(), Halt> {
    // HTTP/2 has frames for all of this.
    if request.version != Version::HTTP_2 {
        head::check(raw).map_err(|error| Halt::bad_request(&error.to_string()))?;
        // RFC 9112, section 6.1, lets a server refuse both. Pingora has taken the length away.
        if request.headers.contains_key(header::TRANSFER_ENCODING) && head::has_length(raw) {
            return Err(Halt::bad_request(
                "Content-Length and Transfer-Encoding contradict each other",
            ));
        }
    }
    match framing::check(&request.headers) {
        Ok(()) => {}
        Err(error @ framing::FramingError::Length) => {
            return Err(Halt::bad_request(&error.to_string()));
        }
        Err(error @ framing::FramingError::Coding) => {
            return Err(Halt::request(Reply::error(
                StatusCode::NOT_IMPLEMENTED,
                "bad_request",
                error.to_string(),
            )));
        }
    }
    // RFC 9110, section 10.1.1: HTTP/1.0 knows no expectations.
    if request.version != Version::HTTP_10 && framing::expects_the_unknown(&request.headers) {
        return Err(Halt::request(Reply::error(
            StatusCode::EXPECTATION_FAILED,
            "bad_request",
            "the only expectation that can be met is 100-continue",
        )));
    }
    // RFC 9112, section 3.2: origin-form, or absolute-form of what is served here.
    if head::is_target(request.raw_path()) {
        Ok(())
    } else {
        Err(Halt::bad_request(&path::PathError::NotAbsolute.to_string()))
    }
}

/// The host that is asked for (RFC 9110, section 7.2).
pub fn authority(head: &RequestHeader) -> Result<&str, Halt> {
    if let Some(authority) = head.uri.authority() {
        return Ok(authority.as_str());
    }
    match head.headers.get(header::HOST) {
        Some(value) => match value.to_str() {
            Ok(written) if host::is_authority(written) => Ok(written),
            _ => Err(Halt::bad_request("the Host header is not a host")),
        },
        None if head.version == Version::HTTP_10 => Ok(""),
        // RFC 9112, section 3.2: a server must refuse this.
        None => Err(Halt::bad_request("the request has no Host header")),
    }
}
