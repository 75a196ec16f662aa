//! Warnings about routes that never take a request, because others take all of theirs. It knows nothing of
//! what routes do.

use crate::routing::{PathRule, Query, Rule, Table, ValueRule};
use crate::snapshot::{Route, Snapshot};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_config::{Config, ProblemCollector};
use tidegate_http::host::HostPattern;

/// Maximum number of requests that are tried for one route; a route that needs more is not reviewed.
const MAX_TRIED_REQUESTS: usize = 50_000;

/// A host, a method and a value that no rule names.
const OTHER_HOST: &str = "other.invalid";
const OTHER_METHOD: &str = "OTHER";
const OTHER_VALUE: &str = "other than all that is named";

/// Routes that never get a request, for others together take all of theirs.
pub(super) fn review(snapshot: &Snapshot, config: &Config, problems: &mut ProblemCollector) {
    // A rule of another path takes precedence for a part of the paths only, or gives it.
    let mut by_path: BTreeMap<(bool, &str), Vec<IndexedRule<'_>>> = BTreeMap::new();
    for (index, (rule, route)) in snapshot.table.iter().enumerate() {
        let key = (matches!(rule.path, PathRule::Exact(_)), rule.path.as_str());
        by_path.entry(key).or_default().push((index, rule, route));
    }
    for rivals in by_path.values().filter(|rivals| rivals.len() > 1) {
        let entries = rivals.iter().map(|(index, rule, _)| ((*rule).clone(), *index)).collect();
        let table = Table::new(entries);
        for (index, rule, route) in rivals {
            let Some(routes_taking_all) = routes_taking_all(rule, *index, rivals, &table) else {
                continue;
            };
            let names: Vec<String> = rivals
                .iter()
                .filter(|(index, ..)| routes_taking_all.contains(index))
                .map(|(_, _, route)| format!("`{}`", route.name))
                .collect();
            let who = match names.as_slice() {
                [one] => format!("the route {one} matches"),
                all => format!("the routes {} together match", all.join(", ")),
            };
            let written = config.routes.iter().find(|written| **written.name == *route.name);
            let span = written.map(|written| written.name.span).unwrap_or_default();
            let name = &route.name;
            let reason =
                format!("{who} every request that `{name}` would match, so `{name}` gets none");
            problems.warn("shadowed-route", span, format!("routes[{index}]"), reason);
        }
    }
}

/// A route by its place.
type IndexedRule<'r> = (usize, &'r Rule, &'r Arc<Route>);

/// The routes that take all requests of this one, if they do: it is tried with each combination of
/// all that the rules of its path tell apart.
fn routes_taking_all(
    rule: &Rule,
    own: usize,
    rivals: &[IndexedRule<'_>],
    table: &Table<usize>,
) -> Option<BTreeSet<usize>> {
    let rules: Vec<&Rule> = rivals.iter().map(|(_, rule, _)| *rule).collect();
    let (hosts, methods) = (distinguished_hosts(rule, &rules), methods(rule, &rules));
    let mut heads = vec![HeaderMap::new()];
    for (name, values) in headers(rule, &rules) {
        heads = with_each(&heads, &values, |head, value| {
            let mut head = head.clone();
            if let Some(value) = value {
                head.insert(name.clone(), HeaderValue::from_str(value).ok()?);
            }
            Some(head)
        })?;
    }
    let mut queries = vec![String::new()];
    for (name, values) in parameters(rule, &rules) {
        queries = with_each(&queries, &values, |query, value| {
            let mut query = form_urlencoded::Serializer::new(query.clone());
            Some(match value {
                Some(value) => query.append_pair(&name, value).finish(),
                None => query.finish(),
            })
        })?;
    }
    let count = [hosts.len(), methods.len(), heads.len(), queries.len()];
    if count.iter().try_fold(1_usize, |all, count| all.checked_mul(*count))? > MAX_TRIED_REQUESTS {
        return None;
    }
    let path = format!("{}/other", rule.path.as_str());
    let path = if matches!(rule.path, PathRule::Exact(_)) { rule.path.as_str() } else { &path };
    let mut routes_taking_all = BTreeSet::new();
    for host in &hosts {
        for method in &methods {
            for headers in &heads {
                for query in &queries {
                    let query = Some(query.as_str());
                    match table.find(&Query { path, query, host, method, headers }) {
                        Ok(&taker) if taker != own => routes_taking_all.insert(taker),
                        // Its own, or a request that it would not take after all.
                        _ => return None,
                    };
                }
            }
        }
    }
    (!routes_taking_all.is_empty()).then_some(routes_taking_all)
}

/// Each of the first with each of the second, unless these are too many.
fn with_each<T>(
    all: &[T],
    values: &[Option<&str>],
    with: impl Fn(&T, Option<&str>) -> Option<T>,
) -> Option<Vec<T>> {
    if all.len().saturating_mul(values.len()) > MAX_TRIED_REQUESTS {
        return None;
    }
    all.iter().flat_map(|one| values.iter().map(|value| with(one, *value))).collect()
}

/// The hosts of the rule that rules tell apart, one of each kind.
fn distinguished_hosts(rule: &Rule, rules: &[&Rule]) -> Vec<String> {
    let named = rules.iter().flat_map(|rule| &rule.hosts).map(|pattern| match pattern {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Below(suffix) => format!("other{suffix}"),
    });
    let all: BTreeSet<String> = named.chain([OTHER_HOST.to_owned()]).collect();
    let suits = |host: &String| {
        rule.hosts.is_empty() || rule.hosts.iter().any(|pattern| pattern.matches(host))
    };
    all.into_iter().filter(suits).collect()
}

/// Methods that a rule matches: enough of them to tell it from the other rules.
fn methods(rule: &Rule, rules: &[&Rule]) -> Vec<Method> {
    if !rule.methods.is_empty() {
        return rule.taken_methods().cloned().collect();
    }
    let mut all: Vec<Method> = Method::from_bytes(OTHER_METHOD.as_bytes()).into_iter().collect();
    for method in rules.iter().flat_map(|rule| rule.taken_methods()) {
        if !all.contains(method) {
            all.push(method.clone());
        }
    }
    all
}

/// A field, and the values that rules tell apart; `None` for a request without it.
type Field<'r, N> = (N, Vec<Option<&'r str>>);

fn headers<'r>(rule: &'r Rule, rules: &[&'r Rule]) -> Vec<Field<'r, HeaderName>> {
    fields(&rule.headers, rules.iter().flat_map(|rule| &rule.headers))
}

fn parameters<'r>(rule: &'r Rule, rules: &[&'r Rule]) -> Vec<Field<'r, String>> {
    fields(&rule.query, rules.iter().flat_map(|rule| &rule.query))
}

fn fields<'r, N: Clone + PartialEq + 'r>(
    own: &'r [(N, ValueRule)],
    all: impl Iterator<Item = &'r (N, ValueRule)>,
) -> Vec<Field<'r, N>> {
    let mut fields: Vec<Field<'r, N>> = Vec::new();
    for (name, wanted) in all {
        let values = match fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values,
            None => {
                fields.push((name.clone(), vec![None, Some(OTHER_VALUE)]));
                let Some((_, values)) = fields.last_mut() else { continue };
                values
            }
        };
        if let ValueRule::Exact(value) = wanted
            && !values.contains(&Some(value))
        {
            values.push(Some(value));
        }
    }
    for (name, values) in &mut fields {
        for (_, wanted) in own.iter().filter(|(own, _)| own == name) {
            values.retain(|value| match wanted {
                ValueRule::Exact(wanted) => *value == Some(wanted.as_str()),
                ValueRule::Present(wanted) => value.is_some() == *wanted,
            });
        }
    }
    fields
}
