//! `location` blocks as routes. It does not know listeners.

use super::access::ServerScope;
use super::proxy::LocationKind;
use super::scope::BlockScope;
use super::tree::Directive;
use super::{Importer, access, answer, files, headers, rates, values};
use crate::draft::{Action, Compression, PathRule, Route, slug};
use crate::note::SourcePosition;

/// A location: how it matches, and its path.
struct LocationMatcher {
    mode: LocationKind,
    path: String,
}

/// Characters of a path that are literal in a regular expression, except dots.
fn is_literal(pattern: &str) -> bool {
    let bytes = pattern.bytes();
    bytes.into_iter().all(|byte| byte.is_ascii_alphanumeric() || b"/-_~%".contains(&byte))
}

impl Importer<'_> {
    /// The routes of a server block; the port is its own, where it has just one.
    pub(super) fn routes(
        &mut self,
        server: &Directive,
        scope: &BlockScope<'_>,
        port: Option<u16>,
    ) -> Vec<Route> {
        self.review_rewrites(scope);
        if let Some(answer) = answer::fixed_response(scope, self.notes) {
            // It comes before all locations.
            let mut route = self.route(&server.position, PathRule::prefix("/"), answer);
            headers::to_client(&mut route, scope, self.notes);
            return vec![route];
        }
        let of_server = ServerScope { directive: server, scope };
        let mut routes: Vec<Route> = Vec::new();
        let mut redirects = Vec::new();
        for location in server.children("location") {
            let Some(matcher) = self.matcher(location) else { continue };
            let inner = scope.inherit(location.block.as_deref().unwrap_or_default());
            let is_proxy = ["proxy_pass", "grpc_pass"]
                .iter()
                .any(|name| inner.own_directives().iter().any(|directive| directive.name == *name));
            let route = self.location(location, &matcher, &inner, &of_server, port);
            if matcher.mode == LocationKind::Prefix
                && matcher.path.ends_with('/')
                && matcher.path != "/"
            {
                redirects.push((route.clone(), is_proxy));
            }
            routes.extend(self.other_methods(location, &route));
            let methods = location.children("limit_except").flat_map(|it| it.arguments.clone());
            routes.push(Route { methods: with_head(methods), ..route });
        }
        if !routes.iter().any(|route| route.path == PathRule::prefix("/")) {
            let mut route =
                self.route(&server.position, PathRule::prefix("/"), access::respond(404));
            if let Some(closed) = self.guard(&mut route, scope, &of_server) {
                route.action = closed;
            } else {
                files::set_files(&mut route, scope, "/", self.notes);
            }
            self.settings(&mut route, scope);
            routes.push(route);
        }
        self.slashes(&mut routes, &redirects);
        routes
    }

    fn route(&self, position: &SourcePosition, path: PathRule, action: Action) -> Route {
        let (PathRule::Exact(written) | PathRule::Prefix(written)) = &path;
        Route::new(position.clone(), slug(written), path, action)
    }

    /// The route for the methods that `limit_except` does not name; it is closed if the rules can't be converted.
    fn other_methods(&mut self, location: &Directive, route: &Route) -> Option<Route> {
        let limit = location.children("limit_except").next()?;
        let rules: Vec<_> = limit.block.iter().flatten().collect();
        let denies_all = |it: &&Directive| it.name == "deny" && it.argument(0) == Some("all");
        if !rules.iter().all(denies_all) {
            let text = format!(
                "`{}` and its block: the other methods answer 403 until you replace that route",
                limit.display()
            );
            self.notes.left_out(&limit.position, text);
        }
        let mut others = self.route(&limit.position, route.path.clone(), access::respond(403));
        others.name = format!("{}-other-methods", route.name);
        Some(others)
    }

    /// How a location matches; `None`, with a note, if Tidegate cannot match so.
    fn matcher(&mut self, location: &Directive) -> Option<LocationMatcher> {
        let arguments: Vec<&str> = location.arguments.iter().map(String::as_str).collect();
        let (mode, path) = match arguments.as_slice() {
            [path] if path.starts_with('@') => {
                let text =
                    format!("the named `location {path}` is reachable only from other locations");
                self.notes.left_out(&location.position, text);
                return None;
            }
            ["=", path] => (LocationKind::Exact, (*path).to_owned()),
            ["^~", path] | [path] => (LocationKind::Prefix, (*path).to_owned()),
            ["~", pattern] => match regex(pattern) {
                Some((mode, path)) => {
                    let text = format!(
                        "in nginx `~ {pattern}` has precedence over longer prefixes; in Tidegate the \
                         longest prefix wins"
                    );
                    self.notes.changed(&location.position, text);
                    (mode, path)
                }
                None => return self.leave_out(location),
            },
            _ => return self.leave_out(location),
        };
        if !path.starts_with('/') {
            return self.leave_out(location);
        }
        if mode != LocationKind::Exact && !path.ends_with('/') {
            let text = format!(
                "nginx matches every path that begins with `{path}`, such as `{path}x`; Tidegate's \
                 `path_prefix` matches whole segments, such as `{path}` and `{path}/x`"
            );
            self.notes.changed(&location.position, text);
        }
        Some(LocationMatcher { mode, path })
    }

    fn leave_out(&mut self, location: &Directive) -> Option<LocationMatcher> {
        let text = format!(
            "`{}`: a route matches only an exact path or a prefix; requests for this location go to \
             other matching routes",
            location.display()
        );
        self.notes.left_out(&location.position, text);
        None
    }

    fn location(
        &mut self,
        location: &Directive,
        matcher: &LocationMatcher,
        scope: &BlockScope<'_>,
        of_server: &ServerScope<'_, '_>,
        port: Option<u16>,
    ) -> Route {
        let path = match matcher.mode {
            LocationKind::Exact => PathRule::Exact(matcher.path.clone()),
            LocationKind::Prefix | LocationKind::Regex => PathRule::prefix(&matcher.path),
        };
        for nested in location.children("location") {
            let text = format!(
                "`{}` inside another location: move it out, to the server",
                nested.display()
            );
            self.notes.left_out(&nested.position, text);
        }
        let mut route = self.route(&location.position, path, access::respond(404));
        let passes = ["proxy_pass", "grpc_pass"];
        let others = ["fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"];
        let own = |names: &[&str]| {
            scope.own_directives().iter().find(|directive| names.contains(&directive.name.as_str()))
        };
        if let Some(closed) = self.guard(&mut route, scope, of_server) {
            route.action = closed;
        } else if let Some(answer) = answer::fixed_response(scope, self.notes) {
            route.action = answer;
        } else if let Some(pass) = own(&passes) {
            let location = (matcher.mode, matcher.path.as_str());
            self.proxy(&mut route, pass, scope, location, port);
        } else if let Some(pass) = own(&others) {
            let text = format!(
                "`{}`: Tidegate supports only HTTP upstreams; requests for this location are \
                    answered with 501",
                pass.display()
            );
            self.notes.left_out(&pass.position, text);
            route.action = access::respond(501);
        } else {
            files::set_files(&mut route, scope, &matcher.path, self.notes);
        }
        if !matches!(route.action, Action::Upstream(_)) {
            self.review_rewrites(scope);
        }
        self.settings(&mut route, scope);
        route
    }

    /// The settings of every route.
    fn settings(&mut self, route: &mut Route, scope: &BlockScope<'_>) {
        headers::to_client(route, scope, self.notes);
        for condition in scope.own_directives().iter().filter(|directive| directive.name == "if") {
            let text =
                format!("`{}` and its block: use `match` of a route instead", condition.display());
            self.notes.left_out(&condition.position, text);
        }
        // nginx's default is a megabyte; 0 is no limit.
        let size =
            scope.value("client_max_body_size").map_or(Some(1 << 20), values::parse_size_in_bytes);
        route.max_body_size = size.filter(|size| *size > 0);
        rates::limit(route, scope, self.notes);
        route.compression = scope.is_on("gzip").then(|| Some(compression(scope)));
    }

    /// Notes rewrites that are left out: of a server, before all locations, and of locations with a fixed response.
    fn review_rewrites(&mut self, scope: &BlockScope<'_>) {
        let own = scope.own_directives().iter();
        for rewrite in own.filter(|directive| directive.name == "rewrite") {
            if !matches!(rewrite.argument(2), Some("permanent" | "redirect")) {
                let text = format!(
                    "`{}`: Tidegate can only replace the prefix of a path (`rewrite.prefix`)",
                    rewrite.display()
                );
                self.notes.left_out(&rewrite.position, text);
            }
        }
    }

    /// `location /a/` does not match `/a`: with an upstream, nginx redirects it to `/a/`; without one, the next shorter
    /// location takes it, which needs no note.
    fn slashes(&mut self, routes: &mut Vec<Route>, with_slash: &[(Route, bool)]) {
        for (route, is_proxy) in with_slash {
            let PathRule::Prefix(prefix) = &route.path else { continue };
            let exact = PathRule::Exact(prefix.clone());
            if routes.iter().any(|other| other.path == exact) {
                continue;
            }
            // With both `location /a` and `location /a/`, the former takes the path without the slash.
            let twin = routes
                .iter_mut()
                .rev()
                .find(|other| other.path == route.path && other.position != route.position);
            if let Some(twin) = twin {
                twin.path = exact;
                if twin.prefix.take().is_some() {
                    let text = "the path of this location is not rewritten, because the same location \
                        with a slash exists";
                    self.notes.left_out(&twin.position, text);
                }
                continue;
            }
            if !is_proxy {
                let text = format!(
                    "the route also matches `{prefix}` without the slash; in nginx the next shorter \
                     location handles it"
                );
                self.notes.changed(&route.position, text);
                continue;
            }
            let to = format!("{prefix}/?{{query}}");
            let mut made = self.route(&route.position, exact, Action::Redirect(301, to));
            made.response.add.clone_from(&route.response.add);
            made.comment.push("nginx redirects this path to the one with the slash.".to_owned());
            made.name = format!("{}-without-slash", route.name);
            routes.push(made);
        }
    }
}

/// `GET` means `HEAD` as well.
fn with_head(methods: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = methods.collect();
    if all.iter().any(|method| method == "GET") && !all.iter().any(|method| method == "HEAD") {
        all.push("HEAD".to_owned());
    }
    all
}

/// The path of a regular expression that is a literal path.
fn regex(pattern: &str) -> Option<(LocationKind, String)> {
    let anchored = pattern.strip_prefix('^')?;
    let (mode, path) = match anchored.strip_suffix('$') {
        Some(rest) => {
            let below = ["(/.*)?", "(/|"].iter().find_map(|end| rest.strip_suffix(end));
            let rest = rest.strip_suffix("/(.*)").or(rest.strip_suffix("/.*"));
            match (below, rest) {
                (Some(prefix), _) => (LocationKind::Regex, prefix.to_owned()),
                (None, Some(prefix)) => (LocationKind::Regex, format!("{prefix}/")),
                (None, None) => (LocationKind::Exact, anchored.trim_end_matches('$').to_owned()),
            }
        }
        None => {
            let rest = anchored.strip_suffix("(/|$)").or(anchored.strip_suffix("(.*)"));
            (LocationKind::Regex, rest.unwrap_or(anchored).to_owned())
        }
    };
    let path = path.replace("\\.", ".").replace("\\-", "-").replace("\\/", "/");
    (path.starts_with('/') && is_literal(&path.replace('.', ""))).then_some((mode, path))
}

fn compression(scope: &BlockScope<'_>) -> Compression {
    let mut types = vec!["text/html".to_owned()];
    let written = scope.last("gzip_types").map(|it| it.arguments.clone()).unwrap_or_default();
    for media_type in written {
        if media_type == "*" {
            types = vec!["*/*".to_owned()];
        } else if !types.contains(&media_type) {
            types.push(media_type);
        }
    }
    let level = scope.value("gzip_comp_level").and_then(|level| level.parse().ok());
    let size = scope.value("gzip_min_length").map_or(Some(20), values::parse_size_in_bytes);
    Compression {
        algorithms: vec!["gzip"],
        types,
        min_size: size,
        gzip_level: level.or(Some(1)).filter(|level| (1..=9).contains(level)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regex_that_is_a_path_becomes_a_prefix_or_exact_path() {
        for (pattern, mode, path) in [
            ("^/api/", LocationKind::Regex, "/api/"),
            ("^/api(/|$)", LocationKind::Regex, "/api"),
            ("^/api/(.*)$", LocationKind::Regex, "/api/"),
            (r"^/robots\.txt$", LocationKind::Exact, "/robots.txt"),
        ] {
            assert_eq!(regex(pattern), Some((mode, path.to_owned())), "{pattern}");
        }
        for pattern in [r"\.php$", "^/user/[0-9]+$", "^/(a|b)/", "^/a.b$c", "/api"] {
            assert_eq!(regex(pattern), None, "{pattern}");
        }
    }
}
