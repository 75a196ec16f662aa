//! Answers without a request: to who may not come in, or does not come to the point.

use pingora::protocols::{Shutdown, Stream};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long a client may take to take its refusal.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many refusals are waited for at a time; who comes beyond is cut off.
static FAREWELLS: Semaphore = Semaphore::const_new(64);

/// An answer that needs no request to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bare {
    /// The head did not come to its end in time.
    TooSlow,
    /// HTTP at a port of HTTPS. nginx says the same.
    NotTls,
    /// HTTP/1 at a listener that speaks HTTP/2 alone (RFC 9110, section 15.6.6).
    NotHttp2,
    /// There are as many connections as may be, or as many at this listener.
    Full,
    /// The client has as many connections as it may have.
    FullOfClient,
}

impl Bare {
    fn text(self) -> String {
        let (status, code, message, more) = match self {
            Self::TooSlow => {
                ("408 Request Timeout", "request_timeout", "the request did not arrive in time", "")
            }
            Self::NotTls => (
                "400 Bad Request",
                "tls_required",
                "this port speaks HTTPS: write https:// here",
                "",
            ),
            Self::NotHttp2 => (
                "505 HTTP Version Not Supported",
                "version_not_supported",
                "this port speaks HTTP/2 alone",
                "",
            ),
            Self::Full => (
                "503 Service Unavailable",
                "too_many_connections",
                "the gateway holds as many connections as it can",
                "retry-after: 1\r\n",
            ),
            Self::FullOfClient => (
                "429 Too Many Requests",
                "too_many_connections",
                "there are as many connections from this address as there may be",
                "retry-after: 1\r\n",
            ),
        };
        let body = format!("{{\"error\":\"{code}\",\"message\":\"{message}\"}}");
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}\
             connection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// Sends it and closes the connection. What the client has sent is read, for a while: unread,
    /// it would make the kernel take the answer back with a reset.
    pub(super) async fn send(self, mut stream: Stream) {
        let Ok(_permit) = FAREWELLS.try_acquire() else { return };
        let farewell = async {
            stream.write_all(self.text().as_bytes()).await?;
            stream.flush().await?;
            Shutdown::shutdown(&mut *stream).await;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}
