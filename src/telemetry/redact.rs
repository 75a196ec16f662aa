//! Secrets in what people send each other.

use std::borrow::Cow;

const REDACTED: &str = "REDACTED";

/// The text with the values of `secret` keys replaced, as they stand in JSON (`"token": "x"`), in
/// forms and headers (`token=x`, `token: x`). What is cut off in the midst of a value is replaced
/// to its end.
pub fn redact(text: &str, secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let mut redacted = String::new();
    let mut done = 0;
    let mut rest = text;
    while let Some((start, word)) = next_word(rest) {
        let behind = rest.get(start + word.len()..).unwrap_or_default();
        rest = behind;
        if !secret(word) {
            continue;
        }
        let Some(value) = value_of(behind) else { continue };
        let at = text.len() - behind.len() + (behind.len() - value.len());
        let length = value_length(value);
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

/// What stands behind a key and its `:` or `=`.
fn value_of(behind: &str) -> Option<&str> {
    let behind = behind.trim_start_matches(['"', '\'', '\\']).trim_start();
    let value = behind.strip_prefix([':', '='])?.trim_start();
    Some(value.trim_start_matches('\\'))
}

/// How long a value is, its quotation marks included.
fn value_length(value: &str) -> usize {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let end = value.find([',', '&', ';', '}', ']', '"', '\r', '\n']);
        return end.unwrap_or(value.len());
    };
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

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_are_replaced_in_json_and_in_forms() {
        let secret = |key: &str| key.eq_ignore_ascii_case("token");
        for (text, expected) in [
            (r#"{"a": 1, "token": "s\"ecret", "b": 2}"#, r#"{"a": 1, "token": REDACTED, "b": 2}"#),
            (r#"{"Token":123,"b":2}"#, r#"{"Token":REDACTED,"b":2}"#),
            (r#"{"token":"cut o"#, r#"{"token":REDACTED"#),
            (r#""{\"token\":\"x\"}""#, r#""{\"token\":\REDACTED"#),
            ("a=1&token=secret&b=2", "a=1&token=REDACTED&b=2"),
            ("token: Bearer x y\r\nb: 1", "token: REDACTED\r\nb: 1"),
            ("my token is blue", "my token is blue"),
            (r#"{"tokens": "many"}"#, r#"{"tokens": "many"}"#),
        ] {
            assert_eq!(redact(text, secret), expected);
        }
    }
}
