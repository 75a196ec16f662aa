//! WebSocket echo server of `benches/run ws`: `ws_echo 127.0.0.1:4009`, one thread.
//!
//! It echoes each frame whole and knows just one key, that of RFC 6455, section 1.3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const REFUSE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const KEY: &str = "sec-websocket-key: dghlihnhbxbszsbub25jzq==";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: ws_echo ADDRESS");
        std::process::exit(2);
    };
    let listener = TcpListener::bind(address).await?;
    loop {
        match listener.accept().await {
            Ok((socket, _)) => drop(tokio::spawn(serve(socket))),
            Err(error) => eprintln!("ws_echo: accept: {error}"),
        }
    }
}

async fn serve(mut socket: TcpStream) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut input = Vec::with_capacity(1024);
    let head = loop {
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break input.drain(..end + 4).collect::<Vec<_>>();
        }
    };
    if !String::from_utf8_lossy(&head).to_ascii_lowercase().contains(KEY) {
        return socket.write_all(REFUSE).await;
    }
    socket.write_all(SWITCH).await?;
    let mut output = Vec::with_capacity(1024);
    loop {
        let mut rest = &input[..];
        while let Some(length) = frame_length(rest)? {
            let (frame, next) = rest.split_at(length);
            echo(frame, &mut output);
            rest = next;
        }
        let left = rest.len();
        input.drain(..input.len() - left);
        socket.write_all(&output).await?;
        output.clear();
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// The length of the masked frame at the start of `bytes`, once it is there whole.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>> {
    match *bytes {
        [_, second, ..] if second & 0x80 == 0 || second & 0x7f > 125 => {
            Err(Error::new(ErrorKind::InvalidData, "not a small masked frame"))
        }
        [_, second, ..] if bytes.len() >= 6 + usize::from(second & 0x7f) => {
            Ok(Some(6 + usize::from(second & 0x7f)))
        }
        _ => Ok(None),
    }
}

/// The masked `frame` as a server sends it: with its mask taken off.
fn echo(frame: &[u8], output: &mut Vec<u8>) {
    output.extend([frame[0], frame[1] & 0x7f]);
    let (mask, payload) = frame[2..].split_at(4);
    output.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
