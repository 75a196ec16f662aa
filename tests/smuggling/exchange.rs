//! Runs one case through one proxy and records the responses that the client gets and the bytes that the upstream gets.
//! Judges nothing.

use crate::case::Case;
use crate::http2;
use crate::reader::{Reader, Request};
use crate::record::{Recorder, Stretch};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_testing::peers::{Peer, Running};
use tidegate_testing::{Admin, Config, Gateway, WAIT_TIMEOUT, Wire, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Time without a byte after which the client closes its sending side. Only cases that a proxy considers incomplete
/// take that long.
pub(crate) const STALL: Duration = Duration::from_secs(10);

/// The protocol of a case's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// How the bytes of a case are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    /// In a few hundred pieces, mostly of nine bytes: ends of lines and chunks are torn apart.
    InPieces,
}

/// The recorded result of a case.
pub(crate) struct Seen {
    pub pace: Pace,
    /// The statuses that the client was answered, the probe's not counted.
    pub statuses: Vec<u16>,
    pub upstream: Vec<Stretch>,
    /// What each reader holds for whole requests, without those of the test itself.
    pub strict: Vec<Request>,
    pub chunked_first: Vec<Request>,
    pub length_first: Vec<Request>,
    /// Requests that began and never became whole, to the strict reader.
    pub begun: usize,
    /// What the upstream was sent that is no HTTP.
    pub broken: Option<String>,
    /// What went wrong beside the case: an upstream that hangs, an answer to somebody else.
    pub disorder: Option<String>,
}

impl Seen {
    /// As many requests as any reader finds.
    pub(crate) fn forwarded(&self) -> usize {
        self.strict.len().max(self.chunked_first.len()).max(self.length_first.len())
    }
}

/// A proxy with its own upstream.
pub(crate) struct Lane {
    proxy: Proxy,
    recorder: Recorder,
    protocol: Protocol,
}

enum Proxy {
    Ours(Gateway, Admin),
    Peer(Running),
}

impl Lane {
    /// The gateway's own, unless a peer is named.
    pub(crate) async fn start(peer: Option<&'static Peer>, protocol: Protocol) -> Self {
        let recorder = Recorder::start().await;
        let proxy = match peer {
            Some(peer) => Proxy::Peer(peer.start(recorder.address()).await),
            None => {
                let config = Config::to_address(recorder.address());
                let admin = Admin::new();
                let config = config.top(&admin.section());
                // The corpus of HTTP/1.1 has the preface of HTTP/2 in it.
                let config = match protocol {
                    Protocol::Http1 => config,
                    Protocol::Http2 => config.listening("protocols: [h1, h2c]"),
                };
                Proxy::Ours(config.start().await, admin)
            }
        };
        Self { proxy, recorder, protocol }
    }

    fn address(&self) -> SocketAddr {
        match &self.proxy {
            Proxy::Ours(gateway, _) => gateway.address(),
            Proxy::Peer(peer) => peer.address(),
        }
    }

    pub(crate) async fn run(&self, case: &Case, pace: Pace) -> Seen {
        let mark = self.recorder.mark();
        let statuses = match (self.protocol, &self.proxy) {
            (Protocol::Http1, _) => send(self.address(), case, pace).await,
            (Protocol::Http2, Proxy::Ours(ours, _)) => {
                http2::send(ours.address(), case, pace).await
            }
            (Protocol::Http2, Proxy::Peer(peer)) => http2::send(peer.http2(), case, pace).await,
        };
        self.idle().await;
        let disorder = self.barrier().await;
        let rests = self.recorder.rest(&mark).await;
        let upstream = self.recorder.since(&mark);
        let mut seen = Seen {
            pace,
            statuses,
            strict: Vec::new(),
            chunked_first: Vec::new(),
            length_first: Vec::new(),
            begun: 0,
            broken: None,
            disorder: disorder
                .or_else(|| (!rests).then(|| "a connection upstream hangs".to_owned())),
            upstream,
        };
        for stretch in &seen.upstream {
            let strict = Reader::Strict.read(&stretch.bytes);
            seen.begun += usize::from(strict.used < stretch.bytes.len());
            seen.broken = seen.broken.take().or(strict.broken);
            seen.strict.extend(strict.whole.into_iter().filter(is_case));
            let read =
                |reader: Reader| reader.read(&stretch.bytes).whole.into_iter().filter(is_case);
            seen.chunked_first.extend(read(Reader::ChunkedFirst));
            seen.length_first.extend(read(Reader::LengthFirst));
        }
        seen
    }

    /// Waits until the gateway has done with what the case began: it may go on a little when its client has left, and
    /// what it sends then would be taken for the next case's.
    async fn idle(&self) {
        let Proxy::Ours(_, admin) = &self.proxy else { return };
        let address: SocketAddr = admin.address().parse().expect("an address");
        let is_idle = async {
            loop {
                let mut wire = Wire::connect(address).await;
                wire.send(get("/metrics", &["Connection: close"])).await;
                if wire.response().await.text().contains("\ntidegate_requests_in_flight 0\n") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, is_idle).await.expect("an idle gateway");
    }

    /// An honest request of another client, which must get its own answer: it is likely to go by
    /// the connection upstream that the case has used.
    async fn barrier(&self) -> Option<String> {
        let mut wire = Wire::connect(self.address()).await;
        wire.send(get("/barrier", &["Connection: close"])).await;
        let answer = wire.response().await;
        let is_own = answer.status() == 200 && answer.text() == "/barrier";
        (!is_own)
            .then(|| format!("another client's answer: {} {}", answer.head.text, answer.text()))
    }
}

/// Whether the request is from the case and not one of the test's own.
fn is_case(request: &Request) -> bool {
    request.target != "/probe" && request.target != "/barrier"
}

/// Sends the case; when it is answered, a last request behind it, whose answer ends the
/// connection: what the proxy holds for requests before that has been handled by then.
async fn send(address: SocketAddr, case: &Case, pace: Pace) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let _ = stream.set_nodelay(true);
    let (mut input, mut output) = stream.split();
    let size = match pace {
        Pace::AtOnce => case.bytes.len(),
        Pace::InPieces => (case.bytes.len() / 200).max(9),
    };
    for piece in case.bytes.chunks(size) {
        // The proxy may close before it has read all.
        if output.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut is_finished = case.is_unfinished;
    if is_finished {
        let _ = output.shutdown().await;
    }
    let (mut answers, mut is_probed) = (Vec::new(), is_finished);
    loop {
        match tokio::time::timeout(STALL, input.read_buf(&mut answers)).await {
            Ok(Ok(read)) if read > 0 => {
                if !is_probed && !statuses(&answers).is_empty() {
                    is_probed = true;
                    let probe = "GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                    let _ = output.write_all(probe.as_bytes()).await;
                }
            }
            Ok(_) => break,
            Err(_) if is_finished => break,
            Err(_) => {
                is_finished = true;
                let _ = output.shutdown().await;
            }
        }
    }
    let is_probe_answered = answers.ends_with(b"\r\n\r\n/probe");
    let mut all = statuses(&answers);
    if is_probe_answered {
        all.pop();
    }
    all
}

/// The final statuses among the answers. No body here looks like a status line.
fn statuses(answers: &[u8]) -> Vec<u16> {
    let lines = answers.windows(12).filter(|line| line.starts_with(b"HTTP/1.") && line[8] == b' ');
    let codes = lines.filter_map(|line| std::str::from_utf8(&line[9..]).ok()?.parse().ok());
    codes.filter(|code| *code >= 200).collect()
}
