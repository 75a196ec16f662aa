//! Follows the statements of a program in the order in which Node.js would run them, and records the calls on its
//! application. It runs nothing, and does not know routes.

mod calls;
mod scopes;
mod upgrades;

use super::program::Program;
use super::value::{Function, Value};
use crate::draft::PathRule;
use crate::note::{Notes, SourcePosition};
use oxc_ast::ast::{
    Declaration, ForStatementLeft, ImportDeclarationSpecifier, Statement, VariableDeclaration,
};
use oxc_span::{GetSpan, Span};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// Maximum nesting of calls and expressions.
const MAX_CALL_DEPTH: usize = 150;
/// Maximum number of evaluation steps; lists of services are short.
const MAX_EVALUATION_STEPS: usize = 200_000;

pub(super) struct Interpreter<'a> {
    pub source: &'a str,
    path: &'a Path,
    /// The offset of each line.
    lines: Vec<usize>,
    pub notes: &'a mut Notes,
    scopes: Vec<HashMap<String, Value<'a>>>,
    pub program: Program<'a>,
    pub depth: usize,
    steps_taken: usize,
    /// In an upgrade handler: the paths for which the current statement runs.
    required_paths: Option<Vec<PathRule>>,
    /// The positions of the application calls that were reached.
    pub visited: HashSet<usize>,
    /// The names of applications.
    pub app_names: BTreeSet<String>,
}

impl<'a> Interpreter<'a> {
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
            steps_taken: 0,
            required_paths: None,
            visited: HashSet::new(),
            app_names: BTreeSet::new(),
        }
    }

    pub(super) fn may_go_on(&mut self) -> bool {
        self.steps_taken += 1;
        self.depth < MAX_CALL_DEPTH && self.steps_taken < MAX_EVALUATION_STEPS
    }

    /// Whether the step limit was reached.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps_taken >= MAX_EVALUATION_STEPS
    }

    pub(super) fn line_of(&self, span: Span) -> usize {
        let start = usize::try_from(span.start).unwrap_or(0);
        self.lines.partition_point(|line| *line <= start)
    }

    pub(super) fn position(&self, line: usize) -> SourcePosition {
        SourcePosition { file: self.path.to_owned(), line }
    }

    /// The text of a piece of the program.
    pub(super) fn text_of(&self, span: Span) -> &'a str {
        self.source.get(span.start as usize..span.end as usize).unwrap_or_default()
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
        if let Some(outside) = self.required_paths.clone() {
            // The paths that the test requires apply to the block.
            self.required_paths = Some(Vec::new());
            self.eval(&statement.test);
            let found = self.required_paths.take().unwrap_or_default();
            self.required_paths = Some(if found.is_empty() { outside.clone() } else { found });
            self.statement(&statement.consequent);
            self.required_paths = Some(outside);
            if let Some(alternate) = &statement.alternate {
                self.statement(alternate);
            }
            return;
        }
        let before = self.program.size();
        // Both branches are read, because either may run; of two answers the first is kept.
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
    pub(super) fn call_function(
        &mut self,
        function: Function<'a>,
        arguments: &[Value<'a>],
    ) -> Value<'a> {
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

    /// A router: it answers no request before it is mounted.
    pub(super) fn router(&mut self) -> Value<'a> {
        self.program.routers.push(self.program.apps.len());
        self.application()
    }
}
