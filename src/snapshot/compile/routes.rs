//! Compiles the list of routes, and reports a route that repeats another. The routing table orders them.

use super::Compiler;
use super::built_in::RouteScope;
use super::chain::FilterChain;
use crate::routing::Rule;
use crate::snapshot::{GlobalSettings, Route};
use crate::upstream::Pool;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidegate_config::Span;

impl Compiler<'_> {
    /// The routes with their conditions; `route_indices` has the position of each in the file's list.
    pub(super) fn routes(
        &mut self,
        route_indices: &BTreeMap<Span, usize>,
        global: &Arc<GlobalSettings>,
        pools: &BTreeMap<String, Arc<Pool>>,
        defaults: &FilterChain,
    ) -> Vec<(Rule, Arc<Route>)> {
        let config = self.config;
        let mut routes: Vec<(Rule, Arc<Route>)> = Vec::new();
        let mut names: HashMap<&str, Span> = HashMap::new();
        let mut matches: HashMap<Rule, &str> = HashMap::new();
        for written in &config.routes {
            let key_path = match route_indices.get(&written.span) {
                Some(index) => format!("routes[{index}]"),
                None => "routes".to_owned(),
            };
            if let Entry::Occupied(first) = names.entry(&written.name) {
                let line = self.sources.line(*first.get(), written.name.span);
                let reason =
                    format!("the route in {line} already has the name `{}`", &*written.name);
                self.problems.add(written.name.span, format!("{key_path}.name"), reason);
            } else {
                names.insert(&written.name, written.name.span);
            }
            if let Some(upstream) = &written.upstream
                && !pools.contains_key(upstream.as_str())
            {
                self.no_such_upstream(upstream, &format!("{key_path}.upstream"));
            }
            let rule = self.rule(written, &key_path);
            // With an error in a condition, what remains may equal another route's conditions.
            let is_whole = !self.broken.is_any_within(&key_path);
            for single in is_whole.then(|| single_hosts(&rule)).into_iter().flatten() {
                if let Some(first) = matches.insert(single, &written.name) {
                    let reason = format!(
                        "the route `{first}` matches exactly the same requests, so this route \
                         never gets one"
                    );
                    self.problems.add(written.span, format!("{key_path}.match"), reason);
                    break;
                }
            }
            let scope = RouteScope { written, rule: &rule, key_path: &key_path };
            let chain = self.chain(&scope, defaults);
            if let Some(route) = self.route(written, &key_path, &rule, global, pools, &chain) {
                routes.push((rule, Arc::new(route)));
            }
        }
        routes
    }
}

/// The rule divided into one per host, in a canonical order, so that two rules for exactly the same requests are
/// equal.
fn single_hosts(rule: &Rule) -> Vec<Rule> {
    let mut sorted = rule.clone();
    sorted.methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    let hosts = std::mem::take(&mut sorted.hosts);
    if hosts.is_empty() {
        return vec![sorted];
    }
    hosts.into_iter().map(|host| Rule { hosts: vec![host], ..sorted.clone() }).collect()
}
