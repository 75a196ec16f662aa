//! Evaluates expressions, as far as their value is known without running the program. It does not know Express.

use super::run::Interpreter;
use super::text::TextWithVariables;
use super::value::{Call, Field, Function, Value};
use oxc_ast::ast::{
    Argument, ArrayExpressionElement, BinaryExpression, ChainElement, Expression,
    ObjectPropertyKind, PropertyKey, TemplateLiteral,
};
use oxc_span::GetSpan;
use std::rc::Rc;

/// The globals of every program.
const GLOBALS: [&str; 9] = [
    "JSON",
    "Number",
    "Object",
    "String",
    "console",
    "parseInt",
    "process",
    "require",
    "setInterval",
];

impl<'a> Interpreter<'a> {
    pub(super) fn eval(&mut self, expression: &'a Expression<'a>) -> Value<'a> {
        if !self.may_go_on() {
            return Value::Unknown;
        }
        self.depth += 1;
        let value = self.eval_inside(expression);
        self.depth -= 1;
        value
    }

    fn eval_inside(&mut self, expression: &'a Expression<'a>) -> Value<'a> {
        match expression {
            Expression::BooleanLiteral(literal) => Value::Bool(literal.value),
            Expression::NullLiteral(_) => Value::Null,
            Expression::NumericLiteral(literal) => Value::Number(literal.value),
            Expression::StringLiteral(literal) => Value::text(literal.value.as_str()),
            Expression::RegExpLiteral(literal) => {
                Value::Regex(literal.regex.pattern.text.as_str().to_owned())
            }
            Expression::TemplateLiteral(template) => self.eval_template(template),
            Expression::Identifier(identifier) => self.eval_identifier(identifier.name.as_str()),
            Expression::ArrayExpression(array) => {
                let mut items = Vec::new();
                for element in &array.elements {
                    match element {
                        ArrayExpressionElement::SpreadElement(spread) => {
                            match self.eval(&spread.argument) {
                                Value::List(spread) => items.extend(spread),
                                _ => return Value::Unknown,
                            }
                        }
                        ArrayExpressionElement::Elision(_) => items.push(Value::Null),
                        other => {
                            items.push(
                                other.as_expression().map_or(Value::Unknown, |it| self.eval(it)),
                            );
                        }
                    }
                }
                Value::List(items)
            }
            Expression::ObjectExpression(object) => self.eval_object(&object.properties),
            Expression::ArrowFunctionExpression(arrow) => Value::Function(Function {
                parameters: &arrow.params,
                body: &arrow.body,
                is_expression: arrow.expression,
                span: arrow.span,
            }),
            Expression::FunctionExpression(function) => match &function.body {
                Some(body) => Value::Function(Function {
                    parameters: &function.params,
                    body,
                    is_expression: false,
                    span: function.span,
                }),
                None => Value::Unknown,
            },
            Expression::LogicalExpression(logical) => {
                let (left, right) = (self.eval(&logical.left), self.eval(&logical.right));
                let is_default = !logical.operator.is_and();
                match (left, right) {
                    (Value::Text(left), right) if is_default => match right.text_with_variables() {
                        Some(right) => Value::Text(left.or(&right)),
                        None => Value::Text(left),
                    },
                    // Either function may be the guard.
                    (Value::Unknown, right) if is_default && right.is_handler() => Value::Unknown,
                    (Value::Unknown | Value::Null, right) if is_default => right,
                    (left, _) if is_default => left,
                    _ => Value::Unknown,
                }
            }
            Expression::BinaryExpression(binary) => self.eval_binary(binary),
            Expression::ParenthesizedExpression(inner) => self.eval(&inner.expression),
            Expression::AwaitExpression(inner) => self.eval(&inner.argument),
            Expression::TSAsExpression(inner) => self.eval(&inner.expression),
            Expression::TSSatisfiesExpression(inner) => self.eval(&inner.expression),
            Expression::TSNonNullExpression(inner) => self.eval(&inner.expression),
            Expression::UnaryExpression(unary) => {
                let value = self.eval(&unary.argument);
                match (unary.operator.as_str(), value) {
                    ("-", Value::Number(number)) => Value::Number(-number),
                    ("+", value @ Value::Text(_)) => value,
                    ("!", Value::Bool(is)) => Value::Bool(!is),
                    _ => Value::Unknown,
                }
            }
            Expression::ConditionalExpression(conditional) => {
                self.eval(&conditional.test);
                self.eval(&conditional.alternate);
                self.eval(&conditional.consequent);
                Value::Unknown
            }
            Expression::SequenceExpression(sequence) => {
                let values = sequence.expressions.iter().map(|it| self.eval(it));
                values.last().unwrap_or(Value::Unknown)
            }
            Expression::AssignmentExpression(assignment) => self.assigned(assignment),
            Expression::CallExpression(call) => {
                self.call(&call.callee, &call.arguments, expression.span())
            }
            Expression::NewExpression(new) => self.construct(new),
            Expression::ChainExpression(chain) => match &chain.expression {
                ChainElement::CallExpression(call) => {
                    self.call(&call.callee, &call.arguments, call.span)
                }
                ChainElement::StaticMemberExpression(member) => {
                    let object = self.eval(&member.object);
                    object.member(member.property.name.as_str())
                }
                _ => Value::Unknown,
            },
            Expression::StaticMemberExpression(member) => {
                let object = self.eval(&member.object);
                object.member(member.property.name.as_str())
            }
            Expression::ComputedMemberExpression(member) => {
                let object = self.eval(&member.object);
                match self.eval(&member.expression) {
                    Value::Number(at) => {
                        let found = object.items().iter().enumerate();
                        let found = found.filter(|(position, _)| *position as f64 == at);
                        found.map(|(_, item)| item.clone()).next().unwrap_or(Value::Unknown)
                    }
                    key => match key.plain() {
                        Some(key) => object.member(&key),
                        None => Value::Unknown,
                    },
                }
            }
            _ => Value::Unknown,
        }
    }

    fn eval_identifier(&mut self, name: &str) -> Value<'a> {
        if let Some(value) = self.lookup(name) {
            return value;
        }
        match name {
            "__dirname" => Value::text("."),
            "undefined" => Value::Null,
            name if GLOBALS.contains(&name) => Value::Native(name.to_owned()),
            _ => Value::Unknown,
        }
    }

    fn eval_template(&mut self, template: &'a TemplateLiteral<'a>) -> Value<'a> {
        let mut made = TextWithVariables::default();
        for (number, quasi) in template.quasis.iter().enumerate() {
            let text = quasi.value.cooked.as_ref().map(|text| text.as_str());
            made = made.then(TextWithVariables::plain(text.unwrap_or_default()));
            if let Some(expression) = template.expressions.get(number) {
                match self.eval(expression).text_with_variables() {
                    Some(written) => made = made.then(written),
                    None => return Value::Unknown,
                }
            }
        }
        Value::Text(made)
    }

    fn eval_binary(&mut self, binary: &'a BinaryExpression<'a>) -> Value<'a> {
        let (left, right) = (self.eval(&binary.left), self.eval(&binary.right));
        if let (Value::Number(left), Value::Number(right)) = (&left, &right) {
            let made = match binary.operator.as_str() {
                "+" => Some(left + right),
                "-" => Some(left - right),
                "*" => Some(left * right),
                "/" => Some(left / right),
                _ => None,
            };
            // JavaScript writes other numbers in another form.
            let is_plain = |number: &f64| number.is_finite() && number.abs() < 1e21;
            if let Some(made) = made {
                return Some(made + 0.0).filter(is_plain).map_or(Value::Unknown, Value::Number);
            }
        }
        match binary.operator.as_str() {
            "+" => match (left.text_with_variables(), right.text_with_variables()) {
                (Some(left), Some(right)) => Value::Text(left.then(right)),
                _ => Value::Unknown,
            },
            "===" | "==" => {
                for path in [&left, &right].into_iter().filter_map(|side| side.plain()) {
                    self.add_path_test(&path, true);
                }
                Value::Unknown
            }
            _ => Value::Unknown,
        }
    }

    fn eval_object(&mut self, properties: &'a [ObjectPropertyKind<'a>]) -> Value<'a> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        for property in properties {
            match property {
                ObjectPropertyKind::SpreadProperty(spread) => {
                    let line = self.line_of(spread.span);
                    match self.eval(&spread.argument) {
                        Value::Object(spread) => fields.extend(spread),
                        value => fields.push(Field { key: "...".to_owned(), value, line }),
                    }
                }
                ObjectPropertyKind::ObjectProperty(property) => {
                    let key = match &property.key {
                        PropertyKey::StaticIdentifier(name) => Some(name.name.as_str().to_owned()),
                        key if property.computed || key.is_expression() => {
                            key.as_expression().and_then(|key| self.eval(key).plain())
                        }
                        _ => None,
                    };
                    let line = self.line_of(property.span);
                    let value = self.eval(&property.value);
                    if let Some(key) = key {
                        fields.push(Field { key, value, line });
                    }
                }
            }
        }
        Value::Object(fields)
    }

    /// The values of a call's arguments.
    pub(super) fn arguments(&mut self, arguments: &'a [Argument<'a>]) -> Vec<Value<'a>> {
        let mut values = Vec::new();
        for argument in arguments {
            match argument {
                Argument::SpreadElement(spread) => match self.eval(&spread.argument) {
                    Value::List(items) => values.extend(items),
                    _ => values.push(Value::Unknown),
                },
                other => {
                    values.push(other.as_expression().map_or(Value::Unknown, |it| self.eval(it)));
                }
            }
        }
        values
    }

    /// A call of a module's function.
    pub(super) fn native(
        &mut self,
        name: &str,
        arguments: Vec<Value<'a>>,
        line: usize,
    ) -> Value<'a> {
        let first = arguments.first();
        match name {
            "require" => match first.and_then(Value::plain) {
                Some(module) => Value::Native(module.trim_start_matches("node:").to_owned()),
                None => Value::Unknown,
            },
            "express" | "express.default" => self.application(),
            "express.Router" => self.router(),
            "Number" | "parseInt" | "String" | "Object.freeze" => {
                first.cloned().unwrap_or(Value::Unknown)
            }
            "Object.entries" | "Object.keys" | "Object.values" => {
                let Some(object @ Value::Object(fields)) = first else { return Value::Unknown };
                let _ = object;
                let items = fields.iter().map(|field| match name {
                    "Object.keys" => Value::text(&field.key),
                    "Object.values" => field.value.clone(),
                    _ => Value::List(vec![Value::text(&field.key), field.value.clone()]),
                });
                Value::List(items.collect())
            }
            "path.join" | "path.resolve" => {
                let parts: Option<Vec<_>> = arguments.iter().map(Value::plain).collect();
                match parts {
                    Some(parts) => {
                        let joined = parts.join("/").replace("//", "/");
                        Value::text(joined.strip_prefix("./").unwrap_or(&joined))
                    }
                    None => Value::Unknown,
                }
            }
            "fs.readFileSync" => first.cloned().unwrap_or(Value::Unknown),
            "http.createServer" => {
                self.close_if_called_by(arguments.last(), line);
                Value::Server(None)
            }
            "https.createServer" => {
                self.close_if_called_by(arguments.last(), line);
                let file = |key| first.and_then(|it| it.get(key)).and_then(Value::plain);
                Value::Server(file("cert").zip(file("key")))
            }
            _ => {
                if name.starts_with('.') {
                    self.note_escaped_app(&arguments, line);
                }
                Value::Call(Rc::new(Call { name: name.to_owned(), arguments, line }))
            }
        }
    }
}
