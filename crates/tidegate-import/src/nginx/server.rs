//! `server` blocks: their listeners, and the hosts of their routes. It does not know how a `location` is converted.

use super::listen::{self, ListenDirective};

use super::scope::BlockScope;
use super::tree::Directive;
use super::{Importer, answer};
use crate::draft::{Listener, Tls};
use crate::note::SourcePosition;
use crate::sites::{self, Site};

/// A parsed server block.
struct ServerBlock<'d> {
    directive: &'d Directive,
    scope: BlockScope<'d>,
    hosts: Vec<String>,
    listens: Vec<ListenDirective>,
    tls: Tls,
    /// The port of the server's HTTPS redirect, and its line.
    https_redirect_port: Option<(u16, SourcePosition)>,
}

impl Importer<'_> {
    pub(super) fn servers(&mut self, servers: &[&Directive], scope: &BlockScope<'_>) {
        let read: Vec<_> = servers.iter().map(|server| self.server(server, scope)).collect();
        self.listeners(&read);
        let first_tls = read.iter().any(|server| server.listens.iter().any(|it| it.tls));
        let mut found: Vec<Site> = Vec::new();
        for server in &read {
            // If everything is redirected, the listener does it.
            let by_listener = server.https_redirect_port.is_some()
                && server.listens.iter().all(|it| self.redirects(&it.address));
            if by_listener || server.listens.is_empty() {
                continue;
            }
            if let Some((_, position)) = server.https_redirect_port.as_ref().filter(|_| first_tls) {
                let text = "the redirect to HTTPS: a route applies at every listener, so it would also redirect HTTPS requests; use `listeners[].redirect_to_https` instead, for all hosts of a listener";
                self.notes.left_out(position, text);
                continue;
            }
            let is_default = self.is_default(server, &read);
            let mut ports: Vec<u16> = server.listens.iter().map(|it| it.port).collect();
            ports.dedup();
            let port = ports.first().copied().filter(|_| ports.len() == 1);
            let routes = self.routes(server.directive, &server.scope, port);
            let hosts = if is_default { Vec::new() } else { server.hosts.clone() };
            if hosts.is_empty() && found.iter().any(|site| site.hosts.is_empty()) {
                let text = "this server differs from another only by its address; a Tidegate route \
                    applies at every listener, so no request would reach it";
                self.notes.left_out(&server.directive.position, text);
                continue;
            }
            found.push(Site { position: server.directive.position.clone(), hosts, routes });
        }
        self.note_listener_differences(&read);
        sites::add_routes(&mut self.draft, found, self.notes);
    }

    fn server<'d>(&mut self, directive: &'d Directive, scope: &BlockScope<'d>) -> ServerBlock<'d> {
        let scope = scope.inherit(directive.block.as_deref().unwrap_or_default());
        let hosts = listen::hosts(directive, self.notes);
        let listens = listen::listen_addresses(directive, &scope, self.notes);
        let http2 = listens.iter().any(|it| it.http2);
        let tls = match listens.iter().any(|it| it.tls) {
            true => listen::tls(&scope, http2, self.notes),
            false => Tls::default(),
        };
        let https_redirect_port = match listens.iter().any(|it| it.tls) {
            true => None,
            false => https_redirect_port(directive, &scope, &hosts),
        };
        ServerBlock { directive, scope, hosts, listens, tls, https_redirect_port }
    }

    /// One listener for each address, from all servers of that address.
    fn listeners(&mut self, servers: &[ServerBlock<'_>]) {
        let all =
            servers.iter().flat_map(|server| server.listens.iter().map(move |it| (server, it)));
        let all: Vec<_> = all.collect();
        let mut addresses: Vec<&str> = Vec::new();
        for (_, listen) in &all {
            if !addresses.contains(&listen.address.as_str()) {
                addresses.push(&listen.address);
            }
        }
        for address in &addresses {
            let here: Vec<_> = all.iter().filter(|(_, it)| it.address == *address).collect();
            let Some((_, first)) = here.first() else { continue };
            // A socket on `[::]` takes IPv4 too, as Linux opens it.
            let wide = format!("[::]:{}", first.port);
            if address.starts_with("0.0.0.0:") && addresses.contains(&wide.as_str()) {
                continue;
            }
            let mut comment = Vec::new();
            if *address == wide {
                comment.push("This address also accepts IPv4.".to_owned());
            }
            let redirects: Vec<_> =
                here.iter().filter_map(|(server, _)| server.https_redirect_port.as_ref()).collect();
            let all_redirect = redirects.len() == here.len();
            for (_, position) in redirects.iter().filter(|_| all_redirect) {
                let text = "the listener redirects with 308, which keeps the method, to the host of the \
                    request";
                self.notes.changed(position, text);
            }
            let tls = here.iter().any(|(_, it)| it.tls).then(|| {
                let mut tls = Tls { h1_only: true, ..Tls::default() };
                for (server, _) in &here {
                    for pair in &server.tls.certificates {
                        if !tls.certificates.contains(pair) {
                            tls.certificates.push(pair.clone());
                        }
                    }
                    tls.min_version = tls.min_version.or(server.tls.min_version);
                }
                tls.h1_only = !here.iter().any(|(_, it)| it.http2);
                tls
            });
            self.draft.listeners.push(Listener {
                comment,
                address: (*address).into(),
                tls,
                redirect_to: redirects.first().filter(|_| all_redirect).map(|(port, _)| *port),
            });
        }
    }

    /// Whether the listener of this address redirects every request.
    fn redirects(&self, address: &str) -> bool {
        let port = address.rsplit_once(':').map_or("", |(_, port)| port);
        let wide = format!("[::]:{port}");
        self.draft.listeners.iter().any(|listener| {
            let own = listener.address.as_str();
            listener.redirect_to.is_some() && (own == address || own == wide)
        })
    }

    /// Whether the server is the default for unknown hosts.
    fn is_default(&self, server: &ServerBlock<'_>, servers: &[ServerBlock<'_>]) -> bool {
        let is_chosen = |it: &ListenDirective| {
            let mut others = servers
                .iter()
                .filter(|other| other.listens.iter().any(|listen| listen.address == it.address));
            let named = servers.iter().find(|other| {
                other.listens.iter().any(|listen| listen.address == it.address && listen.is_default)
            });
            named.or(others.next()).is_some_and(|chosen| std::ptr::eq(chosen, server))
        };
        let serving = |it: &&ListenDirective| !self.redirects(&it.address);
        server.listens.iter().filter(serving).any(is_chosen)
    }

    fn note_listener_differences(&mut self, servers: &[ServerBlock<'_>]) {
        let serving = servers.iter().filter(|server| server.https_redirect_port.is_none());
        let addresses = |server: &ServerBlock<'_>| {
            let mut all: Vec<_> = server.listens.iter().map(|it| it.address.clone()).collect();
            all.sort();
            all
        };
        let mut serving = serving.map(|server| (server, addresses(server)));
        let Some((_, first)) = serving.next() else { return };
        for (server, _) in serving.filter(|(_, other)| *other != first) {
            let text = "the `listen` of this server differs from that of another; in Tidegate every \
                route applies at all listeners, and only hosts distinguish them";
            self.notes.changed(&server.directive.position, text);
        }
    }
}

/// The port of a server that only redirects to HTTPS, also in the form that certbot writes.
fn https_redirect_port(
    server: &Directive,
    scope: &BlockScope<'_>,
    hosts: &[String],
) -> Option<(u16, SourcePosition)> {
    let mut unsaid = crate::note::Notes::default();
    let whole =
        scope.own_directives().iter().find(|it| matches!(it.name.as_str(), "return" | "rewrite"));
    let locations: Vec<_> = server.children("location").collect();
    let conditions: Vec<_> = server.children("if").collect();
    let blocks = conditions.iter().chain(&locations);
    let found = blocks.filter_map(|block| {
        let inner = scope.inherit(block.block.as_deref().unwrap_or_default());
        let port =
            answer::https_redirect_port(&answer::fixed_response(&inner, &mut unsaid)?, hosts)?;
        Some((port, block.position.clone()))
    });
    let mut found: Vec<_> = found.collect();
    if let Some(directive) = whole {
        let own = answer::fixed_response(scope, &mut unsaid)
            .and_then(|it| answer::https_redirect_port(&it, hosts));
        if let Some(port) = own {
            return Some((port, directive.position.clone()));
        }
        // certbot's form: conditional redirects, and `return 404` for other hosts.
        let is_certbot =
            !conditions.is_empty() && found.len() == conditions.len() + locations.len();
        return found.pop().filter(|_| is_certbot);
    }
    let is_alone = locations.len() == 1 && found.len() == 1 && conditions.is_empty();
    let is_root = locations.iter().all(|it| it.argument(0) == Some("/"));
    found.pop().filter(|_| is_alone && is_root)
}
