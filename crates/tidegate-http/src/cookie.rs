//! Cookies as a server reads them (RFC 6265, section 4.2). Sets none.

use http::HeaderMap;

/// The value of the first cookie called `name`, without the pair of quotes that may surround it. Browsers send
/// what a page has stored byte for byte, which need be neither ASCII nor UTF-8 (section 5.4).
pub fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    pairs(headers).find_map(|pair| value_of(pair, name))
}

/// The values of all cookies called `name`, as [`find`] reads each.
pub fn find_all<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    pairs(headers).filter_map(move |pair| value_of(pair, name))
}

/// Each `name=value`, without the white space around it.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// The name in a pair; the whole of it, where there is no `=`.
pub fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or(pair).trim_ascii()
}

fn value_of<'h>(pair: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let (key, value) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
    (key.trim_ascii() == name.as_bytes()).then(|| unquoted(value.get(1..).unwrap_or(&[])))
}

fn unquoted(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn cookie_is_found_across_several_headers() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; xuid=no"));
        headers.append("cookie", HeaderValue::from_static("uid=\"user-1\"; b=2"));
        assert_eq!(find(&headers, "uid"), Some(&b"user-1"[..]));
        assert_eq!(find(&headers, "c"), None);
    }

    #[test]
    fn non_ascii_bytes_do_not_hide_a_cookie() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(b"a=\xff; uid=bo\xe9b; b=\xc3\xa9=").expect("a value");
        headers.append("cookie", value);
        assert_eq!(find(&headers, "uid"), Some(&b"bo\xe9b"[..]));
        assert_eq!(find(&headers, "b"), Some("é=".as_bytes()));
    }
}
