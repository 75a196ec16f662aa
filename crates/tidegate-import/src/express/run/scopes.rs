//! Names and their values, in nested scopes. Knows no statement.

use super::{Interpreter, MAX_EVALUATION_STEPS};
use crate::express::value::{Field, Value};
use oxc_ast::ast::{
    AssignmentExpression, AssignmentTarget, BindingPattern, Expression, StaticMemberExpression,
};

impl<'a> Interpreter<'a> {
    /// The value of this name, copied. A copy counts as many steps as it is large, so that a value that doubles itself
    /// reaches the limit soon.
    pub(in crate::express) fn lookup(&mut self, name: &str) -> Option<Value<'a>> {
        let value = self.scopes.iter().rev().find_map(|scope| scope.get(name))?;
        self.steps_taken += value.size();
        Some(if self.steps_taken < MAX_EVALUATION_STEPS { value.clone() } else { Value::Unknown })
    }

    pub(super) fn bind(&mut self, name: &str, value: Value<'a>) {
        if matches!(value, Value::App(_)) {
            self.app_names.insert(name.to_owned());
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), value);
        }
    }

    /// Assigns a new value to an existing name.
    pub(super) fn rebind(&mut self, name: &str, value: Value<'a>) {
        match self.scopes.iter_mut().rev().find(|scope| scope.contains_key(name)) {
            Some(scope) => drop(scope.insert(name.to_owned(), value)),
            None => self.bind(name, value),
        }
    }

    pub(super) fn bind_pattern(&mut self, pattern: &'a BindingPattern<'a>, value: Value<'a>) {
        match pattern {
            BindingPattern::BindingIdentifier(identifier) => {
                self.bind(identifier.name.as_str(), value);
            }
            BindingPattern::ObjectPattern(object) => {
                for property in &object.properties {
                    let inner = property.key.static_name().map(|name| value.member(&name));
                    self.bind_pattern(&property.value, inner.unwrap_or(Value::Unknown));
                }
            }
            BindingPattern::ArrayPattern(array) => {
                for (number, element) in array.elements.iter().enumerate() {
                    if let Some(element) = element {
                        let item = match &value {
                            Value::List(items) => items.get(number).cloned(),
                            _ => None,
                        };
                        self.bind_pattern(element, item.unwrap_or(Value::Unknown));
                    }
                }
            }
            BindingPattern::AssignmentPattern(assignment) => {
                let value = match value {
                    Value::Null | Value::Unknown => self.eval(&assignment.right),
                    value => value,
                };
                self.bind_pattern(&assignment.left, value);
            }
        }
    }

    /// `a = b`; targets such as `module.exports` do not matter.
    pub(in crate::express) fn assigned(
        &mut self,
        assignment: &'a AssignmentExpression<'a>,
    ) -> Value<'a> {
        let value = self.eval(&assignment.right);
        if let AssignmentTarget::StaticMemberExpression(member) = &assignment.left {
            self.assign_member(member, &value);
        } else if let Some(name) = assignment.left.get_identifier_name() {
            // Only a run would show which of two handlers a name refers to.
            let is_another = self.lookup(name).is_some_and(|it| {
                it.is_handler() || value.is_handler() && !matches!(it, Value::Null)
            });
            let value = if is_another { Value::Unknown } else { value.clone() };
            self.rebind(name, value);
        }
        value
    }

    /// `object.key = value`.
    fn assign_member(&mut self, member: &'a StaticMemberExpression<'a>, value: &Value<'a>) {
        if let Expression::Identifier(object) = &member.object
            && let Some(Value::Object(mut fields)) = self.lookup(object.name.as_str())
        {
            let (key, line) = (member.property.name.as_str(), self.line_of(member.span));
            let is_another = fields.iter().any(|it| it.key == key && it.value.is_handler());
            let value = if is_another { Value::Unknown } else { value.clone() };
            fields.push(Field { key: key.to_owned(), value, line });
            self.rebind(object.name.as_str(), Value::Object(fields));
        }
    }
}
