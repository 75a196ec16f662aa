use crate::generation::{Generation, HostHeader, Route};
use crate::routing::Rule;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What two configurations do otherwise, by route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Listeners that are new.
    pub listeners_added: Vec<String>,
    /// Listeners that are gone.
    pub listeners_removed: Vec<String>,
    /// Routes that are new, and what they take.
    pub added: BTreeMap<String, Vec<String>>,
    /// Routes that are gone, and what they took.
    pub removed: BTreeMap<String, Vec<String>>,
    /// Routes that do something otherwise: what, before, and after.
    pub changed: BTreeMap<String, Vec<Change>>,
}

/// One thing that a route does otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What.
    pub what: Cow<'static, str>,
    /// How it was.
    pub before: String,
    /// How it is.
    pub after: String,
}

/// What, and how.
pub type Facts = Vec<(Cow<'static, str>, String)>;

/// What a configuration does, so far as it can be told and compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outline {
    listeners: Vec<String>,
    routes: BTreeMap<String, Sketch>,
}

/// The same of a route.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sketch {
    conditions: Vec<String>,
    facts: Facts,
    /// Changes when anything that the route does changes.
    fingerprint: u64,
}

impl Outline {
    /// Of a generation.
    pub fn of(generation: &Generation) -> Self {
        let listeners = generation.listeners.iter().map(|listener| listener.address.to_string());
        let sketch = |(rule, route): (&Rule, &Arc<Route>)| {
            let conditions = rule.conditions_in_words();
            let fingerprint = route.fingerprint;
            (route.name.to_string(), Sketch { conditions, facts: facts(rule, route), fingerprint })
        };
        Self {
            listeners: listeners.collect(),
            routes: generation.table.iter().map(sketch).collect(),
        }
    }
}

impl Difference {
    /// Between two generations.
    pub fn between(old: &Generation, new: &Generation) -> Self {
        Self::of(&Outline::of(old), &Outline::of(new))
    }

    /// Between two configurations.
    pub fn of(before: &Outline, after: &Outline) -> Self {
        let mut difference = Self {
            listeners_added: missing(&after.listeners, &before.listeners),
            listeners_removed: missing(&before.listeners, &after.listeners),
            ..Self::default()
        };
        for (name, Sketch { conditions, facts, fingerprint }) in &after.routes {
            match before.routes.get(name) {
                None => {
                    difference.added.insert(name.clone(), conditions.clone());
                }
                Some(earlier) if earlier.fingerprint != *fingerprint => {
                    let mut changes = changes(&earlier.facts, facts);
                    if changes.is_empty() {
                        changes.push(Change {
                            what: "filters or settings".into(),
                            before: "as they were".to_owned(),
                            after: "others".to_owned(),
                        });
                    }
                    difference.changed.insert(name.clone(), changes);
                }
                Some(_) => {}
            }
        }
        let gone = before.routes.iter().filter(|(name, _)| !after.routes.contains_key(*name));
        difference.removed =
            gone.map(|(name, sketch)| (name.clone(), sketch.conditions.clone())).collect();
        difference
    }

    /// Whether both do the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Those of the first list that are not in the second.
fn missing(all: &[String], there: &[String]) -> Vec<String> {
    all.iter().filter(|it| !there.contains(it)).cloned().collect()
}

fn changes(before: &Facts, after: &Facts) -> Vec<Change> {
    let both = before.iter().zip(after).filter(|(before, after)| before.1 != after.1);
    both.map(|(before, after)| Change {
        what: after.0.clone(),
        before: before.1.clone(),
        after: after.1.clone(),
    })
    .collect()
}

/// What a route does, always in the same order.
pub fn facts(rule: &Rule, route: &Route) -> Facts {
    let on = |is_on: bool| if is_on { "on" } else { "off" }.to_owned();
    let or = |found: Option<String>, none: &str| found.unwrap_or_else(|| none.to_owned());
    let seconds = |time: std::time::Duration| humantime::format_duration(time).to_string();
    let pool = route.pool.as_ref();
    let endpoints = pool.map(|pool| {
        let endpoint = |it: &crate::upstream::Endpoint| match (it.weight(), it.is_backup()) {
            (1, false) => it.written().to_owned(),
            (weight, false) => format!("{} (weight {weight})", it.written()),
            (_, true) => format!("{} (backup)", it.written()),
        };
        pool.endpoints().iter().map(|it| endpoint(it)).collect::<Vec<_>>().join(", ")
    });
    let splits = route.splits.iter().map(|it| format!("{} ({:?})", it.pool.name(), it.when));
    let rewrite = route.rewrite_prefix.as_ref().map(|(_, prefix)| format!("prefix {prefix:?}"));
    let facts = [
        ("takes", rule.conditions_in_words().join(", ")),
        ("upstream", or(pool.map(|pool| pool.name().to_string()), "none")),
        ("endpoints", or(endpoints, "none")),
        ("split", splits.collect::<Vec<_>>().join(", ")),
        ("mirror", or(route.mirror.as_ref().map(|it| it.pool.name().to_string()), "none")),
        ("rewrite", or(rewrite, "none")),
        (
            "host",
            match &route.host {
                HostHeader::Preserve => "the client's".to_owned(),
                HostHeader::Upstream => "the endpoint's".to_owned(),
                HostHeader::Name(name) => name.to_str().unwrap_or_default().to_owned(),
            },
        ),
        ("filters", route.filters.iter().map(|it| it.describe()).collect::<Vec<_>>().join(" | ")),
        ("timeouts.connect", seconds(route.connect_timeout)),
        ("timeouts.read", seconds(route.read_timeout)),
        ("timeouts.write", seconds(route.write_timeout)),
        ("timeouts.request", or(route.request_timeout.map(seconds), "none")),
        ("attempts", route.retry.attempts.to_string()),
        ("websocket", on(route.websocket.is_some())),
        ("cache", on(route.cache.is_some())),
        ("compression", on(route.compression.is_some())),
        ("grpc_web", on(route.grpc_web)),
        ("max_body_size", or(route.max_body_size.map(|size| size.to_string()), "none")),
    ];
    facts.map(|(what, how)| (Cow::Borrowed(what), how)).into()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mark, listeners) in [("+", &self.listeners_added), ("-", &self.listeners_removed)] {
            for listener in listeners {
                writeln!(f, "{mark} listener {listener}")?;
            }
        }
        for (mark, routes) in [("+", &self.added), ("-", &self.removed)] {
            for (name, conditions) in routes {
                writeln!(f, "{mark} route {name}: {}", conditions.join(", "))?;
            }
        }
        for (name, changes) in &self.changed {
            writeln!(f, "~ route {name}")?;
            for Change { what, before, after } in changes {
                writeln!(f, "    {what}: {before} → {after}")?;
            }
        }
        Ok(())
    }
}
