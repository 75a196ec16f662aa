//! The modules of a workspace and the arrows between their files: which file names an item, and which file declares it.
//! Knows nothing of floors.

use crate::tokens::{Token, tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module that is a file.
pub(crate) struct Module {
    /// From the root of the repository.
    pub(crate) file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names that `use` brings into the module, with their whole paths.
    aliases: BTreeMap<String, Vec<String>>,
    /// Paths whose every name `use path::*` brings in.
    globs: Vec<Vec<String>>,
    /// All paths in the file, those of `use` too.
    paths: BTreeSet<Vec<String>>,
    declared: BTreeSet<String>,
}

/// Where a path leads.
enum Place {
    Module(usize),
    Item(usize),
}

/// All modules; the names of the crates lead to their roots.
pub(crate) struct Modules {
    pub(crate) all: Vec<Module>,
    crates: BTreeMap<String, usize>,
}

impl Modules {
    /// Reads crates: each a name and the file of its root module. A name may come twice: a library and a program.
    pub(crate) fn read(base: &Path, roots: &[(String, String)]) -> Self {
        let mut modules = Self { all: Vec::new(), crates: BTreeMap::new() };
        for (name, file) in roots {
            let root = modules.add(base, Path::new(file), None, true);
            modules.crates.entry(name.replace('-', "_")).or_insert(root);
        }
        modules
    }

    fn add(&mut self, base: &Path, file: &Path, parent: Option<usize>, is_folder: bool) -> usize {
        let source = std::fs::read_to_string(base.join(file)).expect("a source file");
        let tokens = tokens(&source);
        let mut module = Module {
            file: file.to_string_lossy().into_owned(),
            parent,
            children: BTreeMap::new(),
            aliases: BTreeMap::new(),
            globs: Vec::new(),
            paths: BTreeSet::new(),
            declared: declared(&tokens),
        };
        module.read_paths(&tokens);
        let index = self.all.len();
        self.all.push(module);
        let folder = match is_folder {
            true => file.parent().expect("a folder").to_owned(),
            false => file.with_extension(""),
        };
        for window in tokens.windows(3) {
            if window[0] == "mod" && window[2] == ";" {
                let name = &window[1];
                let (flat, nested) =
                    (folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs"));
                let is_nested = base.join(&nested).is_file();
                let file: PathBuf = if is_nested { nested } else { flat };
                let child = self.add(base, &file, Some(index), is_nested);
                self.all[index].children.insert(name.clone(), child);
            }
        }
        index
    }

    /// The arrows between files, each with the names that cause it. A name is looked up where it is declared, so
    /// re-exporting one is no arrow to or from the module in between.
    pub(crate) fn arrows(&self) -> BTreeMap<(usize, usize), BTreeSet<Vec<String>>> {
        let mut arrows: BTreeMap<(usize, usize), BTreeSet<Vec<String>>> = BTreeMap::new();
        for (from, module) in self.all.iter().enumerate() {
            for path in &module.paths {
                if let Some(Place::Item(to)) = self.resolve(from, path, 0)
                    && to != from
                    && !self.is_item_of_use(from, path)
                {
                    arrows.entry((from, to)).or_default().insert(path.clone());
                }
            }
        }
        arrows
    }

    /// Whether one of the two is a module inside the other.
    pub(crate) fn are_kin(&self, one: usize, other: usize) -> bool {
        let is_inside = |mut inner: usize, outer: usize| loop {
            match self.all[inner].parent {
                Some(parent) if parent == outer => break true,
                Some(parent) => inner = parent,
                None => break false,
            }
        };
        is_inside(one, other) || is_inside(other, one)
    }

    /// Whether `path` is `Item::new`, of an `Item` that came by a `use`, which is a path of its own.
    fn is_item_of_use(&self, from: usize, path: &[String]) -> bool {
        path.len() > 1
            && self.all[from].aliases.contains_key(&path[0])
            && matches!(self.step(from, &path[0], 0), Some(Place::Item(_)))
    }

    /// Whether `path` names an item that a module around `from` shows: `super::Item`, declared in a sibling.
    pub(crate) fn is_shown_by_parent(&self, from: usize, path: &[String]) -> bool {
        let Some((_, modules)) = path.split_last() else { return false };
        let shown = self.resolve(from, modules, 0);
        matches!(shown, Some(Place::Module(shown)) if shown != from && self.are_kin(shown, from))
    }

    fn root(&self, mut module: usize) -> usize {
        while let Some(parent) = self.all[module].parent {
            module = parent;
        }
        module
    }

    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => self.root(from),
            "self" => from,
            "super" => self.all[from].parent?,
            name => match self.step(from, name, depth) {
                Some(Place::Module(module)) => module,
                // A name of this file: the way to it is in another path.
                Some(item) if !rest.is_empty() || depth > 0 => return Some(item),
                _ => *self.crates.get(name)?,
            },
        };
        let mut current = start;
        for segment in rest {
            current = match segment.as_str() {
                "super" => self.all[current].parent?,
                "self" => current,
                name => match self.step(current, name, depth) {
                    Some(Place::Module(module)) => module,
                    Some(item) => return Some(item),
                    None => return Some(Place::Item(current)),
                },
            };
        }
        Some(Place::Module(current))
    }

    /// What `name` is in `module`, if it is anything there.
    fn step(&self, module: usize, name: &str, depth: usize) -> Option<Place> {
        let here = &self.all[module];
        if depth > 20 {
            return None;
        }
        if let Some(child) = here.children.get(name) {
            return Some(Place::Module(*child));
        }
        if here.declared.contains(name) {
            return Some(Place::Item(module));
        }
        if let Some(path) = here.aliases.get(name) {
            // `use name::..` of an extern crate must not lead back to itself.
            if path.first().is_some_and(|first| first == name) && !self.crates.contains_key(name) {
                return None;
            }
            return self.resolve(module, path, depth + 1);
        }
        here.globs.iter().find_map(|glob| match self.resolve(module, glob, depth + 1)? {
            Place::Module(source) if source != module => self.step(source, name, depth + 1),
            _ => None,
        })
    }
}

impl Module {
    fn read_paths(&mut self, tokens: &[Token]) {
        let mut index = 0;
        while index < tokens.len() {
            let before = index.checked_sub(1).map_or("", |index| tokens[index].as_str());
            // `pub(in crate::room)` says who may see an item, and uses nothing.
            if tokens[index] == "pub" && tokens.get(index + 1).is_some_and(|token| token == "(") {
                while tokens[index] != ")" {
                    index += 1;
                }
            } else if tokens[index] == "use" && before != "+" && before != "->" && before != "<" {
                index = self.read_use(tokens, index + 1, &[]);
            } else if is_name(&tokens[index]) && before != "::" && before != "." {
                let mut path = vec![tokens[index].clone()];
                while tokens.get(index + 1).is_some_and(|token| token == "::")
                    && tokens.get(index + 2).is_some_and(|token| is_name(token))
                {
                    path.push(tokens[index + 2].clone());
                    index += 2;
                }
                if path.len() > 1 {
                    self.paths.insert(path);
                }
            }
            index += 1;
        }
    }

    /// Reads a tree of `use` from `index`; returns the index of the sign that ends it.
    fn read_use(&mut self, tokens: &[Token], mut index: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        loop {
            match tokens.get(index).map(String::as_str) {
                Some("::") => index += 1,
                Some("{") => {
                    index += 1;
                    while tokens.get(index).is_some_and(|token| token != "}") {
                        index = self.read_use(tokens, index, &path);
                        if tokens.get(index).is_some_and(|token| token == ",") {
                            index += 1;
                        }
                    }
                    return index + 1;
                }
                Some("*") => {
                    self.globs.push(path);
                    return index + 1;
                }
                Some("as") => {
                    let name = tokens[index + 1].clone();
                    self.bring_in(name, path);
                    return index + 2;
                }
                Some(";" | "," | "}") | None => {
                    if path.last().is_some_and(|last| last == "self") {
                        path.pop();
                    }
                    if let Some(name) = path.last().cloned() {
                        self.bring_in(name, path);
                    }
                    return index;
                }
                Some(word) => {
                    path.push(word.to_owned());
                    index += 1;
                }
            }
        }
    }

    fn bring_in(&mut self, name: String, path: Vec<String>) {
        self.paths.insert(path.clone());
        if path.len() > 1 || path.first().is_some_and(|first| *first != name) {
            self.aliases.insert(name, path);
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The names that items of this file have.
fn declared(tokens: &[Token]) -> BTreeSet<String> {
    const KINDS: [&str; 9] =
        ["struct", "enum", "trait", "fn", "const", "static", "type", "union", "macro_rules"];
    let mut names = BTreeSet::new();
    for (index, token) in tokens.iter().enumerate() {
        if KINDS.contains(&token.as_str()) {
            let name =
                tokens[index + 1..].iter().find(|token| !matches!(token.as_str(), "!" | "mut"));
            names.extend(name.filter(|name| is_name(name)).cloned());
        }
    }
    names
}
