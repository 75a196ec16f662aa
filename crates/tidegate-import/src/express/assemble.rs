//! Builds the routes of an Express application in the order in which Express would call its handlers. It reads the
//! evaluated program and does not know JavaScript.

use super::conditions::{Conditions, Demand, Scope};
use super::cors;
use super::handlers::Kind;
use super::names::{is_harmless, is_proxy, may_guard};
use super::paths::{self, join, rule_path};
use super::program::Entry;
use super::rates;
use super::run::Run;
use super::target::UpstreamTarget;
use super::text::Written;
use super::value::Value;
use crate::draft::{Action, Compression, Draft, Files, Listener, PathRule, Route, Text, Tls, slug};
use crate::note::Place;

pub(super) struct Assembly<'a> {
    pub run: Run<'a>,
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
    held: &'m [usize],
    depth: usize,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(run: Run<'a>, version: Option<u32>) -> Self {
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

    pub(super) fn finish(mut self, position: &Place) -> Draft {
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
                self.entries(app, Mount { path: "/", held: &[], depth: 0 });
            }
        }
        for (route, held) in std::mem::take(&mut self.closed_files) {
            let is_there = |it: &Route| it.path == route.path && it.methods == route.methods;
            if !self.routes.iter().any(is_there)
                && self.covering_route(self.routes.len(), &route).is_none()
            {
                self.push_route(route, &held);
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

    fn listeners(&mut self, position: &Place) {
        for listen in std::mem::take(&mut self.run.program.listens) {
            let host = match listen.host.as_deref() {
                None | Some("0.0.0.0" | "::" | "") => "0.0.0.0",
                Some("localhost") => "127.0.0.1",
                Some(host) => host,
            };
            let address = Written::plain(&format!("{host}:")).then(listen.port).text();
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
        entry: &Entry<'a>,
        paths: &Value<'a>,
        mount: Mount<'_>,
        position: &Place,
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
        entry: &Entry<'a>,
        path: Option<String>,
        mount: Mount<'_>,
        position: &Place,
    ) {
        let shown = path.clone().unwrap_or("a pattern".to_owned());
        if self.guards(&entry.handlers, mount.depth) {
            let stem = join(mount.path, paths::stem(path.as_deref().unwrap_or_default()));
            let scope = Scope { path: PathRule::Prefix(stem), methods: entry.methods.clone() };
            self.closes(&format!("the handler for the path `{shown}`"), &scope, position);
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
            Value::Function(function) => matches!(self.run.kind_of(*function), Kind::Guards),
            Value::App(router) if depth < MAX_ROUTER_DEPTH && self.run.may_go_on() => {
                let entries = self.run.program.apps.get(*router).cloned().unwrap_or_default();
                entries.iter().any(|entry| self.guards(&entry.handlers, depth + 1))
            }
            _ => true,
        })
    }

    /// Handlers one after another.
    fn chain(&mut self, entry: &Entry<'a>, path: &PathRule, mount: Mount<'_>, position: &Place) {
        let written = rule_path(path).to_owned();
        let is_prefix = matches!(path, PathRule::Prefix(_));
        let scope = Scope { path: path.clone(), methods: entry.methods.clone() };
        let mut held = mount.held.to_vec();
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
                        self.entries(*router, Mount { path: &written, held: &held, depth });
                    }
                }
                Value::Call(call) if is_proxy(&call.name) => {
                    let before = self.routes.len();
                    let routes = self.proxy(call, &written, is_prefix);
                    for route in routes.clone() {
                        self.add_after(before, route, &routes, entry, &held);
                    }
                    return;
                }
                // `app.options('*', cors())` is for preflights, which the policy of all answers.
                Value::Call(call)
                    if call.name == "cors" && is_last && !entry.methods.is_empty() => {}
                Value::Call(call) if call.name == "cors" => {
                    let at = self.run.position(call.line);
                    let made = cors::policy(call.arguments.first(), &at, self.run.notes);
                    match made {
                        Some(made) if is_last && written == "/" => self.draft.cors = Some(made),
                        Some(made) => held.push(self.demand(&scope, Demand::Cors(made), &at)),
                        None => {}
                    }
                }
                Value::Call(call) if rates::is_limit(&call.name) => {
                    let at = self.run.position(call.line);
                    if let Some(limit) = rates::limit(call, &at, self.run.notes) {
                        held.push(self.demand(&scope, Demand::Limit(limit), position));
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
                            self.add(route, entry, &held);
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
                    held.push(self.closes(
                        &format!("`{}` with `verify`", call.name),
                        &scope,
                        position,
                    ));
                }
                Value::Call(call) => {
                    let at = self.run.position(call.line);
                    held.extend(self.named(&call.name, &scope, &at));
                }
                Value::Native(name) => held.extend(self.named(name, &scope, position)),
                Value::Function(function) => match self.run.kind_of(*function) {
                    Kind::Answers(action) => {
                        let route =
                            Route::new(position.clone(), slug(&written), path.clone(), action);
                        self.add(route, entry, &held);
                        return;
                    }
                    Kind::Proxies(target) => {
                        let route = self.passes(&target, path, entry.is_prefix, position);
                        self.add(route, entry, &held);
                        return;
                    }
                    Kind::Sends(file) => {
                        self.sends(&file, position);
                        return;
                    }
                    Kind::Errors => {
                        let text =
                            "error responses are the gateway's own; use `error_pages` instead";
                        self.run.notes.changed(position, text);
                    }
                    Kind::Passes => {}
                    Kind::Guards => {
                        held.push(self.closes(
                            "a handler that may reject requests",
                            &scope,
                            position,
                        ));
                    }
                    Kind::Middles => {
                        let text =
                            "code that runs for each request: use `headers`, or write a filter";
                        self.run.notes.left_out(position, text);
                    }
                    Kind::Code => {
                        let text = "this handler is code: move it to a service and add a route to that; \
                            until then its requests go to other matching routes";
                        self.run.notes.left_out(position, text);
                        return;
                    }
                },
                _ => held.push(self.closes(
                    "a handler that the import cannot follow",
                    &scope,
                    position,
                )),
            }
        }
    }

    fn demand(&mut self, scope: &Scope, demand: Demand, position: &Place) -> usize {
        let is_front_page = scope.path == PathRule::Exact("/".to_owned());
        if is_front_page && matches!(demand, Demand::Limit(_)) {
            self.run.notes.left_out(
                position,
                "a rate limit of only `/` applies to the handlers of its own line",
            );
        }
        self.conditions.add(scope.clone(), demand, position.line)
    }

    /// A handler from another file; it adds a condition if it may reject requests.
    fn named(&mut self, name: &str, scope: &Scope, position: &Place) -> Option<usize> {
        if may_guard(name) {
            return Some(self.closes(&format!("`{name}`"), scope, position));
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

    fn closes(&mut self, what: &str, scope: &Scope, position: &Place) -> usize {
        let text = format!(
            "{what}: access control that the import cannot convert; the routes behind it answer 403 \
             until you replace them"
        );
        self.run.notes.left_out(position, text);
        self.demand(scope, Demand::Guard, position)
    }

    /// `res.sendFile('index.html')` for all that is left, beside the folder that it stands in.
    fn sends(&mut self, file: &str, position: &Place) {
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

    fn add(&mut self, route: Route, entry: &Entry<'a>, held: &[usize]) {
        self.add_after(self.routes.len(), route, &[], entry, held);
    }

    /// Adds a route that so many stand before, and one for each part of it for which other conditions
    /// hold, unless one that is made with it takes that part.
    fn add_after(
        &mut self,
        before: usize,
        mut route: Route,
        siblings: &[Route],
        entry: &Entry<'a>,
        held: &[usize],
    ) {
        route.methods.clone_from(&entry.methods);
        if let Some(line) = self.covering_route(before, &route) {
            let path = rule_path(&route.path);
            let text =
                format!("no request reaches this handler: line {line} handles `{path}` first");
            self.run.notes.changed(&route.position, text);
            return;
        }
        let whole = Scope { path: route.path.clone(), methods: route.methods.clone() };
        let Some(parts) = self.conditions.parts(&whole) else {
            let text = "too many conditions apply to parts of this route; the import applies all of \
                them to the whole route";
            self.run.notes.changed(&route.position, text);
            let all = union(held, &self.conditions.touching(&whole));
            self.push_route(route, &all);
            return;
        };
        let of_whole = union(held, &self.conditions.covering(&whole));
        let is_closed = self.is_closed(&of_whole);
        let mut narrower: Vec<_> = parts.into_iter().skip(1).collect();
        // Of several routes with the same path, the first that matches wins.
        narrower.sort_by_key(|part| (part.methods.is_empty(), part.methods.len()));
        for part in narrower {
            let of_part = union(held, &self.conditions.covering(&part));
            let is_taken = siblings.iter().any(|it| {
                let is_below =
                    it.path != route.path && route.path.rest(rule_path(&it.path)).is_some();
                is_below && it.hosts == route.hosts && it.path.rest(rule_path(&part.path)).is_some()
            });
            if is_closed || of_part == of_whole || is_taken {
                continue;
            }
            self.add_part(before, &route, part, &of_part);
        }
        self.push_route(route, &of_whole);
    }

    fn add_part(&mut self, before: usize, whole: &Route, part: Scope, held: &[usize]) {
        let (path, from) = (rule_path(&part.path).to_owned(), rule_path(&whole.path).to_owned());
        let own = self.conditions.with_numbers(held).filter(|it| it.scope.path == part.path);
        let lines: Vec<_> = own.map(|it| it.line).collect();
        let route = self.part(whole, part, &lines);
        if self.covering_route(before, &route).is_some() {
            return;
        }
        let is_closed = self.is_closed(held);
        if is_closed {
            let text = format!(
                "Tidegate matches `{path}` case-sensitively: requests for `{}`, which Express treats \
                 the same, are handled like the rest of `{from}`",
                path.to_uppercase()
            );
            self.run.notes.changed(&whole.position, text);
        }
        match (&whole.action, is_closed) {
            // Handlers after a folder get requests without a file, so they come first.
            (Action::Files(_), true) => self.closed_files.push((route, held.to_vec())),
            (Action::Files(_), false) => {
                let text = format!("conditions that apply only to `{path}` do not apply to files");
                self.run.notes.changed(&whole.position, text);
            }
            _ => self.push_route(route, held),
        }
    }

    /// The route for a part of its requests.
    fn part(&mut self, whole: &Route, part: Scope, lines: &[usize]) -> Route {
        let mut route = Route { path: part.path, methods: part.methods, ..whole.clone() };
        let path = rule_path(&route.path).to_owned();
        route.name = slug(&path);
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        if !lines.is_empty() {
            let from = rule_path(&whole.path);
            let told = format!("Separate from `{from}` because of line {}.", lines.join(" and "));
            route.comment.push(told);
        }
        if let (Some(prefix), Some(rest)) = (&whole.prefix, whole.path.rest(&path)) {
            route.prefix = Some(join(prefix, rest)).filter(|prefix| *prefix != path);
        }
        for (_, own) in &mut self.proxied {
            if own.contains(&whole.path) {
                own.push(route.path.clone());
            }
        }
        route
    }

    fn is_closed(&self, held: &[usize]) -> bool {
        self.conditions.with_numbers(held).any(|condition| condition.demand == Demand::Guard)
    }

    /// The line of the first of so many routes that takes all that this one would.
    fn covering_route(&self, before: usize, route: &Route) -> Option<usize> {
        let path = rule_path(&route.path);
        let taken = self.routes.iter().take(before).find(|earlier| {
            let covers = match &earlier.path {
                PathRule::Exact(_) => earlier.path == route.path,
                PathRule::Prefix(_) => earlier.path.rest(path).is_some(),
            };
            let passes_on = matches!(earlier.action, Action::Files(_));
            covers && earlier.hosts.is_empty() && !passes_on && earlier.methods.is_empty()
        });
        taken.map(|earlier| earlier.position.line)
    }

    fn push_route(&mut self, mut route: Route, held: &[usize]) {
        if self.is_closed(held) {
            route.note_closing();
            route.action = Action::Respond { status: 403, body: None, content_type: None };
            route.prefix = None;
        }
        for condition in self.conditions.with_numbers(held) {
            match &condition.demand {
                Demand::Guard => {}
                Demand::Limit(limit) => route.rate_limits.push(limit.clone()),
                // The last change of a header wins.
                Demand::Cors(policy) => route.cors = Some(policy.clone()),
            }
        }
        let is_there = |it: &&Route| {
            it.path == route.path && it.methods == route.methods && it.hosts == route.hosts
        };
        if let Some(earlier) = self.routes.iter().find(is_there) {
            let (path, line) = (rule_path(&route.path), earlier.position.line);
            let text = format!(
                "`{path}`: line {line} already handles this path, and requests cannot continue \
                    to another route"
            );
            self.run.notes.left_out(&route.position, text);
            return;
        }
        self.routes.push(route);
    }

    /// The handlers of `upgrade`.
    fn upgrades(&mut self) {
        for (call, paths) in std::mem::take(&mut self.run.program.upgraded) {
            let own = self.proxied.iter().find(|(line, _)| *line == call.line).map(|(_, own)| own);
            let own = own.cloned().unwrap_or_default();
            for route in &mut self.routes {
                let is_meant = paths.is_empty()
                    || paths.iter().any(|it| it.rest(rule_path(&route.path)).is_some());
                if own.contains(&route.path) && is_meant {
                    route.websocket = true;
                }
            }
        }
        for upgrade in std::mem::take(&mut self.run.program.upgrades) {
            let position = self.run.position(upgrade.line);
            let Some(target) = UpstreamTarget::parse(&upgrade.target, &position, self.run.notes)
            else {
                self.run.notes.left_out(
                    &position,
                    "WebSockets: the address of their service is not a \
                     constant",
                );
                continue;
            };
            let name = self.draft.upstream(target.upstream.clone());
            let paths = match upgrade.paths.is_empty() {
                true => vec![PathRule::Prefix("/".to_owned())],
                false => upgrade.paths,
            };
            for path in paths {
                let to = match upgrade.keeps_path {
                    true => join(&target.base, rule_path(&path)),
                    false => join(&target.base, "/"),
                };
                self.websockets(&path, &name, to, upgrade.keeps_path, &position);
            }
        }
    }

    fn websockets(
        &mut self,
        path: &PathRule,
        name: &str,
        to: String,
        keeps: bool,
        position: &Place,
    ) {
        let action = Action::Upstream(name.to_owned());
        if let Some(known) =
            self.routes.iter_mut().find(|it| it.path == *path && it.action == action)
        {
            known.websocket = true;
            return;
        }
        let text = format!(
            "requests for `{}` that are not WebSocket handshakes also go to the upstream `{name}`{}",
            rule_path(path),
            if keeps { "" } else { ", and the client's query is passed on" },
        );
        self.run.notes.changed(position, text);
        let name = slug(rule_path(path));
        let name = format!("{}-ws", name.trim_end_matches("-ws"));
        let mut route = Route::new(position.clone(), name, path.clone(), action);
        let scope = Scope { path: path.clone(), methods: Vec::new() };
        let is_guarded = self.is_closed(&self.conditions.touching(&scope));
        if is_guarded || self.routes.iter().any(|it| it.path == *path) {
            // Ordinary requests for it go elsewhere, or nowhere.
            route.match_headers.push(("upgrade".to_owned(), "websocket".to_owned()));
        }
        route.prefix = Some(to).filter(|to| to != rule_path(path));
        if route.prefix.is_some() {
            route.path = PathRule::Prefix(rule_path(path).to_owned());
        }
        self.routes.push(route);
    }
}

/// The union of two sorted lists.
fn union(these: &[usize], those: &[usize]) -> Vec<usize> {
    let all: std::collections::BTreeSet<usize> = these.iter().chain(those).copied().collect();
    all.into_iter().collect()
}
