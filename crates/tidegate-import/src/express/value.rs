//! The values of expressions, as far as they are known without running the program. It does not know Express.

use super::text::TextWithVariables;
use oxc_ast::ast::{FormalParameters, FunctionBody};
use oxc_span::Span;
use std::rc::Rc;

#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Text(TextWithVariables),
    Number(f64),
    Bool(bool),
    Null,
    List(Vec<Self>),
    Object(Vec<Field<'a>>),
    /// A regular expression's text.
    Regex(String),
    Function(Function<'a>),
    /// A value of the language or of a module, by its dotted name: `express.json`.
    Native(String),
    /// The result of calling such a value.
    Call(Rc<Call<'a>>),
    /// `proxy.upgrade` of a call's result.
    UpgradeOf(Rc<Call<'a>>),
    /// An application or router, by its number.
    App(usize),
    /// A server of an application, with its certificate and key files.
    Server(Option<(String, String)>),
    Unknown,
}

/// An entry of an object.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub key: String,
    pub value: Value<'a>,
    pub line: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Function<'a> {
    pub parameters: &'a FormalParameters<'a>,
    pub body: &'a FunctionBody<'a>,
    /// `() => value`.
    pub is_expression: bool,
    pub span: Span,
}

/// A call of a module's function.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub name: String,
    pub arguments: Vec<Value<'a>>,
    pub line: usize,
}

impl<'a> Value<'a> {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(TextWithVariables::plain(text))
    }

    /// A text without variables.
    pub(super) fn plain(&self) -> Option<String> {
        match self {
            Self::Text(written) => written.as_plain().map(str::to_owned),
            Self::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Text, numbers among them.
    pub(super) fn text_with_variables(&self) -> Option<TextWithVariables> {
        match self {
            Self::Text(written) => Some(written.clone()),
            Self::Number(number) => Some(TextWithVariables::plain(&number.to_string())),
            _ => None,
        }
    }

    /// The value of an object's key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.fields().iter().rev().find(|field| field.key == key).map(|field| &field.value)
    }

    pub(super) fn fields(&self) -> &[Field<'a>] {
        if let Self::Object(fields) = self { fields } else { &[] }
    }

    /// The items of a list, or a single value.
    pub(super) fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { std::slice::from_ref(self) }
    }

    /// Whether the value may be a handler.
    pub(super) fn is_handler(&self) -> bool {
        matches!(self, Self::Function(_) | Self::Native(_) | Self::Call(_))
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// The size of a copy, in steps.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(written) => 1 + written.size() / 64,
            Self::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Self::Object(fields) => 1 + fields.iter().map(|it| it.value.size()).sum::<usize>(),
            _ => 1,
        }
    }

    /// The value as JSON, in key order, if all of it is known.
    pub(super) fn json(&self) -> Option<String> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        Some(match self {
            Self::Text(written) => quoted(written.as_plain()?),
            Self::Number(number) if number.is_finite() => number.to_string(),
            Self::Bool(is) => is.to_string(),
            Self::Null => "null".to_owned(),
            Self::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(Self::json).collect();
                format!("[{}]", items?.join(","))
            }
            Self::Object(fields) => {
                let entry =
                    |it: &Field<'a>| Some(format!("{}:{}", quoted(&it.key), it.value.json()?));
                let entries: Option<Vec<_>> = fields.iter().map(entry).collect();
                format!("{{{}}}", entries?.join(","))
            }
            _ => return None,
        })
    }

    /// `this.name`.
    pub(super) fn member(&self, name: &str) -> Self {
        match self {
            Self::Object(_) => self.get(name).cloned().unwrap_or(Self::Null),
            Self::Native(native) if native == "process.env" => {
                Self::Text(TextWithVariables::variable(name))
            }
            Self::Native(native) if name == "default" => Self::Native(native.clone()),
            Self::Native(native) => Self::Native(format!("{native}.{name}")),
            Self::Call(call) if name == "upgrade" => Self::UpgradeOf(Rc::clone(call)),
            _ => Self::Unknown,
        }
    }
}
