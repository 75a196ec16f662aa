//! Finds requests that another route takes than before, by asking both routing tables about the same sample requests.
//! Sends nothing.

use crate::routing::{PathRule, Query, Rule, Table, ValueRule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};
use tidegate_http::host::HostPattern;
use tidegate_http::query;
use tidegate_http::secret::{REDACTED, is_secret_field};

/// Requests that another route takes than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Moved {
    /// One of them.
    pub request: String,
    /// The route that took it, if one did.
    pub before: Option<String>,
    /// The route that takes it, if one does.
    pub after: Option<String>,
}

/// A host that no rule names.
const UNNAMED_HOST: &str = "localhost";

/// With more rules than this, fewer sample requests are made for each.
const MANY_RULES: usize = 1_000;

/// Maximum number of pairs of rules for which sample requests are made.
const MAX_RULE_PAIRS: usize = 100_000;

/// Maximum number of hosts, and of methods, in the sample requests for one rule.
const MAX_HOSTS_OR_METHODS: usize = 16;

/// A rule that can be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SerializedRule {
    is_exact: bool,
    path: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, ExpectedValue)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    query: Vec<(String, ExpectedValue)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum ExpectedValue {
    Exact(String),
    Present(bool),
}

impl SerializedRule {
    pub(super) fn from_rule(rule: &Rule) -> Self {
        let wanted = |rule: &ValueRule| match rule {
            ValueRule::Exact(value) => ExpectedValue::Exact(value.clone()),
            ValueRule::Present(present) => ExpectedValue::Present(*present),
        };
        Self {
            is_exact: matches!(rule.path, PathRule::Exact(_)),
            path: rule.path.as_str().to_owned(),
            hosts: rule.hosts.iter().map(ToString::to_string).collect(),
            methods: rule.methods.iter().map(ToString::to_string).collect(),
            headers: rule.headers.iter().map(|(it, by)| (it.to_string(), wanted(by))).collect(),
            query: rule.query.iter().map(|(it, by)| (it.clone(), wanted(by))).collect(),
        }
    }

    /// Restores the rule; `None` if the data is not from this program.
    pub(super) fn rule(&self) -> Option<Rule> {
        let wanted = |wanted: &ExpectedValue| match wanted {
            ExpectedValue::Exact(value) => ValueRule::Exact(value.clone()),
            ExpectedValue::Present(present) => ValueRule::Present(*present),
        };
        let path = self.path.clone();
        Some(Rule {
            path: if self.is_exact { PathRule::Exact(path) } else { PathRule::Prefix(path) },
            hosts: self.hosts.iter().map(|host| HostPattern::parse(host)).collect(),
            methods: self
                .methods
                .iter()
                .map(|method| Method::from_bytes(method.as_bytes()).ok())
                .collect::<Option<_>>()?,
            headers: self
                .headers
                .iter()
                .map(|(name, by)| Some((HeaderName::try_from(name).ok()?, wanted(by))))
                .collect::<Option<_>>()?,
            query: self.query.iter().map(|(name, by)| (name.clone(), wanted(by))).collect(),
        })
    }
}

/// Rules in the order of their file, each with the name of its route.
pub(super) type Rules<'r> = Vec<(Rule, &'r str)>;

/// Requests that changed their route, one for each pair of routes.
pub(super) fn moved_requests(before: &Rules<'_>, after: &Rules<'_>) -> Vec<Moved> {
    if before == after {
        return Vec::new();
    }
    let probes = sample_requests(before, after);
    let (old, new) = (Table::new(before.clone()), Table::new(after.clone()));
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for probe in &probes {
        let (was, is) = (probe.route_in(&old), probe.route_in(&new));
        if was != is && seen.insert((was, is)) {
            let owned = |name: Option<&str>| name.map(str::to_owned);
            all.push(Moved { request: probe.describe(), before: owned(was), after: owned(is) });
        }
    }
    all
}

/// The sample requests: for each rule some that match it, and for each pair with a changed rule one that matches
/// both.
fn sample_requests(before: &Rules<'_>, after: &Rules<'_>) -> Vec<SampleRequest> {
    let all: Vec<&Rule> = after.iter().chain(before).map(|(rule, _)| rule).collect();
    let (hosts, methods) = hosts_and_methods(&all);
    let mut probes = Vec::new();
    for rule in &all {
        let Some(first) = SampleRequest::for_rule(rule) else { continue };
        if all.len() <= MANY_RULES {
            for host in
                hosts.iter().filter(|host| takes_host(rule, host)).take(MAX_HOSTS_OR_METHODS)
            {
                probes.push(SampleRequest { host: host.clone(), ..first.clone() });
            }
            let suits = |method: &&Method| rule.takes_method(method);
            for method in methods.iter().filter(suits).take(MAX_HOSTS_OR_METHODS) {
                probes.push(SampleRequest { method: method.clone(), ..first.clone() });
            }
        }
        probes.push(first.clone());
        if let PathRule::Prefix(prefix) = &rule.path {
            probes.push(SampleRequest { path: format!("{prefix}/any"), ..first });
        }
    }
    let pairs = overlapping_pairs(before, after);
    probes.extend(
        pairs.into_iter().filter_map(|(one, other)| SampleRequest::for_both_rules(one, other)),
    );
    probes
}

/// Pairs of rules of which one was added, removed or changed, or whose order changed.
fn overlapping_pairs<'r>(before: &'r Rules<'_>, after: &'r Rules<'_>) -> Vec<(&'r Rule, &'r Rule)> {
    let (was, is) = (rule_positions(before), rule_positions(after));
    let mut pairs = Vec::new();
    for rules in [after, before] {
        let mut neighbours: HashMap<&PathRule, Vec<usize>> = HashMap::new();
        for (index, (rule, _)) in rules.iter().enumerate() {
            neighbours.entry(&rule.path).or_default().push(index);
        }
        for (rule, name) in rules {
            let is_as_before = match (was.get(name), is.get(name)) {
                (Some((_, was)), Some((_, is))) => was == is,
                _ => false,
            };
            if !is_as_before {
                pairs.extend(rules.iter().map(|(other, _)| (rule, other)).take(MAX_RULE_PAIRS));
            } else {
                // Order counts among rules of one path alone.
                let near = neighbours.get(&rule.path).into_iter().flatten();
                let near = near.filter_map(|&index| rules.get(index)).filter(|(_, other)| {
                    let comes_first = |places: &RulePositions<'_>| {
                        let (one, other) = (places.get(name)?, places.get(other)?);
                        Some(one.0 < other.0)
                    };
                    let (was, is) = (comes_first(&was), comes_first(&is));
                    was.is_some() && is.is_some() && was != is
                });
                pairs.extend(near.map(|(other, _)| (rule, other)));
            }
            if pairs.len() >= MAX_RULE_PAIRS {
                return pairs;
            }
        }
    }
    pairs
}

/// Rules and their positions in the file, by the names of their routes.
type RulePositions<'r> = HashMap<&'r str, (usize, &'r Rule)>;

fn rule_positions<'r>(rules: &'r Rules<'_>) -> RulePositions<'r> {
    rules.iter().enumerate().map(|(index, (rule, name))| (*name, (index, rule))).collect()
}

/// The hosts and methods of all rules, and some that no rule has.
fn hosts_and_methods(rules: &[&Rule]) -> (Vec<String>, Vec<Method>) {
    let mut hosts = BTreeSet::new();
    let mut methods = vec![Method::GET, Method::POST];
    for rule in rules {
        hosts.extend(rule.hosts.iter().map(example_host));
        methods.extend(rule.taken_methods().cloned());
    }
    hosts.remove(UNNAMED_HOST);
    let mut seen = HashSet::new();
    methods.retain(|method| seen.insert(method.clone()));
    (std::iter::once(UNNAMED_HOST.to_owned()).chain(hosts).collect(), methods)
}

/// A host that matches the pattern.
fn example_host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Below(suffix) => format!("any{suffix}"),
    }
}

fn takes_host(rule: &Rule, host: &str) -> bool {
    rule.hosts.is_empty() || rule.hosts.iter().any(|pattern| pattern.matches(host))
}

/// A request that is asked of the routing tables and never sent.
#[derive(Debug, Clone)]
pub(super) struct SampleRequest {
    path: String,
    host: String,
    method: Method,
    headers: HeaderMap,
    query: Option<String>,
}

impl SampleRequest {
    /// One that the rule takes.
    pub(super) fn for_rule(rule: &Rule) -> Option<Self> {
        Self::for_both_rules(rule, rule)
    }

    /// One that both rules take, if there is any.
    pub(super) fn for_both_rules(one: &Rule, other: &Rule) -> Option<Self> {
        let deeper = if one.path.as_str().len() < other.path.as_str().len() { other } else { one };
        let exact = [one, other].into_iter().find(|it| matches!(it.path, PathRule::Exact(_)));
        let path = exact.unwrap_or(deeper).path.as_str();
        let hosts = one.hosts.iter().chain(&other.hosts).map(example_host);
        let mut hosts = hosts.chain([UNNAMED_HOST.to_owned()]);
        let methods = one.methods.iter().chain(&other.methods);
        let mut methods = methods.chain([&Method::GET]);
        let mut headers = HeaderMap::new();
        for (name, wanted) in one.headers.iter().chain(&other.headers) {
            let value = match wanted {
                ValueRule::Exact(value) => HeaderValue::from_str(value).ok()?,
                ValueRule::Present(true) if headers.contains_key(name) => continue,
                ValueRule::Present(true) => HeaderValue::from_static("any"),
                ValueRule::Present(false) => continue,
            };
            headers.insert(name.clone(), value);
        }
        let mut query: Vec<(&str, &str)> = Vec::new();
        for (name, wanted) in one.query.iter().chain(&other.query) {
            match wanted {
                ValueRule::Exact(value) if !query.contains(&(name, value)) => {
                    query.push((name, value));
                }
                ValueRule::Present(true) if query.iter().all(|(known, _)| known != name) => {
                    query.push((name, "any"));
                }
                _ => {}
            }
        }
        let query = (!query.is_empty())
            .then(|| form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish());
        let probe = Self {
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            host: hosts.find(|host| takes_host(one, host) && takes_host(other, host))?,
            method: methods
                .find(|method| one.takes_method(method) && other.takes_method(method))?
                .clone(),
            headers,
            query,
        };
        let is_taken = [one, other]
            .iter()
            .all(|rule| rule.path.matches(&probe.path) && rule.takes_fields(&probe.query()));
        is_taken.then_some(probe)
    }

    fn query(&self) -> Query<'_> {
        Query {
            path: &self.path,
            query: self.query.as_deref(),
            host: &self.host,
            method: &self.method,
            headers: &self.headers,
        }
    }

    /// What the table does with it.
    pub(super) fn route_in<T: Copy>(&self, table: &Table<T>) -> Option<T> {
        table.find(&self.query()).ok().copied()
    }

    /// The request in one line.
    pub(super) fn describe(&self) -> String {
        let query = self.query.as_ref().map(|it| query::redact(it, is_secret_field));
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let mut text = format!("{} http://{}{}{query}", self.method, self.host, self.path);
        for (name, value) in &self.headers {
            let value = match is_secret_field(name.as_str()) {
                true => REDACTED,
                false => value.to_str().unwrap_or_default(),
            };
            text += &format!(", {name}: {value}");
        }
        text
    }
}
