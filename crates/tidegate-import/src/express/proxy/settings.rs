//! Options of a proxy that become settings of its route: WebSockets, host, timeouts, headers. Knows no paths.

use super::ProxyOptions;
use crate::draft::Route;
use crate::express::assemble::RouteAssembly;
use crate::express::target::UpstreamTarget;
use crate::express::value::Value;
use crate::note::SourcePosition;
use oxc_ast::ast::{AssignmentTarget, Expression, Statement};
use oxc_span::GetSpan;

/// Options that do not affect routing, or that Tidegate applies anyway.
const IGNORED_OPTIONS: [&str; 14] = [
    "agent",
    "buffer",
    "ejectPlugins",
    "forward",
    "ignorePath",
    "localAddress",
    "logLevel",
    "logProvider",
    "logger",
    "plugins",
    "prependPath",
    "preserveHeaderKeyCase",
    "toProxy",
    "xfwd",
];

impl<'a> RouteAssembly<'a> {
    pub(super) fn settings(
        &mut self,
        route: &mut Route,
        options: &ProxyOptions<'_, 'a>,
        target: &UpstreamTarget,
        position: &SourcePosition,
    ) {
        route.websocket = options.get("ws").is_some_and(Value::is_true);
        if options.get("changeOrigin").is_some_and(Value::is_true) {
            route.host = Some(target.host_header.clone().unwrap_or("upstream".to_owned()));
        }
        if target.upstream.tls.is_some() && options.get("secure").is_some_and(|it| !it.is_true()) {
            let text = "`secure: false` accepts any certificate, but Tidegate verifies it; set `ca`, \
                `server_name` or `insecure_skip_verify` of `upstreams.NAME.tls`";
            self.run.notes.changed(position, text);
        }
        let time =
            |key| options.get(key).and_then(Value::plain).and_then(|it| it.parse::<u64>().ok());
        route.timeouts.read =
            time("proxyTimeout").or(time("timeout")).map(|time| match time % 1000 {
                0 => format!("{}s", time / 1000),
                _ => format!("{time}ms"),
            });
        for field in options.options.fields() {
            let position = self.run.position(field.line);
            let is_new = field.key == "on";
            let is_old =
                field.key.strip_prefix("on").is_some_and(|it| it.starts_with(char::is_uppercase));
            if self.version.is_some_and(|version| is_new && version < 3 || is_old && version >= 3) {
                let text = format!(
                    "`{}` belongs to another version of http-proxy-middleware and had no \
                     effect",
                    field.key
                );
                self.run.notes.changed(&position, text);
                continue;
            }
            match (field.key.as_str(), &field.value) {
                ("headers", headers @ Value::Object(_)) => {
                    for header in headers.fields() {
                        match header.value.plain() {
                            Some(value) => set(&mut route.request.set, &header.key, &value),
                            None => {
                                let text =
                                    format!("`{}`: its value is computed at run time", header.key);
                                self.run.notes.left_out(&position, text);
                            }
                        }
                    }
                }
                ("on", events @ Value::Object(_)) => {
                    for event in events.fields() {
                        self.event(route, &event.key, &event.value, event.line);
                    }
                }
                (
                    "onProxyReq" | "onProxyRes" | "onError" | "onProxyReqWs" | "onOpen" | "onClose",
                    _,
                ) => {
                    let name = field.key.strip_prefix("on").unwrap_or_default();
                    let mut letters = name.chars();
                    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
                    let event: String = first.into_iter().chain(letters).collect();
                    self.event(route, &event, &field.value, field.line);
                }
                (
                    "target" | "changeOrigin" | "pathRewrite" | "pathFilter" | "ws" | "secure"
                    | "timeout" | "proxyTimeout" | "router",
                    _,
                ) => {}
                ("selfHandleResponse" | "followRedirects" | "autoRewrite", Value::Bool(false)) => {}
                ("auth", _) => {
                    self.run.notes.left_out(
                        &position,
                        "`auth`: use `headers.request.set.authorization` instead",
                    );
                }
                (key, _) if IGNORED_OPTIONS.contains(&key) => {}
                (key, _) => {
                    self.run
                        .notes
                        .left_out(&position, format!("the option `{key}` has no equivalent"));
                }
            }
        }
    }

    /// Converts the header changes of a handler of the proxy's events; anything else in it is noted.
    fn event(&mut self, route: &mut Route, event: &str, handler: &Value<'a>, line: usize) {
        let position = self.run.position(line);
        let Value::Function(function) = handler else {
            self.run
                .notes
                .left_out(&position, format!("`{event}`: a handler that the import cannot follow"));
            return;
        };
        let mut is_whole = true;
        for statement in &function.body.statements {
            let Statement::ExpressionStatement(statement) = statement else {
                is_whole = false;
                continue;
            };
            is_whole &= self.header_change(route, &statement.expression);
        }
        let is_error = matches!(event, "error" | "open" | "close" | "start");
        if is_error && !is_whole {
            let text = format!(
                "`{event}`: error responses are the gateway's own; use `error_pages` instead"
            );
            self.run.notes.changed(&position, text);
        } else if !is_whole {
            let text = format!("`{event}`: this handler is code; use `headers`, or write a filter");
            self.run.notes.left_out(&position, text);
        }
    }

    /// Converts `proxyReq.setHeader('a', 'b')`, `proxyRes.headers['a'] = 'b'` and `delete proxyRes.headers['a']`, and
    /// skips logging. Returns false for anything else.
    fn header_change(&mut self, route: &mut Route, expression: &'a Expression<'a>) -> bool {
        let text = self.run.text_of(expression.span());
        match expression {
            _ if text.starts_with("console.") => true,
            Expression::CallExpression(call) => {
                let callee = self.run.text_of(call.callee.span());
                let arguments = self.run.arguments(&call.arguments);
                let mut texts = arguments.iter().map(Value::plain);
                match (callee.rsplit('.').next(), texts.next().flatten(), texts.next().flatten()) {
                    (Some("setHeader"), Some(name), Some(value))
                        if callee.starts_with("proxyReq") =>
                    {
                        set(&mut route.request.set, &name, &value);
                        true
                    }
                    (Some("removeHeader"), Some(name), _) if callee.starts_with("proxyReq") => {
                        route.request.remove.push(name);
                        true
                    }
                    _ => false,
                }
            }
            Expression::AssignmentExpression(assignment) => {
                let name = match &assignment.left {
                    AssignmentTarget::ComputedMemberExpression(member)
                        if self
                            .run
                            .text_of(member.object.span())
                            .starts_with("proxyRes.headers") =>
                    {
                        self.run.eval(&member.expression).plain()
                    }
                    _ => None,
                };
                match (name, self.run.eval(&assignment.right).plain()) {
                    (Some(name), Some(value)) => {
                        set(&mut route.response.set, &name, &value);
                        true
                    }
                    _ => false,
                }
            }
            Expression::UnaryExpression(unary) if text.starts_with("delete proxyRes.headers") => {
                let name = match &unary.argument {
                    Expression::ComputedMemberExpression(member) => {
                        self.run.eval(&member.expression).plain()
                    }
                    Expression::StaticMemberExpression(member) => {
                        Some(member.property.name.as_str().to_owned())
                    }
                    _ => None,
                };
                route.response.remove.extend(name.clone());
                name.is_some()
            }
            _ => false,
        }
    }
}

/// A header with this value as a template.
fn set(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    fields.push((name.to_owned(), value.replace('{', "{{").replace('}', "}}")));
}
