//! Services as upstreams. It does not know routers.

use super::Importer;
use super::tree::{Entry, Node};
use crate::draft::{Action, Balance, Endpoint, Route, Upstream};

impl Importer<'_> {
    /// Sets the upstream of the route to a service.
    pub(super) fn set_upstream(&mut self, route: &mut Route, service: &str, line: usize) {
        let name = service.trim_end_matches("@file");
        let found = self.http.get("services").and_then(|it| it.get(name)).cloned();
        let Some(found) = found else {
            let text =
                format!("the service `{service}` is not in this file; what it took answers 501");
            self.left_out(line, text);
            route.action = Action::Respond { status: 501, body: None, content_type: None };
            return;
        };
        let Some(balancer) = found.get("loadBalancer") else {
            let kind = found.entries().first().map_or("it", |entry| entry.key.as_str());
            let hint = match kind {
                "weighted" => "see `routes[].split`",
                "mirroring" => "see `routes[].mirror`",
                "failover" => "see `backup` of an endpoint",
                _ => "it is not known to the import",
            };
            self.left_out(
                found.line,
                format!("`{kind}` of `{name}`: {hint}; what it took answers 501"),
            );
            route.action = Action::Respond { status: 501, body: None, content_type: None };
            return;
        };
        let upstream = self.upstream(name, balancer);
        if upstream.endpoints.is_empty() {
            self.left_out(found.line, format!("`{name}` has no servers; what it took answers 503"));
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
                "servers" => self.servers(&mut upstream, entry),
                "healthCheck" => {
                    upstream.health = entry.value.text_at("path").map(str::to_owned);
                    for field in entry.value.entries() {
                        if !matches!(field.key.as_str(), "path" | "followRedirects") {
                            let text = format!(
                                "`{}` of the check: see `upstreams.NAME.health`",
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
                        let text = "the cookie names other values than Traefik's: clients change their \
                                    servers once";
                        self.changed(entry.line, text);
                    }
                    None => self.left_out(entry.line, "`sticky`: see `balance.sticky_cookie`"),
                },
                "strategy" => match entry.value.text() {
                    Some("wrr") => {}
                    Some("p2c" | "leasttime") => upstream.balance = Some(Balance::LeastRequests),
                    _ => self.left_out(entry.line, "`strategy`: see `upstreams.NAME.balance`"),
                },
                "passHostHeader" => {}
                "serversTransport" => {
                    self.left_out(
                        entry.line,
                        "`serversTransport`: see `upstreams.NAME.tls` and `timeouts`",
                    );
                }
                "responseForwarding" => {}
                other => self.left_out(entry.line, format!("`{other}` is not known to the import")),
            }
        }
        upstream
    }

    fn servers(&mut self, upstream: &mut Upstream, servers: &Entry) {
        let mut spoken = None;
        for server in servers.value.items() {
            let Some(url) = server.text_at("url") else {
                self.left_out(server.line, "a server without `url`");
                continue;
            };
            let schemes = [("http://", 80, false), ("https://", 443, true), ("h2c://", 80, false)];
            let found = schemes.iter().find_map(|(scheme, port, tls)| {
                Some((url.strip_prefix(scheme)?, *scheme, *port, *tls))
            });
            let Some((rest, scheme, port, tls)) = found else {
                self.left_out(server.line, format!("`{url}` is no URL of HTTP"));
                continue;
            };
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !path.is_empty() {
                self.changed(
                    server.line,
                    format!("`/{path}` of the URL is ignored, by Traefik too"),
                );
            }
            let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
            let address = match behind.contains(':') {
                true => authority.to_owned(),
                false => format!("{authority}:{port}"),
            };
            if *spoken.get_or_insert(scheme) != scheme {
                let text = "its scheme differs from another server's; here an upstream has one";
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
