//! How a session closes: the closing handshake with both peers, and what happens when one of them is gone.
//! Decides which close frames are injected; [`super::transfer`] moves them.

use super::{CLIENT_GONE, FrameInterceptor, InterceptorPhase, random_mask};
use crate::exchange::Initiator;
use crate::websocket::direction_state::DirectionState;
use crate::websocket::end::End;
use crate::websocket::session::CLOSE_TIMEOUT;
use crate::websocket::violation::Violation;
use std::io;
use std::time::Duration;
use tidegate_http::websocket::close_code;
use tidegate_http::websocket::close_reason::UPSTREAM_GONE_PREFIX;
use tidegate_http::websocket::frame::{self, Direction};
use tokio::time::Instant;

impl FrameInterceptor {
    /// Starts the closing handshake with both peers.
    pub(super) fn close(&mut self, end: End) {
        if self.closing_deadline.is_some() {
            return;
        }
        let code = end.code.unwrap_or(close_code::GOING_AWAY);
        if self.client_to_upstream.close.is_none() {
            self.client_to_upstream.inject_close(frame::close(
                code,
                &end.reason,
                Some(random_mask()),
            ));
        }
        if self.upstream_to_client.close.is_none() {
            self.upstream_to_client.inject_close(frame::close(code, &end.reason, None));
        }
        self.session.record_end(end);
        self.closing_deadline = Some(self.limit_closing());
        self.session.wake();
    }

    /// Limits the time until the session ends, whatever its peers do. Returns the deadline.
    pub(super) fn limit_closing(&self) -> Instant {
        Instant::from_std(self.session.end_within(CLOSE_TIMEOUT))
    }

    /// Closes the session because of a frame that is not forwarded; its message will never be complete.
    pub(super) fn close_for_violation(&mut self, direction: Direction, violation: Violation) {
        self.state_mut(direction).is_cut = true;
        let (code, reason) = violation.close();
        self.close(End::new(Initiator::Limit, code, reason));
        if violation.is_in_close_frame() {
            // This peer will send no other close frame.
            self.state_mut(direction).close.get_or_insert_default();
        }
    }

    /// The connection of the upstream has ended, with an error or without.
    pub(super) fn upstream_ended(&mut self, error: Option<&io::Error>) {
        self.upstream_has_ended = true;
        self.upstream_is_broken |= error.is_some();
        self.upstream_to_client.is_cut = true;
        if self.upstream_to_client.close.is_some()
            && self.client_to_upstream.close.is_none()
            && !self.client_has_ended
        {
            // It has sent its close frame, and still waits for the client's answer.
            let deadline = self.limit_closing();
            self.closing_deadline.get_or_insert(deadline);
        }
        if self.upstream_to_client.close.is_some() || self.upstream_to_client.is_closed {
            return;
        }
        let reason = match error {
            None => format!("{UPSTREAM_GONE_PREFIX} ended without a close frame"),
            Some(error) => format!("{UPSTREAM_GONE_PREFIX} failed: {}", error.kind()),
        };
        self.close_for_lost_upstream(Initiator::Upstream, reason);
    }

    /// Closes the session of a client whose upstream is gone, with the close code of the route.
    pub(super) fn close_for_lost_upstream(&mut self, initiator: Initiator, reason: String) {
        self.upstream_has_ended = true;
        self.upstream_to_client.is_cut = true;
        // If the client has sent a close frame, the gateway answers it in place of the upstream.
        let requested = self
            .client_to_upstream
            .close
            .as_ref()
            .map(|close| close.code.unwrap_or(close_code::NORMAL));
        let requested = requested.filter(|&code| close_code::is_sendable(code));
        // A close frame must not interrupt another frame: then no code is sent or logged.
        let is_between = self.upstream_to_client.scanner.is_between_frames();
        let code = requested.or(self.settings.upstream_lost.code()).filter(|_| is_between);
        let end = End { initiator, code, reason: reason.into() };
        if code.is_none() && is_between && self.closing_deadline.is_none() {
            self.session.record_end(end);
            self.limit_closing();
            self.closing_deadline = Some(Instant::now());
            self.session.wake();
        } else {
            self.close(end);
        }
    }

    /// The connection of the client has ended: the upstream gets a close frame, unless it has had one.
    pub(super) fn handle_client_disconnect(&mut self) {
        let is_open = matches!(self.phase, InterceptorPhase::Open);
        if !is_open || self.client_to_upstream.close.is_some() || self.client_to_upstream.is_closed
        {
            return;
        }
        // The reason is that of the close request, if the session is cut off.
        let (code, reason) = match self.session.close_request() {
            Some(request) => (request.code.unwrap_or(close_code::GOING_AWAY), &*request.reason),
            None => (close_code::GOING_AWAY, CLIENT_GONE),
        };
        self.client_to_upstream.is_cut = true;
        self.client_to_upstream.inject_close(frame::close(code, reason, Some(random_mask())));
        self.client_to_upstream.flush_injected();
        // Waiting is impossible here; the socket nearly always has room.
        let _ = self.upstream.try_write(self.client_to_upstream.pending());
        self.client_to_upstream.consume(usize::MAX);
    }

    /// Whether the closing handshake is complete with both peers.
    pub(super) fn is_finished(&self) -> bool {
        let client = self.client_to_upstream.close.is_some() && self.upstream_to_client.is_closed
            || self.client_to_upstream.close.is_some() && self.upstream_to_client.close.is_some();
        let upstream = self.upstream_has_ended
            || self.upstream_to_client.close.is_some() && self.client_to_upstream.is_closed
            || self.upstream_to_client.close.is_some() && self.client_to_upstream.close.is_some();
        self.closing_deadline.is_some() && client && upstream
    }

    /// Records the close frames of the peers. The first one ends the session, after [`CLOSE_TIMEOUT`] even
    /// if the other peer never answers it.
    pub(super) fn record_closes(&mut self) {
        let has_close =
            self.client_to_upstream.close.is_some() || self.upstream_to_client.close.is_some();
        if has_close && !self.is_lingering {
            self.is_lingering = true;
            self.limit_closing();
            self.session.wake();
        }
        for (state, initiator) in [
            (&self.client_to_upstream, Initiator::Client),
            (&self.upstream_to_client, Initiator::Upstream),
        ] {
            if let Some(close) = &state.close
                && self.session.end().is_none()
            {
                self.session.record_end(End {
                    initiator,
                    code: close.code,
                    reason: close.reason.clone().into(),
                });
            }
        }
    }

    /// Answers the close frame of one peer in place of the other, which has not answered in time.
    pub(super) fn answer_close(&mut self) {
        let code = |state: &DirectionState| {
            let close = state.close.as_ref()?;
            Some(
                close
                    .code
                    .filter(|&code| close_code::is_sendable(code))
                    .unwrap_or(close_code::NORMAL),
            )
        };
        let (client, upstream) = (code(&self.client_to_upstream), code(&self.upstream_to_client));
        for (state, own, other, mask) in [
            (&mut self.upstream_to_client, upstream, client, None),
            (&mut self.client_to_upstream, client, upstream, Some(random_mask())),
        ] {
            if let (None, Some(code)) = (own, other)
                && !state.is_closed
            {
                state.is_cut = true;
                state.inject_close(frame::close(code, "", mask));
            }
        }
    }

    /// Ends the session because the sender of a direction has not answered a ping. The other peer gets a
    /// close frame.
    pub(super) fn close_for_missing_pong(
        &mut self,
        direction: Direction,
        timeout: Duration,
    ) -> io::Result<()> {
        let timeout = humantime::format_duration(timeout);
        if direction == Direction::UpstreamToClient {
            self.upstream_is_broken = true;
            let reason = format!("the upstream answered no ping within {timeout}");
            self.close_for_lost_upstream(Initiator::Network, reason);
            return Ok(());
        }
        let reason = format!("the client answered no ping within {timeout}");
        self.client_to_upstream.is_cut = true;
        self.client_to_upstream.inject_close(frame::close(
            close_code::GOING_AWAY,
            &reason,
            Some(random_mask()),
        ));
        self.client_to_upstream.flush_injected();
        let _ = self.upstream.try_write(self.client_to_upstream.pending());
        self.client_to_upstream.consume(usize::MAX);
        let (initiator, code) = (Initiator::Network, None);
        self.session.record_end(End { initiator, code, reason: reason.into() });
        Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not answer pings"))
    }

    /// Closes the session because the upstream has taken nothing for as long as this key allows.
    pub(super) fn close_for_blocked_upstream(&mut self, time: Duration, key: &str) {
        self.give_up_upstream();
        let time = humantime::format_duration(Duration::from_millis(
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        ));
        let reason = format!("the upstream read nothing for {time} ({key})");
        self.close_for_lost_upstream(Initiator::Network, reason);
    }

    /// Sends nothing more to the upstream: no other frame may interrupt a frame of the client.
    pub(super) fn give_up_upstream(&mut self) {
        self.upstream_is_broken = true;
        self.upstream_has_ended = true;
        self.client_to_upstream.is_cut = true;
        self.client_to_upstream.is_closed = true;
        self.client_to_upstream.discard_injected();
    }
}
