//! Passes the frames and messages of a route's sessions to the access log and to filters. Knows nothing of tunnels, and
//! cannot change what it sees.

use crate::filter::Filter;
use crate::telemetry::AccessLog;
use crate::websocket::{FrameObserver, LogFrames, Message, Session};
use std::fmt;
use std::sync::Arc;
use tidegate_http::websocket::frame::{Direction, FrameHeader};

/// Passes on what goes through a route's tunnels: to the access log as far as the session says,
/// to filters as far as they want.
pub(super) struct RouteObserver {
    log: Option<Arc<AccessLog>>,
    filters: Box<[Arc<dyn Filter>]>,
    filters_want: LogFrames,
}

impl RouteObserver {
    /// `None` when neither a log nor a filter observes the route.
    pub(super) fn observer(
        log: Option<&Arc<AccessLog>>,
        filters: &[Arc<dyn Filter>],
    ) -> Option<Arc<dyn FrameObserver>> {
        let wanting = filters.iter().filter(|filter| filter.watches() > LogFrames::Off);
        let filters: Box<[Arc<dyn Filter>]> = wanting.cloned().collect();
        let filters_want = filters.iter().map(|filter| filter.watches()).max();
        let log = log.cloned();
        (log.is_some() || filters_want.is_some()).then(|| {
            let filters_want = filters_want.unwrap_or_default();
            Arc::new(Self { log, filters, filters_want }) as Arc<dyn FrameObserver>
        })
    }

    fn log_for(&self, session: &Session, min: LogFrames) -> Option<&AccessLog> {
        self.log.as_deref().filter(|_| session.log_frames() >= min)
    }
}

impl FrameObserver for RouteObserver {
    fn frames_wanted(&self, session: &Session) -> LogFrames {
        self.filters_want.max(session.log_frames())
    }

    fn frame(&self, session: &Session, direction: Direction, header: &FrameHeader) {
        if let Some(log) = self.log_for(session, LogFrames::Headers) {
            log.log_frame(session, direction, header);
        }
        for filter in &self.filters {
            filter.on_frame(session, direction, header);
        }
    }

    fn message(&self, session: &Session, direction: Direction, message: &Message<'_>) {
        if let Some(log) = self.log_for(session, LogFrames::Text) {
            log.log_message(session, direction, message);
        }
        for filter in self.filters.iter().filter(|filter| filter.watches() == LogFrames::Text) {
            filter.on_message(session, direction, message);
        }
    }
}

impl fmt::Debug for RouteObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteObserver").finish_non_exhaustive()
    }
}
