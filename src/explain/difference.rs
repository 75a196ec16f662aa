//! The differences between two outlines, and their text. It knows nothing of the running gateway.

use super::change::Change;
use super::outline::{Outline, RouteFacts, RouteOutline};
use super::traffic::{Moved, Rules, moved_requests};
use super::written;
use crate::snapshot::{SessionImpact, Snapshot, filter_keys};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tidegate_config::RestartKey;
use tidegate_http::secret::REDACTED;

/// What two configurations do otherwise, by route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Difference {
    /// Listeners that are new.
    pub listeners_added: Vec<String>,
    /// Listeners that are gone.
    pub listeners_removed: Vec<String>,
    /// What is set otherwise, and is not of one route: by its path in the file.
    pub settings: Vec<Change>,
    /// Routes that are new, and what they take.
    pub added: BTreeMap<String, Vec<String>>,
    /// Routes that are gone, and what they took.
    pub removed: BTreeMap<String, Vec<String>>,
    /// Routes that do something otherwise: what, before, and after.
    pub changed: BTreeMap<String, Vec<Change>>,
    /// Requests that another route takes than before.
    pub moved: Vec<Moved>,
    /// What of it takes effect only after a restart: keys by their paths in the file.
    pub restart_needed: Vec<String>,
    /// What becomes of live sessions, by the names of their routes.
    pub sessions: BTreeMap<String, SessionImpact>,
}

/// Keys of a route whose changes are fully shown as changed facts, together with the keys below them.
const KEYS_SHOWN_AS_FACTS: [&str; 9] = [
    "match",
    "upstream",
    "split",
    "rewrite",
    "timeouts",
    "grpc_web",
    "max_body_size",
    "retry.attempts",
    "mirror.upstream",
];

/// Keys of a route whose own changes are fully shown as changed facts; those of the keys below them are not.
const KEYS_SHOWN_WITHOUT_SUBKEYS: [&str; 4] = ["websocket", "cache", "retry", "mirror"];

impl Difference {
    /// Between two snapshots.
    pub(crate) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        Self::between_outlines(&Outline::from_snapshot(old), &Outline::from_snapshot(new))
    }

    /// Between two configurations.
    pub(crate) fn between_outlines(before: &Outline, after: &Outline) -> Self {
        let mut difference = Self {
            listeners_added: absent_from(&after.listeners, &before.listeners),
            listeners_removed: absent_from(&before.listeners, &after.listeners),
            settings: settings(before, after),
            moved: moved_requests(&rules(before), &rules(after))
                .into_iter()
                .map(|it| Moved {
                    request: after.expanded.hide(&before.expanded.hide(&it.request)),
                    ..it
                })
                .collect(),
            sessions: after.plan.impacts_since(&before.plan),
            ..Self::default()
        };
        let (was, is) = (by_name(before), by_name(after));
        let mut reported = BTreeSet::new();
        for (name, sketch) in &is {
            let Some(earlier) = was.get(name) else {
                difference.added.insert((*name).to_owned(), sketch.conditions.clone());
                continue;
            };
            let mut changes = fact_changes(&earlier.facts, &sketch.facts);
            let own = own_changes(before, after, name);
            if own.iter().any(|it| filter_keys().any(|key| is_at_or_below(&it.what, key))) {
                changes.retain(|change| change.what != "filters");
            }
            changes.extend(own.into_iter().filter(|change| !is_reported(change, earlier, sketch)));
            for upstream in &sketch.upstreams {
                reported.insert(upstream.as_str());
                let endpoints = (earlier.fact("upstream"), sketch.fact("upstream"));
                let are_told = endpoints == (Some(upstream.as_str()), Some(upstream.as_str()));
                let of_it = upstream_changes(before, after, upstream);
                changes.extend(of_it.filter(|(what, _)| !(are_told && what == "endpoints")).map(
                    |(what, change)| Change {
                        what: format!("upstreams.{upstream}.{what}").into(),
                        ..change
                    },
                ));
            }
            if changes.is_empty() && earlier.fingerprint != sketch.fingerprint {
                changes = inherited_changes(&difference.settings);
                if changes.is_empty() && sketch.facts.iter().any(|(_, it)| it.contains(REDACTED)) {
                    // What is otherwise is secret.
                    changes.push(Change {
                        what: "match".into(),
                        before: REDACTED.to_owned(),
                        after: format!("another {REDACTED}"),
                    });
                }
            }
            if !changes.is_empty() {
                difference.changed.insert((*name).to_owned(), changes);
            }
        }
        let gone = was.iter().filter(|(name, _)| !is.contains_key(*name));
        difference.removed =
            gone.map(|(name, sketch)| ((*name).to_owned(), sketch.conditions.clone())).collect();
        for name in before.written.upstreams.keys().filter(|name| !reported.contains(name.as_str()))
        {
            let of_it = upstream_changes(before, after, name);
            difference.settings.extend(of_it.map(|(what, change)| Change {
                what: format!("upstreams.{name}.{what}").into(),
                ..change
            }));
        }
        difference.restart_needed = difference.after_restart();
        difference
    }

    /// What of it takes effect only after a restart.
    fn after_restart(&self) -> Vec<String> {
        let listeners = !self.listeners_added.is_empty() || !self.listeners_removed.is_empty();
        let listeners = listeners.then(|| RestartKey::Listeners.path().to_owned());
        let settings = self.settings.iter().map(|change| change.what.to_string());
        let settings = settings.filter(|what| RestartKey::for_path(what).is_some());
        listeners.into_iter().chain(settings).collect()
    }

    /// Whether both do the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a route does otherwise because of what the top of the file says.
fn inherited_changes(settings: &[Change]) -> Vec<Change> {
    let is_inherited = |change: &&Change| {
        filter_keys().chain(["compression"]).any(|key| is_at_or_below(&change.what, key))
    };
    let changes: Vec<Change> = settings.iter().filter(is_inherited).cloned().collect();
    if !changes.is_empty() {
        return changes;
    }
    // A filter of the library's user, or a file that the configuration names.
    let (before, after) = ("previous".to_owned(), "different".to_owned());
    vec![Change { what: "filters or settings".into(), before, after }]
}

fn by_name(outline: &Outline) -> BTreeMap<&str, &RouteOutline> {
    outline.routes.iter().map(|sketch| (sketch.name.as_str(), sketch)).collect()
}

fn rules(outline: &Outline) -> Rules<'_> {
    let routes = outline.routes.iter();
    routes.filter_map(|sketch| Some((sketch.takes.rule()?, sketch.name.as_str()))).collect()
}

/// Those of the first list that are not in the second.
fn absent_from(all: &[String], there: &[String]) -> Vec<String> {
    all.iter().filter(|it| !there.contains(it)).cloned().collect()
}

/// What is not of one route: the top of the file, its listeners, and upstreams that come and go.
fn settings(before: &Outline, after: &Outline) -> Vec<Change> {
    let (was, is) = (&before.written, &after.written);
    let mut settings = written::changes(&was.rest, &is.rest);
    for (address, values) in &is.listeners {
        let earlier = was.listeners.get(address);
        let changes = earlier.map(|earlier| written::changes(earlier, values));
        settings.extend(changes.into_iter().flatten().map(|change| Change {
            what: format!("listeners[{address}].{}", change.what).into(),
            ..change
        }));
    }
    let names: BTreeSet<&String> = was.upstreams.keys().chain(is.upstreams.keys()).collect();
    for name in names {
        let (before, after) = match (was.upstreams.get(name), is.upstreams.get(name)) {
            (Some(_), None) => ("there", "not there"),
            (None, Some(_)) => ("not there", "there"),
            _ => continue,
        };
        let what = format!("upstreams.{name}").into();
        settings.push(Change { what, before: before.to_owned(), after: after.to_owned() });
    }
    settings
}

/// What is written otherwise at a route.
fn own_changes(before: &Outline, after: &Outline, name: &str) -> Vec<Change> {
    match (before.written.routes.get(name), after.written.routes.get(name)) {
        (Some(before), Some(after)) => written::changes(before, after),
        _ => Vec::new(),
    }
}

/// What is written otherwise at an upstream that both have, with its path.
fn upstream_changes<'o>(
    before: &'o Outline,
    after: &'o Outline,
    name: &str,
) -> impl Iterator<Item = (String, Change)> + use<'o> {
    let both = before.written.upstreams.get(name).zip(after.written.upstreams.get(name));
    let changes = both.map(|(before, after)| written::changes(before, after));
    changes.into_iter().flatten().map(|change| (change.what.to_string(), change))
}

fn is_at_or_below(what: &str, key: &str) -> bool {
    what.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether the facts of the route report this change already, or show that it changes nothing.
fn is_reported(change: &Change, before: &RouteOutline, after: &RouteOutline) -> bool {
    let what = &*change.what;
    KEYS_SHOWN_AS_FACTS.iter().any(|key| is_at_or_below(what, key))
        || KEYS_SHOWN_WITHOUT_SUBKEYS.contains(&what)
        || (what == "compression" && before.fact(what) != after.fact(what))
}

/// What is done otherwise; of the filters, those that are not on both sides.
fn fact_changes(before: &RouteFacts, after: &RouteFacts) -> Vec<Change> {
    let both = before.iter().zip(after).filter(|(before, after)| before.1 != after.1);
    both.map(|((what, before), (_, after))| {
        let only = |one: &str, other: &str| {
            let is_other = |it: &&str| !other.split(" | ").any(|other| other == *it);
            let left: Vec<&str> = one.split(" | ").filter(is_other).collect();
            if left.is_empty() { "none".to_owned() } else { left.join(" | ") }
        };
        let (before, after) = match &**what {
            "filters" => (only(before, after), only(after, before)),
            _ => (before.clone(), after.clone()),
        };
        Change { what: what.clone(), before, after }
    })
    .collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mark, listeners) in [("+", &self.listeners_added), ("-", &self.listeners_removed)] {
            for listener in listeners {
                writeln!(f, "{mark} listener {listener}")?;
            }
        }
        for Change { what, before, after } in &self.settings {
            writeln!(f, "~ {what}: {before} → {after}")?;
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
        for Moved { request, before, after } in &self.moved {
            writeln!(
                f,
                "> {request}: {} → {}",
                route_or_none(before.as_deref()),
                route_or_none(after.as_deref())
            )?;
        }
        for key in &self.restart_needed {
            writeln!(f, "! {key} takes effect after a restart")?;
        }
        for (name, impact) in &self.sessions {
            writeln!(f, "! sessions of {name}: {impact}")?;
        }
        Ok(())
    }
}

/// The route that takes a request, in words.
pub(super) fn route_or_none(route: Option<&str>) -> &str {
    route.unwrap_or("no route")
}
