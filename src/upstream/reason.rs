//! Why a health check failed, as text for the operator. Decides nothing about health.

use super::ProbeCheck;
use pingora::{Error, ErrorType};
use std::time::Duration;

/// Why a health check failed: the request and the response, as text.
pub(super) fn failure_reason(check: &ProbeCheck, patience: Duration, error: &Error) -> String {
    let within = humantime::format_duration(patience);
    match error.etype() {
        ErrorType::Custom(_) => match check {
            ProbeCheck::WebSocket(path) => {
                format!(
                    "the response to the WebSocket handshake at {path} is invalid: {}",
                    cause(error)
                )
            }
            _ => cause(error),
        },
        ErrorType::HTTPStatus(status) => match check {
            ProbeCheck::Http(path) => format!("GET {path} answered {status}"),
            ProbeCheck::WebSocket(path) => {
                format!("the WebSocket handshake at {path} answered {status}")
            }
            ProbeCheck::Grpc(_) => format!("the gRPC health check answered {status}"),
            ProbeCheck::Tcp => format!("the endpoint answered {status}"),
        },
        ErrorType::ReadTimedout
        | ErrorType::WriteTimedout
        | ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout => format!("no answer within {within}"),
        ErrorType::ConnectRefused => "connection refused".to_owned(),
        ErrorType::ConnectNoRoute => "no route to the host".to_owned(),
        ErrorType::TLSHandshakeFailure | ErrorType::HandshakeError if refuses_alpn(error) => {
            "the endpoint does not speak HTTP/2 over TLS: it refused `h2` (ALPN)".to_owned()
        }
        ErrorType::InvalidCert => {
            format!("the certificate of the endpoint is invalid: {}", cause(error))
        }
        ErrorType::TLSHandshakeFailure | ErrorType::HandshakeError => {
            format!("the TLS handshake failed: {}", cause(error))
        }
        ErrorType::ConnectionClosed | ErrorType::ReadError => match check {
            ProbeCheck::Http(path) => {
                format!("the connection ended before GET {path} was answered")
            }
            ProbeCheck::WebSocket(path) => {
                format!("the connection ended before the handshake at {path} was answered")
            }
            ProbeCheck::Grpc(_) => {
                "the connection ended before the gRPC health check was answered; the endpoint \
                 may not speak HTTP/2"
                    .to_owned()
            }
            ProbeCheck::Tcp => "the connection ended".to_owned(),
        },
        ErrorType::H2Error | ErrorType::InvalidH2 if is_no_http2(error) => {
            "the endpoint does not speak HTTP/2".to_owned()
        }
        ErrorType::H2Error | ErrorType::InvalidH2 if has_ended(error) => {
            "the endpoint closed the connection at the HTTP/2 preface; it may not speak HTTP/2"
                .to_owned()
        }
        ErrorType::InvalidHTTPHeader => "the response is not HTTP".to_owned(),
        _ => cause(error),
    }
}

fn cause(error: &Error) -> String {
    deepest_cause(error).unwrap_or_else(|| error.etype().as_str().to_owned())
}

/// Whether the upstream responded in HTTP/1.1 to HTTP/2: the parser then reads the first letters of `HTTP/1.1` as the
/// length of a frame that is too long.
fn is_no_http2(error: &Error) -> bool {
    let error = error.root_cause().downcast_ref::<h2::Error>();
    error.is_some_and(|it| it.is_library() && it.reason() == Some(h2::Reason::FRAME_SIZE_ERROR))
}

/// Whether the connection ended, as an upstream without HTTP/2 may end it at the preface.
fn has_ended(error: &Error) -> bool {
    let error = error.root_cause().downcast_ref::<h2::Error>();
    error.is_some_and(h2::Error::is_io)
}

/// Whether the upstream speaks none of the protocols that were offered (RFC 7301, section 3.2).
fn refuses_alpn(error: &Error) -> bool {
    let alert = rustls::AlertDescription::NoApplicationProtocol;
    cause(error).contains(&format!("{alert:?}"))
        || cause(error).contains(&rustls::Error::AlertReceived(alert).to_string())
}

/// The root cause of an error, without the address that Pingora appends.
pub(crate) fn deepest_cause(error: &Error) -> Option<String> {
    let mut words = None;
    let mut at = Some(error);
    while let Some(error) = at {
        words = error.context.as_ref().map(|context| context.as_str().to_owned()).or(words);
        let Some(cause) = error.cause.as_deref() else { break };
        at = cause.downcast_ref::<Box<Error>>().map(|inner| &**inner);
        if at.is_none() {
            let message = cause.to_string();
            // Pingora notes it behind the cause of a handshake that failed.
            if !message.starts_with("local address") {
                words = Some(message);
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::OrErr;

    #[test]
    fn failure_reason_names_the_check_and_its_answer() {
        let patience = Duration::from_secs(1);
        let http = ProbeCheck::Http("/healthz".to_owned());
        let websocket = ProbeCheck::WebSocket("/ws".to_owned());
        let of = |check: &ProbeCheck, kind| failure_reason(check, patience, &Error::new(kind));
        assert_eq!(of(&http, ErrorType::HTTPStatus(503)), "GET /healthz answered 503");
        assert_eq!(
            of(&websocket, ErrorType::HTTPStatus(400)),
            "the WebSocket handshake at /ws answered 400"
        );
        assert_eq!(of(&http, ErrorType::ReadTimedout), "no answer within 1s");
        assert_eq!(of(&ProbeCheck::Tcp, ErrorType::ConnectTimedout), "no answer within 1s");
        assert_eq!(of(&ProbeCheck::Tcp, ErrorType::ConnectRefused), "connection refused");
        let lost = Err::<(), _>(std::io::Error::other("no more files"))
            .or_err(ErrorType::ConnectError, "Fail to connect")
            .expect_err("an error");
        assert_eq!(failure_reason(&http, patience, &lost), "no more files");
    }
    #[test]
    fn failure_reason_omits_the_local_port() {
        let local = std::io::Error::other("local address 127.0.0.1:42262");
        let error = Error::because(ErrorType::TLSHandshakeFailure, "certificate expired", local);
        let reason = failure_reason(&ProbeCheck::Tcp, Duration::from_secs(1), &error);
        assert_eq!(reason, "the TLS handshake failed: certificate expired");
    }
}
