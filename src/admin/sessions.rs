//! The WebSocket sessions at the admin endpoint: lists, closes and drains them, and logs their frames. Knows nothing of
//! tunnels; the registry does the work.

use super::{AdminResult, error_result};
use crate::authentication::RevokedLogin;
use crate::background;
use crate::exchange::{UserId, UserIdOrigin};
use crate::snapshot::{DrainSettings, SessionPolicies};
use crate::telemetry::keys;
use crate::websocket::{
    End, Initiator, LogFrames, Session, SessionRegistry, SessionSelector, close_spread,
};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::SystemTime;
use tidegate_http::query;
use tidegate_http::websocket::close_code::{ENDED_BY_OPERATOR, SENDABLE_CODES, is_sendable};
use tidegate_http::websocket::frame::{Direction, FrameCounts};

/// The longest reason that a close frame holds (RFC 6455, section 5.5).
const MAX_REASON_BYTES: usize = 123;

fn parameter(query: &str, name: &str) -> Option<String> {
    query::find(query, name).map(Into::into)
}

fn selector(query: &str) -> SessionSelector {
    SessionSelector {
        id: parameter(query, "id"),
        user: parameter(query, "user"),
        route: parameter(query, "route"),
    }
}

/// Selects one session or one user. Without either it is refused, so that a typo cannot close all sessions.
fn selector_from_query(query: &str) -> Result<SessionSelector, (StatusCode, String)> {
    let selector = selector(query);
    if selector.id.is_none() && selector.user.is_none() && selector.route.is_none() {
        return error_result(StatusCode::BAD_REQUEST, "select sessions by `id`, `user` or `route`");
    }
    Ok(selector)
}

/// The sessions that the query selects.
pub(super) fn list_sessions(registry: &SessionRegistry, query: &str) -> AdminResult {
    let limit = match parameter(query, "limit").map(|limit| limit.parse()) {
        None => 10_000,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return error_result(StatusCode::BAD_REQUEST, "`limit` must be a number"),
    };
    let sessions = registry.select(&selector(query));
    let shown: Vec<Value> =
        sessions.iter().take(limit).map(|session| session_json(session)).collect();
    Ok(json!({
        "draining": registry.is_draining(),
        "total": registry.count(),
        "matching": sessions.len(),
        "sessions": shown,
    }))
}

fn session_json(session: &Session) -> Value {
    let identity = &session.identity;
    let user = identity.user.as_ref();
    let endpoint = session.endpoint();
    let verified = session.verified_identity();
    let expires = verified.as_ref().and_then(|it| it.expires_at());
    json!({
        "id": identity.id,
        (keys::ROUTE.name()): &*identity.route,
        (keys::PATH.name()): identity.path,
        (keys::USER.name()): user.map(|user| user.as_str()),
        (keys::USER_SOURCE.name()): user.map(|user| user.origin().as_str()),
        (keys::USER_VERIFIED.name()): user.map(|user| user.is_verified()),
        (keys::AUTH_SCHEME.name()): verified.as_ref().map(|it| it.scheme()),
        "expires": expires.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
        (keys::CLIENT.name()): identity.client,
        (keys::UPSTREAM.name()): &*identity.upstream,
        (keys::UPSTREAM_ADDRESS.name()): endpoint.map(|(address, _)| address.to_string()),
        "state": if session.handshake().is_some() { "open" } else { "handshake" },
        "started": humantime::format_rfc3339_millis(session.started_at).to_string(),
        "age_ms": millis(session.started.elapsed()),
        "handshake_ms": session.handshake().map(millis),
        "idle_ms": millis(session.idle()),
        "last_received_ms": millis(session.started.elapsed().saturating_sub(session.last_activity(Direction::ClientToUpstream))),
        "last_sent_ms": millis(session.started.elapsed().saturating_sub(session.last_activity(Direction::UpstreamToClient))),
        "received": counts(&session.counts(Direction::ClientToUpstream)),
        "sent": counts(&session.counts(Direction::UpstreamToClient)),
        "log_frames": match session.log_frames() {
            LogFrames::Off => "off",
            LogFrames::Headers => "headers",
            LogFrames::Text => "text",
        },
    })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn counts(counts: &FrameCounts) -> Value {
    json!({
        "bytes": counts.bytes,
        "messages": counts.messages,
        "frames": counts.frames(),
        "text": counts.text,
        "binary": counts.binary,
        "continuation": counts.continuation,
        "ping": counts.ping,
        "pong": counts.pong,
        "close": counts.close,
        "protocol_errors": counts.errors,
    })
}

/// Closes the selected sessions with the operator's code and reason.
pub(super) fn close(registry: &SessionRegistry, query: &str) -> AdminResult {
    let selector = selector_from_query(query)?;
    let code = match parameter(query, "code").map(|code| code.parse()) {
        None => ENDED_BY_OPERATOR,
        Some(Ok(code)) if is_sendable(code) => code,
        Some(_) => {
            return error_result(
                StatusCode::BAD_REQUEST,
                format!("`code` must be a close code that may be sent: {SENDABLE_CODES}"),
            );
        }
    };
    let reason = parameter(query, "reason").unwrap_or_default();
    if reason.len() > MAX_REASON_BYTES {
        return error_result(StatusCode::BAD_REQUEST, "`reason` must have at most 123 bytes");
    }
    let revoke = match parameter(query, "revoke").as_deref() {
        None | Some("false") => false,
        Some("true") if selector.user.is_some() => true,
        Some("true") => {
            return error_result(StatusCode::BAD_REQUEST, "`revoke` needs `user`");
        }
        Some(_) => {
            return error_result(StatusCode::BAD_REQUEST, "`revoke` must be true or false");
        }
    };
    let closed = registry.close(&selector, &End::new(Initiator::Kick, code, reason));
    log::info!("admin: closing {closed} WebSocket sessions with code {code}");
    if let (true, Some(user)) = (revoke, &selector.user) {
        // As the gateway knows the user, whose id may be too long to be kept as it is.
        let user = UserId::new(user, UserIdOrigin::Claim);
        let id = user.as_ref().map_or("", UserId::as_str);
        registry.revocations().revoke(RevokedLogin::User { id }, SystemTime::now());
        registry.close_revoked();
        log::info!("admin: revoked the logins of a user");
    }
    Ok(json!({"closed": closed}))
}

/// Switches the logging of frames.
pub(super) fn log_frames(registry: &SessionRegistry, query: &str) -> AdminResult {
    let selector = selector_from_query(query)?;
    let level = match parameter(query, "level").as_deref() {
        Some("off") => LogFrames::Off,
        Some("headers") => LogFrames::Headers,
        Some("text") => LogFrames::Text,
        _ => return error_result(StatusCode::BAD_REQUEST, "`level` must be off, headers or text"),
    };
    let sessions = registry.select(&selector);
    for session in &sessions {
        session.set_log_frames(level);
    }
    Ok(json!({"changed": sessions.len()}))
}

/// Which sessions a configuration would affect if it were applied.
pub(super) fn affected_by_posted_policies(registry: &SessionRegistry, body: &[u8]) -> AdminResult {
    match serde_json::from_slice::<SessionPolicies>(body) {
        Ok(plan) => Ok(affected(registry, &plan)),
        Err(_) => error_result(
            StatusCode::BAD_REQUEST,
            "the body is malformed; send it with `tidegate check` of the gateway's version",
        ),
    }
}

/// The sessions that a reload would drain or close.
pub(super) fn affected(registry: &SessionRegistry, plan: &SessionPolicies) -> Value {
    let sessions = registry.select(&SessionSelector::default());
    let total = sessions.len();
    let affected = plan.affected(sessions);
    json!({
        "total": total,
        "kept": affected.kept.len(),
        "drained": affected.drained.len(),
        "closed": affected.closed.len(),
        "routes": affected.routes(),
    })
}

/// Refuses new sessions and closes the live ones over time.
pub(super) fn drain(registry: &SessionRegistry, drain: DrainSettings) -> Value {
    registry.set_draining(true);
    let sessions = registry.select(&SessionSelector::default());
    let count = sessions.len();
    log::info!(
        "admin: drain started: the gateway closes {count} WebSocket sessions over {:?} and \
         refuses new ones",
        drain.spread
    );
    let request = End::new(Initiator::Drain, drain.code, "the gateway is draining");
    background::spawn("closing sessions", close_spread(sessions, request, drain.spread));
    json!({"draining": true, "sessions": count, "spread_ms": millis(drain.spread)})
}

/// Accepts new sessions again.
pub(super) fn resume(registry: &SessionRegistry) -> Value {
    registry.set_draining(false);
    log::info!("admin: drain ended: the gateway accepts WebSocket sessions again");
    json!({"draining": false, "sessions": registry.count()})
}
