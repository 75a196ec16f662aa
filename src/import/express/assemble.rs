//! Makes the routes of what a program says, in the order in which Express would ask it.

use super::cors;
use super::handlers::{Kind, is_guard, is_harmless};
use super::paths::{self, join};
use super::program::Entry;
use super::proxy::{is_proxy, rule_path};
use super::run::Run;
use super::target::Target;
use super::text::Written;
use super::value::Value;
use crate::import::draft::{
    Action, Compression, Cors, Draft, Files, Listener, PathRule, Route, Text, Tls, slug,
};
use crate::import::note::Place;

pub struct Assembly<'a> {
    pub run: Run<'a>,
    pub draft: Draft,
    /// The first number of http-proxy-middleware's version, where a package.json says it.
    pub version: Option<u32>,
    routes: Vec<Route>,
    /// Policies for what is below a path.
    cors: Vec<(String, Cors)>,
    /// Paths below which something may turn requests away.
    guards: Vec<String>,
    /// The paths of each proxy, by its line.
    pub proxied: Vec<(usize, Vec<PathRule>)>,
}

/// How deep routers may be mounted in one another.
const DEPTH: usize = 16;

/// A place where handlers stand, and what holds there.
#[derive(Clone, Copy)]
struct Mount<'m> {
    path: &'m str,
    is_guarded: bool,
    depth: usize,
}

impl<'a> Assembly<'a> {
    pub fn new(run: Run<'a>, version: Option<u32>) -> Self {
        Self {
            run,
            draft: Draft::default(),
            version,
            routes: Vec::new(),
            cors: Vec::new(),
            guards: Vec::new(),
            proxied: Vec::new(),
        }
    }

    pub fn finish(mut self, place: &Place) -> Draft {
        self.listeners(place);
        let mounted = self.mounted();
        for app in 0..self.run.program.apps.len() {
            if !mounted.contains(&app) {
                self.entries(app, Mount { path: "/", is_guarded: false, depth: 0 });
            }
        }
        self.upgrades();
        self.draft.user_id = std::mem::take(&mut self.run.program.user_id);
        self.draft.user_id.dedup();
        for mut route in std::mem::take(&mut self.routes) {
            route.name = self.draft.free_name(&route.name);
            self.draft.routes.push(route);
        }
        self.draft
    }

    /// Routers that stand in others.
    fn mounted(&self) -> Vec<usize> {
        let entries = self.run.program.apps.iter().flatten();
        let handlers = entries.flat_map(|entry| &entry.handlers);
        handlers.filter_map(|it| if let Value::App(app) = it { Some(*app) } else { None }).collect()
    }

    fn listeners(&mut self, place: &Place) {
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
            self.run.notes.changed(place, "nothing listens in this file; here it is port 3000");
            let address = Text::literal("0.0.0.0:3000");
            let comment = Vec::new();
            self.draft.listeners.push(Listener { comment, address, tls: None, redirect_to: None });
        }
    }

    fn entries(&mut self, app: usize, mount: Mount<'_>) {
        let entries = self.run.program.apps.get(app).cloned().unwrap_or_default();
        for entry in entries {
            let place = self.run.place(entry.line);
            let paths = match &entry.paths {
                None => vec![PathRule::Prefix(mount.path.to_owned())],
                Some(paths) => self.rules(&entry, paths, mount, &place),
            };
            for path in paths {
                self.chain(&entry, &path, mount, &place);
            }
        }
    }

    fn rules(
        &mut self,
        entry: &Entry<'a>,
        paths: &Value<'a>,
        mount: Mount<'_>,
        place: &Place,
    ) -> Vec<PathRule> {
        let mut rules = Vec::new();
        for path in paths.items() {
            let written = path.plain();
            let rule =
                written.as_deref().and_then(|it| paths::rule(mount.path, it, entry.is_prefix));
            match rule {
                Some(rule) => rules.push(rule),
                None => {
                    let shown = written.unwrap_or("a pattern".to_owned());
                    let text = format!(
                        "`{shown}`: a route's path is exact or a prefix; what this took goes where the \
                         rest of the paths go"
                    );
                    self.run.notes.left(place, text);
                }
            }
        }
        rules
    }

    /// Handlers one after another.
    fn chain(&mut self, entry: &Entry<'a>, path: &PathRule, mount: Mount<'_>, place: &Place) {
        let written = rule_path(path).to_owned();
        let is_prefix = matches!(path, PathRule::Prefix(_));
        let below = |guard: &String| PathRule::Prefix(guard.clone()).rest(&written).is_some();
        let mut is_guarded = mount.is_guarded || self.guards.iter().any(below);
        let mut policy: Option<Cors> = None;
        let count = entry.handlers.len();
        for (number, handler) in entry.handlers.iter().enumerate() {
            let is_last = number + 1 == count;
            match handler {
                Value::App(router) => {
                    if mount.depth < DEPTH {
                        let depth = mount.depth + 1;
                        self.entries(*router, Mount { path: &written, is_guarded, depth });
                    }
                }
                Value::Call(call) if is_proxy(&call.name) => {
                    let before = self.routes.len();
                    for route in self.proxy(call, &written, is_prefix) {
                        self.add_after(before, route, entry, is_guarded, policy.clone());
                    }
                    return;
                }
                // `app.options('*', cors())` is for preflights, which the policy of all answers.
                Value::Call(call)
                    if call.name == "cors" && is_last && !entry.methods.is_empty() => {}
                Value::Call(call) if call.name == "cors" => {
                    let at = self.run.place(call.line);
                    let made = cors::policy(call.arguments.first(), &at, self.run.notes);
                    match made {
                        Some(made) if is_last && written == "/" => self.draft.cors = Some(made),
                        Some(made) if is_last => self.cors.push((written.clone(), made)),
                        made => policy = made,
                    }
                }
                Value::Call(call)
                    if matches!(call.name.as_str(), "express.static" | "serve-static") =>
                {
                    let at = self.run.place(call.line);
                    match call.arguments.first().and_then(Value::plain) {
                        Some(root) => {
                            let text = "a file that is not there is answered 404; Express asks what \
                                        stands behind";
                            self.run.notes.changed(&at, text);
                            let files = Files { root, ..Files::default() };
                            let path = PathRule::Prefix(written.clone());
                            let mut route =
                                Route::new(at, slug(&written), path, Action::Files(files));
                            route.prefix = (written != "/").then(|| "/".to_owned());
                            self.add(route, entry, is_guarded, policy.clone());
                        }
                        None => self.run.notes.left(&at, "a folder that is not seen"),
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
                        let text = "`compression` of some paths; see `routes[].compression`";
                        self.run.notes.left(place, text);
                    }
                }
                Value::Call(call) => {
                    let at = self.run.place(call.line);
                    is_guarded |= self.named(&call.name, &at);
                }
                Value::Native(name) => is_guarded |= self.named(name, place),
                Value::Function(function) => match self.run.kind_of(*function) {
                    Kind::Answers(action) => {
                        let route = Route::new(place.clone(), slug(&written), path.clone(), action);
                        self.add(route, entry, is_guarded, policy.clone());
                        return;
                    }
                    Kind::Proxies(target) => {
                        let route = self.passes(&target, path, entry.is_prefix, place);
                        self.add(route, entry, is_guarded, policy.clone());
                        return;
                    }
                    Kind::Sends(file) => {
                        self.sends(&file, place);
                        return;
                    }
                    Kind::Errors => {
                        let text = "errors are the gateway's own; see `error_pages`";
                        self.run.notes.changed(place, text);
                    }
                    Kind::Passes => {}
                    Kind::Guards => is_guarded |= self.closes("a handler that turns away", place),
                    Kind::Middles => {
                        let text = "code that looks at each request; see `headers`, or a filter of \
                                    your own";
                        self.run.notes.left(place, text);
                    }
                    Kind::Code => {
                        let text = "code of your own: give it a service, and a route to it; until then \
                                    what it answered goes where the rest of the paths go";
                        self.run.notes.left(place, text);
                        return;
                    }
                },
                _ => is_guarded |= self.closes("a handler that is not seen here", place),
            }
        }
        if is_guarded && entry.is_prefix && !mount.is_guarded {
            self.guards.push(written);
        }
    }

    /// A handler that comes from elsewhere; whether it may turn away.
    fn named(&mut self, name: &str, place: &Place) -> bool {
        if is_harmless(name) {
            return false;
        }
        if is_guard(name) || name.starts_with('.') {
            return self.closes(&format!("`{name}`"), place);
        }
        let hint = match name {
            "helmet" => "see `headers.response.set`",
            "express-rate-limit" | "express-rate-limit.rateLimit" => {
                "see `rate_limits`, such as `[{requests: 100, per: 1m}]`"
            }
            _ => "a handler that is not known to the import",
        };
        self.run.notes.left(place, format!("`{name}`: {hint}"));
        false
    }

    fn closes(&mut self, what: &str, place: &Place) -> bool {
        let text = format!(
            "{what}: what stands behind it answers 403, until a route with a guard of yours takes its \
             place"
        );
        self.run.notes.left(place, text);
        true
    }

    /// `res.sendFile('index.html')` for all that is left, beside the folder that it stands in.
    fn sends(&mut self, file: &str, place: &Place) {
        let (folder, name) = file.rsplit_once('/').unwrap_or((".", file));
        for route in &mut self.routes {
            if let Action::Files(files) = &mut route.action
                && files.root == folder
                && route.path == PathRule::Prefix("/".to_owned())
            {
                files.fallback = Some(format!("/{name}"));
                let text = format!("`{name}` is given for paths whose last segment has no dot");
                self.run.notes.changed(place, text);
                return;
            }
        }
        self.run.notes.left(place, format!("`{file}`: see `files`"));
    }

    fn add(&mut self, route: Route, entry: &Entry<'a>, is_guarded: bool, policy: Option<Cors>) {
        self.add_after(self.routes.len(), route, entry, is_guarded, policy);
    }

    /// Adds a route that so many stand before.
    fn add_after(
        &mut self,
        before: usize,
        mut route: Route,
        entry: &Entry<'a>,
        is_guarded: bool,
        policy: Option<Cors>,
    ) {
        route.methods.clone_from(&entry.methods);
        let path = rule_path(&route.path).to_owned();
        let taken = self.routes.iter().take(before).find(|earlier| {
            let covers = match &earlier.path {
                PathRule::Exact(_) => earlier.path == route.path,
                PathRule::Prefix(_) => earlier.path.rest(&path).is_some(),
            };
            let passes_on = matches!(earlier.action, Action::Files(_));
            covers && earlier.hosts.is_empty() && !passes_on && earlier.methods.is_empty()
        });
        if let Some(earlier) = taken {
            let text =
                format!("it is never asked: line {} takes `{path}` before", earlier.place.line);
            self.run.notes.changed(&route.place, text);
            return;
        }
        if is_guarded {
            route.note_closing();
            route.action = Action::Respond { status: 403, body: None, content_type: None };
            route.prefix = None;
        }
        let below =
            |(prefix, _): &&(String, Cors)| PathRule::Prefix(prefix.clone()).rest(&path).is_some();
        route.cors = policy.or(self.cors.iter().find(below).map(|(_, policy)| policy.clone()));
        self.routes.push(route);
    }

    /// What handlers of `upgrade` do.
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
            let place = self.run.place(upgrade.line);
            let Some(target) = Target::of(&upgrade.target, &place, self.run.notes) else {
                self.run.notes.left(&place, "WebSockets to a service that is not seen");
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
                self.websockets(&path, &name, to, upgrade.keeps_path, &place);
            }
        }
    }

    fn websockets(&mut self, path: &PathRule, name: &str, to: String, keeps: bool, place: &Place) {
        let action = Action::Upstream(name.to_owned());
        if let Some(known) =
            self.routes.iter_mut().find(|it| it.path == *path && it.action == action)
        {
            known.websocket = true;
            return;
        }
        let text = format!(
            "ordinary requests for `{}` go to `{name}` as well{}",
            rule_path(path),
            if keeps { "" } else { ", and the client's query goes along" },
        );
        self.run.notes.changed(place, text);
        let name = slug(rule_path(path));
        let name = format!("{}-ws", name.trim_end_matches("-ws"));
        let mut route = Route::new(place.clone(), name, path.clone(), action);
        route.prefix = Some(to).filter(|to| to != rule_path(path));
        if route.prefix.is_some() {
            route.path = PathRule::Prefix(rule_path(path).to_owned());
        }
        self.routes.push(route);
    }
}
