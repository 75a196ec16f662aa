//! Validates the YAML tree against the JSON Schema and keeps its valid part, so that all problems are found and not
//! only the first. Knows no key; the schema does.

use super::BrokenParts;
use super::diagnostics::{Problems, UNKNOWN_KEY, did_you_mean};
use super::values::{self, Span};
use super::yaml::{CoreValue, Key, Kind, Node, Scalar};
use serde_json::{Map, Value};
use tidegate_http::secret::is_secret_path;

/// The valid part of the tree (`None` if there is none) and the problems of the rest.
pub(crate) fn check(
    schema: &Value,
    root: &Node,
    problems: &mut Problems,
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

    fn scalar(&self, choices: &[&Value], node: &Node, scalar: &Scalar, path: &str) -> NodeCheck {
        let resolved = scalar.resolve();
        if resolved == CoreValue::Null && choices.iter().any(|one| has_type(one, "null")) {
            // As if the key were not there.
            return NodeCheck::default();
        }
        if scalar.is_broken {
            return NodeCheck { already_reported: vec![path.to_owned()], ..NodeCheck::default() };
        }
        let mut words: Vec<&str> = Vec::new();
        let mut refusal = None;
        for choice in choices {
            match match_scalar(choice, scalar, resolved) {
                ScalarMatch::Matches => return NodeCheck::without_problems(node),
                ScalarMatch::OtherType => {}
                ScalarMatch::Invalid(reason) => refusal = Some(reason),
                ScalarMatch::NotOneOf(listed) => words.extend(listed),
            }
        }
        if let Some(reason) = refusal {
            let reason = format!("{}: {reason}", displayed_value(scalar, path));
            return NodeCheck::with_problem(node.span, path, reason, None);
        }
        if words.is_empty() {
            return wrong_kind(choices, node, path);
        }
        let mappings = choices.iter().filter(|one| has_type(one, "object"));
        let tags: Vec<&str> = mappings.filter_map(|one| only_key(one)).collect();
        let help = did_you_mean(&scalar.text, words.iter().chain(&tags).copied())
            .filter(|_| !scalar.is_expanded())
            .map(|guess| match tags.contains(&guess) {
                true => format!("did you mean a mapping: `{{{guess}: …}}`?"),
                false => format!("did you mean `{guess}`?"),
            });
        let mut expected = listed(words.iter().copied());
        if choices.iter().any(|one| has_type(one, "object")) {
            expected.push_str(" or a mapping");
        }
        let reason = format!("{} is not one of {expected}", displayed_value(scalar, path));
        NodeCheck::with_problem(node.span, path, reason, help)
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
}

impl<'s> Checker<'s> {
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

/// The schema of a value of any type.
static ANYTHING: Value = Value::Bool(true);

/// Whether a schema of a filter's settings has keys of its own beside alternatives, as `#[serde(flatten)]` makes them.
/// What such a mapping may hold, its type judges.
fn is_mixed(schema: &Value) -> bool {
    schema.get("properties").is_some()
        && ["anyOf", "oneOf", "allOf"].iter().any(|key| schema.get(*key).is_some())
}

/// The key that says by its value which of these mappings one is: the same in all, and a word of its own in each.
fn internal_tag<'s>(several: &[&'s Value]) -> Option<&'s str> {
    let (first, others) = several.split_first()?;
    property_names(first).into_iter().find(|name| {
        tag_of(first, name).is_some() && others.iter().all(|one| tag_of(one, name).is_some())
    })
}

/// The only word that a key of a mapping may have.
fn tag_of<'s>(schema: &'s Value, key: &str) -> Option<&'s str> {
    schema.get("properties")?.get(key)?.get("const")?.as_str()
}

/// Whether a mapping of this schema has one key, which says what its value is.
fn is_external_variant(schema: &Value) -> bool {
    only_key(schema).is_some()
}

/// Whether a mapping of this schema must have the key.
fn schema_requires(schema: &Value, key: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|required| required.iter().any(|name| name.as_str() == Some(key)))
}

/// A value as messages show it, unless it may be secret.
fn displayed_value(scalar: &Scalar, path: &str) -> String {
    match is_secret_path(path) {
        true => "the value".to_owned(),
        false => scalar.display_value(),
    }
}

fn wrong_kind(choices: &[&Value], node: &Node, path: &str) -> NodeCheck {
    const JSON_TYPES: [(&str, &str); 6] = [
        ("object", "a mapping"),
        ("array", "a list"),
        ("string", "a string"),
        ("integer", "an integer"),
        ("number", "a number"),
        ("boolean", "`true` or `false`"),
    ];
    let mut expected: Vec<&str> = Vec::new();
    for choice in choices {
        let kinds =
            JSON_TYPES.iter().filter(|(kind, _)| has_type(choice, kind)).map(|(_, name)| *name);
        let switch = is_switch(choice).then_some("`on` or `off`");
        for name in kinds.chain(switch) {
            if !expected.contains(&name) {
                expected.push(name);
            }
        }
    }
    let help = match &node.kind {
        Kind::Scalar(scalar) if expected.contains(&"a string") && !node.is_null() => {
            (!scalar.is_expanded()).then(|| in_quotes(&scalar.text, path))
        }
        // `{path}` without quotes is a mapping of a key to nothing.
        Kind::Mapping(entries) if expected.contains(&"a string") => match entries.as_slice() {
            [(key, value)] if value.is_null() => {
                Some(in_quotes(&format!("{{{}}}", key.text), path))
            }
            _ => None,
        },
        _ => None,
    };
    let reason = format!("expected {}, found {}", expected.join(" or "), node.kind_name());
    NodeCheck::with_problem(node.span, path, reason, help)
}

/// What to do about a string without quotes; a value that may be secret is not repeated.
fn in_quotes(text: &str, path: &str) -> String {
    match is_secret_path(path) {
        true => "put the value in quotes".to_owned(),
        false => format!("put it in quotes: \"{text}\""),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The key of a mapping with exactly one.
fn only_key(schema: &Value) -> Option<&str> {
    match property_names(schema).as_slice() {
        [name] => Some(name),
        _ => None,
    }
}

/// The keys that a mapping may have.
fn property_names(schema: &Value) -> Vec<&str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

fn unknown_key(key: &Key, path: String, known: &[&str]) -> Finding {
    if known.is_empty() && names_filter(&path) {
        let reason = "unknown filter: this program registers no filters".to_owned();
        let help = "register the filter with `Gateway::register` in the program that runs the \
            gateway"
            .to_owned();
        return Finding { span: key.span, path, reason, help: Some(help) };
    }
    let help = match did_you_mean(&key.text, known.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`?"),
        None => format!("known keys: {}", listed(known.iter().copied())),
    };
    Finding { span: key.span, path, reason: UNKNOWN_KEY.to_owned(), help: Some(help) }
}

/// Whether a path is that of a filter's name: `filters[0].NAME`, `routes[2].filters[0].NAME`.
fn names_filter(path: &str) -> bool {
    let list = path.rsplit_once("].").and_then(|(item, _)| item.rsplit_once('['));
    list.is_some_and(|(list, _)| list == "filters" || list.ends_with(".filters"))
}

/// Whether a schema of a filter's settings bounds nothing: `true`, or no more than a description.
fn accepts_anything(schema: &Value) -> bool {
    const ASSERTION_KEYWORDS: [&str; 5] = ["type", "enum", "const", "properties", "items"];
    match schema {
        Value::Bool(takes) => *takes,
        Value::Object(fields) => {
            !ASSERTION_KEYWORDS.iter().any(|bound| fields.contains_key(*bound))
        }
        _ => false,
    }
}

fn has_type(schema: &Value, expected: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == expected,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == expected),
        _ => false,
    }
}

/// The schema of [`values::Switch`]: words and booleans, whichever the parser made of `off`.
fn is_switch(schema: &Value) -> bool {
    let words = schema.get("enum").and_then(Value::as_array);
    words.is_some_and(|words| words.iter().any(Value::is_boolean))
}

enum ScalarMatch<'s> {
    Matches,
    OtherType,
    /// The type matches, the value is invalid for this reason.
    Invalid(String),
    /// Only these words are allowed.
    NotOneOf(Vec<&'s str>),
}

fn match_scalar<'s>(schema: &'s Value, scalar: &Scalar, resolved: CoreValue) -> ScalarMatch<'s> {
    if is_switch(schema) {
        return match scalar.text.parse::<values::Switch>() {
            Ok(_) => ScalarMatch::Matches,
            Err(_) => ScalarMatch::NotOneOf(vec!["on", "off"]),
        };
    }
    let constant = schema.get("const").and_then(Value::as_str);
    let listed = schema.get("enum").and_then(Value::as_array);
    if constant.is_some() || listed.is_some() {
        let listed = listed.into_iter().flatten().filter_map(Value::as_str);
        let words: Vec<&str> = constant.into_iter().chain(listed).collect();
        return match words.contains(&scalar.text.as_str()) {
            true => ScalarMatch::Matches,
            false => ScalarMatch::NotOneOf(words),
        };
    }
    if has_type(schema, "string") {
        let format = schema.get("format").and_then(Value::as_str);
        let judged = format.and_then(|format| values::check_format(format, &scalar.text));
        return match (resolved, judged) {
            (CoreValue::Null, _) => ScalarMatch::OtherType,
            (_, Some(Ok(()))) | (CoreValue::String, None) => ScalarMatch::Matches,
            (_, Some(Err(reason))) => ScalarMatch::Invalid(reason),
            (_, None) if scalar.is_expanded() => ScalarMatch::Matches,
            (_, None) => ScalarMatch::OtherType,
        };
    }
    match resolved {
        CoreValue::Bool(_) if has_type(schema, "boolean") => ScalarMatch::Matches,
        CoreValue::Integer(value) if has_type(schema, "integer") => {
            let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
            match (bound("minimum"), bound("maximum")) {
                (Some(least), _) if value < least => {
                    ScalarMatch::Invalid(format!("must be at least {least}"))
                }
                (_, Some(most)) if value > most => {
                    ScalarMatch::Invalid(format!("must be at most {most}"))
                }
                _ => ScalarMatch::Matches,
            }
        }
        CoreValue::Integer(value) if has_type(schema, "number") => {
            match_range(schema, value as f64)
        }
        CoreValue::Float(value) if has_type(schema, "number") => match_range(schema, value),
        _ => ScalarMatch::OtherType,
    }
}

fn match_range(schema: &Value, value: f64) -> ScalarMatch<'_> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), _) if value < least => {
            ScalarMatch::Invalid(format!("must be at least {least}"))
        }
        (_, Some(most)) if value > most => ScalarMatch::Invalid(format!("must be at most {most}")),
        _ => ScalarMatch::Matches,
    }
}
