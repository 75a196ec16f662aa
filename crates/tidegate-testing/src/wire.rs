//! A socket with HTTP/1.1 written and read by hand, for both ends. It does not validate what it sends.

use super::within;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A socket with HTTP/1.1 written by hand, for either end.
pub struct Wire<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

/// The received head of a request or response.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its bytes, with the empty line at the end.
    pub text: String,
    /// The request or status line.
    pub line: String,
    fields: Vec<(String, String)>,
}

/// A response with its whole body.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status line and headers.
    pub head: Head,
    /// The whole body, without its framing.
    pub body: Vec<u8>,
}

/// A `GET` request with additional headers, each as `Name: value`; `Host: localhost` unless given.
pub fn get(target: &str, fields: &[&str]) -> String {
    let mut text = format!("GET {target} HTTP/1.1\r\n");
    if !fields.iter().any(|field| field.to_ascii_lowercase().starts_with("host:")) {
        text.push_str("Host: localhost\r\n");
    }
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

impl Wire {
    /// Wraps a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new() }
    }

    /// Opens a TCP connection.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        Self::new(stream.expect("a connection"))
    }

    /// Resets the connection.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Wraps any stream.
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("bytes sent");
    }

    /// Sends bytes to a peer that may close before it has read all.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("room to write", self.stream.write_all(bytes.as_ref())).await
    }

    /// Ends the sending side; received bytes can still be read.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.expect("half-closed");
    }

    /// The socket; panics if bytes were read beyond the last message.
    pub fn into_stream(self) -> S {
        assert_eq!(self.buffer, b"", "nothing read too far");
        self.stream
    }

    /// The socket, and the bytes read beyond the last message.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Reads more into the buffer; false at the end.
    async fn fill(&mut self) -> bool {
        match within("bytes", self.stream.read_buf(&mut self.buffer)).await {
            Ok(read) => read > 0,
            Err(_) => false,
        }
    }

    /// The bytes up to and including `needle`; `None` if the connection ends first.
    pub async fn try_until(&mut self, needle: &[u8]) -> Option<Vec<u8>> {
        let mut searched = 0;
        loop {
            let from = searched;
            if let Some(at) = self.buffer[from..].windows(needle.len()).position(|w| w == needle) {
                return Some(self.buffer.drain(..from + at + needle.len()).collect());
            }
            searched = self.buffer.len().saturating_sub(needle.len() - 1);
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The bytes up to and including `needle`.
    pub async fn until(&mut self, needle: impl AsRef<[u8]>) -> Vec<u8> {
        let needle = needle.as_ref();
        let found = self.try_until(needle).await;
        found.unwrap_or_else(|| {
            let got = String::from_utf8_lossy(&self.buffer);
            panic!("ended before {:?} came: {got:?}", String::from_utf8_lossy(needle))
        })
    }

    /// The next `count` bytes; panics if the connection ends first.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill().await, "ended after {} of {count} bytes", self.buffer.len());
        }
        self.buffer.drain(..count).collect()
    }

    /// The same; `None` if the connection ends first.
    pub async fn try_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// All bytes until the other side ends.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the other side ended without another byte.
    pub async fn is_ended(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }

    /// The next head; `None` if the connection ends first.
    pub async fn try_head(&mut self) -> Option<Head> {
        let bytes = self.try_until(b"\r\n\r\n").await?;
        Some(Head::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// The head of the next message; panics when the connection ends before it is complete.
    pub async fn head(&mut self) -> Head {
        let head = self.try_head().await;
        head.unwrap_or_else(|| {
            panic!("ended before a head: {:?}", String::from_utf8_lossy(&self.buffer))
        })
    }

    /// One chunk of a chunked body, or `None` at its end.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until("\r\n").await;
        let line = String::from_utf8_lossy(&line);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        if size > 0 {
            let data = self.exactly(size).await;
            assert_eq!(self.exactly(2).await, b"\r\n", "the chunk's end");
            return Some(data);
        }
        // Fields may stand behind the last chunk.
        while self.until("\r\n").await != b"\r\n" {}
        None
    }

    /// A body, by the head's framing.
    pub async fn body(&mut self, head: &Head) -> Vec<u8> {
        if head.get("transfer-encoding").is_some_and(|te| te.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            while let Some(data) = self.chunk().await {
                body.extend(data);
            }
            return body;
        }
        let no_body = matches!(head.status(), Some(100..=199 | 204 | 304));
        match head.get("content-length") {
            _ if no_body => Vec::new(),
            Some(length) => self.exactly(length.parse().expect("a length")).await,
            None if head.status().is_some() => self.read_to_end().await,
            None => Vec::new(),
        }
    }

    /// A final response with its body.
    pub async fn response(&mut self) -> Response {
        loop {
            let head = self.head().await;
            if matches!(head.status(), Some(100 | 102..=199)) {
                continue;
            }
            let body = self.body(&head).await;
            return Response { head, body };
        }
    }
}

impl Head {
    /// Parses a head from its text, without any validation.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        Self { text: text.to_owned(), line, fields: lines.filter_map(parse_field).collect() }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of the first header of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The only value of a header; panics if there are two.
    pub fn only(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is doubled in:\n{}", self.text);
        all.first().copied()
    }

    /// The values of all headers of this name, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The items of a list header, over all its lines.
    pub fn list(&self, name: &str) -> Vec<String> {
        let items = self.all(name).into_iter().flat_map(|value| value.split(','));
        items.map(|item| item.trim().to_ascii_lowercase()).collect()
    }
}

fn parse_field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}

impl Response {
    /// The status code; 0 when the status line has none.
    pub fn status(&self) -> u16 {
        self.head.status().unwrap_or_default()
    }

    /// The body as text; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of an error, after a check of the keys that every error has.
    pub fn error(&self) -> Value {
        assert_eq!(self.head.get("content-type"), Some("application/json"), "{}", self.head.text);
        let value: Value = serde_json::from_slice(&self.body).expect("JSON");
        for key in ["error", "message", "request_id"] {
            assert!(value[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {value}");
        }
        assert_eq!(self.head.get("x-request-id"), value["request_id"].as_str());
        value
    }
}
