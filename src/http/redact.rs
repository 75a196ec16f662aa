//! Secrets in what people send each other.

use std::borrow::Cow;

const REDACTED: &str = "REDACTED";

/// The text with the values of `secret` keys replaced, as they stand in JSON (`"token": "x"`, a list
/// or an object as a whole), in forms and headers (`token=x`, `token: x`). What is cut off in the midst
/// of a value is replaced to its end. In doubt more is replaced, not less.
pub fn redact(text: &str, mut secret: impl FnMut(&str) -> bool) -> Cow<'_, str> {
    let mut redacted = String::new();
    let mut done = 0;
    let mut rest = text;
    while let Some((start, word)) = next_word(rest) {
        let behind = rest.get(start + word.len()..).unwrap_or_default();
        rest = behind;
        let Some((sign, value)) = value_of(behind) else { continue };
        if !secret(word) {
            continue;
        }
        let at = text.len() - value.len();
        let is_escaped = behind.starts_with('\\');
        let length = if is_escaped { escaped_length(value) } else { value_length(value, sign) };
        redacted.push_str(text.get(done..at).unwrap_or_default());
        redacted.push_str(REDACTED);
        done = at + length;
        rest = text.get(done..).unwrap_or_default();
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    redacted.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(redacted)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

fn next_word(text: &str) -> Option<(usize, &str)> {
    let start = text.find(is_of_word)?;
    let word = text.get(start..)?;
    let end = word.find(|c| !is_of_word(c)).unwrap_or(word.len());
    Some((start, word.get(..end)?))
}

/// What stands behind a key and its `:` or `=`, and which of them it is. The key may be in quotes or
/// in brackets: `user[password]=x`, `token[]=x`.
fn value_of(behind: &str) -> Option<(char, &str)> {
    let behind = behind.trim_start_matches(['"', '\'', '\\', '[', ']']).trim_start();
    let sign = behind.chars().next().filter(|c| matches!(c, ':' | '='))?;
    Some((sign, behind.get(sign.len_utf8()..)?.trim_start()))
}

/// How long a value is in JSON that stands in a string of JSON, where quotation marks are escaped.
fn escaped_length(value: &str) -> usize {
    let Some(quoted) = value.strip_prefix("\\\"") else {
        let is_nested = value.starts_with(['[', '{']);
        let end = value.find([',', '}', ']', '\\', '"']).filter(|_| !is_nested);
        return end.unwrap_or(value.len());
    };
    // What is escaped in the value itself begins with more than one backslash.
    let mut from = 0;
    while let Some(found) = quoted.get(from..).and_then(|rest| rest.find("\\\"")) {
        let at = from + found;
        if !quoted.get(..at).unwrap_or_default().ends_with('\\') {
            return at + 4;
        }
        from = at + 2;
    }
    value.len()
}

/// How long a value is, its quotation marks or brackets included.
fn value_length(value: &str, sign: char) -> usize {
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted_length(value, quote),
        Some('[' | '{') => nested_length(value),
        // A pair of a form, a query or a list of cookies.
        _ if sign == '=' => value.find(['&', '"', '\'', '\r', '\n']).unwrap_or(value.len()),
        _ => literal_length(value).unwrap_or_else(|| {
            // The value of a header, which may hold anything but the end of its line.
            value.find(['\r', '\n']).unwrap_or(value.len())
        }),
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

/// A list or an object, with all that is in it.
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

/// A number, `true`, `false` or `null` of JSON, that ends where one must.
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
    use crate::http::secret::is_secret;

    #[test]
    fn secrets_are_replaced_in_json_and_in_forms() {
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
            (r#"{"tokenizer": "bpe"}"#, r#"{"tokenizer": "bpe"}"#),
        ] {
            assert_eq!(redact(text, is_secret), expected);
        }
    }
}
