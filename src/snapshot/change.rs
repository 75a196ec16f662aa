//! The differences between two snapshots, by the names of routes, listeners and upstreams. It knows nothing
//! of sessions; `session_impact` decides about them.

use super::{Snapshot, StartupSettings};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use tidegate_config::RestartKey;
use tidegate_http::address::Address;

/// What a reload changed, by the names of routes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotChanges {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl SnapshotChanges {
    /// What is different in `new`.
    pub(crate) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let by_name = |snapshot: &Snapshot| -> BTreeMap<String, u64> {
            let routes = snapshot.table.iter();
            routes.map(|(_, route)| (route.name.to_string(), route.fingerprint)).collect()
        };
        let (before, after) = (by_name(old), by_name(new));
        let mut changes = Self::default();
        for (name, fingerprint) in &after {
            match before.get(name) {
                None => changes.added.push(name.clone()),
                Some(earlier) if earlier != fingerprint => changes.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        changes.removed = before.into_keys().filter(|name| !after.contains_key(name)).collect();
        changes
    }
}

impl StartupSettings {
    /// The keys that are `written` with another value than the one in force, and need a restart.
    pub(crate) fn restart_needed(&self, written: &Self) -> Vec<String> {
        // In which order they are written changes nothing.
        let addresses = |it: &Self| it.listeners.iter().cloned().collect::<HashSet<_>>();
        let mut keys = Vec::new();
        for key in RestartKey::ALL {
            let is_same = match key {
                RestartKey::Listeners => addresses(self) == addresses(written),
                RestartKey::Threads => self.threads == written.threads,
                RestartKey::UpstreamPoolSize => {
                    self.upstream_pool_size == written.upstream_pool_size
                }
                RestartKey::AdminAddress => self.admin == written.admin,
                RestartKey::UpgradeSocket => self.upgrade_socket == written.upgrade_socket,
                RestartKey::StateDir => self.state_dir == written.state_dir,
                RestartKey::ListenerMode => {
                    let changed = self.changed_modes(written);
                    keys.extend(
                        changed.map(|index| key.path().replace("[]", &format!("[{index}]"))),
                    );
                    continue;
                }
            };
            if !is_same {
                keys.push(key.path().to_owned());
            }
        }
        keys
    }

    /// Which of the `written` listeners is there already, with other permissions.
    fn changed_modes(&self, written: &Self) -> impl Iterator<Item = usize> {
        let has_changed = |(address, mode): (&Address, &u32)| {
            let in_force = self.listeners.iter().zip(&self.modes);
            let mut same = in_force.filter(|(known, _)| *known == address);
            same.any(|(_, known)| known != mode)
        };
        let listeners = written.listeners.iter().zip(&written.modes).enumerate();
        listeners.filter_map(move |(index, listener)| has_changed(listener).then_some(index))
    }
}

impl fmt::Display for SnapshotChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (what, names) in
            [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)]
        {
            if !names.is_empty() {
                parts.push(format!("{what} {}", shortened_list(names)));
            }
        }
        if parts.is_empty() {
            return f.write_str("no routes changed");
        }
        write!(f, "routes: {}", parts.join("; "))
    }
}

/// The names as a list, cut off after twenty: a longer list would not help.
fn shortened_list(names: &[String]) -> String {
    const MAX_NAMES_LOGGED: usize = 20;
    let shown: Vec<&str> = names.iter().take(MAX_NAMES_LOGGED).map(String::as_str).collect();
    match names.len().checked_sub(MAX_NAMES_LOGGED) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}
