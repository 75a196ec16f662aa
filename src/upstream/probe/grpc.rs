//! The standard health check of gRPC, `grpc.health.v1.Health/Check`. Knows nothing of endpoints.

use super::connect::send_head;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use tidegate_http::header_name::GRPC_STATUS;

/// The path of the gRPC health checking protocol's method.
pub(super) const HEALTH_CHECK_PATH: &str = "/grpc.health.v1.Health/Check";

/// Maximum size of the response, in bytes; a status takes two.
const MAX_RESPONSE_BYTES: usize = 4096;

/// Asks for the health of a service; an empty name is that of the whole server.
pub(super) async fn check_service(
    session: &mut HttpSession,
    peer: &HttpPeer,
    request: RequestHeader,
    service: &str,
) -> Result<()> {
    if !matches!(session, HttpSession::H2(_)) {
        return Error::e_explain(ErrorType::H2Error, "the endpoint does not speak HTTP/2");
    }
    send_head(session, peer, request).await?;
    if let Err(error) = session.write_request_body(encode_request(service), true).await {
        // Why the stream has ended is known where its answer is awaited.
        session.read_response_header().await?;
        return Err(error);
    }
    session.read_response_header().await?;
    let Some(head) = session.response_header() else {
        return Error::e_explain(ErrorType::ReadError, "no response");
    };
    let status = head.status.as_u16();
    if status != 200 {
        return Error::e_explain(ErrorType::HTTPStatus(status), "the status of the response");
    }
    // An answer without a message has its status in the head.
    if let Some(refusal) = status_error(&head.headers) {
        return refusal;
    }
    let mut answer = Vec::new();
    while let Some(piece) = session.read_response_body().await? {
        if answer.len() + piece.len() > MAX_RESPONSE_BYTES {
            return health_error("the response is too long");
        }
        answer.extend_from_slice(&piece);
    }
    let trailers = match session {
        HttpSession::H2(session) => session.read_trailers().await?,
        _ => None,
    };
    if let Some(refusal) = trailers.as_ref().and_then(status_error) {
        return refusal;
    }
    if !trailers.is_some_and(|it| it.contains_key(GRPC_STATUS)) {
        return health_error("the response has no grpc-status");
    }
    match serving_status(&answer) {
        Some(1) => Ok(()),
        Some(0) => health_error("the service is UNKNOWN"),
        Some(2) => health_error("the service is NOT_SERVING"),
        Some(3) => health_error("the endpoint does not know the service (SERVICE_UNKNOWN)"),
        Some(_) => health_error("the serving status in the response is invalid"),
        None => health_error("the response is not a HealthCheckResponse"),
    }
}

fn health_error(reason: &'static str) -> Result<()> {
    Error::e_explain(ErrorType::Custom("GrpcHealth"), reason)
}

/// The error that a `grpc-status` other than 0 is.
fn status_error(headers: &HeaderMap) -> Option<Result<()>> {
    let status = headers.get(GRPC_STATUS)?.to_str().unwrap_or("");
    let reason = match status {
        "0" => return None,
        "5" => "the endpoint does not know the service (grpc-status 5)".to_owned(),
        "12" => "the endpoint does not implement grpc.health.v1 (grpc-status 12)".to_owned(),
        status => format!("grpc-status {}", status.escape_debug()),
    };
    Some(Error::e_explain(ErrorType::Custom("GrpcHealth"), reason))
}

/// `HealthCheckRequest {service}` as a message of gRPC: uncompressed, with its length.
fn encode_request(service: &str) -> Bytes {
    let mut message = Vec::with_capacity(service.len() + 3);
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

/// The `status` of a `HealthCheckResponse`, 0 where it has none (a default is not sent).
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (&[is_compressed, a, b, c, d], mut message) = framed.split_first_chunk::<5>()?;
    if is_compressed != 0 || message.len() != u32::from_be_bytes([a, b, c, d]) as usize {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_check_request_is_a_framed_message() {
        assert_eq!(&encode_request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode_request("a.B")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = encode_request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn serving_status_is_read_among_unknown_fields() {
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(&[0, 0, 0, 0, 7, 0x12, 3, 1, 2, 3, 8, 2]), Some(2));
        for broken in [
            &[][..],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 3, 8, 1],
            &[0, 0, 0, 0, 1, 8],
            &[0, 0, 0, 0, 3, 0x12, 9, 1],
            &[0, 0, 0, 0, 2, 0x0b, 1],
        ] {
            assert_eq!(serving_status(broken), None, "{broken:?}");
        }
        let mut endless = vec![0, 0, 0, 0, 12, 8];
        endless.extend([0xff; 11]);
        assert_eq!(serving_status(&endless), None);
    }
}
