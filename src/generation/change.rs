use super::Generation;
use std::collections::BTreeMap;
use std::fmt;

/// What a reload changed, by the names of routes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    needs_restart: Vec<&'static str>,
}

impl Changes {
    /// What is different in `new`.
    pub fn between(old: &Generation, new: &Generation) -> Self {
        let by_name = |generation: &Generation| -> BTreeMap<String, u64> {
            let routes = generation.table.iter();
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
        if old.fixed.listeners != new.fixed.listeners {
            changes.needs_restart.push("listeners");
        }
        if old.fixed.threads != new.fixed.threads {
            changes.needs_restart.push("threads");
        }
        if old.fixed.upstream_pool_size != new.fixed.upstream_pool_size {
            changes.needs_restart.push("upstream_pool_size");
        }
        if old.fixed.admin != new.fixed.admin {
            changes.needs_restart.push("admin");
        }
        if old.fixed.upgrade_socket != new.fixed.upgrade_socket {
            changes.needs_restart.push("upgrade_socket");
        }
        changes
    }

    /// The keys that were changed but take effect only after a restart.
    pub fn needs_restart(&self) -> &[&'static str] {
        &self.needs_restart
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (what, names) in
            [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)]
        {
            if !names.is_empty() {
                parts.push(format!("{what} {}", abridged(names)));
            }
        }
        if parts.is_empty() {
            return f.write_str("no route changed");
        }
        write!(f, "routes: {}", parts.join("; "))
    }
}

/// A list of ten thousand names helps nobody.
fn abridged(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}
