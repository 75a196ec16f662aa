//! Monitors requests after an edit and reports when it made things worse, so that the edit is rolled back. Applies no
//! version itself.

use crate::snapshot::{RollbackSettings, Route, Snapshot};
use crate::telemetry::RequestTotals;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Minimum number of finished requests from which the share of errors is meaningful.
const MIN_REQUESTS_TO_JUDGE: u64 = 20;

/// Time between two checks.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Compares the errors before an edit with those after it.
#[derive(Default)]
pub(super) struct RollbackMonitor {
    /// The totals at each check, over the guard's window.
    readings: VecDeque<(Instant, RequestTotals)>,
    trial: Option<VersionTrial>,
}

/// An edit whose effect is still being observed.
struct VersionTrial {
    /// The version that had.
    proven: u64,
    /// Until when it is watched.
    until: Instant,
    guard: RollbackSettings,
    /// How requests had fared when it took effect.
    totals_at_start: RequestTotals,
    /// How they fared within the window before.
    totals_before: RequestTotals,
    /// The snapshot before: requests on its routes are still counted there.
    replaced: Arc<Snapshot>,
    /// The routes whose WebSockets the edit switched off, and how many handshakes had failed there.
    routes_that_stopped_websockets: Vec<(Arc<Route>, u64)>,
}

impl VersionTrial {
    /// How requests have fared since the edit. A handshake that a route refuses because its WebSockets
    /// are off is a failure of the edit only where it was the edit that switched them off.
    fn totals_since(&self, now: &Snapshot) -> RequestTotals {
        let mut after = difference(self.totals_at_start, totals(now, Some(&self.replaced)));
        for (route, then) in &self.routes_that_stopped_websockets {
            let failed = route.requests.tally().failed_handshakes;
            after.broken_handshakes += failed.saturating_sub(*then);
        }
        after
    }
}

impl RollbackMonitor {
    /// An edit is about to take effect in the place of this snapshot.
    pub(super) fn start_trial(&mut self, left: Arc<Snapshot>, now: &Snapshot) {
        let Some(guard) = now.guard else {
            self.trial = None;
            return;
        };
        // One that has not proven itself is no place to go back to.
        let proven = self.trial.take().map_or(left.number, |trial| trial.proven);
        let then = totals(now, Some(&left));
        let begin = self.readings.front().map_or(then, |(_, tally)| *tally);
        let before = difference(begin, totals(&left, None));
        let until = Instant::now() + guard.window;
        let routes_that_stopped_websockets = routes_that_stopped_websockets(&left, now);
        self.trial = Some(VersionTrial {
            proven,
            until,
            guard,
            totals_at_start: then,
            totals_before: before,
            replaced: left,
            routes_that_stopped_websockets,
        });
        self.readings.clear();
    }

    /// Somebody has decided otherwise: nothing is watched any more.
    pub(super) fn end_trial(&mut self) {
        *self = Self::default();
    }

    /// Checks; returns the version to roll back to, and why.
    pub(super) fn check_trial(&mut self, now: &Snapshot) -> Option<(u64, String)> {
        let Some(trial) = &self.trial else {
            if let Some(guard) = now.guard {
                self.record_reading(now, guard.window);
            }
            return None;
        };
        let after = trial.totals_since(now);
        if let Some(because) = worse_reason(&trial.guard, trial.totals_before, after) {
            let proven = trial.proven;
            self.end_trial();
            return Some((proven, because));
        }
        if Instant::now() >= trial.until {
            log::info!(
                "reload.guard: version {} caused no more errors than the version before and stays \
                 in force",
                now.number
            );
            self.trial = None;
        }
        None
    }

    fn record_reading(&mut self, snapshot: &Snapshot, window: Duration) {
        let now = Instant::now();
        self.readings.push_back((now, totals(snapshot, None)));
        while self.readings.front().is_some_and(|(then, _)| now.duration_since(*then) > window) {
            self.readings.pop_front();
        }
    }
}

/// What became worse, as text.
fn worse_reason(
    guard: &RollbackSettings,
    before: RequestTotals,
    after: RequestTotals,
) -> Option<String> {
    let share = |tally: RequestTotals| tally.server_errors as f64 / tally.requests.max(1) as f64;
    if after.requests >= MIN_REQUESTS_TO_JUDGE && share(after) - share(before) > guard.errors {
        return Some(format!(
            "{:.1} % of {} requests were answered with 5xx, {:.1} % before the edit",
            share(after) * 100.0,
            after.requests,
            share(before) * 100.0,
        ));
    }
    let (now, then) = (after.broken_handshakes, before.broken_handshakes);
    (now > then + guard.handshakes).then(|| {
        format!("{now} WebSocket handshakes failed since the edit, {then} in the same time before")
    })
}

/// The routes that took WebSockets before the edit and refuse them after it.
fn routes_that_stopped_websockets(left: &Snapshot, now: &Snapshot) -> Vec<(Arc<Route>, u64)> {
    let had = |route: &Route| {
        left.table.iter().any(|(_, before)| {
            before.websocket.is_some() && Arc::ptr_eq(&before.requests, &route.requests)
        })
    };
    let mut found: Vec<(Arc<Route>, u64)> = Vec::new();
    for (_, route) in now.table.iter() {
        let is_new =
            |(other, _): &(Arc<Route>, u64)| !Arc::ptr_eq(&other.requests, &route.requests);
        if route.websocket.is_none() && had(route) && found.iter().all(is_new) {
            found.push((Arc::clone(route), route.requests.tally().failed_handshakes));
        }
    }
    found
}

fn difference(then: RequestTotals, now: RequestTotals) -> RequestTotals {
    RequestTotals {
        requests: now.requests.saturating_sub(then.requests),
        server_errors: now.server_errors.saturating_sub(then.server_errors),
        failed_handshakes: now.failed_handshakes.saturating_sub(then.failed_handshakes),
        broken_handshakes: now.broken_handshakes.saturating_sub(then.broken_handshakes),
    }
}

/// The totals of requests in a snapshot, and on routes that the previous one removed.
fn totals(snapshot: &Snapshot, left: Option<&Arc<Snapshot>>) -> RequestTotals {
    let routes = |snapshot: &'_ Snapshot| -> Vec<Arc<Route>> {
        let routes = snapshot.table.iter().map(|(_, route)| route);
        routes.chain([&snapshot.fallback]).cloned().collect()
    };
    let all = routes(snapshot).into_iter().chain(left.into_iter().flat_map(|it| routes(it)));
    // Those that are in both count in one place.
    let by_route: HashMap<_, _> =
        all.map(|route| (Arc::as_ptr(&route.requests), Arc::clone(&route.requests))).collect();
    by_route.values().map(|requests| requests.tally()).fold(
        RequestTotals::default(),
        |sum, tally| RequestTotals {
            requests: sum.requests + tally.requests,
            server_errors: sum.server_errors + tally.server_errors,
            failed_handshakes: sum.failed_handshakes + tally.failed_handshakes,
            broken_handshakes: sum.broken_handshakes + tally.broken_handshakes,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: RollbackSettings =
        RollbackSettings { window: Duration::from_secs(30), errors: 0.05, handshakes: 10 };

    fn tally(requests: u64, server_errors: u64, broken_handshakes: u64) -> RequestTotals {
        RequestTotals {
            requests,
            server_errors,
            failed_handshakes: broken_handshakes,
            broken_handshakes,
        }
    }

    #[test]
    fn error_share_counts_only_with_enough_requests() {
        assert_eq!(worse_reason(&GUARD, tally(1000, 10, 0), tally(19, 19, 0)), None);
        assert_eq!(worse_reason(&GUARD, tally(1000, 10, 0), tally(100, 6, 0)), None);
        let because = worse_reason(&GUARD, tally(1000, 10, 0), tally(100, 7, 0));
        let expected = "7.0 % of 100 requests were answered with 5xx, 1.0 % before the edit";
        assert_eq!(because.as_deref(), Some(expected));
    }

    #[test]
    fn errors_from_before_the_edit_do_not_count() {
        assert_eq!(worse_reason(&GUARD, tally(100, 90, 50), tally(100, 94, 60)), None);
        assert!(worse_reason(&GUARD, tally(100, 90, 50), tally(100, 94, 61)).is_some());
    }
}
