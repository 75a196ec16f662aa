//! Names and describes single faults: a fault becomes a code and a text, and the gateway's error codes become the
//! doctor's. It does not know who causes a fault.

use super::code::Code;
use super::fault::{Certificate, Fault, Response};
use super::target::redacted;
use http::header;
use tidegate_http::error_code::ErrorCode;

/// The code for an `error` of the gateway; `None` if the status says more.
pub(crate) fn code_of_error(error: &str) -> Option<Code> {
    Some(match ErrorCode::parse(error)? {
        ErrorCode::NoRoute => Code::NoRoute,
        ErrorCode::NoFile => Code::NotFound,
        ErrorCode::WebSocketOff => Code::WebSocketOff,
        ErrorCode::Draining
        | ErrorCode::Overloaded
        | ErrorCode::Maintenance
        | ErrorCode::ClosedEarly => Code::Unavailable,
        ErrorCode::TooManySessions
        | ErrorCode::TooManyConnections
        | ErrorCode::TooManyRequests
        | ErrorCode::TooManyHandshakes
        | ErrorCode::RateLimited => Code::TooManyRequests,
        ErrorCode::OriginNotAllowed => Code::OriginRefused,
        ErrorCode::MethodNotAllowedByCors | ErrorCode::HeaderNotAllowedByCors => {
            Code::PreflightRefused
        }
        ErrorCode::BadWebSocketHandshake => Code::UpgradeLost,
        ErrorCode::UpstreamUnreachable => Code::UpstreamUnreachable,
        ErrorCode::UpstreamBusy | ErrorCode::UpstreamUnavailable => Code::UpstreamUnresolved,
        ErrorCode::UpstreamTimeout => Code::UpstreamTimeout,
        ErrorCode::UpstreamFailed | ErrorCode::UpstreamTlsFailed => Code::UpstreamFailed,
        ErrorCode::MethodNotAllowed | ErrorCode::UnknownProtocol => Code::MethodNotAllowed,
        ErrorCode::HeadersTooLarge | ErrorCode::UriTooLong | ErrorCode::BodyTooLarge => {
            Code::RequestTooLarge
        }
        ErrorCode::InternalError | ErrorCode::LoopDetected => Code::GatewayError,
        ErrorCode::BadRequest | ErrorCode::ProxyHeaderRequired | ErrorCode::NotCached => {
            Code::BadRequest
        }
        ErrorCode::TlsRequired => Code::TlsBehindPlain,
        ErrorCode::VersionNotSupported => Code::Http2Only,
        ErrorCode::HttpsRequired => Code::Redirected,
        ErrorCode::RequestTimeout | ErrorCode::PreconditionFailed | ErrorCode::NoSuchRange => {
            Code::RequestRefused
        }
        // A page in the place of the upstream's own, with its status; or a status that a filter has chosen.
        ErrorCode::UpstreamError | ErrorCode::FilterFailed => return None,
    })
}

/// Whether the gateway reports a fault of its upstream.
pub(crate) fn concerns_upstream(code: Code) -> bool {
    matches!(
        code,
        Code::UpstreamUnreachable
            | Code::UpstreamUnresolved
            | Code::UpstreamTimeout
            | Code::UpstreamCertificate
            | Code::UpstreamFailed
    )
}

/// The code for a fault of the upstream behind a gateway.
pub(crate) fn upstream_code_of(fault: &Fault) -> Code {
    match fault {
        Fault::Refused | Fault::Unreachable(_) => Code::UpstreamUnreachable,
        Fault::NameUnknown(_) => Code::UpstreamUnresolved,
        Fault::ConnectTimeout | Fault::NoAnswer => Code::UpstreamTimeout,
        Fault::Certificate(..) => Code::UpstreamCertificate,
        other => code_of(other),
    }
}

/// The code of a fault.
pub(crate) fn code_of(fault: &Fault) -> Code {
    match fault {
        Fault::NameUnknown(_) => Code::NameUnknown,
        Fault::Refused => Code::NothingListens,
        Fault::Unreachable(_) => Code::Unreachable,
        Fault::ConnectTimeout => Code::ConnectTimeout,
        Fault::PlainBehindTls => Code::PlainBehindTls,
        Fault::TlsBehindPlain => Code::TlsBehindPlain,
        Fault::Certificate(Certificate::Expired, _) => Code::CertificateExpired,
        Fault::Certificate(Certificate::NotYetValid, _) => Code::CertificateNotYetValid,
        Fault::Certificate(Certificate::OtherName, _) => Code::CertificateOtherName,
        Fault::Certificate(Certificate::UnknownIssuer, _) => Code::CertificateUnknownIssuer,
        Fault::Certificate(Certificate::Bad, _) => Code::CertificateBad,
        Fault::Tls(_) => Code::TlsFailed,
        Fault::Http2Only => Code::Http2Only,
        Fault::NotHttp(_) => Code::NotHttp,
        Fault::ClosedBeforeAnswer => Code::ClosedBeforeAnswer,
        Fault::NoAnswer => Code::NoAnswer,
        Fault::HeadTooLarge => Code::HeadTooLarge,
        Fault::UnexpectedResponse(response) => response_code(response),
        Fault::WrongAccept(_) => Code::WrongAcceptKey,
        Fault::BadSwitch(_) => Code::BadSwitch,
        Fault::Subprotocol(_) => Code::SubprotocolMismatch,
        Fault::Extension(_) => Code::UnaskedExtension,
        Fault::ClosedAtOnce => Code::ClosedAtOnce,
        Fault::ClosedBy(..) => Code::ClosedByService,
        Fault::BadFrames(_) => Code::BadFrames,
        Fault::NoPong => Code::NoPong,
        Fault::NoBody => Code::BodyWithheld,
        Fault::IdleCut(..) => Code::IdleCut,
        Fault::IdleDead => Code::IdleDead,
    }
}

/// The code for the gateway's error, or else for the status.
fn response_code(response: &Response) -> Code {
    let own = response.gateway.as_ref().and_then(|(error, _)| code_of_error(error));
    own.unwrap_or(match response.head.status {
        101 => Code::BadSwitch,
        100..300 => Code::NotAWebSocket,
        300..400 => Code::Redirected,
        400 => Code::BadRequest,
        401 => Code::Unauthorized,
        403 => Code::Forbidden,
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        413 | 414 | 431 => Code::RequestTooLarge,
        426 => Code::UpgradeRequired,
        429 => Code::TooManyRequests,
        502 => Code::BadGateway,
        503 => Code::Unavailable,
        504 => Code::GatewayTimeout,
        // The gateway answers 505 if a listener's `protocols` exclude HTTP/1.
        505 => Code::Http2Only,
        0..500 => Code::RequestRefused,
        _ => Code::ServiceError,
    })
}

/// The fault in words.
pub(crate) fn describe(fault: &Fault) -> String {
    let code = |code: &Option<u16>| match code {
        Some(code) => format!("close code {code}"),
        None => "no close code".to_owned(),
    };
    match fault {
        Fault::NameUnknown(said) | Fault::Unreachable(said) | Fault::Tls(said) => said.clone(),
        Fault::Certificate(_, said) => said.clone(),
        Fault::Refused => "connection refused".to_owned(),
        Fault::ConnectTimeout => "no reply to the TCP connection attempt".to_owned(),
        Fault::PlainBehindTls => "the port answers plain HTTP, but not TLS".to_owned(),
        Fault::TlsBehindPlain => "the port expects TLS".to_owned(),
        Fault::Http2Only => "the port answers only HTTP/2".to_owned(),
        Fault::NotHttp(begin) => format!("the response begins with {begin:?}"),
        Fault::ClosedBeforeAnswer => "the connection was closed without a response".to_owned(),
        Fault::NoAnswer => "no response in time".to_owned(),
        Fault::HeadTooLarge => "the response headers do not end".to_owned(),
        Fault::UnexpectedResponse(response) => describe_response(response),
        Fault::WrongAccept(Some(accept)) => format!("Sec-WebSocket-Accept: {accept}"),
        Fault::WrongAccept(None) => "the response has no Sec-WebSocket-Accept header".to_owned(),
        Fault::BadSwitch(field) => format!("the header {field} is missing"),
        Fault::Subprotocol(Some(chosen)) => format!("the server chose the subprotocol {chosen:?}"),
        Fault::Subprotocol(None) => "the server chose no subprotocol".to_owned(),
        Fault::Extension(names) => format!("Sec-WebSocket-Extensions: {names}"),
        Fault::ClosedAtOnce => {
            "status 101, then the connection ended without a close frame".to_owned()
        }
        Fault::ClosedBy(number, reason) if reason.is_empty() => code(number),
        Fault::ClosedBy(number, reason) => format!("{}: {reason:?}", code(number)),
        Fault::BadFrames(what) => (*what).to_owned(),
        Fault::NoPong => "no pong in response to a ping".to_owned(),
        Fault::NoBody => "response headers, but no body".to_owned(),
        Fault::IdleCut(after, number) => {
            format!("the connection ended after {:.1} s, {}", after.as_secs_f64(), code(number))
        }
        Fault::IdleDead => "no pong in response to a ping after the idle time".to_owned(),
    }
}

fn describe_response(response: &Response) -> String {
    let status = response.head.status;
    if let Some((error, message)) = &response.gateway {
        return format!("{status} {error}: {message}");
    }
    match (response.head.get(header::LOCATION), response.excerpt.as_str()) {
        (Some(location), _) => format!("{status} to {}", redacted(location)),
        (None, "") => format!("{status}"),
        (None, excerpt) => format!("{status}: {excerpt:?}"),
    }
}
