//! Imports nginx configurations: `http`, `upstream`, `server` and `location` blocks. It does not know other source
//! formats.

mod access;
mod answer;
mod auth_request;
mod auth_request_set;
mod files;
mod headers;
mod known;
mod lexer;
mod listen;
mod location;
mod proxy;
mod rates;
mod scope;
mod server;
mod tree;
mod upstream;
mod values;

use super::ImportError;
use super::draft::Draft;
use super::note::Notes;
use scope::BlockScope;
use std::path::{Path, PathBuf};
use tree::Directive;

/// The state of an import.
struct Importer<'i> {
    draft: Draft,
    notes: &'i mut Notes,
    /// The `upstream` blocks.
    upstreams: Vec<&'i Directive>,
    /// The folder of relative paths.
    folder: PathBuf,
}

/// Reads `nginx.conf`, or a file of those that it includes.
pub(crate) fn import(path: &Path, notes: &mut Notes) -> Result<Draft, ImportError> {
    let tree = tree::read(path, notes)?;
    known::review(&tree, notes);
    let http = tree.iter().find(|directive| directive.name == "http");
    let outermost = http.and_then(|http| http.block.as_deref()).unwrap_or(&tree);
    let scope = BlockScope::outermost(outermost);
    let named = |name: &'static str| outermost.iter().filter(move |it| it.name == name);
    let mut importer = Importer {
        draft: Draft::default(),
        notes,
        upstreams: named("upstream").collect(),
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
    };
    for directive in scope.all("set_real_ip_from") {
        let network = directive.argument(0).unwrap_or_default();
        if network.starts_with("unix:")
            || network.parse::<std::net::IpAddr>().is_err() && !network.contains('/')
        {
            let text = format!("`{network}`: Tidegate trusts proxies by IP network only");
            importer.notes.left_out(&directive.position, text);
        } else {
            importer.draft.trusted_proxies.push(network.to_owned());
        }
    }
    let servers: Vec<_> = named("server").collect();
    if servers.is_empty() {
        return Err(ImportError::new(path, 1, "the file has no `server` block"));
    }
    importer.servers(&servers, &scope);
    Ok(importer.draft)
}
