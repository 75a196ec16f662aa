//! Traefik's file provider: routers, services and middlewares, in YAML or TOML.

mod conditions;
mod entry_points;
mod middlewares;
mod order;
mod routers;
mod rule;
mod services;
mod tree;

use super::draft::Draft;
use super::note::{Notes, Place};
use super::{Unreadable, text_of};
use std::path::Path;
use tree::Node;

/// An import under way.
struct Importer<'i> {
    draft: Draft,
    notes: &'i mut Notes,
    path: &'i Path,
    /// `http`.
    http: &'i Node,
}

impl Importer<'_> {
    fn place(&self, line: usize) -> Place {
        Place { file: self.path.to_owned(), line }
    }

    fn left(&mut self, line: usize, text: impl Into<String>) {
        self.notes.left(&self.place(line), text);
    }

    fn changed(&mut self, line: usize, text: impl Into<String>) {
        self.notes.changed(&self.place(line), text);
    }
}

/// Reads a file of the file provider; what stands in it of the static configuration is read too.
pub(crate) fn import(path: &Path, notes: &mut Notes) -> Result<Draft, Unreadable> {
    let text = text_of(path)?;
    let root = tree::read(path, &text)?;
    let Some(http) = root.get("http") else {
        return Err(Unreadable::new(path, 1, "there is no `http` in it"));
    };
    let mut importer = Importer { draft: Draft::default(), notes, path, http };
    importer.review(&root);
    let routers = importer.routers();
    importer.listeners(&root, &routers);
    importer.arrange(routers);
    Ok(importer.draft)
}

impl Importer<'_> {
    /// Names what nothing reads.
    fn review(&mut self, root: &Node) {
        for entry in root.entries() {
            let hint = match entry.key.as_str() {
                "http" | "tls" | "entryPoints" | "providers" | "global" | "log" => continue,
                "tcp" | "udp" => "Tidegate speaks HTTP and WebSocket alone",
                "certificatesResolvers" => "see `listeners[].tls.acme`",
                "api" | "ping" | "metrics" => "see `admin`",
                "accessLog" => "see `access_log`",
                _ => "it is not known to the import",
            };
            self.left(entry.line, format!("`{}`: {hint}", entry.key));
        }
        for entry in self.http.entries() {
            let hint = match entry.key.as_str() {
                "routers" | "services" | "middlewares" => continue,
                "serversTransports" => "see `upstreams.NAME.tls` and `timeouts`",
                _ => "it is not known to the import",
            };
            self.left(entry.line, format!("`{}`: {hint}", entry.key));
        }
    }
}
