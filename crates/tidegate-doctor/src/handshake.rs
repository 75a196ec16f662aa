//! The client's check of a 101 (RFC 6455, section 4.1). It reads a head and does not know connections.

use super::fault::Fault;
use super::head::Head;
use super::target::printable;
use http::header;
use tidegate_http::websocket::handshake::{PROTOCOL, accept_key};

/// Checks a 101 as RFC 6455, section 4.1, requires of a client.
pub(crate) fn check(head: &Head, key: &str, offered: &[String]) -> Result<(), Fault> {
    if !head.has_token(header::UPGRADE, PROTOCOL) {
        return Err(Fault::BadSwitch("Upgrade: websocket"));
    }
    if !head.has_token(header::CONNECTION, "upgrade") {
        return Err(Fault::BadSwitch("Connection: Upgrade"));
    }
    let expected = accept_key(key);
    let accept = head.get(header::SEC_WEBSOCKET_ACCEPT);
    if accept != Some(&expected) {
        return Err(Fault::WrongAccept(accept.map(|accept| printable(accept.as_bytes()))));
    }
    if let Some(extensions) =
        head.get(header::SEC_WEBSOCKET_EXTENSIONS).filter(|all| !all.is_empty())
    {
        return Err(Fault::Extension(printable(extensions.as_bytes())));
    }
    // The WebSockets standard requires more than the RFC: if subprotocols are offered, one must be chosen.
    let chosen = head.get(header::SEC_WEBSOCKET_PROTOCOL);
    let is_good = match chosen {
        None => offered.is_empty(),
        Some(chosen) => offered.iter().any(|one| one == chosen),
    };
    match is_good {
        true => Ok(()),
        false => Err(Fault::Subprotocol(chosen.map(|chosen| printable(chosen.as_bytes())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1;
    use crate::stream::{BufferedStream, Duplex};
    use std::time::{Duration, Instant};

    /// The head of a response with these lines.
    async fn head(lines: &str) -> Head {
        let (near, mut far) = tokio::io::duplex(4096);
        let text = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut far, text.as_bytes()).await.unwrap();
        let near: Box<dyn Duplex> = Box::new(near);
        let deadline = Instant::now() + Duration::from_secs(5);
        http1::exchange(&mut BufferedStream::new(near), b"", deadline).await.unwrap()
    }

    #[tokio::test]
    async fn rfc6455_1_3_accept_key_of_the_example_is_accepted() {
        let lines = "Connection: upgrade\r\nUpgrade: WebSocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let head = head(lines).await;
        assert!(check(&head, "dGhlIHNhbXBsZSBub25jZQ==", &[]).is_ok());
        assert!(matches!(
            check(&head, "AAAAAAAAAAAAAAAAAAAAAA==", &[]),
            Err(Fault::WrongAccept(Some(_)))
        ));
        let offered = ["chat".to_owned()];
        assert!(matches!(
            check(&head, "dGhlIHNhbXBsZSBub25jZQ==", &offered),
            Err(Fault::Subprotocol(None))
        ));
    }
}
