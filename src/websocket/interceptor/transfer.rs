//! Moves bytes from Pingora to the socket of the upstream and back, with the frames of the gateway between them.
//! Decides nothing about the end of a session.

use super::{FrameInterceptor, InterceptorPhase};
use crate::upstream::MAX_READ_BYTES;
use crate::websocket::direction_state::InspectionOutcome;
use crate::websocket::observer::MessageObserver;
use crate::websocket::settings::LogFrames;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tidegate_http::websocket::frame::Direction;
use tidegate_http::websocket::response_head::AfterHeads;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Instant;

impl FrameInterceptor {
    /// Writes injected frames, and bytes that were held back, to the upstream.
    pub(super) fn poll_flush_injected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client_to_upstream.flush_injected();
        while !self.client_to_upstream.pending().is_empty() {
            let socket = Pin::new(&mut self.upstream);
            let count = ready!(socket.poll_write(cx, self.client_to_upstream.pending()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.client_to_upstream.consume(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Forwards bytes of the client. Ready with how many have been written or dropped.
    pub(super) fn poll_forward(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        loop {
            if !self.upstream_is_broken && ready!(self.poll_flush_injected(cx)).is_err() {
                self.upstream_is_broken = true;
            }
            if self.client_to_upstream.is_closed || self.upstream_is_broken {
                // Nothing may follow a close frame; the gateway waits for that of the client.
                self.client_to_upstream.track(bytes, &self.session);
                return Poll::Ready(bytes.len());
            }
            let step = self.client_to_upstream.max_step().min(bytes.len());
            let front = bytes.get(..step).unwrap_or_default();
            let count = match self.client_to_upstream.must_inspect(&self.settings.frame_limits) {
                false => front.len(),
                true => {
                    match self.client_to_upstream.inspect(
                        front,
                        &self.settings.frame_limits,
                        &self.session,
                    ) {
                        InspectionOutcome::Forward(count) => count,
                        InspectionOutcome::Taken(count) => return Poll::Ready(count),
                        InspectionOutcome::Violation(violation) => {
                            self.close_for_violation(Direction::ClientToUpstream, violation);
                            continue;
                        }
                    }
                }
            };
            let front = front.get(..count).unwrap_or_default();
            let Ok(count) = ready!(Pin::new(&mut self.upstream).poll_write(cx, front)) else {
                // Reading finds out why, after all that the upstream has still sent; then the client
                // gets a close frame instead of a bare end.
                self.upstream_is_broken = true;
                continue;
            };
            self.client_to_upstream.track(front.get(..count).unwrap_or_default(), &self.session);
            return Poll::Ready(count);
        }
    }

    /// Gives Pingora injected frames, and bytes that were held back. Returns whether there were any.
    pub(super) fn take_pending(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        self.upstream_to_client.flush_injected();
        let out = self.upstream_to_client.pending();
        let count = out.len().min(buffer.remaining());
        buffer.put_slice(out.get(..count).unwrap_or_default());
        self.upstream_to_client.consume(count);
        count > 0
    }

    /// Reads from the upstream. Ready with whether there are bytes for the client.
    pub(super) fn poll_upstream(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let start = buffer.filled().len();
        let is_open = matches!(self.phase, InterceptorPhase::Open);
        let step = if is_open { self.upstream_to_client.max_step() } else { usize::MAX };
        if step < buffer.remaining() {
            let room = buffer.initialize_unfilled_to(step);
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut self.upstream).poll_read(cx, &mut room))?;
            let count = room.filled().len();
            buffer.advance(count);
        } else {
            // Less than the buffer has room for: Pingora holds this much for a client that takes nothing.
            let mut piece = (&mut self.upstream).take(MAX_READ_BYTES);
            ready!(Pin::new(&mut piece).poll_read(cx, buffer))?;
        }
        if buffer.filled().len() == start {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut frames = start;
        if let InterceptorPhase::Handshake(pending) = &mut self.phase {
            let bytes = buffer.filled().get(start..).unwrap_or_default();
            match pending.heads.feed(bytes) {
                None => return Poll::Ready(Ok(true)),
                Some((_, AfterHeads::Refusal)) => {
                    self.phase = InterceptorPhase::Refused(pending.read_timeout)
                }
                Some((length, AfterHeads::Frames { deflate })) => {
                    frames += length;
                    self.open(deflate);
                }
            }
        }
        if let InterceptorPhase::Refused(read_timeout) = self.phase {
            self.phase_deadline = Some(Instant::now() + read_timeout);
        }
        if !matches!(self.phase, InterceptorPhase::Open) {
            return Poll::Ready(Ok(true));
        }
        self.track_upstream(buffer, frames);
        Poll::Ready(Ok(buffer.filled().len() > start))
    }

    /// Inspects and tracks frames that have been read; takes out what is not for the client.
    pub(super) fn track_upstream(&mut self, buffer: &mut ReadBuf<'_>, start: usize) {
        self.start_observing(false);
        let state = &mut self.upstream_to_client;
        let bytes = buffer.filled().get(start..).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        state.last_activity = Instant::now();
        let mut violation = None;
        if state.is_closed {
            // Nothing may follow a close frame; the gateway waits for that of the upstream.
            state.track(bytes, &self.session);
            buffer.set_filled(start);
        } else if state.must_inspect(&self.settings.frame_limits) {
            let (in_place, found) =
                state.receive(bytes, &self.settings.frame_limits, &self.session);
            violation = found;
            buffer.set_filled(start + in_place.unwrap_or(0));
        } else {
            state.track(bytes, &self.session);
        }
        self.session.publish(Direction::UpstreamToClient, &state.counts);
        self.record_closes();
        if let Some(violation) = violation {
            self.close_for_violation(Direction::UpstreamToClient, violation);
        }
    }

    /// Publishes the counters after bytes of the client have been written or dropped.
    pub(super) fn publish_client(&mut self) {
        self.client_to_upstream.last_activity = Instant::now();
        self.session.publish(Direction::ClientToUpstream, &self.client_to_upstream.counts);
        self.record_closes();
        if self.closing_deadline.is_some() {
            self.session.wake();
        }
    }

    /// Attaches the observer to both directions, if it wants frames of this session by now.
    pub(super) fn start_observing(&mut self, inflates: bool) {
        let Some(observer) = &self.observer else { return };
        let wants = observer.frames_wanted(&self.session);
        if wants == LogFrames::Off || self.client_to_upstream.observer.is_some() {
            return;
        }
        let inflates = inflates && wants == LogFrames::Text;
        for direction in [Direction::ClientToUpstream, Direction::UpstreamToClient] {
            let messages = MessageObserver::new(Arc::clone(observer), direction, inflates);
            let state = match direction {
                Direction::ClientToUpstream => &mut self.client_to_upstream,
                Direction::UpstreamToClient => &mut self.upstream_to_client,
            };
            state.observer = Some(Box::new(messages));
        }
    }
}
