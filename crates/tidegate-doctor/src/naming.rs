//! Names and describes single faults: a fault becomes a code and a text, and the gateway's error codes become the
//! doctor's. It does not know who causes a fault.

use super::code::DiagnosisCode;
use super::fault::{Certificate, Fault, Response};
use super::target::redacted;
use http::header;
use tidegate_http::error_code::ErrorCode;

/// The code for an `error` of the gateway; `None` if the status says more.
pub(crate) fn code_of_error(error: &str) -> Option<DiagnosisCode> {
    Some(match ErrorCode::parse(error)? {
        ErrorCode::NoRoute => DiagnosisCode::NoRoute,
        ErrorCode::NoSuchSession | ErrorCode::NoFile => DiagnosisCode::NotFound,
        ErrorCode::WebSocketOff => DiagnosisCode::WebSocketOff,
        ErrorCode::Draining
        | ErrorCode::Overloaded
        | ErrorCode::Maintenance
        | ErrorCode::ClosedEarly => DiagnosisCode::Unavailable,
        ErrorCode::TooManySessions
        | ErrorCode::TooManyConnections
        | ErrorCode::TooManyRequests
        | ErrorCode::TooManyHandshakes
        | ErrorCode::RateLimited => DiagnosisCode::TooManyRequests,
        ErrorCode::AuthenticationRequired | ErrorCode::AuthenticationFailed => {
            DiagnosisCode::Unauthorized
        }
        ErrorCode::AddressNotAllowed | ErrorCode::NotPermitted => DiagnosisCode::Forbidden,
        ErrorCode::AuthenticationUnavailable => DiagnosisCode::Unavailable,
        ErrorCode::OriginNotAllowed => DiagnosisCode::OriginRefused,
        ErrorCode::MethodNotAllowedByCors | ErrorCode::HeaderNotAllowedByCors => {
            DiagnosisCode::PreflightRefused
        }
        ErrorCode::BadWebSocketHandshake => DiagnosisCode::UpgradeLost,
        ErrorCode::UpstreamUnreachable => DiagnosisCode::UpstreamUnreachable,
        ErrorCode::UpstreamUnavailable => DiagnosisCode::UpstreamUnresolved,
        ErrorCode::UpstreamBusy => DiagnosisCode::UpstreamBusy,
        ErrorCode::UpstreamTimeout => DiagnosisCode::UpstreamTimeout,
        ErrorCode::UpstreamFailed => DiagnosisCode::UpstreamFailed,
        ErrorCode::UpstreamTlsFailed => DiagnosisCode::UpstreamTlsFailed,
        ErrorCode::MethodNotAllowed => DiagnosisCode::MethodNotAllowed,
        ErrorCode::HeadersTooLarge | ErrorCode::UriTooLong | ErrorCode::BodyTooLarge => {
            DiagnosisCode::RequestTooLarge
        }
        ErrorCode::InternalError => DiagnosisCode::GatewayError,
        ErrorCode::LoopDetected => DiagnosisCode::LoopDetected,
        ErrorCode::BadRequest | ErrorCode::ProxyHeaderRequired => DiagnosisCode::BadRequest,
        ErrorCode::TlsRequired => DiagnosisCode::TlsBehindPlain,
        ErrorCode::VersionNotSupported => DiagnosisCode::Http1Disabled,
        ErrorCode::HttpsRequired => DiagnosisCode::Redirected,
        ErrorCode::RequestTimeout
        | ErrorCode::PreconditionFailed
        | ErrorCode::NoSuchRange
        | ErrorCode::NotCached
        | ErrorCode::UnknownProtocol => DiagnosisCode::RequestRefused,
        // A page in the place of the upstream's own, with its status; or a status that a filter has chosen.
        ErrorCode::UpstreamError | ErrorCode::FilterFailed => return None,
    })
}

/// Whether the gateway reports a fault of its upstream.
pub(crate) fn is_about_upstream(code: DiagnosisCode) -> bool {
    matches!(
        code,
        DiagnosisCode::UpstreamUnreachable
            | DiagnosisCode::UpstreamUnresolved
            | DiagnosisCode::UpstreamBusy
            | DiagnosisCode::UpstreamTimeout
            | DiagnosisCode::UpstreamCertificate
            | DiagnosisCode::UpstreamFailed
            | DiagnosisCode::UpstreamTlsFailed
    )
}

/// The code for a fault of the upstream behind a gateway.
pub(crate) fn upstream_code_of(fault: &Fault) -> DiagnosisCode {
    match fault {
        Fault::Refused | Fault::Unreachable(_) => DiagnosisCode::UpstreamUnreachable,
        Fault::NameUnknown(_) => DiagnosisCode::UpstreamUnresolved,
        Fault::ConnectTimeout | Fault::NoAnswer => DiagnosisCode::UpstreamTimeout,
        Fault::Certificate(..) => DiagnosisCode::UpstreamCertificate,
        other => code_of(other),
    }
}

/// The code of a fault.
pub(crate) fn code_of(fault: &Fault) -> DiagnosisCode {
    match fault {
        Fault::NameUnknown(_) => DiagnosisCode::NameUnknown,
        Fault::Refused => DiagnosisCode::NothingListens,
        Fault::Unreachable(_) => DiagnosisCode::Unreachable,
        Fault::ConnectTimeout => DiagnosisCode::ConnectTimeout,
        Fault::PlainBehindTls => DiagnosisCode::PlainBehindTls,
        Fault::TlsBehindPlain => DiagnosisCode::TlsBehindPlain,
        Fault::Certificate(Certificate::Expired, _) => DiagnosisCode::CertificateExpired,
        Fault::Certificate(Certificate::NotYetValid, _) => DiagnosisCode::CertificateNotYetValid,
        Fault::Certificate(Certificate::OtherName, _) => DiagnosisCode::CertificateOtherName,
        Fault::Certificate(Certificate::UnknownIssuer, _) => {
            DiagnosisCode::CertificateUnknownIssuer
        }
        Fault::Certificate(Certificate::Bad, _) => DiagnosisCode::CertificateBad,
        Fault::Tls(_) => DiagnosisCode::TlsFailed,
        Fault::Http2Only => DiagnosisCode::Http2Only,
        Fault::NotHttp(_) => DiagnosisCode::NotHttp,
        Fault::ClosedBeforeAnswer => DiagnosisCode::ClosedBeforeAnswer,
        Fault::NoAnswer => DiagnosisCode::NoAnswer,
        Fault::HeadTooLarge => DiagnosisCode::HeadTooLarge,
        Fault::UnexpectedResponse(response) => response_code(response),
        Fault::WrongAccept(_) => DiagnosisCode::WrongAcceptKey,
        Fault::BadSwitch(_) => DiagnosisCode::BadSwitch,
        Fault::Subprotocol(_) => DiagnosisCode::SubprotocolMismatch,
        Fault::Extension(_) => DiagnosisCode::UnaskedExtension,
        Fault::ClosedAtOnce => DiagnosisCode::ClosedAtOnce,
        Fault::ClosedBy(..) => DiagnosisCode::ClosedByService,
        Fault::BadFrames(_) => DiagnosisCode::BadFrames,
        Fault::NoPong => DiagnosisCode::NoPong,
        Fault::NoBody => DiagnosisCode::BodyWithheld,
        Fault::IdleCut(..) => DiagnosisCode::IdleCut,
        Fault::IdleDead => DiagnosisCode::IdleDead,
    }
}

/// The code for the gateway's error, or else for the status.
fn response_code(response: &Response) -> DiagnosisCode {
    let own = response.gateway.as_ref().and_then(|(error, _)| code_of_error(error));
    own.unwrap_or(match response.head.status {
        101 => DiagnosisCode::BadSwitch,
        100..300 => DiagnosisCode::NotAWebSocket,
        300..400 => DiagnosisCode::Redirected,
        400 => DiagnosisCode::BadRequest,
        401 => DiagnosisCode::Unauthorized,
        403 => DiagnosisCode::Forbidden,
        404 => DiagnosisCode::NotFound,
        405 => DiagnosisCode::MethodNotAllowed,
        413 | 414 | 431 => DiagnosisCode::RequestTooLarge,
        426 => DiagnosisCode::UpgradeRequired,
        429 => DiagnosisCode::TooManyRequests,
        502 => DiagnosisCode::BadGateway,
        503 => DiagnosisCode::Unavailable,
        504 => DiagnosisCode::GatewayTimeout,
        // Of another server; the gateway's own 505 has an error code.
        505 => DiagnosisCode::Http2Only,
        0..500 => DiagnosisCode::RequestRefused,
        _ => DiagnosisCode::ServiceError,
    })
}

/// The fault in words.
pub(crate) fn describe(fault: &Fault) -> String {
    let code = |code: &Option<u16>| match code {
        Some(code) => format!("close code {code}"),
        None => "no close code".to_owned(),
    };
    match fault {
        Fault::NameUnknown(message) | Fault::Unreachable(message) | Fault::Tls(message) => {
            message.clone()
        }
        Fault::Certificate(_, message) => message.clone(),
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
            format!(
                "the connection ended after {:.1} s of idling, {}",
                after.as_secs_f64(),
                code(number)
            )
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A phrase that a finding must contain to fit this error, in its headline, cause or advice.
    fn subject(error: ErrorCode) -> Option<&'static str> {
        Some(match error {
            ErrorCode::NoRoute => "No route",
            ErrorCode::NoSuchSession | ErrorCode::NoFile => "does not exist",
            ErrorCode::WebSocketOff => "switched off",
            ErrorCode::Draining => "draining",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::Maintenance => "maintenance",
            ErrorCode::ClosedEarly => "unavailable",
            ErrorCode::TooManySessions | ErrorCode::TooManyConnections => "connections",
            ErrorCode::TooManyRequests | ErrorCode::TooManyHandshakes | ErrorCode::RateLimited => {
                "Too many requests"
            }
            ErrorCode::AuthenticationRequired | ErrorCode::AuthenticationFailed => "credentials",
            ErrorCode::AddressNotAllowed | ErrorCode::NotPermitted => "rule of the server",
            ErrorCode::AuthenticationUnavailable => "unavailable",
            ErrorCode::OriginNotAllowed => "origin",
            ErrorCode::MethodNotAllowedByCors | ErrorCode::HeaderNotAllowedByCors => "preflight",
            ErrorCode::BadWebSocketHandshake => "headers that request a WebSocket",
            ErrorCode::UpstreamUnreachable => "cannot connect",
            ErrorCode::UpstreamUnavailable => "discovery",
            ErrorCode::UpstreamBusy => "Raise `limits` of the upstream",
            ErrorCode::UpstreamTimeout => "in time",
            ErrorCode::UpstreamFailed => "closed the connection early",
            ErrorCode::UpstreamTlsFailed => "TLS handshake",
            ErrorCode::MethodNotAllowed => "methods",
            ErrorCode::HeadersTooLarge | ErrorCode::UriTooLong | ErrorCode::BodyTooLarge => {
                "larger than a limit"
            }
            ErrorCode::InternalError => "gateway failed",
            ErrorCode::LoopDetected => "Correct the endpoints of the upstream",
            ErrorCode::BadRequest => "malformed",
            ErrorCode::ProxyHeaderRequired => "PROXY protocol header",
            ErrorCode::TlsRequired => "expects TLS",
            ErrorCode::VersionNotSupported => "Add `h1` to the listener's `protocols`",
            ErrorCode::HttpsRequired => "redirect",
            ErrorCode::RequestTimeout
            | ErrorCode::PreconditionFailed
            | ErrorCode::NoSuchRange
            | ErrorCode::NotCached
            | ErrorCode::UnknownProtocol => "rejected the request",
            ErrorCode::UpstreamError | ErrorCode::FilterFailed => return None,
        })
    }

    #[test]
    fn finding_for_each_gateway_error_fits_the_error() {
        for error in ErrorCode::ALL {
            let code = code_of_error(error.as_str());
            assert_eq!(code.is_some(), subject(*error).is_some(), "{error}");
            let (Some(code), Some(subject)) = (code, subject(*error)) else { continue };
            let finding = format!("{} {} {}", code.what(), code.cause(), code.advice());
            assert!(finding.contains(subject), "{error}: {finding}");
            // A status in the headline is one that the error comes with.
            let numbers = code.what().split(|letter: char| !letter.is_ascii_digit());
            for status in numbers.filter(|number| number.len() == 3) {
                let has_status = error.statuses().iter().any(|one| one.as_str() == status);
                assert!(has_status, "{error}: {}", code.what());
            }
        }
    }
}
