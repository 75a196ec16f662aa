//! Escapes values from outside for lines that people read in a terminal. Knows nothing of which line.

use std::fmt::{self, Display, Write};
use tidegate_http::control::is_control;

/// A value in a line of text: quoted where it holds what could be taken for another field, and without
/// characters that do something to a terminal.
pub(super) struct EscapedValue<'v>(pub &'v str);

impl Display for EscapedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '"') {
            write!(f, "{value:?}")
        } else if value.bytes().all(|byte| byte.is_ascii_graphic()) {
            f.write_str(value)
        } else {
            write!(f, "{}", value.escape_debug())
        }
    }
}

/// A message of the gateway's own log. Its line breaks are the gateway's own; what follows one is
/// indented, so that nobody's value looks like a line of its own.
pub(super) struct EscapedLines<'m>(pub &'m dyn Display);

impl Display for EscapedLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'f, 'g>(&'f mut fmt::Formatter<'g>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_control) {
            self.0.write_str(rest.get(..at).unwrap_or_default())?;
            let mut behind = rest.get(at..).unwrap_or_default().chars();
            match behind.next() {
                Some('\n') => self.0.write_str("\n  ")?,
                Some('\t') => self.0.write_char('\t')?,
                Some(control) => write!(self.0, "{}", control.escape_unicode())?,
                None => {}
            }
            rest = behind.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Appends a string of JSON (RFC 8259, section 7), with all control characters escaped, not those of
/// ASCII alone.
pub(super) fn push_json_string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Each of them is one of the 65,536 that four digits write. Writing can't fail.
            c if is_control(c) => drop(write!(text, "\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_value_cannot_look_like_another_field() {
        for (value, shown) in [
            ("/a/b?c=d&e=%20", "/a/b?c=d&e=%20"),
            ("a client=6.6.6.6", "\"a client=6.6.6.6\""),
            ("a\u{a0}b", "\"a\\u{a0}b\""),
            ("/\u{9b}31m\u{202e}ü", "/\\u{9b}31m\\u{202e}ü"),
            ("a\"b", "\"a\\\"b\""),
            ("", "\"\""),
        ] {
            assert_eq!(EscapedValue(value).to_string(), shown);
        }
    }

    #[test]
    fn message_cannot_control_a_terminal_or_forge_a_line() {
        let message = "GET /\u{9b}31m\u{202e}\u{7f}\u{1b}\u{2028}: 502\n2026 ERROR forged\tü";
        assert_eq!(
            EscapedLines(&message).to_string(),
            "GET /\\u{9b}31m\\u{202e}\\u{7f}\\u{1b}\\u{2028}: 502\n  2026 ERROR forged\tü"
        );
    }
}
