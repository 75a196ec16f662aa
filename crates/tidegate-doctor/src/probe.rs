//! One probe of one address: connects, sends a request, and for a WebSocket pings and idles. It records what it
//! observes and does not know who causes a fault.

use super::connect::{self, ClientTls, TlsOutcome};
use super::fault::{Fault, Response, Step};
use super::frames::{self, Event};
use super::handshake;
use super::head::Head;
use super::http1::{self, RequestBuilder};
use super::http2;
use super::plan::ProbePlan;
use super::stream::{BufferedStream, StreamEnd};
use super::target::{printable, redacted};
use http::header;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tidegate_http::accept::EVENT_STREAM;
use tidegate_http::header_name::spelled;
use tidegate_http::websocket::close_reason::UPSTREAM_GONE_PREFIX;
use tidegate_http::websocket::handshake::{PROTOCOL, VERSION};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Timeout of additional probes, such as whether the server speaks TLS.
const SIDE_PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The observations of a probe.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    /// The steps that succeeded, each with its duration and a note.
    pub completed: Vec<(Step, Duration, String)>,
    /// The fault that ended the probe, or an invalid certificate, after which it continued.
    pub fault: Option<(Step, Duration, Fault)>,
    /// The fault that ended the probe after an invalid certificate.
    pub later_fault: Option<(Step, Duration, Fault)>,
    /// The response's head, if one arrived.
    pub head: Option<Head>,
    /// The address that accepted the connection.
    pub peer: Option<SocketAddr>,
}

impl Observations {
    /// Whether the response is an event stream, which has no end.
    pub(crate) fn streams(&self) -> bool {
        self.head.as_ref().is_some_and(|head| {
            head.get(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with(EVENT_STREAM))
        })
    }
}

/// Takes each step, up to the first fault.
pub(crate) async fn run(plan: &ProbePlan) -> Observations {
    let mut probe =
        RunningProbe { plan, observed: Observations::default(), started: Instant::now() };
    let ended =
        probe.run_steps().await.err().map(|(step, fault)| (step, probe.started.elapsed(), fault));
    match probe.observed.fault {
        Some(_) => probe.observed.later_fault = ended,
        None => probe.observed.fault = ended,
    }
    probe.observed
}

/// Sends another request to the same address and reads its response.
pub(crate) async fn send_request(plan: &ProbePlan, request: Vec<u8>) -> Result<Response, Fault> {
    let mut probe =
        RunningProbe { plan, observed: Observations::default(), started: Instant::now() };
    let mut stream = probe.connect().await.map_err(|(_, fault)| fault)?;
    let deadline = probe.deadline();
    let head = http1::exchange(&mut stream, &request, deadline).await?;
    Ok(http1::read_response(&mut stream, head, deadline, plan.trusts_json).await)
}

/// A request for the plan's path with the plan's headers.
pub(crate) fn request(plan: &ProbePlan, method: &str) -> RequestBuilder {
    let mut request = RequestBuilder::new(method, &plan.path_and_query, &plan.authority);
    if let Some(origin) = &plan.origin {
        request = request.header(spelled::ORIGIN, origin);
    }
    // A preflight carries no credentials.
    for (name, value) in plan.headers.iter().filter(|_| method != "OPTIONS") {
        request = request.header(name, value);
    }
    request
}

struct RunningProbe<'p> {
    plan: &'p ProbePlan,
    observed: Observations,
    started: Instant,
}

type StepResult<T> = Result<T, (Step, Fault)>;

impl RunningProbe<'_> {
    fn deadline(&mut self) -> Instant {
        self.started = Instant::now();
        self.started + self.plan.step_timeout
    }

    fn complete(&mut self, step: Step, note: impl Into<String>) {
        self.observed.completed.push((step, self.started.elapsed(), note.into()));
    }

    async fn run_steps(&mut self) -> StepResult<()> {
        let mut stream = self.connect().await?;
        if self.plan.speaks_http2 && !self.plan.is_websocket {
            return self.get_over_http2(stream).await;
        }
        if self.plan.is_websocket {
            self.handshake(&mut stream).await?;
            self.ping(&mut stream, Step::Ping).await?;
            self.complete(Step::Ping, "pong");
            if !self.plan.idle.is_zero() {
                self.check_idle_connection(&mut stream).await?;
            }
            let _ = stream.send(&frames::close(), Instant::now() + self.plan.step_timeout).await;
            Ok(())
        } else {
            self.get(&mut stream).await
        }
    }

    async fn connect(&mut self) -> StepResult<BufferedStream> {
        let stream = self.connect_tcp().await?;
        let Some(trust) = &self.plan.trust else {
            return Ok(BufferedStream::new(Box::new(stream)));
        };
        let deadline = self.deadline();
        match connect::connect_tls(trust, self.server_name(), stream, deadline).await {
            TlsOutcome::Open(stream) => {
                let is_verified = trust.verifies();
                let certificate =
                    if is_verified { "good" } else { "the certificate is not verified" };
                self.complete(Step::Tls, format!("the certificate is {certificate}"));
                Ok(BufferedStream::new(stream))
            }
            TlsOutcome::Fault(fault @ Fault::Certificate(..)) => {
                self.observed.fault = Some((Step::Tls, self.started.elapsed(), fault.clone()));
                self.connect_without_verification().await.ok_or((Step::Tls, fault))
            }
            TlsOutcome::Fault(fault) => Err((Step::Tls, fault)),
            TlsOutcome::Missing(fault) => match self.speaks_plain().await {
                true => Err((Step::Tls, Fault::PlainBehindTls)),
                false => Err((Step::Tls, fault)),
            },
        }
    }

    fn server_name(&self) -> &str {
        self.plan.server_name.as_deref().unwrap_or(&self.plan.host)
    }

    /// Connects again without verifying the certificate, to find further faults.
    async fn connect_without_verification(&self) -> Option<BufferedStream> {
        let trust = self.plan.any_certificate.clone();
        let trust = if self.plan.speaks_http2 { trust.over_http2() } else { trust };
        let stream = self.reconnect().await?;
        let deadline = self.side_deadline();
        match connect::connect_tls(&trust, self.server_name(), stream, deadline).await {
            TlsOutcome::Open(stream) => Some(BufferedStream::new(stream)),
            TlsOutcome::Fault(_) | TlsOutcome::Missing(_) => None,
        }
    }

    async fn connect_tcp(&mut self) -> StepResult<TcpStream> {
        let deadline = self.deadline();
        let addresses = connect::resolve(&self.plan.host, self.plan.port, deadline)
            .await
            .map_err(|fault| (Step::Dns, fault))?;
        if self.plan.host.parse::<IpAddr>().is_err() {
            let list: Vec<String> =
                addresses.iter().map(|address| address.ip().to_string()).collect();
            self.complete(Step::Dns, list.join(", "));
        }
        let deadline = self.deadline();
        let (stream, peer) =
            connect::connect_tcp(&addresses, deadline).await.map_err(|fault| (Step::Tcp, fault))?;
        self.observed.peer = Some(peer);
        self.complete(Step::Tcp, peer.to_string());
        Ok(stream)
    }

    async fn handshake(&mut self, stream: &mut BufferedStream) -> StepResult<()> {
        let key = tidegate_http::websocket::handshake::key();
        let mut asked = request(self.plan, "GET")
            .header(spelled::CONNECTION, "Upgrade")
            .header(spelled::UPGRADE, PROTOCOL)
            .header(spelled::SEC_WEBSOCKET_VERSION, VERSION)
            .header(spelled::SEC_WEBSOCKET_KEY, &key);
        if !self.plan.protocols.is_empty() {
            asked = asked.header(spelled::SEC_WEBSOCKET_PROTOCOL, &self.plan.protocols.join(", "));
        }
        let head = self.read_head(stream, &asked.finish()).await?;
        if head.status != 101 {
            return Err((Step::Handshake, self.read_unexpected_response(stream, head).await));
        }
        handshake::check(&head, &key, &self.plan.protocols)
            .map_err(|fault| (Step::Handshake, fault))?;
        let chosen =
            head.get(header::SEC_WEBSOCKET_PROTOCOL).map(|name| printable(name.as_bytes()));
        let chosen = chosen.map_or_else(String::new, |name| format!(", subprotocol {name}"));
        self.complete(Step::Handshake, format!("101 Switching Protocols{chosen}"));
        Ok(())
    }

    async fn get(&mut self, stream: &mut BufferedStream) -> StepResult<()> {
        let asked = request(self.plan, "GET")
            .header(spelled::ACCEPT, "*/*")
            .header(spelled::CONNECTION, "close");
        let head = self.read_head(stream, &asked.finish()).await?;
        if head.status >= 400 || head.status == 101 {
            return Err((Step::Response, self.read_unexpected_response(stream, head).await));
        }
        let deadline = self.started + self.plan.step_timeout;
        let status = match head.get(header::LOCATION) {
            Some(location) => format!("{} to {}", head.status, redacted(location)),
            None => head.status.to_string(),
        };
        if !head.is_bodiless() && stream.fill(1, deadline).await == Err(StreamEnd::TimedOut) {
            return Err((Step::Response, Fault::NoBody));
        }
        self.complete(Step::Response, status);
        Ok(())
    }

    /// The plain request over HTTP/2.
    async fn get_over_http2(&mut self, stream: BufferedStream) -> StepResult<()> {
        let deadline = self.deadline();
        let mut pending = http2::get(stream.into_inner(), self.plan, deadline)
            .await
            .map_err(|fault| (Step::Http, fault))?;
        self.complete(Step::Http, "the server supports HTTP/2");
        let head = pending.head.clone();
        self.observed.head = Some(head.clone());
        if head.status >= 400 {
            let soon = deadline.min(self.side_deadline());
            let body = pending.body(soon, false).await.unwrap_or_default();
            let response = http1::classify(head, &body, self.plan.trusts_json);
            return Err((Step::Response, Fault::UnexpectedResponse(response)));
        }
        let status = head.status.to_string();
        if !head.is_bodiless() && pending.body(deadline, true).await.is_none() {
            return Err((Step::Response, Fault::NoBody));
        }
        self.complete(Step::Response, status);
        Ok(())
    }

    /// Sends the request and reads the head; finds out what protocol a silent server speaks.
    async fn read_head(&mut self, stream: &mut BufferedStream, request: &[u8]) -> StepResult<Head> {
        let deadline = self.deadline();
        let head = match http1::exchange(stream, request, deadline).await {
            Ok(head) => head,
            Err(fault @ (Fault::ClosedBeforeAnswer | Fault::NoAnswer)) => {
                let fault = self.find_other_protocol().await.unwrap_or(fault);
                return Err((Step::Http, fault));
            }
            Err(fault) => return Err((Step::Http, fault)),
        };
        self.complete(Step::Http, "the server supports HTTP/1.1");
        self.observed.head = Some(head.clone());
        Ok(head)
    }

    async fn read_unexpected_response(&self, stream: &mut BufferedStream, head: Head) -> Fault {
        let deadline = Instant::now() + self.plan.step_timeout;
        let response = http1::read_response(stream, head, deadline, self.plan.trusts_json).await;
        // Many TLS servers answer plain HTTP with a 400 in plain HTTP.
        if response.head.status == 400 && response.gateway.is_none() && self.speaks_tls().await {
            return Fault::TlsBehindPlain;
        }
        Fault::UnexpectedResponse(response)
    }

    /// The protocol that a silent server waits for: TLS or HTTP/2.
    async fn find_other_protocol(&self) -> Option<Fault> {
        match tokio::join!(self.speaks_tls(), self.speaks_http2()) {
            (true, _) => Some(Fault::TlsBehindPlain),
            (_, Some(())) => Some(Fault::Http2Only),
            _ => None,
        }
    }

    /// Whether the address answers an HTTP/2 preface.
    async fn speaks_http2(&self) -> Option<()> {
        if self.plan.trust.is_some() {
            return None;
        }
        let mut stream = BufferedStream::new(Box::new(self.reconnect().await?));
        let deadline = self.side_deadline();
        stream.send(http1::HTTP2_PREFACE, deadline).await.ok()?;
        stream.fill(9, deadline).await.ok()?;
        http1::is_http2(stream.buffered()).then_some(())
    }

    /// Whether the address answers a TLS handshake, if plain HTTP was tried.
    async fn speaks_tls(&self) -> bool {
        if self.plan.trust.is_some() {
            return false;
        }
        let (Ok(trust), Some(stream)) = (ClientTls::no_roots(), self.reconnect().await) else {
            return false;
        };
        let deadline = self.side_deadline();
        !matches!(
            connect::connect_tls(&trust, &self.plan.host, stream, deadline).await,
            TlsOutcome::Missing(_)
        )
    }

    /// Whether the address answers plain HTTP, if TLS was tried.
    async fn speaks_plain(&self) -> bool {
        let Some(stream) = self.reconnect().await else { return false };
        let mut stream = BufferedStream::new(Box::new(stream));
        let asked = RequestBuilder::new("HEAD", "/", &self.plan.authority)
            .header(spelled::CONNECTION, "close");
        let deadline = self.side_deadline();
        http1::exchange(&mut stream, &asked.finish(), deadline).await.is_ok()
    }

    /// Another connection to the same address.
    async fn reconnect(&self) -> Option<TcpStream> {
        let deadline = self.side_deadline();
        connect::connect_tcp(self.observed.peer.as_slice(), deadline)
            .await
            .ok()
            .map(|(stream, _)| stream)
    }

    /// The deadline of an additional probe, which is shorter.
    fn side_deadline(&self) -> Instant {
        Instant::now() + self.plan.step_timeout.min(SIDE_PROBE_TIMEOUT)
    }

    /// Sends a ping and waits for its pong; answers pings and skips messages meanwhile.
    async fn ping(&mut self, stream: &mut BufferedStream, step: Step) -> StepResult<()> {
        let deadline = self.deadline();
        let payload = *Uuid::new_v4().as_bytes();
        let fault = match stream.send(&frames::ping(&payload), deadline).await {
            Err(StreamEnd::TimedOut) => Fault::NoPong,
            // Bytes received before the connection broke can still be read.
            _ => loop {
                match frames::next_event(stream, deadline).await {
                    Event::Pong(back) if back == payload => {
                        return Ok(());
                    }
                    Event::Ping(theirs) => {
                        let _ = stream.send(&frames::pong(&theirs), deadline).await;
                    }
                    Event::Data | Event::Pong(_) => {}
                    // The gateway reports that its upstream cut the connection.
                    Event::Close(_, reason)
                        if reason.starts_with(UPSTREAM_GONE_PREFIX.as_bytes()) =>
                    {
                        break Fault::ClosedAtOnce;
                    }
                    Event::Close(code, reason) => break Fault::ClosedBy(code, printable(&reason)),
                    Event::Invalid(what) => break Fault::BadFrames(what),
                    Event::Ended => break Fault::ClosedAtOnce,
                    Event::TimedOut => break Fault::NoPong,
                }
            },
        };
        Err((step, fault))
    }

    /// Stays idle, except for pongs; then a ping shows whether the connection is still alive.
    async fn check_idle_connection(&mut self, stream: &mut BufferedStream) -> StepResult<()> {
        let started = Instant::now();
        self.started = started;
        let until = started + self.plan.idle;
        let fault = loop {
            match frames::next_event(stream, until).await {
                Event::Ping(theirs) => {
                    let _ = stream.send(&frames::pong(&theirs), until).await;
                }
                Event::Data | Event::Pong(_) => {}
                Event::Close(code, _) => break Fault::IdleCut(started.elapsed(), code),
                Event::Ended => break Fault::IdleCut(started.elapsed(), None),
                Event::Invalid(what) => break Fault::BadFrames(what),
                Event::TimedOut => {
                    return match self.ping(stream, Step::Idle).await {
                        Err((step, Fault::NoPong)) => Err((step, Fault::IdleDead)),
                        // The connection broke while it was idle, and the ping found out.
                        Err((step, Fault::ClosedAtOnce)) => {
                            Err((step, Fault::IdleCut(started.elapsed(), None)))
                        }
                        Err((step, Fault::ClosedBy(code, _))) => {
                            Err((step, Fault::IdleCut(started.elapsed(), code)))
                        }
                        Err(other) => Err(other),
                        Ok(()) => {
                            self.started = started;
                            self.complete(Step::Idle, "still open; a ping at the end was answered");
                            Ok(())
                        }
                    };
                }
            }
        };
        Err((Step::Idle, fault))
    }
}
