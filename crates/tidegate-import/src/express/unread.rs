//! Closes routes that come after code that is not followed, since that code may contain a guard. It does not know how
//! routes are built.

use super::program::AppCall;
use super::run::Interpreter;
use super::value::Value;
use oxc_span::Span;

/// The usual names of an application or a router in a program.
const USUAL_APP_NAMES: [&str; 2] = ["app", "router"];

impl<'a> Interpreter<'a> {
    /// Records that an application is passed to code that may add handlers.
    pub(super) fn note_escaped_app(&mut self, arguments: &[Value<'a>], line: usize) {
        for argument in arguments.iter().flat_map(Value::items) {
            let fields = argument.fields().iter().map(|field| &field.value);
            for value in std::iter::once(argument).chain(fields) {
                if let Value::App(app) = value
                    && let Some(entries) = self.program.apps.get_mut(*app)
                {
                    entries.push(AppCall::unseen(line));
                }
            }
        }
    }

    /// Closes all applications if code before them calls one itself, such as the function of a server.
    pub(super) fn close_if_called_by(&mut self, before: Option<&Value<'a>>, line: usize) {
        let is_before = match before {
            Some(Value::Function(function)) => {
                let text = self.text_of(function.span);
                let mut names = self.app_names.iter();
                names.any(|name| {
                    text.contains(&format!("{name}(")) || text.contains(&format!("{name}."))
                })
            }
            Some(Value::Call(call)) => call.arguments.iter().any(|it| matches!(it, Value::App(_))),
            _ => false,
        };
        if is_before {
            self.close_all(line);
        }
    }

    fn close_all(&mut self, line: usize) {
        for entries in &mut self.program.apps {
            entries.insert(0, AppCall::unseen(line));
        }
    }

    /// Closes everything if the program has handlers that were not reached.
    pub(super) fn close_unread(&mut self, comments: impl Iterator<Item = Span>) {
        let mut text = self.source.as_bytes().to_vec();
        for comment in comments {
            if let Some(bytes) = text.get_mut(comment.start as usize..comment.end as usize) {
                bytes.fill(b' ');
            }
        }
        let text = String::from_utf8_lossy(&text);
        let mut names: Vec<String> = self.app_names.iter().cloned().collect();
        names.extend(USUAL_APP_NAMES.map(str::to_owned));
        let mut first: Option<usize> = None;
        for name in names {
            for needle in [format!("{name}.use("), format!("{name}.all(")] {
                for (at, _) in text.match_indices(&needle) {
                    let before = text.get(..at).and_then(|text| text.chars().next_back());
                    let is_whole = before
                        .is_none_or(|it| !it.is_alphanumeric() && !['_', '$', '.'].contains(&it));
                    if is_whole && !self.visited.contains(&at) {
                        first = Some(first.map_or(at, |first| first.min(at)));
                    }
                }
            }
        }
        let Some(at) = first.and_then(|at| u32::try_from(at).ok()) else { return };
        let line = self.line_of(Span::new(at, at));
        self.close_all(line);
    }
}
