//! Runs one case through one proxy and records what the client gets, and what a second client on the same upstream
//! connection gets. Judges nothing.

use crate::case::Case;
use crate::reader::{Response, Stop, read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidegate_testing::peers::{Peer, Running};
use tidegate_testing::{Config, Gateway, Wire, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Time without a byte after which a response counts as endless.
const STALL: Duration = Duration::from_secs(6);

/// The recorded result of a case.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What the client got.
    pub got: Got,
    /// All that it got, for failures.
    pub bytes: Vec<u8>,
    /// What went wrong beside the case: an answer to somebody else.
    pub disorder: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Got {
    Whole(Response),
    /// The connection ended before it was whole.
    CutOff,
    /// Something that is no HTTP/1.1.
    Broken(String),
    /// Neither an end nor a whole answer.
    Hangs,
}

/// A proxy with its own upstream, which runs one case at a time.
pub(crate) struct Lane {
    proxy: Proxy,
    service: Service,
}

enum Proxy {
    Ours(Gateway),
    Peer(Running),
}

impl Lane {
    /// The gateway's own, unless a peer is named.
    pub(crate) async fn start(peer: Option<&'static Peer>) -> Self {
        let service = Service::start().await;
        let proxy = match peer {
            Some(peer) => Proxy::Peer(peer.start(service.address).await),
            None => Proxy::Ours(Config::to_address(service.address).start().await),
        };
        Self { proxy, service }
    }

    fn address(&self) -> SocketAddr {
        match &self.proxy {
            Proxy::Ours(gateway) => gateway.address(),
            Proxy::Peer(peer) => peer.address(),
        }
    }

    pub(crate) async fn run(&self, case: &Case) -> Seen {
        self.service.answers(case);
        let mut stream = TcpStream::connect(self.address()).await.expect("a connection");
        let _ = stream.set_nodelay(true);
        stream.write_all(&case.request).await.expect("a request sent");
        let (got, bytes, rest) = receive(&mut stream, case.is_head()).await;
        let mut disorder = match &got {
            Got::Whole(_) => followed(stream, rest).await,
            _ => None,
        };
        if disorder.is_none() {
            let mut wire = Wire::connect(self.address()).await;
            wire.send(get("/barrier", &["Connection: close"])).await;
            let answer = wire.response().await;
            let is_own = answer.status() == 200 && answer.text() == "/barrier";
            disorder = (!is_own).then(|| {
                format!("another client's answer: {} {}", answer.head.text, answer.text())
            });
        }
        Seen { got, bytes, disorder }
    }
}

/// Reads one response, and what follows it unless the connection has ended.
async fn receive(stream: &mut TcpStream, is_head: bool) -> (Got, Vec<u8>, Option<Vec<u8>>) {
    let mut bytes = Vec::new();
    loop {
        let is_over = match tokio::time::timeout(STALL, stream.read_buf(&mut bytes)).await {
            Ok(Ok(read)) => read == 0,
            Ok(Err(_)) => true,
            Err(_) => return (Got::Hangs, bytes, None),
        };
        match read(&bytes, is_head, is_over) {
            Ok((response, used)) => {
                let rest = (!is_over).then(|| bytes[used..].to_vec());
                return (Got::Whole(response), bytes, rest);
            }
            Err(Stop::More) if is_over => return (Got::CutOff, bytes, None),
            Err(Stop::More) => {}
            Err(Stop::Broken(why)) => return (Got::Broken(why), bytes, None),
        }
    }
}

/// Sends a second request on the client's connection, if it is still open; returns what is wrong with its response.
async fn followed(mut stream: TcpStream, rest: Option<Vec<u8>>) -> Option<String> {
    let mut bytes = rest?;
    let next = get("/barrier", &["Connection: close"]);
    // The proxy may have closed meanwhile.
    let _ = stream.write_all(next.as_bytes()).await;
    while let Ok(Ok(1..)) = tokio::time::timeout(STALL, stream.read_buf(&mut bytes)).await {}
    if bytes.is_empty() {
        return None;
    }
    match read(&bytes, false, true) {
        Ok((answer, used)) if used == bytes.len() && answer.body == b"/barrier" => None,
        // A connection of HTTP/1.0, or one that is about to close, may get nothing.
        other => Some(format!("behind the answer: {} ({other:?})", bytes.escape_ascii())),
    }
}

/// An upstream that answers `/case` with the case's bytes, and other targets by their name.
struct Service {
    address: SocketAddr,
    answer: Arc<Mutex<(Vec<u8>, bool)>>,
    task: JoinHandle<()>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let answer = Arc::<Mutex<(Vec<u8>, bool)>>::default();
        let shared = Arc::clone(&answer);
        let task = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                running.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, answer, task }
    }

    fn answers(&self, case: &Case) {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        *answer = (case.answer.clone(), case.closes);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, answer: Arc<Mutex<(Vec<u8>, bool)>>) {
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.try_head().await {
        if head.target() != "/case" {
            let target = head.target();
            let text =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
            if wire.try_send(text).await.is_err() {
                return;
            }
            continue;
        }
        let (bytes, closes) = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if wire.try_send(bytes).await.is_err() {
            return;
        }
        if closes {
            let _ = wire.finish().await;
            return;
        }
    }
}
