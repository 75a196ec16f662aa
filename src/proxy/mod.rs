//! The adapter to Pingora: implements its hooks by a few lines each, which call the modules below. Decides nothing
//! itself, and is the only room that knows both Pingora's phases and the gateway's snapshot.
//!
//! The file is long because the table of hooks is beside the one implementation of Pingora's trait that it describes.
//!
//! The hooks, in the order of a request:
//!
//! | hook | what it does | module |
//! |---|---|---|
//! | `new_ctx` | creates the state of the request and counts it as in flight | `context`, `task_state` |
//! | `init_downstream_modules` | adds compression and gRPC-Web, after all filters | `compression`, `grpc_web` |
//! | `request_filter` | reads the snapshot, admits the request and finds its route | `request_phase` |
//! | | starts its span | `tracing` |
//! | | runs the filters | `mod` |
//! | | registers a WebSocket handshake, or refuses it | `session_quota` |
//! | | records the explanation, if the client has the admin token | `explain_header` |
//! | | starts the timeout of the request's body | `body_timeout` |
//! | | collects the body for the filters that want it whole, and shows it to them | `request_body` |
//! | | sends the gateway's own answer, if there is one | `reply` |
//! | `request_cache_filter`, `cache_key_callback`, `cache_vary_filter`, `cache_hit_filter`, `cache_miss`, `should_serve_stale`, `range_header_filter`, `response_cache_filter` | which requests the cache answers, with what, and what it stores | `caching` |
//! | `proxy_upstream_filter` | answers `only-if-cached` without an upstream | `caching` |
//! | `upstream_peer` | waits for the backoff, selects an endpoint and describes it to Pingora | `target`, `retry` |
//! | `connected_to_upstream` | counts the connection and prepares to cut it off | `first_byte_timeout` |
//! | `fail_to_connect`, `error_while_proxy` | decides whether another attempt follows | `retry` |
//! | `upstream_request_filter` | answers `Expect` for an HTTP/2 upstream | `expectation` |
//! | | sets path and headers | `forward` |
//! | | starts the copy for the mirror | `mirror` |
//! | `request_body_filter` | counts the body, limits its size and its time, copies it | `body_timeout`, `first_byte_timeout`, `mirror` |
//! | | shows it to the filters that want it part by part | `request_body` |
//! | `upstream_response_filter` | checks the framing; decides whether the response is final | `response_framing`, `retry` |
//! | `upstream_response_body_filter`, `upstream_response_trailer_filter` | ends the deadline, trims trailers | `first_byte_timeout`, `response_framing` |
//! | `response_filter` | counts a session after a 101, or answers 429 | `session_quota`, `context` |
//! | | puts the gateway's page in place of an error | `failure` |
//! | | removes hop-by-hop headers, runs the filters in reverse | `forward`, `mod` |
//! | | begins to show the body to filters | `response_body` |
//! | `response_body_filter` | counts the body; ends a session over HTTP/2 | `mod` |
//! | `fail_to_proxy` | answers the client, tells the operator why | `failure`, `reply` |
//! | `logging` | reports the end to filters, log, metrics and trace | `context`, `tracing` |
//!
//! Pingora calls no hook for a request whose task is dropped: `cut_off` reports its end.

mod body_timeout;
mod caching;
mod compression;
mod context;
mod cut_off;
mod expectation;
mod explain_header;
mod failure;
mod filter_error;
mod filtered_body;
mod first_byte_timeout;
mod forward;
mod grpc_web;
mod mirror;
mod reply;
mod request_body;
mod request_phase;
mod response_body;
mod response_framing;
mod retry;
mod session_quota;
mod shortage;
mod target;
pub(crate) mod task_state;
mod tracing;

pub(crate) use request_body::IsCollected;

use crate::admission::{Rejection, filter, run_response_filters};
use crate::snapshot::split;
use crate::state::State;
use crate::upstream::begin_use;
use async_trait::async_trait;
use bytes::Bytes;
use context::Context;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, RespCacheable};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, RangeType, Session};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;
use tidegate_http::address::Address;
use tidegate_http::header_name::spelled;

/// The gateway, as Pingora calls it.
pub(crate) struct Proxy {
    /// The address that it serves.
    pub listener: Address,
    /// What it shares with the other listeners.
    pub state: State,
}

#[async_trait]
impl ProxyHttp for Proxy {
    /// In a box: Pingora keeps it in several of its futures, and moves it from one to the next.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Self::CTX {
        task_state::record_request_start();
        Box::new(Context::new(
            Arc::clone(&self.state.current.load().fallback),
            self.state.in_flight.count_request(),
        ))
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        modules.add_module(Box::new(compression::CompressionBuilder));
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        ctx.head = cut_off::KeptRequestHead::from_session(session);
        let admitted = request_phase::admit(self, session, ctx);
        compression::prepare(session, ctx);
        grpc_web::translate(session, ctx);
        let is_admitted = admitted.is_ok();
        let rejection = match admitted {
            Ok(()) => {
                let rejection = filter_request(session, ctx).await;
                if !ctx.route.splits.is_empty() {
                    let headers = &session.req_header().headers;
                    ctx.split_pool = split(&ctx.route.splits, headers, &ctx.exchange).cloned();
                }
                if rejection.is_some() {
                    rejection
                } else {
                    let rejection = request_phase::refuse(session, ctx)
                        .or_else(|| {
                            session_quota::claim_connection(&self.state.connection_limiter, ctx)
                        })
                        .or_else(|| session_quota::register(&self.state, session, ctx));
                    ctx.outcome.is_intended |= rejection.is_some();
                    rejection
                }
            }
            Err(rejection) => {
                // Malformed, or too much: no fault of the gateway or the service.
                ctx.outcome.is_intended = true;
                ctx.outcome.error = rejection.error_message().map(str::to_owned);
                Some(rejection)
            }
        };
        explain_header::record(session, ctx, is_admitted, rejection.as_ref());
        match rejection {
            None => {
                body_timeout::start(session, ctx);
                match ctx.route.request_body_filters {
                    None => Ok(false),
                    // In a box: few requests need it, and all would pay for its size.
                    Some(_) => {
                        Box::pin(request_body::collect_for_filters(
                            &self.state.overload,
                            session,
                            ctx,
                        ))
                        .await
                    }
                }
            }
            Some(rejection) => reply::send(session, ctx, rejection.reply).await.map(|()| true),
        }
    }

    fn request_cache_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<()> {
        caching::enable(self, session, ctx);
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, ctx: &mut Self::CTX) -> Result<CacheKey> {
        caching::key(session, ctx)
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        _: &mut Self::CTX,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        caching::variance(meta, request)
    }

    async fn cache_hit_filter(
        &self,
        _: &mut Session,
        meta: &CacheMeta,
        _: &mut HitHandler,
        _: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<ForcedFreshness>> {
        Ok(caching::forced_freshness(meta, ctx))
    }

    fn cache_miss(&self, session: &mut Session, ctx: &mut Self::CTX) {
        caching::record_miss(session, ctx);
    }

    fn should_serve_stale(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
        error: Option<&Error>,
    ) -> bool {
        caching::may_serve_stale(session, ctx, error)
    }

    fn range_header_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut Self::CTX,
    ) -> RangeType {
        caching::range(session, response)
    }

    async fn proxy_upstream_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> Result<bool> {
        if ctx.caching.is_none() {
            return Ok(true);
        }
        // In a box: few requests need it, and all would pay for its size.
        Box::pin(caching::may_ask_upstream(session, ctx)).await
    }

    fn response_cache_filter(
        &self,
        _: &Session,
        response: &ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<RespCacheable> {
        Ok(caching::cacheability(response, ctx))
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> Result<Box<HttpPeer>> {
        target::select_peer(session, ctx).await
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        is_reused: bool,
        _: &HttpPeer,
        _: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(pool) = ctx.pool() {
            pool.counts().record_connection(is_reused);
        }
        ctx.attempt.connection_use = begin_use(digest)?;
        first_byte_timeout::start(digest, ctx);
        if let Some(permit) = &mut ctx.attempt.upstream_permit {
            permit.connected();
        }
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Self::CTX,
        is_reused: bool,
    ) -> Box<Error> {
        retry::connection_failed(session, error, ctx, is_reused)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        response_framing::check(session, response, ctx)?;
        caching::record_response(response, ctx);
        retry::check_response(session, response, ctx)
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        is_end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        match is_end {
            true => first_byte_timeout::check(ctx).map(|()| None),
            false => Ok(None),
        }
    }

    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Self::CTX,
    ) -> Result<()> {
        response_framing::trim_trailers(trailers);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        retry::connect_failed(peer, &self.state.overload, ctx, error)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        match &ctx.body.kept {
            // A further attempt gets the body again, as far as it has arrived.
            None => ctx.body.received = 0,
            // In a box: few requests need it, and all would pay for its size.
            Some(_) => Box::pin(request_body::prepare_attempt(session, ctx)).await?,
        }
        first_byte_timeout::start_request_timeout(upstream_request, ctx);
        expectation::answer_expect(session, upstream_request, ctx).await?;
        forward::prepare(session, upstream_request, ctx)?;
        mirror::start(upstream_request, ctx);
        caching::record_request(ctx);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        // With an HTTP/2 upstream, Pingora passes the end of a body that was not foreseen (trailers follow it, or an
        // empty DATA frame) as `None` alone.
        let is_end = is_end || body.is_none();
        if is_end && body.as_ref().is_some_and(Bytes::is_empty) {
            // The end of the body, in an empty DATA frame of its own. Pingora would write it to an
            // HTTP/1.1 upstream as a chunk of no length, which is a last chunk, and then write the
            // last chunk (RFC 9112, section 7.1): five bytes that begin the next request.
            *body = None;
        }
        // What follows the handshake of a WebSocket is no body, even where the upstream refuses the session.
        if ctx.route.request_body_filters.is_some() && !ctx.exchange.is_websocket {
            // In a box: few requests need it, and all would pay for its size.
            return Box::pin(forward_filtered_body_part(session, body, is_end, ctx)).await;
        }
        mirror::copy_body(body.as_ref(), is_end, ctx);
        pass_body(session, body.as_ref(), is_end, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let is_interim = response.status.is_informational()
            && response.status != StatusCode::SWITCHING_PROTOCOLS;
        if is_interim {
            forward::clean_interim(session, response);
            return caching::pass_interim(session, response).await;
        }
        let opened = match ctx.session.bridge_key {
            None => StatusCode::SWITCHING_PROTOCOLS,
            // RFC 8441, section 5: nothing is switched there.
            Some(_) => StatusCode::OK,
        };
        if response.status == opened {
            session_quota::accept(&self.state.sessions, ctx).await?;
        }
        caching::restore_http2(session, ctx);
        caching::invalidate(self.state.cache.store(), session, response, ctx);
        if !caching::is_from_cache(session) {
            failure::intercept(session, response, ctx)?;
        }
        if ctx.route.response_body_filters.is_some() {
            response_body::check_length(session, response, ctx)?;
        }
        forward::remove_hop_by_hop_headers(session, response);
        filter_response(session.req_header(), response, ctx).await?;
        if response.status == opened {
            session_quota::add_renewal_cookie(response, ctx)?;
        }
        caching::add_status(session, response, ctx)?;
        if ctx.route.response_body_filters.is_some() {
            response_body::begin(&self.state.overload, session, response, ctx)?;
        }
        ctx.outcome.response_status = Some(response.status);
        if response.status == opened {
            ctx.record_open(session, opened);
        } else {
            // Refused: there is no session, and the registry forgets it. The task keeps it until the request ends,
            // because the session's deadline cuts off a refusal without an end.
            ctx.session.permit = None;
            ctx.session.connection_permit = None;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        if ctx.outcome.response_status.is_some_and(response_framing::is_bodiless) {
            // An upstream over HTTP/2 may send a body all the same.
            *body = None;
        }
        ctx.body.sent += body.as_ref().map_or(0, |body| body.len() as u64);
        if let (Some(limit), None) = (ctx.route.request_timeout, &ctx.session.permit)
            && ctx.started.elapsed() > limit
        {
            let reason = "the response took too long (timeouts.request)";
            return Err(Error::explain(ErrorType::ReadTimedout, reason).into_up());
        }
        if is_end && ctx.session.is_open && ctx.session.bridge_key.is_some() {
            // Pingora waits until the client ends its side of the stream as well, which a client
            // may never do.
            ctx.record_end(session, None);
        }
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        failure::answer_failure(session, error, ctx).await
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        // `logging` reports it, with the route and the user.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Self::CTX,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        let is_encoded = ctx.route.compression.is_some() && compression::is_used(session);
        if is_encoded || ctx.body.filtered.is_some() {
            ctx.body.sent = session.body_bytes_sent() as u64;
        }
        ctx.record_end(session, error);
    }
}

/// Counts a part of the request's body, and limits its size and its time.
fn pass_body(
    session: &mut Session,
    body: Option<&Bytes>,
    is_end: bool,
    ctx: &mut Context,
) -> Result<()> {
    ctx.body.received += body.map_or(0, |body| body.len() as u64);
    if ctx.session.permit.is_some() {
        return Ok(());
    }
    body_timeout::record_received(session, is_end, ctx)?;
    if is_end {
        first_byte_timeout::request_sent(ctx);
    }
    match ctx.route.max_body_size {
        Some(limit) if ctx.body.received > limit => {
            let reason = "the request body exceeds max_body_size";
            let error = Error::explain(ErrorType::HTTPStatus(413), reason);
            Err(failure::stop_request(error))
        }
        _ => Ok(()),
    }
}

/// Passes on a part of the request's body on a route whose filters see bodies. The mirror gets what they make of it.
async fn forward_filtered_body_part(
    session: &mut Session,
    body: &mut Option<Bytes>,
    is_end: bool,
    ctx: &mut Context,
) -> Result<()> {
    if request_body::put_kept(body, is_end, ctx) {
        pass_body(session, None, is_end, ctx)?;
    } else {
        let offset = ctx.body.received;
        pass_body(session, body.as_ref(), is_end, ctx)?;
        request_body::show(session, body, is_end, offset, ctx).await?;
    }
    mirror::copy_body(body.as_ref(), is_end, ctx);
    Ok(())
}

/// Runs the route's filters over the request.
async fn filter_request(session: &mut Session, ctx: &mut Context) -> Option<Rejection> {
    let route = Arc::clone(&ctx.route);
    match filter(&route, session.req_header_mut(), &mut ctx.exchange).await {
        Ok(rejection) => {
            ctx.outcome.is_intended |= rejection.is_some();
            rejection
        }
        Err(error) => Some(Rejection::answer(failure::reply_for_filter_error(ctx, &error))),
    }
}

/// Runs the route's filters over the response, in reverse.
async fn filter_response(
    request: &RequestHeader,
    response: &mut ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    if !ctx.outcome.is_unfiltered {
        let route = Arc::clone(&ctx.route);
        if let Err(error) = run_response_filters(&route, response, request, &mut ctx.exchange).await
        {
            ctx.outcome.is_unfiltered = true;
            return Err(failure::filter_failed(ctx, &error));
        }
    }
    if let Some(explaining) = &ctx.explanation {
        explaining.write(response)?;
    }
    add_own_headers(response, ctx)
}

/// Adds the headers that the gateway sends with every response.
fn add_own_headers(response: &mut ResponseHeader, ctx: &Context) -> Result<()> {
    if let Some(cookie) = ctx.attempt.sticky_cookie.as_deref() {
        response.append_header(header::SET_COOKIE, cookie.clone())?;
    }
    if let Some(hsts) = &ctx.hsts {
        response.insert_header(header::STRICT_TRANSPORT_SECURITY, HeaderValue::clone(hsts))?;
    }
    response.insert_header(spelled::X_REQUEST_ID, ctx.exchange.request_id.clone())
}
