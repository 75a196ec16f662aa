use super::Check;
use pingora::{Error, ErrorType};
use std::time::Duration;

/// Why a health check failed, as people say it: what was asked and answered.
pub(super) fn reason(check: &Check, patience: Duration, error: &Error) -> String {
    let within = humantime::format_duration(patience);
    match error.etype() {
        ErrorType::HTTPStatus(status) => match check {
            Check::Http(path) => format!("GET {path} answered {status}"),
            Check::WebSocket(path) => {
                format!("the WebSocket handshake at {path} answered {status}")
            }
            Check::Grpc(_) => format!("the health check of gRPC was answered {status}"),
            Check::Tcp => format!("it answered {status}"),
        },
        ErrorType::ReadTimedout
        | ErrorType::WriteTimedout
        | ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout => format!("no answer within {within}"),
        ErrorType::ConnectRefused => "connection refused".to_owned(),
        ErrorType::ConnectNoRoute => "there is no route to it".to_owned(),
        ErrorType::InvalidCert => format!("its certificate is refused: {}", cause(error)),
        ErrorType::TLSHandshakeFailure | ErrorType::HandshakeError => {
            format!("the TLS handshake failed: {}", cause(error))
        }
        ErrorType::ConnectionClosed | ErrorType::ReadError => match check {
            Check::Http(path) => format!("the connection ended before GET {path} was answered"),
            Check::WebSocket(path) => {
                format!("the connection ended before the handshake at {path} was answered")
            }
            Check::Grpc(_) => {
                "the connection ended before the health check of gRPC was answered".to_owned()
            }
            Check::Tcp => "the connection ended".to_owned(),
        },
        ErrorType::InvalidHTTPHeader => "what it answered is not HTTP".to_owned(),
        _ => cause(error),
    }
}

/// What is at the root of an error, without the names that the code gives to what is around it.
fn cause(error: &Error) -> String {
    let mut innermost = error;
    loop {
        let Some(cause) = &innermost.cause else {
            let context = innermost.context.as_ref().map(|context| context.as_str().to_owned());
            return context.unwrap_or_else(|| innermost.etype().as_str().to_owned());
        };
        match cause.downcast_ref::<Box<Error>>() {
            Some(inner) => innermost = inner,
            None => return cause.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::OrErr;

    #[test]
    fn a_reason_says_what_was_asked_and_answered() {
        let patience = Duration::from_secs(1);
        let http = Check::Http("/healthz".to_owned());
        let websocket = Check::WebSocket("/ws".to_owned());
        let of = |check: &Check, kind| reason(check, patience, &Error::new(kind));
        assert_eq!(of(&http, ErrorType::HTTPStatus(503)), "GET /healthz answered 503");
        assert_eq!(
            of(&websocket, ErrorType::HTTPStatus(400)),
            "the WebSocket handshake at /ws answered 400"
        );
        assert_eq!(of(&http, ErrorType::ReadTimedout), "no answer within 1s");
        assert_eq!(of(&Check::Tcp, ErrorType::ConnectTimedout), "no answer within 1s");
        assert_eq!(of(&Check::Tcp, ErrorType::ConnectRefused), "connection refused");
        let lost = Err::<(), _>(std::io::Error::other("no more files"))
            .or_err(ErrorType::ConnectError, "Fail to connect")
            .expect_err("an error");
        assert_eq!(reason(&http, patience, &lost), "no more files");
    }
}
