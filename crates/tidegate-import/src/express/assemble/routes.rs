//! Adds routes to the draft with the conditions that hold for them: a route is divided where conditions hold for a part of
//! its paths alone. Reads no handler.

use super::RouteAssembly;
use crate::draft::{Action, PathRule, Route, slug};
use crate::express::conditions::{ConditionKind, RequestScope};
use crate::express::paths::{join, rule_path};
use crate::express::program::AppCall;
use std::collections::BTreeSet;

impl<'a> RouteAssembly<'a> {
    pub(super) fn add(&mut self, route: Route, entry: &AppCall<'a>, conditions: &[usize]) {
        self.add_after(self.routes.len(), route, &[], entry, conditions);
    }

    /// Adds a route after the first `before` routes, and a route for each part of its requests that other conditions
    /// apply to, unless one of its `siblings` takes that part.
    pub(super) fn add_after(
        &mut self,
        before: usize,
        mut route: Route,
        siblings: &[Route],
        entry: &AppCall<'a>,
        conditions: &[usize],
    ) {
        route.methods.clone_from(&entry.methods);
        if let Some(line) = self.covering_route(before, &route) {
            let path = rule_path(&route.path);
            let text =
                format!("no request reaches this handler: line {line} handles `{path}` first");
            self.run.notes.changed(&route.position, text);
            return;
        }
        let whole = RequestScope { path: route.path.clone(), methods: route.methods.clone() };
        let Some(parts) = self.conditions.divide(&whole) else {
            let text = "too many conditions apply to parts of this route; the import applies all of \
                them to the whole route";
            self.run.notes.changed(&route.position, text);
            let all = sorted_union(conditions, &self.conditions.overlapping(&whole));
            self.push_route(route, &all);
            return;
        };
        let of_whole = sorted_union(conditions, &self.conditions.covering(&whole));
        let is_closed = self.is_closed(&of_whole);
        let mut narrower: Vec<_> = parts.into_iter().skip(1).collect();
        // Of several routes with the same path, the first that matches wins.
        narrower.sort_by_key(|part| (part.methods.is_empty(), part.methods.len()));
        for part in narrower {
            let of_part = sorted_union(conditions, &self.conditions.covering(&part));
            let is_taken = siblings.iter().any(|it| {
                let is_below = it.path != route.path && route.path.contains(rule_path(&it.path));
                is_below && it.hosts == route.hosts && it.path.contains(rule_path(&part.path))
            });
            if is_closed || of_part == of_whole || is_taken {
                continue;
            }
            self.add_part(before, &route, part, &of_part);
        }
        self.push_route(route, &of_whole);
    }

    fn add_part(&mut self, before: usize, whole: &Route, part: RequestScope, conditions: &[usize]) {
        let (path, from) = (rule_path(&part.path).to_owned(), rule_path(&whole.path).to_owned());
        let own = self.conditions.with_numbers(conditions).filter(|it| it.scope.path == part.path);
        let lines: Vec<_> = own.map(|it| it.line).collect();
        let route = self.route_part(whole, part, &lines);
        if self.covering_route(before, &route).is_some() {
            return;
        }
        let is_closed = self.is_closed(conditions);
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
            (Action::Files(_), true) => self.closed_files.push((route, conditions.to_vec())),
            (Action::Files(_), false) => {
                let text = format!("conditions that apply only to `{path}` do not apply to files");
                self.run.notes.changed(&whole.position, text);
            }
            _ => self.push_route(route, conditions),
        }
    }

    /// The route for a part of its requests.
    fn route_part(&mut self, whole: &Route, part: RequestScope, lines: &[usize]) -> Route {
        let mut route = Route { path: part.path, methods: part.methods, ..whole.clone() };
        let path = rule_path(&route.path).to_owned();
        route.name = slug(&path);
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        if !lines.is_empty() {
            let from = rule_path(&whole.path);
            let comment = match lines.as_slice() {
                [line] => format!(
                    "A route of its own: line {line} treats these requests of `{from}` differently."
                ),
                several => format!(
                    "A route of its own: lines {} treat these requests of `{from}` differently.",
                    several.join(" and ")
                ),
            };
            route.comment.push(comment);
        }
        if let (Some(prefix), Some(rest)) = (&whole.prefix, whole.path.rest_below(&path)) {
            route.prefix = Some(join(prefix, rest)).filter(|prefix| *prefix != path);
        }
        for (_, own) in &mut self.proxied {
            if own.contains(&whole.path) {
                own.push(route.path.clone());
            }
        }
        route
    }

    pub(super) fn is_closed(&self, conditions: &[usize]) -> bool {
        self.conditions
            .with_numbers(conditions)
            .any(|condition| condition.kind == ConditionKind::Guard)
    }

    /// The line of the first of the `before` earlier routes that takes all requests of this one.
    pub(super) fn covering_route(&self, before: usize, route: &Route) -> Option<usize> {
        let path = rule_path(&route.path);
        let taken = self.routes.iter().take(before).find(|earlier| {
            let covers = match &earlier.path {
                PathRule::Exact(_) => earlier.path == route.path,
                PathRule::Prefix(_) => earlier.path.contains(path),
            };
            let passes_on = matches!(earlier.action, Action::Files(_));
            covers && earlier.hosts.is_empty() && !passes_on && earlier.methods.is_empty()
        });
        taken.map(|earlier| earlier.position.line)
    }

    pub(super) fn push_route(&mut self, mut route: Route, conditions: &[usize]) {
        if self.is_closed(conditions) {
            route.comment_former_upstream();
            route.action = Action::Respond { status: 403, body: None, content_type: None };
            route.prefix = None;
        }
        for condition in self.conditions.with_numbers(conditions) {
            match &condition.kind {
                ConditionKind::Guard => {}
                ConditionKind::Limit(limit) => route.rate_limits.push(limit.clone()),
                // The last change of a header wins.
                ConditionKind::Cors(policy) => route.cors = Some(policy.clone()),
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
}

/// The union of two sorted lists.
fn sorted_union(these: &[usize], those: &[usize]) -> Vec<usize> {
    let all: BTreeSet<usize> = these.iter().chain(those).copied().collect();
    all.into_iter().collect()
}
