//! `pathRewrite` and `router` of a proxy: the paths that the service is asked for, and routes to other services. Knows no
//! other option.

use super::ProxyOptions;
use crate::draft::{Action, PathRule, Route, slug};
use crate::express::assemble::RouteAssembly;
use crate::express::paths::{self, join, rule_path};
use crate::express::target::UpstreamTarget;
use crate::express::value::Value;
use crate::note::SourcePosition;

impl<'a> RouteAssembly<'a> {
    /// The route, and the routes below it that `pathRewrite` needs.
    pub(super) fn rewritten(
        &mut self,
        mut route: Route,
        options: &ProxyOptions<'_, 'a>,
        target: &UpstreamTarget,
        mount: &str,
        strips: bool,
        position: &SourcePosition,
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
            let (Some(from), Some(to)) = (paths::literal_prefix(&rule.key), rule.value.plain())
            else {
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
            if let Some(rest) = whole.rest_below(&path) {
                // The rewrite applies to the whole route.
                if !is_done {
                    route.prefix = Some(onto(&join(&to, rest))).filter(|prefix| *prefix != path);
                    is_done = true;
                }
            } else if PathRule::Prefix(path.clone()).contains(&full) {
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
    pub(super) fn by_router(
        &mut self,
        options: &ProxyOptions<'_, 'a>,
        routes: &mut Vec<Route>,
        base: &str,
        position: &SourcePosition,
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
                    .left_out(&at, format!("`{}`: its target is computed at run time", entry.key));
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
                Some(rule) if plain.path.contains(rule_path(rule)) => {
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
                (&mut route.prefix, plain.path.rest_below(rule_path(&route.path)))
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
