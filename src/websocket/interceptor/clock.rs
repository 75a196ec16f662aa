//! The deadlines of a session: idle and maximum time, pings, the closing handshake, an upstream that does not read.
//! Computes with the time that it is given, and touches no socket.

use super::{FrameInterceptor, InterceptorPhase, random_mask, refusal_stopped};
use crate::exchange::Initiator;
use crate::websocket::direction_state::OutstandingPing;
use crate::websocket::end::End;
use crate::websocket::login::WALL_CLOCK_INTERVAL;
use crate::websocket::session::{CLOSE_TIMEOUT, TimeLimit};
use crate::websocket::settings::Ping;
use std::io;
use std::task::Poll;
use std::time::SystemTime;
use tidegate_http::websocket::frame::{self, Direction};
use tokio::time::Instant;

/// What the clock of a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// Nothing: no deadline is set.
    Idle,
    /// The next deadline.
    At(Instant),
    /// Nothing more: the session ends now.
    EndNow,
}

impl Clock {
    fn until(deadline: Option<Instant>) -> Self {
        deadline.map_or(Self::Idle, Self::At)
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::Idle | Self::EndNow => None,
        }
    }
}

/// Collects the next deadline while several are checked.
#[derive(Debug)]
struct DeadlineTimer {
    now: Instant,
    next: Option<Instant>,
}

impl DeadlineTimer {
    /// Whether a deadline has been reached; otherwise it may be the next one.
    fn is_due(&mut self, at: Instant) -> bool {
        if at > self.now {
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
        at <= self.now
    }
}

impl FrameInterceptor {
    /// Does what the clock and a close request ask for. Ready when the session must end now.
    pub(super) fn poll_close_request_and_deadlines(&mut self) -> Poll<io::Result<()>> {
        match (&self.phase, self.session.close_request()) {
            (InterceptorPhase::Open, Some(request)) if self.closing_deadline.is_none() => {
                let request = request.clone();
                self.close(request);
            }
            (InterceptorPhase::Handshake(pending), Some(request))
                if request.initiator == Initiator::Handshake =>
            {
                return Poll::Ready(Err(pending.timeout.into()));
            }
            (InterceptorPhase::Refused(_), Some(request))
                if request.initiator == Initiator::Handshake =>
            {
                return Poll::Ready(Err(refusal_stopped()));
            }
            (InterceptorPhase::Handshake(_) | InterceptorPhase::Refused(_), Some(_)) => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            _ => {}
        }
        match self.advance_clock(Instant::now())? {
            Clock::EndNow => Poll::Ready(Ok(())),
            clock => {
                let next = clock.deadline().map(Instant::into_std);
                self.session.schedule(next, self.time_limit());
                Poll::Pending
            }
        }
    }

    /// The deadline that ends the session even if Pingora does not poll the interceptor until then.
    fn time_limit(&self) -> Option<(std::time::Instant, TimeLimit)> {
        let limit = match &self.phase {
            InterceptorPhase::Handshake(pending) => {
                self.phase_deadline.map(|at| (at, TimeLimit::Handshake(pending.timeout.limit)))
            }
            InterceptorPhase::Refused(_) => self.phase_deadline.map(|at| (at, TimeLimit::Refusal)),
            InterceptorPhase::Open if self.closing_deadline.is_none() => {
                let quiet_since = self.quiet_since();
                let idle =
                    self.settings.idle_timeout.map(|time| (quiet_since + time, TimeLimit::Idle));
                let age = self.phase_deadline.map(|at| (at, TimeLimit::Lifetime));
                // The pong of an upstream cannot be seen while the client takes nothing.
                let silence = self.settings.ping.filter(|ping| ping.client).map(|ping| {
                    let state = &self.client_to_upstream;
                    let sent = state
                        .ping()
                        .map(|ping| ping.sent_at)
                        .filter(|&sent| state.last_activity <= sent);
                    let pinged = sent.unwrap_or(state.last_activity + ping.interval);
                    (pinged + ping.timeout, TimeLimit::Ping)
                });
                idle.into_iter().chain(age).chain(silence).min_by_key(|(at, _)| *at)
            }
            InterceptorPhase::Open => None,
        };
        limit.map(|(at, limit)| (at.into_std(), limit))
    }

    /// Does what is due by now, and returns what the clock waits for next.
    fn advance_clock(&mut self, now: Instant) -> io::Result<Clock> {
        let is_over = self.phase_deadline.is_some_and(|at| at <= now);
        match &self.phase {
            InterceptorPhase::Refused(_) if is_over => return Err(refusal_stopped()),
            InterceptorPhase::Handshake(pending) if is_over => {
                // The next attempt has its own deadline.
                self.session.schedule(None, None);
                return Err(pending.timeout.into());
            }
            InterceptorPhase::Handshake(_) | InterceptorPhase::Refused(_) => {
                return Ok(Clock::until(self.phase_deadline));
            }
            InterceptorPhase::Open => {}
        }
        if let Some(deadline) = self.closing_deadline {
            return Ok(self.closing_clock(deadline, now));
        }
        let mut timer = DeadlineTimer { now, next: None };
        let idle_timeout = self.settings.idle_timeout;
        let is_idle =
            idle_timeout.is_some_and(|timeout| timer.is_due(self.quiet_since() + timeout));
        let is_old = self.phase_deadline.is_some_and(|at| timer.is_due(at));
        if self.is_lingering && timer.is_due(self.limit_closing()) {
            self.answer_close();
            return Ok(Clock::EndNow);
        }
        let expired = self.check_login(&mut timer);
        if let Some(end) = expired {
            self.close(end);
        } else if is_idle {
            self.close(TimeLimit::Idle.end());
        } else if is_old {
            self.close(TimeLimit::Lifetime.end());
        } else if let Some(ping) = self.settings.ping {
            for (direction, is_pinged) in [
                (Direction::ClientToUpstream, ping.client),
                (Direction::UpstreamToClient, ping.upstream),
            ] {
                if is_pinged {
                    self.check_ping(direction, ping, &mut timer)?;
                }
            }
        }
        Ok(match self.closing_deadline {
            Some(deadline) => self.closing_clock(deadline, now),
            None => Clock::until(timer.next),
        })
    }

    /// Warns the client of a login that expires soon. Returns the end of a session whose login has expired.
    fn check_login(&mut self, timer: &mut DeadlineTimer) -> Option<End> {
        let login = self.session.login()?;
        let now = SystemTime::now();
        let left = login.time_left(now)?;
        if left.is_zero() {
            return Some(login.expired());
        }
        timer.is_due(timer.now + left.min(WALL_CLOCK_INTERVAL));
        match login.take_warning(now) {
            None => {}
            Some(Err(wait)) => {
                timer.is_due(timer.now + wait.min(WALL_CLOCK_INTERVAL));
            }
            // Not compressed: with permessage-deflate, each message says for itself whether it is.
            Some(Ok(text)) => self.upstream_to_client.inject_message(frame::text(&text)),
        }
        None
    }

    /// The clock of a session that closes.
    fn closing_clock(&self, deadline: Instant, now: Instant) -> Clock {
        // A close frame must not interrupt another frame.
        let is_cut = self.upstream_has_ended
            && self.upstream_to_client.close.is_none()
            && !self.upstream_to_client.is_closed
            && !self.upstream_to_client.scanner.is_between_frames();
        let is_over = deadline <= now || is_cut || self.is_finished();
        if is_over { Clock::EndNow } else { Clock::At(deadline) }
    }

    /// Pings the sender of a direction if it has been silent; ends the session if it owes a pong.
    fn check_ping(
        &mut self,
        direction: Direction,
        ping: Ping,
        timer: &mut DeadlineTimer,
    ) -> io::Result<()> {
        let now = timer.now;
        let is_upstream = direction == Direction::UpstreamToClient;
        let (state, other) = match direction {
            Direction::ClientToUpstream => {
                (&mut self.client_to_upstream, &mut self.upstream_to_client)
            }
            Direction::UpstreamToClient => {
                (&mut self.upstream_to_client, &mut self.client_to_upstream)
            }
        };
        // Any byte shows that the peer is alive; only its pong must not be forwarded.
        if let Some(unanswered) = state.ping().filter(|sent| state.last_activity <= sent.sent_at) {
            let deadline = unanswered.sent_at + ping.timeout;
            if is_upstream && deadline <= now && !self.is_drained {
                self.must_drain = true;
            } else if timer.is_due(deadline) {
                self.close_for_missing_pong(direction, ping.timeout)?;
            }
            return Ok(());
        }
        let last_ping = state.ping().map(|ping| ping.sent_at);
        let since = last_ping.map_or(state.last_activity, |sent| state.last_activity.max(sent));
        if timer.is_due(since + ping.interval) {
            self.ping_count = self.ping_count.wrapping_add(1);
            let [a, b, c, d] = self.ping_key;
            let [e, f, g, h] = self.ping_count.to_be_bytes();
            let payload = [a, b, c, d, e, f, g, h];
            state.record_ping(OutstandingPing { payload, sent_at: now });
            // A ping to a peer goes among the frames of the other one.
            let key = is_upstream.then(random_mask);
            other.inject_ping(frame::ping(payload, key));
            timer.is_due(now + ping.timeout);
        }
        Ok(())
    }

    /// When anything last passed, in either direction.
    fn quiet_since(&self) -> Instant {
        self.client_to_upstream.last_activity.max(self.upstream_to_client.last_activity)
    }

    /// Whether the gateway gives up an upstream that takes nothing now. From then on it drops what the
    /// client sends, so that the client can get a close frame. While Pingora waits for a write it does
    /// not read, so close requests and deadlines are checked here.
    pub(super) fn give_up_if_stuck(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.blocked_since.get_or_insert(now);
        if self.closing_deadline.is_none()
            && let Some(request) = self.session.close_request()
        {
            let request = request.clone();
            self.close(request);
        }
        // The client gets the rest of the time for its answer.
        let give_up_at = |deadline: Instant| deadline.checked_sub(CLOSE_TIMEOUT / 2);
        let mut due = self.closing_deadline.and_then(give_up_at);
        if self.closing_deadline.is_none() {
            let write_end = since + self.write_timeout;
            let ping = self.settings.ping.filter(|ping| ping.upstream);
            let ping_end = ping.map(|ping| since + ping.interval + ping.timeout);
            let limit = self.time_limit().filter(|(_, limit)| *limit != TimeLimit::Ping);
            let limit = limit.map(|(at, limit)| (Instant::from_std(at), limit));
            let login = self.session.login();
            let left = login.and_then(|login| login.time_left(SystemTime::now()));
            if let (Some(login), true) = (login, left.is_some_and(|left| left.is_zero())) {
                let end = login.expired();
                self.close(end);
                due = self.closing_deadline.and_then(give_up_at);
            } else if write_end <= now {
                self.close_for_blocked_upstream(self.write_timeout, "timeouts.write");
            } else if ping_end.is_some_and(|at| at <= now) {
                self.close_for_blocked_upstream(now - since, "websocket.ping");
            } else if let Some((at, limit)) = limit
                && at <= now
            {
                self.close(limit.end());
                due = self.closing_deadline.and_then(give_up_at);
            } else {
                let limit = limit.map(|(at, _)| at);
                let look = left.map(|left| now + left.min(WALL_CLOCK_INTERVAL));
                due = [Some(write_end), ping_end, limit, look].into_iter().flatten().min();
            }
        }
        if !self.upstream_is_broken
            && self.closing_deadline.is_some()
            && due.is_some_and(|due| due <= now)
        {
            self.give_up_upstream();
        }
        self.session.schedule(due.map(Instant::into_std), None);
        self.upstream_is_broken
    }
}
