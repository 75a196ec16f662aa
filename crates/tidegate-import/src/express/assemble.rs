//! Builds the routes of an Express application in the order in which Express would call its handlers. It reads the
//! evaluated program and does not know JavaScript.

mod routes;
mod websockets;

use super::conditions::{ConditionKind, Conditions, RequestScope};
use super::cors;
use super::handlers::HandlerKind;
use super::names::{is_harmless, is_proxy, may_guard};
use super::paths::{self, join, rule_path};
use super::program::AppCall;
use super::rates;
use super::run::Interpreter;
use super::text::TextWithVariables;
use super::value::Value;
use crate::draft::{Action, Compression, Draft, Files, Listener, PathRule, Route, Text, Tls, slug};
use crate::note::SourcePosition;

pub(super) struct RouteAssembly<'a> {
    pub run: Interpreter<'a>,
    pub draft: Draft,
    /// The first number of http-proxy-middleware's version, where a package.json says it.
    pub version: Option<u32>,
    routes: Vec<Route>,
    /// The conditions that handlers put on requests for later handlers.
    conditions: Conditions,
    /// Closed parts of folders, with their conditions.
    closed_files: Vec<(Route, Vec<usize>)>,
    /// The paths of each proxy, by its line.
    pub proxied: Vec<(usize, Vec<PathRule>)>,
}

/// Maximum nesting of routers.
const MAX_ROUTER_DEPTH: usize = 16;

/// A mount point and the conditions that hold there.
#[derive(Clone, Copy)]
struct Mount<'m> {
    path: &'m str,
    /// The conditions that are known to hold.
    conditions: &'m [usize],
    depth: usize,
}

impl<'a> RouteAssembly<'a> {
    pub(super) fn new(run: Interpreter<'a>, version: Option<u32>) -> Self {
        Self {
            run,
            draft: Draft::default(),
            version,
            routes: Vec::new(),
            conditions: Conditions::default(),
            closed_files: Vec::new(),
            proxied: Vec::new(),
        }
    }

    pub(super) fn finish(mut self, position: &SourcePosition) -> Draft {
        self.listeners(position);
        let mounted = self.mounted();
        let has_application = self.run.program.routers.len() < self.run.program.apps.len();
        for app in 0..self.run.program.apps.len() {
            let is_router = has_application && self.run.program.routers.contains(&app);
            if is_router && !mounted.contains(&app) {
                self.run
                    .notes
                    .left_out(position, "a router: the import found no place where it is mounted");
            } else if !mounted.contains(&app) {
                self.entries(app, Mount { path: "/", conditions: &[], depth: 0 });
            }
        }
        for (route, conditions) in std::mem::take(&mut self.closed_files) {
            let is_there = |it: &Route| it.path == route.path && it.methods == route.methods;
            if !self.routes.iter().any(is_there)
                && self.covering_route(self.routes.len(), &route).is_none()
            {
                self.push_route(route, &conditions);
            }
        }
        self.upgrades();
        if self.run.is_exhausted() {
            self.run
                .notes
                .left_out(position, "the program is too large to follow; its rest is ignored");
        }
        self.draft.user_id = std::mem::take(&mut self.run.program.user_id);
        self.draft.user_id.dedup();
        for mut route in std::mem::take(&mut self.routes) {
            route.name = self.draft.free_name(&route.name);
            self.draft.routes.push(route);
        }
        self.draft
    }

    /// Routers mounted in other routers.
    fn mounted(&self) -> Vec<usize> {
        let entries = self.run.program.apps.iter().flatten();
        let handlers = entries.flat_map(|entry| &entry.handlers);
        handlers.filter_map(|it| if let Value::App(app) = it { Some(*app) } else { None }).collect()
    }

    fn listeners(&mut self, position: &SourcePosition) {
        for listen in std::mem::take(&mut self.run.program.listens) {
            let host = match listen.host.as_deref() {
                None | Some("0.0.0.0" | "::" | "") => "0.0.0.0",
                Some("localhost") => "127.0.0.1",
                Some(host) => host,
            };
            let address = TextWithVariables::plain(&format!("{host}:")).then(listen.port).text();
            let tls = listen.tls.map(|pair| Tls {
                certificates: vec![pair],
                h1_only: true,
                ..Tls::default()
            });
            let is_known = |it: &Listener| it.address.as_str() == address.as_str();
            if !self.draft.listeners.iter().any(is_known) {
                let _ = listen.line;
                self.draft.listeners.push(Listener {
                    comment: Vec::new(),
                    address,
                    tls,
                    redirect_to: None,
                });
            }
        }
        if self.draft.listeners.is_empty() {
            self.run
                .notes
                .changed(position, "the program listens on no port; the listener uses port 3000");
            let address = Text::literal("0.0.0.0:3000");
            let comment = Vec::new();
            self.draft.listeners.push(Listener { comment, address, tls: None, redirect_to: None });
        }
    }

    fn entries(&mut self, app: usize, mount: Mount<'_>) {
        let entries = self.run.program.apps.get(app).cloned().unwrap_or_default();
        for entry in entries {
            let position = self.run.position(entry.line);
            let paths = match &entry.paths {
                None => vec![PathRule::Prefix(mount.path.to_owned())],
                Some(paths) => self.rules(&entry, paths, mount, &position),
            };
            for path in paths {
                self.chain(&entry, &path, mount, &position);
            }
        }
    }

    fn rules(
        &mut self,
        entry: &AppCall<'a>,
        paths: &Value<'a>,
        mount: Mount<'_>,
        position: &SourcePosition,
    ) -> Vec<PathRule> {
        let mut rules = Vec::new();
        for path in paths.items() {
            let written = path.plain();
            let rule =
                written.as_deref().and_then(|it| paths::rule(mount.path, it, entry.is_prefix));
            match rule {
                Some(rule) => rules.push(rule),
                None => self.pattern(entry, written, mount, position),
            }
        }
        rules
    }

    /// A path that can't be converted. A guard for it guards everything below its literal start.
    fn pattern(
        &mut self,
        entry: &AppCall<'a>,
        path: Option<String>,
        mount: Mount<'_>,
        position: &SourcePosition,
    ) {
        let shown = path.clone().unwrap_or("a pattern".to_owned());
        if self.guards(&entry.handlers, mount.depth) {
            let stem = join(mount.path, paths::stem(path.as_deref().unwrap_or_default()));
            let scope =
                RequestScope { path: PathRule::Prefix(stem), methods: entry.methods.clone() };
            self.add_guard(&format!("the handler for the path `{shown}`"), &scope, position);
            return;
        }
        let text = format!(
            "the path `{shown}`: a route matches only an exact path or a prefix; requests for it go to \
             other matching routes"
        );
        self.run.notes.left_out(position, text);
    }

    /// Whether one of these handlers may reject requests.
    fn guards(&mut self, handlers: &[Value<'a>], depth: usize) -> bool {
        handlers.iter().any(|handler| match handler {
            Value::Native(name) => may_guard(name),
            Value::Call(call) => may_guard(&call.name),
            Value::Function(function) => matches!(self.run.kind_of(*function), HandlerKind::Guards),
            Value::App(router) if depth < MAX_ROUTER_DEPTH && self.run.may_go_on() => {
                let entries = self.run.program.apps.get(*router).cloned().unwrap_or_default();
                entries.iter().any(|entry| self.guards(&entry.handlers, depth + 1))
            }
            _ => true,
        })
    }

    /// Handlers one after another.
    fn chain(
        &mut self,
        entry: &AppCall<'a>,
        path: &PathRule,
        mount: Mount<'_>,
        position: &SourcePosition,
    ) {
        let written = rule_path(path).to_owned();
        let is_prefix = matches!(path, PathRule::Prefix(_));
        let scope = RequestScope { path: path.clone(), methods: entry.methods.clone() };
        let mut conditions = mount.conditions.to_vec();
        let count = entry.handlers.len();
        for (number, handler) in entry.handlers.iter().enumerate() {
            if !self.run.may_go_on() {
                return;
            }
            let is_last = number + 1 == count;
            match handler {
                Value::App(router) => {
                    if mount.depth < MAX_ROUTER_DEPTH {
                        let depth = mount.depth + 1;
                        self.entries(
                            *router,
                            Mount { path: &written, conditions: &conditions, depth },
                        );
                    }
                }
                Value::Call(call) if is_proxy(&call.name) => {
                    let before = self.routes.len();
                    let routes = self.proxy(call, &written, is_prefix);
                    for route in routes.clone() {
                        self.add_after(before, route, &routes, entry, &conditions);
                    }
                    return;
                }
                // `app.options('*', cors())` answers preflights; the policy for all requests does so already.
                Value::Call(call)
                    if call.name == "cors" && is_last && !entry.methods.is_empty() => {}
                Value::Call(call) if call.name == "cors" => {
                    let at = self.run.position(call.line);
                    let made = cors::policy(call.arguments.first(), &at, self.run.notes);
                    match made {
                        Some(made) if is_last && written == "/" => self.draft.cors = Some(made),
                        Some(made) => conditions.push(self.add_condition(
                            &scope,
                            ConditionKind::Cors(made),
                            &at,
                        )),
                        None => {}
                    }
                }
                Value::Call(call) if rates::is_limit(&call.name) => {
                    let at = self.run.position(call.line);
                    if let Some(limit) = rates::limit(call, &at, self.run.notes) {
                        conditions.push(self.add_condition(
                            &scope,
                            ConditionKind::Limit(limit),
                            position,
                        ));
                    }
                }
                Value::Call(call)
                    if matches!(call.name.as_str(), "express.static" | "serve-static") =>
                {
                    let at = self.run.position(call.line);
                    match call.arguments.first().and_then(Value::plain) {
                        Some(root) => {
                            let text = "a missing file is answered with 404; Express calls the next handler";
                            self.run.notes.changed(&at, text);
                            let files = Files { root, ..Files::default() };
                            let path = PathRule::Prefix(written.clone());
                            let mut route =
                                Route::new(at, slug(&written), path, Action::Files(files));
                            route.prefix = (written != "/").then(|| "/".to_owned());
                            self.add(route, entry, &conditions);
                        }
                        None => self.run.notes.left_out(
                            &at,
                            "the folder of `express.static` is not a \
                             constant",
                        ),
                    }
                }
                Value::Call(call) if call.name == "compression" => {
                    if written == "/" {
                        self.draft.compression = Some(Compression {
                            algorithms: Vec::new(),
                            types: Vec::new(),
                            min_size: None,
                            gzip_level: None,
                        });
                    } else {
                        let text =
                            "`compression` of only some paths: use `routes[].compression` instead";
                        self.run.notes.left_out(position, text);
                    }
                }
                Value::Call(call) if call.arguments.iter().any(|it| it.get("verify").is_some()) => {
                    conditions.push(self.add_guard(
                        &format!("`{}` with `verify`", call.name),
                        &scope,
                        position,
                    ));
                }
                Value::Call(call) => {
                    let at = self.run.position(call.line);
                    conditions.extend(self.named(&call.name, &scope, &at));
                }
                Value::Native(name) => conditions.extend(self.named(name, &scope, position)),
                Value::Function(function) => match self.run.kind_of(*function) {
                    HandlerKind::Answers(action) => {
                        let route =
                            Route::new(position.clone(), slug(&written), path.clone(), action);
                        self.add(route, entry, &conditions);
                        return;
                    }
                    HandlerKind::Proxies(target) => {
                        let route = self.proxy_route(&target, path, entry.is_prefix, position);
                        self.add(route, entry, &conditions);
                        return;
                    }
                    HandlerKind::Sends(file) => {
                        self.add_file_response(&file, position);
                        return;
                    }
                    HandlerKind::Errors => {
                        let text =
                            "error responses are the gateway's own; use `error_pages` instead";
                        self.run.notes.changed(position, text);
                    }
                    HandlerKind::Passes => {}
                    HandlerKind::Guards => {
                        conditions.push(self.add_guard(
                            "a handler that may reject requests",
                            &scope,
                            position,
                        ));
                    }
                    HandlerKind::Middles => {
                        let text =
                            "code that runs for each request: use `headers`, or write a filter";
                        self.run.notes.left_out(position, text);
                    }
                    HandlerKind::Code => {
                        let text = "this handler is code: move it to a service and add a route to that; \
                            until then its requests go to other matching routes";
                        self.run.notes.left_out(position, text);
                        return;
                    }
                },
                _ => conditions.push(self.add_guard(
                    "a handler that the import cannot follow",
                    &scope,
                    position,
                )),
            }
        }
    }

    fn add_condition(
        &mut self,
        scope: &RequestScope,
        demand: ConditionKind,
        position: &SourcePosition,
    ) -> usize {
        let is_front_page = scope.path == PathRule::Exact("/".to_owned());
        if is_front_page && matches!(demand, ConditionKind::Limit(_)) {
            self.run.notes.left_out(
                position,
                "a rate limit of only `/` applies to the handlers of its own line",
            );
        }
        self.conditions.add(scope.clone(), demand, position.line)
    }

    /// A handler from another file; it adds a condition if it may reject requests.
    fn named(
        &mut self,
        name: &str,
        scope: &RequestScope,
        position: &SourcePosition,
    ) -> Option<usize> {
        if may_guard(name) {
            return Some(self.add_guard(&format!("`{name}`"), scope, position));
        }
        if is_harmless(name) {
            return None;
        }
        let hint = match name {
            "helmet" => "use `headers.response.set` instead",
            _ => "the import does not support this handler",
        };
        self.run.notes.left_out(position, format!("`{name}`: {hint}"));
        None
    }

    fn add_guard(&mut self, what: &str, scope: &RequestScope, position: &SourcePosition) -> usize {
        let text = format!(
            "{what}: access control that the import cannot convert; the routes behind it answer 403 \
             until you replace them"
        );
        self.run.notes.left_out(position, text);
        self.add_condition(scope, ConditionKind::Guard, position)
    }

    /// `res.sendFile('index.html')` for all other paths: the fallback of the folder that the file is in.
    fn add_file_response(&mut self, file: &str, position: &SourcePosition) {
        let (folder, name) = file.rsplit_once('/').unwrap_or((".", file));
        for route in &mut self.routes {
            if let Action::Files(files) = &mut route.action
                && files.root == folder
                && route.path == PathRule::Prefix("/".to_owned())
            {
                files.fallback = Some(format!("/{name}"));
                let text = format!(
                    "`{name}` is served for missing files, but only if the last segment \
                     of the path has no dot"
                );
                self.run.notes.changed(position, text);
                return;
            }
        }
        self.run.notes.left_out(
            position,
            format!("a handler that sends the file `{file}`: use `files` instead"),
        );
    }
}
