//! Which routes carry WebSockets, by the `upgrade` handlers of the program. Reads no other handler.

use super::RouteAssembly;
use crate::draft::{Action, PathRule, Route, slug};
use crate::express::conditions::RequestScope;
use crate::express::paths::{join, rule_path};
use crate::express::target::UpstreamTarget;
use crate::note::SourcePosition;

impl RouteAssembly<'_> {
    /// The handlers of `upgrade`.
    pub(super) fn upgrades(&mut self) {
        for (call, paths) in std::mem::take(&mut self.run.program.upgraded) {
            let own = self.proxied.iter().find(|(line, _)| *line == call.line).map(|(_, own)| own);
            let own = own.cloned().unwrap_or_default();
            for route in &mut self.routes {
                let is_meant =
                    paths.is_empty() || paths.iter().any(|it| it.contains(rule_path(&route.path)));
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
        keeps_path: bool,
        position: &SourcePosition,
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
            if keeps_path { "" } else { ", and the client's query is passed on" },
        );
        self.run.notes.changed(position, text);
        let name = slug(rule_path(path));
        let name = format!("{}-ws", name.trim_end_matches("-ws"));
        let mut route = Route::new(position.clone(), name, path.clone(), action);
        let scope = RequestScope { path: path.clone(), methods: Vec::new() };
        let is_guarded = self.is_closed(&self.conditions.overlapping(&scope));
        if is_guarded || self.routes.iter().any(|it| it.path == *path) {
            // Other requests for this path have another route, or none.
            route.match_headers.push(("upgrade".to_owned(), "websocket".to_owned()));
        }
        route.prefix = Some(to).filter(|to| to != rule_path(path));
        if route.prefix.is_some() {
            route.path = PathRule::Prefix(rule_path(path).to_owned());
        }
        self.routes.push(route);
    }
}
