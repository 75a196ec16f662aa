//! Removes secrets from text that is logged or shown: URLs, JSON, forms, header values. Which names are secret is known
//! in `secret`.

use super::spelling::{escaped_char, is_invisible};
use std::borrow::Cow;

/// The replacement for a secret.
pub const REDACTED: &str = "REDACTED";

/// The text with the values of `secret` keys replaced: in JSON (`"token": "x"`, a list or an object as a whole), in
/// pairs (`["token", "x"]`, `{"name": "token", "value": "x"}`), in XML, in forms and headers (`token=x`, `token: x`).
/// In a text that ends within a value, the rest is replaced. In doubt it replaces more, not less.
pub fn redact(text: &str, mut secret: impl FnMut(&str) -> bool) -> Cow<'_, str> {
    let mut redacted = String::new();
    let mut done = 0;
    let mut from = 0;
    while let Some(word) = next_word(text, from) {
        from = word.end;
        let Some(value) = value_of(text, &word).filter(|_| secret(&word.name)) else { continue };
        redacted.push_str(text.get(done..value.start).unwrap_or_default());
        redacted.push_str(REDACTED);
        done = value.start + value.length();
        from = done;
    }
    if redacted.is_empty() {
        return Cow::Borrowed(text);
    }
    redacted.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(redacted)
}

/// A word that may be a key.
struct KeyWord<'t> {
    start: usize,
    end: usize,
    /// The word without its escapes.
    name: Cow<'t, str>,
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// The first character of the text and the length of its written form: in URLs and forms it may be percent-encoded once
/// or several times, in JSON it may be `\u0061`. Invisible characters belong to a word.
fn word_char(text: &str) -> Option<(char, usize)> {
    let is_part = |c: &char| is_word_char(*c) || is_invisible(*c);
    let hex = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))?;
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    };
    match text.chars().next()? {
        '%' => escaped_char(text).filter(|(c, _)| is_part(c)),
        '\\' if text.get(1..2) == Some("u") => hex(2, 6).filter(is_part).map(|c| (c, 6)),
        c => is_part(&c).then_some((c, c.len_utf8())),
    }
}

/// Where the next word begins. A percent-encoded character outside of a word is skipped as a whole, because its digits
/// do not begin a word.
fn next_start(text: &str, from: usize) -> Option<usize> {
    let mut start = from;
    loop {
        let rest = text.get(start..)?;
        if word_char(rest).is_some() {
            return Some(start);
        }
        let length = escaped_char(rest).map(|(_, length)| length);
        start += length.or_else(|| rest.chars().next().map(char::len_utf8))?;
    }
}

fn next_word(text: &str, from: usize) -> Option<KeyWord<'_>> {
    let start = next_start(text, from)?;
    let (mut end, mut name) = (start, None::<String>);
    while let Some((c, length)) = text.get(end..).and_then(word_char) {
        if length != c.len_utf8() && name.is_none() {
            name = Some(text.get(start..end)?.to_owned());
        }
        if let Some(name) = &mut name {
            name.push(c);
        }
        end += length;
    }
    let name =
        name.map_or_else(|| text.get(start..end).map(Cow::Borrowed), |it| Some(it.into()))?;
    Some(KeyWord { start, end, name })
}

/// The form of a value, by the text before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueContext {
    /// The value of a quoted key, or of a pair.
    Json,
    /// The value of a quoted key within a JSON string, where quotation marks are escaped.
    Escaped,
    /// In a form, a query, or a list of cookies.
    Pair,
    /// The value of a header, or of an unquoted key.
    Line,
    /// The content of an XML element.
    Element,
}

/// The beginning of a value.
struct FoundValue<'t> {
    start: usize,
    text: &'t str,
    form: ValueContext,
}

/// Maximum distance from a `[` to the `]` that ends the index, in bytes. The search runs for each word, and a client may
/// send thousands.
const MAX_DISTANCE_TO_INDEX_END: usize = 64;

/// Maximum distance from the name of an XML element to the `>` that ends its tag, in bytes. The search runs for each word.
const MAX_DISTANCE_TO_TAG_END: usize = 256;

/// The text before and after the first `end` within `max_distance` bytes.
fn split_near(text: &str, end: u8, max_distance: usize) -> Option<(&str, &str)> {
    let at = text.bytes().take(max_distance).position(|byte| byte == end)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The text after a key and its `:` or `=`. The key may be in quotes or in brackets:
/// `user[password]=x`, `token[]=x`, `token[a]=x`.
fn value_of<'t>(text: &'t str, word: &KeyWord<'_>) -> Option<FoundValue<'t>> {
    let value = |rest: &'t str, form| {
        let rest = rest.trim_start();
        Some(FoundValue { start: text.len() - rest.len(), text: rest, form })
    };
    let behind = text.get(word.end..)?;
    if text.get(..word.start)?.ends_with('<') {
        let (_, rest) = split_near(behind, b'>', MAX_DISTANCE_TO_TAG_END)?;
        return value(rest, ValueContext::Element);
    }
    let is_escaped = behind.starts_with('\\');
    let is_quoted = behind.trim_start().starts_with(['"', '\'']);
    let mut rest = behind;
    if let Some(index) = rest.strip_prefix('[')
        && let Some((_, after)) = split_near(index, b']', MAX_DISTANCE_TO_INDEX_END)
    {
        rest = after;
    }
    let is_between =
        |c: char| matches!(c, '"' | '\'' | '\\' | '[' | ']' | '.' | '/') || c.is_whitespace();
    let mut rest = rest.trim_start_matches(is_between);
    while let Some((_, length)) = escaped_char(rest).filter(|(c, _)| is_between(*c)) {
        rest = rest.get(length..)?.trim_start_matches(is_between);
    }
    let json = if is_escaped { ValueContext::Escaped } else { ValueContext::Json };
    match rest.chars().next()? {
        ':' if is_quoted || is_escaped => value(rest.get(1..)?, json),
        ':' => value(rest.get(1..)?, ValueContext::Line),
        // Two of them compare, and `=>` is an arrow.
        '=' => value(rest.trim_start_matches(['=', '>']), ValueContext::Pair),
        '%' => match escaped_char(rest)? {
            ('=', length) => value(rest.get(length..)?, ValueContext::Pair),
            (':', length) => value(rest.get(length..)?, ValueContext::Line),
            _ => None,
        },
        // A pair in a list, or a name with its value beside it.
        ',' if is_quoted || is_escaped => {
            let next = rest.get(1..)?.trim_start();
            let name = next.trim_start_matches(['"', '\'', '\\']);
            let is_string = name.len() < next.len();
            let end = name.find(['"', '\'']).unwrap_or(name.len());
            let after = name.get(end..)?.trim_start_matches(['"', '\'', '\\']).trim_start();
            match after.strip_prefix(':') {
                Some(after) if name.get(..end)?.trim_end_matches('\\') == "value" => {
                    value(after, json)
                }
                Some(_) => None,
                None => is_string.then(|| value(next, json)).flatten(),
            }
        }
        _ => None,
    }
}

impl FoundValue<'_> {
    /// The length of the value, with its quotation marks or brackets.
    fn length(&self) -> usize {
        let text = self.text;
        match (self.form, text.chars().next()) {
            (ValueContext::Element, _) => text.find('<').unwrap_or(text.len()),
            (ValueContext::Escaped, _) => escaped_length(text),
            (ValueContext::Json, Some(quote @ ('"' | '\''))) => quoted_length(text, quote),
            (ValueContext::Json, Some('[' | '{')) => nested_length(text),
            (ValueContext::Json, _) => literal_length(text).unwrap_or_else(|| line_length(text)),
            (ValueContext::Line, Some('[' | '{')) => or_line(text, nested_length(text)),
            (ValueContext::Line | ValueContext::Pair, Some(quote @ ('"' | '\''))) => {
                or_line(text, quoted_length(text, quote))
            }
            (ValueContext::Line, _) => line_length(text),
            (ValueContext::Pair, _) => pair_length(text),
        }
    }
}

/// This length if the value ends there; otherwise to the end of the line.
fn or_line(text: &str, length: usize) -> usize {
    let behind = text.get(length..).unwrap_or_default().trim_start_matches([' ', '\t']);
    let is_end = |c: char| matches!(c, '}' | ']' | ')' | '&' | ';' | '>' | '\r' | '\n');
    let ends = match behind.strip_prefix(',').map(str::trim_start) {
        // Another key or another quoted value follows.
        Some(next) => {
            let after = next.trim_start_matches(is_word_char).trim_start();
            after.starts_with(':') || next.starts_with(['"', '\'', '{', '[']) || next.is_empty()
        }
        None => behind.is_empty() || behind.starts_with(is_end),
    };
    if ends { length } else { line_length(text) }
}

/// How long a value is in JSON that stands in a string of JSON, however deep: as many backslashes as are
/// before its first quotation mark are before its last one.
fn escaped_length(value: &str) -> usize {
    let depth = value.len() - value.trim_start_matches('\\').len();
    if depth == 0 || !value.get(depth..).unwrap_or_default().starts_with('"') {
        let is_nested = value.starts_with(['[', '{']);
        let end = value.find([',', '}', ']', '\\', '"']).filter(|_| !is_nested);
        return end.unwrap_or(value.len());
    }
    let mut backslashes = 0;
    for (index, byte) in value.bytes().enumerate().skip(depth + 1) {
        match byte {
            b'\\' => backslashes += 1,
            b'"' if backslashes <= depth => return index + 1,
            _ => backslashes = 0,
        }
    }
    value.len()
}

/// The value of a form, which may be within a string: a quotation mark ends it unless the word continues.
fn pair_length(value: &str) -> usize {
    let ends = |(index, c): (usize, char)| match c {
        '&' | '\r' | '\n' => true,
        '"' | '\'' => {
            let behind = value.get(index + 1..).unwrap_or_default();
            !behind.starts_with(is_word_char)
        }
        _ => false,
    };
    value.char_indices().find(|it| ends(*it)).map_or(value.len(), |(index, _)| index)
}

/// The value of a header, which may contain anything except a line end; an indented line continues
/// it.
fn line_length(value: &str) -> usize {
    let mut end = 0;
    loop {
        let rest = value.get(end..).unwrap_or_default();
        let Some(line) = rest.find('\n') else { return value.len() };
        let goes_on = rest.get(line + 1..).is_some_and(|next| next.starts_with([' ', '\t']));
        if !goes_on {
            let line = rest.get(..line).unwrap_or_default();
            return end + line.trim_end_matches('\r').len();
        }
        end += line + 1;
    }
}

fn quoted_length(value: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (index, c) in value.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return index + c.len_utf8(),
            _ => {}
        }
    }
    value.len()
}

/// A list or an object with its content.
fn nested_length(value: &str) -> usize {
    let (mut depth, mut quote, mut is_escaped) = (0_usize, None, false);
    for (index, c) in value.char_indices() {
        match (quote, c) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + c.len_utf8();
                }
            }
            (None, _) => {}
        }
    }
    value.len()
}

/// A JSON number, `true`, `false` or `null`, with a valid end.
fn literal_length(value: &str) -> Option<usize> {
    let end = value
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
        .unwrap_or(value.len());
    let literal = value.get(..end)?;
    let is_literal = matches!(literal, "true" | "false" | "null") || literal.parse::<f64>().is_ok();
    let behind = value.get(end..)?.trim_start();
    (is_literal && (behind.is_empty() || behind.starts_with([',', '}', ']']))).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::redact;
    use crate::secret::is_secret;

    #[test]
    fn secrets_in_json_and_forms_are_redacted() {
        for (text, expected) in [
            (r#"{"a": 1, "token": "s\"ecret", "b": 2}"#, r#"{"a": 1, "token": REDACTED, "b": 2}"#),
            (r#"{"Token":123,"b":2}"#, r#"{"Token":REDACTED,"b":2}"#),
            (r#"{"accessToken": null }"#, r#"{"accessToken": REDACTED }"#),
            (r#"{"token":"cut o"#, r#"{"token":REDACTED"#),
            (r#"{"tokens":["a","]b"],"c":1}"#, r#"{"tokens":REDACTED,"c":1}"#),
            (r#"{"auth":{"user":"u","in":{"p":"}"}},"c":1}"#, r#"{"auth":REDACTED,"c":1}"#),
            (r#"{"secret":["a",{"b":"#, r#"{"secret":REDACTED"#),
            (r#""{\"token\":\"x\"}""#, r#""{\"token\":REDACTED}""#),
            (r#""{\"token\":\"x\\\"y\",\"b\":1}""#, r#""{\"token\":REDACTED,\"b\":1}""#),
            (r#""{\"tokens\":[\"x\",\"y\"]}""#, r#""{\"tokens\":REDACTED"#),
            (r#""{\"token\":7,\"b\":1}""#, r#""{\"token\":REDACTED,\"b\":1}""#),
            ("a=1&token=secret&b=2", "a=1&token=REDACTED&b=2"),
            ("a=1&token=a,b;c d&b=2", "a=1&token=REDACTED&b=2"),
            ("user[password]=x&token[]=y&b=2", "user[password]=REDACTED&token[]=REDACTED&b=2"),
            ("token: Bearer x y\r\nb: 1", "token: REDACTED\r\nb: 1"),
            ("Session: a=b; c=d\r\nb: 1", "Session: REDACTED\r\nb: 1"),
            ("my token is blue", "my token is blue"),
            // JSON in JSON in JSON.
            (
                r#"{"a":"{\"p\":\"{\\\"token\\\":\\\"x\\\"}\"}"}"#,
                r#"{"a":"{\"p\":\"{\\\"token\\\":REDACTED}\"}"}"#,
            ),
            (r#"{"to\u006ben":"x","b":1}"#, r#"{"to\u006ben":REDACTED,"b":1}"#),
            ("a=1&tok%65n=x&b=2", "a=1&tok%65n=REDACTED&b=2"),
            ("a=1&tok%2565n=x&b=2", "a=1&tok%2565n=REDACTED&b=2"),
            ("a=1&tok%25%36%35n=x&b=2", "a=1&tok%25%36%35n=REDACTED&b=2"),
            ("to%E2%80%8Bken=x&b=2", "to%E2%80%8Bken=REDACTED&b=2"),
            ("to\u{200b}ken: x", "to\u{200b}ken: REDACTED"),
            (r#"{"to\u200bken":"x","b":1}"#, r#"{"to\u200bken":REDACTED,"b":1}"#),
            (r#"{"\uff54oken":"x","b":1}"#, r#"{"\uff54oken":REDACTED,"b":1}"#),
            ("\u{ff54}\u{ff4f}ken=x&b=2", "\u{ff54}\u{ff4f}ken=REDACTED&b=2"),
            ("next=%252Fcb%253Fcode%253Dx&b=2", "next=%252Fcb%253Fcode%253DREDACTED&b=2"),
            ("q=%7B%22token%22%3A%22x%22%7D&b=2", "q=%7B%22token%22%3AREDACTED"),
            ("100%token: x", "100%token: REDACTED"),
            ("next=%2Fcb%3Ftoken%3Dx&b=2", "next=%2Fcb%3Ftoken%3DREDACTED&b=2"),
            (r#"token=x"y"#, "token=REDACTED"),
            (r#"{"q":"token=x","b":1}"#, r#"{"q":"token=REDACTED","b":1}"#),
            ("token: 1, x", "token: REDACTED"),
            (r#"token: "a" x"#, "token: REDACTED"),
            (r#"login(password:"x"){id}"#, "login(password:REDACTED){id}"),
            (r#"token: "a",x"#, "token: REDACTED"),
            (r#"{token: "a", b: 1}"#, "{token: REDACTED, b: 1}"),
            ("token: {a} x", "token: REDACTED"),
            ("token: |\n  x\nb: 1", "token: REDACTED\nb: 1"),
            ("token: a\r\n x\r\nb: 1", "token: REDACTED\r\nb: 1"),
            (r#"{"token ":"x"}"#, r#"{"token ":REDACTED}"#),
            ("auth[user]=x&b=2", "auth[user]=REDACTED&b=2"),
            (r#"42["token","x",1]"#, r#"42["token",REDACTED,1]"#),
            (r#"[["Authorization","Bearer x"]]"#, r#"[["Authorization",REDACTED]]"#),
            (
                r#"{"name":"Authorization","value":"Bearer x"}"#,
                r#"{"name":"Authorization","value":REDACTED}"#,
            ),
            (r#"{"name":"token","kind":"x"}"#, r#"{"name":"token","kind":"x"}"#),
            ("<a><password>x</password></a>", "<a><password>REDACTED</password></a>"),
            (r#"{"tokenizer": "bpe"}"#, r#"{"tokenizer": "bpe"}"#),
        ] {
            assert_eq!(redact(text, is_secret), expected);
        }
    }

    #[test]
    fn index_of_a_name_is_searched_only_nearby() {
        let far = |open: &str, close: &str| format!("token{open}{}{close}=x", "a".repeat(300));
        for (open, close) in [("[", "]"), ("<token ", ">")] {
            let text = far(open, close);
            assert!(!redact(&text, |name| name == "token").contains("REDACTED"), "{text}");
        }
        assert_eq!(redact("token[a]=x", is_secret), "token[a]=REDACTED");
    }
}
