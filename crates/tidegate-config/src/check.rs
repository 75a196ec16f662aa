//! Validates the YAML tree against the JSON Schema and keeps its valid part, so that all problems are found and not
//! only the first. Knows no key; the schema does.

mod messages;
mod scalars;
mod schemas;

use super::BrokenParts;
use super::diagnostics::{ProblemCollector, did_you_mean};
use super::values::{self, Span};
use super::yaml::{Key, Kind, Node};
use messages::{listed, unknown_key, wrong_kind};
use schemas::{
    ANYTHING, accepts_anything, has_type, internal_tag, is_external_variant, is_mixed,
    property_names, schema_requires, tag_of,
};
use serde_json::{Map, Value};

/// The valid part of the tree (`None` if there is none) and the problems of the rest.
pub(crate) fn check(
    schema: &Value,
    root: &Node,
    problems: &mut ProblemCollector,
) -> (Option<Node>, BrokenParts) {
    let nothing = Map::new();
    let definitions = schema.get("$defs").and_then(Value::as_object).unwrap_or(&nothing);
    let found = Checker { definitions }.value(schema, root, "");
    let broken =
        found.problems.iter().map(|finding| finding.path.clone()).chain(found.already_reported);
    let broken = BrokenParts::from_paths(broken);
    for Finding { span, path, reason, help } in found.problems {
        let problem = problems.add(span, path, reason);
        if let Some(help) = help {
            problem.help(help);
        }
    }
    (found.valid, broken)
}

struct Checker<'s> {
    definitions: &'s Map<String, Value>,
}

/// The result of the check of a node.
#[derive(Default)]
struct NodeCheck {
    /// The node without its invalid parts; `None` if nothing of it is valid.
    valid: Option<Node>,
    problems: Vec<Finding>,
    /// The paths of nodes whose problem was reported earlier.
    already_reported: Vec<String>,
}

struct Finding {
    span: Span,
    path: String,
    reason: String,
    help: Option<String>,
}

impl NodeCheck {
    fn without_problems(node: &Node) -> Self {
        Self { valid: Some(node.clone()), ..Self::default() }
    }

    fn with_problem(
        span: Span,
        path: &str,
        reason: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        let finding = Finding { span, path: path.to_owned(), reason: reason.into(), help };
        Self { problems: vec![finding], ..Self::default() }
    }
}

impl<'s> Checker<'s> {
    fn value(&self, schema: &'s Value, node: &Node, path: &str) -> NodeCheck {
        let mut choices = Vec::new();
        self.flatten(schema, &mut choices);
        if choices.iter().any(|one| accepts_anything(one)) {
            return NodeCheck::without_problems(node);
        }
        match &node.kind {
            Kind::Scalar(scalar) => self.scalar(&choices, node, scalar, path),
            Kind::Sequence(items) => match choices.iter().find(|one| has_type(one, "array")) {
                Some(list) => self.list(list, node, items, path),
                None => wrong_kind(&choices, node, path),
            },
            Kind::Mapping(entries) => {
                let mappings: Vec<&Value> =
                    choices.iter().copied().filter(|one| has_type(one, "object")).collect();
                match mappings.as_slice() {
                    [] => wrong_kind(&choices, node, path),
                    [mapping] => self.mapping(mapping, node, entries, path),
                    several => self.tagged(several, node, entries, path),
                }
            }
        }
    }

    /// The alternatives of a schema, references and unions resolved.
    fn flatten(&self, schema: &'s Value, into: &mut Vec<&'s Value>) {
        if is_mixed(schema) {
            into.push(&ANYTHING);
            return;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            if let Some(definition) = self.definitions.get(name) {
                self.flatten(definition, into);
            }
            return;
        }
        let union = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
        match union {
            Some(union) => union.iter().for_each(|one| self.flatten(one, into)),
            None => into.push(schema),
        }
    }

    fn list(&self, schema: &'s Value, node: &Node, items: &[Node], path: &str) -> NodeCheck {
        let item_schema = schema.get("items").unwrap_or(&Value::Null);
        let mut sound = Vec::with_capacity(items.len());
        let (mut problems, mut already_reported) = (Vec::new(), Vec::new());
        for (index, item) in items.iter().enumerate() {
            let found = self.value(item_schema, item, &format!("{path}[{index}]"));
            sound.extend(found.valid);
            problems.extend(found.problems);
            already_reported.extend(found.already_reported);
        }
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            return NodeCheck::with_problem(node.span, path, "the list must not be empty", None);
        }
        NodeCheck {
            valid: Some(Node { span: node.span, kind: Kind::Sequence(sound) }),
            problems,
            already_reported,
        }
    }

    fn mapping(
        &self,
        schema: &'s Value,
        node: &Node,
        entries: &[(Key, Node)],
        path: &str,
    ) -> NodeCheck {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = match schema.get("patternProperties") {
            Some(_) => Some(&ANYTHING),
            None => schema
                .get("additionalProperties")
                .filter(|others| others.is_object() || **others == ANYTHING),
        };
        let name_format = schema.get("propertyNames").and_then(|names| names.get("format"));
        let mut sound: Vec<(Key, Node)> = Vec::with_capacity(entries.len());
        let (mut problems, mut already_reported) = (Vec::new(), Vec::new());
        let mut strangers = Vec::new();
        for (key, value) in entries {
            let at = join(path, &key.text);
            let judged = name_format
                .and_then(Value::as_str)
                .and_then(|format| values::check_format(format, &key.text));
            if let Some(Err(reason)) = judged {
                problems.extend(NodeCheck::with_problem(key.span, &at, reason, None).problems);
                continue;
            }
            let known = properties.and_then(|properties| properties.get(&key.text));
            let outer = schema;
            let Some(schema) = known.or(others) else {
                let known = property_names(schema);
                if did_you_mean(&key.text, known.iter().copied()).is_none() {
                    strangers.push(problems.len());
                }
                problems.push(unknown_key(key, at, &known));
                continue;
            };
            let found = self.value(schema, value, &at);
            let is_good = found.problems.is_empty() && found.already_reported.is_empty();
            let required = schema_requires(outer, &key.text);
            let sound_value = match found.valid {
                // Null is the value where the key must be there: `[{a_filter: }]`.
                None if is_good && required => Some(value.clone()),
                sound_value => sound_value,
            };
            sound.extend(sound_value.map(|value| (key.clone(), value)));
            problems.extend(found.problems);
            already_reported.extend(found.already_reported);
        }
        let required = schema.get("required").and_then(Value::as_array);
        let mut is_whole = true;
        let mut missing = Vec::new();
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            // What is misspelt is reported already.
            let is_misspelt = |key: &Key| {
                properties.is_some_and(|known| !known.contains_key(&key.text))
                    && did_you_mean(&key.text, [name]).is_some()
            };
            if !entries.iter().any(|(key, _)| key.text == name || is_misspelt(key)) {
                missing.push(name);
            }
            is_whole &= sound.iter().any(|(key, _)| key.text == name);
        }
        // A name that is like no other may be what somebody else calls the one that is missing.
        if let ([name], [stranger]) = (missing.as_slice(), strangers.as_slice())
            && let Some(stranger) = problems.get_mut(*stranger)
        {
            stranger.help = Some(format!("did you mean `{name}`? This required key is missing"));
            missing.clear();
        }
        for name in missing {
            let reason = format!("the required key `{name}` is missing");
            problems.extend(
                NodeCheck::with_problem(node.span, &join(path, name), reason, None).problems,
            );
        }
        let sound = Node { span: node.span, kind: Kind::Mapping(sound) };
        NodeCheck { valid: is_whole.then_some(sound), problems, already_reported }
    }

    /// A mapping of one key, which says what the value is.
    fn tagged(
        &self,
        several: &[&'s Value],
        node: &Node,
        entries: &[(Key, Node)],
        path: &str,
    ) -> NodeCheck {
        if let Some(tag) = internal_tag(several) {
            return self.internally_tagged(tag, several, node, entries, path);
        }
        if !several.iter().all(|schema| is_external_variant(schema)) {
            // Nothing tells the alternatives apart but what they hold: the type judges.
            return NodeCheck::without_problems(node);
        }
        let known: Vec<&str> = several.iter().flat_map(|schema| property_names(schema)).collect();
        let [(key, _)] = entries else {
            let unknown = entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str()));
            let problems: Vec<_> =
                unknown.map(|(key, _)| unknown_key(key, join(path, &key.text), &known)).collect();
            if !problems.is_empty() {
                return NodeCheck { problems, ..NodeCheck::default() };
            }
            let reason = format!(
                "expected a mapping with exactly one of the keys \
                 {}",
                listed(known.iter().copied())
            );
            return NodeCheck::with_problem(node.span, path, reason, None);
        };
        match several.iter().find(|schema| property_names(schema).contains(&key.text.as_str())) {
            Some(schema) => self.mapping(schema, node, entries, path),
            None => {
                let finding = unknown_key(key, join(path, &key.text), &known);
                NodeCheck { problems: vec![finding], ..NodeCheck::default() }
            }
        }
    }

    /// A mapping one of whose keys says by its value what the others are.
    fn internally_tagged(
        &self,
        tag: &str,
        several: &[&'s Value],
        node: &Node,
        entries: &[(Key, Node)],
        path: &str,
    ) -> NodeCheck {
        let Some((_, written)) = entries.iter().find(|(key, _)| key.text == tag) else {
            let reason = format!("the required key `{tag}` is missing");
            return NodeCheck::with_problem(node.span, &join(path, tag), reason, None);
        };
        let word = match &written.kind {
            Kind::Scalar(scalar) => scalar.text.as_str(),
            Kind::Sequence(_) | Kind::Mapping(_) => "",
        };
        match several.iter().find(|schema| tag_of(schema, tag) == Some(word)) {
            Some(schema) => self.mapping(schema, node, entries, path),
            None => {
                let words: Vec<&str> = several.iter().filter_map(|it| tag_of(it, tag)).collect();
                let at = join(path, tag);
                let reason = format!("expected one of {}", listed(words.iter().copied()));
                let help =
                    did_you_mean(word, words).map(|guess| format!("did you mean `{guess}`?"));
                NodeCheck::with_problem(written.span, &at, reason, help)
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
