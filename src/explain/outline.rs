//! What a configuration does, in a form that can be compared and kept. It knows nothing of requests.

use super::traffic::SerializedRule;
use super::written::WrittenValues;
use crate::routing::Rule;
use crate::snapshot::{HostHeader, Route, SessionPolicies, Snapshot, SplitCondition};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use tidegate_config::ExpandedValues;
use tidegate_http::secret::{REDACTED, is_secret_field, without_secrets_of_urls};

/// What, and how.
pub(super) type RouteFacts = Vec<(Cow<'static, str>, String)>;

/// What a configuration does, as far as it can be described and compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outline {
    pub(super) listeners: Vec<String>,
    /// In the order of the file.
    pub(super) routes: Vec<RouteOutline>,
    pub(super) written: WrittenValues,
    pub(super) plan: SessionPolicies,
    /// What is not shown of it; it stays in this process.
    #[serde(skip)]
    pub(super) expanded: ExpandedValues,
}

/// What is shown of a route.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RouteOutline {
    pub name: String,
    pub takes: SerializedRule,
    pub conditions: Vec<String>,
    pub facts: RouteFacts,
    /// Where its requests may go, and copies of them.
    pub upstreams: Vec<String>,
    /// Changes when anything that the route does changes.
    pub fingerprint: u64,
}

impl Outline {
    /// Of a snapshot.
    pub(crate) fn from_snapshot(snapshot: &Snapshot) -> Self {
        let listeners = snapshot.listeners.iter().map(|listener| listener.address.to_string());
        Self {
            listeners: listeners.collect(),
            routes: snapshot
                .table
                .iter()
                .map(|(rule, route)| {
                    RouteOutline::from_route(rule, route, snapshot.written.expanded())
                })
                .collect(),
            written: WrittenValues::from_sources(&snapshot.written),
            plan: SessionPolicies::from_snapshot(snapshot),
            expanded: snapshot.written.expanded().clone(),
        }
    }

    /// What it would do with live sessions.
    pub(crate) fn plan(&self) -> &SessionPolicies {
        &self.plan
    }
}

impl RouteOutline {
    fn from_route(rule: &Rule, route: &Arc<Route>, expanded: &ExpandedValues) -> Self {
        let splits = route.splits.iter().map(|split| &split.pool);
        let mirror = route.mirror.iter().map(|mirror| &mirror.pool);
        let mut upstreams: Vec<String> = Vec::new();
        for pool in route.pool.iter().chain(splits).chain(mirror) {
            if !upstreams.iter().any(|known| **known == **pool.name()) {
                upstreams.push(pool.name().to_string());
            }
        }
        Self {
            name: route.name.to_string(),
            takes: SerializedRule::from_rule(rule),
            conditions: route_conditions(rule, expanded),
            facts: route_facts(rule, route, expanded),
            upstreams,
            fingerprint: route.fingerprint,
        }
    }

    /// The fact of this name.
    pub(super) fn fact(&self, what: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == what).map(|(_, how)| how.as_str())
    }
}

/// What a route asks of a request, in words, without what came out of variables.
pub(crate) fn route_conditions(rule: &Rule, expanded: &ExpandedValues) -> Vec<String> {
    rule.conditions_in_words().iter().map(|it| expanded.hide(it)).collect()
}

/// Facts whose values are names and addresses; other facts and messages show those as well.
const NAME_FACTS: [&str; 3] = ["upstream", "endpoints", "mirror"];

/// What a route does, always in the same order, without secrets and without what came out of variables.
pub(crate) fn route_facts(rule: &Rule, route: &Route, expanded: &ExpandedValues) -> RouteFacts {
    let on = |is_on: bool| if is_on { "on" } else { "off" }.to_owned();
    let or = |found: Option<String>, none: &str| found.unwrap_or_else(|| none.to_owned());
    let seconds = |time: std::time::Duration| humantime::format_duration(time).to_string();
    let pool = route.pool.as_ref();
    let endpoints = pool.map(|pool| {
        let endpoint = |it: &crate::upstream::Endpoint| match (it.weight(), it.is_backup()) {
            (1, false) => it.address_text().to_owned(),
            (weight, false) => format!("{} (weight {weight})", it.address_text()),
            (1, true) => format!("{} (backup)", it.address_text()),
            (weight, true) => format!("{} (backup, weight {weight})", it.address_text()),
        };
        pool.endpoints().iter().map(|it| endpoint(it)).collect::<Vec<_>>().join(", ")
    });
    let mut below = 0;
    let splits = route.splits.iter().map(|split| {
        let to = split.pool.name();
        match &split.when {
            SplitCondition::Below(lot) => {
                let share = lot.saturating_sub(std::mem::replace(&mut below, *lot));
                format!("{to} ({share}%)")
            }
            SplitCondition::Header(name, value) => {
                let value = match is_secret_field(name.as_str()) {
                    true => REDACTED,
                    false => value.to_str().unwrap_or_default(),
                };
                format!("{to} (header {name} is {value})")
            }
            SplitCondition::Cookie(name, value) => {
                let value = if is_secret_field(name) { REDACTED } else { value };
                format!("{to} (cookie {name} is {value})")
            }
        }
    });
    let splits: Vec<String> = splits.collect();
    let rewrite = route.rewrite_prefix.as_ref().map(|(_, prefix)| format!("prefix {prefix:?}"));
    let facts = [
        ("takes", rule.conditions_in_words().join(", ")),
        ("upstream", or(pool.map(|pool| pool.name().to_string()), "none")),
        ("endpoints", or(endpoints, "none")),
        ("split", if splits.is_empty() { "none".to_owned() } else { splits.join(", ") }),
        ("mirror", or(route.mirror.as_ref().map(|it| it.pool.name().to_string()), "none")),
        ("rewrite", or(rewrite, "none")),
        ("path", route.path.to_string()),
        (
            "host",
            match &route.host {
                HostHeader::Preserve => "the client's".to_owned(),
                HostHeader::Upstream => "the endpoint's".to_owned(),
                HostHeader::Name(name) => name.to_str().unwrap_or_default().to_owned(),
            },
        ),
        ("filters", route.describe_filters().join(" | ")),
        ("timeouts.connect", seconds(route.connect_timeout)),
        ("timeouts.tls", seconds(route.tls_timeout)),
        ("timeouts.first_byte", or(route.first_byte_timeout.map(seconds), "none")),
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
    let shown = |what: &str, how: String| match NAME_FACTS.contains(&what) {
        true => how,
        false => expanded.hide(&without_secrets_of_urls(&how)),
    };
    facts.map(|(what, how)| (Cow::Borrowed(what), shown(what, how))).into()
}
