//! Joins a WebSocket over HTTP/2 to an upstream that speaks HTTP/1.1. Knows heads and chunks, and no frames.

use super::interceptor::FrameInterceptor;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tidegate_http::chunked::ChunkPosition;
use tidegate_http::head::{MAX_HEAD_BYTES, MAX_HEADER_COUNT};
use tidegate_http::header_name::{OF_CONNECTION, lower};
use tidegate_http::websocket::handshake;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Joins a WebSocket over HTTP/2 (RFC 8441) to an upstream that speaks HTTP/1.1.
///
/// Pingora sees a request with a body in chunks, and a response whose body ends with the
/// connection. The upstream sees a WebSocket's handshake and frames.
#[derive(Debug)]
pub(super) struct Bridge {
    interceptor: FrameInterceptor,
    key: Box<str>,
    request: RequestPart,
    response: ResponsePart,
    /// The rest of the request head that goes to the upstream.
    head: Vec<u8>,
}

/// The part of the request that Pingora writes.
#[derive(Debug)]
enum RequestPart {
    Head(Vec<u8>),
    Body(ChunkPosition),
}

/// The part of the response that the upstream sends.
#[derive(Debug)]
enum ResponsePart {
    Head(Vec<u8>),
    /// Bytes for Pingora, how many of them it has read, and, after an interim head, the beginning of the
    /// next head.
    Held(Vec<u8>, usize, Option<Vec<u8>>),
    Frames,
}

impl ResponsePart {
    /// The state after these bytes of the upstream, with `head` as the beginning of a head.
    fn after_bytes(mut head: Vec<u8>, bytes: &[u8], key: &str) -> io::Result<Self> {
        let (count, is_complete) = append_head(&mut head, bytes)?;
        if !is_complete {
            return Ok(Self::Head(head));
        }
        let rest = bytes.get(count..).unwrap_or_default();
        let is_interim = head.get(9..10) == Some(b"1") && head.get(9..12) != Some(b"101");
        if is_interim {
            return Ok(Self::Held(head, 0, Some(rest.to_vec())));
        }
        Ok(Self::Held([check_answer(&head, key)?.as_slice(), rest].concat(), 0, None))
    }
}

impl Bridge {
    /// A bridge that makes the handshake with this key.
    pub(super) fn new(interceptor: FrameInterceptor, key: Box<str>) -> Self {
        let (request, response) = (RequestPart::Head(Vec::new()), ResponsePart::Head(Vec::new()));
        Self { interceptor, key, request, response, head: Vec::new() }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.head.is_empty() {
            let count = ready!(Pin::new(&mut self.interceptor).poll_write(cx, &self.head))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.head.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    /// Consumes bytes that Pingora writes; returns how many.
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.request {
            RequestPart::Head(head) => {
                let (count, is_complete) = append_head(head, bytes)?;
                if is_complete {
                    self.head = upgraded(head, &self.key);
                    self.request = RequestPart::Body(ChunkPosition::default());
                }
                Poll::Ready(Ok(count))
            }
            RequestPart::Body(chunks) => {
                let Some(frames) = chunks.data(bytes) else {
                    return Poll::Ready(Ok(chunks.consume_framing(bytes)));
                };
                let count = ready!(Pin::new(&mut self.interceptor).poll_write(cx, frames))?;
                chunks.consume(count);
                Poll::Ready(Ok(count))
            }
        }
    }
}

/// Appends to a head up to its end; returns how many of the bytes belong to it, and whether it is
/// complete.
fn append_head(head: &mut Vec<u8>, bytes: &[u8]) -> io::Result<(usize, bool)> {
    const END: &[u8] = b"\r\n\r\n";
    let before = head.len();
    let from = before.saturating_sub(END.len() - 1);
    head.extend_from_slice(bytes);
    let end = head.get(from..).unwrap_or_default().windows(END.len()).position(|it| it == END);
    let Some(end) = end else {
        if head.len() > MAX_HEAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the head of the handshake or of its response is too large",
            ));
        }
        return Ok((bytes.len(), false));
    };
    head.truncate(from + end + END.len());
    Ok((head.len() - before, true))
}

/// The lines of a head, without those of this header and those that are of one connection or say where the body ends.
fn header_lines_without<'h>(
    head: &'h [u8],
    without: &'static str,
) -> impl Iterator<Item = &'h [u8]> {
    let gone = [without, lower::TRANSFER_ENCODING, lower::CONTENT_LENGTH];
    let is_gone = move |name: &[u8]| {
        gone.iter().chain(&OF_CONNECTION).any(|gone| name.eq_ignore_ascii_case(gone.as_bytes()))
    };
    head.split_inclusive(|&byte| byte == b'\n').filter(move |line| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        *line != b"\r\n" && !is_gone(name)
    })
}

/// The request's head as that of a handshake (RFC 6455, section 4.1).
fn upgraded(head: &[u8], key: &str) -> Vec<u8> {
    let mut upgraded =
        header_lines_without(head, lower::SEC_WEBSOCKET_KEY).collect::<Vec<_>>().concat();
    upgraded.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    upgraded.extend_from_slice(format!("Sec-WebSocket-Key: {key}\r\n\r\n").as_bytes());
    upgraded
}

/// The upstream's answer as HTTP/2 needs it (RFC 8441, section 5): a 101 becomes a 200. Other answers stay as they are,
/// except a 2xx: it is an error, because the client would take it for a 101.
fn check_answer(head: &[u8], key: &str) -> io::Result<Vec<u8>> {
    let invalid = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    match head.get(9..12) {
        Some(b"101") => {}
        Some([b'2', ..]) | None => {
            return invalid(
                "the upstream answered the WebSocket handshake without switching protocols",
            );
        }
        Some(_) => return Ok(head.to_vec()),
    }
    let Some((version, fields)) = parse_head(head) else {
        return invalid("the 101 response of the upstream is malformed");
    };
    if let Err(error) = handshake::check_answer(key.as_bytes(), version, &fields) {
        return invalid(error.reason());
    }
    let fields = header_lines_without(head, lower::SEC_WEBSOCKET_ACCEPT)
        .skip(1)
        .collect::<Vec<_>>()
        .concat();
    Ok([b"HTTP/1.1 200 OK\r\n", fields.as_slice(), b"\r\n"].concat())
}

/// The version and the headers of a response's head.
fn parse_head(head: &[u8]) -> Option<(Version, HeaderMap)> {
    let mut space = [httparse::EMPTY_HEADER; MAX_HEADER_COUNT];
    let mut response = httparse::Response::new(&mut space);
    let is_whole = response.parse(head).is_ok_and(|status| status.is_complete());
    let version = match response.version {
        Some(1) if is_whole => Version::HTTP_11,
        Some(0) if is_whole => Version::HTTP_10,
        _ => return None,
    };
    let mut fields = HeaderMap::with_capacity(response.headers.len());
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        fields.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some((version, fields))
}

impl AsyncRead for Bridge {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bridge = &mut *self;
        if let Poll::Ready(Err(error)) = bridge.poll_head(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            match &mut bridge.response {
                ResponsePart::Frames => {
                    return Pin::new(&mut bridge.interceptor).poll_read(cx, buffer);
                }
                ResponsePart::Held(bytes, gone, next) => {
                    let rest = bytes.get(*gone..).unwrap_or_default();
                    if rest.is_empty() {
                        bridge.response = match next.take() {
                            None => ResponsePart::Frames,
                            Some(next) => {
                                ResponsePart::after_bytes(Vec::new(), &next, &bridge.key)?
                            }
                        };
                        continue;
                    }
                    let count = rest.len().min(buffer.remaining());
                    buffer.put_slice(rest.get(..count).unwrap_or_default());
                    *gone += count;
                    return Poll::Ready(Ok(()));
                }
                ResponsePart::Head(head) => {
                    let mut space = [0; 2048];
                    let mut part = ReadBuf::new(&mut space);
                    ready!(Pin::new(&mut bridge.interceptor).poll_read(cx, &mut part))?;
                    if part.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    bridge.response = ResponsePart::after_bytes(
                        std::mem::take(head),
                        part.filled(),
                        &bridge.key,
                    )?;
                }
            }
        }
    }
}

impl AsyncWrite for Bridge {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bridge = &mut *self;
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let step = match bridge.poll_head(cx) {
                Poll::Ready(Ok(())) => bridge.poll_take(cx, rest),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
            match step {
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_head(cx))?;
        ready!(Pin::new(&mut self.interceptor).poll_flush(cx))?;
        if matches!(self.request, RequestPart::Body(ChunkPosition::Ended)) {
            // The client has ended its stream, which is the end of its connection here.
            return Pin::new(&mut self.interceptor).poll_shutdown(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.interceptor).poll_shutdown(cx)
    }
}

impl VirtualSocket for Bridge {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        self.interceptor.set_socket_option(option)
    }
}
