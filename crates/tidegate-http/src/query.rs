//! Query parameters as browsers write them (WHATWG URL, `application/x-www-form-urlencoded`). Knows no parameter.

use super::secret::without_userinfo;
use super::{redact, spelling};
use crate::redact::REDACTED;
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

/// All values of the parameter `name`, decoded, as bytes.
pub fn find_all<'q>(query: &'q str, name: &str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    query.split('&').filter_map(move |pair| find_bytes(pair, name))
}

/// All values that a service may read as those of the parameter `name`: by [`find_all`], and with `;` between pairs, names
/// in any case, `[]` or spaces after the name, and other characters that some languages read as `_`.
pub fn find_all_lookalikes<'q>(query: &'q str, name: &str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    let lookalikes = query.split(['&', ';']).filter_map(move |pair| {
        let (written, _) = parameter(pair);
        if !looks_like(&written, name) {
            return None;
        }
        find_bytes(pair, &written)
    });
    find_all(query, name).chain(lookalikes)
}

/// Whether a service may read one name as the other.
fn looks_like(name: &str, other: &str) -> bool {
    let as_read = |name: &str| -> String {
        let end = name.find(['[', '\0']).unwrap_or(name.len());
        let name = name.get(..end).unwrap_or_default().trim();
        name.chars()
            .map(|c| if matches!(c, ' ' | '.') { '_' } else { c.to_ascii_lowercase() })
            .collect()
    };
    as_read(name) == as_read(other)
}

/// The query without the parameter `name`, all else byte for byte; `None` if it has no such parameter.
pub fn without(query: &str, name: &str) -> Option<String> {
    let is_other = |pair: &&str| parameter(pair).0 != name;
    if query.split('&').all(|pair| is_other(&pair)) {
        return None;
    }
    Some(query.split('&').filter(is_other).collect::<Vec<_>>().join("&"))
}

/// The decoded name of a parameter, and its value as written.
fn parameter(pair: &str) -> (Cow<'_, str>, &str) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    // Most names have no escape.
    let name = match name.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        true => percent_decode_str(&name.replace('+', " ")).decode_utf8_lossy().into_owned().into(),
        false => Cow::Borrowed(name),
    };
    (name, value)
}

/// The query with the values of `secret` keys replaced by `REDACTED`; all else byte for byte. Pairs may be
/// separated by `;` too. A key is secret by its name, or by a part of it: `auth[user]`. A value that holds
/// a secret itself, as a URL in it does, is replaced as a whole.
pub fn redact(query: &str, secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let is_secret = |pair: &str| {
        let (name, value) = parameter(pair);
        let has_secret_part = || name.contains('[') && name.split(['[', ']']).any(&secret);
        !value.is_empty() && (secret(&name) || has_secret_part() || holds_secret(value, &secret))
    };
    redact_pairs(query, is_secret)
}

/// The path with the values of its `secret` parameters (RFC 3986, section 3.3) replaced by `REDACTED`, as in
/// `/page;jsessionid=REDACTED`.
pub fn redact_path(path: &str, secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    if !path.contains(';') {
        return Cow::Borrowed(path);
    }
    let is_secret = |pair: &str| {
        let (name, value) = parameter(pair);
        !value.is_empty() && secret(&name)
    };
    let mut redacted = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            redacted.push('/');
        }
        redacted.push_str(&redact_pairs(segment, is_secret));
    }
    Cow::Owned(redacted)
}

/// Whether a value contains secrets: with their names, or before the host of a URL.
fn holds_secret(value: &str, secret: impl Fn(&str) -> bool) -> bool {
    if !value.bytes().any(|byte| matches!(byte, b'=' | b':' | b'%')) {
        return false;
    }
    let decoded = spelling::decoded(value);
    let has_userinfo = || decoded.contains("://") && without_userinfo(&decoded) != *decoded;
    let has_pair = || {
        decoded.contains(['=', ':']) && matches!(redact::redact(&decoded, secret), Cow::Owned(_))
    };
    has_userinfo() || has_pair()
}

fn redact_pairs(query: &str, is_secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    if !query.split(['&', ';']).any(&is_secret) {
        return Cow::Borrowed(query);
    }
    let mut redacted = String::with_capacity(query.len());
    for pair in query.split_inclusive(['&', ';']) {
        let separator = pair.chars().last().filter(|c| matches!(c, '&' | ';'));
        let pair = pair.strip_suffix(['&', ';']).unwrap_or(pair);
        if is_secret(pair) {
            redacted.push_str(pair.split('=').next().unwrap_or_default());
            redacted.push('=');
            redacted.push_str(REDACTED);
        } else {
            redacted.push_str(pair);
        }
        redacted.extend(separator);
    }
    Cow::Owned(redacted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_value_of_a_parameter_is_found_decoded() {
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
    fn value_that_a_service_may_read_as_that_of_a_parameter_is_found() {
        let all = |query: &str| -> Vec<String> {
            let values = find_all_lookalikes(query, "userId");
            values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
        };
        assert_eq!(all("a=1&userId=x"), ["x", "x"]);
        for query in [
            "a=1;userId=v&userId=x",
            "userId=x&userId[]=v",
            "userId=x&%20userId=v",
            "userId=x&USERID=v",
            "userId=x&userId%00y=v",
            "userId=x&userId%5B0%5D=v",
        ] {
            assert!(all(query).contains(&"v".to_owned()), "{query}");
        }
        assert_eq!(
            all("userId=x;b=1"),
            ["x;b=1", "x"],
            "as services that do not split at `;` read it"
        );
        assert!(all("otherUserId=v&user=v").is_empty());
    }

    #[test]
    fn only_values_of_secret_keys_are_redacted() {
        let secret = |key: &str| key.eq_ignore_ascii_case("token");
        assert!(matches!(redact("a=1&b=2", secret), Cow::Borrowed(_)));
        assert_eq!(redact("a=1&TOKEN=s%20s=x&b", secret), "a=1&TOKEN=REDACTED&b");
        assert_eq!(redact("%74oken=s", secret), "%74oken=REDACTED");
        assert_eq!(redact("a=1;token=s", secret), "a=1;token=REDACTED");
        assert_eq!(redact("token[a]=s&b=1", secret), "token[a]=REDACTED&b=1");
        assert_eq!(redact("next=%2Fcb%3Ftoken%3Ds&b=1", secret), "next=REDACTED&b=1");
        assert_eq!(redact("next=%252Fcb%253Ftoken%253Ds&b=1", secret), "next=REDACTED&b=1");
        assert_eq!(redact("q={%22token%22:%22s%22}", secret), "q=REDACTED");
        assert_eq!(redact("time=10:20&b=%20", secret), "time=10:20&b=%20");
        assert_eq!(redact_path("/a;token=s/b;c=d", secret), "/a;token=REDACTED/b;c=d");
    }
}
