//! gRPC calls over HTTP/2: media type, status and message. Knows nothing of services and methods.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::fmt::Write;

/// The media type of a call without its subtype.
pub const GRPC_MEDIA_TYPE: &str = "application/grpc";

/// Whether the headers are those of a call: `application/grpc`, with or without a subtype.
/// `application/grpc-web` is another protocol.
pub fn is_call(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).is_some_and(|value| {
        let (name, rest) = value.split_at(value.len().min(GRPC_MEDIA_TYPE.len()));
        name.eq_ignore_ascii_case(GRPC_MEDIA_TYPE.as_bytes())
            && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
    })
}

/// The status of a call that a proxy answers with this status of HTTP, as Envoy has it.
/// The specification (doc/http-grpc-status-mapping.md) leaves other statuses to UNKNOWN.
pub fn status_of_http(status: StatusCode) -> &'static str {
    match status.as_u16() {
        // INTERNAL
        400 => "13",
        // UNAUTHENTICATED
        401 => "16",
        // PERMISSION_DENIED
        403 => "7",
        // UNIMPLEMENTED
        404 => "12",
        // UNAVAILABLE
        429 | 502..=504 => "14",
        // UNKNOWN
        _ => "2",
    }
}

/// The message as its header carries it: percent-encoded.
pub fn message(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                let _ = write!(encoded, "%{byte:02X}");
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_call_is_recognised_by_its_media_type() {
        let is = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            is_call(&headers)
        };
        for yes in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC;x=y",
            "application/grpc\t;x=y",
        ] {
            assert!(is(yes), "{yes}");
        }
        for no in ["application/grpc-web+proto", "application/grpcx", "application/gr", ""] {
            assert!(!is(no), "{no}");
        }
        assert!(!is_call(&HeaderMap::new()));
    }

    #[test]
    fn http_status_maps_to_the_grpc_status_of_the_specification() {
        for (http, grpc) in [
            (400, "13"),
            (401, "16"),
            (403, "7"),
            (404, "12"),
            (429, "14"),
            (502, "14"),
            (503, "14"),
            (504, "14"),
            (405, "2"),
            (413, "2"),
            (500, "2"),
        ] {
            let status = StatusCode::from_u16(http).expect("a status");
            assert_eq!(status_of_http(status), grpc, "{http}");
        }
    }

    #[test]
    fn grpc_message_is_percent_encoded() {
        assert_eq!(message("it's 5 % off\n\u{e9}"), "it's 5 %25 off%0A%C3%A9");
    }
}
