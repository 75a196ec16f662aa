//! The types in the signatures of public items. It knows nothing of files.

use crate::crates::{Crates, Leaf, Segments, Target, leaves, name_of};
use std::collections::BTreeSet;
use syn::visit::{self, Visit};
use syn::{Attribute, Fields, Generics, ImplItem, Item, Signature, TraitItem, Visibility};

/// What the signatures name beside the standard library.
#[derive(Default)]
pub(crate) struct Found {
    /// Types of other packages: `http::StatusCode`, `pingora::RequestHeader`; or a package itself.
    pub(crate) foreign: BTreeSet<String>,
    /// Types of the workspace that no public path leads to.
    pub(crate) hidden: BTreeSet<String>,
}

/// Reads the API that begins at `src/lib.rs`.
pub(crate) fn of_public_items(crates: &Crates) -> Found {
    let mut public = Public {
        crates,
        items: BTreeSet::new(),
        modules: BTreeSet::new(),
        foreign: BTreeSet::new(),
    };
    public.add_module(&["tidegate".to_owned()]);
    let Public { items, foreign, .. } = public;
    let mut found = Found::default();
    foreign.iter().for_each(|path| found.note_foreign(path));
    let mut named = BTreeSet::new();
    for (module, content) in &crates.0 {
        for item in &content.items {
            let mut reader =
                Reader { crates, module, generics: Vec::new(), named: BTreeSet::new() };
            match item {
                Item::Impl(block) => {
                    let syn::Type::Path(it) = &*block.self_ty else { continue };
                    let generics = names(&block.generics);
                    let path = segments(&it.path);
                    if generics.contains(&path[0]) {
                        continue;
                    }
                    let Some(Target::Own(of)) = crates.try_resolve(module, &path) else { continue };
                    if items.contains(&of) {
                        reader.generics.extend(generics);
                        reader.read_impl(block);
                    }
                }
                item => {
                    let Some(name) = name_of(item) else { continue };
                    if items.contains(&[module.clone(), vec![name.to_string()]].concat()) {
                        reader.read_item(item);
                    }
                }
            }
            named.extend(reader.named);
        }
    }
    for target in named {
        match target {
            Target::Foreign(path) => found.note_foreign(&path),
            Target::Own(path) if !items.contains(&path) => {
                found.hidden.insert(path.join("::"));
            }
            _ => {}
        }
    }
    found
}

impl Found {
    /// Notes a type by its package and its name; where in the package it is may change without a break.
    fn note_foreign(&mut self, path: &[String]) {
        if matches!(path[0].as_str(), "std" | "core" | "alloc") {
            return;
        }
        self.foreign.insert(match path {
            [package] => package.clone(),
            [package, .., name] => format!("{package}::{name}"),
            [] => String::new(),
        });
    }
}

/// What has a public path.
struct Public<'c> {
    crates: &'c Crates,
    items: BTreeSet<Segments>,
    modules: BTreeSet<Segments>,
    foreign: BTreeSet<Segments>,
}

impl Public<'_> {
    fn add_module(&mut self, module: &[String]) {
        if !self.modules.insert(module.to_vec()) {
            return;
        }
        for item in &self.crates.0[module].items {
            if !is_public(item) {
                continue;
            }
            match item {
                Item::Use(it) => {
                    for Leaf { name, path } in leaves(&it.tree) {
                        assert!(
                            name.is_some(),
                            "`pub use {}::*` hides what is public",
                            path.join("::")
                        );
                        self.add(self.crates.resolve(module, &path));
                    }
                }
                Item::Mod(it) => {
                    self.add_module(&[module.to_vec(), vec![it.ident.to_string()]].concat());
                }
                item => {
                    if let Some(name) = name_of(item) {
                        self.items.insert([module.to_vec(), vec![name.to_string()]].concat());
                    }
                }
            }
        }
    }

    fn add(&mut self, target: Target) {
        match target {
            Target::Module(module) => self.add_module(&module),
            Target::Own(item) => {
                self.items.insert(item);
            }
            Target::Foreign(path) => {
                self.foreign.insert(path);
            }
        }
    }
}

fn is_public(item: &Item) -> bool {
    let visibility = match item {
        Item::Const(it) => &it.vis,
        Item::Enum(it) => &it.vis,
        Item::Fn(it) => &it.vis,
        Item::Mod(it) => &it.vis,
        Item::Static(it) => &it.vis,
        Item::Struct(it) => &it.vis,
        Item::Trait(it) => &it.vis,
        Item::Type(it) => &it.vis,
        Item::Use(it) => &it.vis,
        _ => return false,
    };
    matches!(visibility, Visibility::Public(_))
}

/// Reads the paths of one item.
struct Reader<'c> {
    crates: &'c Crates,
    module: &'c [String],
    /// The names of type parameters.
    generics: Vec<String>,
    named: BTreeSet<Target>,
}

impl Reader<'_> {
    fn read_item(&mut self, item: &Item) {
        match item {
            Item::Struct(it) => {
                self.read_generics(&it.generics);
                self.read_derives(&it.attrs);
                self.read_fields(&it.fields, false);
            }
            Item::Enum(it) => {
                self.read_generics(&it.generics);
                self.read_derives(&it.attrs);
                it.variants.iter().for_each(|variant| self.read_fields(&variant.fields, true));
            }
            Item::Trait(it) => {
                self.read_generics(&it.generics);
                it.supertraits.iter().for_each(|bound| self.visit_type_param_bound(bound));
                for item in &it.items {
                    match item {
                        TraitItem::Fn(it) => self.read_signature(&it.sig),
                        TraitItem::Type(it) => self.visit_trait_item_type(it),
                        TraitItem::Const(it) => self.visit_type(&it.ty),
                        _ => {}
                    }
                }
            }
            Item::Fn(it) => self.read_signature(&it.sig),
            Item::Type(it) => {
                self.read_generics(&it.generics);
                self.visit_type(&it.ty);
            }
            Item::Const(it) => self.visit_type(&it.ty),
            Item::Static(it) => self.visit_type(&it.ty),
            _ => {}
        }
    }

    fn read_impl(&mut self, block: &syn::ItemImpl) {
        self.read_generics(&block.generics);
        if let Some((_, path, _)) = &block.trait_ {
            // A trait that is private can't be used, and its methods neither.
            if !matches!(self.crates.resolve(self.module, &segments(path)), Target::Own(_)) {
                self.visit_path(path);
            }
            return;
        }
        for item in &block.items {
            match item {
                ImplItem::Fn(it) if matches!(it.vis, Visibility::Public(_)) => {
                    self.read_signature(&it.sig);
                }
                ImplItem::Const(it) if matches!(it.vis, Visibility::Public(_)) => {
                    self.visit_type(&it.ty);
                }
                _ => {}
            }
        }
    }

    fn read_signature(&mut self, signature: &Signature) {
        let before = self.generics.len();
        self.read_generics(&signature.generics);
        signature.inputs.iter().for_each(|input| self.visit_fn_arg(input));
        self.visit_return_type(&signature.output);
        self.generics.truncate(before);
    }

    fn read_generics(&mut self, generics: &Generics) {
        self.generics.extend(names(generics));
        self.visit_generics(generics);
    }

    fn read_fields(&mut self, fields: &Fields, are_public: bool) {
        for field in fields {
            if are_public || matches!(field.vis, Visibility::Public(_)) {
                self.visit_type(&field.ty);
            }
        }
    }

    fn read_derives(&mut self, attributes: &[Attribute]) {
        for attribute in attributes.iter().filter(|it| it.path().is_ident("derive")) {
            attribute
                .parse_nested_meta(|meta| {
                    let path = segments(&meta.path);
                    // `Debug` and the like of the standard library need no `use`.
                    if let Some(target) = self.derive(&path) {
                        self.named.insert(target);
                    }
                    Ok(())
                })
                .expect("a list of derives");
        }
    }

    fn derive(&self, path: &[String]) -> Option<Target> {
        const STANDARD: [&str; 9] =
            ["Clone", "Copy", "Debug", "Default", "Eq", "Hash", "Ord", "PartialEq", "PartialOrd"];
        let is_standard = path.len() == 1 && STANDARD.contains(&path[0].as_str());
        (!is_standard).then(|| self.crates.resolve(self.module, path))
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let written = segments(path);
        let is_own = written[0] == "Self" || self.generics.contains(&written[0]);
        if !is_own {
            let target = match path.leading_colon {
                Some(_) => Target::Foreign(written),
                None => self.crates.resolve(self.module, &written),
            };
            self.named.insert(target);
        }
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    /// Names and defaults of arguments are no types.
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}

    fn visit_expr(&mut self, _: &'ast syn::Expr) {}
}

fn names(generics: &Generics) -> Vec<String> {
    generics.type_params().map(|it| it.ident.to_string()).collect()
}

fn segments(path: &syn::Path) -> Segments {
    path.segments.iter().map(|it| it.ident.to_string()).collect()
}
