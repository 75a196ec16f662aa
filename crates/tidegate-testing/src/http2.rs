//! HTTP/2: frames written and read by hand, for requests that no client library would send; and a client and a service
//! without TLS. It does not know HPACK beyond literals.

use super::{Gateway, within};
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Frame type: part of a body.
pub const DATA: u8 = 0;
/// Frame type: the start of a stream, with a header block.
pub const HEADERS: u8 = 1;
/// Frame type: the end of a stream by an error.
pub const RST_STREAM: u8 = 3;
/// Frame type: connection settings.
pub const SETTINGS: u8 = 4;
/// Frame type: a ping, or the answer to one.
pub const PING: u8 = 6;
/// Frame type: the peer accepts no further streams.
pub const GOAWAY: u8 = 7;
/// Frame type: room for more bytes of bodies.
pub const WINDOW_UPDATE: u8 = 8;
/// Frame type: the rest of a header block.
pub const CONTINUATION: u8 = 9;

/// Flag of [`DATA`] and [`HEADERS`]: the sender ends its side of the stream.
pub const END_STREAM: u8 = 1;
/// Flag of [`SETTINGS`] and [`PING`]: acknowledges the peer's frame.
pub const ACK: u8 = 1;
/// Flag of [`HEADERS`] and [`CONTINUATION`]: the header block is complete.
pub const END_HEADERS: u8 = 4;

/// `GET http://a/` in HPACK: entries of the static table, and one literal.
pub const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];

/// An HTTP/2 connection without TLS, frame by frame.
pub struct Frames(TcpStream);

/// A received frame (RFC 9113, section 4.1).
#[derive(Debug)]
pub struct Frame {
    /// The frame type, such as [`DATA`].
    pub kind: u8,
    /// The flags, such as [`END_STREAM`].
    pub flags: u8,
    /// The stream id; 0 for the connection itself.
    pub stream: u32,
    /// The payload, without the nine bytes of the frame header.
    pub payload: Vec<u8>,
}

impl Frames {
    /// Connects and sends the preface and settings.
    pub async fn connect(gateway: &Gateway) -> Self {
        let socket = TcpStream::connect(gateway.address()).await.expect("a connection");
        let _ = socket.set_nodelay(true);
        let mut frames = Self(socket);
        frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the preface");
        frames.send(SETTINGS, 0, 0, &[]).await.expect("the settings");
        frames
    }

    /// Sends one frame.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, data: &[u8]) -> io::Result<()> {
        self.send_all(&frame(kind, flags, stream, data)).await
    }

    /// Sends many frames at once.
    pub async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room to write", self.0.write_all(bytes)).await
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        read(&mut self.0).await
    }

    /// Sends batch upon batch until there is none or the other side takes no more, and meanwhile
    /// reads, as a client must that wants to hear why: the error code of GOAWAY.
    pub async fn flood(self, batches: impl Iterator<Item = Vec<u8>>) -> Option<u32> {
        let (mut reader, mut writer) = self.0.into_split();
        let told = tokio::spawn(async move {
            while let Some(frame) = read(&mut reader).await {
                if frame.kind == GOAWAY {
                    return code(&frame);
                }
            }
            None
        });
        for batch in batches {
            if told.is_finished() || within("room", writer.write_all(&batch)).await.is_err() {
                break;
            }
        }
        told.await.expect("what is told")
    }

    /// The next frame of this kind.
    pub async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await;
            let frame = frame.unwrap_or_else(|| panic!("ended before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The error code of GOAWAY; `None` when the connection ends without one.
    pub async fn goaway(&mut self) -> Option<u32> {
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                return code(&frame);
            }
        }
        None
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    within("a frame", stream.read_exact(&mut head)).await.ok()?;
    let [a, b, c, kind, flags, d, e, f, g] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    within("its payload", stream.read_exact(&mut payload)).await.ok()?;
    Some(Frame { kind, flags, stream: u32::from_be_bytes([d, e, f, g]), payload })
}

/// The error code of GOAWAY (section 6.8).
fn code(frame: &Frame) -> Option<u32> {
    Some(u32::from_be_bytes(frame.payload.get(4..8)?.try_into().ok()?))
}

/// A field of a head in HPACK, written out (RFC 7541, section 6.2.2).
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        // Without Huffman's code; a length of 7 bits, or what is over it behind.
        let mut length = text.len();
        if length < 127 {
            field.push(length as u8);
        } else {
            field.push(127);
            length -= 127;
            while length >= 128 {
                field.push((length % 128) as u8 | 128);
                length /= 128;
            }
            field.push(length as u8);
        }
        field.extend(text);
    }
    field
}

/// The bytes of one frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Opens a connection over HTTP/2 without TLS.
pub async fn client(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.expect("a connection");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    client
}

/// Starts a service over HTTP/2 without TLS. `answer` gets each request in a task of its own.
pub async fn serve<F, A>(answer: F) -> SocketAddr
where
    F: Fn(http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) -> A,
    F: Clone + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    // In a task of its own: `accept` drives the connection.
                    tokio::spawn(answer(request, respond));
                }
            });
        }
    });
    address
}

/// The head of the answer to a GET over HTTP/2 without TLS.
pub async fn get_over_http2(
    gateway: &Gateway,
    path: &str,
    fields: &[(&str, &str)],
) -> http::response::Parts {
    let mut client = client(gateway.address()).await;
    let mut request = http::Request::get(format!("http://localhost{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("sent");
    within("a response", response).await.expect("a response").into_parts().0
}
