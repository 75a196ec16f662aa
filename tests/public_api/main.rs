//! The library's public API names types of few other packages: those that docs/library.md lists, with their versions.
//! The API is read from the sources: what `src/lib.rs` makes public, and the signatures of that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod crates;
mod signatures;

use crates::Crates;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A row of the table: a package that the API names.
struct Row {
    version: String,
    types: BTreeSet<String>,
}

/// The rows `| package | version | types | … |` of the page.
fn rows(page: &str) -> BTreeMap<String, Row> {
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &["", package, version, types, _, ""] = &*cells else { continue };
        if let ([package], [version]) = (&*quoted(package), &*quoted(version)) {
            let types = quoted(types).into_iter().collect();
            rows.insert(package.clone(), Row { version: version.clone(), types });
        }
    }
    assert!(!rows.is_empty(), "docs/library.md has no table of packages");
    rows
}

#[test]
fn public_signatures_name_only_types_that_the_table_lists() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(base.join("docs/library.md")).expect("the page");
    let listed = rows(&page);
    let found = signatures::of_public_items(&Crates::read(base));
    let mut foreign: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in found.foreign {
        let package = path.split("::").next().unwrap_or_default().to_owned();
        foreign
            .entry(package.clone())
            .or_default()
            .extend(path.strip_prefix(&format!("{package}::")).map(str::to_owned));
    }
    let mut faults = Vec::new();
    for (package, types) in &foreign {
        match listed.get(package) {
            None => faults.push(format!("{package} is not listed: {types:?}")),
            Some(row) => {
                let new =
                    types.difference(&row.types).map(|it| format!("{package}::{it} is not listed"));
                faults.extend(new);
            }
        }
    }
    for (package, row) in &listed {
        let types = foreign.get(package).cloned().unwrap_or_default();
        let gone = row.types.difference(&types);
        faults.extend(gone.map(|it| format!("{package}::{it} is listed, and not in the API")));
    }
    assert!(faults.is_empty(), "docs/library.md differs from the API:\n{}", faults.join("\n"));
}

#[test]
fn own_types_in_public_signatures_have_a_public_path() {
    let found = signatures::of_public_items(&Crates::read(Path::new(env!("CARGO_MANIFEST_DIR"))));
    assert_eq!(found.hidden, BTreeSet::new());
}

#[test]
fn listed_versions_are_those_of_the_manifest() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(base.join("docs/library.md")).expect("the page");
    let manifest = std::fs::read_to_string(base.join("Cargo.toml")).expect("the manifest");
    for (package, row) in rows(&page) {
        let name = package.replace('_', "-");
        let requirement = manifest.lines().find_map(|line| {
            let (key, value) = line.split_once(" = ")?;
            (key == name || key == package).then_some(value)
        });
        let requirement = requirement.unwrap_or_else(|| panic!("{package} is in Cargo.toml"));
        let version = format!("\"{}\"", row.version);
        assert!(requirement.contains(&version), "{package} = {requirement}, not {version}");
    }
}
