//! The modules of the workspace's libraries, and what a path in one of them leads to.
//! It knows nothing of signatures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::{Attribute, Item, UseTree};

/// `tidegate::filter::Filter`, segment by segment, beginning with the crate.
pub(crate) type Segments = Vec<String>;

pub(crate) struct Module {
    pub(crate) items: Vec<Item>,
    /// Names that `use` brings in, with their paths as written.
    uses: BTreeMap<String, Segments>,
    globs: Vec<Segments>,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Module(Segments),
    /// An item of the workspace, by the module that declares it.
    Own(Segments),
    /// An item of another package, or the package.
    Foreign(Segments),
}

/// The libraries whose types the API may show.
pub(crate) struct Crates(pub(crate) BTreeMap<Segments, Module>);

const LIBRARIES: [(&str, &str); 3] = [
    ("tidegate", "src/lib.rs"),
    ("tidegate_config", "crates/tidegate-config/src/lib.rs"),
    ("tidegate_http", "crates/tidegate-http/src/lib.rs"),
];

/// Names that need no `use`.
const PRELUDE: [&str; 42] = [
    "AsRef",
    "Box",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "Drop",
    "Eq",
    "Err",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "FromIterator",
    "Future",
    "Hash",
    "Into",
    "IntoIterator",
    "Iterator",
    "None",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Result",
    "Send",
    "Some",
    "String",
    "Sync",
    "ToOwned",
    "ToString",
    "TryFrom",
    "TryInto",
    "Vec",
    "bool",
    "char",
    "str",
    "Sized",
    "Unpin",
    "AsyncFn",
];

const NUMBERS: [&str; 14] = [
    "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32",
    "f64",
];

impl Crates {
    pub(crate) fn read(base: &Path) -> Self {
        let mut crates = Self(BTreeMap::new());
        for (name, root) in LIBRARIES {
            crates.add_file(&base.join(root), vec![name.to_owned()], true);
        }
        crates
    }

    fn add_file(&mut self, file: &Path, path: Segments, is_folder: bool) {
        let source = std::fs::read_to_string(file).expect("a source file");
        let parsed = syn::parse_file(&source).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let folder = match is_folder {
            true => file.parent().expect("a folder").to_owned(),
            false => file.with_extension(""),
        };
        self.add(parsed.items, path, &folder);
    }

    fn add(&mut self, items: Vec<Item>, path: Segments, folder: &Path) {
        let mut module = Module { items: Vec::new(), uses: BTreeMap::new(), globs: Vec::new() };
        for item in items {
            if is_test(attributes(&item)) {
                continue;
            }
            match &item {
                Item::Use(it) => module.bring_in(&it.tree),
                Item::Mod(it) => {
                    let name = it.ident.to_string();
                    let path = [path.clone(), vec![name.clone()]].concat();
                    match &it.content {
                        Some((_, items)) => self.add(items.clone(), path, &folder.join(&name)),
                        None => {
                            let nested = folder.join(&name).join("mod.rs");
                            let is_nested = nested.is_file();
                            let flat: PathBuf = folder.join(format!("{name}.rs"));
                            self.add_file(if is_nested { &nested } else { &flat }, path, is_nested);
                        }
                    }
                }
                _ => {}
            }
            module.items.push(item);
        }
        self.0.insert(path, module);
    }

    /// What `path`, written in `module`, leads to.
    pub(crate) fn resolve(&self, module: &[String], path: &[String]) -> Target {
        self.try_resolve(module, path)
            .unwrap_or_else(|| panic!("{} in {} leads nowhere", path.join("::"), module.join("::")))
    }

    /// The same; `None` for what a macro declares.
    pub(crate) fn try_resolve(&self, module: &[String], path: &[String]) -> Option<Target> {
        self.find(module, path, 0)
    }

    fn find(&self, module: &[String], path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let here = &self.0[module];
        assert!(depth < 30, "{} in {}", path.join("::"), module.join("::"));
        match first.as_str() {
            "crate" => return self.walk(module[..1].to_vec(), rest, depth),
            "self" => return self.walk(module.to_vec(), rest, depth),
            "super" => return self.walk(module[..module.len() - 1].to_vec(), rest, depth),
            _ => {}
        }
        let child = [module.to_vec(), vec![first.clone()]].concat();
        let is_here = here.uses.contains_key(first)
            || self.is_declared(module, first)
            || self.0.contains_key(&child);
        let brings_itself = here.uses.get(first).is_some_and(|it| it[0] == *first);
        if is_here && !brings_itself {
            return self.walk(module.to_vec(), path, depth);
        }
        if self.0.contains_key(std::slice::from_ref(first)) {
            return self.walk(vec![first.clone()], rest, depth);
        }
        for glob in &here.globs {
            if let Some(Target::Module(source)) = self.find(module, glob, depth + 1)
                && source != module
                && let Some(found) = self.find_below(&source, path, depth + 1)
            {
                return Some(found);
            }
        }
        let is_known = PRELUDE.contains(&first.as_str()) || NUMBERS.contains(&first.as_str());
        if is_known {
            return Some(Target::Foreign(vec!["std".to_owned(), first.clone()]));
        }
        // Another package: its name begins a path, or is the whole of a `use`.
        first.starts_with(|c: char| c.is_ascii_lowercase()).then(|| Target::Foreign(path.to_vec()))
    }

    fn find_below(&self, module: &[String], path: &[String], depth: usize) -> Option<Target> {
        let first = path.first()?;
        let is_there = self.0[module].uses.contains_key(first) || self.is_declared(module, first);
        is_there.then(|| self.walk(module.to_vec(), path, depth)).flatten()
    }

    fn walk(&self, mut module: Segments, path: &[String], depth: usize) -> Option<Target> {
        let mut path = path;
        while let Some((first, rest)) = path.split_first() {
            let child = [module.clone(), vec![first.clone()]].concat();
            if self.0.contains_key(&child) {
                (module, path) = (child, rest);
                continue;
            }
            if first == "super" {
                module.pop();
                path = rest;
                continue;
            }
            if self.is_declared(&module, first) {
                return Some(Target::Own(child));
            }
            if let Some(brought) = self.0[&module].uses.get(first) {
                let whole = [brought.clone(), rest.to_vec()].concat();
                return self.find(&module, &whole, depth + 1);
            }
            return None;
        }
        Some(Target::Module(module))
    }

    fn is_declared(&self, module: &[String], name: &str) -> bool {
        self.0[module].items.iter().any(|item| name_of(item).is_some_and(|it| it == name))
    }
}

impl Module {
    fn bring_in(&mut self, tree: &UseTree) {
        for Leaf { name, path } in leaves(tree) {
            match name {
                Some(name) => drop(self.uses.insert(name, path)),
                None => self.globs.push(path),
            }
        }
    }
}

/// One path of a `use`.
pub(crate) struct Leaf {
    /// The name that it brings in; `None` for `path::*`.
    pub(crate) name: Option<String>,
    pub(crate) path: Segments,
}

/// The paths of a tree of `use`.
pub(crate) fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let mut found = Vec::new();
    add_leaves(tree, &[], &mut found);
    found
}

fn add_leaves(tree: &UseTree, prefix: &[String], found: &mut Vec<Leaf>) {
    let (ident, name) = match tree {
        UseTree::Path(it) => {
            return add_leaves(&it.tree, &[prefix, &[it.ident.to_string()]].concat(), found);
        }
        UseTree::Group(it) => {
            return it.items.iter().for_each(|tree| add_leaves(tree, prefix, found));
        }
        UseTree::Glob(_) => return found.push(Leaf { name: None, path: prefix.to_vec() }),
        UseTree::Name(it) => (&it.ident, &it.ident),
        UseTree::Rename(it) => (&it.ident, &it.rename),
    };
    let path = match ident == "self" {
        true => prefix.to_vec(),
        false => [prefix, &[ident.to_string()]].concat(),
    };
    let name = if name == "self" { path.last().cloned() } else { Some(name.to_string()) };
    found.push(Leaf { name, path });
}

/// The name that an item declares.
pub(crate) fn name_of(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Const(it) => Some(&it.ident),
        Item::Enum(it) => Some(&it.ident),
        Item::Fn(it) => Some(&it.sig.ident),
        Item::Macro(it) => it.ident.as_ref(),
        Item::Static(it) => Some(&it.ident),
        Item::Struct(it) => Some(&it.ident),
        Item::Trait(it) => Some(&it.ident),
        Item::Type(it) => Some(&it.ident),
        _ => None,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|it| {
        it.path().is_ident("cfg")
            && it.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}
