//! Services as upstreams. It does not know routers.

use super::Importer;
use super::tree::{MapEntry, Node};
use crate::draft::{Action, Balance, Endpoint, Route, Upstream};

impl Importer<'_> {
    /// Sets the upstream of the route to a service.
    pub(super) fn set_upstream(&mut self, route: &mut Route, service: &str, line: usize) {
        let name = service.trim_end_matches("@file");
        let found = self.http.get("services").and_then(|it| it.get(name)).cloned();
        let Some(found) = found else {
            let text = format!(
                "the service `{service}` is not defined in this file; its requests are answered \
                    with 501"
            );
            self.left_out(line, text);
            route.action = Action::Respond { status: 501, body: None, content_type: None };
            return;
        };
        let Some(balancer) = found.get("loadBalancer") else {
            let kind = found.entries().first().map_or("it", |entry| entry.key.as_str());
            let hint = match kind {
                "weighted" => "use `routes[].split` instead",
                "mirroring" => "use `routes[].mirror` instead",
                "failover" => "use `backup` of an endpoint instead",
                _ => "the import does not support it",
            };
            self.left_out(
                found.line,
                format!(
                    "`{kind}` of the service `{name}`: {hint}. Its requests are answered with 501"
                ),
            );
            route.action = Action::Respond { status: 501, body: None, content_type: None };
            return;
        };
        let upstream = self.upstream(name, balancer);
        if upstream.endpoints.is_empty() {
            self.left_out(
                found.line,
                format!(
                    "the service `{name}` has no servers; its requests are \
                     answered with 503"
                ),
            );
            route.action = Action::Respond { status: 503, body: None, content_type: None };
            return;
        }
        route.action = Action::Upstream(self.draft.upstream(upstream));
        if balancer.text_at("passHostHeader") == Some("false") {
            route.host = Some("upstream".to_owned());
        }
    }

    fn upstream(&mut self, name: &str, balancer: &Node) -> Upstream {
        let mut upstream = Upstream { name: name.to_owned(), ..Upstream::default() };
        for entry in balancer.entries() {
            match entry.key.as_str() {
                "servers" => self.add_servers(&mut upstream, entry),
                "healthCheck" => {
                    upstream.health = entry.value.text_at("path").map(str::to_owned);
                    for field in entry.value.entries() {
                        if !matches!(field.key.as_str(), "path" | "followRedirects") {
                            let text = format!(
                                "`{}` of the health check: use `upstreams.NAME.health` instead",
                                field.key
                            );
                            self.left_out(field.line, text);
                        }
                    }
                }
                "sticky" => match entry.value.get("cookie") {
                    Some(cookie) => {
                        let name = cookie.text_at("name").unwrap_or("tidegate_sticky");
                        upstream.balance = Some(Balance::StickyCookie(name.to_owned()));
                        let text = "the values of the sticky cookie differ from Traefik's, so each \
                            client may move to another server once";
                        self.changed(entry.line, text);
                    }
                    None => {
                        self.left_out(entry.line, "`sticky`: use `balance.sticky_cookie` instead")
                    }
                },
                "strategy" => match entry.value.text() {
                    Some("wrr") => {}
                    Some("p2c" | "leasttime") => upstream.balance = Some(Balance::LeastRequests),
                    _ => self
                        .left_out(entry.line, "`strategy`: use `upstreams.NAME.balance` instead"),
                },
                "passHostHeader" => {}
                "serversTransport" => {
                    self.left_out(
                        entry.line,
                        "`serversTransport`: use `upstreams.NAME.tls` and `timeouts` instead",
                    );
                }
                "responseForwarding" => {}
                other => {
                    self.left_out(entry.line, format!("the import does not support `{other}`"))
                }
            }
        }
        upstream
    }

    fn add_servers(&mut self, upstream: &mut Upstream, servers: &MapEntry) {
        let mut spoken = None;
        for server in servers.value.items() {
            let Some(url) = server.text_at("url") else {
                self.left_out(server.line, "a server of a service has no `url`");
                continue;
            };
            let schemes = [("http://", 80, false), ("https://", 443, true), ("h2c://", 80, false)];
            let found = schemes.iter().find_map(|(scheme, port, tls)| {
                Some((url.strip_prefix(scheme)?, *scheme, *port, *tls))
            });
            let Some((rest, scheme, port, tls)) = found else {
                self.left_out(server.line, format!("`{url}` is not an HTTP URL"));
                continue;
            };
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !path.is_empty() {
                self.changed(
                    server.line,
                    format!(
                        "the path `/{path}` of the server's URL is ignored, as Traefik ignores it"
                    ),
                );
            }
            let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
            let address = match behind.contains(':') {
                true => authority.to_owned(),
                false => format!("{authority}:{port}"),
            };
            if *spoken.get_or_insert(scheme) != scheme {
                let text = "the server's URL scheme differs from that of another server; all endpoints \
                    of an upstream use one protocol";
                self.left_out(server.line, text);
                continue;
            }
            upstream.h2c |= scheme == "h2c://";
            if tls {
                upstream.tls = Some(None);
            }
            let weight = server.text_at("weight").and_then(|it| it.parse().ok()).unwrap_or(1);
            upstream.endpoints.push(Endpoint { address: address.into(), weight, backup: false });
        }
    }
}
