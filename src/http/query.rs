//! Query parameters as browsers write them (WHATWG URL, `application/x-www-form-urlencoded`).

use std::borrow::Cow;

/// The first value of the parameter `name`, decoded.
pub fn find<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == name).then_some(value))
}

/// The query with the values of `secret` keys replaced by `REDACTED`; all else byte for byte.
pub fn redact(query: &str, secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let is_secret = |pair: &str| {
        form_urlencoded::parse(pair.as_bytes())
            .next()
            .is_some_and(|(key, value)| !value.is_empty() && secret(&key))
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
    }

    #[test]
    fn redacts_only_the_values_of_secret_keys() {
        let secret = |key: &str| key.eq_ignore_ascii_case("token");
        assert!(matches!(redact("a=1&b=2", secret), Cow::Borrowed(_)));
        assert_eq!(redact("a=1&TOKEN=s%20s=x&b", secret), "a=1&TOKEN=REDACTED&b");
        assert_eq!(redact("%74oken=s", secret), "%74oken=REDACTED");
    }
}
