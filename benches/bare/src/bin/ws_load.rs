//! WebSocket load generator of `benches/run`, one thread: `ws_load ADDRESS CONNECTIONS SECONDS`.
//!
//! Opens the connections, echoes one message on each, prints `ready` and waits for a line on
//! stdin; then ping-pongs for SECONDS, prints one line of JSON, and holds the connections idle
//! until stdin ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::io::{BufRead, Error, ErrorKind, Result};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

const PAYLOAD: &[u8; 32] = b"tidegate ws_load: 32 byte frame.";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, seconds] = &arguments[..] else {
        eprintln!("usage: ws_load ADDRESS CONNECTIONS SECONDS");
        std::process::exit(2);
    };
    let connections = connections.parse().map_err(|_| invalid("CONNECTIONS is not a number"))?;
    let seconds = seconds.parse().map_err(|_| invalid("SECONDS is not a number"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(address, connections, seconds))
}

async fn run(address: &str, connections: usize, seconds: f64) -> Result<()> {
    let mut sockets = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut socket = timeout(PATIENCE, open(address)).await??;
        timeout(PATIENCE, round_trip(&mut socket)).await??;
        sockets.push(socket);
    }
    println!("ready");
    std::io::stdin().lock().read_line(&mut String::new())?;

    let latencies = Rc::new(RefCell::new(Vec::<u32>::with_capacity(1 << 22)));
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let mut pingers = JoinSet::new();
    for mut socket in sockets.drain(..) {
        let latencies = latencies.clone();
        pingers.spawn_local(async move {
            let mut now = Instant::now();
            while now < end {
                timeout(PATIENCE, round_trip(&mut socket)).await??;
                let after = Instant::now();
                latencies.borrow_mut().push((after - now).as_micros() as u32);
                now = after;
            }
            Ok::<_, Error>(socket)
        });
    }
    let mut lost = 0;
    while let Some(pinger) = pingers.join_next().await {
        match pinger.map_err(Error::other)? {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                eprintln!("ws_load: {error}");
                lost += 1;
            }
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let mut latencies = latencies.take();
    latencies.sort_unstable();
    let quantile =
        |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or(0);
    println!(
        r#"{{"messages": {}, "seconds": {elapsed:.3}, "p50_us": {}, "p99_us": {}, "lost": {lost}}}"#,
        latencies.len(),
        quantile(0.5),
        quantile(0.99)
    );
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

async fn open(address: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let request = format!(
        "GET /api/notification/ws?userId=user-1 HTTP/1.1\r\nHost: {address}\r\n\
         Origin: http://localhost:5173\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Err(invalid(&format!("refused: {}", String::from_utf8_lossy(&head))));
        }
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(invalid(&format!("refused: {}", String::from_utf8_lossy(&head))));
    }
    Ok(socket)
}

async fn round_trip(socket: &mut TcpStream) -> Result<()> {
    let mut frame = [0; 6 + PAYLOAD.len()];
    frame[..2].copy_from_slice(&[0x82, 0x80 | PAYLOAD.len() as u8]);
    frame[2..6].copy_from_slice(&MASK);
    for (index, byte) in PAYLOAD.iter().enumerate() {
        frame[6 + index] = byte ^ MASK[index % 4];
    }
    socket.write_all(&frame).await?;
    let mut answer = [0; 2 + PAYLOAD.len()];
    socket.read_exact(&mut answer).await?;
    if answer[..2] != [0x82, PAYLOAD.len() as u8] || answer[2..] != PAYLOAD[..] {
        return Err(invalid("another frame came back"));
    }
    Ok(())
}

fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}
