//! Adds routes where Traefik's order (the longest rule or the highest priority wins) differs from Tidegate's (the longest
//! path wins). It does not know rules as text.

use super::Importer;
use super::middlewares::path_of_rule;
use super::routers::Router;
use crate::draft::{Action, PathRule, Route, slug};

impl Importer<'_> {
    /// Adds the routes of all routers to the draft.
    pub(super) fn arrange_by_priority(&mut self, mut routers: Vec<Router>) {
        let by_listener =
            self.draft.listeners.iter().any(|listener| listener.redirect_to.is_some());
        routers.retain(|router| !by_listener || router.https_redirect_port().is_none());
        for router in &routers {
            if router.https_redirect_port().is_some() {
                let text = "the redirect to HTTPS: a route applies at every listener, so it would also \
                    redirect HTTPS requests; use `listeners[].redirect_to_https` instead";
                self.notes.left_out(&self.position(router.line), text);
            }
        }
        routers.retain(|router| router.https_redirect_port().is_none());
        routers.sort_by_key(|router| std::cmp::Reverse(router.priority));
        let routes: Vec<Route> = routers.into_iter().flat_map(|router| router.routes).collect();
        let mut kept: Vec<Route> = Vec::new();
        for route in routes {
            if let Some(earlier) = kept.iter().find(|earlier| covers(earlier, &route)) {
                let text = format!(
                    "no request reaches this router: the rule in line {} has precedence and matches all \
                     of them",
                    earlier.position.line
                );
                self.notes.changed(&route.position, text);
                continue;
            }
            let before: Vec<Route> =
                kept.iter().filter(|earlier| has_priority_over(earlier, &route)).cloned().collect();
            for earlier in before {
                let path = route.path.clone();
                let is_there = |known: &Route| {
                    known.path == path
                        && known.hosts == earlier.hosts
                        && known.methods == earlier.methods
                        && known.match_headers == earlier.match_headers
                };
                if !kept.iter().any(is_there) {
                    let shadow = self.shadow_route(&earlier, &route);
                    kept.push(shadow);
                }
            }
            kept.push(route);
        }
        for mut route in kept {
            route.name = self.draft.free_name(&slug(&route.name));
            self.draft.routes.push(route);
        }
        self.move_shared_settings();
    }

    /// A copy of the earlier route at the path of the later one.
    fn shadow_route(&mut self, earlier: &Route, later: &Route) -> Route {
        let path = path_of_rule(&later.path);
        let mut shadow = Route {
            path: later.path.clone(),
            name: format!("{}-at-{}", earlier.name, slug(path)),
            comment: vec![
                "Without this route, the longer path of another rule would match here.".to_owned(),
            ],
            ..earlier.clone()
        };
        if earlier.hosts.is_empty() {
            shadow.hosts.clone_from(&later.hosts);
        }
        let rest = earlier.path.rest_below(path).unwrap_or_default();
        if let Some(prefix) = &mut shadow.prefix {
            *prefix = format!("{}{rest}", prefix.trim_end_matches('/'));
            if matches!(later.path, PathRule::Exact(_)) {
                let text = format!(
                    "the path `{path}` is not rewritten, because another route matches it exactly"
                );
                self.notes.left_out(&earlier.position, text);
                shadow.prefix = None;
            }
        }
        shadow
    }

    /// Moves `compress` to the top level if all routes have it.
    fn move_shared_settings(&mut self) {
        let leads = |route: &&Route| matches!(route.action, Action::Upstream(_));
        let mut all = self.draft.routes.iter().filter(leads).map(|route| route.compression.clone());
        let Some(Some(Some(common))) = all.next() else { return };
        if all.all(|other| other == Some(Some(common.clone()))) {
            self.draft.compression = Some(common);
            for route in &mut self.draft.routes {
                route.compression = None;
            }
        }
    }
}

/// Whether all hosts of one route are hosts of the other.
fn has_hosts(outer: &[String], inner: &[String]) -> bool {
    let is_in = |host: &String| outer.iter().any(|it| it == host || is_below(it, host));
    outer.is_empty() || !inner.is_empty() && inner.iter().all(is_in)
}

fn is_below(wildcard: &str, host: &str) -> bool {
    wildcard.strip_prefix('*').is_some_and(|below| host.ends_with(below))
}

/// Whether both routes may match the same host.
fn share_hosts(one: &[String], other: &[String]) -> bool {
    one.is_empty()
        || other.is_empty()
        || one.iter().any(|a| other.iter().any(|b| a == b || is_below(a, b) || is_below(b, a)))
}

fn path_covers(outer: &PathRule, inner: &PathRule) -> bool {
    outer == inner || outer.contains(path_of_rule(inner))
}

/// Whether the earlier route matches every request of the later one.
fn covers(earlier: &Route, later: &Route) -> bool {
    let methods = earlier.methods.is_empty()
        || !later.methods.is_empty() && later.methods.iter().all(|it| earlier.methods.contains(it));
    has_hosts(&earlier.hosts, &later.hosts)
        && methods
        && earlier.match_headers.iter().all(|it| later.match_headers.contains(it))
        && earlier.match_query.iter().all(|it| later.match_query.contains(it))
        && path_covers(&earlier.path, &later.path)
}

/// Whether the earlier route should get requests that the later route's longer path would take.
fn has_priority_over(earlier: &Route, later: &Route) -> bool {
    let share_methods = earlier.methods.is_empty()
        || later.methods.is_empty()
        || earlier.methods.iter().any(|it| later.methods.contains(it));
    let is_narrower =
        earlier.path != later.path || earlier.hosts.is_empty() && !later.hosts.is_empty();
    is_narrower
        && path_covers(&earlier.path, &later.path)
        && share_hosts(&earlier.hosts, &later.hosts)
        && share_methods
}
