//! From what was seen to a name and words for it.

use super::code::Code;
use super::fault::{Answer, Certificate, Fault};
use super::target::shown;

/// What the gateway's own `error` stands for.
pub(crate) fn gateways_own(error: &str) -> Option<Code> {
    Some(match error {
        "no_route" => Code::NoRoute,
        "websocket_off" => Code::WebSocketOff,
        "draining" | "overloaded" | "maintenance" => Code::Unavailable,
        "too_many_sessions" | "too_many_connections" | "too_many_requests" | "rate_limited" => {
            Code::TooManyRequests
        }
        "origin_not_allowed" => Code::OriginRefused,
        "method_not_allowed_by_cors" | "header_not_allowed_by_cors" => Code::PreflightRefused,
        "bad_websocket_handshake" => Code::UpgradeLost,
        "upstream_unreachable" => Code::UpstreamUnreachable,
        "upstream_busy" | "upstream_unavailable" => Code::UpstreamUnresolved,
        "upstream_timeout" => Code::UpstreamTimeout,
        "not_cached" => Code::BadRequest,
        "upstream_failed" | "upstream_tls_failed" => Code::UpstreamFailed,
        "method_not_allowed" => Code::MethodNotAllowed,
        "headers_too_large" | "uri_too_long" | "body_too_large" => Code::RequestTooLarge,
        "internal_error" | "loop_detected" => Code::GatewayError,
        "bad_request" | "proxy_header_required" => Code::BadRequest,
        "tls_required" => Code::TlsBehindPlain,
        "version_not_supported" => Code::Http2Only,
        "unknown_protocol" => Code::MethodNotAllowed,
        "https_required" => Code::Redirected,
        _ => return None,
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

#[cfg(test)]
mod tests {
    use super::gateways_own;

    /// Where the gateway answers by itself.
    const SOURCES: [&str; 8] = [
        include_str!("../../../src/admission/rejection.rs"),
        include_str!("../../../src/admission/message.rs"),
        include_str!("../../../src/admission/mod.rs"),
        include_str!("../../../src/filter/maintenance.rs"),
        include_str!("../../../src/filter/rate_limit.rs"),
        include_str!("../../../src/proxy/session_quota.rs"),
        include_str!("../../../src/proxy/failure.rs"),
        include_str!("../../../src/filter/cors.rs"),
    ];

    /// The string right behind each of these marks.
    fn literals<'s>(source: &'s str, mark: &str) -> impl Iterator<Item = &'s str> {
        source.split(mark).skip(1).filter_map(|rest| {
            // A status may stand between.
            let rest = rest.trim_start();
            let rest = match rest.strip_prefix("StatusCode::") {
                Some(rest) => rest.split_once(',')?.1.trim_start(),
                None => rest.strip_prefix("status,").unwrap_or(rest).trim_start(),
            };
            rest.strip_prefix('"')?.split('"').next()
        })
    }

    #[test]
    fn every_error_code_of_the_gateway_has_a_doctor_code() {
        let marks = ["Reply::error(", "upstream(", "refuse("];
        let errors: Vec<&str> = SOURCES
            .iter()
            .flat_map(|source| marks.iter().flat_map(|mark| literals(source, mark)))
            .collect();
        assert!(errors.len() > 15, "{errors:?}");
        // Answers before HTTP have their codes in one place, but those to malformed heads.
        let before_http = [
            (include_str!("../../../src/server/bare.rs"), "fn message"),
            (include_str!("../../tidegate-http/src/raw_head/mod.rs"), "pub const MALFORMED"),
        ];
        let before_http: Vec<&str> = before_http
            .iter()
            .filter_map(|(source, end)| source.split("fn code").nth(1)?.split(end).next())
            .flat_map(|codes| literals(codes, " => "))
            .collect();
        assert!(before_http.len() > 5, "{before_http:?}");
        for error in errors.into_iter().chain(before_http) {
            // The gateway gives it to clients that send slowly, which the doctor does not.
            assert!(gateways_own(error).is_some() || error == "request_timeout", "{error}");
        }
    }
}
