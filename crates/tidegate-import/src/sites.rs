//! Adds routes where a source chooses the host before the path: Tidegate's longest path wins on any host, so a host also
//! needs routes at the longer paths of other hosts. It does not know any source format.

use super::draft::{Action, Draft, PathRule, Route, slug};
use super::note::{Notes, SourcePosition};

/// The routes of a set of hosts; without hosts, of all other hosts.
#[derive(Debug)]
pub(crate) struct Site {
    pub position: SourcePosition,
    pub hosts: Vec<String>,
    pub routes: Vec<Route>,
}

impl Site {
    /// Whether the other site's routes could match requests for this site's hosts.
    fn is_shadowed_by(&self, other: &Self) -> bool {
        other.hosts.is_empty()
            || other.hosts.iter().any(|wild| {
                let below = wild.strip_prefix('*');
                below.is_some_and(|below| self.hosts.iter().any(|host| host.ends_with(below)))
            })
    }

    /// The route of this site for a path of another site.
    fn shadow_route(&self, path: &PathRule, notes: &mut Notes) -> Route {
        let (PathRule::Exact(written) | PathRule::Prefix(written)) = path;
        let over = self.routes.iter().filter_map(|route| match &route.path {
            PathRule::Prefix(prefix) => {
                Some((prefix.len(), route, route.path.rest_below(written)?))
            }
            PathRule::Exact(_) => None,
        });
        let Some((_, parent, rest)) = over.max_by_key(|(length, ..)| *length) else {
            let nothing = Action::Respond { status: 404, body: None, content_type: None };
            return Route::new(self.position.clone(), slug(written), path.clone(), nothing);
        };
        let mut route = Route {
            path: path.clone(),
            name: format!("{}-at-{}", parent.name, slug(written)),
            comment: vec![
                "Without this route, the longer path of another host would match here.".to_owned(),
            ],
            ..parent.clone()
        };
        if let Some(prefix) = &mut route.prefix {
            *prefix = format!("{}{rest}", prefix.trim_end_matches('/'));
            if matches!(path, PathRule::Exact(_)) {
                let text = format!(
                    "the path `{written}` is not rewritten, because a route of another host matches it \
                     exactly; requests for it keep their path"
                );
                notes.left_out(&parent.position, text);
                route.prefix = None;
            }
        }
        route
    }
}

/// Adds the sites' routes to the draft.
pub(crate) fn add_routes(draft: &mut Draft, mut sites: Vec<Site>, notes: &mut Notes) {
    // Equal routes keep the file's order; sites with hosts come before the site without.
    sites.sort_by_key(|site| site.hosts.is_empty());
    let has_many = sites.len() > 1;
    let mut shadows: Vec<Vec<Route>> = Vec::new();
    for (number, site) in sites.iter().enumerate() {
        let mut made: Vec<Route> = Vec::new();
        let others = sites.iter().enumerate().filter(|(other, _)| *other != number);
        for (_, other) in
            others.filter(|(_, other)| !site.hosts.is_empty() && site.is_shadowed_by(other))
        {
            for route in &other.routes {
                let is_there = |known: &Route| known.path == route.path;
                if !site.routes.iter().any(is_there) && !made.iter().any(is_there) {
                    made.push(site.shadow_route(&route.path, notes));
                }
            }
        }
        shadows.push(made);
    }
    for (site, shadows) in sites.into_iter().zip(shadows) {
        let label = site.hosts.first().map(|host| slug(host)).filter(|_| has_many);
        for mut route in site.routes.into_iter().chain(shadows) {
            route.hosts.clone_from(&site.hosts);
            let wanted = match &label {
                Some(label) => format!("{label}-{}", route.name),
                None => route.name.clone(),
            };
            route.name = draft.free_name(&wanted);
            draft.routes.push(route);
        }
    }
    move_shared_settings(draft);
}

/// Moves settings that all routes share to the top level.
fn move_shared_settings(draft: &mut Draft) {
    for route in &mut draft.routes {
        // Routes without an upstream need no body limit, and responses without a body no compression.
        if let Action::Redirect(..) | Action::Respond { .. } = route.action {
            route.max_body_size = None;
        }
        if let Action::Redirect(..) | Action::Respond { body: None, .. } = route.action {
            route.compression = None;
        }
    }
    let reads = |route: &&Route| matches!(route.action, Action::Upstream(_) | Action::Files(_));
    let mut sizes = draft.routes.iter().filter(reads).map(|route| route.max_body_size);
    // A route can't remove a global limit, so a route without one keeps it from becoming global.
    let largest = sizes.try_fold(0, |largest, size| Some(size?.max(largest)));
    if let Some(size) = largest.filter(|size| *size > 0) {
        let comment = match size {
            0x0010_0000 => "The default of nginx is 1m.",
            _ => "The largest limit of any route.",
        };
        draft.body_size = Some((size, comment.to_owned()));
        for route in &mut draft.routes {
            route.max_body_size = route.max_body_size.filter(|own| *own != size);
        }
    }
    let has_body = |route: &&Route| {
        !matches!(route.action, Action::Redirect(..) | Action::Respond { body: None, .. })
    };
    let mut compressions = draft.routes.iter().filter(has_body).map(|route| &route.compression);
    if let Some(Some(Some(common))) = compressions.next().cloned()
        && compressions.all(|other| *other == Some(Some(common.clone())))
    {
        draft.compression = Some(common);
        for route in &mut draft.routes {
            route.compression = None;
        }
    }
}
