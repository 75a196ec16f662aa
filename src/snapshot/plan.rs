use super::Snapshot;
use crate::websocket::{OnChange, Session};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a snapshot has to say to live sessions: enough to tell which of them it touches, and
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

/// What becomes of a route's sessions when another snapshot takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// `kept`, `drained` or `closed`.
    pub fate: Becomes,
    /// Only of those at these endpoints, which are taken away; empty for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
}

/// What becomes of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Becomes {
    /// They go on as they began.
    Kept,
    /// They are closed one after the other.
    Drained,
    /// They are closed at once.
    Closed,
}

impl From<OnChange> for Becomes {
    fn from(policy: OnChange) -> Self {
        match policy {
            OnChange::Keep => Self::Kept,
            OnChange::Drain => Self::Drained,
            OnChange::Close => Self::Closed,
        }
    }
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
    /// Of this snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let routes = snapshot.table.iter().map(|(_, route)| {
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

    /// What becomes of the sessions of an earlier plan's routes; those that are not touched are
    /// left out.
    pub fn fates(&self, earlier: &Self) -> BTreeMap<String, Fate> {
        let fate = |(name, was): (&String, &RoutePlan)| {
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
            Some((name.clone(), Fate { fate: policy.into(), endpoints }))
        };
        earlier.routes.iter().filter_map(fate).collect()
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

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.endpoints.is_empty() {
            write!(f, "those at {} are ", self.endpoints.join(", "))?;
        }
        f.write_str(match self.fate {
            Becomes::Kept => "kept as they began",
            Becomes::Drained => "drained",
            Becomes::Closed => "closed",
        })
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
