use super::Generation;
use crate::websocket::{OnChange, Session};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a generation has to say to live sessions: enough to tell which of them it touches, and
/// small enough to be sent to a running gateway and asked about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    routes: BTreeMap<String, RoutePlan>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RoutePlan {
    fingerprint: u64,
    /// `None` when WebSockets are off.
    on_change: Option<OnChange>,
    /// As the configuration names them.
    endpoints: Vec<String>,
}

/// The sessions that a reload touches, by what becomes of them.
#[derive(Debug, Default)]
pub struct Affected {
    /// They go on.
    pub kept: Vec<Arc<Session>>,
    /// They are closed one after the other.
    pub drained: Vec<Arc<Session>>,
    /// They are closed at once.
    pub closed: Vec<Arc<Session>>,
}

impl Plan {
    /// Of this generation.
    pub fn of(generation: &Generation) -> Self {
        let routes = generation.table.iter().map(|(_, route)| {
            let splits = route.splits.iter().map(|split| &split.pool);
            let endpoints = route.pool.iter().chain(splits).flat_map(|pool| pool.endpoints());
            let plan = RoutePlan {
                fingerprint: route.session_fingerprint,
                on_change: route.websocket.as_ref().map(|settings| settings.on_change),
                endpoints: endpoints.map(|endpoint| endpoint.written().to_owned()).collect(),
            };
            (route.name.to_string(), plan)
        });
        Self { routes: routes.collect() }
    }

    /// The sessions among these that it touches: their route is removed or changed, or their
    /// endpoint is taken away.
    pub fn affected(&self, sessions: Vec<Arc<Session>>) -> Affected {
        let mut affected = Affected::default();
        for session in sessions {
            let identity = &session.identity;
            let route = self.routes.get(&*identity.route);
            let is_untouched = route.is_some_and(|route| {
                route.fingerprint == identity.fingerprint
                    && session.endpoint().is_none_or(|(_, written)| {
                        route.endpoints.iter().any(|endpoint| **endpoint == *written)
                    })
            });
            if is_untouched {
                continue;
            }
            // The newest word counts; a route that is gone has spoken its last.
            let policy = route.and_then(|route| route.on_change).unwrap_or(identity.on_change);
            match policy {
                OnChange::Keep => affected.kept.push(session),
                OnChange::Drain => affected.drained.push(session),
                OnChange::Close => affected.closed.push(session),
            }
        }
        affected
    }
}

impl Affected {
    /// How many of which route.
    pub fn routes(&self) -> BTreeMap<String, usize> {
        let mut routes = BTreeMap::new();
        for session in self.kept.iter().chain(&self.drained).chain(&self.closed) {
            *routes.entry(session.identity.route.to_string()).or_default() += 1;
        }
        routes
    }

    /// Whether no session is touched.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.drained.is_empty() && self.closed.is_empty()
    }
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, drained, closed } = self;
        write!(
            f,
            "{} sessions affected: {} kept, {} to be drained, {} closed",
            kept.len() + drained.len() + closed.len(),
            kept.len(),
            drained.len(),
            closed.len()
        )
    }
}
