//! `createProxyMiddleware` of http-proxy-middleware as a route's upstream and settings. It does not know where the
//! middleware is mounted.

mod rewrite;
mod settings;

use super::assemble::RouteAssembly;
use super::paths::{self, join, rule_path};
use super::target::UpstreamTarget;
use super::value::{Call, Value};
use crate::draft::{Action, PathRule, Route, slug};
use crate::note::SourcePosition;

/// A proxy's options, whatever its version.
struct ProxyOptions<'c, 'a> {
    call: &'c Call<'a>,
    options: Value<'a>,
    /// The proxy's own path filter, besides its mount.
    filter: Option<Value<'a>>,
}

impl<'a> ProxyOptions<'_, 'a> {
    fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.options.get(key)
    }
}

impl<'a> RouteAssembly<'a> {
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
                    "a proxy whose options are computed at run time; its route answers 501",
                );
                return vec![self.answering(&position, mount, 501)];
            }
        };
        let options = ProxyOptions { call, options, filter };
        let Some(target) = options
            .get("target")
            .and_then(|it| UpstreamTarget::parse(it, &position, self.run.notes))
        else {
            self.run.notes.left_out(
                &position,
                "a proxy whose `target` is computed at run time; its route answers 501",
            );
            return vec![self.answering(&position, mount, 501)];
        };
        let strips = self.strips(&options, mount, &position);
        let mut paths = self.filtered(&options, mount, strips, &position);
        if !is_prefix {
            // `app.get('/a', proxy)` takes only that path, and never removes it.
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

    /// A call of express-http-proxy, of which only the target is read; it removes the mount from the path.
    fn simple(&mut self, target: &Value<'a>, mount: &str, position: &SourcePosition) -> Vec<Route> {
        let Some(target) = UpstreamTarget::parse(target, position, self.run.notes) else {
            self.run.notes.left_out(
                position,
                "a proxy whose target is computed at run time; its route answers 501",
            );
            return vec![self.answering(position, mount, 501)];
        };
        let action = Action::Upstream(self.draft.upstream(target.upstream.clone()));
        let path = PathRule::Prefix(mount.to_owned());
        let mut route = Route::new(position.clone(), slug(mount), path, action);
        route.websocket = false;
        route.host = Some(target.host_header.unwrap_or("upstream".to_owned()));
        route.prefix = (mount != "/").then(|| "/".to_owned());
        vec![route]
    }

    /// `proxy.web(req, res, {target})` of http-proxy, at a mount or at a path of its own.
    pub(super) fn proxy_route(
        &mut self,
        options: &Value<'a>,
        path: &PathRule,
        strips: bool,
        position: &SourcePosition,
    ) -> Route {
        let target = options
            .get("target")
            .and_then(|it| UpstreamTarget::parse(it, position, self.run.notes));
        let Some(target) = target else {
            self.run.notes.left_out(
                position,
                "a proxy whose `target` is computed at run time; its route \
                 answers 501",
            );
            return self.answering(position, rule_path(path), 501);
        };
        let own = rule_path(path);
        let action = Action::Upstream(self.draft.upstream(target.upstream.clone()));
        let mut route = Route::new(position.clone(), slug(own), path.clone(), action);
        route.websocket = false;
        if options.get("changeOrigin").is_some_and(Value::is_true) {
            route.host = Some(target.host_header.clone().unwrap_or("upstream".to_owned()));
        }
        let to = join(&target.base, if strips { "/" } else { own });
        route.prefix = Some(to).filter(|to| to != own);
        if route.prefix.is_some() {
            route.path = PathRule::Prefix(own.to_owned());
        }
        route
    }

    pub(super) fn answering(&self, position: &SourcePosition, path: &str, status: u16) -> Route {
        let action = Action::Respond { status, body: None, content_type: None };
        Route::new(position.clone(), slug(path), PathRule::Prefix(path.to_owned()), action)
    }

    /// Whether the mount is removed from the path that the service gets: version 3 of http-proxy-middleware does so,
    /// because it uses the path that Express passes to the handler.
    fn strips(
        &mut self,
        options: &ProxyOptions<'_, 'a>,
        mount: &str,
        position: &SourcePosition,
    ) -> bool {
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
            paths::literal_prefix(&rule.key).is_some_and(|path| join("/", &path).starts_with(mount))
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
        options: &ProxyOptions<'_, 'a>,
        mount: &str,
        strips: bool,
        position: &SourcePosition,
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
                Some(rule) if PathRule::Prefix(mount.to_owned()).contains(rule_path(&rule)) => {
                    paths.push(rule);
                }
                Some(rule) if rule.contains(mount) => {
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
}
