//! Cookies as a server reads them (RFC 6265, section 4.2).

use http::HeaderMap;

/// The value of the first cookie called `name`, without the quotes that may surround it.
pub fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key.trim() == name).then(|| value.trim().trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn finds_a_cookie_among_several_fields() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; xuid=no"));
        headers.append("cookie", HeaderValue::from_static("uid=\"user-1\"; b=2"));
        assert_eq!(find(&headers, "uid"), Some("user-1"));
        assert_eq!(find(&headers, "c"), None);
    }
}
