//! Classifies handlers that are functions of the program: fixed responses, guards, proxies, and other code. It does not
//! know where a handler is mounted.

use super::names::refuses;
use super::run::Interpreter;
use super::value::{Function, Value};
use crate::draft::Action;
use oxc_ast::ast::{BindingPattern, Expression, Statement};
use oxc_span::GetSpan;

/// The kind of a handler.
pub(super) enum HandlerKind<'a> {
    /// A fixed response.
    Answers(Action),
    /// A call of http-proxy with these options.
    Proxies(Value<'a>),
    /// It sends a file.
    Sends(String),
    /// An error handler.
    Errors,
    /// It only logs and calls `next()`.
    Passes,
    /// It may reject requests.
    Guards,
    /// It changes requests and calls `next()`.
    Middles,
    /// It computes a response.
    Code,
}

/// Words of a handler that may reject a request.
const REJECTION_WORDS: [&str; 9] = [
    ".end(",
    ".json(",
    ".redirect(",
    ".send(",
    ".sendStatus(",
    ".status(",
    "await ",
    "throw ",
    "verify",
];
impl<'a> Interpreter<'a> {
    pub(super) fn kind_of(&mut self, function: Function<'a>) -> HandlerKind<'a> {
        let text = self.text_of(function.span);
        let parameters = function.parameters.items.len();
        if parameters == 4 {
            return HandlerKind::Errors;
        }
        let third = function.parameters.items.get(2).map(|third| self.text_of(third.span));
        let uses = third.map_or(0, |third| words(self.text_of(function.body.span), third));
        if function.parameters.rest.is_some() || uses > 0 {
            return match third
                .filter(|_| uses == 1)
                .and_then(|third| self.lets_pass(function, third))
            {
                None => HandlerKind::Guards,
                Some(true) => HandlerKind::Passes,
                Some(false) => HandlerKind::Middles,
            };
        }
        let refuses = refuses(text);
        let kind = self.proxies(function).or_else(|| self.fixed_response(function));
        kind.unwrap_or(if refuses { HandlerKind::Guards } else { HandlerKind::Code })
    }

    /// Whether a handler only logs; `None` if it does not end with `next()`, or may do more than that.
    fn lets_pass(&mut self, function: Function<'a>, third: &str) -> Option<bool> {
        let (last, before) = function.body.statements.split_last()?;
        let goes_on = format!("{third}()");
        let is_end = |text: &str| {
            let text = text.trim().trim_end_matches(';').trim();
            text.strip_prefix("return ").unwrap_or(text) == goes_on
        };
        if !is_end(self.text_of(last.span())) {
            return None;
        }
        let texts = before.iter().map(|statement| self.text_of(statement.span()));
        let mut only_logs = true;
        for text in texts {
            let is_log = ["console.", "logger.", "log."].iter().any(|word| text.starts_with(word));
            if words(text, "return") > 0
                || !is_log && REJECTION_WORDS.iter().any(|word| text.contains(word))
            {
                return None;
            }
            only_logs &= is_log;
        }
        Some(only_logs)
    }

    /// `(req, res) => proxy.web(req, res, {target})`, with or without logging.
    fn proxies(&mut self, function: Function<'a>) -> Option<HandlerKind<'a>> {
        let mut found = None;
        for statement in &function.body.statements {
            let Statement::ExpressionStatement(statement) = statement else { return None };
            if self.text_of(statement.span).starts_with("console.") {
                continue;
            }
            let Expression::CallExpression(call) = &statement.expression else { return None };
            let Expression::StaticMemberExpression(member) = &call.callee else { return None };
            let Value::Call(made) = self.eval(&member.object) else { return None };
            if member.property.name != "web" || !made.name.starts_with("http-proxy") {
                return None;
            }
            let own = made.arguments.first().map(Value::fields).unwrap_or_default().to_vec();
            let given = self.arguments(&call.arguments);
            let given = given.get(2).map(Value::fields).unwrap_or_default();
            found = Some(HandlerKind::Proxies(Value::Object([&own, given].concat())));
        }
        found
    }

    /// The fixed response of a function.
    fn fixed_response(&mut self, function: Function<'a>) -> Option<HandlerKind<'a>> {
        let response = match &function.parameters.items.get(1)?.pattern {
            BindingPattern::BindingIdentifier(identifier) => identifier.name.as_str(),
            _ => return None,
        };
        let mut calls = Vec::new();
        for statement in &function.body.statements {
            let expression = match statement {
                Statement::ExpressionStatement(statement) => &statement.expression,
                Statement::ReturnStatement(statement) => match &statement.argument {
                    Some(argument) => argument,
                    None => continue,
                },
                _ => return None,
            };
            if !self.text_of(expression.span()).starts_with("console.") {
                self.calls_on(response, expression, &mut calls)?;
            }
        }
        let (mut status, mut kind) = (200_u16, None);
        for (method, arguments) in calls {
            let first = arguments.first();
            let number = first.and_then(Value::plain).and_then(|it| it.parse::<u16>().ok());
            match (method.as_str(), first) {
                ("status", _) => status = number?,
                ("sendStatus", _) => {
                    status = number?;
                    kind = Some((None, None));
                }
                ("json", Some(value)) => {
                    kind = Some((Some(value.json()?), Some("application/json; charset=utf-8")));
                }
                ("send", Some(value @ Value::Object(_))) => {
                    kind = Some((Some(value.json()?), Some("application/json; charset=utf-8")));
                }
                ("send" | "end", Some(Value::Text(text))) => {
                    let body = text.as_plain()?.to_owned();
                    kind = Some((
                        Some(body),
                        Some("text/html; charset=utf-8").filter(|_| method == "send"),
                    ));
                }
                ("send" | "end", None) => kind = Some((None, None)),
                ("redirect", Some(to)) => {
                    let (status, to) = match (number, arguments.get(1)) {
                        (Some(status), Some(to)) => (status, to.plain()?),
                        _ => (302, to.plain()?),
                    };
                    let to = to.replace('{', "{{").replace('}', "}}");
                    return Some(HandlerKind::Answers(Action::Redirect(status, to)));
                }
                ("sendFile", Some(file)) => return Some(HandlerKind::Sends(file.plain()?)),
                _ => return None,
            }
        }
        let (body, content_type) = kind?;
        let content_type = content_type.map(str::to_owned);
        Some(HandlerKind::Answers(Action::Respond { status, body, content_type }))
    }

    /// `res.status(200).json({…})` as its calls.
    fn calls_on(
        &mut self,
        response: &str,
        expression: &'a Expression<'a>,
        calls: &mut Vec<(String, Vec<Value<'a>>)>,
    ) -> Option<()> {
        match expression {
            Expression::Identifier(identifier) => (identifier.name == response).then_some(()),
            Expression::CallExpression(call) => {
                let Expression::StaticMemberExpression(member) = &call.callee else { return None };
                self.calls_on(response, &member.object, calls)?;
                let arguments = self.arguments(&call.arguments);
                calls.push((member.property.name.as_str().to_owned(), arguments));
                Some(())
            }
            _ => None,
        }
    }
}

/// The number of occurrences of a word in a text.
fn words(text: &str, word: &str) -> usize {
    let is_part = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || "_$".contains(it));
    let found = text.match_indices(word).filter(|(at, _)| {
        let (before, rest) = text.split_at(*at);
        let behind = rest.get(word.len()..).unwrap_or_default();
        !is_part(before.chars().next_back()) && !is_part(behind.chars().next())
    });
    found.count()
}
