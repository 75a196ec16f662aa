//! A configuration in one line: what `check` reports when it finds no problem. Knows nothing of files.

use crate::snapshot::Snapshot;
use std::fmt;
use tidegate_config::Problems;
use tidegate_http::address::Address;

/// What a configuration holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Summary {
    /// The addresses that it listens on.
    pub listeners: Vec<Address>,
    /// The admin endpoint.
    pub admin: Option<Address>,
    /// How many upstreams.
    pub upstreams: usize,
    /// How many routes.
    pub routes: usize,
    /// What is not wise of it.
    pub warnings: Problems,
}

impl Summary {
    pub(super) fn from_snapshot(snapshot: &Snapshot) -> Self {
        let listeners = snapshot.startup.listeners.iter();
        Self {
            listeners: listeners.cloned().collect(),
            admin: snapshot.startup.admin.clone(),
            upstreams: snapshot.pools.len(),
            routes: snapshot.table.iter().count(),
            warnings: Problems::default(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, upstreams, routes, .. } = self;
        let count = |count: usize, what| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural}")
        };
        let parts = [
            count(listeners.len(), "listener"),
            count(*upstreams, "upstream"),
            count(*routes, "route"),
        ];
        f.write_str(&parts.join(", "))
    }
}
