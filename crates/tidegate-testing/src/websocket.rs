//! WebSocket handshakes and messages, for both ends. It does not know the gateway's limits.

use super::wire::{Head, Wire};
use super::{Gateway, within};
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A WebSocket, either end of it.
pub type Socket = WebSocketStream<TcpStream>;

/// The key of RFC 6455's own example.
const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A client's opening handshake, header by header.
#[derive(Clone)]
pub struct Handshake {
    line: String,
    fields: Vec<(String, String)>,
}

impl Handshake {
    /// The handshake of a browser, without an `Origin`.
    pub fn to(target: &str) -> Self {
        let fields = [
            ("Host", "localhost"),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", HANDSHAKE_KEY),
        ];
        Self {
            line: format!("GET {target} HTTP/1.1"),
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    /// Replaces the request line.
    pub fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// Removes all headers of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// Sets a header and removes others of its name.
    pub fn set(self, name: &str, value: &str) -> Self {
        let mut this = self.without(name);
        this.fields.push((name.to_owned(), value.to_owned()));
        this
    }

    /// The request as it is sent.
    pub fn bytes(&self) -> String {
        let fields: String =
            self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{fields}\r\n", self.line)
    }

    /// Sends the handshake; the caller reads the bytes after the 101.
    pub async fn open_raw(&self, gateway: &Gateway) -> (Head, Wire) {
        self.open_raw_over(gateway.connect().await).await
    }

    async fn open_raw_over(&self, mut wire: Wire) -> (Head, Wire) {
        wire.send(self.bytes()).await;
        let head = wire.head().await;
        assert_eq!(head.status(), Some(101), "{}", head.text);
        assert_eq!(
            head.only("sec-websocket-accept"),
            Some(&*derive_accept_key(HANDSHAKE_KEY.as_bytes()))
        );
        assert_eq!(head.list("connection"), ["upgrade"]);
        assert_eq!(head.list("upgrade"), ["websocket"]);
        (head, wire)
    }

    /// Opens a WebSocket.
    pub async fn open(&self, gateway: &Gateway) -> (Head, Socket) {
        self.open_over(gateway.connect().await).await
    }

    /// Opens a WebSocket over this connection.
    pub async fn open_over(&self, wire: Wire) -> (Head, Socket) {
        let (head, wire) = self.open_raw_over(wire).await;
        let (stream, behind) = wire.into_parts();
        let socket = WebSocketStream::from_partially_read(stream, behind, Role::Client, None).await;
        (head, socket)
    }
}

/// The upstream's side of a handshake: answers 101 with these additional lines (each ended by CRLF).
pub async fn switch(mut wire: Wire, head: &Head, lines: &str) -> Socket {
    let key = head.get("sec-websocket-key").expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
    );
    wire.send(answer).await;
    WebSocketStream::from_raw_socket(wire.into_stream(), Role::Server, None).await
}

/// The next message; `None` at the end of the socket.
pub async fn next(socket: &mut Socket) -> Option<Message> {
    match within("a message", socket.next()).await {
        Some(Ok(message)) => Some(message),
        None | Some(Err(Error::ConnectionClosed | Error::Protocol(_) | Error::Io(_))) => None,
        Some(Err(error)) => panic!("{error}"),
    }
}
