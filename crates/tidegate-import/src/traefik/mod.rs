//! Imports Traefik's file provider: routers, services and middlewares, in YAML or TOML. It does not know other source
//! formats.

mod access;
mod conditions;
mod entry_points;
mod middlewares;
mod order;
mod routers;
mod rule;
mod services;
mod tree;

use super::draft::Draft;
use super::note::{Notes, SourcePosition};
use super::{ImportError, read_text};
use std::path::Path;
use tree::Node;

/// The state of an import.
struct Importer<'i> {
    draft: Draft,
    notes: &'i mut Notes,
    path: &'i Path,
    /// `http`.
    http: &'i Node,
}

impl Importer<'_> {
    fn position(&self, line: usize) -> SourcePosition {
        SourcePosition { file: self.path.to_owned(), line }
    }

    fn left_out(&mut self, line: usize, text: impl Into<String>) {
        self.notes.left_out(&self.position(line), text);
    }

    fn changed(&mut self, line: usize, text: impl Into<String>) {
        self.notes.changed(&self.position(line), text);
    }
}

/// Imports a file of the file provider, including any static configuration in it.
pub(crate) fn import(path: &Path, notes: &mut Notes) -> Result<Draft, ImportError> {
    let text = read_text(path)?;
    let root = tree::read(path, &text)?;
    let Some(http) = root.get("http") else {
        return Err(ImportError::new(path, 1, "the file has no `http` section"));
    };
    let mut importer = Importer { draft: Draft::default(), notes, path, http };
    importer.review(&root);
    let routers = importer.routers();
    importer.listeners(&root, &routers);
    importer.arrange_by_priority(routers);
    Ok(importer.draft)
}

impl Importer<'_> {
    /// Notes keys that the import does not read.
    fn review(&mut self, root: &Node) {
        for entry in root.entries() {
            let hint = match entry.key.as_str() {
                "http" | "tls" | "entryPoints" | "providers" | "global" | "log" => continue,
                "tcp" | "udp" => "Tidegate supports only HTTP and WebSocket",
                "certificatesResolvers" => "use `listeners[].tls.acme` instead",
                "api" | "ping" | "metrics" => "use `admin` instead",
                "accessLog" => "use `access_log` instead",
                _ => "the import does not support it",
            };
            self.left_out(entry.line, format!("`{}`: {hint}", entry.key));
        }
        for entry in self.http.entries() {
            let hint = match entry.key.as_str() {
                "routers" | "services" | "middlewares" => continue,
                "serversTransports" => "use `upstreams.NAME.tls` and `timeouts` instead",
                _ => "the import does not support it",
            };
            self.left_out(entry.line, format!("`{}`: {hint}", entry.key));
        }
    }
}
