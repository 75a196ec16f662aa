//! Handlers that are functions of the program: those that give a fixed answer, those that guard,
//! and the rest, which is code.

use super::run::Run;
use super::value::{Function, Value};
use crate::import::draft::Action;
use oxc_ast::ast::{BindingPattern, Expression, Statement};

/// What a handler is.
pub enum Kind<'a> {
    /// It answers this, always.
    Answers(Action),
    /// It hands the request on by http-proxy, with these options.
    Proxies(Value<'a>),
    /// It sends this file.
    Sends(String),
    /// It looks at errors.
    Errors,
    /// It passes on, having logged.
    Passes,
    /// It may turn requests away.
    Guards,
    /// It does something with each request and passes it on.
    Middles,
    /// It answers by code.
    Code,
}

/// Words by which a handler that turns away is known.
const REFUSALS: [&str; 6] =
    ["401", "403", "Unauthorized", "Forbidden", "unauthorized", "forbidden"];
/// The same, of names.
const GUARDS: [&str; 16] = [
    "acl",
    "admin",
    "allow",
    "apikey",
    "auth",
    "csrf",
    "deny",
    "guard",
    "jwt",
    "login",
    "passport",
    "permission",
    "protect",
    "role",
    "session",
    "token",
];
/// Names of what does not turn away for who one is.
const HARMLESS: [&str; 17] = [
    "bodyparser",
    "body-parser",
    "compress",
    "cookie",
    "express.json",
    "express.raw",
    "express.text",
    "express.urlencoded",
    "logg",
    "metric",
    "morgan",
    "pino",
    "requestid",
    "request-id",
    "response-time",
    "trace",
    "winston",
];

/// Whether nothing is lost without what has this name.
pub fn is_harmless(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    HARMLESS.iter().any(|word| name.contains(word)) && !is_guard(&name)
}

pub fn is_guard(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    GUARDS.iter().any(|word| name.contains(word))
}

impl<'a> Run<'a> {
    pub fn kind_of(&mut self, function: Function<'a>) -> Kind<'a> {
        let text = self.text_of(function.span);
        let parameters = function.parameters.items.len();
        if parameters == 4 {
            return Kind::Errors;
        }
        let passes_on = parameters == 3 && text.contains("next(");
        if passes_on && REFUSALS.iter().any(|word| text.contains(word)) {
            return Kind::Guards;
        }
        if passes_on {
            let only_logs = function.body.statements.iter().all(|statement| {
                let Statement::ExpressionStatement(it) = statement else { return false };
                let text = self.text_of(it.span);
                ["console.", "logger.", "log.", "next("].iter().any(|word| text.starts_with(word))
            });
            return if only_logs { Kind::Passes } else { Kind::Middles };
        }
        self.proxies(function).or_else(|| self.answer(function)).unwrap_or(Kind::Code)
    }

    /// `(req, res) => proxy.web(req, res, {target})`, whatever is logged beside.
    fn proxies(&mut self, function: Function<'a>) -> Option<Kind<'a>> {
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
            found = Some(Kind::Proxies(Value::Object([&own, given].concat())));
        }
        found
    }

    /// The one answer that a function gives, whatever it is asked.
    fn answer(&mut self, function: Function<'a>) -> Option<Kind<'a>> {
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
            if !self.text_of(oxc_span::GetSpan::span(expression)).starts_with("console.") {
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
                    return Some(Kind::Answers(Action::Redirect(status, to)));
                }
                ("sendFile", Some(file)) => return Some(Kind::Sends(file.plain()?)),
                _ => return None,
            }
        }
        let (body, content_type) = kind?;
        let content_type = content_type.map(str::to_owned);
        Some(Kind::Answers(Action::Respond { status, body, content_type }))
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
