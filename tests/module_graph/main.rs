//! The floors of docs/architecture.md hold: no file uses a room above its own, and no rooms or files use each
//! other in a circle. The graph is drawn from the sources, and the floors are read from the page's table.
//!
//! What counts as an arrow from one file to another:
//! - a path to an item (`use crate::room::Item`, `super::item()`, `tidegate_http::host::Host`), in a `use` or in the
//!   code, outside of tests. The arrow leads to the file that declares the item;
//! - so `mod child;` and a re-export of a child's item (`pub use child::Item`) are no arrows;
//! - a module and the modules inside it are one thought told in parts: a child uses its parent's types, a parent calls
//!   its children, and neither counts as an arrow of files. Siblings must not use each other in a circle;
//! - what a module shows its children of their siblings (`super::Context`, a re-export) is the room's own vocabulary:
//!   taking it ties a child to the room, not to the sibling. It counts as an arrow as soon as it leaves the room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod floors;
mod modules;
mod tokens;

use floors::{Floors, Room};
use modules::Modules;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The faults of a tree of sources, each a line.
fn faults(base: &Path) -> Vec<String> {
    let page =
        std::fs::read_to_string(base.join("docs/architecture.md")).expect("the architecture");
    let floors = Floors::read(&page);
    let modules = Modules::read(base, &roots(base));
    let mut faults = Vec::new();
    let (mut files, mut rooms) = (BTreeMap::new(), BTreeMap::new());
    for module in &modules.all {
        // The roots put the rooms together.
        let is_root = module.file.ends_with("src/lib.rs");
        if !is_root && floors.room_of(&module.file).is_none() {
            faults
                .push(format!("{}: no row of docs/architecture.md has a room for it", module.file));
        }
    }
    for ((from, to), names) in modules.arrows() {
        let (source, target) = (&modules.all[from].file, &modules.all[to].file);
        let is_private = |path: &&Vec<String>| !modules.is_shown_by_parent(from, path);
        let private = listed(names.iter().filter(is_private));
        let is_same_room = floors.is_same_room(source, target);
        let names = listed(names.iter());
        if !(modules.are_kin(from, to) || is_same_room && private.is_empty()) {
            let names = if is_same_room { private } else { names.clone() };
            files.entry(source.clone()).or_insert_with(BTreeMap::new).insert(target.clone(), names);
        }
        let (Some(source_room), Some(target_room)) =
            (floors.room_of(source), floors.room_of(target))
        else {
            continue;
        };
        if source_room.name == target_room.name {
            continue;
        }
        if let Some(why) = forbidden(source_room, target_room) {
            faults.push(format!("{source} uses {target} ({names}): {why}"));
        }
        let arrow = format!("{source} -> {target}: {names}");
        let rooms = rooms.entry(source_room.name.clone()).or_insert_with(BTreeMap::new);
        let arrows: &mut String = rooms.entry(target_room.name.clone()).or_default();
        if !arrows.is_empty() {
            arrows.push_str("\n    ");
        }
        arrows.push_str(&arrow);
    }
    faults.extend(circles(&files).into_iter().map(|circle| format!("a circle of files:{circle}")));
    faults.extend(circles(&rooms).into_iter().map(|circle| format!("a circle of rooms:{circle}")));
    faults
}

fn listed<'a>(paths: impl Iterator<Item = &'a Vec<String>>) -> String {
    paths.map(|path| path.join("::")).collect::<Vec<_>>().join(", ")
}

/// Why a room must not use another, if so.
fn forbidden(from: &Room, to: &Room) -> Option<String> {
    if let Some(allowed) = &from.uses {
        let is_allowed = allowed.contains(&to.name);
        return (!is_allowed).then(|| format!("{} may use {allowed:?} alone", from.name));
    }
    match (from.floor, to.floor) {
        (Some(from), Some(to)) if from < to => Some(format!("from floor {from} up to floor {to}")),
        _ => None,
    }
}

/// The libraries and programs of the workspace whose floors the page has.
fn roots(base: &Path) -> Vec<(String, String)> {
    let mut roots = Vec::new();
    for name in ["lib.rs", "main.rs"] {
        roots.push(("tidegate".to_owned(), format!("src/{name}")));
    }
    for folder in std::fs::read_dir(base.join("crates")).into_iter().flatten().flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        roots.push((name.clone(), format!("crates/{name}/src/lib.rs")));
    }
    roots.retain(|(_, file)| base.join(file).is_file());
    roots
}

/// Each circle of a graph whose arrows have reasons, told arrow by arrow.
fn circles(graph: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<String> {
    let reached = |start: &String| {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&String> = vec![start];
        while let Some(node) = open.pop() {
            for next in graph.get(node).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached
    };
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|node| (node, reached(node))).collect();
    let mut done = BTreeSet::new();
    let mut circles = Vec::new();
    for node in graph.keys().filter(|node| reach[node].contains(node)) {
        if done.contains(node) {
            continue;
        }
        let circle: BTreeSet<&String> = reach[node]
            .iter()
            .copied()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(node)))
            .collect();
        let mut lines = String::new();
        for from in &circle {
            for (to, names) in graph[*from].iter().filter(|(to, _)| circle.contains(to)) {
                lines.push_str(&format!("\n  {from} -> {to}: {names}"));
            }
        }
        done.extend(circle);
        circles.push(lines);
    }
    circles
}

#[test]
fn sources_keep_the_floors_and_have_no_circles() {
    let faults = faults(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A workspace of two rooms, `low` of floor 1 and `high` of floor 2, with these files.
fn faults_of(files: &[(&str, &str)]) -> Vec<String> {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("graph-{}-{number}", std::process::id()));
    let page = "| 1 | `low.rs` | x |\n| 2 | `high/`, `peer.rs` | x |\n";
    let root = "mod low;\nmod high;\nmod peer;\n";
    let usual = [
        ("docs/architecture.md", page),
        ("src/lib.rs", root),
        ("src/low.rs", "pub struct Low;"),
        ("src/peer.rs", "pub struct Peer;"),
        ("src/high/mod.rs", "mod one;\nmod two;\npub use one::One;"),
        ("src/high/one.rs", "pub struct One;"),
        ("src/high/two.rs", "pub struct Two;"),
    ];
    for (name, content) in usual.iter().chain(files) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let faults = faults(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
    faults
}

#[test]
fn arrow_down_is_no_fault() {
    assert_eq!(
        faults_of(&[("src/high/one.rs", "use crate::low::Low; pub struct One(Low);")]),
        [""; 0]
    );
}

#[test]
fn arrow_up_is_a_fault_however_it_is_written() {
    for source in [
        "use crate::high::One;",
        "use crate::{high::{One}};",
        "use super::high;\nfn low(_: high::One) {}",
        "fn low(_: Vec<crate::high::One>) {}",
    ] {
        let faults = faults_of(&[("src/low.rs", source)]);
        let [fault] = &*faults else { panic!("{source}: {faults:?}") };
        assert!(fault.starts_with("src/low.rs uses src/high/one.rs"), "{fault}");
        assert!(fault.ends_with("from floor 1 up to floor 2"), "{fault}");
    }
}

#[test]
fn arrow_up_in_comments_literals_and_tests_is_no_fault() {
    let source = "// use crate::high::One;\nconst TEXT: &str = \"crate::high::One\";\n\
                  #[cfg(test)]\nmod tests { use crate::high::One; fn f() { One; } }\n";
    assert_eq!(faults_of(&[("src/low.rs", source)]), [""; 0]);
}

#[test]
fn siblings_that_use_each_other_are_a_fault() {
    let faults = faults_of(&[
        ("src/high/one.rs", "use super::two::Two; pub struct One;"),
        ("src/high/two.rs", "use super::one::One; pub struct Two;"),
    ]);
    let [fault] = &*faults else { panic!("{faults:?}") };
    assert!(fault.starts_with("a circle of files:"), "{fault}");
}

#[test]
fn child_and_parent_that_use_each_other_are_no_fault() {
    let faults = faults_of(&[
        ("src/high/mod.rs", "mod one;\nmod two;\npub use one::One;\npub struct High(two::Two);"),
        ("src/high/two.rs", "use super::High; pub struct Two;"),
    ]);
    assert_eq!(faults, [""; 0]);
}

#[test]
fn rooms_of_one_floor_that_use_each_other_are_a_fault() {
    let faults = faults_of(&[
        ("src/high/one.rs", "use crate::peer::Peer; pub struct One;"),
        ("src/peer.rs", "use crate::high::two; pub struct Peer(two::Two);"),
    ]);
    let [fault] = &*faults else { panic!("{faults:?}") };
    assert!(fault.starts_with("a circle of rooms:"), "{fault}");
}

#[test]
fn file_without_a_room_is_a_fault() {
    let faults = faults_of(&[("src/lib.rs", "mod low;\nmod stray;"), ("src/stray.rs", "")]);
    let [fault] = &*faults else { panic!("{faults:?}") };
    assert!(fault.starts_with("src/stray.rs: no row"), "{fault}");
}
