//! `proxy_pass` and its directives as a route's upstream, rewrite and timeouts. It does not know how routes are matched.

use super::access::respond;
use super::scope::BlockScope;
use super::tree::Directive;
use super::{Importer, headers, upstream, values};
use crate::draft::{Action, PathRule, Retry, Route};
use crate::note::Notes;

/// The kind of a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocationKind {
    Exact,
    Prefix,
    Regex,
}

/// The argument of `proxy_pass`.
pub(super) struct ProxyPass<'u> {
    pub(super) tls: bool,
    pub(super) h2c: bool,
    pub(super) authority: &'u str,
    /// The replacement of the location in the path.
    pub(super) uri: Option<&'u str>,
}

impl<'u> ProxyPass<'u> {
    pub(super) fn parse(written: &'u str) -> Option<Self> {
        let (scheme, rest) = written.split_once("://")?;
        let (tls, h2c) = match scheme {
            "http" => (false, false),
            "https" => (true, false),
            "grpc" => (false, true),
            _ => return None,
        };
        // `unix:/run/app.sock:/uri`, where a second colon ends the socket's path.
        let socket = rest.strip_prefix("unix:").map(|path| path.find(':').map(|at| at + 5));
        let (authority, uri) = match socket.unwrap_or_else(|| rest.find('/')) {
            Some(at) => rest.split_at_checked(at).map(|(host, uri)| (host, Some(uri)))?,
            None => (rest, None),
        };
        let uri = uri.map(|uri| uri.trim_start_matches(':')).filter(|uri| !uri.is_empty());
        let is_sound = !authority.is_empty() && !written.contains(['$', '?', '#']);
        is_sound.then_some(Self { tls, h2c, authority, uri })
    }

    /// The value of `$proxy_host`.
    fn host(&self) -> &'u str {
        if self.authority.starts_with("unix:") { "localhost" } else { self.authority }
    }
}

impl Importer<'_> {
    /// Sets the upstream of the route, which `proxy_pass` names.
    pub(super) fn proxy(
        &mut self,
        route: &mut Route,
        pass: &Directive,
        scope: &BlockScope<'_>,
        location: (LocationKind, &str),
        port: Option<u16>,
    ) {
        let written = pass.argument(0).unwrap_or_default();
        let Some(target) = ProxyPass::parse(written) else {
            let text = format!(
                "`{written}`: the import supports only `http://` or `https://` with a host or the name \
                 of an `upstream`, without variables; requests for this location are answered with 501"
            );
            self.notes.left_out(&pass.position, text);
            route.action = respond(501);
            return;
        };
        let name = self.upstream_of(&target, scope, pass);
        route.action = Action::Upstream(name);
        headers::to_upstream(route, scope, target.host(), port, self.notes);
        if target.h2c {
            route.host = None;
        }
        if let Some(uri) = target.uri {
            replace(route, uri, location, pass, self.notes);
        } else {
            self.rewrite(route, scope);
        }
        self.times(route, scope);
        route.retry = retry(scope, self.notes);
        redirects(route, scope, &target, pass, self.notes);
    }

    fn upstream_of(
        &mut self,
        target: &ProxyPass<'_>,
        scope: &BlockScope<'_>,
        pass: &Directive,
    ) -> String {
        let port = if target.tls { 443 } else { 80 };
        let block = self.upstreams.iter().find(|it| it.argument(0) == Some(target.authority));
        let mut made = match block {
            Some(block) => upstream::upstream_from_block(block, port, self.notes),
            None => upstream::upstream_for(target.authority, port),
        };
        made.h2c = target.h2c;
        if target.tls {
            let named = scope.value("proxy_ssl_name").filter(|name| !name.contains('$'));
            let of_block = block.map(|_| target.authority);
            made.tls = Some(named.or(of_block).map(str::to_owned));
            if !scope.is_on("proxy_ssl_verify") {
                let text = "nginx accepts any certificate of this upstream, but Tidegate verifies it; \
                    set `ca`, `server_name` or `insecure_skip_verify` of `upstreams.NAME.tls`";
                self.notes.changed(&pass.position, text);
            }
        }
        self.draft.upstream(made)
    }

    /// Converts `rewrite ^/old/(.*)$ /new/$1 break`, which replaces a prefix.
    fn rewrite(&mut self, route: &mut Route, scope: &BlockScope<'_>) {
        for rewrite in scope.own_directives().iter().filter(|directive| directive.name == "rewrite")
        {
            let replaced = match (rewrite.argument(0), rewrite.argument(1), rewrite.argument(2)) {
                (Some(pattern), Some(to), Some("break")) => prefix_rewrite(pattern, to),
                _ => None,
            };
            match (&route.path, replaced) {
                (PathRule::Prefix(prefix), Some((old, new)))
                    if PathRule::prefix(old) == PathRule::Prefix(prefix.clone()) =>
                {
                    route.prefix = Some(new.to_owned());
                }
                _ => {
                    let text = format!(
                        "`{}`: Tidegate can only replace the prefix of a path (`rewrite.prefix`)",
                        rewrite.display()
                    );
                    self.notes.left_out(&rewrite.position, text);
                }
            }
        }
    }

    fn times(&mut self, route: &mut Route, scope: &BlockScope<'_>) {
        let timeouts = &mut route.timeouts;
        for (name, time) in [
            ("proxy_connect_timeout", &mut timeouts.connect),
            ("proxy_read_timeout", &mut timeouts.read),
            ("proxy_send_timeout", &mut timeouts.write),
        ] {
            let Some(directive) = scope.last(name) else { continue };
            *time = directive.argument(0).and_then(values::translate_duration);
            if time.is_none() {
                let text = format!("`{}` is not a valid time", directive.display());
                self.notes.left_out(&directive.position, text);
            }
        }
    }
}

/// The old prefix and the new one.
fn prefix_rewrite<'d>(pattern: &'d str, to: &'d str) -> Option<(&'d str, &'d str)> {
    let old = ["/(.*)$", "/(.*)", "/?(.*)$", "/?(.*)"]
        .iter()
        .find_map(|end| pattern.strip_prefix('^')?.strip_suffix(end))?;
    let new = to.strip_suffix("$1")?;
    let is_plain = |path: &str| {
        path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte))
    };
    (is_plain(old) && is_plain(new) && new.ends_with('/')).then_some((old, new))
}

/// Converts `proxy_pass` with a URI. It replaces the location: as text in nginx, as a prefix of segments in Tidegate.
fn replace(
    route: &mut Route,
    uri: &str,
    (mode, location): (LocationKind, &str),
    pass: &Directive,
    notes: &mut Notes,
) {
    match mode {
        LocationKind::Exact if uri == location => {}
        LocationKind::Exact => {
            // Tidegate can only replace a prefix, so the route also takes the paths below.
            route.path = PathRule::prefix(location);
            route.prefix = Some(uri.to_owned());
            let text = format!(
                "the path becomes `{uri}`. Tidegate rewrites only path prefixes, so the route also \
                 matches paths below `{location}`"
            );
            notes.changed(&pass.position, text);
        }
        LocationKind::Prefix => {
            let is_aligned = uri.ends_with('/') == location.ends_with('/');
            route.prefix = (uri != location).then(|| uri.to_owned());
            if !is_aligned {
                let (theirs, ours) =
                    (format!("{uri}x"), format!("{}/x", uri.trim_end_matches('/')));
                let (from, theirs) = match location.ends_with('/') {
                    true => (format!("{location}x"), theirs),
                    false => (format!("{location}/x"), format!("{uri}/x")),
                };
                let text = format!(
                    "only one of `{location}` and `{uri}` ends with a slash: nginx joins them as text, \
                     so that `{from}` becomes `{theirs}`; in Tidegate it becomes `{ours}`"
                );
                notes.changed(&pass.position, text);
            }
        }
        LocationKind::Regex => {}
    }
}

fn retry(scope: &BlockScope<'_>, notes: &mut Notes) -> Option<Retry> {
    let directive = scope.last("proxy_next_upstream")?;
    let mut on = Vec::new();
    for condition in &directive.arguments {
        match condition.as_str() {
            "off" => return Some(Retry::Off),
            "error" => on.extend(["connect_failure", "reset"]),
            "timeout" => on.push("timeout"),
            "http_502" => on.push("\"502\""),
            "http_503" => on.push("\"503\""),
            "http_504" => on.push("\"504\""),
            "http_429" => on.push("\"429\""),
            other => {
                notes.left_out(
                    &directive.position,
                    format!("`{other}`: Tidegate does not retry after it"),
                );
            }
        }
    }
    let attempts = scope.value("proxy_next_upstream_tries").and_then(|tries| tries.parse().ok());
    Some(Retry::On { on, attempts: attempts.filter(|attempts| *attempts > 0) })
}

/// Notes that nginx replaces the upstream's address in `Location` by its own.
fn redirects(
    route: &Route,
    scope: &BlockScope<'_>,
    target: &ProxyPass<'_>,
    pass: &Directive,
    notes: &mut Notes,
) {
    match scope.last("proxy_redirect") {
        Some(directive) if directive.argument(0) == Some("off") => {}
        Some(directive) if directive.argument(0) != Some("default") => {
            let text =
                format!("`{}`: Tidegate passes `Location` on unchanged", directive.display());
            notes.left_out(&directive.position, text);
        }
        // The upstream gets the client's own host, so its `Location` needs no change.
        _ if route.host.is_none() && route.prefix.is_none() => {}
        _ => {
            let text = format!(
                "nginx rewrites a `Location` that begins with `http://{}`; Tidegate passes it on unchanged",
                target.host()
            );
            notes.changed(&pass.position, text);
        }
    }
}
