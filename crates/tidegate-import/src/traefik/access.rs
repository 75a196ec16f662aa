//! Middlewares that control access, as far as they mean the same in Tidegate. It does not know how routes are matched.

use super::Importer;
use super::tree::Node;
use crate::draft::{Clients, Route, Scheme};
use crate::passwords;

impl Importer<'_> {
    /// Sets what a middleware requires, or says why it cannot: the route must then be closed.
    pub(super) fn guard(
        &mut self,
        route: &mut Route,
        kind: &str,
        node: &Node,
        line: usize,
    ) -> Result<(), String> {
        match kind {
            "basicAuth" => {
                let scheme = self.basic_auth(node)?;
                self.require(route, scheme)
            }
            "forwardAuth" => {
                if route.prefix.is_some() {
                    return Err("it sees the path that another middleware has changed".to_owned());
                }
                let scheme = self.forward_auth(node, line)?;
                self.require(route, scheme)
            }
            "ipAllowList" | "ipWhiteList" => {
                only(node, &["sourceRange", "rejectStatusCode"])?;
                let allow = node.texts_at("sourceRange");
                if allow.is_empty() || route.clients.is_some() {
                    return Err("it has no `sourceRange`, or is not the only one".to_owned());
                }
                if node.text_at("rejectStatusCode").is_some_and(|status| status != "403") {
                    self.changed(line, "`rejectStatusCode`: Tidegate answers 403");
                }
                route.clients = Some(Clients { allow, deny: Vec::new() });
                Ok(())
            }
            _ => Err(String::new()),
        }
    }

    fn require(&mut self, route: &mut Route, scheme: Scheme) -> Result<(), String> {
        if route.require.is_some() {
            return Err("another middleware would have to admit the request too".to_owned());
        }
        route.require = Some(self.draft.scheme(scheme));
        Ok(())
    }

    fn basic_auth(&self, node: &Node) -> Result<Scheme, String> {
        only(node, &["users", "usersFile", "realm", "removeHeader"])?;
        if !node.texts_at("users").is_empty() || node.text_at("users").is_some() {
            return Err("put its `users` into a file of `basic.file`".to_owned());
        }
        let file = node.text_at("usersFile").ok_or("it has no `usersFile`")?;
        let folder = self.path.parent().unwrap_or(std::path::Path::new(""));
        if let Some(reason) = passwords::reason_against(&folder.join(file)) {
            return Err(reason);
        }
        Ok(Scheme::Basic {
            file: file.to_owned(),
            realm: node.text_at("realm").unwrap_or("traefik").to_owned(),
            forward: !node.is_true("removeHeader"),
        })
    }

    fn forward_auth(&mut self, node: &Node, line: usize) -> Result<Scheme, String> {
        only(
            node,
            &["address", "authResponseHeaders", "authRequestHeaders", "trustForwardHeader", "tls"],
        )?;
        let url = node.text_at("address").unwrap_or_default();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err("its `address` is no URL of HTTP".to_owned());
        }
        let ca = match node.get("tls") {
            None => None,
            Some(tls) => {
                only(tls, &["ca"])?;
                tls.text_at("ca").map(str::to_owned)
            }
        };
        if node.is_true("trustForwardHeader") {
            let text = "`trustForwardHeader`: Tidegate believes `X-Forwarded-*` only of clients in \
                `trusted_proxies`";
            self.changed(line, text);
        }
        let send = node.texts_at("authRequestHeaders");
        if send.is_empty() {
            let text = "`forwardAuth`: the service gets the headers `authorization` and `cookie`, where Traefik \
                sends all; see `send`";
            self.changed(line, text);
        }
        Ok(Scheme::Forward {
            url: url.to_owned(),
            send: (!send.is_empty()).then_some(send),
            take: node.texts_at("authResponseHeaders"),
            timeout: "30s".to_owned(),
            ca,
        })
    }
}

/// Whether a middleware has these keys alone; others may change what it means.
fn only(node: &Node, known: &[&str]) -> Result<(), String> {
    let is_known = |key: &str| known.iter().any(|known| known.eq_ignore_ascii_case(key));
    match node.entries().iter().find(|entry| !is_known(&entry.key)) {
        Some(entry) => Err(format!("it has `{}`", entry.key)),
        None => Ok(()),
    }
}
