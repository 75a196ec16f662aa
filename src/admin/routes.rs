//! `GET /routes`: the routes with their conditions, settings and counters. Matches no request.

use crate::explain::{route_conditions, route_facts};
use crate::histogram::BOUNDS;
use crate::routing::Rule;
use crate::snapshot::{Route, Snapshot};
use serde_json::{Map, Value, json};
use tidegate_config::ExpandedValues;

/// All routes; the last, without a name, is for requests that no other route matches.
pub(super) fn list_routes(snapshot: &Snapshot) -> Value {
    let expanded = snapshot.written.expanded();
    let routes = snapshot.table.iter().map(|(rule, route)| route_json(Some(rule), route, expanded));
    let routes = routes.chain([route_json(None, &snapshot.fallback, expanded)]).collect::<Vec<_>>();
    json!({"version": snapshot.number, "bounds": BOUNDS, "routes": routes})
}

fn route_json(rule: Option<&Rule>, route: &Route, expanded: &ExpandedValues) -> Value {
    let tally = route.requests.tally();
    let duration = route.requests.duration();
    let settings = rule.map(|rule| {
        let facts = route_facts(rule, route, expanded).into_iter();
        facts.map(|(what, how)| (what.into_owned(), Value::from(how))).collect::<Map<_, _>>()
    });
    json!({
        "name": &*route.name,
        "conditions": rule.map(|rule| route_conditions(rule, expanded)),
        "upstream": route.pool.as_ref().map(|pool| &**pool.name()),
        "settings": settings,
        "requests": tally.requests,
        "server_errors": tally.server_errors,
        "failed_handshakes": tally.failed_handshakes,
        "duration_seconds": duration.map(|it| it.seconds()).unwrap_or_default(),
        "duration_buckets": duration.map(|it| it.cumulative()).unwrap_or_default(),
    })
}
