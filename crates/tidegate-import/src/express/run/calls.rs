//! Calls of functions and methods, above all those of applications and routers. What a handler does is not its concern.

use super::Interpreter;
use crate::express::program::{AppCall, Listen};
use crate::express::value::Value;
use oxc_ast::ast::{Argument, Expression};
use oxc_span::Span;

impl<'a> Interpreter<'a> {
    /// `callee(arguments)`.
    pub(in crate::express) fn call(
        &mut self,
        callee: &'a Expression<'a>,
        arguments: &'a [Argument<'a>],
        span: Span,
    ) -> Value<'a> {
        let line = self.line_of(span);
        if let Expression::StaticMemberExpression(member) = callee {
            let object = self.eval(&member.object);
            if matches!(object, Value::App(_)) {
                self.visited.insert(span.start as usize);
            }
            let line = self.line_of(member.property.span);
            let arguments = self.arguments(arguments);
            if let (Value::List(items), Expression::Identifier(list)) = (&object, &member.object) {
                let grown = match member.property.name.as_str() {
                    "push" => Some(Value::List([&items[..], &arguments].concat())),
                    "unshift" => Some(Value::List([&arguments, &items[..]].concat())),
                    "splice" => Some(Value::Unknown),
                    _ => None,
                };
                if let Some(grown) = grown {
                    self.rebind(list.name.as_str(), grown);
                }
            }
            return self.method(object, member.property.name.as_str(), arguments, line);
        }
        let callee = self.eval(callee);
        let arguments = self.arguments(arguments);
        match callee {
            Value::Function(function) => self.call_function(function, &arguments),
            Value::Native(name) => self.native(&name, arguments, line),
            _ => {
                self.note_escaped_app(&arguments, line);
                self.explore(&arguments);
                Value::Unknown
            }
        }
    }

    fn method(
        &mut self,
        object: Value<'a>,
        method: &str,
        arguments: Vec<Value<'a>>,
        line: usize,
    ) -> Value<'a> {
        match (object, method) {
            (Value::App(app), _) => self.application_call(app, method, arguments, line),
            (Value::Server(tls), "listen") => {
                self.listens(arguments, tls, line);
                Value::Unknown
            }
            (Value::Server(_), "on" | "addListener") => {
                self.add_event_handler(arguments, line);
                Value::Unknown
            }
            (Value::List(items), "forEach" | "map") => {
                let Some(Value::Function(function)) = arguments.first() else {
                    return Value::Unknown;
                };
                let (function, mut made) = (*function, Vec::new());
                for (number, item) in items.into_iter().enumerate() {
                    made.push(self.call_function(function, &[item, Value::Number(number as f64)]));
                }
                Value::List(made)
            }
            (Value::Text(text), "split") => {
                let by = arguments.first().and_then(Value::plain);
                match (text.as_plain(), by) {
                    (Some(text), Some(by)) => {
                        Value::List(text.split(by.as_str()).map(Value::text).collect())
                    }
                    _ => Value::Unknown,
                }
            }
            (Value::Call(call), "ws" | "upgrade" | "web") if self.required_paths.is_some() => {
                self.passes_on(&call, method, &arguments, line);
                Value::Unknown
            }
            (Value::Native(native), _) => {
                self.native(&format!("{native}.{method}"), arguments, line)
            }
            (object @ Value::Object(_), _) => match object.member(method) {
                Value::Function(function) => self.call_function(function, &arguments),
                _ => Value::Unknown,
            },
            (_, "startsWith" | "includes") => {
                if let Some(path) = arguments.first().and_then(Value::plain) {
                    self.add_path_test(&path, false);
                }
                Value::Unknown
            }
            (_, "get") if self.required_paths.is_some() => {
                // `searchParams.get('userId')`.
                let name = arguments.first().and_then(Value::plain);
                let is_user = |name: &String| name.to_ascii_lowercase().contains("user");
                self.program.user_id.extend(name.filter(is_user));
                Value::Unknown
            }
            _ => {
                self.note_escaped_app(&arguments, line);
                self.explore(&arguments);
                Value::Unknown
            }
        }
    }

    /// What a program does with its application or a router.
    fn application_call(
        &mut self,
        app: usize,
        method: &str,
        arguments: Vec<Value<'a>>,
        line: usize,
    ) -> Value<'a> {
        let methods: &[&str] = match method {
            "use" | "all" => &[],
            "get" => &["GET", "HEAD"],
            "post" => &["POST"],
            "put" => &["PUT"],
            "patch" => &["PATCH"],
            "delete" => &["DELETE"],
            "options" => &["OPTIONS"],
            "head" => &["HEAD"],
            "listen" => {
                self.listens(arguments, None, line);
                return Value::Server(None);
            }
            "on" => {
                self.add_event_handler(arguments, line);
                return Value::Unknown;
            }
            "set" | "enable" => {
                let name = arguments.first().and_then(Value::plain).unwrap_or_default();
                if name == "trust proxy" {
                    let text = "`trust proxy`: list the networks of your proxies in `trusted_proxies` instead";
                    self.notes.left_out(&self.position(line), text);
                }
                return Value::Unknown;
            }
            "disable" => return Value::Unknown,
            "engine" => return Value::Unknown,
            other => {
                self.notes.left_out(
                    &self.position(line),
                    format!("the import does not support `{other}`"),
                );
                // The calls that follow may add handlers for these paths.
                let paths = arguments.first().filter(|_| other == "route").cloned();
                if let Some(entries) = self.program.apps.get_mut(app) {
                    entries.push(AppCall { paths, ..AppCall::unseen(line) });
                }
                return Value::Unknown;
            }
        };
        // Arrays of handlers count as their items.
        let mut arguments = arguments;
        let has_path = arguments.first().is_some_and(|first| {
            first.items().iter().all(|it| matches!(it, Value::Text(_) | Value::Regex(_)))
        });
        let paths = has_path.then(|| arguments.remove(0));
        // `app.get('setting')`.
        if arguments.is_empty() {
            return Value::Unknown;
        }
        let handlers = arguments.iter().flat_map(|it| it.items().iter().cloned()).collect();
        let methods = methods.iter().map(|&method| method.to_owned()).collect();
        let is_prefix = method == "use";
        if let Some(entries) = self.program.apps.get_mut(app) {
            entries.push(AppCall { line, methods, is_prefix, paths, handlers });
        }
        Value::App(app)
    }

    fn listens(&mut self, arguments: Vec<Value<'a>>, tls: Option<(String, String)>, line: usize) {
        let port = arguments.first().map(|port| port.get("port").unwrap_or(port).clone());
        let Some(port) = port.and_then(|port| port.text_with_variables()) else {
            self.notes.left_out(
                &self.position(line),
                "`listen`: the port is computed at run time; the listener \
                 uses port 3000",
            );
            return;
        };
        let host = arguments.get(1).and_then(Value::plain);
        self.program.listens.push(Listen { port, host, tls, line });
    }
}
