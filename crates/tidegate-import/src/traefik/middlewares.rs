//! Middlewares as settings of a route. It does not know how routes are matched.

use super::Importer;
use super::tree::{MapEntry, Node};
use crate::draft::{
    Action, Changes, Compression, Cors, PathRule, RateLimit, RateLimitBy, Retry, Route, Text,
};

/// Maximum depth of nested chains.
const MAX_CHAIN_DEPTH: usize = 8;

impl Importer<'_> {
    /// Applies middlewares in order.
    pub(super) fn apply(&mut self, route: &mut Route, names: &[String], line: usize, depth: usize) {
        for name in names {
            let known = self.http.get("middlewares");
            let found = known.and_then(|it| it.get(name.trim_end_matches("@file"))).cloned();
            let Some(middleware) = found.filter(|_| depth < MAX_CHAIN_DEPTH) else {
                let text = format!("the middleware `{name}` is not defined in this file");
                self.close(route, &text, line);
                continue;
            };
            for entry in middleware.entries() {
                self.middleware(route, entry, depth);
            }
        }
    }

    /// Closes a route that may be guarded.
    fn close(&mut self, route: &mut Route, what: &str, line: usize) {
        let text = format!(
            "{what}; the route answers 403 until you replace it with one that has access control"
        );
        self.left_out(line, text);
        route.close();
    }

    fn middleware(&mut self, route: &mut Route, entry: &MapEntry, depth: usize) {
        let (node, line) = (&entry.value, entry.line);
        match entry.key.as_str() {
            "stripPrefix" => self.strip(route, node, line),
            "addPrefix" => {
                let added = node.text_at("prefix").unwrap_or_default().trim_end_matches('/');
                let path =
                    route.prefix.clone().unwrap_or_else(|| path_of_rule(&route.path).to_owned());
                self.set_path_prefix(route, format!("{added}{path}"), line);
            }
            "replacePath" => {
                let path = node.text_at("path").unwrap_or("/").to_owned();
                self.set_path_prefix(route, path, line);
                let text = "`replacePath` becomes a prefix rewrite: the rest of the path after the \
                    prefix is kept";
                self.changed(line, text);
            }
            "redirectScheme" => {
                let port = node.text_at("port").filter(|port| !matches!(*port, "443" | "80"));
                let port = port.map_or(String::new(), |port| format!(":{port}"));
                let status = if node.is_true("permanent") { 301 } else { 302 };
                let scheme = node.text_at("scheme").unwrap_or("https");
                route.action =
                    Action::Redirect(status, format!("{scheme}://{{host}}{port}{{target}}"));
            }
            "headers" => self.headers(route, node),
            "compress" => {
                route.compression = Some(Some(Compression {
                    algorithms: Vec::new(),
                    types: Vec::new(),
                    min_size: node.text_at("minResponseBodyBytes").and_then(|it| it.parse().ok()),
                    gzip_level: None,
                }));
            }
            "buffering" => {
                let size = node.text_at("maxRequestBodyBytes").and_then(|it| it.parse().ok());
                route.max_body_size = size.filter(|size| *size > 0);
                if route.max_body_size.is_none() {
                    self.left_out(line, "`buffering`: use `max_body_size` instead");
                }
            }
            "retry" => {
                let attempts = node.text_at("attempts").and_then(|it| it.parse().ok());
                route.retry = Some(Retry::On { on: vec!["connect_failure", "reset"], attempts });
            }
            "chain" => self.apply(route, &node.texts_at("middlewares"), line, depth + 1),
            "contentType" | "passTLSClientCert" => {}
            guard @ ("basicAuth" | "digestAuth" | "forwardAuth" | "ipAllowList" | "ipWhiteList"
            | "plugin") => {
                if let Err(reason) = self.guard(route, guard, node, line) {
                    let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
                    let text = format!("the import cannot convert the access control `{guard}`{reason}");
                    self.close(route, &text, line);
                }
            }
            "rateLimit" => match rate_limit(node) {
                Some(Some(limit)) => route.rate_limits.push(limit),
                // An average of none is no limit.
                Some(None) => {}
                None => self.left_out(line, "`rateLimit`: use `rate_limits` instead"),
            },
            "inFlightReq" => self.left_out(line, "`inFlightReq`: use `upstreams.NAME.limits` instead"),
            "circuitBreaker" => {
                self.left_out(line, "`circuitBreaker`: use `upstreams.NAME.ejection` instead")
            }
            "errors" => self.left_out(line, "`errors`: use `error_pages` instead"),
            other => self.left_out(
                line,
                format!(
                    "the middleware `{other}` has no equivalent; Tidegate can only replace the prefix of a path"
                ),
            ),
        }
    }

    /// The replacement of the route's path.
    fn set_path_prefix(&mut self, route: &mut Route, path: String, line: usize) {
        if let PathRule::Exact(own) = &route.path {
            let text = format!(
                "Tidegate rewrites only path prefixes, so the route also matches paths below `{own}`"
            );
            self.changed(line, text);
            route.path = PathRule::Prefix(own.clone());
        }
        route.prefix = Some(path).filter(|path| path != path_of_rule(&route.path));
    }

    /// Removes the longest prefix that contains the route's path.
    fn strip(&mut self, route: &mut Route, node: &Node, line: usize) {
        let own = path_of_rule(&route.path).to_owned();
        let prefixes = node.texts_at("prefixes");
        let found = prefixes.iter().find_map(|prefix| {
            let rest = PathRule::prefix(prefix).rest_below(&own)?.to_owned();
            Some((prefix.clone(), rest))
        });
        let Some((prefix, rest)) = found else {
            let text = format!(
                "`stripPrefix` of `{}` has no effect on the paths below `{own}`",
                prefixes.join(", ")
            );
            self.changed(line, text);
            return;
        };
        // Traefik reports the removed prefix to the service.
        let trimmed = prefix.trim_end_matches('/').to_owned();
        route.request.set.push(("X-Forwarded-Prefix".to_owned(), template(&trimmed)));
        self.set_path_prefix(route, if rest.is_empty() { "/".to_owned() } else { rest }, line);
    }

    fn headers(&mut self, route: &mut Route, node: &Node) {
        let mut cors = Cors {
            comment: Vec::new(),
            origins: Vec::new(),
            methods: node.texts_at("accessControlAllowMethods"),
            allow_headers: node.texts_at("accessControlAllowHeaders"),
            expose_headers: node.texts_at("accessControlExposeHeaders"),
            credentials: node.is_true("accessControlAllowCredentials"),
            max_age: node.text_at("accessControlMaxAge").and_then(|it| it.parse().ok()),
        };
        for entry in node.entries() {
            let value = entry.value.text().unwrap_or_default();
            let mut set = |name: &str, value: &str| {
                route.response.set.push((name.to_owned(), template(value)));
            };
            match entry.key.as_str() {
                "customRequestHeaders" => changes(&mut route.request, &entry.value),
                "customResponseHeaders" => changes(&mut route.response, &entry.value),
                "frameDeny" if value == "true" => set("X-Frame-Options", "DENY"),
                "customFrameOptionsValue" => set("X-Frame-Options", value),
                "contentTypeNosniff" if value == "true" => set("X-Content-Type-Options", "nosniff"),
                "browserXssFilter" if value == "true" => set("X-XSS-Protection", "1; mode=block"),
                "contentSecurityPolicy" => set("Content-Security-Policy", value),
                "referrerPolicy" => set("Referrer-Policy", value),
                "permissionsPolicy" => set("Permissions-Policy", value),
                "stsSeconds" if value != "0" => {
                    let mut policy = format!("max-age={value}");
                    if node.is_true("stsIncludeSubdomains") {
                        policy.push_str("; includeSubDomains");
                    }
                    if node.is_true("stsPreload") {
                        policy.push_str("; preload");
                    }
                    set("Strict-Transport-Security", &policy);
                    let text = "the header `Strict-Transport-Security` is also sent without TLS, where \
                        browsers ignore it; `listeners[].hsts` avoids that";
                    self.changed(entry.line, text);
                }
                "accessControlAllowOriginList" => {
                    cors.origins =
                        entry.value.items().iter().filter_map(Node::text).map(Text::from).collect();
                }
                "stsIncludeSubdomains"
                | "stsPreload"
                | "accessControlAllowMethods"
                | "accessControlAllowHeaders"
                | "accessControlExposeHeaders"
                | "accessControlAllowCredentials"
                | "accessControlMaxAge"
                | "addVaryHeader" => {}
                _ if value == "false" || value == "0" => {}
                other => self.left_out(entry.line, format!("`{other}`: use `headers` instead")),
            }
        }
        if !cors.origins.is_empty() {
            cors.credentials &= !cors.origins.contains(&Text::literal("*"));
            route.cors = Some(cors);
        }
    }
}

pub(super) fn path_of_rule(rule: &PathRule) -> &str {
    let (PathRule::Exact(path) | PathRule::Prefix(path)) = rule;
    path
}

fn template(value: &str) -> String {
    value.replace('{', "{{").replace('}', "}}")
}

/// Header changes; an empty value removes the header.
fn changes(changes: &mut Changes, node: &Node) {
    for entry in node.entries() {
        match entry.value.text().unwrap_or_default() {
            "" => changes.remove.push(entry.key.clone()),
            value => changes.set.push((entry.key.clone(), template(value))),
        }
    }
}

/// The rate limit; `None` if it has a setting that can't be converted.
fn rate_limit(node: &Node) -> Option<Option<RateLimit>> {
    let average: u32 = node.text_at("average").map_or(Some(0), |it| it.parse().ok())?;
    let burst: u32 = node.text_at("burst").map_or(Some(1), |it| it.parse().ok())?;
    let per = node.text_at("period").unwrap_or("1s");
    // A plain number is in nanoseconds.
    if !per.ends_with(|last: char| last.is_ascii_alphabetic()) {
        return None;
    }
    let criterion = node.get("sourceCriterion");
    let header = criterion.and_then(|it| it.text_at("requestHeaderName"));
    let by = match (header, criterion) {
        (Some(name), _) => RateLimitBy::Header(name.to_owned()),
        (None, Some(it)) if it.is_true("requestHost") => return None,
        (None, _) => RateLimitBy::ClientAddress,
    };
    let limit = RateLimit { requests: average, per: per.to_owned(), burst: burst.max(1), by };
    Some((average > 0).then_some(limit))
}
