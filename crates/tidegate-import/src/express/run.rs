//! Follows the statements of a program in the order in which Node.js would run them, and records the calls on its
//! application. It runs nothing, and does not know routes.

use super::names::refuses;
use super::program::{Entry, Listen, Program, Upgrade};
use super::value::{Call, Field, Function, Value};
use crate::draft::PathRule;
use crate::note::{Notes, Place};
use oxc_ast::ast::{
    Argument, AssignmentExpression, AssignmentTarget, BindingPattern, Declaration, Expression,
    ForStatementLeft, ImportDeclarationSpecifier, NewExpression, Statement, StaticMemberExpression,
    VariableDeclaration,
};
use oxc_span::{GetSpan, Span};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

/// Maximum nesting of calls and expressions.
const MAX_CALL_DEPTH: usize = 150;
/// Maximum number of evaluation steps; lists of services are short.
const MAX_STEPS: usize = 200_000;

pub(super) struct Run<'a> {
    pub source: &'a str,
    path: &'a Path,
    /// The offset of each line.
    lines: Vec<usize>,
    pub notes: &'a mut Notes,
    scopes: Vec<HashMap<String, Value<'a>>>,
    pub program: Program<'a>,
    pub depth: usize,
    steps: usize,
    /// Within an upgrade handler: what the path must be for what is looked at.
    asked: Option<Vec<PathRule>>,
    /// The positions of the application calls that were reached.
    pub visited: HashSet<usize>,
    /// The names of applications.
    pub app_names: BTreeSet<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(source: &'a str, path: &'a Path, notes: &'a mut Notes) -> Self {
        let ends = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self {
            source,
            path,
            lines,
            notes,
            scopes: vec![HashMap::new()],
            program: Program::default(),
            depth: 0,
            steps: 0,
            asked: None,
            visited: HashSet::new(),
            app_names: BTreeSet::new(),
        }
    }

    pub(super) fn may_go_on(&mut self) -> bool {
        self.steps += 1;
        self.depth < MAX_CALL_DEPTH && self.steps < MAX_STEPS
    }

    /// Whether the step limit was reached.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps >= MAX_STEPS
    }

    pub(super) fn line_of(&self, span: Span) -> usize {
        let start = usize::try_from(span.start).unwrap_or(0);
        self.lines.partition_point(|line| *line <= start)
    }

    pub(super) fn position(&self, line: usize) -> Place {
        Place { file: self.path.to_owned(), line }
    }

    /// The text of a piece of the program.
    pub(super) fn text_of(&self, span: Span) -> &'a str {
        self.source.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// What has this name. It is copied, and a copy counts as many steps as it is large: what
    /// doubles itself ends early.
    pub(super) fn lookup(&mut self, name: &str) -> Option<Value<'a>> {
        let value = self.scopes.iter().rev().find_map(|scope| scope.get(name))?;
        self.steps += value.size();
        Some(if self.steps < MAX_STEPS { value.clone() } else { Value::Unknown })
    }

    fn bind(&mut self, name: &str, value: Value<'a>) {
        if matches!(value, Value::App(_)) {
            self.app_names.insert(name.to_owned());
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), value);
        }
    }

    /// Assigns a new value to an existing name.
    fn rebind(&mut self, name: &str, value: Value<'a>) {
        match self.scopes.iter_mut().rev().find(|scope| scope.contains_key(name)) {
            Some(scope) => drop(scope.insert(name.to_owned(), value)),
            None => self.bind(name, value),
        }
    }

    fn bind_pattern(&mut self, pattern: &'a BindingPattern<'a>, value: Value<'a>) {
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

    /// Statements in their order; the value that they return.
    pub(super) fn statements(&mut self, statements: &'a [Statement<'a>]) -> Option<Value<'a>> {
        // Functions may be used before their declaration.
        for statement in statements {
            if let Statement::FunctionDeclaration(function) = statement
                && let (Some(id), Some(body)) = (&function.id, &function.body)
            {
                let value = Value::Function(Function {
                    parameters: &function.params,
                    body,
                    is_expression: false,
                    span: function.span,
                });
                self.bind(id.name.as_str(), value);
            }
        }
        statements.iter().find_map(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &'a Statement<'a>) -> Option<Value<'a>> {
        if !self.may_go_on() {
            return None;
        }
        self.depth += 1;
        let returned = self.statement_inside(statement);
        self.depth -= 1;
        returned
    }

    fn statement_inside(&mut self, statement: &'a Statement<'a>) -> Option<Value<'a>> {
        match statement {
            Statement::ExpressionStatement(statement) => {
                self.eval(&statement.expression);
                None
            }
            Statement::VariableDeclaration(declaration) => {
                self.declare(declaration);
                None
            }
            Statement::ExportNamedDeclaration(export) => {
                if let Some(Declaration::VariableDeclaration(declaration)) = &export.declaration {
                    self.declare(declaration);
                }
                None
            }
            Statement::ImportDeclaration(import) => {
                let module = import.source.value.as_str().trim_start_matches("node:");
                for specifier in import.specifiers.iter().flatten() {
                    let native = match specifier {
                        ImportDeclarationSpecifier::ImportSpecifier(specifier) => {
                            format!("{module}.{}", specifier.imported.name())
                        }
                        _ => module.to_owned(),
                    };
                    self.bind(&specifier.name(), Value::Native(native));
                }
                None
            }
            Statement::ReturnStatement(statement) => {
                Some(statement.argument.as_ref().map_or(Value::Null, |value| self.eval(value)))
            }
            Statement::BlockStatement(block) => self.statements(&block.body),
            Statement::TryStatement(block) => self.statements(&block.block.body),
            Statement::IfStatement(statement) => {
                self.condition(statement);
                None
            }
            Statement::ForOfStatement(statement) => {
                let items = self.eval(&statement.right);
                let ForStatementLeft::VariableDeclaration(declaration) = &statement.left else {
                    return None;
                };
                let pattern = declaration.declarations.first().map(|it| &it.id)?;
                let Value::List(items) = items else { return None };
                for item in items {
                    self.bind_pattern(pattern, item);
                    self.statement(&statement.body);
                }
                None
            }
            Statement::SwitchStatement(switch) => {
                for case in &switch.cases {
                    self.statements(&case.consequent);
                }
                None
            }
            Statement::ForStatement(statement) => self.statement(&statement.body),
            Statement::ForInStatement(statement) => self.statement(&statement.body),
            Statement::WhileStatement(statement) => self.statement(&statement.body),
            _ => None,
        }
    }

    fn declare(&mut self, declaration: &'a VariableDeclaration<'a>) {
        for declarator in &declaration.declarations {
            let value = declarator.init.as_ref().map_or(Value::Null, |init| self.eval(init));
            self.bind_pattern(&declarator.id, value);
        }
    }

    fn condition(&mut self, statement: &'a oxc_ast::ast::IfStatement<'a>) {
        if let Some(outside) = self.asked.clone() {
            // What the test asks of the path holds within.
            self.asked = Some(Vec::new());
            self.eval(&statement.test);
            let found = self.asked.take().unwrap_or_default();
            self.asked = Some(if found.is_empty() { outside.clone() } else { found });
            self.statement(&statement.consequent);
            self.asked = Some(outside);
            if let Some(alternate) = &statement.alternate {
                self.statement(alternate);
            }
            return;
        }
        let before = self.program.size();
        // Of both, for either may be what holds; the first that answers is the one that is kept.
        if let Some(alternate) = &statement.alternate {
            self.statement(alternate);
        }
        self.statement(&statement.consequent);
        let line = self.line_of(statement.span);
        if self.program.size() > before {
            let text = format!(
                "`if ({})`: the import applies its content unconditionally",
                self.text_of(statement.test.span())
            );
            self.notes.changed(&self.position(line), text);
        }
    }

    /// A call of one of the program's functions.
    pub(super) fn apply(&mut self, function: Function<'a>, arguments: &[Value<'a>]) -> Value<'a> {
        if !self.may_go_on() {
            return Value::Unknown;
        }
        self.depth += 1;
        self.scopes.push(HashMap::new());
        for (number, parameter) in function.parameters.items.iter().enumerate() {
            let value = arguments.get(number).cloned();
            let value = match (value, &parameter.initializer) {
                (None | Some(Value::Null), Some(initial)) => self.eval(initial),
                (value, _) => value.unwrap_or(Value::Unknown),
            };
            self.bind_pattern(&parameter.pattern, value);
        }
        let returned = match (function.is_expression, function.body.statements.first()) {
            (true, Some(Statement::ExpressionStatement(value))) => {
                Some(self.eval(&value.expression))
            }
            _ => self.statements(&function.body.statements),
        };
        self.scopes.pop();
        self.depth -= 1;
        returned.unwrap_or(Value::Null)
    }

    pub(super) fn application(&mut self) -> Value<'a> {
        self.program.apps.push(Vec::new());
        Value::App(self.program.apps.len() - 1)
    }

    /// One that answers nobody before it is mounted.
    pub(super) fn router(&mut self) -> Value<'a> {
        self.program.routers.push(self.program.apps.len());
        self.application()
    }

    /// `callee(arguments)`.
    pub(super) fn call(
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
            Value::Function(function) => self.apply(function, &arguments),
            Value::Native(name) => self.native(&name, arguments, line),
            _ => {
                self.note_escaping(&arguments, line);
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
                self.on(arguments, line);
                Value::Unknown
            }
            (Value::List(items), "forEach" | "map") => {
                let Some(Value::Function(function)) = arguments.first() else {
                    return Value::Unknown;
                };
                let (function, mut made) = (*function, Vec::new());
                for (number, item) in items.into_iter().enumerate() {
                    made.push(self.apply(function, &[item, Value::Number(number as f64)]));
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
            (Value::Call(call), "ws" | "upgrade" | "web") if self.asked.is_some() => {
                self.passes_on(&call, method, &arguments, line);
                Value::Unknown
            }
            (Value::Native(native), _) => {
                self.native(&format!("{native}.{method}"), arguments, line)
            }
            (object @ Value::Object(_), _) => match object.member(method) {
                Value::Function(function) => self.apply(function, &arguments),
                _ => Value::Unknown,
            },
            (_, "startsWith" | "includes") => {
                if let Some(path) = arguments.first().and_then(Value::plain) {
                    self.add_path_test(&path, false);
                }
                Value::Unknown
            }
            (_, "get") if self.asked.is_some() => {
                // `searchParams.get('userId')`.
                let name = arguments.first().and_then(Value::plain);
                let is_user = |name: &String| name.to_ascii_lowercase().contains("user");
                self.program.user_id.extend(name.filter(is_user));
                Value::Unknown
            }
            _ => {
                self.note_escaping(&arguments, line);
                self.explore(&arguments);
                Value::Unknown
            }
        }
    }

    /// Also follows callbacks of an upgrade handler.
    fn explore(&mut self, arguments: &[Value<'a>]) {
        if self.asked.is_some() {
            for argument in arguments {
                if let Value::Function(function) = argument {
                    self.apply(*function, &[]);
                }
            }
        }
    }

    /// A test of a path.
    pub(super) fn add_path_test(&mut self, path: &str, is_exact: bool) {
        if let Some(asked) = &mut self.asked
            && path.starts_with('/')
        {
            asked.push(match is_exact {
                true => PathRule::Exact(path.to_owned()),
                false => PathRule::prefix(path),
            });
        }
    }

    /// `new Something(…)`.
    pub(super) fn made(&mut self, new: &'a NewExpression<'a>) -> Value<'a> {
        let line = self.line_of(new.span);
        let callee = self.eval(&new.callee);
        let arguments = self.arguments(&new.arguments);
        if let (Value::Native(name), Some(paths)) = (&callee, self.asked.clone())
            && matches!(name.as_str(), "ws" | "ws.WebSocket")
            && let Some(target) = arguments.first()
        {
            let target = target.clone();
            self.program.upgrades.push(Upgrade { paths, target, line, keeps_path: false });
        }
        Value::Unknown
    }

    /// `proxy.ws(request, socket, head, {target})` and `proxy.upgrade(request, socket, head)`.
    fn passes_on(
        &mut self,
        call: &Rc<Call<'a>>,
        method: &str,
        arguments: &[Value<'a>],
        line: usize,
    ) {
        let Some(paths) = self.asked.clone() else { return };
        let given = arguments.iter().find_map(|argument| argument.get("target"));
        let own = call.arguments.iter().find_map(|argument| argument.get("target"));
        match (method, given.or(own)) {
            ("ws", Some(target)) => {
                let target = target.clone();
                self.program.upgrades.push(Upgrade { paths, target, line, keeps_path: true });
            }
            ("upgrade", _) => self.program.upgraded.push((Rc::clone(call), paths)),
            _ => {}
        }
    }

    /// `server.on(event, handler)`.
    fn on(&mut self, arguments: Vec<Value<'a>>, line: usize) {
        let mut arguments = arguments.into_iter();
        if arguments.next().and_then(|event| event.plain()).as_deref() != Some("upgrade") {
            return;
        }
        match arguments.next() {
            Some(Value::UpgradeOf(call)) => self.program.upgraded.push((call, Vec::new())),
            Some(Value::Function(function)) if refuses(self.text_of(function.span)) => {
                let text = "an `upgrade` handler that may reject requests: its WebSockets are not converted";
                self.notes.left_out(&self.position(line), text);
            }
            Some(Value::Function(function)) => {
                let before = self.program.upgrades.len() + self.program.upgraded.len();
                self.asked = Some(Vec::new());
                self.apply(function, &[]);
                self.asked = None;
                if self.program.upgrades.len() + self.program.upgraded.len() == before {
                    let text = "an `upgrade` handler without a recognisable target (`new \
                        WebSocket(URL)`, `proxy.ws` or `proxy.upgrade`)";
                    self.notes.left_out(&self.position(line), text);
                }
            }
            _ => self.notes.left_out(
                &self.position(line),
                "an `upgrade` handler that the import cannot follow",
            ),
        }
    }

    fn listens(&mut self, arguments: Vec<Value<'a>>, tls: Option<(String, String)>, line: usize) {
        let port = arguments.first().map(|port| port.get("port").unwrap_or(port).clone());
        let Some(port) = port.and_then(|port| port.written()) else {
            self.notes.left_out(
                &self.position(line),
                "`listen`: the port is not a constant; the listener \
                 uses port 3000",
            );
            return;
        };
        let host = arguments.get(1).and_then(Value::plain);
        self.program.listens.push(Listen { port, host, tls, line });
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
                self.on(arguments, line);
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
                // Handlers that are for these paths may be among what follows.
                let paths = arguments.first().filter(|_| other == "route").cloned();
                if let Some(entries) = self.program.apps.get_mut(app) {
                    entries.push(Entry { paths, ..Entry::unseen(line) });
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
            entries.push(Entry { line, methods, is_prefix, paths, handlers });
        }
        Value::App(app)
    }

    /// `a = b`; `module.exports` and the like are of no matter.
    pub(super) fn assigned(&mut self, assignment: &'a AssignmentExpression<'a>) -> Value<'a> {
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
