//! Reads the files of a configuration: parses them, follows their includes, replaces their variables. Validates no
//! value.

use super::check;
use super::diagnostics::{ProblemCollector, Problems};
use super::source::{MAX_TOTAL_BYTES, Sources, Variables};
use super::values::Span;
use super::yaml::{self, Key, Kind, Node};
use super::{BrokenParts, Config, FilterSchemas, Filters, schema};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tidegate_disk::files_matching;

/// Maximum size of a file, in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The top-level keys that an included file may have.
const INCLUDABLE_KEYS: [&str; 3] = ["listeners", "upstreams", "routes"];

/// A configuration that has been read, as far as it is sound.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// What is sound of it.
    pub config: Config,
    /// What is not.
    pub problems: Problems,
    /// What it was read from.
    pub sources: Sources,
    /// The names of all upstreams, sound or not.
    pub declared_upstreams: BTreeSet<String>,
    /// What is not sound, by its path.
    pub broken: BrokenParts,
    /// Where each route stood in the list, by its position: those that are not sound are gone.
    pub route_indices: BTreeMap<Span, usize>,
}

impl LoadedConfig {
    /// The folder for what must outlive the process.
    pub fn state_dir(&self) -> Option<PathBuf> {
        let written = self.config.state_dir.as_ref()?;
        Some(self.sources.folder(written.span).join(&written.value))
    }
}

impl Sources {
    /// What the files say together, with what the variables stand for.
    pub fn tree(&self) -> Option<Node> {
        let (path, text) = self.files.first()?;
        let reader = FileReader::new(&self.variables, &self.filters);
        let mut reader = FileReader { stored_files: Some(&self.files), ..reader };
        let mut root = reader.parse(path, text.clone())?;
        reader.include_all(path, &mut root);
        Some(root)
    }

    /// What stands under a key of a text that is part of these files, read by itself.
    pub(super) fn read_section(&self, path: &Path, text: String) -> Config {
        FileReader::new(&self.variables, &self.filters).load(path, text).config
    }

    /// The JSON Schema that the files are checked by: with the filters of the program that reads them.
    pub fn schema(&self) -> serde_json::Value {
        schema::json_schema_with(&self.filters)
    }
}

/// Reads a file and those that it includes, for a program that registers these filters.
pub fn read_with(path: &Path, variables: &Variables, filters: &FilterSchemas) -> LoadedConfig {
    match read_file(path) {
        Ok(text) => FileReader::new(variables, filters).load(path, text),
        Err(reason) => {
            let mut sources = FileReader::new(variables, filters).sources;
            sources.is_unread = true;
            sources.register_file(path, String::new());
            let mut problems = ProblemCollector::new(sources.clone());
            problems.add(Span::default(), "", reason);
            LoadedConfig {
                config: Config::default(),
                problems: problems.into_problems(),
                sources,
                declared_upstreams: BTreeSet::new(),
                broken: BrokenParts::default(),
                route_indices: BTreeMap::new(),
            }
        }
    }
}

/// Reads files that were read before, whatever has become of them since; the first is the one that
/// includes the others.
pub fn read_stored(
    files: &[(PathBuf, String)],
    variables: &Variables,
    filters: &FilterSchemas,
) -> LoadedConfig {
    let (path, text) = files.first().cloned().unwrap_or_default();
    FileReader { stored_files: Some(files), ..FileReader::new(variables, filters) }
        .load(&path, text)
}

/// Reads text that is in no file.
pub fn read_str_with(
    text: &str,
    name: &str,
    variables: &Variables,
    filters: &FilterSchemas,
) -> LoadedConfig {
    FileReader::new(variables, filters).load(Path::new(name), text.to_owned())
}

fn read_file(path: &Path) -> Result<String, String> {
    tidegate_disk::read_text(path, MAX_FILE_BYTES)
        .map_err(|reason| format!("cannot be read: {reason}"))
}

struct FileReader<'v> {
    variables: &'v Variables,
    /// What is read in the place of the file system.
    stored_files: Option<&'v [(PathBuf, String)]>,
    sources: Sources,
    /// Span, path, reason: collected before the sources are complete.
    pending_problems: Vec<(Span, String, String)>,
}

impl<'v> FileReader<'v> {
    fn new(variables: &'v Variables, filters: &FilterSchemas) -> Self {
        let (variables_kept, filters) = (variables.clone(), filters.clone());
        let sources = Sources { variables: variables_kept, filters, ..Sources::default() };
        Self { variables, stored_files: None, sources, pending_problems: Vec::new() }
    }

    fn files_matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let Some(kept) = self.stored_files else { return files_matching(pattern) };
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        let paths = kept.iter().skip(1).map(|(path, _)| path);
        Ok(paths.filter(|path| pattern.matches_path(path)).cloned().collect())
    }

    fn text(&self, path: &Path) -> Result<String, String> {
        let Some(kept) = self.stored_files else { return read_file(path) };
        let file = kept.iter().find(|(known, _)| known == path);
        file.map(|(_, text)| text.clone()).ok_or_else(|| {
            "is missing from the stored version of the \
             configuration"
                .to_owned()
        })
    }

    fn load(mut self, path: &Path, text: String) -> LoadedConfig {
        let mut root = self.parse(path, text);
        if let Some(root) = &mut root {
            self.include_all(path, root);
        }
        let mut problems = ProblemCollector::new(self.sources.clone());
        for (span, path, reason) in self.pending_problems {
            problems.add(span, path, reason);
        }
        let declared_upstreams = root
            .as_ref()
            .and_then(|root| root.get("upstreams"))
            .map(|upstreams| match &upstreams.kind {
                Kind::Mapping(entries) => entries.iter().map(|(key, _)| key.text.clone()).collect(),
                _ => BTreeSet::new(),
            })
            .unwrap_or_default();
        let route_indices = match root.as_ref().and_then(|root| root.get("routes")) {
            Some(Node { kind: Kind::Sequence(routes), .. }) => {
                routes.iter().enumerate().map(|(index, route)| (route.span, index)).collect()
            }
            _ => BTreeMap::new(),
        };
        let schema = self.sources.schema();
        let checked = root.as_ref().map(|root| check::check(&schema, root, &mut problems));
        let (sound, broken) = checked.unwrap_or_default();
        let config = sound.map_or_else(Config::default, |sound| {
            let read = Config::deserialize(&sound);
            read.map(|config| with_filters(config, &sound, root.as_ref())).unwrap_or_else(|error| {
                // The check lets nothing through that the types refuse; were it to, it's said.
                if problems.is_empty() {
                    problems.add(sound.span, "", error.to_string());
                }
                Config::default()
            })
        });
        LoadedConfig {
            config,
            problems: problems.into_problems(),
            sources: self.sources,
            declared_upstreams,
            broken,
            route_indices,
        }
    }

    fn parse(&mut self, path: &Path, text: String) -> Option<Node> {
        let number = u16::try_from(self.sources.files.len()).ok()?;
        let mut faults = Vec::new();
        let parsed = yaml::parse(&text, number, &mut faults);
        self.sources.register_file(path, text);
        let root = match parsed {
            Ok(root) => root,
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        for fault in faults {
            self.pending_problems.push((fault.span, String::new(), fault.reason));
        }
        let mut root = root.filter(|root| !root.is_null())?;
        self.expand(&mut root);
        Some(root)
    }

    /// Puts the variables into all scalars of the tree, whose depth is bounded.
    fn expand(&mut self, node: &mut Node) {
        match &mut node.kind {
            Kind::Sequence(items) => items.iter_mut().for_each(|item| self.expand(item)),
            Kind::Mapping(entries) => entries.iter_mut().for_each(|(_, node)| self.expand(node)),
            Kind::Scalar(scalar) if scalar.text.contains('$') => {
                let (variables, expanded) = (self.variables, &mut self.sources.expanded);
                let value_of = |name: &str| {
                    let value = variables.get(name)?;
                    expanded.add(&value, name);
                    Some(value)
                };
                match expand(&scalar.text, value_of) {
                    Ok(text) => {
                        let written = std::mem::replace(&mut scalar.text, text);
                        scalar.unexpanded = Some(written.into());
                    }
                    Err(reason) => {
                        scalar.is_broken = true;
                        self.pending_problems.push((node.span, String::new(), reason));
                    }
                }
            }
            Kind::Scalar(_) => {}
        }
    }

    fn include_all(&mut self, path: &Path, root: &mut Node) {
        let patterns: Vec<(Span, String)> = match root.get("include").map(|node| &node.kind) {
            Some(Kind::Sequence(items)) => items
                .iter()
                .filter_map(|item| match &item.kind {
                    Kind::Scalar(scalar) if !scalar.is_broken => {
                        Some((item.span, scalar.text.clone()))
                    }
                    _ => None,
                })
                .collect(),
            _ => return,
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        for (span, pattern) in patterns {
            let pattern = folder.join(pattern).display().to_string();
            let files = self.files_matching(&pattern).unwrap_or_else(|reason| {
                let reason = format!("cannot list the files that {pattern} matches: {reason}");
                self.pending_problems.push((span, "include".to_owned(), reason));
                Vec::new()
            });
            if files.is_empty() && !pattern.contains(['*', '?', '[']) {
                self.pending_problems.push((
                    span,
                    "include".to_owned(),
                    format!(
                        "the included file {pattern} does \
                         not exist"
                    ),
                ));
            }
            self.sources.patterns.push(pattern);
            for file in files {
                let known = self.sources.files.iter().any(|(known, _)| *known == file);
                match self.text(&file) {
                    Ok(_) if known => {}
                    Ok(text) if self.sources.size() + text.len() > MAX_TOTAL_BYTES => {
                        let reason = format!(
                            "{} is not included: all configuration files together are larger than {} MiB",
                            file.display(),
                            MAX_TOTAL_BYTES / 1024 / 1024
                        );
                        self.pending_problems.push((span, "include".to_owned(), reason));
                        break;
                    }
                    Ok(text) => {
                        if let Some(included) = self.parse(&file, text) {
                            self.merge(root, included);
                        }
                    }
                    Err(reason) => {
                        let reason = format!("{} {reason}", file.display());
                        self.pending_problems.push((span, "include".to_owned(), reason));
                    }
                }
            }
        }
    }

    /// Adds what an included file holds to the file that includes it.
    fn merge(&mut self, root: &mut Node, included: Node) {
        let (Kind::Mapping(into), Kind::Mapping(entries)) = (&mut root.kind, included.kind) else {
            self.pending_problems.push((
                included.span,
                String::new(),
                "an included file must contain a \
                 mapping"
                    .to_owned(),
            ));
            return;
        };
        for (key, node) in entries {
            if !INCLUDABLE_KEYS.contains(&key.text.as_str()) {
                let reason = format!(
                    "`{}` is not allowed in an included file; allowed keys: {}",
                    key.text,
                    INCLUDABLE_KEYS.join(", ")
                );
                self.pending_problems.push((key.span, key.text, reason));
                continue;
            }
            match into.iter_mut().find(|(known, _)| known.text == key.text) {
                None => into.push((key, node)),
                Some((_, existing)) => match (&mut existing.kind, node.kind) {
                    (Kind::Sequence(items), Kind::Sequence(more)) => items.extend(more),
                    (Kind::Mapping(known), Kind::Mapping(more)) => {
                        let taken = merge_mappings(&self.sources, &key.text, known, more);
                        self.pending_problems.extend(taken);
                    }
                    _ => {
                        let reason =
                            "the value must be a list or a mapping, as in the including file";
                        self.pending_problems.push((node.span, key.text, reason.to_owned()));
                    }
                },
            }
        }
    }
}

/// Fills in what the types can't read: the uses of filters, whose settings have types of the program's own.
fn with_filters(mut config: Config, sound: &Node, written: Option<&Node>) -> Config {
    fn routes(node: &Node) -> &[Node] {
        match node.get("routes").map(|routes| &routes.kind) {
            Some(Kind::Sequence(routes)) => routes,
            _ => &[],
        }
    }
    config.filters = Filters::from_mapping(sound, written);
    let written = written.map(routes).unwrap_or_default();
    for node in routes(sound).iter().filter(|node| node.get("filters").is_some()) {
        if let Some(route) = config.routes.iter_mut().find(|route| route.span == node.span) {
            let written = written.iter().find(|it| it.span == node.span);
            route.value.filters = Filters::from_mapping(node, written);
        }
    }
    config
}

/// Adds entries, and tells which names were taken already.
fn merge_mappings(
    sources: &Sources,
    path: &str,
    known: &mut Vec<(Key, Node)>,
    more: Vec<(Key, Node)>,
) -> Vec<(Span, String, String)> {
    let mut taken = Vec::new();
    let names: BTreeMap<String, Span> =
        known.iter().map(|(key, _)| (key.text.clone(), key.span)).collect();
    for (key, node) in more {
        if let Some(first) = names.get(&key.text) {
            let line = sources.line(*first, key.span);
            let reason = format!("duplicate name `{}`; it is already defined in {line}", key.text);
            taken.push((key.span, format!("{path}.{}", key.text), reason));
        } else {
            known.push((key, node));
        }
    }
    taken
}

/// `${NAME}` and `${NAME:-default}`; `$$` stands for `$`.
fn expand(text: &str, mut get: impl FnMut(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(behind) = after.strip_prefix('$') {
            expanded.push('$');
            rest = behind;
        } else if let Some(inside) = after.strip_prefix('{') {
            let (inside, behind) = inside
                .split_once('}')
                .ok_or("`${` has no closing `}`; write `$$` for a literal `$`")?;
            let (name, default) = match inside.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inside, None),
            };
            let is_name = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_name {
                return Err(
                    "`${…}` must contain the name of an environment variable; write `$$` for a \
                     literal `$`"
                        .to_owned(),
                );
            }
            // As in a shell, `:-` also stands in for a variable that is empty.
            let value = get(name).filter(|value| default.is_none() || !value.is_empty());
            match value.or(default.map(str::to_owned)) {
                Some(value) => expanded.push_str(&value),
                None => {
                    return Err(format!(
                        "the environment variable {name} is not set; set it, or write `${{{name}:-default}}`"
                    ));
                }
            }
            rest = behind;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}
