//! Entry points as listeners; their addresses are in the static configuration, which may be another file. It does not
//! know routers.

use super::Importer;
use super::routers::Router;
use super::tree::Node;
use crate::draft::{Listener, Tls};

impl Importer<'_> {
    pub(super) fn listeners(&mut self, root: &Node, routers: &[Router]) {
        let mut names: Vec<&str> = Vec::new();
        for router in routers {
            for name in &router.entry_points {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        // A router without entry points belongs to all of them.
        let defined = root.get("entryPoints").map(Node::entries).unwrap_or_default();
        names.extend(defined.iter().map(|it| it.key.as_str()).filter(|it| *it != "traefik"));
        names.dedup();
        if names.is_empty() {
            names.push("web");
            if routers.iter().any(|router| router.tls) {
                names.push("websecure");
            }
        }
        let mut seen = Vec::new();
        for name in names {
            if !seen.contains(&name) {
                seen.push(name);
                self.listener(name, root, routers);
            }
        }
        self.note_differing_entry_points(routers);
    }

    fn listener(&mut self, name: &str, root: &Node, routers: &[Router]) {
        let defined = root.get_path(&["entryPoints", name]);
        let written = defined.and_then(|it| it.text_at("address"));
        let port = if name == "websecure" { 443 } else { 80 };
        let port = if matches!(name, "web" | "websecure") { port } else { 8080 };
        let written = written.map(|it| it.trim_end_matches("/tcp").to_owned());
        let address = match &written {
            Some(address) if address.starts_with(':') => format!("0.0.0.0{address}"),
            Some(address) => address.clone(),
            None => {
                let line = routers.iter().find(|it| it.entry_points.iter().any(|it| it == name));
                let text = format!(
                    "the address of the entry point `{name}` is in Traefik's static configuration; the \
                     listener uses port {port}"
                );
                self.changed(line.map_or(1, |it| it.line), text);
                format!("0.0.0.0:{port}")
            }
        };
        let here = |router: &&Router| {
            router.entry_points.is_empty() || router.entry_points.iter().any(|it| it == name)
        };
        let here: Vec<&Router> = routers.iter().filter(here).collect();
        let tls = defined.is_some_and(|it| it.get_path(&["http", "tls"]).is_some())
            || here.iter().any(|router| router.tls && !router.entry_points.is_empty())
            || name == "websecure";
        let redirection =
            defined.and_then(|it| it.get_path(&["http", "redirections", "entryPoint"]));
        let whole = here
            .iter()
            .map(|router| router.https_redirect_port())
            .reduce(|one, other| one.and(other));
        let redirect_to = match (redirection, whole.flatten()) {
            (Some(_), _) => Some(443),
            (None, port) => {
                port.filter(|_| !tls && here.iter().all(|it| !it.entry_points.is_empty()))
            }
        };
        let pairs = root.get_path(&["tls", "certificates"]).map(Node::items).unwrap_or_default();
        let file = |node: &Node, key| node.text_at(key).map(str::to_owned);
        let pairs = pairs.iter().filter_map(|it| file(it, "certFile").zip(file(it, "keyFile")));
        let version =
            root.get_path(&["tls", "options", "default"]).and_then(|it| it.text_at("minVersion"));
        let tls = tls.then(|| Tls {
            certificates: pairs.collect(),
            min_version: (version == Some("VersionTLS13")).then_some("1.3"),
            h1_only: false,
        });
        self.draft.listeners.push(Listener {
            comment: Vec::new(),
            address: address.into(),
            tls,
            redirect_to,
        });
    }

    fn note_differing_entry_points(&mut self, routers: &[Router]) {
        let mut serving = routers.iter().filter(|router| router.https_redirect_port().is_none());
        let Some(first) = serving.next() else { return };
        let differs = serving.find(|router| router.entry_points != first.entry_points);
        if let Some(line) = differs.map(|router| router.line) {
            let text = "the `entryPoints` of this router differ from those of another; in Tidegate \
                every route applies at all listeners";
            self.changed(line, text);
        }
    }
}
