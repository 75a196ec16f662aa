//! From what was seen to a name and words for it.

use super::code::Code;
use super::fault::{Answer, Certificate, Fault};
use super::target::shown;
use tidegate_http::error_code::ErrorCode;

/// What the gateway's own `error` stands for; `None` where the status tells more.
pub(crate) fn gateways_own(error: &str) -> Option<Code> {
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
        // A page in the place of the upstream's own, with its status.
        ErrorCode::UpstreamError => return None,
    })
}

/// Whether the gateway speaks of what is behind it.
pub(crate) fn is_of_upstream(code: Code) -> bool {
    matches!(
        code,
        Code::UpstreamUnreachable
            | Code::UpstreamUnresolved
            | Code::UpstreamTimeout
            | Code::UpstreamCertificate
            | Code::UpstreamFailed
    )
}

/// A fault of an upstream, as seen from a gateway in front of it.
pub(crate) fn upstreams(fault: &Fault) -> Code {
    match fault {
        Fault::Refused | Fault::Unreachable(_) => Code::UpstreamUnreachable,
        Fault::NameUnknown(_) => Code::UpstreamUnresolved,
        Fault::ConnectTimeout | Fault::NoAnswer => Code::UpstreamTimeout,
        Fault::Certificate(..) => Code::UpstreamCertificate,
        other => code_of(other),
    }
}

/// The name of a fault.
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
        Fault::Answered(answer) => answered_code(answer),
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

/// The gateway's own word for it, or what the status stands for.
fn answered_code(answer: &Answer) -> Code {
    let own = answer.gateway.as_ref().and_then(|(error, _)| gateways_own(error));
    own.unwrap_or(match answer.head.status {
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
        // The gateway says it where a listener's `protocols` leave out HTTP/1.
        505 => Code::Http2Only,
        0..500 => Code::RequestRefused,
        _ => Code::ServiceError,
    })
}

/// What was seen, in words.
pub(crate) fn seen(fault: &Fault) -> String {
    let code = |code: &Option<u16>| match code {
        Some(code) => format!("close code {code}"),
        None => "no close code".to_owned(),
    };
    match fault {
        Fault::NameUnknown(said) | Fault::Unreachable(said) | Fault::Tls(said) => said.clone(),
        Fault::Certificate(_, said) => said.clone(),
        Fault::Refused => "connection refused".to_owned(),
        Fault::ConnectTimeout => "no reply to the attempt to connect".to_owned(),
        Fault::PlainBehindTls => "plain HTTP is answered there, TLS is not".to_owned(),
        Fault::TlsBehindPlain => "TLS is answered there".to_owned(),
        Fault::Http2Only => "HTTP/2 is answered there".to_owned(),
        Fault::NotHttp(begin) => format!("it says {begin:?}"),
        Fault::ClosedBeforeAnswer => "the connection was closed instead of an answer".to_owned(),
        Fault::NoAnswer => "no answer".to_owned(),
        Fault::HeadTooLarge => "the head does not end".to_owned(),
        Fault::Answered(answer) => answered(answer),
        Fault::WrongAccept(Some(accept)) => format!("Sec-WebSocket-Accept: {accept}"),
        Fault::WrongAccept(None) => "no Sec-WebSocket-Accept".to_owned(),
        Fault::BadSwitch(field) => format!("{field} is missing"),
        Fault::Subprotocol(Some(chosen)) => format!("it chose {chosen:?}"),
        Fault::Subprotocol(None) => "it chose none".to_owned(),
        Fault::Extension(names) => format!("Sec-WebSocket-Extensions: {names}"),
        Fault::ClosedAtOnce => "101, then the end without a close frame".to_owned(),
        Fault::ClosedBy(number, reason) if reason.is_empty() => code(number),
        Fault::ClosedBy(number, reason) => format!("{}: {reason:?}", code(number)),
        Fault::BadFrames(what) => (*what).to_owned(),
        Fault::NoPong => "no pong".to_owned(),
        Fault::NoBody => "a head and no body".to_owned(),
        Fault::IdleCut(after, number) => {
            format!("ended after {:.1} s, {}", after.as_secs_f64(), code(number))
        }
        Fault::IdleDead => "no pong after the idle while".to_owned(),
    }
}

fn answered(answer: &Answer) -> String {
    let status = answer.head.status;
    if let Some((error, message)) = &answer.gateway {
        return format!("{status} {error}: {message}");
    }
    match (answer.head.get("location"), answer.excerpt.as_str()) {
        (Some(location), _) => format!("{status} to {}", shown(location)),
        (None, "") => format!("{status}"),
        (None, excerpt) => format!("{status}: {excerpt:?}"),
    }
}
