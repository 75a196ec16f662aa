//! Tests that writing out a default changes nothing: not the compiled snapshot, and not the result of `tidegate diff`.
//! They start no gateway.

use super::Difference;
use super::edits::{EditedExamples, examples, json};
use crate::filter::FilterRegistry;
use crate::snapshot::{CompileEnv, Snapshot, compile};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tidegate_config::{FilterSchemas, Variables, parse_tree, read_with};

/// Keys whose default is refused wherever it is written out.
const REFUSED_KEYS: [&str; 2] = [
    // The example's `user` is one of these headers.
    ".authentication.*.forward.take",
    // A gateway needs an address to listen on.
    ".listeners",
];

/// A key with a default that an example has, or could have at this place.
struct ScalarPosition {
    /// Where the mapping is, as a JSON pointer.
    pointer: String,
    key: String,
    default: Value,
}

/// Finds the keys of an example that have a default, by their paths without names and numbers.
struct Finder<'s> {
    schema: &'s Value,
    found: BTreeMap<String, Vec<ScalarPosition>>,
}

impl<'s> Finder<'s> {
    fn alternatives(&self, schema: &'s Value) -> Vec<&'s Value> {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            return self
                .alternatives(&self.schema["$defs"][name.rsplit('/').next().expect("a name")]);
        }
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            Some(all) => all.iter().flat_map(|one| self.alternatives(one)).collect(),
            None => vec![schema],
        }
    }

    fn walk(&mut self, value: &Value, schema: &'s Value, pointer: &str, path: &str) {
        for one in self.alternatives(schema) {
            match value {
                Value::Array(items) => {
                    let Some(of_items) = one.get("items") else { continue };
                    for (index, item) in items.iter().enumerate() {
                        self.walk(
                            item,
                            of_items,
                            &format!("{pointer}/{index}"),
                            &format!("{path}[]"),
                        );
                    }
                }
                Value::Object(entries) => self.mapping(entries, one, pointer, path),
                _ => {}
            }
        }
    }

    fn mapping(
        &mut self,
        entries: &Map<String, Value>,
        schema: &'s Value,
        pointer: &str,
        path: &str,
    ) {
        let inner = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        if let Some(of_all) = schema.get("additionalProperties").filter(|it| it.is_object()) {
            for (key, value) in entries {
                self.walk(value, of_all, &inner(key), &format!("{path}.*"));
            }
        }
        for (key, property) in
            schema.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            let path = format!("{path}.{key}");
            if let Some(default) = property.get("default") {
                let (pointer, key, default) = (pointer.to_owned(), key.clone(), default.clone());
                self.found.entry(path.clone()).or_default().push(ScalarPosition {
                    pointer,
                    key,
                    default,
                });
            }
            if let Some(value) = entries.get(key) {
                self.walk(value, property, &inner(key), &path);
            }
        }
    }
}

/// All that the gateway does by this configuration, in an order of its own: the text of sets has none.
fn effect(snapshot: &Snapshot) -> Vec<String> {
    let global =
        format!("{:?}", snapshot.global).replace(&format!("{:?}", snapshot.global.via), "");
    let routes: BTreeMap<_, _> =
        snapshot.table.iter().map(|(_, route)| (&route.name, route.fingerprint)).collect();
    let listeners: Vec<_> = snapshot
        .listeners
        .iter()
        .map(|it| {
            let hsts = it.tls.as_ref().map(|tls| &tls.hsts);
            (&it.address, it.h1, it.h2c, it.connections, hsts, it.redirect_to, &it.proxy_protocol)
        })
        .collect();
    let pools: Vec<_> = snapshot
        .pools
        .iter()
        .map(|(name, pool)| {
            let endpoints: Vec<_> =
                pool.endpoints().iter().map(|it| (it.weight(), it.is_backup())).collect();
            (name, pool.settings().fingerprint(), endpoints)
        })
        .collect();
    let limits: Vec<_> = snapshot.rate_limits.iter().map(|it| it.settings()).collect();
    let acme: Vec<_> = snapshot.managed().map(|it| it.settings().clone()).collect();
    let Snapshot { startup, probes, cache, grace, delay, drain, guard, log, .. } = snapshot;
    let rest = (startup, probes, cache, grace, delay, drain, guard, log);
    let whole = format!("{global} {routes:?} {listeners:?} {pools:?} {limits:?} {acme:?} {rest:?}");
    let mut words: Vec<String> =
        whole.split([' ', ',', '{', '}', '[', ']']).map(str::to_owned).collect();
    words.sort();
    words
}

fn snapshot(desk: &EditedExamples, value: &Value) -> Option<Snapshot> {
    let read = read_with(&desk.file(value), &Variables::default(), &FilterSchemas::default());
    compile(read, &CompileEnv::for_dry_run(&FilterRegistry::default())).ok()
}

#[test]
fn written_default_is_no_difference() {
    let schema = tidegate_config::json_schema();
    let desk = EditedExamples::new();
    let (mut same, mut other, mut seen) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for file in examples() {
        let text = std::fs::read_to_string(&file).expect("the example");
        let example = json(&parse_tree(&text).expect("YAML"));
        let mut finder = Finder { schema: &schema, found: BTreeMap::new() };
        finder.walk(&example, &schema, "", "");
        for (path, places) in finder.found {
            seen.insert(path.clone());
            for ScalarPosition { pointer, key, default } in places {
                // The tests of an example would fail, and say nothing of defaults.
                if same.contains(&path) || path.starts_with(".tests") {
                    continue;
                }
                let with = |value: Option<Value>| {
                    let mut edited = example.clone();
                    edited["tests"] = Value::Array(Vec::new());
                    let mapping = edited.pointer_mut(&pointer).and_then(Value::as_object_mut);
                    let mapping = mapping.expect("a mapping");
                    match value {
                        Some(value) => drop(mapping.insert(key.clone(), value)),
                        None => drop(mapping.remove(&key)),
                    }
                    snapshot(&desk, &edited)
                };
                // What a key needs beside it is not everywhere.
                let Some((without, with)) = with(None).zip(with(Some(default.clone()))) else {
                    continue;
                };
                let difference = Difference::between(&without, &with);
                let (before, after) = (effect(&without), effect(&with));
                if difference.is_empty() && before == after {
                    same.insert(path.clone());
                } else {
                    let words: Vec<_> = before.iter().filter(|it| !after.contains(it)).collect();
                    let file = Path::new(&file).display();
                    other.push(format!("{file} {path}: {default}\n{difference}{words:?}"));
                }
            }
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
    let refused: Vec<&String> =
        seen.iter().filter(|it| !same.contains(*it) && !it.starts_with(".tests")).collect();
    assert_eq!(refused, REFUSED_KEYS);
    assert!(same.len() > 150, "{}", same.len());
}
