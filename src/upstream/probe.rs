//! Active health checks: asks each endpoint in turn and records the answer. Selects no endpoint for requests.

mod connect;
mod grpc;
mod kept;

use self::kept::KeptConnection;
use super::descriptors::is_out_of_files;
use super::reason::failure_reason;
use super::{Endpoint, Pool};
use crate::background;
use crate::tls;
use pingora::http::RequestHeader;
use pingora::listeners::ALPN;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_http::address::Address;
use tidegate_http::header_name::spelled;
use tidegate_http::websocket::{close_code, frame, handshake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// A 101 that opens no WebSocket.
const NO_WEBSOCKET: ErrorType = ErrorType::Custom("invalid WebSocket handshake");

/// How long an endpoint may take to end the WebSocket of a health check.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    /// What is asked.
    pub check: ProbeCheck,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many consecutive successes make an endpoint healthy.
    pub healthy_after: u32,
    /// So many consecutive failures make an endpoint unhealthy.
    pub unhealthy_after: u32,
    /// The `Host` of the request; the endpoint's own unless given.
    pub host: Option<String>,
}

/// What an endpoint is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ProbeCheck {
    /// To accept a connection, and the TLS handshake if there is to be one.
    Tcp,
    /// To answer a GET of this path with 200 to 399.
    Http(String),
    /// To accept a WebSocket at this path.
    WebSocket(String),
    /// To say that this service of gRPC is serving (`grpc.health.v1`); the whole server where it is
    /// empty.
    Grpc(String),
}

/// The probes of a snapshot. They end with it.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    tasks: Vec<JoinHandle<()>>,
    /// Whether the first checks may begin.
    is_released: watch::Sender<bool>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Probes {
    /// Checks the endpoints of a pool from [`Probes::release`] on; `on_unhealthy` gets each that is no longer healthy.
    pub(crate) fn start(
        &mut self,
        pool: &Arc<Pool>,
        probe: &Arc<Probe>,
        on_unhealthy: impl Fn(&str) + Send + Sync + 'static,
    ) {
        let on_unhealthy = Arc::new(on_unhealthy);
        for index in 0..pool.endpoints().len() {
            let (pool, probe, on_unhealthy) =
                (Arc::clone(pool), Arc::clone(probe), Arc::clone(&on_unhealthy));
            let name = format!("health checks of {}", pool.name());
            let is_released = self.is_released.subscribe();
            let asking = move || {
                let (pool, probe, on_unhealthy) =
                    (Arc::clone(&pool), Arc::clone(&probe), Arc::clone(&on_unhealthy));
                let mut is_released = is_released.clone();
                async move {
                    if is_released.wait_for(|is_released| *is_released).await.is_ok() {
                        probe.run(&pool, index, &*on_unhealthy).await;
                    }
                }
            };
            self.tasks.push(background::spawn_restarting(name, asking));
        }
    }

    /// Lets the checks begin. Not before the gateway has opened the files that it starts with: many
    /// checks could leave it none.
    pub(crate) fn release(&self) {
        self.is_released.send_replace(true);
    }
}

impl Probe {
    async fn run(&self, pool: &Pool, index: usize, on_unhealthy: &(dyn Fn(&str) + Send + Sync)) {
        let Some(endpoint) = pool.endpoints().get(index) else { return };
        connect::prepare().await;
        let mut looks = interval(self.interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = None;
        loop {
            let next = looks.tick();
            tokio::pin!(next);
            loop {
                tokio::select! {
                    // First the connection, whose answer can be read to its end even if the next check
                    // is overdue.
                    biased;
                    () = KeptConnection::watch(&mut kept) => {}
                    _ = &mut next => break,
                }
            }
            let found =
                match timeout(self.timeout, self.check_endpoint(pool, endpoint, &mut kept)).await {
                    Ok(found) => found,
                    Err(_) => Error::e_explain(ErrorType::ReadTimedout, "no response in time"),
                };
            // Without a file for the check nothing is learnt of the endpoint.
            if found.as_ref().is_err_and(|error| is_out_of_files(error)) {
                continue;
            }
            let (name, written) = (pool.name(), endpoint.address_text());
            let changes = endpoint.health().record_check(
                found.is_ok(),
                self.healthy_after,
                self.unhealthy_after,
            );
            match found {
                Ok(()) if changes => {
                    log::info!("upstream `{name}`: endpoint {written} is healthy again")
                }
                Err(error) if changes => {
                    let reason = failure_reason(&self.check, self.timeout, &error);
                    log::warn!("upstream `{name}`: endpoint {written} is unhealthy: {reason}");
                    on_unhealthy(written);
                }
                _ => {}
            }
        }
    }

    /// Asks it, on the connection of the check before where that is kept.
    async fn check_endpoint(
        &self,
        pool: &Pool,
        endpoint: &Endpoint,
        kept: &mut Option<KeptConnection>,
    ) -> Result<()> {
        match kept.take() {
            Some(connection) if connection.can_serve_check(endpoint, Instant::now()) => {
                let (address, opened) = (connection.address().clone(), connection.opened());
                let peer = self.peer(pool, endpoint, &address)?;
                if let Some(session) = connection.reuse(&peer).await
                    && let Ok(session) = self.check_over_session(session, &peer, endpoint).await
                {
                    *kept = Some(KeptConnection::new(session, address, opened));
                    return Ok(());
                }
                // The connection may be what failed: the endpoint may have closed it just now. A new
                // one decides.
            }
            Some(connection) => connection.close().await,
            None => {}
        }
        let Some(address) = endpoint.address(&[]) else {
            return Error::e_explain(
                ErrorType::ConnectError,
                "the name of the endpoint does not resolve",
            );
        };
        let peer = self.peer(pool, endpoint, &address)?;
        match &self.check {
            ProbeCheck::Tcp => connect::connect(&peer).await.map(drop),
            ProbeCheck::Http(_) | ProbeCheck::Grpc(_) => {
                let opened = Instant::now();
                let session = connect::open(&peer).await?;
                let mut session = self.check_over_session(session, &peer, endpoint).await?;
                // Without TLS a connection costs little, and a new one shows more.
                match peer.is_tls() {
                    true => *kept = Some(KeptConnection::new(session, address, opened)),
                    false => session.shutdown().await,
                }
                Ok(())
            }
            ProbeCheck::WebSocket(path) => {
                let mut request = self.request(path, endpoint)?;
                request.insert_header(spelled::CONNECTION, "Upgrade")?;
                request.insert_header(spelled::UPGRADE, handshake::PROTOCOL)?;
                request.insert_header(spelled::SEC_WEBSOCKET_VERSION, handshake::VERSION)?;
                let key = handshake::key();
                request.insert_header(spelled::SEC_WEBSOCKET_KEY, key.as_str())?;
                match check_websocket(&peer, request, &key).await? {
                    101 => Ok(()),
                    status => Error::e_explain(
                        ErrorType::HTTPStatus(status),
                        "the endpoint did not switch to WebSocket",
                    ),
                }
            }
        }
    }

    fn peer(&self, pool: &Pool, endpoint: &Endpoint, address: &Address) -> Result<HttpPeer> {
        let protocol = &pool.settings().protocol;
        let mut peer = match &protocol.tls {
            None => tls::plain_peer(address)?,
            Some(tls) => tls.peer(address, endpoint.host())?,
        };
        peer.options.connection_timeout = Some(self.timeout);
        match &self.check {
            ProbeCheck::Tcp | ProbeCheck::WebSocket(_) => {}
            ProbeCheck::Http(_) => peer.options.alpn.clone_from(&protocol.alpn),
            // gRPC is HTTP/2, whatever requests are sent by.
            ProbeCheck::Grpc(_) => peer.options.alpn = ALPN::H2,
        }
        Ok(peer)
    }

    /// Asks by one request. Returns the session with which the connection can be kept if the answer
    /// is good.
    async fn check_over_session(
        &self,
        mut session: HttpSession,
        peer: &HttpPeer,
        endpoint: &Endpoint,
    ) -> Result<HttpSession> {
        match &self.check {
            ProbeCheck::Grpc(service) => {
                let mut request = self.request(grpc::HEALTH_CHECK_PATH, endpoint)?;
                request.set_method(http::Method::POST);
                request
                    .insert_header(spelled::CONTENT_TYPE, tidegate_http::grpc::GRPC_MEDIA_TYPE)?;
                request.insert_header(spelled::TE, "trailers")?;
                grpc::check_service(&mut session, peer, request, service).await?;
            }
            ProbeCheck::Http(path) => {
                let request = self.request(path, endpoint)?;
                connect::send_head(&mut session, peer, request).await?;
                session.finish_request_body().await?;
                let status = final_status(&mut session).await?;
                if !(200..400).contains(&status) {
                    session.shutdown().await;
                    return Error::e_explain(
                        ErrorType::HTTPStatus(status),
                        "the status of the response",
                    );
                }
            }
            ProbeCheck::Tcp | ProbeCheck::WebSocket(_) => {}
        }
        Ok(session)
    }

    fn request(&self, path: &str, endpoint: &Endpoint) -> Result<RequestHeader> {
        let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
        request
            .insert_header(spelled::HOST, self.host.as_deref().unwrap_or(endpoint.authority()))?;
        request
            .insert_header(spelled::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))?;
        Ok(request)
    }
}

/// The status that a WebSocket's handshake with this key is answered with; an error where a 101 is not
/// one that clients would get through (RFC 6455, section 4.1). What it opens is closed in good order:
/// without a close frame the service would count an abnormal end (RFC 6455, section 7.1.5).
async fn check_websocket(peer: &HttpPeer, request: RequestHeader, key: &str) -> Result<u16> {
    let mut session = connect::open(peer).await?;
    connect::send_head(&mut session, peer, request).await?;
    session.finish_request_body().await?;
    let status = final_status(&mut session).await?;
    if status == 101
        && let Some(head) = session.response_header()
    {
        handshake::check_answer(key.as_bytes(), head.version, &head.headers)
            .or_else(|error| Error::e_explain(NO_WEBSOCKET, error.reason()))?;
    }
    match session {
        HttpSession::H1(session) if status == 101 => {
            let mut stream = session.into_inner();
            // The check is over; the service may take its time.
            tokio::spawn(timeout(CLOSE_TIMEOUT, async move {
                let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
                let close = frame::close(close_code::NORMAL, "", Some([a, b, c, d]));
                stream.write_all(&close).await?;
                stream.flush().await?;
                // RFC 6455, section 7.1.1: the server ends the connection.
                let mut rest = [0; 512];
                while stream.read(&mut rest).await? > 0 {}
                let _ = stream.shutdown().await;
                io::Result::Ok(())
            }));
        }
        mut session => session.shutdown().await,
    }
    Ok(status)
}

/// The status of the final response. Interim ones, such as 103, may come before it, however many
/// (RFC 9110, section 15.2); 101 is final. The check's timeout bounds the wait.
async fn final_status(session: &mut HttpSession) -> Result<u16> {
    loop {
        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |head| head.status.as_u16());
        // Over HTTP/2 there is one head: the `h2` crate keeps interim ones to itself.
        let is_interim = (100..200).contains(&status) && status != 101;
        if !is_interim || !matches!(session, HttpSession::H1(_)) {
            return Ok(status);
        }
    }
}
