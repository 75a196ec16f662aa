//! The cookies of a login: one that keeps it, divided where it is too large for one, and one for each login that has
//! begun. Knows nothing of what is in them.

use http::{HeaderMap, HeaderValue};
use pingora::http::RequestHeader;
use std::time::Duration;
use tidegate_config::SameSite;
use tidegate_http::cookie;

/// Maximum length of a cookie's value. Browsers keep 4,096 bytes of name, value and attributes (RFC 6265, section 6.1).
const MAX_VALUE_BYTES: usize = 3_700;

/// Maximum number of cookies that a login is divided among.
pub(super) const MAX_PARTS: usize = 4;

/// Length of the id of a login that has begun: 128 random bits in base64url.
pub(super) const ID_CHARS: usize = 22;

/// How cookies are set for one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct CookieAttributes {
    pub(super) same_site: SameSite,
    pub(super) max_age: Duration,
    pub(super) is_secure: bool,
}

/// Several cookies of one name, or parts that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MixedCookies;

/// The value that the cookies of this name keep together.
pub(super) fn read(headers: &HeaderMap, name: &str) -> Result<Option<Vec<u8>>, MixedCookies> {
    let Some(first) = only(headers, name)? else { return Ok(None) };
    let (count, first) = first.split_at_checked(2).ok_or(MixedCookies)?;
    let count = match count {
        [digit @ b'1'..=b'9', b'.'] => usize::from(digit - b'0'),
        _ => return Err(MixedCookies),
    };
    if count > MAX_PARTS {
        return Err(MixedCookies);
    }
    let mut value = first.to_vec();
    for number in 1..count {
        value.extend(only(headers, &part_name(name, number))?.ok_or(MixedCookies)?);
    }
    Ok(Some(value))
}

/// The value of the only cookie of this name.
pub(super) fn only<'h>(
    headers: &'h HeaderMap,
    name: &str,
) -> Result<Option<&'h [u8]>, MixedCookies> {
    let mut values = cookie::find_all(headers, name);
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(MixedCookies),
    }
}

/// Sets the value, and removes parts of a longer one that the request has; `None` if it is too large.
pub(super) fn set(
    name: &str,
    value: &str,
    attributes: CookieAttributes,
    request: &HeaderMap,
) -> Option<Vec<HeaderValue>> {
    let count = value.len().div_ceil(MAX_VALUE_BYTES);
    if count > MAX_PARTS {
        return None;
    }
    let mut cookies = Vec::new();
    let mut rest = value;
    for number in 0..count {
        let (part, after) = rest.split_at_checked(MAX_VALUE_BYTES).unwrap_or((rest, ""));
        rest = after;
        cookies.push(match number {
            0 => set_one(name, &format!("{count}.{part}"), attributes)?,
            _ => set_one(&part_name(name, number), part, attributes)?,
        });
    }
    for number in count..MAX_PARTS {
        let name = part_name(name, number);
        if cookie::find(request, &name).is_some() {
            cookies.push(remove_one(&name, attributes)?);
        }
    }
    Some(cookies)
}

/// Removes the value, as far as the request has it.
pub(super) fn remove(
    name: &str,
    attributes: CookieAttributes,
    request: &HeaderMap,
) -> Vec<HeaderValue> {
    let parts = (1..MAX_PARTS).map(|number| part_name(name, number));
    let names = std::iter::once(name.to_owned()).chain(parts);
    names
        .filter(|name| cookie::find(request, name).is_some())
        .filter_map(|name| remove_one(&name, attributes))
        .collect()
}

/// `Set-Cookie` for one cookie (RFC 6265, section 4.1).
pub(super) fn set_one(
    name: &str,
    value: &str,
    attributes: CookieAttributes,
) -> Option<HeaderValue> {
    let max_age = attributes.max_age.as_secs();
    let mut text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=");
    text.push_str(match attributes.same_site {
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
    });
    // Browsers refuse names with these prefixes otherwise (RFC 6265bis, section 4.1.3).
    if attributes.is_secure || name.starts_with("__Host-") || name.starts_with("__Secure-") {
        text.push_str("; Secure");
    }
    HeaderValue::try_from(text).ok()
}

/// `Set-Cookie` that makes the browser forget a cookie.
pub(super) fn remove_one(name: &str, attributes: CookieAttributes) -> Option<HeaderValue> {
    set_one(name, "", CookieAttributes { max_age: Duration::ZERO, ..attributes })
}

/// The name of the cookie for a login that has begun.
pub(super) fn pending_name(name: &str, id: &str) -> String {
    format!("{name}-{id}")
}

/// The ids of the logins that have begun, of which the request has cookies.
pub(super) fn pending_ids<'h>(
    headers: &'h HeaderMap,
    name: &'h str,
) -> impl Iterator<Item = &'h str> {
    cookie::pairs(headers).filter_map(move |pair| pending_id(cookie::name_of(pair), name))
}

fn pending_id<'c>(cookie: &'c [u8], name: &str) -> Option<&'c str> {
    let id = cookie.strip_prefix(name.as_bytes())?.strip_prefix(b"-")?;
    std::str::from_utf8(id).ok().filter(|id| is_id(id))
}

/// Whether it has the form of an id.
pub(super) fn is_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() == ID_CHARS && text.bytes().all(is_allowed)
}

/// Removes the cookies of logins from a request, and leaves all others as they are.
pub(super) fn sanitize(head: &mut RequestHeader, name: &str) {
    let is_ours = |pair: &&[u8]| is_of_login(cookie::name_of(pair), name);
    if !cookie::pairs(&head.headers).any(|pair| is_ours(&pair)) {
        return;
    }
    let kept: Vec<&[u8]> = cookie::pairs(&head.headers).filter(|pair| !is_ours(pair)).collect();
    let kept = kept.join(&b"; "[..]);
    head.remove_header(&http::header::COOKIE);
    if !kept.is_empty()
        && let Ok(kept) = HeaderValue::from_bytes(&kept)
    {
        // Parts of a valid value, joined by valid characters.
        let _ = head.insert_header(http::header::COOKIE, kept);
    }
}

fn is_of_login(cookie: &[u8], name: &str) -> bool {
    let Some(rest) = cookie.strip_prefix(name.as_bytes()) else { return false };
    match rest {
        [] | [b'.', b'1'..=b'9'] => true,
        _ => pending_id(cookie, name).is_some(),
    }
}

fn part_name(name: &str, number: usize) -> String {
    format!("{name}.{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAX: CookieAttributes = CookieAttributes {
        same_site: SameSite::Lax,
        max_age: Duration::from_secs(60),
        is_secure: true,
    };

    fn headers(cookies: &[&str]) -> HeaderMap {
        let values = cookies.iter().map(|it| HeaderValue::from_str(it).expect("a value"));
        values.map(|value| (http::header::COOKIE, value)).collect()
    }

    /// What a browser sends that has got these.
    fn sent_back(cookies: &[HeaderValue]) -> HeaderMap {
        let pair =
            |it: &HeaderValue| it.to_str().expect("text").split(';').next().map(str::to_owned);
        let pairs: Vec<String> = cookies.iter().filter_map(pair).collect();
        headers(&[&pairs.join("; ")])
    }

    #[test]
    fn large_value_is_divided_and_put_together_again() {
        for length in [1, MAX_VALUE_BYTES, MAX_VALUE_BYTES + 1, MAX_VALUE_BYTES * MAX_PARTS] {
            let value = "x".repeat(length - 1) + "y";
            let cookies = set("tg", &value, LAX, &HeaderMap::new()).expect("not too large");
            assert!(cookies.iter().all(|cookie| cookie.len() <= 4096), "{length}");
            assert_eq!(read(&sent_back(&cookies), "tg"), Ok(Some(value.into_bytes())), "{length}");
        }
        let too_large = "x".repeat(MAX_VALUE_BYTES * MAX_PARTS + 1);
        assert_eq!(set("tg", &too_large, LAX, &HeaderMap::new()), None);
    }

    #[test]
    fn missing_repeated_and_malformed_parts_are_refused() {
        for cookies in [
            "tg=2.a",
            "tg=2.a; tg.1=b; tg.1=c",
            "tg=1.a; tg=1.b",
            "tg=",
            "tg=1",
            "tg=0.a",
            "tg=5.a; tg.1=b; tg.2=c; tg.3=d; tg.4=e",
            "tg=a",
        ] {
            assert_eq!(read(&headers(&[cookies]), "tg"), Err(MixedCookies), "{cookies}");
        }
        assert_eq!(read(&headers(&["tg.1=b; tgx=1.a"]), "tg"), Ok(None));
    }

    #[test]
    fn shorter_value_removes_what_is_left_of_a_longer_one() {
        let request = headers(&["tg=3.a; tg.1=b; tg.2=c; other=1"]);
        let cookies = set("tg", "short", LAX, &request).expect("not too large");
        let texts: Vec<_> = cookies.iter().map(|it| it.to_str().expect("text")).collect();
        assert_eq!(
            texts,
            [
                "tg=1.short; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure",
                "tg.1=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
                "tg.2=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
            ]
        );
        assert_eq!(remove("tg", LAX, &request).len(), 3);
    }

    #[test]
    fn cookies_of_logins_are_removed_from_requests_and_no_others() {
        let mut head = RequestHeader::build("GET", b"/", None).expect("a head");
        let id = "A".repeat(ID_CHARS);
        let cookies = format!("a=1; tg=1.x; tg.1=y; tg-{id}=z; tgx=2; tg-short=3");
        head.insert_header("cookie", cookies).expect("a header");
        assert_eq!(pending_ids(&head.headers, "tg").collect::<Vec<_>>(), [id]);
        sanitize(&mut head, "tg");
        assert_eq!(head.headers["cookie"], "a=1; tgx=2; tg-short=3");
    }
}
