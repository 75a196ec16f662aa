//! Query parameters as browsers write them (WHATWG URL, `application/x-www-form-urlencoded`).

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The first value of the parameter `name`, decoded.
pub fn find<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == name).then_some(value))
}

/// The first value of the parameter `name`, decoded, as bytes: they need not be UTF-8.
pub fn find_bytes<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    query.split('&').find_map(|pair| {
        let (key, value) = parameter(pair);
        if key != name {
            return None;
        }
        Some(match value.contains('+') {
            true => Cow::Owned(percent_decode_str(&value.replace('+', " ")).collect()),
            false => percent_decode_str(value).into(),
        })
    })
}

/// A parameter's name, decoded, and its value as it is written.
fn parameter(pair: &str) -> (Cow<'_, str>, &str) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    // Most names are written without an escape.
    let name = match name.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        true => percent_decode_str(&name.replace('+', " ")).decode_utf8_lossy().into_owned().into(),
        false => Cow::Borrowed(name),
    };
    (name, value)
}

/// The query with the values of `secret` keys replaced by `REDACTED`; all else byte for byte.
pub fn redact(query: &str, secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let is_secret = |pair: &str| {
        let (name, value) = parameter(pair);
        !value.is_empty() && secret(&name)
    };
    if !query.split('&').any(is_secret) {
        return Cow::Borrowed(query);
    }
    let mut redacted = String::with_capacity(query.len());
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            redacted.push('&');
        }
        if is_secret(pair) {
            redacted.push_str(pair.split('=').next().unwrap_or_default());
            redacted.push_str("=REDACTED");
        } else {
            redacted.push_str(pair);
        }
    }
    Cow::Owned(redacted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_value_decoded() {
        let query = "a=1&userId=user%201+x&userId=second&flag";
        assert_eq!(find(query, "userId").as_deref(), Some("user 1 x"));
        assert_eq!(find(query, "flag").as_deref(), Some(""));
        assert_eq!(find(query, "userid"), None);
        for name in ["a", "userId", "flag", "userid"] {
            let text = find(query, name).map(|value| value.as_bytes().to_vec());
            assert_eq!(find_bytes(query, name).as_deref(), text.as_deref(), "{name}");
        }
        assert_eq!(find_bytes("u=%E4+%zz%4", "u").as_deref(), Some(&b"\xe4 %zz%4"[..]));
    }

    #[test]
    fn redacts_only_the_values_of_secret_keys() {
        let secret = |key: &str| key.eq_ignore_ascii_case("token");
        assert!(matches!(redact("a=1&b=2", secret), Cow::Borrowed(_)));
        assert_eq!(redact("a=1&TOKEN=s%20s=x&b", secret), "a=1&TOKEN=REDACTED&b");
        assert_eq!(redact("%74oken=s", secret), "%74oken=REDACTED");
    }
}
