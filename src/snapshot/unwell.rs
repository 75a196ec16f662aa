use super::Drain;
use crate::background;
use crate::websocket::{End, Initiator, OnChange, Registry, Selector, close_spread};

/// Does with the sessions on an endpoint what their routes say (`on_change`), for it is unwell.
pub(super) fn leave(sessions: &Registry, upstream: &str, endpoint: &str, drain: Drain) {
    let on_it = sessions.select(&Selector::default()).into_iter().filter(|session| {
        *session.identity.upstream == *upstream
            && session.endpoint().is_some_and(|(_, written)| *written == *endpoint)
    });
    let (mut drained, mut closed) = (Vec::new(), Vec::new());
    for session in on_it {
        match session.identity.on_change {
            OnChange::Keep => {}
            OnChange::Drain => drained.push(session),
            OnChange::Close => closed.push(session),
        }
    }
    if drained.is_empty() && closed.is_empty() {
        return;
    }
    log::info!(
        "upstream {upstream}: {} sessions on {endpoint} are drained, {} closed",
        drained.len(),
        closed.len()
    );
    let reason = "the endpoint behind the gateway is unwell";
    let request = End::new(Initiator::Drain, drain.code, reason);
    for session in closed {
        session.request_close(request.clone());
    }
    background::spawn("closing sessions", close_spread(drained, request, drain.spread));
}
