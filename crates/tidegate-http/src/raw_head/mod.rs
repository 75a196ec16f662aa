//! Checks the raw head of a request before Pingora parses it: where it ends, and what is wrong with it. Knows nothing
//! of routes.

mod fault;
mod scan;
mod target;

pub use fault::fault;
pub use scan::{AnnouncedBody, HeadScan, may_end, scan_head};

use crate::error_code::ErrorCode;
use crate::head::MAX_HEADER_COUNT;
use bytes::{Buf, BytesMut};
use http::StatusCode;
use memchr::memrchr;
use std::mem::MaybeUninit;
use target::TargetCharacters;

/// Maximum size of a target, in bytes. Pingora's type for it has room for no more.
const MAX_TARGET_BYTES: usize = 65_534;

/// A fault is looked for in an incomplete head up to this many bytes.
const MAX_EARLY_CHECK_BYTES: usize = 16 * 1024;

/// The preface of an HTTP/2 connection (RFC 9113, section 3.4).
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a head is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadError {
    /// The status of the response.
    pub status: StatusCode,
    /// The reason, for the client's developer.
    pub reason: &'static str,
}

impl HeadError {
    /// A 400 for this reason.
    pub const fn bad_request(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason }
    }

    const fn too_large(reason: &'static str) -> Self {
        Self { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason }
    }

    /// The error code in the body of the response.
    pub fn code(self) -> ErrorCode {
        match self.status {
            StatusCode::URI_TOO_LONG => ErrorCode::UriTooLong,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ErrorCode::HeadersTooLarge,
            _ => ErrorCode::BadRequest,
        }
    }
}

/// What is said of a request for several hosts.
pub const MANY_HOSTS: &str = "the request has more than one Host header";

/// What is said of a request whose head or body takes too long.
pub const TOO_SLOW: &str = "the request did not arrive in time";

/// The fault if no more precise one is found.
pub const HEAD_MALFORMED: HeadError = HeadError::bad_request("the request is malformed");

/// The fault of a head that is larger than [`MAX_HEAD_BYTES`](crate::head::MAX_HEAD_BYTES).
const HEAD_TOO_LARGE: HeadError = HeadError::too_large("the headers of the request are too large");

/// The fault of a target that is larger than [`MAX_TARGET_BYTES`].
const TARGET_TOO_LONG: HeadError =
    HeadError { status: StatusCode::URI_TOO_LONG, reason: "the request target is too long" };

/// The fault of a client that closes its sending side within a head.
pub const HEAD_CUT_OFF: HeadError =
    HeadError::bad_request("the connection ended before the end of the request headers");

/// Removes the empty lines that may stand before a head (RFC 9112, section 2.2).
pub fn skip_empty_lines(bytes: &mut BytesMut) {
    while bytes.starts_with(b"\r\n") {
        bytes.advance(2);
    }
}

/// Prepares a complete head for Pingora's parser, or rejects it. Ambiguous characters of the target are percent-encoded.
///
/// # Errors
/// Heads that Pingora's parser would repair, or accept although another server may read them differently.
pub fn validate(head: &mut BytesMut) -> Result<(), HeadError> {
    target::prepare(head)?;
    fault::ambiguity(head).map_or(Ok(()), Err)
}

/// The fault that the beginning of a head has already, whatever its rest is. So many of its bytes are new.
pub fn early_error(beginning: &[u8], new: usize) -> Option<HeadError> {
    if beginning.len() > MAX_EARLY_CHECK_BYTES {
        return None;
    }
    let (_, line) = request_line(beginning)?;
    // By whole lines, so that it doesn't matter in which pieces they come.
    let Some(last) = memrchr(b'\n', beginning) else {
        // Its last byte may be the first of the line's end.
        return target::check_characters(line).err();
    };
    if last + new < beginning.len() {
        return None;
    }
    let beginning = beginning.get(..=last)?;
    match target::check_line(line) {
        Err(fault) => Some(fault),
        Ok(TargetCharacters::Plain) => fault::syntax_error(beginning),
        // The parser takes it once it is encoded.
        Ok(TargetCharacters::ToBeEncoded) => None,
    }
}

/// The fault of a head that is larger than [`MAX_HEAD_BYTES`](crate::head::MAX_HEAD_BYTES): it begins with these bytes, which are no fewer.
pub fn oversize_error(beginning: &[u8]) -> HeadError {
    let line = request_line(beginning).map(|(_, line)| line).unwrap_or_default();
    match target::check_line(line) {
        _ if line.len() > MAX_TARGET_BYTES + 64 => TARGET_TOO_LONG,
        Err(fault) => fault,
        Ok(TargetCharacters::Plain) => fault::syntax_error(beginning).unwrap_or(HEAD_TOO_LARGE),
        Ok(TargetCharacters::ToBeEncoded) => HEAD_TOO_LARGE,
    }
}

fn parse<T>(
    head: &[u8],
    judge: impl FnOnce(httparse::Result<usize>, &httparse::Request<'_, '_>) -> T,
) -> T {
    let mut space = [const { MaybeUninit::uninit() }; MAX_HEADER_COUNT];
    let mut request = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut request,
        head,
        &mut space,
    );
    judge(parsed, &request)
}

/// The request line (RFC 9112, section 3) without its end, and where it begins.
fn request_line(head: &[u8]) -> Option<(usize, &[u8])> {
    // Section 2.2 lets empty lines stand before it.
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let rest = head.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let line = rest.get(..end)?;
    Some((start, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// The method and the target of a head, as far as they can be read.
pub fn method_and_target(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, line) = request_line(head)?;
    let mut parts = line.split(|byte| *byte == b' ');
    Some((parts.next()?, parts.next()?))
}
