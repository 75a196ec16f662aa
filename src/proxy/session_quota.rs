//! Limits on WebSocket sessions: registers handshakes, counts sessions, and refuses those beyond a limit. Leaves the
//! counting to the registry and to the shared counters.

use super::{Context, task_state};
use crate::admission::Rejection;
use crate::authentication::{Credentials, HandshakeTarget};
use crate::filter::RETRY_SOON;
use crate::filter::Reply;
use crate::load::{ConnectionLimiter, LimitExceeded};
use crate::shared::SharedSessionOutcome;
use crate::state::State;
use crate::websocket::{
    End, Identity, Initiator, QuotaExceeded, RENEWAL_COOKIE, Session as WebSocketSession,
    SessionLogin, SessionPermit, SessionQuota, SessionRegistry, WebSocketSettings,
};
use http::StatusCode;
use http::header::{self, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::sync::Arc;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::websocket::close_code;

/// Counts a WebSocket over HTTP/2 as a connection: it needs a file descriptor for its upstream as well.
pub(super) fn claim_connection(
    limiter: &Arc<ConnectionLimiter>,
    ctx: &mut Context,
) -> Option<Rejection> {
    ctx.session.bridge_key.as_ref()?;
    let global = &ctx.route.global;
    let (status, message) = match limiter.acquire_for_session(global, ctx.exchange.client_address) {
        Ok(permit) => {
            ctx.session.connection_permit = Some(Box::new(permit));
            return None;
        }
        Err(LimitExceeded::Client) => {
            (StatusCode::TOO_MANY_REQUESTS, "too many connections and WebSockets from this address")
        }
        Err(LimitExceeded::Total | LimitExceeded::Listener) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway has reached its limit of connections and WebSockets; try again later",
        ),
    };
    let reply = Reply::error(status, ErrorCode::TooManyConnections, message);
    Some(Rejection::answer(reply.header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SOON))))
}

/// Registers a handshake, unless it cannot become a session.
pub(super) fn register(state: &State, session: &Session, ctx: &mut Context) -> Option<Rejection> {
    let registry = &state.sessions;
    if !ctx.exchange.is_websocket {
        return None;
    }
    let settings = Arc::clone(ctx.route.websocket.as_ref()?);
    if registry.is_draining() {
        let reply = Reply::gateway_error(
            ErrorCode::Draining,
            "this gateway is draining and accepts no new WebSockets; connect again to reach \
             another gateway",
        );
        let reply = reply.header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SOON));
        return Some(Rejection::answer(reply));
    }
    let head = session.req_header();
    let identity = Identity {
        id: ctx.exchange.request_id().into(),
        route: Arc::clone(&ctx.route.name),
        fingerprint: ctx.route.session_fingerprint,
        on_change: settings.on_change,
        user: ctx.exchange.user_id.clone(),
        client: ctx.exchange.client_address,
        path: ctx.exchange.forwarded_path(head).into(),
        upstream: ctx.pool().map(|pool| Arc::clone(pool.name())).unwrap_or_default(),
    };
    let mut new_session = WebSocketSession::new(identity, settings.log_frames);
    if let Some(verified) = ctx.exchange.shared_identity() {
        let kind = verified.kind();
        let login = SessionLogin::new(verified, Arc::clone(&settings));
        let needs_target = login.renewal_id().is_some() && kind.decides_by_target();
        let credentials = Credentials { head, exchange: &ctx.exchange };
        let target = needs_target.then(|| HandshakeTarget::of(credentials)).flatten();
        new_session = new_session.with_login(login.with_target(target));
    }
    let new_session = Arc::new(new_session);
    match registry.register(new_session, &settings.quota) {
        Ok(permit) => {
            // The registry has it by now: who revokes its login from here on finds it.
            registry.close_if_revoked(permit.session());
            // Nor does it escape a reload that has gone through the sessions meanwhile.
            let current = state.current.load();
            SessionRegistry::close_if_dismissed(permit.session(), |identity| {
                current.still_admits(identity)
            });
            task_state::set_session(Some(permit.session()));
            ctx.session.permit = Some(permit);
            None
        }
        Err(exceeded) => Some(Rejection::answer(too_many(exceeded))),
    }
}

/// Counts a handshake that the upstream has accepted; only now others make room for it, so that a claimed user id
/// alone closes nobody's session.
pub(super) async fn accept(registry: &SessionRegistry, ctx: &mut Context) -> Result<()> {
    let Some(settings) = ctx.route.websocket.clone() else { return Ok(()) };
    let Some(mut permit) = ctx.session.permit.take() else { return Ok(()) };
    let accepted = match acquire_shared_permit(&settings, permit.session(), ctx).await {
        Ok(quota) => registry.accept(&mut permit, &quota),
        Err(exceeded) => {
            registry.record_refusal(&ctx.route.name);
            Err(exceeded)
        }
    };
    if let Err(exceeded) = accepted {
        ctx.session.shared_hold = None;
        ctx.outcome.substitute_reply = Some(Box::new(too_many(exceeded)));
        // For the upstream the session is open: it gets a close frame with the reason.
        permit.session().request_close(End::new(
            Initiator::Limit,
            close_code::POLICY_VIOLATION,
            exceeded.to_string(),
        ));
        ctx.session.permit = Some(permit);
        return Error::e_explain(ErrorType::HTTPStatus(429), exceeded.to_string());
    }
    ctx.session.permit = Some(permit);
    Ok(())
}

/// Gives the client a cookie with the id for the renewal of its login.
pub(super) fn add_renewal_cookie(response: &mut ResponseHeader, ctx: &Context) -> Result<()> {
    let session = ctx.session.permit.as_ref().map(SessionPermit::session);
    let Some((renewal, id)) = session.and_then(|it| it.login()?.renewal()) else { return Ok(()) };
    let secure = if ctx.exchange.scheme() == "https" { "; Secure" } else { "" };
    // Of the session, not of the browser: the cookie goes with the last window.
    let cookie = format!(
        "{RENEWAL_COOKIE}={}; Path={}; HttpOnly; SameSite=Strict{secure}",
        id.to_text(),
        renewal.path
    );
    response.append_header(header::SET_COOKIE, cookie)?;
    Ok(())
}

/// Counts the session at all gateways together, where they share counters. Returns the quota that remains to be
/// checked here.
async fn acquire_shared_permit(
    settings: &WebSocketSettings,
    new_session: &Arc<WebSocketSession>,
    ctx: &mut Context,
) -> std::result::Result<SessionQuota, QuotaExceeded> {
    let quota = settings.quota;
    let (Some(shared), Some(max_sessions), Some(user)) =
        (&ctx.route.global.shared, quota.per_user, &ctx.exchange.user_id)
    else {
        return Ok(quota);
    };
    let route = &ctx.route.name;
    match shared
        .acquire_session(route, user.as_str(), new_session, max_sessions, quota.evicts_oldest)
        .await
    {
        SharedSessionOutcome::Granted(hold) => {
            ctx.session.shared_hold = Some(Box::new(hold));
            Ok(SessionQuota { per_user: None, ..quota })
        }
        SharedSessionOutcome::LimitReached => Err(QuotaExceeded::User(max_sessions)),
        SharedSessionOutcome::CountersAway(hold) => {
            ctx.session.shared_hold = Some(Box::new(hold));
            Ok(quota)
        }
    }
}

fn too_many(exceeded: QuotaExceeded) -> Reply {
    Reply::gateway_error(ErrorCode::TooManySessions, exceeded.to_string())
}
