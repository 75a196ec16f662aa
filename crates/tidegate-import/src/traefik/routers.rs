//! Routers as routes, one for each alternative of a rule. It does not know entry points.

use super::Importer;
use super::conditions::RouterConditions;
use super::rule;
use crate::draft::{Action, Route};

/// A router and its converted route.
pub(super) struct Router {
    pub line: usize,
    pub priority: i64,
    pub entry_points: Vec<String>,
    pub tls: bool,
    pub routes: Vec<Route>,
}

impl Router {
    /// The port of the HTTPS redirect, if the router does nothing else.
    pub(super) fn https_redirect_port(&self) -> Option<u16> {
        let mut ports = self.routes.iter().map(|route| {
            let Action::Redirect(_, to) = &route.action else { return None };
            let port = to.strip_prefix("https://{host}")?.strip_suffix("{target}")?;
            if port.is_empty() { Some(443) } else { port.strip_prefix(':')?.parse().ok() }
        });
        let first = ports.next().flatten()?;
        ports.all(|port| port == Some(first)).then_some(first)
    }
}

impl Importer<'_> {
    pub(super) fn routers(&mut self) -> Vec<Router> {
        let entries = self.http.get("routers").map(|it| it.entries().to_vec()).unwrap_or_default();
        entries.iter().map(|entry| {
            let (node, name) = (&entry.value, entry.key.as_str());
            let rule = node.text_at("rule").unwrap_or_default();
            let line = node.get("rule").map_or(entry.line, |it| it.line);
            let priority = node.text_at("priority").and_then(|it| it.parse().ok()).filter(|it| *it != 0);
            let priority = priority.unwrap_or(i64::try_from(rule.len()).unwrap_or(i64::MAX));
            let mut routes = Vec::new();
            match rule::alternatives(rule) {
                Some(alternatives) => {
                    let mut made: Vec<RouterConditions> = Vec::new();
                    for matchers in &alternatives {
                        let conditions = self.conditions(matchers, line);
                        made.extend(conditions);
                    }
                    for conditions in merged(made) {
                        routes.push(self.route(name, conditions, line));
                    }
                }
                None => self.left_out(line, format!("`{rule}` is not a valid rule")),
            }
            let middlewares = node.texts_at("middlewares");
            for route in &mut routes {
                let service = node.text_at("service").unwrap_or_default();
                if !service.ends_with("@internal") {
                    self.set_upstream(route, service, entry.line);
                }
                let at = node.get("middlewares").map_or(entry.line, |it| it.line);
                self.apply(route, &middlewares, at, 0);
            }
            for field in node.entries() {
                let known = ["rule", "service", "middlewares", "priority", "entryPoints", "tls", "ruleSyntax"];
                if !known.contains(&field.key.as_str()) {
                    self.left_out(field.line, format!("the import does not support `{}`", field.key));
                }
            }
            if let Some(resolver) = node.get_path(&["tls", "certResolver"]) {
                let text = "`certResolver`: use `listeners[].tls.acme` instead; until then the listener \
                    has a self-signed certificate";
                self.left_out(resolver.line, text);
            }
            let entry_points = node.texts_at("entryPoints");
            Router { line: entry.line, priority, entry_points, tls: node.get("tls").is_some(), routes }
        }).collect()
    }

    fn route(&self, name: &str, conditions: RouterConditions, line: usize) -> Route {
        let nothing = Action::Respond { status: 404, body: None, content_type: None };
        let mut route = Route::new(self.position(line), name, conditions.path, nothing);
        route.hosts = conditions.hosts;
        route.methods = conditions.methods;
        route.match_headers = conditions.headers;
        route.match_query = conditions.query;
        route
    }
}

impl RouterConditions {
    /// A route without its hosts, or without its methods.
    fn without_hosts_or_methods(&self, hosts: bool) -> Self {
        let mut rest = self.clone();
        if hosts {
            rest.hosts.clear()
        } else {
            rest.methods.clear()
        }
        rest
    }
}

/// Merges alternatives that differ only in their hosts or only in their methods.
fn merged(all: Vec<RouterConditions>) -> Vec<RouterConditions> {
    let before = all.len();
    let mut made: Vec<RouterConditions> = Vec::new();
    for conditions in all {
        let twin = made.iter_mut().find(|known| {
            let hosts = !known.hosts.is_empty() && !conditions.hosts.is_empty();
            let methods = !known.methods.is_empty() && !conditions.methods.is_empty();
            hosts
                && known.without_hosts_or_methods(true) == conditions.without_hosts_or_methods(true)
                || methods
                    && known.without_hosts_or_methods(false)
                        == conditions.without_hosts_or_methods(false)
        });
        match twin {
            Some(twin) => {
                for (into, from) in
                    [(&mut twin.hosts, conditions.hosts), (&mut twin.methods, conditions.methods)]
                {
                    for item in from {
                        if !into.contains(&item) {
                            into.push(item);
                        }
                    }
                }
            }
            None => made.push(conditions),
        }
    }
    // Routes that differed in both may now differ in one.
    if made.len() < before { merged(made) } else { made }
}
