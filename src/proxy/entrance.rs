//! Whether there is room for a WebSocket session.

use super::Context;
use crate::admission::Halt;
use crate::filter::Reply;
use crate::shared::Entry;
use crate::websocket::{Full, Identity, Quota, Registry, Session as Entering, Settings};
use http::StatusCode;
use http::header::{self, HeaderValue};
use pingora_proxy::Session;
use std::sync::Arc;

/// Takes a handshake into the registry of sessions, if there is room.
pub(super) async fn enter(
    registry: &Registry,
    session: &Session,
    ctx: &mut Context,
) -> Option<Halt> {
    if !ctx.exchange.is_websocket {
        return None;
    }
    let settings = Arc::clone(ctx.route.websocket.as_ref()?);
    if registry.is_draining() {
        let reply = Reply::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "the gateway is draining: it takes no new WebSockets; another one will",
        );
        let reply = reply.header(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return Some(Halt::answer(reply));
    }
    let head = session.req_header();
    let identity = Identity {
        id: ctx.exchange.request_id().to_owned(),
        route: Arc::clone(&ctx.route.name),
        fingerprint: ctx.route.session_fingerprint,
        on_change: settings.on_change,
        user: ctx.exchange.user_id.clone(),
        client: ctx.exchange.client_address,
        path: ctx.exchange.forwarded_path(head).to_owned(),
        upstream: ctx.pool().map(|pool| Arc::clone(pool.name())).unwrap_or_default(),
    };
    let entering = Arc::new(Entering::new(identity, settings.log_frames));
    let quota = match hold(&settings, &entering, ctx).await {
        Ok(quota) => quota,
        Err(full) => {
            registry.refused(&ctx.route.name);
            return Some(too_many(full));
        }
    };
    match registry.admit(entering, &quota) {
        Ok(ticket) => {
            ctx.tunnel = Some(ticket);
            None
        }
        Err(full) => {
            ctx.hold = None;
            Some(too_many(full))
        }
    }
}

/// Counts the session at all gateways together, where they do so; what is left to be counted here.
async fn hold(
    settings: &Settings,
    entering: &Arc<Entering>,
    ctx: &mut Context,
) -> Result<Quota, Full> {
    let quota = settings.quota;
    let (Some(shared), Some(most), Some(user)) =
        (&ctx.route.edge.shared, quota.per_user, &ctx.exchange.user_id)
    else {
        return Ok(quota);
    };
    let route = &ctx.route.name;
    match shared.enter(route, user.as_str(), entering, most, quota.evicts_oldest).await {
        Entry::Held(hold) => {
            ctx.hold = Some(Box::new(hold));
            Ok(Quota { per_user: None, ..quota })
        }
        Entry::Full => Err(Full::User(most)),
        Entry::Alone(hold) => {
            ctx.hold = Some(Box::new(hold));
            Ok(quota)
        }
    }
}

fn too_many(full: Full) -> Halt {
    let status = StatusCode::TOO_MANY_REQUESTS;
    Halt::answer(Reply::error(status, "too_many_sessions", full.to_string()))
}
