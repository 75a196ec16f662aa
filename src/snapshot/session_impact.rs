//! What a reload does to live WebSocket sessions: which are kept, drained or closed. It compares two snapshots and must
//! not close a session itself.

use super::Snapshot;
use crate::websocket::{OnChange, Session};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a snapshot says about live sessions: enough to find those that it affects, and small enough to be sent to a
/// running gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionPolicies {
    routes: BTreeMap<String, RoutePolicy>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RoutePolicy {
    fingerprint: u64,
    /// `None` when WebSockets are off.
    on_change: Option<OnChange>,
    /// As the configuration names them.
    endpoints: Vec<String>,
}

/// What a reload does to the sessions of one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionImpact {
    /// `kept`, `drained` or `closed`.
    #[serde(rename = "fate")]
    pub action: SessionAction,
    /// The removed endpoints whose sessions are affected; empty when all sessions of the route are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
}

/// What a reload does to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionAction {
    /// The session keeps its old settings.
    Kept,
    /// The session is closed within the drain time.
    Drained,
    /// The session is closed at once.
    Closed,
}

impl From<OnChange> for SessionAction {
    fn from(policy: OnChange) -> Self {
        match policy {
            OnChange::Keep => Self::Kept,
            OnChange::Drain => Self::Drained,
            OnChange::Close => Self::Closed,
        }
    }
}

/// The sessions that a reload affects, by action.
#[derive(Debug, Default)]
pub(crate) struct AffectedSessions {
    /// They go on.
    pub kept: Vec<Arc<Session>>,
    /// They are closed one after the other.
    pub drained: Vec<Arc<Session>>,
    /// They are closed at once.
    pub closed: Vec<Arc<Session>>,
}

impl SessionPolicies {
    /// The policies of this snapshot.
    pub(crate) fn from_snapshot(snapshot: &Snapshot) -> Self {
        let routes = snapshot.table.iter().map(|(_, route)| {
            let splits = route.splits.iter().map(|split| &split.pool);
            let endpoints = route.pool.iter().chain(splits).flat_map(|pool| pool.endpoints());
            let policy = RoutePolicy {
                fingerprint: route.session_fingerprint,
                on_change: route.websocket.as_ref().map(|settings| settings.on_change),
                endpoints: endpoints.map(|endpoint| endpoint.address_text().to_owned()).collect(),
            };
            (route.name.to_string(), policy)
        });
        Self { routes: routes.collect() }
    }

    /// What replacing the `earlier` snapshot does to the sessions of its routes. Unaffected routes are left out.
    pub(crate) fn impacts_since(&self, earlier: &Self) -> BTreeMap<String, SessionImpact> {
        let impact = |(name, was): (&String, &RoutePolicy)| {
            // Without a policy there are no sessions.
            let own = was.on_change?;
            let is = self.routes.get(name);
            let is_as_before = is.is_some_and(|is| is.fingerprint == was.fingerprint);
            let is_gone = |it: &&String| is.is_none_or(|is| !is.endpoints.contains(it));
            let endpoints: Vec<String> =
                was.endpoints.iter().filter(|_| is_as_before).filter(is_gone).cloned().collect();
            if is_as_before && endpoints.is_empty() {
                return None;
            }
            let policy = is.and_then(|is| is.on_change).unwrap_or(own);
            Some((name.clone(), SessionImpact { action: policy.into(), endpoints }))
        };
        earlier.routes.iter().filter_map(impact).collect()
    }

    /// The sessions among these that it touches: their route is removed or changed, or their
    /// endpoint is taken away.
    pub(crate) fn affected(&self, sessions: Vec<Arc<Session>>) -> AffectedSessions {
        let mut affected = AffectedSessions::default();
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

impl fmt::Display for SessionImpact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.endpoints.is_empty() {
            write!(f, "sessions at {} are ", self.endpoints.join(", "))?;
        }
        f.write_str(match self.action {
            SessionAction::Kept => "kept with their previous settings",
            SessionAction::Drained => "drained",
            SessionAction::Closed => "closed",
        })
    }
}

impl AffectedSessions {
    /// How many of which route.
    pub(crate) fn routes(&self) -> BTreeMap<String, usize> {
        let mut routes = BTreeMap::new();
        for session in self.kept.iter().chain(&self.drained).chain(&self.closed) {
            *routes.entry(session.identity.route.to_string()).or_default() += 1;
        }
        routes
    }

    /// Whether no session is touched.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.drained.is_empty() && self.closed.is_empty()
    }
}

impl fmt::Display for AffectedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, drained, closed } = self;
        write!(
            f,
            "{} sessions affected: {} kept, {} being drained, {} closed",
            kept.len() + drained.len() + closed.len(),
            kept.len(),
            drained.len(),
            closed.len()
        )
    }
}
