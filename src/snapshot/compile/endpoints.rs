//! Compiles the endpoints of the gateway's own among the routes: logins, renewals, logouts. It knows nothing of what they
//! answer.

use super::built_in::BuiltInFilter;
use super::chain::FilterChain;
use super::{Compiler, route};
use crate::routing::{PathRule, Rule};
use crate::snapshot::{GlobalSettings, Route};
use std::sync::Arc;
use tidegate_config::{Path, Spanned};
use tidegate_http::host::HostPattern;
use tidegate_http::path;

/// An endpoint of the gateway's own, at a path that the configuration names.
pub(super) struct Endpoint {
    rule: Rule,
    /// The key of its path, for messages.
    key_path: String,
    path: Spanned<Path>,
    chain: FilterChain,
}

impl Compiler<'_> {
    /// Adds an endpoint at a path of these hosts (all, if there is none). The filter must answer each request, by its
    /// head or by its body; it runs after those of `like` that fit.
    pub(super) fn add_endpoint(
        &mut self,
        path: &Spanned<Path>,
        key_path: String,
        hosts: Vec<HostPattern>,
        like: &FilterChain,
        filter: impl BuiltInFilter,
    ) {
        let normal =
            path::normalize(path.as_str()).map_or_else(|_| path.as_str().to_owned(), Into::into);
        let rule = Rule {
            path: PathRule::Exact(normal),
            hosts,
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        };
        let chain = like.for_endpoint(filter);
        self.endpoints.push(Endpoint { rule, key_path, path: path.clone(), chain });
    }

    /// The endpoints as routes, named by their paths. Two at one path of the same hosts are a mistake, and so is one where
    /// the operator has a route.
    pub(super) fn endpoint_routes(
        &mut self,
        global: &Arc<GlobalSettings>,
        of_operator: &[(Rule, Arc<Route>)],
    ) -> Vec<(Rule, Arc<Route>)> {
        let endpoints = std::mem::take(&mut self.endpoints);
        let mut routes: Vec<(Rule, Arc<Route>)> = Vec::new();
        for Endpoint { rule, key_path, path, chain } in endpoints {
            let name = path.as_str();
            if routes.iter().any(|(other, _)| *other == rule) {
                let reason = format!("another endpoint of the gateway has the path `{name}`");
                self.problems.add(path.span, key_path, reason);
                continue;
            }
            // One with further conditions would take a part of the endpoint's requests.
            let is_same_place = |other: &Rule| {
                other.path == rule.path
                    && other.hosts.len() == rule.hosts.len()
                    && other.hosts.iter().all(|host| rule.hosts.contains(host))
            };
            if let Some((_, route)) = of_operator.iter().find(|(other, _)| is_same_place(other)) {
                let reason = format!(
                    "the route `{}` has the path `{name}`, at which the gateway itself answers",
                    route.name
                );
                self.problems.add(path.span, key_path, reason);
                continue;
            }
            let requests = self.requests(name);
            let route = route::without_upstream(name, global, &chain, self.env, requests);
            routes.push((rule, Arc::new(route)));
        }
        routes
    }
}
