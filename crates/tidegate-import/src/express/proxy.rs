//! `createProxyMiddleware` of http-proxy-middleware as a route's upstream and settings. It does not know where the
//! middleware is mounted.

use super::assemble::Assembly;
use super::paths::{self, join, rule_path};
use super::target::UpstreamTarget;
use super::value::{Call, Value};
use crate::draft::{Action, PathRule, Route, slug};
use crate::note::Place;
use oxc_ast::ast::{AssignmentTarget, Expression, Statement};
use oxc_span::GetSpan;

/// Options that do not affect routing, or that Tidegate applies anyway.
const IGNORED_OPTIONS: [&str; 14] = [
    "agent",
    "buffer",
    "ejectPlugins",
    "forward",
    "ignorePath",
    "localAddress",
    "logLevel",
    "logProvider",
    "logger",
    "plugins",
    "prependPath",
    "preserveHeaderKeyCase",
    "toProxy",
    "xfwd",
];

/// A proxy's options, whatever its version.
struct Options<'c, 'a> {
    call: &'c Call<'a>,
    options: Value<'a>,
    /// The proxy's own path filter, besides its mount.
    filter: Option<Value<'a>>,
}

impl<'a> Options<'_, 'a> {
    fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.options.get(key)
    }
}

impl<'a> Assembly<'a> {
    /// The routes of a proxy that is mounted at a path.
    pub(super) fn proxy(&mut self, call: &Call<'a>, mount: &str, is_prefix: bool) -> Vec<Route> {
        let position = self.run.position(call.line);
        let first = call.arguments.first();
        let (filter, options) = match (first, call.arguments.get(1)) {
            (Some(options @ Value::Object(_)), _) => {
                (options.get("pathFilter").cloned(), options.clone())
            }
            (Some(filter), Some(options @ Value::Object(_))) => {
                (Some(filter.clone()), options.clone())
            }
            (Some(target @ Value::Text(_)), None) if call.name == "express-http-proxy" => {
                return self.simple(target, mount, &position);
            }
            _ => {
                self.run.notes.left_out(
                    &position,
                    "a proxy whose options are not constants; its route answers 501",
                );
                return vec![self.answering(&position, mount, 501)];
            }
        };
        let options = Options { call, options, filter };
        let Some(target) = options
            .get("target")
            .and_then(|it| UpstreamTarget::parse(it, &position, self.run.notes))
        else {
            self.run.notes.left_out(
                &position,
                "a proxy whose `target` is not a constant; its route answers 501",
            );
            return vec![self.answering(&position, mount, 501)];
        };
        let strips = self.strips(&options, mount, &position);
        let mut paths = self.filtered(&options, mount, strips, &position);
        if !is_prefix {
            // `app.get('/a', proxy)` takes just that path, and never takes it away.
            paths = vec![PathRule::Exact(mount.to_owned())];
        }
        let mut routes = Vec::new();
        let upstream = self.draft.upstream(target.upstream.clone());
        for path in paths {
            let (PathRule::Exact(written) | PathRule::Prefix(written)) = &path;
            let name = slug(written);
            let mut route = Route::new(
                position.clone(),
                name,
                path.clone(),
                Action::Upstream(upstream.clone()),
            );
            self.settings(&mut route, &options, &target, &position);
            let strips = strips && options.filter.is_none() && is_prefix;
            routes.extend(self.rewritten(route, &options, &target, mount, strips, &position));
        }
        let base = if strips { mount } else { "/" };
        self.by_router(&options, &mut routes, base, &position);
        self.proxied.push((call.line, routes.iter().map(|route| route.path.clone()).collect()));
        routes
    }

    /// express-http-proxy, of which just the target is read; it takes the mount off the path.
    fn simple(&mut self, target: &Value<'a>, mount: &str, position: &Place) -> Vec<Route> {
        let Some(target) = UpstreamTarget::parse(target, position, self.run.notes) else {
            self.run.notes.left_out(
                position,
                "a proxy whose target is not a constant; its route answers 501",
            );
            return vec![self.answering(position, mount, 501)];
        };
        let action = Action::Upstream(self.draft.upstream(target.upstream.clone()));
        let path = PathRule::Prefix(mount.to_owned());
        let mut route = Route::new(position.clone(), slug(mount), path, action);
        route.websocket = false;
        route.host = Some(target.host.unwrap_or("upstream".to_owned()));
        route.prefix = (mount != "/").then(|| "/".to_owned());
        vec![route]
    }

    /// `proxy.web(req, res, {target})` of http-proxy, at a mount or at a path of its own.
    pub(super) fn passes(
        &mut self,
        options: &Value<'a>,
        path: &PathRule,
        strips: bool,
        position: &Place,
    ) -> Route {
        let target = options
            .get("target")
            .and_then(|it| UpstreamTarget::parse(it, position, self.run.notes));
        let Some(target) = target else {
            self.run.notes.left_out(
                position,
                "a proxy whose `target` is not a constant; its route \
                 answers 501",
            );
            return self.answering(position, rule_path(path), 501);
        };
        let own = rule_path(path);
        let action = Action::Upstream(self.draft.upstream(target.upstream.clone()));
        let mut route = Route::new(position.clone(), slug(own), path.clone(), action);
        route.websocket = false;
        if options.get("changeOrigin").is_some_and(Value::is_true) {
            route.host = Some(target.host.clone().unwrap_or("upstream".to_owned()));
        }
        let to = join(&target.base, if strips { "/" } else { own });
        route.prefix = Some(to).filter(|to| to != own);
        if route.prefix.is_some() {
            route.path = PathRule::Prefix(own.to_owned());
        }
        route
    }

    pub(super) fn answering(&self, position: &Place, path: &str, status: u16) -> Route {
        let action = Action::Respond { status, body: None, content_type: None };
        Route::new(position.clone(), slug(path), PathRule::Prefix(path.to_owned()), action)
    }

    /// Whether the path that the service is asked for is without the mount: so with version 3 of
    /// http-proxy-middleware, which takes what Express leaves of the path.
    fn strips(&mut self, options: &Options<'_, 'a>, mount: &str, position: &Place) -> bool {
        if mount == "/" {
            return false;
        }
        if options.call.name.ends_with("legacyCreateProxyMiddleware") {
            return false;
        }
        if let Some(version) = self.version {
            return version >= 3;
        }
        let old = ["onProxyReq", "onProxyRes", "onError", "logLevel", "logProvider"];
        let rules = options.get("pathRewrite").map(Value::fields).unwrap_or_default();
        let names_mount = rules.iter().any(|rule| {
            paths::literal(&rule.key).is_some_and(|path| join("/", &path).starts_with(mount))
        });
        let is_old = names_mount || old.iter().any(|key| options.get(key).is_some());
        if !is_old && options.get("on").is_none() {
            let text = format!(
                "no package.json found, so the import assumes http-proxy-middleware 3, which removes \
                 `{mount}` from the path; if you use version 2, remove `rewrite.prefix`"
            );
            self.run.notes.changed(position, text);
        }
        !is_old
    }

    /// The paths of a proxy.
    fn filtered(
        &mut self,
        options: &Options<'_, 'a>,
        mount: &str,
        strips: bool,
        position: &Place,
    ) -> Vec<PathRule> {
        let Some(filter) = &options.filter else { return vec![PathRule::Prefix(mount.to_owned())] };
        let mut paths = Vec::new();
        for item in filter.items() {
            let written = item.plain();
            if written.as_deref().is_some_and(|path| path.starts_with('!')) {
                let text =
                    "a path filter that excludes paths: its requests go to other matching routes";
                self.run.notes.left_out(position, text);
                return Vec::new();
            }
            let below = if strips { mount } else { "/" };
            let rule = written.as_deref().filter(|path| path.starts_with('/'));
            match rule.and_then(|path| paths::rule(below, path, true)) {
                // The path must also be below the mount.
                Some(rule)
                    if PathRule::Prefix(mount.to_owned()).rest(rule_path(&rule)).is_some() =>
                {
                    paths.push(rule);
                }
                Some(rule) if rule.rest(mount).is_some() => {
                    paths.push(PathRule::Prefix(mount.to_owned()));
                }
                Some(rule) => {
                    let text = format!(
                        "the path `{}` is not below `{mount}`, so it matches no request",
                        rule_path(&rule)
                    );
                    self.run.notes.changed(position, text);
                }
                None => {
                    let shown = written.map_or("code".to_owned(), |it| format!("`{it}`"));
                    let text = format!(
                        "a path filter that is {shown}: a route matches only an exact \
                         path or a prefix"
                    );
                    self.run.notes.left_out(position, text);
                }
            }
        }
        paths
    }

    fn settings(
        &mut self,
        route: &mut Route,
        options: &Options<'_, 'a>,
        target: &UpstreamTarget,
        position: &Place,
    ) {
        route.websocket = options.get("ws").is_some_and(Value::is_true);
        if options.get("changeOrigin").is_some_and(Value::is_true) {
            route.host = Some(target.host.clone().unwrap_or("upstream".to_owned()));
        }
        if target.upstream.tls.is_some() && options.get("secure").is_some_and(|it| !it.is_true()) {
            let text = "`secure: false` accepts any certificate, but Tidegate verifies it; set `ca`, \
                `server_name` or `insecure_skip_verify` of `upstreams.NAME.tls`";
            self.run.notes.changed(position, text);
        }
        let time =
            |key| options.get(key).and_then(Value::plain).and_then(|it| it.parse::<u64>().ok());
        route.timeouts.read =
            time("proxyTimeout").or(time("timeout")).map(|time| match time % 1000 {
                0 => format!("{}s", time / 1000),
                _ => format!("{time}ms"),
            });
        for field in options.options.fields() {
            let position = self.run.position(field.line);
            let is_new = field.key == "on";
            let is_old =
                field.key.strip_prefix("on").is_some_and(|it| it.starts_with(char::is_uppercase));
            if self.version.is_some_and(|version| is_new && version < 3 || is_old && version >= 3) {
                let text = format!(
                    "`{}` belongs to another version of http-proxy-middleware and had no \
                     effect",
                    field.key
                );
                self.run.notes.changed(&position, text);
                continue;
            }
            match (field.key.as_str(), &field.value) {
                ("headers", headers @ Value::Object(_)) => {
                    for header in headers.fields() {
                        match header.value.plain() {
                            Some(value) => set(&mut route.request.set, &header.key, &value),
                            None => {
                                let text = format!("`{}`: its value is not a constant", header.key);
                                self.run.notes.left_out(&position, text);
                            }
                        }
                    }
                }
                ("on", events @ Value::Object(_)) => {
                    for event in events.fields() {
                        self.event(route, &event.key, &event.value, event.line);
                    }
                }
                (
                    "onProxyReq" | "onProxyRes" | "onError" | "onProxyReqWs" | "onOpen" | "onClose",
                    _,
                ) => {
                    let name = field.key.strip_prefix("on").unwrap_or_default();
                    let mut letters = name.chars();
                    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
                    let event: String = first.into_iter().chain(letters).collect();
                    self.event(route, &event, &field.value, field.line);
                }
                (
                    "target" | "changeOrigin" | "pathRewrite" | "pathFilter" | "ws" | "secure"
                    | "timeout" | "proxyTimeout" | "router",
                    _,
                ) => {}
                ("selfHandleResponse" | "followRedirects" | "autoRewrite", Value::Bool(false)) => {}
                ("auth", _) => {
                    self.run.notes.left_out(
                        &position,
                        "`auth`: use `headers.request.set.authorization` instead",
                    );
                }
                (key, _) if IGNORED_OPTIONS.contains(&key) => {}
                (key, _) => {
                    self.run
                        .notes
                        .left_out(&position, format!("the option `{key}` has no equivalent"));
                }
            }
        }
    }

    /// What a handler of the proxy's events does with header fields; the rest is code.
    fn event(&mut self, route: &mut Route, event: &str, handler: &Value<'a>, line: usize) {
        let position = self.run.position(line);
        let Value::Function(function) = handler else {
            self.run
                .notes
                .left_out(&position, format!("`{event}`: a handler that the import cannot follow"));
            return;
        };
        let mut is_whole = true;
        for statement in &function.body.statements {
            let Statement::ExpressionStatement(statement) = statement else {
                is_whole = false;
                continue;
            };
            is_whole &= self.header_change(route, &statement.expression);
        }
        let is_error = matches!(event, "error" | "open" | "close" | "start");
        if is_error && !is_whole {
            let text = format!(
                "`{event}`: error responses are the gateway's own; use `error_pages` instead"
            );
            self.run.notes.changed(&position, text);
        } else if !is_whole {
            let text = format!("`{event}`: this handler is code; use `headers`, or write a filter");
            self.run.notes.left_out(&position, text);
        }
    }

    /// `proxyReq.setHeader('a', 'b')`, `proxyRes.headers['a'] = 'b'`,
    /// `delete proxyRes.headers['a']`, and what only logs. False for anything else.
    fn header_change(&mut self, route: &mut Route, expression: &'a Expression<'a>) -> bool {
        let text = self.run.text_of(expression.span());
        match expression {
            _ if text.starts_with("console.") => true,
            Expression::CallExpression(call) => {
                let callee = self.run.text_of(call.callee.span());
                let arguments = self.run.arguments(&call.arguments);
                let mut texts = arguments.iter().map(Value::plain);
                match (callee.rsplit('.').next(), texts.next().flatten(), texts.next().flatten()) {
                    (Some("setHeader"), Some(name), Some(value))
                        if callee.starts_with("proxyReq") =>
                    {
                        set(&mut route.request.set, &name, &value);
                        true
                    }
                    (Some("removeHeader"), Some(name), _) if callee.starts_with("proxyReq") => {
                        route.request.remove.push(name);
                        true
                    }
                    _ => false,
                }
            }
            Expression::AssignmentExpression(assignment) => {
                let name = match &assignment.left {
                    AssignmentTarget::ComputedMemberExpression(member)
                        if self
                            .run
                            .text_of(member.object.span())
                            .starts_with("proxyRes.headers") =>
                    {
                        self.run.eval(&member.expression).plain()
                    }
                    _ => None,
                };
                match (name, self.run.eval(&assignment.right).plain()) {
                    (Some(name), Some(value)) => {
                        set(&mut route.response.set, &name, &value);
                        true
                    }
                    _ => false,
                }
            }
            Expression::UnaryExpression(unary) if text.starts_with("delete proxyRes.headers") => {
                let name = match &unary.argument {
                    Expression::ComputedMemberExpression(member) => {
                        self.run.eval(&member.expression).plain()
                    }
                    Expression::StaticMemberExpression(member) => {
                        Some(member.property.name.as_str().to_owned())
                    }
                    _ => None,
                };
                route.response.remove.extend(name.clone());
                name.is_some()
            }
            _ => false,
        }
    }

    /// The route, and those below it that `pathRewrite` makes.
    fn rewritten(
        &mut self,
        mut route: Route,
        options: &Options<'_, 'a>,
        target: &UpstreamTarget,
        mount: &str,
        strips: bool,
        position: &Place,
    ) -> Vec<Route> {
        let (PathRule::Exact(path) | PathRule::Prefix(path)) = route.path.clone();
        let base = target.base.as_str();
        let onto = |path: &str| join(base, path);
        let kept = if strips { "/".to_owned() } else { path.clone() };
        route.prefix = Some(onto(&kept)).filter(|prefix| *prefix != path);
        let mut below = Vec::new();
        let rules = match options.get("pathRewrite") {
            None => &[][..],
            Some(rules @ Value::Object(_)) => rules.fields(),
            Some(_) => {
                self.run.notes.left_out(
                    position,
                    "`pathRewrite` is code; Tidegate can only replace the prefix of \
                     a path",
                );
                &[]
            }
        };
        let mut is_done = false;
        for rule in rules {
            let at = self.run.position(rule.line);
            let (Some(from), Some(to)) = (paths::literal(&rule.key), rule.value.plain()) else {
                let text =
                    format!("`{}`: Tidegate can only replace the prefix of a path", rule.key);
                self.run.notes.left_out(&at, text);
                continue;
            };
            if to.contains('$') {
                self.run.notes.left_out(
                    &at,
                    format!(
                        "`{to}`: Tidegate can only replace the prefix of a \
                         path, without groups"
                    ),
                );
                continue;
            }
            let full = if strips { join(mount, &from) } else { join("/", &from) };
            let whole = PathRule::Prefix(full.clone());
            if let Some(rest) = whole.rest(&path) {
                // The rewrite applies to the whole route.
                if !is_done {
                    route.prefix = Some(onto(&join(&to, rest))).filter(|prefix| *prefix != path);
                    is_done = true;
                }
            } else if PathRule::Prefix(path.clone()).rest(&full).is_some() {
                let prefix = Some(onto(&to)).filter(|prefix| *prefix != full);
                below.push(Route { name: slug(&full), path: whole, prefix, ..route.clone() });
                let text = format!(
                    "`{}` also matches `{full}x` in Express; Tidegate's `path_prefix` matches whole segments",
                    rule.key
                );
                self.run.notes.changed(&at, text);
            } else {
                let text = format!("`{}` matches no path of this proxy", rule.key);
                self.run.notes.changed(&at, text);
            }
        }
        if matches!(route.path, PathRule::Exact(_)) && route.prefix.is_some() {
            // There is nothing to replace in an exact path.
            let text = format!(
                "Tidegate rewrites only path prefixes, so the route also matches paths \
                 below `{path}`"
            );
            self.run.notes.changed(position, text);
            route.path = PathRule::Prefix(path);
        }
        below.insert(0, route);
        below
    }

    /// `router: {'host': target, '/path': target}`, whose paths are below this one.
    fn by_router(
        &mut self,
        options: &Options<'_, 'a>,
        routes: &mut Vec<Route>,
        base: &str,
        position: &Place,
    ) {
        let table = match options.get("router") {
            None => return,
            Some(table @ Value::Object(_)) => table.fields(),
            Some(_) => {
                self.run
                    .notes
                    .left_out(position, "`router` is code; use `match.hosts` and `split` instead");
                return;
            }
        };
        let Some(plain) = routes.first().cloned() else { return };
        for entry in table {
            let at = self.run.position(entry.line);
            let Some(target) = UpstreamTarget::parse(&entry.value, &at, self.run.notes) else {
                self.run
                    .notes
                    .left_out(&at, format!("`{}`: its target is not a constant", entry.key));
                continue;
            };
            let (host, path) = match entry.key.find('/') {
                Some(0) => (None, Some(entry.key.as_str())),
                Some(at) => entry
                    .key
                    .split_at_checked(at)
                    .map_or((None, None), |(host, path)| (Some(host), Some(path))),
                None => (Some(entry.key.as_str()), None),
            };
            let action = Action::Upstream(self.draft.upstream(target.upstream.clone()));
            let rule = path.and_then(|path| paths::rule(base, path, true));
            let (PathRule::Exact(own) | PathRule::Prefix(own)) = &plain.path;
            let path = match &rule {
                Some(rule) if plain.path.rest(rule_path(rule)).is_some() => {
                    let text = format!(
                        "`{}` matches anywhere in the host and path; the route matches it only at the \
                         start of the path",
                        entry.key
                    );
                    self.run.notes.changed(&at, text);
                    rule.clone()
                }
                Some(rule) => {
                    let text = format!(
                        "the path `{}` is not below `{own}`, so it matches no request",
                        rule_path(rule)
                    );
                    self.run.notes.left_out(&at, text);
                    continue;
                }
                None => plain.path.clone(),
            };
            let mut route = Route { action, path, position: at, ..plain.clone() };
            route.name = slug(&entry.key);
            if let (Some(prefix), Some(rest)) =
                (&mut route.prefix, plain.path.rest(rule_path(&route.path)))
            {
                *prefix = join(prefix, rest);
            }
            if let Some(host) = host {
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
                route.hosts = vec![name.to_ascii_lowercase()];
            }
            routes.push(route);
        }
    }
}

/// A header with this value as a template.
fn set(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    fields.push((name.to_owned(), value.replace('{', "{{").replace('}', "}}")));
}
