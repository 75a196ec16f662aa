//! One walk to one address: connects, asks, and for a WebSocket stays a while.

use super::connect::{self, Tls, Trust};
use super::fault::{Answer, Fault, Step};
use super::frames::{self, Event};
use super::head::Head;
use super::http1::{self, Request};
use super::http2;
use super::plan::Plan;
use super::switch;
use super::target::{quoted, shown};
use super::wire::{End, Wire};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tidegate_http::websocket::close_reason::UPSTREAM_GONE;
use tokio::net::TcpStream;
use uuid::Uuid;

/// How long questions on the side may take, such as whether it is TLS that is spoken.
const SIDE_PATIENCE: Duration = Duration::from_secs(2);

/// What a walk saw.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The steps that went well: how long each took, and what there is to say.
    pub done: Vec<(Step, Duration, String)>,
    /// Where it ended, if it did; or the certificate that was not good, behind which it went on.
    pub fault: Option<(Step, Duration, Fault)>,
    /// Where it ended after that.
    pub later: Option<(Step, Duration, Fault)>,
    /// The answer's head, if one came.
    pub head: Option<Head>,
    /// Who answered.
    pub peer: Option<SocketAddr>,
}

impl Observed {
    /// Whether the answer is a stream that goes on for as long as it likes.
    pub(crate) fn streams(&self) -> bool {
        self.head.as_ref().is_some_and(|head| {
            head.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
        })
    }
}

/// Walks to the end, or to the first fault.
pub(crate) async fn walk(plan: &Plan) -> Observed {
    let mut walk = Walk { plan, seen: Observed::default(), began: Instant::now() };
    let ended = walk.go().await.err().map(|(step, fault)| (step, walk.began.elapsed(), fault));
    match walk.seen.fault {
        Some(_) => walk.seen.later = ended,
        None => walk.seen.fault = ended,
    }
    walk.seen
}

/// The same address asked with another request: its answer's head, if one comes.
pub(crate) async fn ask(plan: &Plan, request: Vec<u8>) -> Result<Answer, Fault> {
    let mut walk = Walk { plan, seen: Observed::default(), began: Instant::now() };
    let mut wire = walk.connect().await.map_err(|(_, fault)| fault)?;
    let deadline = walk.deadline();
    let head = http1::exchange(&mut wire, &request, deadline).await?;
    Ok(http1::answer(&mut wire, head, deadline, plan.trusts_json).await)
}

/// A request of the plan's path with the plan's fields.
pub(crate) fn request(plan: &Plan, method: &str) -> Request {
    let mut request = Request::new(method, &plan.path_and_query, &plan.authority);
    if let Some(origin) = &plan.origin {
        request = request.with("Origin", origin);
    }
    // What asks for a preflight are not the request's own credentials.
    for (name, value) in plan.fields.iter().filter(|_| method != "OPTIONS") {
        request = request.with(name, value);
    }
    request
}

struct Walk<'p> {
    plan: &'p Plan,
    seen: Observed,
    began: Instant,
}

type Went<T> = Result<T, (Step, Fault)>;

impl Walk<'_> {
    fn deadline(&mut self) -> Instant {
        self.began = Instant::now();
        self.began + self.plan.patience
    }

    fn done(&mut self, step: Step, note: impl Into<String>) {
        self.seen.done.push((step, self.began.elapsed(), note.into()));
    }

    async fn go(&mut self) -> Went<()> {
        let mut wire = self.connect().await?;
        if self.plan.speaks_http2 && !self.plan.is_websocket {
            return self.get_by_http2(wire).await;
        }
        if self.plan.is_websocket {
            self.handshake(&mut wire).await?;
            self.ping(&mut wire, Step::Ping).await?;
            self.done(Step::Ping, "pong");
            if !self.plan.idle.is_zero() {
                self.idle(&mut wire).await?;
            }
            let _ = wire.send(&frames::close(), Instant::now() + self.plan.patience).await;
            Ok(())
        } else {
            self.get(&mut wire).await
        }
    }

    async fn connect(&mut self) -> Went<Wire> {
        let stream = self.tcp().await?;
        let Some(trust) = &self.plan.trust else { return Ok(Wire::new(Box::new(stream))) };
        let deadline = self.deadline();
        match connect::tls(trust, self.server_name(), stream, deadline).await {
            Tls::Open(stream) => {
                let is_verified = trust.verifies();
                let certificate = if is_verified { "good" } else { "not verified" };
                self.done(Step::Tls, format!("the certificate is {certificate}"));
                Ok(Wire::new(stream))
            }
            Tls::Fault(fault @ Fault::Certificate(..)) => {
                self.seen.fault = Some((Step::Tls, self.began.elapsed(), fault.clone()));
                self.unverified().await.ok_or((Step::Tls, fault))
            }
            Tls::Fault(fault) => Err((Step::Tls, fault)),
            Tls::Foreign(fault) => match self.speaks_plain().await {
                true => Err((Step::Tls, Fault::PlainBehindTls)),
                false => Err((Step::Tls, fault)),
            },
        }
    }

    fn server_name(&self) -> &str {
        self.plan.server_name.as_deref().unwrap_or(&self.plan.host)
    }

    /// The same connection without a look at the certificate, to see what else is wrong.
    async fn unverified(&self) -> Option<Wire> {
        let trust = self.plan.any_certificate.clone();
        let trust = if self.plan.speaks_http2 { trust.over_http2() } else { trust };
        let stream = self.again().await?;
        let deadline = self.soon();
        match connect::tls(&trust, self.server_name(), stream, deadline).await {
            Tls::Open(stream) => Some(Wire::new(stream)),
            Tls::Fault(_) | Tls::Foreign(_) => None,
        }
    }

    async fn tcp(&mut self) -> Went<TcpStream> {
        let deadline = self.deadline();
        let addresses = connect::resolve(&self.plan.host, self.plan.port, deadline)
            .await
            .map_err(|fault| (Step::Dns, fault))?;
        if self.plan.host.parse::<IpAddr>().is_err() {
            let list: Vec<String> =
                addresses.iter().map(|address| address.ip().to_string()).collect();
            self.done(Step::Dns, list.join(", "));
        }
        let deadline = self.deadline();
        let (stream, peer) =
            connect::tcp(&addresses, deadline).await.map_err(|fault| (Step::Tcp, fault))?;
        self.seen.peer = Some(peer);
        self.done(Step::Tcp, peer.to_string());
        Ok(stream)
    }

    async fn handshake(&mut self, wire: &mut Wire) -> Went<()> {
        let key = tidegate_http::websocket::handshake::key();
        let mut asked = request(self.plan, "GET")
            .with("Connection", "Upgrade")
            .with("Upgrade", "websocket")
            .with("Sec-WebSocket-Version", "13")
            .with("Sec-WebSocket-Key", &key);
        if !self.plan.protocols.is_empty() {
            asked = asked.with("Sec-WebSocket-Protocol", &self.plan.protocols.join(", "));
        }
        let head = self.answered(wire, &asked.finish()).await?;
        if head.status != 101 {
            return Err((Step::Handshake, self.refused(wire, head).await));
        }
        switch::check(&head, &key, &self.plan.protocols)
            .map_err(|fault| (Step::Handshake, fault))?;
        let chosen = head.get("sec-websocket-protocol").map(|name| quoted(name.as_bytes()));
        let chosen = chosen.map_or_else(String::new, |name| format!(", subprotocol {name}"));
        self.done(Step::Handshake, format!("101 Switching Protocols{chosen}"));
        Ok(())
    }

    async fn get(&mut self, wire: &mut Wire) -> Went<()> {
        let asked = request(self.plan, "GET").with("Accept", "*/*").with("Connection", "close");
        let head = self.answered(wire, &asked.finish()).await?;
        if head.status >= 400 || head.status == 101 {
            return Err((Step::Answer, self.refused(wire, head).await));
        }
        let deadline = self.began + self.plan.patience;
        let status = match head.get("location") {
            Some(location) => format!("{} to {}", head.status, shown(location)),
            None => head.status.to_string(),
        };
        if !head.is_bodiless() && wire.fill(1, deadline).await == Err(End::Late) {
            return Err((Step::Answer, Fault::NoBody));
        }
        self.done(Step::Answer, status);
        Ok(())
    }

    /// The same over HTTP/2.
    async fn get_by_http2(&mut self, wire: Wire) -> Went<()> {
        let deadline = self.deadline();
        let mut answering = http2::get(wire.into_stream(), self.plan, deadline)
            .await
            .map_err(|fault| (Step::Http, fault))?;
        self.done(Step::Http, "HTTP/2 is spoken");
        let head = answering.head.clone();
        self.seen.head = Some(head.clone());
        if head.status >= 400 {
            let soon = deadline.min(self.soon());
            let body = answering.body(soon, false).await.unwrap_or_default();
            let answer = http1::judge(head, &body, self.plan.trusts_json);
            return Err((Step::Answer, Fault::Answered(answer)));
        }
        let status = head.status.to_string();
        if !head.is_bodiless() && answering.body(deadline, true).await.is_none() {
            return Err((Step::Answer, Fault::NoBody));
        }
        self.done(Step::Answer, status);
        Ok(())
    }

    /// Asks, and tells what kind of server does not answer.
    async fn answered(&mut self, wire: &mut Wire, request: &[u8]) -> Went<Head> {
        let deadline = self.deadline();
        let head = match http1::exchange(wire, request, deadline).await {
            Ok(head) => head,
            Err(fault @ (Fault::ClosedBeforeAnswer | Fault::NoAnswer)) => {
                let fault = self.in_another_tongue().await.unwrap_or(fault);
                return Err((Step::Http, fault));
            }
            Err(fault) => return Err((Step::Http, fault)),
        };
        self.done(Step::Http, "HTTP/1.1 is spoken");
        self.seen.head = Some(head.clone());
        Ok(head)
    }

    async fn refused(&self, wire: &mut Wire, head: Head) -> Fault {
        let deadline = Instant::now() + self.plan.patience;
        let answer = http1::answer(wire, head, deadline, self.plan.trusts_json).await;
        // Many TLS servers answer plain HTTP with a 400 in plain HTTP.
        if answer.head.status == 400 && answer.gateway.is_none() && self.speaks_tls().await {
            return Fault::TlsBehindPlain;
        }
        Fault::Answered(answer)
    }

    /// A server that was silent may be waiting for another protocol.
    async fn in_another_tongue(&self) -> Option<Fault> {
        match tokio::join!(self.speaks_tls(), self.speaks_http2()) {
            (true, _) => Some(Fault::TlsBehindPlain),
            (_, Some(())) => Some(Fault::Http2Only),
            _ => None,
        }
    }

    /// Whether the address answers an HTTP/2 client's preface.
    async fn speaks_http2(&self) -> Option<()> {
        if self.plan.trust.is_some() {
            return None;
        }
        let mut wire = Wire::new(Box::new(self.again().await?));
        let deadline = self.soon();
        wire.send(http1::HTTP2_PREFACE, deadline).await.ok()?;
        wire.fill(9, deadline).await.ok()?;
        http1::is_http2(wire.kept()).then_some(())
    }

    /// Whether the address, where plain HTTP was spoken, answers a TLS handshake.
    async fn speaks_tls(&self) -> bool {
        if self.plan.trust.is_some() {
            return false;
        }
        let (Ok(trust), Some(stream)) = (Trust::nobody(), self.again().await) else {
            return false;
        };
        let deadline = self.soon();
        !matches!(connect::tls(&trust, &self.plan.host, stream, deadline).await, Tls::Foreign(_))
    }

    /// Whether the address, where TLS was spoken, answers plain HTTP.
    async fn speaks_plain(&self) -> bool {
        let Some(stream) = self.again().await else { return false };
        let mut wire = Wire::new(Box::new(stream));
        let asked = Request::new("HEAD", "/", &self.plan.authority).with("Connection", "close");
        let deadline = self.soon();
        http1::exchange(&mut wire, &asked.finish(), deadline).await.is_ok()
    }

    /// Another connection to whoever it was.
    async fn again(&self) -> Option<TcpStream> {
        let deadline = self.soon();
        connect::tcp(self.seen.peer.as_slice(), deadline).await.ok().map(|(stream, _)| stream)
    }

    /// Questions on the side are not waited for as long.
    fn soon(&self) -> Instant {
        Instant::now() + self.plan.patience.min(SIDE_PATIENCE)
    }

    /// Sends a ping and waits for its pong; answers pings and passes over messages meanwhile.
    async fn ping(&mut self, wire: &mut Wire, step: Step) -> Went<()> {
        let deadline = self.deadline();
        let payload = *Uuid::new_v4().as_bytes();
        let fault = match wire.send(&frames::ping(&payload), deadline).await {
            Err(End::Late) => Fault::NoPong,
            // What was sent before it broke is still to be read.
            _ => loop {
                match frames::next(wire, deadline).await {
                    Event::Pong(back) if back == payload => {
                        return Ok(());
                    }
                    Event::Ping(theirs) => {
                        let _ = wire.send(&frames::pong(&theirs), deadline).await;
                    }
                    Event::Data | Event::Pong(_) => {}
                    // The gateway tells of an upstream that has cut the connection.
                    Event::Close(_, reason) if reason.starts_with(UPSTREAM_GONE.as_bytes()) => {
                        break Fault::ClosedAtOnce;
                    }
                    Event::Close(code, reason) => break Fault::ClosedBy(code, quoted(&reason)),
                    Event::Bad(what) => break Fault::BadFrames(what),
                    Event::Ended => break Fault::ClosedAtOnce,
                    Event::Nothing => break Fault::NoPong,
                }
            },
        };
        Err((step, fault))
    }

    /// Sends nothing for a while but what it is asked for; then a ping tells whether anybody is
    /// still there.
    async fn idle(&mut self, wire: &mut Wire) -> Went<()> {
        let began = Instant::now();
        self.began = began;
        let until = began + self.plan.idle;
        let fault = loop {
            match frames::next(wire, until).await {
                Event::Ping(theirs) => {
                    let _ = wire.send(&frames::pong(&theirs), until).await;
                }
                Event::Data | Event::Pong(_) => {}
                Event::Close(code, _) => break Fault::IdleCut(began.elapsed(), code),
                Event::Ended => break Fault::IdleCut(began.elapsed(), None),
                Event::Bad(what) => break Fault::BadFrames(what),
                Event::Nothing => {
                    return match self.ping(wire, Step::Idle).await {
                        Err((step, Fault::NoPong)) => Err((step, Fault::IdleDead)),
                        // It broke while it was idle, and the ping has found out.
                        Err((step, Fault::ClosedAtOnce)) => {
                            Err((step, Fault::IdleCut(began.elapsed(), None)))
                        }
                        Err((step, Fault::ClosedBy(code, _))) => {
                            Err((step, Fault::IdleCut(began.elapsed(), code)))
                        }
                        Err(other) => Err(other),
                        Ok(()) => {
                            self.began = began;
                            self.done(Step::Idle, "still open, and a pong at the end");
                            Ok(())
                        }
                    };
                }
            }
        };
        Err((Step::Idle, fault))
    }
}
