//! Texts that contain environment variables. It does not know how a program is read.

use crate::draft::Text;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TextPiece {
    Plain(String),
    /// `process.env.NAME`, with its default after `||`.
    Variable {
        name: String,
        default: Option<String>,
    },
}

/// A text of the program that may contain environment variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TextWithVariables(pub Vec<TextPiece>);

impl TextWithVariables {
    pub(super) fn plain(text: &str) -> Self {
        Self(vec![TextPiece::Plain(text.to_owned())])
    }

    pub(super) fn variable(name: &str) -> Self {
        Self(vec![TextPiece::Variable { name: name.to_owned(), default: None }])
    }

    /// The text, if it has no variable.
    pub(super) fn as_plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [TextPiece::Plain(text)] => Some(text),
            _ => None,
        }
    }

    /// This text followed by another.
    pub(super) fn then(mut self, other: Self) -> Self {
        for piece in other.0 {
            match (self.0.last_mut(), piece) {
                (Some(TextPiece::Plain(before)), TextPiece::Plain(text)) => before.push_str(&text),
                (_, piece) => self.0.push(piece),
            }
        }
        self
    }

    /// The approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        let sizes = self.0.iter().map(|piece| match piece {
            TextPiece::Plain(text) => text.len(),
            TextPiece::Variable { name, default } => {
                name.len() + default.as_ref().map_or(0, String::len)
            }
        });
        sizes.sum()
    }

    /// `this || other`.
    pub(super) fn or(mut self, other: &Self) -> Self {
        if let [TextPiece::Variable { default: default @ None, .. }] = self.0.as_mut_slice() {
            *default = other.as_plain().map(str::to_owned);
        }
        self
    }

    /// The text with each variable's default; `None` if one has no default.
    pub(super) fn by_default(&self) -> Option<String> {
        let texts = self.0.iter().map(|piece| match piece {
            TextPiece::Plain(text) => Some(text.as_str()),
            TextPiece::Variable { default, .. } => default.as_deref(),
        });
        texts.collect()
    }

    /// The name of the first variable.
    pub(super) fn first_variable(&self) -> Option<&str> {
        self.0.iter().find_map(|piece| match piece {
            TextPiece::Variable { name, .. } => Some(name.as_str()),
            TextPiece::Plain(_) => None,
        })
    }

    /// The text in the configuration's notation.
    pub(super) fn text(&self) -> Text {
        self.0.iter().fold(Text::literal(""), |text, piece| match piece {
            TextPiece::Plain(plain) => text.then(&Text::literal(plain)),
            TextPiece::Variable { name, default } => {
                text.then(&Text::variable(name, default.as_deref().unwrap_or_default()))
            }
        })
    }

    /// The rest after a prefix, which must be literal.
    pub(super) fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        let (TextPiece::Plain(first), rest) = self.0.split_first()? else { return None };
        let first = TextPiece::Plain(first.strip_prefix(prefix)?.to_owned());
        Some(Self(std::iter::once(first).chain(rest.iter().cloned()).collect()))
    }

    /// The text before the first of these characters that is literal, and the text from it on.
    pub(super) fn split_at(&self, characters: &[char]) -> (Self, Self) {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for piece in &self.0 {
            match piece {
                TextPiece::Plain(text) if behind.is_empty() => {
                    let at = text.find(characters).unwrap_or(text.len());
                    let (head, tail) = text.split_at_checked(at).unwrap_or((text, ""));
                    before.push(TextPiece::Plain(head.to_owned()));
                    if !tail.is_empty() {
                        behind.push(TextPiece::Plain(tail.to_owned()));
                    }
                }
                piece if behind.is_empty() => before.push(piece.clone()),
                piece => behind.push(piece.clone()),
            }
        }
        (Self(before), Self(behind))
    }
}
