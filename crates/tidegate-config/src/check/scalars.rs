//! Compares a scalar with the alternatives that a schema has for it. Knows nothing of lists and mappings.

use super::messages::{displayed_value, listed, wrong_kind};
use super::schemas::{has_type, is_switch, only_key};
use super::{Checker, NodeCheck};
use crate::diagnostics::did_you_mean;
use crate::values;
use crate::yaml::{CoreValue, Node, Scalar};
use serde_json::Value;

impl Checker<'_> {
    pub(super) fn scalar(
        &self,
        choices: &[&Value],
        node: &Node,
        scalar: &Scalar,
        path: &str,
    ) -> NodeCheck {
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
