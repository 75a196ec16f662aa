//! Where a program forwards WebSockets: handlers of `upgrade`, and clients that it opens in them. Ordinary requests are
//! not its concern.

use super::Interpreter;
use crate::draft::PathRule;
use crate::express::names::refuses;
use crate::express::program::UpgradeProxy;
use crate::express::value::{Call, Value};
use oxc_ast::ast::NewExpression;
use std::rc::Rc;

impl<'a> Interpreter<'a> {
    /// `server.on(event, handler)`.
    pub(super) fn add_event_handler(&mut self, arguments: Vec<Value<'a>>, line: usize) {
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
                self.required_paths = Some(Vec::new());
                self.call_function(function, &[]);
                self.required_paths = None;
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

    /// `proxy.ws(request, socket, head, {target})` and `proxy.upgrade(request, socket, head)`.
    pub(super) fn passes_on(
        &mut self,
        call: &Rc<Call<'a>>,
        method: &str,
        arguments: &[Value<'a>],
        line: usize,
    ) {
        let Some(paths) = self.required_paths.clone() else { return };
        let given = arguments.iter().find_map(|argument| argument.get("target"));
        let own = call.arguments.iter().find_map(|argument| argument.get("target"));
        match (method, given.or(own)) {
            ("ws", Some(target)) => {
                let target = target.clone();
                self.program.upgrades.push(UpgradeProxy { paths, target, line, keeps_path: true });
            }
            ("upgrade", _) => self.program.upgraded.push((Rc::clone(call), paths)),
            _ => {}
        }
    }

    /// `new Something(…)`.
    pub(in crate::express) fn construct(&mut self, new: &'a NewExpression<'a>) -> Value<'a> {
        let line = self.line_of(new.span);
        let callee = self.eval(&new.callee);
        let arguments = self.arguments(&new.arguments);
        if let (Value::Native(name), Some(paths)) = (&callee, self.required_paths.clone())
            && matches!(name.as_str(), "ws" | "ws.WebSocket")
            && let Some(target) = arguments.first()
        {
            let target = target.clone();
            self.program.upgrades.push(UpgradeProxy { paths, target, line, keeps_path: false });
        }
        Value::Unknown
    }

    /// Records a path that an upgrade handler tests for.
    pub(in crate::express) fn add_path_test(&mut self, path: &str, is_exact: bool) {
        if let Some(asked) = &mut self.required_paths
            && path.starts_with('/')
        {
            asked.push(match is_exact {
                true => PathRule::Exact(path.to_owned()),
                false => PathRule::prefix(path),
            });
        }
    }

    /// Also follows callbacks of an upgrade handler.
    pub(super) fn explore(&mut self, arguments: &[Value<'a>]) {
        if self.required_paths.is_some() {
            for argument in arguments {
                if let Value::Function(function) = argument {
                    self.call_function(*function, &[]);
                }
            }
        }
    }
}
